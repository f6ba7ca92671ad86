//! The epoch files of an ensemble's member (`QuorumPeer.loadDataBase`), and the rule for taking its
//! directory over.
//!
//! A standalone server has none. A member promises in `acceptedEpoch` to follow no leader of an earlier
//! epoch, and `currentEpoch` is that of the leader it followed last; neither is below its last zxid's.

use std::fs;
use std::io;
use std::path::Path;

use tracing::warn;

use super::error::StorageError;
use crate::durable_file;

const ACCEPTED: &str = "acceptedEpoch";
const CURRENT: &str = "currentEpoch";

/// So many epochs no ensemble gets through while one of its members is taken over: whatever the other
/// members do meanwhile, what is written here is later.
const STEP: i64 = 1_000;

/// A member's epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epochs {
    /// `acceptedEpoch`; a file that is missing counts as 0, as the zxid's epoch is looked at, too.
    pub(crate) accepted: i64,
    /// `currentEpoch`.
    pub(crate) current: i64,
}

impl Epochs {
    /// Reads the files in the folder of the snapshots; `None` is a standalone server's.
    pub(crate) fn read(folder: &Path) -> Result<Option<Epochs>, StorageError> {
        let (accepted, current) =
            (read_file(&folder.join(ACCEPTED))?, read_file(&folder.join(CURRENT))?);
        Ok(match (accepted, current) {
            (None, None) => None,
            (accepted, current) => {
                Some(Epochs { accepted: accepted.unwrap_or(0), current: current.unwrap_or(0) })
            }
        })
    }

    /// Raises both by a thousand above everything seen, the promise first: a crash in between leaves
    /// what ZooKeeper starts on. Returns the zxid that the new epoch begins at.
    pub(super) fn raise(
        self,
        folder: &Path,
        last_zxid: i64,
    ) -> Result<(Epochs, i64), StorageError> {
        // Left by a member that died between the two renames of its own.
        let interrupted = read_file(&folder.join("currentEpoch.tmp")).unwrap_or(None).unwrap_or(0);
        let highest = self.accepted.max(self.current).max(interrupted).max(last_zxid >> 32);
        let epoch = highest.saturating_add(STEP);
        if epoch > i64::from(i32::MAX) {
            return Err(StorageError::Epoch {
                path: folder.join(CURRENT),
                what: format!("epoch {highest} is too high to be raised by {STEP}"),
            });
        }
        for name in [ACCEPTED, CURRENT] {
            let path = folder.join(name);
            durable_file::write(&path, epoch.to_string().as_bytes())
                .map_err(StorageError::io(&path, "write"))?;
        }
        warn!(
            "{}: a member's directory, taken over: the epoch goes from {highest} to {epoch}; start this \
             member first when its ensemble comes back",
            folder.display()
        );
        Ok((Epochs { accepted: epoch, current: epoch }, epoch << 32))
    }

    /// The first zxid of the current epoch.
    pub(super) fn first_zxid(self) -> i64 {
        self.current.clamp(0, i64::from(i32::MAX)) << 32
    }
}

/// The number in the first line of a file.
fn read_file(path: &Path) -> Result<Option<i64>, StorageError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io(path, "read")(error)),
    };
    let line = text.lines().next().unwrap_or_default();
    match line.parse() {
        Ok(epoch) if epoch >= 0 => Ok(Some(epoch)),
        _ => Err(StorageError::Epoch {
            path: path.to_owned(),
            what: format!("{line:?} is no epoch; bring the file back from a copy"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_go_up_by_a_thousand_above_all_that_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(Epochs::read(folder).unwrap(), None);
        fs::write(folder.join(ACCEPTED), "7").unwrap();
        let one = Epochs::read(folder).unwrap().unwrap();
        assert_eq!(one, Epochs { accepted: 7, current: 0 });
        fs::write(folder.join(CURRENT), "6\n").unwrap();
        let both = Epochs::read(folder).unwrap().unwrap();
        assert_eq!(both, Epochs { accepted: 7, current: 6 });
        let (raised, zxid) = both.raise(folder, (6 << 32) + 99).unwrap();
        assert_eq!(raised, Epochs { accepted: 1_007, current: 1_007 });
        assert_eq!((zxid, raised.first_zxid()), (1_007 << 32, 1_007 << 32));
        assert_eq!(Epochs::read(folder).unwrap(), Some(raised));
        assert_eq!(
            fs::read_to_string(folder.join(CURRENT)).unwrap(),
            "1007",
            "as ZooKeeper has it"
        );
        // A zxid of a later epoch than the files', and a rename that was not done.
        assert_eq!(raised.raise(folder, 3_000 << 32).unwrap().1, 4_000 << 32);
        fs::write(folder.join("currentEpoch.tmp"), "9000").unwrap();
        assert_eq!(raised.raise(folder, 0).unwrap().1, 10_000 << 32);
    }

    #[test]
    fn what_is_no_epoch_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "x", "-1", "1 2", "99999999999999999999"] {
            fs::write(folder.path().join(CURRENT), text).unwrap();
            let refused = Epochs::read(folder.path()).unwrap_err().to_string();
            assert!(refused.contains("currentEpoch"), "{refused}");
        }
        fs::write(folder.path().join(CURRENT), i32::MAX.to_string()).unwrap();
        let epochs = Epochs::read(folder.path()).unwrap().unwrap();
        assert!(epochs.raise(folder.path(), 0).is_err());
        assert_eq!(Epochs::read(folder.path()).unwrap(), Some(epochs), "left as it was");
    }
}
