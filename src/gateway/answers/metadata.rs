//! `Metadata` from one image (pure).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;

use super::{Answer, Question};
use crate::cluster::topic_name;
use crate::kafka::api::metadata_answer::{self, Topics};
use crate::kafka::api::operations::{self, NOT_ASKED};
use crate::kafka::api::{HandlerError, metadata_topic};
use crate::kafka::response_cache::{ResponseCache, View};

pub(super) fn answer(
    question: &Question<'_>,
    cache: &ResponseCache,
) -> Result<Answer, HandlerError> {
    let Question { image, version, .. } = *question;
    let request: MetadataRequest = question.decode()?;
    let asked = |asked: bool, bits: i32| if asked { bits } else { NOT_ASKED };
    let view = View {
        addresses: Arc::clone(question.addresses),
        version,
        operations: asked(request.include_topic_authorized_operations, operations::TOPIC),
    };
    let cluster = asked(request.include_cluster_authorized_operations, operations::CLUSTER);
    let topics = request.topics.as_ref().filter(|topics| version > 0 || !topics.is_empty());
    let Some(topics) = topics else {
        return metadata_answer::all(cache, image, &view, cluster).map(Answer::Reply);
    };
    if topics.iter().any(|topic| !metadata_answer::may_ask(topic, version)) {
        // A broker refuses it as a whole, and knows best how.
        return Ok(Answer::AskUpstream);
    }
    let topics = if metadata_answer::is_by_id(topics) {
        let topics = metadata_answer::by_id(image, topics);
        if !topics.unknown.is_empty() {
            // There is no znode to look at that an id would name.
            return Ok(Answer::AskUpstream);
        }
        topics
    } else {
        let creates = question.auto_create_topics && request.allow_auto_topic_creation;
        match by_name(question, topics, view.operations) {
            Ok(topics) => topics,
            Err(names) => return Ok(Answer::Missing { names, create: creates }),
        }
    };
    metadata_answer::some(cache, image, &view, topics, cluster).map(Answer::Reply)
}

/// The topics of these names, or the names that have to be found out about.
fn by_name<'a>(
    question: &Question<'a>,
    asked: &[MetadataRequestTopic],
    operations: i32,
) -> Result<Topics<'a>, Vec<String>> {
    let mut topics = Topics::default();
    let mut wanted = Vec::new();
    for name in metadata_answer::names(asked) {
        if let Some(topic) = question.image.topic(name) {
            topics.found.push(topic);
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
        let internal = topic_name::is_internal(name);
        topics.missing.push(metadata_topic::failed(error, name, internal, operations));
    }
    if wanted.is_empty() { Ok(topics) } else { Err(wanted) }
}
