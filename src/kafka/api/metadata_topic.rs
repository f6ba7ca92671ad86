//! A topic as a `Metadata` answer has it: pure, from the image alone.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::{ClusterImage, PartitionImage, TopicImage};
use crate::kafka::addresses::AddressBook;

/// What of the image a topic's answer depends on, beside the topic itself: which brokers are
/// alive, and which of them have the listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reachable {
    /// Ids of live brokers in rising order, each with whether it has the listener.
    brokers: Vec<(i32, bool)>,
}

impl Reachable {
    /// What `image` says of the brokers that clients who are told these addresses can reach.
    pub fn new(image: &ClusterImage, addresses: &AddressBook) -> Self {
        let brokers = image.brokers.iter();
        Reachable {
            brokers: brokers.map(|(id, info)| (*id, addresses.of(info).is_some())).collect(),
        }
    }

    /// Whether a live broker has the listener; `None` if it is not alive.
    fn get(&self, broker: i32) -> Option<bool> {
        let index = self.brokers.binary_search_by_key(&broker, |(id, _)| *id).ok()?;
        self.brokers.get(index).map(|(_, listener)| *listener)
    }

    fn listens(&self, broker: i32) -> bool {
        self.get(broker) == Some(true)
    }
}

/// The topic in the form that `version` wants. Fields that the version does not have may be set:
/// they are not encoded.
pub fn describe(
    topic: &TopicImage,
    reachable: &Reachable,
    version: i16,
    operations: i32,
) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter();
    MetadataResponseTopic::default()
        .with_name(Some(name(&topic.name)))
        .with_topic_id(topic.id)
        .with_is_internal(topic.internal)
        .with_topic_authorized_operations(operations)
        .with_partitions(
            partitions.map(|(index, state)| partition(*index, state, reachable, version)).collect(),
        )
}

/// A topic that is answered with an error and no partitions.
pub fn failed(error: i16, topic: &str, internal: bool, operations: i32) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error)
        .with_name(Some(name(topic)))
        .with_is_internal(internal)
        .with_topic_authorized_operations(operations)
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// A partition in the form that `version` of `Metadata` wants.
///
/// A leader that is gone is `LEADER_NOT_AVAILABLE`; one without the listener is `LISTENER_NOT_FOUND`
/// where the version has it. Version 0 leaves out replicas that can't be reached, and says so.
pub fn partition(
    index: i32,
    state: &PartitionImage,
    reachable: &Reachable,
    version: i16,
) -> MetadataResponsePartition {
    let shown = |brokers: &[i32]| -> Vec<BrokerId> {
        let brokers = brokers.iter().copied();
        brokers.filter(|id| version > 0 || reachable.listens(*id)).map(BrokerId).collect()
    };
    let (replicas, isr) = (shown(&state.replicas), shown(&state.isr));
    let (leader, error) = match reachable.get(state.leader) {
        Some(false) if version >= 6 => (-1, ResponseError::ListenerNotFound.code()),
        None | Some(false) => (-1, ResponseError::LeaderNotAvailable.code()),
        Some(true) if replicas.len() < state.replicas.len() || isr.len() < state.isr.len() => {
            (state.leader, ResponseError::ReplicaNotAvailable.code())
        }
        Some(true) => (state.leader, 0),
    };
    let offline = state.replicas.iter().filter(|id| reachable.get(**id).is_none());
    MetadataResponsePartition::default()
        .with_error_code(error)
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader))
        .with_leader_epoch(state.leader_epoch)
        .with_offline_replicas(offline.map(|id| BrokerId(*id)).collect())
        .with_replica_nodes(replicas)
        .with_isr_nodes(isr)
}
