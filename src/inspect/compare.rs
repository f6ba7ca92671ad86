//! Two pictures of a cluster's metadata, field by field (pure).

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::client::error_name;
use super::picture::{Partition, Picture, Topic};

/// One field that is not the same in both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Which, in words: `topic orders partition 3 leader`.
    pub field: String,
    /// Its value on the left; null if it is not there.
    pub a: Value,
    /// Its value on the right; null if it is not there.
    pub b: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.field, plain(&self.a), plain(&self.b))
    }
}

/// A value without JSON's quotes, commas and brackets where nothing needs them.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "absent".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What is not the same. What one of the two doesn't tell at all is passed over; hosts and ports
/// count only if `addresses` says so.
pub fn differences(a: &Picture, b: &Picture, addresses: bool) -> Vec<Difference> {
    let mut found = Found(Vec::new());
    found.told("cluster id", a.cluster_id.as_ref(), b.cluster_id.as_ref());
    found.told("controller", a.controller, b.controller);
    for id in both(a.brokers.keys(), b.brokers.keys()) {
        let field = format!("broker {id}");
        let (Some(a), Some(b)) = (a.brokers.get(id), b.brokers.get(id)) else {
            let address =
                |broker: &super::picture::Broker| format!("{}:{}", broker.host, broker.port);
            found.any(&field, a.brokers.get(id).map(address), b.brokers.get(id).map(address));
            continue;
        };
        found.any(&format!("{field} rack"), &a.rack, &b.rack);
        if addresses {
            found.any(&format!("{field} host"), &a.host, &b.host);
            found.any(&format!("{field} port"), a.port, b.port);
        }
    }
    for name in both(a.topics.keys(), b.topics.keys()) {
        let field = format!("topic {name}");
        match (a.topics.get(name), b.topics.get(name)) {
            (Some(a), Some(b)) => found.topics(&field, a, b),
            (a, b) => {
                let size = |topic: &Topic| format!("{} partitions", topic.partitions.len());
                found.any(&field, a.map(size), b.map(size));
            }
        }
    }
    for key in both(a.coordinators.keys(), b.coordinators.keys()) {
        let field = format!("coordinator of {key}");
        let (a, b) = (a.coordinators.get(key), b.coordinators.get(key));
        found.any(&field, a.map(|a| a.broker), b.map(|b| b.broker));
        let error = |coordinator: Option<&super::picture::Coordinator>| {
            coordinator.and_then(|coordinator| error_name(coordinator.error))
        };
        found.any(&format!("{field} error"), error(a), error(b));
        if addresses && let (Some(a), Some(b)) = (a, b) {
            found.any(&format!("{field} host"), &a.host, &b.host);
            found.any(&format!("{field} port"), a.port, b.port);
        }
    }
    found.0
}

fn both<'a, K: Ord>(
    a: impl Iterator<Item = &'a K>,
    b: impl Iterator<Item = &'a K>,
) -> BTreeSet<&'a K> {
    a.chain(b).collect()
}

struct Found(Vec<Difference>);

impl Found {
    fn any<T: Serialize + PartialEq>(&mut self, field: &str, a: T, b: T) {
        if a != b {
            let json = |value: T| serde_json::to_value(value).unwrap_or(Value::Null);
            self.0.push(Difference { field: field.to_owned(), a: json(a), b: json(b) });
        }
    }

    /// For what a source may leave out.
    fn told<T: Serialize + PartialEq>(&mut self, field: &str, a: Option<T>, b: Option<T>) {
        if let (Some(a), Some(b)) = (a, b) {
            self.any(field, a, b);
        }
    }

    fn topics(&mut self, field: &str, a: &Topic, b: &Topic) {
        self.any(&format!("{field} error"), error_name(a.error), error_name(b.error));
        self.told(
            &format!("{field} id"),
            a.id.map(|id| id.to_string()),
            b.id.map(|id| id.to_string()),
        );
        self.told(&format!("{field} internal"), a.internal, b.internal);
        for number in both(a.partitions.keys(), b.partitions.keys()) {
            let field = format!("{field} partition {number}");
            match (a.partitions.get(number), b.partitions.get(number)) {
                (Some(a), Some(b)) => self.partitions(&field, a, b),
                (a, b) => self.any(&field, a.map(|p| p.leader), b.map(|p| p.leader)),
            }
        }
    }

    fn partitions(&mut self, field: &str, a: &Partition, b: &Partition) {
        // Most are equal, and there may be hundreds of thousands.
        if a == b {
            return;
        }
        self.any(&format!("{field} error"), error_name(a.error), error_name(b.error));
        self.any(&format!("{field} leader"), a.leader, b.leader);
        self.told(&format!("{field} leader epoch"), a.leader_epoch, b.leader_epoch);
        self.any(&format!("{field} replicas"), &a.replicas, &b.replicas);
        self.any(&format!("{field} isr"), &a.isr, &b.isr);
        self.told(&format!("{field} offline"), a.offline.as_ref(), b.offline.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::super::picture::Broker;
    use super::*;

    fn picture() -> Picture {
        let partition = Partition {
            leader: 1,
            leader_epoch: Some(4),
            replicas: vec![1, 2],
            isr: vec![1, 2],
            offline: Some(Vec::new()),
            ..Partition::default()
        };
        let topic = Topic {
            id: Some(Uuid::from_u128(7)),
            internal: Some(false),
            partitions: BTreeMap::from([(0, partition.clone()), (1, partition)]),
            ..Topic::default()
        };
        let broker = |port| Broker { host: "here".to_owned(), port, rack: Some("a".to_owned()) };
        Picture {
            cluster_id: Some("cluster".to_owned()),
            controller: Some(1),
            brokers: BTreeMap::from([(1, broker(91)), (2, broker(92))]),
            topics: BTreeMap::from([("orders".to_owned(), topic)]),
            ..Picture::default()
        }
    }

    /// The lines of what differs after one change.
    fn after(change: impl Fn(&mut Picture)) -> Vec<String> {
        let mut changed = picture();
        change(&mut changed);
        differences(&picture(), &changed, true).iter().map(ToString::to_string).collect()
    }

    fn partition(picture: &mut Picture) -> &mut Partition {
        picture.topics.get_mut("orders").unwrap().partitions.get_mut(&1).unwrap()
    }

    fn topic(picture: &mut Picture) -> &mut Topic {
        picture.topics.get_mut("orders").unwrap()
    }

    #[test]
    fn each_field_is_named() {
        assert_eq!(after(|_| ()), [""; 0]);
        assert_eq!(after(|p| p.controller = Some(2)), ["controller: 1 -> 2"]);
        assert_eq!(after(|p| p.cluster_id = Some("x".into())), ["cluster id: cluster -> x"]);
        assert_eq!(after(|p| drop(p.brokers.remove(&2))), ["broker 2: here:92 -> absent"]);
        let broker = |p: &mut Picture| p.brokers[&1].clone();
        let replaced = |p: &mut Picture, change: &dyn Fn(&mut Broker)| {
            let mut new = broker(p);
            change(&mut new);
            p.brokers.insert(1, new);
        };
        assert_eq!(after(|p| replaced(p, &|b| b.rack = None)), ["broker 1 rack: a -> absent"]);
        assert_eq!(after(|p| replaced(p, &|b| b.port = 5)), ["broker 1 port: 91 -> 5"]);
        assert_eq!(
            after(|p| replaced(p, &|b| b.host = "there".into())),
            ["broker 1 host: here -> there"]
        );
        assert_eq!(after(|p| p.topics.clear()), ["topic orders: 2 partitions -> absent"]);
        assert_eq!(
            after(|p| topic(p).id = Some(Uuid::nil())),
            ["topic orders id: 00000000-0000-0000-0000-000000000007 -> \
              00000000-0000-0000-0000-000000000000"]
        );
        assert_eq!(
            after(|p| topic(p).internal = Some(true)),
            ["topic orders internal: false -> true"]
        );
        assert_eq!(
            after(|p| topic(p).error = 3),
            ["topic orders error: absent -> UNKNOWN_TOPIC_OR_PARTITION"]
        );
        assert_eq!(
            after(|p| drop(topic(p).partitions.remove(&0))),
            ["topic orders partition 0: 1 -> absent"]
        );
        assert_eq!(
            after(|p| partition(p).error = 5),
            ["topic orders partition 1 error: absent -> LEADER_NOT_AVAILABLE"]
        );
        assert_eq!(
            after(|p| partition(p).leader = -1),
            ["topic orders partition 1 leader: 1 -> -1"]
        );
        assert_eq!(
            after(|p| partition(p).leader_epoch = Some(5)),
            ["topic orders partition 1 leader epoch: 4 -> 5"]
        );
        // The order counts.
        assert_eq!(
            after(|p| partition(p).replicas = vec![2, 1]),
            ["topic orders partition 1 replicas: [1,2] -> [2,1]"]
        );
        assert_eq!(
            after(|p| partition(p).isr = vec![2]),
            ["topic orders partition 1 isr: [1,2] -> [2]"]
        );
        assert_eq!(
            after(|p| partition(p).offline = Some(vec![2])),
            ["topic orders partition 1 offline: [] -> [2]"]
        );
    }

    #[test]
    fn addresses_count_only_when_asked_for() {
        let mut moved = picture();
        moved.brokers.get_mut(&1).unwrap().port = 1;
        moved.brokers.get_mut(&2).unwrap().host = "elsewhere".to_owned();
        assert_eq!(differences(&picture(), &moved, false), []);
        assert_eq!(differences(&picture(), &moved, true).len(), 2);
    }

    #[test]
    fn what_one_side_does_not_tell_is_passed_over() {
        let mut silent = picture();
        silent.cluster_id = None;
        silent.controller = None;
        topic(&mut silent).id = None;
        topic(&mut silent).internal = None;
        partition(&mut silent).leader_epoch = None;
        partition(&mut silent).offline = None;
        assert_eq!(differences(&picture(), &silent, true), []);
        assert_eq!(differences(&silent, &picture(), true), []);
    }
}
