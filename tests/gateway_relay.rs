//! The relay's ports and the broken input that comes by them, with brokers that the test plays.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod gateway_support;
mod kafka_support;

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use doorkeeper::config::GatewayConfig;
use doorkeeper::config::gateway::{GatewayAddresses, RelayAddresses};
use doorkeeper::gateway::Gateway;
use gateway_support::{Conversation, Played, Stage, address, eventually, in_time, relay, start};
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, BrokerId, FindCoordinatorRequest, ListOffsetsRequest,
    MetadataRequest, MetadataResponse, ProduceRequest,
};
use kafka_support::{Client, encode, frame, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zookeeper_client::{Acls, CreateMode};

const LIST_OFFSETS: i16 = ApiKey::ListOffsets as i16;
const METADATA: i16 = ApiKey::Metadata as i16;

/// A relay in front of one played broker.
struct Scene {
    stage: Stage,
    broker: Played,
    gateway: Gateway,
}

impl Scene {
    async fn new() -> Scene {
        Scene::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut GatewayConfig)) -> Scene {
        let stage = Stage::new().await;
        let broker = Played::new().await;
        stage.register(1, broker.address).await;
        stage.topic("t", 1).await;
        let mut config = relay(&stage.connect());
        change(&mut config);
        let gateway = start(config).await;
        Scene { stage, broker, gateway }
    }

    /// Where clients are told that a broker is, once they are.
    async fn port_of(&self, id: i32) -> SocketAddr {
        eventually(async || told(&self.everything().await, id)).await
    }

    async fn everything(&self) -> MetadataResponse {
        let mut client = Client::connect(address(&self.gateway)).await;
        client.ask(12, &MetadataRequest::default().with_topics(None)).await
    }

    /// A client by the broker's port, with a request that waits for its answer.
    async fn meet(&mut self, correlation: i32) -> (Client, Conversation) {
        meet(self.port_of(1).await, &mut self.broker, correlation).await
    }
}

fn told(answer: &MetadataResponse, id: i32) -> Option<SocketAddr> {
    let broker = answer.brokers.iter().find(|broker| broker.node_id == BrokerId(id))?;
    Some(format!("{}:{}", broker.host.as_str(), broker.port).parse().unwrap())
}

async fn meet(at: SocketAddr, broker: &mut Played, correlation: i32) -> (Client, Conversation) {
    let mut client = Client::connect(at).await;
    client.write(&frame(LIST_OFFSETS, 5, correlation, b"body")).await;
    let mut upstream = broker.conversation().await;
    assert_eq!(upstream.request().await.unwrap().0.correlation, correlation);
    (client, upstream)
}

/// A client and its upstream still understand each other.
async fn goes_on(client: &mut Client, upstream: &mut Conversation, correlation: i32) {
    upstream.answer(correlation, b"answer").await;
    let mut expected = correlation.to_be_bytes().to_vec();
    expected.extend(b"answer");
    assert_eq!(client.frame().await.unwrap(), expected);
    client.write(&frame(LIST_OFFSETS, 5, correlation + 1, b"body")).await;
    assert_eq!(upstream.request().await.unwrap().0.correlation, correlation + 1);
}

/// Gives another registration to a broker that is there.
async fn moves(stage: &Stage, id: i32, to: SocketAddr) {
    stage.znodes.delete(&format!("/brokers/ids/{id}"), None).await.unwrap();
    stage.register(id, to).await;
}

/// One request of each kind that a gateway looks into, and one that it doesn't.
fn requests() -> Vec<Bytes> {
    let software = ApiVersionsRequest::default()
        .with_client_software_name(text("a"))
        .with_client_software_version(text("1"));
    let key = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("group")]);
    vec![
        frame(METADATA, 12, 1, &encode(&MetadataRequest::default().with_topics(None), 12)),
        frame(ApiKey::ApiVersions as i16, 3, 1, &encode(&software, 3)),
        frame(ApiKey::FindCoordinator as i16, 4, 1, &encode(&key, 4)),
        frame(ApiKey::Produce as i16, 9, 1, &encode(&ProduceRequest::default().with_acks(-1), 9)),
        frame(LIST_OFFSETS, 5, 1, &encode(&ListOffsetsRequest::default(), 5)),
    ]
}

#[tokio::test]
async fn every_prefix_and_every_changed_byte_disturbs_nobody() {
    let mut scene = Scene::new().await;
    let port = scene.port_of(1).await;
    let (mut bystander, mut their_upstream) = scene.meet(1_000).await;
    // What gets through to the broker is answered by the end of its connection.
    let Scene { mut broker, gateway, stage: _stage } = scene;
    let deaf = tokio::spawn(async move {
        loop {
            drop(broker.conversation().await);
        }
    });
    for whole in requests() {
        for end in 0..whole.len() {
            let mut client = Client::connect(port).await;
            client.write(&whole[..end]).await;
            assert_eq!(client.finish().await, b"", "{whole:?} up to {end}");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.to_vec();
                changed[at] ^= 1 << bit;
                let to = if bit % 2 == 0 { port } else { address(&gateway) };
                let mut client = Client::connect(to).await;
                client.write(&changed).await;
                // It ends by itself, whatever it is.
                client.finish().await;
            }
        }
    }
    goes_on(&mut bystander, &mut their_upstream, 1_000).await;
    let mut client = Client::connect(port).await;
    let answer = client.ask(12, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(told(&answer, 1), Some(port));
    deaf.abort();
}

#[tokio::test]
async fn lengths_that_can_not_be_close_the_connection() {
    let mut scene = Scene::with(|config| config.socket_request_max_bytes = 10_000).await;
    let port = scene.port_of(1).await;
    let (mut bystander, mut their_upstream) = scene.meet(1_000).await;
    for length in [10_001, i32::MAX, 0, -1, i32::MIN, 7] {
        let mut client = Client::connect(port).await;
        client.write(&length.to_be_bytes()).await;
        client.write(&frame(LIST_OFFSETS, 5, 1, b"body")[4..]).await;
        assert_eq!(client.finish().await, b"", "{length}");
    }
    goes_on(&mut bystander, &mut their_upstream, 1_000).await;
}

#[tokio::test]
async fn wrong_answers_of_an_upstream_end_its_client_and_nobody_else() {
    let mut scene = Scene::new().await;
    let (mut bystander, mut their_upstream) = scene.meet(1_000).await;
    for wrong in [
        // Another correlation id, a length that is none, one that holds no correlation id.
        &[0, 0, 0, 4, 0, 0, 0, 2][..],
        &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1],
        &[0, 0, 0, 3, 0, 0, 0, 1],
    ] {
        let (mut client, mut upstream) = scene.meet(1).await;
        upstream.stream.write_all(wrong).await.unwrap();
        assert_eq!(client.frame().await, None, "{wrong:?}");
        upstream.ended().await;
    }
    // Half an answer, then the end.
    let (mut client, mut upstream) = scene.meet(1).await;
    upstream.stream.write_all(&[0, 0, 0, 100, 0, 0, 0, 1, 9, 9]).await.unwrap();
    drop(upstream);
    let mut rest = Vec::new();
    let _ = in_time(client.stream.read_to_end(&mut rest)).await;
    assert!(rest.len() <= 10, "nothing is made up: {rest:?}");
    goes_on(&mut bystander, &mut their_upstream, 1_000).await;
}

/// What Kafka writes into `/controller` while a KRaft controller owns the cluster.
const KRAFT: &str = r#"{"version":2,"brokerid":3000,"timestamp":"1","kraftControllerEpoch":7}"#;

/// The brokers' answer to a question of version 9: these brokers at their own addresses.
fn brokers_answer(ids: &[i32]) -> Bytes {
    let brokers = ids.iter().map(|id| {
        let broker = MetadataResponseBroker::default().with_node_id(BrokerId(*id));
        broker.with_host(text("of-the-brokers")).with_port(9)
    });
    let mut body = BytesMut::new();
    // The response header's tagged fields.
    body.put_u8(0);
    let answer = MetadataResponse::default().with_brokers(brokers.collect());
    body.put_slice(&encode(&answer.with_controller_id(BrokerId(3_000)), 9));
    body.freeze()
}

#[tokio::test]
async fn while_kraft_owns_the_cluster_the_brokers_are_asked() {
    let mut scene = Scene::new().await;
    let port = scene.port_of(1).await;
    assert_eq!(scene.gateway.image().report(), (true, None));
    scene.stage.make("/controller", KRAFT).await;
    scene.stage.make("/controller_epoch", "1").await;
    eventually(async || scene.gateway.image().report().1.filter(|text| text.contains("KRaft")))
        .await;

    let question = MetadataRequest::default().with_topics(Some(Vec::new()));
    let mut client = Client::connect(address(&scene.gateway)).await;
    let correlation = client.send(9, &question).await;
    let mut upstream = scene.broker.conversation().await;
    let (head, _) = upstream.request().await.unwrap();
    assert_eq!((head.key, head.version), (METADATA, 9));
    upstream.answer(head.correlation, &brokers_answer(&[1])).await;
    let answer = client.answer::<MetadataRequest>(9, correlation).await;
    assert_eq!(told(&answer, 1), Some(port), "the relay's address, nothing else is changed");
    assert_eq!(answer.controller_id, BrokerId(3_000));

    // An answer that can't be read is passed to nobody: not cut short, and with more than it says.
    let body = brokers_answer(&[1]);
    let mut counted = body.to_vec();
    counted[5] = 0x7f;
    for wrong in [&body[..3], &counted] {
        let mut client = Client::connect(address(&scene.gateway)).await;
        client.send(9, &question).await;
        let mut upstream = scene.broker.conversation().await;
        let (head, _) = upstream.request().await.unwrap();
        upstream.answer(head.correlation, wrong).await;
        assert_eq!(client.frame().await, None);
    }

    // The cluster is ZooKeeper's again: no broker is asked.
    scene.stage.znodes.delete("/controller", None).await.unwrap();
    eventually(async || scene.gateway.image().report().1.is_none().then_some(())).await;
    assert_eq!(told(&scene.everything().await, 1), Some(port));
}

#[tokio::test]
async fn brokers_come_and_go_and_change_their_endpoint() {
    let mut scene = Scene::new().await;
    let port = scene.port_of(1).await;
    let (mut early, mut their_upstream) = scene.meet(1_000).await;

    // Another endpoint: who comes by the same port from now on gets there.
    let mut elsewhere = Played::new().await;
    moves(&scene.stage, 1, elsewhere.address).await;
    let (_client, _upstream) = eventually(async || {
        let mut client = Client::connect(port).await;
        client.write(&frame(LIST_OFFSETS, 5, 5, b"body")).await;
        tokio::select! {
            upstream = elsewhere.conversation() => Some((client, upstream)),
            // Before the gateway has heard of it, or between the two registrations.
            _ = scene.broker.conversation() => None,
            _ = client.frame() => None,
        }
    })
    .await;
    assert_eq!(scene.port_of(1).await, port);
    goes_on(&mut early, &mut their_upstream, 1_000).await;

    // Another broker gets a port of its own.
    let mut second = Played::new().await;
    scene.stage.register(2, second.address).await;
    let port_of_second = scene.port_of(2).await;
    assert!(port_of_second != port && port_of_second != address(&scene.gateway));
    let (_client, _upstream) = meet(port_of_second, &mut second, 7).await;

    // One that is gone is told of no more; its port answers who asks for the metadata, and nothing else.
    scene.stage.znodes.delete("/brokers/ids/2", None).await.unwrap();
    eventually(async || told(&scene.everything().await, 2).is_none().then_some(())).await;
    let mut client = Client::connect(port_of_second).await;
    let answer = client.ask(12, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!((told(&answer, 1), told(&answer, 2)), (Some(port), None));
    client.write(&frame(LIST_OFFSETS, 5, 9, b"body")).await;
    assert_eq!(client.frame().await, None);

    // It comes back, elsewhere, to the port that clients know.
    let mut third = Played::new().await;
    scene.stage.register(2, third.address).await;
    assert_eq!(scene.port_of(2).await, port_of_second);
    let (_client, _upstream) = meet(port_of_second, &mut third, 11).await;
}

#[tokio::test]
async fn an_id_without_a_valid_port_is_never_told() {
    let base = 65_000;
    let mut scene = Scene::with(|config| {
        config.addresses = GatewayAddresses::Gateway(RelayAddresses {
            port_base: 0,
            advertised_host: Some("gateway.example.com".to_owned()),
            advertised_port_base: Some(base),
        });
    })
    .await;
    let mut second = Played::new().await;
    scene.stage.register(1_000, second.address).await;
    // Its leader is nowhere, for clients of this gateway.
    let state = r#"{"version":1,"leader":1000,"leader_epoch":0,"controller_epoch":1,"isr":[1000]}"#;
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let topic = r#"{"version":3,"topic_id":"AAAAAAAAAAAAAAAAAAAABw","partitions":{"0":[1000]},"adding_replicas":{},"removing_replicas":{}}"#;
    scene.stage.make("/brokers/topics/far", topic).await;
    scene.stage.make("/brokers/topics/far/partitions/0", "").await;
    let path = "/brokers/topics/far/partitions/0/state";
    scene.stage.znodes.create(path, state.as_bytes(), &options).await.unwrap();
    let answer = eventually(async || {
        let answer = scene.everything().await;
        let found = answer.topics.iter().any(|topic| {
            topic.name.as_ref().is_some_and(|name| name.as_str() == "far")
                && !topic.partitions.is_empty()
        });
        found.then_some(answer)
    })
    .await;
    let addresses: Vec<(i32, &str, i32)> = answer
        .brokers
        .iter()
        .map(|broker| (broker.node_id.0, broker.host.as_str(), broker.port))
        .collect();
    assert_eq!(addresses, [(1, "gateway.example.com", i32::from(base) + 1)]);
    let far = answer.topics.iter().find(|topic| topic.name.as_ref().unwrap().as_str() == "far");
    // LISTENER_NOT_FOUND, as Kafka has it for a leader without the client's listener.
    assert_eq!(far.unwrap().partitions[0].error_code, 72);
    // Nor is it an upstream by another's address: the bootstrap address still reaches both.
    let mut client = Client::connect(address(&scene.gateway)).await;
    client.write(&frame(LIST_OFFSETS, 5, 1, b"body")).await;
    tokio::select! {
        _ = scene.broker.conversation() => {}
        _ = second.conversation() => {}
    }
}
