//! Whole batches of a closed segment, read in long pieces and checked.

use std::fs::File;
use std::sync::Arc;

use crate::broker::log::LogError;
use crate::broker::log::files::read_at;
use crate::broker::log::segment::Segment;
use crate::kafka::record_batch::{BatchHeader, HEADER_LENGTH, verified_batch};

/// A batch that is what was appended.
#[derive(Debug)]
pub(super) struct WholeBatch<'a> {
    pub(super) header: BatchHeader,
    /// Header and records.
    pub(super) batch: &'a [u8],
    /// Bytes that were read from the disk for it.
    pub(super) read: usize,
}

/// A walk over a segment. A damaged batch ends it: compaction must not give it a good checksum.
#[derive(Debug)]
pub(super) struct SegmentBatches<'a> {
    segment: &'a Segment,
    file: Arc<File>,
    position: u64,
    end: u64,
    chunk: usize,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were handed out.
    taken: usize,
    /// No batch may begin before.
    next_offset: i64,
}

impl<'a> SegmentBatches<'a> {
    /// Batches from `position` on, `chunk` bytes at a time, more where one is longer.
    pub(super) fn new(
        segment: &'a Segment,
        position: u64,
        chunk: usize,
    ) -> Result<SegmentBatches<'a>, LogError> {
        Ok(SegmentBatches {
            segment,
            file: segment.file()?,
            position,
            end: segment.size(),
            chunk: chunk.max(HEADER_LENGTH),
            buffer: Vec::new(),
            taken: 0,
            next_offset: segment.base_offset,
        })
    }

    /// Reads anew from the current place, at least `least` bytes unless the segment ends before;
    /// answers how many bytes were read.
    fn fill(&mut self, least: usize) -> Result<usize, LogError> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let length = self.chunk.max(least).min(left);
        self.buffer = read_at(&self.file, self.position, length)
            .map_err(|error| LogError::storage(self.segment.path(), error))?;
        self.taken = 0;
        Ok(self.buffer.len())
    }

    /// The next batch.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::CorruptMessage`].
    pub(super) fn next(&mut self) -> Result<Option<WholeBatch<'_>>, LogError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let mut read = 0;
        let held = |walk: &Self| walk.buffer.len() - walk.taken;
        if held(self) < HEADER_LENGTH {
            read += self.fill(HEADER_LENGTH)?;
        }
        let size = BatchHeader::parse(&self.buffer[self.taken..])
            .map_err(|error| damaged(self.segment, self.position, &error.to_string()))?
            .size();
        if held(self) < size {
            if size as u64 > self.end - self.position {
                return Err(damaged(self.segment, self.position, "it runs over the segment's end"));
            }
            read += self.fill(size)?;
        }
        let from = self.taken;
        let place = self.position;
        let (header, batch) = verified_batch(&self.buffer[from..])
            .map_err(|error| damaged(self.segment, place, &error.to_string()))?;
        if header.base_offset < self.next_offset || header.last_offset_delta < 0 {
            return Err(damaged(self.segment, place, "its offsets do not follow those before"));
        }
        self.next_offset = header.next_offset();
        self.taken += size;
        self.position += size as u64;
        Ok(Some(WholeBatch { header, batch, read }))
    }
}

/// The error of a batch that is not what was appended.
pub(super) fn damaged(segment: &Segment, position: u64, what: &str) -> LogError {
    LogError::CorruptMessage(format!(
        "{}: the batch at byte {position} is damaged: {what}",
        segment.path().display()
    ))
}

/// Where a walk over `segment` begins that wants records from `offset` on.
pub(super) fn position_of(segment: &Segment, offset: i64) -> Result<u64, LogError> {
    if segment.base_offset >= offset {
        return Ok(0);
    }
    let found = segment.find(offset, segment.size())?;
    Ok(found.map_or(segment.size(), |(position, _)| position))
}
