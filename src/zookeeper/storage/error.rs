//! What can go wrong with a data directory, each in one line that says what can be done.

use std::io;
use std::path::{Path, PathBuf};

/// Why a data directory cannot be used, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("{}: {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What it answered.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{}: another process uses this data directory; stop it, or set another dataDir", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The directory of an ensemble's member.
    #[error("{}: this data directory belongs to a member of a ZooKeeper ensemble, and its epoch files say so; to take over from the ensemble, stop all of its servers and start on the directory of the one with the last zxid, with doorkeeper.take.over.member=true", path.display())]
    Ensemble {
        /// The folder of the epoch files.
        path: PathBuf,
    },
    /// An epoch file of an ensemble's member that cannot be used.
    #[error("{}: {what}", path.display())]
    Epoch {
        /// The epoch file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Another user's directory.
    #[error("{}: this data directory belongs to user {owner}, and this process runs as user {user}: its files would stop a server of the owner's; start it as user {owner}", path.display())]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// A folder that must be there already.
    #[error("{}: there is no such folder, and datadir.autocreate=false forbids to make it", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// Nodes with a time to live, which are switched off.
    #[error("{}: node {node} has a time to live (there are {count} such nodes), and extendedTypesEnabled is off: ZooKeeper would delete them; set extendedTypesEnabled=true", path.display())]
    TimeToLive {
        /// The folder of the snapshots.
        path: PathBuf,
        /// One of them.
        node: String,
        /// How many there are.
        count: usize,
    },
    /// `dataDir` and `dataLogDir` are mixed up.
    #[error("{}: {what}; check whether dataDir and dataLogDir are what they were", path.display())]
    WrongDirectory {
        /// The file that should not be there.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// There are logs, but nothing that they continue.
    #[error("{}: there are transaction logs, but no snapshot that can be read; bring the snapshots back from a copy, or set trustEmptySnapshot=true if there never was one (ZooKeeper before 3.5)", path.display())]
    NoSnapshot {
        /// Where the snapshots should be.
        path: PathBuf,
    },
    /// A file does not hold what was once written to it.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong, and what can be done.
        what: String,
    },
    /// A transaction that does not follow the last one.
    #[error("transaction 0x{zxid:x} does not follow 0x{last:x}")]
    Order {
        /// Its zxid.
        zxid: i64,
        /// The last one's.
        last: i64,
    },
    /// More changed while a snapshot was written than could be kept for it. The next one may succeed.
    #[error("snapshot of 0x{zxid:x} given up: too much changed while it was written")]
    SnapshotOverflow {
        /// The zxid that it was of.
        zxid: i64,
    },
    /// An earlier write failed: whether it is durable is unknown, and nothing can be added.
    #[error("an earlier write to the transaction log failed")]
    Failed,
}

impl StorageError {
    /// Whether a disk, or what this user may use of it, is full: it may have room again later.
    pub fn is_full_disk(&self) -> bool {
        matches!(self, StorageError::Io { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ))
    }

    /// Names the file and the attempt for an error of the operating system.
    pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> StorageError {
        let path = path.to_owned();
        move |source| StorageError::Io { path, action, source }
    }
}
