//! Accepts clients, by the bootstrap address or by a broker's, and counts them.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Visitor;
use super::{Core, connection};
use crate::kafka::security::Principal;
use crate::net::stream::Stream;
use crate::net::tls::{self, TlsServer, TlsStream, distinguished_name};
use crate::net::{self, ConnectionCounts, ConnectionLimits};

/// What every listening socket of a gateway shares. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Door {
    core: Arc<Core>,
    counts: Arc<ConnectionCounts>,
    /// The TLS of each listener, in the order of `listeners`.
    tls: Arc<[Option<Arc<TlsServer>>]>,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl Door {
    pub(super) fn new(
        core: Arc<Core>,
        tls: Vec<Option<Arc<TlsServer>>>,
        stop: CancellationToken,
        connections: TaskTracker,
    ) -> Self {
        for tls in tls.iter().flatten() {
            tokio::spawn(tls.clone().reload_on_change(stop.clone()));
        }
        let counts = ConnectionCounts::new(ConnectionLimits {
            total: core.config.max_connections,
            per_ip: core.config.max_connections_per_ip,
        });
        core.metrics.connections_max(counts.cap());
        Door { core, counts, tls: tls.into(), stop, connections }
    }

    /// Serves a socket of `listeners[index]` until the gateway stops. `broker` is whose address it
    /// is; `None` for the bootstrap address.
    pub(super) async fn serve(self, socket: TcpListener, index: usize, broker: Option<i32>) {
        let Door { core, counts, tls, stop, connections } = self;
        let tls = tls.get(index).cloned().flatten();
        let closing = stop.clone();
        net::serve_counted(socket, counts, stop, connections, move |stream, peer, permit| {
            let (core, tls, closing) = (core.clone(), tls.clone(), closing.child_token());
            async move {
                let span = tracing::debug_span!("gateway", %peer, listener = index, broker);
                let visit = async {
                    let mut visitor =
                        Visitor { listener: index, broker, address: peer, certificate: None };
                    let stream = match tls {
                        None => Stream::Plain(stream),
                        Some(tls) => {
                            let Some(stream) = handshake(&core, &tls, stream, peer, &closing).await
                            else {
                                return;
                            };
                            match principal(&core, &stream) {
                                Ok(principal) => visitor.certificate = principal,
                                Err(NoPrincipal(name)) => {
                                    tracing::debug!(
                                        name,
                                        "no rule of ssl.principal.mapping.rules fits a certificate"
                                    );
                                    return;
                                }
                            }
                            Stream::Server(Box::new(stream))
                        }
                    };
                    connection::run(core, visitor, stream, closing).await;
                };
                tracing::Instrument::instrument(visit, span).await;
                drop(permit);
            }
        })
        .await;
    }
}

/// A client's handshake; `None` if there is no connection after it.
async fn handshake(
    core: &Core,
    tls: &TlsServer,
    stream: TcpStream,
    peer: SocketAddr,
    closing: &CancellationToken,
) -> Option<TlsStream> {
    let ended = tokio::select! {
        ended = tls.accept(stream, peer.ip()) => ended,
        () = closing.cancelled() => return None,
    };
    core.metrics.handshake(ended.is_ok());
    ended.inspect_err(|error| tracing::debug!(%error, "no TLS handshake")).ok()
}

/// A certificate's name that is nobody's: brokers end such a connection too.
struct NoPrincipal(Option<String>);

/// Who a client is by its certificate, if it showed one.
fn principal(core: &Core, stream: &TlsStream) -> Result<Option<Principal>, NoPrincipal> {
    let Some(certificate) = tls::client_certificate(stream) else { return Ok(None) };
    let name = distinguished_name::subject_of(certificate).ok_or(NoPrincipal(None))?;
    match core.config.principal_mapper.principal(&name) {
        Some(principal) => Ok(Some(principal)),
        None => Err(NoPrincipal(Some(name))),
    }
}
