//! A log entry's payload: read, it is written back to what is read the same.
#![no_main]

use doorkeeper::zookeeper::txn::record::{read_entry, write_entry};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((header, txn, digest)) = read_entry(bytes) {
        let mut written = Vec::new();
        write_entry(&header, &txn, digest, &mut written);
        let (header_again, txn_again, _) = read_entry(&written).expect("what we wrote");
        assert_eq!((header, txn), (header_again, txn_again));
    }
});
