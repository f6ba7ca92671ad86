//! Checks of requests for topics and partitions, and where their replicas go (pure).
//!
//! Codes and texts are those of Kafka 3.9's `ZkAdminManager` and `AdminZkClient`.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;

use super::{AdminError, PartitionsPlan, PartitionsRequest, TopicPlan, TopicRequest};
use crate::cluster::image::ClusterImage;
use crate::cluster::{placement, topic_config, topic_name};

/// The random numbers of one placement.
#[derive(Debug, Clone, Copy)]
pub struct Dice {
    /// Where the first partition's first replica goes.
    pub start: usize,
    /// By how much its followers are moved.
    pub shift: usize,
}

/// What the broker's file sets for topics that do not say it.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
}

fn refuse<T>(code: ResponseError, message: impl Into<String>) -> Result<T, AdminError> {
    Err(AdminError::new(code, message))
}

/// Checks a request for a topic and places its replicas.
pub(super) fn topic(
    image: &ClusterImage,
    request: TopicRequest,
    defaults: Defaults,
    dice: Dice,
) -> Result<TopicPlan, AdminError> {
    let TopicRequest { name, partitions, replication_factor, assignment, config } = request;
    topic_name::check(&name)
        .map_err(|message| AdminError::new(ResponseError::InvalidTopicException, message))?;
    if image.deleting.contains_key(name.as_str()) {
        let message = format!("Topic '{name}' is marked for deletion.");
        return refuse(ResponseError::TopicAlreadyExists, message);
    }
    if image.topics.contains_key(name.as_str()) {
        let message = format!("Topic '{name}' already exists.");
        return refuse(ResponseError::TopicAlreadyExists, message);
    }
    check_collision(image, &name)?;
    let assignment = match assignment {
        Some(_) if partitions != -1 || replication_factor != -1 => {
            return refuse(
                ResponseError::InvalidRequest,
                "Both numPartitions or replicationFactor and replicasAssignments were set. Both \
                 cannot be used at the same time.",
            );
        }
        Some(assignment) => {
            check_assignment(image, &assignment)?;
            assignment
        }
        None => {
            let count = if partitions == -1 { defaults.partitions } else { partitions };
            let replicas = match replication_factor {
                -1 => defaults.replication_factor,
                set => set,
            };
            place(image, 0, count, replicas, dice)?
        }
    };
    topic_config::validate(&config)
        .map_err(|message| AdminError::new(ResponseError::InvalidConfig, message))?;
    Ok(TopicPlan { name, assignment, config })
}

/// `.` and `_` are the same in a metric's name, so Kafka keeps such names apart.
fn check_collision(image: &ClusterImage, name: &str) -> Result<(), AdminError> {
    let others = image.topics.keys().filter(|other| topic_name::collide(name, other));
    let others: Vec<&str> = others.map(|other| &**other).collect();
    if others.is_empty() {
        return Ok(());
    }
    refuse(
        ResponseError::InvalidTopicException,
        format!("Topic '{name}' collides with existing topics: {}", others.join(", ")),
    )
}

fn check_assignment(
    image: &ClusterImage,
    assignment: &BTreeMap<i32, Vec<i32>>,
) -> Result<(), AdminError> {
    let wrong = |message: String| refuse(ResponseError::InvalidReplicaAssignment, message);
    if assignment.is_empty() {
        return wrong("There are no partitions in the assignment.".to_owned());
    }
    if !assignment.keys().copied().eq((0..).take(assignment.len())) {
        return wrong("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    for replicas in assignment.values() {
        check_replicas(image, replicas)?;
    }
    Ok(())
}

fn check_replicas(image: &ClusterImage, replicas: &[i32]) -> Result<(), AdminError> {
    let wrong = |message: String| refuse(ResponseError::InvalidReplicaAssignment, message);
    let distinct: BTreeSet<i32> = replicas.iter().copied().collect();
    if replicas.is_empty() {
        return wrong("Cannot have replication factor of 0 for a partition.".to_owned());
    }
    if distinct.len() != replicas.len() {
        return wrong(format!("Duplicate brokers not allowed in replica assignment: {replicas:?}"));
    }
    let ours = |id: &i32| image.brokers.get(id).is_some_and(|broker| broker.doorkeeper);
    if let Some(unknown) = distinct.iter().find(|id| !ours(id)) {
        return wrong(format!("Unknown broker(s) in replica assignment: {unknown}."));
    }
    if replicas.len() > 1 {
        return wrong(not_replicated(replicas.len()));
    }
    Ok(())
}

fn not_replicated(factor: usize) -> String {
    format!("Replication factor: {factor} larger than 1: replication is not built in this broker.")
}

fn place(
    image: &ClusterImage,
    first: i32,
    count: i32,
    replicas: i16,
    dice: Dice,
) -> Result<BTreeMap<i32, Vec<i32>>, AdminError> {
    if count <= 0 {
        let message = "Number of partitions must be larger than 0.";
        return refuse(ResponseError::InvalidPartitions, message);
    }
    if count > crate::limits::TOPIC_PARTITIONS_MAX {
        let message = format!(
            "Number of partitions {count} is larger than {}, the most that fits into the topic's \
             znode.",
            crate::limits::TOPIC_PARTITIONS_MAX
        );
        return refuse(ResponseError::InvalidPartitions, message);
    }
    let wrong = |message: String| refuse(ResponseError::InvalidReplicationFactor, message);
    let Some(factor) = usize::try_from(replicas).ok().filter(|factor| *factor > 0) else {
        return wrong("Replication factor must be larger than 0.".to_owned());
    };
    // Apache brokers can't be led by our controller, so nothing is ever placed on them.
    let ours = image.brokers.values().filter(|broker| broker.doorkeeper);
    let brokers = placement::order(&ours.map(|broker| (broker.id, broker.rack.clone())).collect());
    if factor > brokers.len() {
        return wrong(format!(
            "Replication factor: {factor} larger than available brokers: {}.",
            brokers.len()
        ));
    }
    if factor > 1 {
        return wrong(not_replicated(factor));
    }
    Ok(placement::spread(&brokers, first, count, factor, dice.start, dice.shift))
}

/// Checks a request for more partitions and places their replicas.
pub(super) fn partitions(
    image: &ClusterImage,
    request: &PartitionsRequest,
) -> Result<PartitionsPlan, AdminError> {
    let PartitionsRequest { name, count, assignment } = request;
    let Some(topic) = image.topics.get(name.as_str()) else {
        let message = format!("The topic '{name}' does not exist.");
        return refuse(ResponseError::UnknownTopicOrPartition, message);
    };
    if image.deleting.contains_key(name.as_str()) {
        let message = "The topic is queued for deletion.";
        return refuse(ResponseError::InvalidTopicException, message);
    }
    if !topic.adding.is_empty() || !topic.removing.is_empty() {
        let message = format!("A partition reassignment is in progress for the topic '{name}'.");
        return refuse(ResponseError::ReassignmentInProgress, message);
    }
    let wrong = |message: String| refuse(ResponseError::InvalidPartitions, message);
    let has = i32::try_from(topic.assignment.len()).unwrap_or(i32::MAX);
    if *count < has {
        return wrong(format!(
            "Topic currently has {has} partitions, which is higher than the requested {count}."
        ));
    }
    if *count == has {
        return wrong(format!("Topic already has {has} partitions."));
    }
    let increase = count - has;
    let added = if let Some(assignment) = assignment {
        if usize::try_from(increase) != Ok(assignment.len()) {
            let message = format!(
                "Increasing the number of partitions by {increase} but {} assignments provided.",
                assignment.len()
            );
            return refuse(ResponseError::InvalidReplicaAssignment, message);
        }
        for replicas in assignment {
            check_replicas(image, replicas)?;
        }
        (has..).zip(assignment.iter().cloned()).collect()
    } else {
        // Kafka starts at the broker that leads the first partition.
        let head = topic.assignment.get(&0).and_then(|replicas| replicas.first());
        let mut ids = image.brokers.values().filter(|broker| broker.doorkeeper).map(|b| b.id);
        let start = head.and_then(|head| ids.position(|id| id >= *head)).unwrap_or_default();
        place(image, has, increase, 1, Dice { start, shift: start })?
    };
    Ok(PartitionsPlan { name: name.clone(), added })
}
