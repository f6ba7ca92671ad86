//! Configurations of topics and brokers, asked for and changed over a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod kafka_support;

use kafka_protocol::messages::alter_configs_request::{self, AlterConfigsResource};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_request::{
    self, AlterConfigsResource as IncrementalResource,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
};
use kafka_support::{Client, Server, text};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn describe(
    client: &mut Client,
    version: i16,
    kind: i8,
    name: &str,
    keys: Option<&[&str]>,
) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    let mut answer = client.ask(version, &request).await;
    assert_eq!(answer.results.len(), 1);
    answer.results.remove(0)
}

/// The value of one key and its source.
async fn value(client: &mut Client, kind: i8, name: &str, key: &str) -> Option<(String, i8)> {
    let found = describe(client, 4, kind, name, Some(&[key])).await;
    assert_eq!(found.error_code, 0, "{:?}", found.error_message);
    let config = found.configs.first()?;
    Some((config.value.as_deref().unwrap_or("null").to_owned(), config.config_source))
}

/// Makes changes `(key, operation, value)` to one resource.
async fn change(
    client: &mut Client,
    kind: i8,
    name: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> (i16, Option<String>) {
    let configs = changes.iter().map(|(key, operation, value)| {
        incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = IncrementalResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let told = client.ask(1, &request).await.responses.remove(0);
    assert_eq!((told.resource_type, told.resource_name.as_str()), (kind, name));
    (told.error_code, told.error_message.as_deref().map(str::to_owned))
}

#[tokio::test]
async fn a_topic_is_described_in_every_version() {
    let server = Server::with(|config| {
        config.topic_defaults.insert("segment.bytes".to_owned(), "2000000".to_owned());
    })
    .await;
    server.create(&[("t", 1)]).await;
    let mut client = server.client().await;
    change(&mut client, TOPIC, "t", &[("retention.ms", SET, Some("5000"))]).await;
    for version in 1..=4 {
        let found = describe(&mut client, version, TOPIC, "t", None).await;
        assert_eq!((found.error_code, found.configs.len() > 30), (0, true));
        let config = |name: &str| -> &DescribeConfigsResourceResult {
            found.configs.iter().find(|config| config.name.as_str() == name).unwrap()
        };
        let retention = config("retention.ms");
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5000"), 1));
        let synonyms: Vec<_> = retention
            .synonyms
            .iter()
            .map(|s| (s.name.as_str(), s.value.as_deref().unwrap(), s.source))
            .collect();
        let expected = [("retention.ms", "5000", 1), ("log.retention.ms", "604800000", 5)];
        assert_eq!(synonyms, expected);
        assert_eq!(config("segment.bytes").config_source, 4);
        assert_eq!(config("segment.bytes").value.as_deref(), Some("2000000"));
        assert_eq!(config("cleanup.policy").config_source, 5);
        assert!(!retention.read_only && !retention.is_sensitive);
        let types = ["retention.ms", "cleanup.policy", "preallocate", "segment.bytes"]
            .map(|name| config(name).config_type);
        assert_eq!(types, if version >= 3 { [5, 7, 1, 3] } else { [0; 4] });
    }
    let some = describe(&mut client, 4, TOPIC, "t", Some(&["retention.ms", "nope"])).await;
    assert_eq!(some.configs.len(), 1);
    let none: &[&str] = &[];
    assert!(describe(&mut client, 4, TOPIC, "t", Some(none)).await.configs.len() > 30);
    assert_eq!(describe(&mut client, 4, TOPIC, "nope", None).await.error_code, 3);
    assert_eq!(describe(&mut client, 4, TOPIC, "a b", None).await.error_code, 17);
    server.stop().await;
}

#[tokio::test]
async fn a_broker_is_described_at_that_broker() {
    let server = Server::with(|config| {
        config.given.insert("num.partitions".to_owned(), "7".to_owned());
        config.given.insert("ssl.key.password".to_owned(), "secret".to_owned());
    })
    .await;
    let mut client = server.client().await;
    let found = describe(&mut client, 4, BROKER, "3", None).await;
    let config = |name: &str| -> &DescribeConfigsResourceResult {
        found.configs.iter().find(|config| config.name.as_str() == name).unwrap()
    };
    assert_eq!(config("broker.id").value.as_deref(), Some("3"));
    assert_eq!(config("num.partitions").value.as_deref(), Some("7"));
    assert_eq!(config("num.partitions").config_source, 4);
    assert!(config("num.partitions").read_only && !config("log.retention.ms").read_only);
    let secret = config("ssl.key.password");
    assert_eq!((secret.is_sensitive, &secret.value), (true, &None));
    assert!(secret.synonyms.iter().all(|synonym| synonym.value.is_none()));
    assert_eq!(config("auto.create.topics.enable").config_source, 5);
    assert!(describe(&mut client, 4, BROKER, "", None).await.configs.is_empty());
    for (name, message) in [
        ("4", "Unexpected broker id, expected 3 or empty string, but received 4"),
        ("x", "Broker id must be an integer, but it is: x"),
    ] {
        let refused = describe(&mut client, 4, BROKER, name, None).await;
        assert_eq!((refused.error_code, refused.error_message.as_deref()), (42, Some(message)));
    }
    assert_eq!(describe(&mut client, 4, 99, "x", None).await.error_code, 42);
    server.stop().await;
}

#[tokio::test]
async fn single_keys_are_set_deleted_appended_and_subtracted() {
    let server = Server::start().await;
    server.create(&[("t", 1)]).await;
    let mut client = server.client().await;
    let ok = (0, None);
    let set = [("retention.ms", SET, Some("1")), ("max.message.bytes", SET, Some("9000"))];
    assert_eq!(change(&mut client, TOPIC, "t", &set).await, ok);
    assert_eq!(value(&mut client, TOPIC, "t", "retention.ms").await, Some(("1".to_owned(), 1)));
    let delete = [("retention.ms", DELETE, None)];
    assert_eq!(change(&mut client, TOPIC, "t", &delete).await, ok);
    assert_eq!(value(&mut client, TOPIC, "t", "retention.ms").await.unwrap().1, 5);
    assert_eq!(
        value(&mut client, TOPIC, "t", "max.message.bytes").await,
        Some(("9000".to_owned(), 1))
    );
    let key = "follower.replication.throttled.replicas";
    change(&mut client, TOPIC, "t", &[(key, APPEND, Some("0:1,0:2"))]).await;
    change(&mut client, TOPIC, "t", &[(key, SUBTRACT, Some("0:1"))]).await;
    assert_eq!(value(&mut client, TOPIC, "t", key).await, Some(("0:2".to_owned(), 1)));

    let resource = "Invalid config value for resource ConfigResource(type=TOPIC, name='t'): ";
    let cases = [
        (
            TOPIC,
            "t",
            ("retention.ms", SET, Some("x")),
            40,
            format!(
                "{resource}Invalid value x for configuration retention.ms: Not a number of type LONG"
            ),
        ),
        (TOPIC, "t", ("nope", SET, Some("x")), 40, "Unknown topic config name: nope".to_owned()),
        (
            TOPIC,
            "t",
            ("retention.ms", APPEND, Some("1")),
            40,
            "Config value append is not allowed for config key: retention.ms".to_owned(),
        ),
        (
            TOPIC,
            "t",
            ("retention.ms", SUBTRACT, Some("1")),
            40,
            "Config value subtract is not allowed for config key: retention.ms".to_owned(),
        ),
        (
            TOPIC,
            "t",
            ("retention.ms", SET, None),
            42,
            "Null value not supported for : retention.ms".to_owned(),
        ),
        (TOPIC, "t", ("retention.ms", 9, Some("1")), 42, "Unknown operations type 9".to_owned()),
        (
            TOPIC,
            "nope",
            ("retention.ms", SET, Some("1")),
            3,
            "The topic 'nope' does not exist.".to_owned(),
        ),
        (
            TOPIC,
            "",
            ("retention.ms", SET, Some("1")),
            42,
            "Default topic resources are not allowed.".to_owned(),
        ),
        (
            BROKER,
            "9",
            ("log.retention.ms", SET, Some("1")),
            42,
            "Unexpected broker id, expected 3, but received 9".to_owned(),
        ),
        (
            BROKER,
            "3",
            ("broker.id", SET, Some("1")),
            42,
            "Cannot update these configs dynamically: Set(broker.id)".to_owned(),
        ),
        (99, "t", ("retention.ms", SET, Some("1")), 42, "Unknown resource type 99".to_owned()),
    ];
    for (kind, name, alteration, error, message) in cases {
        let told = change(&mut client, kind, name, &[alteration]).await;
        assert_eq!(told, (error, Some(message)));
    }
    // A list of what there is is fine, one with anything else is refused, wherever it is set.
    for (kind, name, key) in [
        (TOPIC, "t", "cleanup.policy"),
        (BROKER, "3", "log.cleanup.policy"),
        (BROKER, "", "log.cleanup.policy"),
    ] {
        assert_eq!(change(&mut client, kind, name, &[(key, SET, Some("delete"))]).await, ok);
        assert_eq!(change(&mut client, kind, name, &[(key, APPEND, Some("compact"))]).await, ok);
        assert_eq!(change(&mut client, kind, name, &[(key, SET, Some("compact"))]).await, ok);
        assert_ne!(change(&mut client, kind, name, &[(key, SET, Some("squash"))]).await.0, 0);
        assert_ne!(change(&mut client, kind, name, &[(key, APPEND, Some("squash"))]).await.0, 0);
    }
    let twice = [("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)];
    let told = change(&mut client, TOPIC, "t", &twice).await;
    assert_eq!(told, (42, Some("Error due to duplicate config keys".to_owned())));
    server.stop().await;
}

#[tokio::test]
async fn brokers_have_values_of_their_own_and_values_of_all() {
    let server = Server::start().await;
    server.create(&[("t", 1)]).await;
    let mut client = server.client().await;
    let key = "log.retention.ms";
    let expect = async |client: &mut Client, broker: (&str, i8), topic: (&str, i8)| {
        let owned = |(value, source): (&str, i8)| Some((value.to_owned(), source));
        assert_eq!(value(client, BROKER, "3", key).await, owned(broker));
        assert_eq!(value(client, TOPIC, "t", "retention.ms").await, owned(topic));
    };
    change(&mut client, BROKER, "", &[(key, SET, Some("20"))]).await;
    expect(&mut client, ("20", 3), ("20", 3)).await;
    assert_eq!(value(&mut client, BROKER, "", key).await, Some(("20".to_owned(), 3)));
    change(&mut client, BROKER, "3", &[(key, SET, Some("10"))]).await;
    expect(&mut client, ("10", 2), ("10", 2)).await;
    change(&mut client, TOPIC, "t", &[("retention.ms", SET, Some("5"))]).await;
    expect(&mut client, ("10", 2), ("5", 1)).await;
    change(&mut client, BROKER, "3", &[(key, DELETE, None)]).await;
    expect(&mut client, ("20", 3), ("5", 1)).await;
    server.stop().await;
}

#[tokio::test]
async fn a_whole_configuration_is_replaced() {
    let server = Server::start().await;
    server.create(&[("t", 1), ("u", 1)]).await;
    let mut client = server.client().await;
    change(&mut client, TOPIC, "t", &[("retention.ms", SET, Some("1"))]).await;
    let of = |name: &str, configs: &[(&str, Option<&str>)]| {
        let configs = configs.iter().map(|(key, value)| {
            alter_configs_request::AlterableConfig::default()
                .with_name(text(key))
                .with_value(value.map(text))
        });
        AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name))
            .with_configs(configs.collect())
    };
    let ask = |resources| AlterConfigsRequest::default().with_resources(resources);
    for version in 0..=2 {
        let bytes = (9_000 + i32::from(version)).to_string();
        let checked = ask(vec![of("t", &[("max.message.bytes", Some("1"))])]);
        let told = client.ask(version, &checked.with_validate_only(true)).await;
        assert_eq!(told.responses[0].error_code, 0);
        let request = ask(vec![
            of("t", &[("max.message.bytes", Some(&bytes))]),
            of("nope", &[]),
            of("u", &[("retention.ms", None)]),
        ]);
        let told = client.ask(version, &request).await;
        let errors: Vec<_> = told.responses.iter().map(|r| r.error_code).collect();
        assert_eq!(errors, [0, 3, 42]);
        assert_eq!(
            value(&mut client, TOPIC, "t", "retention.ms").await.unwrap().1,
            5,
            "it is lost"
        );
        assert_eq!(value(&mut client, TOPIC, "t", "max.message.bytes").await, Some((bytes, 1)));
    }
    let twice = client.ask(2, &ask(vec![of("t", &[]), of("u", &[]), of("t", &[])])).await;
    let errors: Vec<_> = twice.responses.iter().map(|r| r.error_code).collect();
    assert_eq!(errors, [42, 0, 42]);
    server.stop().await;
}
