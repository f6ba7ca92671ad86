//! One compaction of one log: the newest offset of each key, then every segment up to there anew
//! (Kafka's `Cleaner`).

use std::collections::HashMap;
use std::fs::{File, FileTimes};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batches::{SegmentBatches, WholeBatch, damaged, position_of};
use super::choose::Dirty;
use super::filter::{Filter, LastBatch, Left};
use super::offset_map::OffsetMap;
use super::swap::pending_path;
use super::transactions::Transactions;
use super::{CleanerOptions, swap};
use crate::broker::log::index::{OffsetIndex, TimeIndex};
use crate::broker::log::load::remove_file;
use crate::broker::log::recovery::Entries;
use crate::broker::log::segment::{SUFFIXES, Segment};
use crate::broker::log::transaction_index::{TransactionIndex, aborted_transactions};
use crate::broker::log::{LogConfig, LogError, PartitionLog};
use crate::kafka::record_batch::{BatchHeader, control_record, for_each_keyed_record};

/// Why a compaction ended early.
#[derive(Debug)]
pub(in crate::broker::log) enum CleanError {
    /// The log was deleted, or the broker stops.
    Aborted,
    /// The log can't be compacted as it is, now or later.
    Damaged(LogError),
    /// The disk did not do what it should; it may, later.
    Failed(LogError),
}

impl From<LogError> for CleanError {
    fn from(error: LogError) -> Self {
        match &error {
            LogError::Deleted | LogError::Offline(_) => CleanError::Aborted,
            LogError::CorruptMessage(_) => CleanError::Damaged(error),
            LogError::Storage { source, .. }
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
                ) =>
            {
                CleanError::Damaged(error)
            }
            _ => CleanError::Failed(error),
        }
    }
}

/// What a compaction did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::broker::log) struct Cleaned {
    /// Everything before this offset is compacted.
    pub(in crate::broker::log) end_offset: i64,
    /// Size of the segments before.
    pub(in crate::broker::log) bytes_read: u64,
    /// Size of the segments that took their place.
    pub(in crate::broker::log) bytes_written: u64,
    /// Files to remove after `file.delete.delay.ms`.
    pub(in crate::broker::log) removed: Vec<PathBuf>,
}

/// A compaction at work.
pub(super) struct Cleaning<'a> {
    pub(super) log: &'a PartitionLog,
    pub(super) options: &'a CleanerOptions,
    pub(super) now_ms: i64,
    /// Whether to give up.
    pub(super) stop: &'a dyn Fn() -> bool,
    throttle: Throttle,
}

impl<'a> Cleaning<'a> {
    pub(super) fn new(
        log: &'a PartitionLog,
        options: &'a CleanerOptions,
        now_ms: i64,
        stop: &'a dyn Fn() -> bool,
    ) -> Self {
        let throttle = Throttle::new(options.io_max_bytes_per_second);
        Cleaning { log, options, now_ms, stop, throttle }
    }

    /// Compacts the log as far as the map of keys reaches.
    pub(super) fn run(&mut self, dirty: &Dirty) -> Result<Cleaned, CleanError> {
        let config = self.log.config();
        let map = self.offset_map(dirty)?;
        let end_offset = map.latest_offset() + 1;
        let mut cleaned = Cleaned { end_offset, ..Cleaned::default() };
        let segments = self.log.segments.load_full();
        let closed = segments.len().saturating_sub(1);
        let before = segments.partition_point(|segment| segment.base_offset < end_offset);
        let segments = segments.get(..before.min(closed)).unwrap_or_default();
        let mut transactions = Transactions::default();
        let mut rest = segments;
        while !rest.is_empty() {
            let count = group(rest, &config, dirty.first_uncleanable_offset)?;
            let (group, later) = rest.split_at(count.clamp(1, rest.len()));
            self.group(group, &map, &config, &mut transactions, &mut cleaned)?;
            rest = later;
        }
        Ok(cleaned)
    }

    fn check(&self) -> Result<(), CleanError> {
        if (self.stop)() || self.log.is_closed() || self.log.check_online().is_err() {
            return Err(CleanError::Aborted);
        }
        Ok(())
    }

    /// The newest offset of every key of the dirty part, or of as much of it as there is memory for.
    fn offset_map(&mut self, dirty: &Dirty) -> Result<OffsetMap, CleanError> {
        let (start, end) = (dirty.first_dirty_offset, dirty.first_uncleanable_offset);
        let segments = self.log.segments.load_full();
        let after = segments.partition_point(|segment| segment.base_offset <= start);
        let upto = segments.partition_point(|segment| segment.base_offset < end);
        let segments = segments.get(after.saturating_sub(1)..upto).unwrap_or_default();
        let mut records = 0u64;
        for segment in segments {
            for batch in segment.batches(position_of(segment, start)?, segment.size())? {
                records += u64::try_from(batch?.1.record_count).unwrap_or(0);
            }
        }
        let options = self.options;
        let mut map =
            OffsetMap::new(options.dedupe_buffer_bytes, options.dedupe_load_factor, records);
        let mut transactions = Transactions::default();
        transactions.expect(aborted_transactions(&self.log.segments.load(), start, end)?);
        for (at, segment) in segments.iter().enumerate() {
            if !self.map_segment(segment, start, &mut map, &mut transactions)? {
                return Ok(map);
            }
            let next = segments.get(at + 1).map_or(end, |next| next.base_offset);
            map.reached(next - 1);
        }
        Ok(map)
    }

    /// Adds the keys of a segment; `false` if they do not all fit.
    fn map_segment(
        &mut self,
        segment: &Segment,
        start: i64,
        map: &mut OffsetMap,
        transactions: &mut Transactions,
    ) -> Result<bool, CleanError> {
        let position = position_of(segment, start)?;
        let mut batches = SegmentBatches::new(segment, position, self.options.io_buffer_bytes)?;
        loop {
            self.check()?;
            let Some(WholeBatch { header, batch, read }) = batches.next()? else {
                return Ok(true);
            };
            let broken = |error: crate::kafka::record_batch::BatchError| {
                damaged_at(segment, &header, &error.to_string())
            };
            if header.is_control() {
                transactions.control(&header, control_record(&header, batch).map_err(broken)?);
            } else if !transactions.batch(&header) {
                let full = for_each_keyed_record(&header, batch, |record| match record.key {
                    Some(key) if record.offset >= start && !map.put(&key, record.offset) => {
                        ControlFlow::Break(())
                    }
                    _ => ControlFlow::Continue(()),
                });
                if full.map_err(broken)?.is_some() {
                    return Ok(false);
                }
            }
            if header.last_offset() >= start {
                map.reached(header.last_offset());
            }
            self.throttle.spent(read, self.stop);
        }
    }

    /// Puts one compacted segment in the place of several.
    fn group(
        &mut self,
        group: &[Arc<Segment>],
        map: &OffsetMap,
        config: &LogConfig,
        transactions: &mut Transactions,
        cleaned: &mut Cleaned,
    ) -> Result<(), CleanError> {
        let Some(first) = group.first() else { return Ok(()) };
        let base = first.base_offset;
        let result = self.write(group, map, config, transactions).and_then(|written| {
            self.check()?;
            for step in swap::offer(&self.log.path, base) {
                step.run()?;
            }
            Ok(written)
        });
        let written = match result {
            Ok(written) => written,
            Err(error) => {
                // Nothing of it counts yet; what can't be removed now goes at the next start.
                for suffix in SUFFIXES {
                    let _ = remove_file(&pending_path(&self.log.path, base, suffix, "swap"));
                    let _ = remove_file(&pending_path(&self.log.path, base, suffix, "cleaned"));
                }
                return Err(error);
            }
        };
        cleaned.bytes_read += group.iter().map(|segment| segment.size()).sum::<u64>();
        cleaned.bytes_written += written.size();
        cleaned.removed.extend(self.log.exchange(group, written)?);
        Ok(())
    }

    /// Writes the `.cleaned` files of a group, and makes them durable.
    fn write(
        &mut self,
        group: &[Arc<Segment>],
        map: &OffsetMap,
        config: &LogConfig,
        transactions: &mut Transactions,
    ) -> Result<Segment, CleanError> {
        let base = group.first().map_or(0, |segment| segment.base_offset);
        let mut output = Output::create(self.log, base, config, self.options.io_buffer_bytes)?;
        let producers: HashMap<i64, LastBatch> = self.log.appender.lock().producers.last_batches();
        let filter = Filter {
            map,
            producers: &producers,
            now_ms: self.now_ms,
            delete_retention_ms: config.delete_retention_ms,
        };
        transactions.kept.clear();
        for segment in group {
            let end = self.log.end_of(segment);
            let aborted =
                aborted_transactions(&self.log.segments.load(), segment.base_offset, end)?;
            transactions.expect(aborted);
            let mut batches = SegmentBatches::new(segment, 0, self.options.io_buffer_bytes)?;
            loop {
                self.check()?;
                let Some(WholeBatch { header, batch, read }) = batches.next()? else { break };
                let broken = |error: crate::kafka::record_batch::BatchError| {
                    damaged_at(segment, &header, &error.to_string())
                };
                let needless = if header.is_control() {
                    let record = control_record(&header, batch).map_err(broken)?;
                    transactions.control(&header, record)
                } else {
                    transactions.batch(&header)
                };
                let before = output.size;
                match filter.apply(&header, batch, needless).map_err(broken)? {
                    Left::Nothing => {}
                    Left::All => output.add(batch)?,
                    Left::Part(part) => output.add(&part)?,
                }
                let wrote = usize::try_from(output.size - before).unwrap_or(usize::MAX);
                self.throttle.spent(read.saturating_add(wrote), self.stop);
            }
        }
        let modified = group.last().map_or(Ok(self.now_ms), |segment| segment.modified_ms())?;
        let segment = output.finish(&transactions.kept, modified)?;
        Ok(segment)
    }
}

fn damaged_at(segment: &Segment, header: &BatchHeader, what: &str) -> LogError {
    let place = segment.find(header.base_offset, segment.size()).ok().flatten();
    damaged(segment, place.map_or(0, |(position, _)| position), what)
}

/// How many of the segments become one: together no larger than one may be (`groupSegmentsBySize`).
fn group(
    segments: &[Arc<Segment>],
    config: &LogConfig,
    first_uncleanable: i64,
) -> Result<usize, LogError> {
    let (mut bytes, mut offsets, mut times) = (0u64, 0u64, 0u64);
    let base = segments.first().map_or(0, |segment| segment.base_offset);
    let most_index = u64::from(config.segment_index_bytes);
    for (at, segment) in segments.iter().enumerate() {
        let (index, time_index) = {
            let mut indexes = segment.indexes().lock();
            (indexes.offsets.bytes()?, indexes.times.bytes()?)
        };
        bytes += segment.size();
        offsets += index;
        times += time_index;
        let last = segments.get(at + 1).map_or(first_uncleanable, |next| next.base_offset) - 1;
        let fits = bytes <= u64::from(config.segment_bytes)
            && offsets <= most_index
            && times <= most_index
            && (segment.size() == 0 || last - base <= i64::from(i32::MAX));
        if at > 0 && !fits {
            return Ok(at);
        }
    }
    Ok(segments.len())
}

/// The segment that is written.
struct Output<'a> {
    log: &'a PartitionLog,
    base: i64,
    file: File,
    path: PathBuf,
    size: u64,
    buffer: Vec<u8>,
    buffer_most: usize,
    entries: Entries,
    interval: u32,
}

impl<'a> Output<'a> {
    fn create(
        log: &'a PartitionLog,
        base: i64,
        config: &LogConfig,
        buffer_most: usize,
    ) -> Result<Output<'a>, LogError> {
        for suffix in SUFFIXES {
            remove_file(&pending_path(&log.path, base, suffix, "cleaned"))?;
        }
        let path = pending_path(&log.path, base, "log", "cleaned");
        let file = File::create(&path).map_err(|error| LogError::storage(&path, error))?;
        Ok(Output {
            log,
            base,
            file,
            path,
            size: 0,
            buffer: Vec::new(),
            buffer_most,
            entries: Entries::new(base),
            interval: config.index_interval_bytes,
        })
    }

    fn add(&mut self, batch: &[u8]) -> Result<(), LogError> {
        let wrong = |what: String| LogError::CorruptMessage(what);
        let header = BatchHeader::parse(batch).map_err(|error| wrong(error.to_string()))?;
        self.entries.take(&header, self.size, self.interval).map_err(wrong)?;
        self.size += batch.len() as u64;
        if self.size > u64::from(i32::MAX.cast_unsigned()) {
            return Err(wrong("compacted, the segment would be longer than 2 GiB".to_owned()));
        }
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() >= self.buffer_most { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> Result<(), LogError> {
        self.file.write_all(&self.buffer).map_err(|error| LogError::storage(&self.path, error))?;
        self.buffer.clear();
        Ok(())
    }

    /// Makes all files durable. The `.log` is as old as the last of those that it is made of, so
    /// that age counts as before.
    fn finish(
        mut self,
        aborted: &[crate::broker::log::AbortedTransaction],
        modified_ms: i64,
    ) -> Result<Segment, LogError> {
        self.write_out()?;
        let modified = u64::try_from(modified_ms).unwrap_or(0);
        let modified = std::time::UNIX_EPOCH + Duration::from_millis(modified);
        self.file
            .set_times(FileTimes::new().set_modified(modified))
            .and_then(|()| self.file.sync_all())
            .map_err(|error| LogError::storage(&self.path, error))?;
        self.entries.finish();
        let directory = &self.log.path;
        let path = |suffix| pending_path(directory, self.base, suffix, "cleaned");
        let Entries { offsets, times, max_timestamp, .. } = &self.entries;
        OffsetIndex::rebuild(path("index"), self.base, offsets)?.sync()?;
        TimeIndex::rebuild(path("timeindex"), self.base, times)?.sync()?;
        TransactionIndex::open(path("txnindex")).replace(aborted)?;
        let segment = Segment::open(directory, self.base, self.size);
        segment.set_largest_timestamp(max_timestamp.0);
        Ok(segment)
    }
}

/// Keeps reading and writing below so many bytes a second.
struct Throttle {
    bytes_per_second: f64,
    since: Instant,
    bytes: f64,
}

impl Throttle {
    fn new(bytes_per_second: f64) -> Throttle {
        Throttle { bytes_per_second, since: Instant::now(), bytes: 0.0 }
    }

    /// Sleeps until the bytes are paid for, in short pieces, so that a stop does not wait.
    fn spent(&mut self, bytes: usize, stop: &dyn Fn() -> bool) {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let bytes = bytes as f64;
        self.bytes += bytes;
        let owed = self.bytes / self.bytes_per_second;
        while !stop() {
            let left = owed - self.since.elapsed().as_secs_f64();
            // A NaN or nothing at all.
            if left.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater) {
                return;
            }
            std::thread::sleep(Duration::from_secs_f64(left.min(0.2)));
        }
    }
}
