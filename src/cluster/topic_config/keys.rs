//! The table of topic configuration keys, and the check of one value.

use super::{Allowed, ConfigType, list};

/// A topic configuration key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopicConfigKey {
    /// The key, such as `retention.ms`.
    pub name: &'static str,
    /// The type of its value.
    pub kind: ConfigType,
    /// Kafka's default.
    pub default: &'static str,
    /// The broker's key of the same meaning, such as `log.retention.ms`.
    pub synonym: Option<&'static str>,
    /// What a value must be.
    pub allowed: Allowed,
}

const fn key(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    synonym: &'static str,
    allowed: Allowed,
) -> TopicConfigKey {
    let synonym = if synonym.is_empty() { None } else { Some(synonym) };
    TopicConfigKey { name, kind, default, synonym, allowed }
}

use Allowed::{Any, AtLeast, Between, OneOf};
use ConfigType::{Boolean, Double, Int, List, Long, String};

const MAX_LONG: &str = "9223372036854775807";

/// Every topic configuration key of Kafka 3.9, in the order of their names.
pub static TOPIC_CONFIG_KEYS: &[TopicConfigKey] = &[
    key("cleanup.policy", List, "delete", "log.cleanup.policy", OneOf(&["compact", "delete"])),
    key("compression.gzip.level", Int, "-1", "compression.gzip.level", Between(-1.0, 9.0)),
    key("compression.lz4.level", Int, "9", "compression.lz4.level", Between(1.0, 17.0)),
    key(
        "compression.type",
        String,
        "producer",
        "compression.type",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
    ),
    key("compression.zstd.level", Int, "3", "compression.zstd.level", Between(-131_072.0, 22.0)),
    key("delete.retention.ms", Long, "86400000", "log.cleaner.delete.retention.ms", AtLeast(0)),
    key("file.delete.delay.ms", Long, "60000", "log.segment.delete.delay.ms", AtLeast(0)),
    key("flush.messages", Long, MAX_LONG, "log.flush.interval.messages", AtLeast(1)),
    key("flush.ms", Long, MAX_LONG, "log.flush.interval.ms", AtLeast(0)),
    key("follower.replication.throttled.replicas", List, "", "", Any),
    key("index.interval.bytes", Int, "4096", "log.index.interval.bytes", AtLeast(0)),
    key("leader.replication.throttled.replicas", List, "", "", Any),
    key("local.retention.bytes", Long, "-2", "log.local.retention.bytes", AtLeast(-2)),
    key("local.retention.ms", Long, "-2", "log.local.retention.ms", AtLeast(-2)),
    key("max.compaction.lag.ms", Long, MAX_LONG, "log.cleaner.max.compaction.lag.ms", AtLeast(1)),
    key("max.message.bytes", Int, "1048588", "message.max.bytes", AtLeast(0)),
    key("message.downconversion.enable", Boolean, "true", "log.message.downconversion.enable", Any),
    key("message.format.version", String, "3.0-IV1", "log.message.format.version", Any),
    key(
        "message.timestamp.after.max.ms",
        Long,
        MAX_LONG,
        "log.message.timestamp.after.max.ms",
        AtLeast(0),
    ),
    key(
        "message.timestamp.before.max.ms",
        Long,
        MAX_LONG,
        "log.message.timestamp.before.max.ms",
        AtLeast(0),
    ),
    key(
        "message.timestamp.difference.max.ms",
        Long,
        MAX_LONG,
        "log.message.timestamp.difference.max.ms",
        AtLeast(0),
    ),
    key(
        "message.timestamp.type",
        String,
        "CreateTime",
        "log.message.timestamp.type",
        OneOf(&["CreateTime", "LogAppendTime"]),
    ),
    key(
        "min.cleanable.dirty.ratio",
        Double,
        "0.5",
        "log.cleaner.min.cleanable.ratio",
        Between(0.0, 1.0),
    ),
    key("min.compaction.lag.ms", Long, "0", "log.cleaner.min.compaction.lag.ms", AtLeast(0)),
    key("min.insync.replicas", Int, "1", "min.insync.replicas", AtLeast(1)),
    key("preallocate", Boolean, "false", "log.preallocate", Any),
    key("remote.log.copy.disable", Boolean, "false", "", Any),
    key("remote.log.delete.on.disable", Boolean, "false", "", Any),
    key("remote.storage.enable", Boolean, "false", "", Any),
    key("retention.bytes", Long, "-1", "log.retention.bytes", Any),
    key("retention.ms", Long, "604800000", "log.retention.ms", AtLeast(-1)),
    key("segment.bytes", Int, "1073741824", "log.segment.bytes", AtLeast(14)),
    key("segment.index.bytes", Int, "10485760", "log.index.size.max.bytes", AtLeast(4)),
    key("segment.jitter.ms", Long, "0", "log.roll.jitter.ms", AtLeast(0)),
    key("segment.ms", Long, "604800000", "log.roll.ms", AtLeast(1)),
    key("unclean.leader.election.enable", Boolean, "false", "unclean.leader.election.enable", Any),
];

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static TopicConfigKey> {
    let index = TOPIC_CONFIG_KEYS.binary_search_by(|key| key.name.cmp(name)).ok()?;
    TOPIC_CONFIG_KEYS.get(index)
}

impl TopicConfigKey {
    /// The key of this name, if Kafka has it.
    pub fn find(name: &str) -> Option<&'static TopicConfigKey> {
        find(name)
    }

    /// Checks one value.
    ///
    /// # Errors
    /// What is wrong, in Kafka's words.
    pub fn check(&self, value: &str) -> Result<(), std::string::String> {
        let wrong = |why: std::string::String| {
            Err(format!("Invalid value {value} for configuration {}: {why}", self.name))
        };
        let number = match self.kind {
            Boolean => {
                let word = value.trim();
                if !word.eq_ignore_ascii_case("true") && !word.eq_ignore_ascii_case("false") {
                    return wrong("Expected value to be either true or false".to_owned());
                }
                None
            }
            Int => match value.trim().parse::<i32>() {
                Ok(number) => Some(f64::from(number)),
                Err(_) => return wrong("Not a number of type INT".to_owned()),
            },
            Long => match value.trim().parse::<i64>() {
                #[expect(clippy::cast_precision_loss, reason = "the bounds are small")]
                Ok(number) => Some(number as f64),
                Err(_) => return wrong("Not a number of type LONG".to_owned()),
            },
            Double => match value.trim().parse::<f64>() {
                Ok(number) => Some(number),
                Err(_) => return wrong("Not a number of type DOUBLE".to_owned()),
            },
            String | List => None,
        };
        #[expect(clippy::cast_precision_loss, reason = "the bounds are small")]
        match (self.allowed, number) {
            (AtLeast(least), Some(number)) if number < least as f64 => {
                wrong(format!("Value must be at least {least}"))
            }
            (Between(least, _), Some(number)) if number < least || number.is_nan() => {
                wrong(format!("Value must be at least {least}"))
            }
            (Between(_, most), Some(number)) if number > most => {
                wrong(format!("Value must be no more than {most}"))
            }
            (OneOf(words), _) if !self.words(value).all(|word| words.contains(&word)) => {
                wrong(format!("String must be one of: {}", words.join(", ")))
            }
            _ => Ok(()),
        }
    }

    fn words<'a>(&self, value: &'a str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        if self.kind == List { Box::new(list(value)) } else { Box::new(std::iter::once(value)) }
    }
}
