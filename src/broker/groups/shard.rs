//! The groups of one partition of `__consumer_offsets`: all that its leader knows of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

use super::group::{Effect, Group, GroupState, Joined, Now, Store, Synced};
use super::member::{Member, Protocol, Ticket};
use super::offsets::{Offsets, TopicPartition};
use super::rebalance::GroupLimits;
use super::records::{GroupValue, Key, MemberValue, OffsetValue};

/// A record to be written: `None` is a tombstone.
pub type Record = (Key, Option<Bytes>);

/// Writes records into the partition. The offset of the first, or why they can't be written.
pub type Append<'a> = dyn FnMut(&[Record]) -> Result<i64, ResponseError> + 'a;

/// A group with its offsets.
#[derive(Debug)]
pub struct Entry {
    /// Who is in it.
    pub group: Group,
    /// What it has committed.
    pub offsets: Offsets,
    /// When it was last said to be due.
    deadline_ms: Option<i64>,
}

/// Who waits for an answer.
#[derive(Debug)]
enum Waiter {
    Join(oneshot::Sender<Joined>),
    Sync(oneshot::Sender<Synced>),
}

/// The groups of one partition.
#[derive(Debug, Default)]
pub struct Shard {
    groups: HashMap<Arc<str>, Entry>,
    waiters: HashMap<Ticket, Waiter>,
    tickets: u64,
    /// What is due next, first of all.
    deadlines: BTreeSet<(i64, Arc<str>)>,
}

impl Shard {
    /// The group of this id.
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.groups.get(id)
    }

    /// The same, to be changed: by [`Shard::change`] where members or time play a part.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Entry> {
        self.groups.get_mut(id)
    }

    /// Every group.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.groups.values()
    }

    /// The group of this id, made if it is not there.
    pub fn or_new(&mut self, id: &Arc<str>, now: Now) -> &mut Entry {
        self.groups.entry(id.clone()).or_insert_with(|| Entry {
            group: Group::new(id.clone(), now),
            offsets: Offsets::default(),
            deadline_ms: None,
        })
    }

    /// A place for the answer to a `JoinGroup`.
    pub fn expect_join(&mut self) -> (Ticket, oneshot::Receiver<Joined>) {
        let (sender, receiver) = oneshot::channel();
        (self.ticket(Waiter::Join(sender)), receiver)
    }

    /// A place for the answer to a `SyncGroup`.
    pub fn expect_sync(&mut self) -> (Ticket, oneshot::Receiver<Synced>) {
        let (sender, receiver) = oneshot::channel();
        (self.ticket(Waiter::Sync(sender)), receiver)
    }

    fn ticket(&mut self, waiter: Waiter) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiters.insert(ticket, waiter);
        ticket
    }

    /// Changes a group, and carries out what follows.
    pub fn change<T>(
        &mut self,
        id: &str,
        now: Now,
        limits: &GroupLimits,
        append: &mut Append<'_>,
        change: impl FnOnce(&mut Group, &mut Vec<Effect>) -> T,
    ) -> Option<T> {
        let entry = self.groups.get_mut(id)?;
        let mut effects = Vec::new();
        let outcome = change(&mut entry.group, &mut effects);
        let mut next = std::mem::take(&mut effects).into_iter();
        let mut later = Vec::new();
        loop {
            let Some(effect) = next.next() else {
                if later.is_empty() {
                    break;
                }
                next = std::mem::take(&mut later).into_iter();
                continue;
            };
            match effect {
                Effect::Joined(ticket, joined) => {
                    if let Some(Waiter::Join(waiter)) = self.waiters.remove(&ticket) {
                        _ = waiter.send(joined);
                    }
                }
                Effect::Synced(ticket, synced) => {
                    if let Some(Waiter::Sync(waiter)) = self.waiters.remove(&ticket) {
                        _ = waiter.send(synced);
                    }
                }
                Effect::Store(store) => {
                    let record = (Key::Group(entry.group.id.clone()), Some(value(entry, &store)));
                    let failed = append(&[record]).err();
                    entry.group.stored(store, failed, now, limits, &mut later);
                }
            }
        }
        self.note_deadline(id);
        Some(outcome)
    }

    fn note_deadline(&mut self, id: &str) {
        let Some(entry) = self.groups.get_mut(id) else { return };
        let next = entry.group.next_deadline_ms();
        if next == entry.deadline_ms {
            return;
        }
        if let Some(before) = std::mem::replace(&mut entry.deadline_ms, next) {
            self.deadlines.remove(&(before, entry.group.id.clone()));
        }
        if let Some(next) = next {
            self.deadlines.insert((next, entry.group.id.clone()));
        }
    }

    /// When something is due next.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now, limits: &GroupLimits, append: &mut Append<'_>) {
        let due: Vec<Arc<str>> = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now.steady_ms)
            .map(|(_, id)| id.clone())
            .collect();
        for id in due {
            self.change(&id, now, limits, append, |group, effects| {
                group.tick(now, limits, effects);
            });
        }
    }

    /// Removes a group that has nothing any more, and says whether it did.
    pub fn drop_if_gone(&mut self, id: &str) -> bool {
        let gone = self.groups.get(id).is_some_and(|entry| {
            entry.group.state() == GroupState::Empty && entry.offsets.is_empty()
        });
        if gone {
            self.remove(id);
        }
        gone
    }

    /// Removes a group with all it has.
    pub fn remove(&mut self, id: &str) {
        if let Some(entry) = self.groups.remove(id)
            && let Some(deadline) = entry.deadline_ms
        {
            self.deadlines.remove(&(deadline, entry.group.id));
        }
    }

    /// Sends away whoever waits: the partition has another leader.
    pub fn unload(&mut self, error: ResponseError) {
        let mut effects = Vec::new();
        for entry in self.groups.values_mut() {
            entry.group.unload(error, &mut effects);
        }
        for effect in effects {
            match effect {
                Effect::Joined(ticket, joined) => {
                    if let Some(Waiter::Join(waiter)) = self.waiters.remove(&ticket) {
                        _ = waiter.send(joined);
                    }
                }
                Effect::Synced(ticket, synced) => {
                    if let Some(Waiter::Sync(waiter)) = self.waiters.remove(&ticket) {
                        _ = waiter.send(synced);
                    }
                }
                Effect::Store(_) => {}
            }
        }
        self.groups.clear();
        self.deadlines.clear();
    }

    /// Takes up a record of the log. `transaction` is the producer of a transaction that it belongs
    /// to.
    pub fn restore(
        &mut self,
        key: Key,
        value: Option<Restored>,
        at: i64,
        transaction: Option<i64>,
        now: Now,
    ) {
        match (key, value) {
            (Key::Offset { group, topic, partition }, Some(Restored::Offset(value))) => {
                let entry = self.or_new(&group, now);
                let partition = (topic, partition);
                match transaction {
                    Some(producer) => {
                        entry.offsets.commit_in_transaction(producer, partition, value, at);
                    }
                    None => entry.offsets.commit(partition, value, at),
                }
            }
            (Key::Offset { group, topic, partition }, _) => {
                if let Some(entry) = self.groups.get_mut(&group) {
                    entry.offsets.forget(&(topic, partition));
                }
            }
            (Key::Group(id), Some(Restored::Group(value))) => {
                let entry = self.or_new(&id, now);
                entry.group = Group::restored(id.clone(), value, now);
                self.note_deadline(&id);
            }
            (Key::Group(id), _) => {
                if let Some(entry) = self.groups.get_mut(&id) {
                    entry.group = Group::new(id.clone(), now);
                    self.note_deadline(&id);
                }
            }
        }
    }

    /// Every record was taken up: a group of which nothing is left is none.
    pub fn restored(&mut self) {
        let gone: Vec<Arc<str>> = self
            .groups
            .values()
            .filter(|entry| {
                entry.offsets.is_empty()
                    && entry.group.state() == GroupState::Empty
                    && entry.group.generation() == 0
            })
            .map(|entry| entry.group.id.clone())
            .collect();
        for id in gone {
            self.remove(&id);
        }
    }

    /// A producer's transaction ended in this partition.
    pub fn end_transaction(&mut self, producer: i64, committed: bool) {
        for entry in self.groups.values_mut() {
            entry.offsets.end_transaction(producer, committed);
        }
    }
}

/// The value of a record that was read.
#[derive(Debug)]
pub enum Restored {
    /// A committed offset.
    Offset(OffsetValue),
    /// A group.
    Group(GroupValue),
}

/// The record of a group with assignments that it does not have yet.
fn value(entry: &Entry, store: &Store) -> Bytes {
    let group = &entry.group;
    let protocol = group.protocol().map_or("", AsRef::as_ref);
    let members = group.members().iter().map(|member| MemberValue {
        id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout_ms,
        subscription: member.metadata(protocol),
        assignment: store.assignments.get(&member.id).cloned().unwrap_or_default(),
    });
    let value = GroupValue {
        protocol_type: group.protocol_type().cloned().unwrap_or_else(|| Arc::from("")),
        generation: store.generation,
        protocol: group.protocol().cloned(),
        leader: group.leader().cloned().filter(|_| !group.members().is_empty()),
        state_timestamp: group.state_since_ms().unwrap_or(-1),
        members: members.collect(),
    };
    value.encode()
}

impl Group {
    /// A group as its record has it: its members live from now on for a session.
    fn restored(id: Arc<str>, value: GroupValue, now: Now) -> Group {
        let mut group = Group::new(id, now);
        let protocol = value.protocol.clone().unwrap_or_else(|| Arc::from(""));
        let state = if value.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        let known = value.state_timestamp >= 0;
        let members = value.members.into_iter().map(|member| Member {
            id: member.id,
            instance_id: member.instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            protocols: vec![Protocol { name: protocol.clone(), metadata: member.subscription }],
            assignment: member.assignment,
            joining: None,
            syncing: None,
            is_new: false,
            deadline_ms: now.steady_ms + i64::from(member.session_timeout_ms),
        });
        group.members = members.collect();
        group.state = state;
        group.state_since_ms = known.then_some(value.state_timestamp);
        group.protocol_type = Some(value.protocol_type).filter(|kind| !kind.is_empty());
        group.protocol = value.protocol;
        group.generation = value.generation;
        group.leader = value.leader.filter(|id| group.member(id).is_some());
        if group.leader.is_none() {
            group.leader = group.members.first().map(|member| member.id.clone());
        }
        group
    }
}

/// The offsets of a group that may go, for age.
pub fn expired(
    entry: &Entry,
    subscribed: impl Fn(&Group) -> Option<BTreeSet<Arc<str>>>,
    now_ms: i64,
    retention_ms: i64,
) -> Vec<TopicPartition> {
    let group = &entry.group;
    match (group.protocol_type().map(AsRef::as_ref), group.state()) {
        // Nobody ever joined: every offset for itself.
        (None, _) => {
            entry.offsets.expired(now_ms, retention_ms, |_, value| Some(value.commit_timestamp))
        }
        (Some(_), GroupState::Empty) => entry.offsets.expired(now_ms, retention_ms, |_, value| {
            Some(group.state_since_ms().unwrap_or(value.commit_timestamp))
        }),
        // What its members no longer read.
        (Some("consumer"), GroupState::Stable) => {
            let Some(topics) = subscribed(group) else { return Vec::new() };
            entry.offsets.expired(now_ms, retention_ms, |(topic, _), value| {
                (!topics.contains(topic)).then_some(value.commit_timestamp)
            })
        }
        _ => Vec::new(),
    }
}
