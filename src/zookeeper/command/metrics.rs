//! ZooKeeper's metrics by their own names: collected once, shown by `mntr`, by the AdminServer's
//! `monitor`, and on the page for Prometheus.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering;

use super::{ensemble, facts};
use crate::calendar;
use crate::limits::NAMESPACES_MAX;
use crate::zookeeper::state::State;
use crate::zookeeper::stats::{Distribution, Figures, Unit, namespace_of, quantile};

/// One metric and what it is now.
#[derive(Debug)]
pub(in crate::zookeeper) struct Metric {
    /// ZooKeeper's name of it.
    pub(in crate::zookeeper) name: &'static str,
    pub(in crate::zookeeper) value: Value,
}

#[derive(Debug)]
pub(in crate::zookeeper) enum Value {
    Gauge(i64),
    Fraction(f64),
    Counter(u64),
    Summary(Figures, Unit),
    /// With quantiles, from these counts of values in buckets.
    Distribution(Figures, Vec<u64>),
    /// One summary for each key.
    Set(Vec<(String, Figures)>),
    /// One gauge for each key.
    Gauges(Vec<(String, i64)>),
    /// One counter for each key.
    Counters(Vec<(String, u64)>),
}

/// Everything that is measured.
pub(in crate::zookeeper) fn collect(state: &State) -> Vec<Metric> {
    let mut all = Vec::with_capacity(160);
    gauges(state, &mut all);
    let server = &state.stats.server;
    let mut counter = |name, value| all.push(Metric { name, value: Value::Counter(value) });
    for (name, count) in server.counters() {
        counter(name, count.load(Ordering::Relaxed));
    }
    counter("response_bytes", state.responses().bytes());
    for name in ensemble::COUNTERS {
        counter(name, 0);
    }
    let mut summary =
        |name, figures, unit| all.push(Metric { name, value: Value::Summary(figures, unit) });
    for (name, values, unit) in server.summaries() {
        summary(name, values.figures(), unit);
    }
    for name in ensemble::SUMMARIES {
        summary(name, Figures::default(), Unit::Count);
    }
    let mut distribution = |name, values: &Distribution| {
        let value = Value::Distribution(values.figures(), values.counts());
        all.push(Metric { name, value });
    };
    for (name, values) in server.distributions() {
        distribution(name, values);
    }
    let nothing = Distribution::default();
    for name in ensemble::DISTRIBUTIONS {
        distribution(name, &nothing);
    }
    for name in ensemble::SETS {
        all.push(Metric { name, value: Value::Set(Vec::new()) });
    }
    let namespaces = server.write_per_namespace.figures();
    all.push(Metric { name: "write_per_namespace", value: Value::Set(namespaces) });
    quotas(state, &mut all);
    all
}

/// Limits and usage of the quotas in each namespace, and how often a hard one refused something
/// (`QuotaMetricsUtils`).
fn quotas(state: &State, all: &mut Vec<Metric>) {
    let mut by_namespace: BTreeMap<String, [i64; 4]> = BTreeMap::new();
    {
        let database = state.database.read();
        for subject in database.tree.quota_subjects() {
            let Some(namespace) = namespace_of(subject) else { continue };
            let Some((limits, stats)) = database.tree.quota(subject) else { continue };
            if by_namespace.len() >= NAMESPACES_MAX && !by_namespace.contains_key(namespace) {
                continue;
            }
            let effective = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
            let figures = [
                effective(limits.byte_hard_limit(), limits.bytes()),
                stats.bytes(),
                effective(limits.count_hard_limit(), limits.count()),
                stats.count(),
            ];
            let sums = by_namespace.entry(namespace.to_owned()).or_default();
            for (sum, figure) in sums.iter_mut().zip(figures) {
                *sum = sum.saturating_add(figure);
            }
        }
    }
    for (index, name) in [
        "quota_bytes_limit_per_namespace",
        "quota_bytes_usage_per_namespace",
        "quota_count_limit_per_namespace",
        "quota_count_usage_per_namespace",
    ]
    .into_iter()
    .enumerate()
    {
        let of = |(key, sums): (&String, &[i64; 4])| (key.clone(), sums[index]);
        let entries = by_namespace.iter().map(of).collect();
        all.push(Metric { name, value: Value::Gauges(entries) });
    }
    let exceeded = state.stats.server.quota_exceeded_error_per_namespace.figures();
    let exceeded = exceeded.into_iter().map(|(key, figures)| (key, figures.count)).collect();
    let name = "quota_exceeded_error_per_namespace";
    all.push(Metric { name, value: Value::Counters(exceeded) });
}

fn gauges(state: &State, all: &mut Vec<Metric>) {
    let (min, mean, max) = state.stats.server.latency().min_mean_max_ms();
    let (received, sent) = facts::packets(state);
    let (watches, sessions) = (state.watches.lock().len(), state.sessions.lock().len());
    let [last_response, min_response, max_response] = state.responses().last_min_max();
    let (open_files, max_files) = facts::file_descriptors();
    let (nodes, ephemerals, bytes) = {
        let database = state.database.read();
        let tree = &database.tree;
        (tree.node_count(), tree.ephemeral_count(), tree.data_size())
    };
    let mut gauge = |name, value: Option<i64>| {
        if let Some(value) = value {
            all.push(Metric { name, value: Value::Gauge(value) });
        }
    };
    gauge("approximate_data_size", signed(bytes));
    gauge("auth_failed_count", signed(state.stats.auth_failures.load(Ordering::Relaxed)));
    gauge("ephemerals_count", signed(ephemerals));
    gauge("global_sessions", signed(sessions));
    gauge("last_client_response_size", Some(last_response));
    gauge("local_sessions", Some(0));
    gauge("max_client_response_size", Some(max_response));
    gauge("max_file_descriptor_count", max_files.and_then(signed));
    gauge("max_latency", signed(max));
    gauge("min_client_response_size", Some(min_response));
    gauge("min_latency", signed(min));
    let server = &state.stats.server;
    for (name, count) in [
        ("non_mtls_local_conn_count", &server.non_mtls_local_conn_count),
        ("non_mtls_remote_conn_count", &server.non_mtls_remote_conn_count),
    ] {
        gauge(name, signed(count.load(Ordering::Relaxed)));
    }
    gauge("num_alive_connections", signed(state.connections.lock().len()));
    gauge("open_file_descriptor_count", open_files.and_then(signed));
    gauge("outstanding_requests", signed(state.queue.outstanding()));
    let handshakes = &state.stats.outstanding_tls_handshakes;
    gauge("outstanding_tls_handshake", signed(handshakes.load(Ordering::Relaxed)));
    gauge("packets_received", signed(received));
    gauge("packets_sent", signed(sent));
    gauge("uptime", signed(calendar::milliseconds(state.uptime())));
    gauge("watch_count", signed(watches));
    gauge("znode_count", signed(nodes));
    all.push(Metric { name: "avg_latency", value: Value::Fraction(mean) });
    let drop = state.connection_drop_probability();
    all.push(Metric { name: "connection_drop_probability", value: Value::Fraction(drop) });
}

fn signed(number: impl TryInto<i64>) -> Option<i64> {
    number.try_into().ok()
}

/// The quantiles that `mntr` shows.
const MNTR_QUANTILES: [(&str, f64); 4] =
    [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)];

/// Those of the page for Prometheus.
const PAGE_QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

impl Metric {
    /// Calls `show` with each key and value of `mntr`, without `zk_`.
    pub(in crate::zookeeper) fn each_value(&self, mut show: impl FnMut(&str, &dyn Display)) {
        let name = self.name;
        match &self.value {
            Value::Gauge(value) => show(name, value),
            Value::Fraction(value) => show(name, &format_args!("{value:?}")),
            Value::Counter(value) => show(name, value),
            Value::Summary(figures, unit) => show_figures(name, figures, *unit, &mut show),
            Value::Distribution(figures, counts) => {
                show_figures(name, figures, Unit::Time, &mut show);
                for (prefix, part) in MNTR_QUANTILES {
                    let value = quantile(counts, part).unwrap_or(0).min(figures.max) / 1_000;
                    show(&format!("{prefix}_{name}"), &value);
                }
            }
            Value::Set(entries) => {
                for (key, figures) in entries {
                    show_figures(&format!("{key}_{name}"), figures, Unit::Count, &mut show);
                }
            }
            Value::Gauges(entries) => {
                for (key, value) in entries {
                    show(&format!("{key}_{name}"), value);
                }
            }
            Value::Counters(entries) => {
                for (key, value) in entries {
                    show(&format!("{key}_{name}"), value);
                }
            }
        }
    }

    /// Appends the metric in Prometheus' text format. `recent` are counts of the last minutes, for
    /// quantiles.
    pub(in crate::zookeeper) fn render(&self, recent: Option<&[u64]>, page: &mut String) {
        let name = self.name;
        let kind = match &self.value {
            Value::Gauge(_) | Value::Fraction(_) | Value::Gauges(_) => "gauge",
            Value::Counter(_) | Value::Counters(_) => "counter",
            Value::Summary(..) | Value::Distribution(..) | Value::Set(_) => "summary",
        };
        let _ = writeln!(page, "# HELP {name} {name}\n# TYPE {name} {kind}");
        match &self.value {
            Value::Gauge(value) => drop(writeln!(page, "{name} {value}")),
            Value::Fraction(value) => drop(writeln!(page, "{name} {value}")),
            Value::Counter(value) => drop(writeln!(page, "{name} {value}")),
            Value::Summary(figures, unit) => totals(page, name, "", figures, *unit),
            Value::Distribution(figures, counts) => {
                for part in PAGE_QUANTILES {
                    let value = quantile(recent.unwrap_or(counts), part);
                    let value = value.map_or(f64::NAN, |us| milliseconds(us.min(figures.max)));
                    let _ = writeln!(page, "{name}{{quantile=\"{part}\"}} {value}");
                }
                totals(page, name, "", figures, Unit::Time);
            }
            Value::Set(entries) => {
                for (key, figures) in entries {
                    totals(page, name, &label(key), figures, Unit::Count);
                }
            }
            Value::Gauges(entries) => {
                for (key, value) in entries {
                    let _ = writeln!(page, "{name}{} {value}", label(key));
                }
            }
            Value::Counters(entries) => {
                for (key, value) in entries {
                    let _ = writeln!(page, "{name}{} {value}", label(key));
                }
            }
        }
    }
}

/// The five lines of a summary in `mntr`, in ZooKeeper's whole milliseconds.
fn show_figures(
    name: &str,
    figures: &Figures,
    unit: Unit,
    show: &mut impl FnMut(&str, &dyn Display),
) {
    let by = if unit == Unit::Time { 1_000 } else { 1 };
    #[allow(clippy::cast_precision_loss, reason = "1 or 1,000")]
    let mean = (figures.mean() / by as f64 * 10_000.0).round() / 10_000.0;
    show(&format!("avg_{name}"), &format_args!("{mean:?}"));
    show(&format!("min_{name}"), &(figures.min / by));
    show(&format!("max_{name}"), &(figures.max / by));
    show(&format!("cnt_{name}"), &figures.count);
    show(&format!("sum_{name}"), &(figures.sum / by));
}

/// Count and sum on the page, where a time may have a fraction.
fn totals(page: &mut String, name: &str, label: &str, figures: &Figures, unit: Unit) {
    let _ = writeln!(page, "{name}_count{label} {}", figures.count);
    let _ = match unit {
        Unit::Time => writeln!(page, "{name}_sum{label} {}", milliseconds(figures.sum)),
        Unit::Count => writeln!(page, "{name}_sum{label} {}", figures.sum),
    };
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn milliseconds(us: u64) -> f64 {
    us as f64 / 1_000.0
}

/// The label of a key: clients make names of znodes up, and so break out of no quotes.
fn label(key: &str) -> String {
    let escaped = key.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{key=\"{escaped}\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(metric: &Metric) -> Vec<String> {
        let mut lines = Vec::new();
        metric.each_value(|key, value| lines.push(format!("{key}\t{value}")));
        lines
    }

    fn page(metric: &Metric) -> String {
        let mut page = String::new();
        metric.render(None, &mut page);
        page
    }

    #[test]
    fn a_summary_of_times_is_shown_in_milliseconds() {
        let figures = Figures { count: 2, sum: 4_500, min: 700, max: 3_800 };
        let metric = Metric { name: "fsynctime", value: Value::Summary(figures, Unit::Time) };
        assert_eq!(
            lines(&metric),
            [
                "avg_fsynctime\t2.25",
                "min_fsynctime\t0",
                "max_fsynctime\t3",
                "cnt_fsynctime\t2",
                "sum_fsynctime\t4"
            ]
        );
        assert_eq!(
            page(&metric),
            "# HELP fsynctime fsynctime\n# TYPE fsynctime summary\nfsynctime_count 2\n\
             fsynctime_sum 4.5\n"
        );
    }

    #[test]
    fn quantiles_never_exceed_the_greatest_value() {
        let distribution = Distribution::default();
        distribution.record(9_001, 1);
        let value = Value::Distribution(distribution.figures(), distribution.counts());
        let metric = Metric { name: "readlatency", value };
        assert!(lines(&metric).contains(&"p999_readlatency\t9".to_owned()));
        assert!(
            page(&metric).contains("readlatency{quantile=\"0.99\"} 9.001\n"),
            "{}",
            page(&metric)
        );
        let nothing = Value::Distribution(Figures::default(), vec![0; 8]);
        let metric = Metric { name: "readlatency", value: nothing };
        assert!(page(&metric).contains("{quantile=\"0.5\"} NaN\n"));
    }

    #[test]
    fn a_namespace_is_a_label_that_cannot_break_out() {
        let figures = Figures { count: 1, sum: 7, min: 7, max: 7 };
        let value = Value::Set(vec![("a\"} 1\nb".to_owned(), figures)]);
        let text = page(&Metric { name: "write_per_namespace", value });
        assert!(text.contains("write_per_namespace_count{key=\"a\\\"} 1\\nb\"} 1\n"), "{text}");
    }
}
