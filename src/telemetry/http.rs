//! The HTTP endpoint: `/metrics`, `/healthz`, `/readyz` and a page that names them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::Health;
use super::process::ProcessMetrics;
use super::recorder::run_hooks;
use crate::config::ListenAddress;
use crate::limits;
use crate::net::{self, BindError};

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
            .with_state(sources);
        let listener = CappedListener {
            listener,
            places: Arc::new(Semaphore::new(limits::HTTP_CONNECTIONS_MAX)),
        };
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

/// Accepts no more connections than it has places; further ones wait in the kernel.
struct CappedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl axum::serve::Listener for CappedListener {
    type Io = TimedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TimedStream, SocketAddr) {
        let mut backoff = limits::ACCEPT_BACKOFF_MIN;
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                // The semaphore is never closed.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => return (TimedStream::new(stream, place), peer),
                Err(error) => {
                    tracing::debug!(%error, "HTTP connection not accepted");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(limits::ACCEPT_BACKOFF_MAX);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing was answered on it for [`limits::HTTP_IDLE_MAX`], however
/// slowly its requests drip in.
struct TimedStream {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl TimedStream {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit) -> Self {
        let deadline = Box::pin(tokio::time::sleep(IDLE));
        TimedStream { stream, deadline, _place: place }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.deadline.as_mut().reset(Instant::now() + IDLE);
        } else if written.is_pending() && self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

const IDLE: Duration = limits::HTTP_IDLE_MAX;
