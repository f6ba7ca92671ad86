//! The partitions that this broker leads: follows the images, opens logs, applies configuration.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::log::PartitionLog;
use crate::cluster::TopicImage;

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
pub struct PartitionManager {}

impl PartitionManager {
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
        let _ = (topic, partition, leader_epoch);
        Err(ResponseError::UnknownTopicOrPartition)
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
        let _ = (topic_id, partition, leader_epoch);
        Err(ResponseError::UnknownTopicId)
    }
}
