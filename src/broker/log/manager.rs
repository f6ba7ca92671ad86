//! Every partition log of this broker: creation, deletion, and where they are found.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tracing::warn;
use uuid::Uuid;

use super::cleaner::{Cleaner, CleanerOptions};
use super::directory::{Housekeeping, LogDirectory};
use super::files::{rename, sync_directory};
use super::load::{LoadOptions, load};
use super::startup;
use super::{LogConfig, LogDirectories, LogError, PartitionLog};
use crate::{calendar, limits};

/// What a [`LogManager`] is started with. Defaults are Apache Kafka 3.9's.
#[derive(Debug, Clone)]
pub struct LogManagerOptions {
    /// The configuration of a log until its topic's own is known.
    pub defaults: LogConfig,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `log.flush.scheduler.interval.ms`.
    pub flush_check_interval: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub checkpoint_interval: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// Compaction.
    pub cleaner: CleanerOptions,
}

impl Default for LogManagerOptions {
    fn default() -> Self {
        LogManagerOptions {
            defaults: LogConfig::default(),
            retention_check_interval: Duration::from_mins(5),
            flush_check_interval: Duration::from_secs(3),
            checkpoint_interval: Duration::from_mins(1),
            producer_id_expiration: Duration::from_hours(24),
            cleaner: CleanerOptions::default(),
        }
    }
}

/// One directory of `log.dirs`, for `DescribeLogDirs`.
#[derive(Debug, Clone)]
pub struct LogDirectoryInfo {
    /// Its absolute path.
    pub path: PathBuf,
    /// Set after a flush failed: its logs answer `KAFKA_STORAGE_ERROR` until a restart.
    pub offline: bool,
    /// Size of the file system in bytes; −1 if unknown.
    pub total_bytes: i64,
    /// Free bytes for this process; −1 if unknown.
    pub usable_bytes: i64,
}

pub(super) type Logs = HashMap<Arc<str>, BTreeMap<i32, Arc<PartitionLog>>>;

/// Every log of this broker. Its methods block on files for a short while unless they say more.
#[derive(Debug)]
pub struct LogManager {
    pub(super) directories: Vec<Arc<LogDirectory>>,
    pub(super) options: LogManagerOptions,
    pub(super) logs: RwLock<Logs>,
    /// Logs that could not be loaded, with the reason: they are left alone.
    pub(super) unreadable: HashMap<(String, i32), String>,
    /// Held while a log is made or removed.
    changing: Mutex<()>,
    /// Files and directories to remove, with the time when.
    pub(super) removals: Mutex<Vec<(i64, PathBuf)>>,
    pub(super) housekeeping: Arc<Housekeeping>,
    pub(super) thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    pub(super) cleaner: Cleaner,
    /// Kept for their locks.
    locked: LogDirectories,
}

impl LogManager {
    /// Loads every log of the directories; after an unclean stop, recovers what was not flushed.
    /// Until [`LogManager::update_config`] a log has the defaults, and nothing is trimmed before
    /// the first retention check. Starts two background threads. Blocking, for seconds.
    ///
    /// # Errors
    /// A directory that can't be read or written. A single log that can't be read is named in an
    /// ERROR instead, and answers `KAFKA_STORAGE_ERROR`.
    pub fn open(
        directories: LogDirectories,
        options: LogManagerOptions,
    ) -> Result<Arc<LogManager>, LogError> {
        let housekeeping = Arc::new(Housekeeping::default());
        let mut manager = LogManager {
            directories: directories
                .paths()
                .iter()
                .map(|path| Arc::new(LogDirectory::new(path.clone(), Arc::clone(&housekeeping))))
                .collect(),
            options,
            logs: RwLock::default(),
            unreadable: HashMap::new(),
            changing: Mutex::new(()),
            removals: Mutex::default(),
            housekeeping,
            thread: Mutex::new(None),
            cleaner: Cleaner::default(),
            locked: directories,
        };
        startup::load_all(&mut manager)?;
        let manager = Arc::new(manager);
        manager.start_housekeeping()?;
        manager.start_cleaner()?;
        Ok(manager)
    }

    /// The log of a partition, if there is one on this broker.
    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<PartitionLog>> {
        self.logs.read().get(topic)?.get(&partition).map(Arc::clone)
    }

    /// The log of a partition, made if it is missing. An existing directory of another topic id
    /// under this name is set aside, renamed to `<topic>-<partition>.<hex>-stray`, with a WARN:
    /// nothing of it is lost. A directory without a topic id takes this one.
    ///
    /// # Errors
    /// [`LogError::Storage`] if files can't be made or this log could not be loaded;
    /// [`LogError::Offline`].
    pub fn get_or_create(
        &self,
        topic: &str,
        topic_id: Uuid,
        partition: i32,
        config: &LogConfig,
    ) -> Result<Arc<PartitionLog>, LogError> {
        let fits = |log: &PartitionLog| {
            log.topic_id() == topic_id || log.topic_id().is_nil() || topic_id.is_nil()
        };
        let _changing = self.changing.lock();
        if let Some(log) = self.get(topic, partition) {
            if fits(&log) {
                log.set_topic_id(topic_id)?;
                if *log.config() != *config {
                    log.update_config(config.clone());
                }
                return Ok(log);
            }
            let aside = self.rename_away(&log, "stray")?;
            warn!(
                topic, partition, of_topic_id = %log.topic_id(), new_topic_id = %topic_id,
                kept_as = %aside.display(), "the log of another topic of this name is set aside"
            );
        }
        if let Some(reason) = self.unreadable.get(&(topic.to_owned(), partition)) {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, reason.as_str());
            return Err(LogError::storage(format!("{topic}-{partition}"), error));
        }
        let directory = self.emptiest_directory()?;
        let path = directory.path().join(format!("{topic}-{partition}"));
        std::fs::create_dir_all(&path).map_err(|error| LogError::storage(&path, error))?;
        let loaded = load(
            &path,
            topic,
            &LoadOptions {
                clean: false,
                recovery_point: 0,
                log_start_offset: 0,
                index_interval_bytes: config.index_interval_bytes,
                now_ms: calendar::now_ms(),
                producer_id_expiration_ms: self.producer_id_expiration_ms(),
            },
        )?;
        let log = PartitionLog::assemble(topic, partition, directory, path, config.clone(), loaded);
        log.set_topic_id(topic_id)?;
        let log = Arc::new(log);
        let mut logs = self.logs.write();
        logs.entry(Arc::clone(log.topic())).or_default().insert(partition, Arc::clone(&log));
        Ok(log)
    }

    /// Deletes the logs of a topic that have this id (or none): their directories are renamed to
    /// `<topic>-<partition>.<hex>-delete` before this returns, and removed after
    /// `file.delete.delay.ms`. Answers how many there were.
    ///
    /// # Errors
    /// [`LogError::Storage`] if a rename fails.
    pub fn delete_topic(&self, topic: &str, topic_id: Uuid) -> Result<usize, LogError> {
        let _changing = self.changing.lock();
        let logs: Vec<Arc<PartitionLog>> = match self.logs.read().get(topic) {
            Some(partitions) => partitions.values().map(Arc::clone).collect(),
            None => return Ok(0),
        };
        let mut count = 0;
        for log in logs {
            if log.topic_id() == topic_id || log.topic_id().is_nil() {
                let delay = log.config().file_delete_delay_ms;
                let path = self.rename_away(&log, "delete")?;
                self.remove_later(calendar::now_ms().saturating_add(delay), vec![path]);
                count += 1;
            }
        }
        if count > 0 {
            self.housekeeping.signal(|signals| signals.checkpoint = true);
        }
        Ok(count)
    }

    /// Closes a log and gives its directory a name that no partition has.
    fn rename_away(&self, log: &PartitionLog, suffix: &str) -> Result<PathBuf, LogError> {
        let unique = Uuid::new_v4().simple().to_string();
        let tail = format!("-{}.{unique}-{suffix}", log.partition());
        // A file name has at most 255 bytes: long topic names lose their end, as with Kafka.
        let kept = log.topic().len().min(255 - tail.len());
        let name = format!("{}{tail}", log.topic().get(..kept).unwrap_or_default());
        let to = log.parent_directory().join(name);
        log.mark_removed();
        rename(&log.path, &to)?;
        sync_directory(log.parent_directory())?;
        let mut logs = self.logs.write();
        if let Some(partitions) = logs.get_mut(log.topic()) {
            partitions.remove(&log.partition());
            if partitions.is_empty() {
                logs.remove(log.topic());
            }
        }
        Ok(to)
    }

    /// Gives the logs of a topic a new configuration, which takes effect at once.
    pub fn update_config(&self, topic: &str, config: &LogConfig) {
        if let Some(partitions) = self.logs.read().get(topic) {
            for log in partitions.values() {
                log.update_config(config.clone());
            }
        }
    }

    /// Every log, in no order.
    pub fn logs(&self) -> Vec<Arc<PartitionLog>> {
        self.logs.read().values().flat_map(BTreeMap::values).map(Arc::clone).collect()
    }

    /// The directories, with their state and the space of their file systems.
    pub fn directories(&self) -> Vec<LogDirectoryInfo> {
        self.directories
            .iter()
            .map(|directory| {
                let space = rustix::fs::statvfs(directory.path()).ok();
                let bytes = |blocks: u64, size: u64| {
                    i64::try_from(blocks.saturating_mul(size)).unwrap_or(i64::MAX)
                };
                LogDirectoryInfo {
                    path: directory.path().to_owned(),
                    offline: directory.is_offline(),
                    total_bytes: space.as_ref().map_or(-1, |s| bytes(s.f_blocks, s.f_frsize)),
                    usable_bytes: space.as_ref().map_or(-1, |s| bytes(s.f_bavail, s.f_frsize)),
                }
            })
            .collect()
    }

    /// The online directory with the fewest logs.
    fn emptiest_directory(&self) -> Result<Arc<LogDirectory>, LogError> {
        let online = || self.directories.iter().filter(|directory| !directory.is_offline());
        let chosen = if online().count() > 1 {
            let mut counts: HashMap<PathBuf, usize> = HashMap::new();
            for log in self.logs() {
                *counts.entry(log.parent_directory().to_owned()).or_default() += 1;
            }
            online().min_by_key(|directory| counts.get(directory.path()).copied().unwrap_or(0))
        } else {
            online().next()
        };
        match chosen {
            Some(directory) => Ok(Arc::clone(directory)),
            None => Err(LogError::Offline(self.locked.first().to_owned())),
        }
    }

    pub(super) fn producer_id_expiration_ms(&self) -> i64 {
        i64::try_from(self.options.producer_id_expiration.as_millis()).unwrap_or(i64::MAX)
    }

    /// Resolves, with the reason, once every directory is offline: the broker can't go on.
    pub async fn failed(&self) -> String {
        loop {
            let changed = self.housekeeping.went_offline.notified();
            if self.directories.iter().all(|directory| directory.is_offline()) {
                return format!(
                    "every log directory is offline after a failed write: {}",
                    self.directories
                        .iter()
                        .map(|directory| directory.path().display().to_string())
                        .collect::<Vec<_>>()
                        .join(", ")
                );
            }
            changed.await;
        }
    }

    pub(super) fn remove_later(&self, due_ms: i64, paths: Vec<PathBuf>) {
        let mut removals = self.removals.lock();
        removals.extend(paths.into_iter().map(|path| (due_ms, path)));
        // What does not fit is removed at the next start.
        removals.truncate(limits::PENDING_REMOVALS_MAX);
    }

    /// Where a file that concerns all logs of a directory is.
    pub(super) fn file_in(directory: &LogDirectory, name: &str) -> PathBuf {
        Path::join(directory.path(), name)
    }
}
