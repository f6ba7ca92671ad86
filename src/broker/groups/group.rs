//! One group of the classic protocol: who is in it, and what state it is in. Pure: time and member
//! ids come in as arguments, answers go out as [`Effect`]s.
//!
//! `kafka.coordinator.group.GroupMetadata` of Kafka 3.9. How it changes is in `rebalance`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::member::{Member, Protocol, Ticket};

/// The moment of a step, on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that nobody sets: deadlines are of this one.
    pub steady_ms: i64,
    /// Milliseconds since 1970: what is written is of this one.
    pub wall_ms: i64,
}

/// What a group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// It has no members; it may have offsets.
    Empty,
    /// Members join.
    PreparingRebalance,
    /// The leader makes the assignment.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
    /// It is gone, or has another coordinator.
    Dead,
}

impl GroupState {
    /// As `DescribeGroups` and `ListGroups` name it.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

/// What a member that joined is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its id; empty where it has none.
    pub member_id: Arc<str>,
    /// The generation, −1 with an error.
    pub generation: i32,
    /// `consumer`, `connect` and the like; none with an error.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that was chosen; none with an error.
    pub protocol: Option<Arc<str>>,
    /// Who makes the assignment.
    pub leader: Arc<str>,
    /// The leader need not make it: it stands already (KIP-814).
    pub skip_assignment: bool,
    /// For the leader, everybody: id, instance id, metadata.
    pub members: Vec<(Arc<str>, Option<Arc<str>>, Bytes)>,
    /// Why it did not join.
    pub error: Option<ResponseError>,
}

impl Joined {
    /// Not joined.
    pub fn failed(member_id: &Arc<str>, error: ResponseError) -> Joined {
        Joined {
            member_id: member_id.clone(),
            generation: NO_GENERATION,
            protocol_type: None,
            protocol: None,
            leader: Arc::from(""),
            skip_assignment: false,
            members: Vec::new(),
            error: Some(error),
        }
    }
}

/// What a member that synchronised is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// As in [`Joined`].
    pub protocol_type: Option<Arc<str>>,
    /// As in [`Joined`].
    pub protocol: Option<Arc<str>>,
    /// What it has to do.
    pub assignment: Bytes,
    /// Why it has none.
    pub error: Option<ResponseError>,
}

impl Synced {
    /// Not synchronised.
    pub fn failed(error: ResponseError) -> Synced {
        Synced { protocol_type: None, protocol: None, assignment: Bytes::new(), error: Some(error) }
    }
}

/// What follows from a step, to be carried out in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The answer to a `JoinGroup`.
    Joined(Ticket, Joined),
    /// The answer to a `SyncGroup`.
    Synced(Ticket, Synced),
    /// The group as it will be is to be written, then [`super::Group::stored`] called with this.
    Store(Store),
}

/// A write of the group that a step waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The generation that it belongs to.
    pub generation: i32,
    /// What every member is given.
    pub assignments: BTreeMap<Arc<str>, Bytes>,
    /// What is done when it is written.
    pub then: Then,
}

/// What waits for a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Nothing: the group became empty.
    Nothing,
    /// The assignment is handed out.
    HandOut,
    /// A static member that came back with another id is answered.
    Replaced(Box<Replaced>),
}

/// A static member that came back, and what it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    pub(super) before: Member,
    pub(super) new_id: Arc<str>,
    pub(super) leader_before: Arc<str>,
    pub(super) may_skip: bool,
}

/// The generation of nobody.
pub const NO_GENERATION: i32 = -1;

/// The initial wait for more members (`group.initial.rebalance.delay.ms`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InitialDelay {
    /// How long each wait is at most.
    pub step_ms: i64,
    /// How much of the rebalance timeout is left for further ones.
    pub left_ms: i64,
}

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its id.
    pub id: Arc<str>,
    pub(super) state: GroupState,
    /// When it came into its state, in milliseconds since 1970, if that is known.
    pub(super) state_since_ms: Option<i64>,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) generation: i32,
    pub(super) leader: Option<Arc<str>>,
    /// In the order in which they joined.
    pub(super) members: Vec<Member>,
    /// Ids that were given out, and when they are forgotten unless their members join.
    pub(super) pending: HashMap<Arc<str>, i64>,
    /// Who has not asked for its assignment yet.
    pub(super) unsynced: BTreeSet<Arc<str>>,
    /// When those that still have not are removed.
    pub(super) sync_deadline_ms: Option<i64>,
    /// When the rebalance goes on without those that have not joined again.
    pub(super) join_deadline_ms: Option<i64>,
    pub(super) initial_delay: Option<InitialDelay>,
    pub(super) new_member_added: bool,
    /// A write is under way, after which the assignment is handed out.
    pub(super) storing: bool,
}

impl Group {
    /// A group that nobody is in.
    pub fn new(id: Arc<str>, now: Now) -> Group {
        Group {
            id,
            state: GroupState::Empty,
            state_since_ms: Some(now.wall_ms),
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: Vec::new(),
            pending: HashMap::new(),
            unsynced: BTreeSet::new(),
            sync_deadline_ms: None,
            join_deadline_ms: None,
            initial_delay: None,
            new_member_added: false,
            storing: false,
        }
    }

    /// What it is doing.
    pub fn state(&self) -> GroupState {
        self.state
    }

    /// The newest generation.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// `consumer` and the like; `None` where nobody ever joined.
    pub fn protocol_type(&self) -> Option<&Arc<str>> {
        self.protocol_type.as_ref()
    }

    /// The protocol of the newest generation.
    pub fn protocol(&self) -> Option<&Arc<str>> {
        self.protocol.as_ref()
    }

    /// Who makes the assignments.
    pub fn leader(&self) -> Option<&Arc<str>> {
        self.leader.as_ref()
    }

    /// When it came into its state, in milliseconds since 1970.
    pub fn state_since_ms(&self) -> Option<i64> {
        self.state_since_ms
    }

    /// Everybody.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of this id.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| &*member.id == id)
    }

    pub(super) fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| &*member.id == id)
    }

    /// The id of the static member of this instance id.
    pub fn static_member(&self, instance_id: &str) -> Option<&Arc<str>> {
        let found = self.members.iter().find(|m| m.instance_id.as_deref() == Some(instance_id));
        found.map(|member| &member.id)
    }

    /// Whether this member makes the assignments.
    pub fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    pub(super) fn move_to(&mut self, state: GroupState, now: Now) {
        self.state = state;
        self.state_since_ms = Some(now.wall_ms);
    }

    /// Whether somebody with these protocols can be in it together with the others.
    pub(super) fn takes(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|protocol| self.members.iter().all(|member| member.supports(&protocol.name)))
    }

    /// The protocol that most members like best, of those that all support.
    pub(super) fn choose_protocol(&self) -> Option<Arc<str>> {
        let first = self.members.first()?;
        let names = first.protocols.iter().map(|protocol| protocol.name.clone());
        let common: Vec<Arc<str>> =
            names.filter(|name| self.members.iter().all(|member| member.supports(name))).collect();
        let votes: Vec<Arc<str>> = self.members.iter().filter_map(|m| m.vote(&common)).collect();
        let count = |name: &Arc<str>| votes.iter().filter(|vote| *vote == name).count();
        // The first of equals, so that the choice does not depend on chance.
        common.iter().rev().max_by_key(|name| count(name)).cloned()
    }

    /// The longest that any member wants to be waited for.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.members.iter().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    pub(super) fn all_joined(&self) -> bool {
        self.members.iter().all(Member::is_joining) && self.pending.is_empty()
    }

    /// Everybody as the leader is told.
    pub(super) fn roster(&self) -> Vec<(Arc<str>, Option<Arc<str>>, Bytes)> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let told = |m: &Member| (m.id.clone(), m.instance_id.clone(), m.metadata(protocol));
        self.members.iter().map(told).collect()
    }

    /// What a member of the newest generation is told.
    pub(super) fn joined(&self, member_id: &Arc<str>, with_members: bool) -> Joined {
        Joined {
            member_id: member_id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| Arc::from("")),
            skip_assignment: false,
            members: if with_members { self.roster() } else { Vec::new() },
            error: None,
        }
    }

    /// Takes a member out; another one leads where it did.
    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let at = self.members.iter().position(|member| &*member.id == id)?;
        let member = self.members.remove(at);
        if self.is_leader(id) {
            self.leader = self.members.first().map(|first| first.id.clone());
        }
        self.unsynced.remove(id);
        self.pending.remove(id);
        Some(member)
    }
}
