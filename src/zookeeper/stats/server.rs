//! What ZooKeeper's own names count (`ServerMetrics`, `ServerStats`), for `mntr`, the AdminServer and
//! the page of ZooKeeper's metrics. Durations are in microseconds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::summary::{Distribution, Figures, Summary};
use crate::limits::NAMESPACES_MAX;
use crate::zookeeper::txn::record::Txn;
use crate::zookeeper::watch::EventType;

/// One counter.
pub type Count = AtomicU64;

/// The counters and summaries that bear ZooKeeper's names.
#[allow(missing_docs, reason = "the names are ZooKeeper's, see its ServerMetrics")]
#[derive(Debug, Default)]
pub struct ServerMetrics {
    pub readlatency: Distribution,
    pub updatelatency: Distribution,
    pub propagation_latency: Distribution,
    pub fsynctime: Summary,
    pub snapshottime: Summary,
    pub restore_time: Summary,
    pub dbinittime: Summary,
    pub startup_txns_loaded: Summary,
    pub sync_processor_batch_size: Summary,
    pub node_created_watch_count: Summary,
    pub node_deleted_watch_count: Summary,
    pub node_changed_watch_count: Summary,
    pub node_children_watch_count: Summary,
    pub write_per_namespace: Namespaces,
    pub bytes_received_count: Count,
    pub connection_request_count: Count,
    pub connection_drop_count: Count,
    pub digest_mismatches_count: Count,
    pub fsync_threshold_exceed_count: Count,
    pub large_requests_rejected: Count,
    pub restore_error_count: Count,
    pub restore_rate_limited_count: Count,
    pub sessionless_connections_expired: Count,
    pub snapshot_error_count: Count,
    pub snapshot_rate_limited_count: Count,
    pub stale_sessions_expired: Count,
    pub watch_bytes: Count,
    /// The answers of the connections that are gone.
    pub responses: Mutex<Responses>,
}

impl ServerMetrics {
    /// A transaction was applied.
    pub fn written(&self, txn: &Txn) {
        let size = |data: &Option<bytes::Bytes>| data.as_ref().map_or(0, bytes::Bytes::len);
        match txn {
            Txn::Create { create, .. }
            | Txn::CreateContainer(create)
            | Txn::CreateTtl { create, .. } => {
                let bytes = create.path.len() + size(&create.data);
                self.write_per_namespace.record(&create.path, bytes);
            }
            Txn::SetData { path, data, .. } => {
                self.write_per_namespace.record(path, path.len() + size(data));
            }
            Txn::Delete { path } | Txn::DeleteContainer { path } => {
                self.write_per_namespace.record(path, path.len());
            }
            Txn::CloseSession { paths: Some(paths) } => {
                for path in paths {
                    self.write_per_namespace.record(path, path.len());
                }
            }
            // One level: a multi holds none.
            Txn::Multi(txns) if !txns.iter().any(|txn| matches!(txn, Txn::Error { .. })) => {
                txns.iter()
                    .filter(|txn| !matches!(txn, Txn::Multi(_)))
                    .for_each(|txn| self.written(txn));
            }
            _ => {}
        }
    }

    /// How many were told of one event of this kind.
    pub fn watched(&self, kind: EventType) -> &Summary {
        match kind {
            EventType::NodeCreated => &self.node_created_watch_count,
            EventType::NodeDeleted => &self.node_deleted_watch_count,
            EventType::NodeDataChanged => &self.node_changed_watch_count,
            EventType::NodeChildrenChanged => &self.node_children_watch_count,
        }
    }

    /// `srst`: everything begins at zero again, but what the start took.
    pub fn reset(&self) {
        for distribution in [&self.readlatency, &self.updatelatency, &self.propagation_latency] {
            distribution.reset();
        }
        for summary in [
            &self.fsynctime,
            &self.snapshottime,
            &self.restore_time,
            &self.sync_processor_batch_size,
            &self.node_created_watch_count,
            &self.node_deleted_watch_count,
            &self.node_changed_watch_count,
            &self.node_children_watch_count,
        ] {
            summary.reset();
        }
        self.write_per_namespace.reset();
        for count in [
            &self.bytes_received_count,
            &self.connection_request_count,
            &self.connection_drop_count,
            &self.large_requests_rejected,
            &self.restore_error_count,
            &self.restore_rate_limited_count,
            &self.sessionless_connections_expired,
            &self.snapshot_error_count,
            &self.snapshot_rate_limited_count,
            &self.stale_sessions_expired,
            &self.watch_bytes,
        ] {
            count.store(0, Ordering::Relaxed);
        }
        *self.responses.lock() = Responses::default();
    }
}

/// A duration as the summaries record it.
pub fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Sizes of answers and events, in bytes without the length before them (`BufferStats`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Responses {
    figures: Figures,
    last: u64,
}

impl Responses {
    /// One was put into an outbox.
    pub fn sent(&mut self, bytes: u64) {
        self.figures.add(bytes);
        self.last = bytes;
    }

    /// Adds those of another connection; the last one is that of whoever has sent any.
    pub fn add(&mut self, other: &Responses) {
        if other.figures.count == 0 {
            return;
        }
        let (mine, theirs) = (&mut self.figures, &other.figures);
        mine.min = if mine.count == 0 { theirs.min } else { mine.min.min(theirs.min) };
        mine.max = mine.max.max(theirs.max);
        mine.count += theirs.count;
        mine.sum = mine.sum.saturating_add(theirs.sum);
        self.last = other.last;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.figures.count
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.figures.sum
    }

    /// The last, the least and the greatest; -1 each where there was none, as ZooKeeper shows it.
    pub fn last_min_max(&self) -> [i64; 3] {
        if self.figures.count == 0 {
            return [-1; 3];
        }
        [self.last, self.figures.min, self.figures.max]
            .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
    }
}

/// Bytes of paths and data by the first part of the path (`/app` of `/app/lock`). Clients make these
/// names up, so that their number is bounded: what is beyond counts nowhere.
#[derive(Debug, Default)]
pub struct Namespaces(Mutex<BTreeMap<Box<str>, Figures>>);

impl Namespaces {
    /// Counts one request on `path`; the root and what isn't a path belong to no namespace.
    pub fn record(&self, path: &str, bytes: usize) {
        if let Some(namespace) = namespace_of(path) {
            let mut one = Figures::default();
            one.add(bytes as u64);
            self.add(namespace, &one);
        }
    }

    /// Counts several at once.
    pub fn add(&self, namespace: &str, figures: &Figures) {
        let mut all = self.0.lock();
        if let Some(known) = all.get_mut(namespace) {
            known.min = known.min.min(figures.min);
            known.max = known.max.max(figures.max);
            known.count += figures.count;
            known.sum = known.sum.saturating_add(figures.sum);
        } else if all.len() < NAMESPACES_MAX && namespace.len() <= NAMESPACE_BYTES_MAX {
            all.insert(namespace.into(), *figures);
        }
    }

    /// Every namespace, by name.
    pub fn figures(&self) -> Vec<(String, Figures)> {
        self.0.lock().iter().map(|(name, figures)| (name.to_string(), *figures)).collect()
    }

    fn reset(&self) {
        self.0.lock().clear();
    }
}

/// The longest name of a namespace that is counted.
const NAMESPACE_BYTES_MAX: usize = 256;

/// The first part of a path (`PathUtils.getTopNamespace`).
pub fn namespace_of(path: &str) -> Option<&str> {
    let first = path.strip_prefix('/')?.split('/').next()?;
    (!first.is_empty()).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_the_first_parts_of_paths_and_bounded() {
        let namespaces = Namespaces::default();
        namespaces.record("/a/b", 4);
        namespaces.record("/a", 10);
        for path in ["/", "", "a/b"] {
            namespaces.record(path, 1);
        }
        let expected = Figures { count: 2, sum: 14, min: 4, max: 10 };
        assert_eq!(namespaces.figures(), [("a".to_owned(), expected)]);
        for i in 0..2 * NAMESPACES_MAX {
            namespaces.record(&format!("/n{i}"), 1);
        }
        namespaces.record(&format!("/{}", "x".repeat(10_000)), 1);
        assert_eq!(namespaces.figures().len(), NAMESPACES_MAX);
    }

    #[test]
    fn responses_of_several_connections_add_up() {
        let (mut all, mut one) = (Responses::default(), Responses::default());
        assert_eq!(all.last_min_max(), [-1; 3]);
        one.sent(16);
        one.sent(88);
        all.add(&one);
        all.add(&Responses::default());
        assert_eq!((all.last_min_max(), all.bytes()), ([88, 16, 88], 104));
    }
}
