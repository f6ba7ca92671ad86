//! One segment of a log: a `.log` file of record batches, and its two indexes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use tracing::warn;

use super::LogError;
use super::files::{FileSlice, LazyFile, read_at, write_at};
use super::index::{OffsetIndex, TimeIndex};
use super::transaction_index::TransactionIndex;
use crate::calendar;
use crate::kafka::record_batch::{BatchHeader, HEADER_LENGTH};

/// Bytes that a walk over batch headers reads at once.
const HEADER_CHUNK: usize = 4 * 1024;
/// [`Segment::largest_timestamp`] before it was looked up.
const NOT_LOADED: i64 = i64::MIN;

/// The number of the next segment that is opened.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The suffixes of a segment's files.
pub(super) const SUFFIXES: [&str; 4] = ["log", "index", "timeindex", "txnindex"];

/// The path of a segment's file.
pub(super) fn segment_path(directory: &Path, base_offset: i64, suffix: &str) -> PathBuf {
    directory.join(format!("{base_offset:020}.{suffix}"))
}

/// The two indexes of a segment.
#[derive(Debug)]
pub(super) struct Indexes {
    pub(super) offsets: OffsetIndex,
    pub(super) times: TimeIndex,
}

/// One segment. Readers and the one appender share it without a lock around the `.log` file:
/// what lies below `visible` does not change any more.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base_offset: i64,
    /// Tells it from another one with this base offset, before or after a compaction.
    pub(super) id: u64,
    log: LazyFile,
    /// Bytes that were written whole.
    size: AtomicU64,
    /// Bytes that consumers may see.
    visible: AtomicU64,
    indexes: Mutex<Indexes>,
    aborted: TransactionIndex,
    /// The largest timestamp and its place; kept by the appender, looked up late for old segments.
    largest_timestamp: AtomicI64,
    /// Set before the files are renamed away.
    removed: AtomicBool,
}

/// What a read found.
#[derive(Debug)]
pub(super) struct SegmentSlice {
    /// Whole batches; none where the first does not fit.
    pub(super) batches: Option<FileSlice>,
    /// Offset after the last of them.
    pub(super) next_offset: i64,
    /// Place of that offset in the segment.
    pub(super) next_position: u64,
}

impl Segment {
    /// A segment whose `.log` has `size` bytes. Nothing is opened yet.
    pub(super) fn open(directory: &Path, base_offset: i64, size: u64) -> Segment {
        let path = |suffix| segment_path(directory, base_offset, suffix);
        let indexes = Indexes {
            offsets: OffsetIndex::open(path("index"), base_offset),
            times: TimeIndex::open(path("timeindex"), base_offset),
        };
        Segment::with_indexes(directory, base_offset, size, indexes)
    }

    /// A segment with indexes that were just made for it.
    pub(super) fn with_indexes(
        directory: &Path,
        base_offset: i64,
        size: u64,
        indexes: Indexes,
    ) -> Segment {
        Segment {
            base_offset,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            log: LazyFile::new(segment_path(directory, base_offset, "log")),
            size: AtomicU64::new(size),
            visible: AtomicU64::new(size),
            indexes: Mutex::new(indexes),
            aborted: TransactionIndex::open(segment_path(directory, base_offset, "txnindex")),
            largest_timestamp: AtomicI64::new(NOT_LOADED),
            removed: AtomicBool::new(false),
        }
    }

    /// The batches of a file that is no log's segment yet; it has no indexes.
    pub(super) fn at(path: &Path, base_offset: i64, size: u64) -> Segment {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut segment = Segment::open(directory, base_offset, size);
        segment.log = LazyFile::new(path.to_owned());
        segment
    }

    /// Makes the files of a new, empty segment.
    pub(super) fn create(directory: &Path, base_offset: i64) -> Result<Segment, LogError> {
        let path = |suffix| segment_path(directory, base_offset, suffix);
        let indexes = Indexes {
            offsets: OffsetIndex::rebuild(path("index"), base_offset, &[])?,
            times: TimeIndex::rebuild(path("timeindex"), base_offset, &[])?,
        };
        let segment = Segment::with_indexes(directory, base_offset, 0, indexes);
        segment.log.open()?;
        segment.log.close();
        segment.largest_timestamp.store(-1, Ordering::Relaxed);
        Ok(segment)
    }

    pub(super) fn path(&self) -> &Path {
        self.log.path()
    }

    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(super) fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }

    /// Lets consumers see everything that is written.
    pub(super) fn reveal(&self, upto: u64) {
        self.visible.fetch_max(upto, Ordering::AcqRel);
    }

    pub(super) fn indexes(&self) -> &Mutex<Indexes> {
        &self.indexes
    }

    /// The transactions that were aborted in it.
    pub(super) fn aborted(&self) -> &TransactionIndex {
        &self.aborted
    }

    /// It was trimmed away, or compaction put another one in its place: what was just read of it
    /// may have been read from a file of another's.
    pub(super) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    pub(super) fn mark_removed(&self) {
        self.removed.store(true, Ordering::Release);
    }

    /// The open `.log`.
    pub(super) fn file(&self) -> Result<Arc<File>, LogError> {
        self.log.open_existing()
    }

    fn failed(&self, error: io::Error) -> LogError {
        LogError::storage(self.path(), error)
    }

    /// Writes a batch, header and records, at the end. On an error nothing of it stays.
    pub(super) fn append(&self, header: &[u8], records: &[u8]) -> Result<(), LogError> {
        let file = self.file()?;
        let position = self.size();
        if let Err(error) = write_at(&file, header, records, position) {
            // The next batch is written over what went out, but a clean stop must not leave it.
            return match file.set_len(position) {
                Ok(()) => Err(self.failed(error)),
                Err(second) => Err(LogError::Torn { path: self.path().to_owned(), source: second }),
            };
        }
        let written = (header.len() + records.len()) as u64;
        self.size.store(position + written, Ordering::Release);
        Ok(())
    }

    /// Whole batches from the one that holds `offset` and before the place `end`; of their bytes, only
    /// headers are read. `place` is where that batch lies, if known. `None` if they end before
    /// `offset`.
    pub(super) fn locate(
        &self,
        offset: i64,
        place: Option<u64>,
        end: u64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Option<SegmentSlice>, LogError> {
        let start = match place {
            Some(place) => place,
            None => match self.find(offset, end)? {
                Some((place, _)) => place,
                None => return Ok(None),
            },
        };
        if start >= end {
            return Ok(None);
        }
        let nothing = SegmentSlice { batches: None, next_offset: offset, next_position: start };
        if end - start < HEADER_LENGTH as u64 {
            return Ok(Some(nothing));
        }
        let Some(first) = self.batches(start, end)?.next().transpose()? else {
            return Err(self.damaged("a batch runs over the segment's end"));
        };
        let limit = end.min(start.saturating_add(max_bytes as u64));
        let after_first = start + first.1.size() as u64;
        let (next_position, next_offset) = if after_first <= limit {
            self.last_whole(after_first, first.1.next_offset(), limit)?
        } else if at_least_one {
            (after_first, first.1.next_offset())
        } else {
            return Ok(Some(nothing));
        };
        let length = usize::try_from(next_position - start).unwrap_or(usize::MAX);
        let batches = Some(FileSlice::new(self.file()?, start, length));
        Ok(Some(SegmentSlice { batches, next_offset, next_position }))
    }

    /// Where the last batch ends that lies whole before `limit`, and the offset after it, given that
    /// one with `offset` behind it ends at `from`.
    fn last_whole(&self, from: u64, offset: i64, limit: u64) -> Result<(u64, i64), LogError> {
        let (mut place, mut next) = (from, offset);
        if limit - from > HEADER_CHUNK as u64 {
            // The index spares a walk over all of them, where it says what is there.
            let entry = self.indexes.lock().offsets.last_before(limit)?;
            if let Some((last_offset, near)) = entry.filter(|(_, near)| *near > from)
                && let Some(Ok((_, header))) = self.batches(near, self.visible())?.next()
                && header.last_offset() == last_offset
            {
                (place, next) = (near, header.base_offset);
            }
        }
        for batch in self.batches(place, limit)? {
            let (at, header) = batch?;
            (place, next) = (at + header.size() as u64, header.next_offset());
        }
        Ok((place, next))
    }

    /// Place and header of the batch that holds `offset`, or of the next one if none does.
    pub(super) fn find(
        &self,
        offset: i64,
        end: u64,
    ) -> Result<Option<(u64, BatchHeader)>, LogError> {
        let from = u64::from(self.indexes.lock().offsets.position_before(offset)?);
        if from > 0 {
            // The index points to a batch that begins at or before the offset. If there is none,
            // the index is damaged, and the segment itself is asked.
            let begin = self.batches(from, end)?.next();
            if matches!(begin, Some(Ok((_, header))) if header.base_offset <= offset)
                && let Ok(found) = self.find_from(from, offset, end)
            {
                return Ok(found);
            }
            warn!(segment = %self.path().display(), offset, "the index is wrong: it is not used");
        }
        self.find_from(0, offset, end)
    }

    fn find_from(
        &self,
        from: u64,
        offset: i64,
        end: u64,
    ) -> Result<Option<(u64, BatchHeader)>, LogError> {
        for batch in self.batches(from, end)? {
            let (place, header) = batch?;
            if header.last_offset() >= offset {
                return Ok(Some((place, header)));
            }
        }
        Ok(None)
    }

    /// The places and headers of the batches between two places.
    pub(super) fn batches(&self, from: u64, end: u64) -> Result<Batches<'_>, LogError> {
        let file = self.file()?;
        Ok(Batches { segment: self, file, place: from, end, chunk: Vec::new(), chunk_start: 0 })
    }

    /// A whole batch, header and records.
    pub(super) fn batch(&self, place: u64, header: &BatchHeader) -> Result<Vec<u8>, LogError> {
        read_at(&*self.file()?, place, header.size()).map_err(|error| self.failed(error))
    }

    /// The largest timestamp of the segment's batches, −1 if they have none.
    pub(super) fn largest_timestamp(&self) -> Result<i64, LogError> {
        let known = self.largest_timestamp.load(Ordering::Relaxed);
        if known != NOT_LOADED {
            return Ok(known);
        }
        let last = self.indexes.lock().times.last()?;
        let timestamp = last.map_or(-1, |(timestamp, _)| timestamp);
        self.largest_timestamp.store(timestamp, Ordering::Relaxed);
        Ok(timestamp)
    }

    pub(super) fn set_largest_timestamp(&self, timestamp: i64) {
        self.largest_timestamp.store(timestamp, Ordering::Relaxed);
    }

    /// When the `.log` was last written, milliseconds since 1970.
    pub(super) fn modified_ms(&self) -> Result<i64, LogError> {
        let modified = std::fs::metadata(self.path())
            .and_then(|metadata| metadata.modified())
            .map_err(|error| self.failed(error))?;
        Ok(calendar::since_1970_ms(modified))
    }

    /// Makes the batches durable.
    pub(super) fn sync_log(&self) -> Result<(), LogError> {
        self.file()?.sync_data().map_err(|error| self.failed(error))
    }

    /// Makes the indexes durable.
    pub(super) fn sync_indexes(&self) -> Result<(), LogError> {
        let mut indexes = self.indexes.lock();
        indexes.offsets.sync()?;
        indexes.times.sync()?;
        self.aborted.sync()
    }

    /// Closes the files that were not used since the last call.
    pub(super) fn close_if_idle(&self) {
        self.log.close_if_idle();
        self.aborted.close_if_idle();
        let indexes = self.indexes.lock();
        indexes.offsets.close_if_idle();
        indexes.times.close_if_idle();
    }

    /// Closes all files until they are needed again.
    pub(super) fn close(&self) {
        self.log.close();
        self.aborted.close();
        let indexes = self.indexes.lock();
        indexes.offsets.close();
        indexes.times.close();
    }

    fn header(&self, bytes: &[u8]) -> Result<BatchHeader, LogError> {
        BatchHeader::parse(bytes).map_err(|error| self.damaged(&error.to_string()))
    }

    fn damaged(&self, what: &str) -> LogError {
        self.failed(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

/// A walk over batch headers that skips the records.
#[derive(Debug)]
pub(super) struct Batches<'a> {
    segment: &'a Segment,
    file: Arc<File>,
    place: u64,
    end: u64,
    chunk: Vec<u8>,
    chunk_start: u64,
}

impl Batches<'_> {
    fn advance(&mut self) -> Result<Option<(u64, BatchHeader)>, LogError> {
        if self.place + HEADER_LENGTH as u64 > self.end {
            return Ok(None);
        }
        let in_chunk = self
            .place
            .checked_sub(self.chunk_start)
            .and_then(|skip| self.chunk.get(usize::try_from(skip).ok()?..))
            .filter(|rest| rest.len() >= HEADER_LENGTH);
        let header = if let Some(rest) = in_chunk {
            self.segment.header(rest)?
        } else {
            self.chunk = read_at(&self.file, self.place, HEADER_CHUNK)
                .map_err(|error| self.segment.failed(error))?;
            self.chunk_start = self.place;
            self.segment.header(&self.chunk)?
        };
        let place = self.place;
        self.place += header.size() as u64;
        Ok((self.place <= self.end).then_some((place, header)))
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<(u64, BatchHeader), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if matches!(next, None | Some(Err(_))) {
            self.place = self.end;
        }
        next
    }
}
