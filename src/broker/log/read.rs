//! Reading a log: batches by offset, offsets by timestamp.

use std::ops::ControlFlow;

use super::partition::ReadPlace;
use super::segment::Segment;
use super::transaction_index::aborted_transactions;
use super::{LogError, LogSlice, PartitionLog, TimestampedOffset};
use crate::kafka::record_batch::{BatchHeader, for_each_record};

/// A trim or a compaction may take a segment away under a reader; this often it looks again.
const TRIES: usize = 4;

impl PartitionLog {
    /// Where whole batches from `offset` on lie, in one segment, at most `max_bytes`; if
    /// `at_least_one`, the first batch comes even if it is larger. Only what lies below the high
    /// watermark.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] below the log start offset or above the log end offset,
    /// [`LogError::Storage`], [`LogError::Deleted`].
    pub fn locate(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<LogSlice, LogError> {
        self.locate_up_to(offset, max_bytes, at_least_one, false)
    }

    /// The same for readers of what is committed: only what lies below the last stable offset, with
    /// the transactions whose records do not count.
    ///
    /// # Errors
    /// As [`PartitionLog::locate`].
    pub fn locate_committed(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<LogSlice, LogError> {
        self.locate_up_to(offset, max_bytes, at_least_one, true)
    }

    fn locate_up_to(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
        committed: bool,
    ) -> Result<LogSlice, LogError> {
        self.check_online()?;
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match self.locate_once(offset, max_bytes, at_least_one, committed) {
                // Whoever exchanges segments holds this lock until the new ones are in place.
                Err(ReadError::Removed) if tries > 0 => drop(self.appender.lock()),
                Err(ReadError::Removed) => return Err(LogError::Deleted),
                Err(ReadError::Failed(error)) => return Err(error),
                Ok(slice) => return Ok(slice),
            }
        }
    }

    fn locate_once(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
        committed: bool,
    ) -> Result<LogSlice, ReadError> {
        // Before the high watermark, which moves first.
        let last_stable_offset = self.last_stable_offset();
        let high_watermark = self.high_watermark();
        let limit = if committed { last_stable_offset } else { high_watermark };
        // Before the start offset, which moves before segments go.
        let segments = self.segments.load();
        let (start, end) = (self.log_start_offset(), self.log_end_offset());
        if offset < start || offset > end {
            return Err(ReadError::Failed(LogError::OffsetOutOfRange { offset, start, end }));
        }
        let slice = |batches, aborted| LogSlice {
            batches,
            high_watermark,
            last_stable_offset,
            log_start_offset: start,
            aborted,
        };
        if offset >= limit || (max_bytes == 0 && !at_least_one) {
            return Ok(slice(None, Vec::new()));
        }
        let after = segments.partition_point(|segment| segment.base_offset <= offset);
        let from = after.saturating_sub(1);
        for segment in segments.get(from..).unwrap_or_default() {
            if segment.base_offset >= limit {
                break;
            }
            let place = self.places.lock().find(segment.id, offset);
            let found = segment_end(segment, limit, limit < high_watermark)
                .and_then(|end| segment.locate(offset, place, end, max_bytes, at_least_one));
            let found = match found {
                _ if segment.is_removed() => return Err(ReadError::Removed),
                Err(error) => return Err(ReadError::Failed(error)),
                Ok(found) => found,
            };
            if let Some(found) = found {
                if found.batches.is_some() {
                    let place = ReadPlace {
                        segment: segment.id,
                        offset: found.next_offset,
                        position: found.next_position,
                    };
                    self.places.lock().remember(offset, place);
                }
                let aborted = if committed && found.batches.is_some() {
                    let aborted = aborted_transactions(&segments, offset, found.next_offset);
                    if segments.iter().any(|segment| segment.is_removed()) {
                        return Err(ReadError::Removed);
                    }
                    aborted.map_err(ReadError::Failed)?
                } else {
                    Vec::new()
                };
                return Ok(slice(found.batches, aborted));
            }
        }
        Ok(slice(None, Vec::new()))
    }

    /// Bytes that a read at `offset`, of what is `committed` or of all, could have now, without reading
    /// them; 0 if out of range. An estimate, from the nearest index entry, for the `min_bytes` of a
    /// Fetch.
    pub fn available_bytes(&self, offset: i64, committed: bool) -> u64 {
        let high_watermark = self.high_watermark();
        let limit = if committed { self.last_stable_offset() } else { high_watermark };
        if offset < self.log_start_offset() || offset >= limit {
            return 0;
        }
        let segments = self.segments.load();
        let after = segments.partition_point(|segment| segment.base_offset <= offset);
        let mut available = 0;
        for segment in segments.get(after.saturating_sub(1)..).unwrap_or_default() {
            if segment.base_offset >= limit {
                break;
            }
            available += segment_end(segment, limit, limit < high_watermark).unwrap_or(0);
            if segment.base_offset <= offset {
                let place = self.places.lock().find(segment.id, offset);
                let before = place.or_else(|| {
                    segment.indexes().lock().offsets.position_before(offset).ok().map(u64::from)
                });
                available = available.saturating_sub(before.unwrap_or(0));
            }
        }
        available
    }

    /// The first record, by offset, with at least this timestamp; `None` if there is none below
    /// the high watermark.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::CorruptMessage`] for a batch that can't be decompressed.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
    ) -> Result<Option<TimestampedOffset>, LogError> {
        self.check_online()?;
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match self.search_once(timestamp) {
                Err(ReadError::Removed) if tries > 0 => drop(self.appender.lock()),
                Err(ReadError::Removed) => return Err(LogError::Deleted),
                Err(ReadError::Failed(error)) => return Err(error),
                Ok(found) => return Ok(found),
            }
        }
    }

    fn search_once(&self, timestamp: i64) -> Result<Option<TimestampedOffset>, ReadError> {
        let segments = self.segments.load();
        let start = self.log_start_offset();
        for segment in segments.iter() {
            let found = match segment.largest_timestamp() {
                Ok(largest) if largest < timestamp => Ok(None),
                Ok(_) => search(segment, timestamp, start, self.high_watermark()),
                Err(error) => Err(error),
            };
            match found {
                _ if segment.is_removed() => return Err(ReadError::Removed),
                Err(error) => return Err(ReadError::Failed(error)),
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp, the first of several; `None` on an empty log.
    ///
    /// # Errors
    /// As [`PartitionLog::offset_for_timestamp`].
    pub fn max_timestamp(&self) -> Result<Option<TimestampedOffset>, LogError> {
        let mut largest = -1;
        for segment in self.segments.load().iter() {
            largest = largest.max(segment.largest_timestamp()?);
        }
        if largest < 0 { Ok(None) } else { self.offset_for_timestamp(largest) }
    }
}

/// Where what may be read of a segment ends; `cut` says that the limit may lie within it.
fn segment_end(segment: &Segment, limit: i64, cut: bool) -> Result<u64, LogError> {
    let visible = segment.visible();
    if !cut {
        return Ok(visible);
    }
    Ok(segment.find(limit, visible)?.map_or(visible, |(place, _)| place))
}

enum ReadError {
    /// The segment was trimmed away, or compacted, meanwhile.
    Removed,
    Failed(LogError),
}

/// The first record of a segment at or after `start` with at least this timestamp.
fn search(
    segment: &Segment,
    timestamp: i64,
    start: i64,
    end_offset: i64,
) -> Result<Option<TimestampedOffset>, LogError> {
    let place = {
        let mut indexes = segment.indexes().lock();
        let before = indexes.times.offset_before(timestamp)?.unwrap_or(segment.base_offset);
        indexes.offsets.position_before(before.max(start))?
    };
    for batch in segment.batches(u64::from(place), segment.visible())? {
        let (place, header) = batch?;
        if header.base_offset >= end_offset {
            break;
        }
        if header.max_timestamp < timestamp || header.last_offset() < start {
            continue;
        }
        let bytes = segment.batch(place, &header)?;
        if let Some(found) = search_batch(&header, &bytes, timestamp, start)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn search_batch(
    header: &BatchHeader,
    batch: &[u8],
    timestamp: i64,
    start: i64,
) -> Result<Option<TimestampedOffset>, LogError> {
    let found = for_each_record(header, batch, |record| {
        let offset = header.base_offset + i64::from(record.offset_delta);
        if record.timestamp >= timestamp && offset >= start {
            return ControlFlow::Break(TimestampedOffset {
                offset,
                timestamp: record.timestamp,
                leader_epoch: header.partition_leader_epoch,
            });
        }
        ControlFlow::Continue(())
    });
    found.map_err(|error| LogError::CorruptMessage(error.to_string()))
}
