//! The front door of a cluster that it does not belong to: answers the metadata plane from the
//! znodes, passes everything else on to a real broker, and writes nothing.
//!
//! - [`start`]: from the first image to open listeners, and their end.
//! - [`image`]: the image of the cluster, followed and kept on disk.
//! - [`view`]: one image with the addresses that clients are told, in step.
//! - [`addresses`]: the addresses; in the relay, the ports of the brokers.
//! - [`answers`]: what is answered here, from a view (pure).
//! - [`connection`]: one client, and its upstream.

pub mod addresses;
pub mod answers;
mod connection;
mod image;
mod listener;
mod start;
pub mod view;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::config::GatewayConfig;
use crate::net;
use answers::Answers;
use image::Followed;
pub use image::ImageState;
use view::ViewHandle;

/// Why a gateway did not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// What every connection of a gateway shares.
#[derive(Debug)]
struct Core {
    config: GatewayConfig,
    views: ViewHandle,
    answers: Answers,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    core: Arc<Core>,
    listeners: BTreeMap<String, SocketAddr>,
    image: Followed,
    follower: JoinHandle<()>,
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
        start::start(config).await
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
        self.follower.abort();
        self.image.end().await;
        let left = net::drain(&self.stop, &self.connections, grace).await;
        if left > 0 {
            tracing::warn!(connections = left, "connections were cut at the end of the grace");
        }
    }
}
