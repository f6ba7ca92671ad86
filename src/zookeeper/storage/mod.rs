//! The data directory: transaction log and snapshots, in the format of Apache ZooKeeper.
//!
//! `dataLogDir/version-2/log.<zxid>` holds the transactions from that zxid on, and
//! `dataDir/version-2/snapshot.<zxid>` the whole database up to it. [`Storage::open`] loads the newest
//! snapshot and replays the log; from then on the writer's thread appends, commits and rolls.
//! All I/O here blocks.

mod adler32;
mod directory;
mod error;
mod log_reader;
mod log_writer;
mod recovery;
mod snapshot_reader;
mod snapshot_writer;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::directory::Directories;
pub use self::error::StorageError;
pub use self::log_reader::{Entry, LogReader, Opened};
pub use self::recovery::Recovery;
pub use self::snapshot_reader::{Loaded, SnapshotError, read_snapshot};
pub use self::snapshot_writer::{SnapshotInfo, SnapshotWriter};

use self::directory::Locks;
use self::log_writer::LogWriter;
use super::database::Database;
use super::txn::record::{DIGEST_VERSION, Txn, TxnDigest, TxnHeader};
use crate::config::CoordinatorConfig;

/// What the storage needs to know. Defaults are Apache ZooKeeper's.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// `dataDir`: snapshots go to its `version-2`.
    pub data_dir: PathBuf,
    /// `dataLogDir`: logs go to its `version-2`.
    pub data_log_dir: PathBuf,
    /// `preAllocSize`, in bytes.
    pub pre_alloc_size: u64,
    /// `forceSync`.
    pub force_sync: bool,
    /// `digest.enabled`.
    pub digest_enabled: bool,
    /// `trustEmptySnapshot`.
    pub trust_empty_snapshot: bool,
    /// `snapCount`, in transactions.
    pub snap_count: u64,
    /// `snapSizeLimitInKb`, in bytes; 0 = no limit.
    pub snap_size_limit: u64,
}

impl From<&CoordinatorConfig> for StorageConfig {
    fn from(config: &CoordinatorConfig) -> Self {
        StorageConfig {
            data_dir: config.data_dir.clone(),
            data_log_dir: config.data_log_dir.clone(),
            pre_alloc_size: config.pre_alloc_size,
            force_sync: config.force_sync,
            digest_enabled: config.digest_enabled,
            trust_empty_snapshot: config.trust_empty_snapshot,
            snap_count: config.snap_count,
            snap_size_limit: config.snap_size_limit,
        }
    }
}

/// The data directory, open and locked. Dropping it unlocks it; what was appended and not committed
/// is lost then.
#[derive(Debug)]
pub struct Storage {
    log: LogWriter,
    snapshots: SnapshotWriter,
    recovery: Recovery,
    snap_count: u64,
    snap_size_limit: u64,
    since_snapshot: Since,
    threshold: Since,
    _locks: Locks,
}

/// Log written since the last snapshot, or how much of it asks for the next one.
#[derive(Debug, Clone, Copy)]
struct Since {
    transactions: u64,
    bytes: u64,
}

impl Storage {
    /// Locks the directory, loads what is in it, and leaves it so that ZooKeeper could start on it:
    /// a snapshot is there, and no log ends in what it cannot skip.
    pub fn open(config: &StorageConfig) -> Result<(Storage, Database), StorageError> {
        let (directories, locks) = Directories::open(&config.data_dir, &config.data_log_dir)?;
        directories.check()?;
        let directories = Arc::new(directories);
        let snapshots = SnapshotWriter::new(directories.clone());
        let (mut database, recovery) = recovery::recover(&directories, config)?;
        if recovery.snapshot_needed {
            snapshots.write_now(&mut database)?;
        }
        directories.remove_initialize_marker()?;
        directories.remove_temporaries()?;
        let mut storage = Storage {
            log: LogWriter::new(directories, config, recovery.last_zxid),
            snapshots,
            snap_count: config.snap_count,
            snap_size_limit: config.snap_size_limit,
            since_snapshot: Since {
                transactions: recovery.replayed,
                bytes: recovery.replayed_bytes,
            },
            threshold: Since { transactions: 0, bytes: 0 },
            recovery,
            _locks: locks,
        };
        storage.choose_threshold();
        Ok((storage, database))
    }

    /// What was found at the start.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Adds a transaction to the batch. `digest` is that of the tree after it, if digests are kept.
    /// Its zxid must be above all before it.
    pub fn append(
        &mut self,
        header: &TxnHeader,
        txn: &Txn,
        digest: Option<u64>,
    ) -> Result<(), StorageError> {
        let digest = digest
            .map(|digest| TxnDigest { version: DIGEST_VERSION, tree_digest: digest.cast_signed() });
        let bytes = self.log.append(header, txn, digest)?;
        self.since_snapshot.transactions += 1;
        self.since_snapshot.bytes += bytes as u64;
        Ok(())
    }

    /// Writes the batch and fsyncs it, once. After an error nothing can be written any more, and
    /// whether the batch is durable is unknown: the process must stop.
    pub fn commit(&mut self) -> Result<(), StorageError> {
        self.log.commit()
    }

    /// Bytes of the batch so far.
    pub fn pending_bytes(&self) -> usize {
        self.log.pending_bytes()
    }

    /// Whether so much was logged since the last snapshot that it is time for another.
    pub fn snapshot_due(&self) -> bool {
        self.since_snapshot.transactions > self.threshold.transactions
            || (self.snap_size_limit > 0 && self.since_snapshot.bytes > self.threshold.bytes)
    }

    /// Commits, and lets the next transaction begin a new log file. Goes with the begin of a snapshot.
    pub fn roll(&mut self) -> Result<(), StorageError> {
        self.log.roll()?;
        self.since_snapshot = Since { transactions: 0, bytes: 0 };
        self.choose_threshold();
        Ok(())
    }

    /// Writes snapshots and purges old ones, from any thread.
    pub fn snapshot_writer(&self) -> SnapshotWriter {
        self.snapshots.clone()
    }

    /// Bytes in the log file that is being written.
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// A different point between half and all of the configured distance each time, as ZooKeeper does
    /// so that the members of an ensemble do not all write at once.
    fn choose_threshold(&mut self) {
        let choose = |whole: u64| whole / 2 + rand::random_range(0..=whole.div_ceil(2));
        self.threshold =
            Since { transactions: choose(self.snap_count), bytes: choose(self.snap_size_limit) };
    }
}

#[cfg(test)]
mod tests;
