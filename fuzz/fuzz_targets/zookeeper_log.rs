//! A transaction log: its records are applied, whatever they say, and the tree stays in order.
//!
//! The checksums of a random log are wrong. So behind a first byte that isn't 0 stands a list of
//! payloads, each behind its length in two bytes; behind a 0, a whole file.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../cases/zookeeper_log.rs"]
mod case;

fuzz_target!(|data: &[u8]| case::run(data));
