//! `DescribeLogDirs`: the broker's log directories, and the size of each log in them.
//!
//! Versions: 2 is flexible; 3 has an error for the whole answer; 4 has the space of the file
//! system (KIP-827).

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{ApiKey, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::broker::log::PartitionLog;

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::DescribeLogDirs, "DescribeLogDirs", 1, 4);

/// Answers with every directory; with the logs that were asked for, or with all.
///
/// # Errors
/// In the answer: `KAFKA_STORAGE_ERROR` for a directory that is offline.
#[expect(clippy::unused_async, reason = "the shape of every handler")]
pub async fn handle(
    context: &RequestContext<'_>,
    request: DescribeLogDirsRequest,
) -> HandlerResult {
    let asked: Option<HashSet<(String, i32)>> = request.topics.map(|topics| {
        let of = |topic: &TopicName, partitions: &[i32]| {
            let name = topic.to_string();
            partitions.iter().map(|partition| (name.clone(), *partition)).collect::<Vec<_>>()
        };
        topics.iter().flat_map(|topic| of(&topic.topic, &topic.partitions)).collect()
    });
    let is_asked = |log: &PartitionLog| match &asked {
        Some(asked) => asked.contains(&(log.topic().to_string(), log.partition())),
        None => true,
    };
    let mut logs = context.broker.logs.logs();
    logs.retain(|log| is_asked(log));
    let mut results = Vec::new();
    for directory in context.broker.logs.directories() {
        let path = StrBytes::from_string(directory.path.display().to_string());
        let result = DescribeLogDirsResult::default().with_log_dir(path);
        results.push(if directory.offline {
            let code = context.error(ResponseError::KafkaStorageError);
            result.with_error_code(code).with_total_bytes(-1).with_usable_bytes(-1)
        } else {
            result
                .with_topics(topics_in(&directory.path, &logs))
                .with_total_bytes(directory.total_bytes)
                .with_usable_bytes(directory.usable_bytes)
        });
    }
    context.reply(&DescribeLogDirsResponse::default().with_results(results))
}

fn topics_in(directory: &Path, logs: &[Arc<PartitionLog>]) -> Vec<DescribeLogDirsTopic> {
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for log in logs.iter().filter(|log| log.parent_directory() == directory) {
        topics.entry(log.topic()).or_default().push(
            DescribeLogDirsPartition::default()
                .with_partition_index(log.partition())
                .with_partition_size(i64::try_from(log.size()).unwrap_or(i64::MAX))
                .with_offset_lag(0)
                .with_is_future_key(false),
        );
    }
    topics
        .into_iter()
        .map(|(name, mut partitions)| {
            partitions.sort_by_key(|partition| partition.partition_index);
            DescribeLogDirsTopic::default()
                .with_name(TopicName(StrBytes::from_string(name.to_owned())))
                .with_partitions(partitions)
        })
        .collect()
}
