//! The shape of the answers that are read here: what the guard walks before a decoder runs.
//!
//! Field by field as in Kafka's message definitions
//! (`clients/src/main/resources/common/message/*Response.json`).

use kafka_protocol::messages::ApiKey;

use super::schema::{BYTE, INT, INTS, Kind, LONG, SHORT, Schema, TEXT, UUID, array};

/// The shape of the answers of an API, if they are read here.
pub const fn of(key: ApiKey) -> Option<&'static Schema> {
    Some(match key {
        ApiKey::Metadata => &METADATA,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        _ => return None,
    })
}

/// An answer to `Metadata`.
pub const METADATA: Schema = Schema {
    flexible: 9,
    fields: &[
        INT.since(3), // throttle_time_ms
        array(&Kind::Struct(&[
            INT,                       // node_id
            TEXT,                      // host
            INT,                       // port
            TEXT.since(1).nullable(1), // rack
        ])),
        TEXT.since(2).nullable(2), // cluster_id
        INT.since(1),              // controller_id
        array(&Kind::Struct(&[
            SHORT,             // error_code
            TEXT.nullable(12), // name
            UUID.since(10),    // topic_id
            BYTE.since(1),     // is_internal
            array(&Kind::Struct(&[
                SHORT,         // error_code
                INT,           // partition_index
                INT,           // leader_id
                INT.since(7),  // leader_epoch
                INTS,          // replica_nodes
                INTS,          // isr_nodes
                INTS.since(5), // offline_replicas
            ])),
            INT.since(8), // topic_authorized_operations
        ])),
        INT.since(8).until(10), // cluster_authorized_operations
        SHORT.since(13),        // error_code
    ],
};

const FIND_COORDINATOR: Schema = Schema {
    flexible: 3,
    fields: &[
        INT.since(1),                       // throttle_time_ms
        SHORT.until(3),                     // error_code
        TEXT.since(1).until(3).nullable(1), // error_message
        INT.until(3),                       // node_id
        TEXT.until(3),                      // host
        INT.until(3),                       // port
        array(&Kind::Struct(&[
            TEXT,             // key
            INT,              // node_id
            TEXT,             // host
            INT,              // port
            SHORT,            // error_code
            TEXT.nullable(4), // error_message
        ]))
        .since(4),
    ],
};

/// An answer to `ApiVersions`.
pub const API_VERSIONS: Schema = Schema {
    flexible: 3,
    fields: &[
        SHORT,                                                          // error_code
        array(&Kind::Struct(&[SHORT, SHORT, SHORT])),                   // api_keys
        INT.since(1),                                                   // throttle_time_ms
        array(&Kind::Struct(&[TEXT, SHORT, SHORT])).since(3).tagged(0), // supported_features
        LONG.since(3).tagged(1),                                        // finalized_features_epoch
        array(&Kind::Struct(&[TEXT, SHORT, SHORT])).since(3).tagged(2), // finalized_features
        BYTE.since(3).tagged(3),                                        // zk_migration_ready
    ],
};

const DESCRIBE_CLUSTER: Schema = Schema {
    flexible: 0,
    fields: &[
        INT,              // throttle_time_ms
        SHORT,            // error_code
        TEXT.nullable(0), // error_message
        BYTE.since(1),    // endpoint_type
        TEXT,             // cluster_id
        INT,              // controller_id
        array(&Kind::Struct(&[
            INT,              // broker_id
            TEXT,             // host
            INT,              // port
            TEXT.nullable(0), // rack
            BYTE.since(2),    // is_fenced
        ])),
        INT, // cluster_authorized_operations
    ],
};

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
    use kafka_protocol::messages::find_coordinator_response::Coordinator;
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_protocol::messages::{
        ApiVersionsResponse, BrokerId, DescribeClusterResponse, FindCoordinatorResponse,
        MetadataResponse, TopicName,
    };
    use kafka_protocol::protocol::{Decodable, Encodable, Message, StrBytes};

    use super::*;
    use crate::kafka::wire::guard;

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    /// Every version passes whole; no prefix of it does, nor does a changed byte hurt a decoder.
    fn passes<R: Encodable + Decodable + Message>(key: ApiKey, of_version: impl Fn(i16) -> R) {
        let schema = of(key).unwrap();
        for version in R::VERSIONS.min..=R::VERSIONS.max {
            let mut body = Vec::new();
            of_version(version).encode(&mut body, version).unwrap();
            assert_eq!(guard::check_answer(schema, version, &body), Ok(()), "{key:?} v{version}");
            for end in 0..body.len() {
                let cut = guard::check_answer(schema, version, &body[..end]);
                assert!(cut.is_err(), "{key:?} v{version}, {end} bytes");
            }
            for at in 0..body.len() {
                for change in [0x01, 0x80, 0xff] {
                    let mut changed = body.clone();
                    changed[at] ^= change;
                    if guard::check_answer(schema, version, &changed).is_ok() {
                        R::decode(&mut Bytes::from(changed), version).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn metadata() {
        passes(ApiKey::Metadata, |version| {
            let partition = MetadataResponsePartition::default()
                .with_replica_nodes(vec![BrokerId(1), BrokerId(2)])
                .with_isr_nodes(vec![BrokerId(2)])
                .with_offline_replicas(vec![BrokerId(1); usize::from(version >= 5)]);
            let topic = MetadataResponseTopic::default()
                .with_name(Some(TopicName(text("orders"))))
                .with_partitions(vec![partition; 2]);
            let broker = MetadataResponseBroker::default()
                .with_host(text("here"))
                .with_rack((version >= 1).then(|| text("rack")));
            MetadataResponse::default()
                .with_brokers(vec![broker; 2])
                .with_cluster_id((version >= 2).then(|| text("cluster")))
                .with_topics(vec![topic; 2])
        });
    }

    #[test]
    fn find_coordinator() {
        passes(ApiKey::FindCoordinator, |version| {
            if version < 4 {
                return FindCoordinatorResponse::default()
                    .with_host(text("here"))
                    .with_error_message((version >= 1).then(|| text("why")));
            }
            let found = Coordinator::default().with_key(text("group")).with_host(text("here"));
            FindCoordinatorResponse::default().with_coordinators(vec![found; 2])
        });
    }

    #[test]
    fn api_versions() {
        passes(ApiKey::ApiVersions, |_| {
            let range = ApiVersion::default().with_api_key(3).with_max_version(12);
            ApiVersionsResponse::default().with_api_keys(vec![range; 3])
        });
    }

    #[test]
    fn describe_cluster() {
        passes(ApiKey::DescribeCluster, |_| {
            let broker = DescribeClusterBroker::default().with_host(text("here"));
            DescribeClusterResponse::default()
                .with_cluster_id(text("cluster"))
                .with_brokers(vec![broker; 2])
        });
    }
}
