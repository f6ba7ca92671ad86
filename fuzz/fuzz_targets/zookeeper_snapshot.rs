//! A snapshot: refused, or a tree.
#![no_main]

use doorkeeper::zookeeper::storage::read_snapshot;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff".to_vec();
    file.extend_from_slice(bytes);
    let _ = read_snapshot(&file[..], 0, true);
});
