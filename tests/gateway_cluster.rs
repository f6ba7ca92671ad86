//! A gateway in front of doorkeeper's own brokers: what clients are told, and that they get through.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod cluster_support;
mod gateway_support;
mod kafka_support;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use doorkeeper::broker::Broker;
use doorkeeper::gateway::Gateway;
use gateway_support::{address, config, eventually, relay, start};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, BrokerId, CreateTopicsRequest, FetchRequest, InitProducerIdRequest,
    MetadataRequest, MetadataResponse, ProduceRequest,
};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use kafka_support::{Client, Server, new_topic, topic_name};

fn connect(server: &Server) -> String {
    server.broker.context().config.zookeeper_connect.clone()
}

async fn client(gateway: &Gateway) -> Client {
    Client::connect(address(gateway)).await
}

/// A broker whose session a busy machine does not outrun.
async fn broker(zookeeper: SocketAddr, id: i32, dir: &Path) -> Broker {
    let mut config = cluster_support::config(zookeeper, id, dir);
    config.zookeeper_session_timeout = Duration::from_secs(10);
    config.zookeeper_connection_timeout = gateway_support::PATIENCE;
    Broker::start(config).await.unwrap()
}

/// A question for one topic.
fn about(name: &str, create: bool) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(create)
}

fn everything() -> MetadataRequest {
    MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false)
}

fn records(values: &[&str]) -> Bytes {
    let record = |(offset, value): (i64, &&str)| Record {
        transactional: false,
        control: false,
        partition_leader_epoch: 0,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        timestamp: 1,
        // Of no producer id: the batch's is -1.
        sequence: i32::try_from(offset).unwrap() - 1,
        offset,
        key: None,
        value: Some(Bytes::from((*value).to_owned())),
        headers: indexmap::IndexMap::default(),
        delete_horizon: false,
    };
    let records: Vec<Record> = (0..).zip(values).map(record).collect();
    let mut encoded = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut encoded, &records, &options).unwrap();
    encoded.freeze()
}

fn produce(topic: &str, acks: i16, values: &[&str]) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(0).with_records(Some(records(values)));
    let topic =
        TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(30_000).with_topic_data(vec![topic])
}

/// The records' bytes of the topic's first partition.
async fn fetched(client: &mut Client, topic: &str) -> Bytes {
    let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20);
    let topic =
        FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(0)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic]);
    let answer = client.ask(11, &request).await;
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    partition.records.clone().unwrap_or_default()
}

/// Where clients are told that a broker is.
fn told(answer: &MetadataResponse, id: i32) -> Option<SocketAddr> {
    let broker = answer.brokers.iter().find(|broker| broker.node_id == BrokerId(id))?;
    Some(format!("{}:{}", broker.host.as_str(), broker.port).parse().unwrap())
}

#[tokio::test]
async fn direct_mode_answers_as_the_broker_does_and_passes_the_rest() {
    let server = Server::start().await;
    server.create(&[("a", 1), ("b", 3)]).await;
    let gateway = start(config(&connect(&server))).await;
    // The gateway's image follows by itself.
    eventually(async || {
        let shown = gateway.views().load();
        (shown.image.topic("a").is_some() && shown.image.topic("b").is_some()).then_some(())
    })
    .await;
    let (mut direct, mut through) = (server.client().await, client(&gateway).await);
    for version in 0..=12 {
        for request in [everything(), about("b", version < 4)] {
            let request = if version == 0 && request.topics.is_none() {
                request.with_topics(Some(Vec::new()))
            } else {
                request
            };
            let request =
                if version < 4 { request.with_allow_auto_topic_creation(true) } else { request };
            let expected = direct.ask(version, &request).await;
            assert_eq!(through.ask(version, &request).await, expected, "version {version}");
        }
    }
    assert_eq!(told(&through.ask(9, &everything()).await, 3), Some(server.address()));

    let produced = through.ask(9, &produce("a", -1, &["one", "two"])).await;
    assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
    through.send(9, &produce("a", 0, &["three"])).await;
    let id = through.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).await;
    assert_eq!(id.error_code, 0);
    let records = fetched(&mut through, "a").await;
    assert_eq!(records, fetched(&mut direct, "a").await);
    for value in ["one", "two", "three"] {
        assert!(records.windows(value.len()).any(|window| window == value.as_bytes()), "{value}");
    }
    gateway.shutdown(gateway_support::PATIENCE).await;
    server.stop().await;
}

#[tokio::test]
async fn a_topic_that_was_just_made_is_found() {
    let server = Server::start().await;
    let gateway = start(config(&connect(&server))).await;
    let mut through = client(&gateway).await;
    for index in 0..10 {
        let name = format!("new-{index}");
        let request = CreateTopicsRequest::default()
            .with_topics(vec![new_topic(&name, 1)])
            .with_timeout_ms(30_000);
        let made = through.ask(5, &request).await;
        assert_eq!(made.topics[0].error_code, 0);
        let answer = through.ask(8, &about(&name, false)).await;
        assert_eq!(answer.topics[0].error_code, 0, "{name}");
    }
    let answer = through.ask(8, &about("nowhere", false)).await;
    assert_eq!(answer.topics[0].error_code, 3);
    // A broker makes what a request lets it make.
    let found = eventually(async || {
        let mut through = client(&gateway).await;
        let answer = through.ask(8, &about("made-by-asking", true)).await;
        (answer.topics[0].error_code == 0).then_some(answer)
    })
    .await;
    assert_eq!(found.topics[0].partitions.len(), 1);
    gateway.shutdown(gateway_support::PATIENCE).await;
    server.stop().await;
}

#[tokio::test]
async fn the_relay_tells_its_own_addresses_and_passes_to_each_broker() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = cluster_support::coordinator(dir.path(), 0).await;
    let zookeeper = coordinator.client_address().unwrap();
    let first = broker(zookeeper, 1, dir.path()).await;
    let gateway = start(relay(&zookeeper.to_string())).await;
    let mut through = client(&gateway).await;
    let answer = through.ask(12, &everything()).await;
    let port_of_first = told(&answer, 1).unwrap();
    assert_eq!(port_of_first.ip(), address(&gateway).ip());
    let own = *first.listeners().values().next().unwrap();
    assert_ne!(port_of_first, own);
    assert_ne!(port_of_first, address(&gateway));

    // A broker that comes gets a port, and a topic on it is led there.
    let second = broker(zookeeper, 2, dir.path()).await;
    let port_of_second = eventually(async || {
        let answer = client(&gateway).await.ask(12, &everything()).await;
        told(&answer, 2)
    })
    .await;
    assert_ne!(port_of_second, port_of_first);
    let controller = through.ask(12, &everything()).await.controller_id;
    let mut at_controller =
        Client::connect(told(&through.ask(12, &everything()).await, controller.0).unwrap()).await;
    let topics = ["t-0", "t-1", "t-2", "t-3"].map(|name| new_topic(name, 1)).to_vec();
    let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(30_000);
    let made = at_controller.ask(5, &request).await;
    assert!(made.topics.iter().all(|topic| topic.error_code == 0), "{made:?}");
    for name in ["t-0", "t-1", "t-2", "t-3"] {
        let (leader, at) = eventually(async || {
            let answer = client(&gateway).await.ask(12, &about(name, false)).await;
            let leader = answer.topics[0].partitions.first()?.leader_id.0;
            Some((leader, told(&answer, leader)?))
        })
        .await;
        assert_eq!(at, if leader == 1 { port_of_first } else { port_of_second });
        eventually(async || {
            let mut at_leader = Client::connect(at).await;
            let produced = at_leader.ask(9, &produce(name, -1, &["value"])).await;
            // The broker may learn that it leads a moment later than the gateway.
            (produced.responses[0].partition_responses[0].error_code == 0).then_some(())
        })
        .await;
        let records = fetched(&mut Client::connect(at).await, name).await;
        assert!(records.windows(5).any(|window| window == b"value"));
    }

    // What names brokers' addresses in its records' answers is not offered.
    let offered = through.ask(0, &ApiVersionsRequest::default()).await;
    let highest = |key: ApiKey| {
        let api = offered.api_keys.iter().find(|api| api.api_key == key as i16);
        api.map(|api| api.max_version)
    };
    assert_eq!(highest(ApiKey::Produce), Some(9));
    assert_eq!(highest(ApiKey::Fetch), Some(15));
    assert_eq!(highest(ApiKey::Metadata), Some(13));
    assert_eq!(highest(ApiKey::DescribeTopicPartitions), Some(0));
    let mut newer = client(&gateway).await;
    newer.send(11, &produce("t-0", -1, &["value"])).await;
    assert_eq!(newer.frame().await, None, "refused");

    // The port of a broker that is gone answers metadata still.
    second.shutdown(gateway_support::PATIENCE).await;
    eventually(async || {
        let answer = Client::connect(port_of_second).await.ask(12, &everything()).await;
        told(&answer, 2).is_none().then_some(())
    })
    .await;
    gateway.shutdown(gateway_support::PATIENCE).await;
    first.shutdown(gateway_support::PATIENCE).await;
    coordinator.shutdown(gateway_support::PATIENCE).await;
}

#[tokio::test]
async fn answers_go_on_while_the_coordinator_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = cluster_support::coordinator(dir.path(), 0).await;
    let zookeeper = coordinator.client_address().unwrap();
    let broker = broker(zookeeper, 1, dir.path()).await;
    let gateway = start(config(&zookeeper.to_string())).await;
    let own = *broker.listeners().values().next().unwrap();
    eventually(async || {
        let answer = client(&gateway).await.ask(12, &everything()).await;
        told(&answer, 1).filter(|at| *at == own)
    })
    .await;
    coordinator.shutdown(gateway_support::PATIENCE).await;
    let answer = client(&gateway).await.ask(12, &everything()).await;
    assert_eq!(told(&answer, 1), Some(own), "a client that comes now is answered too");
    gateway.shutdown(gateway_support::PATIENCE).await;
    broker.shutdown(gateway_support::PATIENCE).await;
}
