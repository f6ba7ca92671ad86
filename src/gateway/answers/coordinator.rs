//! `FindCoordinator` from one image (pure): the leader of the partition of an internal topic that a
//! group's or a transaction's name falls into, for who may describe that group or transaction.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::access::Access;
use super::{Answer, Question};
use crate::cluster::coordinators::{self, Kind};
use crate::cluster::layout::acl::{Operation, ResourceType};
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

/// Why a key has no coordinator.
#[derive(Debug, Clone, Copy)]
struct Failed {
    error: ResponseError,
    message: &'static str,
}

const NOT_AVAILABLE: Failed = Failed {
    error: ResponseError::CoordinatorNotAvailable,
    message: "The coordinator is not available.",
};

/// What a client is told that may not describe a group or a transaction.
fn not_allowed(kind: Kind) -> (ResourceType, Failed) {
    match kind {
        Kind::Group => (
            ResourceType::Group,
            Failed {
                error: ResponseError::GroupAuthorizationFailed,
                message: "Group authorization failed.",
            },
        ),
        Kind::Transaction => (
            ResourceType::TransactionalId,
            Failed {
                error: ResponseError::TransactionalIdAuthorizationFailed,
                message: "Transactional Id authorization failed.",
            },
        ),
    }
}

/// Answers for groups and transactions; keys of another type are for a broker.
pub(super) fn answer(question: &Question<'_>, access: &Access<'_>) -> Result<Answer, HandlerError> {
    let Question { image, addresses, version, .. } = *question;
    let request: FindCoordinatorRequest = question.decode()?;
    let kind = match request.key_type {
        0 => Kind::Group,
        1 => Kind::Transaction,
        _ => return Ok(Answer::AskUpstream),
    };
    let (resource, denied) = not_allowed(kind);
    let allowed = |key: &str| access.allows(Operation::Describe, resource, key);
    let keys = || match version {
        ..4 => std::slice::from_ref(&request.key),
        _ => &request.coordinator_keys,
    };
    // A broker makes a topic that is not there, for who may ask.
    let topic = image.topic(kind.topic());
    let topic = topic.filter(|topic| coordinators::is_counted_alike(image, topic));
    if topic.is_none() && (keys().is_empty() || keys().iter().any(|key| allowed(key))) {
        return Ok(Answer::AskUpstream);
    }
    let find = |key: &str| {
        let found = if allowed(key) {
            topic.and_then(|topic| leader(image, addresses, topic, key)).ok_or(NOT_AVAILABLE)
        } else {
            Err(denied)
        };
        match found {
            Ok(node) => (0, "NONE", node),
            Err(Failed { error, message }) => {
                (error.code(), message, Node { id: -1, host: String::new(), port: -1 })
            }
        }
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
