//! `/brokers/topics/<topic>` and the partitions' `state`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{LayoutError, decode, encode};

/// A topic's id as Kafka writes it: 22 characters of URL-safe base64.
pub fn id_text(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// Reads a topic's id.
///
/// # Errors
/// Text that is not the base64 of 16 bytes.
pub fn parse_id(text: &str) -> Result<Uuid, LayoutError> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
    bytes
        .and_then(|bytes| Uuid::from_slice(&bytes).ok())
        .ok_or_else(|| LayoutError(format!("topic id {text} is not the base64 of 16 bytes")))
}

/// A topic's znode: read in versions 1 to 3, written in version 3.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicAssignment {
    /// The topic's id; nil if it has none yet.
    pub id: Uuid,
    /// Replicas by partition.
    pub partitions: BTreeMap<i32, Vec<i32>>,
    /// Replicas that a reassignment adds.
    pub adding: BTreeMap<i32, Vec<i32>>,
    /// Replicas that a reassignment removes.
    pub removing: BTreeMap<i32, Vec<i32>>,
}

#[derive(Serialize, Deserialize)]
struct TopicJson {
    partitions: BTreeMap<i32, Vec<i32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic_id: Option<String>,
    #[serde(default)]
    adding_replicas: BTreeMap<i32, Vec<i32>>,
    #[serde(default)]
    removing_replicas: BTreeMap<i32, Vec<i32>>,
    #[serde(default)]
    version: i32,
}

impl TopicAssignment {
    /// The assignment in version 3.
    pub fn encode(&self) -> Vec<u8> {
        encode(&TopicJson {
            partitions: self.partitions.clone(),
            topic_id: (!self.id.is_nil()).then(|| id_text(self.id)),
            adding_replicas: self.adding.clone(),
            removing_replicas: self.removing.clone(),
            version: 3,
        })
    }

    /// Reads an assignment of any version.
    ///
    /// # Errors
    /// No JSON of a topic, or an id that is none.
    pub fn decode(data: &[u8]) -> Result<TopicAssignment, LayoutError> {
        let json: TopicJson = decode(data)?;
        let id = json.topic_id.as_deref().map(parse_id).transpose()?.unwrap_or_default();
        Ok(TopicAssignment {
            id,
            partitions: json.partitions,
            adding: json.adding_replicas,
            removing: json.removing_replicas,
        })
    }
}

/// A partition's `state` znode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// Epoch of the controller that wrote it.
    pub controller_epoch: i32,
    /// The leader's broker id, −1 = none.
    pub leader: i32,
    #[serde(default = "one")]
    version: i32,
    /// How often the leader changed.
    pub leader_epoch: i32,
    /// In-sync replicas.
    pub isr: Vec<i32>,
    /// 1 while an unclean leader recovers; left out when 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub leader_recovery_state: i32,
}

fn one() -> i32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &i32) -> bool {
    *value == 0
}

impl PartitionState {
    /// A state with these values, recovered.
    pub fn new(leader: i32, leader_epoch: i32, isr: Vec<i32>, controller_epoch: i32) -> Self {
        PartitionState {
            controller_epoch,
            leader,
            version: 1,
            leader_epoch,
            isr,
            leader_recovery_state: 0,
        }
    }

    /// The state in version 1.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a state.
    ///
    /// # Errors
    /// No JSON of a state.
    pub fn decode(data: &[u8]) -> Result<PartitionState, LayoutError> {
        decode(data)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_kafka_3_9_1_wrote() {
        let written = br#"{"partitions":{"0":[0],"1":[0]},"topic_id":"sqz-wG_HStGwdmzPFELncw","adding_replicas":{},"removing_replicas":{},"version":3}"#;
        let topic = TopicAssignment::decode(written).unwrap();
        assert_eq!(topic.partitions, [(0, vec![0]), (1, vec![0])].into());
        assert_eq!(id_text(topic.id), "sqz-wG_HStGwdmzPFELncw");
        assert_eq!(topic.encode(), written);
    }

    #[test]
    fn topics_of_every_version() {
        let v3 = br#"{"version":3,"topic_id":"nMgdTK9_SGiqQnTCLuC_7A","partitions":{"0":[1,2]},
            "adding_replicas":{},"removing_replicas":{}}"#;
        let topic = TopicAssignment::decode(v3).unwrap();
        assert_eq!(topic.partitions, [(0, vec![1, 2])].into());
        assert_eq!(id_text(topic.id), "nMgdTK9_SGiqQnTCLuC_7A");
        let v1 = br#"{"version":1,"partitions":{"10":[0],"2":[]},"other":true}"#;
        let topic = TopicAssignment::decode(v1).unwrap();
        assert!(topic.id.is_nil());
        assert_eq!(topic.partitions, [(2, vec![]), (10, vec![0])].into());
        let v2 = br#"{"version":2,"partitions":{"0":[1,2]},"adding_replicas":{"0":[2]},
            "removing_replicas":{"0":[3]}}"#;
        let topic = TopicAssignment::decode(v2).unwrap();
        assert_eq!((topic.adding, topic.removing), ([(0, vec![2])].into(), [(0, vec![3])].into()));
    }

    #[test]
    fn nonsense_is_refused() {
        for data in ["", "{}", r#"{"partitions":{"x":[1]}}"#, r#"{"partitions":[1]}"#] {
            assert!(TopicAssignment::decode(data.as_bytes()).is_err(), "{data}");
        }
        let short = br#"{"partitions":{},"topic_id":"nMgd"}"#;
        assert!(TopicAssignment::decode(short).is_err());
        assert!(PartitionState::decode(br#"{"leader":1}"#).is_err());
    }

    #[test]
    fn states() {
        let data = br#"{"controller_epoch":1,"leader":0,"version":1,"leader_epoch":0,"isr":[0]}"#;
        let mut state = PartitionState::decode(data).unwrap();
        assert_eq!(state, PartitionState::new(0, 0, vec![0], 1));
        assert_eq!(state.encode(), data);
        state.leader_recovery_state = 1;
        assert!(state.encode().ends_with(br#","leader_recovery_state":1}"#));
        assert_eq!(PartitionState::decode(&state.encode()).unwrap(), state);
    }

    proptest! {
        #[test]
        fn any_topic_comes_back(
            id in any::<u128>(),
            partitions: BTreeMap<i32, Vec<i32>>,
            adding: BTreeMap<i32, Vec<i32>>,
        ) {
            let removing = BTreeMap::new();
            let topic = TopicAssignment { id: Uuid::from_u128(id), partitions, adding, removing };
            prop_assert_eq!(TopicAssignment::decode(&topic.encode()).unwrap(), topic);
        }

        #[test]
        fn any_bytes_are_read_without_panic(data: Vec<u8>) {
            let _ = TopicAssignment::decode(&data);
            let _ = PartitionState::decode(&data);
        }
    }
}
