//! `OffsetCommit`: a group remembers how far it has read.
//!
//! Versions: 2 to 4 say how long the offsets are kept; 3 has a throttle time; 6 has the leader epoch
//! (KIP-320); 7 has static members; 8 is flexible; 9 is for groups of KIP-848 too, which there are
//! none of.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{ApiKey, OffsetCommitRequest, OffsetCommitResponse};

use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::broker::groups::coordinator::{Commit, Committer};
use crate::broker::groups::records::OffsetValue;
use crate::calendar;

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::OffsetCommit, "OffsetCommit", 2, 9);

/// The last version that says how long offsets are kept.
const RETENTION_VERSION: i16 = 4;

/// Writes the offsets of all partitions that there are.
///
/// # Errors
/// In the answer, of each partition: `UNKNOWN_TOPIC_OR_PARTITION`, `OFFSET_METADATA_TOO_LARGE`, or
/// the group coordinator's.
pub async fn handle(context: &RequestContext<'_>, request: OffsetCommitRequest) -> HandlerResult {
    let groups = &context.broker.groups;
    let image = context.broker.image.load();
    let now_ms = calendar::now_ms();
    let kept = context.version <= RETENTION_VERSION && request.retention_time_ms >= 0;
    let expire_timestamp = kept.then(|| now_ms.saturating_add(request.retention_time_ms));
    let mut commits = Vec::new();
    let refused = |topic: &str, partition: i32, metadata: Option<&str>| {
        let there = image.topic(topic).is_some_and(|t| t.partitions.contains_key(&partition));
        if !there {
            return Some(ResponseError::UnknownTopicOrPartition);
        }
        let long = metadata.map_or(0, str::len) > groups.config().offset_metadata_max_bytes;
        long.then_some(ResponseError::OffsetMetadataTooLarge)
    };
    let mut refusals = Vec::new();
    for topic in &request.topics {
        let name: Arc<str> = Arc::from(&*topic.name.0);
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let metadata = partition.committed_metadata.as_deref();
            let refusal = refused(&name, index, metadata);
            refusals.push(refusal);
            if refusal.is_none() {
                commits.push(Commit {
                    partition: (name.clone(), index),
                    value: OffsetValue {
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: Arc::from(metadata.unwrap_or_default()),
                        commit_timestamp: now_ms,
                        expire_timestamp,
                    },
                });
            }
        }
    }
    let by = Committer {
        member_id: Arc::from(&*request.member_id),
        instance_id: request.group_instance_id.as_deref().map(Arc::from),
        generation: request.generation_id_or_member_epoch,
        producer: None,
    };
    let committed =
        if commits.is_empty() { Ok(()) } else { groups.commit(&request.group_id, &by, commits) };
    let mut refusals = refusals.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let error = refusals.next().flatten().or(committed.err());
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(error.map_or(0, |error| context.error(error)))
        });
        OffsetCommitResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    });
    let topics = topics.collect();
    context.reply(&OffsetCommitResponse::default().with_topics(topics))
}
