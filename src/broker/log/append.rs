//! Appending to a log: offsets given, one write, indexes and producer state kept.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use metrics::{Counter, counter};

use super::partition::Appender;
use super::producer_snapshot;
use super::segment::Segment;
use super::transactions::{Origin, Verification};
use super::validate::{ProducedBatch, produced_batch, recompressed};
use super::{AppendInfo, AppendOptions, LogConfig, LogError, PartitionLog, TimestampType};
use crate::kafka::record_batch::{BatchHeader, HEADER_LENGTH, HeaderPatch, patched_header};

static APPENDED_BYTES: LazyLock<Counter> =
    LazyLock::new(|| counter!("doorkeeper_log_appended_bytes_total"));

/// What a control batch says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marker {
    pub(super) committed: bool,
    pub(super) coordinator_epoch: i32,
}

impl PartitionLog {
    /// Appends one record batch as a producer sent it: checked, given its offsets, written with
    /// one system call. The data is in the operating system's hands when this returns, and on disk
    /// after [`PartitionLog::flush`].
    ///
    /// # Errors
    /// Every refusal of [`LogError`]; nothing of a refused batch is written.
    pub fn append(&self, records: &Bytes, options: &AppendOptions) -> Result<AppendInfo, LogError> {
        self.append_from(records, options, Origin::Client(Verification::Required(None)))
    }

    pub(super) fn append_from(
        &self,
        records: &Bytes,
        options: &AppendOptions,
        origin: Origin,
    ) -> Result<AppendInfo, LogError> {
        let config = self.config.load();
        let batch = produced_batch(records, options, &config, origin.is_client(), &self.name)?;
        let records = records.get(..batch.size).unwrap_or_default();
        let recompressed = recompressed(&batch, records, &config, &self.name)?;
        let (batch, records) = match &recompressed {
            Some((batch, records)) => (*batch, &records[..]),
            None => (batch, records),
        };
        let mut appender = self.appender.lock();
        if self.is_closed() {
            return Err(LogError::Deleted);
        }
        self.check_online()?;
        if batch.header.has_producer_id() {
            let offset = appender.next_offset;
            let repeated = appender.producers.check(&batch.header, offset, &self.name, origin)?;
            if let Some(repeated) = repeated {
                return Ok(AppendInfo {
                    base_offset: repeated.base_offset(),
                    last_offset: repeated.last_offset,
                    // As Kafka: the batch's timestamp, whoever set it.
                    log_append_time: repeated.timestamp,
                    log_start_offset: self.log_start_offset(),
                    duplicate: true,
                    flush_due: appender.flush_due && repeated.last_offset >= self.high_watermark(),
                });
            }
        } else if batch.header.is_transactional() {
            return Err(LogError::InvalidTransactionState(format!(
                "A transactional record batch without a producer id, in {}",
                self.name
            )));
        }
        let info = self.append_checked(&mut appender, records, &batch, options, &config, None)?;
        drop(appender);
        if !info.flush_due {
            self.notify_waiters();
        }
        APPENDED_BYTES.increment(records.len() as u64);
        Ok(info)
    }

    /// Writes a batch that may be appended; `marker` is what it says if it is a control batch.
    pub(super) fn append_checked(
        &self,
        appender: &mut Appender,
        records: &[u8],
        batch: &ProducedBatch,
        options: &AppendOptions,
        config: &LogConfig,
        marker: Option<Marker>,
    ) -> Result<AppendInfo, LogError> {
        let mut header = batch.header;
        let base_offset = appender.next_offset;
        header.base_offset = base_offset;
        header.partition_leader_epoch = options.leader_epoch;
        let append_time = config.message_timestamp_type == TimestampType::LogAppendTime;
        let timestamps = if append_time {
            Some((options.now_ms, true))
        } else {
            let right = batch.max_timestamp == header.max_timestamp && !header.is_log_append_time();
            (!right).then_some((batch.max_timestamp, false))
        };
        if let Some((max_timestamp, _)) = timestamps {
            header.max_timestamp = max_timestamp;
        }
        let patch =
            HeaderPatch { base_offset, partition_leader_epoch: options.leader_epoch, timestamps };
        let patched = patched_header(records, &patch)
            .map_err(|error| LogError::CorruptMessage(error.to_string()))?;
        let mut active = self.active_segment();
        if Self::is_full(appender, &active, &header, config, options.now_ms)? {
            self.roll(appender, options.now_ms)?;
            active = self.active_segment();
        }
        if appender.epochs.assign(options.leader_epoch, base_offset) {
            self.write_epochs(&appender.epochs)?;
        }
        let position = active.size();
        if let Err(error) =
            active.append(&patched, records.get(HEADER_LENGTH..).unwrap_or_default())
        {
            if matches!(error, LogError::Torn { .. }) {
                self.directory.set_offline(&error);
            }
            return Err(error);
        }
        index_batch(appender, &active, &header, position, config);
        appender.next_offset = header.next_offset();
        self.log_end_offset.store(appender.next_offset, Ordering::Release);
        match marker {
            None => appender.producers.update(&header),
            Some(marker) => self.end_transaction(appender, &active, &header, marker)?,
        }
        appender.unflushed = appender.unflushed.saturating_add(i64::from(header.record_count));
        if appender.unflushed >= config.flush_messages {
            appender.flush_due = true;
        }
        if !appender.flush_due {
            active.reveal(active.size());
            let next_offset = appender.next_offset;
            self.publish(appender, next_offset);
        }
        Ok(AppendInfo {
            base_offset,
            last_offset: header.last_offset(),
            log_append_time: if append_time { options.now_ms } else { -1 },
            log_start_offset: self.log_start_offset(),
            duplicate: false,
            flush_due: appender.flush_due,
        })
    }

    /// Takes note of a marker that is in the log.
    fn end_transaction(
        &self,
        appender: &mut Appender,
        active: &Segment,
        header: &BatchHeader,
        marker: Marker,
    ) -> Result<(), LogError> {
        let ended = appender.producers.end_transaction(header, marker.coordinator_epoch);
        let Some(ended) = ended else { return Ok(()) };
        if !marker.committed {
            let aborted = ended.aborted(appender.producers.stable_after(&ended));
            if let Err(error) = active.aborted().append(&aborted) {
                // Readers would take what was aborted for committed: only a start can tell.
                self.directory.set_offline(&error);
                return Err(error);
            }
        }
        appender.producers.completed(&ended);
        Ok(())
    }

    /// Lets consumers see everything before `high_watermark`, as far as it is decided.
    pub(super) fn publish(&self, appender: &mut Appender, high_watermark: i64) {
        appender.producers.passed(high_watermark);
        let stable = appender.producers.stable_offset(self.log_start_offset(), high_watermark);
        self.high_watermark.store(high_watermark, Ordering::Release);
        self.last_stable_offset.store(stable, Ordering::Release);
    }

    /// The segment that is appended to.
    pub(super) fn active_segment(&self) -> Arc<Segment> {
        let segments = self.segments.load();
        // There is always one: a log is assembled with it, and a trim leaves the last.
        segments.last().map_or_else(|| Arc::new(Segment::open(&self.path, 0, 0)), Arc::clone)
    }

    /// Whether the active segment must be closed before `header` is appended (`LogSegment.shouldRoll`).
    fn is_full(
        appender: &Appender,
        active: &Segment,
        header: &BatchHeader,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<bool, LogError> {
        let size = active.size();
        if size == 0 {
            return Ok(false);
        }
        let waited = match appender.first_timestamp {
            Some(first) if first >= 0 => header.max_timestamp.saturating_sub(first),
            _ => now_ms.saturating_sub(appender.opened_ms),
        };
        if size + header.size() as u64 > u64::from(config.segment_bytes)
            || waited > config.segment_age_max_ms()
            || header.last_offset() - active.base_offset > i64::from(i32::MAX)
        {
            return Ok(true);
        }
        let mut indexes = active.indexes().lock();
        let bound = u64::from(config.segment_index_bytes);
        Ok(indexes.offsets.bytes()? + 8 > bound || indexes.times.bytes()? + 24 > bound)
    }

    /// Closes the active segment and begins another at the log end offset.
    pub(super) fn roll(&self, appender: &mut Appender, now_ms: i64) -> Result<(), LogError> {
        let closed = self.active_segment();
        Self::write_out_indexes(appender, &closed)?;
        producer_snapshot::write(&self.path, appender.next_offset, &appender.producers, false)?;
        let next = Segment::create(&self.path, appender.next_offset)?;
        let mut segments = Vec::clone(&self.segments.load());
        segments.push(Arc::new(next));
        self.segments.store(Arc::new(segments));
        appender.since_entry = 0;
        appender.max_timestamp = (-1, appender.next_offset);
        appender.first_timestamp = None;
        appender.opened_ms = now_ms;
        self.directory_changed.store(true, Ordering::Release);
        self.rolled.store(true, Ordering::Release);
        self.directory.wake_housekeeping();
        Ok(())
    }

    /// Brings the active segment's indexes up to date: the last entry of the time index, and all
    /// that was only in memory.
    pub(super) fn write_out_indexes(appender: &Appender, active: &Segment) -> Result<(), LogError> {
        let mut indexes = active.indexes().lock();
        let (timestamp, offset) = appender.max_timestamp;
        if timestamp >= 0 {
            indexes.times.push(timestamp, offset)?;
        }
        indexes.offsets.write_out();
        indexes.times.write_out();
        Ok(())
    }
}

/// Takes a batch that was just written into the books of the active segment.
fn index_batch(
    appender: &mut Appender,
    active: &Segment,
    header: &BatchHeader,
    position: u64,
    config: &LogConfig,
) {
    if header.max_timestamp > appender.max_timestamp.0 {
        appender.max_timestamp = (header.max_timestamp, header.last_offset());
        active.set_largest_timestamp(header.max_timestamp);
    }
    appender.first_timestamp.get_or_insert(header.max_timestamp);
    if appender.since_entry > u64::from(config.index_interval_bytes) {
        let mut indexes = active.indexes().lock();
        indexes.offsets.push(header.last_offset(), u32::try_from(position).unwrap_or(u32::MAX));
        let (timestamp, offset) = appender.max_timestamp;
        // The record is written: an index that can't be read costs time, no more.
        if timestamp >= 0 && indexes.times.push(timestamp, offset).is_err() {
            tracing::warn!(segment = %active.path().display(), "the time index can't be read");
        }
        appender.since_entry = 0;
    }
    appender.since_entry += header.size() as u64;
}
