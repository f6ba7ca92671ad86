//! What passes through a gateway, seen from a broker that the test plays: order, bounds, and the
//! end of either side.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod gateway_support;
mod kafka_support;

use bytes::{BufMut, BytesMut};
use doorkeeper::config::GatewayConfig;
use doorkeeper::gateway::Gateway;
use gateway_support::{
    Conversation, Played, Stage, address, config, eventually, in_time, relay, start,
};
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, DescribeTopicPartitionsRequest, MetadataRequest, MetadataResponse,
};
use kafka_support::{Client, frame, text, topic_name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIST_OFFSETS: i16 = ApiKey::ListOffsets as i16;
const PRODUCE: i16 = ApiKey::Produce as i16;

struct Scene {
    _stage: Stage,
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
        let mut config = config(&stage.connect());
        change(&mut config);
        let gateway = start(config).await;
        Scene { _stage: stage, broker, gateway }
    }

    async fn client(&self) -> Client {
        Client::connect(address(&self.gateway)).await
    }

    /// A client with a conversation that its first request, which is not answered yet, has begun.
    async fn meet(&mut self, correlation: i32) -> (Client, Conversation) {
        let mut client = self.client().await;
        client.write(&frame(LIST_OFFSETS, 5, correlation, b"body")).await;
        let mut upstream = self.broker.conversation().await;
        let (head, _) = upstream.request().await.unwrap();
        assert_eq!((head.key, head.version, head.correlation), (LIST_OFFSETS, 5, correlation));
        (client, upstream)
    }
}

/// The start of a `Produce` request of version 3.
fn produce(correlation: i32, acks: i16, records: &[u8]) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_i16(-1);
    body.put_i16(acks);
    body.put_i32(1_000);
    body.put_slice(records);
    frame(PRODUCE, 3, correlation, &body).to_vec()
}

/// What an answer says behind its correlation id.
async fn answer(client: &mut Client) -> (i32, Vec<u8>) {
    let frame = client.frame().await.expect("an answer");
    let (correlation, body) = frame.split_first_chunk::<4>().unwrap();
    (i32::from_be_bytes(*correlation), body.to_vec())
}

#[tokio::test]
async fn requests_and_answers_pass_unchanged_and_in_order() {
    let mut scene = Scene::new().await;
    let (mut client, mut upstream) = scene.meet(41).await;
    let mut more = frame(LIST_OFFSETS, 5, 42, b"second").to_vec();
    more.extend(frame(ApiKey::ApiVersions as i16, 0, 43, b""));
    more.extend(frame(LIST_OFFSETS, 5, 44, b"third"));
    client.write(&more).await;
    let (head, body) = upstream.request().await.unwrap();
    assert_eq!((head.correlation, body.ends_with(b"second")), (42, true));
    let (head, body) = upstream.request().await.unwrap();
    assert_eq!((head.correlation, body.ends_with(b"third")), (44, true));
    for (correlation, body) in [(41, &b"one"[..]), (42, b"two"), (44, b"three")] {
        upstream.answer(correlation, body).await;
    }
    assert_eq!(answer(&mut client).await, (41, b"one".to_vec()));
    assert_eq!(answer(&mut client).await, (42, b"two".to_vec()));
    assert_eq!(answer(&mut client).await.0, 43, "its own answer waits for its turn");
    assert_eq!(answer(&mut client).await, (44, b"three".to_vec()));
}

#[tokio::test]
async fn a_long_request_is_passed_on_before_it_is_whole() {
    let mut scene = Scene::new().await;
    let mut client = scene.client().await;
    let whole = produce(7, 1, &vec![9; 90 << 20]);
    client.write(&whole[..1 << 20]).await;
    let mut upstream = scene.broker.conversation().await;
    assert!(upstream.fill(1 << 20).await, "what was sent is here, the rest is not even sent");
    // The client dies in the middle: so does its upstream.
    drop(client);
    upstream.ended().await;
}

#[tokio::test]
async fn a_request_above_the_limit_closes_the_connection() {
    let scene = Scene::with(|config| config.socket_request_max_bytes = 10_000).await;
    let mut client = scene.client().await;
    client.write(&10_001_i32.to_be_bytes()).await;
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn produce_without_acks_is_owed_nothing() {
    let mut scene = Scene::new().await;
    let mut client = scene.client().await;
    let mut both = produce(1, 0, b"records");
    both.extend(frame(LIST_OFFSETS, 5, 2, b"body"));
    client.write(&both).await;
    let mut upstream = scene.broker.conversation().await;
    assert_eq!(upstream.request().await.unwrap().0.correlation, 1);
    assert_eq!(upstream.request().await.unwrap().0.correlation, 2);
    upstream.answer(2, b"answer").await;
    assert_eq!(answer(&mut client).await, (2, b"answer".to_vec()));
    // That answer came after the records: an upstream that ends now loses nothing.
    upstream.stream.shutdown().await.unwrap();
    upstream.ended().await;
    client.write(&frame(LIST_OFFSETS, 5, 3, b"body")).await;
    let mut upstream = scene.broker.conversation().await;
    assert_eq!(upstream.request().await.unwrap().0.correlation, 3);
    // Records after it may be lost by it.
    upstream.answer(3, b"answer").await;
    assert_eq!(answer(&mut client).await.0, 3);
    client.write(&produce(4, 0, b"records")).await;
    assert_eq!(upstream.request().await.unwrap().0.correlation, 4);
    drop(upstream);
    assert_eq!(client.frame().await, None, "the client must learn of it");
}

#[tokio::test]
async fn an_upstream_that_ends_with_an_answer_owed_ends_its_client() {
    let mut scene = Scene::new().await;
    let (mut client, mut upstream) = scene.meet(1).await;
    client.write(&frame(LIST_OFFSETS, 5, 2, b"body")).await;
    upstream.request().await.unwrap();
    upstream.answer(1, b"whole").await;
    drop(upstream);
    assert_eq!(answer(&mut client).await, (1, b"whole".to_vec()), "what is whole is passed on");
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn an_upstream_that_ends_in_the_middle_of_an_answer_ends_its_client() {
    let mut scene = Scene::new().await;
    let (mut client, mut upstream) = scene.meet(1).await;
    upstream.stream.write_all(&[0, 0, 0, 100, 0, 0, 0, 1, 9, 9]).await.unwrap();
    drop(upstream);
    let mut rest = Vec::new();
    in_time(client.stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() <= 10, "nothing is made up: {rest:?}");
}

#[tokio::test]
async fn long_answers_pass_whole_between_short_ones() {
    let mut scene = Scene::new().await;
    let (mut client, mut upstream) = scene.meet(1).await;
    let mut more = frame(LIST_OFFSETS, 5, 2, b"second").to_vec();
    more.extend(frame(ApiKey::ApiVersions as i16, 0, 3, b""));
    more.extend(frame(LIST_OFFSETS, 5, 4, b"third"));
    client.write(&more).await;
    upstream.request().await.unwrap();
    upstream.request().await.unwrap();
    let long: Vec<u8> = (0_u8..251).cycle().take(20 << 20).collect();
    let answering = async {
        upstream.answer(1, &long).await;
        upstream.answer(2, b"short").await;
        upstream.answer(4, &long[1..100_000]).await;
    };
    let reading = async {
        let (correlation, body) = answer(&mut client).await;
        assert!((correlation, &body) == (1, &long), "{} bytes", body.len());
        assert_eq!(answer(&mut client).await, (2, b"short".to_vec()));
        assert_eq!(answer(&mut client).await.0, 3);
        let (correlation, body) = answer(&mut client).await;
        assert!(correlation == 4 && body == long[1..100_000]);
    };
    tokio::join!(answering, reading);
}

#[tokio::test]
async fn an_upstream_that_ends_in_the_middle_of_a_long_answer_ends_its_client() {
    let mut scene = Scene::new().await;
    let (mut client, mut upstream) = scene.meet(1).await;
    let mut begun = vec![0, 0x50, 0, 0, 0, 0, 0, 1];
    begun.resize(1 << 20, 9);
    let answering = async {
        upstream.stream.write_all(&begun).await.unwrap();
        drop(upstream);
    };
    let mut rest = Vec::new();
    let reading = async { in_time(client.stream.read_to_end(&mut rest)).await };
    let ((), read) = tokio::join!(answering, reading);
    read.unwrap();
    assert!(begun.starts_with(&rest), "nothing is made up: {} bytes", rest.len());
}

#[tokio::test]
async fn wrong_answers_end_the_connection_and_nothing_else() {
    let mut scene = Scene::new().await;
    let (mut bystander, mut their_upstream) = scene.meet(77).await;
    for wrong in [
        // Another correlation id, a length that is none, and one that holds no correlation id.
        &[0, 0, 0, 4, 0, 0, 0, 2][..],
        &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1],
        &[0, 0, 0, 3, 0, 0, 0, 1],
    ] {
        let (mut client, mut upstream) = scene.meet(1).await;
        upstream.stream.write_all(wrong).await.unwrap();
        assert_eq!(client.frame().await, None, "{wrong:?}");
        upstream.ended().await;
    }
    // An answer that nobody asked for.
    let (mut client, mut upstream) = scene.meet(1).await;
    upstream.answer(1, b"one").await;
    assert_eq!(answer(&mut client).await.0, 1);
    upstream.answer(2, b"two").await;
    assert_eq!(client.frame().await, None);
    their_upstream.answer(77, b"fine").await;
    assert_eq!(answer(&mut bystander).await, (77, b"fine".to_vec()));
}

#[tokio::test]
async fn thousands_of_requests_in_flight_are_answered_in_order() {
    let mut scene = Scene::new().await;
    let (client, mut upstream) = scene.meet(0).await;
    let total = 5_000;
    let (mut read, mut write) = client.stream.into_split();
    let writer = tokio::spawn(async move {
        for correlation in 1..total {
            write.write_all(&frame(LIST_OFFSETS, 5, correlation, b"body")).await.unwrap();
        }
        write
    });
    for correlation in 0..total {
        upstream.answer(correlation, b"").await;
        assert_eq!(in_time(read.read_i32()).await.unwrap(), 4);
        assert_eq!(in_time(read.read_i32()).await.unwrap(), correlation);
        if correlation + 1 < total {
            assert_eq!(upstream.request().await.unwrap().0.correlation, correlation + 1);
        }
    }
    in_time(writer).await.unwrap();
}

#[tokio::test]
async fn refused_hidden_and_unknown_apis_close_the_connection() {
    let scene = Scene::with(|config| _ = config.refuse_apis.insert(19)).await;
    for (key, version) in [(19, 5), (4, 0), (56, 3), (999, 0), (-1, 0)] {
        let mut client = scene.client().await;
        client.write(&frame(key, version, 1, b"")).await;
        assert_eq!(client.frame().await, None, "{key}");
    }
    let offered = scene.client().await.ask(0, &ApiVersionsRequest::default()).await;
    let keys: Vec<i16> = offered.api_keys.iter().map(|api| api.api_key).collect();
    assert_eq!(keys, [0, 1, 2, 3, 10, 18, 60], "without CreateTopics and AlterPartition");
}

#[tokio::test]
async fn direct_mode_offers_what_the_broker_has() {
    let scene = Scene::new().await;
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("a"))
        .with_client_software_version(text("1"));
    for version in [0, 3, 4] {
        let offered = scene.client().await.ask(version, &request).await;
        assert_eq!(offered.error_code, 0);
        let range = |key: ApiKey| {
            let api = offered.api_keys.iter().find(|api| api.api_key == key as i16).unwrap();
            (api.min_version, api.max_version)
        };
        assert_eq!(range(ApiKey::Metadata), (0, 12));
        assert_eq!(range(ApiKey::Produce), (0, 11));
        assert_eq!(range(ApiKey::Fetch), (0, 17));
    }
    // KIP-511: an unknown version is answered in version 0 with the range that there is.
    let mut client = scene.client().await;
    let mut newer = BytesMut::new();
    newer.put_slice(&[0, 0, 0, 8, 0, 18, 0, 99, 0, 0, 0, 9]);
    client.write(&newer).await;
    let (correlation, body) = answer(&mut client).await;
    assert_eq!((correlation, &body[..]), (9, &[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4][..]));
}

#[tokio::test]
async fn a_broker_that_is_not_there_ends_only_who_needs_it() {
    let stage = Stage::new().await;
    let nobody = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    stage.register(1, nobody).await;
    let gateway = start(config(&stage.connect())).await;
    let mut client = Client::connect(address(&gateway)).await;
    let offered = client.ask(0, &ApiVersionsRequest::default()).await;
    let keys: Vec<i16> = offered.api_keys.iter().map(|api| api.api_key).collect();
    assert_eq!(keys, [3, 10, 18, 60], "what needs no broker");
    let mut other = Client::connect(address(&gateway)).await;
    other.write(&frame(LIST_OFFSETS, 5, 1, b"body")).await;
    assert_eq!(other.frame().await, None);
    client.ask(0, &ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn every_prefix_and_every_changed_byte_of_a_header_disturbs_nobody() {
    let scene = Scene::new().await;
    let mut bystander = scene.client().await;
    let body = kafka_support::encode(&MetadataRequest::default().with_topics(Some(Vec::new())), 12);
    let whole = frame(ApiKey::Metadata as i16, 12, 1, &body);
    for end in 0..whole.len() {
        let mut client = scene.client().await;
        client.write(&whole[..end]).await;
        assert_eq!(client.finish().await, b"", "{end}");
    }
    for at in 4..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.to_vec();
            changed[at] ^= 1 << bit;
            let mut client = scene.client().await;
            client.write(&changed).await;
            drop(client);
        }
    }
    bystander.ask(0, &ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn where_the_brokers_want_a_login_they_answer_every_question() {
    let stage = Stage::new().await;
    let mut broker = Played::new().await;
    stage.register_with(1, broker.address, "SASL_PLAINTEXT").await;
    stage.topic("t", 1).await;
    let gateway = start(config(&stage.connect())).await;
    let mut client = Client::connect(address(&gateway)).await;
    let metadata = kafka_support::encode(&MetadataRequest::default().with_topics(None), 9);
    let mut both = frame(ApiKey::SaslHandshake as i16, 1, 1, b"\x00\x05PLAIN").to_vec();
    both.extend(frame(ApiKey::Metadata as i16, 9, 2, &metadata));
    client.write(&both).await;
    let mut upstream = broker.conversation().await;
    assert_eq!(upstream.request().await.unwrap().0.key, ApiKey::SaslHandshake as i16);
    assert_eq!(upstream.request().await.unwrap().0.key, ApiKey::Metadata as i16);
    upstream.answer(1, b"fine").await;
    upstream.answer(2, b"the broker's own").await;
    assert_eq!(answer(&mut client).await, (1, b"fine".to_vec()));
    assert_eq!(answer(&mut client).await, (2, b"the broker's own".to_vec()));
    // Another upstream would not know who this is.
    drop(upstream);
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn limits_count_all_connections_and_idle_ones_end() {
    let scene = Scene::with(|config| config.max_connections = 1).await;
    let mut first = scene.client().await;
    first.ask(0, &ApiVersionsRequest::default()).await;
    let mut second = scene.client().await;
    second.write(&frame(ApiKey::ApiVersions as i16, 0, 1, b"")).await;
    assert_eq!(second.frame().await, None, "one too many");
    first.ask(0, &ApiVersionsRequest::default()).await;

    let scene = Scene::with(|config| {
        config.connections_max_idle = std::time::Duration::from_millis(200);
    })
    .await;
    let mut silent = scene.client().await;
    assert_eq!(silent.frame().await, None);
}

#[tokio::test]
async fn a_broker_without_describe_topic_partitions_is_asked_for_metadata() {
    let stage = Stage::new().await;
    let mut broker = Played::new().await;
    stage.register(1, broker.address).await;
    stage.topic("t", 1).await;
    // Who asks is not known here: everything is asked of the broker.
    let gateway =
        start(GatewayConfig { principal_upstream: true, ..relay(&stage.connect()) }).await;
    let mut client = Client::connect(address(&gateway)).await;
    let offered = eventually(async || {
        let offered = client.ask(0, &ApiVersionsRequest::default()).await;
        offered.api_keys.iter().any(|api| api.api_key == LIST_OFFSETS).then_some(offered)
    })
    .await;
    let describe = ApiKey::DescribeTopicPartitions as i16;
    assert!(offered.api_keys.iter().any(|api| api.api_key == describe));
    let partition = |index| MetadataResponsePartition::default().with_partition_index(index);
    let topic = MetadataResponseTopic::default()
        .with_name(Some(topic_name("t")))
        .with_topic_authorized_operations(9)
        .with_partitions(vec![partition(2), partition(0), partition(1)]);
    let metadata = MetadataResponse::default().with_topics(vec![topic]);
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(vec![TopicRequest::default().with_name(topic_name("t"))])
        .with_response_partition_limit(2);
    let correlation = client.send(0, &request).await;
    let mut upstream = broker.conversation().await;
    for times in 1..=2 {
        let (head, body) = upstream.request().await.unwrap();
        assert_eq!((head.key, head.version), (ApiKey::Metadata as i16, 12), "{times}");
        assert!(body.starts_with(b"\x00\x04test"), "by the client's own name");
        let mut answer = vec![0];
        answer.extend(kafka_support::encode(&metadata, 12));
        upstream.answer(head.correlation, &answer).await;
        if times == 1 {
            let page = client.answer::<DescribeTopicPartitionsRequest>(0, correlation).await;
            let told: Vec<i32> =
                page.topics[0].partitions.iter().map(|found| found.partition_index).collect();
            assert_eq!((told, page.topics[0].topic_authorized_operations), (vec![0, 1], 9));
            assert_eq!(page.next_cursor.unwrap().partition_index, 2);
            client.send(0, &request).await;
        }
    }
    // An answer that is none ends the connection.
    client.frame().await.unwrap();
    client.send(0, &request).await;
    let (head, _) = upstream.request().await.unwrap();
    upstream.answer(head.correlation, b"\0nonsense").await;
    assert_eq!(client.frame().await, None);
}
