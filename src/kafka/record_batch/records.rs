//! The records of a batch, walked without keeping them.

use std::io::BufRead;
use std::ops::ControlFlow;

use super::compression::{decompressor, is_too_large};
use super::{BatchError, BatchHeader, Compression, HEADER_LENGTH};
use crate::limits;

/// What a broker needs to know of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMeta {
    /// Place in the batch, from 0.
    pub index: i32,
    /// Offset from the batch's base offset.
    pub offset_delta: i32,
    /// Milliseconds since 1970; the batch's largest timestamp under `LogAppendTime`.
    pub timestamp: i64,
    /// Whether the record has a key.
    pub has_key: bool,
}

/// Walks the records of a whole batch (header and all) in order, until `visit` breaks off or the
/// records end. Every length is checked, and the number of records against the header's; nothing
/// is kept in memory but one piece of the decompressed stream.
///
/// # Errors
/// [`BatchError::Malformed`], [`BatchError::Decompression`],
/// [`BatchError::DecompressedTooLarge`], [`BatchError::UnknownCompression`].
pub fn for_each_record<B>(
    header: &BatchHeader,
    batch: &[u8],
    mut visit: impl FnMut(RecordMeta) -> ControlFlow<B>,
) -> Result<Option<B>, BatchError> {
    with_source(header, batch, &mut Visit { header, visit: &mut visit })
}

struct Visit<'a, F> {
    header: &'a BatchHeader,
    visit: &'a mut F,
}

impl<B, F: FnMut(RecordMeta) -> ControlFlow<B>> Walk for Visit<'_, F> {
    type Value = B;

    fn record<S: Source>(
        &mut self,
        index: i32,
        source: &mut S,
    ) -> Result<ControlFlow<B>, BatchError> {
        Ok((self.visit)(record(self.header, index, source)?))
    }
}

/// What is done with each record of a batch, whatever its codec.
pub(super) trait Walk {
    /// What a walk can be broken off with.
    type Value;

    /// Takes one whole record off the source.
    fn record<S: Source>(
        &mut self,
        index: i32,
        source: &mut S,
    ) -> Result<ControlFlow<Self::Value>, BatchError>;
}

/// Walks the records of a batch, decompressed where they are compressed.
pub(super) fn with_source<W: Walk>(
    header: &BatchHeader,
    batch: &[u8],
    walker: &mut W,
) -> Result<Option<W::Value>, BatchError> {
    let records = batch.get(HEADER_LENGTH..).unwrap_or_default();
    match header.compression()? {
        Compression::None => walk(header, &mut Plain { left: records }, walker),
        codec => {
            let limit = limits::DECOMPRESSED_BATCH_BYTES_MAX;
            let stream = decompressor(codec, records, limit)?;
            walk(header, &mut Stream { stream, limit }, walker)
        }
    }
}

fn walk<S: Source, W: Walk>(
    header: &BatchHeader,
    source: &mut S,
    walker: &mut W,
) -> Result<Option<W::Value>, BatchError> {
    for index in 0..header.record_count {
        if source.at_end()? {
            return Err(malformed("Incorrect declared batch size, premature EOF reached"));
        }
        if let ControlFlow::Break(value) = walker.record(index, source)? {
            return Ok(Some(value));
        }
    }
    if source.at_end()? {
        Ok(None)
    } else {
        Err(malformed("Incorrect declared batch size, records still remaining in file"))
    }
}

/// One record: lengths as zigzag varints, each checked against what is left of the record.
fn record<S: Source>(
    header: &BatchHeader,
    index: i32,
    source: &mut S,
) -> Result<RecordMeta, BatchError> {
    let RecordStart { mut left, timestamp, offset_delta } = start(header, source)?;
    let key = skip_nullable(source, &mut left)?;
    skip_nullable(source, &mut left)?;
    headers(source, left)?;
    Ok(RecordMeta { index, offset_delta, timestamp, has_key: key })
}

/// The fields of a record before its key.
pub(super) struct RecordStart {
    /// Bytes of the record that are left: key, value and headers.
    pub(super) left: u64,
    pub(super) timestamp: i64,
    pub(super) offset_delta: i32,
}

pub(super) fn start<S: Source>(
    header: &BatchHeader,
    source: &mut S,
) -> Result<RecordStart, BatchError> {
    let mut unbounded = u64::MAX;
    let length = varint(source, &mut unbounded)?;
    let mut left =
        u64::try_from(length).map_err(|_| malformed(&format!("Invalid record size {length}")))?;
    let _attributes = byte(source, &mut left)?;
    let timestamp_delta = varlong(source, &mut left)?;
    let offset_delta = varint(source, &mut left)?;
    let timestamp = if header.is_log_append_time() {
        header.max_timestamp
    } else {
        header.base_timestamp.wrapping_add(timestamp_delta)
    };
    Ok(RecordStart { left, timestamp, offset_delta })
}

/// The headers of a record, which end it.
pub(super) fn headers<S: Source>(source: &mut S, mut left: u64) -> Result<(), BatchError> {
    let headers = varint(source, &mut left)?;
    if headers < 0 {
        return Err(malformed(&format!("Found invalid number of record headers {headers}")));
    }
    for _ in 0..headers {
        if !skip_nullable(source, &mut left)? {
            return Err(malformed("Invalid negative header key size"));
        }
        skip_nullable(source, &mut left)?;
    }
    if left != 0 {
        return Err(malformed(&format!("Invalid record size: {left} bytes are left over")));
    }
    Ok(())
}

pub(super) fn malformed(message: &str) -> BatchError {
    BatchError::Malformed(message.to_owned())
}

/// Takes a byte off the source and off what is left of the record.
#[inline]
fn byte<S: Source>(source: &mut S, left: &mut u64) -> Result<u8, BatchError> {
    *left = left.checked_sub(1).ok_or_else(|| malformed("a field runs over the record's end"))?;
    source.byte()
}

#[inline]
fn varint<S: Source>(source: &mut S, left: &mut u64) -> Result<i32, BatchError> {
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let next = byte(source, left)?;
        value |= u32::from(next & 0x7f).wrapping_shl(shift);
        if next & 0x80 == 0 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err(malformed("a varint is longer than 5 bytes"))
}

#[inline]
fn varlong<S: Source>(source: &mut S, left: &mut u64) -> Result<i64, BatchError> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let next = byte(source, left)?;
        value |= u64::from(next & 0x7f).wrapping_shl(shift);
        if next & 0x80 == 0 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err(malformed("a varlong is longer than 10 bytes"))
}

/// Skips bytes with a length before them; `false` for null.
#[inline]
pub(super) fn skip_nullable<S: Source>(source: &mut S, left: &mut u64) -> Result<bool, BatchError> {
    take_nullable(source, left, |_| {})
}

/// Hands bytes with a length before them to `sink`; `false` for null.
#[inline]
pub(super) fn take_nullable<S: Source>(
    source: &mut S,
    left: &mut u64,
    sink: impl FnMut(&[u8]),
) -> Result<bool, BatchError> {
    let length = varint(source, left)?;
    let Ok(length) = u64::try_from(length) else { return Ok(false) };
    *left =
        left.checked_sub(length).ok_or_else(|| malformed("a length runs over the record's end"))?;
    source.take(length, sink)?;
    Ok(true)
}

/// Where records are read from: a slice, or a stream that decompresses.
pub(super) trait Source {
    fn byte(&mut self) -> Result<u8, BatchError>;
    /// Hands the next `count` bytes to `sink`, in pieces.
    fn take(&mut self, count: u64, sink: impl FnMut(&[u8])) -> Result<(), BatchError>;
    fn skip(&mut self, count: u64) -> Result<(), BatchError> {
        self.take(count, |_| {})
    }
    fn at_end(&mut self) -> Result<bool, BatchError>;
}

fn cut_off() -> BatchError {
    malformed("a record runs over the batch's end")
}

struct Plain<'a> {
    left: &'a [u8],
}

impl Source for Plain<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, BatchError> {
        let (&first, rest) = self.left.split_first().ok_or_else(cut_off)?;
        self.left = rest;
        Ok(first)
    }

    #[inline]
    fn take(&mut self, count: u64, mut sink: impl FnMut(&[u8])) -> Result<(), BatchError> {
        let count = usize::try_from(count).map_err(|_| cut_off())?;
        let (taken, rest) = self.left.split_at_checked(count).ok_or_else(cut_off)?;
        sink(taken);
        self.left = rest;
        Ok(())
    }

    fn at_end(&mut self) -> Result<bool, BatchError> {
        Ok(self.left.is_empty())
    }
}

struct Stream<R> {
    stream: R,
    limit: u64,
}

impl<R: BufRead> Stream<R> {
    #[inline]
    fn buffer(&mut self) -> Result<&[u8], BatchError> {
        let limit = self.limit;
        self.stream.fill_buf().map_err(|error| {
            if is_too_large(&error) {
                BatchError::DecompressedTooLarge(limit)
            } else {
                BatchError::Decompression(error.to_string())
            }
        })
    }
}

impl<R: BufRead> Source for Stream<R> {
    #[inline]
    fn byte(&mut self) -> Result<u8, BatchError> {
        let first = *self.buffer()?.first().ok_or_else(cut_off)?;
        self.stream.consume(1);
        Ok(first)
    }

    #[inline]
    fn take(&mut self, mut count: u64, mut sink: impl FnMut(&[u8])) -> Result<(), BatchError> {
        while count > 0 {
            let available = self.buffer()?;
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(available.len());
            if step == 0 {
                return Err(cut_off());
            }
            sink(&available[..step]);
            self.stream.consume(step);
            count -= step as u64;
        }
        Ok(())
    }

    fn at_end(&mut self) -> Result<bool, BatchError> {
        Ok(self.buffer()?.is_empty())
    }
}
