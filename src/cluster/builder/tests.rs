//! Tests of images made from znodes.

use proptest::prelude::*;

use super::*;
use crate::cluster::acls::ResourceAcls;
use crate::cluster::layout::acl::{PatternType, ResourcePattern, ResourceType};

fn znode(data: impl AsRef<[u8]>, version: i32) -> Znode {
    Znode { data: data.as_ref().to_vec(), czxid: 10, version, ..Znode::default() }
}

fn state(leader: i32, version: i32) -> Znode {
    znode(PartitionState::new(leader, 0, vec![leader], 1).encode(), version)
}

fn assignment(id: u128, partitions: i32) -> Znode {
    let partitions = (0..partitions).map(|partition| (partition, vec![0])).collect();
    let topic =
        TopicAssignment { id: Uuid::from_u128(id), partitions, ..TopicAssignment::default() };
    znode(topic.encode(), 0)
}

fn next(
    previous: &ClusterImage,
    change: impl FnOnce(&mut ImageBuilder),
) -> (Option<ClusterImage>, Vec<Problem>) {
    let mut builder = ImageBuilder::new(previous);
    change(&mut builder);
    builder.finish()
}

fn changed(previous: &ClusterImage, change: impl FnOnce(&mut ImageBuilder)) -> ClusterImage {
    let (image, problems) = next(previous, change);
    assert_eq!(problems, []);
    image.unwrap()
}

fn two_topics() -> ClusterImage {
    changed(&ClusterImage::default(), |builder| {
        builder.topic_config("a", Some(&znode(r#"{"version":1,"config":{"k":"v"}}"#, 0)));
        builder.topic("a", Some(&assignment(1, 2)), &[(0, state(0, 0)), (1, state(0, 0))].into());
        builder.topic("b", Some(&assignment(2, 1)), &[(0, state(0, 0))].into());
    })
}

#[test]
fn the_first_image_comes_even_if_the_cluster_is_empty() {
    let first = next(&ClusterImage::default(), |_| {}).0.unwrap();
    assert_eq!(first.version, 1);
    assert!(next(&first, |_| {}).0.is_none());
}

#[test]
fn what_is_read_again_and_equal_is_no_change() {
    let image = two_topics();
    let (same, _) = next(&image, |builder| {
        builder.topic_config("a", Some(&znode(r#"{"config":{"k":"v"},"version":1}"#, 4)));
        builder.topic("a", Some(&assignment(1, 2)), &[(0, state(0, 0)), (1, state(0, 0))].into());
        builder.partition("b", 0, Some(&state(0, 0)));
        builder.broker(7, None);
        builder.deleting("a", None);
    });
    assert!(same.is_none());
}

#[test]
fn an_unchanged_topic_keeps_its_arc() {
    let before = two_topics();
    let after = changed(&before, |builder| builder.partition("a", 1, Some(&state(5, 1))));
    assert_eq!(after.version, before.version + 1);
    assert!(Arc::ptr_eq(&before.topics["b"], &after.topics["b"]));
    assert!(!Arc::ptr_eq(&before.topics["a"], &after.topics["a"]));
    assert_eq!(after.topics["a"].partitions[&1].leader, 5);
    assert_eq!(after.topics["a"].partitions[&1].partition_epoch, 1);
    assert_eq!(before.topics["a"].partitions[&1].leader, 0);
    assert!(Arc::ptr_eq(&before.brokers, &after.brokers));
    assert!(Arc::ptr_eq(&before.topic_ids, &after.topic_ids));
}

#[test]
fn a_configuration_reaches_its_topic() {
    let before = two_topics();
    assert_eq!(before.topics["a"].config["k"], "v");
    let set = znode(r#"{"version":1,"config":{"k":"w"}}"#, 1);
    let after = changed(&before, |builder| builder.topic_config("a", Some(&set)));
    assert_eq!(after.topics["a"].config["k"], "w");
    let after = changed(&after, |builder| builder.topic_config("a", None));
    assert!(after.topics["a"].config.is_empty() && after.topic_configs.is_empty());
}

#[test]
fn a_topic_made_again_has_another_id() {
    let before = two_topics();
    let after = changed(&before, |builder| {
        builder.topic("a", Some(&assignment(3, 1)), &BTreeMap::new());
    });
    assert_eq!(after.topic_ids.get(&Uuid::from_u128(1)), None);
    assert_eq!(after.topic_ids[&Uuid::from_u128(3)].as_ref(), "a");
    assert!(after.topic("a").is_none(), "no partition has a state yet");
    let gone = changed(&after, |builder| builder.topic("a", None, &BTreeMap::new()));
    assert!(!gone.topics.contains_key("a") && gone.topic_ids.len() == 1);
}

#[test]
fn a_topic_that_is_being_deleted_is_hidden() {
    let image = two_topics();
    let requested =
        changed(&image, |builder| builder.deleting("a", Some(&["4".to_owned(), "x".to_owned()])));
    assert_eq!(*requested.deleting["a"].iter().collect::<Vec<_>>(), [&4]);
    assert!(requested.topic("a").is_none() && requested.topic_by_id(Uuid::from_u128(1)).is_none());
    assert!(requested.topics.contains_key("a"));
    assert_eq!(requested.visible_topics().count(), 1);
}

#[test]
fn a_full_read_drops_what_is_gone() {
    let image = changed(&two_topics(), |builder| {
        let registration = br#"{"version":1,"host":"h","port":1}"#;
        builder.broker(1, Some(&znode(registration, 1)));
        builder.deleting("b", Some(&[]));
    });
    let names = Names { topics: ["b".to_owned()].into(), ..Names::default() };
    let after = changed(&image, |builder| builder.retain(&names));
    assert_eq!(after.topics.keys().map(|name| &**name).collect::<Vec<_>>(), ["b"]);
    assert!(after.brokers.is_empty() && after.topic_configs.is_empty());
    assert!(after.deleting.is_empty() && after.topic_ids.len() == 1);
}

#[test]
fn who_is_controller() {
    let node = |data: &str| Znode { owner: 77, ..znode(data, 0) };
    let image = changed(&ClusterImage::default(), |builder| {
        builder.controller(Some(&node(r#"{"version":2,"brokerid":3}"#)), Some(&znode("8", 9)));
        builder.cluster_id(Some(&znode(r#"{"version":"1","id":"x"}"#, 0)));
    });
    let controller = image.controller.as_ref().unwrap();
    assert_eq!((controller.broker_id, controller.epoch), (3, 8));
    assert_eq!((controller.epoch_version, controller.owner), (9, 77));
    assert!(!controller.doorkeeper);
    assert_eq!(image.cluster_id.as_deref(), Some("x"));
    // Clients are told of a controller only while its broker is there.
    assert_eq!(image.controller_id(), -1);
    let marked = node(r#"{"version":2,"brokerid":3,"doorkeeper":"1"}"#);
    let image = changed(&image, |builder| builder.controller(Some(&marked), None));
    assert!(image.controller.unwrap().doorkeeper);
}

/// Nonsense in place of a znode, or of one that was made after the last look at it.
fn nonsense(czxid: i64) -> Znode {
    Znode { czxid, ..znode("{", 1) }
}

#[test]
fn nonsense_that_was_never_understood_counts_as_absent_and_is_named() {
    let before = two_topics();
    let (after, problems) = next(&before, |builder| {
        builder.broker(1, Some(&nonsense(10)));
        builder.topic("a", Some(&nonsense(11)), &BTreeMap::new());
        builder.topic("c", Some(&nonsense(10)), &BTreeMap::new());
        builder.partition("b", 0, Some(&nonsense(11)));
    });
    let after = after.unwrap();
    assert!(after.topic("a").is_none() && after.topic("b").is_none() && after.brokers.is_empty());
    assert!(!after.topics.contains_key("c"));
    let named: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    let paths = [
        "/brokers/ids/1",
        "/brokers/topics/a",
        "/brokers/topics/c",
        "/brokers/topics/b/partitions/0/state",
    ];
    assert_eq!(named, paths);
}

#[test]
fn what_was_understood_stays_while_its_znode_is_nonsense() {
    let before = changed(&two_topics(), |builder| {
        let registration = br#"{"version":1,"host":"h","port":1}"#;
        builder.broker(1, Some(&znode(registration, 1)));
        builder.cluster_id(Some(&znode(r#"{"version":"1","id":"x"}"#, 0)));
    });
    let (same, problems) = next(&before, |builder| {
        builder.broker(1, Some(&nonsense(10)));
        builder.topic("a", Some(&nonsense(10)), &BTreeMap::new());
        builder.partition("b", 0, Some(&nonsense(10)));
        builder.cluster_id(Some(&nonsense(10)));
    });
    assert!(same.is_none(), "{same:?}");
    assert_eq!(problems.len(), 4);
    // So it does in a full read, and its other partitions are read all the same.
    let states = [(0, nonsense(10)), (1, state(4, 3))].into();
    let (after, problems) =
        next(&before, |builder| builder.topic("a", Some(&assignment(1, 2)), &states));
    let topic = after.unwrap().topics["a"].clone();
    assert_eq!(problems.len(), 1);
    assert_eq!((topic.partitions[&0].leader, topic.partitions[&1].leader), (0, 4));
    // What goes away is gone.
    let after = changed(&before, |builder| {
        builder.broker(1, None);
        builder.topic("a", None, &BTreeMap::new());
        builder.partition("b", 0, None);
    });
    assert!(after.brokers.is_empty() && after.topic("a").is_none() && after.topic("b").is_none());
}

#[test]
fn an_image_tells_when_its_oldest_change_was_made() {
    let at = |modified_ms: i64, znode: Znode| Znode { modified_ms, ..znode };
    let first = two_topics();
    let after = changed(&first, |builder| {
        builder.partition("a", 0, Some(&at(70, state(3, 1))));
        builder.partition("a", 1, Some(&at(50, state(3, 1))));
        // No change, so its time is of no interest.
        builder.partition("b", 0, Some(&at(10, state(0, 0))));
    });
    assert_eq!(after.changed_ms, Some(50));
    let gone = changed(&after, |builder| builder.partition("a", 1, None));
    assert_eq!(gone.changed_ms, None);
}

#[test]
fn many_states_of_one_topic_are_one_step() {
    let before = two_topics();
    let states = [(0, Some(state(5, 1))), (1, None), (9, Some(state(5, 1)))].into();
    let after = changed(&before, |builder| {
        builder.partitions("a", &states);
        builder.partitions("unknown", &states);
    });
    let partitions = &after.topics["a"].partitions;
    assert_eq!((partitions.len(), partitions[&0].leader), (1, 5));
    assert!(!after.topics.contains_key("unknown"));
}

fn acl_znode(principal: &str) -> Read {
    let entry = format!(
        r#"{{"principal":"{principal}","permissionType":"Allow","operation":"Read","host":"*"}}"#
    );
    Read::Found(znode(format!(r#"{{"version":1,"acls":[{entry}]}}"#), 0))
}

fn prefixed_topic(name: &str) -> ResourcePattern {
    let (pattern, kind) = (PatternType::Prefixed, ResourceType::Topic);
    ResourcePattern { pattern, kind, name: name.to_owned() }
}

fn prefixed_topics(image: &ClusterImage) -> Vec<(&str, bool)> {
    let acls = image.acls.as_ref().unwrap();
    let directory = acls.directory(PatternType::Prefixed, ResourceType::Topic);
    let known = |acls: &ResourceAcls| matches!(acls, ResourceAcls::Known(_));
    directory.resources.iter().map(|(name, acls)| (&**name, known(acls))).collect()
}

#[test]
fn acls_are_a_part_of_images_that_follow_them() {
    let before = two_topics();
    assert!(before.acls.is_none());
    let (same, _) =
        next(&before, |builder| builder.acl(&prefixed_topic("a"), &acl_znode("User:a")));
    assert!(same.is_none(), "nobody asked for them");
    let followed = changed(&before, |builder| {
        builder.follow_acls(true);
        builder.acl(&prefixed_topic("a"), &acl_znode("User:a"));
        builder.acl(&prefixed_topic("b"), &acl_znode("User:b"));
    });
    assert_eq!(prefixed_topics(&followed), [("a", true), ("b", true)]);
    assert!(Arc::ptr_eq(&followed.topics, &before.topics));
    let (same, _) = next(&followed, |builder| {
        builder.follow_acls(true);
        builder.acl_directory(
            PatternType::Prefixed,
            ResourceType::Topic,
            Some(&["a".to_owned(), "b".to_owned()].into()),
        );
        builder.acl(&prefixed_topic("a"), &acl_znode("User:a"));
        builder.acl(&prefixed_topic("c"), &Read::Absent);
        builder.acl(&prefixed_topic("d"), &Read::Found(znode("", 0)));
    });
    assert!(same.is_none());
    let moved = changed(&followed, |builder| {
        builder.acl(&prefixed_topic("a"), &acl_znode("User:c"));
        builder.acl(&prefixed_topic("b"), &Read::Absent);
    });
    assert_eq!(prefixed_topics(&moved), [("a", true)]);
    let dropped = changed(&moved, |builder| {
        builder.acl_directory(PatternType::Prefixed, ResourceType::Topic, Some(&BTreeSet::new()));
    });
    assert_eq!(prefixed_topics(&dropped), []);
    assert!(changed(&followed, |builder| builder.follow_acls(false)).acls.is_none());
}

#[test]
fn acls_that_can_not_be_read_are_not_taken_for_none() {
    let image = changed(&ClusterImage::default(), |builder| builder.follow_acls(true));
    let (after, problems) = next(&image, |builder| {
        builder.acl(&prefixed_topic("a"), &Read::Found(nonsense(10)));
        builder.acl(&prefixed_topic("b"), &Read::Forbidden);
        builder.acl_directory(PatternType::Literal, ResourceType::Group, None);
    });
    let after = after.unwrap();
    assert_eq!(prefixed_topics(&after), [("a", false), ("b", false)]);
    let directory = |image: &ClusterImage| {
        let acls = image.acls.clone().unwrap();
        acls.directory(PatternType::Literal, ResourceType::Group).clone()
    };
    assert!(directory(&after).unlisted);
    let named: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    let prefixed = "/kafka-acl-extended/prefixed/Topic";
    assert_eq!(named, [&format!("{prefixed}/a"), &format!("{prefixed}/b"), "/kafka-acl/Group"]);
    let healed = changed(&after, |builder| {
        builder.acl(&prefixed_topic("a"), &acl_znode("User:a"));
        builder.acl(&prefixed_topic("b"), &Read::Absent);
        builder.acl_directory(PatternType::Literal, ResourceType::Group, Some(&BTreeSet::new()));
    });
    assert_eq!(prefixed_topics(&healed), [("a", true)]);
    assert!(!directory(&healed).unlisted);
}

proptest! {
    /// One change after the other comes to the same image as one full read of the end.
    #[test]
    fn steps_and_a_full_read_agree(
        steps in proptest::collection::vec((0u8..4, 0usize..3, 0i32..3, 0i32..4), 0..40),
    ) {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        let mut image = two_topics();
        let mut topics: BTreeMap<&str, (Znode, BTreeMap<i32, Znode>)> = BTreeMap::new();
        let full = |image: &ClusterImage,
                    topics: &BTreeMap<&str, (Znode, BTreeMap<i32, Znode>)>| {
            let mut builder = ImageBuilder::new(image);
            let names = topics.keys().map(|name| (*name).to_owned()).collect();
            builder.retain(&Names { topics: names, ..Names::default() });
            for (name, (znode, states)) in topics {
                builder.topic(name, Some(znode), states);
            }
            builder.finish().0
        };
        image = full(&image, &topics).unwrap_or(image);
        for (kind, name, partition, value) in steps {
            let name = NAMES[name];
            let mut builder = ImageBuilder::new(&image);
            match kind {
                0 => {
                    let made = assignment(u128::try_from(value).unwrap() + 1, 3);
                    // Ids are unique: no two topics get the same.
                    let mut made_for = TopicAssignment::decode(&made.data).unwrap();
                    let unique = u128::from(name.as_bytes()[0]) << 8;
                    made_for.id = Uuid::from_u128(made_for.id.as_u128() + unique);
                    let made = znode(made_for.encode(), 0);
                    topics.insert(name, (made.clone(), BTreeMap::new()));
                    builder.topic(name, Some(&made), &BTreeMap::new());
                }
                1 => {
                    topics.remove(name);
                    builder.topic(name, None, &BTreeMap::new());
                }
                2 => {
                    if let Some((_, states)) = topics.get_mut(name) {
                        states.insert(partition, state(value, value));
                    }
                    builder.partition(name, partition, Some(&state(value, value)));
                }
                _ => {
                    if let Some((_, states)) = topics.get_mut(name) {
                        states.remove(&partition);
                    }
                    builder.partition(name, partition, None);
                }
            }
            image = builder.finish().0.unwrap_or(image);
        }
        let anew = full(&ClusterImage::default(), &topics).unwrap();
        prop_assert_eq!(&image.topics, &anew.topics);
        prop_assert_eq!(&image.topic_ids, &anew.topic_ids);
        prop_assert!(full(&image, &topics).is_none());
    }
}
