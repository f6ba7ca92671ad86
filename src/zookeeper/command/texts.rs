//! The texts of the four-letter words, as Apache ZooKeeper 3.9 writes them: people's scripts parse
//! them.

use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering;

use crate::zookeeper::state::State;

/// The release of ZooKeeper that clients are told, with our own version behind it.
const VERSION: &str = concat!("3.9.4-doorkeeper-", env!("CARGO_PKG_VERSION"));

const MODE: &str = "standalone";

/// `srvr`; with the list of connections it is `stat`.
pub(super) fn server(state: &State, with_clients: bool) -> String {
    let mut text = format!("Zookeeper version: {VERSION}\n");
    let mut connections: Vec<_> = state.connections.lock().values().cloned().collect();
    if with_clients {
        connections.sort_unstable_by_key(|connection| connection.id());
        text.push_str("Clients:\n");
        for connection in &connections {
            let (received, sent) = connection.packets();
            let interest = i32::from(connection.session().is_some());
            let (peer, queued) = (connection.peer(), connection.pending());
            let _ = writeln!(
                text,
                " /{peer}[{interest}](queued={queued},recved={received},sent={sent})"
            );
        }
        text.push('\n');
    }
    let (min, mean, max) = state.stats.latency.min_mean_max_ms();
    let (zxid, nodes) = {
        let database = state.database.read();
        (database.tree.last_zxid(), database.tree.node_count())
    };
    let _ = write!(
        text,
        "Latency min/avg/max: {min}/{mean:?}/{max}\n\
         Received: {}\n\
         Sent: {}\n\
         Connections: {}\n\
         Outstanding: {}\n\
         Zxid: {zxid:#x}\n\
         Mode: {MODE}\n\
         Node count: {nodes}\n",
        state.stats.packets_received.load(Ordering::Relaxed),
        state.stats.packets_sent.load(Ordering::Relaxed),
        connections.len(),
        state.queue.outstanding(),
    );
    text
}

/// `mntr`: the keys that dashboards rely on.
pub(super) fn monitor(state: &State) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &dyn Display| {
        let _ = writeln!(text, "zk_{key}\t{value}");
    };
    let (min, mean, max) = state.stats.latency.min_mean_max_ms();
    let sessions = state.sessions.lock().len();
    let watches = state.watches.lock().len();
    let connections = state.connections.lock().len();
    let (open_files, max_files) = file_descriptors();
    line("version", &VERSION);
    line("server_state", &MODE);
    line("avg_latency", &format_args!("{mean:?}"));
    line("max_latency", &max);
    line("min_latency", &min);
    line("packets_received", &state.stats.packets_received.load(Ordering::Relaxed));
    line("packets_sent", &state.stats.packets_sent.load(Ordering::Relaxed));
    line("num_alive_connections", &connections);
    line("outstanding_requests", &state.queue.outstanding());
    line("uptime", &state.uptime().as_millis());
    {
        let database = state.database.read();
        line("znode_count", &database.tree.node_count());
        line("ephemerals_count", &database.tree.ephemeral_count());
        line("approximate_data_size", &database.tree.data_size());
    }
    line("watch_count", &watches);
    line("global_sessions", &sessions);
    line("local_sessions", &0);
    line("connection_drop_probability", &"0.0");
    line(
        "outstanding_tls_handshake",
        &state.stats.outstanding_tls_handshakes.load(Ordering::Relaxed),
    );
    line("auth_failed_count", &state.stats.auth_failures.load(Ordering::Relaxed));
    let (snapshots, logs) = state.disk_bytes();
    line("data_dir_size", &snapshots);
    line("log_dir_size", &logs);
    if let Some(open_files) = open_files {
        line("open_file_descriptor_count", &open_files);
    }
    if let Some(max_files) = max_files {
        line("max_file_descriptor_count", &max_files);
    }
    text
}

fn file_descriptors() -> (Option<usize>, Option<u64>) {
    let open = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    let max = std::fs::read_to_string("/proc/self/limits").ok().and_then(|limits| {
        let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
        line.split_whitespace().nth(3)?.parse().ok()
    });
    (open, max)
}

/// `conf`.
pub(super) fn configuration(state: &State) -> String {
    let config = &state.config;
    let port = state.client_port.load(Ordering::Relaxed);
    let (snapshots, logs) = state.disk_bytes();
    format!(
        "clientPort={port}\n\
         secureClientPort=-1\n\
         dataDir={}\n\
         dataDirSize={snapshots}\n\
         dataLogDir={}\n\
         dataLogSize={logs}\n\
         tickTime={}\n\
         maxClientCnxns={}\n\
         minSessionTimeout={}\n\
         maxSessionTimeout={}\n\
         clientPortListenBacklog=-1\n\
         serverId=0\n",
        config.data_dir.join("version-2").display(),
        config.data_log_dir.join("version-2").display(),
        config.tick_time.as_millis(),
        config.max_client_cnxns,
        config.min_session_timeout.as_millis(),
        config.max_session_timeout.as_millis(),
    )
}

/// `envi`: what holds here too; kazoo reads the version from it.
pub(super) fn environment() -> String {
    format!(
        "Environment:\n\
         zookeeper.version={VERSION}\n\
         host.name={}\n\
         os.name={}\n\
         os.arch={}\n",
        crate::net::machine_name(),
        std::env::consts::OS,
        std::env::consts::ARCH,
    )
}

/// `wchs`.
pub(super) fn watch_summary(state: &State) -> String {
    let watches = state.watches.lock();
    let (connections, paths) = watches.summary();
    format!("{connections} connections watching {paths} paths\nTotal watches:{}\n", watches.len())
}
