//! Whom a client should ask instead: the current leader in a Produce or Fetch answer (KIP-951).

use std::collections::BTreeMap;

use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::cluster::ClusterImage;

/// A broker as a client of this listener reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderEndpoint {
    /// A host name or address.
    pub host: StrBytes,
    /// The TCP port.
    pub port: i32,
    /// `broker.rack`.
    pub rack: Option<StrBytes>,
}

/// The leaders that one answer names, each with its address once.
#[derive(Debug, Default)]
pub struct NamedLeaders {
    endpoints: BTreeMap<i32, LeaderEndpoint>,
}

impl NamedLeaders {
    /// Leader and leader epoch of a partition, if both the partition and the leader's address are
    /// known. The address is noted.
    pub fn name(
        &mut self,
        context: &RequestContext<'_>,
        image: &ClusterImage,
        topic: &str,
        partition: i32,
    ) -> Option<(i32, i32)> {
        let state = image.topic(topic)?.partitions.get(&partition)?;
        let broker = image.brokers.get(&state.leader)?;
        let endpoint = broker.endpoint(&context.connection.listener)?;
        self.endpoints.entry(broker.id).or_insert_with(|| LeaderEndpoint {
            host: StrBytes::from_string(endpoint.host.clone()),
            port: endpoint.port,
            rack: broker.rack.clone().map(StrBytes::from_string),
        });
        Some((state.leader, state.leader_epoch))
    }

    #[cfg(test)]
    pub(super) fn insert(&mut self, id: i32, endpoint: LeaderEndpoint) {
        self.endpoints.insert(id, endpoint);
    }

    /// The addresses, by broker id.
    pub fn endpoints(&self) -> &BTreeMap<i32, LeaderEndpoint> {
        &self.endpoints
    }
}
