//! Topics, configurations and producer ids, written as Kafka 3.9 writes them.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::image::ConfigMap;

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
pub struct ClusterAdmin {}

impl ClusterAdmin {
    /// Checks a request for a topic and places its replicas, as `CreateTopics` does.
    ///
    /// # Errors
    /// `INVALID_TOPIC_EXCEPTION`, `TOPIC_ALREADY_EXISTS`, `INVALID_PARTITIONS`,
    /// `INVALID_REPLICATION_FACTOR`, `INVALID_REPLICA_ASSIGNMENT`, `INVALID_CONFIG`.
    pub fn plan_topic(&self, request: TopicRequest) -> Result<TopicPlan, AdminError> {
        let _ = request;
        Err(AdminError::new(ResponseError::UnknownServerError, "not here yet"))
    }

    /// Writes a planned topic: its configuration first, then the topic. Answers its id.
    ///
    /// # Errors
    /// `TOPIC_ALREADY_EXISTS`, `REQUEST_TIMED_OUT` if the coordinator does not answer in time.
    pub async fn create_topic(&self, plan: &TopicPlan) -> Result<Uuid, AdminError> {
        let _ = plan;
        Err(AdminError::new(ResponseError::UnknownServerError, "not here yet"))
    }

    /// Waits until this broker's image shows every partition of the topic with a leader.
    /// False after `timeout`.
    pub async fn wait_for_topic(&self, name: &str, timeout: Duration) -> bool {
        let _ = (name, timeout);
        false
    }

    /// Makes a topic that a client asked Metadata for, with the broker's defaults. Any broker may.
    ///
    /// # Errors
    /// As for [`ClusterAdmin::plan_topic`] and [`ClusterAdmin::create_topic`]; a topic that another
    /// broker made meanwhile is no error.
    pub async fn auto_create_topic(&self, name: &str) -> Result<(), AdminError> {
        let _ = name;
        Err(AdminError::new(ResponseError::UnknownServerError, "not here yet"))
    }

    /// Asks for a topic's deletion. [`ClusterAdmin::wait_for_deletion`] waits for its end.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `TOPIC_DELETION_DISABLED`, `REQUEST_TIMED_OUT`.
    pub async fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        let _ = name;
        Err(AdminError::new(ResponseError::UnknownServerError, "not here yet"))
    }

    /// Waits until no image shows the topic any more. False after `timeout`.
    pub async fn wait_for_deletion(&self, name: &str, timeout: Duration) -> bool {
        let _ = (name, timeout);
        false
    }

    /// Checks a request for more partitions and places their replicas.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_PARTITIONS`, `INVALID_REPLICA_ASSIGNMENT`,
    /// `REASSIGNMENT_IN_PROGRESS`.
    pub fn plan_partitions(
        &self,
        request: &PartitionsRequest,
    ) -> Result<PartitionsPlan, AdminError> {
        let _ = request;
        Err(AdminError::new(ResponseError::UnknownServerError, "not here yet"))
    }

    /// Writes planned partitions.
    ///
    /// # Errors
    /// `REQUEST_TIMED_OUT`; `INVALID_PARTITIONS` if another grew the topic meanwhile.
    pub async fn create_partitions(&self, plan: &PartitionsPlan) -> Result<(), AdminError> {
        let _ = plan;
        Err(AdminError::new(ResponseError::UnknownServerError, "not here yet"))
    }

    /// Replaces a topic's own configuration and waits until this broker's image has it.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_CONFIG`, `REQUEST_TIMED_OUT`.
    pub async fn set_topic_config(&self, name: &str, config: ConfigMap) -> Result<(), AdminError> {
        let _ = (name, config);
        Err(AdminError::new(ResponseError::UnknownServerError, "not here yet"))
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
        let _ = (broker, config);
        Err(AdminError::new(ResponseError::UnknownServerError, "not here yet"))
    }
}
