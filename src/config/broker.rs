//! The broker's configuration, after parsing: `server.properties` keys as typed values.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::groups::GroupsConfig;
use super::keys::{self, Owner};
use super::settings::Settings;
use super::{CoordinatorAccess, ListenAddress, coordinator_access, listeners};

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
    /// Port 0 is the bound port.
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
    /// `zookeeper.connect` without the chroot: `host:port[,host:port]`. Empty with `embedded` until
    /// the coordinator of the same process has its port.
    pub zookeeper_connect: String,
    /// The chroot of `zookeeper.connect`, `/a/b`, or empty.
    pub zookeeper_chroot: String,
    /// What is shown to a coordinator that demands something.
    pub access: CoordinatorAccess,
    /// `zookeeper.set.acl`: the znodes of the cluster are this broker's own.
    pub set_acl: bool,
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
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_session_slots: usize,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `log.flush.scheduler.interval.ms`, how often `flush.ms` is looked at. Kafka's default is
    /// never, so that a topic's `flush.ms` alone does nothing; ours is 3 s, so that it does.
    pub flush_check_interval: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// Compaction.
    pub log_cleaner: LogCleanerConfig,
    /// What it says of consumer groups.
    pub groups: GroupsConfig,
    /// Topic defaults as the broker's file sets them, under the *topic* key (`retention.ms`,
    /// `segment.bytes`, …) whatever their broker key is (`log.retention.hours`, …).
    pub topic_defaults: BTreeMap<String, String>,
    /// Every key of the file and overrides as given, for `DescribeConfigs`.
    pub given: BTreeMap<String, String>,
    /// Whether this broker uses the coordinator of its own process, `zookeeper.connect` being unset.
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
            access: CoordinatorAccess::default(),
            set_acl: false,
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
            fetch_session_slots: 1_000,
            retention_check_interval: Duration::from_secs(300),
            flush_check_interval: Duration::from_secs(3),
            producer_id_expiration: Duration::from_secs(86_400),
            log_cleaner: LogCleanerConfig::default(),
            groups: GroupsConfig::default(),
            topic_defaults: BTreeMap::new(),
            given: BTreeMap::new(),
            embedded: false,
        }
    }
}

/// The longest time between two looks at `flush.ms` unless a file says otherwise.
const FLUSH_CHECK_INTERVAL_MS: i64 = 3_000;

impl BrokerConfig {
    /// The typed values of the broker's keys; what is wrong goes to `settings`.
    ///
    /// `own_coordinator` says that a coordinator runs in the same process, which is the one to use
    /// unless `zookeeper.connect` names another.
    pub(super) fn from_settings(settings: &mut Settings, own_coordinator: bool) -> Self {
        const OWNER: Owner = Owner::Broker;
        let broker_id = broker_id(settings);
        let reserved_max = settings.number(OWNER, "reserved.broker.max.id");
        let generated = settings.flag(OWNER, "broker.id.generation.enable");
        if broker_id < 0 && !generated {
            settings.problem("broker.id", "not set, and broker.id.generation.enable is false");
        } else if generated && i64::from(broker_id) > reserved_max {
            let reason = format!(
                "expected at most reserved.broker.max.id, {reserved_max}, above which ids are generated"
            );
            settings.problem("broker.id", &reason);
        }

        let listeners = listeners::from_settings(settings);
        let rack = settings.text(OWNER, "broker.rack").filter(|rack| !rack.is_empty());
        let mut log_dirs = settings.list(OWNER, "log.dirs");
        if log_dirs.is_empty() && !settings.is_given("log.dirs") {
            log_dirs = settings.list(OWNER, "log.dir");
        }
        if log_dirs.is_empty() {
            settings.problem("log.dirs", "expected at least one directory");
        }

        let connect = settings.text(OWNER, "zookeeper.connect").filter(|text| !text.is_empty());
        let (zookeeper_connect, zookeeper_chroot) = match &connect {
            Some(text) => connect_string(text).unwrap_or_else(|reason| {
                settings.problem("zookeeper.connect", &reason);
                Default::default()
            }),
            None if own_coordinator => {
                settings.comes_to("zookeeper.connect", &"(the coordinator of this process)");
                Default::default()
            }
            None => {
                let reason = "not set, and no coordinator runs in this process: expected \
                              host:port[,host:port][/chroot]";
                settings.problem("zookeeper.connect", reason);
                Default::default()
            }
        };
        let session_timeout = settings.number(OWNER, "zookeeper.session.timeout.ms");
        let connection_timeout = settings
            .text(OWNER, "zookeeper.connection.timeout.ms")
            .and_then(|text| text.parse().ok())
            .unwrap_or(session_timeout);
        settings.comes_to("zookeeper.connection.timeout.ms", &connection_timeout);

        let access = CoordinatorAccess::from_settings(settings, OWNER, &zookeeper_connect);
        let set_acl = coordinator_access::set_acl(settings, &access);

        let mut flush_check = settings.number(OWNER, "log.flush.scheduler.interval.ms");
        if !settings.is_given("log.flush.scheduler.interval.ms") {
            flush_check = FLUSH_CHECK_INTERVAL_MS;
        }
        settings.comes_to("log.flush.scheduler.interval.ms", &flush_check);
        let replication = settings.number(OWNER, "default.replication.factor");
        let Ok(default_replication_factor) = i16::try_from(replication) else {
            settings.problem("default.replication.factor", "expected a number below 32768");
            return BrokerConfig::default();
        };

        BrokerConfig {
            broker_id,
            listeners,
            rack,
            log_dirs: log_dirs.into_iter().map(PathBuf::from).collect(),
            zookeeper_connect,
            zookeeper_chroot,
            access,
            set_acl,
            zookeeper_session_timeout: milliseconds(session_timeout),
            zookeeper_connection_timeout: milliseconds(connection_timeout),
            reserved_broker_max_id: narrow(reserved_max),
            auto_create_topics: settings.flag(OWNER, "auto.create.topics.enable"),
            delete_topic_enable: settings.flag(OWNER, "delete.topic.enable"),
            num_partitions: narrow(settings.number(OWNER, "num.partitions")),
            default_replication_factor,
            socket_request_max_bytes: count(settings.number(OWNER, "socket.request.max.bytes")),
            max_connections: cap(settings.number(OWNER, "max.connections")),
            max_connections_per_ip: cap(settings.number(OWNER, "max.connections.per.ip")),
            connections_max_idle: idle(settings.number(OWNER, "connections.max.idle.ms")),
            fetch_max_bytes: count(settings.number(OWNER, "fetch.max.bytes")),
            fetch_session_slots: count(
                settings.number(OWNER, "max.incremental.fetch.session.cache.slots"),
            ),
            retention_check_interval: milliseconds(
                settings.number(OWNER, "log.retention.check.interval.ms"),
            ),
            flush_check_interval: milliseconds(flush_check),
            producer_id_expiration: milliseconds(
                settings.number(OWNER, "producer.id.expiration.ms"),
            ),
            log_cleaner: LogCleanerConfig::from_settings(settings),
            groups: GroupsConfig::from_settings(settings, own_coordinator && connect.is_none()),
            topic_defaults: topic_defaults(settings),
            given: settings
                .given
                .iter()
                .filter(|(key, _)| keys::known(key).iter().any(|known| known.owner == OWNER))
                .map(|(key, given)| (key.clone(), given.value.clone()))
                .collect(),
            embedded: own_coordinator && connect.is_none(),
        }
    }
}

/// How partition logs are compacted. Defaults are Apache Kafka 3.9's.
#[derive(Debug, Clone, PartialEq)]
pub struct LogCleanerConfig {
    /// `log.cleaner.enable`.
    pub enable: bool,
    /// `log.cleaner.dedupe.buffer.size`, in bytes.
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`.
    pub dedupe_load_factor: f64,
    /// `log.cleaner.io.buffer.size`, in bytes.
    pub io_buffer_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`.
    pub io_max_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
}

impl Default for LogCleanerConfig {
    fn default() -> Self {
        LogCleanerConfig {
            enable: true,
            dedupe_buffer_bytes: 134_217_728,
            dedupe_load_factor: 0.9,
            io_buffer_bytes: 524_288,
            io_max_bytes_per_second: f64::MAX,
            backoff: Duration::from_secs(15),
        }
    }
}

impl LogCleanerConfig {
    fn from_settings(settings: &mut Settings) -> Self {
        const OWNER: Owner = Owner::Broker;
        let load_factor = settings.decimal(OWNER, "log.cleaner.io.buffer.load.factor");
        if load_factor.is_nan() || load_factor <= 0.0 || load_factor >= 1.0 {
            let reason = "expected a number above 0 and below 1";
            settings.problem("log.cleaner.io.buffer.load.factor", reason);
        }
        let rate = settings.decimal(OWNER, "log.cleaner.io.max.bytes.per.second");
        if rate.is_nan() || rate < 1.0 {
            settings.problem("log.cleaner.io.max.bytes.per.second", "expected at least 1");
        }
        let dedupe = settings.number(OWNER, "log.cleaner.dedupe.buffer.size");
        LogCleanerConfig {
            enable: settings.flag(OWNER, "log.cleaner.enable"),
            dedupe_buffer_bytes: u64::try_from(dedupe).unwrap_or(0),
            dedupe_load_factor: load_factor,
            io_buffer_bytes: count(settings.number(OWNER, "log.cleaner.io.buffer.size")),
            io_max_bytes_per_second: rate,
            backoff: milliseconds(settings.number(OWNER, "log.cleaner.backoff.ms")),
        }
    }
}

/// `broker.id`, or `node.id` in its place: Kafka 3.9 takes either.
fn broker_id(settings: &mut Settings) -> i32 {
    let broker_id = narrow(settings.number(Owner::Broker, "broker.id"));
    if !settings.is_given("node.id") {
        return broker_id;
    }
    let node_id = narrow(settings.number(Owner::Broker, "node.id"));
    if settings.is_given("broker.id") && broker_id != node_id {
        settings.problem("node.id", "expected the same number as broker.id, or only one of them");
    }
    node_id
}

/// How a topic key's default is written in the broker's file: the first of these that is set,
/// each with the factor that makes it the topic key's unit (`KafkaConfig`, `ServerTopicConfigSynonyms`).
const TOPIC_SYNONYMS: &[(&str, &[(&str, i64)])] = &[
    ("cleanup.policy", &[("log.cleanup.policy", 1)]),
    ("compression.gzip.level", &[("compression.gzip.level", 1)]),
    ("compression.type", &[("compression.type", 1)]),
    ("compression.zstd.level", &[("compression.zstd.level", 1)]),
    ("delete.retention.ms", &[("log.cleaner.delete.retention.ms", 1)]),
    ("file.delete.delay.ms", &[("log.segment.delete.delay.ms", 1)]),
    ("flush.messages", &[("log.flush.interval.messages", 1)]),
    ("flush.ms", &[("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)]),
    ("index.interval.bytes", &[("log.index.interval.bytes", 1)]),
    ("max.compaction.lag.ms", &[("log.cleaner.max.compaction.lag.ms", 1)]),
    ("max.message.bytes", &[("message.max.bytes", 1)]),
    (
        "message.timestamp.after.max.ms",
        &[
            ("log.message.timestamp.after.max.ms", 1),
            ("log.message.timestamp.difference.max.ms", 1),
        ],
    ),
    (
        "message.timestamp.before.max.ms",
        &[
            ("log.message.timestamp.before.max.ms", 1),
            ("log.message.timestamp.difference.max.ms", 1),
        ],
    ),
    ("message.timestamp.type", &[("log.message.timestamp.type", 1)]),
    ("min.cleanable.dirty.ratio", &[("log.cleaner.min.cleanable.ratio", 1)]),
    ("min.compaction.lag.ms", &[("log.cleaner.min.compaction.lag.ms", 1)]),
    ("retention.bytes", &[("log.retention.bytes", 1)]),
    (
        "retention.ms",
        &[
            ("log.retention.ms", 1),
            ("log.retention.minutes", 60_000),
            ("log.retention.hours", 3_600_000),
        ],
    ),
    ("segment.bytes", &[("log.segment.bytes", 1)]),
    ("segment.index.bytes", &[("log.index.size.max.bytes", 1)]),
    ("segment.ms", &[("log.roll.ms", 1), ("log.roll.hours", 3_600_000)]),
];

/// The topic defaults that the file sets, under the topics' own keys and in their units.
fn topic_defaults(settings: &mut Settings) -> BTreeMap<String, String> {
    let mut defaults = BTreeMap::new();
    for (topic_key, synonyms) in TOPIC_SYNONYMS {
        let mut chosen = None;
        for (key, factor) in *synonyms {
            let value = settings.text(Owner::Broker, key);
            if chosen.is_none() && settings.is_given(key) {
                chosen = value.map(|value| (*key, value, *factor));
            }
        }
        let Some((key, mut value, factor)) = chosen else { continue };
        if factor != 1
            && let Some(number) = keys::parse_number(&value)
        {
            value = number.saturating_mul(factor).to_string();
        }
        if *topic_key == "retention.ms" {
            match keys::parse_number(&value) {
                Some(0) => settings.problem(key, "expected -1 (for ever) or at least 1"),
                Some(below) if below < 0 => "-1".clone_into(&mut value),
                _ => {}
            }
        }
        if *topic_key == "min.cleanable.dirty.ratio"
            && !value.trim().parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio))
        {
            settings.problem(key, "expected a number from 0 to 1");
        }
        defaults.insert((*topic_key).to_owned(), value);
    }
    defaults
}

/// `zookeeper.connect` as its servers and its chroot (empty for `/`).
pub(super) fn connect_string(text: &str) -> Result<(String, String), String> {
    let (servers, chroot) = match text.find('/') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let chroot = chroot.trim_end_matches('/');
    if chroot.contains("//") || chroot.split('/').any(|name| name == "." || name == "..") {
        return Err(format!("expected a chroot like /kafka, not {chroot}"));
    }
    let mut parsed = Vec::new();
    for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
        let server = if server.ends_with(']') || !server.contains(':') {
            format!("{server}:2181")
        } else {
            server.to_owned()
        };
        if ListenAddress::parse(&server).is_none_or(|at| at.host.is_empty() || at.port == 0) {
            return Err(format!("expected host:port[,host:port][/chroot], not {server}"));
        }
        parsed.push(server);
    }
    if parsed.is_empty() {
        return Err("expected host:port[,host:port][/chroot]".to_owned());
    }
    Ok((parsed.join(","), chroot.to_owned()))
}

pub(super) fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn narrow(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(super) fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// `connections.max.idle.ms`: below zero is never.
pub(super) fn idle(ms: i64) -> Duration {
    if ms < 0 { Duration::MAX } else { milliseconds(ms) }
}

/// A cap of connections: Kafka's default, the largest 32-bit number, is none.
pub(super) fn cap(number: i64) -> usize {
    if number >= i64::from(i32::MAX) { usize::MAX } else { count(number) }
}
