//! A JAAS file: refused with a line of it, or written back to what is read the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../cases/jaas_file.rs"]
mod case;

fuzz_target!(|data: &[u8]| case::run(data));
