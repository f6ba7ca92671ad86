//! `listeners`, `advertised.listeners` and `listener.security.protocol.map`, as `KafkaConfig` reads
//! them.

use std::collections::BTreeMap;

use super::broker::ListenerConfig;
use super::keys::Owner;
use super::settings::Settings;
use super::{ListenAddress, split_host_port};

const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// What is spoken on a listener (`org.apache.kafka.common.security.auth.SecurityProtocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecurityProtocol {
    /// Neither TLS nor a login.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// A login.
    SaslPlaintext,
    /// TLS and a login.
    SaslSsl,
}

impl SecurityProtocol {
    /// By Kafka's name of it.
    pub fn by_name(name: &str) -> Option<SecurityProtocol> {
        match name {
            "PLAINTEXT" => Some(SecurityProtocol::Plaintext),
            "SSL" => Some(SecurityProtocol::Ssl),
            "SASL_PLAINTEXT" => Some(SecurityProtocol::SaslPlaintext),
            "SASL_SSL" => Some(SecurityProtocol::SaslSsl),
            _ => None,
        }
    }

    /// Whether TLS is spoken.
    pub fn has_tls(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }

    /// Whether clients log in.
    pub fn has_login(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }
}

/// The broker's listeners; what is wrong goes to `settings`.
pub(super) fn from_settings(settings: &mut Settings) -> Vec<ListenerConfig> {
    let bound = named(settings, Owner::Broker);
    for Named { name, protocol, .. } in &bound {
        if protocol != "PLAINTEXT" {
            let reason = format!(
                "listener {name} asks for {protocol}, which is not built yet; only PLAINTEXT is"
            );
            settings.problem("listeners", &reason);
        }
    }
    let advertised = endpoints(settings, Owner::Broker, "advertised.listeners");
    for (name, address) in &advertised {
        if !bound.iter().any(|listener| listener.name == *name) {
            let reason = format!("{name} is not one of listeners");
            settings.problem("advertised.listeners", &reason);
        }
        if matches!(address.host.as_str(), "0.0.0.0" | "::") {
            settings.problem(
                "advertised.listeners",
                &format!(
                    "clients can't connect to {}: expected a name or address of this machine",
                    address.host
                ),
            );
        }
    }
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for Named { name, protocol, bind } in bound {
        let own = advertised.iter().find(|(advertised, _)| *advertised == name);
        if own.is_none() && !advertised.is_empty() {
            let reason = format!("listener {name} is missing; hiding a listener is not built");
            settings.problem("advertised.listeners", &reason);
        }
        listeners.push(ListenerConfig {
            name,
            protocol,
            bind,
            advertised: own
                .map(|(_, address)| address.clone())
                .filter(|address| !address.host.is_empty()),
        });
    }
    inter_broker(settings, &listeners);
    listeners
}

/// One entry of `listeners`.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) protocol: String,
    pub(super) bind: ListenAddress,
}

/// The entries of `listeners`, each with its protocol; what is wrong goes to `settings`.
pub(super) fn named(settings: &mut Settings, owner: Owner) -> Vec<Named> {
    let protocols = protocol_map(settings, owner);
    let bound = endpoints(settings, owner, "listeners");
    if bound.is_empty() {
        settings.problem("listeners", "expected at least one, such as PLAINTEXT://localhost:9092");
    }
    let mut listeners: Vec<Named> = Vec::new();
    for (name, bind) in bound {
        let Some(protocol) = protocols.get(&name).cloned() else {
            let reason = format!("listener.security.protocol.map has no protocol for {name}");
            settings.problem("listeners", &reason);
            continue;
        };
        if listeners.iter().any(|other| other.name == name) {
            settings.problem("listeners", &format!("two listeners are called {name}"));
        }
        if bind.port != 0 && listeners.iter().any(|other| clash(&other.bind, &bind)) {
            settings.problem("listeners", &format!("two listeners have port {}", bind.port));
        }
        listeners.push(Named { name, protocol, bind });
    }
    listeners
}

/// Kafka allows one port twice where one address is IPv4 and the other IPv6.
fn clash(one: &ListenAddress, other: &ListenAddress) -> bool {
    let v6 = |address: &ListenAddress| address.host.contains(':');
    let v4 = |address: &ListenAddress| address.host.parse::<std::net::Ipv4Addr>().is_ok();
    one.port == other.port && !(v6(one) && v4(other) || v4(one) && v6(other))
}

fn protocol_map(settings: &mut Settings, owner: Owner) -> BTreeMap<String, String> {
    const KEY: &str = "listener.security.protocol.map";
    let mut map = BTreeMap::new();
    for entry in settings.list(owner, KEY) {
        match entry.split_once(':') {
            Some((name, protocol)) => {
                let protocol = protocol.trim().to_ascii_uppercase();
                if !PROTOCOLS.contains(&protocol.as_str()) {
                    let reason = format!("expected {} after {name}:", PROTOCOLS.join(", "));
                    settings.problem(KEY, &reason);
                }
                map.insert(name.trim().to_ascii_uppercase(), protocol);
            }
            None => settings.problem(KEY, "expected NAME:PROTOCOL[,NAME:PROTOCOL]"),
        }
    }
    map
}

/// The entries of a key, names in upper case. Kafka keeps them in their order, and so do we.
fn endpoints(
    settings: &mut Settings,
    owner: Owner,
    key: &'static str,
) -> Vec<(String, ListenAddress)> {
    let mut found = Vec::new();
    for entry in settings.list(owner, key) {
        let parsed = entry.split_once("://").and_then(|(name, address)| {
            let (host, port) = split_host_port(address)?;
            Some((name.to_ascii_uppercase(), ListenAddress { host: host.to_owned(), port }))
        });
        match parsed {
            Some((name, address)) if !name.is_empty() => found.push((name, address)),
            _ => settings.problem(key, &format!("expected NAME://host:port, not {entry}")),
        }
    }
    found
}

/// The listener between brokers: doorkeeper brokers don't talk to each other, so that only a name
/// which isn't there, or a protocol that asks for more than is built, is an error.
fn inter_broker(settings: &mut Settings, listeners: &[ListenerConfig]) {
    let protocol = settings.text(Owner::Broker, "security.inter.broker.protocol");
    if protocol.as_deref().is_some_and(|protocol| protocol != "PLAINTEXT") {
        settings.problem("security.inter.broker.protocol", "only PLAINTEXT is built yet");
    }
    if let Some(name) = settings.text(Owner::Broker, "inter.broker.listener.name")
        && !listeners.iter().any(|listener| listener.name.eq_ignore_ascii_case(&name))
    {
        settings.problem("inter.broker.listener.name", "it is not one of listeners");
    }
}
