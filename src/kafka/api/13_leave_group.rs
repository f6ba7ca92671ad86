//! `LeaveGroup`: members leave, or are taken out by an operator.
//!
//! Versions: 1 has a throttle time; 3 has many members, each by its id or its instance id (KIP-345);
//! 4 is flexible; 5 says why (KIP-800).

use std::sync::Arc;

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{ApiKey, LeaveGroupRequest, LeaveGroupResponse};

use super::{ApiRegistration, HandlerResult, RequestContext};

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::LeaveGroup, "LeaveGroup", 0, 5);

/// Takes the members out, each by itself.
///
/// # Errors
/// In the answer, of each member; before version 3, that of the only one is the whole answer's.
pub async fn handle(context: &RequestContext<'_>, request: LeaveGroupRequest) -> HandlerResult {
    let members: Vec<(Arc<str>, Option<Arc<str>>)> = if context.version < 3 {
        vec![(Arc::from(&*request.member_id), None)]
    } else {
        let named = |instance: &str| Arc::from(instance);
        let members = request.members.iter().map(|member| {
            (Arc::from(&*member.member_id), member.group_instance_id.as_deref().map(named))
        });
        members.collect()
    };
    let response = LeaveGroupResponse::default();
    let left = match context.broker.groups.leave(&request.group_id, &members) {
        Ok(left) => left,
        Err(error) => return context.reply(&response.with_error_code(context.error(error))),
    };
    let code = |left: Result<(), _>| left.err().map_or(0, |error| context.error(error));
    if context.version < 3 {
        let error = left.into_iter().next().map_or(0, code);
        return context.reply(&response.with_error_code(error));
    }
    let members = request.members.into_iter().zip(left).map(|(member, left)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code(left))
    });
    context.reply(&response.with_members(members.collect()))
}
