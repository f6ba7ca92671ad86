//! Serves Kafka clients on the listeners of a broker.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use metrics::{Counter, Gauge, Histogram};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::api::auto_creation::AutoCreation;
use super::api::{ApiRegistration, ConnectionContext, REGISTRATIONS};
use super::connection;
use super::fetch_sessions::FetchSessions;
use super::response_cache::ResponseCache;
use crate::broker::BrokerContext;
use crate::net::{self, ConnectionLimits};

/// What all listeners of a broker serve from. Made once, after the metrics recorder.
#[derive(Debug)]
pub struct Service {
    broker: Arc<BrokerContext>,
    cache: ResponseCache,
    auto_creation: AutoCreation,
    fetch_sessions: FetchSessions,
    metrics: Vec<ApiMetrics>,
    connections: Gauge,
    in_flight: Gauge,
    next_connection: AtomicU64,
}

impl Service {
    /// The service of a broker.
    pub fn new(broker: Arc<BrokerContext>) -> Arc<Service> {
        let slots = broker.config.fetch_session_slots;
        Arc::new(Service {
            broker,
            cache: ResponseCache::default(),
            auto_creation: AutoCreation::default(),
            fetch_sessions: FetchSessions::new(slots),
            metrics: REGISTRATIONS.iter().map(ApiMetrics::new).collect(),
            connections: metrics::gauge!("doorkeeper_kafka_connections"),
            in_flight: metrics::gauge!("doorkeeper_kafka_requests_in_flight"),
            next_connection: AtomicU64::new(1),
        })
    }

    /// Serves a listener until `stop` is cancelled; its connections then finish the request that
    /// they are at and end, each in its task of `tracker`.
    pub async fn serve(
        self: Arc<Service>,
        listener: TcpListener,
        listener_name: &str,
        stop: CancellationToken,
        tracker: TaskTracker,
    ) {
        let config = &self.broker.config;
        let limits = ConnectionLimits {
            total: config.max_connections,
            per_ip: config.max_connections_per_ip,
        };
        let name: Arc<str> = Arc::from(listener_name);
        let closing = stop.clone();
        let service = Arc::clone(&self);
        net::serve(listener, limits, stop, tracker, move |stream, peer, permit| {
            let (service, name, closing) = (Arc::clone(&service), Arc::clone(&name), &closing);
            let closing = closing.child_token();
            async move {
                service.connection(stream, peer, name, closing).await;
                drop(permit);
            }
        })
        .await;
    }

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        listener: Arc<str>,
        closing: CancellationToken,
    ) {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let span = tracing::debug_span!("kafka", connection = id, %peer, %listener);
        let context = ConnectionContext { id, peer, listener, closing, software: Mutex::default() };
        let _open = Held::new(&self.connections);
        connection::run(self, &context, stream).instrument(span).await;
    }

    pub(super) fn broker(&self) -> &Arc<BrokerContext> {
        &self.broker
    }

    pub(super) fn cache(&self) -> &ResponseCache {
        &self.cache
    }

    /// The fetch sessions of its consumers.
    pub(super) fn fetch_sessions(&self) -> &FetchSessions {
        &self.fetch_sessions
    }

    pub(super) fn auto_creation(&self) -> &AutoCreation {
        &self.auto_creation
    }

    /// The metrics of `REGISTRATIONS[index]`.
    pub(super) fn metrics(&self, index: usize) -> &ApiMetrics {
        &self.metrics[index]
    }

    pub(super) fn in_flight(&self) -> Held<'_> {
        Held::new(&self.in_flight)
    }
}

/// The metrics of one API.
pub(super) struct ApiMetrics {
    requests: Counter,
    errors: Counter,
    duration: Histogram,
    received: Counter,
    sent: Counter,
}

impl ApiMetrics {
    fn new(api: &ApiRegistration) -> Self {
        ApiMetrics {
            requests: metrics::counter!("doorkeeper_kafka_requests_total", "api" => api.name),
            errors: metrics::counter!("doorkeeper_kafka_errors_total", "api" => api.name),
            duration: metrics::histogram!(
                "doorkeeper_kafka_request_duration_seconds", "api" => api.name
            ),
            received: metrics::counter!("doorkeeper_kafka_received_bytes_total", "api" => api.name),
            sent: metrics::counter!("doorkeeper_kafka_sent_bytes_total", "api" => api.name),
        }
    }

    /// Counts an answered request: when it began, the bytes of both frames, and whether its
    /// answer carries an error.
    pub(super) fn answered(&self, began: Instant, received: usize, sent: usize, failed: bool) {
        self.requests.increment(1);
        self.errors.increment(u64::from(failed));
        self.duration.record(began.elapsed());
        self.received.increment(received as u64);
        self.sent.increment(sent as u64);
    }
}

impl fmt::Debug for ApiMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiMetrics").finish_non_exhaustive()
    }
}

/// One more in a gauge for as long as it lives, a panic included.
pub(super) struct Held<'a>(&'a Gauge);

impl<'a> Held<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.increment(1.0);
        Held(gauge)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
