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

/// What a summary's figures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds, shown in milliseconds.
    Time,
    /// Numbers of something, shown as they are.
    Count,
}

/// Makes [`ServerMetrics`] and its lists: a field has the metric's own name.
macro_rules! server_metrics {
    (
        counters { $($counter:ident)* }
        summaries { $($summary:ident $unit:ident)* }
        distributions { $($distribution:ident)* }
        others { $($other:ident: $kind:ty,)* }
    ) => {
        /// The counters and summaries that bear ZooKeeper's names.
        #[allow(missing_docs, reason = "the names are ZooKeeper's, see its ServerMetrics")]
        #[derive(Debug, Default)]
        pub struct ServerMetrics {
            $(pub $counter: Count,)*
            $(pub $summary: Summary,)*
            $(pub $distribution: Distribution,)*
            $(pub $other: $kind,)*
        }

        impl ServerMetrics {
            /// Every counter, with its name.
            pub fn counters(&self) -> Vec<(&'static str, &Count)> {
                vec![$((stringify!($counter), &self.$counter),)*]
            }

            /// Every summary without quantiles.
            pub fn summaries(&self) -> Vec<(&'static str, &Summary, Unit)> {
                vec![$((stringify!($summary), &self.$summary, Unit::$unit),)*]
            }

            /// Every summary of times with quantiles.
            pub fn distributions(&self) -> Vec<(&'static str, &Distribution)> {
                vec![$((stringify!($distribution), &self.$distribution),)*]
            }
        }
    };
}

server_metrics! {
    counters {
        bytes_received_count
        connection_drop_count
        connection_rejected
        connection_request_count
        digest_mismatches_count
        insecure_admin_count
        large_requests_rejected
        prep_processor_request_queued
        request_throttle_wait_count
        restore_error_count
        restore_rate_limited_count
        sessionless_connections_expired
        snapshot_error_count
        snapshot_rate_limited_count
        stale_replies
        stale_requests
        stale_requests_dropped
        stale_sessions_expired
        sync_processor_request_queued
        throttled_ops
        tls_handshake_exceeded
        unsuccessful_handshake
        watch_bytes
    }
    summaries {
        connection_token_deficit Count
        dbinittime Time
        fsynctime Time
        node_changed_watch_count Count
        node_children_watch_count Count
        node_created_watch_count Count
        node_deleted_watch_count Count
        prep_process_time Time
        prep_processor_queue_size Count
        restore_time Time
        snapshottime Time
        startup_snap_load_time Time
        startup_txns_load_time Time
        startup_txns_loaded Count
        sync_process_time Time
        sync_processor_batch_size Count
    }
    distributions {
        close_session_prep_time
        prep_processor_queue_time_ms
        propagation_latency
        readlatency
        request_throttle_queue_time_ms
        sync_processor_queue_and_flush_time_ms
        sync_processor_queue_flush_time_ms
        updatelatency
    }
    others {
        fsync_threshold_exceed_count: Count,
        non_mtls_local_conn_count: Count,
        non_mtls_remote_conn_count: Count,
        quota_exceeded_error_per_namespace: Namespaces,
        write_per_namespace: Namespaces,
        // The answers of the connections that are gone.
        responses: Mutex<Responses>,
    }
}

/// What the start found: `srst` leaves it.
const OF_THE_START: [&str; 5] = [
    "dbinittime",
    "digest_mismatches_count",
    "startup_snap_load_time",
    "startup_txns_load_time",
    "startup_txns_loaded",
];

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

    /// Every request's latency: reads and writes together, as ZooKeeper's `ServerStats` has them.
    pub fn latency(&self) -> Figures {
        self.readlatency.figures().with(&self.updatelatency.figures())
    }

    /// `srst`: everything begins at zero again, but what the start found.
    pub fn reset(&self) {
        let counts = self.counters().into_iter().filter(|(name, _)| !OF_THE_START.contains(name));
        for (_, count) in counts {
            count.store(0, Ordering::Relaxed);
        }
        for count in [&self.non_mtls_local_conn_count, &self.non_mtls_remote_conn_count] {
            count.store(0, Ordering::Relaxed);
        }
        for (name, summary, _) in self.summaries() {
            if !OF_THE_START.contains(&name) {
                summary.reset();
            }
        }
        for (_, distribution) in self.distributions() {
            distribution.reset();
        }
        for namespaces in [&self.write_per_namespace, &self.quota_exceeded_error_per_namespace] {
            namespaces.reset();
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
        self.figures = self.figures.with(&other.figures);
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
            *known = known.with(figures);
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
