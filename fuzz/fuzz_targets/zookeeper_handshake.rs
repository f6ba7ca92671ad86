//! Any frame as a handshake, or as a four-letter word: the decoder must not panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../cases/zookeeper_handshake.rs"]
mod case;

fuzz_target!(|data: &[u8]| case::run(data));
