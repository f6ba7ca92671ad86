//! Accepts clients, by the bootstrap address or by a broker's, and counts them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::connection::Visitor;
use super::reception::{Guest, Reception};
use super::{Core, connection};
use crate::config::gateway::GatewayAddresses;
use crate::kafka::security::Principal;
use crate::net::stream::Stream;
use crate::net::tls::{self, distinguished_name};
use crate::net::{self, ConnectionPermit, Refusal};
use crate::telemetry::cluster_label;

/// What every listening socket of a gateway shares. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) core: Arc<Core>,
    /// In the order of `listeners`.
    receptions: Arc<[Reception]>,
    stop: CancellationToken,
    connections: TaskTracker,
}

/// A connection's places: in its listener, and in the cluster.
type Permits = (ConnectionPermit, ConnectionPermit);

impl Door {
    pub(super) fn new(
        core: Arc<Core>,
        receptions: Vec<Reception>,
        stop: CancellationToken,
        connections: TaskTracker,
    ) -> Self {
        for reception in &receptions {
            reception.follow_files(&stop);
        }
        core.metrics.connections_max(core.admission.cap());
        Door { core, receptions: receptions.into(), stop, connections }
    }

    /// What the listeners have of their own, in their order.
    pub(super) fn receptions(&self) -> &[Reception] {
        &self.receptions
    }

    /// Serves a socket of `listeners[index]` until the gateway stops. `broker` is whose address it
    /// is; `None` for the bootstrap address.
    pub(super) async fn serve(self, socket: TcpListener, index: usize, broker: Option<i32>) {
        let Some(reception) = self.receptions.get(index).cloned() else { return };
        let (stop, connections) = (self.stop.clone(), self.connections.clone());
        let admit = {
            let (door, reception) = (self.clone(), reception.clone());
            move |ip: IpAddr| -> Result<Permits, Refusal> {
                let in_listener = reception.counts.admit_unnamed()?;
                let counts = &door.core.admission.counts;
                let in_cluster = if reception.is_behind_proxy() {
                    counts.admit_unnamed()?
                } else {
                    counts.admit(ip)?
                };
                Ok((in_listener, in_cluster))
            }
        };
        let pace = {
            let (door, reception) = (self.clone(), reception.clone());
            move || reception.pace().max(door.core.admission.connection_rate.take(Instant::now()))
        };
        let cluster = self.core.config.cluster.clone();
        net::serve_admitted(
            socket,
            admit,
            pace,
            stop,
            connections,
            move |stream, peer, permits| {
                let (door, reception) = (self.clone(), reception.clone());
                let span = tracing::debug_span!("gateway", %peer, listener = index, broker);
                let visit = async move {
                    door.receive(&reception, stream, peer, (index, broker), permits).await;
                };
                cluster_label::within(cluster.clone(), visit.instrument(span))
            },
        )
        .await;
    }

    /// Serves one client that came in at `(listener, broker)`.
    async fn receive(
        &self,
        reception: &Reception,
        mut stream: TcpStream,
        peer: SocketAddr,
        (index, broker): (usize, Option<i32>),
        (_in_listener, mut in_cluster): Permits,
    ) {
        let Some(address) = reception.address(&mut stream, peer).await else { return };
        if reception.is_behind_proxy() {
            in_cluster = match in_cluster.name(address.ip()) {
                Ok(named) => named,
                Err(refusal) => return self.core.admission.refused(address.ip(), refusal),
            };
        }
        let Some(guest) = reception.handshake(stream, address, &self.stop).await else { return };
        let broker = broker.or_else(|| self.broker_of(guest.host.as_deref()?));
        self.enter(guest, address, index, broker).await;
        drop(in_cluster);
    }

    /// The broker that a host name is the address of, if brokers have names here.
    pub(super) fn broker_of(&self, host: &str) -> Option<i32> {
        match &self.core.config.addresses {
            GatewayAddresses::Names(names) => names.pattern.id(host),
            GatewayAddresses::Brokers | GatewayAddresses::Gateway(_) => None,
        }
    }

    /// Serves a client after its handshake, until it goes.
    pub(super) async fn enter(
        &self,
        guest: Guest,
        address: SocketAddr,
        listener: usize,
        broker: Option<i32>,
    ) {
        let stream = guest.stream;
        let certificate = match self.principal(&stream) {
            Ok(certificate) => certificate,
            Err(NoPrincipal(name)) => {
                tracing::debug!(name, "no rule of ssl.principal.mapping.rules fits a certificate");
                return;
            }
        };
        let visitor = Visitor { listener, broker, address, certificate };
        connection::run(self.core.clone(), visitor, stream, self.stop.child_token()).await;
    }
    /// Who a client is by its certificate, if it showed one.
    fn principal(&self, stream: &Stream) -> Result<Option<Principal>, NoPrincipal> {
        let Stream::Server(stream) = stream else { return Ok(None) };
        let Some(certificate) = tls::client_certificate(stream) else { return Ok(None) };
        let name = distinguished_name::subject_of(certificate).ok_or(NoPrincipal(None))?;
        match self.core.config.principal_mapper.principal(&name) {
            Some(principal) => Ok(Some(principal)),
            None => Err(NoPrincipal(Some(name))),
        }
    }
}

/// A certificate's name that is nobody's: brokers end such a connection too.
struct NoPrincipal(Option<String>);
