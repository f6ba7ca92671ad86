//! Topics, configurations and producer ids, written as Kafka 3.9 writes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use uuid::Uuid;
use zookeeper_client::{Client, Error, MultiWriteError};

use super::client::{SharedSession, is_unknown};
use super::handle::ImageHandle;
use super::image::{ClusterImage, ConfigMap, DEFAULT_ENTITY};
use super::layout::topic::TopicAssignment;
use super::layout::{config, paths};
use super::znode_acls::ZnodeAcls;
use super::{reader, topic_config};
use crate::config::BrokerConfig;
use crate::limits;

pub mod plan;
#[cfg(test)]
mod tests;

use plan::{Defaults, Dice};

/// An operation that was refused or failed, as a client is told.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// The protocol's code.
    pub code: ResponseError,
    /// The protocol's message.
    pub message: String,
}

impl AdminError {
    /// An error with this code and message.
    pub fn new(code: ResponseError, message: impl Into<String>) -> Self {
        AdminError { code, message: message.into() }
    }
}

/// What a topic is to be made with.
#[derive(Debug, Clone, Default)]
pub struct TopicRequest {
    /// Its name.
    pub name: String,
    /// How many partitions; −1 = `num.partitions`. Not used with `assignment`.
    pub partitions: i32,
    /// Replicas of each partition; −1 = `default.replication.factor`. Not used with `assignment`.
    pub replication_factor: i16,
    /// The replicas of each partition, if the client chose them.
    pub assignment: Option<BTreeMap<i32, Vec<i32>>>,
    /// Its own configuration.
    pub config: ConfigMap,
}

impl TopicRequest {
    /// A topic of which the broker's defaults say everything.
    pub fn with_defaults(name: &str) -> TopicRequest {
        TopicRequest {
            name: name.to_owned(),
            partitions: -1,
            replication_factor: -1,
            ..TopicRequest::default()
        }
    }
}

/// A checked request, ready to be written: what `CreateTopics` with `validate_only` answers.
#[derive(Debug, Clone)]
pub struct TopicPlan {
    /// The topic's name.
    pub name: String,
    /// The replicas of each partition.
    pub assignment: BTreeMap<i32, Vec<i32>>,
    /// Its own configuration.
    pub config: ConfigMap,
}

/// What a topic is to be grown to.
#[derive(Debug, Clone, Default)]
pub struct PartitionsRequest {
    /// The topic's name.
    pub name: String,
    /// How many partitions it shall have in all.
    pub count: i32,
    /// The replicas of each new partition, if the client chose them.
    pub assignment: Option<Vec<Vec<i32>>>,
}

/// A checked request for more partitions.
#[derive(Debug, Clone)]
pub struct PartitionsPlan {
    /// The topic's name.
    pub name: String,
    /// The replicas of each new partition.
    pub added: BTreeMap<i32, Vec<i32>>,
}

/// Writes to the znodes that any broker or its controller makes for a client.
///
/// `CreateTopics`, `DeleteTopics` and `CreatePartitions` belong to the controller: the handler asks
/// [`crate::broker::BrokerContext::is_controller`] first.
#[derive(Debug, Clone)]
pub struct ClusterAdmin {
    config: Arc<BrokerConfig>,
    images: ImageHandle,
    session: SharedSession,
}

impl ClusterAdmin {
    /// Writes through this session, checks against these images.
    pub fn new(config: Arc<BrokerConfig>, images: ImageHandle, session: SharedSession) -> Self {
        ClusterAdmin { config, images, session }
    }

    /// Checks a request for a topic and places its replicas, as `CreateTopics` does.
    ///
    /// # Errors
    /// `INVALID_TOPIC_EXCEPTION`, `TOPIC_ALREADY_EXISTS`, `INVALID_PARTITIONS`,
    /// `INVALID_REPLICATION_FACTOR`, `INVALID_REPLICA_ASSIGNMENT`, `INVALID_CONFIG`,
    /// `INVALID_REQUEST`.
    pub fn plan_topic(&self, request: TopicRequest) -> Result<TopicPlan, AdminError> {
        let defaults = Defaults {
            partitions: self.config.num_partitions,
            replication_factor: self.config.default_replication_factor,
        };
        let dice =
            Dice { start: usize::from(rand::random::<u16>()), shift: rand::random::<u16>().into() };
        plan::topic(&self.images.load(), request, defaults, dice)
    }

    /// Writes a planned topic, configuration and assignment in one transaction. Answers its id.
    ///
    /// # Errors
    /// `TOPIC_ALREADY_EXISTS`, `REQUEST_TIMED_OUT` if the coordinator does not answer in time.
    pub async fn create_topic(&self, plan: &TopicPlan) -> Result<Uuid, AdminError> {
        self.write_plan(plan, LeftOver::Replace).await
    }

    async fn write_plan(&self, plan: &TopicPlan, left_over: LeftOver) -> Result<Uuid, AdminError> {
        let id = topic_id();
        let topic =
            TopicAssignment { id, partitions: plan.assignment.clone(), ..Default::default() };
        let (topic, config) = (topic.encode(), config::encode_config(&plan.config));
        let acls = self.session.acls();
        let written = self.write(|client, again| {
            let (topic, config) = (&topic, &config);
            async move {
                if again && self.has_topic(&client, &plan.name, topic).await? {
                    return Ok(());
                }
                write_topic(&client, acls, &plan.name, (topic, config), left_over).await
            }
        });
        match written.await {
            Ok(()) => Ok(id),
            Err(Some(Error::NodeExists)) => Err(AdminError::new(
                ResponseError::TopicAlreadyExists,
                format!("Topic '{}' already exists.", plan.name),
            )),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether the topic's znode has just this data: an earlier try of ours succeeded.
    async fn has_topic(&self, client: &Client, name: &str, data: &[u8]) -> Result<bool, Error> {
        let znode = reader::read(client, &paths::topic(name)).await?;
        Ok(znode.is_some_and(|znode| znode.data == data))
    }

    /// Waits until this broker's image shows every partition of the topic with a live leader.
    /// False after `timeout`.
    pub async fn wait_for_topic(&self, name: &str, timeout: Duration) -> bool {
        let served = |image: &ClusterImage| {
            let topic = image.topic(name)?;
            let mut leaders = topic.partitions.values().map(|partition| partition.leader);
            let all = topic.partitions.len() == topic.assignment.len();
            (all && leaders.all(|leader| image.is_alive(leader))).then_some(())
        };
        self.images.wait_for(timeout, served).await.is_some()
    }

    /// Makes a topic that a client asked Metadata for, with the broker's defaults. Any broker may.
    ///
    /// # Errors
    /// As for [`ClusterAdmin::plan_topic`] and [`ClusterAdmin::create_topic`]; a topic that another
    /// broker made meanwhile is no error.
    pub async fn auto_create_topic(&self, name: &str) -> Result<(), AdminError> {
        self.create_if_missing(TopicRequest::with_defaults(name)).await
    }

    /// The same for a topic that is made in some way of its own.
    ///
    /// # Errors
    /// As for [`ClusterAdmin::auto_create_topic`].
    pub async fn create_if_missing(&self, request: TopicRequest) -> Result<(), AdminError> {
        match self.write_plan(&self.plan_topic(request)?, LeftOver::Keep).await {
            Ok(_) | Err(AdminError { code: ResponseError::TopicAlreadyExists, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks for a topic's deletion. [`ClusterAdmin::wait_for_deletion`] waits for its end.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `TOPIC_DELETION_DISABLED`, `REQUEST_TIMED_OUT`.
    pub async fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        if !self.config.delete_topic_enable {
            let message = "Topic deletion is disabled.";
            return Err(AdminError::new(ResponseError::TopicDeletionDisabled, message));
        }
        let image = self.images.load();
        if image.deleting.contains_key(name) {
            return Ok(());
        }
        if !image.topics.contains_key(name) {
            let message = format!("Topic '{name}' does not exist.");
            return Err(AdminError::new(ResponseError::UnknownTopicOrPartition, message));
        }
        let path = paths::delete_topic(name);
        let acls = self.session.acls();
        let written = self.write(|client, _| {
            let path = &path;
            async move {
                match client.create(path, b"", &acls.persistent(path)).await {
                    Ok(_) | Err(Error::NodeExists) => Ok(()),
                    Err(error) => Err(error),
                }
            }
        });
        written.await.map_err(failed)
    }

    /// Waits until this broker's image does not show the topic, nor the request to delete it.
    /// False after `timeout`.
    pub async fn wait_for_deletion(&self, name: &str, timeout: Duration) -> bool {
        let gone = |image: &ClusterImage| {
            let there = image.topics.contains_key(name) || image.deleting.contains_key(name);
            (!there).then_some(())
        };
        self.images.wait_for(timeout, gone).await.is_some()
    }

    /// Checks a request for more partitions and places their replicas.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_PARTITIONS`, `INVALID_REPLICA_ASSIGNMENT`,
    /// `REASSIGNMENT_IN_PROGRESS`, `INVALID_TOPIC_EXCEPTION` while it is deleted.
    pub fn plan_partitions(
        &self,
        request: &PartitionsRequest,
    ) -> Result<PartitionsPlan, AdminError> {
        plan::partitions(&self.images.load(), request)
    }

    /// Writes planned partitions.
    ///
    /// # Errors
    /// `REQUEST_TIMED_OUT`; `INVALID_PARTITIONS` if another changed the topic meanwhile.
    pub async fn create_partitions(&self, plan: &PartitionsPlan) -> Result<(), AdminError> {
        let changed = || {
            let message = format!("The topic '{}' was changed meanwhile.", plan.name);
            AdminError::new(ResponseError::InvalidPartitions, message)
        };
        let image = self.images.load();
        let topic = image.topics.get(plan.name.as_str()).ok_or_else(changed)?;
        let mut partitions = topic.assignment.clone();
        partitions.extend(plan.added.clone());
        let data = TopicAssignment {
            id: topic.id,
            partitions,
            adding: topic.adding.clone(),
            removing: topic.removing.clone(),
        };
        let data = data.encode();
        let (path, version) = (paths::topic(&plan.name), topic.znode_version);
        let written = self.write(|client, again| {
            let (path, data) = (&path, &data);
            async move {
                if again && self.has_topic(&client, &plan.name, data).await? {
                    return Ok(());
                }
                client.set_data(path, data, Some(version)).await.map(|_| ())
            }
        });
        match written.await {
            Err(Some(Error::BadVersion | Error::NoNode)) => Err(changed()),
            written => written.map_err(failed),
        }
    }

    /// Replaces a topic's own configuration and waits until this broker's image has it.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_CONFIG`, `REQUEST_TIMED_OUT`.
    pub async fn set_topic_config(&self, name: &str, config: ConfigMap) -> Result<(), AdminError> {
        if self.images.load().topic(name).is_none() {
            let message = format!("The topic '{name}' does not exist.");
            return Err(AdminError::new(ResponseError::UnknownTopicOrPartition, message));
        }
        topic_config::validate(&config)
            .map_err(|message| AdminError::new(ResponseError::InvalidConfig, message))?;
        self.set_config(&format!("topics/{name}"), &config).await?;
        let shown = |image: &ClusterImage| {
            let shown = image.topic_configs.get(name).is_some_and(|shown| **shown == config);
            shown.then_some(())
        };
        self.images.wait_for(limits::CONTROLLER_SETTLE, shown).await;
        Ok(())
    }

    /// Replaces the dynamic configuration of a broker, or of all brokers (`None`), and waits until
    /// this broker's image has it. The caller has validated it.
    ///
    /// # Errors
    /// `REQUEST_TIMED_OUT`.
    pub async fn set_broker_config(
        &self,
        broker: Option<i32>,
        config: ConfigMap,
    ) -> Result<(), AdminError> {
        let entity = broker.map_or_else(|| DEFAULT_ENTITY.to_owned(), |id| id.to_string());
        self.set_config(&format!("brokers/{entity}"), &config).await?;
        let shown = |image: &ClusterImage| {
            let shown = image.broker_configs.get(entity.as_str());
            shown.is_some_and(|shown| **shown == config).then_some(())
        };
        self.images.wait_for(limits::CONTROLLER_SETTLE, shown).await;
        Ok(())
    }

    /// Writes a configuration and then the notification that Kafka's brokers listen for.
    async fn set_config(&self, entity_path: &str, config: &ConfigMap) -> Result<(), AdminError> {
        let path = format!("/config/{entity_path}");
        let (data, change) = (config::encode_config(config), config::encode_change(entity_path));
        let acls = self.session.acls();
        let written = self.write(|client, _| {
            let (path, data, change) = (&path, &data, &change);
            async move {
                set_or_create(&client, acls, path, data).await?;
                let prefix = paths::CONFIG_CHANGE_PREFIX;
                client.create(prefix, change, &acls.sequential(prefix)).await.map(|_| ())
            }
        });
        written.await.map_err(failed)
    }

    /// Tries a write until its outcome is known; the second argument says that an earlier try's is
    /// not. `Err(None)` when it is still unknown in the end.
    async fn write<T, F, W>(&self, mut write: W) -> Result<T, Option<Error>>
    where
        W: FnMut(Client, bool) -> F,
        F: Future<Output = Result<T, Error>>,
    {
        let tries = async {
            let mut again = false;
            loop {
                let client = self.session.wait().await;
                match write(client, again).await {
                    Err(error) if is_unknown(&error) => again = true,
                    outcome => return outcome,
                }
                tokio::time::sleep(limits::SESSION_BACKOFF_MIN).await;
            }
        };
        match tokio::time::timeout(limits::ADMIN_TIMEOUT, tries).await {
            Ok(outcome) => outcome.map_err(Some),
            Err(_) => Err(None),
        }
    }
}

/// A random topic id that Kafka's own could be: none that starts with a dash, nor a reserved one.
pub fn topic_id() -> Uuid {
    loop {
        let id = Uuid::new_v4();
        if !super::layout::topic::id_text(id).starts_with('-') {
            return id;
        }
    }
}

/// What becomes of a configuration that is there before its topic: left over, or written ahead by
/// another tool, which writes it first too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeftOver {
    /// A client said what the topic's configuration is.
    Replace,
    /// The topic is made because somebody asked for it.
    Keep,
}

async fn write_topic(
    client: &Client,
    acls: ZnodeAcls,
    name: &str,
    (topic, config): (&[u8], &[u8]),
    left_over: LeftOver,
) -> Result<(), Error> {
    let (topic_path, config_path) = (paths::topic(name), paths::topic_config(name));
    let topic_options = acls.persistent(&topic_path);
    let mut writer = client.new_multi_writer();
    writer.add_create(&config_path, config, &acls.persistent(&config_path))?;
    writer.add_create(&topic_path, topic, &topic_options)?;
    match writer.commit().await {
        Ok(_) => return Ok(()),
        Err(MultiWriteError::OperationFailed { index: 0, source: Error::NodeExists }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut writer = client.new_multi_writer();
    if left_over == LeftOver::Replace {
        writer.add_set_data(&config_path, config, None)?;
    }
    writer.add_create(&topic_path, topic, &topic_options)?;
    writer.commit().await.map(|_| ()).map_err(Error::from)
}

async fn set_or_create(
    client: &Client,
    acls: ZnodeAcls,
    path: &str,
    data: &[u8],
) -> Result<(), Error> {
    match client.set_data(path, data, None).await {
        Err(Error::NoNode) => {}
        outcome => return outcome.map(|_| ()),
    }
    match client.create(path, data, &acls.persistent(path)).await {
        Err(Error::NodeExists) => client.set_data(path, data, None).await.map(|_| ()),
        outcome => outcome.map(|_| ()),
    }
}

fn failed(error: Option<Error>) -> AdminError {
    match error {
        None => AdminError::new(
            ResponseError::RequestTimedOut,
            "The coordinator did not answer in time; the outcome is unknown.",
        ),
        Some(error) => AdminError::new(
            ResponseError::UnknownServerError,
            format!("The coordinator refused the write: {error}"),
        ),
    }
}
