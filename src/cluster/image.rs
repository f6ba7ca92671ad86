//! One immutable picture of the cluster, as the znodes told it.
//!
//! A handler loads one image and answers a whole request from it, so that no answer is half old
//! and half new. What did not change between two images keeps its `Arc`: caches key on
//! [`Arc::ptr_eq`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::acls::Acls;

/// Configuration values by key, as they stand in a `/config` znode.
pub type ConfigMap = BTreeMap<String, String>;

/// The name of the entity that stands for every broker: `/config/brokers/<default>`.
pub const DEFAULT_ENTITY: &str = "<default>";

/// The leader of a partition that has none.
pub const NO_LEADER: i32 = -1;

/// The cluster at one moment.
///
/// The maps are shared between images: an image that changes one topic copies the map of topics
/// and nothing else.
#[derive(Debug, Clone, Default)]
pub struct ClusterImage {
    /// Grows with every image; 0 is the empty image from before the first read.
    pub version: u64,
    /// When the oldest change that this image shows, and the one before did not, was made, in
    /// milliseconds since 1970 by the coordinator's clock; `None` if no znode tells.
    pub changed_ms: Option<i64>,
    /// The id in `/cluster/id`.
    pub cluster_id: Option<Arc<str>>,
    /// Who holds `/controller`.
    pub controller: Option<ControllerInfo>,
    /// Live brokers by id.
    pub brokers: Arc<BTreeMap<i32, Arc<BrokerInfo>>>,
    /// Topics by name, those that are being deleted or have no partition state yet included: see
    /// [`ClusterImage::topic`].
    pub topics: Arc<BTreeMap<Arc<str>, Arc<TopicImage>>>,
    /// Names of the topics by their id.
    pub topic_ids: Arc<HashMap<Uuid, Arc<str>>>,
    /// Dynamic configuration in `/config/topics`, by topic.
    pub topic_configs: Arc<BTreeMap<Arc<str>, Arc<ConfigMap>>>,
    /// Dynamic configuration in `/config/brokers`, by broker id or [`DEFAULT_ENTITY`].
    pub broker_configs: Arc<BTreeMap<Arc<str>, Arc<ConfigMap>>>,
    /// Topics named in `/admin/delete_topics`, each with the ids of the brokers that have removed
    /// their replicas.
    pub deleting: Arc<BTreeMap<Arc<str>, BTreeSet<i32>>>,
    /// Who may do what; `None` if that was not read, so that nothing is known of it.
    pub acls: Option<Arc<Acls>>,
}

/// The holder of `/controller`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerInfo {
    /// The broker's id.
    pub broker_id: i32,
    /// The number in `/controller_epoch`.
    pub epoch: i32,
    /// The znode version of `/controller_epoch`, which every controller write checks.
    pub epoch_version: i32,
    /// The session that owns `/controller`.
    pub owner: i64,
    /// Whether the znode carries the mark of a doorkeeper broker.
    pub doorkeeper: bool,
    /// Whether a KRaft controller owns the cluster, which is being migrated (KIP-866): what the
    /// znodes say of its brokers is not the whole truth then.
    pub kraft: bool,
}

/// A registered broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerInfo {
    /// `broker.id`.
    pub id: i32,
    /// The broker epoch: `czxid` of the registration.
    pub epoch: i64,
    /// Where it listens, in the order of its registration.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Whether the registration carries the mark of a doorkeeper broker.
    pub doorkeeper: bool,
    /// The session that owns the registration.
    pub owner: i64,
}

impl BrokerInfo {
    /// The endpoint of the listener with this name.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }
}

/// One listener of a broker, as clients are told to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, such as `PLAINTEXT` or `INTERNAL`.
    pub listener: String,
    /// The security protocol's name.
    pub protocol: String,
    /// A host name or address.
    pub host: String,
    /// The TCP port.
    pub port: i32,
}

/// A topic: assignment, partition states and configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; nil until a controller has given it one.
    pub id: Uuid,
    /// Whether Kafka keeps its own state in it.
    pub internal: bool,
    /// Partitions that have a `state` znode. A topic without any is unknown to clients.
    pub partitions: BTreeMap<i32, PartitionImage>,
    /// Replicas of every partition, those without a `state` znode included.
    pub assignment: BTreeMap<i32, Vec<i32>>,
    /// Replicas that a reassignment adds, by partition.
    pub adding: BTreeMap<i32, Vec<i32>>,
    /// Replicas that a reassignment removes, by partition.
    pub removing: BTreeMap<i32, Vec<i32>>,
    /// The znode version of `/brokers/topics/<name>`.
    pub znode_version: i32,
    /// `czxid` of `/brokers/topics/<name>`: tells a topic from its namesake made later.
    pub created_zxid: i64,
    /// Its dynamic configuration, empty when it has none.
    pub config: Arc<ConfigMap>,
}

/// A partition as its `state` znode has it, with its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionImage {
    /// Assigned brokers, the preferred leader first.
    pub replicas: Vec<i32>,
    /// The leader's broker id, [`NO_LEADER`] if there is none.
    pub leader: i32,
    /// How often the leader changed.
    pub leader_epoch: i32,
    /// In-sync replicas in the znode's order.
    pub isr: Vec<i32>,
    /// Epoch of the controller that wrote the state.
    pub controller_epoch: i32,
    /// The znode version of `state`.
    pub partition_epoch: i32,
    /// 1 while an unclean leader recovers, else 0.
    pub leader_recovery_state: i32,
    /// `czxid` of the `state` znode: when the partition was made, in the coordinator's order.
    pub created_zxid: i64,
    /// `ctime` of the `state` znode: when the partition was made, in milliseconds since 1970.
    pub created_ms: i64,
}

impl ClusterImage {
    /// The topic as clients know it: one with a partition state that is not being deleted.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name).filter(|topic| self.is_visible(topic))
    }

    /// The topic with this id, as clients know it.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.topic_ids.get(&id).and_then(|name| self.topic(name))
    }

    /// Every topic that clients know, in the order of their names.
    pub fn visible_topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics.values().filter(|topic| self.is_visible(topic))
    }

    /// Whether clients know the topic.
    pub fn is_visible(&self, topic: &TopicImage) -> bool {
        let is_deleted = self.deleting.contains_key(&topic.name) && self.takes_up(topic);
        !topic.partitions.is_empty() && !is_deleted
    }

    /// Whether the controller takes up the deletion of a topic at once: Apache's leaves a topic as
    /// it is while its replicas are being reassigned (`TopicDeletionManager`).
    fn takes_up(&self, topic: &TopicImage) -> bool {
        let reassigned = !topic.adding.is_empty() || !topic.removing.is_empty();
        !reassigned || self.controller.as_ref().is_some_and(|controller| controller.doorkeeper)
    }

    /// Whether a KRaft controller owns the cluster.
    pub fn is_owned_by_kraft(&self) -> bool {
        self.controller.as_ref().is_some_and(|controller| controller.kraft)
    }

    /// Whether a broker of this id is alive.
    pub fn is_alive(&self, broker: i32) -> bool {
        self.brokers.contains_key(&broker)
    }

    /// The controller's broker id if that broker is alive, else −1.
    pub fn controller_id(&self) -> i32 {
        self.controller
            .as_ref()
            .map(|controller| controller.broker_id)
            .filter(|id| self.is_alive(*id))
            .unwrap_or(NO_LEADER)
    }

    /// Dynamic configuration of all brokers and of one of them: the latter wins.
    pub fn broker_config(&self, broker: i32, key: &str) -> Option<&str> {
        self.broker_configs
            .get(broker.to_string().as_str())
            .and_then(|config| config.get(key))
            .or_else(|| self.broker_configs.get(DEFAULT_ENTITY)?.get(key))
            .map(String::as_str)
    }

    /// Partitions without a live leader, of the topics that clients know.
    pub fn leaderless_partitions(&self) -> usize {
        self.visible_topics()
            .flat_map(|topic| topic.partitions.values())
            .filter(|partition| !self.is_alive(partition.leader))
            .count()
    }

    /// Partitions with a replica on a broker that is not alive, of the topics that clients know.
    pub fn offline_replica_partitions(&self) -> usize {
        self.visible_topics()
            .flat_map(|topic| topic.partitions.values())
            .filter(|partition| partition.replicas.iter().any(|broker| !self.is_alive(*broker)))
            .count()
    }

    /// Partitions with a replica that is not in sync, of the topics that clients know.
    pub fn under_replicated_partitions(&self) -> usize {
        self.visible_topics()
            .flat_map(|topic| topic.partitions.values())
            .filter(|partition| partition.isr.len() < partition.replicas.len())
            .count()
    }
}

/// Topics in which Kafka keeps its own state.
pub const INTERNAL_TOPICS: [&str; 3] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state"];
