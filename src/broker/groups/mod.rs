//! Consumer groups of the classic protocol, as the coordinator of Kafka 3.9 keeps them.
//!
//! - [`group`], [`member`], [`rebalance`]: one group and how it changes (pure).
//! - [`offsets`]: what it has committed (pure).
//! - [`records`]: how both stand in `__consumer_offsets` (pure); [`subscription`]: what consumers
//!   read.
//! - [`shard`]: the groups of one partition of that topic; [`coordinator`]: all of those that this
//!   broker leads, read from their logs (`load`) and written to them; `tasks`: what goes on beside
//!   requests.

pub mod coordinator;
pub mod group;
mod load;
pub mod member;
pub mod offsets;
pub mod rebalance;
pub mod records;
pub mod shard;
pub mod subscription;
mod tasks;
#[cfg(test)]
mod tests;

pub use group::Group;
