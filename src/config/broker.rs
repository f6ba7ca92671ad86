//! The broker's configuration, after parsing: `server.properties` keys as typed values.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::ListenAddress;

/// One entry of `listeners`, with what clients are told to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The listener's name, upper case.
    pub name: String,
    /// The security protocol; only `PLAINTEXT` is built.
    pub protocol: String,
    /// Where to listen.
    pub bind: ListenAddress,
    /// `advertised.listeners`; unset = the bound address (a wildcard becomes the machine's name).
    pub advertised: Option<ListenAddress>,
}

/// What a broker is started with. Defaults are Apache Kafka 3.9's.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// `broker.id`; −1 = generated through `/brokers/seqid` and kept in `meta.properties`.
    pub broker_id: i32,
    /// `listeners` with `advertised.listeners` and `listener.security.protocol.map`.
    pub listeners: Vec<ListenerConfig>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `log.dirs` or `log.dir`.
    pub log_dirs: Vec<PathBuf>,
    /// `zookeeper.connect` without the chroot: `host:port[,host:port]`.
    pub zookeeper_connect: String,
    /// The chroot of `zookeeper.connect`, `/a/b`, or empty.
    pub zookeeper_chroot: String,
    /// `zookeeper.session.timeout.ms`.
    pub zookeeper_session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`, the session timeout unless set.
    pub zookeeper_connection_timeout: Duration,
    /// `reserved.broker.max.id`.
    pub reserved_broker_max_id: i32,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `socket.request.max.bytes`.
    pub socket_request_max_bytes: usize,
    /// `max.connections`.
    pub max_connections: usize,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: usize,
    /// `connections.max.idle.ms`.
    pub connections_max_idle: Duration,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: usize,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `log.flush.scheduler.interval.ms`, how often `flush.ms` is looked at.
    pub flush_check_interval: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// Topic defaults as the broker's file sets them, under the *topic* key (`retention.ms`,
    /// `segment.bytes`, …) whatever their broker key is (`log.retention.hours`, …).
    pub topic_defaults: BTreeMap<String, String>,
    /// Every key of the file and overrides as given, for `DescribeConfigs`.
    pub given: BTreeMap<String, String>,
    /// Whether this broker and its coordinator are the embedded default of one process.
    pub embedded: bool,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig {
            broker_id: -1,
            listeners: vec![ListenerConfig {
                name: "PLAINTEXT".to_owned(),
                protocol: "PLAINTEXT".to_owned(),
                bind: ListenAddress { host: String::new(), port: 9092 },
                advertised: None,
            }],
            rack: None,
            log_dirs: vec![PathBuf::from("/tmp/kafka-logs")],
            zookeeper_connect: "localhost:2181".to_owned(),
            zookeeper_chroot: String::new(),
            zookeeper_session_timeout: Duration::from_secs(18),
            zookeeper_connection_timeout: Duration::from_secs(18),
            reserved_broker_max_id: 1_000,
            auto_create_topics: true,
            delete_topic_enable: true,
            num_partitions: 1,
            default_replication_factor: 1,
            socket_request_max_bytes: 104_857_600,
            max_connections: usize::MAX,
            max_connections_per_ip: usize::MAX,
            connections_max_idle: Duration::from_secs(600),
            fetch_max_bytes: 57_671_680,
            retention_check_interval: Duration::from_secs(300),
            flush_check_interval: Duration::from_secs(3),
            producer_id_expiration: Duration::from_secs(86_400),
            topic_defaults: BTreeMap::new(),
            given: BTreeMap::new(),
            embedded: false,
        }
    }
}
