//! Clients and brokers that hang or creep: they cost whoever they belong to, and nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod gateway_support;
mod kafka_support;

use gateway_support::{Played, Stage, address, config, eventually, relay, start};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, MetadataRequest};
use kafka_support::{Client, encode, frame, topic_name};
use tokio::net::TcpListener;

const LIST_OFFSETS: i16 = ApiKey::ListOffsets as i16;

#[tokio::test]
async fn requests_that_creep_in_keep_nobody_from_being_answered() {
    let stage = Stage::new().await;
    let broker = Played::new().await;
    stage.register(1, broker.address).await;
    stage.topic("t", 1).await;
    let gateway = start(config(&stage.connect())).await;
    // The longest questions that are held, of which only the start comes.
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect(address(&gateway)).await;
        let mut begun = frame(ApiKey::Metadata as i16, 1, 1, &[0, 1, 0, 0]).to_vec();
        begun[..4].copy_from_slice(&(16_i32 << 20).to_be_bytes());
        client.write(&begun).await;
        slow.push(client);
    }
    let names =
        (0..40_000).map(|_| MetadataRequestTopic::default().with_name(Some(topic_name("t"))));
    let long = MetadataRequest::default().with_topics(Some(names.collect()));
    assert!(encode(&long, 1).len() > 100_000, "long enough to be counted as held");
    let mut client = Client::connect(address(&gateway)).await;
    for _ in 0..3 {
        assert_eq!(client.ask(1, &long).await.topics.len(), 1);
        for client in &mut slow {
            client.write(b"x").await;
        }
    }
}

#[tokio::test]
async fn a_broker_that_hangs_costs_its_own_clients_alone() {
    let stage = Stage::new().await;
    let mut broker = Played::new().await;
    // It has connections made to it, and never looks at one.
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    stage.register(1, broker.address).await;
    stage.register(2, hanging.local_addr().unwrap()).await;
    stage.topic("t", 1).await;
    let gateway = start(relay(&stage.connect())).await;
    let mut client = Client::connect(address(&gateway)).await;
    let request = MetadataRequest::default().with_topics(None);
    let ports = eventually(async || {
        let told = client.ask(1, &request).await;
        let ports: Vec<u16> =
            told.brokers.iter().map(|broker| u16::try_from(broker.port).unwrap()).collect();
        (ports.len() == 2).then_some(ports)
    })
    .await;
    let at = |port: u16| Client::connect(([127, 0, 0, 1], port).into());
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut client = at(ports[1]).await;
        client.write(&frame(LIST_OFFSETS, 5, 1, b"body")).await;
        client.send(0, &ApiVersionsRequest::default()).await;
        stuck.push(client);
    }
    for _ in 0..3 {
        let mut client = at(ports[0]).await;
        client.write(&frame(LIST_OFFSETS, 5, 9, b"body")).await;
        let mut upstream = broker.conversation().await;
        assert_eq!(upstream.request().await.unwrap().0.correlation, 9);
        upstream.answer(9, b"answer").await;
        assert!(client.frame().await.unwrap().ends_with(b"answer"));
        let offered = client.ask(0, &ApiVersionsRequest::default()).await;
        assert!(offered.api_keys.iter().any(|api| api.api_key == LIST_OFFSETS));
    }
    assert_eq!(client.ask(1, &request).await.topics.len(), 1, "by the bootstrap address");
    // What is answered here is answered to the clients of that broker too.
    let mut client = at(ports[1]).await;
    assert_eq!(client.ask(1, &request).await.topics.len(), 1);
}
