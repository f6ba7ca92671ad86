//! Any bytes as a client's certificate, of X.509 version 1 or 3: its reader and the one of subjects must
//! not panic, and nothing passes that the trusted authority hasn't signed.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../cases/client_certificate.rs"]
mod case;

fuzz_target!(|data: &[u8]| case::run(data));
