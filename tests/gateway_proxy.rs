//! What a gateway lets in: the PROXY protocol, limits by address behind it, rates, and clients that
//! are slow or read nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod gateway_support;
mod kafka_support;
mod tls_support;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use doorkeeper::config::{GatewayConfig, SecurityProtocol};
use doorkeeper::gateway::Gateway;
use doorkeeper::net::tls::ClientAuth;
use gateway_support::{Stage, address, config, eventually, in_time, start};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::Decodable;
use kafka_support::Client;
use tls_support::Authority;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A gateway whose clients come by a load balancer on the loopback address.
struct Scene {
    _stage: Stage,
    gateway: Gateway,
}

impl Scene {
    async fn new(change: impl FnOnce(&mut GatewayConfig)) -> Scene {
        let stage = Stage::new().await;
        stage.register(1, "127.0.0.1:1".parse().unwrap()).await;
        stage.topic("t", 1).await;
        let mut config = config(&stage.connect());
        config.listeners[0].proxies = Some(vec!["127.0.0.0/8".parse().unwrap()]);
        change(&mut config);
        let gateway = start(config).await;
        Scene { _stage: stage, gateway }
    }

    fn address(&self) -> SocketAddr {
        address(&self.gateway)
    }

    /// A connection that begins with these bytes.
    async fn open(&self, header: &[u8]) -> Client {
        let mut client = Client::connect(self.address()).await;
        client.write(header).await;
        client
    }

    /// Whether a client that comes so is served.
    async fn serves(&self, header: &[u8]) -> bool {
        served(&mut self.open(header).await).await
    }
}

fn question() -> Bytes {
    let request = MetadataRequest::default().with_topics(None);
    kafka_support::frame(3, 8, 1, &kafka_support::encode(&request, 8))
}

/// Whether a client gets its answer; false where it is hung up on.
async fn served<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) -> bool {
    client.write(&question()).await;
    let _ = client.stream.flush().await;
    let Some(frame) = client.answer_if_any().await else { return false };
    let answer = MetadataResponse::decode(&mut frame.slice(4..), 8).unwrap();
    assert_eq!(answer.topics.len(), 1);
    true
}

fn v1(ip: &str) -> Vec<u8> {
    let word = if ip.contains(':') { "TCP6" } else { "TCP4" };
    format!("PROXY {word} {ip} {ip} 1234 9092\r\n").into_bytes()
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    header.extend(body);
    header
}

/// The header of version 2 for 192.0.2.`last`, with a further field.
fn v2_of(last: u8) -> Vec<u8> {
    v2(1, 0x11, &[192, 0, 2, last, 10, 0, 0, 1, 4, 210, 35, 132, 4, 0, 1, 0])
}

#[tokio::test]
async fn limits_go_by_the_address_in_the_header() {
    let capped: IpAddr = "192.0.2.7".parse().unwrap();
    let scene = Scene::new(|config| {
        config.max_connections_per_ip = 1;
        config.limits.per_ip_overrides = [(capped, 2)].into();
    })
    .await;
    let mut open = Vec::new();
    for header in [v1("192.0.2.1"), v2_of(2), v1("2001:db8::1"), v2_of(7), v1("192.0.2.7")] {
        let mut client = scene.open(&header).await;
        assert!(served(&mut client).await, "{header:?}");
        open.push(client);
    }
    for header in [v2_of(1), v1("192.0.2.2"), v1("2001:db8::1"), v2_of(7)] {
        assert!(!scene.serves(&header).await, "{header:?}");
    }
    // The load balancer's own connection counts for itself.
    let own = v2(0, 0, &[]);
    let mut check = scene.open(&own).await;
    assert!(served(&mut check).await);
    assert!(!scene.serves(b"PROXY UNKNOWN\r\n").await, "the same address");
    // Whoever goes makes room.
    drop(open);
    eventually(async || scene.serves(&v2_of(1)).await.then_some(())).await;
}

#[tokio::test]
async fn a_header_may_come_in_pieces_and_what_is_none_is_closed() {
    let scene = Scene::new(|_| {}).await;
    for header in [v1("192.0.2.1"), v2_of(1)] {
        let mut slow = scene.open(b"").await;
        slow.stream.set_nodelay(true).unwrap();
        for byte in &header {
            slow.write(&[*byte]).await;
            tokio::task::yield_now().await;
        }
        assert!(served(&mut slow).await);
        for end in [0, 1, 5, 11, 12, 15, header.len() - 1] {
            let rest = scene.open(&header[..end]).await.finish().await;
            assert_eq!(rest, b"", "{end} bytes of {header:?}");
        }
    }
    let mut version_9 = v2_of(1);
    version_9[12] = 0x91;
    for bytes in [
        question().to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 a b 1 2\r\n".to_vec(),
        [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
        v2(1, 0x11, &[0; 2_000]),
        version_9,
    ] {
        assert!(!scene.serves(&bytes).await, "{bytes:?}");
    }
    assert!(scene.serves(&v1("192.0.2.1")).await, "nobody else is disturbed");
}

#[tokio::test]
async fn only_the_word_of_a_trusted_network_counts() {
    let scene = Scene::new(|config| {
        config.listeners[0].proxies = Some(vec!["10.0.0.0/8".parse().unwrap()]);
    })
    .await;
    for header in [v1("192.0.2.1"), v2_of(1), v2(0, 0, &[]), Vec::new()] {
        assert!(!scene.serves(&header).await, "{header:?}");
    }
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let (authority, files) = (Authority::new("ca"), tempfile::tempdir().unwrap());
    let mut tls = tls_support::config(files.path(), &authority.sign("server"), &authority.pem);
    tls.client_auth = ClientAuth::None;
    let scene = Scene::new(|config| {
        config.listeners[0].protocol = SecurityProtocol::Ssl;
        config.listeners[0].tls = Some(tls);
    })
    .await;
    let connector = tokio_rustls::TlsConnector::from(tls_support::client(&authority, None));
    let mut stream = TcpStream::connect(scene.address()).await.unwrap();
    stream.write_all(&v2_of(1)).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let stream = in_time(connector.connect(name, stream)).await.unwrap();
    assert!(served(&mut Client::over(stream)).await);
}

#[tokio::test]
async fn who_asks_too_much_waits_and_is_not_closed() {
    const RATE: u32 = 20;
    let scene = Scene::new(|config| config.limits.requests_per_ip = Some(RATE)).await;
    let begun = Instant::now();
    let (mut one, mut two) = (scene.open(&v2_of(1)).await, scene.open(&v2_of(1)).await);
    for _ in 0..2 * RATE {
        assert!(served(&mut one).await && served(&mut two).await);
    }
    // 80 requests at 20 a second, of which 20 come at once; a connection that is told to wait may
    // be one request ahead.
    assert!(begun.elapsed() >= Duration::from_millis(2_500), "{:?}", begun.elapsed());
    assert!(scene.serves(&v2_of(2)).await);
}

#[tokio::test]
async fn new_connections_wait_where_there_are_too_many() {
    let scene = Scene::new(|config| config.listeners[0].connection_rate = Some(10)).await;
    let begun = Instant::now();
    for last in 0..30 {
        assert!(scene.serves(&v2_of(last)).await);
    }
    assert!(begun.elapsed() >= Duration::from_millis(1_500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_never_reads_is_not_read_for_ever() {
    let scene = Scene::new(|_| {}).await;
    let mut deaf = scene.open(&v2_of(1)).await;
    let question = question();
    let many = question.repeat(1_000);
    let mut written = 0;
    // Until nothing more is taken: a busy machine may make this end early, never late.
    while let Ok(wrote) =
        tokio::time::timeout(Duration::from_secs(3), deaf.stream.write(&many)).await
    {
        written += wrote.unwrap();
        assert!(written < 64 << 20, "it takes more than socket buffers and its bounds hold");
    }
    assert!(scene.serves(&v2_of(2)).await, "nobody else is disturbed");
}
