//! The AdminServer: ZooKeeper's commands over HTTP (`JettyAdminServer`), and the page of its metrics
//! for Prometheus.

mod access;
mod commands;
mod metrics_page;
mod restore;
mod snapshot;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{AdminConfig, CoordinatorConfig};
use crate::limits;
use crate::net::tls::TlsServer;
use crate::net::{self, HttpListener, HttpPeer, Https};
use crate::zookeeper::server::StartError;
use crate::zookeeper::state::State;
use crate::zookeeper::stats::Count;

/// The two endpoints' sockets, bound before data is touched.
#[derive(Debug, Default)]
pub struct Endpoints {
    admin: Option<(TcpListener, AdminConfig)>,
    tls: Option<Arc<TlsServer>>,
    metrics: Option<TcpListener>,
}

impl Endpoints {
    /// Reads the certificates and listens where the configuration says.
    ///
    /// # Errors
    /// Certificates that can't be used, or an address that was asked for can't be listened on. The
    /// AdminServer's default port is one that many programs like: if it is busy, that is a warning.
    pub async fn bind(config: &CoordinatorConfig) -> Result<Endpoints, StartError> {
        let mut endpoints = Endpoints::default();
        if let Some(admin) = &config.admin {
            if let Some(tls) = admin.tls.clone() {
                endpoints.tls = Some(TlsServer::read(tls).await?);
            }
            match net::bind(&admin.address) {
                Ok(listener) => endpoints.admin = Some((listener, admin.clone())),
                Err(error) if admin.address_given => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, "no AdminServer (admin.serverPort sets another port)");
                }
            }
        }
        if let Some(page) = &config.metrics_page {
            endpoints.metrics = Some(net::bind(&page.address)?);
        }
        Ok(endpoints)
    }

    /// Where the AdminServer and the metrics page listen.
    pub fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let admin = self.admin.as_ref().and_then(|(listener, _)| listener.local_addr().ok());
        (admin, self.metrics.as_ref().and_then(|listener| listener.local_addr().ok()))
    }

    /// Serves both until `stop`.
    pub fn serve(self, state: &Arc<State>, stop: &CancellationToken) {
        if let Some((listener, config)) = self.admin {
            let https = match self.tls {
                None => Https::Off,
                Some(tls) => {
                    tokio::spawn(Arc::clone(&tls).reload_on_change(stop.clone()));
                    https(tls, config.plain_too, state)
                }
            };
            let listener = HttpListener::new(listener, config.idle_timeout)
                .alive_while_reading()
                .with_https(https);
            let admin = Arc::new(Admin {
                state: Arc::clone(state),
                snapshots: RateLimit::new(config.rate_limit_interval),
                restores: RateLimit::new(config.rate_limit_interval),
                config,
            });
            run(Router::new().fallback(answer).with_state(admin), listener, stop);
        }
        if let Some(listener) = self.metrics {
            let listener = HttpListener::new(listener, limits::HTTP_IDLE_MAX);
            run(metrics_page::router(Arc::clone(state)), listener, stop);
        }
    }
}

fn https(tls: Arc<TlsServer>, plain_too: bool, state: &Arc<State>) -> Https {
    if !plain_too {
        return Https::Only(tls);
    }
    let state = Arc::clone(state);
    let counted = move || {
        state.stats.server.insecure_admin_count.fetch_add(1, Ordering::Relaxed);
    };
    Https::Either(tls, Arc::new(counted))
}

fn run(router: Router, listener: HttpListener, stop: &CancellationToken) {
    let stopped = stop.clone().cancelled_owned();
    let service = router.into_make_service_with_connect_info::<HttpPeer>();
    tokio::spawn(async move {
        tokio::select! {
            served = axum::serve(listener, service) => served,
            () = stopped => Ok(()),
        }
    });
}

/// What requests are answered from.
#[derive(Debug)]
struct Admin {
    state: Arc<State>,
    config: AdminConfig,
    snapshots: RateLimit,
    restores: RateLimit,
}

impl Admin {
    /// Whether `snapshot` or `restore` may run now, if it is `enabled`; else what is answered. Uses
    /// beyond the limit are counted in `refused`.
    fn may_run(
        &self,
        command: &'static str,
        enabled: bool,
        limit: &RateLimit,
        refused: &Count,
    ) -> Result<(), StatusCode> {
        if !enabled {
            tracing::warn!("{command} is disabled by admin.{command}.enabled");
            Err(StatusCode::SERVICE_UNAVAILABLE)
        } else if !self.state.config.serialize_last_zxid {
            tracing::warn!("{command} needs serializeLastProcessedZxid.enabled");
            Err(StatusCode::INTERNAL_SERVER_ERROR)
        } else if !limit.allows(Instant::now()) {
            refused.fetch_add(1, Ordering::Relaxed);
            Err(StatusCode::TOO_MANY_REQUESTS)
        } else {
            Ok(())
        }
    }
}

/// One use in an interval (`RateLimiter`).
#[derive(Debug)]
struct RateLimit {
    interval: Duration,
    last: Mutex<Option<Instant>>,
}

impl RateLimit {
    fn new(interval: Duration) -> Self {
        RateLimit { interval, last: Mutex::new(None) }
    }

    fn allows(&self, now: Instant) -> bool {
        let mut last = self.last.lock();
        let allowed = last.is_none_or(|last| now.duration_since(last) > self.interval);
        if allowed {
            *last = Some(now);
        }
        allowed
    }
}

/// What `SecureRequestCustomizer` tells browsers, for `JettyAdminServer`'s day.
const STRICT_TRANSPORT_SECURITY: HeaderValue =
    HeaderValue::from_static("max-age=86400; includeSubDomains");

async fn answer(
    Shared(admin): Shared<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<HttpPeer>,
    request: Request,
) -> Response {
    let mut response = respond(&admin, peer.address, request).await;
    if peer.is_secure() {
        let headers = response.headers_mut();
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT_SECURITY);
    }
    response
}

async fn respond(admin: &Admin, peer: SocketAddr, request: Request) -> Response {
    let path = request.uri().path();
    let below = path.strip_prefix(admin.config.command_url.as_str());
    let Some(rest) = below.filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
        return (StatusCode::NOT_FOUND, "commands are below admin.commandURL\n").into_response();
    };
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reading && request.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let name = rest.strip_prefix('/').unwrap_or_default().to_owned();
    if name.is_empty() {
        return Html(commands::links(&admin.config.command_url)).into_response();
    }
    let Some(command) = commands::find(&name) else {
        // ZooKeeper answers 200, and scripts look at "error".
        return json(StatusCode::OK, &name, Err(format!("Unknown command: {name}")));
    };
    let changes = command == "restore";
    if commands::is_guarded(command) {
        let credentials = request.headers().get(header::AUTHORIZATION);
        if let Err(refused) = access::check(&admin.state, credentials, peer.ip()) {
            tracing::warn!(command, %peer, reason = refused.reason(), "refused");
            return json(refused.status(), command, Err(refused.reason().to_owned()));
        }
    }
    if changes == reading {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let query = query_of(request.uri().query().unwrap_or_default());
    match command {
        "snapshot" => snapshot::answer(admin, &query).await,
        "restore" => restore::answer(admin, request.into_body()).await,
        _ => json(StatusCode::OK, command, commands::run(command, &query, &admin.state)),
    }
}

/// An answer as ZooKeeper's `JsonOutputter` writes it: what the command tells, its name, and an
/// error or null.
fn json(status: StatusCode, command: &str, told: Result<Map<String, Value>, String>) -> Response {
    let (mut answer, error) = match told {
        Ok(answer) => (answer, Value::Null),
        Err(error) => (Map::new(), Value::String(error)),
    };
    answer.insert("command".to_owned(), Value::String(command.to_owned()));
    answer.insert("error".to_owned(), error);
    match serde_json::to_vec_pretty(&answer) {
        Ok(text) => {
            (status, [(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The parameters of a query, percent-decoded; the first of two equal ones counts.
fn query_of(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.entry(decoded(name)).or_insert_with(|| decoded(value));
    }
    parameters
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = (byte == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escaped {
            Some(escaped) => {
                bytes.push(escaped);
                rest = after.get(2..).unwrap_or_default();
            }
            None => bytes.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_never_panic() {
        let query = query_of("traceMask=5&a=%2Fb+c&traceMask=6&x&%zz=%4");
        let expected = [("%zz", "%4"), ("a", "/b c"), ("traceMask", "5"), ("x", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(query, BTreeMap::from(expected));
    }

    #[test]
    fn a_rate_limit_lets_one_through_in_an_interval() {
        let limit = RateLimit::new(Duration::from_secs(300));
        let start = Instant::now();
        assert!(limit.allows(start));
        assert!(!limit.allows(start + Duration::from_secs(300)));
        assert!(limit.allows(start + Duration::from_secs(301)));
        assert!(!limit.allows(start + Duration::from_secs(302)));
    }
}
