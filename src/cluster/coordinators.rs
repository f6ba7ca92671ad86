//! Where the coordinators of groups and transactions are (pure): the leaders of the partitions of
//! two internal topics that their names fall into.

use super::{ClusterImage, TopicImage};

/// Kafka's default of `offsets.topic.num.partitions` and of `transaction.state.log.num.partitions`.
const DEFAULT_PARTITIONS: usize = 50;

/// A controller makes the partitions of a new topic in one go; those made later than this after the
/// first, in milliseconds, were added by an operator.
const ONE_GO_MS: i64 = 10_000;

/// What is coordinated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A group, by its id.
    Group,
    /// A producer with transactions, by its transactional id.
    Transaction,
}

impl Kind {
    /// The topic whose partitions' leaders are the coordinators.
    pub fn topic(self) -> &'static str {
        match self {
            Kind::Group => "__consumer_offsets",
            Kind::Transaction => "__transaction_state",
        }
    }
}

/// Whether every live broker counts as many partitions as the topic has now.
///
/// A broker counts them once, when it starts; if the topic is not there yet, it goes by its own
/// configuration, which is not in the znodes. So the count is certain only for a topic that was
/// made before every live broker registered, or has Kafka's default; and that has not grown since.
/// When a broker registered does not tell when it started, since a session that expires makes it
/// register again: a topic that was seen to grow at any time is not certain.
pub fn is_counted_alike(image: &ClusterImage, topic: &TopicImage) -> bool {
    let partitions = topic.partitions.values();
    let made = partitions.clone().map(|partition| partition.created_ms);
    let first_ms = made.clone().min().unwrap_or_default();
    let last_ms = made.max().unwrap_or_default();
    let last_zxid = partitions.map(|partition| partition.created_zxid).max().unwrap_or_default();
    let oldest = image.brokers.values().map(|broker| broker.epoch).min().unwrap_or(i64::MAX);
    let whole = topic.partitions.len() == topic.assignment.len();
    let grown = last_ms - first_ms > ONE_GO_MS;
    let never_changed = topic.znode_version == 0;
    let counted =
        last_zxid < oldest || (never_changed && topic.assignment.len() == DEFAULT_PARTITIONS);
    whole && !grown && counted
}

/// The partition that a name falls into: `Utils.abs(name.hashCode()) % count`, of Java's hash over
/// UTF-16 code units.
pub fn partition_of(key: &str, count: usize) -> i32 {
    let hash = key
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Java's Math.abs leaves the smallest integer as it is; Kafka's makes it zero.
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive.checked_rem(i32::try_from(count).unwrap_or(i32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // From java.lang.String.hashCode.
        for (key, hash) in [("", 0), ("a", 97), ("group", 98_629_247)] {
            assert_eq!(partition_of(key, 1 << 30), hash % (1 << 30), "{key}");
        }
        // "polygenelubricants" has the smallest integer as its hash.
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        // A character outside of the basic plane is two units.
        let pair: i32 = 0xd83d * 31 + 0xde00;
        assert_eq!(partition_of("\u{1f600}", 1 << 30), pair % (1 << 30));
        assert_eq!(partition_of("x", 0), 0);
    }
}
