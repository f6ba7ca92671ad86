//! `<base offset>.txnindex`: the transactions that were aborted in a segment, in Kafka's format.
//!
//! An entry has 34 bytes: version i16 (0), producer id i64, first offset i64, offset of the abort
//! marker i64, last stable offset when the marker was appended i64. They stand in the order of their
//! markers. A segment without aborted transactions has no such file.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::LogError;
use super::files::{LazyFile, read_at, write_at};
use super::segment::Segment;

const ENTRY: usize = 34;
/// Entries that are read at once.
const CHUNK: u64 = 512;
const UNKNOWN: i64 = -1;

/// A transaction whose records do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AbortedTransaction {
    /// Offset of its first record on the partition.
    pub first_offset: i64,
    /// The producer that it was of.
    pub producer_id: i64,
    /// Offset of the marker that ended it.
    pub last_offset: i64,
    /// The last stable offset when it ended: no transaction that ends later begins before it.
    pub last_stable_offset: i64,
}

impl AbortedTransaction {
    fn encode(&self) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        entry[2..10].copy_from_slice(&self.producer_id.to_be_bytes());
        entry[10..18].copy_from_slice(&self.first_offset.to_be_bytes());
        entry[18..26].copy_from_slice(&self.last_offset.to_be_bytes());
        entry[26..34].copy_from_slice(&self.last_stable_offset.to_be_bytes());
        entry
    }

    /// `None` for a later version, or what can't be.
    fn decode(entry: &[u8; ENTRY]) -> Option<AbortedTransaction> {
        let field = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&entry[at..at + 8]);
            i64::from_be_bytes(bytes)
        };
        let transaction = AbortedTransaction {
            producer_id: field(2),
            first_offset: field(10),
            last_offset: field(18),
            last_stable_offset: field(26),
        };
        let right = entry[..2] == [0, 0]
            && 0 <= transaction.first_offset
            && transaction.first_offset <= transaction.last_offset;
        right.then_some(transaction)
    }
}

/// The aborted transactions of one segment. One thread appends, others read.
#[derive(Debug)]
pub(super) struct TransactionIndex {
    file: LazyFile,
    /// Entries of the file; unknown until it is looked for.
    entries: AtomicI64,
}

impl TransactionIndex {
    pub(super) fn open(path: PathBuf) -> TransactionIndex {
        TransactionIndex { file: LazyFile::new(path), entries: AtomicI64::new(UNKNOWN) }
    }

    fn entries(&self) -> Result<u64, LogError> {
        let known = self.entries.load(Ordering::Acquire);
        if let Ok(known) = u64::try_from(known) {
            return Ok(known);
        }
        let entries = match std::fs::metadata(self.file.path()) {
            Ok(metadata) => metadata.len() / ENTRY as u64,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(LogError::storage(self.file.path(), error)),
        };
        self.entries.store(i64::try_from(entries).unwrap_or(i64::MAX), Ordering::Release);
        Ok(entries)
    }

    /// Adds a transaction, whose marker lies behind those of all others.
    pub(super) fn append(&self, transaction: &AbortedTransaction) -> Result<(), LogError> {
        let entries = self.entries()?;
        write_at(&*self.file.open()?, &transaction.encode(), &[], entries * ENTRY as u64)
            .map_err(|error| LogError::storage(self.file.path(), error))?;
        self.entries.store(i64::try_from(entries + 1).unwrap_or(i64::MAX), Ordering::Release);
        Ok(())
    }

    /// Puts these in the place of all, durably; no file without any.
    pub(super) fn replace(&self, transactions: &[AbortedTransaction]) -> Result<(), LogError> {
        self.file.close();
        super::load::remove_file(self.file.path())?;
        self.entries.store(0, Ordering::Release);
        if transactions.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = transactions.iter().flat_map(AbortedTransaction::encode).collect();
        let file = self.file.open()?;
        write_at(&file, &bytes, &[], 0)
            .and_then(|()| file.sync_data())
            .map_err(|error| LogError::storage(self.file.path(), error))?;
        let entries = i64::try_from(transactions.len()).unwrap_or(i64::MAX);
        self.entries.store(entries, Ordering::Release);
        Ok(())
    }

    /// Adds those with a record in `from..to` to `found`; `true` if none in a later segment can have
    /// one.
    pub(super) fn collect(
        &self,
        from: i64,
        to: i64,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<bool, LogError> {
        let entries = self.entries()?;
        let mut at = 0;
        while at < entries {
            let count = CHUNK.min(entries - at);
            let length = usize::try_from(count).unwrap_or(0) * ENTRY;
            let bytes = read_at(&*self.file.open_existing()?, at * ENTRY as u64, length)
                .map_err(|error| LogError::storage(self.file.path(), error))?;
            for entry in bytes.as_chunks::<ENTRY>().0 {
                let Some(transaction) = AbortedTransaction::decode(entry) else {
                    let wrong = "an entry is not one of version 0";
                    let error = io::Error::new(io::ErrorKind::InvalidData, wrong);
                    return Err(LogError::storage(self.file.path(), error));
                };
                if transaction.last_offset >= from && transaction.first_offset < to {
                    found.push(transaction);
                }
                if transaction.last_stable_offset >= to {
                    return Ok(true);
                }
            }
            if bytes.len() < length {
                break;
            }
            at += count;
        }
        Ok(false)
    }

    pub(super) fn sync(&self) -> Result<(), LogError> {
        if self.entries()? == 0 {
            return Ok(());
        }
        self.file
            .open_existing()?
            .sync_data()
            .map_err(|error| LogError::storage(self.file.path(), error))
    }

    pub(super) fn close_if_idle(&self) {
        self.file.close_if_idle();
    }

    pub(super) fn close(&self) {
        self.file.close();
    }
}

/// The aborted transactions that have a record in `from..to`, of a log with these segments.
pub(super) fn aborted_transactions(
    segments: &[Arc<Segment>],
    from: i64,
    to: i64,
) -> Result<Vec<AbortedTransaction>, LogError> {
    let mut found = Vec::new();
    let after = segments.partition_point(|segment| segment.base_offset <= from);
    for segment in segments.get(after.saturating_sub(1)..).unwrap_or_default() {
        if segment.aborted().collect(from, to, &mut found)? {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(producer_id: i64, first: i64, last: i64, stable: i64) -> AbortedTransaction {
        AbortedTransaction {
            first_offset: first,
            producer_id,
            last_offset: last,
            last_stable_offset: stable,
        }
    }

    #[test]
    fn transactions_are_found_by_their_range() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("00000000000000000000.txnindex");
        let index = TransactionIndex::open(path.clone());
        let mut none = Vec::new();
        assert!(!index.collect(0, 100, &mut none).unwrap());
        assert!(none.is_empty() && !path.exists(), "nobody made a file");
        let all = [transaction(1, 0, 9, 0), transaction(2, 5, 20, 11), transaction(3, 25, 30, 25)];
        for one in &all {
            index.append(one).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 102);
        for index in [index, TransactionIndex::open(path)] {
            let found = |from, to| {
                let mut found = Vec::new();
                let complete = index.collect(from, to, &mut found).unwrap();
                (found, complete)
            };
            assert_eq!(found(0, 5), (vec![all[0]], true));
            assert_eq!(found(9, 26), (all.to_vec(), false));
            assert_eq!(found(10, 25), (vec![all[1]], true));
            assert_eq!(found(31, 99), (vec![], false));
            index.replace(&all[1..2]).unwrap();
            assert_eq!(found(0, 100), (vec![all[1]], false));
            index.replace(&all).unwrap();
        }
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_borne() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("00000000000000000000.txnindex");
        let good = [transaction(1, 0, 9, 0).encode(), transaction(2, 5, 20, 11).encode()].concat();
        for end in 0..good.len() {
            std::fs::write(&path, &good[..end]).unwrap();
            let mut found = Vec::new();
            TransactionIndex::open(path.clone()).collect(0, 100, &mut found).unwrap();
            assert_eq!(found.len(), end / ENTRY);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x80;
            std::fs::write(&path, &bad).unwrap();
            let read = TransactionIndex::open(path.clone()).collect(0, 100, &mut Vec::new());
            assert!(read.is_err() || at % ENTRY >= 2, "byte {at} is of a version");
        }
    }
}
