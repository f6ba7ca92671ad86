//! The ports that clients connect to: bound before the data is touched, served once it is there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Security};
use super::io_threads::IoThreads;
use super::server::StartError;
use super::state::State;
use crate::config::CoordinatorConfig;
use crate::net::tls::TlsServer;
use crate::net::{self, ConnectionLimits, ListenerTotal};

/// Ports on which clients wait in the backlog.
#[derive(Debug)]
pub(super) struct Listeners {
    bound: Vec<(TcpListener, Security)>,
    tls: Option<Arc<TlsServer>>,
    /// Where clients connect without TLS, or with either.
    pub(super) client_address: Option<SocketAddr>,
    /// Where they connect with TLS.
    pub(super) secure_client_address: Option<SocketAddr>,
}

impl Listeners {
    /// Reads the certificates and listens.
    ///
    /// # Errors
    /// A busy port, or certificates that can't be used.
    pub(super) async fn bind(config: &CoordinatorConfig) -> Result<Listeners, StartError> {
        let tls = match config.tls.clone() {
            None => None,
            Some(tls) => Some(TlsServer::read(tls).await?),
        };
        let mut bound = Vec::new();
        let mut listen = |address, security| {
            let listener = net::bind_with_backlog(address, config.client_port_listen_backlog)?;
            let at =
                listener.local_addr().map_err(|error| StartError::System(error.to_string()))?;
            bound.push((listener, security));
            Ok::<_, StartError>(at)
        };
        let on_client_port = match &tls {
            Some(tls) if config.port_unification => Security::Either(Arc::clone(tls)),
            _ => Security::Plain,
        };
        let client_address = match &config.client_address {
            Some(address) => Some(listen(address, on_client_port)?),
            None => None,
        };
        let secure_client_address = match (&config.secure_client_address, &tls) {
            (Some(address), Some(tls)) => Some(listen(address, Security::Tls(Arc::clone(tls)))?),
            _ => None,
        };
        Ok(Listeners { bound, tls, client_address, secure_client_address })
    }

    /// Serves every port until `stop`; connections are tasks of `connections` on `io_threads`, the
    /// rest is one of `services`.
    pub(super) fn serve(
        self,
        state: &Arc<State>,
        stop: &CancellationToken,
        io_threads: &Arc<IoThreads>,
        connections: &TaskTracker,
        services: &TaskTracker,
    ) {
        let config = &state.config;
        let limits = ConnectionLimits::zero_is_unlimited(config.max_cnxns, config.max_client_cnxns);
        // As in ZooKeeper, `maxCnxns` is of all ports and `maxClientCnxns` of each.
        let total = ListenerTotal::default();
        let keep_alive = config.client_tcp_keep_alive;
        for (listener, security) in self.bound {
            let (state, stopping) = (Arc::clone(state), stop.clone());
            let counted = Arc::clone(&state);
            let (io_threads, tracker) = (Arc::clone(io_threads), connections.clone());
            services.spawn(net::serve_within(
                listener,
                limits,
                total.clone(),
                stop.clone(),
                connections.clone(),
                move || {
                    let rejected = &counted.stats.server.connection_rejected;
                    rejected.fetch_add(1, Ordering::Relaxed);
                },
                move |stream, peer, permit| {
                    let (state, stop) = (Arc::clone(&state), stopping.clone());
                    let security = security.clone();
                    let (io_threads, tracker) = (Arc::clone(&io_threads), tracker.clone());
                    async move {
                        if keep_alive && let Err(error) = net::keep_alive(&stream) {
                            tracing::debug!(%peer, %error, "no TCP keep-alive");
                        }
                        // Its readiness is to be told to the thread that it will live on.
                        let Ok(stream) = stream.into_std() else { return };
                        let connection =
                            connection::serve(stream, peer, state, security, stop, permit);
                        io_threads.spawn(&tracker, connection);
                    }
                },
            ));
        }
        if let Some(tls) = self.tls {
            services.spawn(tls.reload_on_change(stop.clone()));
        }
    }
}
