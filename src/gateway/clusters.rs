//! One process in front of several clusters: each starts, serves and has its trouble by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::shared::SharedListener;
use super::start::{self, Surroundings};
use super::{Gateway, ImageState, StartError};
use crate::config::GatewayConfig;
use crate::telemetry::{cluster_label, names};
use crate::{limits, net};

/// How one cluster's gateway is.
#[derive(Debug)]
enum State {
    /// It waits for the first image.
    Starting,
    /// It can't start for now: why.
    Failed(String),
    Serving(Box<Gateway>),
    Stopped,
}

/// One of the clusters. Clones share it.
#[derive(Debug, Clone)]
pub struct Cluster {
    name: Option<Arc<str>>,
    state: Arc<Mutex<State>>,
    /// Its configuration, if it was read again.
    newest: Arc<Mutex<Option<GatewayConfig>>>,
}

/// Where a cluster's clients come in.
#[derive(Debug)]
pub struct Front {
    /// The cluster's name, where there are several.
    pub cluster: Option<Arc<str>>,
    /// The bound address of each listener.
    pub listeners: BTreeMap<String, std::net::SocketAddr>,
    /// The relay's address of each live broker, as clients are told it, by listener.
    pub brokers: BTreeMap<i32, BTreeMap<String, String>>,
}

impl Cluster {
    /// What `/readyz` calls it.
    pub fn title(&self) -> String {
        self.name.as_ref().map_or_else(|| "gateway".to_owned(), |name| format!("gateway {name}"))
    }

    /// Whether it is ready, and what an operator should know of it.
    pub fn report(&self) -> (bool, Option<String>) {
        let image = match &*self.state.lock() {
            State::Starting => {
                return (false, Some("waiting for the first image of the cluster".to_owned()));
            }
            State::Failed(reason) => return (false, Some(reason.clone())),
            State::Stopped => return (false, Some("stopping".to_owned())),
            State::Serving(gateway) => gateway.image(),
        };
        ImageState::report(&image)
    }

    fn is_serving(&self) -> bool {
        matches!(&*self.state.lock(), State::Serving(_))
    }

    fn failure(&self) -> Option<String> {
        match &*self.state.lock() {
            State::Failed(reason) => Some(reason.clone()),
            _ => None,
        }
    }

    fn front(&self) -> Option<Front> {
        match &*self.state.lock() {
            State::Serving(gateway) => Some(Front {
                cluster: self.name.clone(),
                listeners: gateway.listeners().clone(),
                brokers: gateway.brokers(),
            }),
            _ => None,
        }
    }
}

/// The gateways of a process.
#[derive(Debug)]
pub struct Gateways {
    clusters: Vec<Cluster>,
    /// The listeners that several clusters share, by name.
    shared: BTreeMap<String, Arc<SharedListener>>,
    /// Those that still start, and what follows them.
    tasks: JoinSet<()>,
    changed: watch::Sender<()>,
    stop: CancellationToken,
    /// Shared listeners end with this.
    _listening: DropGuard,
    connections: TaskTracker,
}

impl Gateways {
    /// Starts the gateway of each cluster. Returns when all serve, or, once that has taken longer than
    /// `zookeeper.connection.timeout.ms`, when one does: the others go on to try.
    ///
    /// # Errors
    /// None of them can start.
    pub async fn start(configs: Vec<GatewayConfig>) -> Result<Gateways, StartError> {
        let mut surroundings = Surroundings::of_process();
        let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
        let listening = stop.clone().drop_guard();
        for listener in configs.iter().flat_map(|config| &config.listeners) {
            if listener.shared && !surroundings.shared.contains_key(&listener.name) {
                let shared = SharedListener::new(
                    listener.clone(),
                    &surroundings.process,
                    stop.clone(),
                    connections.clone(),
                );
                surroundings.shared.insert(listener.name.clone(), shared.await?);
            }
        }
        let mut gateways = Gateways {
            clusters: Vec::new(),
            shared: surroundings.shared.clone(),
            tasks: JoinSet::new(),
            changed: watch::Sender::new(()),
            stop,
            _listening: listening,
            connections,
        };
        let patience = configs.iter().map(|config| config.zookeeper_connection_timeout).max();
        for config in configs {
            let name = config.cluster.clone();
            let cluster = Cluster {
                name: name.clone(),
                state: Arc::new(Mutex::new(State::Starting)),
                newest: Arc::default(),
            };
            gateways.clusters.push(cluster.clone());
            let keep =
                keep_serving(cluster, config, surroundings.clone(), gateways.changed.clone());
            gateways.tasks.spawn(cluster_label::within(name, keep));
        }
        gateways.wait(patience.unwrap_or_default()).await?;
        Ok(gateways)
    }

    /// Waits until there is something to serve.
    async fn wait(&self, patience: Duration) -> Result<(), StartError> {
        let mut changed = self.changed.subscribe();
        let alone = self.clusters.len() == 1;
        let patience = tokio::time::sleep(if alone { Duration::MAX } else { patience });
        tokio::pin!(patience);
        let mut patient = true;
        loop {
            let serving = self.clusters.iter().filter(|cluster| cluster.is_serving()).count();
            let failed: Vec<String> = self.clusters.iter().filter_map(Cluster::failure).collect();
            if failed.len() == self.clusters.len() {
                return Err(StartError(failed.join("; ")));
            }
            let rest = serving + failed.len() < self.clusters.len();
            if serving > 0 && (!patient || !rest) {
                return Ok(());
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = &mut patience, if patient => patient = false,
            }
        }
    }

    /// Other limits from now on, of the clusters that serve and of those that will. Connections above
    /// them stay.
    pub fn set_limits(&self, configs: &[&GatewayConfig]) {
        for config in configs {
            let of_name = |cluster: &&Cluster| cluster.name == config.cluster;
            if let Some(cluster) = self.clusters.iter().find(of_name) {
                *cluster.newest.lock() = Some(GatewayConfig::clone(config));
                if let State::Serving(gateway) = &*cluster.state.lock() {
                    gateway.set_limits(config);
                }
            }
            for listener in config.listeners.iter().filter(|listener| listener.shared) {
                if let Some(shared) = self.shared.get(&listener.name) {
                    shared.set_limits(listener);
                }
            }
        }
    }

    /// The clusters, whether they serve or not.
    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// Those that serve: where clients come in.
    pub fn fronts(&self) -> Vec<Front> {
        self.clusters.iter().filter_map(Cluster::front).collect()
    }

    /// Tells when [`Gateways::fronts`] may have changed.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Stops to accept, ends idle connections at once, and the others when what they are owed is
    /// answered, at most after `grace`.
    pub async fn shutdown(self, grace: Duration) {
        let Gateways { clusters, tasks, stop, connections, .. } = self;
        drop(tasks);
        let mut ending = JoinSet::new();
        for cluster in clusters {
            let state = std::mem::replace(&mut *cluster.state.lock(), State::Stopped);
            if let State::Serving(gateway) = state {
                ending.spawn(gateway.shutdown(grace));
            }
        }
        let left = net::drain(&stop, &connections, grace).await;
        if left > 0 {
            tracing::warn!(connections = left, "connections were cut at the end of the grace");
        }
        while ending.join_next().await.is_some() {}
    }
}

/// Starts a cluster's gateway, however long that takes, and tells of its changes.
async fn keep_serving(
    cluster: Cluster,
    config: GatewayConfig,
    surroundings: Surroundings,
    changed: watch::Sender<()>,
) {
    for family in ["doorkeeper_cluster_", "doorkeeper_gateway_"] {
        names::register(family);
    }
    let mut views = loop {
        match start::start(config.clone(), &surroundings).await {
            Ok(gateway) => {
                let views = gateway.views().changed();
                if let Some(newest) = &*cluster.newest.lock() {
                    gateway.set_limits(newest);
                }
                *cluster.state.lock() = State::Serving(Box::new(gateway));
                if let Some(name) = &cluster.name {
                    tracing::info!(cluster = %name, "the gateway serves a cluster");
                }
                break views;
            }
            Err(error) => {
                let reason = error.to_string();
                let said = cluster.failure().as_ref() == Some(&reason);
                if let Some(name) = cluster.name.as_ref().filter(|_| !said) {
                    tracing::error!(cluster = %name, %error, "no gateway for a cluster, trying on");
                }
                *cluster.state.lock() = State::Failed(reason);
                changed.send_replace(());
                tokio::time::sleep(limits::GATEWAY_PORT_RETRY).await;
            }
        }
    };
    changed.send_replace(());
    while views.changed().await.is_ok() {
        changed.send_replace(());
    }
}
