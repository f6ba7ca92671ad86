//! What one client may cost: connections, memory and time, without anybody else noticing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use std::time::Duration;

use coordinator_support::{
    AUTH, CLOSE_SESSION, CREATE, Client, EXISTS, GET_DATA, Hello, NO_AUTH, SET_DATA, Server, auth,
    create, open, request, set_data, watched,
};
use doorkeeper::config::{ListenAddress, ThrottleConfig};
use doorkeeper::zookeeper::acl::{ALL, Acl, open_acl_unsafe};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the server closes the connection, whatever it sends before.
async fn closed(stream: &mut TcpStream) {
    let mut bytes = [0; 4_096];
    let read = async { while matches!(stream.read(&mut bytes).await, Ok(1..)) {} };
    tokio::time::timeout(PATIENCE, read).await.expect("the connection is left open");
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    bytes
}

#[tokio::test]
async fn a_throttle_lets_as_many_sessions_open_as_it_has_tokens() {
    let server = Server::start_with(|config| {
        config.connection_throttle = Some(ThrottleConfig {
            tokens: 2,
            fill_time_ms: 3_600_000,
            fill_count: 1,
            freeze_time_ms: None,
            drop_increase: 0.0,
            drop_decrease: 0.0,
            decrease_ratio: 0.0,
            weights: None,
        });
    })
    .await;
    let mut first = server.connect().await;
    let _second = server.connect().await;
    assert!(Client::open(server.address(), Hello::default()).await.is_none(), "a third one");
    for (name, expected) in [
        ("zk_connection_rejected", 1),
        ("zk_connection_request_count", 2),
        ("zk_max_connection_token_deficit", 2),
    ] {
        assert_eq!(metric(&server, name).await, expected, "{name}");
    }
    assert!(first.exists("/zookeeper").await);
}

#[tokio::test]
async fn max_cnxns_is_of_all_ports_together() {
    // Of a port with TLS it counts what has not even begun its handshake.
    let directory = tempfile::tempdir().unwrap();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = directory.path().join("server.pem");
    std::fs::write(&path, format!("{}{}", cert.pem(), signing_key.serialize_pem())).unwrap();
    let server = Server::start_with(|config| {
        use doorkeeper::net::tls::{ClientAuth, StoreKind, TlsConfig, options, store};
        config.max_cnxns = 2;
        config.secure_client_address =
            Some(ListenAddress { host: "127.0.0.1".to_owned(), port: 0 });
        config.tls = Some(TlsConfig {
            key_store: store::StoreConfig::file(
                path,
                StoreKind::Pem,
                store::Password::Text(doorkeeper::config::Secret::new("")),
            ),
            trust_store: None,
            client_auth: ClientAuth::None,
            protocols: options::Protocol::ALL.to_vec(),
            cipher_suites: Vec::new(),
            verify_client_address: false,
        });
    })
    .await;
    let secure = server.coordinator.secure_client_address().unwrap();
    let _one = server.connect().await;
    let _two = server.connect().await;
    for address in [secure, server.address()] {
        closed(&mut TcpStream::connect(address).await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_handshake_has_a_length_and_a_time() {
    let server = Server::start().await;
    let mut long = TcpStream::connect(server.address()).await.unwrap();
    long.write_all(&framed(&vec![0; 5_000])).await.unwrap();
    closed(&mut long).await;
    // One byte, and then nothing: its time is over sooner or later.
    let mut slow = TcpStream::connect(server.address()).await.unwrap();
    slow.write_all(&[0]).await.unwrap();
    assert!(server.connect().await.exists("/zookeeper").await);
    closed(&mut slow).await;
}

#[tokio::test]
async fn half_a_request_holds_its_connection_no_longer_than_its_session() {
    let server = Server::start().await;
    let hello = Hello { timeout_ms: 4_000, ..Hello::default() };
    let mut slow = Client::open(server.address(), hello).await.unwrap();
    let frame = framed(&request(1, GET_DATA, &watched("/zookeeper", false)));
    slow.stream.write_all(&frame[..frame.len() - 1]).await.unwrap();
    assert!(server.connect().await.exists("/zookeeper").await);
    closed(&mut slow.stream).await;
}

#[tokio::test]
async fn large_requests_share_their_memory_and_small_ones_do_not_wait() {
    let server = Server::start_with(|config| {
        config.large_request_threshold = 1_000;
        config.large_request_max_bytes = 1;
    })
    .await;
    // The longest request possible has all of the room, and stops half-way.
    let data = vec![7; 1_000_000];
    let frame = framed(&request(1, CREATE, &create("/slow", &data, 0, &open_acl_unsafe())));
    let mut slow = server.connect().await;
    slow.stream.write_all(&frame[..frame.len() / 2]).await.unwrap();
    let mut small = server.connect().await;
    assert_eq!(small.create("/a", 0).await.err, 0);
    // Another large one waits for it, and goes on as soon as it is gone.
    let patient = Hello { timeout_ms: 20_000, ..Hello::default() };
    let mut waits = Client::open(server.address(), patient).await.unwrap();
    let address = server.address();
    let large = create("/large", &data, 0, &open_acl_unsafe());
    let (reply, ()) = tokio::join!(waits.ask(CREATE, &large), async {
        for number in 0..5 {
            assert_eq!(small.create(&format!("/a/{number}"), 0).await.err, 0);
        }
        drop(slow);
    });
    assert_eq!(reply.err, 0);
    let mut other = Client::open(address, Hello::default()).await.unwrap();
    for _ in 0..5 {
        assert_eq!(other.ask(SET_DATA, &set_data("/large", &data, -1)).await.err, 0, "room again");
    }
}

#[tokio::test]
async fn a_client_that_reads_late_gets_everything_and_keeps_nobody_waiting() {
    let server = Server::start().await;
    let mut late = server.connect().await;
    let data = vec![7; 900_000];
    let body = create("/large", &data, 0, &open_acl_unsafe());
    assert_eq!(late.ask(CREATE, &body).await.err, 0);
    let mut xids = Vec::new();
    for _ in 0..60 {
        xids.push(late.send(GET_DATA, &watched("/large", false)).await);
    }
    let mut other = server.connect().await;
    for number in 0..50 {
        assert_eq!(other.create(&format!("/n{number}"), 0).await.err, 0);
    }
    for xid in xids {
        let reply = late.next().await.expect("cut off");
        assert_eq!((reply.xid, reply.err, reply.body.len()), (xid, 0, data.len() + 72));
    }
}

#[tokio::test]
async fn more_requests_than_may_be_outstanding_are_all_answered_in_order() {
    let server = Server::start_with(|config| config.global_outstanding_limit = 1).await;
    let mut clients = Vec::new();
    for number in 0..5 {
        let mut client = server.connect().await;
        let mut xids = Vec::new();
        for i in 0..100 {
            let body = create(&format!("/c{number}-{i}"), b"x", 0, &open_acl_unsafe());
            xids.push(client.send(CREATE, &body).await);
        }
        clients.push((client, xids));
    }
    for (client, xids) in &mut clients {
        for xid in xids {
            let reply = client.next().await.unwrap();
            assert_eq!((reply.xid, reply.err), (*xid, 0));
        }
    }
}

/// CVE-2024-51504: whatever a client says of its address, it is the one that it comes from.
#[tokio::test]
async fn cve_2024_51504_an_address_is_never_taken_from_what_a_client_says() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let acl = [Acl::new(ALL, "ip", "10.1.2.3")];
    assert_eq!(client.ask(CREATE, &create("/theirs", b"x", 0, &acl)).await.err, 0);
    client.send_as(-4, AUTH, &auth("ip", b"10.1.2.3")).await;
    assert_eq!(client.next().await.unwrap().err, 0, "as ZooKeeper answers");
    assert_eq!(client.ask(GET_DATA, &watched("/theirs", false)).await.err, NO_AUTH);
}

#[tokio::test]
async fn one_request_at_a_time_is_enough_for_all_to_be_answered_in_order() {
    let server = Server::start_with(|config| config.request_throttle.max_requests = Some(1)).await;
    let mut client = server.connect().await;
    let mut frames = Vec::new();
    for xid in 1..=100 {
        frames.extend(framed(&request(xid, CREATE, &open(&format!("/n{xid}"), 0))));
    }
    client.stream.write_all(&frames).await.unwrap();
    for xid in 1..=100 {
        let reply = client.next().await.unwrap();
        assert_eq!((reply.xid, reply.err), (xid, 0));
    }
    assert!(metric(&server, "zk_request_throttle_wait_count").await > 0);
}

#[tokio::test]
async fn what_waited_too_long_is_refused_and_changes_nothing() {
    let server = Server::start_with(|config| {
        config.request_throttle.op_wait = Some(Duration::from_nanos(1));
    })
    .await;
    let mut client = server.connect().await;
    let before = client.ask(EXISTS, &watched("/", false)).await.zxid;
    let refused = client.create("/a", 0).await;
    assert_eq!((refused.err, refused.zxid), (-127, before), "no transaction says it");
    assert!(!client.exists("/a").await);
    assert_eq!(metric(&server, "zk_throttled_ops").await, 1);
    assert_eq!(client.ask(CLOSE_SESSION, &[]).await.err, 0, "a session ends however long it waits");
}

/// One line of `mntr`.
async fn metric(server: &Server, name: &str) -> u64 {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"mntr").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}
