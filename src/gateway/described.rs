//! `DescribeTopicPartitions` of a broker that has only `Metadata`: the question, and the page from its
//! answer. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, MetadataRequest,
    MetadataResponse, TopicName,
};

use crate::kafka::api::describe_topic_partitions::{
    PARTITIONS_MAX, cursor, partition, refusal, text,
};

/// The question for `Metadata` whose answer [`page`] makes a page of.
pub(super) fn question(request: &DescribeTopicPartitionsRequest) -> MetadataRequest {
    let from = request.cursor.as_ref().map_or("", |cursor| cursor.topic_name.as_str());
    let names: BTreeSet<&str> = request
        .topics
        .iter()
        .map(|topic| topic.name.as_str())
        .filter(|name| *name >= from)
        .collect();
    let topics =
        names.into_iter().map(|name| MetadataRequestTopic::default().with_name(Some(text(name))));
    MetadataRequest::default()
        .with_topics((!request.topics.is_empty()).then(|| topics.collect()))
        .with_allow_auto_topic_creation(false)
        .with_include_topic_authorized_operations(true)
}

/// The page from a broker's answer to [`question`]: as [`crate::kafka::api::describe_topic_partitions::page`] makes it of an image.
pub(super) fn page(
    metadata: MetadataResponse,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let (from, first) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    let all = request.topics.is_empty();
    let lost = !all && !request.topics.iter().any(|topic| topic.name.as_str() == from);
    if request.cursor.is_some() && (lost || first < 0) {
        return refusal(request);
    }
    let named = metadata.topics.into_iter().filter_map(|topic| Some((topic.name.clone()?, topic)));
    let topics: BTreeMap<TopicName, MetadataResponseTopic> =
        named.filter(|(name, _)| name.as_str() >= from).collect();
    let limit = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
    let mut remaining = usize::try_from(limit).unwrap_or(1);
    let mut page = DescribeTopicPartitionsResponse::default();
    let mut hidden = Vec::new();
    for (name, topic) in topics {
        let told = DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(topic.error_code)
            .with_name(Some(name.clone()))
            .with_topic_id(topic.topic_id)
            .with_is_internal(topic.is_internal)
            .with_topic_authorized_operations(topic.topic_authorized_operations);
        if topic.error_code == ResponseError::TopicAuthorizationFailed.code() {
            hidden.push(told);
            continue;
        }
        if remaining == 0 {
            page.next_cursor = Some(cursor(&name, 0));
            break;
        }
        let start = if name.as_str() == from { first } else { 0 };
        let mut partitions = topic.partitions;
        partitions.retain(|partition| partition.partition_index >= start);
        partitions.sort_unstable_by_key(|partition| partition.partition_index);
        let next = partitions.get(remaining).map(|partition| partition.partition_index);
        partitions.truncate(remaining);
        remaining -= partitions.len();
        page.topics.push(told.with_partitions(partitions.into_iter().map(partition).collect()));
        if let Some(next) = next {
            page.next_cursor = Some(cursor(&name, next));
            break;
        }
    }
    page.topics.extend(hidden);
    page
}
