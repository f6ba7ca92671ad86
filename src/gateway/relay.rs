//! The relay's ports: one for each broker and listener, bound when the broker is first seen and kept
//! while the process lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::addresses::{Address, AddressBook};
use super::listener::Door;
use crate::cluster::ClusterImage;
use crate::config::ListenAddress;
use crate::config::gateway::{GatewayListener, RelayAddresses};
use crate::net;

/// The ports of all brokers that were ever seen.
#[derive(Debug)]
pub(super) struct Ports {
    config: RelayAddresses,
    door: Door,
    bound: BTreeMap<(usize, i32), u16>,
    /// Why a broker has none, as it was last said.
    failed: BTreeMap<(usize, i32), String>,
}

impl Ports {
    pub(super) fn new(config: RelayAddresses, door: Door) -> Self {
        Ports { config, door, bound: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// The addresses that clients of `listeners[index]` are told, with a port for each broker of the
    /// image that can have one.
    pub(super) fn book(
        &mut self,
        index: usize,
        listener: &GatewayListener,
        image: &ClusterImage,
    ) -> AddressBook {
        self.failed.retain(|(of, id), _| *of != index || image.is_alive(*id));
        for broker in image.brokers.values() {
            if broker.endpoint(&listener.brokers).is_none()
                || self.bound.contains_key(&(index, broker.id))
            {
                continue;
            }
            match self.bind(index, listener, broker.id) {
                Ok(port) => {
                    tracing::info!(broker = broker.id, listener = %listener.name, port, "relay port");
                    self.bound.insert((index, broker.id), port);
                    self.failed.remove(&(index, broker.id));
                }
                Err(reason) => self.said(index, broker.id, &reason),
            }
        }
        let host = match &self.config.advertised_host {
            Some(host) => host.clone(),
            None if net::is_wildcard(&listener.bind.host) => net::machine_name(),
            None => listener.bind.host.clone(),
        };
        let of_listener = self.bound.iter().filter(|((of, _), _)| *of == index);
        let relay = of_listener
            .filter_map(|((_, id), port)| {
                let port = match self.config.advertised_port_base {
                    Some(base) => port_of(base, *id)?,
                    None => *port,
                };
                Some((*id, Address { host: host.clone(), port: i32::from(port) }))
            })
            .collect();
        AddressBook { listener: Arc::from(listener.brokers.as_str()), relay: Some(relay) }
    }

    /// How many live brokers have no port.
    pub(super) fn without_port(&self) -> usize {
        self.failed.len()
    }

    fn bind(&self, index: usize, listener: &GatewayListener, id: i32) -> Result<u16, String> {
        if let Some(base) = self.config.advertised_port_base {
            port_of(base, id).ok_or_else(|| {
                format!("doorkeeper.gateway.advertised.port.base {base} and its id are no port")
            })?;
        }
        let base = self.config.port_base;
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
