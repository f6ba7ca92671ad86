//! The configuration of a topic as clients are shown it: every key with its value and its source.

use crate::broker::BrokerContext;
use crate::cluster::ConfigMap;
use crate::cluster::topic_config::{self, ConfigSource, ConfigValue, TopicConfigKey};

/// One key of a topic's configuration.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: &'static TopicConfigKey,
    /// The value in force.
    pub value: String,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Every value that the key has somewhere, the one in force first.
    pub synonyms: Vec<ConfigValue>,
}

/// Every key, for a topic with this configuration of its own.
pub fn of(broker: &BrokerContext, own: &ConfigMap) -> impl Iterator<Item = Entry> {
    let image = broker.image.load();
    topic_config::TOPIC_CONFIG_KEYS.iter().map(move |key| {
        let synonyms =
            topic_config::values(key, own, &image, broker.id, &broker.config.topic_defaults);
        let (value, source) = match synonyms.first() {
            Some(first) => (first.value.clone(), first.source),
            None => (key.default.to_owned(), ConfigSource::Default),
        };
        Entry { key, value, source, synonyms }
    })
}
