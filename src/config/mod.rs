//! `zoo.cfg` and `server.properties`, with ZooKeeper's and Kafka's own key names and defaults.

pub mod broker;
pub mod coordinator;

pub use broker::BrokerConfig;
pub use coordinator::CoordinatorConfig;

/// A host and port to listen on or to reach; port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    /// A name or address; empty means every interface.
    pub host: String,
    /// The TCP port.
    pub port: u16,
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
