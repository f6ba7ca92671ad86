//! A log, read record by record.

use super::DataError;
use crate::zookeeper::storage::directory::DataFile;
use crate::zookeeper::storage::log_reader::all_zero;
use crate::zookeeper::storage::{Entry, LogReader, Opened};
use crate::zookeeper::txn::record::{self, Txn, TxnDigest, TxnError, TxnHeader};

/// A whole record.
#[derive(Debug)]
pub(super) struct Record {
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Bytes of the transaction.
    pub(super) length: usize,
    pub(super) header: TxnHeader,
    pub(super) txn: Txn,
    pub(super) digest: Option<TxnDigest>,
}

/// How a log ends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    /// Behind its last record, or in zeros behind it.
    #[error("whole")]
    Clean,
    /// At something that is no whole record.
    #[error("torn at byte {0}")]
    Torn(u64),
    /// At a whole record that no server writes.
    #[error("at byte {0}: {1}")]
    Unknown(u64, TxnError),
    /// It has no header.
    #[error("without a header")]
    Empty,
    /// It is no log.
    #[error("no transaction log")]
    Foreign,
}

/// A log in numbers.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) records: u64,
    pub(super) first: Option<TxnHeader>,
    pub(super) last: Option<TxnHeader>,
    /// Bytes of the file, of which most may be allocated ahead.
    pub(super) length: u64,
    pub(super) end: End,
}

/// Reads a log; `visit` sees each record.
pub(super) fn scan(
    log: &DataFile,
    mut visit: impl FnMut(Record) -> Result<(), DataError>,
) -> Result<Scan, DataError> {
    let failed = |source| DataError::Io { path: log.path.clone(), source };
    let length = std::fs::metadata(&log.path).map_err(failed)?.len();
    let mut scan = Scan { records: 0, first: None, last: None, length, end: End::Clean };
    let mut reader = match LogReader::open(&log.path).map_err(failed)? {
        Opened::Log(reader) => reader,
        Opened::Empty => return Ok(Scan { end: End::Empty, ..scan }),
        Opened::Foreign => return Ok(Scan { end: End::Foreign, ..scan }),
    };
    loop {
        match reader.next_entry().map_err(failed)? {
            Entry::Record { offset, payload } => match record::read_entry(payload) {
                Ok((header, txn, digest)) => {
                    scan.records += 1;
                    scan.first.get_or_insert(header);
                    scan.last = Some(header);
                    visit(Record { offset, length: payload.len(), header, txn, digest })?;
                }
                Err(error) => return Ok(Scan { end: End::Unknown(offset, error), ..scan }),
            },
            Entry::End { offset } => {
                if !all_zero(&log.path, offset).map_err(failed)? {
                    scan.end = End::Torn(offset);
                }
                return Ok(scan);
            }
            Entry::Torn { offset } => return Ok(Scan { end: End::Torn(offset), ..scan }),
        }
    }
}
