//! `OffsetFetch`: how far groups have read.
//!
//! Versions: 2 can ask for everything, and has an error of the whole answer; 3 has a throttle time; 5
//! the leader epoch; 6 is flexible; 7 can ask for what no transaction is about to change (KIP-447);
//! 8 asks for many groups (KIP-709); 9 is for groups of KIP-848 too, which there are none of.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{ApiKey, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::broker::groups::offsets::TopicPartition;
use crate::broker::groups::records::OffsetValue;
use crate::broker::groups::shard::Entry;

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::OffsetFetch, "OffsetFetch", 1, 9);

/// The first version that asks for many groups.
const GROUPS_VERSION: i16 = 8;

/// The topics that are asked for, with their partitions; `None` is all that there is.
type Asked = Option<Vec<(TopicName, Vec<i32>)>>;

/// What was found of one partition.
struct Found {
    partition: i32,
    value: Result<Option<OffsetValue>, ResponseError>,
}

/// Answers from memory.
///
/// # Errors
/// In the answer: `UNSTABLE_OFFSET_COMMIT` of partitions, the group coordinator's of groups.
pub async fn handle(context: &RequestContext<'_>, request: OffsetFetchRequest) -> HandlerResult {
    let stable = request.require_stable;
    let response = OffsetFetchResponse::default();
    if context.version >= GROUPS_VERSION {
        let groups = request.groups.into_iter().map(|group| {
            let asked = group.topics.map(|topics| {
                topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
            });
            let answer = OffsetFetchResponseGroup::default();
            let answer = match fetch(context, &group.group_id, &asked, stable) {
                Ok(found) => {
                    answer.with_topics(found.into_iter().map(new_topic(context)).collect())
                }
                Err(error) => answer.with_error_code(context.error(error)),
            };
            answer.with_group_id(group.group_id)
        });
        let groups = groups.collect();
        return context.reply(&response.with_groups(groups));
    }
    let asked: Asked = request.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
    });
    match fetch(context, &request.group_id, &asked, stable) {
        Ok(found) => {
            let topics = found.into_iter().map(old_topic(context)).collect();
            context.reply(&response.with_topics(topics))
        }
        Err(error) if context.version >= 2 => {
            context.reply(&response.with_error_code(context.error(error)))
        }
        // There is no other place for it.
        Err(error) => {
            let all = asked.unwrap_or_default().into_iter().map(|(name, partitions)| {
                let failed = |partition| Found { partition, value: Err(error) };
                (name, partitions.into_iter().map(failed).collect())
            });
            let topics = all.map(old_topic(context)).collect();
            context.reply(&response.with_topics(topics))
        }
    }
}

fn fetch(
    context: &RequestContext<'_>,
    group: &str,
    asked: &Asked,
    stable: bool,
) -> Result<Vec<(TopicName, Vec<Found>)>, ResponseError> {
    context.broker.groups.look(group, |entry| {
        if let Some(topics) = asked {
            let found = |(name, partitions): &(TopicName, Vec<i32>)| {
                let topic: Arc<str> = Arc::from(&*name.0);
                let numbers = partitions.iter();
                let found = numbers.map(|number| of(entry, &(topic.clone(), *number), stable));
                (name.clone(), found.collect())
            };
            return topics.iter().map(found).collect();
        }
        let mut topics: BTreeMap<Arc<str>, Vec<Found>> = BTreeMap::new();
        for (partition, _) in entry.into_iter().flat_map(|entry| entry.offsets.iter()) {
            let found = of(entry, partition, stable);
            topics.entry(partition.0.clone()).or_default().push(found);
        }
        let named = |name: Arc<str>| TopicName(StrBytes::from_string(name.to_string()));
        topics.into_iter().map(|(name, found)| (named(name), found)).collect()
    })
}

fn of(entry: Option<&Entry>, partition: &TopicPartition, stable: bool) -> Found {
    let unstable = stable && entry.is_some_and(|entry| entry.offsets.is_unstable(partition));
    let value = if unstable {
        Err(ResponseError::UnstableOffsetCommit)
    } else {
        Ok(entry.and_then(|entry| entry.offsets.get(partition)).cloned())
    };
    Found { partition: partition.1, value }
}

/// Offset, leader epoch, metadata and error code.
fn fields(context: &RequestContext<'_>, found: &Found) -> (i64, i32, StrBytes, i16) {
    match &found.value {
        Ok(Some(value)) => {
            let metadata = StrBytes::from_string(value.metadata.to_string());
            (value.offset, value.leader_epoch, metadata, 0)
        }
        Ok(None) => (-1, -1, StrBytes::new(), 0),
        Err(error) => (-1, -1, StrBytes::new(), context.error(*error)),
    }
}

fn new_topic(
    context: &RequestContext<'_>,
) -> impl Fn((TopicName, Vec<Found>)) -> OffsetFetchResponseTopics {
    move |(name, found)| {
        let partitions = found.iter().map(|found| {
            let (offset, epoch, metadata, error) = fields(context, found);
            OffsetFetchResponsePartitions::default()
                .with_partition_index(found.partition)
                .with_committed_offset(offset)
                .with_committed_leader_epoch(epoch)
                .with_metadata(Some(metadata))
                .with_error_code(error)
        });
        OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
    }
}

fn old_topic(
    context: &RequestContext<'_>,
) -> impl Fn((TopicName, Vec<Found>)) -> OffsetFetchResponseTopic {
    move |(name, found)| {
        let partitions = found.iter().map(|found| {
            let (offset, epoch, metadata, error) = fields(context, found);
            OffsetFetchResponsePartition::default()
                .with_partition_index(found.partition)
                .with_committed_offset(offset)
                .with_committed_leader_epoch(epoch)
                .with_metadata(Some(metadata))
                .with_error_code(error)
        });
        OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
    }
}
