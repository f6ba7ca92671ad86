//! Containers that have lost their last child, and nodes whose time to live is over: found now and then,
//! and deleted by the writer (`ContainerManager`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::pipeline::queue::{Job, Task};
use super::session::Session;
use super::stat::{Ownership, StatPersisted};
use super::state::State;
use crate::{calendar, limits};

/// Whether a node is to be deleted at `now_ms` (since the epoch): it has no children, and is
/// - a container that had some, or, unless `never_used_ms` is 0, one that has been without any for
///   longer than that;
/// - or a TTL node that has not been changed for longer than its time to live.
pub fn is_due(stat: &StatPersisted, children: usize, now_ms: i64, never_used_ms: i64) -> bool {
    let unchanged_ms = now_ms.saturating_sub(stat.mtime);
    children == 0
        && match Ownership::of(stat.ephemeral_owner) {
            Ownership::Container => {
                stat.cversion > 0 || (never_used_ms != 0 && unchanged_ms > never_used_ms)
            }
            Ownership::Ttl(ttl) => ttl != 0 && unchanged_ms > ttl,
            Ownership::Persistent | Ownership::Session(_) => false,
        }
}

/// Sweeps every `znode.container.checkIntervalMs`, until `stop`: at most
/// `znode.container.maxPerMinute` nodes a minute.
pub async fn run(state: Arc<State>, stop: CancellationToken) {
    let interval = state.config.container_check_interval;
    let pause = Duration::from_secs(60) / state.config.container_max_per_minute.max(1);
    let session = Session::of_server();
    loop {
        let started = Instant::now();
        for path in candidates(&state) {
            let mut jobs = vec![job(path, &session)];
            state.queue.submit(&mut jobs);
            // No more than the writer takes, however fast it may go.
            let mut wait = pause;
            while !wait.is_zero() || state.queue.is_full() {
                if sleep(wait.max(Duration::from_millis(1)), &stop).await.is_none() {
                    return;
                }
                wait = Duration::ZERO;
            }
        }
        let next = interval.saturating_sub(started.elapsed()).max(limits::SWEEP_PAUSE_MIN);
        if sleep(next, &stop).await.is_none() {
            return;
        }
    }
}

/// The paths of nodes that are to be deleted, read a few at a time, so that the writer need not wait.
fn candidates(state: &State) -> Vec<Box<str>> {
    let (now, never_used_ms) = (calendar::now_ms(), state.config.container_max_never_used_ms);
    let mut paths = Vec::new();
    let mut seen = 0;
    while paths.len() < limits::SWEEP_NODES_MAX {
        let database = state.database.read();
        let mut looked = 0;
        for node in database.tree.expiring(seen, limits::SWEEP_STEP) {
            looked += 1;
            if is_due(&node.stat_persisted(), node.child_count(), now, never_used_ms) {
                paths.push(node.path().into_boxed_str());
            }
        }
        seen += looked;
        if looked < limits::SWEEP_STEP {
            break;
        }
    }
    paths
}

fn job(path: Box<str>, session: &Arc<Session>) -> Job {
    tracing::debug!(%path, "deleting an empty container, or a node whose time is over");
    Job::of_server(Task::Sweep(path), Arc::clone(session))
}

async fn sleep(duration: Duration, stop: &CancellationToken) -> Option<()> {
    tokio::select! {
        () = stop.cancelled() => None,
        () = tokio::time::sleep(duration) => Some(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::stat::CONTAINER_OWNER;

    fn node(ephemeral_owner: i64, cversion: i32) -> StatPersisted {
        StatPersisted { ephemeral_owner, cversion, mtime: 1_000, ..StatPersisted::default() }
    }

    #[test]
    fn a_container_goes_after_its_last_child() {
        let used = node(CONTAINER_OWNER, 1);
        assert!(is_due(&used, 0, 1_000, 0));
        assert!(!is_due(&used, 1, i64::MAX, 0), "it has a child");
        let unused = node(CONTAINER_OWNER, 0);
        assert!(!is_due(&unused, 0, i64::MAX, 0), "it never had one");
        assert!(!is_due(&unused, 0, 1_500, 500));
        assert!(is_due(&unused, 0, 1_501, 500));
    }

    #[test]
    fn a_ttl_node_goes_when_it_was_not_changed_for_longer_than_its_time() {
        let ttl = node(Ownership::ttl_owner(500), 3);
        assert!(!is_due(&ttl, 0, 1_500, 0));
        assert!(is_due(&ttl, 0, 1_501, 0));
        assert!(!is_due(&ttl, 1, i64::MAX, 0), "it has a child");
        assert!(!is_due(&ttl, 0, 0, 0), "a clock that went back");
    }

    #[test]
    fn other_nodes_stay() {
        assert!(!is_due(&node(0, 5), 0, i64::MAX, 1));
        assert!(!is_due(&node(0x0100_0000_0000_0001, 5), 0, i64::MAX, 1));
    }
}
