//! Connections to real brokers: which one, and how it is reached.

use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::view::View;
use super::{Core, metrics};
use crate::limits;
use crate::net;
use crate::net::stream::Stream;

/// Where a broker is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub id: i32,
    pub host: String,
    pub port: u16,
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
        Some(Target { id, host: endpoint.host.clone(), port })
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

/// Connects to the first of some brokers that can be reached.
pub(super) async fn connect(
    core: &Core,
    listener: usize,
    broker: Option<i32>,
) -> Result<(i32, Stream), NoUpstream> {
    let targets = targets(&core.views.load(), listener, broker)?;
    let mut last = NoUpstream::Nobody(String::new());
    for target in targets.into_iter().take(limits::GATEWAY_UPSTREAM_TRIES) {
        match reach(&target, limits::GATEWAY_CONNECT_TIMEOUT).await {
            Ok(stream) => return Ok((target.id, stream)),
            Err(error) => {
                metrics::upstream_failed(target.id);
                tracing::debug!(%error, "no upstream");
                last = error;
            }
        }
    }
    Err(last)
}

/// Connects to one broker.
pub(super) async fn reach(target: &Target, patience: Duration) -> Result<Stream, NoUpstream> {
    let connected = timeout(patience, TcpStream::connect((target.host.as_str(), target.port)));
    let stream = match connected.await {
        Ok(Ok(stream)) => stream.set_nodelay(true).map(|()| stream),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    };
    let stream = stream.map_err(|error| NoUpstream::Unreachable {
        id: target.id,
        host: target.host.clone(),
        port: target.port,
        reason: error.to_string(),
    })?;
    if let Err(error) = net::keep_alive(&stream) {
        tracing::debug!(%error, "an upstream is gone already");
    }
    Ok(Stream::Plain(stream))
}
