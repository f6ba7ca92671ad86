//! Topics that are made because a client asked `Metadata` for them.

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use parking_lot::Mutex;

use crate::broker::BrokerContext;
use crate::cluster::admin::TopicRequest;

/// Names that are being made now, so that a thousand clients who want one topic make it once.
#[derive(Debug, Default)]
pub struct AutoCreation {
    making: Mutex<HashSet<String>>,
}

impl AutoCreation {
    /// Makes a topic with the broker's defaults and answers what the client is told, which it
    /// retries: `LEADER_NOT_AVAILABLE` once the topic stands in the znodes,
    /// `UNKNOWN_TOPIC_OR_PARTITION` while another request is making it, else why it can't be made.
    pub async fn create(&self, broker: &BrokerContext, name: &str) -> ResponseError {
        self.create_as(broker, TopicRequest::with_defaults(name)).await
    }

    /// The same for a topic that is to be made in some way of its own.
    pub async fn create_as(&self, broker: &BrokerContext, request: TopicRequest) -> ResponseError {
        let name = &request.name.clone();
        if !self.making.lock().insert(name.to_owned()) {
            return ResponseError::UnknownTopicOrPartition;
        }
        let _making = Making { all: self, name };
        match broker.admin.create_if_missing(request).await {
            Ok(()) => ResponseError::LeaderNotAvailable,
            Err(error) if error.code == ResponseError::TopicAlreadyExists => {
                ResponseError::LeaderNotAvailable
            }
            Err(error) => {
                tracing::debug!(topic = name, %error, "topic not made");
                error.code
            }
        }
    }
}

struct Making<'a> {
    all: &'a AutoCreation,
    name: &'a str,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.all.making.lock().remove(self.name);
    }
}
