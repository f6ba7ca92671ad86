//! A member of a group, and what it waits for.

use std::sync::Arc;

use bytes::Bytes;

/// A protocol that a member supports, with the member's own metadata for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// The name, such as `range` or `cooperative-sticky`.
    pub name: Arc<str>,
    /// What the member has to say about it: for consumers, their subscription.
    pub metadata: Bytes,
}

/// Names an answer that is owed: chosen by whoever asks, given back with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A member of a group (`kafka.coordinator.group.MemberMetadata`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id, made by the coordinator.
    pub id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// The client id of its connection.
    pub client_id: Arc<str>,
    /// Where it comes from, as Kafka writes it: `/127.0.0.1`.
    pub client_host: Arc<str>,
    /// How long the group waits for it to join again, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// What it supports, best first.
    pub protocols: Vec<Protocol>,
    /// What the leader gave it.
    pub assignment: Bytes,
    /// The `JoinGroup` that it waits for.
    pub(super) joining: Option<Ticket>,
    /// The `SyncGroup` that it waits for.
    pub(super) syncing: Option<Ticket>,
    /// It has never been told of a generation, so it can't send heartbeats: it may run out of time
    /// though it waits.
    pub(super) is_new: bool,
    /// When it is taken for dead, in milliseconds of the coordinator's clock.
    pub(super) deadline_ms: i64,
}

impl Member {
    /// Whether it waits for the rebalance to end.
    pub fn is_joining(&self) -> bool {
        self.joining.is_some()
    }

    /// When it is taken for dead, unless it waits for an answer of ours.
    pub(super) fn dies_at(&self) -> Option<i64> {
        let waits = self.joining.is_some() || self.syncing.is_some();
        (self.is_new || !waits).then_some(self.deadline_ms)
    }

    /// Whether it says the same of its protocols as before.
    pub(super) fn matches(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// Whether it supports a protocol.
    pub(super) fn supports(&self, name: &str) -> bool {
        self.protocols.iter().any(|protocol| &*protocol.name == name)
    }

    /// What it says about a protocol.
    pub fn metadata(&self, name: &str) -> Bytes {
        let found = self.protocols.iter().find(|protocol| &*protocol.name == name);
        found.map(|protocol| protocol.metadata.clone()).unwrap_or_default()
    }

    /// The first of its protocols that is among the candidates.
    pub(super) fn vote(&self, candidates: &[Arc<str>]) -> Option<Arc<str>> {
        let best = self.protocols.iter().find(|protocol| candidates.contains(&protocol.name));
        best.map(|protocol| protocol.name.clone())
    }
}
