//! What the coordinator counts: handles of its metrics, made once, and the figures that the
//! four-letter words show.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

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
    pub latency: Latency,
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
        f.debug_struct("Stats").field("latency", &self.latency).finish_non_exhaustive()
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
            latency: Latency::default(),
        }
    }

    /// A batch was written to the log.
    pub fn fsynced(&self, duration: Duration) {
        self.fsync_duration.record(duration.as_secs_f64());
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.longest_fsync_us.fetch_max(us, Ordering::Relaxed);
    }

    /// A request came.
    pub fn request(&self, op: OpCode) {
        self.requests[op as usize].increment(1);
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

/// The least, mean and greatest latency since the start, as `srvr` shows them in milliseconds.
#[derive(Debug)]
pub struct Latency {
    count: AtomicU64,
    sum_us: AtomicU64,
    min_us: AtomicU64,
    max_us: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Latency { count: zero(), sum_us: zero(), min_us: AtomicU64::new(u64::MAX), max_us: zero() }
    }
}

impl Latency {
    /// `count` requests took `each`.
    pub fn record(&self, each: Duration, count: u64) {
        let each = u64::try_from(each.as_micros()).unwrap_or(u64::MAX);
        self.count.fetch_add(count, Ordering::Relaxed);
        self.sum_us.fetch_add(each.saturating_mul(count), Ordering::Relaxed);
        if each < self.min_us.load(Ordering::Relaxed) {
            self.min_us.fetch_min(each, Ordering::Relaxed);
        }
        if each > self.max_us.load(Ordering::Relaxed) {
            self.max_us.fetch_max(each, Ordering::Relaxed);
        }
    }

    /// Whole milliseconds, a mean with four digits after the point, whole milliseconds.
    pub fn min_mean_max_ms(&self) -> (u64, f64, u64) {
        let count = self.count.load(Ordering::Relaxed);
        if count == 0 {
            return (0, 0.0, 0);
        }
        #[allow(clippy::cast_precision_loss, reason = "a mean that is shown to four digits")]
        let mean = self.sum_us.load(Ordering::Relaxed) as f64 / count as f64 / 1_000.0;
        (
            self.min_us.load(Ordering::Relaxed) / 1_000,
            (mean * 10_000.0).round() / 10_000.0,
            self.max_us.load(Ordering::Relaxed) / 1_000,
        )
    }
}
