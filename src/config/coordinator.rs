//! The coordinator's configuration, after parsing: `zoo.cfg` keys as typed values.

use std::path::PathBuf;
use std::time::Duration;

use super::audit::AuditConfig;
use super::auth::AuthConfig;
use super::keys::Owner;
use super::members::{self, Ensemble};
use super::settings::Settings;
use super::tls;
use super::{AdminConfig, ListenAddress, MetricsPageConfig, RequestThrottleConfig, ThrottleConfig};
use crate::net::tls::TlsConfig;

/// How snapshots are packed (`SnapStream.StreamMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotCompression {
    /// Not at all.
    #[default]
    None,
    /// `gz`.
    Gzip,
    /// `snappy`, in the stream format of snappy-java.
    Snappy,
}

/// What a coordinator is started with. Defaults are Apache ZooKeeper's.
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// `clientPort` and `clientPortAddress`; `None` where `secureClientPort` alone is served.
    pub client_address: Option<ListenAddress>,
    /// `secureClientPort` and `secureClientPortAddress`: TLS alone.
    pub secure_client_address: Option<ListenAddress>,
    /// `client.portUnification`: TLS on the client port too, beside what isn't TLS.
    pub port_unification: bool,
    /// `ssl.*`: there where a port speaks TLS.
    pub tls: Option<TlsConfig>,
    /// `connection_throttle_*`: how many clients may open a session; `None` is no limit.
    pub connection_throttle: Option<ThrottleConfig>,
    /// `request_throttle_*`: how many requests are carried out at once.
    pub request_throttle: RequestThrottleConfig,
    /// `largeRequestThreshold`: requests longer than this, in bytes, share `large_request_max_bytes`.
    pub large_request_threshold: usize,
    /// `largeRequestMaxBytes`: bytes of large requests that are read and carried out at once.
    pub large_request_max_bytes: usize,
    /// `netty.server.outstandingHandshake.limit`: TLS handshakes that may be under way.
    pub tls_handshake_limit: usize,
    /// `dataDir`: snapshots (and logs, unless `data_log_dir` differs) go to its `version-2`.
    pub data_dir: PathBuf,
    /// `dataLogDir`, `dataDir` unless set.
    pub data_log_dir: PathBuf,
    /// `tickTime`.
    pub tick_time: Duration,
    /// `minSessionTimeout`, 2 ticks unless set.
    pub min_session_timeout: Duration,
    /// `maxSessionTimeout`, 20 ticks unless set.
    pub max_session_timeout: Duration,
    /// `maxClientCnxns`: connections from one address; 0 = no limit.
    pub max_client_cnxns: usize,
    /// `maxCnxns`: connections in all; 0 = no limit.
    pub max_cnxns: usize,
    /// `jute.maxbuffer`: the longest request, in bytes.
    pub jute_max_buffer: usize,
    /// `snapCount`: transactions between two snapshots.
    pub snap_count: u64,
    /// `snapSizeLimitInKb` in bytes: log bytes between two snapshots; 0 = no limit.
    pub snap_size_limit: u64,
    /// `preAllocSize` in bytes: how far ahead the log file is allocated.
    pub pre_alloc_size: u64,
    /// `autopurge.snapRetainCount`.
    pub snap_retain_count: usize,
    /// `autopurge.purgeInterval`, in hours; zero = never.
    pub purge_interval: Duration,
    /// `forceSync`: fsync the log before a write is acknowledged.
    pub force_sync: bool,
    /// `globalOutstandingLimit`: requests in the pipeline before sockets are left unread.
    pub global_outstanding_limit: usize,
    /// `4lw.commands.whitelist`; `*` allows all.
    pub four_letter_whitelist: Vec<String>,
    /// `digest.enabled`: keep the tree digest and write it to log and snapshots.
    pub digest_enabled: bool,
    /// `trustEmptySnapshot` (`snapshot.trust.empty`): logs without a snapshot are no damage.
    pub trust_empty_snapshot: bool,
    /// Who may do what.
    pub auth: AuthConfig,
    /// The audit log, if there is one.
    pub audit: Option<AuditConfig>,
    /// `extendedTypesEnabled`: nodes with a time to live may be created, and kept.
    pub extended_types_enabled: bool,
    /// `snapshot.compression.method`.
    pub snapshot_compression: SnapshotCompression,
    /// `doorkeeper.take.over.member`: the data directory may be that of an ensemble's member.
    pub take_over_member: bool,
    /// `enforceQuota`: what exceeds a hard quota is refused; a soft one is warned of.
    pub enforce_quota: bool,
    /// `reconfigEnabled`: a `reconfig` is refused as unimplemented, else as disabled.
    pub reconfig_enabled: bool,
    /// `znode.container.checkIntervalMs`: between two looks for containers and TTL nodes to delete.
    pub container_check_interval: Duration,
    /// `znode.container.maxPerMinute`: how many of them are deleted in a minute.
    pub container_max_per_minute: u32,
    /// `znode.container.maxNeverUsedIntervalMs`: how long a container without any child ever stays,
    /// in milliseconds; 0 = for ever.
    pub container_max_never_used_ms: i64,
    /// `doorkeeper.znode.depth.max`: creates deeper than this are refused.
    pub znode_depth_max: usize,
    /// `server.N` and `myid`.
    pub ensemble: Ensemble,
    /// `datadir.autocreate`: make the data directories that are missing.
    pub data_dir_autocreate: bool,
    /// `txnLogSizeLimitInKb` in bytes: a log that is longer is ended; 0 = no limit.
    pub txn_log_size_limit: u64,
    /// `fsync.warningthresholdms`: a log's fsync that takes longer is a warning.
    pub fsync_warning_threshold: Duration,
    /// `serializeLastProcessedZxid.enabled`: snapshots end with their zxid, as since ZooKeeper 3.9.
    pub serialize_last_zxid: bool,
    /// `clientPortListenBacklog`; `None` is [`crate::limits::LISTEN_BACKLOG`].
    pub client_port_listen_backlog: Option<u32>,
    /// `clientTcpKeepAlive`.
    pub client_tcp_keep_alive: bool,
    /// `admin.*`; `None` is no AdminServer.
    pub admin: Option<AdminConfig>,
    /// `metricsProvider.*`; `None` is no page of ZooKeeper's own metrics.
    pub metrics_page: Option<MetricsPageConfig>,
    /// What the AdminServer's `system_properties` shows: keys that are ZooKeeper's system properties,
    /// as they were given, without secrets.
    pub system_properties: Vec<(String, String)>,
    /// What its `initial_configuration` shows: the lines of the files, without secrets.
    pub initial_configuration: String,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        let tick_time = Duration::from_millis(3_000);
        CoordinatorConfig {
            client_address: Some(ListenAddress { host: String::new(), port: 2181 }),
            secure_client_address: None,
            port_unification: false,
            tls: None,
            tls_handshake_limit: usize::MAX,
            connection_throttle: None,
            request_throttle: RequestThrottleConfig::DEFAULT,
            large_request_threshold: LARGE_REQUEST_THRESHOLD,
            large_request_max_bytes: 100 << 20,
            data_dir: PathBuf::from("doorkeeper-data/coordinator"),
            data_log_dir: PathBuf::from("doorkeeper-data/coordinator"),
            tick_time,
            min_session_timeout: tick_time * 2,
            max_session_timeout: tick_time * 20,
            max_client_cnxns: 60,
            max_cnxns: 0,
            jute_max_buffer: 0xf_ffff,
            snap_count: 100_000,
            snap_size_limit: 4_194_304 * 1024,
            pre_alloc_size: 64 << 20,
            snap_retain_count: 3,
            purge_interval: Duration::ZERO,
            force_sync: true,
            global_outstanding_limit: 1_000,
            four_letter_whitelist: vec!["srvr".to_owned()],
            digest_enabled: true,
            trust_empty_snapshot: false,
            auth: AuthConfig::default(),
            audit: None,
            extended_types_enabled: false,
            snapshot_compression: SnapshotCompression::None,
            take_over_member: false,
            enforce_quota: false,
            reconfig_enabled: false,
            container_check_interval: Duration::from_secs(60),
            container_max_per_minute: 10_000,
            container_max_never_used_ms: 0,
            znode_depth_max: 1_000,
            ensemble: Ensemble::default(),
            data_dir_autocreate: true,
            txn_log_size_limit: 0,
            fsync_warning_threshold: Duration::from_secs(1),
            serialize_last_zxid: true,
            client_port_listen_backlog: None,
            client_tcp_keep_alive: false,
            admin: None,
            metrics_page: None,
            system_properties: Vec::new(),
            initial_configuration: String::new(),
        }
    }
}

/// From which length on a request is a large one, unless `largeRequestThreshold` says it.
const LARGE_REQUEST_THRESHOLD: usize = 64 << 10;

/// The fewest snapshots that ZooKeeper's `PurgeTxnLog` keeps.
const SNAP_RETAIN_COUNT_MIN: i64 = 3;

impl CoordinatorConfig {
    /// The typed values of the coordinator's keys; what is wrong goes to `settings`.
    pub(super) fn from_settings(settings: &mut Settings) -> Self {
        const OWNER: Owner = Owner::Coordinator;
        let defaults = CoordinatorConfig::default();
        let host = settings.text(OWNER, "clientPortAddress").unwrap_or_default();
        let from_keys = match settings.text(OWNER, "clientPort") {
            Some(port) => Some(port.parse().unwrap_or_default()),
            // A value that isn't a number has been named already.
            None => settings.is_given("clientPort").then_some(0),
        };
        let from_keys = from_keys.map(|port| ListenAddress { host, port });
        let secure_host = settings.text(OWNER, "secureClientPortAddress");
        let secure_port = settings.text(OWNER, "secureClientPort");
        if secure_host.is_some() && secure_port.is_none() {
            settings.problem("secureClientPortAddress", "secureClientPort is not set");
        }
        let secure_client_address = secure_port.map(|port| ListenAddress {
            host: secure_host.unwrap_or_default(),
            port: port.parse().unwrap_or_default(),
        });
        let port_unification = settings.flag(OWNER, "client.portUnification");
        let tls = match (&secure_client_address, port_unification) {
            (Some(_), _) => tls::from_settings(settings, "secureClientPort"),
            (None, true) => tls::from_settings(settings, "client.portUnification"),
            (None, false) => {
                if settings.is_filled("ssl.keyStore.location") {
                    settings.warnings.push(
                        "ssl.keyStore.location is set, but neither secureClientPort nor \
                         client.portUnification is, so no port speaks TLS"
                            .to_owned(),
                    );
                }
                None
            }
        };
        let auth = AuthConfig::from_settings(settings, tls.is_some());
        // Files are read anew with every value of it.
        settings.flag(OWNER, "client.certReload");
        let handshake_limit = settings.number(OWNER, "netty.server.outstandingHandshake.limit");
        let data_dir = settings.text(OWNER, "dataDir").filter(|dir| !dir.is_empty());
        if data_dir.is_none() {
            settings.problem("dataDir", "not set, so the coordinator has no place for its data");
        }
        let data_dir = data_dir.map_or(defaults.data_dir, PathBuf::from);
        let data_log_dir = settings
            .text(OWNER, "dataLogDir")
            .filter(|dir| !dir.is_empty())
            .map_or_else(|| data_dir.clone(), PathBuf::from);
        settings.comes_to("dataLogDir", &data_log_dir.display());

        let take_over_member = settings.flag(Owner::Process, "doorkeeper.take.over.member");
        let ensemble = members::ensemble(settings, &data_dir, take_over_member);
        let client_address = members::client_address(settings, from_keys, &ensemble);
        if client_address.is_none() {
            without_client_port(settings, port_unification);
        }

        let tick_ms = settings.number(OWNER, "tickTime");
        let min_ms = ticks_unless_set(settings.number(OWNER, "minSessionTimeout"), 2, tick_ms);
        let max_ms = ticks_unless_set(settings.number(OWNER, "maxSessionTimeout"), 20, tick_ms);
        settings.comes_to("minSessionTimeout", &min_ms);
        settings.comes_to("maxSessionTimeout", &max_ms);
        if min_ms > max_ms {
            settings.problem(
                "minSessionTimeout",
                &format!("{min_ms} ms is larger than maxSessionTimeout, {max_ms} ms"),
            );
        }

        let mut snap_retain_count = settings.number(OWNER, "autopurge.snapRetainCount");
        if snap_retain_count < SNAP_RETAIN_COUNT_MIN {
            settings.warnings.push(format!(
                "autopurge.snapRetainCount={snap_retain_count}: at least \
                 {SNAP_RETAIN_COUNT_MIN} snapshots are kept, as ZooKeeper keeps them"
            ));
            snap_retain_count = SNAP_RETAIN_COUNT_MIN;
        }
        let purge_interval = settings.text(OWNER, "autopurge.purgeInterval").unwrap_or_default();
        let purge_interval = purge_interval_of(&purge_interval).unwrap_or_else(|| {
            let expected = "expected hours, or a number with a unit: 30m, 12h, 1d";
            settings.problem("autopurge.purgeInterval", expected);
            Duration::ZERO
        });

        CoordinatorConfig {
            client_address,
            secure_client_address,
            port_unification,
            tls,
            connection_throttle: ThrottleConfig::from_settings(settings),
            request_throttle: RequestThrottleConfig::from_settings(settings),
            large_request_threshold: usize::try_from(
                settings.number(OWNER, "largeRequestThreshold"),
            )
            .ok()
            .filter(|bytes| *bytes > 0)
            .unwrap_or(LARGE_REQUEST_THRESHOLD),
            large_request_max_bytes: count(settings.number(OWNER, "largeRequestMaxBytes")),
            tls_handshake_limit: Some(count(handshake_limit))
                .filter(|n| *n > 0)
                .unwrap_or(usize::MAX),
            data_dir,
            data_log_dir,
            tick_time: milliseconds(tick_ms),
            min_session_timeout: milliseconds(min_ms),
            max_session_timeout: milliseconds(max_ms),
            max_client_cnxns: count(settings.number(OWNER, "maxClientCnxns")),
            max_cnxns: count(settings.number(OWNER, "maxCnxns")),
            jute_max_buffer: count(settings.number(OWNER, "jute.maxbuffer")),
            snap_count: size(settings.number(OWNER, "snapCount")).max(2),
            snap_size_limit: size(settings.number(OWNER, "snapSizeLimitInKb")).saturating_mul(1024),
            pre_alloc_size: size(settings.number(OWNER, "preAllocSize")).saturating_mul(1024),
            snap_retain_count: count(snap_retain_count),
            purge_interval,
            force_sync: settings.text(OWNER, "forceSync").as_deref() != Some("no"),
            global_outstanding_limit: count(settings.number(OWNER, "globalOutstandingLimit")),
            four_letter_whitelist: four_letter_whitelist(settings),
            digest_enabled: settings.flag(OWNER, "digest.enabled"),
            trust_empty_snapshot: settings.flag(OWNER, "snapshot.trust.empty"),
            auth,
            audit: AuditConfig::from_settings(settings),
            extended_types_enabled: settings.flag(OWNER, "extendedTypesEnabled"),
            snapshot_compression: match settings
                .text(OWNER, "snapshot.compression.method")
                .as_deref()
            {
                Some("gz") => SnapshotCompression::Gzip,
                Some("snappy") => SnapshotCompression::Snappy,
                _ => SnapshotCompression::None,
            },
            take_over_member,
            enforce_quota: settings.flag(OWNER, "enforceQuota"),
            reconfig_enabled: settings.flag(OWNER, "reconfigEnabled"),
            container_check_interval: milliseconds(
                settings.number(OWNER, "znode.container.checkIntervalMs"),
            ),
            container_max_per_minute: u32::try_from(
                settings.number(OWNER, "znode.container.maxPerMinute"),
            )
            .unwrap_or(u32::MAX),
            container_max_never_used_ms: settings
                .number(OWNER, "znode.container.maxNeverUsedIntervalMs"),
            znode_depth_max: count(settings.number(Owner::Process, "doorkeeper.znode.depth.max")),
            ensemble,
            data_dir_autocreate: settings.flag(OWNER, "datadir.autocreate"),
            txn_log_size_limit: size(settings.number(OWNER, "txnLogSizeLimitInKb"))
                .saturating_mul(1024),
            fsync_warning_threshold: milliseconds(
                settings.number(OWNER, "fsync.warningthresholdms"),
            ),
            serialize_last_zxid: settings.flag(OWNER, "serializeLastProcessedZxid.enabled"),
            client_port_listen_backlog: u32::try_from(
                settings.number(OWNER, "clientPortListenBacklog"),
            )
            .ok(),
            client_tcp_keep_alive: settings.flag(OWNER, "clientTcpKeepAlive"),
            admin: AdminConfig::from_settings(settings),
            metrics_page: MetricsPageConfig::from_settings(settings),
            system_properties: settings.shown_properties(),
            initial_configuration: settings.shown_file_lines(),
        }
    }
}

/// What is wrong where no port is served without TLS, or with either.
fn without_client_port(settings: &mut Settings, port_unification: bool) {
    if settings.is_given("clientPortAddress") {
        settings.problem("clientPortAddress", "clientPort is not set");
    }
    if !settings.is_given("secureClientPort") {
        settings.problem(
            "clientPort",
            "not set, and neither is secureClientPort, so the coordinator has no port to serve",
        );
    } else if port_unification {
        settings.warnings.push(
            "client.portUnification changes nothing: it is for clientPort, which is not set"
                .to_owned(),
        );
    }
}

/// The word that asks whether a server is read-only.
const ISRO: &str = "isro";

/// `4lw.commands.whitelist`, which `readonlymode.enabled` adds `isro` to (`FourLetterCommands`).
fn four_letter_whitelist(settings: &mut Settings) -> Vec<String> {
    let mut words = settings.list(Owner::Coordinator, "4lw.commands.whitelist");
    if settings.flag(Owner::Coordinator, "readonlymode.enabled")
        && !words.contains(&ISRO.to_owned())
    {
        words.push(ISRO.to_owned());
    }
    words
}

/// A session timeout: −1 is so many ticks.
fn ticks_unless_set(ms: i64, ticks: i64, tick_ms: i64) -> i64 {
    if ms == -1 { ticks.saturating_mul(tick_ms) } else { ms.max(0) }
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(size(ms))
}

/// A number that means nothing below zero; ZooKeeper takes a negative cap as no cap.
fn size(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// `autopurge.purgeInterval`: hours where no unit follows, else `ms`, `s`, `m`, `h` or `d`.
fn purge_interval_of(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit.trim() {
        "" | "h" => 3_600_000,
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(unit_ms)?))
}
