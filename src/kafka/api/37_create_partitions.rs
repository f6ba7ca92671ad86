//! `CreatePartitions`: adds partitions to topics, at the controller.
//!
//! Versions: 2 is flexible; 1 and 3 only change how a client is throttled.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{ApiKey, CreatePartitionsRequest, CreatePartitionsResponse};

use super::admin_result::{self, Deadline, Refusal};
use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::cluster::admin::PartitionsRequest;

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::CreatePartitions, "CreatePartitions", 0, 3);

/// Adds the partitions, then waits until they have leaders. A topic that stands there twice is
/// answered once, with `INVALID_REQUEST`.
///
/// # Errors
/// For each topic: `NOT_CONTROLLER`; `INVALID_REQUEST`; what
/// [`crate::cluster::ClusterAdmin::plan_partitions`] refuses; `REQUEST_TIMED_OUT`.
pub async fn handle(
    context: &RequestContext<'_>,
    request: CreatePartitionsRequest,
) -> HandlerResult {
    let deadline = Deadline::new(request.timeout_ms);
    let mut named = BTreeMap::<&str, u32>::new();
    for topic in &request.topics {
        *named.entry(&topic.name).or_default() += 1;
    }
    let mut outcomes = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let outcome = match named.remove(topic.name.as_str()) {
            // Its first mention has answered for it.
            None => continue,
            Some(_) if !context.broker.is_controller() => {
                Err(Refusal::bare(ResponseError::NotController))
            }
            Some(1) => grow(context, topic, request.validate_only).await,
            Some(_) => {
                let message = "Duplicate topic in request.";
                Err(Refusal::new(ResponseError::InvalidRequest, message))
            }
        };
        outcomes.push((topic, outcome));
    }
    let mut results = Vec::with_capacity(outcomes.len());
    for (topic, outcome) in outcomes {
        let outcome = match outcome {
            Ok(()) if !request.validate_only => {
                let count = usize::try_from(topic.count).unwrap_or_default();
                let leaders =
                    |left| admin_result::wait_for_leaders(context, &topic.name, count, left);
                deadline.wait(leaders).await
            }
            outcome => outcome,
        };
        let (error, message) = admin_result::fields(context, outcome);
        results.push(
            CreatePartitionsTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(error)
                .with_error_message(message),
        );
    }
    context.reply(&CreatePartitionsResponse::default().with_results(results))
}

async fn grow(
    context: &RequestContext<'_>,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    let admin = &context.broker.admin;
    let assignment = topic.assignments.as_ref().map(|assignments| {
        let brokers = assignments.iter().map(|assignment| &assignment.broker_ids);
        brokers.map(|ids| ids.iter().map(|id| id.0).collect()).collect()
    });
    let plan = admin.plan_partitions(&PartitionsRequest {
        name: topic.name.as_str().to_owned(),
        count: topic.count,
        assignment,
    })?;
    if !validate_only {
        admin.create_partitions(&plan).await?;
    }
    Ok(())
}
