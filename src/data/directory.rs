//! The directory that is looked into: found, locked against servers, and loaded.

use std::path::{Path, PathBuf};

use super::DataError;
use crate::zookeeper::storage::directory::{DataFile, OfflineLock, lock_offline};
use crate::zookeeper::storage::epochs::Epochs;
use crate::zookeeper::storage::marker::{Marker, Position};
use crate::zookeeper::storage::recovery::{ReadOptions, Recovered, recover};
use crate::zookeeper::storage::{Directories, StorageError, snapshot_reader};

/// Both folders of a data directory. While it is held, no doorkeeper starts on it; `ZooKeeper` knows no
/// such lock.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) folders: Directories,
    pub(super) snapshots: Vec<DataFile>,
    pub(super) logs: Vec<DataFile>,
    _locks: Vec<OfflineLock>,
}

impl Directory {
    pub(super) fn open(dirs: &[PathBuf]) -> Result<Directory, DataError> {
        let roots: Vec<&Path> = dirs.iter().map(|dir| root(dir)).collect();
        let (Some(data), Some(log)) = (roots.first(), roots.last()) else {
            return Err(DataError::NoData { path: PathBuf::new(), what: "no directory is named" });
        };
        let mut locks = Vec::new();
        for root in &roots {
            if !root.is_dir() {
                let path = (*root).to_owned();
                return Err(DataError::NoData { path, what: "there is no such directory" });
            }
            locks.extend(lock_offline(root)?);
        }
        let folders = Directories::at(data, log);
        folders.check()?;
        let (snapshots, logs) = (folders.list_snapshots()?, folders.list_logs()?);
        if snapshots.is_empty() && logs.is_empty() {
            let path = folders.snapshots.clone();
            return Err(DataError::NoData { path, what: "there is no snapshot and no log in it" });
        }
        Ok(Directory { folders, snapshots, logs, _locks: locks })
    }

    /// What a server would start with.
    pub(super) fn load(&self) -> Result<Recovered, StorageError> {
        let trust_empty_snapshot = self.folders.list_snapshots()?.is_empty();
        recover(&self.folders, ReadOptions { digest_enabled: true, trust_empty_snapshot })
    }

    /// The zxid of the newest snapshot that can be read.
    pub(super) fn newest_snapshot(&self) -> Option<i64> {
        let mut newest_first = self.snapshots.iter().rev();
        newest_first.find(|file| snapshot_reader::load(file, false).is_ok()).map(|file| file.zxid)
    }

    pub(super) fn epochs(&self) -> Result<Option<Epochs>, StorageError> {
        Epochs::read(&self.folders.snapshots)
    }

    /// Whether doorkeeper wrote last; `None` if it never did.
    pub(super) fn ours(&self, loaded: &Recovered) -> Result<Option<bool>, StorageError> {
        let Some(marker) = Marker::read(self.folders.data_dir())? else { return Ok(None) };
        let found = Position::of(&loaded.recovery, self.epochs()?);
        Ok(Some(marker.matches(&found)))
    }
}

/// The folder that `version-2` is in, if that one is named.
fn root(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if dir.file_name().is_some_and(|name| name == "version-2") => {
            if parent.as_os_str().is_empty() { Path::new(".") } else { parent }
        }
        _ => dir,
    }
}
