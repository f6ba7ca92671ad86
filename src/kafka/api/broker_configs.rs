//! The configuration of a broker as clients are shown it, and what of it they may change.
//!
//! A value in force comes from `/config/brokers/<id>`, else from `/config/brokers/<default>`, else
//! from the broker's file, else it is Kafka's default.

use crate::broker::BrokerContext;
use crate::cluster::image::DEFAULT_ENTITY;
use crate::cluster::topic_config::{ConfigSource, TOPIC_CONFIG_KEYS, TopicConfigKey};
use crate::cluster::{ClusterImage, ConfigMap};
use crate::config::keys::{BROKER_KEYS, Key};

/// One key of a broker's configuration.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: &'static Key,
    /// The value in force; `None` if it has none, or is a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Every place that has a value, the one in force first. Values of secrets are `None`.
    pub synonyms: Vec<(Option<String>, ConfigSource)>,
}

/// Kafka's dynamic keys beside those of logs that change nothing here and may be set all the same.
const IDLE_DYNAMIC_KEYS: [&str; 4] = [
    "background.threads",
    "num.io.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// Every key of this broker.
pub fn of_broker(broker: &BrokerContext) -> impl Iterator<Item = Entry> {
    let image = broker.image.load();
    BROKER_KEYS.iter().map(move |key| entry(broker, &image, key))
}

/// What is set for all brokers, key by key.
pub fn of_all_brokers(image: &ClusterImage) -> Vec<Entry> {
    let set = image.broker_configs.get(DEFAULT_ENTITY);
    let set = set.iter().flat_map(|config| config.iter());
    set.filter_map(|(name, value)| {
        let key = find(name)?;
        let source = ConfigSource::DynamicDefaultBroker;
        let value = shown(key, value);
        Some(Entry { key, value: value.clone(), source, synonyms: vec![(value, source)] })
    })
    .collect()
}

fn entry(broker: &BrokerContext, image: &ClusterImage, key: &'static Key) -> Entry {
    let dynamic = |entity: &str| image.broker_configs.get(entity)?.get(key.name).cloned();
    let places = [
        (dynamic(&broker.id.to_string()), ConfigSource::DynamicBroker),
        (dynamic(DEFAULT_ENTITY), ConfigSource::DynamicDefaultBroker),
        (in_file(broker, key), ConfigSource::StaticBroker),
        (key.default.map(str::to_owned), ConfigSource::Default),
    ];
    let synonyms: Vec<_> = places
        .into_iter()
        .filter_map(|(value, source)| Some((shown(key, &value?), source)))
        .collect();
    let (value, source) = synonyms.first().cloned().unwrap_or((None, ConfigSource::Default));
    Entry { key, value, source, synonyms }
}

/// The value of the broker's file, or what the broker has made of it.
fn in_file(broker: &BrokerContext, key: &Key) -> Option<String> {
    match key.name {
        "broker.id" => Some(broker.id.to_string()),
        name => broker.config.given.get(name).cloned(),
    }
}

fn shown(key: &Key, value: &str) -> Option<String> {
    (!key.is_secret()).then(|| value.to_owned())
}

fn find(name: &str) -> Option<&'static Key> {
    let index = BROKER_KEYS.binary_search_by(|key| key.name.cmp(name)).ok()?;
    BROKER_KEYS.get(index)
}

/// Whether a client may change the key while the broker runs.
pub fn is_dynamic(name: &str) -> bool {
    IDLE_DYNAMIC_KEYS.contains(&name) || topic_key(name).is_some()
}

/// Whether the key's values are lists.
pub fn is_list(name: &str) -> Option<bool> {
    find(name).map(|key| key.kind == crate::config::keys::Kind::List)
}

/// The topic key of the same meaning, for keys that are defaults of topics.
fn topic_key(name: &str) -> Option<&'static TopicConfigKey> {
    TOPIC_CONFIG_KEYS
        .iter()
        .find(|key| key.synonym == Some(name) && key.name != "message.format.version")
}

/// Checks what is to be the dynamic configuration of a broker, or of all of them.
///
/// # Errors
/// Why it can't be, in one line.
pub fn check(config: &ConfigMap) -> Result<(), String> {
    let fixed: Vec<&str> =
        config.keys().map(String::as_str).filter(|name| !is_dynamic(name)).collect();
    if !fixed.is_empty() {
        return Err(format!("Cannot update these configs dynamically: Set({})", fixed.join(", ")));
    }
    for (name, value) in config {
        if let Some(key) = topic_key(name) {
            key.check(value).map_err(|message| message.replace(key.name, name))?;
        } else if let Some(Err(expected)) = find(name).map(|key| key.check(value)) {
            return Err(format!(
                "Invalid value {value} for configuration {name}: expected {expected}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> ConfigMap {
        ConfigMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn defaults_of_topics_are_dynamic_and_checked() {
        assert_eq!(check(&one("log.retention.ms", "1000")), Ok(()));
        assert_eq!(check(&one("message.max.bytes", "9000")), Ok(()));
        assert_eq!(check(&one("num.io.threads", "4")), Ok(()));
        let wrong = check(&one("log.retention.ms", "soon")).unwrap_err();
        assert_eq!(
            wrong,
            "Invalid value soon for configuration log.retention.ms: Not a number of type LONG"
        );
    }

    #[test]
    fn what_is_fixed_or_protects_is_refused() {
        for name in ["broker.id", "listeners", "ssl.keystore.location", "max.connections", "none"] {
            assert!(check(&one(name, "1")).unwrap_err().contains("dynamically"), "{name}");
        }
    }

    #[test]
    fn every_default_of_topics_is_a_key_of_brokers() {
        for key in TOPIC_CONFIG_KEYS {
            if let Some(synonym) = key.synonym {
                assert!(find(synonym).is_some(), "{synonym}");
            }
        }
    }
}
