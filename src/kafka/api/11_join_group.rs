//! `JoinGroup`: a member joins a group, and waits until all have.
//!
//! Versions: 1 has a rebalance timeout; 2 a throttle time; 4 makes a new member come back with the id
//! that it was given (KIP-394); 5 has static members (KIP-345); 6 is flexible; 7 names the protocol
//! type (KIP-559); 8 says why; 9 lets a static leader skip the assignment (KIP-814).

use std::sync::Arc;

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{ApiKey, JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::broker::groups::group::Joined;
use crate::broker::groups::member::Protocol;
use crate::broker::groups::rebalance::Join;

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::JoinGroup, "JoinGroup", 0, 9);

/// Answers once the generation that the member joins has begun.
///
/// # Errors
/// In the answer, as Kafka's group coordinator gives them.
pub async fn handle(context: &RequestContext<'_>, request: JoinGroupRequest) -> HandlerResult {
    let version = context.version;
    let client_id = context.client_id.as_deref().unwrap_or_default();
    let instance_id = request.group_instance_id.as_deref().map(Arc::from);
    let prefix = instance_id.as_deref().unwrap_or(client_id);
    let protocols = request
        .protocols
        .into_iter()
        .map(|protocol| Protocol { name: Arc::from(&*protocol.name), metadata: protocol.metadata });
    let join = Join {
        member_id: Arc::from(&*request.member_id),
        new_id: Arc::from(format!("{prefix}-{}", Uuid::new_v4())),
        needs_known_id: version >= 4 && instance_id.is_none(),
        instance_id,
        client_id: Arc::from(client_id),
        client_host: Arc::from(format!("/{}", context.connection.peer.ip())),
        rebalance_timeout_ms: match version {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        session_timeout_ms: request.session_timeout_ms,
        protocol_type: Arc::from(&*request.protocol_type),
        protocols: protocols.collect(),
        may_skip_assignment: version >= 9,
    };
    let waiting = context.broker.groups.join(&request.group_id, join);
    let joined = tokio::select! {
        joined = waiting => joined,
        // Nobody is there any more who could be told.
        () = context.connection.closing.cancelled() => {
            let error = kafka_protocol::ResponseError::RebalanceInProgress;
            Joined::failed(&Arc::from(""), error)
        }
    };
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let members = joined.members.iter().map(|(id, instance, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(instance.as_deref().map(text))
            .with_metadata(metadata.clone())
    });
    // Null is of version 7.
    let protocol = match joined.protocol.as_deref() {
        Some(protocol) => Some(text(protocol)),
        None if version < 7 => Some(StrBytes::new()),
        None => None,
    };
    context.reply(
        &JoinGroupResponse::default()
            .with_error_code(joined.error.map_or(0, |error| context.error(error)))
            .with_generation_id(joined.generation)
            .with_protocol_type(joined.protocol_type.as_deref().map(text))
            .with_protocol_name(protocol)
            .with_leader(text(&joined.leader))
            .with_skip_assignment(joined.skip_assignment)
            .with_member_id(text(&joined.member_id))
            .with_members(members.collect()),
    )
}
