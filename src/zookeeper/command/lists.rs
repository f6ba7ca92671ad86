//! The words that list connections, sessions and watches. Their texts are bounded: with a million
//! watches, ZooKeeper's `wchp` could be used to keep a server busy (CVE-2017-5637).

use std::fmt::Write as _;
use std::sync::Arc;

use super::{date, facts};
use crate::limits::COMMAND_OUTPUT_BYTES_MAX;
use crate::zookeeper::connection::handle::ConnectionHandle;
use crate::zookeeper::state::State;

/// A text of at most [`COMMAND_OUTPUT_BYTES_MAX`] bytes, and one line more that says what is missing.
struct Bounded {
    text: String,
    full: bool,
}

impl Bounded {
    fn new() -> Self {
        Bounded { text: String::new(), full: false }
    }

    /// Adds a line; false when there is no room any more.
    fn line(&mut self, line: std::fmt::Arguments<'_>) -> bool {
        self.full = self.full || self.text.len() >= COMMAND_OUTPUT_BYTES_MAX;
        if !self.full {
            let _ = writeln!(self.text, "{line}");
        }
        !self.full
    }

    fn finish(mut self) -> String {
        if self.full {
            let _ = writeln!(self.text, "(cut after {COMMAND_OUTPUT_BYTES_MAX} bytes)");
        }
        self.text
    }
}

/// The line of a connection in `stat`, without its end.
pub(super) fn brief(connection: &ConnectionHandle) -> String {
    let (received, sent) = connection.packets();
    let interest = i32::from(connection.session().is_some());
    let (peer, queued) = (connection.peer(), connection.pending());
    format!(" /{peer}[{interest}](queued={queued},recved={received},sent={sent}")
}

/// `cons`.
pub(super) fn connections(state: &State) -> String {
    let mut text = Bounded::new();
    for connection in facts::connections(state) {
        let mut line = brief(&connection);
        if let Some(session) = connection.session() {
            let seen = connection.activity().seen();
            let _ = write!(
                line,
                ",sid={:#x},lop={},est={},to={}",
                session.id(),
                seen.last_operation,
                seen.established,
                session.timeout_ms()
            );
            if seen.last_cxid >= 0 {
                let _ = write!(line, ",lcxid={:#x}", seen.last_cxid);
            }
            let _ = write!(
                line,
                ",lzxid={:#x},lresp={},llat={},minlat={},avglat={},maxlat={}",
                seen.last_zxid,
                seen.last_response_time,
                seen.last_latency,
                seen.min_latency,
                seen.avg_latency,
                seen.max_latency
            );
        }
        if !text.line(format_args!("{line})")) {
            break;
        }
    }
    text.line(format_args!(""));
    text.finish()
}

/// `dump`: sessions by the time at which they expire, their ephemerals, and connections.
pub(super) fn sessions(state: &State) -> String {
    let mut text = Bounded::new();
    let by_expiry = state.sessions.lock().by_expiry();
    let count: usize = by_expiry.values().map(Vec::len).sum();
    text.line(format_args!("SessionTracker dump:"));
    text.line(format_args!("Session Sets ({})/({count}):", by_expiry.len()));
    for (at, mut sessions) in by_expiry {
        sessions.sort_unstable();
        let date = date::utc(facts::wall_clock_ms(state, at));
        text.line(format_args!("{} expire at {date}:", sessions.len()));
        for session in sessions {
            text.line(format_args!("\t{session:#x}"));
        }
    }
    text.line(format_args!("ephemeral nodes dump:"));
    {
        let database = state.database.read();
        let owners: Vec<i64> = database.tree.ephemeral_owners().collect();
        text.line(format_args!("Sessions with Ephemerals ({}):", owners.len()));
        for owner in owners {
            text.line(format_args!("{owner:#x}:"));
            if !database.tree.ephemerals(owner).all(|path| text.line(format_args!("\t{path}"))) {
                break;
            }
        }
    }
    let by_expiry = facts::connections_by_expiry(state);
    let count: usize = by_expiry.values().map(Vec::len).sum();
    text.line(format_args!("Connections dump:"));
    text.line(format_args!("Connections Sets ({})/({count}):", by_expiry.len()));
    for (at, connections) in by_expiry {
        let date = date::utc(facts::wall_clock_ms(state, at));
        text.line(format_args!("{} expire at {date}:", connections.len()));
        for connection in connections {
            let session = connection.session().map_or(0, |session| session.id());
            text.line(format_args!("\tip: /{} sessionId: {session:#x}", connection.peer()));
        }
    }
    text.finish()
}

/// `wchc`: the paths whose data each session watches.
pub(super) fn watches_by_session(state: &State) -> String {
    let sessions = facts::session_of(state);
    let mut text = Bounded::new();
    let watches = state.watches.lock();
    for (watcher, mut paths) in watches.by_watcher() {
        let session = sessions.get(&watcher).copied().unwrap_or(0);
        if !text.line(format_args!("{session:#x}"))
            || !paths.all(|path| text.line(format_args!("\t{path}")))
        {
            break;
        }
    }
    drop(watches);
    text.line(format_args!(""));
    text.finish()
}

/// `wchp`: the sessions that watch the data of each path.
pub(super) fn watches_by_path(state: &State) -> String {
    let sessions = facts::session_of(state);
    let mut text = Bounded::new();
    let watches = state.watches.lock();
    for (path, watchers) in watches.by_path() {
        let session = |watcher| sessions.get(watcher).copied().unwrap_or(0);
        if !text.line(format_args!("{path}"))
            || !watchers.iter().all(|watcher| text.line(format_args!("\t{:#x}", session(watcher))))
        {
            break;
        }
    }
    drop(watches);
    text.line(format_args!(""));
    text.finish()
}

/// `hash`: the digests that are kept of the tree.
pub(super) fn digests(state: &State) -> String {
    let mut text = Bounded::new();
    for (zxid, digest) in &*state.digests.lock() {
        text.line(format_args!("{zxid:x}: {}", digest.cast_signed()));
    }
    text.finish()
}

/// The lines of `stat` for these connections.
pub(super) fn clients(connections: &[Arc<ConnectionHandle>]) -> String {
    let mut text = Bounded::new();
    for connection in connections {
        if !text.line(format_args!("{})", brief(connection))) {
            break;
        }
    }
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cve_2017_5637_a_list_of_any_length_is_cut() {
        let mut text = Bounded::new();
        let lines = (0..10_000_000).take_while(|i| text.line(format_args!("/node{i}"))).count();
        assert!(lines > 100_000);
        let text = text.finish();
        assert!(text.len() < COMMAND_OUTPUT_BYTES_MAX + 100, "{}", text.len());
        assert!(text.ends_with(" bytes)\n"));
    }
}
