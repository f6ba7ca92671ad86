//! A gateway in this process, in front of brokers that are real or played by the test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of this")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use doorkeeper::config::gateway::{GatewayAddresses, GatewayListener, RelayAddresses};
use doorkeeper::config::{CoordinatorConfig, GatewayConfig, ListenAddress};
use doorkeeper::gateway::Gateway;
use doorkeeper::net::stream::Stream;
use doorkeeper::net::tls::TlsServer;
use doorkeeper::zookeeper::server::Coordinator;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};
use kafka_protocol::protocol::Encodable;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use zookeeper_client::{Acls, Client, CreateMode};

/// Longer than anything takes on a busy machine: a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway's configuration: one listener on a free port, in direct mode.
pub fn config(connect: &str) -> GatewayConfig {
    GatewayConfig {
        listeners: vec![GatewayListener::plain(
            "PLAINTEXT",
            ListenAddress { host: "127.0.0.1".to_owned(), port: 0 },
        )],
        zookeeper_connect: connect.to_owned(),
        ..GatewayConfig::default()
    }
}

/// The same as a relay on free ports.
pub fn relay(connect: &str) -> GatewayConfig {
    let relay = RelayAddresses { port_base: 0, advertised_host: None, advertised_port_base: None };
    GatewayConfig { addresses: GatewayAddresses::Gateway(relay), ..config(connect) }
}

/// Starts a gateway: it must serve in time.
pub async fn start(config: GatewayConfig) -> Gateway {
    in_time(Gateway::start(config)).await.unwrap()
}

/// The bootstrap address.
pub fn address(gateway: &Gateway) -> SocketAddr {
    *gateway.listeners().values().next().unwrap()
}

/// What `future` gives, which must be in time.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// Tries until something is there.
pub async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    in_time(async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// A coordinator with the znodes of a cluster whose brokers the test plays.
pub struct Stage {
    pub coordinator: Coordinator,
    pub znodes: Client,
    directory: TempDir,
}

impl Stage {
    pub async fn new() -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let coordinator = Coordinator::start(CoordinatorConfig {
            client_address: Some(ListenAddress { host: "127.0.0.1".to_owned(), port: 0 }),
            data_dir: directory.path().join("coordinator"),
            data_log_dir: directory.path().join("coordinator"),
            pre_alloc_size: 1 << 20,
            force_sync: false,
            ..CoordinatorConfig::default()
        })
        .await
        .unwrap();
        let connect = coordinator.client_address().unwrap().to_string();
        let znodes = Client::connector()
            .with_session_timeout(Duration::from_secs(30))
            .connect(&connect)
            .await
            .unwrap();
        let stage = Stage { coordinator, znodes, directory };
        stage.make("/brokers/ids", "").await;
        stage.make("/brokers/topics", "").await;
        stage.make("/cluster/id", r#"{"version":"1","id":"Y2x1c3RlcmlkMDAwMDAwMA"}"#).await;
        stage
    }

    pub fn connect(&self) -> String {
        self.coordinator.client_address().unwrap().to_string()
    }

    /// Makes a znode, and those above it.
    pub async fn make(&self, path: &str, data: &str) {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        if let Some((above, _)) = path.rsplit_once('/')
            && !above.is_empty()
        {
            self.znodes.mkdir(above, &options).await.unwrap();
        }
        self.znodes.create(path, data.as_bytes(), &options).await.unwrap();
    }

    /// Registers a broker.
    pub async fn register(&self, id: i32, address: SocketAddr) {
        self.register_with(id, address, "PLAINTEXT").await;
    }

    /// Registers a broker whose listener, called `PLAINTEXT` whatever it is, has this protocol.
    pub async fn register_with(&self, id: i32, address: SocketAddr, protocol: &str) {
        let data = format!(
            r#"{{"version":5,"host":"{0}","port":{1},"jmx_port":-1,"timestamp":"1","endpoints":["PLAINTEXT://{0}:{1}"],"listener_security_protocol_map":{{"PLAINTEXT":"{protocol}"}},"features":{{}}}}"#,
            address.ip(),
            address.port()
        );
        self.make(&format!("/brokers/ids/{id}"), &data).await;
    }

    /// Makes a topic of one partition that this broker leads.
    pub async fn topic(&self, name: &str, leader: i32) {
        let topic = format!("/brokers/topics/{name}");
        let data = format!(
            r#"{{"version":3,"topic_id":"AAAAAAAAAAAAAAAAAAAABg","partitions":{{"0":[{leader}]}},"adding_replicas":{{}},"removing_replicas":{{}}}}"#
        );
        self.make(&topic, &data).await;
        let state = format!(
            r#"{{"version":1,"leader":{leader},"leader_epoch":0,"controller_epoch":1,"isr":[{leader}]}}"#
        );
        self.make(&format!("{topic}/partitions/0/state"), &state).await;
    }
}

/// A broker that the test plays: it answers `ApiVersions` by itself, and hands over every connection
/// that asks for something else.
pub struct Played {
    pub address: SocketAddr,
    connections: mpsc::Receiver<Conversation>,
}

/// A connection to a [`Played`] broker, with what came of its first request.
pub struct Conversation {
    pub stream: Stream,
    read: BytesMut,
}

/// What a played broker offers.
pub const OFFERED: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 0, 11),
    (ApiKey::Fetch, 0, 17),
    (ApiKey::ListOffsets, 0, 9),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::FindCoordinator, 0, 6),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 0, 7),
    (ApiKey::DescribeCluster, 0, 1),
    (ApiKey::AlterPartition, 0, 3),
];

impl Played {
    pub async fn new() -> Played {
        Played::with(None).await
    }

    /// One that speaks TLS.
    pub async fn with_tls(tls: Arc<TlsServer>) -> Played {
        Played::with(Some(tls)).await
    }

    async fn with(tls: Option<Arc<TlsServer>>) -> Played {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::channel(100);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (tls, sender) = (tls.clone(), sender.clone());
                tokio::spawn(async move {
                    let stream = match tls {
                        None => Stream::Plain(stream),
                        Some(tls) => match tls.accept(stream, peer.ip()).await {
                            Ok(stream) => Stream::Server(Box::new(stream)),
                            Err(_) => return,
                        },
                    };
                    Played::meet(stream, sender).await;
                });
            }
        });
        Played { address, connections }
    }

    async fn meet(mut stream: Stream, sender: mpsc::Sender<Conversation>) {
        let mut read = BytesMut::new();
        loop {
            while read.len() < 12 {
                if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
                    return;
                }
            }
            let key = i16::from_be_bytes([read[4], read[5]]);
            if key != ApiKey::ApiVersions as i16 {
                let _ = sender.send(Conversation { stream, read }).await;
                return;
            }
            let mut conversation = Conversation { stream, read };
            let (head, _) = conversation.request().await.unwrap();
            let apis = OFFERED.iter().map(|(key, min, max)| {
                ApiVersion::default()
                    .with_api_key(*key as i16)
                    .with_min_version(*min)
                    .with_max_version(*max)
            });
            let mut body = BytesMut::new();
            ApiVersionsResponse::default()
                .with_api_keys(apis.collect())
                .encode(&mut body, head.version)
                .unwrap();
            conversation.answer(head.correlation, &body).await;
            Conversation { stream, read } = conversation;
        }
    }

    /// The next connection that asks for something.
    pub async fn conversation(&mut self) -> Conversation {
        in_time(self.connections.recv()).await.unwrap()
    }
}

/// What a request begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub key: i16,
    pub version: i16,
    pub correlation: i32,
}

impl Conversation {
    /// The next request: its head, and what stands behind; `None` at the end.
    pub async fn request(&mut self) -> Option<(Head, Bytes)> {
        self.fill(4).await.then_some(())?;
        let length = usize::try_from(self.read.get_i32()).unwrap();
        assert!(self.fill(length).await, "a whole request");
        let mut frame = self.read.split_to(length).freeze();
        let head =
            Head { key: frame.get_i16(), version: frame.get_i16(), correlation: frame.get_i32() };
        Some((head, frame))
    }

    /// Reads until so many bytes are there. False at the end of the connection.
    pub async fn fill(&mut self, length: usize) -> bool {
        while self.read.len() < length {
            match in_time(self.stream.read_buf(&mut self.read)).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
        true
    }

    /// Answers with this body behind a header without tagged fields.
    pub async fn answer(&mut self, correlation: i32, body: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_i32(i32::try_from(4 + body.len()).unwrap());
        frame.put_i32(correlation);
        frame.put_slice(body);
        self.stream.write_all(&frame).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame, whatever it is, without its length; `None` at the end.
    pub async fn bare(&mut self) -> Option<Bytes> {
        self.fill(4).await.then_some(())?;
        let length = usize::try_from(self.read.get_i32()).unwrap();
        assert!(self.fill(length).await, "a whole frame");
        Some(self.read.split_to(length).freeze())
    }

    /// Sends a frame without a header.
    pub async fn answer_bare(&mut self, body: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_i32(i32::try_from(body.len()).unwrap());
        frame.put_slice(body);
        self.stream.write_all(&frame).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Waits for the other side to hang up.
    pub async fn ended(mut self) {
        let mut rest = Vec::new();
        let _ = in_time(self.stream.read_to_end(&mut rest)).await;
    }
}
