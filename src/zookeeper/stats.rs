//! What the coordinator counts: handles of its metrics, made once, and the figures that the
//! four-letter words show.

mod server;
mod summary;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

pub use self::server::{
    Count, Namespaces, Responses, ServerMetrics, Unit, microseconds, namespace_of,
};
pub use self::summary::{Distribution, Figures, Summary, quantile};
use super::proto::OpCode;

/// One in so many requests has its duration recorded: the histogram keeps each sample until it is
/// folded into its buckets, and the clock costs as much as a small read.
pub const DURATION_SAMPLING: u64 = 8;

const OPS: usize = OpCode::ALL.len();

/// Counters and metrics of one coordinator.
#[allow(missing_docs, reason = "each metric is described where it is registered")]
pub struct Stats {
    requests: [Counter; OPS],
    errors: [Counter; OPS],
    durations: [Histogram; OPS],
    pub received_bytes: Counter,
    pub sent_bytes: Counter,
    pub audit_dropped: Counter,
    pub fsync_duration: Histogram,
    pub batch_size: Histogram,
    pub snapshot_duration: Histogram,
    pub gauges: Gauges,
    /// The longest that the log waited for its fsync, in microseconds, since a snapshot began.
    pub longest_fsync_us: AtomicU64,
    pub packets_received: AtomicU64,
    pub packets_sent: AtomicU64,
    pub auth_failures: AtomicU64,
    pub outstanding_tls_handshakes: AtomicUsize,
    pub tls_handshakes_completed: Counter,
    pub tls_handshakes_failed: Counter,
    pub tls_handshakes_refused: Counter,
    /// What has ZooKeeper's own names.
    pub server: ServerMetrics,
}

/// Gauges, set by a ticker.
#[allow(missing_docs, reason = "each metric is described where it is registered")]
#[derive(Debug)]
pub struct Gauges {
    pub connections: Gauge,
    pub sessions: Gauge,
    pub znodes: Gauge,
    pub ephemerals: Gauge,
    pub watches: Gauge,
    pub data_bytes: Gauge,
    pub outstanding_requests: Gauge,
    pub commit_queue_depth: Gauge,
    pub log_bytes: Gauge,
    pub snapshot_bytes: Gauge,
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stats").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Stats {
    /// Registers the metrics with whichever recorder is installed.
    pub fn new() -> Self {
        describe();
        let by_op =
            |name: &'static str| OpCode::ALL.map(|(.., op)| metrics::counter!(name, "op" => op));
        let handshakes = |outcome: &'static str| metrics::counter!("doorkeeper_zookeeper_tls_handshakes_total", "outcome" => outcome);
        Stats {
            requests: by_op("doorkeeper_zookeeper_requests_total"),
            errors: by_op("doorkeeper_zookeeper_errors_total"),
            durations: OpCode::ALL.map(|(.., op)| {
                metrics::histogram!("doorkeeper_zookeeper_request_duration_seconds", "op" => op)
            }),
            received_bytes: metrics::counter!("doorkeeper_zookeeper_received_bytes_total"),
            sent_bytes: metrics::counter!("doorkeeper_zookeeper_sent_bytes_total"),
            audit_dropped: metrics::counter!("doorkeeper_zookeeper_audit_dropped_total"),
            fsync_duration: metrics::histogram!("doorkeeper_zookeeper_fsync_duration_seconds"),
            batch_size: metrics::histogram!("doorkeeper_zookeeper_batch_size"),
            snapshot_duration: metrics::histogram!("doorkeeper_zookeeper_snapshot_duration_seconds"),
            gauges: Gauges {
                connections: metrics::gauge!("doorkeeper_zookeeper_connections"),
                sessions: metrics::gauge!("doorkeeper_zookeeper_sessions"),
                znodes: metrics::gauge!("doorkeeper_zookeeper_znodes"),
                ephemerals: metrics::gauge!("doorkeeper_zookeeper_ephemerals"),
                watches: metrics::gauge!("doorkeeper_zookeeper_watches"),
                data_bytes: metrics::gauge!("doorkeeper_zookeeper_data_bytes"),
                outstanding_requests: metrics::gauge!("doorkeeper_zookeeper_outstanding_requests"),
                commit_queue_depth: metrics::gauge!("doorkeeper_zookeeper_commit_queue_depth"),
                log_bytes: metrics::gauge!("doorkeeper_zookeeper_log_bytes"),
                snapshot_bytes: metrics::gauge!("doorkeeper_zookeeper_snapshot_bytes"),
            },
            longest_fsync_us: AtomicU64::new(0),
            packets_received: AtomicU64::new(0),
            packets_sent: AtomicU64::new(0),
            auth_failures: AtomicU64::new(0),
            outstanding_tls_handshakes: AtomicUsize::new(0),
            tls_handshakes_completed: handshakes("completed"),
            tls_handshakes_failed: handshakes("failed"),
            tls_handshakes_refused: handshakes("refused"),
            server: ServerMetrics::default(),
        }
    }

    /// `srst`: latencies, packets and ZooKeeper's own metrics begin at zero again. Ours do not:
    /// Prometheus counts from their differences.
    pub fn reset(&self) {
        self.packets_received.store(0, Ordering::Relaxed);
        self.packets_sent.store(0, Ordering::Relaxed);
        self.server.reset();
    }

    /// So many requests were checked and made transactions, which took `duration` in all.
    pub fn prepared(&self, requests: usize, duration: Duration) {
        let requests = requests as u64;
        self.server.prep_process_time.record(microseconds(duration) / requests.max(1), requests);
    }

    /// A batch of so many transactions was written to the log and fsynced, which took `duration`; longer
    /// than `threshold` is a warning.
    pub fn fsynced(&self, transactions: usize, duration: Duration, threshold: Duration) {
        self.fsync_duration.record(duration.as_secs_f64());
        let (server, us, transactions) =
            (&self.server, microseconds(duration), transactions as u64);
        server.fsynctime.record(us, 1);
        server.sync_processor_queue_flush_time_ms.record(us, 1);
        server.sync_process_time.record(us / transactions.max(1), transactions);
        server.sync_processor_request_queued.fetch_add(transactions, Ordering::Relaxed);
        self.longest_fsync_us.fetch_max(microseconds(duration), Ordering::Relaxed);
        if duration > threshold {
            self.server.fsync_threshold_exceed_count.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(?duration, "the disk is slow: fsync of the transaction log");
        }
    }

    /// A batch of so many transactions is durable, so long after the writer took it.
    pub fn batch_done(&self, transactions: usize, duration: Duration) {
        let transactions = transactions as u64;
        if transactions > 0 {
            self.server.sync_processor_batch_size.record(transactions, 1);
            let us = microseconds(duration);
            self.server.propagation_latency.record(us, transactions);
            self.server.sync_processor_queue_and_flush_time_ms.record(us, transactions);
        }
    }

    /// So many requests came.
    pub fn requests(&self, op: OpCode, count: u64) {
        self.requests[op as usize].increment(count);
    }

    /// It was answered with an error.
    pub fn error(&self, op: OpCode) {
        self.errors[op as usize].increment(1);
    }

    /// How long it took, from its last byte read to its answer made.
    pub fn duration(&self, op: OpCode, duration: Duration) {
        self.durations[op as usize].record(duration.as_secs_f64());
    }
}

impl Default for Stats {
    fn default() -> Self {
        Stats::new()
    }
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("doorkeeper_zookeeper_requests_total", "Requests, by opcode.");
    describe_counter!(
        "doorkeeper_zookeeper_errors_total",
        "Requests answered with an error code, by opcode."
    );
    describe_histogram!(
        "doorkeeper_zookeeper_request_duration_seconds",
        Unit::Seconds,
        "From the request read to its answer made, by opcode; every eighth request of a connection."
    );
    describe_counter!(
        "doorkeeper_zookeeper_received_bytes_total",
        Unit::Bytes,
        "Bytes read from clients."
    );
    describe_counter!(
        "doorkeeper_zookeeper_sent_bytes_total",
        Unit::Bytes,
        "Bytes written to clients."
    );
    describe_counter!(
        "doorkeeper_zookeeper_audit_dropped_total",
        "Audited events that the audit log could not take."
    );
    describe_histogram!(
        "doorkeeper_zookeeper_fsync_duration_seconds",
        Unit::Seconds,
        "Writing one batch to the transaction log, with its fdatasync."
    );
    describe_histogram!("doorkeeper_zookeeper_batch_size", "Requests in one batch of the writer.");
    describe_histogram!(
        "doorkeeper_zookeeper_snapshot_duration_seconds",
        Unit::Seconds,
        "Writing one snapshot."
    );
    describe_counter!(
        "doorkeeper_zookeeper_tls_handshakes_total",
        "TLS handshakes of clients, by outcome: completed, failed, or refused because too many were \
         under way."
    );
    describe_gauge!("doorkeeper_zookeeper_connections", "Open client connections.");
    describe_gauge!("doorkeeper_zookeeper_sessions", "Sessions.");
    describe_gauge!("doorkeeper_zookeeper_znodes", "Znodes.");
    describe_gauge!("doorkeeper_zookeeper_ephemerals", "Ephemeral znodes.");
    describe_gauge!("doorkeeper_zookeeper_watches", "Watches, one-shot and persistent.");
    describe_gauge!(
        "doorkeeper_zookeeper_data_bytes",
        Unit::Bytes,
        "Paths and data of all znodes."
    );
    describe_gauge!(
        "doorkeeper_zookeeper_outstanding_requests",
        "Requests that wait for the writer or are in its batch."
    );
    describe_gauge!(
        "doorkeeper_zookeeper_commit_queue_depth",
        "Requests that wait for the writer."
    );
    describe_gauge!("doorkeeper_zookeeper_log_bytes", Unit::Bytes, "Transaction logs on disk.");
    describe_gauge!("doorkeeper_zookeeper_snapshot_bytes", Unit::Bytes, "Snapshots on disk.");
}

impl Figures {
    /// Of latencies: the least, mean and greatest as `srvr` shows them: whole milliseconds, a mean with
    /// four digits after the point, whole milliseconds.
    pub fn min_mean_max_ms(&self) -> (u64, f64, u64) {
        let mean = (self.mean() * 10.0).round() / 10_000.0;
        (self.min / 1_000, mean, self.max / 1_000)
    }
}
