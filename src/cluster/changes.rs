//! What the watches named since it was last read (pure).

use std::collections::{BTreeMap, BTreeSet};

use super::layout::acl::ResourcePattern;
use super::layout::paths;

/// Znodes to be read again. Sets, so they are bounded by the cluster's size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// `/cluster/id`.
    pub cluster_id: bool,
    /// `/controller` or `/controller_epoch`.
    pub controller: bool,
    /// Registrations.
    pub brokers: BTreeSet<i32>,
    /// Topics, each with all its partitions.
    pub topics: BTreeSet<String>,
    /// Partitions' states, by topic.
    pub partitions: BTreeMap<String, BTreeSet<i32>>,
    /// Topics' configuration.
    pub topic_configs: BTreeSet<String>,
    /// Brokers' configuration.
    pub broker_configs: BTreeSet<String>,
    /// Requests to delete a topic.
    pub deleting: BTreeSet<String>,
    /// ACLs.
    pub acls: BTreeSet<ResourcePattern>,
}

impl Changes {
    /// Whether nothing has to be read.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    /// How many znodes were named; a topic counts as one.
    pub fn len(&self) -> usize {
        usize::from(self.cluster_id)
            + usize::from(self.controller)
            + self.brokers.len()
            + self.topics.len()
            + self.partitions.values().map(BTreeSet::len).sum::<usize>()
            + self.topic_configs.len()
            + self.broker_configs.len()
            + self.deleting.len()
            + self.acls.len()
    }

    /// Notes a path that changed. False if no image is made of it.
    pub fn note(&mut self, path: &str) -> bool {
        match paths::Znode::parse(path) {
            None => return false,
            Some(paths::Znode::ClusterId) => self.cluster_id = true,
            Some(paths::Znode::Controller) => self.controller = true,
            Some(paths::Znode::Broker(id)) => _ = self.brokers.insert(id),
            Some(paths::Znode::Topic(name)) => {
                // All its partitions are read with it.
                self.partitions.remove(name);
                self.topics.insert(name.to_owned());
            }
            Some(paths::Znode::PartitionState(name, partition)) => {
                if self.topics.contains(name) {
                    return true;
                }
                match self.partitions.get_mut(name) {
                    Some(numbers) => _ = numbers.insert(partition),
                    None => _ = self.partitions.insert(name.to_owned(), [partition].into()),
                }
            }
            Some(paths::Znode::TopicConfig(name)) => {
                _ = self.topic_configs.insert(name.to_owned());
            }
            Some(paths::Znode::BrokerConfig(entity)) => {
                _ = self.broker_configs.insert(entity.to_owned());
            }
            Some(paths::Znode::DeleteTopic(name)) => {
                // The events of different roots may come in another order than the changes. Without
                // the topic's own, one that is deleted would be there again for a moment.
                self.deleting.insert(name.to_owned());
                self.partitions.remove(name);
                self.topics.insert(name.to_owned());
            }
            Some(paths::Znode::Acl(pattern, kind, name)) => {
                _ = self.acls.insert(ResourcePattern { pattern, kind, name: name.to_owned() });
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_read_once() {
        let mut changes = Changes::default();
        assert!(changes.is_empty());
        assert_eq!(changes.len(), 0);
        for path in [
            "/brokers/topics/a/partitions/0/state",
            "/brokers/topics/a/partitions/0/state",
            "/brokers/topics/a/partitions/1/state",
            "/brokers/topics/b/partitions/7/state",
            "/brokers/ids/3",
            "/controller",
            "/controller_epoch",
            "/cluster/id",
            "/config/topics/a",
            "/config/brokers/1",
            "/admin/delete_topics/d",
            "/kafka-acl/Topic/a",
            "/kafka-acl/Topic/a",
            "/kafka-acl-extended/prefixed/Topic/a",
        ] {
            assert!(changes.note(path), "{path}");
        }
        assert_eq!(changes.len(), 12);
        assert_eq!(changes.topics, ["d".to_owned()].into(), "a topic is read with its deletion");
        assert_eq!(changes.partitions["a"], [0, 1].into());
        // A topic comes with its partitions.
        assert!(changes.note("/brokers/topics/a"));
        assert!(changes.note("/brokers/topics/a/partitions/5/state"));
        assert_eq!(changes.partitions.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!((changes.len(), changes.topics.len()), (11, 2));
    }

    #[test]
    fn other_paths_are_no_change() {
        let mut changes = Changes::default();
        for path in ["", "/brokers/ids", "/brokers/topics/a/partitions", "/config/changes/x"] {
            assert!(!changes.note(path), "{path}");
        }
        assert!(changes.is_empty());
    }
}
