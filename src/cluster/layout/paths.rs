//! Znode paths: made from names, and taken apart again when a watch names one.

use super::acl::{PatternType, ResourceType};

/// Holds the controller's broker id; ephemeral.
pub const CONTROLLER: &str = "/controller";
/// Counts the controllers.
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
/// The cluster's id.
pub const CLUSTER_ID: &str = "/cluster/id";
/// Parent of the registrations.
pub const BROKER_IDS: &str = "/brokers/ids";
/// Its znode version is the source of generated broker ids.
pub const BROKER_SEQUENCE: &str = "/brokers/seqid";
/// Parent of the topics.
pub const TOPICS: &str = "/brokers/topics";
/// Parent of the topics' configuration.
pub const TOPIC_CONFIGS: &str = "/config/topics";
/// Parent of the brokers' configuration.
pub const BROKER_CONFIGS: &str = "/config/brokers";
/// Parent of the notifications of changed configuration.
pub const CONFIG_CHANGES: &str = "/config/changes";
/// Prefix of a notification's sequential znode.
pub const CONFIG_CHANGE_PREFIX: &str = "/config/changes/config_change_";
/// Parent of the topics that are to be deleted.
pub const DELETE_TOPICS: &str = "/admin/delete_topics";
/// Parent of the types of resources, below which are the ACLs of one resource each.
pub const ACLS: &str = "/kafka-acl";
/// Parent of the types of resources, below which are the ACLs of resources whose names begin alike.
pub const PREFIXED_ACLS: &str = "/kafka-acl-extended/prefixed";
/// The newest block of producer ids.
pub const PRODUCER_ID_BLOCK: &str = "/latest_producer_id_block";

/// Parent of the notifications of changed ISRs.
pub const ISR_CHANGES: &str = "/isr_change_notification";
/// Parent of the notifications of failed log directories.
pub const LOG_DIR_EVENTS: &str = "/log_dir_event_notification";

/// What a broker makes when it starts, each with its parents and without data.
pub const ROOTS: [&str; 14] = [
    "/consumers",
    BROKER_IDS,
    TOPICS,
    CONFIG_CHANGES,
    DELETE_TOPICS,
    BROKER_SEQUENCE,
    ISR_CHANGES,
    PRODUCER_ID_BLOCK,
    LOG_DIR_EVENTS,
    TOPIC_CONFIGS,
    "/config/clients",
    "/config/users",
    BROKER_CONFIGS,
    "/config/ips",
];

/// The registration of a broker.
pub fn broker(id: i32) -> String {
    format!("{BROKER_IDS}/{id}")
}

/// A topic's assignment.
pub fn topic(name: &str) -> String {
    format!("{TOPICS}/{name}")
}

/// Parent of a topic's partitions.
pub fn partitions(topic: &str) -> String {
    format!("{TOPICS}/{topic}/partitions")
}

/// Parent of a partition's state.
pub fn partition(topic: &str, partition: i32) -> String {
    format!("{TOPICS}/{topic}/partitions/{partition}")
}

/// A partition's leader and ISR.
pub fn partition_state(topic: &str, partition: i32) -> String {
    format!("{TOPICS}/{topic}/partitions/{partition}/state")
}

/// A topic's configuration.
pub fn topic_config(name: &str) -> String {
    format!("{TOPIC_CONFIGS}/{name}")
}

/// Configuration of a broker id, or of `<default>`.
pub fn broker_config(entity: &str) -> String {
    format!("{BROKER_CONFIGS}/{entity}")
}

/// The request to delete a topic.
pub fn delete_topic(name: &str) -> String {
    format!("{DELETE_TOPICS}/{name}")
}

/// Says that a broker has removed its replicas of a topic that is being deleted. Its data is the
/// topic's id. Only doorkeeper brokers write it: Apache's tell their controller by RPC.
pub fn delete_topic_done(name: &str, broker: i32) -> String {
    format!("{DELETE_TOPICS}/{name}/{broker}")
}

/// Parent of the ACLs of one type of resources.
pub fn acl_directory(pattern: PatternType, kind: ResourceType) -> String {
    let root = match pattern {
        PatternType::Literal => ACLS,
        PatternType::Prefixed => PREFIXED_ACLS,
    };
    format!("{root}/{}", kind.name())
}

/// The ACLs of the resources of a name.
pub fn acl(pattern: PatternType, kind: ResourceType, name: &str) -> String {
    format!("{}/{name}", acl_directory(pattern, kind))
}

/// A path that an image is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Znode<'a> {
    /// [`CONTROLLER`] or [`CONTROLLER_EPOCH`].
    Controller,
    /// [`CLUSTER_ID`].
    ClusterId,
    /// A registration.
    Broker(i32),
    /// A topic or anything below it.
    Topic(&'a str),
    /// A partition's state.
    PartitionState(&'a str, i32),
    /// A topic's configuration.
    TopicConfig(&'a str),
    /// A broker's configuration.
    BrokerConfig(&'a str),
    /// A request to delete a topic, or what is below it.
    DeleteTopic(&'a str),
    /// The ACLs of the resources of a name.
    Acl(PatternType, ResourceType, &'a str),
}

impl<'a> Znode<'a> {
    /// What a path is; `None` if no image is made of it.
    pub fn parse(path: &'a str) -> Option<Znode<'a>> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let first = parts.next()?;
        let rest: Vec<&str> = parts.collect();
        match (first, rest.as_slice()) {
            ("controller" | "controller_epoch", []) => Some(Znode::Controller),
            ("cluster", ["id"]) => Some(Znode::ClusterId),
            ("brokers", ["ids", id]) => id.parse().ok().map(Znode::Broker),
            ("brokers", ["topics", topic, "partitions", partition, "state"]) => {
                partition.parse().ok().map(|partition| Znode::PartitionState(topic, partition))
            }
            ("brokers", ["topics", topic]) => Some(Znode::Topic(topic)),
            ("config", ["topics", topic]) => Some(Znode::TopicConfig(topic)),
            ("config", ["brokers", entity]) => Some(Znode::BrokerConfig(entity)),
            ("admin", ["delete_topics", topic, ..]) => Some(Znode::DeleteTopic(topic)),
            ("kafka-acl", [kind, name]) => {
                ResourceType::named(kind).map(|kind| Znode::Acl(PatternType::Literal, kind, name))
            }
            ("kafka-acl-extended", ["prefixed", kind, name]) => {
                ResourceType::named(kind).map(|kind| Znode::Acl(PatternType::Prefixed, kind, name))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_taken_apart_as_they_are_made() {
        let parse = |path: &str, expected| assert_eq!(Znode::parse(path), expected, "{path}");
        parse("/controller", Some(Znode::Controller));
        parse("/controller_epoch", Some(Znode::Controller));
        parse("/cluster/id", Some(Znode::ClusterId));
        parse(&broker(7), Some(Znode::Broker(7)));
        parse(&topic("a.b"), Some(Znode::Topic("a.b")));
        parse(&partition_state("t", 12), Some(Znode::PartitionState("t", 12)));
        parse(&topic_config("t"), Some(Znode::TopicConfig("t")));
        parse(&broker_config("<default>"), Some(Znode::BrokerConfig("<default>")));
        parse(&delete_topic("t"), Some(Znode::DeleteTopic("t")));
        parse(&delete_topic_done("t", 3), Some(Znode::DeleteTopic("t")));
        for pattern in PatternType::ALL {
            for kind in ResourceType::ALL {
                let path = acl(pattern, kind, "a name");
                parse(&path, Some(Znode::Acl(pattern, kind, "a name")));
                parse(&acl_directory(pattern, kind), None);
            }
        }
        parse(
            "/kafka-acl/Topic/*",
            Some(Znode::Acl(PatternType::Literal, ResourceType::Topic, "*")),
        );
        for path in [
            "",
            "/",
            "controller",
            "/controller/x",
            "/brokers/ids",
            "/brokers/ids/x",
            "/brokers/topics",
            "/brokers/topics/t/partitions",
            "/brokers/topics/t/partitions/0",
            "/brokers/topics/t/partitions/x/state",
            "/config/changes/config_change_0000000001",
            "/brokers/seqid",
            "/kafka-acl/Nothing/t",
            "/kafka-acl/topic/t",
            "/kafka-acl-extended/literal/Topic/t",
            "/kafka-acl-changes/acl_changes_0000000001",
        ] {
            parse(path, None);
        }
    }

    proptest! {
        #[test]
        fn any_path_is_parsed_without_panic(path in "(/[a-z0-9_.]{0,12}){0,7}|\\PC{0,40}") {
            let _ = Znode::parse(&path);
        }

        #[test]
        fn partition_states_come_back(name in "[a-zA-Z0-9._-]{1,249}", number in 0i32..) {
            let path = partition_state(&name, number);
            prop_assert_eq!(Znode::parse(&path), Some(Znode::PartitionState(&name, number)));
        }
    }
}
