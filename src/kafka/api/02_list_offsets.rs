//! `ListOffsets`: offsets by time: the first, the last, that of a timestamp, that of the largest.
//!
//! Versions: 1 answers with one offset; 2 has isolation levels; 4 has leader epochs; 6 is
//! flexible; 7 asks for the largest timestamp (−3, KIP-734); 8 for the earliest local offset (−4,
//! KIP-405); 9 for the last tiered one (−5, KIP-1005); 10 has a timeout for tiered logs (KIP-1075).

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::broker::LedPartition;
use crate::broker::log::{PartitionLog, TimestampedOffset};

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::ListOffsets, "ListOffsets", 1, 10);

/// The isolation level of whoever reads what is committed.
const READ_COMMITTED: i8 = 1;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// Answers for every partition by itself.
///
/// # Errors
/// In the answer, for each partition; one that is named twice is `INVALID_REQUEST`.
pub async fn handle(context: &RequestContext<'_>, request: ListOffsetsRequest) -> HandlerResult {
    let committed = context.version >= 2 && request.isolation_level == READ_COMMITTED;
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            if !seen.insert((topic.name.clone(), partition.partition_index)) {
                twice.insert((topic.name.clone(), partition.partition_index));
            }
        }
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let found = if twice.contains(&(topic.name.clone(), index)) {
                Err(ResponseError::InvalidRequest)
            } else {
                find(context, &topic.name, partition, committed).await
            };
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
            partitions.push(match found {
                Ok(found) => answer
                    .with_offset(found.offset)
                    .with_timestamp(found.timestamp)
                    .with_leader_epoch(if context.version >= 4 { found.leader_epoch } else { -1 }),
                Err(error) => answer
                    .with_error_code(context.error(error))
                    .with_offset(-1)
                    .with_timestamp(-1)
                    .with_leader_epoch(-1),
            });
        }
        topics.push(
            ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions),
        );
    }
    context.reply(&ListOffsetsResponse::default().with_topics(topics))
}

/// What stands for "there is none".
const NOTHING: TimestampedOffset =
    TimestampedOffset { offset: -1, timestamp: -1, leader_epoch: -1 };

async fn find(
    context: &RequestContext<'_>,
    topic: &str,
    partition: &ListOffsetsPartition,
    committed: bool,
) -> Result<TimestampedOffset, ResponseError> {
    let timestamp = partition.timestamp;
    let since = match timestamp {
        0.. | LATEST | EARLIEST => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        _ => i16::MAX,
    };
    if context.version < since {
        return Err(ResponseError::UnsupportedVersion);
    }
    let known_epoch = if context.version >= 4 { partition.current_leader_epoch } else { -1 };
    let led = context.broker.partitions.led(topic, partition.partition_index, known_epoch)?;
    let LedPartition { log, leader_epoch, .. } = led;
    let end = if committed { log.last_stable_offset() } else { log.high_watermark() };
    Ok(match timestamp {
        LATEST => TimestampedOffset { offset: end, timestamp: -1, leader_epoch },
        EARLIEST | EARLIEST_LOCAL => {
            let offset = log.log_start_offset();
            let leader_epoch = log.leader_epoch_at(offset).unwrap_or(-1);
            TimestampedOffset { offset, timestamp: -1, leader_epoch }
        }
        LATEST_TIERED => NOTHING,
        _ => search(log, timestamp).await?.filter(|found| found.offset < end).unwrap_or(NOTHING),
    })
}

/// Searches outside of the connections' workers: records are read and decompressed for it.
async fn search(
    log: Arc<PartitionLog>,
    timestamp: i64,
) -> Result<Option<TimestampedOffset>, ResponseError> {
    let search = move || match timestamp {
        MAX_TIMESTAMP => log.max_timestamp(),
        timestamp => log.offset_for_timestamp(timestamp),
    };
    match tokio::task::spawn_blocking(search).await {
        Ok(found) => found.map_err(|error| error.code()),
        Err(_) => Err(ResponseError::UnknownServerError),
    }
}
