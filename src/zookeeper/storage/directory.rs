//! The folders of a data directory: which files in them count, and the lock on them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tracing::warn;

use super::error::StorageError;
use super::owner;
use crate::config::SnapshotCompression;
use crate::durable_file;

/// ZooKeeper ignores it, and we ignore nothing that ZooKeeper has: two of us exclude each other.
const LOCK_FILE: &str = "doorkeeper.lock";

/// How a snapshot is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Snappy,
}

impl From<SnapshotCompression> for Packing {
    fn from(compression: SnapshotCompression) -> Self {
        match compression {
            SnapshotCompression::None => Packing::Plain,
            SnapshotCompression::Gzip => Packing::Gzip,
            SnapshotCompression::Snappy => Packing::Snappy,
        }
    }
}

impl Packing {
    /// What a snapshot's name ends in.
    fn extension(self) -> &'static str {
        match self {
            Packing::Plain => "",
            Packing::Gzip => ".gz",
            Packing::Snappy => ".snappy",
        }
    }
}

/// A log or a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataFile {
    /// The zxid in its name: a log's first, a snapshot's last.
    pub(crate) zxid: i64,
    pub(crate) path: PathBuf,
    pub(crate) packing: Packing,
}

/// The two `version-2` folders, which may be one.
#[derive(Debug)]
pub struct Directories {
    /// Where snapshots are.
    pub snapshots: PathBuf,
    /// Where logs are.
    pub logs: PathBuf,
    /// `dataDir`.
    data_dir: PathBuf,
    data_log_dir: PathBuf,
}

/// Held as long as the directories are used.
#[derive(Debug)]
pub(super) struct Locks {
    _files: Vec<File>,
}

impl Directories {
    /// Makes the folders if they are missing, and locks them.
    pub(super) fn open(
        data_dir: &Path,
        data_log_dir: &Path,
    ) -> Result<(Directories, Locks), StorageError> {
        let mut locks = Vec::new();
        let open = |root: &Path| -> Result<PathBuf, StorageError> {
            let folder = root.join("version-2");
            durable_file::create_directory(&folder).map_err(StorageError::io(&folder, "create"))?;
            fs::canonicalize(&folder).map_err(StorageError::io(&folder, "open"))
        };
        let snapshots = open(data_dir)?;
        let logs = open(data_log_dir)?;
        locks.push(lock(data_dir)?);
        if logs != snapshots {
            locks.push(lock(data_log_dir)?);
        }
        let (data_dir, data_log_dir) = (data_dir.to_owned(), data_log_dir.to_owned());
        Ok((Directories { snapshots, logs, data_dir, data_log_dir }, Locks { _files: locks }))
    }

    /// The folders as they are: nothing is made, nothing is locked.
    pub(crate) fn at(data_dir: &Path, data_log_dir: &Path) -> Directories {
        let below = |root: &Path| {
            let folder = root.join("version-2");
            // A copy of a `version-2` is named by itself.
            if folder.is_dir() { folder } else { root.to_owned() }
        };
        Directories {
            snapshots: below(data_dir),
            logs: below(data_log_dir),
            data_dir: data_dir.to_owned(),
            data_log_dir: data_log_dir.to_owned(),
        }
    }

    /// `dataDir`.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Refuses folders of another user's.
    pub(crate) fn check_owner(&self) -> Result<(), StorageError> {
        owner::check(&self.data_dir)?;
        owner::check(&self.data_log_dir)
    }

    /// Each folder of files and the folder that it is in; one pair if both are one.
    pub(crate) fn roots(&self) -> Vec<(&Path, &Path)> {
        let mut roots = vec![(self.data_dir.as_path(), self.snapshots.as_path())];
        if self.logs != self.snapshots {
            roots.push((self.data_log_dir.as_path(), self.logs.as_path()));
        }
        roots
    }

    /// Refuses folders that are mixed up, as ZooKeeper does.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        if self.logs != self.snapshots {
            let misplaced = |folder: &Path, prefix: &str, what: &'static str| match names(folder)?
                .into_iter()
                .find(|name| name.starts_with(prefix))
            {
                None => Ok(()),
                Some(name) => Err(StorageError::WrongDirectory { path: folder.join(name), what }),
            };
            misplaced(&self.logs, "snapshot.", "a snapshot in the folder of the logs")?;
            misplaced(&self.snapshots, "log.", "a log in the folder of the snapshots")?;
        }
        Ok(())
    }

    /// Removes what was being written when the process died.
    pub(super) fn remove_temporaries(&self) -> Result<(), StorageError> {
        for (_, folder) in self.roots() {
            for name in names(folder)? {
                if name.starts_with("tmp.") {
                    let path = folder.join(name);
                    fs::remove_file(&path).map_err(StorageError::io(&path, "remove"))?;
                }
            }
        }
        Ok(())
    }

    /// The logs, oldest first.
    pub(crate) fn list_logs(&self) -> Result<Vec<DataFile>, StorageError> {
        list(&self.logs, "log", |suffix| suffix.is_none().then_some(Packing::Plain))
    }

    /// The snapshots, oldest first.
    pub(crate) fn list_snapshots(&self) -> Result<Vec<DataFile>, StorageError> {
        list(&self.snapshots, "snapshot", |suffix| match suffix {
            None => Some(Packing::Plain),
            Some("gz") => Some(Packing::Gzip),
            Some("snappy") => Some(Packing::Snappy),
            Some(_) => None,
        })
    }

    pub(super) fn log_path(&self, zxid: i64) -> PathBuf {
        self.logs.join(format!("log.{zxid:x}"))
    }

    pub(super) fn snapshot_path(&self, zxid: i64, packing: Packing) -> PathBuf {
        self.snapshots.join(format!("snapshot.{zxid:x}{}", packing.extension()))
    }

    /// The file `initialize` says that an empty start is meant. It counts once.
    pub(super) fn remove_initialize_marker(&self) -> Result<(), StorageError> {
        let marker = self.data_log_dir.join("initialize");
        match durable_file::remove(&marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::io(&marker, "remove")(error))
            }
            _ => Ok(()),
        }
    }
}

fn lock(root: &Path) -> Result<File, StorageError> {
    let path = root.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(StorageError::io(&path, "open"))?;
    lock_file(&file, &path)?;
    // Only for whoever looks: the lock is what counts.
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(StorageError::io(&path, "write"))?;
    Ok(file)
}

/// Held as long as a directory is looked into.
#[derive(Debug)]
pub(crate) struct OfflineLock {
    _file: File,
}

/// Locks the directory `root` as a server does, unless it was never locked by any.
pub(crate) fn lock_offline(root: &Path) -> Result<Option<OfflineLock>, StorageError> {
    let path = root.join(LOCK_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io(&path, "open")(error)),
    };
    lock_file(&file, &path)?;
    Ok(Some(OfflineLock { _file: file }))
}

fn lock_file(file: &File, path: &Path) -> Result<(), StorageError> {
    flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => StorageError::Locked { path: path.to_owned() },
        error => StorageError::io(path, "lock")(error.into()),
    })
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, StorageError> {
    let failed = || StorageError::io(folder, "list");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        names.push(entry.map_err(failed())?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn list(
    folder: &Path,
    prefix: &str,
    packing: impl Fn(Option<&str>) -> Option<Packing>,
) -> Result<Vec<DataFile>, StorageError> {
    let mut files = Vec::new();
    for name in names(folder)? {
        let Some(rest) = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        let (number, suffix) = match rest.split_once('.') {
            None => (rest, None),
            Some((number, suffix)) => (number, Some(suffix)),
        };
        let path = folder.join(&name);
        match (i64::from_str_radix(number, 16), packing(suffix)) {
            (Ok(zxid), Some(packing)) if zxid >= 0 => files.push(DataFile { zxid, path, packing }),
            (Ok(_), _) => {
                warn!("{}: not read here, but ZooKeeper would: move it away", path.display());
            }
            _ => {}
        }
    }
    files.sort_by_key(|file| (file.zxid, std::cmp::Reverse(file.packing)));
    Ok(files)
}
