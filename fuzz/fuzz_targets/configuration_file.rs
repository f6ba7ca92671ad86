//! A `zoo.cfg` or `server.properties`: read or refused, with no password in what is shown of it.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../cases/configuration_file.rs"]
mod case;

fuzz_target!(|data: &[u8]| case::run(data));
