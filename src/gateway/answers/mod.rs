//! The answers that are made here, from one view: pure.

mod access;
mod coordinator;
mod metadata;
mod partitions;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Decodable;

use self::access::Access;
use super::addresses::AddressBook;
use crate::cluster::ClusterImage;
use crate::config::gateway::GatewayAuthorizer;
use crate::kafka::api::{ApiRegistration, HandlerError, Reply, describe_cluster};
use crate::kafka::response_cache::ResponseCache;
use crate::kafka::security::Caller;
use crate::kafka::wire::{guard, schema};

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
    /// Who asks; `None` if that is not known.
    pub caller: Option<&'a Caller>,
    /// Who decides what a client may see.
    pub authorizer: &'a GatewayAuthorizer,
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

impl Question<'_> {
    /// What is known of a topic that the image doesn't show.
    fn missing(&self, name: &str) -> Option<i16> {
        self.missing.get(name).copied()
    }

    fn decode<R: Decodable>(&self) -> Result<R, HandlerError> {
        if let Some(schema) = schema::of(self.key) {
            guard::check(schema, self.version, &self.body)
                .map_err(|refused| HandlerError::Malformed(refused.to_string()))?;
        }
        R::decode(&mut self.body.clone(), self.version)
            .map_err(|error| HandlerError::Malformed(error.to_string()))
    }
}

/// Answers questions; keeps encoded topics between them.
#[derive(Debug, Default)]
pub struct Answers {
    cache: ResponseCache,
}

impl Answers {
    /// Answers one question.
    ///
    /// # Errors
    /// The request can't be read, or its answer not be encoded: its connection is closed.
    pub fn answer(&self, question: &Question<'_>) -> Result<Answer, HandlerError> {
        // The brokers of a cluster that is being migrated register elsewhere.
        if question.image.is_owned_by_kraft() {
            return Ok(Answer::AskUpstream);
        }
        let Some(access) = Access::of(question) else { return Ok(Answer::AskUpstream) };
        match question.key {
            ApiKey::Metadata => metadata::answer(question, &access, &self.cache),
            ApiKey::FindCoordinator => coordinator::answer(question, &access),
            ApiKey::DescribeCluster => {
                let Question { image, addresses, version, .. } = question;
                let request = question.decode()?;
                let bits = access.cluster();
                let answer = describe_cluster::describe(image, addresses, &request, *version, bits);
                Ok(Answer::Reply(Reply::encode(&answer, *version)?))
            }
            ApiKey::DescribeTopicPartitions => partitions::answer(question, &access),
            _ => Ok(Answer::AskUpstream),
        }
    }
}
