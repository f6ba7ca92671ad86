//! What the controller has to write, given an image (pure).
//!
//! The plan is made from what is, not from what happened, so a controller that takes over, or one
//! whose write was lost, comes to the same end. The rules are those of Kafka 3.9's partition,
//! replica and topic deletion state machines.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::cluster::layout::topic::PartitionState;
use crate::cluster::{ClusterImage, PartitionImage, TopicImage, image::NO_LEADER};

/// One thing to write. Equal actions are the same write: each names the version that it replaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A topic that another tool made has no id.
    GiveId {
        /// The topic.
        topic: Arc<str>,
        /// Its znode's version.
        version: i32,
    },
    /// Partitions without a state get their first one.
    Open {
        /// The topic.
        topic: Arc<str>,
        /// The topic's `czxid`.
        created: i64,
        /// Leader and ISR by partition.
        partitions: Vec<(i32, i32, Vec<i32>)>,
        /// How many partitions the topic has in all.
        of: usize,
    },
    /// A partition's leader or ISR changes.
    Elect {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The version of its state.
        version: i32,
        /// The leader, −1 = none.
        leader: i32,
        /// The leader epoch.
        leader_epoch: i32,
        /// In-sync replicas.
        isr: Vec<i32>,
        /// As it was.
        leader_recovery_state: i32,
    },
    /// Every replica of a topic that is to be deleted is gone: its znodes follow.
    Delete {
        /// The topic.
        topic: Arc<str>,
        /// The topic's `czxid`.
        created: i64,
        /// Its partitions.
        partitions: Vec<i32>,
        /// Who said that its replicas are gone.
        done: BTreeSet<i32>,
    },
    /// A request for the deletion of a topic that is not there, or while deletion is off.
    Forget {
        /// The topic.
        topic: Arc<str>,
        /// Who said that its replicas are gone.
        done: BTreeSet<i32>,
    },
}

/// Plans for every topic, or, given the image that was planned for last, for those that changed.
pub(super) fn plan(
    image: &ClusterImage,
    last: Option<&ClusterImage>,
    delete_enabled: bool,
) -> Vec<Action> {
    let last = last.filter(|last| {
        Arc::ptr_eq(&last.brokers, &image.brokers) && Arc::ptr_eq(&last.deleting, &image.deleting)
    });
    let mut actions = Vec::new();
    for (name, done) in image.deleting.iter() {
        let topic = image.topics.get(name);
        if topic.is_none() || !delete_enabled {
            actions.push(Action::Forget { topic: name.clone(), done: done.clone() });
        }
    }
    for topic in image.topics.values() {
        let known = last.and_then(|last| last.topics.get(&topic.name));
        if known.is_some_and(|known| Arc::ptr_eq(known, topic)) {
            continue;
        }
        match image.deleting.get(&topic.name).filter(|_| delete_enabled) {
            Some(done) => {
                plan_states(image, topic, &mut actions);
                plan_deletion(image, topic, done, &mut actions);
            }
            None => plan_topic(image, topic, &mut actions),
        }
    }
    actions
}

/// A broker that leads and keeps records as we know how: a live doorkeeper.
fn is_live(image: &ClusterImage, broker: i32) -> bool {
    image.brokers.get(&broker).is_some_and(|broker| broker.doorkeeper)
}

fn plan_topic(image: &ClusterImage, topic: &TopicImage, actions: &mut Vec<Action>) {
    if topic.id.is_nil() {
        actions.push(Action::GiveId { topic: topic.name.clone(), version: topic.znode_version });
    }
    // Kafka puts every live replica into the first ISR. Records are not copied between brokers
    // here, so one that does not lead is never in sync.
    let open: Vec<_> = topic
        .assignment
        .iter()
        .filter(|(partition, _)| !topic.partitions.contains_key(partition))
        .filter_map(|(partition, replicas)| {
            let leader = replicas.iter().copied().find(|id| is_live(image, *id))?;
            Some((*partition, leader, vec![leader]))
        })
        .collect();
    if !open.is_empty() {
        actions.push(Action::Open {
            topic: topic.name.clone(),
            created: topic.created_zxid,
            partitions: open,
            of: topic.assignment.len(),
        });
    }
    plan_states(image, topic, actions);
}

fn plan_states(image: &ClusterImage, topic: &TopicImage, actions: &mut Vec<Action>) {
    for (number, partition) in &topic.partitions {
        let Some((leader, isr)) = elect(image, partition) else { continue };
        actions.push(Action::Elect {
            topic: topic.name.clone(),
            partition: *number,
            version: partition.partition_epoch,
            leader,
            leader_epoch: partition.leader_epoch.saturating_add(1),
            isr,
            leader_recovery_state: partition.leader_recovery_state,
        });
    }
}

/// The leader and ISR that a partition should have, if they are others than it has.
fn elect(image: &ClusterImage, partition: &PartitionImage) -> Option<(i32, Vec<i32>)> {
    let live = |id: &i32| is_live(image, *id);
    let mut isr: Vec<i32> = partition.isr.iter().copied().filter(live).collect();
    if isr.is_empty() {
        // The last members stay: only they have all records.
        isr.clone_from(&partition.isr);
    }
    let leads = |id: i32| live(&id) && isr.contains(&id);
    let leader = if leads(partition.leader) {
        partition.leader
    } else {
        partition.replicas.iter().copied().find(|id| leads(*id)).unwrap_or(NO_LEADER)
    };
    (leader != partition.leader || isr != partition.isr).then_some((leader, isr))
}

fn plan_deletion(
    image: &ClusterImage,
    topic: &TopicImage,
    done: &BTreeSet<i32>,
    actions: &mut Vec<Action>,
) {
    let mut replicas = topic.assignment.values().flatten();
    // One whose broker is dead would come back with its log: the deletion waits for it.
    if replicas.all(|id| is_live(image, *id) && done.contains(id)) {
        actions.push(Action::Delete {
            topic: topic.name.clone(),
            created: topic.created_zxid,
            partitions: topic.assignment.keys().copied().collect(),
            done: done.clone(),
        });
    }
}

impl Action {
    /// What is left of an action after what was written and does not show in the image yet. An
    /// image can show a transaction in parts, so a topic that was opened may look half opened.
    pub(super) fn without(self, written: &HashSet<Action>) -> Option<Action> {
        if written.contains(&self) {
            return None;
        }
        let Action::Open { topic, created, mut partitions, of } = self else { return Some(self) };
        for action in written {
            if let Action::Open { topic: t, created: c, partitions: opened, .. } = action
                && (t, c) == (&topic, &created)
            {
                partitions.retain(|new| !opened.iter().any(|old| old.0 == new.0));
            }
        }
        (!partitions.is_empty()).then_some(Action::Open { topic, created, partitions, of })
    }

    /// The state that an election writes.
    pub(super) fn state(
        leader: i32,
        leader_epoch: i32,
        isr: &[i32],
        leader_recovery_state: i32,
        controller_epoch: i32,
    ) -> Vec<u8> {
        let mut state = PartitionState::new(leader, leader_epoch, isr.to_vec(), controller_epoch);
        state.leader_recovery_state = leader_recovery_state;
        state.encode()
    }
}

#[cfg(test)]
mod tests;
