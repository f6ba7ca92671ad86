//! The session timer: hands sessions whose time is over to the writer, which closes them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::pipeline::queue::{Job, Task};
use super::session::Session;
use super::state::State;
use crate::limits;

/// Looks once a tick, until `stop`.
///
/// A session is judged by the time at which the look was due, and only after the sockets were read. So a
/// process that was itself stopped (SIGSTOP, a suspended machine) expires nobody whose pings waited
/// in the sockets meanwhile; Apache ZooKeeper does.
pub async fn run(state: Arc<State>, stop: CancellationToken) {
    let tick = state.config.tick_time;
    loop {
        let now = state.now_ms();
        let due = state.sessions.lock().next_check_ms(now);
        if sleep(Duration::from_millis(due - now), &stop).await.is_none() {
            return;
        }
        let late = state.now_ms().saturating_sub(due);
        let reading = if late > limits::EXPIRY_LATE_MS {
            tracing::debug!(late_ms = late, "the session timer is late: sockets are read first");
            tick.min(limits::EXPIRY_GRACE_MAX)
        } else if state.sessions.lock().is_any_expired(due) {
            // A stop that ended just before it was due makes nothing late.
            limits::EXPIRY_READING
        } else {
            Duration::ZERO
        };
        if !reading.is_zero() && sleep(reading, &stop).await.is_none() {
            return;
        }
        let expired = state.sessions.lock().expire(due);
        if !expired.is_empty() {
            let count = expired.len() as u64;
            state.stats.server.stale_sessions_expired.fetch_add(count, Ordering::Relaxed);
            let mut jobs: Vec<Job> = expired.into_iter().map(close).collect();
            state.queue.submit(&mut jobs);
        }
    }
}

async fn sleep(duration: Duration, stop: &CancellationToken) -> Option<()> {
    tokio::select! {
        () = stop.cancelled() => None,
        () = tokio::time::sleep(duration) => Some(()),
    }
}

fn close(session: Arc<Session>) -> Job {
    tracing::debug!(session = format_args!("{:#x}", session.id()), "session expired");
    Job::of_server(Task::CloseSession, session)
}
