//! `FindCoordinator` from one image (pure): the leader of the partition of an internal topic that a
//! group's or a transaction's name falls into.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Answer, Question};
use crate::cluster::coordinators::{self, Kind};
use crate::cluster::{ClusterImage, TopicImage};
use crate::kafka::addresses::AddressBook;
use crate::kafka::api::{HandlerError, Reply};

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
    let kind = match request.key_type {
        0 => Kind::Group,
        1 => Kind::Transaction,
        _ => return Ok(Answer::AskUpstream),
    };
    let Some(topic) = image.topic(kind.topic()) else {
        // A broker makes it.
        return Ok(Answer::AskUpstream);
    };
    if !coordinators::is_counted_alike(image, topic) {
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
    let state = topic.partitions.get(&coordinators::partition_of(key, topic.assignment.len()))?;
    let broker = image.brokers.get(&state.leader)?;
    let (host, port) = addresses.of(broker)?;
    Some(Node { id: broker.id, host: host.to_owned(), port })
}
