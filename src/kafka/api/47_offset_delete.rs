//! `OffsetDelete`: a group forgets how far it has read some partitions (KIP-496).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{ApiKey, OffsetDeleteRequest, OffsetDeleteResponse};

use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::broker::groups::offsets::TopicPartition;

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::OffsetDelete, "OffsetDelete", 0, 0);

/// Forgets each by itself.
///
/// # Errors
/// In the answer: of a partition `UNKNOWN_TOPIC_OR_PARTITION` and `GROUP_SUBSCRIBED_TO_TOPIC`, of
/// all what the group coordinator says.
pub async fn handle(context: &RequestContext<'_>, request: OffsetDeleteRequest) -> HandlerResult {
    let image = context.broker.image.load();
    let there = |(topic, partition): &TopicPartition| {
        image.topic(topic).is_some_and(|topic| topic.partitions.contains_key(partition))
    };
    let named: Vec<TopicPartition> = request
        .topics
        .iter()
        .flat_map(|topic| {
            let name: Arc<str> = Arc::from(&*topic.name.0);
            topic.partitions.iter().map(move |one| (name.clone(), one.partition_index))
        })
        .collect();
    let known: Vec<TopicPartition> = named.iter().filter(|one| there(one)).cloned().collect();
    let response = OffsetDeleteResponse::default();
    let deleted = match context.broker.groups.delete_offsets(&request.group_id, &known) {
        Ok(deleted) => deleted,
        Err(error) => return context.reply(&response.with_error_code(context.error(error))),
    };
    let mut deleted = deleted.into_iter();
    let mut outcomes = named.iter().map(|one| {
        if there(one) {
            deleted.next().unwrap_or(Ok(()))
        } else {
            Err(ResponseError::UnknownTopicOrPartition)
        }
    });
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| {
            let error = outcomes.next().and_then(Result::err);
            OffsetDeleteResponsePartition::default()
                .with_partition_index(one.partition_index)
                .with_error_code(error.map_or(0, |error| context.error(error)))
        });
        OffsetDeleteResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    });
    let topics = topics.collect();
    context.reply(&response.with_topics(topics))
}
