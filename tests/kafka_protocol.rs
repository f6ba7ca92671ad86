//! What holds for every Kafka API: versions, headers, order, and who is hung up on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod kafka_support;

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FindCoordinatorRequest,
    GetTelemetrySubscriptionsRequest, InitProducerIdRequest, MetadataRequest, ProducerId,
    TransactionalId,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use kafka_support::{BROKER, Client, Server, frame, framed, frames, text, topic_name};

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text("kafka-test"))
        .with_client_software_version(text("1.0"))
}

#[tokio::test]
async fn api_versions_offers_what_is_served() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut answers = Vec::new();
    for version in 0..=4 {
        let answer = client.ask(version, &versions()).await;
        assert_eq!(answer.error_code, 0);
        assert!(answer.supported_features.is_empty() && answer.finalized_features.is_empty());
        assert_eq!(answer.finalized_features_epoch, -1);
        answers.push(answer.api_keys);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    let offered: Vec<(i16, i16, i16)> =
        answers[0].iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    let expected = [
        (0, 0, 11),
        (1, 4, 17),
        (2, 1, 10),
        (3, 0, 13),
        (8, 2, 9),
        (9, 1, 9),
        (10, 0, 6),
        (11, 0, 9),
        (12, 0, 4),
        (13, 0, 5),
        (14, 0, 5),
        (15, 0, 6),
        (16, 0, 5),
        (18, 0, 4),
        (19, 2, 7),
        (20, 1, 6),
        (21, 0, 2),
        (22, 0, 5),
        (23, 2, 4),
        (32, 1, 4),
        (33, 0, 2),
        (35, 1, 4),
        (37, 0, 3),
        (42, 0, 2),
        (44, 0, 1),
        (47, 0, 0),
        (60, 0, 2),
        (61, 0, 0),
        (71, 0, 0),
        (75, 0, 0),
    ];
    assert_eq!(offered, expected);
    server.stop().await;
}

#[tokio::test]
async fn a_version_of_api_versions_that_is_not_served_is_answered_in_version_0() {
    let server = Server::start().await;
    for version in [5, 99, -1, i16::MIN, i16::MAX] {
        let mut client = server.client().await;
        client.write(&frame(18, version, 77, b"whatever this version has")).await;
        let mut answer = client.frame().await.unwrap();
        assert_eq!(answer.get_i32(), 77);
        let answer = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
        assert_eq!(answer.error_code, 35);
        let offered: Vec<_> =
            answer.api_keys.iter().map(|a| (a.api_key, a.min_version, a.max_version)).collect();
        assert_eq!(offered, [(18, 0, 4)]);
        // The connection goes on with a version that is.
        assert_eq!(client.ask(4, &versions()).await.error_code, 0);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_names_its_software_as_kip_511_allows() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for bad in ["", "-a", "a b", "a_"] {
        let answer = client.ask(3, &versions().with_client_software_name(text(bad))).await;
        assert_eq!((answer.error_code, answer.api_keys.len()), (42, 0), "{bad:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_kafka_hangs_up_on_is_hung_up_on_and_nobody_else_notices() {
    let server = Server::with(|config| config.socket_request_max_bytes = 1_000).await;
    let mut bystander = server.client().await;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("an unknown API", frame(999, 0, 1, b"").to_vec()),
        ("a negative API", frame(-1, 0, 1, b"").to_vec()),
        (
            "an API that is not served",
            frame(ApiKey::ConsumerGroupHeartbeat as i16, 0, 1, b"").to_vec(),
        ),
        ("a version that is not served", frame(3, 14, 1, b"").to_vec()),
        ("a version that is only advertised", frame(0, 2, 1, b"").to_vec()),
        ("a negative version", frame(3, -1, 1, b"").to_vec()),
        ("a frame of length 0", vec![0; 4]),
        ("a frame of negative length", vec![0xff; 4]),
        ("a frame above the limit", 1_001_i32.to_be_bytes().to_vec()),
        ("a frame shorter than a header", framed(&[0, 3, 0]).to_vec()),
        ("a body that ends early", frame(3, 1, 1, &[0, 0, 0, 1, 0, 5, b'a']).to_vec()),
        ("a count that aborts the decoder", frame(3, 1, 1, b"\x7f\xff\xff\xff\xb6").to_vec()),
        ("a null where none is allowed", frame(3, 1, 1, &[0, 0, 0, 1, 0xff, 0xff]).to_vec()),
        ("text that is not UTF-8", frame(3, 1, 1, &[0, 0, 0, 1, 0, 1, 0xff]).to_vec()),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in cases {
        let mut client = server.client().await;
        // What was asked before is answered first.
        client.write(&frame(18, 0, 5, b"")).await;
        client.write(&bytes).await;
        let answered = client.frame().await.expect(what).get_i32();
        assert_eq!(answered, 5, "{what}");
        assert_eq!(client.frame().await, None, "{what}");
        assert_eq!(bystander.ask(4, &versions()).await.error_code, 0, "after {what}");
    }
    // The longest frame that is allowed.
    let start = frame(3, 1, 9, &[0xff; 4]);
    let mut longest = start[4..].to_vec();
    longest.resize(1_000, 0);
    let mut client = server.client().await;
    client.write(&framed(&longest)).await;
    assert_eq!(client.frame().await.unwrap().get_i32(), 9, "bytes behind the body are ignored");
    server.stop().await;
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_their_order() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut requests = BytesMut::new();
    for correlation in 0..500 {
        if correlation % 2 == 0 {
            requests.extend_from_slice(&frame(18, 0, correlation, b""));
        } else {
            requests.extend_from_slice(&frame(3, 1, correlation, &[0xff; 4]));
        }
    }
    // Also in pieces that end inside of a frame, and with nothing more to come.
    for piece in requests.chunks(997) {
        client.write(piece).await;
    }
    let answered: Vec<i32> =
        frames(client.finish().await).into_iter().map(|mut frame| frame.get_i32()).collect();
    assert_eq!(answered, (0..500).collect::<Vec<_>>());
    server.stop().await;
}

/// A fetch that finds nothing and waits for `max_wait`.
fn long_poll(topic: &str, max_wait: Duration) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(0)
        .with_partition_max_bytes(1 << 20);
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(i32::try_from(max_wait.as_millis()).unwrap())
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![
            FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]),
        ])
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_long_poll_behind_it() {
    let server = Server::start().await;
    server.create(&[("t", 1)]).await;
    let mut client = server.client().await;
    let body = kafka_support::encode(&long_poll("t", Duration::from_secs(6)), 11);
    let mut both = frame(18, 0, 1, b"").to_vec();
    both.extend_from_slice(&frame(1, 11, 2, &body));
    let began = Instant::now();
    client.write(&both).await;
    assert_eq!(client.frame().await.unwrap().get_i32(), 1);
    assert!(began.elapsed() < Duration::from_secs(6));
    // One that comes behind it waits its turn.
    client.write(&frame(18, 0, 3, b"")).await;
    assert_eq!(client.frame().await.unwrap().get_i32(), 2);
    assert!(began.elapsed() >= Duration::from_secs(6));
    assert_eq!(client.frame().await.unwrap().get_i32(), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_and_a_server_that_stops_end_a_long_poll() {
    let server = Server::start().await;
    server.create(&[("t", 1)]).await;
    let began = Instant::now();
    let mut leaver = server.client().await;
    leaver.send(11, &long_poll("t", Duration::from_secs(300))).await;
    // It says that nothing more comes; what it asked for is answered all the same.
    assert_eq!(frames(leaver.finish().await).len(), 1);

    let mut stayer = server.client().await;
    stayer.send(11, &long_poll("t", Duration::from_secs(300))).await;
    // The server has read the request once it answers another client of the same burst.
    server.client().await.ask(0, &versions()).await;
    server.stop().await;
    let _ = stayer.frame().await;
    assert_eq!(stayer.frame().await, None);
    assert!(began.elapsed() < Duration::from_secs(100));
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::with(|config| config.connections_max_idle = Duration::from_secs(3)).await;
    let mut client = server.client().await;
    let began = Instant::now();
    client.ask(0, &versions()).await;
    assert_eq!(client.frame().await, None);
    assert!(began.elapsed() >= Duration::from_secs(3));
    // Half a frame is no sign of life.
    let mut slow = server.client().await;
    slow.write(&[0, 0]).await;
    assert_eq!(slow.frame().await, None);
    server.stop().await;
}

#[tokio::test]
async fn the_apis_without_a_coordinator_say_so() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for version in 1..=6 {
        let request = FindCoordinatorRequest::default().with_key_type(1);
        if version < 4 {
            let answer = client.ask(version, &request.with_key(text("group"))).await;
            assert_eq!((answer.error_code, answer.node_id.0, answer.port), (15, -1, -1));
        } else {
            let keys = vec![text("one"), text("two")];
            let answer = client.ask(version, &request.with_coordinator_keys(keys)).await;
            let found: Vec<_> =
                answer.coordinators.iter().map(|c| (c.key.as_str(), c.error_code)).collect();
            assert_eq!(found, [("one", 15), ("two", 15)]);
        }
    }
    for version in 0..=5 {
        let request = InitProducerIdRequest::default().with_transaction_timeout_ms(1);
        let first = client.ask(version, &request.clone().with_transactional_id(None)).await;
        let second = client.ask(version, &request.clone().with_transactional_id(None)).await;
        assert_eq!((first.error_code, first.producer_epoch), (0, 0));
        assert!(first.producer_id.0 >= 0 && second.producer_id.0 > first.producer_id.0);
        let of = |id: &'static str| Some(TransactionalId(StrBytes::from_static_str(id)));
        let refused = client.ask(version, &request.clone().with_transactional_id(of("t"))).await;
        assert_eq!((refused.error_code, refused.producer_id.0), (15, -1));
        let refused = client.ask(version, &request.clone().with_transactional_id(of(""))).await;
        assert_eq!((refused.error_code, refused.producer_epoch), (42, -1));
        if version >= 3 {
            let half = request.with_transactional_id(None).with_producer_id(ProducerId(5));
            assert_eq!(client.ask(version, &half).await.error_code, 42);
        }
    }
    let telemetry = client.ask(0, &GetTelemetrySubscriptionsRequest::default()).await;
    assert_eq!((telemetry.error_code, telemetry.push_interval_ms), (0, 300_000));
    assert!(telemetry.requested_metrics.is_empty() && !telemetry.client_instance_id.is_nil());
    server.stop().await;
}

#[tokio::test]
async fn a_full_listener_refuses_the_next_connection() {
    let server = Server::with(|config| config.max_connections = 2).await;
    let mut first = server.client().await;
    let mut second = server.client().await;
    let request = MetadataRequest::default().with_topics(None);
    assert_eq!(first.ask(12, &request).await.brokers[0].node_id, BROKER);
    assert_eq!(second.ask(12, &request).await.brokers[0].node_id, BROKER);
    assert_eq!(server.client().await.frame().await, None);
    drop(second);
    // Its place is free once the server has seen it go.
    let mut third = loop {
        let mut client = Client::connect(server.address()).await;
        client.write(&frame(18, 0, 1, b"")).await;
        if client.frame().await.is_some() {
            break client;
        }
    };
    assert_eq!(third.ask(12, &request).await.brokers[0].node_id, BROKER);
    server.stop().await;
}
