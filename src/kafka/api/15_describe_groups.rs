//! `DescribeGroups`: what groups are doing, and who is in them.
//!
//! Versions: 1 has a throttle time; 3 authorised operations (KIP-430); 4 static members; 5 is
//! flexible; 6 has an error for a group that does not exist (KIP-1043).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{ApiKey, DescribeGroupsRequest, DescribeGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::operations::{self, NOT_ASKED};
use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::broker::groups::group::GroupState;
use crate::broker::groups::shard::Entry;

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::DescribeGroups, "DescribeGroups", 0, 6);

/// The first version that says that a group does not exist.
const NOT_FOUND_VERSION: i16 = 6;

/// Answers from memory.
///
/// # Errors
/// In the answer, of each group.
pub async fn handle(context: &RequestContext<'_>, request: DescribeGroupsRequest) -> HandlerResult {
    let asked = request.include_authorized_operations;
    let groups = request.groups.into_iter().map(|id| {
        let described = match context.broker.groups.look(&id, |entry| entry.map(describe)) {
            Ok(Some(group)) => group,
            Ok(None) => nobody(context, &id),
            Err(error) => DescribedGroup::default().with_error_code(context.error(error)),
        };
        let allowed = asked && described.error_code == 0;
        described.with_group_id(id).with_authorized_operations(if allowed {
            operations::GROUP
        } else {
            NOT_ASKED
        })
    });
    let groups = groups.collect();
    context.reply(&DescribeGroupsResponse::default().with_groups(groups))
}

/// A group that does not exist is dead.
fn nobody(context: &RequestContext<'_>, id: &str) -> DescribedGroup {
    let dead = DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(GroupState::Dead.name()));
    if context.version < NOT_FOUND_VERSION {
        return dead;
    }
    let message = format!("Group {id} not found.");
    dead.with_error_code(context.error(ResponseError::GroupIdNotFound))
        .with_error_message(Some(StrBytes::from_string(message)))
}

fn describe(entry: &Entry) -> DescribedGroup {
    let group = &entry.group;
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    // What members said and were given is told of a group that stands.
    let stable = group.state() == GroupState::Stable;
    let protocol = group.protocol().map_or("", AsRef::as_ref);
    let members = group.members().iter().map(|member| {
        let described = DescribedGroupMember::default()
            .with_member_id(text(&member.id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host));
        if stable {
            described
                .with_member_metadata(member.metadata(protocol))
                .with_member_assignment(member.assignment.clone())
        } else {
            described
        }
    });
    DescribedGroup::default()
        .with_group_state(text(group.state().name()))
        .with_protocol_type(text(group.protocol_type().map_or("", AsRef::as_ref)))
        .with_protocol_data(text(if stable { protocol } else { "" }))
        .with_members(members.collect())
}
