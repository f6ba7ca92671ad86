//! Kafka's znodes: their paths and their JSON, both ways (pure).
//!
//! Facts from Kafka 3.9's `kafka/zk/ZkData.scala`. Decoding passes over keys that it does not know,
//! as Kafka does; encoding writes the newest version of each znode.

pub mod acl;
pub mod broker;
pub mod config;
pub mod controller;
pub mod ids;
pub mod paths;
pub mod topic;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A znode's data that can't be what its path says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LayoutError(pub String);

/// The JSON of a value whose keys are all strings or integers, which can't fail.
fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn decode<T: DeserializeOwned>(data: &[u8]) -> Result<T, LayoutError> {
    serde_json::from_slice(data).map_err(|error| LayoutError(error.to_string()))
}
