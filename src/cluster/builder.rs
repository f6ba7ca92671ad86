//! Builds the next image from the last one and from znodes that were read (pure).
//!
//! What is read again and found equal keeps its `Arc`. Data that makes no sense is noted as a
//! problem, and hides nothing else. Of a broker, a topic or a partition that was understood before
//! the last view stays, as brokers keep theirs, until the znode is understood again or goes away; one
//! that never was counts as absent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::image::{
    BrokerInfo, ClusterImage, ConfigMap, ControllerInfo, INTERNAL_TOPICS, PartitionImage,
    TopicImage,
};
use super::layout::broker::Registration;
use super::layout::controller::{ControllerNode, decode_epoch};
use super::layout::topic::{PartitionState, TopicAssignment};
use super::layout::{config, ids, paths};

mod acls;

#[cfg(test)]
mod tests;

/// What reading a znode came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Read {
    /// The znode.
    Found(Znode),
    /// It is not there.
    #[default]
    Absent,
    /// The coordinator does not let it be read.
    Forbidden,
}

/// A znode as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Znode {
    /// Its data.
    pub data: Vec<u8>,
    /// The transaction that created it.
    pub czxid: i64,
    /// How often its data changed.
    pub version: i32,
    /// The session that owns it, 0 if it is not ephemeral.
    pub owner: i64,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// When its data changed last, in milliseconds since 1970.
    pub modified_ms: i64,
}

/// The names that exist, as a full read found them.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Children of `/brokers/ids`.
    pub brokers: BTreeSet<i32>,
    /// Children of `/brokers/topics`.
    pub topics: BTreeSet<String>,
    /// Children of `/config/topics`.
    pub topic_configs: BTreeSet<String>,
    /// Children of `/config/brokers`.
    pub broker_configs: BTreeSet<String>,
    /// Children of `/admin/delete_topics`.
    pub deleting: BTreeSet<String>,
}

/// An image in the making.
#[derive(Debug)]
pub struct ImageBuilder {
    previous: u64,
    image: ClusterImage,
    changed: bool,
    changed_ms: Option<i64>,
    problems: Vec<Problem>,
}

/// A znode that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Its path.
    pub path: String,
    /// Why not.
    pub reason: String,
}

impl ImageBuilder {
    /// Starts from the last image.
    pub fn new(previous: &ClusterImage) -> Self {
        ImageBuilder {
            previous: previous.version,
            image: previous.clone(),
            changed: false,
            changed_ms: None,
            problems: Vec::new(),
        }
    }

    /// The image so far.
    pub fn image(&self) -> &ClusterImage {
        &self.image
    }

    /// The next image, `None` if nothing changed, and what could not be understood.
    pub fn finish(mut self) -> (Option<ClusterImage>, Vec<Problem>) {
        self.image.version = self.previous + 1;
        self.image.changed_ms = self.changed_ms;
        let image = (self.changed || self.previous == 0).then_some(self.image);
        (image, self.problems)
    }

    /// Drops what a full read did not find.
    pub fn retain(&mut self, names: &Names) {
        let ClusterImage { brokers, topics, topic_configs, broker_configs, deleting, .. } =
            &self.image;
        let brokers: Vec<i32> =
            brokers.keys().filter(|id| !names.brokers.contains(id)).copied().collect();
        let gone = |known: &mut dyn Iterator<Item = &Arc<str>>, found: &BTreeSet<String>| {
            known.filter(|name| !found.contains(&***name)).cloned().collect::<Vec<_>>()
        };
        let topics = gone(&mut topics.keys(), &names.topics);
        let topic_configs = gone(&mut topic_configs.keys(), &names.topic_configs);
        let broker_configs = gone(&mut broker_configs.keys(), &names.broker_configs);
        let deleting = gone(&mut deleting.keys(), &names.deleting);
        for id in brokers {
            self.broker(id, None);
        }
        for name in &topics {
            self.topic(name, None, &BTreeMap::new());
        }
        for name in &topic_configs {
            self.topic_config(name, None);
        }
        for entity in &broker_configs {
            self.broker_config(entity, None);
        }
        for name in &deleting {
            self.deleting(name, None);
        }
    }

    /// `/cluster/id`.
    pub fn cluster_id(&mut self, znode: Option<&Znode>) {
        let id = self.understood(paths::CLUSTER_ID, znode, |z| ids::decode_cluster_id(&z.data));
        let id = id.map(Arc::from).or_else(|| znode.and(self.image.cluster_id.clone()));
        if self.image.cluster_id != id {
            self.image.cluster_id = id;
            self.changed = true;
        }
    }

    /// `/controller` and `/controller_epoch`.
    pub fn controller(&mut self, controller: Option<&Znode>, epoch: Option<&Znode>) {
        let number = self.understood(paths::CONTROLLER_EPOCH, epoch, |z| decode_epoch(&z.data));
        let node =
            self.understood(paths::CONTROLLER, controller, |z| ControllerNode::decode(&z.data));
        let info = node.zip(controller).map(|(node, znode)| ControllerInfo {
            broker_id: node.broker_id,
            epoch: number.unwrap_or_default(),
            epoch_version: epoch.map_or(-1, |znode| znode.version),
            owner: znode.owner,
            doorkeeper: node.doorkeeper.is_some(),
            kraft: node.kraft_epoch >= 0,
        });
        if self.image.controller != info {
            self.image.controller = info;
            self.changed_at(controller);
        }
    }

    /// `/brokers/ids/<id>`.
    pub fn broker(&mut self, id: i32, znode: Option<&Znode>) {
        let decoded = self.understood(&paths::broker(id), znode, |z| Registration::decode(&z.data));
        if let (None, Some(znode), Some(known)) = (&decoded, znode, self.image.brokers.get(&id))
            && known.epoch == znode.czxid
        {
            return;
        }
        let info = decoded.zip(znode).map(|(registration, znode)| {
            Arc::new(BrokerInfo {
                id,
                epoch: znode.czxid,
                endpoints: registration.endpoints,
                rack: registration.rack,
                doorkeeper: registration.doorkeeper.is_some(),
                owner: znode.owner,
            })
        });
        if put(&mut self.image.brokers, id, info) {
            self.changed_at(znode);
        }
    }

    /// `/brokers/topics/<name>` and every `state` below it.
    pub fn topic(&mut self, name: &str, znode: Option<&Znode>, states: &BTreeMap<i32, Znode>) {
        let decoded =
            self.understood(&paths::topic(name), znode, |z| TopicAssignment::decode(&z.data));
        let known = znode.and_then(|znode| self.known_topic(name, znode.czxid));
        if decoded.is_none() && known.is_some() {
            return;
        }
        let topic = decoded.zip(znode).map(|(assignment, znode)| {
            let mut topic = TopicImage {
                name: self.known_name(name),
                id: assignment.id,
                internal: INTERNAL_TOPICS.contains(&name),
                partitions: BTreeMap::new(),
                assignment: assignment.partitions,
                adding: assignment.adding,
                removing: assignment.removing,
                znode_version: znode.version,
                created_zxid: znode.czxid,
                config: self.image.topic_configs.get(name).cloned().unwrap_or_default(),
            };
            for (partition, state) in states {
                let known = known.as_ref().and_then(|known| known.partitions.get(partition));
                if let Some(state) = self.partition_image(&topic, *partition, known, Some(state)) {
                    topic.partitions.insert(*partition, state);
                }
            }
            topic
        });
        if self.put_topic(name, topic) {
            self.changed_at(states.values().chain(znode).max_by_key(|znode| znode.modified_ms));
        }
    }

    /// `/brokers/topics/<topic>/partitions/<partition>/state` of a topic that is known.
    pub fn partition(&mut self, topic: &str, partition: i32, state: Option<&Znode>) {
        self.partitions(topic, &[(partition, state.cloned())].into());
    }

    /// Several `state`s of one topic that is known.
    pub fn partitions(&mut self, topic: &str, states: &BTreeMap<i32, Option<Znode>>) {
        let Some(known) = self.image.topics.get(topic).cloned() else { return };
        let mut changed = None;
        for (partition, znode) in states {
            let before = known.partitions.get(partition);
            let state = self.partition_image(&known, *partition, before, znode.as_ref());
            if before == state.as_ref() {
                continue;
            }
            let partitions =
                &mut changed.get_or_insert_with(|| TopicImage::clone(&known)).partitions;
            match state {
                Some(state) => partitions.insert(*partition, state),
                None => partitions.remove(partition),
            };
            self.changed_at(znode.as_ref());
        }
        if changed.is_some() {
            self.put_topic(topic, changed);
        }
    }

    /// `/config/topics/<name>`.
    pub fn topic_config(&mut self, name: &str, znode: Option<&Znode>) {
        let path = paths::topic_config(name);
        let config = self.understood(&path, znode, |z| config::decode_config(&z.data));
        let config = config.map(Arc::new);
        let key = self.known_name(name);
        if !put(&mut self.image.topic_configs, key, config) {
            return;
        }
        self.changed_at(znode);
        if let Some(topic) = self.image.topics.get(name) {
            let mut topic = TopicImage::clone(topic);
            topic.config = self.image.topic_configs.get(name).cloned().unwrap_or_default();
            self.put_topic(name, Some(topic));
        }
    }

    /// `/config/brokers/<entity>`.
    pub fn broker_config(&mut self, entity: &str, znode: Option<&Znode>) {
        let path = paths::broker_config(entity);
        let config: Option<ConfigMap> =
            self.understood(&path, znode, |z| config::decode_config(&z.data));
        if put(&mut self.image.broker_configs, entity.into(), config.map(Arc::new)) {
            self.changed_at(znode);
        }
    }

    /// The children of `/admin/delete_topics/<name>`, `None` if it is not there.
    pub fn deleting(&mut self, name: &str, children: Option<&[String]>) {
        let done: Option<BTreeSet<i32>> = children
            .map(|children| children.iter().filter_map(|child| child.parse().ok()).collect());
        if self.image.deleting.get(name) == done.as_ref() {
            return;
        }
        let key = self.known_name(name);
        let deleting = Arc::make_mut(&mut self.image.deleting);
        match done {
            Some(done) => deleting.insert(key, done),
            None => deleting.remove(&key),
        };
        self.changed = true;
    }

    /// The image is another one now. When a znode changed is known unless it went away.
    fn changed_at(&mut self, znode: Option<&Znode>) {
        self.changed = true;
        let at = znode.map(|znode| znode.modified_ms);
        self.changed_ms = self.changed_ms.into_iter().chain(at).min();
    }

    /// The topic that is known already, if it is the same and not one made later.
    fn known_topic(&self, name: &str, created_zxid: i64) -> Option<Arc<TopicImage>> {
        self.image.topics.get(name).filter(|topic| topic.created_zxid == created_zxid).cloned()
    }

    /// True if the topic changed.
    fn put_topic(&mut self, name: &str, topic: Option<TopicImage>) -> bool {
        let key = self.known_name(name);
        let old_id = self.image.topics.get(name).map(|topic| topic.id);
        let new_id = topic.as_ref().map(|topic| topic.id);
        if !put(&mut self.image.topics, key.clone(), topic.map(Arc::new)) {
            return false;
        }
        self.changed = true;
        if old_id == new_id {
            return true;
        }
        let ids = Arc::make_mut(&mut self.image.topic_ids);
        if let Some(id) = old_id.filter(|id| ids.get(id) == Some(&key)) {
            ids.remove(&id);
        }
        if let Some(id) = new_id.filter(|id| *id != Uuid::nil()) {
            ids.insert(id, key);
        }
        true
    }

    fn partition_image(
        &mut self,
        topic: &TopicImage,
        partition: i32,
        known: Option<&PartitionImage>,
        znode: Option<&Znode>,
    ) -> Option<PartitionImage> {
        let replicas = topic.assignment.get(&partition)?;
        let znode = znode?;
        let Ok(state) = PartitionState::decode(&znode.data).map_err(|error| {
            let path = paths::partition_state(&topic.name, partition);
            self.problems.push(Problem { path, reason: error.to_string() });
        }) else {
            let known = known.filter(|known| known.created_zxid == znode.czxid)?;
            return Some(PartitionImage { replicas: replicas.clone(), ..known.clone() });
        };
        Some(PartitionImage {
            replicas: replicas.clone(),
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            isr: state.isr,
            controller_epoch: state.controller_epoch,
            partition_epoch: znode.version,
            leader_recovery_state: state.leader_recovery_state,
            created_zxid: znode.czxid,
            created_ms: znode.created_ms,
        })
    }

    /// The name as it is shared already, so that a million partitions do not keep copies.
    fn known_name(&self, name: &str) -> Arc<str> {
        let topics = self.image.topics.get_key_value(name).map(|(name, _)| name);
        let configs = || self.image.topic_configs.get_key_value(name).map(|(name, _)| name);
        topics.or_else(configs).cloned().unwrap_or_else(|| name.into())
    }

    fn understood<T, E: std::fmt::Display>(
        &mut self,
        path: &str,
        znode: Option<&Znode>,
        decode: impl FnOnce(&Znode) -> Result<T, E>,
    ) -> Option<T> {
        match decode(znode?) {
            Ok(value) => Some(value),
            Err(error) => {
                let problem = Problem { path: path.to_owned(), reason: error.to_string() };
                self.problems.push(problem);
                None
            }
        }
    }
}

/// Sets or removes an entry; an equal value keeps its `Arc`. True if the map changed.
fn put<K: Ord + Clone, V: PartialEq>(
    map: &mut Arc<BTreeMap<K, Arc<V>>>,
    key: K,
    value: Option<Arc<V>>,
) -> bool {
    if map.get(&key) == value.as_ref() {
        return false;
    }
    let map = Arc::make_mut(map);
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
    true
}
