//! A log entry's payload: read, it is written back to what is read the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../cases/zookeeper_transaction.rs"]
mod case;

fuzz_target!(|data: &[u8]| case::run(data));
