//! Record batches of format version 2 (KIP-98): the header, its checksum, and what is in them.
//!
//! A broker stores batches as they came. It reads the 61 bytes of the header, patches the few
//! fields that are the broker's to set, and walks the records only to check them.
//!
//! ```text
//!  0 base offset         i64      23 last offset delta  i32      57 record count  i32
//!  8 length after here   i32      27 base timestamp     i64      61 records, compressed as one
//! 12 leader epoch        i32      35 max timestamp      i64
//! 16 magic               i8       43 producer id        i64
//! 17 CRC-32C from 21 on  u32      51 producer epoch     i16
//! 21 attributes          i16      53 base sequence      i32
//! ```

mod compression;
mod control;
mod pairs;
mod records;
mod rewrite;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use compression::Compression;
pub use control::{ControlRecord, control_batch, control_record};
pub use pairs::{for_each_key_value, plain_batch};
pub use records::{RecordMeta, for_each_record};
pub use rewrite::{KeyHash, KeyedRecord, empty_batch, for_each_keyed_record, rewritten_batch};

/// Length of a batch's header.
pub const HEADER_LENGTH: usize = 61;
/// Base offset and length: what lies before the bytes that the length counts.
pub const LENGTH_OVERHEAD: usize = 12;
/// The only format version that is served.
pub const MAGIC: i8 = 2;
/// A timestamp that is not there.
pub const NO_TIMESTAMP: i64 = -1;
/// The producer id of a batch without one.
pub const NO_PRODUCER_ID: i64 = -1;

const CRC_START: usize = 21;
/// The bit of the attributes that says that the base timestamp is the delete horizon.
const DELETE_HORIZON: i16 = 0x40;

/// Why bytes are not a record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// There are fewer bytes than the batch says it has.
    #[error("the batch is cut off: {have} bytes of {need}")]
    Truncated {
        /// Bytes that are there.
        have: usize,
        /// Bytes that are needed at least.
        need: usize,
    },
    /// The length field is too small for a header, or negative.
    #[error("the batch length {0} is less than a batch header")]
    Length(i32),
    /// The format version is not 2.
    #[error("the record format version {0} is not 2")]
    Magic(i8),
    /// The checksum does not match.
    #[error("Record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    Checksum {
        /// The batch's CRC field.
        stored: u32,
        /// The CRC-32C of its bytes.
        computed: u32,
    },
    /// The attributes name a codec that does not exist.
    #[error("Unknown compression type id: {0}")]
    UnknownCompression(i16),
    /// The compressed bytes can't be decompressed.
    #[error("the records can't be decompressed: {0}")]
    Decompression(String),
    /// The records decompress to more than is looked at.
    #[error("the records decompress to more than {0} bytes")]
    DecompressedTooLarge(u64),
    /// The records do not follow the format.
    #[error("{0}")]
    Malformed(String),
}

/// The header of a record batch, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; 0 from a producer.
    pub base_offset: i64,
    /// Bytes after the length field.
    pub batch_length: i32,
    /// Leader epoch in which the batch was appended; set by the broker.
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec (bits 0–2), timestamp type (3), transactional (4), control (5), delete horizon (6).
    pub attributes: i16,
    /// Offset of the last record, from the base offset.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas count from, milliseconds since 1970.
    pub base_timestamp: i64,
    /// Largest timestamp of the records, or the append time under `LogAppendTime`.
    pub max_timestamp: i64,
    /// Id of an idempotent producer, −1 without.
    pub producer_id: i64,
    /// Epoch of that producer, −1 without.
    pub producer_epoch: i16,
    /// Sequence number of the first record, −1 without.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
}

/// `N` bytes at a fixed place of a header that is known to be whole.
fn field<const N: usize>(header: &[u8; HEADER_LENGTH], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

impl BatchHeader {
    /// Decodes the header at the start of `bytes`, which may end anywhere behind it.
    ///
    /// # Errors
    /// [`BatchError::Truncated`], [`BatchError::Magic`] or [`BatchError::Length`]; the version is
    /// looked at before the length, since older formats have shorter headers.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        if let Some(&magic) = bytes.get(16) {
            let magic = i8::from_be_bytes([magic]);
            if magic != MAGIC {
                return Err(BatchError::Magic(magic));
            }
        }
        let Some(header) = bytes.first_chunk::<HEADER_LENGTH>() else {
            return Err(BatchError::Truncated { have: bytes.len(), need: HEADER_LENGTH });
        };
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(field(header, 0)),
            batch_length: i32::from_be_bytes(field(header, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(header, 12)),
            crc: u32::from_be_bytes(field(header, 17)),
            attributes: i16::from_be_bytes(field(header, 21)),
            last_offset_delta: i32::from_be_bytes(field(header, 23)),
            base_timestamp: i64::from_be_bytes(field(header, 27)),
            max_timestamp: i64::from_be_bytes(field(header, 35)),
            producer_id: i64::from_be_bytes(field(header, 43)),
            producer_epoch: i16::from_be_bytes(field(header, 51)),
            base_sequence: i32::from_be_bytes(field(header, 53)),
            record_count: i32::from_be_bytes(field(header, 57)),
        };
        match usize::try_from(header.batch_length) {
            Ok(length) if length + LENGTH_OVERHEAD >= HEADER_LENGTH => Ok(header),
            _ => Err(BatchError::Length(header.batch_length)),
        }
    }

    /// Writes the header, length and checksum included, into the first bytes of a batch whose
    /// records follow it. Without effect on fewer bytes than a header has.
    fn seal(&self, batch: &mut [u8]) {
        let length = i32::try_from(batch.len().saturating_sub(LENGTH_OVERHEAD)).unwrap_or(i32::MAX);
        let Some((header, records)) = batch.split_first_chunk_mut::<HEADER_LENGTH>() else {
            return;
        };
        header[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        header[8..12].copy_from_slice(&length.to_be_bytes());
        header[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        header[16..17].copy_from_slice(&MAGIC.to_be_bytes());
        header[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        header[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        header[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        header[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        header[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        header[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        header[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        header[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[CRC_START..]), records);
        header[17..21].copy_from_slice(&crc.to_be_bytes());
    }

    /// Length of the whole batch in bytes.
    pub fn size(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or(0) + LENGTH_OVERHEAD
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset that follows the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`].
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_attributes(self.attributes)
    }

    /// The timestamps are the broker's (`LogAppendTime`).
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    /// Part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// A transaction marker, not records.
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// When the tombstones or the marker of the batch may go, milliseconds since 1970; `None`
    /// before a compaction has set it (KIP-534). It stands where the base timestamp does, and the
    /// records' timestamps count from it.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Comes from an idempotent producer.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Sequence number of the last record; wraps from the largest `i32` to 0.
    pub fn last_sequence(&self) -> i32 {
        if self.producer_id == NO_PRODUCER_ID {
            return -1;
        }
        sequence_after(self.base_sequence, self.last_offset_delta)
    }
}

/// The sequence number `increment` steps on; after the largest `i32` comes 0.
pub fn sequence_after(sequence: i32, increment: i32) -> i32 {
    match sequence.checked_add(increment) {
        Some(sum) => sum,
        None => increment.wrapping_sub(i32::MAX.wrapping_sub(sequence)).wrapping_sub(1),
    }
}

/// Splits the first batch off `bytes` and verifies its checksum. The batch is all of it, header
/// and records.
///
/// # Errors
/// Anything of [`BatchHeader::parse`], [`BatchError::Truncated`], [`BatchError::Checksum`].
pub fn verified_batch(bytes: &[u8]) -> Result<(BatchHeader, &[u8]), BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let Some(batch) = bytes.get(..header.size()) else {
        return Err(BatchError::Truncated { have: bytes.len(), need: header.size() });
    };
    verify_checksum(&header, batch)?;
    Ok((header, batch))
}

/// Compares the header's CRC with that of the whole batch.
///
/// # Errors
/// [`BatchError::Checksum`].
pub fn verify_checksum(header: &BatchHeader, batch: &[u8]) -> Result<(), BatchError> {
    let computed = crc32c::crc32c(batch.get(CRC_START..).unwrap_or_default());
    if computed == header.crc {
        Ok(())
    } else {
        Err(BatchError::Checksum { stored: header.crc, computed })
    }
}

/// What a broker sets in the header of a batch that it appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderPatch {
    /// Offset of the first record.
    pub base_offset: i64,
    /// The leader epoch.
    pub partition_leader_epoch: i32,
    /// Another largest timestamp, and whether it is the append time. Changes the checksum.
    pub timestamps: Option<(i64, bool)>,
}

/// The header of `batch` (a whole one) with the patch applied; the records stay as they are.
///
/// # Errors
/// [`BatchError::Truncated`].
pub fn patched_header(
    batch: &[u8],
    patch: &HeaderPatch,
) -> Result<[u8; HEADER_LENGTH], BatchError> {
    let Some((header, records)) = batch.split_first_chunk::<HEADER_LENGTH>() else {
        return Err(BatchError::Truncated { have: batch.len(), need: HEADER_LENGTH });
    };
    let mut header = *header;
    header[0..8].copy_from_slice(&patch.base_offset.to_be_bytes());
    header[12..16].copy_from_slice(&patch.partition_leader_epoch.to_be_bytes());
    if let Some((max_timestamp, log_append_time)) = patch.timestamps {
        if log_append_time {
            header[22] |= 0x08;
        } else {
            header[22] &= !0x08;
        }
        header[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[CRC_START..]), records);
        header[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    Ok(header)
}
