//! What a gateway counts.

use metrics::{Counter, Gauge, counter, gauge};

use kafka_protocol::messages::ApiKey;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Answered here.
    Here,
    /// The image could not tell.
    Asked,
    /// Passed on unread.
    Passed,
    /// Refused: its connection was closed.
    Refused,
}

const OUTCOMES: [&str; 4] = ["here", "asked", "passed", "refused"];

/// Handles of what is counted often.
pub(super) struct GatewayMetrics {
    /// By API number, then by outcome; made when an API is first asked for.
    requests: Vec<std::sync::OnceLock<[Counter; 4]>>,
    connections: Gauge,
    upstreams: Gauge,
    pub received: Counter,
    pub sent: Counter,
    lookups: Counter,
    expired: Counter,
    without_port: Gauge,
    connections_max: Gauge,
}

impl std::fmt::Debug for GatewayMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayMetrics").finish_non_exhaustive()
    }
}

impl Default for GatewayMetrics {
    fn default() -> Self {
        let highest = ApiKey::iter().map(|key| key as usize).max().unwrap_or(0);
        let bytes = |to| counter!("doorkeeper_gateway_passed_bytes_total", "to" => to);
        GatewayMetrics {
            requests: (0..=highest).map(|_| std::sync::OnceLock::new()).collect(),
            connections: gauge!("doorkeeper_gateway_connections"),
            upstreams: gauge!("doorkeeper_gateway_upstream_connections"),
            received: bytes("broker"),
            sent: bytes("client"),
            lookups: counter!("doorkeeper_gateway_missing_lookups_total"),
            expired: counter!("doorkeeper_gateway_expired_connections_total"),
            without_port: gauge!("doorkeeper_gateway_brokers_without_port"),
            connections_max: gauge!("doorkeeper_gateway_connections_max"),
        }
    }
}

impl GatewayMetrics {
    pub(super) fn request(&self, key: ApiKey, outcome: Outcome) {
        let Some(counters) = self.requests.get(key as usize) else { return };
        let counters = counters.get_or_init(|| {
            let api = format!("{key:?}");
            OUTCOMES.map(|outcome| {
                counter!("doorkeeper_gateway_requests_total", "api" => api.clone(), "outcome" => outcome)
            })
        });
        counters[outcome as usize].increment(1);
    }

    pub(super) fn connection(&self) -> Open {
        Open::new(&self.connections)
    }

    pub(super) fn upstream(&self) -> Open {
        Open::new(&self.upstreams)
    }

    pub(super) fn expired(&self) {
        self.expired.increment(1);
    }

    pub(super) fn looked_up(&self) {
        self.lookups.increment(1);
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(super) fn connections_max(&self, cap: usize) {
        self.connections_max.set(cap as f64);
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(super) fn without_port(&self, brokers: usize) {
        self.without_port.set(brokers as f64);
    }
}

/// Counts a broker that could not be connected to.
pub(super) fn upstream_failed(broker: i32) {
    counter!("doorkeeper_gateway_upstream_failures_total", "broker" => broker.to_string())
        .increment(1);
}

/// Counts a client's handshake.
pub(super) fn handshake(completed: bool) {
    let outcome = if completed { "completed" } else { "failed" };
    counter!("doorkeeper_gateway_tls_handshakes_total", "outcome" => outcome).increment(1);
}

/// Counts a connection that was closed for want of a trusted PROXY header.
pub(super) fn proxy_refused() {
    counter!("doorkeeper_gateway_proxy_refused_total").increment(1);
}

/// Counts that reading from a client was put off for its rate's sake.
pub(super) fn delayed() {
    counter!("doorkeeper_gateway_delayed_requests_total").increment(1);
}

/// Counts in a gauge for as long as it lives.
#[derive(Debug)]
pub(super) struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Open(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
