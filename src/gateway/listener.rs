//! Accepts clients, by the bootstrap address or by a broker's, and counts them.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Visitor;
use super::{Core, connection};
use crate::net::stream::Stream;
use crate::net::{self, ConnectionCounts, ConnectionLimits};

/// What every listening socket of a gateway shares. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Door {
    core: Arc<Core>,
    counts: Arc<ConnectionCounts>,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl Door {
    pub(super) fn new(core: Arc<Core>, stop: CancellationToken, connections: TaskTracker) -> Self {
        let counts = ConnectionCounts::new(ConnectionLimits {
            total: core.config.max_connections,
            per_ip: core.config.max_connections_per_ip,
        });
        Door { core, counts, stop, connections }
    }

    /// Serves a socket of `listeners[index]` until the gateway stops. `broker` is whose address it
    /// is; `None` for the bootstrap address.
    pub(super) async fn serve(self, socket: TcpListener, index: usize, broker: Option<i32>) {
        let Door { core, counts, stop, connections } = self;
        let closing = stop.clone();
        net::serve_counted(socket, counts, stop, connections, move |stream, peer, permit| {
            let (core, closing) = (core.clone(), closing.child_token());
            async move {
                let span = tracing::debug_span!("gateway", %peer, listener = index, broker);
                let visitor = Visitor { listener: index, broker, address: peer, certificate: None };
                let connection = connection::run(core, visitor, Stream::Plain(stream), closing);
                tracing::Instrument::instrument(connection, span).await;
                drop(permit);
            }
        })
        .await;
    }
}
