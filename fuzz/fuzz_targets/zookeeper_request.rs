//! Any frame as a ZooKeeper request: the decoders must not panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../cases/zookeeper_request.rs"]
mod case;

fuzz_target!(|data: &[u8]| case::run(data));
