//! The transaction log, written: buffered records, one write and one fdatasync for a batch.

use std::path::PathBuf;
use std::sync::Arc;

use super::adler32::Adler32;
use super::directory::Directories;
use super::disk::{Disk, DiskFile, write_all_at};
use super::error::StorageError;
use super::log_reader::FILE_HEADER;
use super::{StorageConfig, log_reader};
use crate::limits::LOG_BATCH_BYTES;
use crate::zookeeper::txn::record::{self, Txn, TxnDigest, TxnHeader};

/// Zeros are written this far ahead of the records, so that most commits overwrite blocks that the
/// file system has allocated, and need not wait for its journal. The first step is short, since a
/// quiet coordinator needs no more.
const ZEROS_AHEAD_MIN: u64 = 64 << 10;
const ZEROS_AHEAD_MAX: u64 = ZEROS.len() as u64;

/// As ZooKeeper, the file is made longer when less than this is left of it.
const PRE_ALLOC_MARGIN: u64 = 4096;

/// Buffers above this are given back after a batch.
const BUFFER_KEPT: usize = 1 << 20;

static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

#[derive(Debug)]
pub(super) struct LogWriter {
    directories: Arc<Directories>,
    disk: Arc<dyn Disk>,
    pre_alloc_size: u64,
    force_sync: bool,
    last_zxid: i64,
    file: Option<OpenLog>,
    buffer: Vec<u8>,
    failed: bool,
}

/// What became of an append.
#[derive(Debug)]
pub(super) struct Appended {
    /// The record's length.
    pub(super) bytes: usize,
    /// As [`LogWriter::commit`] returns it, if the batch was full.
    pub(super) begun: Option<i64>,
}

#[derive(Debug)]
struct OpenLog {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// The zxid in its name.
    first: i64,
    /// Bytes written.
    position: u64,
    /// Bytes that the file system has allocated.
    zeroed: u64,
    /// The file's length.
    length: u64,
    /// Whether its name in the directory is durable.
    named: bool,
}

impl LogWriter {
    pub(super) fn new(
        directories: Arc<Directories>,
        disk: Arc<dyn Disk>,
        config: &StorageConfig,
        last_zxid: i64,
    ) -> Self {
        LogWriter {
            directories,
            disk,
            pre_alloc_size: config.pre_alloc_size,
            force_sync: config.force_sync,
            last_zxid,
            file: None,
            buffer: Vec::new(),
            failed: false,
        }
    }

    /// Adds a record to the batch. A batch that would be longer than what recovery
    /// expects to be torn is committed first.
    pub(super) fn append(
        &mut self,
        header: &TxnHeader,
        txn: &Txn,
        digest: Option<TxnDigest>,
    ) -> Result<Appended, StorageError> {
        if header.zxid <= self.last_zxid {
            return Err(StorageError::Order { zxid: header.zxid, last: self.last_zxid });
        }
        let estimate = log_reader::RECORD_OVERHEAD
            + record::HEADER_LEN
            + txn.encoded_len()
            + record::DIGEST_LEN;
        let early =
            if self.buffer.len() + estimate > LOG_BATCH_BYTES { self.commit()? } else { None };
        if self.failed {
            return Err(StorageError::Failed);
        }
        if self.file.is_none() {
            let opened = self.create(header.zxid);
            self.failed = opened.is_err();
            self.file = Some(opened?);
            self.buffer.extend_from_slice(&FILE_HEADER);
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 12]);
        record::write_entry(header, txn, digest, &mut self.buffer);
        let payload = &self.buffer[start + 12..];
        let checksum = u64::from(Adler32::of(payload));
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.buffer[start..start + 8].copy_from_slice(&checksum.to_be_bytes());
        self.buffer[start + 8..start + 12].copy_from_slice(&length.to_be_bytes());
        self.buffer.push(log_reader::END_OF_RECORD);
        self.last_zxid = header.zxid;
        Ok(Appended { bytes: self.buffer.len() - start, begun: early })
    }

    /// Writes and fsyncs the batch. After a failure nobody knows what is on the disk, so nothing is
    /// ever tried again. Returns the log's first zxid if the batch was its first one.
    pub(super) fn commit(&mut self) -> Result<Option<i64>, StorageError> {
        if self.failed {
            return Err(StorageError::Failed);
        }
        let Some(log) = &mut self.file else { return Ok(None) };
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let begun = (log.position == 0).then_some(log.first);
        let result = log.write(&*self.disk, &self.buffer, self.pre_alloc_size, self.force_sync);
        self.failed = result.is_err();
        result?;
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        Ok(begun)
    }

    /// Ends the file; the next record begins another. The batch must have been committed.
    pub(super) fn roll(&mut self) {
        self.file = None;
    }

    /// Takes nothing any more.
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    /// The last transaction that was added.
    pub(super) fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    /// Nothing up to this transaction is taken any more: a snapshot holds it.
    pub(super) fn advance(&mut self, zxid: i64) {
        self.last_zxid = self.last_zxid.max(zxid);
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, |log| log.position)
    }

    /// Recovery has removed any file of that name: it would be past the zxid of one that holds a record.
    fn create(&self, zxid: i64) -> Result<OpenLog, StorageError> {
        let path = self.directories.log_path(zxid);
        let file = self.disk.create(&path).map_err(StorageError::io(&path, "create"))?;
        Ok(OpenLog { file, path, first: zxid, position: 0, zeroed: 0, length: 0, named: false })
    }
}

impl OpenLog {
    fn write(
        &mut self,
        disk: &dyn Disk,
        batch: &[u8],
        pre_alloc_size: u64,
        force_sync: bool,
    ) -> Result<(), StorageError> {
        let failed = |action| StorageError::io(&self.path, action);
        write_all_at(&*self.file, batch, self.position).map_err(failed("write"))?;
        let end = self.position + batch.len() as u64;
        if pre_alloc_size > 0 && end + PRE_ALLOC_MARGIN >= self.length {
            let length = (end + PRE_ALLOC_MARGIN).next_multiple_of(pre_alloc_size);
            self.file.set_len(length).map_err(failed("extend"))?;
            self.length = length;
        }
        if force_sync {
            // Zeros beyond the file's length would make it longer than asked for.
            if end > self.zeroed && self.length > end {
                let ahead = end.clamp(ZEROS_AHEAD_MIN, ZEROS_AHEAD_MAX).min(self.length - end);
                let zeros = usize::try_from(ahead).map_or(&ZEROS[..], |ahead| &ZEROS[..ahead]);
                write_all_at(&*self.file, zeros, end).map_err(failed("write"))?;
                self.zeroed = end + ahead;
            }
            self.file.sync_data().map_err(failed("fdatasync"))?;
            if !self.named {
                disk.sync_parent(&self.path).map_err(failed("fsync of its folder"))?;
                self.named = true;
            }
        }
        self.position = end;
        Ok(())
    }
}
