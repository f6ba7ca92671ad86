//! The resources whose configuration clients change: topics, and brokers.

use std::collections::HashSet;

use kafka_protocol::ResponseError;

use super::admin_result::Refusal;
use super::{RequestContext, broker_configs};
use crate::cluster::image::DEFAULT_ENTITY;
use crate::cluster::topic_config::{self, ConfigType, TopicConfigKey};
use crate::cluster::{ConfigMap, topic_name};

/// Kafka's numbers of the types of resources (`ConfigResource.Type`).
pub mod kind {
    /// A topic.
    pub const TOPIC: i8 = 2;
    /// A broker, or all of them.
    pub const BROKER: i8 = 4;
    /// The log levels of a broker.
    pub const BROKER_LOGGER: i8 = 8;
    /// Subscriptions to the metrics of clients.
    pub const CLIENT_METRICS: i8 = 16;
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// This broker.
    Broker(i32),
    /// All brokers.
    AllBrokers,
}

impl Resource {
    /// The resource of this type and name.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for another broker, and for a type whose configuration can't be changed.
    pub fn new(context: &RequestContext<'_>, kind: i8, name: &str) -> Result<Self, Refusal> {
        let invalid = |message: String| Err(Refusal::new(ResponseError::InvalidRequest, message));
        match (kind, name) {
            (kind::TOPIC, "") => invalid("Default topic resources are not allowed.".to_owned()),
            (kind::TOPIC, name) => Ok(Resource::Topic(name.to_owned())),
            (kind::BROKER, "") => Ok(Resource::AllBrokers),
            (kind::BROKER, name) => match name.parse::<i32>() {
                Ok(id) if id == context.broker.id => Ok(Resource::Broker(id)),
                Ok(_) => invalid(format!(
                    "Unexpected broker id, expected {}, but received {name}",
                    context.broker.id
                )),
                Err(_) => invalid(format!("Node id must be an integer, but it is: {name}")),
            },
            (kind, _) => invalid(format!("Unknown resource type {kind}")),
        }
    }

    /// What is configured for it, without any default.
    pub fn config(&self, context: &RequestContext<'_>) -> ConfigMap {
        let image = context.broker.image.load();
        let config = match self {
            Resource::Topic(name) => image.topic_configs.get(name.as_str()),
            Resource::Broker(id) => image.broker_configs.get(id.to_string().as_str()),
            Resource::AllBrokers => image.broker_configs.get(DEFAULT_ENTITY),
        };
        config.map(|config| (**config).clone()).unwrap_or_default()
    }

    /// Whether the values of a key are lists.
    ///
    /// # Errors
    /// `INVALID_CONFIG` for a key that there is not.
    pub fn is_list(&self, key: &str) -> Result<bool, Refusal> {
        let list = match self {
            Resource::Topic(_) => TopicConfigKey::find(key).map(|key| key.kind == ConfigType::List),
            Resource::Broker(_) | Resource::AllBrokers => broker_configs::is_list(key),
        };
        list.ok_or_else(|| {
            Refusal::new(ResponseError::InvalidConfig, format!("Unknown config name: {key}"))
        })
    }

    /// Makes `config` its whole configuration, or only checks whether it could be.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`; `INVALID_CONFIG` for a topic and `INVALID_REQUEST` for a broker
    /// whose configuration this can't be; `REQUEST_TIMED_OUT`.
    pub async fn replace(
        &self,
        context: &RequestContext<'_>,
        config: ConfigMap,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        let admin = &context.broker.admin;
        match self {
            Resource::Topic(name) => {
                if context.broker.image.load().topic(name).is_none() {
                    return Err(Refusal::new(
                        ResponseError::UnknownTopicOrPartition,
                        format!("The topic '{name}' does not exist."),
                    ));
                }
                topic_config::validate(&config).map_err(|message| wrong_value(name, &message))?;
                if !validate_only {
                    admin.set_topic_config(name, config).await?;
                }
            }
            Resource::Broker(_) | Resource::AllBrokers => {
                check_broker(&config)?;
                if !validate_only {
                    let id = if let Resource::Broker(id) = self { Some(*id) } else { None };
                    admin.set_broker_config(id, config).await?;
                }
            }
        }
        Ok(())
    }
}

fn wrong_value(topic: &str, message: &str) -> Refusal {
    // Kafka names the resource before a value that is wrong, but not before a key that is.
    let message = if message.starts_with("Invalid value") {
        format!(
            "Invalid config value for resource ConfigResource(type=TOPIC, name='{topic}'): \
             {message}"
        )
    } else {
        message.to_owned()
    };
    Refusal::new(ResponseError::InvalidConfig, message)
}

fn check_broker(config: &ConfigMap) -> Result<(), Refusal> {
    broker_configs::check(config)
        .map_err(|message| Refusal::new(ResponseError::InvalidRequest, message))
}

/// Checks the keys of one resource in a request: none twice, none with a null where it needs a
/// value. Each is a key and whether its value is missing.
///
/// # Errors
/// `INVALID_REQUEST`.
pub fn check_keys<'a>(keys: impl Iterator<Item = (&'a str, bool)>) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    let mut missing = Vec::new();
    for (key, is_missing) in keys {
        if !seen.insert(key) {
            let message = "Error due to duplicate config keys";
            return Err(Refusal::new(ResponseError::InvalidRequest, message));
        }
        if is_missing {
            missing.push(key);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("Null value not supported for : {}", missing.join(", "));
    Err(Refusal::new(ResponseError::InvalidRequest, message))
}

/// Which of the resources of a request stand there more than once: all of these are refused.
pub fn repeated<'a>(resources: impl Iterator<Item = (i8, &'a str)>) -> HashSet<(i8, &'a str)> {
    let mut seen = HashSet::new();
    resources.filter(|resource| !seen.insert(*resource)).collect()
}

/// The refusal of a resource that stands in a request more than once.
pub fn refuse_repeated() -> Refusal {
    let message = "Each resource must appear at most once.";
    Refusal::new(ResponseError::InvalidRequest, message)
}

/// The topic of this name, if clients know it.
///
/// # Errors
/// `INVALID_TOPIC_EXCEPTION`, `UNKNOWN_TOPIC_OR_PARTITION`.
pub fn known_topic(context: &RequestContext<'_>, name: &str) -> Result<(), Refusal> {
    topic_name::check(name)
        .map_err(|message| Refusal::new(ResponseError::InvalidTopicException, message))?;
    match context.broker.image.load().topic(name) {
        Some(_) => Ok(()),
        None => Err(Refusal::bare(ResponseError::UnknownTopicOrPartition)),
    }
}
