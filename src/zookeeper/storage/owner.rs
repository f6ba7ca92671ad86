//! Whose the data directory is: files of another user's would stop ZooKeeper, or us, later.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::StorageError;

const ROOT: u32 = 0;

/// Refuses a directory of another user's, before anything is made in it.
pub(super) fn check(root: &Path) -> Result<(), StorageError> {
    check_as(root, rustix::process::geteuid().as_raw())
}

fn check_as(root: &Path, user: u32) -> Result<(), StorageError> {
    let folder = root.join("version-2");
    let refuse = |path: &Path, owner| StorageError::Owner { path: path.to_owned(), owner, user };
    match owner(&folder)? {
        Some(owner) if owner != user => return Err(refuse(&folder, owner)),
        Some(_) => return Ok(()),
        None => {}
    }
    // A folder that anybody may write to can be root's own, as the top of a volume mostly is; but what
    // root makes in a folder of somebody else's, they can't use.
    match owner(root)? {
        Some(owner) if user == ROOT && owner != ROOT => Err(refuse(root, owner)),
        _ => Ok(()),
    }
}

fn owner(path: &Path) -> Result<Option<u32>, StorageError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.uid())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io(path, "look at")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_users_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let me = fs::metadata(root.path()).unwrap().uid();
        let (other, missing) = (me + 1, root.path().join("missing"));
        assert!(check_as(&missing, me).is_ok() && check_as(&missing, other).is_ok());
        // Nothing is in it yet.
        assert!(check_as(root.path(), me).is_ok());
        assert!(check_as(root.path(), other).is_ok(), "a volume's top may be root's");
        fs::create_dir(root.path().join("version-2")).unwrap();
        assert!(check(root.path()).is_ok());
        let refused = check_as(root.path(), other).unwrap_err();
        let line = refused.to_string();
        assert!(line.contains("version-2") && line.contains(&format!("user {me}")), "{line}");
    }

    #[test]
    fn root_makes_nothing_in_somebody_elses_folder() {
        let root = tempfile::tempdir().unwrap();
        let me = fs::metadata(root.path()).unwrap().uid();
        if me != ROOT {
            assert!(matches!(check_as(root.path(), ROOT), Err(StorageError::Owner { .. })));
        }
    }
}
