//! What a member of the cluster adds: registration, controller, partition logs and producer ids.

mod controller;
mod failure;
pub mod groups;
mod listeners;
pub mod log;
mod membership;
pub mod partitions;
pub mod producer_ids;
mod registration;
mod session_file;
mod start;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::cluster::observer::Observer;
use crate::cluster::{ClusterAdmin, ConfigMap, ImageHandle, TopicConfig};
use crate::config::BrokerConfig;
use crate::net;
use controller::Controller;
use failure::Failure;
use membership::Membership;
use partitions::Follower;

use groups::coordinator::{Following, GroupCoordinator};
use log::LogManager;
pub use partitions::{LedPartition, PartitionManager};
pub use producer_ids::ProducerIds;

/// What every Kafka handler gets.
#[derive(Debug)]
pub struct BrokerContext {
    /// What the broker was started with.
    pub config: Arc<BrokerConfig>,
    /// This broker's id.
    pub id: i32,
    /// The cluster as this broker knows it.
    pub image: ImageHandle,
    /// Writes to the cluster.
    pub admin: ClusterAdmin,
    /// The partitions that this broker leads.
    pub partitions: PartitionManager,
    /// The groups that this broker coordinates.
    pub groups: GroupCoordinator,
    /// Producer ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// Every log of this broker, led or not.
    pub logs: Arc<LogManager>,
}

impl BrokerContext {
    /// Whether this broker is the cluster's controller, as far as its image knows.
    pub fn is_controller(&self) -> bool {
        self.image.load().controller_id() == self.id
    }

    /// The values in force for a topic here; for one that is unknown, those that it would get.
    pub fn topic_config(&self, topic: &str) -> TopicConfig {
        let image = self.image.load();
        let empty = ConfigMap::new();
        let own = image.topic_configs.get(topic).map_or(&empty, AsRef::as_ref);
        TopicConfig::resolve(own, &image, self.id, &self.config.topic_defaults)
    }
}

/// Why a broker did not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    context: Arc<BrokerContext>,
    listeners: BTreeMap<String, SocketAddr>,
    failure: Failure,
    membership: Membership,
    controller: Controller,
    observer: Observer,
    follower: Follower,
    groups: Following,
    stop: CancellationToken,
    /// A broker that is dropped, as in a start that fails after it, does not go on listening.
    _listening: DropGuard,
    connections: TaskTracker,
}

impl Broker {
    /// Connects, registers and serves. Returns when its listeners serve, it is in its own image
    /// and the controller is known.
    ///
    /// # Errors
    /// One clear line: the coordinator can't be reached, the id is taken, the cluster's id differs,
    /// Apache brokers are in the cluster, a listener or log directory can't be had.
    pub async fn start(config: BrokerConfig) -> Result<Broker, StartError> {
        start::start(config).await
    }

    /// This broker's id.
    pub fn id(&self) -> i32 {
        self.context.id
    }

    /// The bound address of each listener, by name.
    pub fn listeners(&self) -> &BTreeMap<String, SocketAddr> {
        &self.listeners
    }

    /// What its handlers get.
    pub fn context(&self) -> &Arc<BrokerContext> {
        &self.context
    }

    /// Resolves, with the reason, once the broker can't go on: the process must end with code 1.
    pub async fn failed(&self) -> String {
        tokio::select! {
            reason = self.failure.reason() => reason,
            reason = self.context.logs.failed() => reason,
        }
    }

    /// Closes its session first, so that the registration is gone, then drains within `grace`, and
    /// closes the logs.
    pub async fn shutdown(self, grace: Duration) {
        let Broker {
            context,
            membership,
            controller,
            observer,
            follower,
            groups,
            stop,
            connections,
            ..
        } = self;
        drop(controller);
        drop(follower);
        drop(groups);
        membership.leave().await;
        drop(observer);
        let left = net::drain(&stop, &connections, grace).await;
        if left > 0 {
            tracing::warn!(connections = left, "connections were cut at the end of the grace");
        }
        let logs = context.logs.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || logs.shutdown()).await {
            tracing::error!(%error, "the logs were not closed cleanly");
        }
    }
}
