//! Tests of images as bytes.

use super::*;
use crate::cluster::layout::acl::{PatternType, ResourceType};

const SOURCE: &str = "zk1:2181,zk2:2181/kafka";

fn image() -> ClusterImage {
    let partition = |leader: i32| PartitionImage {
        replicas: vec![1, 2, 3],
        leader,
        leader_epoch: 7,
        isr: vec![2, 1],
        controller_epoch: 4,
        partition_epoch: 9,
        leader_recovery_state: 1,
        created_zxid: 0x0001_0000_0002,
        created_ms: 1_700_000_000_000,
    };
    let config: Arc<BTreeMap<String, String>> =
        Arc::new([("retention.ms".to_owned(), "77".to_owned())].into());
    let topic = |name: &str, id: u128| TopicImage {
        name: name.into(),
        id: Uuid::from_u128(id),
        internal: name.starts_with("__"),
        partitions: [(0, partition(1)), (1, partition(-1))].into(),
        assignment: [(0, vec![1, 2, 3]), (1, vec![1, 2, 3]), (2, vec![])].into(),
        adding: [(0, vec![3])].into(),
        removing: [(0, vec![1])].into(),
        znode_version: 3,
        created_zxid: 55,
        config: if name == "a" { config.clone() } else { Arc::default() },
    };
    let topics = [topic("a", 1), topic("__consumer_offsets", 2), topic("ä", 0)];
    let broker = BrokerInfo {
        id: 1,
        epoch: 99,
        endpoints: vec![Endpoint {
            listener: "CLIENT".to_owned(),
            protocol: "SSL".to_owned(),
            host: "::1".to_owned(),
            port: 9_093,
        }],
        rack: Some("r1".to_owned()),
        doorkeeper: false,
        owner: -5,
    };
    ClusterImage {
        version: 1,
        changed_ms: None,
        cluster_id: Some("nMgdTK9_SGiqQnTCLuC_7A".into()),
        controller: Some(ControllerInfo {
            broker_id: 1,
            epoch: 4,
            epoch_version: 5,
            owner: -5,
            doorkeeper: false,
            kraft: true,
        }),
        brokers: Arc::new([(1, Arc::new(broker))].into()),
        topic_ids: Arc::new(
            topics
                .iter()
                .filter(|topic| !topic.id.is_nil())
                .map(|topic| (topic.id, topic.name.clone()))
                .collect(),
        ),
        topics: Arc::new(
            topics.into_iter().map(|topic| (topic.name.clone(), Arc::new(topic))).collect(),
        ),
        topic_configs: Arc::new([("a".into(), config.clone()), ("gone".into(), config)].into()),
        broker_configs: Arc::default(),
        deleting: Arc::new([("a".into(), [1, 2].into()), ("b".into(), [].into())].into()),
        acls: Some(Arc::new(acls())),
    }
}

fn acls() -> Acls {
    let mut acls = Acls::default();
    let entry = |operation, permission| AclEntry {
        principal: "User:ä".to_owned(),
        host: "*".to_owned(),
        operation,
        permission,
    };
    let entries = vec![entry(None, None), entry(Some(Operation::Read), Some(Permission::Deny))];
    let topics = acls.directory_mut(PatternType::Prefixed, ResourceType::Topic);
    topics.resources = Arc::new(
        [
            ("a".into(), Arc::new(ResourceAcls::Known(entries))),
            ("b".into(), Arc::new(ResourceAcls::Unknown)),
        ]
        .into(),
    );
    acls.directory_mut(PatternType::Literal, ResourceType::Group).unlisted = true;
    acls
}

/// Says what differs, which a comparison of whole images would not.
fn same(one: &ClusterImage, other: &ClusterImage) {
    assert_eq!((one.version, one.changed_ms), (other.version, other.changed_ms));
    assert_eq!((&one.cluster_id, &one.controller), (&other.cluster_id, &other.controller));
    assert_eq!(one.brokers, other.brokers);
    assert_eq!(one.topics, other.topics);
    assert_eq!(one.topic_ids, other.topic_ids);
    assert_eq!(one.topic_configs, other.topic_configs);
    assert_eq!(one.broker_configs, other.broker_configs);
    assert_eq!(one.deleting, other.deleting);
    assert_eq!(one.acls, other.acls);
}

/// The bytes with a checksum that is right for them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - CHECKSUM);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

#[test]
fn an_image_comes_back() {
    let image = image();
    same(&decode(&encode(&image, SOURCE), SOURCE).unwrap(), &image);
    let empty = ClusterImage { version: 1, ..ClusterImage::default() };
    same(&decode(&encode(&empty, ""), "").unwrap(), &empty);
}

#[test]
fn passwords_of_brokers_stay_out() {
    let secret: BTreeMap<String, String> =
        [("ssl.keystore.password".to_owned(), "hunter2".to_owned())].into();
    let configs = Arc::new([("1".into(), Arc::new(secret))].into());
    let bytes = encode(&ClusterImage { broker_configs: configs, ..image() }, SOURCE);
    assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
}

#[test]
fn another_cluster_is_refused() {
    let error = decode(&encode(&image(), SOURCE), "zk9:2181").unwrap_err();
    assert_eq!(error, ImageFileError::Source(SOURCE.to_owned()));
}

#[test]
fn every_prefix_is_refused() {
    let bytes = encode(&image(), SOURCE);
    for end in 0..bytes.len() {
        let error = decode(&bytes[..end], SOURCE).unwrap_err();
        let expected =
            if end < MAGIC.len() { ImageFileError::Format } else { ImageFileError::Checksum };
        assert_eq!(error, expected, "{end} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(decode(&longer, SOURCE).unwrap_err(), ImageFileError::Checksum);
    // Even if the checksum is right.
    for end in MAGIC.len()..bytes.len() - CHECKSUM {
        let short = sealed([&bytes[..end], &[0; CHECKSUM]].concat());
        assert_eq!(decode(&short, SOURCE).unwrap_err(), ImageFileError::Content, "{end} bytes");
    }
}

#[test]
fn every_change_of_one_byte_is_refused() {
    let bytes = encode(&image(), SOURCE);
    for index in 0..bytes.len() {
        for value in 0..=u8::MAX {
            let mut changed = bytes.clone();
            if std::mem::replace(&mut changed[index], value) == value {
                continue;
            }
            assert!(decode(&changed, SOURCE).is_err(), "byte {index} = {value}");
        }
    }
}

#[test]
fn a_change_that_the_checksum_covers_does_not_panic() {
    let bytes = encode(&image(), SOURCE);
    for index in MAGIC.len()..bytes.len() - CHECKSUM {
        for value in [0, 1, 2, 0x7f, 0x80, 0xff, bytes[index].wrapping_add(1)] {
            let mut changed = bytes.clone();
            changed[index] = value;
            let _ = decode(&sealed(changed), SOURCE);
        }
    }
}
