//! `IncrementalAlterConfigs`: changes single keys of the configuration of topics and brokers.
//!
//! Versions: 1 is flexible. A key is set or deleted; a list is appended to or subtracted from
//! (KIP-339). The configuration of a broker is changed at that broker.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    ApiKey, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::admin_result::{self, Refusal};
use super::config_resource::{self, Resource};
use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::cluster::ConfigMap;
use crate::cluster::topic_config::TopicConfigKey;

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::IncrementalAlterConfigs, "IncrementalAlterConfigs", 0, 1);

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Changes one configuration after the other, or only checks the changes.
///
/// # Errors
/// For each resource: `INVALID_REQUEST` if it or one of its keys stands there twice, a value is
/// null, or an operation is unknown; `INVALID_CONFIG` for a list operation on no list; what
/// [`Resource::new`] and [`Resource::replace`] refuse.
pub async fn handle(
    context: &RequestContext<'_>,
    request: IncrementalAlterConfigsRequest,
) -> HandlerResult {
    let names = request.resources.iter().map(|r| (r.resource_type, r.resource_name.as_str()));
    let repeated = config_resource::repeated(names);
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let (kind, name) = (resource.resource_type, resource.resource_name.as_str());
        let outcome = if repeated.contains(&(kind, name)) {
            Err(config_resource::refuse_repeated())
        } else {
            alter(context, resource, request.validate_only).await
        };
        let (error, message) = admin_result::fields(context, outcome);
        responses.push(
            AlterConfigsResourceResponse::default()
                .with_error_code(error)
                .with_error_message(message)
                .with_resource_type(kind)
                .with_resource_name(resource.resource_name.clone()),
        );
    }
    context.reply(&IncrementalAlterConfigsResponse::default().with_responses(responses))
}

async fn alter(
    context: &RequestContext<'_>,
    asked: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    let keys = asked.configs.iter().map(|config| {
        (config.name.as_str(), config.config_operation != DELETE && config.value.is_none())
    });
    config_resource::check_keys(keys)?;
    let resource = Resource::new(context, asked.resource_type, &asked.resource_name)?;
    let mut config = resource.config(context);
    for change in &asked.configs {
        apply(&resource, &mut config, change)?;
    }
    resource.replace(context, config, validate_only).await
}

fn apply(
    resource: &Resource,
    config: &mut ConfigMap,
    change: &AlterableConfig,
) -> Result<(), Refusal> {
    let (name, value) = (change.name.as_str(), change.value.as_deref().unwrap_or_default());
    match change.config_operation {
        SET => {
            config.insert(name.to_owned(), value.to_owned());
        }
        DELETE => {
            config.remove(name);
        }
        operation @ (APPEND | SUBTRACT) => {
            if !resource.is_list(name)? {
                let verb = if operation == APPEND { "append" } else { "subtract" };
                let message = format!("Config value {verb} is not allowed for config key: {name}");
                return Err(Refusal::new(ResponseError::InvalidConfig, message));
            }
            let default = TopicConfigKey::find(name).map_or("", |key| key.default);
            let old = config.get(name).map_or(default, String::as_str);
            let new = if operation == APPEND { append(old, value) } else { subtract(old, value) };
            config.insert(name.to_owned(), new);
        }
        unknown => {
            let message = format!("Unknown operations type {unknown}");
            return Err(Refusal::new(ResponseError::InvalidRequest, message));
        }
    }
    Ok(())
}

/// Adds the elements that are not there yet.
fn append(old: &str, added: &str) -> String {
    let mut list: Vec<&str> = old.split(',').filter(|_| !old.is_empty()).collect();
    let had = list.len();
    for element in added.split(',') {
        if !list.iter().take(had).any(|old| *old == element) {
            list.push(element);
        }
    }
    list.join(",")
}

/// Takes elements away, each as often as it is named.
fn subtract(old: &str, removed: &str) -> String {
    let mut list: Vec<&str> = old.split(',').collect();
    for element in removed.split(',') {
        if let Some(index) = list.iter().position(|old| *old == element) {
            list.remove(index);
        }
    }
    list.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_and_shrink_as_kafkas_do() {
        assert_eq!(append("", "a"), "a");
        assert_eq!(append("delete", "delete"), "delete");
        assert_eq!(append("a,b", "b,c,d"), "a,b,c,d");
        assert_eq!(subtract("a,b,c", "b"), "a,c");
        assert_eq!(subtract("a", "a"), "");
        assert_eq!(subtract("a,b", "x"), "a,b");
    }
}
