//! A listener that several clusters share: the host name in a client's TLS handshake tells which one
//! it wants, and which broker of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::StartError;
use super::listener::Door;
use super::reception::Reception;
use crate::config::gateway::GatewayListener;
use crate::config::host_pattern;
use crate::net::{self, ConnectionPermit, ProcessCap};
use crate::telemetry::cluster_label;

/// One socket for several clusters.
#[derive(Debug)]
pub(super) struct SharedListener {
    config: GatewayListener,
    reception: Reception,
    /// The clusters that serve, each with the index that the listener has there.
    doors: RwLock<Vec<(Door, usize)>>,
    socket: Mutex<Socket>,
    stop: CancellationToken,
    connections: TaskTracker,
}

#[derive(Debug)]
enum Socket {
    Closed,
    /// Bound, and not served yet.
    Bound(TcpListener, SocketAddr),
    Open(SocketAddr),
}

impl SharedListener {
    /// A listener that is closed until a cluster needs it.
    ///
    /// # Errors
    /// Its certificates can't be used.
    pub(super) async fn new(
        config: GatewayListener,
        process: &ProcessCap,
        stop: CancellationToken,
        connections: TaskTracker,
    ) -> Result<Arc<SharedListener>, StartError> {
        let reception = Reception::new(&config, process.cap()).await?;
        reception.follow_files(&stop);
        Ok(Arc::new(SharedListener {
            config,
            reception,
            doors: RwLock::default(),
            socket: Mutex::new(Socket::Closed),
            stop,
            connections,
        }))
    }

    /// Other limits of its own from now on.
    pub(super) fn set_limits(&self, config: &GatewayListener) {
        self.reception.set_limits(config);
    }

    /// Binds it, if it isn't yet.
    ///
    /// # Errors
    /// It can't be had.
    pub(super) fn bind(&self) -> Result<SocketAddr, StartError> {
        let mut socket = self.socket.lock();
        if let Socket::Bound(_, address) | Socket::Open(address) = &*socket {
            return Ok(*address);
        }
        let fail = |error: String| StartError(format!("listener {}: {error}", self.config.name));
        let bound = net::bind(&self.config.bind).map_err(|error| fail(error.to_string()))?;
        let address = bound.local_addr().map_err(|error| fail(error.to_string()))?;
        *socket = Socket::Bound(bound, address);
        Ok(address)
    }

    /// Serves a cluster too from now on.
    pub(super) fn join(self: &Arc<Self>, door: Door, index: usize) {
        self.doors.write().push((door, index));
        let mut socket = self.socket.lock();
        let before = std::mem::replace(&mut *socket, Socket::Closed);
        *socket = match before {
            Socket::Bound(bound, address) => {
                tokio::spawn(self.clone().serve(bound));
                Socket::Open(address)
            }
            other => other,
        };
    }

    async fn serve(self: Arc<Self>, socket: TcpListener) {
        let (stop, connections) = (self.stop.clone(), self.connections.clone());
        let reception = self.reception.clone();
        let admit = move |_: IpAddr| reception.counts.admit_unnamed();
        let reception = self.reception.clone();
        let pace = move || reception.pace();
        net::serve_admitted(socket, admit, pace, stop, connections, move |stream, peer, permit| {
            let shared = self.clone();
            let span = tracing::debug_span!("gateway", %peer, listener = %shared.config.name);
            async move { shared.receive(stream, peer, permit).await }.instrument(span)
        })
        .await;
    }

    async fn receive(&self, mut stream: TcpStream, peer: SocketAddr, _permit: ConnectionPermit) {
        let Some(address) = self.reception.address(&mut stream, peer).await else { return };
        let guest = self.reception.handshake(stream, address, &self.stop).await;
        let Some(guest) = guest else { return };
        let host = guest.host.as_deref().map(host_pattern::normal).unwrap_or_default();
        let Some((door, index, broker)) = self.door_of(&host) else {
            tracing::debug!(host, "no cluster that serves has this host name");
            return;
        };
        let admission = &door.core.admission;
        let _in_cluster = match admission.counts.admit(address.ip()) {
            Ok(permit) => permit,
            Err(refusal) => return admission.refused(address.ip(), refusal),
        };
        tokio::time::sleep(admission.connection_rate.take(Instant::now())).await;
        let cluster = door.core.config.cluster.clone();
        cluster_label::within(cluster, door.enter(guest, address, index, broker)).await;
    }

    /// The cluster of a host name, the listener's index there, and the broker if it is one's name.
    fn door_of(&self, host: &str) -> Option<(Door, usize, Option<i32>)> {
        let doors = self.doors.read();
        let bootstrap =
            doors.iter().find(|(door, _)| door.core.config.sni_host.as_deref() == Some(host));
        if let Some((door, index)) = bootstrap {
            return Some((door.clone(), *index, None));
        }
        doors
            .iter()
            .find_map(|(door, index)| Some((door.clone(), *index, Some(door.broker_of(host)?))))
    }
}
