//! A coordinator and a broker in this process, and a client that sends whole frames.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of this")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use doorkeeper::broker::Broker;
use doorkeeper::config::broker::ListenerConfig;
use doorkeeper::config::{BrokerConfig, CoordinatorConfig, ListenAddress};
use doorkeeper::zookeeper::server::Coordinator;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{
    ApiKey, BrokerId, CreateTopicsRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything takes on a busy machine: a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A broker on a free port with its own coordinator.
pub struct Server {
    pub broker: Broker,
    coordinator: Coordinator,
    directory: TempDir,
}

impl Server {
    /// Starts with Kafka's defaults.
    pub async fn start() -> Server {
        Server::with(|_| {}).await
    }

    /// Starts with a configuration that `change` has changed.
    pub async fn with(change: impl FnOnce(&mut BrokerConfig)) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let coordinator = Coordinator::start(CoordinatorConfig {
            client_address: Some(local()),
            data_dir: directory.path().join("coordinator"),
            data_log_dir: directory.path().join("coordinator"),
            pre_alloc_size: 1 << 20,
            force_sync: false,
            ..CoordinatorConfig::default()
        })
        .await
        .unwrap();
        let broker = broker_of(&coordinator, &directory, change).await;
        Server { broker, coordinator, directory }
    }

    pub fn address(&self) -> SocketAddr {
        *self.broker.listeners().values().next().unwrap()
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address()).await
    }

    /// Makes topics through the protocol and waits until they have leaders.
    pub async fn create(&self, topics: &[(&str, i32)]) {
        let topics = topics.iter().map(|(name, partitions)| new_topic(name, *partitions));
        let request =
            CreateTopicsRequest::default().with_topics(topics.collect()).with_timeout_ms(30_000);
        let answer = self.client().await.ask(7, &request).await;
        for topic in answer.topics {
            assert_eq!(topic.error_code, 0, "{:?}", topic.error_message);
        }
    }

    /// Ends the broker and starts another on its logs.
    pub async fn restart(self, change: impl FnOnce(&mut BrokerConfig)) -> Server {
        let Server { broker, coordinator, directory } = self;
        broker.shutdown(PATIENCE).await;
        let broker = broker_of(&coordinator, &directory, change).await;
        Server { broker, coordinator, directory }
    }

    /// Ends broker and coordinator.
    pub async fn stop(self) {
        self.broker.shutdown(PATIENCE).await;
        self.coordinator.shutdown(PATIENCE).await;
    }
}

fn local() -> ListenAddress {
    ListenAddress { host: "127.0.0.1".to_owned(), port: 0 }
}

async fn broker_of(
    coordinator: &Coordinator,
    directory: &TempDir,
    change: impl FnOnce(&mut BrokerConfig),
) -> Broker {
    let mut config = BrokerConfig {
        broker_id: 3,
        listeners: vec![ListenerConfig {
            name: "PLAINTEXT".to_owned(),
            protocol: "PLAINTEXT".to_owned(),
            bind: local(),
            advertised: None,
        }],
        log_dirs: vec![directory.path().join("broker")],
        zookeeper_connect: coordinator.client_address().unwrap().to_string(),
        ..BrokerConfig::default()
    };
    change(&mut config);
    Broker::start(config).await.unwrap()
}

/// A name of a topic in the protocol's type.
pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A text in the protocol's type.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic to be made, with one replica.
pub fn new_topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
}

/// One broker's id.
pub const BROKER: BrokerId = BrokerId(3);

/// A connection that asks one request after the other.
pub struct Client<S = TcpStream> {
    pub stream: S,
    correlation: i32,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client on a connection that is there.
    pub fn over(stream: S) -> Client<S> {
        Client { stream, correlation: 0 }
    }

    /// Sends a request and reads its answer.
    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let correlation = self.send(version, request).await;
        self.answer::<R>(version, correlation).await
    }

    /// Sends a request. Returns its correlation id.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.correlation += 1;
        let body = encode(request, version);
        let frame = frame(R::KEY, version, self.correlation, &body);
        self.stream.write_all(&frame).await.unwrap();
        self.stream.flush().await.unwrap();
        self.correlation
    }

    /// Reads the answer to the request with this correlation id.
    pub async fn answer<R: Request>(&mut self, version: i16, correlation: i32) -> R::Response {
        let mut body = self.frame().await.expect("an answer");
        let key = ApiKey::try_from(R::KEY).unwrap();
        let header = key.response_header_version(version);
        let header = ResponseHeader::decode(&mut body, header).unwrap();
        assert_eq!(header.correlation_id, correlation);
        let answer = R::Response::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "{} bytes behind the answer", body.len());
        answer
    }

    /// Reads a frame; `None` if the server hangs up.
    pub async fn frame(&mut self) -> Option<Bytes> {
        timeout(PATIENCE, async {
            let length = self.stream.read_i32().await.ok()?;
            let mut body = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut body).await.unwrap();
            Some(Bytes::from(body))
        })
        .await
        .expect("an answer or the end of the connection in time")
    }

    /// The same, where the server may just as well cut the connection.
    pub async fn answer_if_any(&mut self) -> Option<Bytes> {
        timeout(PATIENCE, async {
            let length = self.stream.read_i32().await.ok()?;
            let mut body = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(Bytes::from(body))
        })
        .await
        .expect("an answer or the end of the connection in time")
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) {
        // The server may have hung up already.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Says that nothing more comes, and reads what the server still sends.
    pub async fn finish(mut self) -> Vec<u8> {
        let _ = self.stream.shutdown().await;
        let mut rest = Vec::new();
        // A reset is an end too: the server hung up with bytes unread.
        let read = self.stream.read_to_end(&mut rest);
        let _ = timeout(PATIENCE, read).await.expect("the end of the connection in time");
        rest
    }
}

/// A request's body.
pub fn encode(request: &impl Encodable, version: i16) -> Bytes {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap();
    body.freeze()
}

/// A whole frame with a header as the API and version want it.
pub fn frame(key: i16, version: i16, correlation: i32, body: &[u8]) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    let header_version = ApiKey::try_from(key).map_or(1, |key| key.request_header_version(version));
    let mut content = BytesMut::new();
    header.encode(&mut content, header_version).unwrap();
    content.put_slice(body);
    framed(&content)
}

/// Content with its length before it.
pub fn framed(content: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(content.len()).unwrap());
    frame.put_slice(content);
    frame.freeze()
}

/// The frames in what was read, each without its length.
pub fn frames(bytes: Vec<u8>) -> Vec<Bytes> {
    let mut bytes = Bytes::from(bytes);
    let mut frames = Vec::new();
    while bytes.remaining() >= 4 {
        let length = usize::try_from(bytes.get_i32()).unwrap();
        frames.push(bytes.split_to(length));
    }
    assert!(bytes.is_empty());
    frames
}
