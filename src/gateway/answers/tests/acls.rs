//! Tests of answers to clients that may not see everything.

use crate::cluster::builder::Read;
use crate::cluster::layout::acl::{CLUSTER_NAME, Operation, PatternType, ResourcePattern};
use crate::cluster::layout::acl::{PatternType::Literal, PatternType::Prefixed, ResourceType};
use crate::kafka::api::operations::NOT_ASKED;
use crate::kafka::security::AclRules;

use super::*;

const HIDDEN: i16 = 29;

/// The ACLs of one resource: each of a user, whether it allows, and an operation.
fn acl(
    builder: &mut ImageBuilder,
    pattern: PatternType,
    kind: ResourceType,
    name: &str,
    entries: &[(&str, bool, Operation)],
) {
    let entries: Vec<String> = entries
        .iter()
        .map(|(user, allow, operation)| {
            format!(
                r#"{{"principal":"User:{user}","permissionType":"{}","operation":"{}","host":"*"}}"#,
                if *allow { "Allow" } else { "Deny" },
                operation.name()
            )
        })
        .collect();
    let json = format!(r#"{{"version":1,"acls":[{}]}}"#, entries.join(","));
    let resource = ResourcePattern { pattern, kind, name: name.to_owned() };
    builder.acl(&resource, &Read::Found(znode(json, 1)));
}

/// Topics `a` and `b`, and `c-0` to `c-3`; the user sees `a` and those of `c` but `c-2`.
fn limited(user: &str, more: impl FnOnce(&mut ImageBuilder)) -> Asking {
    let image = cluster(|builder| {
        for (index, name) in ["c-0", "c-1", "c-2", "c-3"].iter().enumerate() {
            topic(builder, name, 0xc0 + index as u128, 1, 70);
        }
        builder.follow_acls(true);
        let topics = ResourceType::Topic;
        acl(builder, Literal, topics, "a", &[("alice", true, Operation::Read)]);
        acl(builder, Prefixed, topics, "c-", &[("alice", true, Operation::All)]);
        acl(builder, Literal, topics, "c-2", &[("alice", false, Operation::Describe)]);
        more(builder);
    });
    let mut asking = Asking::new(image);
    asking.caller = Some(caller(user));
    asking.authorizer = GatewayAuthorizer::Acls(AclRules {
        super_users: [Principal::user("root")].into(),
        allow_without_acls: false,
    });
    asking
}

fn everything(version: i16) -> MetadataRequest {
    if version == 0 { named(&[]) } else { MetadataRequest::default().with_topics(None) }
}

fn names(response: &MetadataResponse) -> Vec<&str> {
    let names = response.topics.iter().filter_map(|topic| topic.name.as_ref());
    names.map(|name| name.as_str()).collect()
}

#[test]
fn what_a_client_may_not_know_of_is_hidden_at_every_version() {
    let asking = limited("alice", |_| {});
    for version in 0..=13 {
        assert_eq!(
            names(&asking.metadata(version, &everything(version))),
            ["a", "c-0", "c-1", "c-3"]
        );
        let told = asking.metadata(version, &named(&["c-2", "__x", "a", "b"]));
        let of = |name: &str, error, partitions| (name.to_owned(), error, partitions);
        assert_eq!(
            summary(&told),
            [of("a", 0, 3), of("c-2", HIDDEN, 0), of("__x", HIDDEN, 0), of("b", HIDDEN, 0)]
        );
        for topic in &told.topics[1..] {
            assert!(topic.topic_id.is_nil() && !topic.is_internal, "{version}");
            assert_eq!(topic.topic_authorized_operations, NOT_ASKED);
        }
        assert_eq!(told.brokers.len(), 2, "brokers are no secret");
    }
    for version in [12, 13] {
        let told = asking.metadata(version, &by_id(&[0xb, 0xa, 0xc2]));
        assert_eq!(names(&told), ["a"]);
        let hidden: Vec<_> = told.topics[1..]
            .iter()
            .map(|topic| (topic.error_code, topic.topic_id.as_u128(), topic.name.is_none()))
            .collect();
        assert_eq!(hidden, [(HIDDEN, 0xb, true), (HIDDEN, 0xc2, true)]);
    }
    let nobody = limited("bob", |_| {});
    assert!(nobody.metadata(12, &everything(12)).topics.is_empty());
}

#[test]
fn operations_are_those_that_the_client_may_do() {
    let read = Operation::Read.bit() | Operation::Describe.bit();
    let asking = limited("alice", |builder| {
        let entries = [("alice", true, Operation::Alter), ("*", false, Operation::Create)];
        acl(builder, Literal, ResourceType::Cluster, CLUSTER_NAME, &entries);
    });
    let cluster = Operation::Alter.bit() | Operation::Describe.bit();
    for version in 8..=13 {
        let ask = |request: MetadataRequest| {
            let request = request.with_include_topic_authorized_operations(true);
            match version {
                8..=10 => request.with_include_cluster_authorized_operations(true),
                _ => request,
            }
        };
        let told = asking.metadata(version, &ask(everything(version)));
        let bits: Vec<i32> =
            told.topics.iter().map(|topic| topic.topic_authorized_operations).collect();
        assert_eq!(bits, [read, operations::TOPIC, operations::TOPIC, operations::TOPIC]);
        let expected = if version <= 10 { cluster } else { NOT_ASKED };
        assert_eq!(told.cluster_authorized_operations, expected);
        let told = asking.metadata(version, &ask(named(&["c-0", "b", "a"])));
        let bits: Vec<i32> =
            told.topics.iter().map(|topic| topic.topic_authorized_operations).collect();
        assert_eq!(bits, [operations::TOPIC, read, NOT_ASKED], "{version}");
        let none = asking.metadata(version, &everything(version));
        assert!(none.topics.iter().all(|topic| topic.topic_authorized_operations == NOT_ASKED));
    }
    let request =
        DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    let bits = |asking: &Asking| {
        let told: DescribeClusterResponse = asking.told(ApiKey::DescribeCluster, 1, &request);
        assert_eq!((told.error_code, told.brokers.len()), (0, 2));
        told.cluster_authorized_operations
    };
    assert_eq!(bits(&asking), cluster);
    assert_eq!(bits(&limited("bob", |_| {})), 0, "not even to describe it");
    assert_eq!(bits(&limited("root", |_| {})), operations::CLUSTER);
}

#[test]
fn who_may_make_topics_is_checked_before_a_broker_is_asked() {
    let asked = |user: &str, request: &MetadataRequest, more: &dyn Fn(&mut ImageBuilder)| {
        limited(user, |builder| {
            let topics = ResourceType::Topic;
            acl(builder, Prefixed, topics, "new", &[("*", true, Operation::Describe)]);
            acl(builder, Prefixed, topics, "__", &[("*", true, Operation::Describe)]);
            more(builder);
        })
        .ask(ApiKey::Metadata, 12, request)
    };
    let request = named(&["new", "c-9", "c-2", "new!", "__consumer_offsets"]);
    let told = |answer: Answer| match answer {
        Answer::Reply(Reply::Body(mut body)) => {
            let told = MetadataResponse::decode(&mut body, 12).unwrap();
            let internal: Vec<bool> = told.topics.iter().map(|topic| topic.is_internal).collect();
            let topics: Vec<(String, i16)> =
                summary(&told).into_iter().map(|(name, error, _)| (name, error)).collect();
            (topics, internal)
        }
        other => panic!("{other:?}"),
    };
    let nothing = |_: &mut ImageBuilder| {};
    let of = |name: &str, error| (name.to_owned(), error);

    // Neither the cluster nor the topic lets them: the topics that are not there are not made.
    let (topics, internal) = told(asked("bob", &request, &nothing));
    assert_eq!(
        topics,
        [
            of("new", HIDDEN),
            of("new!", HIDDEN),
            of("__consumer_offsets", HIDDEN),
            of("c-9", HIDDEN),
            of("c-2", HIDDEN)
        ]
    );
    assert_eq!(internal, [false, false, true, false, false], "only what may be known of");

    // By the topic's name, for one whom brokers know as nobody in particular.
    let by_topic = |builder: &mut ImageBuilder| {
        let entries = [("ANONYMOUS", true, Operation::Create), ("*", true, Operation::Describe)];
        acl(builder, Literal, ResourceType::Topic, "new", &entries);
    };
    match asked("ANONYMOUS", &request, &by_topic) {
        Answer::Missing { names, create: true } => {
            assert_eq!(names, ["new"]);
        }
        other => panic!("{other:?}"),
    }
    // By the cluster.
    let by_cluster = |builder: &mut ImageBuilder| {
        let entries = [("ANONYMOUS", true, Operation::Create), ("bob", true, Operation::Create)];
        acl(builder, Literal, ResourceType::Cluster, CLUSTER_NAME, &entries);
    };
    match asked("ANONYMOUS", &request, &by_cluster) {
        Answer::Missing { names, create: true } => {
            assert_eq!(names, ["new", "__consumer_offsets"]);
        }
        other => panic!("{other:?}"),
    }
    // For anybody else a broker makes it, who must know for whom.
    let other = asked("bob", &request, &by_cluster);
    assert!(matches!(other, Answer::AskUpstream), "{other:?}");
    // Without making it, everybody's question is the same.
    let looking = request.with_allow_auto_topic_creation(false);
    match asked("bob", &looking, &nothing) {
        Answer::Missing { names, create: false } => {
            assert_eq!(names, ["new", "__consumer_offsets"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broker_that_knows_other_acls_answers_itself() {
    let mut asking = limited("ANONYMOUS", |builder| {
        acl(builder, Literal, ResourceType::Topic, "*", &[("*", true, Operation::All)]);
    });
    asking.missing = [("x".to_owned(), HIDDEN)].into();
    let answer = asking.ask(ApiKey::Metadata, 12, &named(&["x"]));
    assert!(matches!(answer, Answer::AskUpstream), "{answer:?}");
    asking.missing = [("x".to_owned(), 3)].into();
    let request = named(&["x"]).with_include_topic_authorized_operations(true);
    let told = asking.metadata(12, &request);
    assert_eq!(summary(&told), [("x".to_owned(), 3, 0)]);
    assert_eq!(told.topics[0].topic_authorized_operations, operations::TOPIC);
}

#[test]
fn coordinators_are_for_who_may_describe_a_group() {
    let asking = |user: &str, made: bool| {
        limited(user, |builder| {
            if made {
                topic(builder, "__consumer_offsets", 1, 6, 100);
                topic(builder, "__transaction_state", 2, 50, 200);
            }
            acl(builder, Literal, ResourceType::Group, "a", &[("alice", true, Operation::Read)]);
            let ids = ResourceType::TransactionalId;
            acl(builder, Prefixed, ids, "c", &[("alice", true, Operation::Describe)]);
        })
    };
    let alice = asking("alice", true);
    for version in 4..=6 {
        let groups = coordinators(&alice, version, 0, &["a", "b", "c"]).unwrap();
        assert_eq!(groups, [(2, 0), (-1, 30), (-1, 30)], "{version}");
        let ids = coordinators(&alice, version, 1, &["a", "c"]).unwrap();
        assert_eq!(ids, [(-1, 53), (2, 0)]);
    }
    for version in 0..4 {
        let request = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("b"));
        let told: FindCoordinatorResponse = alice.told(ApiKey::FindCoordinator, version, &request);
        assert_eq!(
            (told.error_code, told.node_id.0, told.host.as_str(), told.port),
            (30, -1, "", -1)
        );
        let message = if version >= 1 { "Group authorization failed." } else { "" };
        assert_eq!(told.error_message.as_deref(), Some(message), "{version}");
        if version >= 1 {
            let request = request.with_key_type(1);
            let told: FindCoordinatorResponse =
                alice.told(ApiKey::FindCoordinator, version, &request);
            assert_eq!(told.error_code, 53);
            let message = Some("Transactional Id authorization failed.");
            assert_eq!(told.error_message.as_deref(), message);
        }
    }
    assert_eq!(coordinators(&alice, 6, 2, &["a"]), None, "share groups are for a broker");
    // Where there is no topic yet, a broker makes it for who may ask.
    assert_eq!(coordinators(&asking("alice", false), 4, 0, &["b", "a"]), None);
    let refused = coordinators(&asking("alice", false), 4, 0, &["b"]).unwrap();
    assert_eq!(refused, [(-1, 30)]);
}

#[test]
fn partitions_are_described_to_who_may_see_them() {
    let asking = limited("alice", |_| {});
    let ask = |request: &DescribeTopicPartitionsRequest| {
        let told: DescribeTopicPartitionsResponse =
            asking.told(ApiKey::DescribeTopicPartitions, 0, request);
        let topics: Vec<_> = told
            .topics
            .iter()
            .map(|topic| {
                let name = topic.name.as_ref().map_or("", |name| name.as_str()).to_owned();
                (name, topic.error_code, topic.topic_authorized_operations)
            })
            .collect();
        (topics, told.next_cursor.map(|cursor| cursor.topic_name.to_string()))
    };
    let request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(4);
    let of = |name: &str, error, bits| (name.to_owned(), error, bits);
    let read = Operation::Read.bit() | Operation::Describe.bit();
    let (topics, cursor) = ask(&request);
    assert_eq!(topics, [of("a", 0, read), of("c-0", 0, operations::TOPIC)]);
    assert_eq!(cursor.as_deref(), Some("c-1"));
    let topics = ["c-3", "b", "missing", "c-2", "a"]
        .map(|name| TopicRequest::default().with_name(text(name)))
        .to_vec();
    let (topics, cursor) = ask(&request.with_topics(topics));
    assert_eq!(
        topics,
        [
            of("a", 0, read),
            of("c-3", 0, operations::TOPIC),
            of("b", HIDDEN, NOT_ASKED),
            of("c-2", HIDDEN, NOT_ASKED),
            of("missing", HIDDEN, NOT_ASKED)
        ]
    );
    assert_eq!(cursor, None);
}

#[test]
fn what_only_a_broker_can_tell_is_asked_of_it() {
    let mut asking = limited("alice", |_| {});
    let request = everything(12);
    let answered =
        |asking: &Asking| matches!(asking.ask(ApiKey::Metadata, 12, &request), Answer::Reply(_));
    assert!(answered(&asking));
    // An image that was not made with ACLs does not allow everything.
    let without = cluster(|_| {});
    let with = std::mem::replace(&mut asking.image, without);
    assert!(!answered(&asking));
    asking.caller = Some(caller("root"));
    assert!(!answered(&asking));
    asking.image = with;
    assert!(answered(&asking));
    assert_eq!(asking.metadata(12, &request).topics.len(), 6, "super users see everything");
    asking.caller = None;
    assert!(!answered(&asking), "who asks is not known");
    asking.caller = Some(caller("alice"));
    asking.authorizer = GatewayAuthorizer::Brokers;
    assert!(!answered(&asking));
    asking.authorizer = GatewayAuthorizer::Nobody;
    assert_eq!(asking.metadata(12, &request).topics.len(), 6);
    asking.caller = None;
    assert!(!answered(&asking));
}

#[test]
fn acls_that_could_not_be_read_hide() {
    let mut asking = limited("alice", |_| {});
    let mut builder = ImageBuilder::new(&asking.image);
    let (pattern, kind, name) = (Prefixed, ResourceType::Topic, "c-1".to_owned());
    builder.acl(&ResourcePattern { pattern, kind, name }, &Read::Forbidden);
    asking.image = Arc::new(builder.finish().0.unwrap());
    assert_eq!(names(&asking.metadata(12, &everything(12))), ["a", "c-0", "c-3"]);
}

/// Twenty thousand topics and as many ACLs: long runs of topics are told from where they are.
#[test]
fn many_topics_are_told_without_copies_for_each_client() {
    const TOPICS: u128 = 20_000;
    let asking = limited("alice", |builder| {
        for index in 0..TOPICS {
            let name = format!("t-{index:05}");
            topic(builder, &name, 0x1000 + index, 1, 90);
            let allow = index % 1_000 != 999;
            acl(builder, Literal, ResourceType::Topic, &name, &[("alice", allow, Operation::Read)]);
        }
        let all = [("alice", true, Operation::Describe)];
        acl(builder, Prefixed, ResourceType::Topic, "t-", &all);
        let denied = [("alice", false, Operation::Describe)];
        acl(builder, Literal, ResourceType::Topic, "t-00007", &denied);
    });
    let pieces = |asking: &Asking| match asking.ask(ApiKey::Metadata, 12, &everything(12)) {
        Answer::Reply(Reply::Pieces(pieces)) => pieces,
        other => panic!("{other:?}"),
    };
    let (first, second) = (pieces(&asking), pieces(&asking));
    let shared = first
        .iter()
        .zip(&second)
        .filter_map(|(one, other)| match (one, other) {
            (Piece::Bytes(one), Piece::Bytes(other)) => {
                (one.as_ptr() == other.as_ptr()).then_some(one.len())
            }
            _ => None,
        })
        .sum::<usize>();
    let whole: usize = first.iter().map(Piece::len).sum();
    assert!(shared > whole * 9 / 10, "{shared} of {whole} bytes are shared");
    let told = asking.metadata(12, &everything(12));
    assert_eq!(told.topics.len(), 4 + 20_000 - 1);
    assert!(!names(&told).contains(&"t-00007"));
}
