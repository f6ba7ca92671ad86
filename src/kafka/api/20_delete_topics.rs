//! `DeleteTopics`: asks for the deletion of topics, at the controller, and waits for its end.
//!
//! Versions: 1 has the throttle time; 3 knows `TOPIC_DELETION_DISABLED`; 4 is flexible; 5 has error
//! messages; 6 takes names or topic ids.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{ApiKey, DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::admin_result::{self, Deadline, Refusal};
use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::cluster::ClusterImage;

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::DeleteTopics, "DeleteTopics", 1, 6);

/// Marks the topics, then waits until they are gone.
///
/// # Errors
/// For each topic: `NOT_CONTROLLER`, `TOPIC_DELETION_DISABLED`, `UNKNOWN_TOPIC_OR_PARTITION`,
/// `UNKNOWN_TOPIC_ID`, `REQUEST_TIMED_OUT`; `INVALID_REQUEST` for all if one has a name and an id;
/// `TOPIC_AUTHORIZATION_FAILED` for one that has neither.
pub async fn handle(context: &RequestContext<'_>, request: DeleteTopicsRequest) -> HandlerResult {
    let deadline = Deadline::new(request.timeout_ms);
    let image = context.broker.image.load();
    let asked: Vec<DeleteTopicState> = if context.version >= 6 {
        request.topics
    } else {
        let names = request.topic_names.into_iter();
        names.map(|name| DeleteTopicState::default().with_name(Some(name))).collect()
    };
    let twice_named = asked.iter().any(|topic| topic.name.is_some() && !topic.topic_id.is_nil());
    let refused = if twice_named {
        let message = "Topic name and topic ID can not both be specified.";
        Some(Refusal::new(ResponseError::InvalidRequest, message))
    } else if !context.broker.is_controller() {
        Some(Refusal::bare(ResponseError::NotController))
    } else if !context.broker.config.delete_topic_enable {
        Some(Refusal::bare(if context.version < 3 {
            ResponseError::InvalidRequest
        } else {
            ResponseError::TopicDeletionDisabled
        }))
    } else {
        None
    };

    let mut outcomes = Vec::with_capacity(asked.len());
    for topic in &asked {
        outcomes.push(match &refused {
            Some(refusal) => (topic.name.clone(), Err(refusal.clone())),
            None => mark(context, &image, topic).await,
        });
    }
    let mut responses = Vec::with_capacity(asked.len());
    for (topic, (name, outcome)) in asked.iter().zip(outcomes) {
        let outcome = match (outcome, &name) {
            (Ok(()), Some(name)) => {
                let admin = &context.broker.admin;
                deadline.wait(|left| admin.wait_for_deletion(name, left)).await
            }
            (outcome, _) => outcome,
        };
        let (error, message) = admin_result::fields(context, outcome);
        responses.push(
            DeletableTopicResult::default()
                // A name may be null from version 6 on, and is always there before.
                .with_name(name)
                .with_topic_id(topic.topic_id)
                .with_error_code(error)
                .with_error_message(message),
        );
    }
    context.reply(&DeleteTopicsResponse::default().with_responses(responses))
}

/// Asks for one topic's deletion. Answers with its name where that is known.
async fn mark(
    context: &RequestContext<'_>,
    image: &ClusterImage,
    asked: &DeleteTopicState,
) -> (Option<TopicName>, Result<(), Refusal>) {
    let (name, unknown) = match &asked.name {
        Some(name) => (Some(name.clone()), ResponseError::UnknownTopicOrPartition),
        // Kafka finds no name there that a client could be authorized for, and says so.
        None if asked.topic_id.is_nil() => {
            return (None, Err(Refusal::bare(ResponseError::TopicAuthorizationFailed)));
        }
        None => {
            let topic = image.topic_by_id(asked.topic_id);
            let name = topic.map(|topic| TopicName(StrBytes::from_string(topic.name.to_string())));
            (name, ResponseError::UnknownTopicId)
        }
    };
    let Some(topic) = name.as_ref().and_then(|name| image.topic(name)) else {
        return (name, Err(Refusal::bare(unknown)));
    };
    let marked = context.broker.admin.delete_topic(&topic.name).await;
    (name, marked.map_err(Refusal::from))
}
