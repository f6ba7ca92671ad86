//! Every public key of a topic in Apache Kafka 3.9 (`LogConfig`), with its default and what is done of it.

use super::Use::{Refused, Unused, Used};
use super::{Key, boolean, double, int, list, long, string};

/// Sorted by name.
pub const TOPIC_KEYS: &[Key] = &[
    list("cleanup.policy", Some("delete"), Used).one_of(&["compact", "delete"]),
    int("compression.gzip.level", Some("-1"), Unused),
    int("compression.lz4.level", Some("9"), Unused).between(1, 17),
    string("compression.type", Some("producer"), Used).one_of(&[
        "uncompressed",
        "zstd",
        "lz4",
        "snappy",
        "gzip",
        "producer",
    ]),
    int("compression.zstd.level", Some("3"), Unused).between(-131_072, 22),
    long("delete.retention.ms", Some("86400000"), Unused).at_least(0),
    long("file.delete.delay.ms", Some("60000"), Used).at_least(0),
    long("flush.messages", Some("9223372036854775807"), Used).at_least(1),
    long("flush.ms", Some("9223372036854775807"), Used).at_least(0),
    list("follower.replication.throttled.replicas", Some(""), Unused),
    int("index.interval.bytes", Some("4096"), Used).at_least(0),
    list("leader.replication.throttled.replicas", Some(""), Unused),
    long("local.retention.bytes", Some("-2"), Unused).at_least(-2),
    long("local.retention.ms", Some("-2"), Unused).at_least(-2),
    long("max.compaction.lag.ms", Some("9223372036854775807"), Unused).at_least(1),
    int("max.message.bytes", Some("1048588"), Used).at_least(0),
    boolean("message.downconversion.enable", Some("true"), Unused),
    string("message.format.version", Some("3.0-IV1"), Unused),
    long("message.timestamp.after.max.ms", Some("9223372036854775807"), Used).at_least(0),
    long("message.timestamp.before.max.ms", Some("9223372036854775807"), Used).at_least(0),
    long("message.timestamp.difference.max.ms", Some("9223372036854775807"), Used).at_least(0),
    string("message.timestamp.type", Some("CreateTime"), Used)
        .one_of(&["CreateTime", "LogAppendTime"]),
    double("min.cleanable.dirty.ratio", Some("0.5"), Unused),
    long("min.compaction.lag.ms", Some("0"), Unused).at_least(0),
    int("min.insync.replicas", Some("1"), Used).at_least(1),
    boolean("preallocate", Some("false"), Used),
    boolean("remote.log.copy.disable", Some("false"), Unused),
    boolean("remote.log.delete.on.disable", Some("false"), Unused),
    boolean("remote.storage.enable", Some("false"), Refused("tiered storage")),
    long("retention.bytes", Some("-1"), Used),
    long("retention.ms", Some("604800000"), Used).at_least(-1),
    int("segment.bytes", Some("1073741824"), Used).at_least(14),
    int("segment.index.bytes", Some("10485760"), Used).at_least(4),
    long("segment.jitter.ms", Some("0"), Used).at_least(0),
    long("segment.ms", Some("604800000"), Used).at_least(1),
    boolean("unclean.leader.election.enable", Some("false"), Unused),
];
