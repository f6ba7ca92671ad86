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
use super::relay::Ports;
use super::upstream::{self, Wants};
use super::view::View;
use super::{Core, Gateway, StartError, api_versions};
use crate::cluster::{ClusterImage, ImageHandle};
use crate::config::GatewayConfig;
use crate::config::gateway::GatewayAddresses;
use crate::net::tls::TlsServer;
use crate::{limits, net};

pub(super) async fn start(config: GatewayConfig) -> Result<Gateway, StartError> {
    // First: whoever starts a gateway with certificates that can't be used hears of it at once.
    let mut listeners_tls = Vec::new();
    for listener in &config.listeners {
        listeners_tls.push(match listener.tls.clone() {
            Some(config) => Some(
                TlsServer::read(config)
                    .await
                    .map_err(|error| StartError(format!("listener {}: {error}", listener.name)))?,
            ),
            None => None,
        });
    }
    let tls = upstream::tls(&config.upstream).await?;
    let image = Followed::start(&config).await?;

    let core = Core::new(config, tls, image.session());
    let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
    let listening = stop.clone().drop_guard();
    let door = Door::new(core.clone(), listeners_tls, stop.clone(), connections.clone());
    let mut sockets = Vec::new();
    let mut listeners = BTreeMap::new();
    for listener in &core.config.listeners {
        let fail = |error: String| StartError(format!("listener {}: {error}", listener.name));
        let socket = net::bind(&listener.bind).map_err(|error| fail(error.to_string()))?;
        let address = socket.local_addr().map_err(|error| fail(error.to_string()))?;
        listeners.insert(listener.name.clone(), address);
        sockets.push(socket);
    }
    let mut follower = Follower::new(core.clone(), image.images().clone(), door.clone());
    follower.publish();
    let mut followers = JoinSet::new();
    if let Some(tls) = &core.tls {
        followers.spawn(tls.clone().reload_on_change(stop.clone()));
    }
    followers.spawn(follower.run());
    followers.spawn(api_versions::follow(core.clone()));
    for (index, socket) in sockets.into_iter().enumerate() {
        tokio::spawn(door.clone().serve(socket, index, None));
    }
    Ok(Gateway { core, listeners, image, followers, stop, _listening: listening, connections })
}

/// Makes a view of every new image.
struct Follower {
    core: Arc<Core>,
    images: ImageHandle,
    changed: watch::Receiver<u64>,
    ports: Option<Ports>,
    /// The listeners whose brokers can't be reached, as was said.
    said: BTreeSet<String>,
}

impl Follower {
    fn new(core: Arc<Core>, images: ImageHandle, door: Door) -> Self {
        let changed = images.changed();
        let ports = match &core.config.addresses {
            GatewayAddresses::Brokers => None,
            GatewayAddresses::Gateway(relay) => Some(Ports::new(relay.clone(), door)),
        };
        Follower { core, images, changed, ports, said: BTreeSet::new() }
    }

    fn publish(&mut self) {
        self.changed.mark_unchanged();
        let image = self.images.load();
        let mut addresses: Vec<Arc<AddressBook>> = Vec::new();
        for (index, listener) in self.core.config.listeners.iter().enumerate() {
            let book = match &mut self.ports {
                None => AddressBook { listener: listener.brokers.as_str().into(), relay: None },
                Some(ports) => ports.book(index, listener, &image),
            };
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
        let without = self.ports.as_ref().map_or(0, Ports::without_port);
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
            let without = self.ports.as_ref().is_some_and(|ports| ports.without_port() > 0);
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
