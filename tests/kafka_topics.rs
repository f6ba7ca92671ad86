//! Topics made, grown and deleted over a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod kafka_support;

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};
use kafka_support::{BROKER, Client, Server, new_topic, text, topic_name};
use uuid::Uuid;

fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(30_000)
}

fn config(name: &str, value: Option<&str>) -> CreatableTopicConfig {
    CreatableTopicConfig::default().with_name(text(name)).with_value(value.map(text))
}

fn assigned(name: &str, assignment: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = assignment.iter().map(|(partition, brokers)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*partition)
            .with_broker_ids(brokers.iter().map(|id| BrokerId(*id)).collect())
    });
    new_topic(name, -1).with_replication_factor(-1).with_assignments(assignment.collect())
}

/// Error and number of partitions of a topic, without making it.
async fn look(client: &mut Client, name: &str) -> (i16, usize, Uuid) {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(false);
    let topic = client.ask(12, &request).await.topics.remove(0);
    (topic.error_code, topic.partitions.len(), topic.topic_id)
}

#[tokio::test]
async fn topics_are_made_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for version in 2..=7 {
        let name = format!("t{version}");
        let topic = new_topic(&name, 2).with_configs(vec![config("retention.ms", Some("1234"))]);
        let answer = client.ask(version, &create(vec![topic])).await;
        let told = &answer.topics[0];
        assert_eq!((told.error_code, &told.error_message), (0, &None), "version {version}");
        let (error, partitions, id) = look(&mut client, &name).await;
        assert_eq!((error, partitions), (0, 2), "it is there once it is answered");
        assert_eq!(told.topic_id, if version >= 7 { id } else { Uuid::nil() });
        if version < 5 {
            continue;
        }
        assert_eq!((told.num_partitions, told.replication_factor), (2, 1));
        let configs = told.configs.as_ref().unwrap();
        let value = |name: &str| {
            let found = configs.iter().find(|config| config.name.as_str() == name).unwrap();
            (found.value.as_deref().unwrap().to_owned(), found.config_source)
        };
        assert_eq!(value("retention.ms"), ("1234".to_owned(), 1));
        assert_eq!(value("cleanup.policy"), ("delete".to_owned(), 5));
    }
    server.stop().await;
}

#[tokio::test]
async fn the_brokers_defaults_stand_for_what_is_not_said() {
    let server = Server::with(|config| config.num_partitions = 4).await;
    let mut client = server.client().await;
    let topic = new_topic("t", -1).with_replication_factor(-1);
    let checked = client.ask(7, &create(vec![topic.clone()]).with_validate_only(true)).await;
    assert_eq!((checked.topics[0].error_code, checked.topics[0].num_partitions), (0, 4));
    assert_eq!(look(&mut client, "t").await.0, 3, "it was only checked");
    let made = client.ask(7, &create(vec![topic])).await;
    assert_eq!((made.topics[0].num_partitions, made.topics[0].replication_factor), (4, 1));
    let manual = assigned("manual", &[(1, &[3]), (0, &[3])]);
    assert_eq!(client.ask(7, &create(vec![manual])).await.topics[0].num_partitions, 2);
    server.stop().await;
}

#[tokio::test]
async fn what_kafka_refuses_is_refused_in_its_words() {
    let server = Server::start().await;
    server.create(&[("there", 1), ("a.b", 1)]).await;
    let mut client = server.client().await;
    let set = |name: &str, config| new_topic(name, 1).with_configs(vec![config]);
    let cases: Vec<(CreatableTopic, i16, &str)> = vec![
        (new_topic("there", 1), 36, "Topic 'there' already exists."),
        (new_topic("", 1), 17, "Topic name is invalid: the empty string is not allowed"),
        (new_topic("..", 1), 17, "Topic name is invalid: '..' is not allowed"),
        (new_topic("a_b", 1), 17, "Topic 'a_b' collides with existing topics: a.b"),
        (new_topic("t", 0), 37, "Number of partitions must be larger than 0."),
        (
            new_topic("t", 1).with_replication_factor(0),
            38,
            "Replication factor must be larger than 0.",
        ),
        (
            new_topic("t", 1).with_replication_factor(2),
            38,
            "Replication factor: 2 larger than available brokers: 1.",
        ),
        (
            assigned("t", &[(0, &[3])]).with_num_partitions(1),
            42,
            "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot \
             be used at the same time.",
        ),
        (
            assigned("t", &[(0, &[3]), (2, &[3])]),
            39,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            set("t", config("retention.ms", None)),
            40,
            "Null value not supported for topic configs: retention.ms",
        ),
        (set("t", config("nope", Some("1"))), 40, "Unknown topic config name: nope"),
        (
            set("t", config("retention.ms", Some("soon"))),
            40,
            "Invalid value soon for configuration retention.ms: Not a number of type LONG",
        ),
        (
            new_topic("__cluster_metadata", 1),
            42,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
    ];
    for (topic, error, message) in cases {
        let told = client.ask(7, &create(vec![topic])).await.topics.remove(0);
        assert_eq!((told.error_code, told.error_message.as_deref()), (error, Some(message)));
        assert_eq!((told.num_partitions, told.replication_factor), (-1, -1));
    }
    let squashed = set("t", config("cleanup.policy", Some("delete,squash")));
    assert_eq!(client.ask(7, &create(vec![squashed])).await.topics[0].error_code, 40);
    assert_eq!(look(&mut client, "t").await.0, 3, "nothing of all that was made");

    // One that stands there twice is refused twice; its neighbour is made.
    let topics = vec![new_topic("two", 1), new_topic("one", 1), new_topic("two", 1)];
    let answer = client.ask(7, &create(topics)).await;
    let told: Vec<_> = answer.topics.iter().map(|t| (t.name.as_str(), t.error_code)).collect();
    assert_eq!(told, [("two", 42), ("one", 0), ("two", 42)]);
    // Two that collide with each other.
    let answer = client.ask(7, &create(vec![new_topic("x.y", 1), new_topic("x_y", 1)])).await;
    let told: Vec<_> = answer.topics.iter().map(|t| t.error_code).collect();
    assert_eq!(told, [0, 17]);
    // Without time to wait a topic is made, but not waited for.
    let answer = client.ask(7, &create(vec![new_topic("late", 1)]).with_timeout_ms(0)).await;
    assert_eq!(answer.topics[0].error_code, 7);
    while look(&mut client, "late").await.0 != 0 {}
    server.stop().await;
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for version in 1..=6 {
        server.create(&[("t", 2)]).await;
        let mut request = DeleteTopicsRequest::default().with_timeout_ms(30_000);
        if version >= 6 {
            let state = |name: &str| DeleteTopicState::default().with_name(Some(topic_name(name)));
            request.topics = vec![state("t"), state("nope")];
        } else {
            request.topic_names = vec![topic_name("t"), topic_name("nope")];
        }
        let answer = client.ask(version, &request).await;
        let told: Vec<_> = answer
            .responses
            .iter()
            .map(|topic| (topic.name.clone().unwrap().0, topic.error_code))
            .collect();
        assert_eq!(told, [(text("t"), 0), (text("nope"), 3)], "version {version}");
        assert_eq!(look(&mut client, "t").await.0, 3, "it is gone once it is answered");
    }
    server.create(&[("t", 1), ("kept", 1)]).await;
    let id = look(&mut client, "t").await.2;
    let by_id = |id| DeleteTopicState::default().with_name(None).with_topic_id(id);
    let ask = |topics| DeleteTopicsRequest::default().with_topics(topics).with_timeout_ms(30_000);
    let unknown = Uuid::from_u128(9);
    let answer = client.ask(6, &ask(vec![by_id(unknown), by_id(id), by_id(Uuid::nil())])).await;
    let told: Vec<_> = answer
        .responses
        .iter()
        .map(|topic| (topic.name.clone(), topic.topic_id, topic.error_code))
        .collect();
    let expected = [(None, unknown, 100), (Some(topic_name("t")), id, 0), (None, Uuid::nil(), 29)];
    assert_eq!(told, expected);
    let kept = look(&mut client, "kept").await.2;
    let both = by_id(kept).with_name(Some(topic_name("kept")));
    assert_eq!(client.ask(6, &ask(vec![both])).await.responses[0].error_code, 42);
    assert_eq!(look(&mut client, "kept").await.0, 0);
    server.stop().await;
}

#[tokio::test]
async fn deletion_may_be_forbidden() {
    let server = Server::with(|config| config.delete_topic_enable = false).await;
    server.create(&[("t", 1)]).await;
    let mut client = server.client().await;
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name("t")])
        .with_timeout_ms(1_000);
    assert_eq!(client.ask(2, &request).await.responses[0].error_code, 42);
    assert_eq!(client.ask(5, &request).await.responses[0].error_code, 73);
    assert_eq!(look(&mut client, "t").await.0, 0);
    server.stop().await;
}

#[tokio::test]
async fn topics_grow() {
    let server = Server::start().await;
    server.create(&[("t", 1)]).await;
    let mut client = server.client().await;
    let ask =
        |topics| CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(30_000);
    let to = |name: &str, count| {
        CreatePartitionsTopic::default()
            .with_name(topic_name(name))
            .with_count(count)
            .with_assignments(None)
    };
    let assigned = |count, brokers: &[i32]| {
        let brokers = brokers
            .iter()
            .map(|id| CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(*id)]));
        to("t", count).with_assignments(Some(brokers.collect()))
    };
    let mut partitions = 1;
    for version in 0..=3 {
        partitions += 1;
        let answer = client.ask(version, &ask(vec![to("t", partitions)])).await;
        assert_eq!(answer.results[0].error_code, 0, "{:?}", answer.results[0].error_message);
        assert_eq!(look(&mut client, "t").await.1, usize::try_from(partitions).unwrap());
    }
    let cases = [
        (to("nope", 2), 3, "The topic 'nope' does not exist."),
        (to("t", 5), 37, "Topic already has 5 partitions."),
        (to("t", 4), 37, "Topic currently has 5 partitions, which is higher than the requested 4."),
        (
            assigned(7, &[BROKER.0]),
            39,
            "Increasing the number of partitions by 2 but 1 assignments provided.",
        ),
        (assigned(6, &[77]), 39, "Unknown broker(s) in replica assignment: 77."),
    ];
    for (topic, error, message) in cases {
        let told = client.ask(3, &ask(vec![topic])).await.results.remove(0);
        assert_eq!((told.error_code, told.error_message.as_deref()), (error, Some(message)));
    }
    let twice = client.ask(3, &ask(vec![to("t", 6), to("t", 7)])).await;
    assert_eq!((twice.results.len(), twice.results[0].error_code), (1, 42));
    let checked = client.ask(3, &ask(vec![to("t", 9)]).with_validate_only(true)).await;
    assert_eq!(checked.results[0].error_code, 0);
    assert_eq!(look(&mut client, "t").await.1, 5);
    let manual = client.ask(3, &ask(vec![assigned(6, &[BROKER.0])])).await;
    assert_eq!(manual.results[0].error_code, 0);
    assert_eq!(look(&mut client, "t").await.1, 6);
    server.stop().await;
}
