//! What a connection is before its first request: plain, or a TLS handshake that shows who the
//! client is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use super::stream::Stream;
use crate::limits;
use crate::net::tls::{self, TLS_HANDSHAKE, TlsServer};
use crate::zookeeper::auth::{Identities, identities_of_peer};
use crate::zookeeper::state::State;

/// What a listener speaks.
#[derive(Debug, Clone)]
pub enum Security {
    /// No TLS (`clientPort`).
    Plain,
    /// TLS alone (`secureClientPort`).
    Tls(Arc<TlsServer>),
    /// Both, told apart by the first byte (`client.portUnification`).
    Either(Arc<TlsServer>),
}

/// A connection that can be served.
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// For the handle, unless the connection's own task sends.
    pub(super) writing: Option<OwnedWriteHalf>,
    /// Who the client is by its certificate.
    pub(super) identities: Option<Identities>,
}

impl Security {
    /// Everything up to the first request; `None` where the client gives no reason to serve it.
    pub(super) async fn open(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        state: &State,
    ) -> Option<Opened> {
        match self {
            Security::Plain => Some(plain(stream, peer, state)),
            Security::Tls(server) => secure(&server, stream, peer, state).await,
            Security::Either(server) => {
                let mut first = [0];
                let peek = stream.peek(&mut first);
                match tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, peek).await {
                    Ok(Ok(1)) if first[0] == TLS_HANDSHAKE => {
                        secure(&server, stream, peer, state).await
                    }
                    Ok(Ok(1)) => Some(plain(stream, peer, state)),
                    _ => {
                        tracing::debug!(%peer, "the client sent nothing");
                        None
                    }
                }
            }
        }
    }
}

fn plain(stream: TcpStream, peer: SocketAddr, state: &State) -> Opened {
    let server = &state.stats.server;
    let count = if peer.ip().is_loopback() {
        &server.non_mtls_local_conn_count
    } else {
        &server.non_mtls_remote_conn_count
    };
    count.fetch_add(1, Ordering::Relaxed);
    let (stream, writing) = Stream::plain(stream);
    Opened { stream, writing: Some(writing), identities: None }
}

async fn secure(
    server: &TlsServer,
    stream: TcpStream,
    peer: SocketAddr,
    state: &State,
) -> Option<Opened> {
    let Some(_place) = Handshake::begin(state) else {
        state.stats.tls_handshakes_refused.increment(1);
        state.stats.server.tls_handshake_exceeded.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%peer, "too many TLS handshakes at once");
        return None;
    };
    let stream = match server.accept(stream, peer.ip()).await {
        Ok(stream) => stream,
        Err(error) => {
            state.stats.tls_handshakes_failed.increment(1);
            state.stats.server.unsuccessful_handshake.fetch_add(1, Ordering::Relaxed);
            state.stats.auth_failures.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, %error, "no TLS connection");
            return None;
        }
    };
    let identities = match tls::client_certificate(&stream) {
        None => None,
        Some(certificate) => {
            let known = identities_of_peer(peer.ip());
            let proved = state.auth.with_certificate(&known, certificate);
            if proved.is_none() {
                state.stats.tls_handshakes_failed.increment(1);
                state.stats.auth_failures.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%peer, "the client's certificate has no subject that can be read");
                return None;
            }
            proved
        }
    };
    state.stats.tls_handshakes_completed.increment(1);
    Some(Opened { stream: Stream::tls(stream), writing: None, identities })
}

/// One TLS handshake that is under way.
struct Handshake<'a>(&'a AtomicUsize);

impl<'a> Handshake<'a> {
    /// Counts it, unless `netty.server.outstandingHandshake.limit` are under way already.
    fn begin(state: &'a State) -> Option<Handshake<'a>> {
        let outstanding = &state.stats.outstanding_tls_handshakes;
        let before = outstanding.fetch_add(1, Ordering::Relaxed);
        let handshake = Handshake(outstanding);
        (before < state.config.tls_handshake_limit).then_some(handshake)
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
