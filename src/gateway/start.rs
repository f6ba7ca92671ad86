//! The start of a gateway: the first image, then the listeners.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::addresses::AddressBook;
use super::image::Followed;
use super::listener::Door;
use super::reception::Reception;
use super::relay::Ports;
use super::shared::SharedListener;
use super::upstream::{self, Wants};
use super::view::View;
use super::{Core, Gateway, StartError, admission, api_versions};
use crate::cluster::{ClusterImage, ImageHandle};
use crate::config::GatewayConfig;
use crate::net::ProcessCap;
use crate::telemetry::cluster_label;
use crate::{limits, net};

/// What the gateways of one process share.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    /// The cap of all connections.
    pub process: ProcessCap,
    /// The listeners that several clusters share, by name.
    pub shared: BTreeMap<String, Arc<SharedListener>>,
}

impl Surroundings {
    /// Those of a process as the system lets it be.
    pub(super) fn of_process() -> Surroundings {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let connections = admission::connections_of(files);
        tracing::info!(connections, ?files, "connections of clients that there may be");
        Surroundings { process: ProcessCap::new(connections), shared: BTreeMap::new() }
    }
}

pub(super) async fn start(
    config: GatewayConfig,
    surroundings: &Surroundings,
) -> Result<Gateway, StartError> {
    // First: whoever starts a gateway with certificates that can't be used hears of it at once.
    let mut receptions = Vec::new();
    for listener in &config.listeners {
        receptions.push(Reception::new(listener, usize::MAX).await?);
    }
    let tls = upstream::tls(&config.upstream).await?;
    let image = Followed::start(&config).await?;

    let core = Core::new(config, tls, image.session(), surroundings.process.clone());
    let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
    let listening = stop.clone().drop_guard();
    let door = Door::new(core.clone(), receptions, stop.clone(), connections.clone());
    let receptions = door.receptions().to_vec();
    let mut sockets = Vec::new();
    let mut listeners = BTreeMap::new();
    let mut ports = Vec::new();
    for (index, listener) in core.config.listeners.iter().enumerate() {
        let shared = surroundings.shared.get(&listener.name).filter(|_| listener.shared);
        let address = if let Some(shared) = shared {
            shared.bind()?
        } else {
            let fail = |error: String| StartError(format!("listener {}: {error}", listener.name));
            let socket = net::bind(&listener.bind).map_err(|error| fail(error.to_string()))?;
            let address = socket.local_addr().map_err(|error| fail(error.to_string()))?;
            sockets.push((index, socket));
            address
        };
        listeners.insert(listener.name.clone(), address);
        ports.push(address.port());
    }
    let relay = Ports::new(door.clone(), ports);
    let mut follower = Follower::new(core.clone(), image.images().clone(), relay);
    follower.publish();
    let mut followers = JoinSet::new();
    if let Some(tls) = &core.tls {
        followers.spawn(tls.clone().reload_on_change(stop.clone()));
    }
    followers.spawn(cluster_label::inherit(follower.run()));
    followers.spawn(cluster_label::inherit(api_versions::follow(core.clone())));
    for (index, socket) in sockets {
        tokio::spawn(door.clone().serve(socket, index, None));
    }
    for (index, listener) in core.config.listeners.iter().enumerate().filter(|(_, own)| own.shared)
    {
        if let Some(shared) = surroundings.shared.get(&listener.name) {
            shared.join(door.clone(), index);
        }
    }
    Ok(Gateway {
        core,
        receptions,
        listeners,
        image,
        followers,
        stop,
        _listening: listening,
        connections,
    })
}

/// Makes a view of every new image.
struct Follower {
    core: Arc<Core>,
    images: ImageHandle,
    changed: watch::Receiver<u64>,
    ports: Ports,
    /// The listeners whose brokers can't be reached, as was said.
    said: BTreeSet<String>,
}

impl Follower {
    fn new(core: Arc<Core>, images: ImageHandle, ports: Ports) -> Self {
        let changed = images.changed();
        Follower { core, images, changed, ports, said: BTreeSet::new() }
    }

    fn publish(&mut self) {
        self.changed.mark_unchanged();
        let image = self.images.load();
        let mut addresses: Vec<Arc<AddressBook>> = Vec::new();
        for (index, listener) in self.core.config.listeners.iter().enumerate() {
            let book = self.ports.book(index, listener, &image);
            // What did not change keeps its `Arc`: caches of answers look at it.
            let before = self.core.views.load();
            let same = before.addresses.get(index).filter(|before| ***before == book);
            addresses.push(same.map_or_else(|| Arc::new(book), Arc::clone));
        }
        let wants: Vec<Vec<Wants>> = addresses.iter().map(|book| wants(&image, book)).collect();
        self.say_what_can_not_be_reached(&wants);
        let before = self.core.views.load();
        let listeners = self.core.config.listeners.iter().zip(&wants).enumerate();
        let logins = listeners.map(|(index, (listener, wants))| {
            // While no broker is there it is as it was; until one has been, nobody can tell.
            let as_before = || before.logins.get(index).is_none_or(|login| *login);
            let of_brokers = wants.iter().any(|wants| wants.login);
            listener.protocol.has_login() || of_brokers || wants.is_empty() && as_before()
        });
        let logins = logins.collect();
        let without = self.ports.without_port();
        self.core.metrics.without_port(without);
        self.core.views.publish(View::new(image, addresses, logins));
    }

    /// Says once that brokers want TLS and there is nothing to speak it with.
    fn say_what_can_not_be_reached(&mut self, wants: &[Vec<Wants>]) {
        if self.core.tls.is_some() {
            return;
        }
        for (listener, wants) in self.core.config.listeners.iter().zip(wants) {
            if wants.iter().any(|wants| wants.tls) && self.said.insert(listener.name.clone()) {
                tracing::error!(
                    listener = %listener.name,
                    brokers = %listener.brokers,
                    "the brokers' listener speaks TLS, and {} is not set: only what is answered here \
                     is answered, nothing can be passed on",
                    upstream::TRUST_STORE
                );
            }
        }
    }

    async fn run(mut self) {
        loop {
            let without = self.ports.without_port() > 0;
            tokio::select! {
                changed = self.changed.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(limits::GATEWAY_PORT_RETRY), if without => {}
            }
            self.publish();
        }
    }
}

/// What the brokers' endpoints for the clients of these addresses want.
fn wants(image: &ClusterImage, book: &AddressBook) -> Vec<Wants> {
    let endpoints = image.brokers.values().filter_map(|broker| broker.endpoint(&book.listener));
    endpoints.map(|endpoint| Wants::of(&endpoint.protocol)).collect()
}
