//! Which address of each broker the clients of a listener are told (pure).
//!
//! A broker, and a gateway in direct mode, tells the brokers' own endpoints of one listener. A
//! gateway that relays tells its own address for each broker; whether a broker can be reached is
//! still for its endpoints of that listener to say.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::cluster::BrokerInfo;

/// A host and a port that clients are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or address.
    pub host: String,
    /// The TCP port.
    pub port: i32,
}

/// The addresses for the clients of one listener. Immutable: another one is made when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressBook {
    /// The brokers' listener that clients of this listener are served from, upper case.
    pub listener: Arc<str>,
    /// The gateway's own address for each broker; `None` in direct mode, where it is the broker's.
    pub relay: Option<BTreeMap<i32, Address>>,
}

/// By the listener alone: books that differ in addresses only are few at any time.
impl Hash for AddressBook {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.listener.hash(state);
        self.relay.is_some().hash(state);
    }
}

impl AddressBook {
    /// The brokers' own endpoints of a listener.
    pub fn direct(listener: Arc<str>) -> Arc<Self> {
        Arc::new(AddressBook { listener, relay: None })
    }

    /// Where clients are told that a broker is; `None` if it has no endpoint for them, as Kafka
    /// answers with `LISTENER_NOT_FOUND`.
    pub fn of<'a>(&'a self, broker: &'a BrokerInfo) -> Option<(&'a str, i32)> {
        let endpoint = broker.endpoint(&self.listener)?;
        match &self.relay {
            None => Some((&endpoint.host, endpoint.port)),
            Some(relay) => {
                relay.get(&broker.id).map(|address| (address.host.as_str(), address.port))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Endpoint;

    fn broker(id: i32, listener: &str) -> BrokerInfo {
        let endpoint = Endpoint {
            listener: listener.to_owned(),
            protocol: "PLAINTEXT".to_owned(),
            host: format!("host-{id}"),
            port: 9_000 + id,
        };
        BrokerInfo {
            id,
            epoch: 1,
            endpoints: vec![endpoint],
            rack: None,
            doorkeeper: false,
            owner: 1,
        }
    }

    #[test]
    fn the_gateways_own_addresses_stand_for_endpoints_that_are_there() {
        let direct = AddressBook::direct("INSIDE".into());
        assert_eq!(direct.of(&broker(1, "INSIDE")), Some(("host-1", 9_001)));
        assert_eq!(direct.of(&broker(1, "OUTSIDE")), None);

        let gate = Address { host: "gate".to_owned(), port: 19_001 };
        let relay = AddressBook { listener: "INSIDE".into(), relay: Some([(1, gate)].into()) };
        assert_eq!(relay.of(&broker(1, "INSIDE")), Some(("gate", 19_001)));
        assert_eq!(relay.of(&broker(1, "OUTSIDE")), None, "the broker lacks the listener");
        assert_eq!(relay.of(&broker(2, "INSIDE")), None, "the gateway has no port for it");
    }
}
