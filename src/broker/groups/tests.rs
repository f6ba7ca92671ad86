//! Groups as their members see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use proptest::prelude::*;

use super::group::{Effect, Group, GroupState, Joined, Now, Store, Synced, Then};
use super::member::{Protocol, Ticket};
use super::rebalance::{GroupLimits, Join, Sync};

const LIMITS: GroupLimits = GroupLimits { initial_rebalance_delay_ms: 3_000, max_size: 4 };
const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 60_000;

/// A group with its clock, and the answers that were given.
struct World {
    group: Group,
    now_ms: i64,
    tickets: u64,
    ids: u64,
    joined: BTreeMap<Ticket, Joined>,
    synced: BTreeMap<Ticket, Synced>,
    stores: Vec<Store>,
    /// What writes come to.
    fails: Option<ResponseError>,
}

fn protocols(names: &[&str]) -> Vec<Protocol> {
    let metadata = |name: &str| Bytes::copy_from_slice(name.as_bytes());
    names.iter().map(|name| Protocol { name: Arc::from(*name), metadata: metadata(name) }).collect()
}

impl World {
    fn new() -> World {
        World {
            group: Group::new(Arc::from("g"), Now { steady_ms: 0, wall_ms: 0 }),
            now_ms: 0,
            tickets: 0,
            ids: 0,
            joined: BTreeMap::new(),
            synced: BTreeMap::new(),
            stores: Vec::new(),
            fails: None,
        }
    }

    fn now(&self) -> Now {
        Now { steady_ms: self.now_ms, wall_ms: 1_000_000 + self.now_ms }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Joined(ticket, joined) => {
                    assert!(self.joined.insert(ticket, joined).is_none(), "answered twice");
                }
                Effect::Synced(ticket, synced) => {
                    assert!(self.synced.insert(ticket, synced).is_none(), "answered twice");
                }
                Effect::Store(store) => {
                    self.stores.push(store.clone());
                    let mut effects = Vec::new();
                    let now = self.now();
                    self.group.stored(store, self.fails, now, &LIMITS, &mut effects);
                    self.carry_out(effects);
                }
            }
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn join_as(
        &mut self,
        id: &str,
        instance: Option<&str>,
        names: &[&str],
        version: i16,
    ) -> Ticket {
        let ticket = self.ticket();
        self.ids += 1;
        let join = Join {
            member_id: Arc::from(id),
            new_id: Arc::from(format!("m{}", self.ids)),
            instance_id: instance.map(Arc::from),
            client_id: Arc::from("client"),
            client_host: Arc::from("/127.0.0.1"),
            rebalance_timeout_ms: REBALANCE_MS,
            session_timeout_ms: SESSION_MS,
            protocol_type: Arc::from("consumer"),
            protocols: protocols(names),
            needs_known_id: version >= 4 && instance.is_none(),
            may_skip_assignment: version >= 9,
        };
        let mut effects = Vec::new();
        let now = self.now();
        self.group.join(join, ticket, now, &LIMITS, &mut effects);
        self.carry_out(effects);
        ticket
    }

    /// Joins without an id, as clients before KIP-394.
    fn join(&mut self, id: &str) -> Ticket {
        self.join_as(id, None, &["range", "roundrobin"], 3)
    }

    fn sync(&mut self, id: &str, generation: i32, assignments: &[(&str, &str)]) -> Ticket {
        let ticket = self.ticket();
        let assignments = assignments
            .iter()
            .map(|(id, work)| (Arc::from(*id), Bytes::copy_from_slice(work.as_bytes())))
            .collect();
        let sync = Sync {
            member_id: Arc::from(id),
            instance_id: None,
            generation,
            protocol_type: None,
            protocol: None,
            assignments,
        };
        let mut effects = Vec::new();
        let now = self.now();
        self.group.sync(sync, ticket, now, &mut effects);
        self.carry_out(effects);
        ticket
    }

    fn beat(&mut self, id: &str, generation: i32) -> Result<(), ResponseError> {
        let now = self.now();
        self.group.heartbeat(id, None, generation, now)
    }

    fn leave(&mut self, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        let mut effects = Vec::new();
        let now = self.now();
        let left = self.group.leave(id, instance, now, &LIMITS, &mut effects);
        self.carry_out(effects);
        left
    }

    /// Lets time go by, from deadline to deadline.
    fn pass(&mut self, milliseconds: i64) {
        let end = self.now_ms + milliseconds;
        while let Some(next) = self.group.next_deadline_ms().filter(|next| *next <= end) {
            self.now_ms = self.now_ms.max(next);
            let mut effects = Vec::new();
            let now = self.now();
            self.group.tick(now, &LIMITS, &mut effects);
            self.carry_out(effects);
        }
        self.now_ms = end;
    }

    fn answer(&self, ticket: Ticket) -> &Joined {
        self.joined.get(&ticket).expect("no answer to a join")
    }

    fn assignment(&self, ticket: Ticket) -> &Synced {
        self.synced.get(&ticket).expect("no answer to a sync")
    }

    /// A stable group of `m1` (the leader), `m2` and so on.
    fn stable(members: usize) -> World {
        let mut world = World::new();
        let tickets: Vec<Ticket> = (0..members).map(|_| world.join("")).collect();
        world.pass(LIMITS.initial_rebalance_delay_ms * 2);
        for ticket in &tickets {
            assert_eq!(world.answer(*ticket).error, None);
        }
        let ids: Vec<String> = (1..=members).map(|number| format!("m{number}")).collect();
        for id in ids.iter().skip(1) {
            world.sync(id, 1, &[]);
        }
        let work: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), id.as_str())).collect();
        world.sync("m1", 1, &work);
        assert_eq!(world.group.state(), GroupState::Stable);
        world
    }
}

fn error(joined: &Joined) -> Option<ResponseError> {
    joined.error
}

#[test]
fn members_join_are_assigned_and_live() {
    let mut world = World::new();
    let first = world.join("");
    let second = world.join("");
    assert!(world.joined.is_empty(), "more may come");
    world.pass(2 * LIMITS.initial_rebalance_delay_ms);
    let leader = world.answer(first).clone();
    assert_eq!((leader.generation, &*leader.leader, leader.members.len()), (1, "m1", 2));
    assert_eq!(leader.protocol.as_deref(), Some("range"));
    let follower = world.answer(second);
    assert_eq!((&*follower.member_id, &*follower.leader, follower.members.len()), ("m2", "m1", 0));
    let waits = world.sync("m2", 1, &[]);
    assert!(world.synced.is_empty());
    let leads = world.sync("m1", 1, &[("m1", "a"), ("m2", "b"), ("stranger", "c")]);
    assert_eq!(world.assignment(leads).assignment, "a");
    assert_eq!(world.assignment(waits).assignment, "b");
    let Store { generation, assignments, then } = &world.stores[0];
    assert_eq!((*generation, assignments.len(), then), (1, 2, &Then::HandOut));
    assert_eq!(world.beat("m1", 1), Ok(()));
    assert_eq!(world.beat("m1", 2), Err(ResponseError::IllegalGeneration));
    assert_eq!(world.beat("m9", 1), Err(ResponseError::UnknownMemberId));
    for _ in 0..4 {
        world.pass(i64::from(SESSION_MS) - 1);
        assert_eq!(world.beat("m1", 1), Ok(()));
        assert_eq!(world.beat("m2", 1), Ok(()));
    }
}

#[test]
fn a_member_that_needs_an_id_gets_one_and_is_forgotten_if_it_does_not_come() {
    let mut world = World::new();
    let first = world.join_as("", None, &["range"], 4);
    let answer = world.answer(first).clone();
    assert_eq!(error(&answer), Some(ResponseError::MemberIdRequired));
    let again = world.join_as(&answer.member_id, None, &["range"], 4);
    let late = world.join_as("", None, &["range"], 4);
    let late = world.answer(late).member_id.clone();
    world.pass(LIMITS.initial_rebalance_delay_ms * 3);
    assert_eq!(world.answer(again).generation, 1);
    world.pass(i64::from(SESSION_MS));
    let too_late = world.join_as(&late, None, &["range"], 4);
    assert_eq!(error(world.answer(too_late)), Some(ResponseError::UnknownMemberId));
}

#[test]
fn a_silent_member_is_taken_out_and_the_others_join_again() {
    let mut world = World::stable(2);
    world.pass(i64::from(SESSION_MS) - 1);
    assert_eq!(world.beat("m1", 1), Ok(()));
    world.pass(1);
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    assert_eq!(world.beat("m1", 1), Err(ResponseError::RebalanceInProgress));
    let again = world.join("m1");
    assert_eq!(world.answer(again).generation, 2, "nobody else is waited for");
    assert_eq!(world.beat("m2", 1), Err(ResponseError::UnknownMemberId));
}

#[test]
fn who_does_not_join_again_in_time_is_taken_out() {
    let mut world = World::stable(3);
    let anew = world.join_as("m1", None, &["range", "roundrobin"], 3);
    for _ in 0..7 {
        world.pass(9_000);
        let _ = world.beat("m2", 1);
        let _ = world.beat("m3", 1);
    }
    let answer = world.answer(anew);
    assert_eq!((answer.generation, answer.members.len()), (2, 1));
    assert_eq!(world.beat("m2", 1), Err(ResponseError::UnknownMemberId));
}

#[test]
fn who_never_syncs_is_taken_out() {
    let mut world = World::new();
    let _ = (world.join(""), world.join(""));
    world.pass(2 * LIMITS.initial_rebalance_delay_ms);
    world.sync("m1", 1, &[("m1", "a"), ("m2", "b")]);
    for _ in 0..7 {
        world.pass(9_000);
        let _ = (world.beat("m1", 1), world.beat("m2", 1));
    }
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    assert!(world.group.member("m2").is_none(), "it beats, but never asked what for");
}

#[test]
fn the_last_to_leave_leaves_an_empty_group() {
    let mut world = World::stable(2);
    assert_eq!(world.leave("m1", None), Ok(()));
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    assert_eq!(world.leave("m2", None), Ok(()));
    assert_eq!((world.group.state(), world.group.generation()), (GroupState::Empty, 2));
    assert_eq!(world.stores.last().map(|store| &store.then), Some(&Then::Nothing));
    assert_eq!(world.leave("m2", None), Err(ResponseError::UnknownMemberId));
    let again = world.join("");
    world.pass(LIMITS.initial_rebalance_delay_ms);
    assert_eq!(world.answer(again).generation, 3);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut world = World::new();
    let first = world.join_as("", Some("one"), &["range"], 9);
    let second = world.join_as("", Some("two"), &["range"], 9);
    world.pass(2 * LIMITS.initial_rebalance_delay_ms);
    let (leader, follower) = (world.answer(first).clone(), world.answer(second).clone());
    for (id, instance) in [(&leader.member_id, "one"), (&follower.member_id, "two")] {
        let ticket = world.ticket();
        let work = |id: &Arc<str>| (id.clone(), Bytes::copy_from_slice(id.as_bytes()));
        let sync = Sync {
            member_id: id.clone(),
            instance_id: Some(Arc::from(instance)),
            generation: 1,
            protocol_type: Some(Arc::from("consumer")),
            protocol: Some(Arc::from("range")),
            assignments: [work(&leader.member_id), work(&follower.member_id)].into(),
        };
        let mut effects = Vec::new();
        let now = world.now();
        world.group.sync(sync, ticket, now, &mut effects);
        world.carry_out(effects);
    }
    assert_eq!(world.group.state(), GroupState::Stable);

    let back = world.join_as("", Some("one"), &["range"], 9);
    let answer = world.answer(back).clone();
    assert_eq!((answer.generation, answer.skip_assignment), (1, true));
    assert_eq!((&answer.leader, answer.members.len()), (&answer.member_id, 2));
    assert_eq!(world.group.state(), GroupState::Stable);
    let synced = world.ticket();
    let sync = Sync {
        member_id: answer.member_id.clone(),
        instance_id: Some(Arc::from("one")),
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments: BTreeMap::new(),
    };
    let mut effects = Vec::new();
    let now = world.now();
    world.group.sync(sync.clone(), synced, now, &mut effects);
    world.carry_out(effects);
    assert_eq!(world.assignment(synced).assignment, leader.member_id.as_bytes());

    // An older client must not take itself for the leader.
    let older = world.join_as("", Some("one"), &["range"], 5);
    let older = world.answer(older).clone();
    assert_eq!((&older.leader, older.skip_assignment), (&answer.member_id, false));
    // The one before is fenced.
    let fenced = world.ticket();
    let mut effects = Vec::new();
    let now = world.now();
    world.group.sync(sync, fenced, now, &mut effects);
    world.carry_out(effects);
    assert_eq!(world.assignment(fenced).error, Some(ResponseError::FencedInstanceId));

    assert_eq!(world.leave("", Some("one")), Ok(()), "an operator takes it out");
    assert_eq!(world.leave("", Some("one")), Err(ResponseError::UnknownMemberId));
}

#[test]
fn other_protocols_and_too_many_members_are_refused() {
    let mut world = World::new();
    let none = world.join_as("", None, &[], 3);
    assert_eq!(error(world.answer(none)), Some(ResponseError::InconsistentGroupProtocol));
    let mut world = World::stable(4);
    let other = world.join_as("m2", None, &["sticky"], 3);
    assert_eq!(error(world.answer(other)), Some(ResponseError::InconsistentGroupProtocol));
    let fifth = world.join("");
    assert_eq!(error(world.answer(fifth)), Some(ResponseError::GroupMaxSizeReached));
}

#[test]
fn an_assignment_that_can_not_be_written_starts_over() {
    let mut world = World::new();
    world.join("");
    world.pass(2 * LIMITS.initial_rebalance_delay_ms);
    world.fails = Some(ResponseError::CoordinatorNotAvailable);
    let sync = world.sync("m1", 1, &[("m1", "a")]);
    assert_eq!(world.assignment(sync).error, Some(ResponseError::CoordinatorNotAvailable));
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    world.fails = None;
    let again = world.join("m1");
    assert_eq!(world.answer(again).generation, 2);
}

#[test]
fn offsets_are_committed_by_members_alone_where_there_are_some() {
    let mut world = World::new();
    let now = world.now();
    assert_eq!(world.group.may_commit("", None, -1, false, now), Ok(()));
    let mut world = World::stable(1);
    let now = world.now();
    let group = &mut world.group;
    assert_eq!(group.may_commit("", None, -1, false, now), Err(ResponseError::UnknownMemberId));
    assert_eq!(group.may_commit("", None, -1, true, now), Ok(()));
    assert_eq!(group.may_commit("m1", None, 1, false, now), Ok(()));
    assert_eq!(group.may_commit("m1", None, 0, false, now), Err(ResponseError::IllegalGeneration));
    world.join("m1");
    let now = world.now();
    assert_eq!(
        world.group.may_commit("m1", None, 2, false, now),
        Err(ResponseError::RebalanceInProgress)
    );
}

/// One step of a client that may do anything.
#[derive(Debug, Clone)]
enum Step {
    Join { id: u64, instance: Option<u8>, version: i16, other: bool },
    Sync { id: u64, generation: i32 },
    Beat { id: u64, generation: i32 },
    Leave { id: u64, instance: Option<u8> },
    Pass(i64),
    Fail(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let instance = || proptest::option::of(0..2_u8);
    prop_oneof![
        4 => (0..6_u64, instance(), 0..10_i16, any::<bool>())
            .prop_map(|(id, instance, version, other)| Step::Join { id, instance, version, other }),
        3 => (0..6_u64, 0..4_i32).prop_map(|(id, generation)| Step::Sync { id, generation }),
        2 => (0..6_u64, 0..4_i32).prop_map(|(id, generation)| Step::Beat { id, generation }),
        1 => (0..6_u64, instance()).prop_map(|(id, instance)| Step::Leave { id, instance }),
        3 => (0..40_000_i64).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Fail),
    ]
}

proptest! {
    /// Whatever its clients do: nobody is answered twice, everybody in the end, and the group is
    /// always one that makes sense.
    #[test]
    fn a_group_stays_whole(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let name = |id: u64| if id == 0 { String::new() } else { format!("m{id}") };
        let instance = |instance: Option<u8>| instance.map(|number| format!("i{number}"));
        for step in steps {
            match step {
                Step::Join { id, instance: of, version, other } => {
                    let names: &[&str] = if other { &["sticky", "range"] } else { &["range"] };
                    world.join_as(&name(id), instance(of).as_deref(), names, version);
                }
                Step::Sync { id, generation } => _ = world.sync(&name(id), generation, &[("m1", "w")]),
                Step::Beat { id, generation } => _ = world.beat(&name(id), generation),
                Step::Leave { id, instance: of } => {
                    _ = world.leave(&name(id), instance(of).as_deref());
                }
                Step::Pass(milliseconds) => world.pass(milliseconds),
                Step::Fail(fails) => {
                    world.fails = fails.then_some(ResponseError::NotCoordinator);
                }
            }
            let group = &world.group;
            let has_members = !group.members().is_empty();
            match group.state() {
                GroupState::Empty => prop_assert!(!has_members),
                GroupState::Stable | GroupState::CompletingRebalance => prop_assert!(has_members),
                GroupState::PreparingRebalance | GroupState::Dead => {}
            }
            if let Some(leader) = group.leader().filter(|_| has_members) {
                prop_assert!(group.member(leader).is_some(), "the leader is a member");
            }
            if group.state() == GroupState::PreparingRebalance {
                prop_assert!(group.next_deadline_ms().is_some(), "it ends some time");
            }
        }
        // Everybody is silent from now on: all are answered, and nobody stays.
        world.fails = None;
        world.pass(3_600_000);
        prop_assert_eq!(world.group.state(), GroupState::Empty);
        let answered = world.joined.len() + world.synced.len();
        prop_assert_eq!(u64::try_from(answered).unwrap(), world.tickets);
    }
}
