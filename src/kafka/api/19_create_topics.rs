//! `CreateTopics`: makes topics, at the controller.
//!
//! Versions: 2 has the throttle time; 4 lets the broker's defaults stand for partitions and
//! replicas; 5 is flexible and tells the configuration of what was made; 6 may be throttled by a
//! quota; 7 has topic ids.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{ApiKey, CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::admin_result::{self, Deadline, Refusal};
use super::topic_configs;
use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::cluster::admin::{TopicPlan, TopicRequest};
use crate::cluster::topic_name;

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::CreateTopics, "CreateTopics", 2, 7);

/// The log of a KRaft cluster's own records.
const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Makes the topics one after the other, then waits until they have leaders.
///
/// # Errors
/// For each topic: `NOT_CONTROLLER`; `INVALID_REQUEST` for a topic that stands there twice; what
/// [`crate::cluster::ClusterAdmin::plan_topic`] refuses; `REQUEST_TIMED_OUT`.
pub async fn handle(context: &RequestContext<'_>, request: CreateTopicsRequest) -> HandlerResult {
    let deadline = Deadline::new(request.timeout_ms);
    let controller = context.broker.is_controller();
    let mut named = BTreeMap::<&str, u32>::new();
    for topic in &request.topics {
        *named.entry(&topic.name).or_default() += 1;
    }

    let mut made: Vec<(usize, Made)> = Vec::new();
    let mut results = Vec::with_capacity(request.topics.len());
    for (index, topic) in request.topics.iter().enumerate() {
        let once = named.get(topic.name.as_str()) == Some(&1);
        let outcome = if !controller {
            Err(Refusal::bare(ResponseError::NotController))
        } else if let Err(refusal) = check(topic, once) {
            Err(refusal)
        } else {
            make(context, topic, request.validate_only, &made).await
        };
        results.push(result(topic, outcome.as_ref().err(), context));
        if let Ok(topic) = outcome {
            made.push((index, topic));
        }
    }
    for (index, Made { plan, id }) in &made {
        let partitions = plan.assignment.len();
        let served = if request.validate_only {
            Ok(())
        } else {
            deadline
                .wait(|left| admin_result::wait_for_leaders(context, &plan.name, partitions, left))
                .await
        };
        if let Some(slot) = results.get_mut(*index) {
            *slot = match served {
                Ok(()) => success(context, plan, *id),
                Err(refusal) => result(&request.topics[*index], Some(&refusal), context),
            };
        }
    }
    context.reply(&CreateTopicsResponse::default().with_topics(results))
}

struct Made {
    plan: TopicPlan,
    id: Uuid,
}

/// What can be said of a topic without looking at the cluster.
fn check(topic: &CreatableTopic, once: bool) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ResponseError::InvalidRequest, message));
    if topic.name.as_str() == CLUSTER_METADATA {
        return invalid("Creation of internal topic __cluster_metadata is prohibited.");
    }
    if !once {
        return invalid("Found multiple entries for this topic.");
    }
    Ok(())
}

async fn make(
    context: &RequestContext<'_>,
    topic: &CreatableTopic,
    validate_only: bool,
    made: &[(usize, Made)],
) -> Result<Made, Refusal> {
    let admin = &context.broker.admin;
    if context.broker.image.load().topic(&topic.name).is_some() {
        let message = format!("Topic '{}' already exists.", topic.name.as_str());
        return Err(Refusal::new(ResponseError::TopicAlreadyExists, message));
    }
    let nulls: Vec<&str> = topic
        .configs
        .iter()
        .filter(|config| config.value.is_none())
        .map(|config| config.name.as_str())
        .collect();
    if !nulls.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(Refusal::new(ResponseError::InvalidConfig, message));
    }
    let plan = admin.plan_topic(wish(topic))?;
    // The image may not show yet what this very request has made.
    let earlier = made.iter().map(|(_, made)| made.plan.name.as_str());
    if let Some(other) = earlier.into_iter().find(|name| topic_name::collide(name, &plan.name)) {
        let message = format!("Topic '{}' collides with existing topics: {other}", plan.name);
        return Err(Refusal::new(ResponseError::InvalidTopicException, message));
    }
    let id = if validate_only { Uuid::nil() } else { admin.create_topic(&plan).await? };
    Ok(Made { plan, id })
}

fn wish(topic: &CreatableTopic) -> TopicRequest {
    let assignment = topic.assignments.iter().map(|assignment| {
        let brokers = assignment.broker_ids.iter().map(|id| id.0).collect();
        (assignment.partition_index, brokers)
    });
    let configs = topic.configs.iter().filter_map(|config| {
        Some((config.name.as_str().to_owned(), config.value.as_ref()?.as_str().to_owned()))
    });
    TopicRequest {
        name: topic.name.as_str().to_owned(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignment: (!topic.assignments.is_empty()).then(|| assignment.collect()),
        config: configs.collect(),
    }
}

fn result(
    topic: &CreatableTopic,
    refusal: Option<&Refusal>,
    context: &RequestContext<'_>,
) -> CreatableTopicResult {
    let (error, message) = admin_result::fields(context, refusal.cloned().map_or(Ok(()), Err));
    CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(error)
        .with_error_message(message)
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_configs(Some(Vec::new()))
}

fn success(context: &RequestContext<'_>, plan: &TopicPlan, id: Uuid) -> CreatableTopicResult {
    let replicas = plan.assignment.values().next().map_or(0, Vec::len);
    let configs = topic_configs::of(context.broker, &plan.config).map(|entry| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(entry.key.name))
            .with_value(Some(StrBytes::from_string(entry.value)))
            .with_config_source(entry.source as i8)
    });
    CreatableTopicResult::default()
        .with_name(kafka_protocol::messages::TopicName(StrBytes::from_string(plan.name.clone())))
        .with_topic_id(id)
        .with_error_message(None)
        .with_num_partitions(i32::try_from(plan.assignment.len()).unwrap_or(i32::MAX))
        .with_replication_factor(i16::try_from(replicas).unwrap_or(i16::MAX))
        .with_configs(Some(configs.collect()))
}
