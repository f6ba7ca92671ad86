//! Consumer groups over a socket, and what is left of them when the broker starts again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod kafka_support;

use bytes::Bytes;
use doorkeeper::config::BrokerConfig;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_support::{BROKER, Client, PATIENCE, Server, text, topic_name};
use tokio::time::{Instant, sleep};

const NOT_COORDINATOR: i16 = 16;
const LOADING: i16 = 14;
const UNKNOWN_MEMBER: i16 = 25;
const ILLEGAL_GENERATION: i16 = 22;
const REBALANCE: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;
const NON_EMPTY_GROUP: i16 = 68;
const GROUP_ID_NOT_FOUND: i16 = 69;
const SUBSCRIBED: i16 = 86;

fn at_once(config: &mut BrokerConfig) {
    config.groups.initial_rebalance_delay_ms = 0;
    config.groups.topic_partitions = 3;
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// Makes the topic of the groups, and waits until a group's coordinator is there.
async fn coordinator(client: &mut Client, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    let request = FindCoordinatorRequest::default().with_key(text(name));
    loop {
        let answer = client.ask(3, &request).await;
        if answer.error_code == 0 {
            assert_eq!(answer.node_id, BROKER);
            let described = client
                .ask(5, &DescribeGroupsRequest::default().with_groups(vec![group(name)]))
                .await;
            if ![NOT_COORDINATOR, LOADING].contains(&described.groups[0].error_code) {
                return;
            }
        }
        assert!(Instant::now() < deadline, "no coordinator: {answer:?}");
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn join_request(name: &str, member: &str) -> JoinGroupRequest {
    // What a consumer of topic t says of itself.
    let metadata = Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0");
    let protocol =
        JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(metadata);
    JoinGroupRequest::default()
        .with_group_id(group(name))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(60_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins as a new member of this version would.
async fn join(client: &mut Client, version: i16, name: &str) -> JoinGroupResponse {
    let first = client.ask(version, &join_request(name, "")).await;
    if version < 4 {
        return first;
    }
    assert_eq!(first.error_code, MEMBER_ID_REQUIRED);
    client.ask(version, &join_request(name, &first.member_id)).await
}

fn sync_request(name: &str, joined: &JoinGroupResponse) -> SyncGroupRequest {
    let members = joined.members.iter().map(|member| {
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(Bytes::copy_from_slice(member.member_id.as_bytes()))
    });
    SyncGroupRequest::default()
        .with_group_id(group(name))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(members.collect())
}

fn beat(name: &str, joined: &JoinGroupResponse) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group(name))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
}

fn commit_request(name: &str, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("kept")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group(name))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// The offset of partition 0 of topic t, with its metadata.
async fn committed(client: &mut Client, version: i16, name: &str) -> (i64, String) {
    let told = |offset: i64, metadata: &Option<_>| {
        let metadata: &Option<kafka_protocol::protocol::StrBytes> = metadata;
        (offset, metadata.as_ref().map(ToString::to_string).unwrap_or_default())
    };
    if version >= 8 {
        let of = OffsetFetchRequestGroup::default().with_group_id(group(name)).with_topics(None);
        let answer =
            client.ask(version, &OffsetFetchRequest::default().with_groups(vec![of])).await;
        assert_eq!(answer.groups[0].error_code, 0);
        let topics = &answer.groups[0].topics;
        return topics.first().map_or((-1, String::new()), |topic| {
            told(topic.partitions[0].committed_offset, &topic.partitions[0].metadata)
        });
    }
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partition_indexes(vec![0]);
    let request =
        OffsetFetchRequest::default().with_group_id(group(name)).with_topics(Some(vec![topic]));
    let answer = client.ask(version, &request).await;
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((answer.error_code, partition.error_code), (0, 0));
    told(partition.committed_offset, &partition.metadata)
}

#[tokio::test]
async fn members_of_every_version_share_a_group() {
    let server = Server::with(at_once).await;
    server.create(&[("t", 1)]).await;
    let mut first = server.client().await;
    let mut second = server.client().await;
    for version in 0..=9 {
        let name = &format!("g{version}");
        coordinator(&mut first, name).await;
        let alone = join(&mut first, version, name).await;
        assert_eq!((alone.error_code, alone.generation_id), (0, 1), "version {version}");
        assert_eq!(alone.leader, alone.member_id);
        let protocol_type = (version >= 7).then(|| text("consumer"));
        assert_eq!(alone.protocol_type, protocol_type);
        let alone_again = first.ask(3, &sync_request(name, &alone)).await;
        assert_eq!(alone_again.assignment, alone.member_id.as_bytes());

        // The second has the first join again, which a heartbeat tells it.
        let mut id = text("");
        if version >= 4 {
            id = second.ask(version, &join_request(name, "")).await.member_id;
        }
        let asked = second.send(version, &join_request(name, &id)).await;
        let deadline = Instant::now() + PATIENCE;
        while first.ask(4, &beat(name, &alone)).await.error_code != REBALANCE {
            assert!(Instant::now() < deadline, "no rebalance");
            sleep(std::time::Duration::from_millis(10)).await;
        }
        let leads = first.ask(version, &join_request(name, &alone.member_id)).await;
        let follows: JoinGroupResponse = second.answer::<JoinGroupRequest>(version, asked).await;
        assert_eq!((leads.generation_id, follows.generation_id), (2, 2));
        assert_eq!((leads.members.len(), follows.members.len()), (2, 0));
        let waiting = second.send(3, &sync_request(name, &follows)).await;
        let own = first.ask(3, &sync_request(name, &leads)).await;
        let others = second.answer::<SyncGroupRequest>(3, waiting).await;
        assert_eq!(own.assignment, leads.member_id.as_bytes());
        assert_eq!(others.assignment, follows.member_id.as_bytes());
        assert_eq!(first.ask(4, &beat(name, &alone)).await.error_code, ILLEGAL_GENERATION);
        for (client, joined) in [(&mut first, &leads), (&mut second, &follows)] {
            assert_eq!(client.ask(4, &beat(name, joined)).await.error_code, 0);
        }
        for (client, joined) in [(&mut first, &leads), (&mut second, &follows)] {
            let member = MemberIdentity::default().with_member_id(joined.member_id.clone());
            let leave =
                LeaveGroupRequest::default().with_group_id(group(name)).with_members(vec![member]);
            assert_eq!(client.ask(5, &leave).await.members[0].error_code, 0);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn offsets_are_committed_and_fetched_in_every_version() {
    let server = Server::with(at_once).await;
    server.create(&[("t", 1)]).await;
    let mut client = server.client().await;
    coordinator(&mut client, "g").await;
    assert_eq!(committed(&mut client, 7, "g").await, (-1, String::new()));
    for version in 2..=9 {
        let offset = 100 + i64::from(version);
        let mut request = commit_request("g", offset);
        request.retention_time_ms = -1;
        let answer = client.ask(version, &request).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "version {version}");
        for version in 1..=9 {
            let found = committed(&mut client, version, "g").await;
            assert_eq!(found, (offset, "kept".to_owned()), "version {version}");
        }
    }
    let mut elsewhere = commit_request("g", 1);
    elsewhere.topics[0].partitions[0].partition_index = 7;
    let answer = client.ask(8, &elsewhere).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 3, "no such partition");
    let mut long = commit_request("g", 1);
    long.topics[0].partitions[0].committed_metadata = Some(text(&"x".repeat(4_097)));
    assert_eq!(client.ask(8, &long).await.topics[0].partitions[0].error_code, 12);
    let late = commit_request("g", 1).with_generation_id_or_member_epoch(4);
    assert_eq!(client.ask(8, &late).await.topics[0].partitions[0].error_code, UNKNOWN_MEMBER);
    server.stop().await;
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted() {
    let server = Server::with(at_once).await;
    server.create(&[("t", 1), ("other", 1)]).await;
    let mut client = server.client().await;
    coordinator(&mut client, "g").await;
    let joined = join(&mut client, 6, "g").await;
    client.ask(3, &sync_request("g", &joined)).await;
    let mut commit = commit_request("g", 5)
        .with_generation_id_or_member_epoch(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    commit.topics.push(commit.topics[0].clone().with_name(topic_name("other")));
    client.ask(8, &commit).await;

    let listed = client.ask(5, &ListGroupsRequest::default()).await;
    let told: Vec<_> = listed
        .groups
        .iter()
        .map(|group| {
            (group.group_id.as_str(), group.group_state.as_str(), group.group_type.as_str())
        })
        .collect();
    assert_eq!(told, [("g", "Stable", "classic")]);
    let filtered = ListGroupsRequest::default().with_states_filter(vec![text("Empty")]);
    assert!(client.ask(4, &filtered).await.groups.is_empty());

    let both = DescribeGroupsRequest::default()
        .with_groups(vec![group("g"), group("nobody")])
        .with_include_authorized_operations(true);
    for version in 3..=6 {
        let described = client.ask(version, &both).await.groups;
        let known = &described[0];
        assert_eq!((known.group_state.as_str(), known.protocol_data.as_str()), ("Stable", "range"));
        assert_eq!(known.members[0].client_host.as_str(), "/127.0.0.1");
        assert_eq!(known.members[0].member_assignment, joined.member_id.as_bytes());
        assert_eq!(known.authorized_operations, 0b1_0100_1000);
        let error = if version >= 6 { GROUP_ID_NOT_FOUND } else { 0 };
        assert_eq!((described[1].group_state.as_str(), described[1].error_code), ("Dead", error));
    }

    let forget = |topic: &str, partition: i32| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(partition);
        OffsetDeleteRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition])
    };
    let request = OffsetDeleteRequest::default().with_group_id(group("g")).with_topics(vec![
        forget("t", 0),
        forget("other", 0),
        forget("other", 9),
    ]);
    let answer = client.ask(0, &request).await;
    let errors: Vec<i16> =
        answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect();
    assert_eq!((answer.error_code, errors), (0, vec![SUBSCRIBED, 0, 3]));

    let delete =
        DeleteGroupsRequest::default().with_groups_names(vec![group("g"), group("nobody")]);
    let errors = |answer: kafka_protocol::messages::DeleteGroupsResponse| {
        answer.results.iter().map(|result| result.error_code).collect::<Vec<_>>()
    };
    assert_eq!(errors(client.ask(2, &delete).await), [NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND]);
    let member = MemberIdentity::default().with_member_id(joined.member_id.clone());
    let leave = LeaveGroupRequest::default().with_group_id(group("g")).with_members(vec![member]);
    assert_eq!(client.ask(3, &leave).await.members[0].error_code, 0);
    assert_eq!(errors(client.ask(2, &delete).await), [0, GROUP_ID_NOT_FOUND]);
    assert!(client.ask(5, &ListGroupsRequest::default()).await.groups.is_empty());
    assert_eq!(committed(&mut client, 9, "g").await.0, -1);
    server.stop().await;
}

#[tokio::test]
async fn a_broker_that_starts_again_knows_its_groups() {
    let server = Server::with(at_once).await;
    server.create(&[("t", 1)]).await;
    let mut client = server.client().await;
    coordinator(&mut client, "g").await;
    coordinator(&mut client, "deleted").await;
    let joined = join(&mut client, 6, "g").await;
    client.ask(3, &sync_request("g", &joined)).await;
    for offset in [1, 2, 3] {
        let commit = commit_request("g", offset)
            .with_generation_id_or_member_epoch(joined.generation_id)
            .with_member_id(joined.member_id.clone());
        assert_eq!(client.ask(8, &commit).await.topics[0].partitions[0].error_code, 0);
        client.ask(8, &commit_request("deleted", offset)).await;
    }
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group("deleted")]);
    assert_eq!(client.ask(2, &delete).await.results[0].error_code, 0);
    drop(client);

    let server = server.restart(at_once).await;
    let mut client = server.client().await;
    coordinator(&mut client, "g").await;
    coordinator(&mut client, "deleted").await;
    assert_eq!(committed(&mut client, 7, "g").await, (3, "kept".to_owned()));
    assert_eq!(committed(&mut client, 7, "deleted").await.0, -1);
    let listed = client.ask(5, &ListGroupsRequest::default()).await.groups;
    assert_eq!(listed.len(), 1, "{listed:?}");
    // The member goes on where it was.
    assert_eq!(client.ask(4, &beat("g", &joined)).await.error_code, 0);
    let again = client.ask(3, &sync_request("g", &joined)).await;
    assert_eq!(again.assignment, joined.member_id.as_bytes());
    server.stop().await;
}
