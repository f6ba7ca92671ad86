//! The relay's addresses: a port for each broker and listener, bound when the broker is first seen and
//! kept while the process lives; or a name for each broker, on the listener's own port.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::addresses::{Address, AddressBook};
use super::listener::Door;
use crate::cluster::ClusterImage;
use crate::config::ListenAddress;
use crate::config::gateway::{GatewayAddresses, GatewayListener, RelayAddresses, RelayNames};
use crate::net;

/// The ports of all brokers that were ever seen.
#[derive(Debug)]
pub(super) struct Ports {
    door: Door,
    /// The listeners' own ports, in their order.
    listeners: Vec<u16>,
    bound: BTreeMap<(usize, i32), u16>,
    /// Why a broker has none, as it was last said.
    failed: BTreeMap<(usize, i32), String>,
}

impl Ports {
    pub(super) fn new(door: Door, listeners: Vec<u16>) -> Self {
        Ports { door, listeners, bound: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// The addresses that clients of `listeners[index]` are told: in the relay, with a port or a name
    /// for each broker of the image that can have one.
    pub(super) fn book(
        &mut self,
        index: usize,
        listener: &GatewayListener,
        image: &ClusterImage,
    ) -> AddressBook {
        let book = |relay| AddressBook { listener: Arc::from(listener.brokers.as_str()), relay };
        let config = match &self.door.core.config.addresses {
            GatewayAddresses::Brokers => return book(None),
            GatewayAddresses::Gateway(common) => listener.ports.as_ref().unwrap_or(common).clone(),
            GatewayAddresses::Names(names) => {
                let own = self.listeners.get(index).copied().unwrap_or_default();
                return book(Some(named(names, own, image)));
            }
        };
        self.failed.retain(|(of, id), _| *of != index || image.is_alive(*id));
        for broker in image.brokers.values() {
            if broker.endpoint(&listener.brokers).is_none()
                || self.bound.contains_key(&(index, broker.id))
            {
                continue;
            }
            match self.bind(index, listener, &config, broker.id) {
                Ok(port) => {
                    tracing::info!(broker = broker.id, listener = %listener.name, port, "relay port");
                    self.bound.insert((index, broker.id), port);
                    self.failed.remove(&(index, broker.id));
                }
                Err(reason) => self.said(index, broker.id, &reason),
            }
        }
        let host = match &config.advertised_host {
            Some(host) => host.clone(),
            None if net::is_wildcard(&listener.bind.host) => net::machine_name(),
            None => listener.bind.host.clone(),
        };
        let of_listener = self.bound.iter().filter(|((of, _), _)| *of == index);
        let relay = of_listener
            .filter_map(|((_, id), port)| {
                let port = match config.advertised_port_base {
                    Some(base) => port_of(base, *id)?,
                    None => *port,
                };
                Some((*id, Address { host: host.clone(), port: i32::from(port) }))
            })
            .collect();
        book(Some(relay))
    }

    /// How many live brokers have no port.
    pub(super) fn without_port(&self) -> usize {
        self.failed.len()
    }

    fn bind(
        &self,
        index: usize,
        listener: &GatewayListener,
        config: &RelayAddresses,
        id: i32,
    ) -> Result<u16, String> {
        if let Some(base) = config.advertised_port_base {
            port_of(base, id).ok_or_else(|| {
                format!("doorkeeper.gateway.advertised.port.base {base} and its id are no port")
            })?;
        }
        let base = config.port_base;
        let port = if base == 0 {
            0
        } else {
            port_of(base, id).ok_or_else(|| {
                format!("doorkeeper.gateway.port.base {base} and its id are no port")
            })?
        };
        let address = ListenAddress { host: listener.bind.host.clone(), port };
        let socket = net::bind(&address).map_err(|error| error.to_string())?;
        let bound = socket.local_addr().map_err(|error| error.to_string())?;
        tokio::spawn(self.door.clone().serve(socket, index, Some(id)));
        Ok(bound.port())
    }

    /// Says once why a broker has no port: clients are told of it as of one without their listener.
    fn said(&mut self, index: usize, id: i32, reason: &str) {
        let before = self.failed.insert((index, id), reason.to_owned());
        if before.as_deref() != Some(reason) {
            tracing::error!(
                broker = id,
                reason,
                "no port for a broker: clients can't reach it here"
            );
        }
    }
}

/// Brokers by name, all on one port.
fn named(names: &RelayNames, own: u16, image: &ClusterImage) -> BTreeMap<i32, Address> {
    let port = i32::from(names.advertised_port.unwrap_or(own));
    // A name with a sign in it would be nobody's.
    let ids = image.brokers.keys().copied().filter(|id| *id >= 0);
    ids.map(|id| (id, Address { host: names.pattern.host(id), port })).collect()
}

/// A base and a broker's id, if that is a port.
fn port_of(base: u16, id: i32) -> Option<u16> {
    u16::try_from(i32::from(base).checked_add(id)?).ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_the_base_and_the_id_or_none() {
        assert_eq!(port_of(19_092, 0), Some(19_092));
        assert_eq!(port_of(19_092, 1_001), Some(20_093));
        assert_eq!(port_of(65_535, 0), Some(65_535));
        assert_eq!(port_of(65_535, 1), None);
        assert_eq!(port_of(1, i32::MAX), None);
        assert_eq!(port_of(9_092, -1), Some(9_091));
        assert_eq!(port_of(1, -1), None);
    }
}
