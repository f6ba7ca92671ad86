//! `DescribeProducers` (KIP-664): the idempotent producers that a log remembers.
//!
//! Version 0 is the only one.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_request::DescribeProducersRequest;
use kafka_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{ApiKey, ProducerId};
use kafka_protocol::protocol::StrBytes;

use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::broker::log::ProducerInfo;
use crate::cluster::topic_name;

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::DescribeProducers, "DescribeProducers", 0, 0);

/// Answers for every partition by itself.
///
/// # Errors
/// In the answer, for each partition.
#[expect(clippy::unused_async, reason = "the shape of every handler")]
pub async fn handle(
    context: &RequestContext<'_>,
    request: DescribeProducersRequest,
) -> HandlerResult {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let invalid_name = topic_name::check(&topic.name).err();
        let partitions = topic.partition_indexes.iter().map(|index| {
            let answer = PartitionResponse::default().with_partition_index(*index);
            let refused = |error: ResponseError, message: Option<String>| {
                PartitionResponse::default()
                    .with_partition_index(*index)
                    .with_error_code(context.error(error))
                    .with_error_message(message.map(StrBytes::from_string))
            };
            if let Some(message) = &invalid_name {
                return refused(ResponseError::InvalidTopicException, Some(message.clone()));
            }
            match context.broker.partitions.led(&topic.name, *index, -1) {
                Ok(led) => answer.with_active_producers(
                    led.log.producers().into_iter().map(producer_state).collect(),
                ),
                Err(error) => refused(error, None),
            }
        });
        let partitions = partitions.collect();
        topics.push(TopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    context.reply(&DescribeProducersResponse::default().with_topics(topics))
}

fn producer_state(producer: ProducerInfo) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(i32::from(producer.producer_epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.current_transaction_start_offset)
}
