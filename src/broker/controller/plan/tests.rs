//! Tests of the plan, and of what repeated plans come to.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::cluster::{BrokerInfo, PartitionImage};

fn broker(id: i32, doorkeeper: bool) -> Arc<BrokerInfo> {
    Arc::new(BrokerInfo { id, epoch: 1, endpoints: vec![], rack: None, doorkeeper, owner: 1 })
}

fn brokers(ids: &[i32]) -> Arc<BTreeMap<i32, Arc<BrokerInfo>>> {
    Arc::new(ids.iter().map(|id| (*id, broker(*id, true))).collect())
}

fn partition(replicas: &[i32], leader: i32, isr: &[i32]) -> PartitionImage {
    PartitionImage {
        replicas: replicas.to_vec(),
        leader,
        leader_epoch: 5,
        isr: isr.to_vec(),
        controller_epoch: 1,
        partition_epoch: 7,
        leader_recovery_state: 0,
        created_zxid: 1,
        created_ms: 1,
    }
}

fn topic(assignment: &[(i32, &[i32])], partitions: Vec<(i32, PartitionImage)>) -> Arc<TopicImage> {
    Arc::new(TopicImage {
        name: "t".into(),
        id: Uuid::from_u128(9),
        internal: false,
        partitions: partitions.into_iter().collect(),
        assignment: assignment.iter().map(|(p, replicas)| (*p, replicas.to_vec())).collect(),
        adding: BTreeMap::new(),
        removing: BTreeMap::new(),
        znode_version: 3,
        created_zxid: 40,
        config: Arc::default(),
    })
}

fn image(live: &[i32], topic: Option<Arc<TopicImage>>, deleting: Option<&[i32]>) -> ClusterImage {
    ClusterImage {
        brokers: brokers(live),
        topics: Arc::new(topic.into_iter().map(|topic| (topic.name.clone(), topic)).collect()),
        deleting: Arc::new(
            deleting.map(|done| ("t".into(), done.iter().copied().collect())).into_iter().collect(),
        ),
        ..ClusterImage::default()
    }
}

fn plan_all(image: &ClusterImage) -> Vec<Action> {
    plan(image, None, true)
}

#[test]
fn a_new_topic_is_opened_on_its_live_replicas() {
    let new = topic(&[(0, &[1]), (1, &[2]), (2, &[3, 2])], vec![]);
    let planned = plan_all(&image(&[1, 2], Some(new), None));
    let open = Action::Open {
        topic: "t".into(),
        created: 40,
        partitions: vec![(0, 1, vec![1]), (1, 2, vec![2]), (2, 2, vec![2])],
        of: 3,
    };
    assert_eq!(planned, [open]);
}

#[test]
fn nothing_is_opened_on_dead_or_apache_brokers() {
    let mut cluster = image(&[], Some(topic(&[(0, &[1]), (1, &[2])], vec![])), None);
    cluster.brokers = Arc::new([(2, broker(2, false))].into());
    assert_eq!(plan_all(&cluster), []);
}

#[test]
fn a_topic_without_id_gets_one() {
    let mut new = TopicImage::clone(&topic(&[(0, &[1])], vec![(0, partition(&[1], 1, &[1]))]));
    new.id = Uuid::nil();
    let planned = plan_all(&image(&[1], Some(Arc::new(new)), None));
    assert_eq!(planned, [Action::GiveId { topic: "t".into(), version: 3 }]);
}

fn elected(live: &[i32], partition: PartitionImage) -> Option<(i32, Vec<i32>)> {
    let replicas = partition.replicas.clone();
    let planned =
        plan_all(&image(live, Some(topic(&[(0, &replicas)], vec![(0, partition)])), None));
    match planned.as_slice() {
        [] => None,
        [Action::Elect { leader, leader_epoch: 6, version: 7, isr, .. }] => {
            Some((*leader, isr.clone()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn leaders_follow_the_brokers() {
    // All is well.
    assert_eq!(elected(&[1], partition(&[1], 1, &[1])), None);
    // The only replica dies, and comes back.
    assert_eq!(elected(&[], partition(&[1], 1, &[1])), Some((-1, vec![1])));
    assert_eq!(elected(&[], partition(&[1], -1, &[1])), None);
    assert_eq!(elected(&[1], partition(&[1], -1, &[1])), Some((1, vec![1])));
    // A leader with another in the ISR dies: the first live one of the assignment leads.
    assert_eq!(elected(&[2, 3], partition(&[1, 2, 3], 1, &[1, 3, 2])), Some((2, vec![3, 2])));
    // One that is not in the ISR does not lead.
    assert_eq!(elected(&[2], partition(&[1, 2], 1, &[1])), Some((-1, vec![1])));
    // A follower dies: it leaves the ISR.
    assert_eq!(elected(&[1], partition(&[1, 2], 1, &[1, 2])), Some((1, vec![1])));
    // All die: the last members stay.
    assert_eq!(elected(&[], partition(&[1, 2], 1, &[1, 2])), Some((-1, vec![1, 2])));
}

#[test]
fn a_deletion_waits_for_every_replica() {
    let open = topic(&[(0, &[1]), (1, &[2])], vec![(0, partition(&[1], 1, &[1]))]);
    let planned =
        |live: &[i32], done: &[i32]| plan_all(&image(live, Some(open.clone()), Some(done)));
    assert_eq!(planned(&[1, 2], &[]), []);
    assert_eq!(planned(&[1, 2], &[1]), []);
    // Broker 2 said so before it died: its log is gone, but Kafka waits for it all the same.
    assert_eq!(planned(&[1], &[1, 2]), []);
    let delete = Action::Delete {
        topic: "t".into(),
        created: 40,
        partitions: vec![0, 1],
        done: [1, 2].into(),
    };
    assert_eq!(planned(&[1, 2], &[1, 2]), [delete]);
}

#[test]
fn requests_that_nobody_serves_are_dropped() {
    let forget = Action::Forget { topic: "t".into(), done: BTreeSet::new() };
    assert_eq!(plan_all(&image(&[1], None, Some(&[]))), std::slice::from_ref(&forget));
    let open = topic(&[(0, &[1])], vec![(0, partition(&[1], 1, &[1]))]);
    assert_eq!(plan(&image(&[1], Some(open), Some(&[])), None, false), [forget]);
}

#[test]
fn only_what_changed_is_planned_for() {
    let before = image(&[1], Some(topic(&[(0, &[1])], vec![])), None);
    assert_eq!(plan(&before, Some(&before), true), []);
    let mut brokers = before.clone();
    brokers.brokers = self::brokers(&[1, 2]);
    assert_eq!(plan(&brokers, Some(&before), true).len(), 1);
    let mut topics = before.clone();
    topics.topics = image(&[1], Some(topic(&[(0, &[1]), (1, &[1])], vec![])), None).topics;
    assert_eq!(plan(&topics, Some(&before), true).len(), 1);
}

#[test]
fn what_was_written_is_not_written_again() {
    let open = |partitions: &[i32]| Action::Open {
        topic: "t".into(),
        created: 40,
        partitions: partitions.iter().map(|p| (*p, 1, vec![1])).collect(),
        of: 3,
    };
    let written: HashSet<Action> = [open(&[0, 1])].into();
    assert_eq!(open(&[0, 1]).without(&written), None);
    assert_eq!(open(&[1]).without(&written), None);
    assert_eq!(open(&[1, 2]).without(&written), Some(open(&[2])));
    let forget = Action::Forget { topic: "t".into(), done: BTreeSet::new() };
    assert_eq!(forget.clone().without(&written), Some(forget.clone()));
    assert_eq!(forget.clone().without(&[forget].into()), None);
}

proptest! {
    /// Applied elections leave nothing to elect, and leaders are live, in the ISR, assigned.
    #[test]
    fn one_plan_is_enough(
        replicas in proptest::collection::btree_set(0i32..6, 1..4),
        isr_mask in 1u8..64,
        live in proptest::collection::btree_set(0i32..6, 0..6),
        leader in -1i32..6,
    ) {
        let replicas: Vec<i32> = replicas.into_iter().collect();
        let isr: Vec<i32> =
            replicas.iter().copied().filter(|id| isr_mask & (1 << id) != 0).collect();
        prop_assume!(!isr.is_empty());
        let live: Vec<i32> = live.into_iter().collect();
        let before = partition(&replicas, leader, &isr);
        let after = match elect(&image(&live, None, None), &before) {
            None => before,
            Some((leader, isr)) => partition(&replicas, leader, &isr),
        };
        prop_assert_eq!(elect(&image(&live, None, None), &after), None);
        prop_assert!(!after.isr.is_empty());
        prop_assert!(after.isr.iter().all(|id| isr.contains(id)));
        if after.leader == -1 {
            prop_assert!(isr.iter().all(|id| !live.contains(id)));
        } else {
            prop_assert!(live.contains(&after.leader) && after.isr.contains(&after.leader));
        }
    }
}
