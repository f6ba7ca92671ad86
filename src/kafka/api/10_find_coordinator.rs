//! `FindCoordinator`: where the coordinator of a group or a transactional id is.
//!
//! Transactions are not built yet: theirs is answered with `COORDINATOR_NOT_AVAILABLE`.
//!
//! Versions: 1 has key types, error messages and throttle time; 3 is flexible; 4 asks for many
//! keys at once; 6 has share groups, which there are none of.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, FindCoordinatorRequest};

use super::coordinator_answer::{self, Failed, NOT_AVAILABLE, leader};
use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::broker::BrokerContext;
use crate::cluster::ConfigMap;
use crate::cluster::admin::TopicRequest;
use crate::cluster::coordinators::Kind;
use crate::kafka::addresses::AddressBook;

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::FindCoordinator, "FindCoordinator", 0, 6);

const NO_SUCH_TYPE: Failed = Failed {
    error: ResponseError::InvalidRequest,
    message: "There is no coordinator for this type of key.",
};

/// Answers from the image. The topic that groups are kept in is made when it is first needed.
///
/// # Errors
/// In the answer: `COORDINATOR_NOT_AVAILABLE`, which clients try again; `INVALID_REQUEST` for a type
/// of key that there is not.
pub async fn handle(
    context: &RequestContext<'_>,
    request: FindCoordinatorRequest,
) -> HandlerResult {
    let image = context.broker.image.load();
    if request.key_type == 0 && image.topic(Kind::Group.topic()).is_none() {
        make_topic(context, Kind::Group).await;
    }
    let addresses = AddressBook::direct(context.connection.listener.clone());
    let topic = image.topic(Kind::Group.topic());
    let kind = request.key_type;
    let response = coordinator_answer::answer(request, context.version, |key| match kind {
        0 => {
            let leader = topic.and_then(|topic| leader(&image, &addresses, topic, key));
            leader.ok_or(NOT_AVAILABLE)
        }
        1 => Err(NOT_AVAILABLE),
        _ => Err(NO_SUCH_TYPE),
    });
    let mut found = response.coordinators.iter().map(|one| one.error_code);
    context.note_failure(response.error_code != 0 || found.any(|error| error != 0));
    context.reply(&response)
}

/// Makes an internal topic; why it can't be made is for the log, since clients try again.
async fn make_topic(context: &RequestContext<'_>, kind: Kind) {
    let request = internal_topic(context.broker, kind);
    let made = context.auto_creation.create_as(context.broker, request).await;
    tracing::debug!(topic = kind.topic(), ?made, "an internal topic is made");
}

fn internal_topic(broker: &BrokerContext, kind: Kind) -> TopicRequest {
    let config = &broker.config.groups;
    let live = i16::try_from(broker.image.load().brokers.len()).unwrap_or(i16::MAX);
    TopicRequest {
        name: kind.topic().to_owned(),
        partitions: config.topic_partitions,
        replication_factor: config.topic_replication_factor.unwrap_or(live.clamp(1, 3)),
        assignment: None,
        config: ConfigMap::from([
            ("cleanup.policy".to_owned(), "compact".to_owned()),
            ("compression.type".to_owned(), "producer".to_owned()),
            ("segment.bytes".to_owned(), config.topic_segment_bytes.to_string()),
        ]),
    }
}
