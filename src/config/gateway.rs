//! A gateway's configuration, after parsing: `doorkeeper.gateway.*` and Kafka's keys as typed values.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use super::broker::{cap, connect_string, count, idle, milliseconds};
pub use super::gateway_authorizer::GatewayAuthorizer;
use super::gateway_authorizer::{authorizer, principal_mapper};
use super::gateway_door::{self, GatewayLimits};
use super::gateway_upstream::UpstreamConfig;
use super::host_pattern::HostPattern;
use super::keys::{OF_LISTENERS, Owner};
use super::listeners;
use super::settings::Settings;
use super::{CoordinatorAccess, ListenAddress, SecurityProtocol, kafka_tls};
use crate::kafka::security::PrincipalMapper;
use crate::net::network::Network;
use crate::net::tls::{ClientAuth, TlsConfig};

/// One entry of `listeners`: where clients come in.
#[derive(Debug, Clone)]
pub struct GatewayListener {
    /// The listener's name, upper case.
    pub name: String,
    /// Where to listen.
    pub bind: ListenAddress,
    /// `doorkeeper.gateway.listener.NAME.brokers`: the brokers' listener whose endpoints its clients
    /// are told and its upstreams are, upper case; the same name unless set.
    pub brokers: String,
    /// What is spoken with clients (`listener.security.protocol.map`).
    pub protocol: SecurityProtocol,
    /// `ssl.*`, where that is TLS.
    pub tls: Option<TlsConfig>,
    /// Its own ports for brokers (`doorkeeper.gateway.listener.NAME.port.base` and the like), in place
    /// of those of all listeners.
    pub ports: Option<RelayAddresses>,
    /// The networks that its connections come from, each with a header of the PROXY protocol
    /// (`doorkeeper.gateway.proxy.protocol.*`); `None`: clients come by themselves.
    pub proxies: Option<Vec<Network>>,
    /// `listener.name.<name>.max.connections`.
    pub max_connections: usize,
    /// `listener.name.<name>.max.connection.creation.rate`; `None` is no limit.
    pub connection_rate: Option<u32>,
    /// Whether other clusters are served on the same socket, told apart by host names.
    pub shared: bool,
}

impl GatewayListener {
    /// A listener without TLS and without a login, whose clients are told the brokers' endpoints of
    /// the same name.
    pub fn plain(name: &str, bind: ListenAddress) -> GatewayListener {
        GatewayListener {
            name: name.to_owned(),
            bind,
            brokers: name.to_owned(),
            protocol: SecurityProtocol::Plaintext,
            tls: None,
            ports: None,
            proxies: None,
            max_connections: usize::MAX,
            connection_rate: None,
            shared: false,
        }
    }
}

/// `doorkeeper.gateway.addresses`: which addresses of brokers clients are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayAddresses {
    /// The brokers' own: clients go on there.
    Brokers,
    /// The gateway's, one port for each broker: the relay.
    Gateway(RelayAddresses),
    /// The gateway's, one name for each broker: the relay on one port, with TLS.
    Names(RelayNames),
}

/// The names of the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayNames {
    /// `doorkeeper.gateway.sni.pattern`.
    pub pattern: HostPattern,
    /// `doorkeeper.gateway.sni.advertised.port`; unset is the listener's.
    pub advertised_port: Option<u16>,
}

/// Where the relay's ports are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayAddresses {
    /// `doorkeeper.gateway.port.base`: a broker's port is this and its id; 0 is any free port.
    pub port_base: u16,
    /// `doorkeeper.gateway.advertised.host`; unset is the listener's own host, for a wildcard the
    /// machine's name.
    pub advertised_host: Option<String>,
    /// `doorkeeper.gateway.advertised.port.base`; unset is the bound port.
    pub advertised_port_base: Option<u16>,
}

/// What a gateway is started with.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Its name among several clusters (`doorkeeper.gateway.clusters`).
    pub cluster: Option<Arc<str>>,
    /// `doorkeeper.gateway.sni.host`: what its bootstrap address is called where it shares a listener.
    pub sni_host: Option<String>,
    /// What clients may do, besides the caps below.
    pub limits: GatewayLimits,
    /// `listeners` with `doorkeeper.gateway.listener.NAME.brokers`.
    pub listeners: Vec<GatewayListener>,
    /// `doorkeeper.gateway.addresses` and what goes with it.
    pub addresses: GatewayAddresses,
    /// `doorkeeper.gateway.refuse.apis`, by their numbers.
    pub refuse_apis: BTreeSet<i16>,
    /// `authorizer.class.name` and what goes with it.
    pub authorizer: GatewayAuthorizer,
    /// `ssl.principal.mapping.rules`: whom a client's certificate names.
    pub principal_mapper: PrincipalMapper,
    /// `auto.create.topics.enable`, as it is set on the brokers.
    pub auto_create_topics: bool,
    /// `doorkeeper.gateway.principal=upstream`: who a client is, is for the brokers to say, whatever
    /// it logs in as.
    pub principal_upstream: bool,
    /// `doorkeeper.gateway.upstream.*`.
    pub upstream: UpstreamConfig,
    /// `doorkeeper.gateway.image.dir`: where the image is kept, if anywhere.
    pub image_dir: Option<PathBuf>,
    /// `doorkeeper.gateway.image.age.max.ms`: a gateway whose image is older is not ready.
    pub image_age_max: Option<Duration>,
    /// `zookeeper.connect` without the chroot.
    pub zookeeper_connect: String,
    /// The chroot of `zookeeper.connect`, `/a/b`, or empty.
    pub zookeeper_chroot: String,
    /// What is shown to a coordinator that demands something.
    pub access: CoordinatorAccess,
    /// `zookeeper.session.timeout.ms`.
    pub zookeeper_session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`, the session timeout unless set.
    pub zookeeper_connection_timeout: Duration,
    /// `socket.request.max.bytes`.
    pub socket_request_max_bytes: usize,
    /// `max.connections`, of each listener.
    pub max_connections: usize,
    /// `max.connections.per.ip`, of each listener.
    pub max_connections_per_ip: usize,
    /// `connections.max.idle.ms`.
    pub connections_max_idle: Duration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        GatewayConfig {
            cluster: None,
            sni_host: None,
            limits: GatewayLimits::default(),
            listeners: vec![GatewayListener::plain(
                "PLAINTEXT",
                ListenAddress { host: String::new(), port: 9092 },
            )],
            addresses: GatewayAddresses::Brokers,
            refuse_apis: BTreeSet::new(),
            authorizer: GatewayAuthorizer::Nobody,
            principal_mapper: PrincipalMapper::default(),
            auto_create_topics: true,
            principal_upstream: false,
            upstream: UpstreamConfig::default(),
            image_dir: None,
            image_age_max: None,
            zookeeper_connect: "localhost:2181".to_owned(),
            zookeeper_chroot: String::new(),
            access: CoordinatorAccess::default(),
            zookeeper_session_timeout: Duration::from_secs(18),
            zookeeper_connection_timeout: Duration::from_secs(18),
            socket_request_max_bytes: 104_857_600,
            max_connections: usize::MAX,
            max_connections_per_ip: usize::MAX,
            connections_max_idle: Duration::from_secs(600),
        }
    }
}

const OWNER: Owner = Owner::Gateway;

impl GatewayConfig {
    /// The typed values of the gateway's keys; what is wrong goes to `settings`.
    pub(super) fn from_settings(settings: &mut Settings) -> Self {
        let connect = settings.text(OWNER, "zookeeper.connect").filter(|text| !text.is_empty());
        let parsed = connect.as_deref().map_or_else(
            || Err("not set: expected host:port[,host:port][/chroot]".to_owned()),
            connect_string,
        );
        let (zookeeper_connect, zookeeper_chroot) = parsed.unwrap_or_else(|reason| {
            settings.problem("zookeeper.connect", &reason);
            Default::default()
        });
        let session_timeout = settings.number(OWNER, "zookeeper.session.timeout.ms");
        let connection_timeout = settings
            .text(OWNER, "zookeeper.connection.timeout.ms")
            .and_then(|text| text.parse().ok())
            .unwrap_or(session_timeout);
        settings.comes_to("zookeeper.connection.timeout.ms", &connection_timeout);
        let mut listeners = listeners(settings);
        let addresses = gateway_door::addresses(settings, &mut listeners);
        gateway_door::of_listeners(settings, &mut listeners);
        GatewayConfig {
            cluster: None,
            sni_host: gateway_door::sni_host(settings),
            limits: GatewayLimits::from_settings(settings),
            addresses,
            listeners,
            refuse_apis: refused_apis(settings),
            authorizer: authorizer(settings),
            principal_mapper: principal_mapper(settings),
            auto_create_topics: settings.flag(OWNER, "auto.create.topics.enable"),
            principal_upstream: settings.text(OWNER, "doorkeeper.gateway.principal").as_deref()
                == Some("upstream"),
            upstream: UpstreamConfig::from_settings(settings),
            image_dir: settings
                .text(OWNER, "doorkeeper.gateway.image.dir")
                .filter(|directory| !directory.is_empty())
                .map(PathBuf::from),
            image_age_max: settings
                .text(OWNER, "doorkeeper.gateway.image.age.max.ms")
                .and_then(|text| text.parse().ok())
                .map(milliseconds),
            access: CoordinatorAccess::from_settings(settings, OWNER, &zookeeper_connect),
            zookeeper_connect,
            zookeeper_chroot,
            zookeeper_session_timeout: milliseconds(session_timeout),
            zookeeper_connection_timeout: milliseconds(connection_timeout),
            socket_request_max_bytes: count(settings.number(OWNER, "socket.request.max.bytes")),
            max_connections: cap(settings.number(OWNER, "max.connections")),
            max_connections_per_ip: cap(settings.number(OWNER, "max.connections.per.ip")),
            connections_max_idle: idle(settings.number(OWNER, "connections.max.idle.ms")),
        }
    }
}

fn listeners(settings: &mut Settings) -> Vec<GatewayListener> {
    let mut listeners: Vec<GatewayListener> = listeners::named(settings, OWNER)
        .into_iter()
        .map(|named| {
            let plain = GatewayListener::plain(&named.name, named.bind);
            // Another name is a problem already.
            let protocol = SecurityProtocol::by_name(&named.protocol).unwrap_or_default();
            GatewayListener { protocol, ..plain }
        })
        .collect();
    for listener in listeners.iter_mut().filter(|listener| listener.protocol.has_tls()) {
        listener.tls = kafka_tls::of_listener(settings, OWNER, &listener.name);
    }
    check_identities(settings, &listeners);
    listeners
}

/// A certificate can't be passed on: what its owner may do, the brokers would judge by who the gateway
/// is.
fn check_identities(settings: &mut Settings, listeners: &[GatewayListener]) {
    const SHARED: &str = "doorkeeper.gateway.upstream.shared.identity";
    let shared = settings.flag(OWNER, SHARED);
    for listener in listeners.iter().filter(|listener| !listener.protocol.has_login()) {
        let certificates = listener.tls.as_ref().map_or(ClientAuth::None, |tls| tls.client_auth);
        if certificates != ClientAuth::None && !shared {
            let reason = format!(
                "listener {} takes certificates and no login, so that all its clients would have \
                 the gateway's own rights at the brokers: {SHARED}=true says that this is wanted",
                listener.name
            );
            let key = settings.key_of_listener(&listener.name, "ssl.client.auth");
            settings.problem(&key, &reason);
        }
    }
    let of_listeners = settings.given.keys().filter_map(|key| {
        let (name, rest) = key.strip_prefix("listener.name.")?.split_once('.')?;
        let here = OF_LISTENERS.iter().any(|keys| keys.contains(&rest));
        (here && !listeners.iter().any(|listener| listener.name.to_ascii_lowercase() == name))
            .then(|| (key.clone(), name.to_owned()))
    });
    for (key, name) in of_listeners.collect::<Vec<_>>() {
        settings.problem(&key, &format!("{name} is not one of listeners, in small letters"));
    }
}

/// APIs by name, in any case, or by number.
fn refused_apis(settings: &mut Settings) -> BTreeSet<i16> {
    const KEY: &str = "doorkeeper.gateway.refuse.apis";
    let mut refused = BTreeSet::new();
    for entry in settings.list(OWNER, KEY) {
        let named = ApiKey::iter().find(|key| format!("{key:?}").eq_ignore_ascii_case(&entry));
        match named.map(|key| key as i16).or_else(|| entry.parse().ok()) {
            Some(key) if key == ApiKey::ApiVersions as i16 => {
                settings.problem(KEY, "without ApiVersions no client can connect");
            }
            Some(key) if ApiKey::try_from(key).is_ok() => _ = refused.insert(key),
            _ => settings.problem(KEY, &format!("expected Kafka's APIs by name, not {entry}")),
        }
    }
    refused
}
