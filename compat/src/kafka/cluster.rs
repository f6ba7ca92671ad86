//! A cluster's topics as znodes, written straight into a coordinator in Kafka's layout: so many that
//! a broker would take long to make them. They are led by a broker that isn't there.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::client::Expected;
use crate::load::Load;
use crate::zookeeper::{self, create_each};

/// The broker that leads every partition. Nobody has this id.
const LEADER: i32 = 1000;
const PATIENCE: Duration = Duration::from_mins(1);

/// Topics that all have as many partitions.
#[derive(Debug, Clone, Copy)]
pub struct Topics {
    /// How many.
    pub count: usize,
    /// Partitions of each.
    pub partitions: i32,
}

impl Topics {
    /// The name of a topic.
    pub fn name(number: usize) -> String {
        format!("gateway-topic-{number:05}")
    }

    /// The names of some topics from the middle.
    pub fn some(&self, count: usize) -> Vec<String> {
        let first = self.count / 2;
        (first..self.count.min(first + count)).map(Self::name).collect()
    }

    /// What an answer about so many of them must say.
    pub fn expected(&self, topics: usize) -> Expected {
        Expected { topics, partitions: self.partitions, led: false }
    }

    /// Writes them, in the layout of Kafka 3.9, into the coordinator at `address`.
    pub fn write(&self, address: SocketAddr, pid: u32) -> Result<()> {
        let mut client = zookeeper::Client::connect(address, PATIENCE)?;
        for path in ["/brokers", "/brokers/topics"] {
            client.create(path, b"")?;
        }
        client.close()?;
        let load = Load { address, pid, connections: 4, in_flight: 200 };
        let (count, partitions) = (self.count, self.partitions);
        let topics = || (0..count).map(|number| format!("/brokers/topics/{}", Self::name(number)));
        // Level by level, since a parent must be there first.
        let assigned = topics()
            .enumerate()
            .map(|(number, path)| (path, assignment(number, partitions).into_bytes()));
        create_each(load, assigned)?;
        create_each(load, topics().map(|path| (path + "/partitions", Vec::new())))?;
        let each = || {
            topics().flat_map(move |topic| {
                (0..partitions).map(move |partition| format!("{topic}/partitions/{partition}"))
            })
        };
        create_each(load, each().map(|path| (path, Vec::new())))?;
        create_each(load, each().map(|path| (path + "/state", state(0).into_bytes())))?;
        Ok(())
    }

    /// Gives the first partition of a topic a new leader epoch, as its controller would.
    pub fn change_leader(client: &mut zookeeper::Client, topic: &str, epoch: i32) -> Result<()> {
        let path = format!("/brokers/topics/{topic}/partitions/0/state");
        client.set_data(&path, state(epoch).as_bytes())
    }
}

/// A topic's znode, version 3.
fn assignment(number: usize, partitions: i32) -> String {
    let mut text = "{\"partitions\":{".to_owned();
    for partition in 0..partitions {
        let comma = if partition == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}\"{partition}\":[{LEADER}]");
    }
    // A topic's id is the base64 of 16 bytes: the last character has two bits of it.
    let _ = write!(
        text,
        "}},\"topic_id\":\"bench{number:016}A\",\"adding_replicas\":{{}},\
         \"removing_replicas\":{{}},\"version\":3}}"
    );
    text
}

fn state(leader_epoch: i32) -> String {
    format!(
        "{{\"controller_epoch\":1,\"leader\":{LEADER},\"version\":1,\
         \"leader_epoch\":{leader_epoch},\"isr\":[{LEADER}]}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn znodes_are_json_with_an_id_of_22_characters() {
        let topic: serde_json::Value = serde_json::from_str(&assignment(7, 3)).unwrap();
        assert_eq!(topic["partitions"]["2"], serde_json::json!([LEADER]));
        assert_eq!(topic["topic_id"].as_str().map(str::len), Some(22));
        let state: serde_json::Value = serde_json::from_str(&state(5)).unwrap();
        assert_eq!(state["leader_epoch"], 5);
    }

    #[test]
    fn some_topics_are_from_the_middle() {
        let topics = Topics { count: 20, partitions: 1 };
        assert_eq!(topics.some(2), ["gateway-topic-00010", "gateway-topic-00011"]);
    }
}
