//! What the data of Kafka's znodes means, in a line or a few.

use std::fmt::Write as _;

use crate::calendar::Utc;
use crate::cluster::image::ConfigMap;
use crate::cluster::layout::acl::{AclEntry, PatternType, Permission, ResourceType, decode_acls};
use crate::cluster::layout::broker::Registration;
use crate::cluster::layout::config::decode_config;
use crate::cluster::layout::controller::{ControllerNode, decode_epoch};
use crate::cluster::layout::ids::decode_cluster_id;
use crate::cluster::layout::paths::{CONTROLLER_EPOCH, Znode};
use crate::cluster::layout::topic::{PartitionState, TopicAssignment, id_text};
use crate::cluster::layout::{LayoutError, paths};

/// What the data of a znode of Kafka's layout says; `None` for other znodes. Paths are those without
/// a chroot.
pub(super) fn meaning(path: &str, data: &[u8]) -> Option<String> {
    let told = match Znode::parse(path)? {
        Znode::Controller if path == CONTROLLER_EPOCH => {
            decode_epoch(data).map(|epoch| format!("the controller's epoch is {epoch}"))
        }
        Znode::Controller => ControllerNode::decode(data).map(|node| controller(&node)),
        Znode::ClusterId => decode_cluster_id(data).map(|id| format!("the cluster's id is {id}")),
        Znode::Broker(id) => Registration::decode(data).map(|found| broker(id, &found)),
        Znode::Topic(name) if path == paths::topic(name) => {
            TopicAssignment::decode(data).map(|found| topic(name, &found))
        }
        Znode::PartitionState(name, partition) => {
            PartitionState::decode(data).map(|found| state(name, partition, &found))
        }
        Znode::TopicConfig(name) => {
            decode_config(data).map(|c| config(&format!("topic {name}"), &c))
        }
        Znode::BrokerConfig(id) => decode_config(data).map(|c| config(&format!("broker {id}"), &c)),
        Znode::DeleteTopic(name) if path == paths::delete_topic(name) => {
            Ok(format!("topic {name} is to be deleted"))
        }
        Znode::Acl(pattern, kind, name) => {
            decode_acls(data).map(|entries| acls(pattern, kind, name, &entries))
        }
        Znode::Topic(_) | Znode::DeleteTopic(_) => return None,
    };
    Some(told.unwrap_or_else(|LayoutError(reason)| format!("not what Kafka keeps here: {reason}")))
}

fn controller(node: &ControllerNode) -> String {
    let since = Utc::of(node.timestamp);
    match &node.doorkeeper {
        Some(version) => {
            format!(
                "the controller is broker {} since {since} (doorkeeper {version})",
                node.broker_id
            )
        }
        None => format!("the controller is broker {} since {since}", node.broker_id),
    }
}

fn broker(id: i32, registration: &Registration) -> String {
    let mut text = format!("broker {id}, registered {}", Utc::of(registration.timestamp));
    if let Some(rack) = &registration.rack {
        let _ = write!(text, ", in rack {rack}");
    }
    if let Some(version) = &registration.doorkeeper {
        let _ = write!(text, ", of doorkeeper {version}");
    }
    for endpoint in &registration.endpoints {
        let _ = write!(
            text,
            "\n{} ({}) at {}:{}",
            endpoint.listener, endpoint.protocol, endpoint.host, endpoint.port
        );
    }
    text
}

fn topic(name: &str, topic: &TopicAssignment) -> String {
    let mut text = format!("topic {name}, {} partitions", topic.partitions.len());
    if !topic.id.is_nil() {
        let _ = write!(text, ", id {}", id_text(topic.id));
    }
    for (partition, replicas) in &topic.partitions {
        let _ = write!(text, "\npartition {partition} on brokers {replicas:?}");
        for (what, by_partition) in [("adding", &topic.adding), ("removing", &topic.removing)] {
            if let Some(moving) = by_partition.get(partition).filter(|moving| !moving.is_empty()) {
                let _ = write!(text, ", {what} {moving:?}");
            }
        }
    }
    text
}

fn state(name: &str, partition: i32, state: &PartitionState) -> String {
    let leader = match state.leader {
        -1 => "has no leader".to_owned(),
        leader => format!("is led by broker {leader}"),
    };
    format!(
        "partition {partition} of topic {name} {leader}, in leader epoch {}; in sync: {:?}; written in \
         controller epoch {}",
        state.leader_epoch, state.isr, state.controller_epoch
    )
}

fn config(of: &str, config: &ConfigMap) -> String {
    if config.is_empty() {
        return format!("{of} has the defaults");
    }
    let pairs = config.iter().map(|(key, value)| format!("\n{key}={value}"));
    format!("{of} sets{}", pairs.collect::<String>())
}

fn acls(pattern: PatternType, kind: ResourceType, name: &str, entries: &[AclEntry]) -> String {
    let mut text = match pattern {
        PatternType::Literal => format!("ACLs of {} {name}", kind.name()),
        PatternType::Prefixed => format!("ACLs of every {} that begins with {name}", kind.name()),
    };
    for entry in entries {
        let may = match entry.permission {
            Some(Permission::Allow) => "may",
            Some(Permission::Deny) => "must not",
            None => "(a permission that is not known)",
        };
        let what = entry.operation.map_or("(an operation that is not known)", |known| known.name());
        let from = if entry.host == "*" { "anywhere" } else { &entry.host };
        let _ = write!(text, "\n{} {may} {what}, from {from}", entry.principal);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_znodes_are_explained() {
        let same = |path: &str, data: &str, expected: Option<&str>| {
            assert_eq!(meaning(path, data.as_bytes()).as_deref(), expected, "{path} {data}");
        };
        same("/controller_epoch", "7", Some("the controller's epoch is 7"));
        same(
            "/controller",
            r#"{"version":2,"brokerid":3,"timestamp":"1000","kraftControllerEpoch":-1}"#,
            Some("the controller is broker 3 since 1970-01-01T00:00:01.000Z"),
        );
        same(
            "/brokers/topics/t/partitions/0/state",
            r#"{"controller_epoch":1,"leader":-1,"version":1,"leader_epoch":4,"isr":[2]}"#,
            Some(
                "partition 0 of topic t has no leader, in leader epoch 4; in sync: [2]; written in \
                 controller epoch 1",
            ),
        );
        same(
            "/brokers/topics/t",
            r#"{"partitions":{"0":[1,2]},"adding_replicas":{"0":[2]},"removing_replicas":{},"version":2}"#,
            Some("topic t, 1 partitions\npartition 0 on brokers [1, 2], adding [2]"),
        );
        same(
            "/config/topics/t",
            r#"{"version":1,"config":{"retention.ms":"5"}}"#,
            Some("topic t sets\nretention.ms=5"),
        );
        same("/admin/delete_topics/t", "", Some("topic t is to be deleted"));
        same(
            "/kafka-acl-extended/prefixed/Topic/t",
            r#"{"version":1,"acls":[
                {"principal":"User:a","permissionType":"Allow","operation":"Read","host":"*"},
                {"principal":"User:b","permissionType":"Deny","operation":"All","host":"::1"}]}"#,
            Some(
                "ACLs of every Topic that begins with t\nUser:a may Read, from anywhere\n\
                 User:b must not All, from ::1",
            ),
        );
        same("/brokers/topics/t/partitions", "", None);
        same("/elsewhere", "{}", None);
        let broken = meaning("/brokers/ids/1", b"{").unwrap();
        assert!(broken.starts_with("not what Kafka keeps here: "), "{broken}");
    }
}
