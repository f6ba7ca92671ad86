//! Answers put together from the cache are those that the crate's encoder makes as a whole.

use std::collections::BTreeMap;

use kafka_protocol::messages::{MetadataResponse, MetadataResponse as Answer};
use kafka_protocol::protocol::Decodable;
use uuid::Uuid;

use super::*;
use crate::cluster::{BrokerInfo, ControllerInfo, Endpoint, PartitionImage};
use crate::kafka::addresses::Address;
use crate::kafka::api::operations::{self, NOT_ASKED};

fn broker(id: i32, listeners: &[&str]) -> (i32, Arc<BrokerInfo>) {
    let endpoints = listeners.iter().map(|listener| Endpoint {
        listener: (*listener).to_owned(),
        protocol: "PLAINTEXT".to_owned(),
        host: format!("host-{id}"),
        port: 9092 + id,
    });
    let info = BrokerInfo {
        id,
        epoch: 7,
        endpoints: endpoints.collect(),
        rack: (id == 1).then(|| "rack".to_owned()),
        doorkeeper: true,
        owner: 1,
    };
    (id, Arc::new(info))
}

fn topic(name: &str, leaders: &[i32]) -> Arc<TopicImage> {
    let partitions: BTreeMap<i32, PartitionImage> = (0..)
        .zip(leaders)
        .map(|(index, leader)| {
            let state = PartitionImage {
                replicas: vec![*leader, 1, 9],
                leader: *leader,
                leader_epoch: 5,
                isr: vec![1, *leader],
                controller_epoch: 1,
                partition_epoch: 0,
                leader_recovery_state: 0,
                created_zxid: 1,
                created_ms: 1,
            };
            (index, state)
        })
        .collect();
    Arc::new(TopicImage {
        name: Arc::from(name),
        id: Uuid::from_u128(name.len() as u128),
        internal: name.starts_with("__"),
        assignment: partitions.iter().map(|(index, p)| (*index, p.replicas.clone())).collect(),
        partitions,
        adding: BTreeMap::new(),
        removing: BTreeMap::new(),
        znode_version: 0,
        created_zxid: 1,
        config: Arc::default(),
    })
}

fn image(topics: &[&Arc<TopicImage>], brokers: &[(i32, Arc<BrokerInfo>)]) -> Arc<ClusterImage> {
    Arc::new(ClusterImage {
        version: 1,
        cluster_id: Some(Arc::from("cluster")),
        controller: Some(ControllerInfo {
            broker_id: 1,
            epoch: 1,
            epoch_version: 1,
            owner: 1,
            doorkeeper: true,
            kraft: false,
        }),
        brokers: Arc::new(brokers.iter().cloned().collect()),
        topics: Arc::new(topics.iter().map(|t| (Arc::clone(&t.name), Arc::clone(t))).collect()),
        ..ClusterImage::default()
    })
}

fn view(version: i16, operations: i32) -> View {
    View { addresses: AddressBook::direct("PLAINTEXT".into()), version, operations }
}

fn all(cache: &ResponseCache, image: &Arc<ClusterImage>, view: &View) -> Answer {
    let topics = cache.all(image, view).unwrap();
    let mut body = BytesMut::from(&cache.front(image, view).unwrap()[..]);
    put_count(&mut body, view.version, topics.ends.len());
    body.put_slice(&topics.bytes);
    body.put_slice(&end(view.version, operations::CLUSTER));
    let mut body = body.freeze();
    let answer = MetadataResponse::decode(&mut body, view.version).unwrap();
    assert!(body.is_empty());
    answer
}

#[test]
fn every_version_is_what_the_encoder_makes() {
    let topics = [&topic("a", &[1, 2, 3]), &topic("__consumer_offsets", &[4]), &topic("c", &[2])];
    let brokers = [broker(1, &["PLAINTEXT"]), broker(2, &["OTHER"]), broker(4, &["PLAINTEXT"])];
    let image = image(&topics, &brokers);
    let cache = ResponseCache::default();
    for version in 0..=13_i16 {
        for operations in [NOT_ASKED, operations::TOPIC] {
            if version < 8 && operations != NOT_ASKED {
                continue;
            }
            let view = view(version, operations);
            let reachable = Reachable::new(&image, &AddressBook::direct("PLAINTEXT".into()));
            let described = image
                .visible_topics()
                .map(|topic| metadata_topic::describe(topic, &reachable, version, operations));
            let whole = Answer::default()
                .with_brokers(
                    [1, 4]
                        .map(|id| {
                            MetadataResponseBroker::default()
                                .with_node_id(BrokerId(id))
                                .with_host(StrBytes::from_string(format!("host-{id}")))
                                .with_port(9092 + id)
                                .with_rack((id == 1).then(|| StrBytes::from_static_str("rack")))
                        })
                        .to_vec(),
                )
                .with_cluster_id(Some(StrBytes::from_static_str("cluster")))
                .with_controller_id(BrokerId(1))
                .with_cluster_authorized_operations(if (8..=10).contains(&version) {
                    operations::CLUSTER
                } else {
                    NOT_ASKED
                })
                .with_topics(described.collect());
            let mut expected = encoded(&whole, version).unwrap();
            let expected = Answer::decode(&mut expected, version).unwrap();
            for _ in 0..2 {
                assert_eq!(all(&cache, &image, &view), expected, "version {version}");
            }

            // One by one, in another order, the bytes are the same.
            let mut one_by_one = Vec::new();
            let wanted: Vec<_> = image.visible_topics().collect();
            cache
                .topics(&image, &view, wanted.into_iter().rev(), |topic| {
                    one_by_one.push(Bytes::copy_from_slice(topic));
                })
                .unwrap();
            one_by_one.reverse();
            let all = cache.all(&image, &view).unwrap();
            assert_eq!(one_by_one.concat(), all.bytes);
            let ends = one_by_one.iter().scan(0, |end, topic| {
                *end += topic.len();
                Some(*end)
            });
            assert_eq!(ends.collect::<Vec<_>>(), *all.ends);
        }
    }
}

#[test]
fn operations_can_be_put_into_an_encoded_topic() {
    let image = image(&[&topic("t", &[1, 2])], &[broker(1, &["PLAINTEXT"])]);
    let cache = ResponseCache::default();
    let encoded = |version, operations| {
        let all = cache.all(&image, &view(version, operations)).unwrap();
        all.bytes.to_vec()
    };
    for version in 0..=13 {
        let mut patched = encoded(version, NOT_ASKED);
        set_operations(&mut patched, version, operations::TOPIC);
        let expected = if version < 8 { NOT_ASKED } else { operations::TOPIC };
        assert_eq!(patched, encoded(version, expected), "version {version}");
    }
}

#[test]
fn leaders_that_cannot_be_reached_are_errors() {
    let image = image(
        &[&topic("t", &[1, 2, 3])],
        &[broker(1, &["PLAINTEXT"]), broker(2, &["OTHER"]), broker(9, &["PLAINTEXT"])],
    );
    let cache = ResponseCache::default();
    let partitions = |version| {
        let answer = all(&cache, &image, &view(version, NOT_ASKED));
        answer.topics[0].partitions.clone()
    };
    let errors = |version| -> Vec<i16> {
        partitions(version).iter().map(|partition| partition.error_code).collect()
    };
    assert_eq!(errors(13), [0, 72, 5]);
    assert_eq!(errors(6), [0, 72, 5]);
    assert_eq!(errors(5), [0, 5, 5]);
    assert_eq!(errors(0), [0, 5, 5]);
    let of = |version: i16, index: usize| partitions(version)[index].clone();
    assert_eq!((of(13, 1).leader_id, of(13, 1).leader_epoch), (BrokerId(-1), 5));
    assert_eq!(of(13, 2).offline_replicas, [BrokerId(3)]);
    assert_eq!(of(13, 2).replica_nodes, [3, 1, 9].map(BrokerId));
    assert_eq!(of(13, 2).isr_nodes, [1, 3].map(BrokerId));
    // Version 0 shows only what can be reached.
    assert_eq!(of(0, 2).replica_nodes, [1, 9].map(BrokerId));
    assert_eq!(of(0, 2).isr_nodes, [BrokerId(1)]);
}

#[test]
fn version_zero_says_when_a_replica_is_missing() {
    let image = image(&[&topic("t", &[1])], &[broker(1, &["PLAINTEXT"])]);
    let answer = all(&ResponseCache::default(), &image, &view(0, NOT_ASKED));
    assert_eq!(answer.topics[0].partitions[0].error_code, 9);
    assert_eq!(answer.topics[0].partitions[0].leader_id, BrokerId(1));
}

#[test]
fn a_topic_is_encoded_once_for_as_long_as_nothing_about_it_changes() {
    let (kept, changed) = (topic("kept", &[1]), topic("changed", &[1]));
    let brokers = [broker(1, &["PLAINTEXT"])];
    let cache = ResponseCache::default();
    let view = view(12, NOT_ASKED);
    let bytes = |image: &Arc<ClusterImage>, name: &str| -> *const u8 {
        let class = cache.class(&view);
        cache.all(image, &view).unwrap();
        let topics = class.read();
        topics.get(&image.topics[name]).unwrap().as_ptr()
    };
    let first = image(&[&kept, &changed], &brokers);
    let before = (bytes(&first, "kept"), bytes(&first, "changed"));
    assert_eq!(before, (bytes(&first, "kept"), bytes(&first, "changed")));

    let second = image(&[&kept, &topic("changed", &[1, 1])], &brokers);
    assert_eq!(bytes(&second, "kept"), before.0);
    assert_eq!(all(&cache, &second, &view).topics[0].partitions.len(), 2);

    // A topic that is gone is not kept.
    let third = image(&[&kept], &brokers);
    assert_eq!(all(&cache, &third, &view).topics.len(), 1);
    assert_eq!(cache.class(&view).read().encoded.len(), 1);

    // A broker that goes changes every topic.
    let fourth = image(&[&kept], &[]);
    assert_eq!(all(&cache, &fourth, &view).topics[0].partitions[0].error_code, 5);
}

#[test]
fn a_gateways_addresses_stand_in_the_answer_and_follow_its_ports() {
    let image = image(
        &[&topic("t", &[1, 2])],
        &[broker(1, &["INSIDE"]), broker(2, &["INSIDE"]), broker(3, &["OUTSIDE"])],
    );
    let own = |ports: &[(i32, i32)]| {
        let of =
            |(id, port): &(i32, i32)| (*id, Address { host: format!("gate-{id}"), port: *port });
        let relay = Some(ports.iter().map(of).collect());
        let addresses = Arc::new(AddressBook { listener: "INSIDE".into(), relay });
        View { addresses, version: 9, operations: NOT_ASKED }
    };
    let cache = ResponseCache::default();
    let told = |view: &View| {
        let answer = all(&cache, &image, view);
        let brokers: Vec<_> =
            answer.brokers.iter().map(|b| (b.node_id.0, b.host.to_string(), b.port)).collect();
        let errors: Vec<i16> =
            answer.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
        (brokers, errors)
    };
    let both = own(&[(1, 1_001), (2, 1_002), (3, 1_003)]);
    let gates = vec![(1, "gate-1".to_owned(), 1_001), (2, "gate-2".to_owned(), 1_002)];
    assert_eq!(told(&both), (gates, vec![0, 0]));
    // A broker without a port here can't be reached, and is never told by an address of its own.
    let one = own(&[(2, 2_002)]);
    assert_eq!(told(&one), (vec![(2, "gate-2".to_owned(), 2_002)], vec![72, 0]));
    // Those that were told before, and the brokers' own, are kept apart.
    let direct = View { addresses: AddressBook::direct("INSIDE".into()), ..one.clone() };
    assert_eq!(told(&direct).0[0], (1, "host-1".to_owned(), 9093));
    assert_eq!(told(&one).1, [72, 0]);
    assert_eq!((cache.topics.read().len(), cache.fronts.read().len()), (3, 3));
}

#[test]
fn what_nobody_asks_for_any_more_is_dropped_with_its_image() {
    let cache = ResponseCache::default();
    let mut image = image(&[&topic("t", &[1])], &[broker(1, &["PLAINTEXT"])]);
    all(&cache, &image, &view(4, NOT_ASKED));
    let first = Arc::downgrade(&image);
    for version in 2..=limits::IMAGES_KEPT + 1 {
        image = Arc::new(ClusterImage { version, ..ClusterImage::clone(&image) });
        all(&cache, &image, &view(12, NOT_ASKED));
    }
    assert_eq!((cache.topics.read().len(), cache.fronts.read().len()), (1, 1));
    assert!(first.upgrade().is_none(), "nothing keeps the first image");
}
