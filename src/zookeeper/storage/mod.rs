//! The data directory: transaction log and snapshots, in the format of Apache ZooKeeper.
//!
//! `dataLogDir/version-2/log.<zxid>` holds the transactions from that zxid on, and
//! `dataDir/version-2/snapshot.<zxid>` the whole database up to it. [`Storage::open`] loads the newest
//! snapshot and replays the log; from then on the writer's thread appends, commits and rolls.
//! All I/O here blocks.

mod adler32;
pub(crate) mod directory;
mod disk;
pub(crate) mod epochs;
mod error;
mod handover;
pub(crate) mod log_reader;
mod log_writer;
pub(crate) mod marker;
mod owner;
mod packing;
pub(crate) mod recovery;
pub(crate) mod snapshot_reader;
mod snapshot_writer;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::directory::Directories;
pub use self::disk::{Disk, DiskFile, FileSystem};
pub use self::error::StorageError;
pub use self::log_reader::{Entry, LogReader, Opened};
pub use self::recovery::Recovery;
pub use self::snapshot_reader::{Loaded, SnapshotError, read_snapshot};
pub use self::snapshot_writer::{HoldTimer, SnapshotInfo, SnapshotWriter};

use self::directory::{Locks, Packing};
use self::epochs::Epochs;
use self::log_writer::LogWriter;
use self::marker::{Marker, Position};
use self::recovery::{ReadOptions, Recovered};
use super::database::Database;
use super::session::is_standalone_id;
use super::stat::Ownership;
use super::txn::record::{DIGEST_VERSION, Txn, TxnDigest, TxnHeader};
use crate::config::{CoordinatorConfig, SnapshotCompression};

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
    /// `snapshot.compression.method`.
    pub snapshot_compression: SnapshotCompression,
    /// `datadir.autocreate`.
    pub data_dir_autocreate: bool,
    /// `extendedTypesEnabled`.
    pub extended_types_enabled: bool,
    /// `doorkeeper.take.over.member`.
    pub take_over_member: bool,
    /// `txnLogSizeLimitInKb`, in bytes; 0 = no limit.
    pub txn_log_size_limit: u64,
    /// `serializeLastProcessedZxid.enabled`.
    pub serialize_last_zxid: bool,
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
            snapshot_compression: config.snapshot_compression,
            data_dir_autocreate: config.data_dir_autocreate,
            extended_types_enabled: config.extended_types_enabled,
            take_over_member: config.take_over_member,
            txn_log_size_limit: config.txn_log_size_limit,
            serialize_last_zxid: config.serialize_last_zxid,
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
    directories: Arc<Directories>,
    marker: Marker,
    snap_count: u64,
    snap_size_limit: u64,
    extended_types_enabled: bool,
    txn_log_size_limit: u64,
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
        Storage::open_on(config, Arc::new(FileSystem))
    }

    /// The same, with log and snapshots written through `disk`.
    pub fn open_on(
        config: &StorageConfig,
        disk: Arc<dyn Disk>,
    ) -> Result<(Storage, Database), StorageError> {
        owner::check(&config.data_dir)?;
        owner::check(&config.data_log_dir)?;
        if !config.data_dir_autocreate {
            for root in [&config.data_dir, &config.data_log_dir] {
                let path = root.join("version-2");
                if !path.is_dir() {
                    return Err(StorageError::Missing { path });
                }
            }
        }
        let (directories, locks) = Directories::open(&config.data_dir, &config.data_log_dir)?;
        directories.check()?;
        let epochs = Epochs::read(&directories.snapshots)?;
        if epochs.is_some() && !config.take_over_member {
            return Err(StorageError::Ensemble { path: directories.snapshots.clone() });
        }
        let options = ReadOptions {
            digest_enabled: config.digest_enabled,
            trust_empty_snapshot: config.trust_empty_snapshot,
        };
        let mut recovered = recovery::recover(&directories, options)?;
        if !config.extended_types_enabled {
            refuse_time_to_live(&directories, &recovered.database)?;
        }
        // Up to here nothing was changed.
        let marker = take_over(&directories, &mut recovered, epochs)?;
        let Recovered { mut database, mut recovery, cuts } = recovered;
        for cut in cuts {
            cut.make()?;
        }
        recovery.last_zxid = database.tree.last_zxid();
        let directories = Arc::new(directories);
        let packing = Packing::from(config.snapshot_compression);
        let snapshots = SnapshotWriter::new(
            Arc::clone(&directories),
            Arc::clone(&disk),
            packing,
            config.serialize_last_zxid,
        );
        if recovery.snapshot_needed {
            snapshots.write_now(&mut database)?;
        }
        directories.remove_initialize_marker()?;
        directories.remove_temporaries()?;
        marker.write(directories.data_dir())?;
        let mut storage = Storage {
            log: LogWriter::new(Arc::clone(&directories), disk, config, recovery.last_zxid),
            snapshots,
            snap_count: config.snap_count,
            snap_size_limit: config.snap_size_limit,
            extended_types_enabled: config.extended_types_enabled,
            txn_log_size_limit: config.txn_log_size_limit,
            since_snapshot: Since {
                transactions: recovery.replayed,
                bytes: recovery.replayed_bytes,
            },
            threshold: Since { transactions: 0, bytes: 0 },
            recovery,
            directories,
            marker,
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
        let appended = self.log.append(header, txn, digest)?;
        if let Some(log) = appended.begun {
            self.note_log(log);
        }
        if is_standalone_id(header.client_id) {
            self.marker.highest_session = self.marker.highest_session.max(header.client_id);
        }
        self.since_snapshot.transactions += 1;
        self.since_snapshot.bytes += appended.bytes as u64;
        Ok(())
    }

    /// Writes the batch and fsyncs it, once. After an error nothing can be written any more, and
    /// whether the batch is durable is unknown: the process must stop.
    pub fn commit(&mut self) -> Result<(), StorageError> {
        if let Some(log) = self.log.commit()? {
            self.note_log(log);
        }
        if self.txn_log_size_limit > 0 && self.log.bytes() > self.txn_log_size_limit {
            self.log.roll();
        }
        Ok(())
    }

    /// Commits, and notes that nothing was written behind it. Nothing can be added any more.
    pub fn close(&mut self) -> Result<(), StorageError> {
        self.commit()?;
        self.log.fail();
        self.marker = Marker { last_zxid: self.log.last_zxid(), stopped: true, ..self.marker };
        self.marker.write(self.directories.data_dir())
    }

    /// Notes that a log was begun, whose first batch is durable.
    fn note_log(&mut self, log: i64) {
        self.marker = Marker { last_zxid: log, log: Some(log), stopped: false, ..self.marker };
        if let Err(error) = self.marker.write(self.directories.data_dir()) {
            // The next start takes it that ZooKeeper wrote last: it keeps more than it has to.
            tracing::warn!(%error, "the marker of what was written here can't be written");
        }
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
        self.commit()?;
        self.log.roll();
        self.since_snapshot = Since { transactions: 0, bytes: 0 };
        self.choose_threshold();
        Ok(())
    }

    /// Why a database can't be put in the place of the present one, if it can't.
    pub fn refuses(&self, database: &Database) -> Result<(), StorageError> {
        if self.extended_types_enabled {
            Ok(())
        } else {
            refuse_time_to_live(&self.directories, database)
        }
    }

    /// Begins anew with this database, whose zxid is above all before it: a snapshot of it is written,
    /// and the next transaction begins a log behind it. Older files stay until they are purged.
    pub fn replace(&mut self, database: &mut Database) -> Result<(), StorageError> {
        self.roll()?;
        self.snapshots.write_now(database)?;
        self.log.advance(database.tree.last_zxid());
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

/// What is due before the first write, if somebody else wrote here last: the files are kept as they are,
/// and a member's epoch goes up. The zxid of a member's begins with its epoch.
fn take_over(
    directories: &Directories,
    recovered: &mut Recovered,
    epochs: Option<Epochs>,
) -> Result<Marker, StorageError> {
    let Recovered { database, recovery, .. } = recovered;
    let last_zxid = database.tree.last_zxid();
    let found =
        Position { last_zxid, last_logged: recovery.last_logged, log: recovery.newest_log, epochs };
    let before = Marker::read(directories.data_dir())?;
    if let Some(marker) = before {
        recovery.saw_session(marker.highest_session);
    }
    recovery.member = epochs.is_some();
    recovery.handed_over = !before.is_some_and(|marker| marker.matches(&found));
    let mut epochs = epochs;
    if recovery.handed_over {
        for kept in keep_files(directories, last_zxid)? {
            tracing::info!("the files as they were are kept in {}", kept.display());
        }
        if let Some(found) = epochs {
            epochs = Some(found.raise(&directories.snapshots, last_zxid)?.0);
        }
    }
    if let Some(epochs) = epochs {
        database.tree.advance(epochs.first_zxid());
    }
    Ok(Marker {
        last_zxid: database.tree.last_zxid(),
        log: recovery.newest_log,
        epochs,
        highest_session: recovery.highest_own_session(),
        stopped: false,
    })
}

/// Keeps the files as they are, as of the transaction `last_zxid`. Returns where: a folder below `dataDir`,
/// and one below `dataLogDir` if that is another one.
pub(crate) fn keep_files(
    directories: &Directories,
    last_zxid: i64,
) -> Result<Vec<PathBuf>, StorageError> {
    let mut kept = Vec::new();
    for (root, folder) in directories.roots() {
        kept.extend(handover::keep(root, folder, last_zxid)?);
    }
    Ok(kept)
}

/// ZooKeeper with `extendedTypesEnabled` off takes the owner of a node with a time to live for a session
/// that is gone, and deletes the node.
fn refuse_time_to_live(directories: &Directories, database: &Database) -> Result<(), StorageError> {
    let expiring = database.tree.expiring(0, usize::MAX);
    let mut paths: Vec<String> = expiring
        .filter(|node| matches!(Ownership::of(node.ephemeral_owner()), Ownership::Ttl(_)))
        .map(|node| node.path())
        .collect();
    paths.sort_unstable();
    match paths.first() {
        None => Ok(()),
        Some(node) => Err(StorageError::TimeToLive {
            path: directories.snapshots.clone(),
            node: node.clone(),
            count: paths.len(),
        }),
    }
}

#[cfg(test)]
mod tests;
