//! What a producer may send: the checks of Apache Kafka's `ProduceRequest.validateRecords`,
//! `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`, in their order.

use std::ops::ControlFlow;

use super::{AppendOptions, LogConfig, LogError, RecordError, TimestampType};
use crate::kafka::record_batch::{
    BatchError, BatchHeader, Compression, LENGTH_OVERHEAD, MAGIC, NO_TIMESTAMP, for_each_record,
    rewritten_batch, verify_checksum,
};

/// The first Produce version that may use Zstandard (KIP-110).
const ZSTD_PRODUCE_VERSION: i16 = 7;
/// The least length of a record set entry of any format.
const SMALLEST_ENTRY: i32 = 14;
/// Records at fault that an error lists; there may be a million.
const RECORD_ERRORS_MAX: usize = 100;

/// A batch that may be appended.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProducedBatch {
    pub(super) header: BatchHeader,
    /// Length of the batch; what a client sent behind it is cut off, as Kafka does.
    pub(super) size: usize,
    /// Largest timestamp of the records, which a client may have miscounted.
    pub(super) max_timestamp: i64,
}

/// Checks the record set of one partition as it came from a producer, or from a coordinator of this
/// process, which gives no sequence numbers.
///
/// # Errors
/// The [`LogError`] that says what is wrong; `partition` (`topic-0`) is named in its text.
pub(super) fn produced_batch(
    records: &[u8],
    options: &AppendOptions,
    config: &LogConfig,
    from_client: bool,
    partition: &str,
) -> Result<ProducedBatch, LogError> {
    let version = options.produce_version;
    let Some(size) = next_entry(records)? else {
        return Err(LogError::NotOneBatch(format!(
            "Produce requests with version {version} must have at least one record batch per \
             partition"
        )));
    };
    let magic = records.get(16).map_or(-1, |magic| i8::from_be_bytes([*magic]));
    if magic != MAGIC {
        return Err(LogError::NotOneBatch(format!(
            "Produce requests with version {version} are only allowed to contain record batches \
             with magic version 2"
        )));
    }
    let batch = &records[..size];
    let header = BatchHeader::parse(batch).map_err(|error| corrupt(&error, partition))?;
    let codec = header.compression().map_err(|error| corrupt(&error, partition))?;
    if codec == Compression::Zstd && version < ZSTD_PRODUCE_VERSION {
        return Err(LogError::UnsupportedCompressionType(format!(
            "Produce requests with version {version} are not allowed to use ZStandard compression"
        )));
    }
    if next_entry(&records[size..])?.is_some() {
        return Err(LogError::NotOneBatch(format!(
            "Produce requests with version {version} are only allowed to contain exactly one \
             record batch per partition"
        )));
    }
    if header.base_offset != 0 {
        return Err(invalid(format!(
            "The baseOffset of the record batch in the append to {partition} should be 0, but it \
             is {}",
            header.base_offset
        )));
    }
    if size > config.max_message_bytes as usize {
        return Err(LogError::MessageTooLarge(format!(
            "The record batch size in the append to {partition} is {size} bytes which exceeds the \
             maximum configured value of {}.",
            config.max_message_bytes
        )));
    }
    verify_checksum(&header, batch).map_err(|error| corrupt(&error, partition))?;
    check_header(&header, from_client, partition)?;
    // Whatever becomes of its codec, it is not looked at further if it can't be stored.
    if config.compression.is_none() {
        check_segment(size, config, partition)?;
    }
    let max_timestamp = check_records(&header, batch, options, config, partition)?;
    Ok(ProducedBatch { header, size, max_timestamp })
}

fn check_segment(size: usize, config: &LogConfig, partition: &str) -> Result<(), LogError> {
    if size > config.segment_bytes as usize {
        return Err(LogError::RecordListTooLarge(format!(
            "Message batch size is {size} bytes in append to partition {partition}, which exceeds \
             the maximum configured segment size of {}.",
            config.segment_bytes
        )));
    }
    Ok(())
}

/// The batch in the topic's own codec (`compression.type`), if that is another than the producer's.
///
/// # Errors
/// [`LogError::MessageTooLarge`] and [`LogError::RecordListTooLarge`] by the new length.
pub(super) fn recompressed(
    produced: &ProducedBatch,
    batch: &[u8],
    config: &LogConfig,
    partition: &str,
) -> Result<Option<(ProducedBatch, Vec<u8>)>, LogError> {
    let Some((target, level)) = config.compression else { return Ok(None) };
    let header = &produced.header;
    if header.compression() == Ok(target) {
        check_segment(produced.size, config, partition)?;
        return Ok(None);
    }
    let rewritten = rewritten_batch(header, batch, (target, level), None, |_| true)
        .map_err(|error| corrupt(&error, partition))?;
    let size = rewritten.len();
    if size > config.max_message_bytes as usize {
        return Err(LogError::MessageTooLarge(format!(
            "Message batch size is {size} bytes in append to partition {partition} which exceeds \
             the maximum configured size of {}.",
            config.max_message_bytes
        )));
    }
    check_segment(size, config, partition)?;
    let header = BatchHeader::parse(&rewritten).map_err(|error| corrupt(&error, partition))?;
    let max_timestamp = produced.max_timestamp;
    Ok(Some((ProducedBatch { header, size, max_timestamp }, rewritten)))
}

/// Length of the entry at the start of `bytes`; `None` if there is no whole one.
fn next_entry(bytes: &[u8]) -> Result<Option<usize>, LogError> {
    let Some(length) = bytes.get(8..LENGTH_OVERHEAD).and_then(|b| b.first_chunk::<4>()) else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    if length < SMALLEST_ENTRY {
        return Err(LogError::CorruptMessage(format!(
            "Record size {length} is less than the minimum record overhead ({SMALLEST_ENTRY})"
        )));
    }
    let Some(&magic) = bytes.get(16) else { return Ok(None) };
    if !(0..=MAGIC).contains(&i8::from_be_bytes([magic])) {
        return Err(LogError::CorruptMessage(format!(
            "Invalid magic found in record: {}",
            i8::from_be_bytes([magic])
        )));
    }
    let size = usize::try_from(length).unwrap_or(usize::MAX) + LENGTH_OVERHEAD;
    Ok((size <= bytes.len()).then_some(size))
}

/// The header's fields against each other.
fn check_header(header: &BatchHeader, from_client: bool, partition: &str) -> Result<(), LogError> {
    let (last, count) = (header.last_offset_delta, header.record_count);
    if last < 0 {
        return Err(invalid(format!(
            "Batch has an invalid offset range: [0, {last}] in topic-partition {partition}."
        )));
    }
    if count <= 0 {
        return Err(invalid(format!(
            "Invalid reported count for record batch: {count} in topic-partition {partition}."
        )));
    }
    if i64::from(last) + 1 != i64::from(count) {
        return Err(invalid(format!(
            "Inconsistent batch offset range [0, {last}] and count of records {count} in \
             topic-partition {partition}."
        )));
    }
    if header.is_control() {
        return Err(invalid(format!(
            "Clients are not allowed to write control records in topic-partition {partition}."
        )));
    }
    if from_client && header.has_producer_id() && header.base_sequence < 0 {
        return Err(invalid(format!(
            "Invalid sequence number {} in record batch with producerId {} in topic-partition \
             {partition}.",
            header.base_sequence, header.producer_id
        )));
    }
    Ok(())
}

/// Walks the records; answers their largest timestamp.
fn check_records(
    header: &BatchHeader,
    batch: &[u8],
    options: &AppendOptions,
    config: &LogConfig,
    partition: &str,
) -> Result<i64, LogError> {
    let create_time = config.message_timestamp_type == TimestampType::CreateTime;
    let earliest = options.now_ms.saturating_sub(config.message_timestamp_before_max_ms);
    let latest = options.now_ms.saturating_add(config.message_timestamp_after_max_ms);
    let mut max_timestamp = NO_TIMESTAMP;
    let mut faults: Vec<RecordError> = Vec::new();
    let mut fault_count = 0usize;
    let mut bad_timestamps = false;
    for_each_record(header, batch, |record| {
        let fault = if record.offset_delta != record.index {
            Some(format!(
                "Record {} in {partition} has offset {}, where {} was expected",
                record.index, record.offset_delta, record.index
            ))
        } else if config.cleanup_compact && !record.has_key {
            Some(format!(
                "Compacted topic cannot accept message without key in topic partition {partition}."
            ))
        } else if create_time && record.timestamp != NO_TIMESTAMP {
            if (earliest..=latest).contains(&record.timestamp) {
                None
            } else {
                bad_timestamps = true;
                Some(format!(
                    "Timestamp {} of message with offset {} is out of range. The timestamp should \
                     be within [{earliest}, {latest}]",
                    record.timestamp, record.offset_delta
                ))
            }
        } else if header.is_log_append_time() {
            bad_timestamps = true;
            Some(
                "Invalid timestamp type in message. Producer should not set timestamp type to \
                 LogAppendTime."
                    .to_owned(),
            )
        } else {
            None
        };
        if let Some(message) = fault {
            fault_count += 1;
            if faults.len() < RECORD_ERRORS_MAX {
                faults.push(RecordError { batch_index: record.index, message });
            }
        }
        max_timestamp = max_timestamp.max(record.timestamp);
        ControlFlow::<()>::Continue(())
    })
    .map_err(|error| corrupt(&error, partition))?;
    if faults.is_empty() {
        return Ok(max_timestamp);
    }
    Err(if bad_timestamps {
        LogError::InvalidTimestamp {
            message: "One or more records have been rejected due to invalid timestamp".to_owned(),
            records: faults,
        }
    } else {
        LogError::InvalidRecord {
            message: format!(
                "One or more records have been rejected due to {fault_count} record errors in total"
            ),
            records: faults,
        }
    })
}

fn invalid(message: String) -> LogError {
    LogError::InvalidRecord { message, records: Vec::new() }
}

/// The protocol's error for bytes that are not what they should be.
fn corrupt(error: &BatchError, partition: &str) -> LogError {
    let message = format!("{error} in topic partition {partition}.");
    match error {
        // Sent again it would be no better, unlike what was damaged on its way.
        BatchError::Malformed(_) | BatchError::Decompression(_) => invalid(message),
        BatchError::UnknownCompression(_) => LogError::UnsupportedCompressionType(message),
        // Producers split a compressed batch that is too large, and try again.
        BatchError::DecompressedTooLarge(_) => LogError::MessageTooLarge(message),
        BatchError::Magic(_) => LogError::UnsupportedForMessageFormat(message),
        BatchError::Truncated { .. } | BatchError::Length(_) | BatchError::Checksum { .. } => {
            LogError::CorruptMessage(message)
        }
    }
}
