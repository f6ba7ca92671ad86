//! Tests of the checks before a write, whose codes and texts clients know.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError::{
    self, InvalidConfig, InvalidPartitions, InvalidReplicaAssignment, InvalidReplicationFactor,
    InvalidRequest, InvalidTopicException, ReassignmentInProgress, TopicAlreadyExists,
    UnknownTopicOrPartition,
};

use super::*;
use crate::cluster::builder::{ImageBuilder, Znode};
use crate::cluster::layout::broker::Registration;

const DEFAULTS: Defaults = Defaults { partitions: 3, replication_factor: 1 };
const DICE: Dice = Dice { start: 1, shift: 0 };

fn znode(data: Vec<u8>) -> Znode {
    Znode { data, ..Znode::default() }
}

/// Brokers 1, 2 and 4 are ours, 3 is not; topics `a.b` (3 partitions) and `going`.
fn image() -> ClusterImage {
    let mut builder = ImageBuilder::new(&ClusterImage::default());
    for id in [1, 2, 3, 4] {
        let doorkeeper = (id != 3).then(|| "0".to_owned());
        let registration = Registration { endpoints: vec![], rack: None, timestamp: 0, doorkeeper };
        builder.broker(id, Some(&znode(registration.encode())));
    }
    let partitions: BTreeMap<i32, Vec<i32>> = [(0, vec![4]), (1, vec![1]), (2, vec![2])].into();
    let topic = TopicAssignment { id: Uuid::from_u128(1), partitions, ..Default::default() };
    builder.topic("a.b", Some(&znode(topic.encode())), &BTreeMap::new());
    let going = TopicAssignment { id: Uuid::from_u128(2), ..topic };
    builder.topic("going", Some(&znode(going.encode())), &BTreeMap::new());
    builder.deleting("going", Some(&[]));
    builder.finish().0.unwrap()
}

fn request(name: &str) -> TopicRequest {
    TopicRequest {
        name: name.to_owned(),
        partitions: -1,
        replication_factor: -1,
        ..TopicRequest::default()
    }
}

fn refused(request: TopicRequest, code: ResponseError, message: &str) {
    let error = plan::topic(&image(), request, DEFAULTS, DICE).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (code, message));
}

#[test]
fn a_topic_gets_what_the_broker_sets_and_is_spread_over_our_brokers() {
    let plan = plan::topic(&image(), request("t"), DEFAULTS, DICE).unwrap();
    assert_eq!(plan.assignment, [(0, vec![2]), (1, vec![4]), (2, vec![1])].into());
    let chosen: BTreeMap<i32, Vec<i32>> = [(0, vec![4]), (1, vec![4])].into();
    let by_hand = TopicRequest { assignment: Some(chosen.clone()), ..request("t") };
    assert_eq!(plan::topic(&image(), by_hand, DEFAULTS, DICE).unwrap().assignment, chosen);
}

#[test]
fn topics_are_refused_as_kafka_refuses_them() {
    let invalid = "Topic name is invalid: '..' is not allowed";
    refused(request(".."), InvalidTopicException, invalid);
    refused(request("a.b"), TopicAlreadyExists, "Topic 'a.b' already exists.");
    let collides = "Topic 'a_b' collides with existing topics: a.b";
    refused(request("a_b"), InvalidTopicException, collides);
    refused(request("going"), TopicAlreadyExists, "Topic 'going' is marked for deletion.");
    let none = "Number of partitions must be larger than 0.";
    refused(TopicRequest { partitions: 0, ..request("t") }, InvalidPartitions, none);
    let factor = |replication_factor| TopicRequest { replication_factor, ..request("t") };
    let zero = "Replication factor must be larger than 0.";
    refused(factor(0), InvalidReplicationFactor, zero);
    let many = "Replication factor: 4 larger than available brokers: 3.";
    refused(factor(4), InvalidReplicationFactor, many);
    let two = "Replication factor: 2 larger than 1: replication is not built in this broker.";
    refused(factor(2), InvalidReplicationFactor, two);
    let config = [("nonsense".to_owned(), "1".to_owned())].into();
    let unknown = "Unknown topic config name: nonsense";
    refused(TopicRequest { config, ..request("t") }, InvalidConfig, unknown);
}

#[test]
fn assignments_are_checked() {
    let by_hand = |assignment: &[(i32, &[i32])]| TopicRequest {
        assignment: Some(assignment.iter().map(|(p, r)| (*p, r.to_vec())).collect()),
        ..request("t")
    };
    let both = TopicRequest { partitions: 1, ..by_hand(&[(0, &[1])]) };
    let error = plan::topic(&image(), both, DEFAULTS, DICE).unwrap_err();
    assert_eq!(error.code, InvalidRequest);
    let gap = "partitions should be a consecutive 0-based integer sequence";
    refused(by_hand(&[(0, &[1]), (2, &[1])]), InvalidReplicaAssignment, gap);
    for foreign in [3, 9] {
        let unknown = format!("Unknown broker(s) in replica assignment: {foreign}.");
        refused(by_hand(&[(0, &[foreign])]), InvalidReplicaAssignment, &unknown);
    }
    let bad: [&[(i32, &[i32])]; 4] = [&[(0, &[])], &[(0, &[1, 1])], &[(0, &[1, 2])], &[]];
    for bad in bad {
        let error = plan::topic(&image(), by_hand(bad), DEFAULTS, DICE).unwrap_err();
        assert_eq!(error.code, InvalidReplicaAssignment, "{bad:?}");
    }
}

#[test]
fn partitions_are_added_where_kafka_adds_them() {
    let grow = |name: &str, count, assignment: Option<Vec<Vec<i32>>>| {
        let request = PartitionsRequest { name: name.to_owned(), count, assignment };
        plan::partitions(&image(), &request)
    };
    // From the first partition's leader on, which is the third of our brokers.
    let added = grow("a.b", 5, None).unwrap().added;
    assert_eq!(added, [(3, vec![4]), (4, vec![1])].into());
    let added = grow("a.b", 4, Some(vec![vec![2]])).unwrap().added;
    assert_eq!(added, [(3, vec![2])].into());
    let code = |name, count, assignment| grow(name, count, assignment).unwrap_err().code;
    assert_eq!(code("x", 4, None), UnknownTopicOrPartition);
    assert_eq!(code("going", 4, None), InvalidTopicException);
    assert_eq!(code("a.b", 3, None), InvalidPartitions);
    assert_eq!(code("a.b", 2, None), InvalidPartitions);
    assert_eq!(code("a.b", 5, Some(vec![vec![1]])), InvalidReplicaAssignment);
    assert_eq!(code("a.b", 4, Some(vec![vec![3]])), InvalidReplicaAssignment);

    let mut image = image();
    let mut moving = crate::cluster::TopicImage::clone(&image.topics["a.b"]);
    moving.adding = [(0, vec![1])].into();
    Arc::make_mut(&mut image.topics).insert("a.b".into(), Arc::new(moving));
    let request = PartitionsRequest { name: "a.b".to_owned(), count: 5, assignment: None };
    let error = plan::partitions(&image, &request).unwrap_err();
    assert_eq!(error.code, ReassignmentInProgress);
}

#[test]
fn topic_ids_do_not_look_like_options() {
    for _ in 0..500 {
        assert!(!crate::cluster::layout::topic::id_text(topic_id()).starts_with('-'));
    }
}
