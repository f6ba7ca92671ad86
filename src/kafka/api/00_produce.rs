//! `Produce`: one record batch for each partition, appended as it came.
//!
//! Versions: 3 is the first with record batches of format 2 and a transactional id; 5 has the log
//! start offset in the response; 7 may use Zstandard (KIP-110); 8 has record errors (KIP-467); 9
//! is flexible; 10 names the new leader (KIP-951); 11 is version 10 for clients that know of
//! KIP-890. 0 to 2 are offered and refused: librdkafka takes their absence for a broker without
//! gzip, snappy and lz4.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ApiKey, BrokerId};
use kafka_protocol::protocol::StrBytes;

use super::leader::NamedLeaders;
use super::{ApiRegistration, HandlerError, HandlerResult, Reply, RequestContext};
use crate::broker::log::{AppendInfo, AppendOptions, LogError, PartitionLog};
use crate::kafka::record_batch::{BatchHeader, Compression};
use crate::{calendar, limits};

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::Produce, "Produce", 3, 11).advertised_from(0);

/// The first version whose answer names the leader.
const LEADER_VERSION: i16 = 10;
/// The client id that may write into Kafka's own topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// What became of one partition's records.
enum Outcome {
    Appended(AppendInfo, Arc<PartitionLog>),
    Refused { error: LogError, log: Arc<PartitionLog> },
    NotHere(ResponseError),
}

/// Appends the records of every partition by itself: one that fails leaves the others alone.
///
/// # Errors
/// In the answer, for each partition. `acks=0` has no answer: as in Kafka, the connection is closed
/// if anything failed, so that the client notices.
pub async fn handle(context: &RequestContext<'_>, request: ProduceRequest) -> HandlerResult {
    let valid_acks = matches!(request.acks, -1..=1);
    let mut answer = Vec::with_capacity(request.topic_data.len());
    let mut unflushed: Vec<Arc<PartitionLog>> = Vec::new();
    for topic in request.topic_data {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let index = data.index;
            let outcome = if valid_acks {
                append(context, &topic.name, data).await
            } else {
                Outcome::NotHere(ResponseError::InvalidRequiredAcks)
            };
            if let Outcome::Appended(info, log) = &outcome
                && info.flush_due
            {
                unflushed.push(Arc::clone(log));
            }
            partitions.push((index, outcome));
        }
        answer.push((topic.name, partitions));
    }
    let flushed = flush(unflushed).await;
    let image = context.broker.image.load();
    let mut leaders = NamedLeaders::default();
    let mut failed = false;
    let mut response = ProduceResponse::default();
    for (name, partitions) in answer {
        let mut answered = Vec::with_capacity(partitions.len());
        for (index, outcome) in partitions {
            let mut partition = describe(context, outcome, flushed).with_index(index);
            failed |= partition.error_code != 0;
            if context.version >= LEADER_VERSION
                && partition.error_code == ResponseError::NotLeaderOrFollower.code()
                && let Some((id, epoch)) = leaders.name(context, &image, &name, index)
            {
                partition.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(id))
                    .with_leader_epoch(epoch);
            }
            answered.push(partition);
        }
        response.responses.push(
            TopicProduceResponse::default().with_name(name).with_partition_responses(answered),
        );
    }
    if request.acks == 0 {
        return if failed {
            Err(HandlerError::Close("a produce request with acks=0 failed".to_owned()))
        } else {
            Ok(Reply::Nothing)
        };
    }
    for (id, endpoint) in leaders.endpoints() {
        let node = NodeEndpoint::default()
            .with_node_id(BrokerId(*id))
            .with_host(endpoint.host.clone())
            .with_port(endpoint.port)
            .with_rack(endpoint.rack.clone());
        response.node_endpoints.push(node);
    }
    context.reply(&response)
}

async fn append(context: &RequestContext<'_>, topic: &str, data: PartitionProduceData) -> Outcome {
    let led = match context.broker.partitions.led(topic, data.index, -1) {
        Ok(led) => led,
        Err(error) => return Outcome::NotHere(error),
    };
    if led.topic.internal && context.client_id.as_deref() != Some(ADMIN_CLIENT_ID) {
        return Outcome::NotHere(ResponseError::InvalidTopicException);
    }
    let records = data.records.unwrap_or_default();
    let options = AppendOptions {
        produce_version: context.version,
        now_ms: calendar::now_ms(),
        leader_epoch: led.leader_epoch,
    };
    let log = led.log;
    let appended = if is_long_work(&records, &log) {
        let appender = Arc::clone(&log);
        let appended =
            tokio::task::spawn_blocking(move || appender.append(&records, &options)).await;
        match appended {
            Ok(appended) => appended,
            Err(_) => return Outcome::NotHere(ResponseError::UnknownServerError),
        }
    } else {
        log.append(&records, &options)
    };
    match appended {
        Ok(info) => Outcome::Appended(info, log),
        Err(error) => Outcome::Refused { error, log },
    }
}

/// Whether the check of these records would keep other connections of this worker waiting: they
/// are decompressed for it, or compressed as the topic wants them.
fn is_long_work(records: &Bytes, log: &PartitionLog) -> bool {
    records.len() > limits::INLINE_DECOMPRESSION_BYTES_MAX
        && BatchHeader::parse(records).is_ok_and(|header| {
            let codec = header.compression();
            let target = log.config().compression;
            codec != Ok(Compression::None) || target.is_some_and(|(target, _)| codec != Ok(target))
        })
}

/// Flushes what `flush.messages` asks for before the answer; `false` if one failed.
async fn flush(logs: Vec<Arc<PartitionLog>>) -> bool {
    if logs.is_empty() {
        return true;
    }
    let flushed = tokio::task::spawn_blocking(move || logs.iter().all(|log| log.flush().is_ok()));
    flushed.await.unwrap_or(false)
}

fn describe(
    context: &RequestContext<'_>,
    outcome: Outcome,
    flushed: bool,
) -> PartitionProduceResponse {
    let refused = PartitionProduceResponse::default()
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1);
    match outcome {
        Outcome::Appended(info, _) if flushed || !info.flush_due => {
            PartitionProduceResponse::default()
                .with_base_offset(info.base_offset)
                .with_log_append_time_ms(info.log_append_time)
                .with_log_start_offset(info.log_start_offset)
        }
        Outcome::Appended(..) => {
            refused.with_error_code(context.error(ResponseError::KafkaStorageError))
        }
        Outcome::NotHere(error) => refused.with_error_code(context.error(error)),
        Outcome::Refused { error, log } => {
            if let LogError::Storage { .. } = error {
                tracing::warn!(log = %log.topic(), partition = log.partition(), %error, "append failed");
            }
            let records = error.record_errors().iter().map(|record| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(record.batch_index)
                    .with_batch_index_error_message(Some(text(&record.message)))
            });
            refused
                .with_error_code(context.error(error.code()))
                .with_log_start_offset(log_start_offset(&error, &log))
                .with_record_errors(records.collect())
                .with_error_message(Some(text(&error.to_string())))
        }
    }
}

/// Kafka tells the log start offset with the errors that its log finds last.
fn log_start_offset(error: &LogError, log: &PartitionLog) -> i64 {
    match error {
        LogError::NotOneBatch(_)
        | LogError::CorruptMessage(_)
        | LogError::MessageTooLarge(_)
        | LogError::RecordListTooLarge(_)
        | LogError::UnsupportedCompressionType(_)
        | LogError::Storage { .. }
        | LogError::Torn { .. }
        | LogError::Offline(_) => -1,
        _ => log.log_start_offset(),
    }
}

fn text(message: &str) -> StrBytes {
    StrBytes::from_string(message.to_owned())
}
