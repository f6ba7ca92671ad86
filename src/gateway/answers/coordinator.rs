//! `FindCoordinator` from one image (pure): the leader of the partition of an internal topic that a
//! group's or a transaction's name falls into.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Answer, Question};
use crate::cluster::{ClusterImage, TopicImage};
use crate::kafka::addresses::AddressBook;
use crate::kafka::api::{HandlerError, Reply};

/// Kafka's default of `offsets.topic.num.partitions` and of `transaction.state.log.num.partitions`.
const DEFAULT_PARTITIONS: usize = 50;

/// A controller makes the partitions of a new topic in one go; those made later than this after the
/// first, in milliseconds, were added by an operator.
const ONE_GO_MS: i64 = 10_000;

/// Where a coordinator is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    id: i32,
    host: String,
    port: i32,
}

/// Answers for groups and transactions; keys of another type are for a broker.
pub(super) fn answer(question: &Question<'_>) -> Result<Answer, HandlerError> {
    let Question { image, addresses, version, .. } = *question;
    let request: FindCoordinatorRequest = question.decode()?;
    let topic = match request.key_type {
        0 => "__consumer_offsets",
        1 => "__transaction_state",
        _ => return Ok(Answer::AskUpstream),
    };
    let Some(topic) = image.topic(topic) else {
        // A broker makes it.
        return Ok(Answer::AskUpstream);
    };
    if !is_counted_alike(image, topic) {
        return Ok(Answer::AskUpstream);
    }
    let find = |key: &str| match leader(image, addresses, topic, key) {
        Some(node) => (0, "NONE", node),
        None => (
            ResponseError::CoordinatorNotAvailable.code(),
            "The coordinator is not available.",
            Node { id: -1, host: String::new(), port: -1 },
        ),
    };
    let mut response = FindCoordinatorResponse::default();
    if version < 4 {
        let (error, message, node) = find(&request.key);
        response = response
            .with_error_code(error)
            .with_error_message(Some(StrBytes::from_static_str(message)))
            .with_node_id(BrokerId(node.id))
            .with_host(StrBytes::from_string(node.host))
            .with_port(node.port);
    } else {
        // Brokers leave the message empty here, whether there is an error or not.
        let coordinators = request.coordinator_keys.into_iter().map(|key| {
            let (error, _, node) = find(&key);
            Coordinator::default()
                .with_key(key)
                .with_error_code(error)
                .with_error_message(Some(StrBytes::new()))
                .with_node_id(BrokerId(node.id))
                .with_host(StrBytes::from_string(node.host))
                .with_port(node.port)
        });
        response = response.with_coordinators(coordinators.collect());
    }
    Ok(Answer::Reply(Reply::encode(&response, version)?))
}

fn leader(
    image: &ClusterImage,
    addresses: &AddressBook,
    topic: &TopicImage,
    key: &str,
) -> Option<Node> {
    let partition = partition_of(key, topic.assignment.len());
    let state = topic.partitions.get(&partition)?;
    let broker = image.brokers.get(&state.leader)?;
    let (host, port) = addresses.of(broker)?;
    Some(Node { id: broker.id, host: host.to_owned(), port })
}

/// Whether every live broker counts as many partitions as the topic has now.
///
/// A broker counts them once, when it starts; if the topic is not there yet, it goes by its own
/// configuration, which is not in the znodes. So the count is certain only for a topic that was
/// made before every live broker registered, or has Kafka's default; and that has not grown since.
/// When a broker registered does not tell when it started, since a session that expires makes it
/// register again: a topic that was seen to grow at any time is not certain.
fn is_counted_alike(image: &ClusterImage, topic: &TopicImage) -> bool {
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
fn partition_of(key: &str, count: usize) -> i32 {
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
