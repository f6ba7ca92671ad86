//! The front door of a cluster that it does not belong to: answers the metadata plane from the
//! znodes, passes everything else on to a real broker, and writes nothing.
//!
//! - [`start`]: from the first image to open listeners, and their end.
//! - [`image`]: the image of the cluster, followed and kept on disk.
//! - [`view`]: one image with the addresses that clients are told, in step.
//! - [`addresses`]: the addresses; in the relay, the ports of the brokers.
//! - [`answers`]: what is answered here, from a view (pure).
//! - `connection`: one client; `requests` reads what it asks, `questions` answers what can be
//!   answered here, `replies` writes what it is owed (`owed`), `upstream` is where the rest goes,
//!   `rewrite` puts addresses into what comes back.
//! - `logins` passes a client's login on; `login` follows it, `sasl` reads its messages. `own_login` is the
//!   gateway's own, by `scram` or PLAIN.
//! - `api_versions`: what is offered for the brokers; `missing`: what the image doesn't show;
//!   `exchange`: questions of the gateway's own.
//! - `described`: a broker's `Metadata` as `DescribeTopicPartitions`.
//! - `listener`, `reception` and `admission`: how a client comes in, and whether; `relay`: a port or a
//!   name for each broker.
//! - [`clusters`]: one gateway for several clusters; `shared`: a listener of several.

pub mod addresses;
mod admission;
pub mod answers;
mod api_versions;
pub mod clusters;
mod connection;
mod described;
mod exchange;
mod held;
mod image;
mod listener;
mod login;
mod logins;
mod metrics;
mod missing;
mod owed;
mod own_login;
mod produce;
mod questions;
mod reception;
mod relay;
mod replies;
mod requests;
mod rewrite;
mod sasl;
mod scram;
mod shared;
mod start;
mod upstream;
pub mod view;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::cluster::client::SharedSession;
use crate::config::GatewayConfig;
use crate::config::gateway::GatewayAddresses;
use crate::net;
use crate::net::ProcessCap;
use crate::net::tls::connect::TlsClient;
use admission::Admission;
use answers::Answers;
use api_versions::{Rules, Versions};
use image::Followed;
pub use image::ImageState;
use metrics::GatewayMetrics;
use missing::MissingTopics;
use own_login::OwnLogin;
use reception::Reception;
use start::Surroundings;
use view::ViewHandle;

/// Why a gateway did not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// What every connection of a gateway shares.
#[derive(Debug)]
struct Core {
    config: GatewayConfig,
    admission: Admission,
    /// TLS towards brokers, where it can be spoken.
    tls: Option<Arc<TlsClient>>,
    /// The gateway's own login at brokers, if it has one.
    login: Option<OwnLogin>,
    /// Whether a broker refused that login when it was last tried.
    login_refused: AtomicBool,
    views: ViewHandle,
    answers: Answers,
    versions: Versions,
    missing: MissingTopics,
    metrics: GatewayMetrics,
    /// Whole requests that are held.
    requests_held: Arc<Semaphore>,
    /// Whole answers that are held: a budget of their own, so that requests which wait for answers
    /// can't keep them from coming.
    answers_held: Arc<Semaphore>,
}

impl Core {
    fn new(
        config: GatewayConfig,
        tls: Option<Arc<TlsClient>>,
        session: SharedSession,
        process: ProcessCap,
    ) -> Arc<Core> {
        let relays = config.addresses != GatewayAddresses::Brokers;
        let rules = Rules::new(&config.refuse_apis, relays);
        Arc::new(Core {
            login: config.upstream.login.as_ref().map(OwnLogin::new),
            login_refused: AtomicBool::new(false),
            admission: Admission::new(&config, process),
            config,
            tls,
            views: ViewHandle::default(),
            answers: Answers::default(),
            versions: Versions::new(rules),
            missing: MissingTopics::new(session),
            metrics: GatewayMetrics::default(),
            requests_held: held::budget(),
            answers_held: held::budget(),
        })
    }

    /// The login that upstreams of a listener's clients have where brokers want one: the gateway's own,
    /// unless the clients log in themselves.
    fn own_login(&self, listener: usize) -> Option<&OwnLogin> {
        let listener = self.config.listeners.get(listener)?;
        self.login.as_ref().filter(|_| !listener.protocol.has_login())
    }

    /// Says once that a broker does not take the gateway's login, and once that one does again.
    fn own_login_went(&self, broker: i32, error: Option<&std::io::Error>) {
        match error {
            Some(error) if !self.login_refused.swap(true, Relaxed) => {
                tracing::error!(broker, %error, "a broker does not take the gateway's own login");
            }
            Some(error) => tracing::debug!(broker, %error, "no login of the gateway's own"),
            None if self.login_refused.swap(false, Relaxed) => {
                tracing::info!(broker, "the gateway's own login is taken again");
            }
            None => {}
        }
    }

    /// Whether clients are told the gateway's addresses.
    fn relays(&self) -> bool {
        self.config.addresses != GatewayAddresses::Brokers
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    core: Arc<Core>,
    /// In the order of `listeners` in the configuration.
    receptions: Vec<Reception>,
    listeners: BTreeMap<String, SocketAddr>,
    image: Followed,
    /// What goes on beside the connections.
    followers: JoinSet<()>,
    stop: CancellationToken,
    /// A gateway that is dropped does not go on listening.
    _listening: DropGuard,
    connections: TaskTracker,
}

impl Gateway {
    /// Follows the cluster, and serves as soon as the first image is complete, however long that
    /// takes: until then its listeners are closed.
    ///
    /// # Errors
    /// A listener can't be had.
    pub async fn start(config: GatewayConfig) -> Result<Gateway, StartError> {
        start::start(config, &Surroundings::of_process()).await
    }

    /// Other limits from now on; connections above them stay. Of the configuration nothing else counts.
    fn set_limits(&self, config: &GatewayConfig) {
        self.core.admission.set(config);
        self.core.metrics.connections_max(self.core.admission.cap());
        for (reception, own) in self.receptions.iter().zip(&self.core.config.listeners) {
            if let Some(listener) = config.listeners.iter().find(|other| other.name == own.name) {
                reception.set_limits(listener);
            }
        }
    }

    /// Where clients of each listener are told that each live broker is, if that is here.
    pub fn brokers(&self) -> BTreeMap<i32, BTreeMap<String, String>> {
        let view = self.core.views.load();
        let mut brokers: BTreeMap<i32, BTreeMap<String, String>> = BTreeMap::new();
        for (listener, book) in self.core.config.listeners.iter().zip(&view.addresses) {
            let relay = book.relay.iter().flatten().filter(|(id, _)| view.image.is_alive(**id));
            for (id, address) in relay {
                let told = format!("{}:{}", address.host, address.port);
                brokers.entry(*id).or_default().insert(listener.name.clone(), told);
            }
        }
        brokers
    }

    /// The bound address of each listener, by name.
    pub fn listeners(&self) -> &BTreeMap<String, SocketAddr> {
        &self.listeners
    }

    /// The cluster as clients are told of it.
    pub fn views(&self) -> &ViewHandle {
        &self.core.views
    }

    /// How the image is that it answers from, for `/readyz`.
    pub fn image(&self) -> ImageState {
        self.image.state()
    }

    /// Stops to accept, ends idle connections at once, and the others when what they are owed is
    /// answered, at most after `grace`.
    pub async fn shutdown(self, grace: Duration) {
        drop(self.followers);
        self.image.end().await;
        let left = net::drain(&self.stop, &self.connections, grace).await;
        if left > 0 {
            tracing::warn!(connections = left, "connections were cut at the end of the grace");
        }
    }
}
