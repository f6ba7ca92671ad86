//! `SyncGroup`: a member asks for its assignment; the leader brings those of all.
//!
//! Versions: 1 has a throttle time; 3 has static members; 4 is flexible; 5 names protocol type and
//! protocol, which are checked (KIP-559).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::broker::groups::group::Synced;
use crate::broker::groups::rebalance::Sync;

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::SyncGroup, "SyncGroup", 0, 5);

/// Answers once the leader has assigned.
///
/// # Errors
/// In the answer, as Kafka's group coordinator gives them; `INCONSISTENT_GROUP_PROTOCOL` for version
/// 5 without its protocol.
pub async fn handle(context: &RequestContext<'_>, request: SyncGroupRequest) -> HandlerResult {
    let unnamed = request.protocol_type.is_none() || request.protocol_name.is_none();
    let synced = if context.version >= 5 && unnamed {
        Synced::failed(ResponseError::InconsistentGroupProtocol)
    } else {
        let assignments = request
            .assignments
            .into_iter()
            .map(|one| (Arc::from(&*one.member_id), one.assignment))
            .collect();
        let sync = Sync {
            member_id: Arc::from(&*request.member_id),
            instance_id: request.group_instance_id.as_deref().map(Arc::from),
            generation: request.generation_id,
            protocol_type: request.protocol_type.as_deref().map(Arc::from),
            protocol: request.protocol_name.as_deref().map(Arc::from),
            assignments,
        };
        tokio::select! {
            synced = context.broker.groups.sync(&request.group_id, sync) => synced,
            // Nobody is there any more who could be told.
            () = context.connection.closing.cancelled() => {
                Synced::failed(ResponseError::RebalanceInProgress)
            }
        }
    };
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    context.reply(
        &SyncGroupResponse::default()
            .with_error_code(synced.error.map_or(0, |error| context.error(error)))
            .with_protocol_type(synced.protocol_type.as_deref().map(text))
            .with_protocol_name(synced.protocol.as_deref().map(text))
            .with_assignment(synced.assignment),
    )
}
