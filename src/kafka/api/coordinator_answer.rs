//! `FindCoordinator` as a broker and a gateway answer it from an image (pure): the leader of the
//! partition of an internal topic that a name falls into.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::coordinators;
use crate::cluster::{ClusterImage, TopicImage};
use crate::kafka::addresses::AddressBook;

/// Where a coordinator is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The broker's id.
    pub id: i32,
    /// The host that clients of this listener are told.
    pub host: String,
    /// The port that they are told.
    pub port: i32,
}

/// Why a key has no coordinator.
#[derive(Debug, Clone, Copy)]
pub struct Failed {
    /// The protocol's code.
    pub error: ResponseError,
    /// What goes with it, before version 4.
    pub message: &'static str,
}

/// The partition has no leader that clients of this listener can reach, or there is no topic.
pub const NOT_AVAILABLE: Failed = Failed {
    error: ResponseError::CoordinatorNotAvailable,
    message: "The coordinator is not available.",
};

/// The leader of the partition that a key falls into.
pub fn leader(
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

/// The answer to a request, of one key before version 4, of many since.
pub fn answer(
    request: FindCoordinatorRequest,
    version: i16,
    find: impl Fn(&str) -> Result<Node, Failed>,
) -> FindCoordinatorResponse {
    let find = |key: &str| match find(key) {
        Ok(node) => (0, "NONE", node),
        Err(Failed { error, message }) => {
            (error.code(), message, Node { id: -1, host: String::new(), port: -1 })
        }
    };
    let response = FindCoordinatorResponse::default();
    if version < 4 {
        let (error, message, node) = find(&request.key);
        return response
            .with_error_code(error)
            .with_error_message(Some(StrBytes::from_static_str(message)))
            .with_node_id(BrokerId(node.id))
            .with_host(StrBytes::from_string(node.host))
            .with_port(node.port);
    }
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
    response.with_coordinators(coordinators.collect())
}
