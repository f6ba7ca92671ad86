//! The partitions that this broker leads: follows the images, opens logs, applies configuration,
//! removes what is to be deleted.
//!
//! A log is removed only for a topic id that stood in `/admin/delete_topics` while the topic was
//! there. One whose topic is merely gone from the znodes stays and is named in a WARN, so that a
//! coordinator that lost its data takes no records with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use parking_lot::{Mutex, RwLock};
use tokio::task::JoinHandle;
use uuid::Uuid;
use zookeeper_client::Error;

use super::log::{LogConfig, LogManager, PartitionLog};
use crate::cluster::client::SharedSession;
use crate::cluster::layout::{paths, topic::id_text};
use crate::cluster::{ClusterImage, ImageHandle, TopicConfig, TopicImage};
use crate::config::BrokerConfig;

/// How soon a removal that could not be reported to the controller is reported again.
const REPORT_AGAIN: Duration = Duration::from_millis(500);

/// A partition that this broker leads.
#[derive(Debug, Clone)]
pub struct LedPartition {
    /// The topic as the image had it that the request was served from.
    pub topic: Arc<TopicImage>,
    /// The partition's number.
    pub partition: i32,
    /// The leader epoch.
    pub leader_epoch: i32,
    /// Its log.
    pub log: Arc<PartitionLog>,
}

/// Finds the partitions that this broker leads.
#[derive(Debug, Clone)]
pub struct PartitionManager {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    broker: i32,
    config: Arc<BrokerConfig>,
    images: ImageHandle,
    logs: Arc<LogManager>,
    /// Open logs of led partitions by topic id and number.
    open: RwLock<HashMap<(Uuid, i32), OpenLog>>,
    /// Held while a log is opened or removed: neither works from an image that the other has left
    /// behind.
    changing: Mutex<()>,
}

/// A log with the newest leader epoch that it knows.
type OpenLog = (i32, Arc<PartitionLog>);

impl PartitionManager {
    /// Finds partitions in these images and their logs in this manager.
    pub fn new(
        broker: i32,
        config: Arc<BrokerConfig>,
        images: ImageHandle,
        logs: Arc<LogManager>,
    ) -> Self {
        let open = RwLock::default();
        let changing = Mutex::default();
        PartitionManager {
            shared: Arc::new(Shared { broker, config, images, logs, open, changing }),
        }
    }

    /// The partition of this name, if this broker leads it. `leader_epoch` is what the client
    /// believes, −1 if it does not say. Opens the log if it is not open yet.
    ///
    /// # Errors
    /// As Kafka: `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER`, `FENCED_LEADER_EPOCH`,
    /// `UNKNOWN_LEADER_EPOCH`, `KAFKA_STORAGE_ERROR`.
    pub fn led(
        &self,
        topic: &str,
        partition: i32,
        leader_epoch: i32,
    ) -> Result<LedPartition, ResponseError> {
        let image = self.shared.images.load();
        let topic = image.topic(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
        self.shared.led(topic, partition, leader_epoch)
    }

    /// The same by topic id.
    ///
    /// # Errors
    /// As for [`PartitionManager::led`], but an unknown id is `UNKNOWN_TOPIC_ID`.
    pub fn led_by_id(
        &self,
        topic_id: Uuid,
        partition: i32,
        leader_epoch: i32,
    ) -> Result<LedPartition, ResponseError> {
        let image = self.shared.images.load();
        let topic = image.topic_by_id(topic_id).ok_or(ResponseError::UnknownTopicId)?;
        self.shared.led(topic, partition, leader_epoch)
    }

    /// Follows the images until the follower is dropped. Removals are reported to the controller
    /// through `session`.
    pub(super) fn follow(&self, session: SharedSession) -> Follower {
        let follow = Follow {
            shared: self.shared.clone(),
            session,
            last: Arc::default(),
            orphans: HashSet::new(),
            removed: Vec::new(),
        };
        Follower(tokio::spawn(follow.run()))
    }
}

/// The task that follows the images.
#[derive(Debug)]
pub(super) struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    fn led(
        &self,
        topic: &Arc<TopicImage>,
        partition: i32,
        leader_epoch: i32,
    ) -> Result<LedPartition, ResponseError> {
        let unknown = ResponseError::UnknownTopicOrPartition;
        let state = topic.partitions.get(&partition).ok_or(unknown)?;
        if state.leader != self.broker || topic.id.is_nil() {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        if leader_epoch >= 0 && leader_epoch < state.leader_epoch {
            return Err(ResponseError::FencedLeaderEpoch);
        }
        if leader_epoch > state.leader_epoch {
            return Err(ResponseError::UnknownLeaderEpoch);
        }
        let known = self.open.read().get(&(topic.id, partition)).cloned();
        let log = match known {
            Some((epoch, log)) if epoch >= state.leader_epoch => log,
            _ => self.open_log(topic, partition)?,
        };
        let leader_epoch = state.leader_epoch;
        Ok(LedPartition { topic: topic.clone(), partition, leader_epoch, log })
    }

    /// Opens or makes the log of a partition that the newest image says is led here.
    fn open_log(
        &self,
        topic: &TopicImage,
        partition: i32,
    ) -> Result<Arc<PartitionLog>, ResponseError> {
        let _changing = self.changing.lock();
        let image = self.images.load();
        let newest = image.topic_by_id(topic.id).filter(|newest| newest.name == topic.name);
        let newest = newest.ok_or(ResponseError::UnknownTopicOrPartition)?;
        let state = newest.partitions.get(&partition).filter(|s| s.leader == self.broker);
        let epoch = state.ok_or(ResponseError::NotLeaderOrFollower)?.leader_epoch;
        let opened = self
            .logs
            .get_or_create(&newest.name, newest.id, partition, &self.log_config(&image, newest))
            .and_then(|log| log.begin_leader_epoch(epoch).map(|()| log));
        let log = opened.map_err(|error| {
            tracing::error!(topic = &*newest.name, partition, %error, "log can't be opened");
            error.code()
        })?;
        self.open.write().insert((newest.id, partition), (epoch, log.clone()));
        Ok(log)
    }

    fn log_config(&self, image: &ClusterImage, topic: &TopicImage) -> LogConfig {
        let defaults = &self.config.topic_defaults;
        let config = TopicConfig::resolve(&topic.config, image, self.broker, defaults);
        LogConfig::from_properties(config.values()).unwrap_or_else(|error| {
            tracing::warn!(topic = &*topic.name, %error, "topic configuration not understood");
            LogConfig::default()
        })
    }

    /// Opens the logs of every partition of a topic that is led here, so that the first record
    /// does not wait for it.
    fn open_topic(&self, topic: &TopicImage) {
        for (partition, state) in &topic.partitions {
            let known = self.open.read().get(&(topic.id, *partition)).map(|(epoch, _)| *epoch);
            let led = state.leader == self.broker && !topic.id.is_nil();
            if led && known.is_none_or(|epoch| epoch < state.leader_epoch) {
                // Logged where it fails; a request tries again.
                let _ = self.open_log(topic, *partition);
            }
        }
    }

    /// Removes the logs of a topic that stands in `/admin/delete_topics`.
    fn remove_topic(&self, topic: &TopicImage) -> bool {
        let _changing = self.changing.lock();
        self.open.write().retain(|(id, _), _| *id != topic.id);
        match self.logs.delete_topic(&topic.name, topic.id) {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(topic = &*topic.name, %error, "logs can't be removed");
                false
            }
        }
    }

    /// Forgets the open logs that are not led here any more. The files stay.
    fn close_others(&self, image: &ClusterImage) {
        self.open.write().retain(|(id, partition), _| {
            let topic = image.topic_by_id(*id);
            let state = topic.and_then(|topic| topic.partitions.get(partition));
            state.is_some_and(|state| state.leader == self.broker)
        });
    }
}

/// Nobody knows how long the records of a topic that is gone were to be kept.
fn kept_for_ever() -> LogConfig {
    LogConfig { retention_ms: -1, retention_bytes: -1, ..LogConfig::default() }
}

/// A removal that the controller waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Removed {
    topic: Arc<str>,
    id: Uuid,
}

struct Follow {
    shared: Arc<Shared>,
    session: SharedSession,
    /// The image that was applied last.
    last: Arc<ClusterImage>,
    /// Topic ids whose logs were named in a WARN.
    orphans: HashSet<Uuid>,
    /// Removals to report.
    removed: Vec<Removed>,
}

impl Follow {
    async fn run(mut self) {
        let mut changed = self.shared.images.changed();
        loop {
            changed.mark_unchanged();
            let image = self.shared.images.load();
            if image.version > self.last.version {
                let applied = tokio::task::spawn_blocking(move || {
                    self.apply(image);
                    self
                });
                match applied.await {
                    Ok(follow) => self = follow,
                    Err(error) => {
                        tracing::error!(%error, "following the image failed");
                        return;
                    }
                }
            }
            self.report_removed().await;
            if self.removed.is_empty() {
                if changed.changed().await.is_err() {
                    return;
                }
            } else {
                let _ = tokio::time::timeout(REPORT_AGAIN, changed.changed()).await;
            }
        }
    }

    /// Brings the logs to what an image says. Blocks on files.
    fn apply(&mut self, image: Arc<ClusterImage>) {
        self.remove_deleted(&image);
        let same_topics = Arc::ptr_eq(&self.last.topics, &image.topics);
        if !same_topics {
            for topic in image.visible_topics() {
                let last = self.last.topics.get(&topic.name);
                if last.is_none_or(|last| !Arc::ptr_eq(last, topic)) {
                    self.shared.open_topic(topic);
                }
            }
        }
        self.shared.close_others(&image);
        self.apply_configs(&image);
        if !same_topics {
            self.name_orphans(&image);
        }
        self.last = image;
    }

    fn remove_deleted(&mut self, image: &ClusterImage) {
        let shared = &self.shared;
        if !shared.config.delete_topic_enable {
            return;
        }
        for (name, done) in image.deleting.iter() {
            let Some(topic) = image.topics.get(name) else { continue };
            let removed = Removed { topic: name.clone(), id: topic.id };
            if done.contains(&shared.broker) || self.removed.contains(&removed) {
                continue;
            }
            let assigned = topic.assignment.values().flatten().any(|id| *id == shared.broker);
            // Without an id nothing was ever opened.
            let gone = topic.id.is_nil() || shared.remove_topic(topic);
            if gone && assigned {
                self.removed.push(removed);
            }
        }
        self.removed.retain(|removed| {
            image.deleting.get(&removed.topic).is_some_and(|done| !done.contains(&shared.broker))
        });
    }

    /// Configuration takes effect at once, on every log of the topic.
    fn apply_configs(&self, image: &ClusterImage) {
        let all = !Arc::ptr_eq(&self.last.broker_configs, &image.broker_configs);
        if !all && Arc::ptr_eq(&self.last.topic_configs, &image.topic_configs) {
            return;
        }
        for topic in image.visible_topics() {
            let last = self.last.topics.get(&topic.name);
            if all || last.is_some_and(|last| last.config != topic.config) {
                let config = self.shared.log_config(image, topic);
                self.shared.logs.update_config(&topic.name, &config);
            }
        }
    }

    fn name_orphans(&mut self, image: &ClusterImage) {
        self.orphans.retain(|id| !image.topic_ids.contains_key(id));
        for log in self.shared.logs.logs() {
            let id = log.topic_id();
            if id.is_nil() || image.topic_ids.contains_key(&id) || !self.orphans.insert(id) {
                continue;
            }
            if !image.topics.contains_key(&**log.topic()) {
                self.shared.logs.update_config(log.topic(), &kept_for_ever());
            }
            tracing::warn!(
                topic = &**log.topic(),
                topic_id = id_text(id),
                directory = %log.parent_directory().display(),
                "the topic is gone from the znodes, but nobody asked for its deletion: its logs \
                 are kept"
            );
        }
    }

    /// Tells the controller which replicas are gone. What can't be told now is told later.
    async fn report_removed(&mut self) {
        if self.removed.is_empty() {
            return;
        }
        let Some(client) = self.session.get() else { return };
        let mut left = Vec::new();
        for removed in std::mem::take(&mut self.removed) {
            let path = paths::delete_topic_done(&removed.topic, self.shared.broker);
            let id = id_text(removed.id);
            match client.create(&path, id.as_bytes(), &self.session.acls().persistent(&path)).await
            {
                Ok(_) | Err(Error::NodeExists | Error::NoNode) => {}
                Err(error) => {
                    tracing::debug!(topic = &*removed.topic, %error, "removal not reported yet");
                    left.push(removed);
                }
            }
        }
        self.removed = left;
    }
}
