//! Tests of a gateway's answers from images.

use std::collections::BTreeMap;

use bytes::BytesMut;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use uuid::Uuid;

use super::*;
use crate::cluster::builder::{ImageBuilder, Znode};
use crate::cluster::layout::topic::{PartitionState, TopicAssignment};
use crate::gateway::addresses::Address;
use crate::gateway::described;
use crate::kafka::api::{Piece, operations};
use crate::kafka::security::Principal;

mod acls;

fn znode(data: impl Into<Vec<u8>>, czxid: i64) -> Znode {
    Znode { data: data.into(), czxid, ..Znode::default() }
}

fn assignment(id: u128, partitions: i32) -> TopicAssignment {
    TopicAssignment {
        id: Uuid::from_u128(id),
        partitions: (0..partitions).map(|partition| (partition, vec![1, 2, 3])).collect(),
        ..TopicAssignment::default()
    }
}

/// A topic made at `czxid`, led by broker 1, 2, 3, 1, …
fn topic(builder: &mut ImageBuilder, name: &str, id: u128, partitions: i32, czxid: i64) {
    let state = |partition: i32| {
        let state = PartitionState::new(partition % 3 + 1, 4, vec![2, 1], 1);
        znode(state.encode(), czxid + 1 + i64::from(partition))
    };
    let states: BTreeMap<i32, Znode> = (0..partitions).map(|p| (p, state(p))).collect();
    builder.topic(name, Some(&znode(assignment(id, partitions).encode(), czxid)), &states);
}

fn broker(builder: &mut ImageBuilder, id: i32, listeners: &str, czxid: i64) {
    let endpoints: Vec<String> = listeners
        .split(',')
        .map(|name| format!(r#""{name}://{}-{id}:{}""#, name.to_lowercase(), 9_000 + id))
        .collect();
    let json = format!(
        r#"{{"version":5,"host":"h","port":1,"jmx_port":-1,"timestamp":"1","endpoints":[{}],
        "listener_security_protocol_map":{{"INSIDE":"PLAINTEXT","OUTSIDE":"SSL"}},"rack":"r{id}"}}"#,
        endpoints.join(",")
    );
    builder.broker(id, Some(&znode(json, czxid)));
}

/// Brokers 1 and 2, of which 2 has no listener OUTSIDE; 3 is dead.
fn cluster(more: impl FnOnce(&mut ImageBuilder)) -> Arc<ClusterImage> {
    let mut builder = ImageBuilder::new(&ClusterImage::default());
    builder.cluster_id(Some(&znode(r#"{"version":"1","id":"cluster"}"#, 1)));
    let controller = r#"{"version":2,"brokerid":2,"timestamp":"1","kraftControllerEpoch":-1}"#;
    builder.controller(Some(&znode(controller, 1)), Some(&znode("7", 1)));
    broker(&mut builder, 1, "INSIDE,OUTSIDE", 1_000);
    broker(&mut builder, 2, "INSIDE", 1_100);
    topic(&mut builder, "a", 0xa, 3, 50);
    topic(&mut builder, "b", 0xb, 1, 60);
    more(&mut builder);
    let (image, problems) = builder.finish();
    assert_eq!(problems, []);
    Arc::new(image.unwrap())
}

/// What is asked of one image by the clients of one listener.
struct Asking {
    answers: Answers,
    image: Arc<ClusterImage>,
    addresses: Arc<AddressBook>,
    missing: HashMap<String, i16>,
    auto_create_topics: bool,
    caller: Option<Caller>,
    authorizer: GatewayAuthorizer,
}

impl Asking {
    fn new(image: Arc<ClusterImage>) -> Self {
        Asking {
            answers: Answers::default(),
            image,
            addresses: AddressBook::direct("INSIDE".into()),
            missing: HashMap::new(),
            auto_create_topics: true,
            caller: Some(caller("ANONYMOUS")),
            authorizer: GatewayAuthorizer::Nobody,
        }
    }

    fn raw(&self, key: ApiKey, version: i16, body: Bytes) -> Result<Answer, HandlerError> {
        self.answers.answer(&Question {
            image: &self.image,
            addresses: &self.addresses,
            key,
            version,
            body,
            caller: self.caller.as_ref(),
            authorizer: &self.authorizer,
            auto_create_topics: self.auto_create_topics,
            missing: &self.missing,
        })
    }

    fn ask(&self, key: ApiKey, version: i16, request: &impl Encodable) -> Answer {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).unwrap();
        self.raw(key, version, body.freeze()).unwrap()
    }

    fn told<R: Decodable>(&self, key: ApiKey, version: i16, request: &impl Encodable) -> R {
        let bytes = match self.ask(key, version, request) {
            Answer::Reply(Reply::Body(body)) => body,
            Answer::Reply(Reply::Pieces(pieces)) => pieces
                .iter()
                .flat_map(|piece| match piece {
                    Piece::Bytes(bytes) => bytes.clone(),
                    Piece::File(_) => panic!("there is no file"),
                })
                .collect(),
            other => panic!("{other:?}"),
        };
        let mut rest = bytes;
        let told = R::decode(&mut rest, version).unwrap();
        assert!(rest.is_empty(), "bytes behind the answer");
        told
    }

    fn metadata(&self, version: i16, request: &MetadataRequest) -> MetadataResponse {
        self.told(ApiKey::Metadata, version, request)
    }
}

fn caller(name: &str) -> Caller {
    Caller { principal: Principal::user(name), host: "10.0.0.1".parse().unwrap() }
}

fn text(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn named(names: &[&str]) -> MetadataRequest {
    let topics =
        names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(text(name))));
    MetadataRequest::default().with_topics(Some(topics.collect()))
}

fn by_id(ids: &[u128]) -> MetadataRequest {
    let topics = ids.iter().map(|id| {
        MetadataRequestTopic::default().with_name(None).with_topic_id(Uuid::from_u128(*id))
    });
    MetadataRequest::default().with_topics(Some(topics.collect()))
}

fn summary(response: &MetadataResponse) -> Vec<(String, i16, usize)> {
    let name = |name: &Option<TopicName>| name.as_ref().map_or("", |name| name.as_str()).to_owned();
    let topics = response.topics.iter();
    topics.map(|t| (name(&t.name), t.error_code, t.partitions.len())).collect()
}

#[test]
fn metadata_at_every_version() {
    let mut asking = Asking::new(cluster(|_| {}));
    for version in 0..=13 {
        let told = asking.metadata(version, &named(&["b", "a", "b"]));
        assert_eq!(summary(&told), [("b".to_owned(), 0, 1), ("a".to_owned(), 0, 3)], "{version}");
        let brokers: Vec<_> =
            told.brokers.iter().map(|b| (b.node_id.0, b.host.as_str(), b.port)).collect();
        assert_eq!(brokers, [(1, "inside-1", 9_001), (2, "inside-2", 9_002)]);
        let rack = told.brokers[0].rack.as_deref();
        assert_eq!(rack, (version >= 1).then_some("r1"), "{version}");
        assert_eq!(told.controller_id.0, if version >= 1 { 2 } else { -1 });
        assert_eq!(told.cluster_id.as_deref(), (version >= 2).then_some("cluster"));
        assert_eq!(told.error_code, 0);
        let a = &told.topics[1];
        assert_eq!(a.topic_id.as_u128(), if version >= 10 { 0xa } else { 0 });
        let errors: Vec<i16> = a.partitions.iter().map(|p| p.error_code).collect();
        // Version 0 names replicas that are away; the leader of the last partition is one.
        assert_eq!(errors, if version == 0 { [9, 9, 5] } else { [0, 0, 5] }, "{version}");
        let last = &a.partitions[2];
        assert_eq!(last.leader_id.0, -1);
        assert_eq!(last.leader_epoch, if version >= 7 { 4 } else { -1 });
        let offline: &[BrokerId] = if version >= 5 { &[BrokerId(3)] } else { &[] };
        assert_eq!(last.offline_replicas, offline);
        let replicas: &[i32] = if version == 0 { &[1, 2] } else { &[1, 2, 3] };
        assert_eq!(last.replica_nodes.iter().map(|b| b.0).collect::<Vec<_>>(), replicas);
        assert_eq!(last.isr_nodes, [BrokerId(2), BrokerId(1)]);
        let all = asking.metadata(
            version,
            &if version == 0 { named(&[]) } else { MetadataRequest::default().with_topics(None) },
        );
        assert_eq!(summary(&all), [("a".to_owned(), 0, 3), ("b".to_owned(), 0, 1)], "{version}");
        if version >= 1 {
            assert!(asking.metadata(version, &named(&[])).topics.is_empty());
        }
    }
    // Clients of the other listener: broker 2 is alive, but has no address for them.
    asking.addresses = AddressBook::direct("OUTSIDE".into());
    for (version, error) in [(5, 5), (6, 72), (13, 72)] {
        let told = asking.metadata(version, &named(&["a"]));
        assert_eq!(told.brokers.len(), 1);
        assert_eq!(told.topics[0].partitions[1].error_code, error);
        assert_eq!(told.topics[0].partitions[1].leader_id.0, -1);
        assert_eq!(told.controller_id.0, 2, "the controller is named all the same");
    }
}

#[test]
fn operations_are_told_where_they_are_asked_for() {
    let asking = Asking::new(cluster(|_| {}));
    for version in 8..=13 {
        for ask in [false, true] {
            let mut request = named(&["a"]).with_include_topic_authorized_operations(ask);
            if version <= 10 {
                request = request.with_include_cluster_authorized_operations(ask);
            }
            let told = asking.metadata(version, &request);
            let bits = |bits: i32| if ask { bits } else { i32::MIN };
            assert_eq!(told.topics[0].topic_authorized_operations, bits(operations::TOPIC));
            let cluster = if version <= 10 { bits(operations::CLUSTER) } else { i32::MIN };
            assert_eq!(told.cluster_authorized_operations, cluster, "{version}");
        }
    }
}

#[test]
fn missing_names_are_found_out_about_and_then_unknown() {
    let mut asking = Asking::new(cluster(|_| {}));
    let request = named(&["x", "a", "bad name", "x", "y"]);
    match asking.ask(ApiKey::Metadata, 12, &request) {
        Answer::Missing { names, create } => {
            assert_eq!(names, ["x", "y"]);
            assert!(create);
        }
        other => panic!("{other:?}"),
    }
    let refusing = request.clone().with_allow_auto_topic_creation(false);
    let creates = |asking: &Asking, request| match asking.ask(ApiKey::Metadata, 12, request) {
        Answer::Missing { create, .. } => create,
        other => panic!("{other:?}"),
    };
    assert!(!creates(&asking, &refusing));
    asking.auto_create_topics = false;
    assert!(!creates(&asking, &request));

    asking.missing = [("x".to_owned(), 3), ("y".to_owned(), 5)].into();
    let told = asking.metadata(12, &request);
    let of = |name: &str, error, partitions| (name.to_owned(), error, partitions);
    assert_eq!(
        summary(&told),
        [of("a", 0, 3), of("x", 3, 0), of("bad name", 17, 0), of("y", 5, 0)]
    );
    assert!(told.topics[1].topic_id.is_nil());
    asking.missing = [("__consumer_offsets".to_owned(), 3)].into();
    let told = asking.metadata(12, &named(&["__consumer_offsets"]));
    assert!(told.topics[0].is_internal, "by its name alone");
}

#[test]
fn ids_are_answered_if_all_are_known() {
    let asking = Asking::new(cluster(|_| {}));
    for version in [12, 13] {
        let told = asking.metadata(version, &by_id(&[0xb, 0xa, 0xb]));
        assert_eq!(summary(&told), [("b".to_owned(), 0, 1), ("a".to_owned(), 0, 3)]);
        let unknown = asking.ask(ApiKey::Metadata, version, &by_id(&[0xb, 0xc]));
        assert!(matches!(unknown, Answer::AskUpstream));
    }
    // What Kafka refuses as a whole it refuses itself.
    let early = asking.ask(ApiKey::Metadata, 11, &{
        let mut request = named(&["a"]);
        request.topics.as_mut().unwrap()[0].topic_id = Uuid::from_u128(0xa);
        request
    });
    assert!(matches!(early, Answer::AskUpstream));
}

#[test]
fn a_topic_that_is_being_deleted_is_unknown_unless_its_replicas_move() {
    let deleting = cluster(|builder| {
        builder.deleting("a", Some(&[]));
        builder.deleting("b", Some(&[]));
        let moving = TopicAssignment { adding: [(0, vec![3])].into(), ..assignment(0xb, 1) };
        let state = znode(PartitionState::new(1, 4, vec![2, 1], 1).encode(), 61);
        builder.topic("b", Some(&znode(moving.encode(), 60)), &[(0, state)].into());
    });
    let asking = Asking::new(deleting);
    let all = asking.metadata(12, &MetadataRequest::default().with_topics(None));
    assert_eq!(summary(&all), [("b".to_owned(), 0, 1)]);
    let gone = asking.ask(ApiKey::Metadata, 12, &by_id(&[0xa]));
    assert!(matches!(gone, Answer::AskUpstream));
}

#[test]
fn a_cluster_in_migration_is_a_brokers_to_tell() {
    let asking = Asking::new(cluster(|builder| {
        let owned = r#"{"version":2,"brokerid":3000,"timestamp":"1","kraftControllerEpoch":5}"#;
        builder.controller(Some(&znode(owned, 1)), Some(&znode("9", 1)));
    }));
    for registration in ANSWERED {
        for version in registration.served.min..=registration.served.max {
            let answer = asking.raw(registration.key, version, Bytes::new()).unwrap();
            assert!(matches!(answer, Answer::AskUpstream), "{}", registration.name);
        }
    }
}

#[test]
fn the_relay_tells_its_own_addresses() {
    let mut asking = Asking::new(cluster(|_| {}));
    let gate = |port| Address { host: "gate".to_owned(), port };
    let relay = Some([(1, gate(1)), (2, gate(2)), (3, gate(3))].into());
    asking.addresses = Arc::new(AddressBook { listener: "OUTSIDE".into(), relay });
    let told = asking.metadata(12, &named(&["a"]));
    assert_eq!(told.brokers.len(), 1, "neither the dead nor one that has no such listener");
    assert_eq!((told.brokers[0].host.as_str(), told.brokers[0].port), ("gate", 1));
    let cluster: DescribeClusterResponse =
        asking.told(ApiKey::DescribeCluster, 1, &DescribeClusterRequest::default());
    assert_eq!(cluster.brokers.len(), 1);
    assert_eq!((cluster.brokers[0].host.as_str(), cluster.brokers[0].port), ("gate", 1));
    assert_eq!(cluster.controller_id.0, -1, "it is not among these brokers");
}

#[test]
fn clusters_are_described_to_clients_of_brokers() {
    let asking = Asking::new(cluster(|_| {}));
    for version in [0, 1] {
        for ask in [false, true] {
            let request =
                DescribeClusterRequest::default().with_include_cluster_authorized_operations(ask);
            let told: DescribeClusterResponse =
                asking.told(ApiKey::DescribeCluster, version, &request);
            assert_eq!((told.error_code, told.controller_id.0), (0, 2));
            assert_eq!(told.cluster_id.as_str(), "cluster");
            assert_eq!(told.brokers[1].rack.as_deref(), Some("r2"));
            let bits = if ask { operations::CLUSTER } else { i32::MIN };
            assert_eq!(told.cluster_authorized_operations, bits);
        }
    }
    for (endpoint_type, error) in [(2, 114), (3, 115)] {
        let request = DescribeClusterRequest::default().with_endpoint_type(endpoint_type);
        let told: DescribeClusterResponse = asking.told(ApiKey::DescribeCluster, 1, &request);
        assert_eq!((told.error_code, told.brokers.len()), (error, 0));
    }
}

#[test]
fn partitions_are_described_page_by_page() {
    let mut asking = Asking::new(cluster(|_| {}));
    let ask = |asking: &Asking, request: &DescribeTopicPartitionsRequest| {
        asking.told::<DescribeTopicPartitionsResponse>(ApiKey::DescribeTopicPartitions, 0, request)
    };
    let request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(2);
    let first = ask(&asking, &request);
    assert_eq!(first.topics[0].partitions.len(), 2);
    let cursor = first.next_cursor.unwrap();
    assert_eq!((cursor.topic_name.as_str(), cursor.partition_index), ("a", 2));
    let next = Cursor::default().with_topic_name(cursor.topic_name).with_partition_index(2);
    let second = ask(&asking, &request.with_cursor(Some(next)));
    let pages: Vec<usize> = second.topics.iter().map(|topic| topic.partitions.len()).collect();
    assert_eq!((pages, second.next_cursor), (vec![1, 1], None));

    let missing = DescribeTopicPartitionsRequest::default()
        .with_response_partition_limit(2_000)
        .with_topics(vec![TopicRequest::default().with_name(text("x"))]);
    match asking.ask(ApiKey::DescribeTopicPartitions, 0, &missing) {
        Answer::Missing { names, create: false } => assert_eq!(names, ["x"]),
        other => panic!("{other:?}"),
    }
    asking.missing = [("x".to_owned(), 3)].into();
    assert_eq!(ask(&asking, &missing).topics[0].error_code, 3);
}

#[test]
fn a_page_of_a_brokers_metadata_is_the_page_of_the_image() {
    let mut asking = Asking::new(cluster(|_| {}));
    asking.missing = [("x".to_owned(), 3)].into();
    let topic = |name: &&str| TopicRequest::default().with_name(text(name));
    let cursor = |name: &str, partition| {
        Some(Cursor::default().with_topic_name(text(name)).with_partition_index(partition))
    };
    let cursors = [
        None,
        cursor("a", 0),
        cursor("a", 2),
        cursor("a", 9),
        cursor("a", -1),
        cursor("aa", 0),
        cursor("b", 0),
        cursor("x", 0),
        cursor("z", 0),
    ];
    for names in [&[][..], &["a"], &["b", "a"], &["x", "b", "a", "bad name", "b"]] {
        for cursor in &cursors {
            for limit in [-1, 1, 2, 3, 4, 2_000] {
                let request = DescribeTopicPartitionsRequest::default()
                    .with_topics(names.iter().map(topic).collect())
                    .with_response_partition_limit(limit)
                    .with_cursor(cursor.clone());
                let ours: DescribeTopicPartitionsResponse =
                    asking.told(ApiKey::DescribeTopicPartitions, 0, &request);
                let metadata = asking.metadata(12, &described::question(&request));
                let theirs = described::page(metadata, &request);
                assert_eq!(theirs, ours, "{names:?} {cursor:?} {limit}");
            }
        }
    }
}

fn coordinators(
    asking: &Asking,
    version: i16,
    key_type: i8,
    keys: &[&str],
) -> Option<Vec<(i32, i16)>> {
    let mut found = Vec::new();
    let text = |key: &&str| StrBytes::from_string((*key).to_owned());
    let requests: Vec<FindCoordinatorRequest> = if version < 4 {
        keys.iter().map(|key| FindCoordinatorRequest::default().with_key(text(key))).collect()
    } else {
        let keys = keys.iter().map(text).collect();
        vec![FindCoordinatorRequest::default().with_coordinator_keys(keys)]
    };
    for mut request in requests {
        if version >= 1 {
            request = request.with_key_type(key_type);
        }
        if matches!(asking.ask(ApiKey::FindCoordinator, version, &request), Answer::AskUpstream) {
            return None;
        }
        let told: FindCoordinatorResponse = asking.told(ApiKey::FindCoordinator, version, &request);
        if version < 4 {
            found.push((told.node_id.0, told.error_code));
            let ok = told.error_code == 0;
            assert_eq!(
                told.host.as_str(),
                if ok { format!("inside-{}", told.node_id.0) } else { String::new() }
            );
            if version >= 1 {
                let message = if ok { "NONE" } else { "The coordinator is not available." };
                assert_eq!(told.error_message.as_deref(), Some(message));
            }
        }
        found.extend(told.coordinators.iter().map(|c| (c.node_id.0, c.error_code)));
    }
    Some(found)
}

#[test]
fn coordinators_lead_the_partition_that_a_name_falls_into() {
    let asking = Asking::new(cluster(|builder| {
        topic(builder, "__consumer_offsets", 1, 6, 100);
        topic(builder, "__transaction_state", 2, 50, 200);
    }));
    // "a" is 97: partition 1 of 6, led by 2; "b" partition 2, led by 3, which is dead; "polygene…"
    // partition 0, led by 1.
    let expected = [(2, 0), (-1, 15), (1, 0)];
    for version in 0..=6 {
        let groups = coordinators(&asking, version, 0, &["a", "b", "polygenelubricants"]);
        assert_eq!(groups.unwrap(), expected, "{version}");
    }
    // 97 % 50 = 47, led by 3; 99 % 50 = 49, led by 2.
    assert_eq!(coordinators(&asking, 4, 1, &["a", "c"]).unwrap(), [(-1, 15), (2, 0)]);
    // Share groups are not for a gateway to find.
    assert_eq!(coordinators(&asking, 6, 2, &["a"]), None);
}

#[test]
fn coordinators_are_a_brokers_to_find_while_the_count_is_not_certain() {
    let find = |more: &dyn Fn(&mut ImageBuilder)| {
        let asking = Asking::new(cluster(|builder| more(builder)));
        coordinators(&asking, 4, 0, &["a"])
    };
    let offsets = "__consumer_offsets";
    assert_eq!(find(&|_| {}), None, "not there yet");
    // Brokers 1 and 2 registered at 1000 and 1100: before, they counted; after, they go by their
    // configuration, most often Kafka's default.
    assert!(find(&|builder| topic(builder, offsets, 1, 5, 900)).is_some());
    assert_eq!(find(&|builder| topic(builder, offsets, 1, 5, 1_050)), None);
    assert_eq!(find(&|builder| topic(builder, offsets, 1, 5, 2_000)), None);
    assert!(find(&|builder| topic(builder, offsets, 1, 50, 2_000)).is_some());
    // Grown while brokers run, in the first seconds or later; or before they registered again.
    let grown = |at: i64, seconds: i64| {
        move |builder: &mut ImageBuilder| {
            let assignment = assignment(1, 50).encode();
            let of = |partition: i32| {
                let late = partition >= 40;
                let state = PartitionState::new(1, 0, vec![1], 1).encode();
                let czxid = if late { at } else { 101 };
                let created_ms = if late { seconds * 1_000 } else { 0 };
                (partition, Znode { created_ms, ..znode(state, czxid) })
            };
            let znode = Znode { version: 1, ..znode(assignment, 100) };
            builder.topic("__consumer_offsets", Some(&znode), &(0..50).map(of).collect());
        }
    };
    assert_eq!(find(&grown(2_000, 5)), None);
    assert_eq!(find(&grown(2_000, 3_600)), None);
    assert_eq!(find(&grown(500, 3_600)), None);
    assert!(find(&grown(500, 5)).is_some(), "counted since");
}

#[test]
fn bodies_that_make_no_sense_close_the_connection() {
    let asking = Asking::new(cluster(|_| {}));
    let huge = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0xb6]);
    for registration in ANSWERED {
        for version in registration.served.min..=registration.served.max {
            for length in 0..=huge.len() {
                let _ = asking.raw(registration.key, version, huge.slice(..length));
            }
        }
    }
    assert!(asking.raw(ApiKey::Metadata, 1, huge).is_err());
}
