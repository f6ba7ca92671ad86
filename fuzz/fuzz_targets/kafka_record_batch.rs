//! Any bytes as a record batch: the header parser, the codecs and the walk over the records must
//! not panic, hang or take memory beyond their bounds, and must agree with themselves.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../cases/kafka_record_batch.rs"]
mod case;

fuzz_target!(|data: &[u8]| case::run(data));
