//! What is done before our first write to a directory that ZooKeeper wrote to last: the files as they
//! were are kept, as hard links, since none of them is ever edited in place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::error::StorageError;
use crate::durable_file;

/// Below `dataDir` and `dataLogDir`, where ZooKeeper doesn't look.
const FOLDER: &str = "doorkeeper.before";

/// Hand-overs that are kept: what an older one links to takes space until its files are purged.
const KEPT: usize = 3;

/// Keeps every file of `version_2`, which is below `root`, as of the transaction `last_zxid`. Returns
/// where; `None` if there is nothing.
pub(super) fn keep(
    root: &Path,
    version_2: &Path,
    last_zxid: i64,
) -> Result<Option<PathBuf>, StorageError> {
    let files = files(version_2)?;
    if files.is_empty() {
        return Ok(None);
    }
    let parent = root.join(FOLDER);
    durable_file::create_directory(&parent).map_err(StorageError::io(&parent, "create"))?;
    let before = kept(&parent)?;
    let number = before.last().map_or(1, |(number, _)| number + 1);
    // Not to be taken for a whole one before it is.
    let unfinished = parent.join("unfinished");
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StorageError::io(&unfinished, "remove")(error));
        }
        _ => {}
    }
    durable_file::create_directory(&unfinished).map_err(StorageError::io(&unfinished, "create"))?;
    for file in &files {
        let link = unfinished.join(file.file_name().unwrap_or_default());
        if let Err(error) = fs::hard_link(file, &link) {
            // No hard links here, or a folder that is a volume of its own.
            info!("{}: no hard link, so it is copied: {error}", file.display());
            copy(file, &link).map_err(StorageError::io(file, "keep a copy of"))?;
        }
    }
    durable_file::sync_directory(&unfinished).map_err(StorageError::io(&unfinished, "fsync"))?;
    let folder = parent.join(format!("{number}-0x{last_zxid:x}"));
    durable_file::rename(&unfinished, &folder).map_err(StorageError::io(&folder, "rename to"))?;
    let surplus = (before.len() + 1).saturating_sub(KEPT);
    for (_, old) in before.into_iter().take(surplus) {
        if let Err(error) = fs::remove_dir_all(&old) {
            warn!("{} cannot be removed: {error}", old.display());
        }
    }
    Ok(Some(folder))
}

/// The regular files in a folder, but for what was left unfinished by us.
fn files(folder: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let failed = || StorageError::io(folder, "list");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let regular = entry.file_type().map_err(failed())?.is_file();
        if regular && !entry.file_name().to_string_lossy().starts_with("tmp.") {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The hand-overs that are kept, oldest first.
fn kept(parent: &Path) -> Result<Vec<(u64, PathBuf)>, StorageError> {
    let failed = || StorageError::io(parent, "list");
    let mut kept = Vec::new();
    for entry in fs::read_dir(parent).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.split_once('-')?.0.parse().ok());
        kept.extend(number.map(|number| (number, entry.path())));
    }
    kept.sort_unstable();
    Ok(kept)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    File::open(to)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn files_are_kept_as_links_and_the_oldest_sets_go() {
        let root = tempfile::tempdir().unwrap();
        let version_2 = root.path().join("version-2");
        fs::create_dir(&version_2).unwrap();
        assert_eq!(keep(root.path(), &version_2, 0).unwrap(), None);
        assert!(!root.path().join(FOLDER).exists(), "there was nothing");
        fs::write(version_2.join("log.1"), "one").unwrap();
        fs::write(version_2.join("tmp.snapshot.2"), "half").unwrap();
        fs::create_dir(version_2.join("log.folder")).unwrap();
        let first = keep(root.path(), &version_2, 0x64).unwrap().unwrap();
        assert!(first.ends_with("doorkeeper.before/1-0x64"), "{}", first.display());
        assert_eq!(fs::metadata(first.join("log.1")).unwrap().nlink(), 2);
        assert_eq!(fs::read_dir(&first).unwrap().count(), 1);
        // A set that was not finished is begun again.
        fs::create_dir_all(root.path().join(FOLDER).join("unfinished/x")).unwrap();
        for zxid in 0x65..0x69 {
            keep(root.path(), &version_2, zxid).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(root.path().join(FOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["3-0x66", "4-0x67", "5-0x68"]);
        assert_eq!(fs::read_to_string(version_2.join("log.1")).unwrap(), "one");
    }
}
