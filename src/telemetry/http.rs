//! The HTTP endpoint: `/metrics`, `/healthz`, `/readyz` and a page that names them.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use super::Health;
use super::process::ProcessMetrics;
use super::recorder::run_hooks;
use crate::config::ListenAddress;
use crate::limits;
use crate::net::{self, BindError, HttpListener};

const INDEX: &str = "<!doctype html><title>doorkeeper</title><h1>doorkeeper</h1><ul>\
    <li><a href=\"/metrics\">/metrics</a>: for Prometheus\
    <li><a href=\"/healthz\">/healthz</a>: the process answers\
    <li><a href=\"/readyz\">/readyz</a>: every role serves, or which one does not</ul>\n";

/// A running endpoint.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Sources {
    recorder: PrometheusHandle,
    process: ProcessMetrics,
    health: Health,
}

impl HttpServer {
    /// Listens and serves until the value is dropped.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub fn start(
        address: &ListenAddress,
        recorder: PrometheusHandle,
        health: Health,
    ) -> Result<HttpServer, BindError> {
        let listener = net::bind(address)?;
        let bound = listener
            .local_addr()
            .map_err(|e| BindError { address: address.clone(), reason: e.to_string() })?;
        let stop = CancellationToken::new();
        let sources = Sources { recorder, process: ProcessMetrics::new(), health };
        let router = Router::new()
            .route("/", get(|| async { Html(INDEX) }))
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/readyz/{cluster}", get(ready_cluster))
            .with_state(sources);
        let listener = HttpListener::new(listener, limits::HTTP_IDLE_MAX);
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, router) => served,
                () = stopped => Ok(()),
            }
        });
        Ok(HttpServer { address: bound, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn metrics(State(sources): State<Sources>) -> impl IntoResponse {
    run_hooks();
    let mut text = sources.recorder.render();
    sources.process.render(&mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn ready(State(sources): State<Sources>) -> impl IntoResponse {
    let (ready, report) = sources.health.report();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, report)
}

/// One cluster of a gateway for several: a load balancer in front of it asks for no other.
async fn ready_cluster(
    State(sources): State<Sources>,
    Path(cluster): Path<String>,
) -> impl IntoResponse {
    match sources.health.report_of(&format!("gateway {cluster}")) {
        Some((true, report)) => (StatusCode::OK, format!("{report}\n")),
        Some((false, report)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{report}\n")),
        None => (StatusCode::NOT_FOUND, "no such cluster\n".to_owned()),
    }
}
