//! Connections to real brokers: which one, and how it is reached.
//!
//! Whether TLS is spoken, and whether a login is wanted, is what the protocol of the broker's endpoint
//! says (`listener_security_protocol_map` of its znode).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::seq::SliceRandom;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::own_login::Line;
use super::view::View;
use super::{Core, StartError, exchange, metrics};
use crate::config::gateway_upstream::UpstreamConfig;
use crate::limits;
use crate::net;
use crate::net::stream::Stream;
use crate::net::tls::connect::{TlsClient, TlsClientConfig};

/// What TLS towards brokers can't do without.
pub(super) const TRUST_STORE: &str = "doorkeeper.gateway.upstream.ssl.truststore.location";

/// Where a broker is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub id: i32,
    pub host: String,
    pub port: u16,
    pub wants: Wants,
}

/// What a broker's endpoint wants of whoever connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wants {
    pub tls: bool,
    pub login: bool,
}

impl Wants {
    /// By the name of a security protocol.
    pub(super) fn of(protocol: &str) -> Wants {
        Wants {
            tls: matches!(protocol, "SSL" | "SASL_SSL"),
            login: matches!(protocol, "SASL_PLAINTEXT" | "SASL_SSL"),
        }
    }
}

/// Why there is no upstream.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoUpstream {
    #[error("no broker of the cluster is alive with the listener {0}")]
    Nobody(String),
    #[error("broker {0} is not there")]
    Gone(i32),
    #[error("broker {id} at {host}:{port} can't be reached: {reason}")]
    Unreachable { id: i32, host: String, port: u16, reason: String },
    #[error("broker {id} does not take the gateway's login: {reason}")]
    NoLogin { id: i32, reason: String },
}

/// A connection to a broker.
#[derive(Debug)]
pub(super) struct Reached {
    pub id: i32,
    pub stream: Stream,
    /// When the gateway's own login on it is to be renewed.
    pub renew: Option<Instant>,
}

/// The broker with this id, or, for the bootstrap address, every live broker in random order.
pub(super) fn targets(
    view: &View,
    listener: usize,
    broker: Option<i32>,
) -> Result<Vec<Target>, NoUpstream> {
    let Some(book) = view.addresses.get(listener) else {
        return Err(NoUpstream::Nobody(String::new()));
    };
    let target = |id: i32| {
        let endpoint = view.image.brokers.get(&id)?.endpoint(&book.listener)?;
        let port = u16::try_from(endpoint.port).ok()?;
        let wants = Wants::of(&endpoint.protocol);
        Some(Target { id, host: endpoint.host.clone(), port, wants })
    };
    if let Some(id) = broker {
        return target(id).map(|target| vec![target]).ok_or(NoUpstream::Gone(id));
    }
    let mut all: Vec<Target> = view.image.brokers.keys().filter_map(|id| target(*id)).collect();
    all.shuffle(&mut rand::rng());
    if all.is_empty() {
        return Err(NoUpstream::Nobody(book.listener.to_string()));
    }
    Ok(all)
}

/// The TLS side towards brokers, where there is a trust store for it.
pub(super) async fn tls(config: &UpstreamConfig) -> Result<Option<Arc<TlsClient>>, StartError> {
    let Some(trust_store) = config.trust_store.clone() else { return Ok(None) };
    let config = TlsClientConfig {
        trust_store,
        key_store: config.key_store.clone(),
        protocols: config.protocols.clone(),
        verify_host: config.verify_host,
    };
    let tls = TlsClient::read(config).await;
    tls.map(Some).map_err(|error| StartError(format!("TLS towards brokers: {error}")))
}

/// Connects to the first of some brokers that can be reached, and logs in where that is the gateway's to
/// do.
pub(super) async fn connect(
    core: &Core,
    listener: usize,
    broker: Option<i32>,
) -> Result<Reached, NoUpstream> {
    let targets = targets(&core.views.load(), listener, broker)?;
    let mut last = NoUpstream::Nobody(String::new());
    for target in targets.into_iter().take(limits::GATEWAY_UPSTREAM_TRIES) {
        match reach_as(core, listener, &target).await {
            Ok(reached) => return Ok(reached),
            Err(error) => {
                metrics::upstream_failed(target.id);
                tracing::debug!(%error, "no upstream");
                last = error;
            }
        }
    }
    Err(last)
}

async fn reach_as(core: &Core, listener: usize, target: &Target) -> Result<Reached, NoUpstream> {
    let mut stream = reach(core, target, limits::GATEWAY_CONNECT_TIMEOUT).await?;
    let mut renew = None;
    if let Some(login) = core.own_login(listener).filter(|_| target.wants.login) {
        let logged_in = login.log_in(&mut Alone(&mut stream)).await;
        core.own_login_went(target.id, logged_in.as_ref().err());
        let lifetime = logged_in
            .map_err(|error| NoUpstream::NoLogin { id: target.id, reason: error.to_string() })?;
        renew = renew_at(lifetime);
    }
    Ok(Reached { id: target.id, stream, renew })
}

/// When a login that holds for so many milliseconds is to be renewed: as Kafka's clients do, before
/// its end.
pub(super) fn renew_at(lifetime_ms: i64) -> Option<Instant> {
    let lifetime = u64::try_from(lifetime_ms).ok().filter(|lifetime| *lifetime > 0)?;
    Instant::now().checked_add(Duration::from_millis(lifetime / 10 * 8))
}

/// A connection on which nobody else asks.
struct Alone<'a>(&'a mut Stream);

impl Line for Alone<'_> {
    async fn ask(&mut self, frame: Bytes) -> io::Result<Bytes> {
        let bounds = (limits::GATEWAY_LOGIN_BYTES_MAX, limits::GATEWAY_EXCHANGE_TIMEOUT);
        exchange::send(self.0, &frame, bounds).await
    }
}

/// Connects to one broker, over TLS where its endpoint has it.
pub(super) async fn reach(
    core: &Core,
    target: &Target,
    patience: Duration,
) -> Result<Stream, NoUpstream> {
    let connected = timeout(patience, connect_to(core, target)).await;
    connected.unwrap_or(Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
        NoUpstream::Unreachable {
            id: target.id,
            host: target.host.clone(),
            port: target.port,
            reason: error.to_string(),
        }
    })
}

async fn connect_to(core: &Core, target: &Target) -> io::Result<Stream> {
    if target.wants.tls && core.tls.is_none() {
        return Err(io::Error::other(format!("{TRUST_STORE} is not set")));
    }
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    stream.set_nodelay(true)?;
    if let Err(error) = net::keep_alive(&stream) {
        tracing::debug!(%error, "an upstream is gone already");
    }
    match &core.tls {
        Some(tls) if target.wants.tls => {
            let stream = tls.connect(stream, &target.host).await?;
            Ok(Stream::Client(Box::new(stream)))
        }
        _ => Ok(Stream::Plain(stream)),
    }
}
