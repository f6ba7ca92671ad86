//! The settings of one partition log: topic configuration keys as typed values.

use std::collections::BTreeMap;

use crate::kafka::record_batch::Compression;

/// `message.timestamp.type`: whose clock a record's timestamp is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, set when the batch is appended.
    LogAppendTime,
}

/// What a log needs to know of its topic's configuration. Defaults are Apache Kafka 3.9's.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is closed before it grows beyond this many bytes.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment whose first record is older than this is closed by the next append.
    pub segment_ms: i64,
    /// `segment.index.bytes`: bound of the offset index, and of the time index, of one segment.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: one index entry is written for about this many bytes of log.
    pub index_interval_bytes: u32,
    /// `flush.messages`: records after which an append is flushed before it is acknowledged.
    pub flush_messages: i64,
    /// `flush.ms`: how old unflushed records get before they are flushed in the background.
    pub flush_ms: i64,
    /// `retention.bytes`: size above which the oldest segments go; −1 = no bound.
    pub retention_bytes: i64,
    /// `retention.ms`: age above which segments go; −1 = no bound.
    pub retention_ms: i64,
    /// `file.delete.delay.ms`: how long a removed segment stays on disk, as `.deleted`.
    pub file_delete_delay_ms: i64,
    /// `max.message.bytes`: the largest record batch taken.
    pub max_message_bytes: u32,
    /// `cleanup.policy` holds `delete`.
    pub cleanup_delete: bool,
    /// `cleanup.policy` holds `compact`: of each key the newest record stays.
    pub cleanup_compact: bool,
    /// `delete.retention.ms`: how long tombstones and markers stay once compaction has met them.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: how long a record is not compacted.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: how long a record waits for compaction at most.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`: the share of dirty bytes above which a log is compacted.
    pub min_cleanable_dirty_ratio: f64,
    /// `compression.type` and the codec's level: the codec that batches are stored in, whatever the
    /// producer's; `None` is as they came.
    pub compression: Option<(Compression, Option<i32>)>,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far in the past a producer's timestamp may lie.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a producer's timestamp may lie.
    pub message_timestamp_after_max_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1_073_741_824,
            segment_ms: 604_800_000,
            segment_index_bytes: 10_485_760,
            index_interval_bytes: 4_096,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            retention_bytes: -1,
            retention_ms: 604_800_000,
            file_delete_delay_ms: 60_000,
            max_message_bytes: 1_048_588,
            cleanup_delete: true,
            cleanup_compact: false,
            delete_retention_ms: 86_400_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            compression: None,
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: i64::MAX,
        }
    }
}

/// A topic configuration value that a log can't be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid value {value} for configuration {key}: {expected}")]
pub struct LogConfigError {
    /// The topic configuration key.
    pub key: &'static str,
    /// The value as it was given.
    pub value: String,
    /// What would have been right.
    pub expected: String,
}

impl LogConfig {
    /// Reads the keys that concern a log from a topic's effective configuration (the topic's own
    /// values over the broker's defaults). Keys that are missing keep Kafka's default; keys that
    /// do not concern a log are passed over.
    ///
    /// # Errors
    /// The first value that Kafka 3.9 (`LogConfig.validateValues`) would refuse.
    pub fn from_properties(
        properties: &BTreeMap<String, String>,
    ) -> Result<LogConfig, LogConfigError> {
        let mut config = LogConfig::default();
        let unsigned = |key: &'static str, least: u32, into: &mut u32| {
            number(properties, key, i64::from(least), i64::from(i32::MAX), |value| {
                *into = u32::try_from(value).unwrap_or(u32::MAX);
            })
        };
        unsigned("segment.bytes", 14, &mut config.segment_bytes)?;
        unsigned("segment.index.bytes", 4, &mut config.segment_index_bytes)?;
        unsigned("index.interval.bytes", 0, &mut config.index_interval_bytes)?;
        unsigned("max.message.bytes", 0, &mut config.max_message_bytes)?;
        let signed = |key: &'static str, least: i64, into: &mut i64| {
            number(properties, key, least, i64::MAX, |value| *into = value)
        };
        signed("segment.ms", 1, &mut config.segment_ms)?;
        signed("flush.messages", 1, &mut config.flush_messages)?;
        signed("flush.ms", 0, &mut config.flush_ms)?;
        signed("retention.bytes", i64::MIN, &mut config.retention_bytes)?;
        signed("retention.ms", -1, &mut config.retention_ms)?;
        signed("file.delete.delay.ms", 0, &mut config.file_delete_delay_ms)?;
        signed("message.timestamp.before.max.ms", 0, &mut config.message_timestamp_before_max_ms)?;
        signed("message.timestamp.after.max.ms", 0, &mut config.message_timestamp_after_max_ms)?;
        signed("delete.retention.ms", 0, &mut config.delete_retention_ms)?;
        signed("min.compaction.lag.ms", 0, &mut config.min_compaction_lag_ms)?;
        signed("max.compaction.lag.ms", 1, &mut config.max_compaction_lag_ms)?;
        if let Some(value) = properties.get("min.cleanable.dirty.ratio") {
            config.min_cleanable_dirty_ratio = match value.trim().parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
                _ => {
                    return Err(LogConfigError {
                        key: "min.cleanable.dirty.ratio",
                        value: value.clone(),
                        expected: "expected a number from 0 to 1".to_owned(),
                    });
                }
            };
        }
        if let Some(value) = properties.get("cleanup.policy") {
            let policies: Vec<&str> = value.split(',').map(str::trim).collect();
            if policies.iter().any(|policy| !matches!(*policy, "delete" | "compact")) {
                return Err(LogConfigError {
                    key: "cleanup.policy",
                    value: value.clone(),
                    expected: "expected delete, compact, or both".to_owned(),
                });
            }
            config.cleanup_delete = policies.contains(&"delete");
            config.cleanup_compact = policies.contains(&"compact");
        }
        config.compression = compression(properties)?;
        if let Some(value) = properties.get("message.timestamp.type") {
            config.message_timestamp_type = match value.as_str() {
                "CreateTime" => TimestampType::CreateTime,
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => {
                    return Err(LogConfigError {
                        key: "message.timestamp.type",
                        value: value.clone(),
                        expected: "expected CreateTime or LogAppendTime".to_owned(),
                    });
                }
            };
        }
        Ok(config)
    }

    /// Whether old segments of this log may be removed by age and size.
    pub fn is_trimmed(&self) -> bool {
        self.cleanup_delete
    }

    /// How old the first record of a segment gets before the next append closes it: with compaction,
    /// `max.compaction.lag.ms` at most, since the active segment is never compacted.
    pub fn segment_age_max_ms(&self) -> i64 {
        if self.cleanup_compact {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }
}

/// `compression.type` with the level that is set for it. LZ4 has one level here.
fn compression(
    properties: &BTreeMap<String, String>,
) -> Result<Option<(Compression, Option<i32>)>, LogConfigError> {
    let mut level = None;
    let mut set = |value: i64| level = i32::try_from(value).ok();
    let codec = match properties.get("compression.type").map_or("producer", |value| value.trim()) {
        "producer" => return Ok(None),
        "uncompressed" => Compression::None,
        "gzip" => {
            number(properties, "compression.gzip.level", -1, 9, &mut set)?;
            Compression::Gzip
        }
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => {
            number(properties, "compression.zstd.level", -131_072, 22, &mut set)?;
            Compression::Zstd
        }
        other => {
            return Err(LogConfigError {
                key: "compression.type",
                value: other.to_owned(),
                expected: "expected producer, uncompressed, gzip, snappy, lz4 or zstd".to_owned(),
            });
        }
    };
    Ok(Some((codec, level)))
}

/// Reads one whole number within `least..=most`, if the key is there.
fn number(
    properties: &BTreeMap<String, String>,
    key: &'static str,
    least: i64,
    most: i64,
    set: impl FnOnce(i64),
) -> Result<(), LogConfigError> {
    let Some(text) = properties.get(key) else { return Ok(()) };
    match text.trim().parse::<i64>() {
        Ok(value) if (least..=most).contains(&value) => {
            set(value);
            Ok(())
        }
        _ => Err(LogConfigError {
            key,
            value: text.clone(),
            expected: format!("expected a whole number from {least} to {most}"),
        }),
    }
}
