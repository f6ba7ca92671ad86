//! `zoo.cfg` and `server.properties`, with ZooKeeper's and Kafka's own key names and defaults.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod broker;
mod certificate_id;
pub mod coordinator;
pub mod coordinator_access;
pub mod gateway;
pub mod gateway_authorizer;
mod gateway_clusters;
pub mod gateway_door;
pub mod gateway_upstream;
pub mod groups;
pub mod host_pattern;
pub mod jaas;
mod kafka_tls;
pub mod keys;
mod listeners;
pub mod load;
pub mod members;
pub mod properties;
mod report;
mod secret;
pub mod settings;
pub mod system_properties;
mod throttle;
mod tls;

pub use admin::{AdminConfig, MetricsPageConfig};
pub use audit::AuditConfig;
pub use auth::{AuthConfig, DigestAlgorithm, SaslUser};
pub use broker::BrokerConfig;
pub use certificate_id::{AlternativeNameId, CertificateId, NameKind};
pub use coordinator::{CoordinatorConfig, SnapshotCompression};
pub use coordinator_access::{CoordinatorAccess, CoordinatorLogin, CoordinatorTls};
pub use gateway::GatewayConfig;
pub use groups::GroupsConfig;
pub use listeners::SecurityProtocol;
pub use load::{ConfigError, Configuration, load, load_with};
pub use secret::Secret;
pub use system_properties::SystemProperties;
pub use throttle::{RequestThrottleConfig, ThrottleConfig};

/// A host and port to listen on or to reach; port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    /// A name or address; empty means every interface.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl ListenAddress {
    /// `host:port`, an IPv6 address in brackets; `None` for anything else.
    pub fn parse(text: &str) -> Option<ListenAddress> {
        let (host, port) = split_host_port(text)?;
        Some(ListenAddress { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `host:port` in its parts. The host may be empty, or an IPv6 address in brackets.
fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '%');
    (host.chars().all(allowed) && port.bytes().all(|b| b.is_ascii_digit()))
        .then(|| Some((host, port.parse().ok()?)))?
}
