//! How a group changes: joins, assignments, heartbeats, leaving, and what happens when time runs out.
//! Pure.
//!
//! `kafka.coordinator.group.GroupCoordinator` of Kafka 3.9, with the timers of its purgatories as
//! deadlines of the group.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::group::{
    Effect, Group, GroupState, InitialDelay, Joined, Now, Replaced, Store, Synced, Then,
};
use super::member::{Member, Protocol, Ticket};

/// A member that was told nothing yet can't send heartbeats: it is taken for dead after so long.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// What the broker's configuration says of every group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i64,
    /// `group.max.size`.
    pub max_size: usize,
}

/// A `JoinGroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Empty for one that has none yet.
    pub member_id: Arc<str>,
    /// The id that it gets if it needs one.
    pub new_id: Arc<str>,
    /// `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Where it comes from.
    pub client_host: Arc<str>,
    /// In milliseconds.
    pub rebalance_timeout_ms: i32,
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// `consumer` and the like.
    pub protocol_type: Arc<str>,
    /// Best first.
    pub protocols: Vec<Protocol>,
    /// Whether it must come back with the id that it gets (from version 4 on, KIP-394).
    pub needs_known_id: bool,
    /// Whether it knows that a leader may have nothing to assign (from version 9 on, KIP-814).
    pub may_skip_assignment: bool,
}

/// A `SyncGroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// Who.
    pub member_id: Arc<str>,
    /// `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// The generation that it is in.
    pub generation: i32,
    /// What it takes the group's to be, if it says.
    pub protocol_type: Option<Arc<str>>,
    /// What it takes the group's to be, if it says.
    pub protocol: Option<Arc<str>>,
    /// The leader's assignments.
    pub assignments: BTreeMap<Arc<str>, Bytes>,
}

impl Group {
    /// A member joins. The answer comes as an effect, of this step or of a later one.
    pub fn join(
        &mut self,
        join: Join,
        ticket: Ticket,
        now: Now,
        limits: &GroupLimits,
        effects: &mut Vec<Effect>,
    ) {
        if !self.accepts(&join.member_id, limits) {
            self.remove(&join.member_id);
            let nobody = Arc::from("");
            let error = ResponseError::GroupMaxSizeReached;
            effects.push(Effect::Joined(ticket, Joined::failed(&nobody, error)));
        } else if self.state == GroupState::Dead {
            let error = ResponseError::CoordinatorNotAvailable;
            effects.push(Effect::Joined(ticket, Joined::failed(&join.member_id, error)));
        } else if !self.takes(&join.protocol_type, &join.protocols) {
            let error = ResponseError::InconsistentGroupProtocol;
            effects.push(Effect::Joined(ticket, Joined::failed(&join.member_id, error)));
        } else if join.member_id.is_empty() {
            self.join_unknown(join, ticket, now, limits, effects);
        } else {
            self.join_known(join, ticket, now, limits, effects);
        }
        self.complete_join_if_all_are_there(now, effects);
    }

    /// Whether there is room for a member.
    fn accepts(&self, member_id: &str, limits: &GroupLimits) -> bool {
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                self.member(member_id).is_some_and(Member::is_joining)
                    || self.members.iter().filter(|m| m.is_joining()).count() < limits.max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.member(member_id).is_some() || self.members.len() < limits.max_size
            }
        }
    }

    fn join_unknown(
        &mut self,
        join: Join,
        ticket: Ticket,
        now: Now,
        limits: &GroupLimits,
        effects: &mut Vec<Effect>,
    ) {
        let id = join.new_id.clone();
        let old = join.instance_id.as_deref().and_then(|instance| self.static_member(instance));
        if let Some(old) = old.cloned() {
            self.replace(&old, join, ticket, now, limits, effects);
        } else if join.instance_id.is_none() && join.needs_known_id {
            self.pending.insert(id.clone(), now.steady_ms + i64::from(join.session_timeout_ms));
            let error = ResponseError::MemberIdRequired;
            effects.push(Effect::Joined(ticket, Joined::failed(&id, error)));
        } else {
            self.add(id, join, ticket, now, limits, effects);
        }
    }

    fn join_known(
        &mut self,
        join: Join,
        ticket: Ticket,
        now: Now,
        limits: &GroupLimits,
        effects: &mut Vec<Effect>,
    ) {
        let id = join.member_id.clone();
        if self.pending.contains_key(&id) {
            if join.instance_id.is_some() {
                // Kafka answers what its own broken assumption comes to.
                let error = ResponseError::UnknownServerError;
                effects.push(Effect::Joined(ticket, Joined::failed(&id, error)));
            } else {
                self.add(id, join, ticket, now, limits, effects);
            }
            return;
        }
        if let Err(error) = self.validate(&id, join.instance_id.as_deref()) {
            effects.push(Effect::Joined(ticket, Joined::failed(&id, error)));
            return;
        }
        let leads = self.is_leader(&id);
        let same = self.member(&id).is_some_and(|member| member.matches(&join.protocols));
        match self.state {
            GroupState::PreparingRebalance => {
                self.update(&id, join, ticket, effects);
            }
            // It may have missed the answer to its first one.
            GroupState::CompletingRebalance if same => {
                effects.push(Effect::Joined(ticket, self.joined(&id, leads)));
            }
            // A leader joins again to have the assignment made anew.
            GroupState::Stable if same && !leads => {
                effects.push(Effect::Joined(ticket, self.joined(&id, false)));
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.update(&id, join, ticket, effects);
                self.prepare_rebalance(now, limits, effects);
            }
            GroupState::Empty | GroupState::Dead => {
                let error = ResponseError::UnknownMemberId;
                effects.push(Effect::Joined(ticket, Joined::failed(&id, error)));
            }
        }
    }

    /// Whether this is a member, and, of a static one, the only one of its instance id.
    fn validate(&self, id: &str, instance_id: Option<&str>) -> Result<(), ResponseError> {
        match instance_id {
            Some(instance) => match self.static_member(instance) {
                Some(current) if **current == *id => Ok(()),
                Some(_) => Err(ResponseError::FencedInstanceId),
                None => Err(ResponseError::UnknownMemberId),
            },
            None if self.member(id).is_some() => Ok(()),
            None => Err(ResponseError::UnknownMemberId),
        }
    }

    fn add(
        &mut self,
        id: Arc<str>,
        join: Join,
        ticket: Ticket,
        now: Now,
        limits: &GroupLimits,
        effects: &mut Vec<Effect>,
    ) {
        if self.state == GroupState::PreparingRebalance && self.generation == 0 {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        self.pending.remove(&id);
        self.leader.get_or_insert_with(|| id.clone());
        self.members.push(Member {
            id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
            joining: Some(ticket),
            syncing: None,
            is_new: true,
            deadline_ms: now.steady_ms + NEW_MEMBER_JOIN_TIMEOUT_MS,
        });
        self.prepare_rebalance(now, limits, effects);
    }

    /// A member says anew what it supports, and waits.
    fn update(&mut self, id: &str, join: Join, ticket: Ticket, effects: &mut Vec<Effect>) {
        let Some(member) = self.member_mut(id) else { return };
        member.protocols = join.protocols;
        member.rebalance_timeout_ms = join.rebalance_timeout_ms;
        member.session_timeout_ms = join.session_timeout_ms;
        if let Some(before) = member.joining.replace(ticket) {
            // Its connection was lost, or it would not ask again.
            let error = ResponseError::RebalanceInProgress;
            effects.push(Effect::Joined(before, Joined::failed(&Arc::from(id), error)));
        }
    }

    /// A static member came back without its id: it gets another, and the old one is fenced.
    fn replace(
        &mut self,
        old: &Arc<str>,
        join: Join,
        ticket: Ticket,
        now: Now,
        limits: &GroupLimits,
        effects: &mut Vec<Effect>,
    ) {
        let leader_before = self.leader.clone().unwrap_or_else(|| Arc::from(""));
        let new_id = join.new_id.clone();
        let leads = self.is_leader(old);
        let Some(member) = self.member_mut(old) else { return };
        let fenced = ResponseError::FencedInstanceId;
        if let Some(joining) = member.joining.take() {
            effects.push(Effect::Joined(joining, Joined::failed(old, fenced)));
        }
        if let Some(syncing) = member.syncing.take() {
            effects.push(Effect::Synced(syncing, Synced::failed(fenced)));
        }
        let before = member.clone();
        member.id = new_id.clone();
        member.client_id = join.client_id;
        member.client_host = join.client_host;
        member.protocols = join.protocols;
        member.rebalance_timeout_ms = join.rebalance_timeout_ms;
        member.session_timeout_ms = join.session_timeout_ms;
        member.joining = Some(ticket);
        member.deadline_ms = now.steady_ms + i64::from(member.session_timeout_ms);
        if leads {
            self.leader = Some(new_id.clone());
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(new_id.clone());
        }
        match self.state {
            // Nothing changes for the others, unless another protocol would be chosen now.
            GroupState::Stable if self.choose_protocol() == self.protocol => {
                let replaced =
                    Replaced { before, new_id, leader_before, may_skip: join.may_skip_assignment };
                effects.push(Effect::Store(Store {
                    generation: self.generation,
                    assignments: self.assignments(),
                    then: Then::Replaced(Box::new(replaced)),
                }));
            }
            // The leader may already assign for the old id.
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.prepare_rebalance(now, limits, effects);
            }
            GroupState::PreparingRebalance | GroupState::Empty | GroupState::Dead => {}
        }
    }

    /// What everybody has to do.
    pub(super) fn assignments(&self) -> BTreeMap<Arc<str>, Bytes> {
        self.members.iter().map(|m| (m.id.clone(), m.assignment.clone())).collect()
    }

    /// Has everybody join again, unless they are at it.
    fn prepare_rebalance(&mut self, now: Now, limits: &GroupLimits, effects: &mut Vec<Effect>) {
        match self.state {
            GroupState::PreparingRebalance | GroupState::Dead => return,
            GroupState::CompletingRebalance => {
                self.fail_assignment(ResponseError::RebalanceInProgress, now, effects);
            }
            GroupState::Empty | GroupState::Stable => {}
        }
        self.sync_deadline_ms = None;
        let timeout = self.rebalance_timeout_ms();
        let delay = limits.initial_rebalance_delay_ms;
        if self.state == GroupState::Empty {
            let left_ms = (timeout - delay).max(0);
            self.initial_delay = Some(InitialDelay { step_ms: delay, left_ms });
            self.join_deadline_ms = Some(now.steady_ms + delay);
        } else {
            self.initial_delay = None;
            self.join_deadline_ms = Some(now.steady_ms + timeout);
        }
        self.move_to(GroupState::PreparingRebalance, now);
    }

    fn complete_join_if_all_are_there(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let preparing = self.state == GroupState::PreparingRebalance;
        if preparing && self.initial_delay.is_none() && self.all_joined() {
            self.complete_join(now, effects);
        }
    }

    /// Everybody is there, or those that are not are waited for no longer.
    fn complete_join(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.initial_delay = None;
        let late: Vec<Arc<str>> = self
            .members
            .iter()
            .filter(|member| !member.is_joining() && member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in late {
            self.remove(&id);
        }
        if !self.elect() && !self.members.is_empty() {
            // Static members alone, none of which came: they are waited for until they are dead.
            self.join_deadline_ms = Some(now.steady_ms + self.rebalance_timeout_ms());
            return;
        }
        self.join_deadline_ms = None;
        self.generation = self.generation.wrapping_add(1);
        self.unsynced.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.move_to(GroupState::Empty, now);
            effects.push(Effect::Store(Store {
                generation: self.generation,
                assignments: BTreeMap::new(),
                then: Then::Nothing,
            }));
            return;
        }
        self.protocol = self.choose_protocol();
        self.move_to(GroupState::CompletingRebalance, now);
        self.sync_deadline_ms = Some(now.steady_ms + self.rebalance_timeout_ms());
        let ids: Vec<Arc<str>> = self.members.iter().map(|member| member.id.clone()).collect();
        for id in ids {
            let joined = self.joined(&id, self.is_leader(&id));
            let Some(member) = self.member_mut(&id) else { continue };
            let ticket = member.joining.take();
            member.deadline_ms = now.steady_ms + i64::from(member.session_timeout_ms);
            member.is_new = false;
            self.unsynced.insert(id);
            effects.extend(ticket.map(|ticket| Effect::Joined(ticket, joined)));
        }
    }

    /// Makes sure that the leader is one that joined. False if nobody did.
    fn elect(&mut self) -> bool {
        let leader = self.leader.as_deref().and_then(|id| self.member(id));
        let Some(leader) = leader else { return false };
        if leader.is_joining() {
            return true;
        }
        let joined = self.members.iter().find(|member| member.is_joining());
        let Some(joined) = joined.map(|member| member.id.clone()) else { return false };
        self.leader = Some(joined);
        true
    }

    /// A member asks for its assignment; the leader brings those of all.
    pub fn sync(&mut self, sync: Sync, ticket: Ticket, now: Now, effects: &mut Vec<Effect>) {
        if let Err(error) = self.validate_sync(&sync) {
            effects.push(Effect::Synced(ticket, Synced::failed(error)));
            return;
        }
        self.unsynced.remove(&sync.member_id);
        if self.unsynced.is_empty() {
            self.sync_deadline_ms = None;
        }
        let leads = self.is_leader(&sync.member_id);
        let stable = self.state == GroupState::Stable;
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        let Some(member) = self.member_mut(&sync.member_id) else { return };
        if stable {
            member.deadline_ms = now.steady_ms + i64::from(member.session_timeout_ms);
            let assignment = member.assignment.clone();
            let synced = Synced { protocol_type, protocol, assignment, error: None };
            effects.push(Effect::Synced(ticket, synced));
            return;
        }
        if let Some(before) = member.syncing.replace(ticket) {
            let error = ResponseError::RebalanceInProgress;
            effects.push(Effect::Synced(before, Synced::failed(error)));
        }
        if leads && !self.storing {
            self.storing = true;
            let mut given = sync.assignments;
            let assignments = self
                .members
                .iter()
                .map(|member| (member.id.clone(), given.remove(&member.id).unwrap_or_default()))
                .collect();
            let generation = self.generation;
            effects.push(Effect::Store(Store { generation, assignments, then: Then::HandOut }));
        }
    }

    fn validate_sync(&self, sync: &Sync) -> Result<(), ResponseError> {
        if self.state == GroupState::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.validate(&sync.member_id, sync.instance_id.as_deref())?;
        if sync.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        let differs = |said: &Option<Arc<str>>, is: &Option<Arc<str>>| said.is_some() && said != is;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(ResponseError::UnknownMemberId),
            GroupState::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }

    /// A write that a step asked for is done, or failed.
    pub fn stored(
        &mut self,
        store: Store,
        failed: Option<ResponseError>,
        now: Now,
        limits: &GroupLimits,
        effects: &mut Vec<Effect>,
    ) {
        match store.then {
            Then::Nothing => {}
            Then::HandOut => {
                self.storing = false;
                let current = self.state == GroupState::CompletingRebalance
                    && self.generation == store.generation;
                if !current {
                    return;
                }
                if let Some(error) = failed {
                    self.fail_assignment(error, now, effects);
                    self.prepare_rebalance(now, limits, effects);
                    return;
                }
                let mut assignments = store.assignments;
                for member in &mut self.members {
                    member.assignment = assignments.remove(&member.id).unwrap_or_default();
                }
                self.hand_out(None, now, effects);
                self.move_to(GroupState::Stable, now);
            }
            Then::Replaced(replaced) => self.answer_replaced(*replaced, failed, effects),
        }
    }

    fn answer_replaced(
        &mut self,
        replaced: Replaced,
        failed: Option<ResponseError>,
        effects: &mut Vec<Effect>,
    ) {
        let Replaced { before, new_id, leader_before, may_skip } = replaced;
        let leads = self.is_leader(&new_id);
        let mut joined = self.joined(&new_id, may_skip && leads);
        let Some(member) = self.member_mut(&new_id) else { return };
        // A rebalance that began meanwhile answers it.
        let Some(ticket) = member.joining.take() else { return };
        if let Some(error) = failed {
            let old = before.id.clone();
            let deadline_ms = member.deadline_ms;
            *member = Member { joining: None, syncing: None, deadline_ms, ..before };
            if leads {
                self.leader = Some(old);
            }
            let nobody = Arc::from("");
            effects.push(Effect::Joined(ticket, Joined::failed(&nobody, error)));
            return;
        }
        if may_skip {
            joined.skip_assignment = leads;
        } else {
            // An older client must not take itself for the leader: what it would assign is not
            // handed out.
            joined.leader = leader_before;
        }
        effects.push(Effect::Joined(ticket, joined));
    }

    /// Takes everybody's assignment away, and says why.
    fn fail_assignment(&mut self, error: ResponseError, now: Now, effects: &mut Vec<Effect>) {
        for member in &mut self.members {
            member.assignment = Bytes::new();
        }
        self.hand_out(Some(error), now, effects);
    }

    /// Answers those that wait for their assignment.
    fn hand_out(&mut self, error: Option<ResponseError>, now: Now, effects: &mut Vec<Effect>) {
        let (protocol_type, protocol) = match error {
            None => (self.protocol_type.clone(), self.protocol.clone()),
            Some(_) => (None, None),
        };
        for member in &mut self.members {
            let Some(ticket) = member.syncing.take() else { continue };
            member.deadline_ms = now.steady_ms + i64::from(member.session_timeout_ms);
            let synced = Synced {
                protocol_type: protocol_type.clone(),
                protocol: protocol.clone(),
                assignment: member.assignment.clone(),
                error,
            };
            effects.push(Effect::Synced(ticket, synced));
        }
    }

    /// A member says that it lives.
    ///
    /// # Errors
    /// Kafka's: what the member has to do instead.
    pub fn heartbeat(
        &mut self,
        id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Now,
    ) -> Result<(), ResponseError> {
        if self.state == GroupState::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.validate(id, instance_id)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if self.state == GroupState::Empty {
            return Err(ResponseError::UnknownMemberId);
        }
        self.lives(id, now);
        match self.state {
            GroupState::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn lives(&mut self, id: &str, now: Now) {
        if let Some(member) = self.member_mut(id) {
            member.deadline_ms = now.steady_ms + i64::from(member.session_timeout_ms);
        }
    }

    /// Whether offsets may be committed by whoever says to be this member; it lives then.
    ///
    /// # Errors
    /// Kafka's.
    pub fn may_commit(
        &mut self,
        id: &str,
        instance_id: Option<&str>,
        generation: i32,
        transactional: bool,
        now: Now,
    ) -> Result<(), ResponseError> {
        if self.state == GroupState::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if generation >= 0 || !id.is_empty() || instance_id.is_some() {
            self.validate(id, instance_id)?;
            if generation != self.generation {
                return Err(ResponseError::IllegalGeneration);
            }
        } else if !transactional && self.state != GroupState::Empty {
            // Where there are members, nobody else commits.
            return Err(ResponseError::UnknownMemberId);
        }
        match self.state {
            GroupState::CompletingRebalance if !transactional => {
                Err(ResponseError::RebalanceInProgress)
            }
            _ => {
                self.lives(id, now);
                Ok(())
            }
        }
    }

    /// A member goes, by its id, or by its instance id alone where an operator takes it out.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`.
    pub fn leave(
        &mut self,
        id: &str,
        instance_id: Option<&str>,
        now: Now,
        limits: &GroupLimits,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ResponseError> {
        if id.is_empty() {
            let current = instance_id.and_then(|instance| self.static_member(instance)).cloned();
            let current = current.ok_or(ResponseError::UnknownMemberId)?;
            self.take_out(&current, now, limits, effects);
            return Ok(());
        }
        if self.pending.remove(id).is_some() {
            self.complete_join_if_all_are_there(now, effects);
            return Ok(());
        }
        self.validate(id, instance_id)?;
        self.take_out(id, now, limits, effects);
        Ok(())
    }

    fn take_out(&mut self, id: &str, now: Now, limits: &GroupLimits, effects: &mut Vec<Effect>) {
        let Some(member) = self.remove(id) else { return };
        let error = ResponseError::UnknownMemberId;
        if let Some(ticket) = member.joining {
            effects.push(Effect::Joined(ticket, Joined::failed(&Arc::from(""), error)));
        }
        if let Some(ticket) = member.syncing {
            effects.push(Effect::Synced(ticket, Synced::failed(error)));
        }
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.prepare_rebalance(now, limits, effects);
                self.complete_join_if_all_are_there(now, effects);
            }
            GroupState::PreparingRebalance => self.complete_join_if_all_are_there(now, effects),
            GroupState::Empty | GroupState::Dead => {}
        }
    }

    /// When something runs out next.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        let members = self.members.iter().filter_map(Member::dies_at);
        let pending = self.pending.values().copied();
        let own = [self.join_deadline_ms, self.sync_deadline_ms].into_iter().flatten();
        members.chain(pending).chain(own).min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now, limits: &GroupLimits, effects: &mut Vec<Effect>) {
        let due = |deadline: i64| deadline <= now.steady_ms;
        let before = self.pending.len();
        self.pending.retain(|_, deadline| !due(*deadline));
        if self.pending.len() < before {
            self.complete_join_if_all_are_there(now, effects);
        }
        let dead: Vec<Arc<str>> = self
            .members
            .iter()
            .filter(|member| member.dies_at().is_some_and(due))
            .map(|member| member.id.clone())
            .collect();
        for id in dead {
            self.take_out(&id, now, limits, effects);
        }
        if self.sync_deadline_ms.is_some_and(due) {
            self.sync_deadline_ms = None;
            let silent = std::mem::take(&mut self.unsynced);
            if !silent.is_empty() {
                for id in silent {
                    self.remove(&id);
                }
                self.prepare_rebalance(now, limits, effects);
                self.complete_join_if_all_are_there(now, effects);
            }
        }
        if self.state == GroupState::PreparingRebalance && self.join_deadline_ms.is_some_and(due) {
            self.join_time_is_up(now, effects);
        }
    }

    /// The first rebalance of a group waits on while members come, as long as its timeout allows.
    fn join_time_is_up(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some(InitialDelay { step_ms, left_ms }) = self.initial_delay
            && self.new_member_added
            && left_ms > 0
        {
            self.new_member_added = false;
            let wait = step_ms.min(left_ms);
            self.initial_delay = Some(InitialDelay { step_ms, left_ms: left_ms - wait });
            self.join_deadline_ms = Some(now.steady_ms + wait);
            return;
        }
        self.complete_join(now, effects);
    }

    /// The group moves to another coordinator, or is deleted: whoever waits is sent away.
    pub fn unload(&mut self, error: ResponseError, effects: &mut Vec<Effect>) {
        self.state = GroupState::Dead;
        for member in &mut self.members {
            if let Some(ticket) = member.joining.take() {
                effects.push(Effect::Joined(ticket, Joined::failed(&member.id, error)));
            }
            if let Some(ticket) = member.syncing.take() {
                effects.push(Effect::Synced(ticket, Synced::failed(error)));
            }
        }
    }
}
