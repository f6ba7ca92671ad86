//! A segment's `.index` and `.timeindex`: sorted entries of a fixed size, searched on disk.
//!
//! An offset index entry is the offset of a batch's last record, from the segment's base offset
//! (i32), and the batch's place in the `.log` (i32). A time index entry is the largest timestamp
//! so far (i64) and the offset, relative again (i32), of the last record of the batch that has it.
//! Both are big endian. They are sparse: an entry that is missing costs time, never a record.

use std::path::PathBuf;

use tracing::warn;

use super::LogError;
use super::files::{LazyFile, read_at, write_at};

/// Entries kept in memory before they are written out together.
const TAIL_ENTRIES: usize = 512;
/// A search reads this many entries at once when it has come that near.
const SEARCH_ENTRIES: u32 = 512;

/// Entries of `N` bytes: those in the file, then those that are not written out yet.
#[derive(Debug)]
struct Index<const N: usize> {
    file: LazyFile,
    /// Entries in the file; unknown until the file is looked at.
    written: Option<u32>,
    tail: Vec<[u8; N]>,
}

impl<const N: usize> Index<N> {
    fn open(path: PathBuf) -> Self {
        Index { file: LazyFile::new(path), written: None, tail: Vec::new() }
    }

    /// An index that starts with these entries, whatever the file held. Most are not written to
    /// for long, so the file is closed again.
    fn rebuild(path: PathBuf, entries: &[[u8; N]]) -> Result<Self, LogError> {
        let index = Index {
            file: LazyFile::new(path),
            written: u32::try_from(entries.len()).ok(),
            tail: Vec::new(),
        };
        let file = index.file.open()?;
        let bytes = entries.as_flattened();
        file.set_len(0)
            .and_then(|()| write_at(&file, bytes, &[], 0))
            .map_err(|error| LogError::storage(index.file.path(), error))?;
        index.file.close();
        Ok(index)
    }

    fn written(&mut self) -> Result<u32, LogError> {
        if let Some(written) = self.written {
            return Ok(written);
        }
        let metadata = self
            .file
            .open_existing()?
            .metadata()
            .map_err(|error| LogError::storage(self.file.path(), error))?;
        let written = u32::try_from(metadata.len() / N as u64).unwrap_or(u32::MAX);
        self.written = Some(written);
        Ok(written)
    }

    fn len(&mut self) -> Result<u32, LogError> {
        Ok(self.written()?.saturating_add(u32::try_from(self.tail.len()).unwrap_or(u32::MAX)))
    }

    fn push(&mut self, entry: [u8; N]) {
        self.tail.push(entry);
        if self.tail.len() >= TAIL_ENTRIES {
            self.write_out();
        }
    }

    /// Writes the entries that are only in memory. Failing costs search time, not records, so it
    /// is told and otherwise gone past.
    fn write_out(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let result = self.written().and_then(|written| {
            let file = self.file.open_existing()?;
            write_at(&file, self.tail.as_flattened(), &[], u64::from(written) * N as u64)
                .map_err(|error| LogError::storage(self.file.path(), error))?;
            Ok(written.saturating_add(u32::try_from(self.tail.len()).unwrap_or(u32::MAX)))
        });
        match result {
            Ok(written) => self.written = Some(written),
            Err(error) => warn!(%error, "index entries are lost; reads here will be slower"),
        }
        self.tail.clear();
    }

    /// Entries `from..to` of the file.
    fn read(&self, from: u32, to: u32) -> Result<Vec<[u8; N]>, LogError> {
        let length = (to - from) as usize * N;
        let bytes = read_at(&*self.file.open_existing()?, u64::from(from) * N as u64, length)
            .map_err(|error| LogError::storage(self.file.path(), error))?;
        let (entries, _) = bytes.as_chunks::<N>();
        Ok(entries.to_vec())
    }

    /// The last entry for which `holds`, given that it holds for a prefix of the entries.
    fn last_that(&mut self, holds: impl Fn(&[u8; N]) -> bool) -> Result<Option<[u8; N]>, LogError> {
        let in_tail = self.tail.partition_point(&holds);
        if in_tail > 0 {
            return Ok(self.tail.get(in_tail - 1).copied());
        }
        let (mut low, mut high) = (0, self.written()?);
        while high - low > SEARCH_ENTRIES {
            let middle = low + (high - low) / 2;
            match self.read(middle, middle + 1)?.first() {
                Some(entry) if holds(entry) => low = middle,
                _ => high = middle,
            }
        }
        let entries = self.read(low, high)?;
        let count = entries.partition_point(&holds);
        Ok(count.checked_sub(1).and_then(|last| entries.get(last).copied()))
    }

    fn last(&mut self) -> Result<Option<[u8; N]>, LogError> {
        if let Some(entry) = self.tail.last() {
            return Ok(Some(*entry));
        }
        let written = self.written()?;
        if written == 0 {
            return Ok(None);
        }
        Ok(self.read(written - 1, written)?.first().copied())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.write_out();
        self.file
            .open_existing()?
            .sync_data()
            .map_err(|error| LogError::storage(self.file.path(), error))
    }
}

fn relative(offset: i64, base_offset: i64) -> i32 {
    i32::try_from(offset.saturating_sub(base_offset)).unwrap_or(i32::MAX)
}

/// Where batches lie in a segment, by offset.
#[derive(Debug)]
pub(super) struct OffsetIndex {
    base_offset: i64,
    index: Index<8>,
}

/// One entry of an offset index, as bytes.
pub(super) fn offset_entry(base_offset: i64, last_offset: i64, position: u32) -> [u8; 8] {
    let mut entry = [0; 8];
    entry[..4].copy_from_slice(&relative(last_offset, base_offset).to_be_bytes());
    entry[4..].copy_from_slice(&position.to_be_bytes());
    entry
}

fn offset_of(entry: [u8; 8]) -> i32 {
    i32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]])
}

fn position_of(entry: [u8; 8]) -> u32 {
    u32::from_be_bytes([entry[4], entry[5], entry[6], entry[7]])
}

impl OffsetIndex {
    pub(super) fn open(path: PathBuf, base_offset: i64) -> Self {
        OffsetIndex { base_offset, index: Index::open(path) }
    }

    pub(super) fn rebuild(
        path: PathBuf,
        base_offset: i64,
        entries: &[[u8; 8]],
    ) -> Result<Self, LogError> {
        Ok(OffsetIndex { base_offset, index: Index::rebuild(path, entries)? })
    }

    /// Adds a batch, by the offset of its last record.
    pub(super) fn push(&mut self, last_offset: i64, position: u32) {
        self.index.push(offset_entry(self.base_offset, last_offset, position));
    }

    /// A place at or before the batch that holds `offset`: where to begin to look for it.
    pub(super) fn position_before(&mut self, offset: i64) -> Result<u32, LogError> {
        let target = relative(offset, self.base_offset);
        Ok(self.index.last_that(|entry| offset_of(*entry) <= target)?.map_or(0, position_of))
    }

    /// The last batch in the index that begins at or before `position`: the offset of its last record,
    /// and its place.
    pub(super) fn last_before(&mut self, position: u64) -> Result<Option<(i64, u64)>, LogError> {
        let begins = |entry: &[u8; 8]| u64::from(position_of(*entry)) <= position;
        let entry = self.index.last_that(begins)?;
        Ok(entry.map(|entry| {
            let last_offset = self.base_offset + i64::from(offset_of(entry));
            (last_offset, u64::from(position_of(entry)))
        }))
    }

    /// The place of the last batch in the index, 0 without any.
    pub(super) fn last_position(&mut self) -> Result<u32, LogError> {
        Ok(self.index.last()?.map_or(0, position_of))
    }

    pub(super) fn bytes(&mut self) -> Result<u64, LogError> {
        Ok(u64::from(self.index.len()?) * 8)
    }

    pub(super) fn write_out(&mut self) {
        self.index.write_out();
    }

    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        self.index.sync()
    }

    pub(super) fn close_if_idle(&self) {
        self.index.file.close_if_idle();
    }

    pub(super) fn close(&self) {
        self.index.file.close();
    }
}

/// Largest timestamps of a segment so far, by time.
#[derive(Debug)]
pub(super) struct TimeIndex {
    base_offset: i64,
    index: Index<12>,
}

/// One entry of a time index, as bytes.
pub(super) fn time_entry(base_offset: i64, timestamp: i64, offset: i64) -> [u8; 12] {
    let mut entry = [0; 12];
    entry[..8].copy_from_slice(&timestamp.to_be_bytes());
    entry[8..].copy_from_slice(&relative(offset, base_offset).to_be_bytes());
    entry
}

fn split_time_entry(entry: &[u8; 12]) -> (i64, i32) {
    let mut timestamp = [0; 8];
    timestamp.copy_from_slice(&entry[..8]);
    (i64::from_be_bytes(timestamp), i32::from_be_bytes([entry[8], entry[9], entry[10], entry[11]]))
}

impl TimeIndex {
    pub(super) fn open(path: PathBuf, base_offset: i64) -> Self {
        TimeIndex { base_offset, index: Index::open(path) }
    }

    pub(super) fn rebuild(
        path: PathBuf,
        base_offset: i64,
        entries: &[[u8; 12]],
    ) -> Result<Self, LogError> {
        Ok(TimeIndex { base_offset, index: Index::rebuild(path, entries)? })
    }

    /// Adds the largest timestamp so far, unless the last entry says it already.
    pub(super) fn push(&mut self, timestamp: i64, offset: i64) -> Result<(), LogError> {
        if timestamp > self.last()?.map_or(-1, |(last, _)| last) {
            self.index.push(time_entry(self.base_offset, timestamp, offset));
        }
        Ok(())
    }

    /// The offset up to which every timestamp is smaller than `timestamp`, if the index knows one.
    pub(super) fn offset_before(&mut self, timestamp: i64) -> Result<Option<i64>, LogError> {
        let entry = self.index.last_that(|entry| split_time_entry(entry).0 < timestamp)?;
        Ok(entry.map(|entry| self.base_offset + i64::from(split_time_entry(&entry).1)))
    }

    /// The largest timestamp in the index, and the offset with it.
    pub(super) fn last(&mut self) -> Result<Option<(i64, i64)>, LogError> {
        let last = self.index.last()?;
        Ok(last.map(|entry| {
            let (timestamp, offset) = split_time_entry(&entry);
            (timestamp, self.base_offset + i64::from(offset))
        }))
    }

    pub(super) fn bytes(&mut self) -> Result<u64, LogError> {
        Ok(u64::from(self.index.len()?) * 12)
    }

    pub(super) fn write_out(&mut self) {
        self.index.write_out();
    }

    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        self.index.sync()
    }

    pub(super) fn close_if_idle(&self) {
        self.index.file.close_if_idle();
    }

    pub(super) fn close(&self) {
        self.index.file.close();
    }
}
