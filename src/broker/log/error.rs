//! What can go wrong with a partition log, each with the protocol's error code.

use std::io;
use std::path::{Path, PathBuf};

use kafka_protocol::error::ResponseError;

/// A record of a batch that was refused, by its place in the batch (`RecordError` of KIP-467).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// The record's index in its batch.
    pub batch_index: i32,
    /// Why, in words.
    pub message: String,
}

/// An operation on a log that was refused or that failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The batch's checksum, length or encoding is wrong: `CORRUPT_MESSAGE`.
    #[error("{0}")]
    CorruptMessage(String),
    /// Not one batch of the current format, refused before a log looks at it: `INVALID_RECORD`.
    #[error("{0}")]
    NotOneBatch(String),
    /// A batch that no producer may send: `INVALID_RECORD`, with the records at fault.
    #[error("{message}")]
    InvalidRecord {
        /// The batch's fault in words.
        message: String,
        /// The records at fault; empty when it is the batch itself.
        records: Vec<RecordError>,
    },
    /// A timestamp too far from the broker's clock: `INVALID_TIMESTAMP`.
    #[error("{message}")]
    InvalidTimestamp {
        /// The fault in words.
        message: String,
        /// The records at fault.
        records: Vec<RecordError>,
    },
    /// Larger than `max.message.bytes`: `MESSAGE_TOO_LARGE`.
    #[error("{0}")]
    MessageTooLarge(String),
    /// Larger than a segment: `RECORD_LIST_TOO_LARGE`.
    #[error("{0}")]
    RecordListTooLarge(String),
    /// A codec that this version of Produce does not know: `UNSUPPORTED_COMPRESSION_TYPE`.
    #[error("{0}")]
    UnsupportedCompressionType(String),
    /// A record format before version 2: `UNSUPPORTED_FOR_MESSAGE_FORMAT`.
    #[error("{0}")]
    UnsupportedForMessageFormat(String),
    /// A gap in a producer's sequence numbers: `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    #[error("{0}")]
    OutOfOrderSequence(String),
    /// A producer that a newer epoch has replaced: `INVALID_PRODUCER_EPOCH`.
    #[error("{0}")]
    InvalidProducerEpoch(String),
    /// A transaction coordinator that a newer one has replaced: `TRANSACTION_COORDINATOR_FENCED`.
    #[error("{0}")]
    CoordinatorFenced(String),
    /// A transactional batch outside of a transaction, or another one inside: `INVALID_TXN_STATE`.
    #[error("{0}")]
    InvalidTransactionState(String),
    /// An offset that the log does not hold: `OFFSET_OUT_OF_RANGE`.
    #[error("offset {offset} is out of the range {start} to {end}")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: i64,
        /// The log start offset.
        start: i64,
        /// The log end offset.
        end: i64,
    },
    /// The directory holds another topic of this name: `INCONSISTENT_TOPIC_ID`.
    #[error("{0}")]
    InconsistentTopicId(String),
    /// The log was deleted while the request was under way: `UNKNOWN_TOPIC_OR_PARTITION`.
    #[error("the log was deleted")]
    Deleted,
    /// The log's directory is offline after a failed flush: `KAFKA_STORAGE_ERROR`.
    #[error("the log directory {0} is offline")]
    Offline(PathBuf),
    /// Reading or writing a file failed: `KAFKA_STORAGE_ERROR`.
    #[error("{path}: {source}")]
    Storage {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A write failed half-way and what it left can't be removed: `KAFKA_STORAGE_ERROR`.
    #[error("{path}: a torn write can't be undone: {source}")]
    Torn {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A start that can't go on: a locked directory, a foreign `meta.properties`.
    #[error("{0}")]
    Start(String),
}

impl LogError {
    /// A storage error at `path`.
    pub fn storage(path: impl AsRef<Path>, source: io::Error) -> LogError {
        LogError::Storage { path: path.as_ref().to_owned(), source }
    }

    /// The error code that a client is told.
    pub fn code(&self) -> ResponseError {
        match self {
            LogError::CorruptMessage(_) => ResponseError::CorruptMessage,
            LogError::NotOneBatch(_) | LogError::InvalidRecord { .. } => {
                ResponseError::InvalidRecord
            }
            LogError::InvalidTimestamp { .. } => ResponseError::InvalidTimestamp,
            LogError::MessageTooLarge(_) => ResponseError::MessageTooLarge,
            LogError::RecordListTooLarge(_) => ResponseError::RecordListTooLarge,
            LogError::UnsupportedCompressionType(_) => ResponseError::UnsupportedCompressionType,
            LogError::UnsupportedForMessageFormat(_) => ResponseError::UnsupportedForMessageFormat,
            LogError::OutOfOrderSequence(_) => ResponseError::OutOfOrderSequenceNumber,
            LogError::InvalidProducerEpoch(_) => ResponseError::InvalidProducerEpoch,
            LogError::CoordinatorFenced(_) => ResponseError::TransactionCoordinatorFenced,
            LogError::InvalidTransactionState(_) => ResponseError::InvalidTxnState,
            LogError::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
            LogError::InconsistentTopicId(_) => ResponseError::InconsistentTopicId,
            LogError::Deleted => ResponseError::UnknownTopicOrPartition,
            LogError::Offline(_) | LogError::Storage { .. } | LogError::Torn { .. } => {
                ResponseError::KafkaStorageError
            }
            LogError::Start(_) => ResponseError::UnknownServerError,
        }
    }

    /// The records at fault, for `record_errors` of a Produce answer.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            LogError::InvalidRecord { records, .. }
            | LogError::InvalidTimestamp { records, .. } => records,
            _ => &[],
        }
    }
}
