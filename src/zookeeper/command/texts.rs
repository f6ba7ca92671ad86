//! The texts of the four-letter words, as Apache ZooKeeper 3.9 writes them: people's scripts parse
//! them.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use super::facts::{self, MODE};
use super::{VERSION, lists, metrics};
use crate::zookeeper::state::State;

/// `srvr`; with the list of connections it is `stat`.
pub(super) fn server(state: &State, with_clients: bool) -> String {
    let mut text = format!("Zookeeper version: {VERSION}\n");
    let mut connections = facts::connections(state);
    if with_clients {
        connections.sort_unstable_by_key(|connection| connection.id());
        text.push_str("Clients:\n");
        text.push_str(&lists::clients(&connections));
        text.push('\n');
    }
    let (min, mean, max) = state.stats.server.latency().min_mean_max_ms();
    let (received, sent) = facts::packets(state);
    let (zxid, nodes) = {
        let database = state.database.read();
        (database.tree.last_zxid(), database.tree.node_count())
    };
    let _ = write!(
        text,
        "Latency min/avg/max: {min}/{mean:?}/{max}\n\
         Received: {received}\n\
         Sent: {sent}\n\
         Connections: {}\n\
         Outstanding: {}\n\
         Zxid: {zxid:#x}\n\
         Mode: {MODE}\n\
         Node count: {nodes}\n",
        connections.len(),
        state.queue.outstanding(),
    );
    text
}

/// `mntr`.
pub(super) fn monitor(state: &State) -> String {
    let mut text = format!("zk_version\t{VERSION}\nzk_server_state\t{MODE}\n");
    for metric in metrics::collect(state) {
        metric.each_value(|key, value| {
            let _ = writeln!(text, "zk_{key}\t{value}");
        });
    }
    text
}

/// `conf`.
pub(super) fn configuration(state: &State) -> String {
    let config = &state.config;
    let (port, secure_port) = (&state.client_port, &state.secure_client_port);
    let (data, logs) = facts::directory_sizes(state);
    format!(
        "clientPort={}\n\
         secureClientPort={}\n\
         dataDir={}\n\
         dataDirSize={data}\n\
         dataLogDir={}\n\
         dataLogSize={logs}\n\
         tickTime={}\n\
         maxClientCnxns={}\n\
         minSessionTimeout={}\n\
         maxSessionTimeout={}\n\
         clientPortListenBacklog={}\n\
         serverId=0\n",
        port.load(Ordering::Relaxed),
        secure_port.load(Ordering::Relaxed),
        config.data_dir.join("version-2").display(),
        config.data_log_dir.join("version-2").display(),
        config.tick_time.as_millis(),
        config.max_client_cnxns,
        config.min_session_timeout.as_millis(),
        config.max_session_timeout.as_millis(),
        config.client_port_listen_backlog.map_or(-1, i64::from),
    )
}

/// `envi`: what holds here too; kazoo reads the version from it.
pub(super) fn environment() -> String {
    let mut text = "Environment:\n".to_owned();
    for (key, value) in facts::environment() {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

/// `wchs`.
pub(super) fn watch_summary(state: &State) -> String {
    let (connections, paths, watches) = state.watches.lock().summary();
    format!("{connections} connections watching {paths} paths\nTotal watches:{watches}\n")
}
