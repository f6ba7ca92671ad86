//! `/cluster/id` and `/latest_producer_id_block`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{LayoutError, decode, encode};

/// How many producer ids a block has.
pub const PRODUCER_ID_BLOCK_SIZE: i64 = 1_000;

#[derive(Serialize, Deserialize)]
struct ClusterIdJson {
    version: serde_json::Value,
    id: String,
}

/// The cluster id's JSON. The version is a string here.
pub fn encode_cluster_id(id: &str) -> Vec<u8> {
    encode(&ClusterIdJson { version: "1".into(), id: id.to_owned() })
}

/// Reads the cluster's id.
///
/// # Errors
/// No JSON, or no id.
pub fn decode_cluster_id(data: &[u8]) -> Result<String, LayoutError> {
    decode::<ClusterIdJson>(data).map(|json| json.id)
}

/// A cluster id made from 16 random bytes. It does not begin with a dash, or `kafka-storage.sh` would
/// take it for an option when the cluster is migrated to KRaft.
pub fn cluster_id(mut random: [u8; 16]) -> String {
    random[0] &= 0x7f;
    URL_SAFE_NO_PAD.encode(random)
}

/// A block of producer ids and the broker that took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The broker that may hand them out.
    pub broker: i32,
    /// The first id.
    pub start: i64,
    /// The last id.
    pub end: i64,
}

#[derive(Serialize, Deserialize)]
struct BlockJson {
    version: i32,
    broker: i32,
    block_start: String,
    block_end: String,
}

impl ProducerIdBlock {
    /// The first block that a cluster has.
    pub fn first(broker: i32) -> Self {
        ProducerIdBlock { broker, start: 0, end: PRODUCER_ID_BLOCK_SIZE - 1 }
    }

    /// The block after this one; `None` when the ids are used up.
    pub fn next(&self, broker: i32) -> Option<Self> {
        let start = self.end.checked_add(1)?;
        Some(ProducerIdBlock { broker, start, end: start.checked_add(PRODUCER_ID_BLOCK_SIZE - 1)? })
    }

    /// The block's JSON. Its bounds are strings.
    pub fn encode(&self) -> Vec<u8> {
        encode(&BlockJson {
            version: 1,
            broker: self.broker,
            block_start: self.start.to_string(),
            block_end: self.end.to_string(),
        })
    }

    /// Reads a block; `None` if none was taken yet.
    ///
    /// # Errors
    /// Data that is no block.
    pub fn decode(data: &[u8]) -> Result<Option<ProducerIdBlock>, LayoutError> {
        if data.is_empty() {
            return Ok(None);
        }
        let json: BlockJson = decode(data)?;
        match (json.block_start.parse(), json.block_end.parse()) {
            (Ok(start), Ok(end)) if 0 <= start && start <= end => {
                Ok(Some(ProducerIdBlock { broker: json.broker, start, end }))
            }
            _ => Err(LayoutError(format!(
                "producer ids from {} to {} are no block",
                json.block_start, json.block_end
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_ids() {
        let data = br#"{"version":"1","id":"nMgdTK9_SGiqQnTCLuC_7A"}"#;
        let id = decode_cluster_id(data).unwrap();
        assert_eq!(encode_cluster_id(&id), data);
        assert_eq!(cluster_id([0; 16]).len(), 22);
        for first in 0..=255 {
            let id = cluster_id([first; 16]);
            assert!(!id.starts_with('-'), "{id}");
        }
        assert!(decode_cluster_id(b"").is_err());
    }

    #[test]
    fn blocks() {
        let data = br#"{"version":1,"broker":0,"block_start":"0","block_end":"999"}"#;
        let block = ProducerIdBlock::decode(data).unwrap().unwrap();
        assert_eq!(block, ProducerIdBlock::first(0));
        assert_eq!(block.encode(), data);
        let next = block.next(3).unwrap();
        assert_eq!(next, ProducerIdBlock { broker: 3, start: 1_000, end: 1_999 });
        assert_eq!(ProducerIdBlock::decode(b""), Ok(None));
        assert_eq!(ProducerIdBlock { broker: 0, start: 0, end: i64::MAX }.next(0), None);
        let reversed = br#"{"version":1,"broker":0,"block_start":"9","block_end":"1"}"#;
        assert!(ProducerIdBlock::decode(reversed).is_err());
    }
}
