//! Partition logs in the segment files of Apache Kafka.
//!
//! - [`LogDirectories`]: the directories of `log.dirs`: locked, with their `meta.properties`.
//! - [`LogManager`]: every log of this broker: recovery, creation, deletion, retention, flushes.
//! - [`PartitionLog`]: one partition: appends, reads, offsets by time and by leader epoch; compaction
//!   (`cleaner/`); transactions, of which `transactions.rs` says how a coordinator uses them.

mod append;
mod checkpoint;
mod cleaner;
mod config;
mod directory;
mod error;
mod files;
mod flush;
mod housekeeping;
mod index;
mod leader_epochs;
mod load;
mod manager;
mod partition;
mod producer_snapshot;
mod producer_state;
mod read;
mod recovery;
mod retention;
mod segment;
mod startup;
#[cfg(test)]
mod tests;
mod transaction_index;
mod transactions;
mod validate;

pub use cleaner::CleanerOptions;
pub use config::{LogConfig, LogConfigError, TimestampType};
pub use directory::{LogDirectories, MetaProperties};
pub use error::{LogError, RecordError};
pub use files::FileSlice;
pub use manager::{LogDirectoryInfo, LogManager, LogManagerOptions};
pub use partition::{
    AppendInfo, AppendOptions, AppendWatch, LogSlice, PartitionLog, ProducerInfo, TimestampedOffset,
};
pub use transaction_index::AbortedTransaction;
pub use transactions::{Origin, TransactionGuard, TransactionMarker, Verification};
