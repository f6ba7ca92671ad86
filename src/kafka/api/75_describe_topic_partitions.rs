//! `DescribeTopicPartitions`: topics and their partitions, page by page (KIP-966).
//!
//! Version 0 is the only one. Topics come in the order of their names; a page ends after so many
//! partitions, with a cursor to the next one.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::{
    ApiKey, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::metadata_topic::{self, Reachable};
use super::operations::{self, NOT_ASKED};
use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::cluster::{ClusterImage, TopicImage, topic_name};
use crate::kafka::addresses::AddressBook;

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::DescribeTopicPartitions, "DescribeTopicPartitions", 0, 0);

/// Kafka's `max.request.partition.size.limit`.
pub const PARTITIONS_MAX: i32 = 2_000;

/// The version of `Metadata` whose partitions look like those of this API.
const AS_METADATA: i16 = 13;

/// Answers with a page of the topics asked for, or of all if none is named.
pub async fn handle(
    context: &RequestContext<'_>,
    request: DescribeTopicPartitionsRequest,
) -> HandlerResult {
    let image = context.broker.image.load();
    let addresses = AddressBook::direct(context.connection.listener.clone());
    let page = page(&image, &addresses, &request, |_| Some(operations::TOPIC));
    context.note_failure(page.topics.iter().any(|topic| topic.error_code != 0));
    context.reply(&page)
}

/// The page from one image, for a client that may do these operations on topics, by their names in
/// rising order; `None` if it may not know of one (pure).
///
/// Every topic has `INVALID_REQUEST` for a cursor to a topic that was not asked for, or to a
/// negative partition.
pub fn page(
    image: &ClusterImage,
    addresses: &AddressBook,
    request: &DescribeTopicPartitionsRequest,
    mut operations: impl FnMut(&str) -> Option<i32>,
) -> DescribeTopicPartitionsResponse {
    let reachable = Reachable::new(image, addresses);
    let all = request.topics.is_empty();
    let (from, first) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    let asked: BTreeSet<&str> = if all {
        image.visible_topics().map(|topic| &*topic.name).filter(|name| *name >= from).collect()
    } else {
        request
            .topics
            .iter()
            .map(|topic| topic.name.as_str())
            .filter(|name| *name >= from)
            .collect()
    };
    let lost = request.cursor.is_some() && !all && !asked.contains(from);
    if lost || first < 0 {
        return refusal(request);
    }

    let limit = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
    let mut remaining = usize::try_from(limit).unwrap_or(1);
    let mut page = DescribeTopicPartitionsResponse::default();
    let mut hidden = Vec::new();
    for name in asked {
        let Some(operations) = operations(name) else {
            if !all {
                let error = ResponseError::TopicAuthorizationFailed;
                hidden.push(failed(error, name, false, NOT_ASKED));
            }
            continue;
        };
        if remaining == 0 {
            page.next_cursor = Some(cursor(name, 0));
            break;
        }
        let Some(topic) = image.topic(name) else {
            page.topics.push(missing(name, operations));
            continue;
        };
        let start = if name == from { first } else { 0 };
        let partitions: Vec<_> = topic
            .partitions
            .range(start..)
            .take(remaining)
            .map(|(index, state)| {
                partition(metadata_topic::partition(*index, state, &reachable, AS_METADATA))
            })
            .collect();
        remaining -= partitions.len();
        let last = partitions.last().map(|partition| partition.partition_index);
        let next = last.and_then(|last| topic.partitions.range(last + 1..).next());
        page.topics.push(found(topic, partitions, operations));
        if let Some((next, _)) = next {
            page.next_cursor = Some(cursor(name, *next));
            break;
        }
    }
    page.topics.extend(hidden);
    page
}

/// A name in the protocol's type.
pub fn text(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// Where the next page begins.
pub fn cursor(topic: &str, partition: i32) -> Cursor {
    Cursor::default().with_topic_name(text(topic)).with_partition_index(partition)
}

fn found(
    topic: &Arc<TopicImage>,
    partitions: Vec<DescribeTopicPartitionsResponsePartition>,
    operations: i32,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(text(&topic.name)))
        .with_topic_id(topic.id)
        .with_is_internal(topic.internal)
        .with_topic_authorized_operations(operations)
        .with_partitions(partitions)
}

fn missing(name: &str, operations: i32) -> DescribeTopicPartitionsResponseTopic {
    let error = match topic_name::check(name) {
        Ok(()) => ResponseError::UnknownTopicOrPartition,
        Err(_) => ResponseError::InvalidTopicException,
    };
    failed(error, name, topic_name::is_internal(name), operations)
}

fn failed(
    error: ResponseError,
    name: &str,
    internal: bool,
    operations: i32,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(error.code())
        .with_name(Some(text(name)))
        .with_is_internal(internal)
        .with_topic_authorized_operations(operations)
}

/// A partition as `Metadata` has it. The lists of eligible leaders are empty and not null: Kafka's own
/// client can't read a null.
pub fn partition(metadata: MetadataResponsePartition) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(metadata.error_code)
        .with_partition_index(metadata.partition_index)
        .with_leader_id(metadata.leader_id)
        .with_leader_epoch(metadata.leader_epoch)
        .with_replica_nodes(metadata.replica_nodes)
        .with_isr_nodes(metadata.isr_nodes)
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
        .with_offline_replicas(metadata.offline_replicas)
}

/// The answer to a cursor that no page begins at.
pub fn refusal(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let error = ResponseError::InvalidRequest.code();
    let topics = request.topics.iter().map(|topic| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(error)
            .with_name(Some(topic.name.clone()))
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
}
