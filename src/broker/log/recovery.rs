//! The check of a segment after an unclean stop: every batch is read, what is torn is cut off,
//! and the indexes are made anew.

use std::fs::File;
use std::io;
use std::path::Path;

use super::LogError;
use super::files::{LazyFile, read_at};
use super::index::{OffsetIndex, TimeIndex, offset_entry, time_entry};
use super::segment::{Indexes, Segment, segment_path};
use crate::kafka::record_batch::{BatchHeader, HEADER_LENGTH};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;
/// Where the checksummed part of a batch begins.
const CRC_START: usize = 21;

/// What is left of a segment.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) segment: Segment,
    /// Offset after the last whole batch, the base offset without any.
    pub(super) next_offset: i64,
    /// Leader epochs that begin in the segment.
    pub(super) epochs: Vec<(i32, i64)>,
    /// Some transaction ends in it.
    pub(super) has_markers: bool,
    /// Bytes cut off the end, and why.
    pub(super) cut: Option<(u64, String)>,
}

/// Checks a segment from its first byte, cuts it before the first batch that is not whole, and
/// rebuilds its indexes.
///
/// # Errors
/// [`LogError::Storage`]; also for a segment in a format before version 2, which is left alone.
pub(super) fn recover_segment(
    directory: &Path,
    base_offset: i64,
    index_interval_bytes: u32,
) -> Result<Recovered, LogError> {
    let log = LazyFile::new(segment_path(directory, base_offset, "log"));
    let failed = |error: io::Error| LogError::storage(log.path(), error);
    let file = log.open_existing()?;
    let length = file.metadata().map_err(failed)?.len();
    let mut scan = Scan { file: &file, length, chunk: Vec::new(), chunk_start: 0 };
    let mut found = Entries::new(base_offset);
    let mut position = 0;
    let mut fault = None;
    while position < length {
        match scan.batch(position).map_err(failed)? {
            Checked::Whole(header) => match found.take(&header, position, index_interval_bytes) {
                Ok(()) => position += header.size() as u64,
                Err(reason) => fault = Some(reason),
            },
            Checked::Torn(reason) => fault = Some(reason),
            Checked::OldFormat(magic) => {
                let reason =
                    format!("record format {magic} at byte {position}: only version 2 is served");
                return Err(failed(io::Error::new(io::ErrorKind::Unsupported, reason)));
            }
        }
        if fault.is_some() {
            break;
        }
    }
    if position < length {
        file.set_len(position).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    found.finish();
    let path = |suffix| segment_path(directory, base_offset, suffix);
    let indexes = Indexes {
        offsets: OffsetIndex::rebuild(path("index"), base_offset, &found.offsets)?,
        times: TimeIndex::rebuild(path("timeindex"), base_offset, &found.times)?,
    };
    let segment = Segment::with_indexes(directory, base_offset, position, indexes);
    segment.set_largest_timestamp(found.max_timestamp.0);
    Ok(Recovered {
        segment,
        next_offset: found.next_offset,
        epochs: found.epochs,
        has_markers: found.has_markers,
        cut: fault.map(|reason| (length - position, reason)),
    })
}

/// What the batches so far say; the index entries are those that appending them would have made.
#[derive(Debug, Default)]
pub(super) struct Entries {
    base_offset: i64,
    next_offset: i64,
    /// Of the offset index.
    pub(super) offsets: Vec<[u8; 8]>,
    /// Of the time index.
    pub(super) times: Vec<[u8; 12]>,
    since_entry: u64,
    /// The largest timestamp, and the last offset of the batch with it.
    pub(super) max_timestamp: (i64, i64),
    any: bool,
    has_markers: bool,
    epochs: Vec<(i32, i64)>,
}

impl Entries {
    /// For a segment with this base offset and no batch yet.
    pub(super) fn new(base_offset: i64) -> Entries {
        Entries { base_offset, next_offset: base_offset, ..Entries::default() }
    }

    /// Takes the next batch, which lies at `position`; an error if it can't follow the last one.
    pub(super) fn take(
        &mut self,
        header: &BatchHeader,
        position: u64,
        interval: u32,
    ) -> Result<(), String> {
        if header.base_offset < self.next_offset {
            return Err(format!(
                "offset {} follows offset {}",
                header.base_offset,
                self.next_offset - 1
            ));
        }
        let last_offset = header.last_offset();
        if header.last_offset_delta < 0
            || last_offset.saturating_sub(self.base_offset) > i64::from(i32::MAX)
        {
            return Err(format!("offset {last_offset} does not belong into this segment"));
        }
        if !self.any || header.max_timestamp > self.max_timestamp.0 {
            self.max_timestamp = (header.max_timestamp, last_offset);
            self.any = true;
        }
        if self.since_entry > u64::from(interval) {
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            self.offsets.push(offset_entry(self.base_offset, last_offset, position));
            self.push_time();
            self.since_entry = 0;
        }
        self.since_entry += header.size() as u64;
        self.next_offset = last_offset + 1;
        self.has_markers |= header.is_control();
        let epoch = header.partition_leader_epoch;
        if epoch >= 0 && self.epochs.last().is_none_or(|last| last.0 < epoch) {
            self.epochs.push((epoch, header.base_offset));
        }
        Ok(())
    }

    fn push_time(&mut self) {
        let (timestamp, offset) = self.max_timestamp;
        let entry = time_entry(self.base_offset, timestamp, offset);
        if timestamp >= 0 && self.times.last().is_none_or(|last| last[..8] < entry[..8]) {
            self.times.push(entry);
        }
    }

    /// Ends the time index as Kafka does when a segment is closed.
    pub(super) fn finish(&mut self) {
        if self.any {
            self.push_time();
        } else {
            self.max_timestamp = (-1, self.base_offset);
        }
    }
}

/// The state of the bytes at one place.
enum Checked {
    Whole(BatchHeader),
    Torn(String),
    OldFormat(i8),
}

/// Reads a file from front to back through one chunk.
struct Scan<'a> {
    file: &'a File,
    length: u64,
    chunk: Vec<u8>,
    chunk_start: u64,
}

impl Scan<'_> {
    /// Bytes from `position` on, at least `least` unless the file ends before.
    fn bytes(&mut self, position: u64, least: usize) -> io::Result<&[u8]> {
        let skip = position
            .checked_sub(self.chunk_start)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| self.chunk.len().saturating_sub(*skip) >= least);
        let skip = if let Some(skip) = skip {
            skip
        } else {
            let left = usize::try_from(self.length - position).unwrap_or(usize::MAX);
            self.chunk = read_at(self.file, position, CHUNK.max(least).min(left))?;
            self.chunk_start = position;
            0
        };
        Ok(self.chunk.get(skip..).unwrap_or_default())
    }

    fn batch(&mut self, position: u64) -> io::Result<Checked> {
        let left = self.length - position;
        let bytes = self.bytes(position, HEADER_LENGTH)?;
        let header = match BatchHeader::parse(bytes) {
            Ok(header) => header,
            Err(error) => {
                let magic = bytes.get(16).copied();
                if let Some(magic @ (0 | 1)) = magic
                    && self.is_old_message(position)?
                {
                    return Ok(Checked::OldFormat(magic.cast_signed()));
                }
                return Ok(Checked::Torn(error.to_string()));
            }
        };
        if header.size() as u64 > left {
            return Ok(Checked::Torn(format!("{left} bytes of a batch of {}", header.size())));
        }
        // A batch may be as long as a segment: its checksum is made of pieces.
        let mut crc = 0;
        let mut done = CRC_START;
        while done < header.size() {
            let rest = self.bytes(position + done as u64, 1)?;
            let piece = rest.get(..header.size() - done).unwrap_or(rest);
            if piece.is_empty() {
                return Ok(Checked::Torn("the file became shorter".to_owned()));
            }
            crc = crc32c::crc32c_append(crc, piece);
            done += piece.len();
        }
        if crc == header.crc {
            Ok(Checked::Whole(header))
        } else {
            Ok(Checked::Torn(format!("checksum {crc}, where {} is stored", header.crc)))
        }
    }

    /// Whether a whole message of format 0 or 1 lies there. Such are not served, and not cut off
    /// as torn either. Their CRC-32 covers what lies behind it.
    fn is_old_message(&mut self, position: u64) -> io::Result<bool> {
        let left = self.length - position;
        let bytes = self.bytes(position, HEADER_LENGTH)?;
        let Some(field) = bytes.get(8..16).and_then(|b| b.first_chunk::<8>()) else {
            return Ok(false);
        };
        let size = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
        let stored = u32::from_be_bytes([field[4], field[5], field[6], field[7]]);
        let total = u64::from(size) + 12;
        if size < 14 || total > left {
            return Ok(false);
        }
        let (mut hasher, mut done) = (crc32fast::Hasher::new(), 16u64);
        while done < total {
            let rest = self.bytes(position + done, 1)?;
            let want = usize::try_from(total - done).unwrap_or(usize::MAX);
            let piece = rest.get(..want).unwrap_or(rest);
            if piece.is_empty() {
                return Ok(false);
            }
            hasher.update(piece);
            done += piece.len() as u64;
        }
        Ok(hasher.finalize() == stored)
    }
}
