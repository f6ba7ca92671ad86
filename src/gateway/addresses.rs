//! The addresses of brokers that the clients of one listener are told.

use std::collections::BTreeMap;
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

impl AddressBook {
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
