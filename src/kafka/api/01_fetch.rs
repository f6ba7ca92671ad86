//! `Fetch`: record batches from an offset on, as they are stored; waits for more if asked to.
//!
//! Versions: 4 is the first with record batches of format 2 and isolation levels; 5 has log start
//! offsets; 7 has sessions (KIP-227); 9 has leader epochs; 11 has racks; 12 is flexible and finds diverging epochs; 13 names topics by id
//! (KIP-516); 15 moves the replica id; 16 names new leaders (KIP-951); 17 has directory ids.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::fetch_request::FetchRequest;
use kafka_protocol::protocol::StrBytes;
use metrics::{Counter, counter};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::fetch_response::{FetchedPartition, FetchedTopic, encode};
use super::leader::NamedLeaders;
use super::{ApiRegistration, HandlerResult, Piece, RequestContext};
use crate::broker::log::{LogError, LogSlice, PartitionLog};
use crate::kafka::fetch_sessions::{Asked, Named, Opened, PartitionKey, SessionRequest, Told};
use crate::{calendar, limits};

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::Fetch, "Fetch", 4, 17);

/// The first version with sessions.
const SESSIONS: i16 = 7;
/// The first version that names topics by id.
const TOPIC_IDS: i16 = 13;
/// The first version whose answer names new leaders.
const LEADER_VERSION: i16 = 16;
/// The isolation level of whoever reads what is committed.
const READ_COMMITTED: i8 = 1;

static FETCHED_BYTES: LazyLock<Counter> =
    LazyLock::new(|| counter!("doorkeeper_log_fetched_bytes_total"));

/// One reading of all partitions.
struct Reading {
    /// What the client is told: in a session, only what changed.
    answers: Vec<(PartitionKey, FetchedPartition)>,
    leaders: NamedLeaders,
    bytes: usize,
    /// Something besides records that the client should hear of now.
    answer_now: bool,
    /// Logs that may bring more, with the offset that is waited at.
    waited: Vec<(Arc<PartitionLog>, i64)>,
    read_committed: bool,
}

/// Reads every partition; with too little there, waits until there is enough, the time is over or
/// the connection closes.
///
/// # Errors
/// In the answer: for the request, an unknown session; for each partition, what Kafka answers.
pub async fn handle(context: &RequestContext<'_>, request: FetchRequest) -> HandlerResult {
    let named = named(&request);
    let opened = if context.version < SESSIONS {
        Ok(Opened::Sessionless)
    } else {
        let session = SessionRequest {
            id: request.session_id,
            epoch: request.session_epoch,
            uses_topic_ids: context.version >= TOPIC_IDS,
        };
        context.fetch_sessions.open(session, &named, calendar::now_ms())
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let code = context.error(error);
            return Ok(encode(context.version, code, 0, &[], &NamedLeaders::default()));
        }
    };
    let max_bytes = usize::try_from(request.max_bytes)
        .unwrap_or(0)
        .min(context.broker.config.fetch_max_bytes)
        .min(limits::FETCH_RESPONSE_BYTES_MAX);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes);
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + max_wait;
    let read = || match &opened {
        Opened::Incremental(turn) => {
            let session = turn.session();
            let partitions = session.partitions();
            read_all(context, &request, max_bytes, partitions.map(|(k, a, t)| (k, a, Some(t))))
        }
        Opened::Full | Opened::Sessionless => {
            let partitions = named.asked.iter().map(|(key, asked)| (key, asked, None));
            read_all(context, &request, max_bytes, partitions)
        }
    };
    let mut reading = read();
    let wait = !reading.answer_now && reading.bytes < min_bytes && !reading.waited.is_empty();
    if wait && Instant::now() < deadline {
        wait_for(&reading.waited, reading.read_committed, min_bytes, deadline, context).await;
        reading = read();
    }
    FETCHED_BYTES.increment(reading.bytes as u64);
    let Reading { answers, leaders, .. } = reading;
    let session_id = match &opened {
        Opened::Sessionless => 0,
        Opened::Full => create_session(context, &named, &answers),
        Opened::Incremental(turn) => match turn.finish() {
            Ok(mut session) => {
                for (key, fetched) in &answers {
                    session.note(key, told_of(fetched), !fetched.records.is_empty());
                }
                turn.id
            }
            Err(error) => {
                let code = context.error(error);
                let nobody = NamedLeaders::default();
                return Ok(encode(context.version, code, turn.id, &[], &nobody));
            }
        },
    };
    Ok(encode(context.version, 0, session_id, &by_topic(answers), &leaders))
}

/// The partitions of a request. Names are copied out of it, since a session keeps them.
fn named(request: &FetchRequest) -> Named {
    let owned = |name: &str| StrBytes::from_string(name.to_owned());
    let mut named = Named::default();
    for topic in &request.topics {
        let name = owned(&topic.topic);
        named.asked.extend(topic.partitions.iter().map(|partition| {
            let key = PartitionKey {
                topic_id: topic.topic_id,
                topic: name.clone(),
                partition: partition.partition,
            };
            let asked = Asked {
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.partition_max_bytes,
                leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
            };
            (key, asked)
        }));
    }
    for topic in &request.forgotten_topics_data {
        let name = owned(&topic.topic);
        named.forgotten.extend(topic.partitions.iter().map(|partition| PartitionKey {
            topic_id: topic.topic_id,
            topic: name.clone(),
            partition: *partition,
        }));
    }
    named
}

fn create_session(
    context: &RequestContext<'_>,
    named: &Named,
    answers: &[(PartitionKey, FetchedPartition)],
) -> i32 {
    let partitions = named.asked.iter().zip(answers);
    context.fetch_sessions.create(
        partitions.map(|((key, asked), (_, fetched))| (key.clone(), *asked, told_of(fetched))),
        context.version >= TOPIC_IDS,
        calendar::now_ms(),
        rand::random,
    )
}

fn told_of(fetched: &FetchedPartition) -> Told {
    Told { high_watermark: fetched.high_watermark, log_start_offset: fetched.log_start_offset }
}

/// Whether a client in a session hears of it (`CachedPartition.maybeUpdateResponseData`).
fn is_news(fetched: &FetchedPartition, told: &Told) -> bool {
    !fetched.records.is_empty()
        || fetched.error_code != 0
        || fetched.diverging_epoch.is_some()
        || told_of(fetched) != *told
}

/// Partitions that follow each other and are of one topic stand together.
fn by_topic(answers: Vec<(PartitionKey, FetchedPartition)>) -> Vec<FetchedTopic> {
    let mut topics: Vec<FetchedTopic> = Vec::new();
    for (key, fetched) in answers {
        match topics.last_mut() {
            Some(last) if last.id == key.topic_id && last.name == key.topic => {
                last.partitions.push(fetched);
            }
            _ => {
                let partitions = vec![fetched];
                topics.push(FetchedTopic { name: key.topic, id: key.topic_id, partitions });
            }
        }
    }
    topics
}

/// Waits until `min_bytes` can be read, the time is over or the connection closes.
async fn wait_for(
    logs: &[(Arc<PartitionLog>, i64)],
    committed: bool,
    min_bytes: usize,
    deadline: Instant,
    context: &RequestContext<'_>,
) {
    let arrived = Arc::new(Notify::new());
    let _watches: Vec<_> = logs.iter().map(|(log, _)| log.watch(&arrived)).collect();
    loop {
        let available: u64 =
            logs.iter().map(|(log, offset)| log.available_bytes(*offset, committed)).sum();
        let closed = logs.iter().any(|(log, _)| log.is_closed());
        // With a bound of one byte any record will do, and no estimate is needed.
        if closed || (available > 0 && available >= min_bytes as u64) {
            return;
        }
        tokio::select! {
            waited = timeout_at(deadline, arrived.notified()) => if waited.is_err() {
                return;
            },
            () = context.connection.closing.cancelled() => return,
        }
    }
}

fn read_all<'a>(
    context: &RequestContext<'_>,
    request: &FetchRequest,
    max_bytes: usize,
    partitions: impl Iterator<Item = (&'a PartitionKey, &'a Asked, Option<&'a Told>)>,
) -> Reading {
    let mut reading = Reading {
        answers: Vec::new(),
        leaders: NamedLeaders::default(),
        bytes: 0,
        answer_now: false,
        waited: Vec::new(),
        read_committed: request.isolation_level == READ_COMMITTED,
    };
    let replica = if context.version >= 15 {
        request.replica_state.replica_id.0
    } else {
        request.replica_id.0
    };
    let mut any = false;
    for (key, asked, told) in partitions {
        any = true;
        let fetched = if replica >= 0 {
            // Only a broker may fetch as one, since it moves the high watermark by it.
            Err(ResponseError::TopicAuthorizationFailed)
        } else {
            read_one(context, key, asked, max_bytes, &mut reading)
        };
        let fetched = fetched.unwrap_or_else(|error| {
            reading.answer_now = true;
            refused(context, key, error, &mut reading.leaders)
        });
        reading.bytes += fetched.records.len();
        if told.is_none_or(|told| is_news(&fetched, told)) {
            reading.answers.push((key.clone(), fetched));
        }
    }
    reading.answer_now |= !any;
    reading
}

fn read_one(
    context: &RequestContext<'_>,
    key: &PartitionKey,
    asked: &Asked,
    max_bytes: usize,
    reading: &mut Reading,
) -> Result<FetchedPartition, ResponseError> {
    let (index, offset) = (key.partition, asked.fetch_offset);
    let leader_epoch = if context.version >= 9 { asked.leader_epoch } else { -1 };
    let manager = &context.broker.partitions;
    let led = if context.version >= TOPIC_IDS {
        manager.led_by_id(key.topic_id, index, leader_epoch)
    } else {
        manager.led(&key.topic, index, leader_epoch)
    }?;
    let read_committed = reading.read_committed;
    if context.version >= 12 && asked.last_fetched_epoch >= 0 {
        let (epoch, end) = led
            .log
            .epoch_end_offset(asked.last_fetched_epoch)
            .filter(|_| offset >= led.log.log_start_offset())
            .ok_or(ResponseError::OffsetOutOfRange)?;
        if epoch < asked.last_fetched_epoch || end < offset {
            reading.answer_now = true;
            return Ok(FetchedPartition {
                index,
                error_code: 0,
                high_watermark: led.log.high_watermark(),
                last_stable_offset: led.log.last_stable_offset(),
                log_start_offset: led.log.log_start_offset(),
                diverging_epoch: Some((epoch, end)),
                current_leader: None,
                aborted: read_committed.then(Vec::new),
                records: Bytes::new().into(),
            });
        }
    }
    let left = max_bytes.saturating_sub(reading.bytes);
    let most = usize::try_from(asked.max_bytes).unwrap_or(0).min(left);
    let at_least_one = reading.bytes == 0;
    let located = if read_committed {
        led.log.locate_committed(offset, most, at_least_one)
    } else {
        led.log.locate(offset, most, at_least_one)
    };
    let LogSlice { batches, high_watermark, last_stable_offset, log_start_offset, aborted } =
        located.map_err(|error| told(&led.log, &error))?;
    let records = match batches {
        None => Bytes::new().into(),
        Some(slice) if slice.len() < limits::KAFKA_COPY_MAX => {
            let failed = |error| LogError::storage(led.log.parent_directory(), error);
            let read = slice.read(slice.len()).map_err(failed);
            read.map_err(|error| told(&led.log, &error))?.into()
        }
        Some(slice) => Piece::File(slice),
    };
    reading.waited.push((led.log, offset));
    Ok(FetchedPartition {
        index,
        error_code: 0,
        high_watermark,
        last_stable_offset,
        log_start_offset,
        diverging_epoch: None,
        current_leader: None,
        aborted: read_committed.then_some(aborted),
        records,
    })
}

/// The code of a failed read; one that is not the client's doing is told to the operator.
fn told(log: &PartitionLog, error: &LogError) -> ResponseError {
    if let LogError::Storage { .. } = error {
        tracing::warn!(topic = %log.topic(), partition = log.partition(), %error, "read failed");
    }
    match error {
        LogError::Deleted => ResponseError::NotLeaderOrFollower,
        other => other.code(),
    }
}

/// What is answered before a log is looked at: then Kafka's list of aborted transactions is empty, as
/// it is for whoever reads what is committed; otherwise it is null.
const UNREAD: [ResponseError; 3] = [
    ResponseError::UnknownTopicOrPartition,
    ResponseError::TopicAuthorizationFailed,
    ResponseError::UnknownTopicId,
];

fn refused(
    context: &RequestContext<'_>,
    key: &PartitionKey,
    error: ResponseError,
    leaders: &mut NamedLeaders,
) -> FetchedPartition {
    let moved =
        matches!(error, ResponseError::NotLeaderOrFollower | ResponseError::FencedLeaderEpoch);
    let current_leader = if context.version >= LEADER_VERSION && moved {
        let image = context.broker.image.load();
        name_of(&image, key.topic_id)
            .and_then(|name| leaders.name(context, &image, &name, key.partition))
    } else {
        None
    };
    FetchedPartition {
        index: key.partition,
        error_code: context.error(error),
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        diverging_epoch: None,
        current_leader,
        aborted: UNREAD.contains(&error).then(Vec::new),
        records: Bytes::new().into(),
    }
}

fn name_of(image: &crate::cluster::ClusterImage, id: Uuid) -> Option<Arc<str>> {
    image.topic_by_id(id).map(|topic| Arc::clone(&topic.name))
}
