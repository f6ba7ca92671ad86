//! `Metadata`: brokers, controller, and the leader and replicas of every partition asked for.
//!
//! Versions: 0 asks for all topics with an empty list and leaves out dead replicas; 1 asks for all
//! with a null list, and has racks, the controller and internal topics; 2 the cluster id; 3 the
//! throttle time; 4 whether topics may be made; 5 offline replicas; 6 `LISTENER_NOT_FOUND`; 7 leader
//! epochs; 8 authorized operations; 9 is flexible; 10 has topic ids, to be asked for from 12 on;
//! 11 has no cluster operations; 13 has an error code for the whole answer (KIP-1102).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::metadata_answer::{self, Topics};
use super::metadata_topic;
use super::operations::{self, NOT_ASKED};
use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::cluster::{ClusterImage, topic_name};
use crate::kafka::addresses::AddressBook;
use crate::kafka::response_cache::View;

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::Metadata, "Metadata", 0, 13);

/// Answers from one image, and makes missing topics if broker and client want it.
pub async fn handle(context: &RequestContext<'_>, request: MetadataRequest) -> HandlerResult {
    let version = context.version;
    let image = context.broker.image.load();
    let asked = |asked: bool, bits: i32| if asked { bits } else { NOT_ASKED };
    let view = View {
        addresses: AddressBook::direct(context.connection.listener.clone()),
        version,
        operations: asked(request.include_topic_authorized_operations, operations::TOPIC),
    };
    let cluster = asked(request.include_cluster_authorized_operations, operations::CLUSTER);
    let Some(asked) = request.topics.filter(|topics| version > 0 || !topics.is_empty()) else {
        return metadata_answer::all(context.cache, &image, &view, cluster);
    };
    if asked.iter().any(|topic| !metadata_answer::may_ask(topic, version)) {
        return refuse(context, asked);
    }
    let topics = if metadata_answer::is_by_id(&asked) {
        metadata_answer::by_id(&image, &asked, view.operations)
    } else {
        let create = request.allow_auto_topic_creation && context.broker.config.auto_create_topics;
        by_name(context, &image, &asked, create, view.operations).await
    };
    context.note_failure(!topics.unknown.is_empty());
    metadata_answer::some(context.cache, &image, &view, topics, cluster)
}

async fn by_name<'a>(
    context: &RequestContext<'_>,
    image: &'a ClusterImage,
    asked: &[MetadataRequestTopic],
    create: bool,
    operations: i32,
) -> Topics<'a> {
    let mut topics = Topics::default();
    for name in metadata_answer::names(asked) {
        if let Some(topic) = image.topic(name) {
            topics.found.push((topic, operations));
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
        topics.missing.push(metadata_topic::failed(
            context.error(error),
            name,
            internal,
            operations,
        ));
    }
    topics
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
