//! A log entry's payload: read, it is written back to what is read the same.

use doorkeeper::zookeeper::txn::record::{read_entry, write_entry};

/// One input.
pub(crate) fn run(data: &[u8]) {
    if let Ok((header, txn, digest)) = read_entry(data) {
        let mut written = Vec::new();
        write_entry(&header, &txn, digest, &mut written);
        let Ok((header_again, txn_again, _)) = read_entry(&written) else {
            panic!("what we wrote can't be read");
        };
        assert_eq!((header, txn), (header_again, txn_again));
    }
}
