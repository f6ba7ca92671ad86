//! Every metric: its name, kind, labels and meaning. README.md shows the same table, which a test
//! compares.

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts in buckets, with `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl MetricKind {
    /// The word of Prometheus' text format.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// One metric. No label has a value that a client can make up.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// The kind.
    pub kind: MetricKind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells, one sentence.
    pub help: &'static str,
}

type Labels = &'static [&'static str];

const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: Labels, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, labels, help }
}

/// Sorted by name.
pub const METRICS: &[Metric] = &[
    gauge("doorkeeper_build_info", &["version", "commit"], "Always 1; the labels say what runs."),
    gauge("doorkeeper_cluster_brokers", &[], "Brokers registered in the cluster image."),
    gauge("doorkeeper_cluster_controller", &[], "1 where this broker is the controller, else 0."),
    gauge(
        "doorkeeper_cluster_coordinator_connected",
        &[],
        "1 while the znodes are followed, else 0: the coordinator is away.",
    ),
    counter(
        "doorkeeper_cluster_elections_total",
        &["of"],
        "Elections by this broker: of itself as controller, and, as the controller, of a partition's leader.",
    ),
    histogram(
        "doorkeeper_cluster_freshness_seconds",
        &[],
        "From a znode's change, by the coordinator's clock, to the image that shows it.",
    ),
    gauge(
        "doorkeeper_cluster_image_age_seconds",
        &[],
        "Age of the cluster image: how long ago it was known to be current.",
    ),
    histogram(
        "doorkeeper_cluster_image_build_seconds",
        &[],
        "Time to read what changed, or everything after a reconnect, and make an image of it.",
    ),
    counter("doorkeeper_cluster_images_total", &[], "Cluster images made."),
    gauge(
        "doorkeeper_cluster_kraft",
        &[],
        "1 while a KRaft controller owns the cluster, which is being migrated, else 0.",
    ),
    gauge(
        "doorkeeper_cluster_leaderless_partitions",
        &[],
        "Partitions without a live leader in the cluster image.",
    ),
    gauge(
        "doorkeeper_cluster_offline_replica_partitions",
        &[],
        "Partitions with a replica on a broker that is not alive in the cluster image.",
    ),
    gauge("doorkeeper_cluster_partitions", &[], "Partitions in the cluster image."),
    gauge("doorkeeper_cluster_topics", &[], "Topics in the cluster image."),
    gauge(
        "doorkeeper_cluster_under_replicated_partitions",
        &[],
        "Partitions with a replica that is not in sync in the cluster image.",
    ),
    counter("doorkeeper_cluster_watch_events_total", &[], "Watch events of znodes."),
    counter(
        "doorkeeper_cluster_znodes_not_understood_total",
        &[],
        "Znodes that were read and could not be understood; the log names each once.",
    ),
    counter("doorkeeper_cluster_znodes_read_total", &[], "Znodes read for the cluster image."),
    gauge(
        "doorkeeper_gateway_brokers_without_port",
        &[],
        "Live brokers that the relay has no port for.",
    ),
    gauge("doorkeeper_gateway_connections", &[], "Open connections of clients to the gateway."),
    gauge(
        "doorkeeper_gateway_connections_max",
        &[],
        "The most connections of clients that may be open at once.",
    ),
    counter(
        "doorkeeper_gateway_delayed_requests_total",
        &[],
        "Times that a client was not read for a while, since its address had asked for too much.",
    ),
    gauge(
        "doorkeeper_gateway_everything_asked",
        &["because"],
        "1 while every question is asked of the brokers, by why: kraft (a KRaft controller owns the cluster), configuration.",
    ),
    counter(
        "doorkeeper_gateway_expired_connections_total",
        &[],
        "Connections closed at a request after the time of their login was over.",
    ),
    histogram(
        "doorkeeper_gateway_freshness_seconds",
        &[],
        "From a znode's change, by the coordinator's clock, to the first answer from an image that shows it.",
    ),
    counter(
        "doorkeeper_gateway_missing_lookups_total",
        &[],
        "Topics that the image did not show and that were looked up: their znode read, or a broker asked.",
    ),
    counter(
        "doorkeeper_gateway_passed_bytes_total",
        &["to"],
        "Bytes that were passed on, by where to: broker, client.",
    ),
    counter(
        "doorkeeper_gateway_proxy_refused_total",
        &[],
        "Connections that were closed for want of a PROXY header from a trusted network.",
    ),
    counter(
        "doorkeeper_gateway_requests_total",
        &["api", "outcome"],
        "Requests of clients, by API and outcome: answered here, asked of the upstream, passed on, refused.",
    ),
    counter(
        "doorkeeper_gateway_tls_handshakes_total",
        &["outcome"],
        "TLS handshakes of clients with the gateway, by outcome: completed, failed.",
    ),
    gauge(
        "doorkeeper_gateway_upstream_connections",
        &[],
        "Open connections to brokers on behalf of clients.",
    ),
    counter(
        "doorkeeper_gateway_upstream_failures_total",
        &["broker"],
        "Brokers that could not be connected to, by broker id.",
    ),
    gauge("doorkeeper_kafka_connections", &[], "Open connections of Kafka clients."),
    counter(
        "doorkeeper_kafka_errors_total",
        &["api"],
        "Requests answered with an error code, by API.",
    ),
    counter("doorkeeper_kafka_received_bytes_total", &["api"], "Bytes of requests, by API."),
    histogram(
        "doorkeeper_kafka_request_duration_seconds",
        &["api"],
        "Time from a whole request to its answer, by API; a long poll counts its wait.",
    ),
    gauge(
        "doorkeeper_kafka_requests_in_flight",
        &[],
        "Requests of Kafka clients that are being answered.",
    ),
    counter("doorkeeper_kafka_requests_total", &["api"], "Requests of Kafka clients, by API."),
    counter("doorkeeper_kafka_sent_bytes_total", &["api"], "Bytes of answers, by API."),
    counter(
        "doorkeeper_listen_overflows_total",
        &[],
        "Connections that the kernel dropped because a backlog was full: of all processes in this network namespace.",
    ),
    counter(
        "doorkeeper_log_appended_bytes_total",
        &[],
        "Bytes of record batches appended to partition logs.",
    ),
    gauge("doorkeeper_log_bytes", &[], "Size of all partition logs."),
    counter(
        "doorkeeper_log_compacted_bytes_total",
        &[],
        "Bytes of segments that compaction replaced.",
    ),
    counter(
        "doorkeeper_log_fetched_bytes_total",
        &[],
        "Bytes of record batches read from partition logs for consumers.",
    ),
    histogram(
        "doorkeeper_log_fsync_duration_seconds",
        &[],
        "Time of one fsync of a partition log.",
    ),
    gauge("doorkeeper_log_segments", &[], "Segments of all partition logs."),
    gauge(
        "doorkeeper_log_uncleanable_partitions",
        &[],
        "Partition logs that compaction leaves alone because of damage; the log names each once.",
    ),
    counter(
        "doorkeeper_zookeeper_audit_dropped_total",
        &[],
        "Audited events that the audit log could not take.",
    ),
    histogram(
        "doorkeeper_zookeeper_batch_size",
        &[],
        "Writes that shared one fsync of the transaction log.",
    ),
    gauge("doorkeeper_zookeeper_commit_queue_depth", &[], "Writes that wait for the one writer."),
    gauge("doorkeeper_zookeeper_connections", &[], "Open connections of ZooKeeper clients."),
    gauge(
        "doorkeeper_zookeeper_data_bytes",
        &[],
        "Approximate bytes of the znodes: paths and data.",
    ),
    gauge("doorkeeper_zookeeper_ephemerals", &[], "Ephemeral znodes."),
    counter(
        "doorkeeper_zookeeper_errors_total",
        &["op"],
        "Requests answered with an error code, by operation.",
    ),
    histogram(
        "doorkeeper_zookeeper_fsync_duration_seconds",
        &[],
        "Time of one fsync of the transaction log.",
    ),
    gauge("doorkeeper_zookeeper_log_bytes", &[], "Size of the transaction logs on disk."),
    gauge(
        "doorkeeper_zookeeper_outstanding_requests",
        &[],
        "Requests that were read and not yet answered.",
    ),
    counter(
        "doorkeeper_zookeeper_received_bytes_total",
        &[],
        "Bytes of requests of ZooKeeper clients.",
    ),
    histogram(
        "doorkeeper_zookeeper_request_duration_seconds",
        &["op"],
        "Time from a whole request to its answer, by operation.",
    ),
    counter(
        "doorkeeper_zookeeper_requests_total",
        &["op"],
        "Requests of ZooKeeper clients, by operation.",
    ),
    counter("doorkeeper_zookeeper_sent_bytes_total", &[], "Bytes of answers and watch events."),
    gauge("doorkeeper_zookeeper_sessions", &[], "Sessions, connected or not."),
    gauge("doorkeeper_zookeeper_snapshot_bytes", &[], "Size of the snapshots on disk."),
    histogram(
        "doorkeeper_zookeeper_snapshot_duration_seconds",
        &[],
        "Time of writing one snapshot.",
    ),
    counter(
        "doorkeeper_zookeeper_tls_handshakes_total",
        &["outcome"],
        "TLS handshakes of clients, by outcome: completed, failed, refused.",
    ),
    gauge("doorkeeper_zookeeper_watches", &[], "Watches set by clients."),
    gauge("doorkeeper_zookeeper_znodes", &[], "Znodes, the root and /zookeeper included."),
    counter("process_cpu_seconds_total", &[], "User and system processor time of the process."),
    gauge("process_max_fds", &[], "The most files that the process may have open."),
    gauge("process_open_fds", &[], "Files that the process has open, sockets included."),
    gauge("process_resident_memory_bytes", &[], "Resident memory of the process."),
    gauge("process_start_time_seconds", &[], "When the process began, in seconds since 1970."),
];

/// The row of a name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// Registers the counters and histograms without labels whose names begin so, at zero: a rate over
/// what appears only with its first increment misses that one.
pub fn register(prefix: &str) {
    let family = |metric: &&Metric| metric.name.starts_with(prefix) && metric.labels.is_empty();
    for metric in METRICS.iter().filter(family) {
        match metric.kind {
            MetricKind::Counter => metrics::counter!(metric.name).increment(0),
            MetricKind::Histogram => drop(metrics::histogram!(metric.name)),
            // A gauge has no value that would be true before it is set.
            MetricKind::Gauge => {}
        }
    }
}

/// Gives the recorder the help texts.
pub(super) fn describe() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_follow_prometheus_conventions() {
        assert!(METRICS.is_sorted_by(|a, b| a.name < b.name));
        for metric in METRICS {
            let name = metric.name;
            assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
        }
    }
}
