//! `OffsetForLeaderEpoch`: where a leader epoch ended, so that a client sees what was truncated.
//!
//! Versions: 2 knows the current leader epoch (KIP-320); 3 has the replica id, which plays no part
//! here; 4 is flexible.

use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use super::{ApiRegistration, HandlerResult, RequestContext};

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::OffsetForLeaderEpoch, "OffsetForLeaderEpoch", 2, 4);

/// Answers for every partition by itself; an epoch that the log does not know is −1 and −1.
///
/// # Errors
/// In the answer, for each partition: what keeps this broker from serving it.
#[expect(clippy::unused_async, reason = "the shape of every handler")]
pub async fn handle(
    context: &RequestContext<'_>,
    request: OffsetForLeaderEpochRequest,
) -> HandlerResult {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|asked| {
            let unknown = EpochEndOffset::default()
                .with_partition(asked.partition)
                .with_leader_epoch(-1)
                .with_end_offset(-1);
            let led = context.broker.partitions.led(
                &topic.topic,
                asked.partition,
                asked.current_leader_epoch,
            );
            match led.map(|led| led.log.epoch_end_offset(asked.leader_epoch)) {
                Ok(Some((epoch, end))) => unknown.with_leader_epoch(epoch).with_end_offset(end),
                Ok(None) => unknown,
                Err(error) => unknown.with_error_code(context.error(error)),
            }
        });
        let partitions = partitions.collect();
        topics.push(
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic)
                .with_partitions(partitions),
        );
    }
    context.reply(&OffsetForLeaderEpochResponse::default().with_topics(topics))
}
