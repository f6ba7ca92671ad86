//! How clients get into a gateway: limits, the PROXY protocol, and the addresses that they are told.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::ListenAddress;
use super::gateway::{GatewayAddresses, GatewayListener, RelayAddresses, RelayNames};
use super::host_pattern::{self, HostPattern};
use super::keys::{GATEWAY_LISTENER, Owner};
use super::settings::Settings;
use crate::net::network::Network;

const OWNER: Owner = Owner::Gateway;

/// What one client, or all together, may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayLimits {
    /// `max.connections.per.ip.overrides`: other caps for some addresses.
    pub per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// `max.connection.creation.rate`: new connections a second, of all listeners; `None` is no limit.
    pub connection_rate: Option<u32>,
    /// `doorkeeper.gateway.requests.per.second.per.ip`; `None` is no limit.
    pub requests_per_ip: Option<u32>,
}

impl GatewayLimits {
    pub(super) fn from_settings(settings: &mut Settings) -> GatewayLimits {
        const OVERRIDES: &str = "max.connections.per.ip.overrides";
        let mut per_ip_overrides = BTreeMap::new();
        for entry in settings.list(OWNER, OVERRIDES) {
            let parsed = entry.rsplit_once(':').and_then(|(ip, cap)| {
                let ip: IpAddr = ip.trim_matches(['[', ']']).parse().ok()?;
                Some((ip.to_canonical(), cap.parse().ok()?))
            });
            if let Some((ip, cap)) = parsed {
                per_ip_overrides.insert(ip, cap);
            } else {
                let reason =
                    format!("expected address:count, not {entry} (names are not looked up)");
                settings.problem(OVERRIDES, &reason);
            }
        }
        let rate = settings.text(OWNER, "max.connection.creation.rate");
        let requests = settings.text(OWNER, "doorkeeper.gateway.requests.per.second.per.ip");
        GatewayLimits {
            per_ip_overrides,
            connection_rate: rate.as_deref().and_then(rate_of),
            requests_per_ip: requests.as_deref().and_then(rate_of),
        }
    }
}

/// Kafka's default, the largest 32-bit number, is no limit.
fn rate_of(text: &str) -> Option<u32> {
    text.parse().ok().filter(|rate| *rate < i32::MAX.unsigned_abs())
}

/// The limits of single listeners, and the networks whose PROXY header they demand.
pub(super) fn of_listeners(settings: &mut Settings, listeners: &mut [GatewayListener]) {
    const CAP: &str = "max.connections";
    const RATE: &str = "max.connection.creation.rate";
    for listener in &mut *listeners {
        // Without a value of its own a listener has no limit but that of all.
        let own = |settings: &mut Settings, key| {
            let own = settings.key_of_listener(&listener.name, key) != key;
            own.then(|| settings.text_of_listener(OWNER, &listener.name, key)).flatten()
        };
        listener.connection_rate = own(settings, RATE).as_deref().and_then(rate_of);
        let cap = own(settings, CAP).and_then(|text| text.parse().ok());
        listener.max_connections = cap.unwrap_or(usize::MAX);
    }
    proxies(settings, listeners);
}

fn proxies(settings: &mut Settings, listeners: &mut [GatewayListener]) {
    const LISTENERS: &str = "doorkeeper.gateway.proxy.protocol.listeners";
    const NETWORKS: &str = "doorkeeper.gateway.proxy.protocol.networks";
    let mut networks: Vec<Network> = Vec::new();
    for text in settings.list(OWNER, NETWORKS) {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(error) => settings.problem(NETWORKS, &format!("{text}: {error}")),
        }
    }
    let names = settings.list(OWNER, LISTENERS);
    if names.is_empty() && settings.is_filled(NETWORKS) {
        settings.problem(NETWORKS, &format!("without {LISTENERS} it changes nothing"));
    }
    if !names.is_empty() && !settings.is_filled(NETWORKS) {
        let reason = "not set: expected the networks of the load balancers, whose word about \
                      addresses is taken";
        settings.problem(NETWORKS, reason);
    }
    for name in names {
        match listeners.iter_mut().find(|listener| listener.name.eq_ignore_ascii_case(&name)) {
            Some(listener) => listener.proxies = Some(networks.clone()),
            None => settings.problem(LISTENERS, &format!("{name} is not one of listeners")),
        }
    }
}

const PORT: &str = "doorkeeper.gateway.port.base";
const HOST: &str = "doorkeeper.gateway.advertised.host";
const ADVERTISED: &str = "doorkeeper.gateway.advertised.port.base";
const PATTERN: &str = "doorkeeper.gateway.sni.pattern";
const SNI_PORT: &str = "doorkeeper.gateway.sni.advertised.port";

/// Which addresses clients are told, of all listeners and (in these) of single ones.
pub(super) fn addresses(
    settings: &mut Settings,
    listeners: &mut [GatewayListener],
) -> GatewayAddresses {
    let relay = settings.text(OWNER, "doorkeeper.gateway.addresses").as_deref() == Some("gateway");
    let port = |settings: &mut Settings, key| settings.text(OWNER, key)?.parse().ok();
    let port_base: Option<u16> = port(settings, PORT);
    let advertised_host = settings.text(OWNER, HOST).filter(|host| !host.is_empty());
    let advertised_port_base = port(settings, ADVERTISED);
    let pattern = settings.text(OWNER, PATTERN).filter(|pattern| !pattern.is_empty());
    let sni_port = port(settings, SNI_PORT);
    let own = own_keys(settings, listeners);
    if !relay {
        let common = [PORT, HOST, ADVERTISED, PATTERN, SNI_PORT].map(str::to_owned);
        for key in common.iter().chain(own.iter().map(|(_, _, key)| key)) {
            if settings.is_filled(key) {
                let reason = "it would change the addresses that clients are told, which only \
                              doorkeeper.gateway.addresses=gateway does";
                settings.problem(key, reason);
            }
        }
        return GatewayAddresses::Brokers;
    }
    if let Some(pattern) = pattern {
        return names(settings, listeners, &pattern, sni_port);
    }
    if settings.is_filled(SNI_PORT) {
        settings.problem(SNI_PORT, &format!("it goes with {PATTERN}"));
    }
    let all_own = listeners
        .iter()
        .enumerate()
        .all(|(index, _)| own.iter().any(|(of, kind, _)| *of == index && *kind == Own::Port));
    if port_base.is_none() && !all_own {
        if !settings.is_filled(PORT) {
            let reason = "not set: expected the port of broker 0, after which the others follow, or 0 \
                          for any free ones";
            settings.problem(PORT, reason);
        }
        return GatewayAddresses::Brokers;
    }
    if let Some(host) = &advertised_host {
        check_host(settings, HOST, host);
    }
    let several = listeners.len() - own.iter().filter(|own| own.1 == Own::Port).count() > 1;
    let base = port_base.unwrap_or(0);
    if several && base != 0 {
        let reason = "with more than one listener each broker needs a port for each of them: expected \
                      0 (any free ports), or doorkeeper.gateway.listener.NAME.port.base";
        settings.problem(PORT, reason);
    }
    if several && advertised_port_base.is_some() {
        settings.problem(
            ADVERTISED,
            "with more than one listener the bound ports are advertised, or \
             doorkeeper.gateway.listener.NAME.advertised.port.base",
        );
    }
    if base == 0 && advertised_port_base.is_some() && !all_own {
        settings
            .problem(ADVERTISED, "it needs ports that follow from doorkeeper.gateway.port.base");
    }
    let common = RelayAddresses { port_base: base, advertised_host, advertised_port_base };
    own_ports(settings, listeners, &own, &common);
    GatewayAddresses::Gateway(common)
}

fn check_host(settings: &mut Settings, key: &str, host: &str) {
    let address = ListenAddress::parse(&format!("{host}:1"))
        .or_else(|| ListenAddress::parse(&format!("[{host}]:1")));
    if address.is_none() || matches!(host, "0.0.0.0" | "::") {
        settings.problem(key, "expected a name or address that clients can connect to");
    }
}

/// One name for each broker, on ports that speak TLS.
fn names(
    settings: &mut Settings,
    listeners: &[GatewayListener],
    pattern: &str,
    advertised_port: Option<u16>,
) -> GatewayAddresses {
    for key in [PORT, HOST, ADVERTISED] {
        if settings.is_filled(key) {
            let reason = format!("with {PATTERN} brokers have names, and no ports of their own");
            settings.problem(key, &reason);
        }
    }
    for listener in listeners.iter().filter(|listener| !listener.protocol.has_tls()) {
        let reason = format!(
            "brokers are told apart by the names in TLS handshakes, and listener {} has no TLS",
            listener.name
        );
        settings.problem(PATTERN, &reason);
    }
    match pattern.parse::<HostPattern>() {
        Ok(pattern) => GatewayAddresses::Names(RelayNames { pattern, advertised_port }),
        Err(error) => {
            settings.problem(PATTERN, &error.to_string());
            GatewayAddresses::Brokers
        }
    }
}

/// What a listener may have of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Port,
    Host,
    Advertised,
}

/// The `doorkeeper.gateway.listener.NAME.*` that are given: index of the listener, kind, key. Sets
/// `brokers`.
fn own_keys(
    settings: &mut Settings,
    listeners: &mut [GatewayListener],
) -> Vec<(usize, Own, String)> {
    let mut own = Vec::new();
    for (key, given) in settings.given.clone() {
        let Some(rest) = key.strip_prefix(GATEWAY_LISTENER) else { continue };
        let Some((name, kind)) = rest.split_once('.') else { continue };
        let name = name.to_ascii_uppercase();
        let Some(index) = listeners.iter().position(|listener| listener.name == name) else {
            settings.problem(&key, &format!("{name} is not one of listeners"));
            continue;
        };
        match kind {
            "brokers" if given.value.is_empty() => {
                settings.problem(&key, "expected the name of a listener of the brokers");
            }
            "brokers" => listeners[index].brokers = given.value.to_ascii_uppercase(),
            _ if given.value.is_empty() => {}
            "port.base" => own.push((index, Own::Port, key)),
            "advertised.host" => own.push((index, Own::Host, key)),
            "advertised.port.base" => own.push((index, Own::Advertised, key)),
            _ => {}
        }
    }
    own
}

fn own_ports(
    settings: &mut Settings,
    listeners: &mut [GatewayListener],
    own: &[(usize, Own, String)],
    common: &RelayAddresses,
) {
    for (index, kind, key) in own {
        let value = settings.given.get(key).map_or_else(String::new, |given| given.value.clone());
        let ports = listeners[*index].ports.get_or_insert_with(|| common.clone());
        match (kind, value.parse::<u16>()) {
            (Own::Port, Ok(base)) => ports.port_base = base,
            (Own::Advertised, Ok(base)) => ports.advertised_port_base = Some(base),
            (Own::Host, _) => {
                ports.advertised_host = Some(value.clone());
                check_host(settings, key, &value);
            }
            _ => settings.problem(key, "expected a whole number from 0 to 65535"),
        }
    }
    let taken: Vec<(usize, u16)> = listeners
        .iter()
        .enumerate()
        .map(|(index, listener)| {
            (index, listener.ports.as_ref().map_or(common.port_base, |ports| ports.port_base))
        })
        .filter(|(_, base)| *base != 0)
        .collect();
    for (index, _, key) in own.iter().filter(|(_, kind, _)| *kind == Own::Port) {
        let base = taken.iter().find(|(of, _)| of == index).map(|(_, base)| *base);
        if base.is_some_and(|base| taken.iter().any(|(of, other)| of != index && *other == base)) {
            settings.problem(key, "another listener has the same: each needs ports of its own");
        }
    }
}

/// `doorkeeper.gateway.sni.host`: the name by which a cluster's bootstrap address is told apart.
pub(super) fn sni_host(settings: &mut Settings) -> Option<String> {
    const KEY: &str = "doorkeeper.gateway.sni.host";
    let host = settings.text(OWNER, KEY).filter(|host| !host.is_empty())?;
    if !host_pattern::is_host_name(&host) {
        settings.problem(KEY, "expected a host name with a dot, such as a.kafka.example.com");
        return None;
    }
    Some(host_pattern::normal(&host))
}
