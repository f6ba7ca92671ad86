//! What four-letter words and the AdminServer tell alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use crate::zookeeper::connection::handle::ConnectionHandle;
use crate::zookeeper::state::State;
use crate::{calendar, limits};

/// What a server of its own says of its mode.
pub(in crate::zookeeper) const MODE: &str = "standalone";

/// Every open connection.
pub(in crate::zookeeper) fn connections(state: &State) -> Vec<Arc<ConnectionHandle>> {
    state.connections.lock().values().cloned().collect()
}

/// Bytes in the folder of the snapshots and in that of the logs: all of both where they are one.
pub(in crate::zookeeper) fn directory_sizes(state: &State) -> (u64, u64) {
    let (snapshots, logs) = state.disk_bytes();
    if state.config.data_dir == state.config.data_log_dir {
        (snapshots + logs, snapshots + logs)
    } else {
        (snapshots, logs)
    }
}

/// The session that each connection has; 0 is none yet.
pub(in crate::zookeeper) fn session_of(state: &State) -> BTreeMap<u64, i64> {
    let id = |connection: &Arc<ConnectionHandle>| connection.session().map_or(0, |s| s.id());
    state.connections.lock().iter().map(|(&number, handle)| (number, id(handle))).collect()
}

/// Connections by the time at which they are closed unless something comes, in milliseconds of the
/// coordinator's clock: with their session, or when no handshake has come.
pub(in crate::zookeeper) fn connections_by_expiry(
    state: &State,
) -> BTreeMap<u64, Vec<Arc<ConnectionHandle>>> {
    let mut expiry_of = BTreeMap::new();
    for (at, sessions) in state.sessions.lock().by_expiry() {
        expiry_of.extend(sessions.into_iter().map(|session| (session, at)));
    }
    let handshake = calendar::milliseconds(limits::HANDSHAKE_TIMEOUT);
    let without_session = state.now_ms().saturating_add(handshake);
    let mut by_expiry: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for connection in connections(state) {
        let session = connection.session().and_then(|session| expiry_of.get(&session.id()));
        let at = session.copied().unwrap_or(without_session);
        by_expiry.entry(at).or_default().push(connection);
    }
    by_expiry
}

/// The wall clock, in milliseconds since 1970, at a moment of the coordinator's clock.
pub(in crate::zookeeper) fn wall_clock_ms(state: &State, at_ms: u64) -> u64 {
    let now = u64::try_from(calendar::now_ms()).unwrap_or(0);
    now.saturating_add(at_ms).saturating_sub(state.now_ms())
}

/// What `envi` tells: of the Java machine there is nothing to tell.
pub(in crate::zookeeper) fn environment() -> Vec<(&'static str, String)> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let directory = std::env::current_dir().unwrap_or_default();
    let (free, total) = memory();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        ("zookeeper.version", super::VERSION.to_owned()),
        ("host.name", crate::net::machine_name()),
        ("os.name", "Linux".to_owned()),
        (
            "os.arch",
            if cfg!(target_arch = "x86_64") { "amd64" } else { std::env::consts::ARCH }.to_owned(),
        ),
        ("os.version", release.trim().to_owned()),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", directory.display().to_string()),
        ("os.memory.free", format!("{}MB", free >> 10)),
        ("os.memory.max", format!("{}MB", total >> 10)),
        ("os.memory.total", format!("{}MB", total >> 10)),
    ]
}

/// KiB of the machine's memory that are available, and all of it.
fn memory() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    (value("MemAvailable:").unwrap_or(0), value("MemTotal:").unwrap_or(0))
}

/// How many files are open, and how many may be.
pub(in crate::zookeeper) fn file_descriptors() -> (Option<usize>, Option<u64>) {
    let open = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    (open, rustix::process::getrlimit(rustix::process::Resource::Nofile).current)
}

/// The last snapshot's zxid and when it was written, in seconds since 1970.
pub(in crate::zookeeper) fn last_snapshot(state: &State) -> Option<(i64, u64)> {
    let (zxid, modified) = state.disk.newest()?;
    let age: Duration = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some((zxid, age.as_secs()))
}

/// Packets received and sent since `srst`.
pub(in crate::zookeeper) fn packets(state: &State) -> (u64, u64) {
    let stats = &state.stats;
    (stats.packets_received.load(Ordering::Relaxed), stats.packets_sent.load(Ordering::Relaxed))
}
