//! `Metadata` from one image (pure).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;

use super::access::{self, Access};
use super::{Answer, Question};
use crate::cluster::topic_name;
use crate::kafka::api::metadata_answer::{self, Topics};
use crate::kafka::api::operations::{self, NOT_ASKED};
use crate::kafka::api::{HandlerError, metadata_topic};
use crate::kafka::response_cache::{ResponseCache, View};

const NOT_ALLOWED: i16 = ResponseError::TopicAuthorizationFailed.code();

pub(super) fn answer(
    question: &Question<'_>,
    access: &Access<'_>,
    cache: &ResponseCache,
) -> Result<Answer, HandlerError> {
    let Question { image, version, .. } = *question;
    let request: MetadataRequest = question.decode()?;
    let wants_operations = request.include_topic_authorized_operations;
    let view = View {
        addresses: Arc::clone(question.addresses),
        version,
        operations: if wants_operations { operations::TOPIC } else { NOT_ASKED },
    };
    let told = |bits: i32| if wants_operations { bits } else { NOT_ASKED };
    let wants_cluster = request.include_cluster_authorized_operations;
    let cluster = if wants_cluster { access.cluster() } else { NOT_ASKED };
    let topics = request.topics.as_ref().filter(|topics| version > 0 || !topics.is_empty());
    let Some(topics) = topics else {
        let answer = match access {
            Access::Whole => metadata_answer::all(cache, image, &view, cluster),
            Access::Limited(_) => {
                let mut allowed = access.topics_in_order();
                let allowed = |name: &str| allowed(name).map(told);
                metadata_answer::all_allowed(cache, image, &view, cluster, allowed)
            }
        };
        return answer.map(Answer::Reply);
    };
    if topics.iter().any(|topic| !metadata_answer::may_ask(topic, version)) {
        // A broker refuses it as a whole, and knows best how.
        return Ok(Answer::AskUpstream);
    }
    let topics = if metadata_answer::is_by_id(topics) {
        let mut topics = metadata_answer::by_id(image, topics, view.operations);
        if !topics.unknown.is_empty() {
            // There is no znode to look at that an id would name.
            return Ok(Answer::AskUpstream);
        }
        hide(&mut topics, access, told);
        topics
    } else {
        let creates = question.auto_create_topics && request.allow_auto_topic_creation;
        match by_name(question, access, topics, creates, told) {
            Ok(topics) => topics,
            Err(Wanted::Names(names)) => return Ok(Answer::Missing { names, create: creates }),
            Err(Wanted::Broker) => return Ok(Answer::AskUpstream),
        }
    };
    metadata_answer::some(cache, image, &view, topics, cluster).map(Answer::Reply)
}

/// Takes away the topics, asked for by their ids, that the client may not know of. Ids are no secret.
fn hide(topics: &mut Topics<'_>, access: &Access<'_>, told: impl Fn(i32) -> i32) {
    for (topic, _) in std::mem::take(&mut topics.found) {
        if let Some(bits) = access.topic(&topic.name) {
            topics.found.push((topic, told(bits)));
        } else {
            topics.hidden.push(
                MetadataResponseTopic::default()
                    .with_error_code(NOT_ALLOWED)
                    .with_name(None)
                    .with_topic_id(topic.id),
            );
        }
    }
}

/// What is not known yet.
enum Wanted {
    /// What becomes of topics of these names.
    Names(Vec<String>),
    /// What only a broker can tell this client.
    Broker,
}

/// The topics of these names. Of one that the client may not know of it is not even looked whether
/// it is there.
fn by_name<'a>(
    question: &Question<'a>,
    access: &Access<'_>,
    asked: &[MetadataRequestTopic],
    creates: bool,
    told: impl Fn(i32) -> i32,
) -> Result<Topics<'a>, Wanted> {
    let failed = metadata_topic::failed;
    let mut topics = Topics::default();
    let mut wanted = Vec::new();
    for name in metadata_answer::names(asked) {
        let Some(bits) = access.topic(name) else {
            topics.hidden.push(failed(NOT_ALLOWED, name, false, NOT_ASKED));
            continue;
        };
        if let Some(topic) = question.image.topic(name) {
            topics.found.push((topic, told(bits)));
            continue;
        }
        let internal = topic_name::is_internal(name);
        if creates && !access.may_create(name) {
            topics.not_to_be_made.push(failed(NOT_ALLOWED, name, internal, NOT_ASKED));
            continue;
        }
        let error = if topic_name::check(name).is_err() {
            ResponseError::InvalidTopicException.code()
        } else if let Some(error) = question.missing(name) {
            error
        } else {
            wanted.push(name.to_owned());
            continue;
        };
        if error == NOT_ALLOWED {
            // The broker that was asked knows other ACLs.
            return Err(Wanted::Broker);
        }
        topics.missing.push(failed(error, name, internal, told(bits)));
    }
    if wanted.is_empty() {
        Ok(topics)
    } else if creates && !access::is_anonymous(question) {
        // Who makes a topic is for the brokers to see.
        Err(Wanted::Broker)
    } else {
        Err(Wanted::Names(wanted))
    }
}
