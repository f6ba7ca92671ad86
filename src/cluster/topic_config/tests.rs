//! Tests of the key table, the validation and the layers.

use std::sync::Arc;

use super::*;
use crate::cluster::image::DEFAULT_ENTITY;

fn map(entries: &[(&str, &str)]) -> ConfigMap {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_table_is_sorted_and_its_defaults_are_valid() {
    assert!(TOPIC_CONFIG_KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
    for key in TOPIC_CONFIG_KEYS {
        assert_eq!(key.check(key.default), Ok(()), "{}", key.name);
        assert_eq!(TopicConfigKey::find(key.name), Some(key));
    }
}

#[test]
fn validation_speaks_as_kafka_does() {
    let refuse = |key: &str, value: &str| validate(&map(&[(key, value)])).unwrap_err();
    assert_eq!(refuse("retention.msx", "1"), "Unknown topic config name: retention.msx");
    assert_eq!(
        refuse("retention.ms", "soon"),
        "Invalid value soon for configuration retention.ms: Not a number of type LONG"
    );
    assert_eq!(
        refuse("retention.ms", "-2"),
        "Invalid value -2 for configuration retention.ms: Value must be at least -1"
    );
    assert_eq!(
        refuse("segment.bytes", "2147483648"),
        "Invalid value 2147483648 for configuration segment.bytes: Not a number of type INT"
    );
    assert_eq!(
        refuse("preallocate", "yes"),
        "Invalid value yes for configuration preallocate: Expected value to be either true or false"
    );
    assert_eq!(
        refuse("message.timestamp.type", "Now"),
        "Invalid value Now for configuration message.timestamp.type: String must be one of: \
         CreateTime, LogAppendTime"
    );
    assert!(refuse("cleanup.policy", "delete, squash").contains("compact, delete"));
    assert!(refuse("min.cleanable.dirty.ratio", "1.5").contains("no more than 1"));
    assert_eq!(validate(&map(&[("cleanup.policy", "delete, compact")])), Ok(()));
    assert_eq!(validate(&map(&[("cleanup.policy", "delete"), ("retention.ms", " 5 ")])), Ok(()));
}

#[test]
fn the_nearest_layer_wins() {
    let key = TopicConfigKey::find("retention.ms").unwrap();
    let image = ClusterImage {
        broker_configs: Arc::new(
            [
                ("7".into(), Arc::new(map(&[("log.retention.ms", "20")]))),
                (DEFAULT_ENTITY.into(), Arc::new(map(&[("log.retention.ms", "30")]))),
            ]
            .into(),
        ),
        ..ClusterImage::default()
    };
    let topic = map(&[("retention.ms", "10")]);
    let defaults = map(&[("retention.ms", "40")]);
    let found: Vec<_> = values(key, &topic, &image, 7, &defaults)
        .into_iter()
        .map(|value| (value.name, value.value, value.source as i8))
        .collect();
    let expected = [
        ("retention.ms", "10", 1),
        ("log.retention.ms", "20", 2),
        ("log.retention.ms", "30", 3),
        ("log.retention.ms", "40", 4),
        ("log.retention.ms", "604800000", 5),
    ]
    .map(|(name, value, source)| (name, value.to_owned(), source));
    assert_eq!(found, expected);
    let none = ConfigMap::new();
    let retention = |topic, image, broker, defaults| {
        TopicConfig::resolve(topic, image, broker, defaults).long("retention.ms")
    };
    assert_eq!(retention(&topic, &image, 7, &defaults), 10);
    assert_eq!(retention(&none, &image, 7, &defaults), 20);
    assert_eq!(retention(&none, &image, 8, &defaults), 30);
    assert_eq!(retention(&none, &ClusterImage::default(), 8, &defaults), 40);
    assert_eq!(TopicConfig::default().long("retention.ms"), 604_800_000);
}

#[test]
fn a_foreign_value_that_kafka_would_refuse_counts_as_unset() {
    let topic = map(&[("segment.bytes", "many"), ("cleanup.policy", "compact")]);
    let config = TopicConfig::resolve(&topic, &ClusterImage::default(), 0, &ConfigMap::new());
    assert_eq!(config.long("segment.bytes"), 1_073_741_824);
    assert_eq!(config.text("cleanup.policy"), "compact");
}
