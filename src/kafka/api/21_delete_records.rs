//! `DeleteRecords`: moves the start of a log up to an offset.
//!
//! Versions: 1 is as 0; 2 is flexible.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::delete_records_request::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use super::{ApiRegistration, HandlerResult, RequestContext};

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::DeleteRecords, "DeleteRecords", 0, 2);

/// Deletes up to the offset of each partition, −1 being its high watermark.
///
/// # Errors
/// In the answer, for each partition: `OFFSET_OUT_OF_RANGE`, `POLICY_VIOLATION` for a topic that is
/// only compacted, `INVALID_TOPIC_EXCEPTION` for Kafka's own topics, and what keeps this broker
/// from serving the partition.
pub async fn handle(context: &RequestContext<'_>, request: DeleteRecordsRequest) -> HandlerResult {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let deleted =
                delete(context, &topic.name, partition.partition_index, partition.offset).await;
            let answer = DeleteRecordsPartitionResult::default()
                .with_partition_index(partition.partition_index);
            partitions.push(match deleted {
                Ok(low_watermark) => answer.with_low_watermark(low_watermark),
                Err(error) => answer.with_low_watermark(-1).with_error_code(context.error(error)),
            });
        }
        topics.push(
            DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions),
        );
    }
    context.reply(&DeleteRecordsResponse::default().with_topics(topics))
}

async fn delete(
    context: &RequestContext<'_>,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<i64, ResponseError> {
    let led = context.broker.partitions.led(topic, partition, -1)?;
    if led.topic.internal {
        return Err(ResponseError::InvalidTopicException);
    }
    let config = led.log.config();
    if config.cleanup_compact && !config.cleanup_delete {
        return Err(ResponseError::PolicyViolation);
    }
    let log = Arc::clone(&led.log);
    match tokio::task::spawn_blocking(move || log.delete_records(offset)).await {
        Ok(deleted) => deleted.map_err(|error| error.code()),
        Err(_) => Err(ResponseError::UnknownServerError),
    }
}
