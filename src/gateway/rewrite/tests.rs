//! What is rewritten is what the protocol's own encoder makes of the same answer with our addresses.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterResponse, FindCoordinatorResponse, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::*;
use crate::gateway::addresses::Address;

/// A broker's address as the upstream tells it, and as it is told here.
fn at(id: i32, here: bool) -> (StrBytes, i32) {
    let (host, port) = if here { ("front.example.com", 19_000) } else { ("b", 9_092) };
    (StrBytes::from_static_str(host), port + id)
}

fn book() -> AddressBook {
    let address = |id| {
        let (host, port) = at(id, true);
        (id, Address { host: host.to_string(), port })
    };
    AddressBook { listener: "PLAINTEXT".into(), relay: Some(BTreeMap::from([1, 2].map(address))) }
}

fn framed(key: ApiKey, version: i16, response: &impl Encodable) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(77);
    frame.put_bytes(0, usize::from(key.response_header_version(version) >= 1));
    response.encode(&mut frame, version).unwrap();
    frame.freeze()
}

fn metadata(version: i16, here: bool, ids: &[i32]) -> Bytes {
    let brokers = ids.iter().map(|id| {
        let (host, port) = at(*id, here);
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(*id))
            .with_host(host)
            .with_port(port)
            .with_rack((version >= 1).then(|| StrBytes::from_static_str("rack")))
    });
    let partition = MetadataResponsePartition::default()
        .with_leader_id(BrokerId(1))
        .with_replica_nodes(vec![BrokerId(1), BrokerId(2)]);
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("t"))))
        .with_partitions(vec![partition]);
    let mut response =
        MetadataResponse::default().with_brokers(brokers.collect()).with_topics(vec![topic]);
    if version >= 2 {
        response.cluster_id = Some(StrBytes::from_static_str("cluster"));
    }
    framed(ApiKey::Metadata, version, &response)
}

fn describe_cluster(version: i16, here: bool) -> Bytes {
    let brokers = [1, 2].map(|id| {
        let (host, port) = at(id, here);
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(id))
            .with_host(host)
            .with_port(port)
    });
    let response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_static_str("cluster"))
        .with_controller_id(BrokerId(2))
        .with_brokers(brokers.to_vec());
    framed(ApiKey::DescribeCluster, version, &response)
}

fn coordinator(version: i16, here: bool, id: i32) -> Bytes {
    let (host, port) = if id < 0 { (StrBytes::new(), -1) } else { at(id, here) };
    let error = if id < 0 { COORDINATOR_NOT_AVAILABLE } else { 0 };
    let id = BrokerId(id);
    let response = FindCoordinatorResponse::default();
    let response = if version < 4 {
        response.with_error_code(error).with_node_id(id).with_host(host).with_port(port)
    } else {
        let coordinator = Coordinator::default()
            .with_key(StrBytes::from_static_str("group"))
            .with_error_code(error)
            .with_node_id(id)
            .with_host(host)
            .with_port(port);
        response.with_coordinators(vec![coordinator])
    };
    framed(ApiKey::FindCoordinator, version, &response)
}

fn rewritten(key: ApiKey, version: i16, frame: &Bytes) -> Result<Bytes, Failed> {
    let what = Rewrite { key, version, asked: version };
    rewrite(what, frame, &book(), Strangers::Refuse).map(BytesMut::freeze)
}

/// Every API and version, with the upstream's addresses and with ours.
fn samples() -> Vec<(ApiKey, i16, Bytes, Bytes)> {
    let mut all = Vec::new();
    for version in 0..=12 {
        let of = |here| metadata(version, here, &[1, 2]);
        all.push((ApiKey::Metadata, version, of(false), of(true)));
    }
    for version in 0..=1 {
        let of = |here| describe_cluster(version, here);
        all.push((ApiKey::DescribeCluster, version, of(false), of(true)));
    }
    for version in 0..=6 {
        for id in [-1, 2] {
            let of = |here| coordinator(version, here, id);
            all.push((ApiKey::FindCoordinator, version, of(false), of(true)));
        }
    }
    all
}

#[test]
fn addresses_change_and_nothing_else() {
    for (key, version, theirs, ours) in samples() {
        assert_eq!(rewritten(key, version, &theirs), Ok(ours), "{key:?} {version}");
    }
}

#[test]
fn metadata_13_is_made_of_version_12() {
    let what = Rewrite { key: ApiKey::Metadata, version: 12, asked: 13 };
    let made = rewrite(what, &metadata(12, false, &[1, 2]), &book(), Strangers::Refuse).unwrap();
    assert_eq!(made.freeze(), metadata(13, true, &[1, 2]));
}

#[test]
fn a_stranger_never_gets_an_address() {
    for version in [0, 8, 9, 12] {
        let theirs = metadata(version, false, &[1, 3, 2]);
        assert_eq!(rewritten(ApiKey::Metadata, version, &theirs), Err(Failed::Unknown(3)));
        let what = Rewrite { key: ApiKey::Metadata, version, asked: version };
        let made = rewrite(what, &theirs, &book(), Strangers::LeaveOut).unwrap();
        assert_eq!(made.freeze(), metadata(version, true, &[1, 2]));
    }
    for version in 0..=6 {
        let theirs = coordinator(version, false, 3);
        assert_eq!(rewritten(ApiKey::FindCoordinator, version, &theirs), Err(Failed::Unknown(3)));
        let what = Rewrite { key: ApiKey::FindCoordinator, version, asked: version };
        let made = rewrite(what, &theirs, &book(), Strangers::LeaveOut).unwrap();
        assert_eq!(made.freeze(), coordinator(version, true, -1), "{version}");
    }
}

#[test]
fn no_prefix_and_no_changed_byte_makes_it_panic() {
    for (key, version, theirs, _) in samples() {
        for end in 0..theirs.len() {
            let _ = rewritten(key, version, &theirs.slice(..end));
        }
        for at in 0..theirs.len() {
            for bit in 0..8 {
                let mut changed = theirs.to_vec();
                changed[at] ^= 1 << bit;
                let _ = rewritten(key, version, &changed.into());
            }
        }
    }
}
