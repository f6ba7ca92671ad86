//! What the APIs that change topics have in common: deadlines, refusals, and the wait for leaders.

use std::future::Future;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::cluster::AdminError;

/// A code and a message, as a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The protocol's code.
    pub code: ResponseError,
    /// What goes with it; `None` where Kafka says nothing more than the code.
    pub message: Option<String>,
}

impl Refusal {
    /// A code with a message.
    pub fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Refusal { code, message: Some(message.into()) }
    }

    /// A code alone.
    pub fn bare(code: ResponseError) -> Self {
        Refusal { code, message: None }
    }
}

impl From<AdminError> for Refusal {
    fn from(error: AdminError) -> Self {
        Refusal::new(error.code, error.message)
    }
}

/// The fields of a result: 0 and null for success. An error counts in the metrics.
pub fn fields(
    context: &RequestContext<'_>,
    result: Result<(), Refusal>,
) -> (i16, Option<StrBytes>) {
    match result {
        Ok(()) => (0, None),
        Err(refusal) => (context.error(refusal.code), refusal.message.map(StrBytes::from_string)),
    }
}

/// When a request gives up waiting: `timeout_ms` from when it came.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// A deadline of the request's `timeout_ms`; zero and less do not wait at all.
    pub fn new(timeout_ms: i32) -> Self {
        let timeout = u64::try_from(timeout_ms).ok().filter(|timeout| *timeout > 0);
        Deadline(timeout.map(|timeout| Instant::now() + Duration::from_millis(timeout)))
    }

    /// Waits for what `wait` does with the time that remains. `REQUEST_TIMED_OUT`, as in Kafka even
    /// though the change is made, if that is not enough.
    pub async fn wait<F>(self, wait: impl FnOnce(Duration) -> F) -> Result<(), Refusal>
    where
        F: Future<Output = bool>,
    {
        let in_time = match self.0 {
            Some(deadline) => wait(deadline.saturating_duration_since(Instant::now())).await,
            None => false,
        };
        if in_time { Ok(()) } else { Err(Refusal::bare(ResponseError::RequestTimedOut)) }
    }
}

/// Waits until the broker's image shows `partitions` partitions of a topic, each with a live leader.
pub async fn wait_for_leaders(
    context: &RequestContext<'_>,
    topic: &str,
    partitions: usize,
    timeout: Duration,
) -> bool {
    let image = &context.broker.image;
    let led = image.wait_for(timeout, |image| {
        let topic = image.topic(topic)?;
        let mut states = topic.partitions.values();
        let complete = topic.partitions.len() >= partitions;
        (complete && states.all(|state| image.is_alive(state.leader))).then_some(())
    });
    led.await.is_some()
}
