//! What a start says on standard output: what listens where, where the data is, and what to try.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Node, reachable};
use crate::config::Configuration;
use crate::gateway::clusters::Gateways;

/// Where the roles keep their data, as configured.
#[derive(Debug)]
pub(super) struct DataDirectories {
    coordinator: Vec<PathBuf>,
    broker: Vec<PathBuf>,
}

impl DataDirectories {
    pub(super) fn of(configuration: &Configuration) -> Self {
        let mut coordinator = Vec::new();
        if let Some(config) = &configuration.coordinator {
            coordinator.push(config.data_dir.clone());
            if config.data_log_dir != config.data_dir {
                coordinator.push(config.data_log_dir.clone());
            }
        }
        let broker = configuration.broker.as_ref().map(|config| config.log_dirs.clone());
        DataDirectories { coordinator, broker: broker.unwrap_or_default() }
    }
}

/// Prints it. Nobody has to read it: an error, such as a closed pipe, is none.
pub(super) fn print(node: &Node, data: &DataDirectories) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text(node, data).as_bytes());
    let _ = stdout.flush();
}

fn text(node: &Node, data: &DataDirectories) -> String {
    let mut text = format!("doorkeeper {} serves (pid {})\n", crate::VERSION, std::process::id());
    if let Some(coordinator) = &node.coordinator {
        let plain = coordinator.client_address().map(shown);
        let secure = coordinator.secure_client_address().map(|at| format!("{} (TLS)", shown(at)));
        let at: Vec<String> = plain.into_iter().chain(secure).collect();
        let at = at.join(" and ");
        let _ = writeln!(text, "  coordinator  {at}, data in {}", paths(&data.coordinator));
    }
    if let Some(broker) = &node.broker {
        let (listeners, id) = (listeners(broker.listeners()), broker.id());
        let _ = writeln!(text, "  broker {id}     {listeners}, data in {}", paths(&data.broker));
    }
    for front in node.gateways.iter().flat_map(Gateways::fronts) {
        let cluster = front.cluster.map_or_else(String::new, |name| format!(" for cluster {name}"));
        let _ = writeln!(text, "  gateway      {}{cluster}", listeners(&front.listeners));
    }
    if let Some(http) = &node.http {
        let _ = writeln!(text, "  http         http://{}/metrics", shown(http.address()));
    }
    if let Some(address) =
        node.broker.as_ref().and_then(|broker| broker.listeners().values().next())
    {
        let _ = writeln!(
            text,
            "Try: kafka-console-producer.sh --bootstrap-server {} --topic hello",
            reachable(*address)
        );
    }
    text
}

fn listeners(listeners: &BTreeMap<String, SocketAddr>) -> String {
    let shown = |(name, address): (&String, &SocketAddr)| format!("{name}://{}", shown(*address));
    listeners.iter().map(shown).collect::<Vec<_>>().join(",")
}

fn shown(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("*:{}", address.port())
    } else {
        address.to_string()
    }
}

fn paths(paths: &[PathBuf]) -> String {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    paths
        .iter()
        .map(|path| Path::display(&absolute(path)).to_string())
        .collect::<Vec<_>>()
        .join(" and ")
}
