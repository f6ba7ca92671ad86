//! One partition's log: its state, and what is read off it without touching a file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use super::checkpoint::{LEADER_EPOCHS, PARTITION_METADATA, write_epochs, write_topic_id};
use super::directory::LogDirectory;
use super::files::FileSlice;
use super::leader_epochs::LeaderEpochs;
use super::producer_state::ProducerStates;
use super::segment::Segment;
use super::{AbortedTransaction, LogConfig, LogError};

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
    /// Batches; the first may begin before the offset asked for. `None` at the end of the log.
    pub batches: Option<FileSlice>,
    /// Offset after the last record that consumers may see.
    pub high_watermark: i64,
    /// Where the first open transaction begins, or the high watermark.
    pub last_stable_offset: i64,
    /// Offset of the first record.
    pub log_start_offset: i64,
    /// The aborted transactions that have records in the batches; only looked for by
    /// [`PartitionLog::locate_committed`].
    pub aborted: Vec<AbortedTransaction>,
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
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// `topic-partition`, as messages name it.
    pub(super) name: String,
    pub(super) topic_id: OnceLock<Uuid>,
    pub(super) directory: Arc<LogDirectory>,
    /// The partition's own directory.
    pub(super) path: PathBuf,
    pub(super) config: ArcSwap<LogConfig>,
    /// Oldest first, never empty; the last one is appended to.
    pub(super) segments: ArcSwap<Vec<Arc<Segment>>>,
    pub(super) appender: Mutex<Appender>,
    pub(super) log_start_offset: AtomicI64,
    pub(super) log_end_offset: AtomicI64,
    pub(super) high_watermark: AtomicI64,
    pub(super) last_stable_offset: AtomicI64,
    /// Everything before this offset is on disk.
    pub(super) recovery_point: AtomicI64,
    /// Held by the one flush that runs.
    pub(super) flushing: Mutex<()>,
    /// Files were made or removed since the directory was last synced.
    pub(super) directory_changed: AtomicBool,
    /// A segment was closed and waits for its flush.
    pub(super) rolled: AtomicBool,
    /// The log was deleted or the broker stops; set with the appender's lock held.
    closed: AtomicBool,
    waiters: Mutex<Vec<Arc<Notify>>>,
    waiter_count: AtomicUsize,
    pub(super) places: Mutex<ReadPlaces>,
    /// Held while the log is compacted, or while retention looks at it.
    pub(super) cleaning: Mutex<()>,
    /// Everything before this offset is compacted; −1 if nothing is known.
    pub(super) cleaned_to: AtomicI64,
    /// Compaction met damage and leaves the log alone.
    pub(super) uncleanable: AtomicBool,
}

/// What only the thread that appends, rolls or trims may change.
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) next_offset: i64,
    /// Bytes appended since the last index entry.
    pub(super) since_entry: u64,
    /// The active segment's largest timestamp, and the last offset of the batch with it.
    pub(super) max_timestamp: (i64, i64),
    /// The largest timestamp of the active segment's first batch.
    pub(super) first_timestamp: Option<i64>,
    /// When the active segment was made or opened.
    pub(super) opened_ms: i64,
    pub(super) producers: ProducerStates,
    pub(super) epochs: LeaderEpochs,
    /// Records since the last flush.
    pub(super) unflushed: i64,
    pub(super) last_flush_ms: i64,
    /// Records wait for a flush before consumers may see them.
    pub(super) flush_due: bool,
}

/// Where recent reads ended: the next read of the same consumer begins there, with no search.
#[derive(Debug, Default)]
pub(super) struct ReadPlaces {
    recent: [ReadPlace; 8],
    next: usize,
}

/// An offset that is the first of a batch, and where that batch lies.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct ReadPlace {
    /// The segment's own number, which no other has.
    pub(super) segment: u64,
    pub(super) offset: i64,
    pub(super) position: u64,
}

impl ReadPlaces {
    pub(super) fn find(&self, segment: u64, offset: i64) -> Option<u64> {
        // Position 0 needs no memory, and is what an empty place has.
        let known = self.recent.iter().find(|place| {
            place.position > 0 && place.offset == offset && place.segment == segment
        })?;
        Some(known.position)
    }

    pub(super) fn remember(&mut self, before: i64, place: ReadPlace) {
        // The same consumer's last place is of no use any more.
        let slot = self.recent.iter().position(|known| known.offset == before);
        let slot = slot.unwrap_or_else(|| {
            self.next = (self.next + 1) % self.recent.len();
            self.next
        });
        if let Some(known) = self.recent.get_mut(slot) {
            *known = place;
        }
    }
}

impl PartitionLog {
    /// Puts a log together from what was found on disk.
    pub(super) fn assemble(
        topic: &str,
        partition: i32,
        directory: Arc<LogDirectory>,
        path: PathBuf,
        config: LogConfig,
        found: super::load::Found,
    ) -> PartitionLog {
        let end = found.appender.next_offset;
        let stable = found.appender.producers.stable_offset(found.log_start_offset, end);
        let topic_id = OnceLock::new();
        if let Some(id) = found.topic_id {
            let _ = topic_id.set(id);
        }
        PartitionLog {
            topic: Arc::from(topic),
            partition,
            name: format!("{topic}-{partition}"),
            topic_id,
            directory,
            path,
            config: ArcSwap::from_pointee(config),
            segments: ArcSwap::from_pointee(found.segments),
            appender: Mutex::new(found.appender),
            log_start_offset: AtomicI64::new(found.log_start_offset),
            log_end_offset: AtomicI64::new(end),
            high_watermark: AtomicI64::new(end),
            last_stable_offset: AtomicI64::new(stable),
            recovery_point: AtomicI64::new(found.recovery_point),
            flushing: Mutex::new(()),
            directory_changed: AtomicBool::new(true),
            rolled: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            waiters: Mutex::new(Vec::new()),
            waiter_count: AtomicUsize::new(0),
            places: Mutex::default(),
            cleaning: Mutex::new(()),
            cleaned_to: AtomicI64::new(-1),
            uncleanable: AtomicBool::new(false),
        }
    }

    /// The topic's name.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The topic's id; nil for a log of an old Kafka without `partition.metadata`.
    pub fn topic_id(&self) -> Uuid {
        self.topic_id.get().copied().unwrap_or_default()
    }

    /// Gives a log without a topic id its id.
    pub(super) fn set_topic_id(&self, id: Uuid) -> Result<(), LogError> {
        if !id.is_nil() && self.topic_id.get().is_none() {
            write_topic_id(&self.path.join(PARTITION_METADATA), id)?;
            let _ = self.topic_id.set(id);
        }
        Ok(())
    }

    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The directory of `log.dirs` that the log lives in.
    pub fn parent_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Fails once the log's directory is offline.
    pub(super) fn check_online(&self) -> Result<(), LogError> {
        if self.directory.is_offline() {
            return Err(LogError::Offline(self.directory.path().to_owned()));
        }
        Ok(())
    }

    /// Offset of the first record that can be read.
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset.load(Ordering::Acquire)
    }

    /// Offset that the next record gets.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset.load(Ordering::Acquire)
    }

    /// Offset after the last record that consumers may see.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// Offset of the first record of a transaction that is still open, or the high watermark: what
    /// lies before is decided.
    pub fn last_stable_offset(&self) -> i64 {
        self.last_stable_offset.load(Ordering::Acquire)
    }

    /// Calls `waiter.notify_one()` when records become visible and when the log is deleted, until
    /// the guard drops.
    pub fn watch(self: &Arc<Self>, waiter: &Arc<Notify>) -> AppendWatch {
        self.waiters.lock().push(Arc::clone(waiter));
        self.waiter_count.fetch_add(1, Ordering::SeqCst);
        AppendWatch { log: Arc::clone(self), waiter: Arc::clone(waiter) }
    }

    pub(super) fn notify_waiters(&self) {
        if self.waiter_count.load(Ordering::SeqCst) > 0 {
            for waiter in self.waiters.lock().iter() {
                waiter.notify_one();
            }
        }
    }

    /// Remembers that a leader epoch begins at the log end offset. To be called when this broker
    /// becomes the partition's leader; without effect for an epoch that is not newer.
    ///
    /// # Errors
    /// [`LogError::Storage`] if `leader-epoch-checkpoint` can't be written.
    pub fn begin_leader_epoch(&self, leader_epoch: i32) -> Result<(), LogError> {
        let mut appender = self.appender.lock();
        let next_offset = appender.next_offset;
        if !self.is_closed() && appender.epochs.assign(leader_epoch, next_offset) {
            self.write_epochs(&appender.epochs)?;
        }
        Ok(())
    }

    pub(super) fn write_epochs(&self, epochs: &LeaderEpochs) -> Result<(), LogError> {
        write_epochs(&self.path.join(LEADER_EPOCHS), epochs.entries())
    }

    /// The newest leader epoch of the log, `None` if it has none.
    pub fn latest_leader_epoch(&self) -> Option<i32> {
        self.appender.lock().epochs.latest()
    }

    /// The leader epoch in which the record at `offset` was written, `None` if unknown.
    pub fn leader_epoch_at(&self, offset: i64) -> Option<i32> {
        self.appender.lock().epochs.epoch_at(offset)
    }

    /// The largest epoch up to `leader_epoch` that the log knows, and the offset at which it ends;
    /// `None` if the log knows none such (`OffsetForLeaderEpoch`, KIP-101 and KIP-279).
    pub fn epoch_end_offset(&self, leader_epoch: i32) -> Option<(i32, i64)> {
        let appender = self.appender.lock();
        appender.epochs.end_offset(leader_epoch, appender.next_offset)
    }

    /// Bytes of all segments' `.log` files.
    pub fn size(&self) -> u64 {
        self.segments.load().iter().map(|segment| segment.size()).sum()
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        self.segments.load().len()
    }

    /// The idempotent producers that the log remembers.
    pub fn producers(&self) -> Vec<ProducerInfo> {
        self.appender.lock().producers.describe()
    }

    /// The configuration in effect.
    pub fn config(&self) -> Arc<LogConfig> {
        self.config.load_full()
    }

    /// Puts another configuration into effect.
    pub fn update_config(&self, config: LogConfig) {
        self.config.store(Arc::new(config));
    }

    /// Whether the log was deleted or the broker stops.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the log for good: it was deleted, or the broker stops.
    pub(super) fn close(&self) {
        {
            let _appender = self.appender.lock();
            self.closed.store(true, Ordering::Release);
        }
        self.notify_waiters();
    }

    pub(super) fn mark_removed(&self) {
        self.close();
        for segment in self.segments.load().iter() {
            segment.mark_removed();
        }
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
        &self.log
    }
}

impl Drop for AppendWatch {
    fn drop(&mut self) {
        let mut waiters = self.log.waiters.lock();
        if let Some(at) = waiters.iter().position(|waiter| Arc::ptr_eq(waiter, &self.waiter)) {
            waiters.swap_remove(at);
            self.log.waiter_count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
