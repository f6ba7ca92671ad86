//! Topics that are made because a client asked `Metadata` for them.

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use parking_lot::Mutex;

use crate::broker::BrokerContext;

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
        if !self.making.lock().insert(name.to_owned()) {
            return ResponseError::UnknownTopicOrPartition;
        }
        let _making = Making { all: self, name };
        match broker.admin.auto_create_topic(name).await {
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
