//! `Metadata`, `DescribeCluster` and `DescribeTopicPartitions` over a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod kafka_support;

use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeTopicPartitionsRequest, MetadataRequest,
    MetadataResponse,
};
use kafka_protocol::protocol::StrBytes;
use kafka_support::{BROKER, Client, Server, topic_name};
use uuid::Uuid;

/// A request for topics by name; `None` asks for all.
fn named(names: Option<&[&str]>) -> MetadataRequest {
    let topics = names.map(|names| {
        let names = names.iter().map(|name| topic_name(name));
        names.map(|name| MetadataRequestTopic::default().with_name(Some(name))).collect()
    });
    MetadataRequest::default().with_topics(topics)
}

/// Name, error and number of partitions of each topic.
fn summary(answer: &MetadataResponse) -> Vec<(String, i16, usize)> {
    let name = |name: &Option<_>| {
        name.as_ref()
            .map_or(String::new(), |n: &kafka_protocol::messages::TopicName| n.as_str().to_owned())
    };
    answer
        .topics
        .iter()
        .map(|topic| (name(&topic.name), topic.error_code, topic.partitions.len()))
        .collect()
}

fn found(name: &str, partitions: usize) -> (String, i16, usize) {
    (name.to_owned(), 0, partitions)
}

fn failed(name: &str, error: i16) -> (String, i16, usize) {
    (name.to_owned(), error, 0)
}

#[tokio::test]
async fn topics_are_asked_for_by_name_in_every_version() {
    let server = Server::with(|config| {
        config.auto_create_topics = false;
        config.rack = Some("shelf".to_owned());
    })
    .await;
    server.create(&[("b", 2), ("a", 1)]).await;
    let mut client = server.client().await;
    for version in 0..=13 {
        let none = client.ask(version, &named(Some(&[]))).await;
        let all_by_empty = version == 0;
        let both = vec![found("a", 1), found("b", 2)];
        assert_eq!(summary(&none), if all_by_empty { both.clone() } else { vec![] });
        if version >= 1 {
            assert_eq!(summary(&client.ask(version, &named(None)).await), both);
        }
        let asked = ["missing", "b", "a/b", "b", "a", ""];
        let some = client.ask(version, &named(Some(&asked))).await;
        let expected =
            [found("b", 2), found("a", 1), failed("missing", 3), failed("a/b", 17), failed("", 17)];
        assert_eq!(summary(&some), expected, "version {version}");

        let broker = &some.brokers[0];
        assert_eq!(
            (some.brokers.len(), broker.node_id, broker.host.as_str()),
            (1, BROKER, "127.0.0.1")
        );
        assert_eq!(broker.port, i32::from(server.address().port()));
        assert_eq!(broker.rack.as_deref(), (version >= 1).then_some("shelf"));
        assert_eq!(some.cluster_id.is_some(), version >= 2);
        assert_eq!(some.controller_id, if version >= 1 { BROKER } else { BrokerId(-1) });
        assert_eq!(some.topics[0].topic_id.is_nil(), version < 10);
        let partition = &some.topics[0].partitions[1];
        assert_eq!((partition.partition_index, partition.leader_id), (1, BROKER));
        assert_eq!(partition.leader_epoch, if version >= 7 { 0 } else { -1 });
        assert_eq!(
            (&partition.replica_nodes, &partition.isr_nodes),
            (&vec![BROKER], &vec![BROKER])
        );
        assert!(partition.offline_replicas.is_empty());
    }
    server.stop().await;
}

#[tokio::test]
async fn authorized_operations_are_told_to_those_who_ask() {
    let server = Server::with(|config| config.auto_create_topics = false).await;
    server.create(&[("t", 1)]).await;
    let mut client = server.client().await;
    for version in 8..=13 {
        let plain = named(Some(&["t", "missing"]));
        let answer = client.ask(version, &plain).await;
        assert!(answer.topics.iter().all(|t| t.topic_authorized_operations == i32::MIN));
        assert_eq!(answer.cluster_authorized_operations, i32::MIN);
        let mut asking = plain.with_include_topic_authorized_operations(true);
        asking.include_cluster_authorized_operations = version <= 10;
        let answer = client.ask(version, &asking).await;
        assert!(answer.topics.iter().all(|t| t.topic_authorized_operations == 3_576));
        let cluster = if version <= 10 { 8_096 } else { i32::MIN };
        assert_eq!(answer.cluster_authorized_operations, cluster);
    }
    server.stop().await;
}

#[tokio::test]
async fn topics_are_asked_for_by_id_from_version_12_on() {
    let server = Server::start().await;
    server.create(&[("a", 1), ("b", 2)]).await;
    let mut client = server.client().await;
    let all = client.ask(12, &named(None)).await;
    let id = |index: usize| all.topics[index].topic_id;
    let unknown = Uuid::from_u128(77);
    let by_id = |ids: &[Uuid]| {
        let ids =
            ids.iter().map(|id| MetadataRequestTopic::default().with_name(None).with_topic_id(*id));
        MetadataRequest::default().with_topics(Some(ids.collect()))
    };
    for version in 12..=13 {
        let answer = client.ask(version, &by_id(&[id(1), unknown, id(0), id(1)])).await;
        let told: Vec<_> =
            answer.topics.iter().map(|topic| (topic.error_code, topic.topic_id)).collect();
        assert_eq!(told, [(100, unknown), (0, id(1)), (0, id(0))]);
        assert_eq!(answer.topics[0].name, None);
        assert_eq!(answer.topics[1].name, Some(topic_name("b")));

        // As soon as there is an id, names are ignored, and nothing is made.
        let mut mixed = by_id(&[unknown]);
        let name = MetadataRequestTopic::default().with_name(Some(topic_name("new")));
        mixed.topics.as_mut().unwrap().push(name);
        let answer = client.ask(version, &mixed).await;
        assert_eq!(summary(&answer), [failed("", 100)]);
    }
    // Before that, a request with an id or without a name is refused as a whole.
    for version in 10..=11 {
        let mut refused = by_id(&[id(0)]);
        let name = MetadataRequestTopic::default().with_name(Some(topic_name("b")));
        refused.topics.as_mut().unwrap().push(name);
        let answer = client.ask(version, &refused).await;
        assert_eq!(summary(&answer), [failed("", 42), failed("b", 42)]);
        assert!(answer.brokers.is_empty());
    }
    server.stop().await;
}

/// Asks until the topic is there; every answer until then must be one that clients retry.
async fn until_there(client: &mut Client, version: i16, name: &str) -> MetadataResponse {
    loop {
        let answer = client.ask(version, &named(Some(&[name]))).await;
        match answer.topics[0].error_code {
            0 => return answer,
            error => assert!([3, 5].contains(&error), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_missing_topic_is_made_if_client_and_broker_want_it() {
    let server = Server::with(|config| config.num_partitions = 3).await;
    let mut client = server.client().await;
    let not = named(Some(&["t"])).with_allow_auto_topic_creation(false);
    for version in 4..=13 {
        assert_eq!(summary(&client.ask(version, &not).await), [failed("t", 3)]);
    }
    let first = client.ask(12, &named(Some(&["t", "b/d", "__consumer_offsets"]))).await;
    assert_eq!(first.topics[0].error_code, 5, "it is made, its leader not known yet");
    assert_eq!(first.topics[1].error_code, 17);
    assert!(first.topics[2].is_internal);
    assert_eq!(summary(&until_there(&mut client, 12, "t").await), [found("t", 3)]);

    // Version 0 can't say that it does not want topics to be made.
    until_there(&mut client, 0, "old").await;

    // Names that differ in dots and underscores alone are not made.
    until_there(&mut client, 9, "x.y").await;
    assert_eq!(summary(&client.ask(9, &named(Some(&["x_y"]))).await), [failed("x_y", 17)]);
    server.stop().await;
}

#[tokio::test]
async fn many_clients_who_want_one_topic_make_it_once() {
    let server = Server::start().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut client = server.client().await;
        waiting.spawn(async move { until_there(&mut client, 12, "t").await.topics[0].topic_id });
    }
    let ids = waiting.join_all().await;
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    server.stop().await;
}

#[tokio::test]
async fn the_cluster_is_described() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let cluster_id = client.ask(12, &named(Some(&[]))).await.cluster_id.unwrap();
    for version in 0..=2 {
        let request = DescribeClusterRequest::default();
        let answer = client.ask(version, &request).await;
        assert_eq!((answer.error_code, answer.endpoint_type), (0, 1));
        assert_eq!((&answer.cluster_id, answer.controller_id), (&cluster_id, BROKER));
        assert_eq!(answer.brokers.len(), 1);
        assert_eq!(answer.brokers[0].port, i32::from(server.address().port()));
        assert_eq!(answer.cluster_authorized_operations, i32::MIN);
        let asking = request.with_include_cluster_authorized_operations(true);
        assert_eq!(client.ask(version, &asking).await.cluster_authorized_operations, 8_096);
        if version >= 1 {
            let controllers = asking.clone().with_endpoint_type(2);
            assert_eq!(client.ask(version, &controllers).await.error_code, 114);
            let answer = client.ask(version, &asking.with_endpoint_type(9)).await;
            assert_eq!(answer.error_code, 115);
            assert_eq!(answer.error_message.as_deref(), Some("Unsupported endpoint type 9"));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn partitions_are_described_page_by_page() {
    let server = Server::start().await;
    server.create(&[("a", 2), ("b", 3), ("c", 1)]).await;
    let mut client = server.client().await;
    let request = |names: &[&str], limit: i32, cursor: Option<(&str, i32)>| {
        let topics = names.iter().map(|name| TopicRequest::default().with_name(topic_name(name)));
        let cursor = cursor.map(|(topic, partition)| {
            Cursor::default().with_topic_name(topic_name(topic)).with_partition_index(partition)
        });
        DescribeTopicPartitionsRequest::default()
            .with_topics(topics.collect())
            .with_response_partition_limit(limit)
            .with_cursor(cursor)
    };
    let all = client.ask(0, &request(&[], 2_000, None)).await;
    assert!(all.next_cursor.is_none());
    let counted: Vec<_> = all
        .topics
        .iter()
        .map(|t| (t.name.as_ref().unwrap().as_str(), t.partitions.len()))
        .collect();
    assert_eq!(counted, [("a", 2), ("b", 3), ("c", 1)]);
    assert!(all.topics.iter().all(|t| t.topic_authorized_operations == 3_576));
    let lists = &all.topics[0].partitions[0];
    assert_eq!(lists.eligible_leader_replicas, Some(vec![]), "null breaks Kafka's own client");
    assert_eq!(lists.last_known_elr, Some(vec![]));

    // Two at a time, by the cursors that are given.
    let mut told = Vec::new();
    let mut cursor: Option<(StrBytes, i32)> = None;
    loop {
        let from = cursor.as_ref().map(|(topic, partition)| (topic.as_str(), *partition));
        let page = client.ask(0, &request(&[], 2, from)).await;
        for topic in &page.topics {
            let name = topic.name.as_ref().unwrap().as_str();
            told.extend(topic.partitions.iter().map(|p| format!("{name}{}", p.partition_index)));
        }
        match page.next_cursor {
            Some(next) => cursor = Some((next.topic_name.0, next.partition_index)),
            None => break,
        }
    }
    assert_eq!(told, ["a0", "a1", "b0", "b1", "b2", "c0"]);

    let some = client.ask(0, &request(&["c", "nope", "b d"], 2_000, None)).await;
    let errors: Vec<_> = some.topics.iter().map(|t| t.error_code).collect();
    assert_eq!(errors, [17, 0, 3]);
    for (names, cursor) in [(vec!["a"], ("b", 0)), (vec!["a"], ("a", -1))] {
        let refused = client.ask(0, &request(&names, 10, Some(cursor))).await;
        assert_eq!(refused.topics[0].error_code, 42);
    }
    server.stop().await;
}
