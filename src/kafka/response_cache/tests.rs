//! Answers put together from the cache are those that the crate's encoder makes as a whole.

use std::collections::BTreeMap;

use kafka_protocol::messages::{MetadataResponse, MetadataResponse as Answer};
use kafka_protocol::protocol::Decodable;
use uuid::Uuid;

use super::*;
use crate::cluster::{BrokerInfo, ControllerInfo, Endpoint, PartitionImage};

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
        }),
        brokers: Arc::new(brokers.iter().cloned().collect()),
        topics: Arc::new(topics.iter().map(|t| (Arc::clone(&t.name), Arc::clone(t))).collect()),
        ..ClusterImage::default()
    })
}

fn view(version: i16, operations: i32) -> View {
    View { listener: Arc::from("PLAINTEXT"), version, operations }
}

fn all(cache: &ResponseCache, image: &Arc<ClusterImage>, view: &View) -> Answer {
    let (count, topics) = cache.all(image, view).unwrap();
    let mut body = BytesMut::from(&cache.front(image, view).unwrap()[..]);
    put_count(&mut body, view.version, count);
    body.put_slice(&topics);
    body.put_slice(&end(view.version, true));
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
            let reachable = Reachable::new(&image, "PLAINTEXT");
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
            assert_eq!(one_by_one.concat(), cache.all(&image, &view).unwrap().1);
        }
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
