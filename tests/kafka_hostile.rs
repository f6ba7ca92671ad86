//! Damaged requests of every API, sent to a broker that others are using: it stays up, and they
//! notice nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod kafka_support;

use bytes::Bytes;
use doorkeeper::kafka::api::REGISTRATIONS;
use kafka_protocol::messages::{self, ApiKey, BrokerId, GroupId, ProducerId, TransactionalId};
use kafka_protocol::protocol::Request;
use kafka_support::{Client, Server, encode, frame, framed, frames, new_topic, text, topic_name};
use uuid::Uuid;

/// A request in one version, as a whole frame.
struct Sample {
    name: String,
    key: i16,
    version: i16,
    frame: Bytes,
}

fn sample<R: Request>(samples: &mut Vec<Sample>, request: impl Fn(i16) -> R) {
    let api = REGISTRATIONS.iter().find(|api| api.key as i16 == R::KEY).unwrap();
    for version in api.served.min..=api.served.max {
        let body = encode(&request(version), version);
        samples.push(Sample {
            name: format!("{} {version}", api.name),
            key: R::KEY,
            version,
            frame: frame(R::KEY, version, 0x0101_0101, &body),
        });
    }
}

/// Every API in every version, each with something in all of its fields.
fn samples() -> Vec<Sample> {
    let mut all = Vec::new();
    let topic = || topic_name("t");
    sample(&mut all, |_| {
        use messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
        let partition = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(Bytes::from_static(&[0; 70])));
        let data =
            TopicProduceData::default().with_name(topic()).with_partition_data(vec![partition]);
        ProduceRequest::default().with_acks(-1).with_timeout_ms(9).with_topic_data(vec![data])
    });
    sample(&mut all, |version| {
        use messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
        let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(99);
        let mut wanted = FetchTopic::default().with_partitions(vec![partition]);
        let mut forgotten = ForgottenTopic::default().with_partitions(vec![1]);
        if version >= 13 {
            wanted.topic_id = Uuid::from_u128(5);
            forgotten.topic_id = Uuid::from_u128(5);
        } else {
            wanted.topic = topic();
            forgotten.topic = topic();
        }
        let mut request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(1)
            .with_min_bytes(1)
            .with_max_bytes(99)
            .with_topics(vec![wanted]);
        if version >= 7 {
            request.session_epoch = -1;
            request.forgotten_topics_data = vec![forgotten];
        }
        request
    });
    sample(&mut all, |_| {
        use messages::list_offsets_request::{
            ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
        };
        let partition = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(-1);
        let topic = ListOffsetsTopic::default().with_name(topic()).with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
    });
    sample(&mut all, |_| {
        use messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
        let topic = MetadataRequestTopic::default().with_name(Some(topic()));
        MetadataRequest::default().with_topics(Some(vec![topic]))
    });
    sample(&mut all, |version| {
        let request = messages::FindCoordinatorRequest::default();
        if version < 4 {
            request.with_key(text("group"))
        } else {
            request.with_coordinator_keys(vec![text("a"), text("b")])
        }
    });
    sample(&mut all, |version| {
        let request = messages::ApiVersionsRequest::default();
        if version < 3 {
            return request;
        }
        request.with_client_software_name(text("n")).with_client_software_version(text("v"))
    });
    sample(&mut all, |_| {
        use messages::create_topics_request::{CreatableTopicConfig, CreateTopicsRequest};
        let config = CreatableTopicConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("1")));
        let topic = new_topic("new", 1).with_configs(vec![config]);
        CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(1)
            .with_validate_only(true)
    });
    sample(&mut all, |version| {
        use messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
        let request = DeleteTopicsRequest::default().with_timeout_ms(1);
        if version < 6 {
            return request.with_topic_names(vec![topic_name("gone")]);
        }
        let topic = DeleteTopicState::default().with_name(Some(topic_name("gone")));
        request.with_topics(vec![topic])
    });
    sample(&mut all, |_| {
        use messages::delete_records_request::{
            DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
        };
        let partition = DeleteRecordsPartition::default().with_partition_index(9).with_offset(0);
        let topic =
            DeleteRecordsTopic::default().with_name(topic()).with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(1)
    });
    sample(&mut all, |version| {
        let id = TransactionalId(text("transaction"));
        let mut request = messages::InitProducerIdRequest::default()
            .with_transactional_id(Some(id))
            .with_transaction_timeout_ms(1);
        if version >= 3 {
            request.producer_id = ProducerId(-1);
            request.producer_epoch = -1;
        }
        request
    });
    sample(&mut all, |_| {
        use messages::offset_for_leader_epoch_request::{
            OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
        };
        let partition = OffsetForLeaderPartition::default().with_partition(0).with_leader_epoch(0);
        let topic =
            OffsetForLeaderTopic::default().with_topic(topic()).with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(-2))
            .with_topics(vec![topic])
    });
    sample(&mut all, |_| {
        use messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
        let resource = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_configuration_keys(Some(vec![text("retention.ms")]));
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true)
    });
    sample(&mut all, |_| {
        use messages::alter_configs_request::{
            AlterConfigsRequest, AlterConfigsResource, AlterableConfig,
        };
        let config = AlterableConfig::default().with_name(text("k")).with_value(Some(text("v")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_configs(vec![config]);
        AlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(true)
    });
    sample(&mut all, |_| {
        use messages::describe_log_dirs_request::{DescribableLogDirTopic, DescribeLogDirsRequest};
        let topic = DescribableLogDirTopic::default().with_topic(topic()).with_partitions(vec![0]);
        DescribeLogDirsRequest::default().with_topics(Some(vec![topic]))
    });
    sample(&mut all, |_| {
        use messages::create_partitions_request::{
            CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
        };
        let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(3)]);
        let topic = CreatePartitionsTopic::default()
            .with_name(topic())
            .with_count(2)
            .with_assignments(Some(vec![assignment]));
        CreatePartitionsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(1)
            .with_validate_only(true)
    });
    sample(&mut all, |_| {
        use messages::incremental_alter_configs_request::{
            AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
        };
        let config = AlterableConfig::default()
            .with_name(text("k"))
            .with_config_operation(2)
            .with_value(Some(text("v")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_configs(vec![config]);
        IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(true)
    });
    sample(&mut all, |_| messages::DescribeClusterRequest::default());
    sample(&mut all, |_| {
        use messages::describe_producers_request::{DescribeProducersRequest, TopicRequest};
        let topic = TopicRequest::default().with_name(topic()).with_partition_indexes(vec![0]);
        DescribeProducersRequest::default().with_topics(vec![topic])
    });
    sample(&mut all, |_| {
        let id = Uuid::from_u128(1);
        messages::GetTelemetrySubscriptionsRequest::default().with_client_instance_id(id)
    });
    sample(&mut all, |_| {
        use messages::describe_topic_partitions_request::{
            Cursor, DescribeTopicPartitionsRequest, TopicRequest,
        };
        let cursor = Cursor::default().with_topic_name(topic()).with_partition_index(0);
        DescribeTopicPartitionsRequest::default()
            .with_topics(vec![TopicRequest::default().with_name(topic())])
            .with_response_partition_limit(10)
            .with_cursor(Some(cursor))
    });
    group_samples(&mut all);
    let sampled = |key: i16| all.iter().any(|sample| sample.key == key);
    assert!(REGISTRATIONS.iter().all(|api| sampled(api.key as i16)), "an API without a sample");
    all
}

/// Those of consumer groups. None of them waits for anybody: the members are strangers.
fn group_samples(all: &mut Vec<Sample>) {
    let group = || GroupId(text("g"));
    let topic = || topic_name("t");
    sample(all, |version| {
        use messages::offset_commit_request::{
            OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
        };
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(0)
            .with_committed_offset(4)
            .with_committed_metadata(Some(text("m")));
        let topic =
            OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
        let mut request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(7)
            .with_member_id(text("stranger"))
            .with_topics(vec![topic]);
        if version >= 7 {
            request.group_instance_id = Some(text("i"));
        }
        request
    });
    sample(all, |version| {
        use messages::offset_fetch_request::{
            OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic,
            OffsetFetchRequestTopics,
        };
        if version >= 8 {
            let topics = OffsetFetchRequestTopics::default()
                .with_name(topic())
                .with_partition_indexes(vec![0]);
            let of = OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(Some(vec![topics]));
            return OffsetFetchRequest::default().with_groups(vec![of]).with_require_stable(true);
        }
        let topics =
            OffsetFetchRequestTopic::default().with_name(topic()).with_partition_indexes(vec![0]);
        OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topics]))
    });
    sample(all, |version| {
        use messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(&[1, 2]));
        let mut request = JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_member_id(text("stranger"))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        if version >= 5 {
            request.group_instance_id = Some(text("i"));
        }
        if version >= 8 {
            request.reason = Some(text("because"));
        }
        request
    });
    sample(all, |version| {
        let mut request = messages::HeartbeatRequest::default()
            .with_group_id(group())
            .with_generation_id(3)
            .with_member_id(text("stranger"));
        if version >= 3 {
            request.group_instance_id = Some(text("i"));
        }
        request
    });
    sample(all, |version| {
        use messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
        let request = LeaveGroupRequest::default().with_group_id(group());
        if version < 3 {
            return request.with_member_id(text("stranger"));
        }
        let mut member = MemberIdentity::default()
            .with_member_id(text("stranger"))
            .with_group_instance_id(Some(text("i")));
        if version >= 5 {
            member.reason = Some(text("because"));
        }
        request.with_members(vec![member])
    });
    sample(all, |version| {
        use messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
        let assignment = SyncGroupRequestAssignment::default()
            .with_member_id(text("stranger"))
            .with_assignment(Bytes::from_static(&[5]));
        let mut request = SyncGroupRequest::default()
            .with_group_id(group())
            .with_generation_id(3)
            .with_member_id(text("stranger"))
            .with_assignments(vec![assignment]);
        if version >= 3 {
            request.group_instance_id = Some(text("i"));
        }
        if version >= 5 {
            request.protocol_type = Some(text("consumer"));
            request.protocol_name = Some(text("range"));
        }
        request
    });
    sample(all, |version| {
        let request = messages::DescribeGroupsRequest::default().with_groups(vec![group()]);
        request.with_include_authorized_operations(version >= 3)
    });
    sample(all, |version| {
        let mut request = messages::ListGroupsRequest::default();
        if version >= 4 {
            request.states_filter = vec![text("Stable")];
        }
        if version >= 5 {
            request.types_filter = vec![text("classic")];
        }
        request
    });
    sample(all, |_| messages::DeleteGroupsRequest::default().with_groups_names(vec![group()]));
    sample(all, |_| {
        use messages::offset_delete_request::{
            OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
        };
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
        let topic =
            OffsetDeleteRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
        OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![topic])
    });
}

/// Sends bytes on a connection of their own, and nothing more. What comes back is whole frames.
async fn send(server: &Server, bytes: &[u8]) -> Vec<Bytes> {
    let mut client = server.client().await;
    client.write(bytes).await;
    frames(client.finish().await)
}

async fn is_well(bystander: &mut Client, after: &str) {
    let request = messages::MetadataRequest::default().with_topics(None);
    let answer = bystander.ask(12, &request).await;
    assert!(answer.topics.iter().any(|topic| topic.name == Some(topic_name("t"))), "after {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_answered_in_every_version() {
    let server = Server::start().await;
    server.create(&[("t", 1)]).await;
    for sample in samples() {
        let answers = send(&server, &sample.frame).await;
        assert_eq!(answers.len(), 1, "{}", sample.name);
        assert_eq!(answers[0][..4], [1; 4], "{}", sample.name);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_prefix_of_a_request_harms() {
    let server = Server::start().await;
    server.create(&[("t", 1)]).await;
    let mut bystander = server.client().await;
    for sample in samples() {
        for end in 0..sample.frame.len() {
            // The frame is cut off, and the client goes.
            assert!(send(&server, &sample.frame[..end]).await.is_empty(), "{} {end}", sample.name);
            // A whole frame with a body that is cut off.
            if let Some(content) = sample.frame.get(4..end) {
                let answers = send(&server, &framed(content)).await;
                assert!(answers.is_empty(), "{} cut at {end}", sample.name);
            }
        }
        is_well(&mut bystander, &sample.name).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_changed_byte_of_a_request_harms() {
    let server = Server::with(|config| config.socket_request_max_bytes = 1 << 20).await;
    server.create(&[("t", 1)]).await;
    let mut bystander = server.client().await;
    let samples = samples();
    for sample in &samples {
        // The first and the last version, and where lengths become compact.
        let edge = |other: &&Sample| other.key == sample.key;
        let versions: Vec<i16> = samples.iter().filter(edge).map(|other| other.version).collect();
        let flexible =
            |version| ApiKey::try_from(sample.key).unwrap().request_header_version(version) >= 2;
        let first_flexible = versions.iter().copied().find(|version| flexible(*version));
        let chosen = [versions.first().copied(), versions.last().copied(), first_flexible];
        if !chosen.contains(&Some(sample.version)) {
            continue;
        }
        for index in 0..sample.frame.len() {
            for change in [0x01, 0x04, 0x20, 0x80, 0xff] {
                let mut changed = sample.frame.to_vec();
                changed[index] ^= change;
                let answers = send(&server, &changed).await;
                assert!(answers.len() <= 1, "{} {index} {change}", sample.name);
            }
        }
        is_well(&mut bystander, &sample.name).await;
    }
    server.stop().await;
}
