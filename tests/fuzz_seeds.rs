//! The fuzz targets on stable Rust: every input of `fuzz/seeds`, its prefixes, and its one-byte changes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

#[path = "../fuzz/cases/client_certificate.rs"]
mod client_certificate;
#[path = "../fuzz/cases/configuration_file.rs"]
mod configuration_file;
#[path = "../fuzz/cases/jaas_file.rs"]
mod jaas_file;
#[path = "../fuzz/cases/kafka_record_batch.rs"]
mod kafka_record_batch;
#[path = "../fuzz/cases/sasl_digest_md5.rs"]
mod sasl_digest_md5;
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
    replay_at(CHANGES_MAX, target, run);
}

/// Each input is cut and changed at about so many places.
fn replay_at(places: usize, target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        inputs += 1;
        run(&input);
        let step = input.len() / places + 1;
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

#[test]
fn sasl_digest_md5_tokens() {
    replay("sasl_digest_md5", sasl_digest_md5::run);
}

#[test]
fn jaas_files() {
    replay("jaas_file", jaas_file::run);
}

#[test]
fn client_certificates() {
    replay("client_certificate", client_certificate::run);
}

#[test]
fn configuration_files() {
    // A whole configuration is made of each.
    replay_at(20, "configuration_file", configuration_file::run);
}
