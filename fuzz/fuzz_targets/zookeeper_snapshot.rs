//! A snapshot: refused, or a tree.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../cases/zookeeper_snapshot.rs"]
mod case;

fuzz_target!(|data: &[u8]| case::run(data));
