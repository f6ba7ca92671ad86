//! The answers that are made here, from one view: pure.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::addresses::AddressBook;
use crate::cluster::ClusterImage;
use crate::kafka::api::{ApiRegistration, HandlerError, Reply};

/// What may be answered here. Other APIs, and other versions of these, are passed on unread.
pub const ANSWERED: &[ApiRegistration] = &[
    ApiRegistration::new(ApiKey::Metadata, "Metadata", 0, 13),
    ApiRegistration::new(ApiKey::FindCoordinator, "FindCoordinator", 0, 6),
    ApiRegistration::new(ApiKey::DescribeCluster, "DescribeCluster", 0, 1),
    ApiRegistration::new(ApiKey::DescribeTopicPartitions, "DescribeTopicPartitions", 0, 0),
];

/// One request of the metadata plane.
#[derive(Debug)]
pub struct Question<'a> {
    /// The cluster.
    pub image: &'a Arc<ClusterImage>,
    /// The addresses that this client is told, in step with the image.
    pub addresses: &'a Arc<AddressBook>,
    /// The API, one of [`ANSWERED`].
    pub key: ApiKey,
    /// Its version, one of those that are answered.
    pub version: i16,
    /// What stands behind the request's header, unchecked.
    pub body: Bytes,
    /// `auto.create.topics.enable`, as it is set on the brokers.
    pub auto_create_topics: bool,
    /// What is known of topics that the image doesn't show: the error code of each, by name.
    pub missing: &'a HashMap<String, i16>,
}

/// What can be said to a question.
#[derive(Debug)]
pub enum Answer {
    /// The body of the answer.
    Reply(Reply),
    /// Topics that neither the image shows nor [`Question::missing`] names: find out, then ask again.
    /// None of them has an invalid name.
    Missing {
        /// Their names.
        names: Vec<String>,
        /// Whether the request and `auto.create.topics.enable` allow that they are made.
        create: bool,
    },
    /// The image can't tell: the upstream must be asked.
    AskUpstream,
}

/// Answers questions; keeps encoded topics between them.
#[derive(Debug, Default)]
pub struct Answers {}

impl Answers {
    /// Answers one question.
    ///
    /// # Errors
    /// The request can't be read: its connection is closed.
    pub fn answer(&self, question: &Question<'_>) -> Result<Answer, HandlerError> {
        let _ = question;
        Ok(Answer::AskUpstream)
    }
}
