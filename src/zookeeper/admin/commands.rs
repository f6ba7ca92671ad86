//! The commands that only tell or count: names, aliases and JSON keys are those of ZooKeeper's
//! `Commands`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use crate::calendar::milliseconds;
use crate::limits::COMMAND_OUTPUT_BYTES_MAX;
use crate::zookeeper::command::{self, VERSION, facts, metrics};
use crate::zookeeper::connection::handle::ConnectionHandle;
use crate::zookeeper::state::State;

/// Every command's name and its other names.
const COMMANDS: [(&str, &[&str]); 28] = [
    ("configuration", &["conf", "config"]),
    ("connection_stat_reset", &["crst"]),
    ("connections", &["cons"]),
    ("dirs", &[]),
    ("dump", &[]),
    ("environment", &["env", "envi"]),
    ("get_trace_mask", &["gtmk"]),
    ("hash", &[]),
    ("initial_configuration", &["icfg"]),
    ("is_read_only", &["isro"]),
    ("last_snapshot", &["lsnp"]),
    ("leader", &["lead"]),
    ("monitor", &["mntr"]),
    ("observer_connection_stat_reset", &["orst"]),
    ("observers", &["obsr"]),
    ("restore", &["rest"]),
    ("ruok", &[]),
    ("server_stats", &["srvr"]),
    ("set_trace_mask", &["stmk"]),
    ("snapshot", &["snap"]),
    ("stat_reset", &["srst"]),
    ("stats", &["stat"]),
    ("system_properties", &["sysp"]),
    ("voting_view", &[]),
    ("watch_summary", &["wchs"]),
    ("watches", &["wchc"]),
    ("watches_by_path", &["wchp"]),
    ("zabstate", &[]),
];

/// The name of a command that has this name or alias.
pub(super) fn find(name: &str) -> Option<&'static str> {
    COMMANDS
        .iter()
        .find(|(primary, aliases)| *primary == name || aliases.contains(&name))
        .map(|(primary, _)| *primary)
}

/// Whether it needs an `Authorization` header.
pub(super) fn is_guarded(command: &str) -> bool {
    matches!(command, "snapshot" | "restore")
}

/// The page that names every command.
pub(super) fn links(url: &str) -> String {
    let mut page = String::new();
    for (name, _) in COMMANDS {
        let _ = writeln!(page, "<a href=\"{url}/{name}\">{name}</a>\n<br/>");
    }
    page
}

/// Runs a command that [`find`] gave; the error goes to the answer's `error`.
pub(super) fn run(
    command: &str,
    query: &BTreeMap<String, String>,
    state: &State,
) -> Result<Map<String, Value>, String> {
    let told = match command {
        "configuration" => configuration(state),
        "connection_stat_reset" => {
            command::reset_connections(state);
            json!({})
        }
        "connections" => {
            let (plain, secure) = connections(state, false);
            json!({"connections": plain, "secure_connections": secure})
        }
        "dirs" => {
            let (data, logs) = facts::directory_sizes(state);
            json!({"datadir_size": data, "logdir_size": logs})
        }
        "dump" => dump(state),
        "environment" => facts::environment()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), Value::String(value)))
            .collect::<Map<_, _>>()
            .into(),
        "get_trace_mask" => json!({"tracemask": state.trace_mask.load(Ordering::Relaxed)}),
        "hash" => digests(state),
        "initial_configuration" => {
            json!({"initial_configuration": state.config.initial_configuration})
        }
        "is_read_only" => json!({"read_only": false}),
        "last_snapshot" => match facts::last_snapshot(state) {
            Some((zxid, at)) => json!({"zxid": format!("{zxid:x}"), "timestamp": at}),
            None => json!({"zxid": format!("{:x}", -1), "timestamp": -1}),
        },
        "leader" => return Err("server is not initialized".to_owned()),
        "monitor" => monitor(state),
        "observers" => json!({"synced_observers": 0, "observers": []}),
        "server_stats" => server_stats(state),
        "set_trace_mask" => return set_trace_mask(query, state),
        "stat_reset" => {
            state.stats.reset();
            json!({})
        }
        "stats" => {
            let mut stats = server_stats(state);
            let (plain, secure) = connections(state, true);
            stats["connections"] = plain;
            stats["secure_connections"] = secure;
            stats
        }
        "system_properties" => system_properties(state),
        "voting_view" => json!({"current_config": {}}),
        "watch_summary" => {
            let (connections, paths, watches) = state.watches.lock().summary();
            json!({
                "num_connections": connections,
                "num_paths": paths,
                "num_total_watches": watches,
            })
        }
        "watches" => watches_by_session(state),
        "watches_by_path" => watches_by_path(state),
        "zabstate" => json!({"voting": false, "zabstate": ""}),
        _ => json!({}),
    };
    match told {
        Value::Object(told) => Ok(told),
        _ => Ok(Map::new()),
    }
}

fn configuration(state: &State) -> Value {
    let config = &state.config;
    json!({
        "client_port": state.client_port.load(Ordering::Relaxed),
        "data_dir": config.data_dir.join("version-2").display().to_string(),
        "data_log_dir": config.data_log_dir.join("version-2").display().to_string(),
        "tick_time": milliseconds(config.tick_time),
        "max_client_cnxns": config.max_client_cnxns,
        "min_session_timeout": milliseconds(config.min_session_timeout),
        "max_session_timeout": milliseconds(config.max_session_timeout),
        "server_id": 0,
        "client_port_listen_backlog": config.client_port_listen_backlog.map_or(-1, i64::from),
    })
}

/// Bytes that one entry of a list takes, about: lists are cut at [`COMMAND_OUTPUT_BYTES_MAX`].
const ENTRY_BYTES: usize = 512;

/// The connections of the client port, and those of the secure one.
fn connections(state: &State, brief: bool) -> (Value, Value) {
    let (secure, plain): (Vec<_>, Vec<_>) = facts::connections(state)
        .into_iter()
        .take(COMMAND_OUTPUT_BYTES_MAX / ENTRY_BYTES)
        .partition(|connection| connection.came_by_secure_port());
    let told = |connections: Vec<Arc<ConnectionHandle>>| {
        connections.iter().map(|connection| connection_info(connection, brief)).collect()
    };
    (told(plain), told(secure))
}

fn connection_info(connection: &Arc<ConnectionHandle>, brief: bool) -> Value {
    let (received, sent) = connection.packets();
    let session = connection.session();
    let mut info = json!({
        "remote_socket_address": connection.peer().to_string(),
        "interest_ops": i32::from(session.is_some()),
        "outstanding_requests": connection.pending(),
        "packets_received": received,
        "packets_sent": sent,
    });
    if !brief {
        let seen = connection.activity().seen();
        info["session_id"] = json!(session.map_or(0, |session| session.id()));
        info["last_operation"] = json!(seen.last_operation);
        info["established"] = json!(seen.established);
        info["session_timeout"] = json!(session.map_or(0, |session| session.timeout_ms()));
        info["last_cxid"] = json!(seen.last_cxid);
        info["last_zxid"] = json!(seen.last_zxid);
        info["last_response_time"] = json!(seen.last_response_time);
        info["last_latency"] = json!(seen.last_latency);
        info["min_latency"] = json!(seen.min_latency);
        info["avg_latency"] = json!(seen.avg_latency);
        info["max_latency"] = json!(seen.max_latency);
    }
    info
}

/// A map of lists whose texts together have a bound; what is beyond it is left out.
#[derive(Default)]
struct Lists {
    lists: Map<String, Value>,
    bytes: usize,
}

impl Lists {
    /// Adds a list, as much of it as there is room for; false when there is none any more.
    fn add(&mut self, key: String, entries: impl Iterator<Item = Value>) -> bool {
        self.bytes += key.len() + 8;
        let mut list = Vec::new();
        for entry in entries {
            self.bytes += entry.as_str().map_or(24, |text| text.len() + 4);
            if self.bytes > COMMAND_OUTPUT_BYTES_MAX {
                break;
            }
            list.push(entry);
        }
        self.lists.insert(key, Value::Array(list));
        self.bytes <= COMMAND_OUTPUT_BYTES_MAX
    }
}

fn dump(state: &State) -> Value {
    let mut expiry = Lists::default();
    for (at, sessions) in state.sessions.lock().by_expiry() {
        if !expiry.add(at.to_string(), sessions.into_iter().map(Value::from)) {
            break;
        }
    }
    let mut ephemerals = Lists::default();
    let database = state.database.read();
    for owner in database.tree.ephemeral_owners() {
        let paths = database.tree.ephemerals(owner).map(Value::from);
        if !ephemerals.add(owner.to_string(), paths) {
            break;
        }
    }
    json!({
        "expiry_time_to_session_ids": expiry.lists,
        "session_id_to_ephemeral_paths": ephemerals.lists,
    })
}

fn digests(state: &State) -> Value {
    let digests: Vec<Value> = state
        .digests
        .lock()
        .iter()
        .map(|(zxid, digest)| {
            json!({"zxid": zxid, "digestVersion": 2, "digest": digest.cast_signed()})
        })
        .collect();
    json!({"digests": digests})
}

fn monitor(state: &State) -> Value {
    let mut told = Map::new();
    told.insert("version".to_owned(), VERSION.into());
    told.insert("server_state".to_owned(), facts::MODE.into());
    for metric in metrics::collect(state) {
        metric.each_value(|key, value| {
            let text = value.to_string();
            let whole = text.parse::<i64>().map(Value::from);
            let number = whole.or_else(|_| text.parse::<f64>().map(Value::from));
            told.insert(key.to_owned(), number.unwrap_or(Value::String(text)));
        });
    }
    Value::Object(told)
}

fn server_stats(state: &State) -> Value {
    let (min, mean, max) = state.stats.server.latency().min_mean_max_ms();
    let (received, sent) = facts::packets(state);
    let (data, logs) = facts::directory_sizes(state);
    let (zxid, nodes) = {
        let database = state.database.read();
        (database.tree.last_zxid(), database.tree.node_count())
    };
    let [last_response, min_response, max_response] = state.responses().last_min_max();
    let responses = json!({
        "last_buffer_size": last_response,
        "min_buffer_size": min_response,
        "max_buffer_size": max_response,
    });
    let server = &state.stats.server;
    let (local, remote) = (&server.non_mtls_local_conn_count, &server.non_mtls_remote_conn_count);
    let slow = server.fsync_threshold_exceed_count.load(Ordering::Relaxed);
    json!({
        "version": VERSION,
        "read_only": false,
        "server_stats": {
            "packets_sent": sent,
            "packets_received": received,
            "fsync_threshold_exceed_count": slow,
            "client_response_stats": responses,
            "provider_null": false,
            "data_dir_size": data,
            "log_dir_size": logs,
            "last_processed_zxid": zxid,
            "outstanding_requests": state.queue.outstanding(),
            "server_state": facts::MODE,
            "avg_latency": mean,
            "max_latency": max,
            "min_latency": min,
            "num_alive_client_connections": state.connections.lock().len(),
            "uptime": milliseconds(state.uptime()),
            "auth_failed_count": state.stats.auth_failures.load(Ordering::Relaxed),
            "non_mtlsremote_conn_count": remote.load(Ordering::Relaxed),
            "non_mtlslocal_conn_count": local.load(Ordering::Relaxed),
        },
        "client_response": responses,
        "node_count": nodes,
    })
}

fn set_trace_mask(
    query: &BTreeMap<String, String>,
    state: &State,
) -> Result<Map<String, Value>, String> {
    const NEEDED: &str = "setTraceMask requires long traceMask argument";
    let given = query.get("traceMask").ok_or(NEEDED)?;
    let mask: i64 = given.parse().map_err(|_| format!("{NEEDED}, got {given}"))?;
    state.trace_mask.store(mask, Ordering::Relaxed);
    Ok(Map::from_iter([("tracemask".to_owned(), Value::from(mask))]))
}

/// ZooKeeper shows every property of its JVM, passwords too; here it is those that were given, without
/// secrets, and what little of the others holds.
fn system_properties(state: &State) -> Value {
    let mut told: Map<String, Value> = facts::environment()
        .into_iter()
        .filter(|(key, _)| {
            key.starts_with("os.") && !key.contains("memory") || key.starts_with("user.")
        })
        .map(|(key, value)| (key.to_owned(), Value::String(value)))
        .collect();
    for (key, value) in &state.config.system_properties {
        told.insert(key.clone(), Value::String(value.clone()));
    }
    Value::Object(told)
}

fn watches_by_session(state: &State) -> Value {
    let sessions = facts::session_of(state);
    let mut lists = Lists::default();
    for (watcher, paths) in state.watches.lock().by_watcher() {
        let session = sessions.get(&watcher).copied().unwrap_or(0);
        if !lists.add(session.to_string(), paths.map(Value::from)) {
            break;
        }
    }
    json!({"session_id_to_watched_paths": lists.lists})
}

fn watches_by_path(state: &State) -> Value {
    let sessions = facts::session_of(state);
    let mut lists = Lists::default();
    for (path, watchers) in state.watches.lock().by_path() {
        let of = |watcher: &u64| Value::from(sessions.get(watcher).copied().unwrap_or(0));
        if !lists.add(path.to_owned(), watchers.iter().map(of)) {
            break;
        }
    }
    json!({"path_to_session_ids": lists.lists})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_alias_is_one_commands() {
        let mut names: Vec<&str> = COMMANDS
            .iter()
            .flat_map(|(name, aliases)| aliases.iter().chain([name]))
            .copied()
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(COMMANDS.is_sorted_by_key(|(name, _)| *name));
        assert_eq!((find("mntr"), find("nosuch")), (Some("monitor"), None));
    }

    #[test]
    fn cve_2017_5637_lists_of_any_length_are_cut() {
        let mut lists = Lists::default();
        let long = "x".repeat(1_000);
        let added = (0..10_000_u64)
            .take_while(|i| {
                lists.add(i.to_string(), std::iter::repeat_n(Value::from(long.as_str()), 10))
            })
            .count();
        assert!(added < COMMAND_OUTPUT_BYTES_MAX / 10_000, "{added}");
        assert!(!lists.add("more".to_owned(), std::iter::empty()));
    }
}
