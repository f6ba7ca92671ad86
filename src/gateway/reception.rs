//! What comes before a client's first request: the header of the PROXY protocol, and the handshake of
//! TLS.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::metrics;
use crate::config::gateway::GatewayListener;
use crate::limits;
use crate::net::bucket::Rate;
use crate::net::network::Network;
use crate::net::proxy_protocol::{self, Source, V2_BYTES_MAX};
use crate::net::stream::Stream;
use crate::net::tls::TlsServer;
use crate::net::{ConnectionCounts, ConnectionLimits};

/// What the sockets of one listener have in common. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Reception {
    tls: Option<Arc<TlsServer>>,
    proxies: Option<Arc<[Network]>>,
    /// The listener's own caps.
    pub counts: Arc<ConnectionCounts>,
    /// The listener's own rate of new connections.
    rate: Arc<Rate>,
    /// The most connections that it may have, whatever its own cap.
    most: usize,
}

/// A client after its handshake.
pub(super) struct Guest {
    pub stream: Stream,
    /// What host it wants to speak to, if it says so.
    pub host: Option<String>,
}

fn caps(listener: &GatewayListener, most: usize) -> ConnectionLimits {
    ConnectionLimits { total: listener.max_connections.min(most), per_ip: usize::MAX }
}

impl Reception {
    /// Reads the listener's certificates. It has `most` connections, whatever its own cap.
    ///
    /// # Errors
    /// The certificates can't be used.
    pub(super) async fn new(
        listener: &GatewayListener,
        most: usize,
    ) -> Result<Reception, StartError> {
        let tls = match listener.tls.clone() {
            None => None,
            Some(config) => Some(
                TlsServer::read(config)
                    .await
                    .map_err(|error| StartError(format!("listener {}: {error}", listener.name)))?,
            ),
        };
        Ok(Reception {
            tls,
            proxies: listener.proxies.as_deref().map(Into::into),
            counts: ConnectionCounts::new(caps(listener, most)),
            rate: Arc::new(Rate::new(listener.connection_rate)),
            most,
        })
    }

    /// Other limits from now on.
    pub(super) fn set_limits(&self, listener: &GatewayListener) {
        self.counts.set_limits(caps(listener, self.most), BTreeMap::new());
        self.rate.set(listener.connection_rate);
    }

    /// Takes up files of certificates that change, until `stop`.
    pub(super) fn follow_files(&self, stop: &CancellationToken) {
        if let Some(tls) = &self.tls {
            tokio::spawn(tls.clone().reload_on_change(stop.clone()));
        }
    }

    /// Whether clients come by a load balancer, so that their addresses are known only after its
    /// header.
    pub(super) fn is_behind_proxy(&self) -> bool {
        self.proxies.is_some()
    }

    /// How long the next connection has to wait, for the rate's sake.
    pub(super) fn pace(&self) -> Duration {
        self.rate.take(Instant::now())
    }

    /// Where a client is; `None` if its connection is not to be served.
    pub(super) async fn address(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
    ) -> Option<SocketAddr> {
        let Some(networks) = &self.proxies else { return Some(peer) };
        let told = if networks.iter().any(|network| network.contains(peer.ip())) {
            let header = timeout(limits::PROXY_HEADER_TIMEOUT, read_header(stream)).await;
            header.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        } else {
            Err(io::Error::other("it is in none of doorkeeper.gateway.proxy.protocol.networks"))
        };
        match told {
            Ok(Source::Client(address)) => Some(address),
            Ok(Source::Unknown) => Some(peer),
            Err(error) => {
                metrics::proxy_refused();
                tracing::debug!(%peer, %error, "no PROXY header that is trusted");
                None
            }
        }
    }

    /// The handshake, where there is one; `None` if there is no connection after it.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        closing: &CancellationToken,
    ) -> Option<Guest> {
        let Some(tls) = &self.tls else {
            return Some(Guest { stream: Stream::Plain(stream), host: None });
        };
        let ended = tokio::select! {
            ended = tls.accept(stream, address.ip()) => ended,
            () = closing.cancelled() => return None,
        };
        metrics::handshake(ended.is_ok());
        let stream = ended.inspect_err(|error| tracing::debug!(%error, "no TLS handshake")).ok()?;
        let host = stream.get_ref().1.server_name().map(str::to_owned);
        Some(Guest { stream: Stream::Server(Box::new(stream)), host })
    }
}

/// Reads the header that a connection begins with, and nothing behind it.
async fn read_header(stream: &mut TcpStream) -> io::Result<Source> {
    let mut header = [0; V2_BYTES_MAX];
    let mut known = 0;
    loop {
        // A header is never longer than that, so there is room as long as it isn't whole.
        let there = stream.peek(&mut header[known..]).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let told = proxy_protocol::parse(&header[..known + there]).map_err(io::Error::other)?;
        let taken = told.map_or(there, |(length, _)| length - known);
        stream.read_exact(&mut header[known..known + taken]).await?;
        known += taken;
        if let Some((_, source)) = told {
            return Ok(source);
        }
    }
}
