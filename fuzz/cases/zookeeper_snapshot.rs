//! A snapshot: refused, or a tree.

use doorkeeper::zookeeper::storage::read_snapshot;

/// One input.
pub(crate) fn run(data: &[u8]) {
    let mut file = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff".to_vec();
    file.extend_from_slice(data);
    let _ = read_snapshot(&file[..], 0, true);
}
