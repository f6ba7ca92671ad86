//! `ListGroups`: the groups that this broker coordinates.
//!
//! Versions: 1 has a throttle time; 3 is flexible; 4 filters by state (KIP-518); 5 by type (KIP-848).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{ApiKey, GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{ApiRegistration, HandlerResult, RequestContext};

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::ListGroups, "ListGroups", 0, 5);

/// The only type of group.
const CLASSIC: &str = "classic";

/// Answers from memory.
///
/// # Errors
/// In the answer: `COORDINATOR_LOAD_IN_PROGRESS` with the groups that are loaded.
pub async fn handle(context: &RequestContext<'_>, request: ListGroupsRequest) -> HandlerResult {
    let among = |filter: &[StrBytes], name: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let mut groups = Vec::new();
    let loading = context.broker.groups.look_at_all(|entry| {
        let group = &entry.group;
        let state = group.state().name();
        if !among(&request.states_filter, state) || !among(&request.types_filter, CLASSIC) {
            return;
        }
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        groups.push(
            ListedGroup::default()
                .with_group_id(GroupId(text(&group.id)))
                .with_protocol_type(text(group.protocol_type().map_or("", AsRef::as_ref)))
                .with_group_state(StrBytes::from_static_str(state))
                .with_group_type(StrBytes::from_static_str(CLASSIC)),
        );
    });
    let error = if loading { context.error(ResponseError::CoordinatorLoadInProgress) } else { 0 };
    context.reply(&ListGroupsResponse::default().with_error_code(error).with_groups(groups))
}
