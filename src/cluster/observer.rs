//! Znodes and watches in, images out.
//!
//! A session of its own follows the cluster. Persistent recursive watches tell what changed; only
//! that is read again, and what changes while a read is under way is read together afterwards.
//! Persistent watches do not tell what was missed while the connection was away, and the client
//! forgets them at a reconnect: after each one the watches are set anew, and then everything is
//! read. While the coordinator is away the last image stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use metrics::gauge;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use zookeeper_client::{
    AddWatchMode, Client, Error, EventType, PersistentWatcher, SessionState, StateWatcher,
};

use super::builder::ImageBuilder;
use super::client::Coordinator;
use super::handle::ImageHandle;
use super::layout::paths;
use super::reader;
use crate::limits;

/// Follows the cluster until it is dropped.
#[derive(Debug)]
pub struct Observer {
    task: JoinHandle<()>,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Observer {
    /// Starts to follow the cluster, and publishes to `images`. `first` is a session that is there
    /// already; later ones are made when it is gone.
    pub fn start(coordinator: Coordinator, first: Option<Client>, images: ImageHandle) -> Self {
        let metrics = images.downgrade();
        crate::telemetry::on_scrape(Box::new(move || {
            metrics.upgrade().iter().for_each(report);
        }));
        Observer { task: tokio::spawn(follow(coordinator, first, images)) }
    }
}

/// One session after the other.
async fn follow(coordinator: Coordinator, mut first: Option<Client>, images: ImageHandle) {
    let mut backoff = limits::SESSION_BACKOFF_MIN;
    let mut away = Away { coordinator: coordinator.connect.clone(), said: false };
    loop {
        let client = match first.take() {
            Some(client) => Ok(client),
            None => coordinator.connect().await,
        };
        match client {
            Ok(client) => {
                backoff = limits::SESSION_BACKOFF_MIN;
                let error = follow_session(&client, &images, &mut away).await;
                tracing::debug!(%error, "observing session ended");
            }
            Err(error) => away.lost(&error, &images),
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(limits::SESSION_BACKOFF_MAX);
    }
}

/// Says once that the coordinator is away, and once that it is back.
struct Away {
    coordinator: String,
    said: bool,
}

impl Away {
    fn lost(&mut self, error: &Error, images: &ImageHandle) {
        images.set_connected(false);
        if !self.said && images.load().version > 0 {
            self.said = true;
            let coordinator = &self.coordinator;
            tracing::warn!(coordinator, %error, "coordinator away: serving the last image");
        }
    }

    fn back(&mut self, images: &ImageHandle) {
        images.set_connected(true);
        if std::mem::take(&mut self.said) {
            tracing::info!("coordinator is back: the image is current again");
        }
    }
}

/// Follows one session, through its reconnects, until it is over.
async fn follow_session(client: &Client, images: &ImageHandle, away: &mut Away) -> Error {
    let mut state = client.state_watcher();
    let mut watches = None;
    loop {
        let error = match state.state() {
            SessionState::SyncConnected => {
                match follow_connection(client, &mut state, &mut watches, images, away).await {
                    Ok(()) => Error::ConnectionLoss,
                    Err(error) => error,
                }
            }
            SessionState::Disconnected => Error::ConnectionLoss,
            _ => return Error::SessionExpired,
        };
        if client.state() == SessionState::SyncConnected {
            // The connection is there, so the error is of another kind: not in a tight loop.
            tracing::debug!(%error, "following the znodes failed, starting over");
            tokio::time::sleep(limits::SESSION_BACKOFF_MIN).await;
            continue;
        }
        away.lost(&error, images);
        if state.peek_state() == SessionState::Disconnected && state.changed().await.is_terminated()
        {
            return Error::SessionExpired;
        }
    }
}

/// Sets the watches, reads everything, then reads again what changes. Ends without an error when
/// the connection changed, after which all must be done again.
async fn follow_connection(
    client: &Client,
    state: &mut StateWatcher,
    watches: &mut Option<Watches>,
    images: &ImageHandle,
    away: &mut Away,
) -> Result<(), Error> {
    let dirty = Arc::new(Dirty::default());
    // The old ones go only now: dropped earlier they would take the new ones with them.
    *watches = Some(Watches::set(client, &dirty).await?);
    let previous = images.load();
    let mut builder = ImageBuilder::new(&previous);
    reader::read_everything(client, &mut builder).await?;
    publish(builder, images);
    away.back(images);
    loop {
        tokio::select! {
            _ = state.changed() => return Ok(()),
            () = dirty.notify.notified() => {}
        }
        let changes = std::mem::take(&mut *dirty.changes.lock());
        if changes.is_empty() {
            continue;
        }
        let previous = images.load();
        let mut builder = ImageBuilder::new(&previous);
        apply(client, &mut builder, changes).await?;
        publish(builder, images);
    }
}

fn publish(builder: ImageBuilder, images: &ImageHandle) {
    let (image, problems) = builder.finish();
    for problem in problems {
        tracing::warn!(problem, "znode not understood: passed over");
    }
    if let Some(image) = image {
        images.publish(image);
    }
}

/// Reads again what changed.
async fn apply(client: &Client, builder: &mut ImageBuilder, changes: Changes) -> Result<(), Error> {
    if changes.cluster_id {
        builder.cluster_id(reader::read(client, paths::CLUSTER_ID).await?.as_ref());
    }
    if changes.controller {
        let (controller, epoch) = tokio::try_join!(
            reader::read(client, paths::CONTROLLER),
            reader::read(client, paths::CONTROLLER_EPOCH),
        )?;
        builder.controller(controller.as_ref(), epoch.as_ref());
    }
    reader::read_brokers(client, builder, &changes.brokers).await?;
    reader::read_topic_configs(client, builder, &changes.topic_configs).await?;
    reader::read_broker_configs(client, builder, &changes.broker_configs).await?;
    reader::read_deleting(client, builder, &changes.deleting).await?;
    reader::read_topics(client, builder, &changes.topics).await?;
    let mut partitions = changes.partitions;
    partitions.retain(|(topic, _)| !changes.topics.contains(topic));
    reader::read_partitions(client, builder, &partitions).await
}

/// What the watches named since it was last read. A set, so it is bounded by the cluster's size.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    cluster_id: bool,
    controller: bool,
    brokers: BTreeSet<i32>,
    topics: BTreeSet<String>,
    partitions: BTreeSet<(String, i32)>,
    topic_configs: BTreeSet<String>,
    broker_configs: BTreeSet<String>,
    deleting: BTreeSet<String>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    fn note(&mut self, path: &str) -> bool {
        match paths::Znode::parse(path) {
            None => return false,
            Some(paths::Znode::ClusterId) => self.cluster_id = true,
            Some(paths::Znode::Controller) => self.controller = true,
            Some(paths::Znode::Broker(id)) => _ = self.brokers.insert(id),
            Some(paths::Znode::Topic(name)) => _ = self.topics.insert(name.to_owned()),
            Some(paths::Znode::PartitionState(name, partition)) => {
                _ = self.partitions.insert((name.to_owned(), partition));
            }
            Some(paths::Znode::TopicConfig(name)) => {
                _ = self.topic_configs.insert(name.to_owned());
            }
            Some(paths::Znode::BrokerConfig(entity)) => {
                _ = self.broker_configs.insert(entity.to_owned());
            }
            Some(paths::Znode::DeleteTopic(name)) => _ = self.deleting.insert(name.to_owned()),
        }
        true
    }
}

#[derive(Debug, Default)]
struct Dirty {
    changes: Mutex<Changes>,
    notify: Notify,
}

/// What is watched, each with all below it.
const WATCHED: [&str; 8] = [
    paths::CONTROLLER,
    paths::CONTROLLER_EPOCH,
    paths::CLUSTER_ID,
    paths::BROKER_IDS,
    paths::TOPICS,
    paths::TOPIC_CONFIGS,
    paths::BROKER_CONFIGS,
    paths::DELETE_TOPICS,
];

/// The watches of one connection, each drained by a task, since the client's queue has no bound.
struct Watches {
    _drains: JoinSet<()>,
}

impl Watches {
    async fn set(client: &Client, dirty: &Arc<Dirty>) -> Result<Watches, Error> {
        // All are sent before the first answer is waited for.
        let watches = WATCHED.map(|path| client.watch(path, AddWatchMode::PersistentRecursive));
        let mut drains = JoinSet::new();
        for watch in watches {
            drains.spawn(drain(watch.await?, dirty.clone()));
        }
        Ok(Watches { _drains: drains })
    }
}

async fn drain(mut watcher: PersistentWatcher, dirty: Arc<Dirty>) {
    loop {
        let event = watcher.changed().await;
        if event.event_type == EventType::Session {
            if event.session_state.is_terminated() {
                return;
            }
        } else if dirty.changes.lock().note(&event.path) {
            dirty.notify.notify_one();
        }
    }
}

/// Sets the cluster's gauges.
fn report(images: &ImageHandle) {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let set = |name: &'static str, value: usize| gauge!(name).set(value as f64);
    let image = images.load();
    gauge!("doorkeeper_cluster_image_age_seconds").set(images.age().as_secs_f64());
    set("doorkeeper_cluster_coordinator_connected", usize::from(images.connected()));
    set("doorkeeper_cluster_brokers", image.brokers.len());
    set("doorkeeper_cluster_topics", image.visible_topics().count());
    let partitions = image.visible_topics().map(|topic| topic.partitions.len()).sum();
    set("doorkeeper_cluster_partitions", partitions);
    set("doorkeeper_cluster_leaderless_partitions", image.leaderless_partitions());
}
