//! `Metadata`: brokers, controller, and the leader and replicas of every partition asked for.
//!
//! Versions: 0 asks for all topics with an empty list and leaves out dead replicas; 1 asks for all
//! with a null list, and has racks, the controller and internal topics; 2 the cluster id; 3 the
//! throttle time; 4 whether topics may be made; 5 offline replicas; 6 `LISTENER_NOT_FOUND`; 7 leader
//! epochs; 8 authorized operations; 9 is flexible; 10 has topic ids, to be asked for from 12 on;
//! 11 has no cluster operations; 13 has an error code for the whole answer (KIP-1102).

use std::collections::HashSet;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::metadata_topic;
use super::operations::{self, NOT_ASKED};
use super::{ApiRegistration, HandlerError, HandlerResult, Reply, RequestContext};
use crate::cluster::{ClusterImage, TopicImage, topic_name};
use crate::kafka::response_cache::{self, View};

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::Metadata, "Metadata", 0, 13);

/// Answers from one image, and makes missing topics if broker and client want it.
pub async fn handle(context: &RequestContext<'_>, request: MetadataRequest) -> HandlerResult {
    let version = context.version;
    let image = context.broker.image.load();
    let view = View {
        listener: Arc::clone(&context.connection.listener),
        version,
        operations: if request.include_topic_authorized_operations {
            operations::TOPIC
        } else {
            NOT_ASKED
        },
    };
    let end = response_cache::end(version, request.include_cluster_authorized_operations);
    let Some(asked) = request.topics.filter(|topics| version > 0 || !topics.is_empty()) else {
        let (count, all) = context.cache.all(&image, &view)?;
        return whole(context, &image, &view, count, all, end);
    };
    if asked.iter().any(|topic| !may_ask(topic, version)) {
        return refuse(context, asked);
    }
    let answer = if asked.iter().any(|topic| !topic.topic_id.is_nil()) {
        by_id(context, &image, &asked)
    } else {
        let create = request.allow_auto_topic_creation && context.broker.config.auto_create_topics;
        by_name(context, &image, &asked, create, view.operations).await
    };

    let front = context.cache.front(&image, &view)?;
    let mut body = BytesMut::with_capacity(front.len() + 64 * answer.found.len() + 16);
    body.put_slice(&front);
    let count = answer.unknown.len() + answer.found.len() + answer.missing.len();
    response_cache::put_count(&mut body, version, count);
    for topic in &answer.unknown {
        body.put_slice(&response_cache::encoded(topic, version)?);
    }
    context.cache.topics(&image, &view, answer.found.into_iter(), |topic| body.put_slice(topic))?;
    for topic in &answer.missing {
        body.put_slice(&response_cache::encoded(topic, version)?);
    }
    body.put_slice(&end);
    Ok(Reply::Body(body.freeze()))
}

/// The topics of an answer in its order: ids that are unknown, topics that are there, names that
/// are not.
#[derive(Default)]
struct Answer<'a> {
    unknown: Vec<MetadataResponseTopic>,
    found: Vec<&'a Arc<TopicImage>>,
    missing: Vec<MetadataResponseTopic>,
}

/// Names are ignored as soon as one id is given. No topic is made for an id.
fn by_id<'a>(
    context: &RequestContext<'_>,
    image: &'a ClusterImage,
    asked: &[MetadataRequestTopic],
) -> Answer<'a> {
    let mut answer = Answer::default();
    let mut seen = HashSet::with_capacity(asked.len());
    let ids = asked.iter().map(|topic| topic.topic_id).filter(|id| !id.is_nil());
    for id in ids.filter(|id| seen.insert(*id)) {
        match image.topic_by_id(id) {
            Some(topic) => answer.found.push(topic),
            None => answer.unknown.push(
                MetadataResponseTopic::default()
                    .with_error_code(context.error(ResponseError::UnknownTopicId))
                    .with_name(None)
                    .with_topic_id(id),
            ),
        }
    }
    answer
}

async fn by_name<'a>(
    context: &RequestContext<'_>,
    image: &'a ClusterImage,
    asked: &[MetadataRequestTopic],
    create: bool,
    operations: i32,
) -> Answer<'a> {
    let mut answer = Answer::default();
    let mut seen = HashSet::with_capacity(asked.len());
    let names = asked.iter().filter_map(|topic| topic.name.as_ref());
    for name in names.filter(|name| seen.insert(name.as_str())) {
        if let Some(topic) = image.topic(name) {
            answer.found.push(topic);
            continue;
        }
        let error = if topic_name::check(name).is_err() {
            ResponseError::InvalidTopicException
        } else if create {
            context.auto_creation.create(context.broker, name).await
        } else {
            ResponseError::UnknownTopicOrPartition
        };
        let internal = topic_name::is_internal(name);
        answer.missing.push(metadata_topic::failed(
            context.error(error),
            name,
            internal,
            operations,
        ));
    }
    answer
}

fn may_ask(topic: &MetadataRequestTopic, version: i16) -> bool {
    match &topic.name {
        Some(_) => version >= 12 || topic.topic_id.is_nil(),
        None => version >= 12 && !topic.topic_id.is_nil(),
    }
}

/// The answer to a request that Kafka refuses as a whole: every topic with the error.
fn refuse(context: &RequestContext<'_>, asked: Vec<MetadataRequestTopic>) -> HandlerResult {
    let error = context.error(ResponseError::InvalidRequest);
    let topics = asked.into_iter().map(|topic| {
        MetadataResponseTopic::default()
            .with_error_code(error)
            .with_name(Some(topic.name.unwrap_or(TopicName(StrBytes::new()))))
            .with_topic_id(topic.topic_id)
    });
    context.reply(&MetadataResponse::default().with_topics(topics.collect()))
}

/// An answer with all topics: their bytes are not copied unless they are few.
fn whole(
    context: &RequestContext<'_>,
    image: &Arc<ClusterImage>,
    view: &View,
    count: usize,
    topics: Bytes,
    end: Bytes,
) -> Result<Reply, HandlerError> {
    let front = context.cache.front(image, view)?;
    let mut start = BytesMut::with_capacity(front.len() + 8);
    start.put_slice(&front);
    response_cache::put_count(&mut start, view.version, count);
    Ok(Reply::Pieces(vec![start.freeze(), topics, end]))
}
