//! `AlterConfigs`: replaces the whole configuration of topics and brokers.
//!
//! Versions: 2 is flexible. A key that is not in the request is lost, which is why clients have
//! `IncrementalAlterConfigs` instead. The configuration of a broker is changed at that broker.

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse, ApiKey};

use super::admin_result::{self, Refusal};
use super::config_resource::{self, Resource};
use super::{ApiRegistration, HandlerResult, RequestContext};
use crate::cluster::ConfigMap;

/// The versions of this API.
pub const API: ApiRegistration = ApiRegistration::new(ApiKey::AlterConfigs, "AlterConfigs", 0, 2);

/// Replaces one configuration after the other, or only checks them.
///
/// # Errors
/// For each resource: `INVALID_REQUEST` if it or one of its keys stands there twice, or a value is
/// null; what [`Resource::new`] and [`Resource::replace`] refuse.
pub async fn handle(context: &RequestContext<'_>, request: AlterConfigsRequest) -> HandlerResult {
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
    context.reply(&AlterConfigsResponse::default().with_responses(responses))
}

async fn alter(
    context: &RequestContext<'_>,
    asked: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    let keys = asked.configs.iter().map(|config| (config.name.as_str(), config.value.is_none()));
    config_resource::check_keys(keys)?;
    let resource = Resource::new(context, asked.resource_type, &asked.resource_name)?;
    let config: ConfigMap = asked
        .configs
        .iter()
        .filter_map(|c| Some((c.name.as_str().to_owned(), c.value.as_ref()?.as_str().to_owned())))
        .collect();
    resource.replace(context, config, validate_only).await
}
