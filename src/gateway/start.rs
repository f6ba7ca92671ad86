//! The start of a gateway: the first image, then the listeners.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::addresses::AddressBook;
use super::answers::Answers;
use super::image::Followed;
use super::listener::Door;
use super::view::{View, ViewHandle};
use super::{Core, Gateway, StartError};
use crate::cluster::ImageHandle;
use crate::config::GatewayConfig;
use crate::net;

pub(super) async fn start(config: GatewayConfig) -> Result<Gateway, StartError> {
    let image = Followed::start(&config).await?;

    let core = Arc::new(Core { config, views: ViewHandle::default(), answers: Answers::default() });
    let mut follower = Follower::new(core.clone(), image.images().clone());
    follower.publish();
    let follower = tokio::spawn(follower.run());

    let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
    let listening = stop.clone().drop_guard();
    let door = Door::new(core.clone(), stop.clone(), connections.clone());
    let mut listeners = BTreeMap::new();
    for (index, listener) in core.config.listeners.iter().enumerate() {
        let socket = net::bind(&listener.bind)
            .map_err(|error| StartError(format!("listener {}: {error}", listener.name)))?;
        let address = socket
            .local_addr()
            .map_err(|error| StartError(format!("listener {}: {error}", listener.name)))?;
        listeners.insert(listener.name.clone(), address);
        tokio::spawn(door.clone().serve(socket, index, None));
    }
    Ok(Gateway { core, listeners, image, follower, stop, _listening: listening, connections })
}

/// Makes a view of every new image.
struct Follower {
    core: Arc<Core>,
    images: ImageHandle,
    changed: tokio::sync::watch::Receiver<u64>,
}

impl Follower {
    fn new(core: Arc<Core>, images: ImageHandle) -> Self {
        let changed = images.changed();
        Follower { core, images, changed }
    }

    fn publish(&mut self) {
        self.changed.mark_unchanged();
        let listeners = self.core.config.listeners.iter();
        let addresses = listeners
            .map(|listener| {
                let listener = Arc::from(listener.brokers.as_str());
                Arc::new(AddressBook { listener, relay: None })
            })
            .collect();
        self.core.views.publish(View { image: self.images.load(), addresses });
    }

    async fn run(mut self) {
        while self.changed.changed().await.is_ok() {
            self.publish();
        }
    }
}
