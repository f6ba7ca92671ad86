//! What tells one state of a file from the next, for files that are watched while they are in use.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Device, inode, length and time of change of a file; `None` while it can't be read. A link is
/// followed: where secrets are mounted, it is the link that changes.
pub type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The state of a file as it is now. Blocks on the file system.
pub fn of(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}
