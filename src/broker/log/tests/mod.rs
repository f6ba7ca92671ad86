//! Logs as a whole, on real files.

mod appending;
mod compacting;
mod managing;
mod model;
mod recovering;
mod retaining;
mod transacting;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use super::{
    AppendInfo, AppendOptions, CleanerOptions, LogConfig, LogDirectories, LogError, LogManager,
    LogManagerOptions, PartitionLog,
};
use crate::kafka::record_batch::testing::TestBatch;
use crate::kafka::record_batch::{BatchHeader, verified_batch};

/// The clock of most tests.
const NOW: i64 = 1_700_000_000_000;
const TOPIC: &str = "hello";
const TOPIC_ID: Uuid = Uuid::from_u128(0x1122_3344);

fn open(directory: &Path) -> Arc<LogManager> {
    let directories = LogDirectories::open(&[directory.to_owned()]).unwrap();
    LogManager::open(directories, options_of_manager()).unwrap()
}

fn options_of_manager() -> LogManagerOptions {
    let hour = Duration::from_hours(1);
    LogManagerOptions {
        retention_check_interval: hour,
        flush_check_interval: hour,
        checkpoint_interval: hour,
        // The tests' clock stands still long before the real one.
        producer_id_expiration: Duration::MAX,
        // Tests compact when they want to.
        cleaner: CleanerOptions { enabled: false, ..CleanerOptions::default() },
        ..LogManagerOptions::default()
    }
}

fn log(manager: &LogManager, config: &LogConfig) -> Arc<PartitionLog> {
    manager.get_or_create(TOPIC, TOPIC_ID, 0, config).unwrap()
}

/// A manager in a new directory, with one log.
fn new_log(config: &LogConfig) -> (TempDir, Arc<LogManager>, Arc<PartitionLog>) {
    let directory = tempfile::tempdir().unwrap();
    let manager = open(directory.path());
    let log = log(&manager, config);
    (directory, manager, log)
}

/// Small segments and dense indexes.
fn small() -> LogConfig {
    LogConfig { segment_bytes: 2_000, index_interval_bytes: 100, ..LogConfig::default() }
}

/// What a read found, in memory.
#[derive(Debug)]
struct Stored {
    bytes: Bytes,
}

impl PartitionLog {
    fn read(&self, offset: i64, max_bytes: usize, at_least_one: bool) -> Result<Stored, LogError> {
        let slice = self.locate(offset, max_bytes, at_least_one)?.batches;
        let bytes = slice.map_or_else(Bytes::new, |slice| slice.read(slice.len()).unwrap());
        Ok(Stored { bytes })
    }
}

fn options(leader_epoch: i32) -> AppendOptions {
    AppendOptions { produce_version: 9, now_ms: NOW, leader_epoch }
}

fn append(log: &PartitionLog, batch: &TestBatch) -> Result<AppendInfo, LogError> {
    log.append(&batch.build(), &options(0))
}

/// Appends `count` batches of two records of about a hundred bytes, a second apart.
fn fill(log: &PartitionLog, count: i64) {
    for _ in 0..count {
        let at = NOW + log.log_end_offset() * 500;
        append(log, &TestBatch::of(at, &[&[b'a'; 100], &[b'b'; 100]])).unwrap();
    }
}

/// Every batch from `offset` on, each checked.
fn read_all(log: &PartitionLog, mut offset: i64) -> Vec<(BatchHeader, Bytes)> {
    let mut batches = Vec::new();
    loop {
        let slice = log.read(offset, 700, true).unwrap();
        if slice.bytes.is_empty() {
            return batches;
        }
        let mut rest = slice.bytes;
        while !rest.is_empty() {
            let (header, batch) = verified_batch(&rest).unwrap();
            let size = batch.len();
            assert!(header.last_offset() >= offset, "{} before {offset}", header.last_offset());
            offset = header.next_offset();
            batches.push((header, rest.split_to(size)));
        }
    }
}

/// The path of a file of the test's log.
fn file(directory: &Path, name: &str) -> std::path::PathBuf {
    directory.join(format!("{TOPIC}-0")).join(name)
}
