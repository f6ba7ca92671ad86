//! `DeleteGroups`: groups that nobody is in go, with their offsets.
//!
//! Versions: 2 is flexible.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{ApiKey, DeleteGroupsRequest, DeleteGroupsResponse};

use super::{ApiRegistration, HandlerResult, RequestContext};

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::DeleteGroups, "DeleteGroups", 0, 2);

/// Deletes each by itself.
///
/// # Errors
/// In the answer, of each group: `NON_EMPTY_GROUP`, `GROUP_ID_NOT_FOUND`, `NOT_COORDINATOR`.
pub async fn handle(context: &RequestContext<'_>, request: DeleteGroupsRequest) -> HandlerResult {
    let results = request.groups_names.into_iter().map(|id| {
        let deleted = context.broker.groups.delete(&id);
        DeletableGroupResult::default()
            .with_error_code(deleted.err().map_or(0, |error| context.error(error)))
            .with_group_id(id)
    });
    let results = results.collect();
    context.reply(&DeleteGroupsResponse::default().with_results(results))
}
