//! `Heartbeat`: a member says that it lives, and hears whether it has to join again.
//!
//! Versions: 1 has a throttle time; 3 has static members; 4 is flexible.

use kafka_protocol::messages::{ApiKey, HeartbeatRequest, HeartbeatResponse};

use super::{ApiRegistration, HandlerResult, RequestContext};

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::Heartbeat, "Heartbeat", 0, 4);

/// Answers at once.
///
/// # Errors
/// In the answer: `REBALANCE_IN_PROGRESS`, `UNKNOWN_MEMBER_ID`, `ILLEGAL_GENERATION`,
/// `FENCED_INSTANCE_ID`, `NOT_COORDINATOR` and their like.
pub async fn handle(context: &RequestContext<'_>, request: HeartbeatRequest) -> HandlerResult {
    let HeartbeatRequest { group_id, generation_id, member_id, group_instance_id, .. } = request;
    let instance_id = group_instance_id.as_deref();
    let lives = context.broker.groups.heartbeat(&group_id, &member_id, instance_id, generation_id);
    let error = lives.err().map_or(0, |error| context.error(error));
    context.reply(&HeartbeatResponse::default().with_error_code(error))
}
