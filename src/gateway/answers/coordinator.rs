//! `FindCoordinator` from one image (pure): the leader of the partition of an internal topic that a
//! group's or a transaction's name falls into, for who may describe that group or transaction.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::FindCoordinatorRequest;

use super::access::Access;
use super::{Answer, Question};
use crate::cluster::coordinators::{self, Kind};
use crate::cluster::layout::acl::{Operation, ResourceType};
use crate::kafka::api::coordinator_answer::{self, Failed, NOT_AVAILABLE, leader};
use crate::kafka::api::{HandlerError, Reply};

/// What a client is told that may not describe a group or a transaction.
fn not_allowed(kind: Kind) -> (ResourceType, Failed) {
    match kind {
        Kind::Group => (
            ResourceType::Group,
            Failed {
                error: ResponseError::GroupAuthorizationFailed,
                message: "Group authorization failed.",
            },
        ),
        Kind::Transaction => (
            ResourceType::TransactionalId,
            Failed {
                error: ResponseError::TransactionalIdAuthorizationFailed,
                message: "Transactional Id authorization failed.",
            },
        ),
    }
}

/// Answers for groups and transactions; keys of another type are for a broker.
pub(super) fn answer(question: &Question<'_>, access: &Access<'_>) -> Result<Answer, HandlerError> {
    let Question { image, addresses, version, .. } = *question;
    let request: FindCoordinatorRequest = question.decode()?;
    let kind = match request.key_type {
        0 => Kind::Group,
        1 => Kind::Transaction,
        _ => return Ok(Answer::AskUpstream),
    };
    let (resource, denied) = not_allowed(kind);
    let allowed = |key: &str| access.allows(Operation::Describe, resource, key);
    let keys = || match version {
        ..4 => std::slice::from_ref(&request.key),
        _ => &request.coordinator_keys,
    };
    // A broker makes a topic that is not there, for who may ask.
    let topic = image.topic(kind.topic());
    let topic = topic.filter(|topic| coordinators::is_counted_alike(image, topic));
    if topic.is_none() && (keys().is_empty() || keys().iter().any(|key| allowed(key))) {
        return Ok(Answer::AskUpstream);
    }
    let find = |key: &str| {
        if allowed(key) {
            let leader = topic.and_then(|topic| leader(image, addresses, topic, key));
            leader.ok_or(NOT_AVAILABLE)
        } else {
            Err(denied)
        }
    };
    let response = coordinator_answer::answer(request, version, find);
    Ok(Answer::Reply(Reply::encode(&response, version)?))
}
