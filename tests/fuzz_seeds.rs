//! The fuzz targets on stable Rust: every input of `fuzz/seeds`, its prefixes, and its one-byte changes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

#[path = "../fuzz/cases/kafka_record_batch.rs"]
mod kafka_record_batch;
#[path = "../fuzz/cases/zookeeper_handshake.rs"]
mod zookeeper_handshake;
#[path = "../fuzz/cases/zookeeper_log.rs"]
mod zookeeper_log;
#[path = "../fuzz/cases/zookeeper_request.rs"]
mod zookeeper_request;
#[path = "../fuzz/cases/zookeeper_snapshot.rs"]
mod zookeeper_snapshot;
#[path = "../fuzz/cases/zookeeper_transaction.rs"]
mod zookeeper_transaction;

/// Longer inputs are changed at every few bytes only.
const CHANGES_MAX: usize = 400;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        inputs += 1;
        run(&input);
        let step = input.len() / CHANGES_MAX + 1;
        for at in (0..input.len()).step_by(step) {
            run(&input[..at]);
            let mut changed = input.clone();
            for value in [0, 1, 0x7f, 0x80, 0xff, input[at] ^ 0x10] {
                changed[at] = value;
                run(&changed);
            }
        }
    }
    assert!(inputs > 2, "{} has lost its inputs", folder.display());
}

#[test]
fn kafka_record_batches() {
    replay("kafka_record_batch", kafka_record_batch::run);
}

#[test]
fn zookeeper_handshakes() {
    replay("zookeeper_handshake", zookeeper_handshake::run);
}

#[test]
fn zookeeper_logs() {
    replay("zookeeper_log", zookeeper_log::run);
}

#[test]
fn zookeeper_requests() {
    replay("zookeeper_request", zookeeper_request::run);
}

#[test]
fn zookeeper_snapshots() {
    replay("zookeeper_snapshot", zookeeper_snapshot::run);
}

#[test]
fn zookeeper_transactions() {
    replay("zookeeper_transaction", zookeeper_transaction::run);
}
