//! The topic configuration keys of Kafka 3.9: types, defaults, validation, and the values in force.
//!
//! Facts from Kafka's `LogConfig` and `ServerTopicConfigSynonyms`. A value in force comes from the
//! topic, else from this broker's dynamic configuration, else from that of all brokers, else from
//! the broker's file, else it is Kafka's default.

use super::image::{ClusterImage, ConfigMap};

mod keys;
#[cfg(test)]
mod tests;

pub use keys::{TOPIC_CONFIG_KEYS, TopicConfigKey};

/// The type of a configuration value, with the number that `DescribeConfigs` has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean = 1,
    /// Any text.
    String = 2,
    /// A 32-bit integer.
    Int = 3,
    /// A 64-bit integer.
    Long = 5,
    /// A floating-point number.
    Double = 6,
    /// Values with commas between them.
    List = 7,
}

/// What a value must be beyond its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allowed {
    /// Anything of the type.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number from the first to the second.
    Between(f64, f64),
    /// One of these words; each element of a list must be one.
    OneOf(&'static [&'static str]),
}

/// Where a value in force comes from, with the number that `DescribeConfigs` has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// `/config/topics/<topic>`.
    Topic = 1,
    /// `/config/brokers/<id>`.
    DynamicBroker = 2,
    /// `/config/brokers/<default>`.
    DynamicDefaultBroker = 3,
    /// The broker's file.
    StaticBroker = 4,
    /// Kafka's default.
    Default = 5,
}

/// One value that a key has somewhere, under the name that it has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigValue {
    /// The key's name at that place: the topic key, or the broker's synonym of it.
    pub name: &'static str,
    /// The value.
    pub value: String,
    /// The place.
    pub source: ConfigSource,
}

/// Every value that a topic key has, the one in force first: what `DescribeConfigs` calls synonyms.
///
/// `topic` is the topic's own configuration, `defaults` the broker's file by topic key
/// ([`crate::config::BrokerConfig::topic_defaults`]).
pub fn values(
    key: &TopicConfigKey,
    topic: &ConfigMap,
    image: &ClusterImage,
    broker: i32,
    defaults: &ConfigMap,
) -> Vec<ConfigValue> {
    let mut found = Vec::new();
    let mut push = |name: &'static str, value: Option<&str>, source: ConfigSource| {
        if let Some(value) = value {
            found.push(ConfigValue { name, value: value.to_owned(), source });
        }
    };
    push(key.name, topic.get(key.name).map(String::as_str), ConfigSource::Topic);
    let broker_key = key.synonym.unwrap_or(key.name);
    if key.synonym.is_some() {
        let dynamic =
            |entity: &str| image.broker_configs.get(entity)?.get(broker_key).map(String::as_str);
        push(broker_key, dynamic(&broker.to_string()), ConfigSource::DynamicBroker);
        push(broker_key, dynamic(super::image::DEFAULT_ENTITY), ConfigSource::DynamicDefaultBroker);
    }
    push(broker_key, defaults.get(key.name).map(String::as_str), ConfigSource::StaticBroker);
    push(broker_key, Some(key.default), ConfigSource::Default);
    found
}

/// Checks a topic's own configuration as Kafka does before it is written.
///
/// # Errors
/// The text that Kafka sends with `INVALID_CONFIG`: an unknown key, a value of the wrong type or
/// out of bounds, bounds that cross.
pub fn validate(config: &ConfigMap) -> Result<(), String> {
    for (name, value) in config {
        let key = keys::find(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
        key.check(value)?;
    }
    let lag = |name: &str| config.get(name).and_then(|value| value.trim().parse::<i64>().ok());
    if let (Some(min), Some(max)) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"))
        && min > max
    {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms \
             ({max})"
        ));
    }
    Ok(())
}

/// The elements of a list value.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// The values in force for one topic on one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    values: ConfigMap,
}

impl TopicConfig {
    /// The values in force for a topic with this own configuration. A value of another tool's that
    /// Kafka would refuse counts as not set.
    pub fn resolve(
        topic: &ConfigMap,
        image: &ClusterImage,
        broker: i32,
        defaults: &ConfigMap,
    ) -> TopicConfig {
        let mut config = TopicConfig { values: ConfigMap::new() };
        for key in TOPIC_CONFIG_KEYS {
            let value = values(key, topic, image, broker, defaults)
                .into_iter()
                .map(|value| value.value)
                .find(|value| key.check(value).is_ok())
                .unwrap_or_else(|| key.default.to_owned());
            config.values.insert(key.name.to_owned(), value);
        }
        // The deprecated difference narrows each bound that is not set itself (KIP-937).
        let difference = config.text("message.timestamp.difference.max.ms").to_owned();
        for bound in ["message.timestamp.before.max.ms", "message.timestamp.after.max.ms"] {
            if config.long(bound) == i64::MAX {
                config.values.insert(bound.to_owned(), difference.clone());
            }
        }
        config
    }

    /// Every topic configuration key with its value.
    pub fn values(&self) -> &ConfigMap {
        &self.values
    }

    /// The value of a key as text; empty for a key that Kafka does not have.
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |value| value.trim())
    }

    /// The value of a key of type LONG or INT; 0 for any other.
    pub fn long(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    /// The value of a key of type BOOLEAN; false for any other.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }
}

impl Default for TopicConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        TopicConfig::resolve(
            &ConfigMap::new(),
            &ClusterImage::default(),
            super::image::NO_LEADER,
            &ConfigMap::new(),
        )
    }
}
