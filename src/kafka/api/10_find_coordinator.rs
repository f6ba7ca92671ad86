//! `FindCoordinator`: where the coordinator of a group or a transactional id is.
//!
//! Neither is built yet, so every key is answered with `COORDINATOR_NOT_AVAILABLE`, which clients
//! retry. The API is served all the same because librdkafka takes it for a sign that a broker
//! knows lz4, and stops compressing without a word if it is not there.
//!
//! Versions: 1 has key types, error messages and throttle time; 3 is flexible; 4 asks for many
//! keys at once; 6 has share groups.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{ApiKey, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{ApiRegistration, HandlerResult, RequestContext};

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::FindCoordinator, "FindCoordinator", 0, 6);

const NOWHERE: BrokerId = BrokerId(-1);

/// Answers that no coordinator is available; `INVALID_REQUEST` for a type of key that there is not.
pub async fn handle(
    context: &RequestContext<'_>,
    request: FindCoordinatorRequest,
) -> HandlerResult {
    // Groups, transactions, and share groups from version 6 on.
    let known = matches!((request.key_type, context.version), (0 | 1, _) | (2, 6..));
    let (error, message) = if known {
        (ResponseError::CoordinatorNotAvailable, "The coordinator is not available.")
    } else {
        (ResponseError::InvalidRequest, "There is no coordinator for this type of key.")
    };
    let error = context.error(error);
    let message = Some(StrBytes::from_static_str(message));
    let response = FindCoordinatorResponse::default();
    if context.version < 4 {
        return context.reply(
            &response
                .with_error_code(error)
                .with_error_message(message)
                .with_node_id(NOWHERE)
                .with_port(-1),
        );
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(error)
            .with_error_message(message.clone())
            .with_node_id(NOWHERE)
            .with_port(-1)
    });
    context.reply(&response.with_coordinators(coordinators.collect()))
}
