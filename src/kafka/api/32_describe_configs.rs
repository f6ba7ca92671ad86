//! `DescribeConfigs`: the configuration of topics and of this broker, each value with its source.
//!
//! Versions: 1 has synonyms and sources; 3 has types and documentation (of which none is kept
//! here); 4 is flexible. The configuration of a broker must be asked for at that broker.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{ApiKey, DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::admin_result::{self, Refusal};
use super::config_resource::{self, kind};
use super::{ApiRegistration, HandlerResult, RequestContext, broker_configs, topic_configs};
use crate::cluster::topic_config::ConfigSource;
use crate::config::keys::Kind;

/// The versions of this API.
pub const API: ApiRegistration =
    ApiRegistration::new(ApiKey::DescribeConfigs, "DescribeConfigs", 1, 4);

/// Answers each resource with the keys asked for, or with all.
///
/// # Errors
/// For each resource: `INVALID_TOPIC_EXCEPTION`, `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_REQUEST` for
/// another broker. `INVALID_REQUEST` for all if one is of a type that there is not.
pub async fn handle(
    context: &RequestContext<'_>,
    request: DescribeConfigsRequest,
) -> HandlerResult {
    let known = [kind::TOPIC, kind::BROKER, kind::BROKER_LOGGER, kind::CLIENT_METRICS];
    let unknown =
        request.resources.iter().find(|resource| !known.contains(&resource.resource_type));
    let refused = unknown.map(|resource| {
        let message = format!(
            "Unexpected resource type UNKNOWN for resource {}",
            resource.resource_name.as_str()
        );
        Refusal::new(ResponseError::InvalidRequest, message)
    });
    let results = request.resources.iter().map(|resource| {
        let described = match &refused {
            Some(refusal) => Err(refusal.clone()),
            None => describe(context, resource, request.include_synonyms),
        };
        let (configs, outcome) = match described {
            Ok(configs) => (configs, Ok(())),
            Err(refusal) => (Vec::new(), Err(refusal)),
        };
        let (error, message) = admin_result::fields(context, outcome);
        DescribeConfigsResult::default()
            .with_error_code(error)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_configs(configs)
    });
    let results = results.collect();
    context.reply(&DescribeConfigsResponse::default().with_results(results))
}

fn describe(
    context: &RequestContext<'_>,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let invalid = |message: String| Err(Refusal::new(ResponseError::InvalidRequest, message));
    let name = resource.resource_name.as_str();
    let wanted = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
    let is_wanted = |key: &str| wanted.is_none_or(|keys| keys.iter().any(|k| k.as_str() == key));
    match resource.resource_type {
        kind::TOPIC => {
            config_resource::known_topic(context, name)?;
            let own = config_resource::Resource::Topic(name.to_owned()).config(context);
            let entries = topic_configs::of(context.broker, &own);
            Ok(entries
                .filter(|entry| is_wanted(entry.key.name))
                .map(|entry| of_topic(entry, synonyms))
                .collect())
        }
        kind::BROKER if name.is_empty() => {
            let entries = broker_configs::of_all_brokers(&context.broker.image.load());
            let entries = entries.into_iter().filter(|entry| is_wanted(entry.key.name));
            Ok(entries.map(|entry| of_broker(entry, synonyms)).collect())
        }
        kind::BROKER => match name.parse::<i32>() {
            Ok(id) if id == context.broker.id => {
                let entries = broker_configs::of_broker(context.broker);
                let entries = entries.filter(|entry| is_wanted(entry.key.name));
                Ok(entries.map(|entry| of_broker(entry, synonyms)).collect())
            }
            Ok(_) => invalid(format!(
                "Unexpected broker id, expected {} or empty string, but received {name}",
                context.broker.id
            )),
            Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
        },
        kind::CLIENT_METRICS if !name.is_empty() => Ok(Vec::new()),
        kind::CLIENT_METRICS => {
            invalid("Client metrics subscription name must not be empty".to_owned())
        }
        _ => invalid("The log levels of a broker can't be asked for".to_owned()),
    }
}

fn synonym(
    name: &'static str,
    value: Option<String>,
    source: ConfigSource,
) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(value.map(StrBytes::from_string))
        .with_source(source as i8)
}

fn of_topic(entry: topic_configs::Entry, synonyms: bool) -> DescribeConfigsResourceResult {
    let others = entry.synonyms.into_iter().filter(|_| synonyms);
    DescribeConfigsResourceResult::default()
        .with_documentation(None)
        .with_name(StrBytes::from_static_str(entry.key.name))
        .with_value(Some(StrBytes::from_string(entry.value)))
        .with_config_source(entry.source as i8)
        .with_config_type(entry.key.kind as i8)
        .with_synonyms(
            others.map(|other| synonym(other.name, Some(other.value), other.source)).collect(),
        )
}

fn of_broker(entry: broker_configs::Entry, synonyms: bool) -> DescribeConfigsResourceResult {
    let key = entry.key;
    let others = entry.synonyms.into_iter().filter(|_| synonyms);
    DescribeConfigsResourceResult::default()
        .with_documentation(None)
        .with_name(StrBytes::from_static_str(key.name))
        .with_value(entry.value.map(StrBytes::from_string))
        .with_read_only(!broker_configs::is_dynamic(key.name))
        .with_is_sensitive(key.is_secret())
        .with_config_source(entry.source as i8)
        .with_config_type(type_number(key.kind))
        .with_synonyms(others.map(|(value, source)| synonym(key.name, value, source)).collect())
}

/// Kafka's numbers of the types of values (`DescribeConfigsResponse.ConfigType`).
fn type_number(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}
