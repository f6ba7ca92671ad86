//! A client's tokens in an exchange of SASL DIGEST-MD5: the parser of directives must not panic, only who
//! knows a password is let in, and never twice.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../cases/sasl_digest_md5.rs"]
mod case;

fuzz_target!(|data: &[u8]| case::run(data));
