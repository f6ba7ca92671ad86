//! A cluster's metadata, whatever it was read from (pure).
//!
//! What a source doesn't tell is `None`: an old version of an answer has no leader epochs, topic ids
//! or offline replicas. Brokers, topics and partitions are sorted; replicas and ISR are in the order
//! of their source.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::MetadataResponse;
use kafka_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use serde::Serialize;
use uuid::Uuid;

use crate::cluster::image::{NO_LEADER, PartitionImage};
use crate::cluster::{ClusterImage, Endpoint, TopicImage};

/// The metadata of a cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The controller's broker id, −1 if there is none.
    pub controller: Option<i32>,
    /// Live brokers by id.
    pub brokers: BTreeMap<i32, Broker>,
    /// Topics by name.
    pub topics: BTreeMap<String, Topic>,
    /// Coordinators that were asked for, by `group NAME` or `transactional id NAME`.
    pub coordinators: BTreeMap<String, Coordinator>,
}

/// A live broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Broker {
    /// Where clients are told to reach it.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// `broker.rack`.
    pub rack: Option<String>,
}

/// A topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topic {
    /// The error code that stands in its place; 0 if there is none.
    pub error: i16,
    /// Its id.
    pub id: Option<Uuid>,
    /// Whether Kafka keeps its own state in it.
    pub internal: Option<bool>,
    /// Partitions by number.
    pub partitions: BTreeMap<i32, Partition>,
}

/// A partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its error code, 0 if there is none.
    pub error: i16,
    /// The leader's broker id, −1 if there is none that clients can reach.
    pub leader: i32,
    /// How often the leader changed.
    pub leader_epoch: Option<i32>,
    /// Assigned brokers, the preferred leader first.
    pub replicas: Vec<i32>,
    /// In-sync replicas.
    pub isr: Vec<i32>,
    /// Replicas on brokers that are not alive.
    pub offline: Option<Vec<i32>>,
}

/// The coordinator of a group or of a transactional id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Coordinator {
    /// Its error code, 0 if there is none.
    #[serde(skip)]
    pub error: i16,
    /// Its broker id, −1 if there is none.
    pub broker: i32,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: i32,
}

impl Picture {
    /// What a `Metadata` answer of this version says.
    pub fn of_metadata(answer: &MetadataResponse, version: i16) -> Self {
        let brokers = answer.brokers.iter().map(|broker| {
            let rack = broker.rack.as_ref().map(ToString::to_string);
            (broker.node_id.0, Broker { host: broker.host.to_string(), port: broker.port, rack })
        });
        let topics = answer.topics.iter().map(|topic| {
            let name = topic.name.as_ref().map(|name| name.0.to_string());
            let name = name.unwrap_or_else(|| format!("id {}", topic.topic_id));
            (name, Topic::of_metadata(topic, version))
        });
        Picture {
            cluster_id: answer.cluster_id.as_ref().map(ToString::to_string),
            controller: (version >= 1).then_some(answer.controller_id.0),
            brokers: brokers.collect(),
            topics: topics.collect(),
            coordinators: BTreeMap::new(),
        }
    }

    /// What the brokers of this cluster would answer to clients of a listener; without a listener,
    /// to clients of the one that comes first at each broker.
    pub fn of_image(image: &ClusterImage, listener: Option<&str>) -> Self {
        let endpoint = |id: i32| endpoint(image, id, listener);
        let brokers = image.brokers.iter().filter_map(|(id, broker)| {
            let endpoint = endpoint(*id)?;
            let rack = broker.rack.clone();
            Some((*id, Broker { host: endpoint.host.clone(), port: endpoint.port, rack }))
        });
        let topics = image.visible_topics().map(|topic: &std::sync::Arc<TopicImage>| {
            let partitions = topic.partitions.iter().map(|(number, partition)| {
                let reachable = endpoint(partition.leader).is_some();
                (*number, Partition::of_image(partition, image, reachable))
            });
            let found = Topic {
                error: 0,
                id: Some(topic.id),
                internal: Some(topic.internal),
                partitions: partitions.collect(),
            };
            (topic.name.to_string(), found)
        });
        Picture {
            cluster_id: image.cluster_id.as_deref().map(str::to_owned),
            controller: Some(image.controller_id()),
            brokers: brokers.collect(),
            topics: topics.collect(),
            coordinators: BTreeMap::new(),
        }
    }
}

/// Where clients of a listener, or of the one that comes first, reach a broker.
pub(super) fn endpoint<'a>(
    image: &'a ClusterImage,
    broker: i32,
    listener: Option<&str>,
) -> Option<&'a Endpoint> {
    let broker = image.brokers.get(&broker)?;
    match listener {
        Some(name) => broker.endpoint(name),
        None => broker.endpoints.first(),
    }
}

impl Topic {
    fn of_metadata(topic: &MetadataResponseTopic, version: i16) -> Self {
        let partitions = topic.partitions.iter();
        Topic {
            error: topic.error_code,
            id: (version >= 10).then_some(topic.topic_id),
            internal: (version >= 1).then_some(topic.is_internal),
            partitions: partitions
                .map(|partition| {
                    (partition.partition_index, Partition::of_metadata(partition, version))
                })
                .collect(),
        }
    }
}

impl Partition {
    fn of_metadata(partition: &MetadataResponsePartition, version: i16) -> Self {
        let ids = |brokers: &[kafka_protocol::messages::BrokerId]| {
            brokers.iter().map(|broker| broker.0).collect()
        };
        Partition {
            error: partition.error_code,
            leader: partition.leader_id.0,
            leader_epoch: (version >= 7).then_some(partition.leader_epoch),
            replicas: ids(&partition.replica_nodes),
            isr: ids(&partition.isr_nodes),
            offline: (version >= 5).then(|| ids(&partition.offline_replicas)),
        }
    }

    fn of_image(partition: &PartitionImage, image: &ClusterImage, reachable: bool) -> Self {
        let alive = image.is_alive(partition.leader);
        let error = match (alive, reachable) {
            (_, true) => 0,
            (true, false) => ResponseError::ListenerNotFound.code(),
            (false, false) => ResponseError::LeaderNotAvailable.code(),
        };
        let offline = partition.replicas.iter().filter(|id| !image.is_alive(**id));
        Partition {
            error,
            leader: if reachable { partition.leader } else { NO_LEADER },
            leader_epoch: Some(partition.leader_epoch),
            replicas: partition.replicas.clone(),
            isr: partition.isr.clone(),
            offline: Some(offline.copied().collect()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::{ApiKey, MetadataRequest};
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;
    use crate::cluster::builder::{ImageBuilder, Znode};
    use crate::cluster::layout::topic::{PartitionState, TopicAssignment};
    use crate::config::gateway::GatewayAuthorizer;
    use crate::gateway::addresses::AddressBook;
    use crate::gateway::answers::{Answer, Answers, Question};
    use crate::kafka::api::{Piece, Reply};
    use crate::kafka::security::{Caller, Principal};

    fn znode(data: impl Into<Vec<u8>>, czxid: i64) -> Znode {
        Znode { data: data.into(), czxid, ..Znode::default() }
    }

    /// A topic made at `czxid`, its partitions on brokers 1 and 2, led by these.
    pub(in super::super) fn topic(
        builder: &mut ImageBuilder,
        name: &str,
        id: u128,
        czxid: i64,
        leaders: &[i32],
    ) {
        let numbered = || (0..).zip(leaders);
        let assignment = TopicAssignment {
            id: Uuid::from_u128(id),
            partitions: numbered().map(|(number, _)| (number, vec![1, 2, 3])).collect(),
            ..TopicAssignment::default()
        };
        let states = numbered().map(|(number, leader)| {
            (number, znode(PartitionState::new(*leader, 4, vec![2, 1], 1).encode(), czxid + 1))
        });
        builder.topic(name, Some(&znode(assignment.encode(), czxid)), &states.collect());
    }

    /// Brokers 1 and 2, of which 2 has no listener OUTSIDE; 3 is dead and leads a partition.
    pub(in super::super) fn cluster(more: impl FnOnce(&mut ImageBuilder)) -> Arc<ClusterImage> {
        let mut builder = ImageBuilder::new(&ClusterImage::default());
        builder.cluster_id(Some(&znode(r#"{"version":"1","id":"cluster"}"#, 1)));
        let controller = r#"{"version":2,"brokerid":2,"timestamp":"1","kraftControllerEpoch":-1}"#;
        builder.controller(Some(&znode(controller, 1)), Some(&znode("7", 1)));
        for (id, more) in [(1, r#","OUTSIDE://out:19001""#), (2, "")] {
            let json = format!(
                r#"{{"version":5,"host":"h","port":1,"jmx_port":-1,"timestamp":"1","rack":"r{id}",
                "endpoints":["INSIDE://in:{}"{more}],
                "listener_security_protocol_map":{{"INSIDE":"PLAINTEXT","OUTSIDE":"SSL"}}}}"#,
                9_000 + id
            );
            builder.broker(id, Some(&znode(json, 1_000)));
        }
        topic(&mut builder, "orders", 7, 50, &[1, 2, 3, -1]);
        more(&mut builder);
        let (image, problems) = builder.finish();
        assert_eq!(problems, []);
        Arc::new(image.unwrap())
    }

    /// A Metadata answer of all topics from the image, to clients of a listener.
    fn answer(image: &Arc<ClusterImage>, listener: &str, version: i16) -> MetadataResponse {
        let topics = if version == 0 { Some(Vec::new()) } else { None };
        let mut body = BytesMut::new();
        MetadataRequest::default().with_topics(topics).encode(&mut body, version).unwrap();
        let caller = Caller { principal: Principal::anonymous(), host: [127, 0, 0, 1].into() };
        let question = Question {
            caller: Some(&caller),
            authorizer: &GatewayAuthorizer::Nobody,
            image,
            addresses: &AddressBook::direct(listener.into()),
            key: ApiKey::Metadata,
            version,
            body: body.freeze(),
            auto_create_topics: false,
            missing: &HashMap::new(),
        };
        let answered = Answers::default().answer(&question).unwrap();
        let mut bytes: Bytes = match answered {
            Answer::Reply(Reply::Body(body)) => body,
            Answer::Reply(Reply::Pieces(pieces)) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Bytes(bytes) => bytes.clone(),
                    Piece::File(_) => panic!("there is no file"),
                })
                .collect::<Vec<Bytes>>()
                .concat()
                .into(),
            other => panic!("{other:?}"),
        };
        MetadataResponse::decode(&mut bytes, version).unwrap()
    }

    #[test]
    fn znodes_and_answers_make_the_same_picture() {
        let image = cluster(|_| ());
        for (listener, version) in
            [("INSIDE", 12), ("OUTSIDE", 12), ("INSIDE", 13), ("OUTSIDE", 10)]
        {
            let answered = Picture::of_metadata(&answer(&image, listener, version), version);
            assert_eq!(Picture::of_image(&image, Some(listener)), answered, "{listener}");
        }
        let inside = Picture::of_image(&image, Some("INSIDE"));
        assert_eq!(Picture::of_image(&image, None), inside, "the first listener of each broker");
        assert_eq!(inside.controller, Some(2));
        assert_eq!(inside.brokers[&1].port, 9_001);
        let partitions = &inside.topics["orders"].partitions;
        let leaders: Vec<i32> = partitions.values().map(|partition| partition.leader).collect();
        assert_eq!(leaders, [1, 2, -1, -1]);
        assert_eq!(partitions[&0].offline, Some(vec![3]));
        let outside = Picture::of_image(&image, Some("OUTSIDE"));
        assert_eq!(outside.brokers.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!(outside.topics["orders"].partitions[&1].error, 72, "LISTENER_NOT_FOUND");
    }

    #[test]
    fn an_old_answer_leaves_out_what_its_version_does_not_tell() {
        let image = cluster(|_| ());
        let told = |version| Picture::of_metadata(&answer(&image, "INSIDE", version), version);
        let partition = |picture: &Picture| picture.topics["orders"].partitions[&0].clone();
        assert_eq!(told(0).controller, None);
        assert_eq!(told(0).topics["orders"].internal, None);
        assert_eq!(told(1).controller, Some(2));
        assert_eq!(told(1).cluster_id, None);
        assert_eq!(partition(&told(4)).offline, None);
        assert_eq!(partition(&told(5)).offline, Some(vec![3]));
        assert_eq!(partition(&told(6)).leader_epoch, None);
        assert_eq!(partition(&told(7)).leader_epoch, Some(4));
        assert_eq!(told(9).topics["orders"].id, None);
        assert_eq!(told(10).topics["orders"].id, Some(Uuid::from_u128(7)));
    }
}
