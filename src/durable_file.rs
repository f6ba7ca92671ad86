//! Files that survive a power cut: written, fsynced, renamed, and their directory fsynced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces the file at `path` by `bytes`: after a crash it holds either the old or the new content,
/// never a part. The temporary stands beside it, as `tmp.` and its name.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_path(path)?;
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    rename(&temporary, path)
}

/// Where the content of `path` is written before it is renamed to it.
pub fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path without a file name"))?;
    let mut temporary = std::ffi::OsString::from("tmp.");
    temporary.push(name);
    Ok(path.with_file_name(temporary))
}

/// Renames within one directory and fsyncs it. The file itself must have been fsynced.
#[expect(clippy::disallowed_methods, reason = "this is the place that the lint points to")]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to)
}

/// Removes a file and fsyncs its directory.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_parent(path)
}

/// Makes a directory and those above it that are missing, each durable.
pub fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = parent(path) {
        create_directory(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        result => result?,
    }
    sync_parent(path)
}

/// Fsyncs a directory, so that the names in it survive.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Fsyncs the directory that `path` stands in.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync_directory(parent(path).unwrap_or_else(|| Path::new(".")))
}

fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("a/b/c");
        create_directory(&folder).unwrap();
        create_directory(&folder).unwrap();
        let path = folder.join("meta.properties");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn a_path_without_a_name_is_an_error() {
        assert!(write(Path::new("/"), b"").is_err());
    }
}
