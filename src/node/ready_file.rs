//! The file that says that every role serves, and where: for scripts and tests, which wait for it
//! and never sleep.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;

use crate::zookeeper::server::Coordinator;

use super::{Node, reachable};
use crate::durable_file;
use crate::gateway::clusters::Gateways;

#[derive(Debug, Serialize)]
struct Ready {
    pid: u32,
    coordinator: Option<String>,
    #[serde(rename = "coordinatorSecure")]
    coordinator_secure: Option<String>,
    brokers: Vec<Member>,
    gateways: Vec<Front>,
    http: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
}

#[derive(Debug, Serialize)]
struct Member {
    id: i32,
    listeners: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Front {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    listeners: BTreeMap<String, String>,
    /// The relay's: what clients of each listener are told of each broker.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    brokers: BTreeMap<i32, BTreeMap<String, String>>,
}

fn reached(listeners: &BTreeMap<String, SocketAddr>) -> BTreeMap<String, String> {
    let listeners = listeners.iter();
    listeners.map(|(name, address)| (name.clone(), reachable(*address).to_string())).collect()
}

/// Writes the file as a whole or not at all. A socket on every interface shows as the loopback
/// address, under which whoever reads the file reaches it.
pub(super) fn write(path: &Path, node: &Node) -> io::Result<()> {
    write_anew(path, node, &[]).map(drop)
}

/// The same, unless it would be what was `written`. Returns what is in the file now.
pub(super) fn write_anew(path: &Path, node: &Node, written: &[u8]) -> io::Result<Vec<u8>> {
    let of_coordinator = |address: fn(&Coordinator) -> Option<SocketAddr>| {
        let address = address(node.coordinator.as_ref()?)?;
        Some(reachable(address).to_string())
    };
    let ready = Ready {
        pid: std::process::id(),
        coordinator: of_coordinator(Coordinator::client_address),
        coordinator_secure: of_coordinator(Coordinator::secure_client_address),
        brokers: node
            .broker
            .iter()
            .map(|broker| Member { id: broker.id(), listeners: reached(broker.listeners()) })
            .collect(),
        gateways: node
            .gateways
            .iter()
            .flat_map(Gateways::fronts)
            .map(|front| Front {
                cluster: front.cluster.map(|name| name.to_string()),
                listeners: reached(&front.listeners),
                brokers: front.brokers,
            })
            .collect(),
        http: node.http.as_ref().map(|http| reachable(http.address()).to_string()),
        admin: of_coordinator(Coordinator::admin_address),
        metrics: of_coordinator(Coordinator::metrics_address),
    };
    let mut json = serde_json::to_vec(&ready)?;
    json.push(b'\n');
    if json != written {
        durable_file::write(path, &json)?;
    }
    Ok(json)
}

/// Removes the file if it is there: before anything else at a start, and at a clean stop.
pub fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "can't remove the ready file");
    }
}
