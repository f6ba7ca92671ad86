//! One partition's log.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{LogConfig, LogError};

/// What an append needs to know besides the batch.
#[derive(Debug, Clone, Copy)]
pub struct AppendOptions {
    /// Version of the Produce request, which decides what a batch may hold.
    pub produce_version: i16,
    /// The broker's clock, milliseconds since 1970.
    pub now_ms: i64,
    /// The leader epoch that is stamped into the batch.
    pub leader_epoch: i32,
}

/// The place that a batch was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// The broker's timestamp under `LogAppendTime`, else −1.
    pub log_append_time: i64,
    /// The log start offset at that time.
    pub log_start_offset: i64,
    /// The batch was there already: an idempotent producer sent it again. Nothing was written.
    pub duplicate: bool,
    /// `flush.messages` is reached: call [`PartitionLog::flush`] (blocking) before acknowledging.
    /// Consumers do not see the batch before.
    pub flush_due: bool,
}

/// Whole record batches from one segment, and the log's offsets at the time of the read.
#[derive(Debug, Clone)]
pub struct LogSlice {
    /// Batches; the first may begin before the offset asked for. Empty at the end of the log.
    pub bytes: Bytes,
    /// Offset after the last record that consumers may see.
    pub high_watermark: i64,
    /// Offset of the first record.
    pub log_start_offset: i64,
}

/// An answer of `ListOffsets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp, −1 if it plays no part.
    pub timestamp: i64,
    /// The leader epoch it was written in, −1 if unknown.
    pub leader_epoch: i32,
}

/// An idempotent producer that a log remembers, for `DescribeProducers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerInfo {
    /// The producer's id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Sequence number of its last record, −1 if none.
    pub last_sequence: i32,
    /// Timestamp of its last batch, −1 if none.
    pub last_timestamp: i64,
    /// Epoch of the last transaction coordinator that wrote a marker, −1 if none.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, −1 if none.
    pub current_transaction_start_offset: i64,
}

/// One partition's log. Thread safe; its methods block on files for a short while.
#[derive(Debug)]
pub struct PartitionLog {
    topic: Arc<str>,
    topic_id: Uuid,
    partition: i32,
}

impl PartitionLog {
    /// The topic's name.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The topic's id; nil for a log of an old Kafka without `partition.metadata`.
    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The directory of `log.dirs` that the log lives in.
    pub fn parent_directory(&self) -> PathBuf {
        PathBuf::new()
    }

    /// Appends one record batch as a producer sent it: checked, given its offsets, written with
    /// one system call. The file's data is in the operating system's hands when this returns.
    ///
    /// # Errors
    /// Every refusal of [`LogError`]; nothing of a refused batch is written.
    pub fn append(&self, records: &Bytes, options: &AppendOptions) -> Result<AppendInfo, LogError> {
        let _ = (records, options);
        Err(LogError::Deleted)
    }

    /// Whole batches from `offset` on, from one segment, at most `max_bytes`; if
    /// `at_least_one`, the first batch comes even if it is larger. Only what lies below the high
    /// watermark.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] below the log start offset or above the log end offset.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<LogSlice, LogError> {
        let _ = (offset, max_bytes, at_least_one);
        Err(LogError::Deleted)
    }

    /// Bytes that a read at `offset` could have now, without reading; 0 if out of range. An
    /// estimate (it counts from the batch's segment position), for the `min_bytes` of a Fetch.
    pub fn available_bytes(&self, offset: i64) -> u64 {
        let _ = offset;
        0
    }

    /// Calls `waiter.notify_one()` at every append and at the log's deletion until the guard drops.
    pub fn watch(self: &Arc<Self>, waiter: &Arc<Notify>) -> AppendWatch {
        AppendWatch { log: Arc::clone(self), waiter: Arc::clone(waiter) }
    }

    /// Offset of the first record that can be read.
    pub fn log_start_offset(&self) -> i64 {
        0
    }

    /// Offset that the next record gets.
    pub fn log_end_offset(&self) -> i64 {
        0
    }

    /// Offset after the last record that consumers may see.
    pub fn high_watermark(&self) -> i64 {
        0
    }

    /// The first record with at least this timestamp, `None` if there is none.
    ///
    /// # Errors
    /// [`LogError::Storage`].
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
    ) -> Result<Option<TimestampedOffset>, LogError> {
        let _ = timestamp;
        Ok(None)
    }

    /// The record with the largest timestamp, the first of several; `None` on an empty log.
    ///
    /// # Errors
    /// [`LogError::Storage`].
    pub fn max_timestamp(&self) -> Result<Option<TimestampedOffset>, LogError> {
        Ok(None)
    }

    /// Remembers that a leader epoch begins at the log end offset. To be called when this broker
    /// becomes the partition's leader; without effect for an epoch that is not newer.
    ///
    /// # Errors
    /// [`LogError::Storage`] if `leader-epoch-checkpoint` can't be written.
    pub fn begin_leader_epoch(&self, leader_epoch: i32) -> Result<(), LogError> {
        let _ = leader_epoch;
        Ok(())
    }

    /// The newest leader epoch of the log, `None` if it has none.
    pub fn latest_leader_epoch(&self) -> Option<i32> {
        None
    }

    /// The largest epoch up to `leader_epoch` that the log knows, and the offset at which it ends;
    /// `None` if the log knows none such (`OffsetForLeaderEpoch`, KIP-101 and KIP-279).
    pub fn epoch_end_offset(&self, leader_epoch: i32) -> Option<(i32, i64)> {
        let _ = leader_epoch;
        None
    }

    /// Moves the log start offset up to `offset` (`DeleteRecords`); answers the new low watermark.
    /// Whole segments below go later, with the next retention check. −1 means the high watermark.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] above the high watermark.
    pub fn delete_records(&self, offset: i64) -> Result<i64, LogError> {
        let _ = offset;
        Ok(0)
    }

    /// Makes everything appended so far durable (fdatasync). Blocking. Several callers share one
    /// flush.
    ///
    /// # Errors
    /// A failed flush puts the whole directory offline; it is never tried again.
    pub fn flush(&self) -> Result<(), LogError> {
        Ok(())
    }

    /// Bytes of all segments' `.log` files.
    pub fn size(&self) -> u64 {
        0
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        0
    }

    /// The idempotent producers that the log remembers.
    pub fn producers(&self) -> Vec<ProducerInfo> {
        Vec::new()
    }

    /// The configuration in effect.
    pub fn config(&self) -> Arc<LogConfig> {
        Arc::default()
    }

    /// Puts another configuration into effect.
    pub fn update_config(&self, config: LogConfig) {
        let _ = config;
    }
}

/// A registration of [`PartitionLog::watch`], which ends when this is dropped.
#[derive(Debug)]
pub struct AppendWatch {
    log: Arc<PartitionLog>,
    waiter: Arc<Notify>,
}

impl AppendWatch {
    /// The log that is watched.
    pub fn log(&self) -> &Arc<PartitionLog> {
        let _ = &self.waiter;
        &self.log
    }
}
