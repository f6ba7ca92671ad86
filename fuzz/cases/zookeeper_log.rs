//! A transaction log: its records are applied, whatever they say, and the tree stays in order.
//!
//! The checksums of a random log are wrong. So behind a first byte that isn't 0 stands a list of
//! payloads, each behind its length in two bytes; behind a 0, a whole file.

use doorkeeper::zookeeper::database::Database;
use doorkeeper::zookeeper::storage::{Entry, LogReader, Opened};
use doorkeeper::zookeeper::txn::apply::{delete_orphans, replay};
use doorkeeper::zookeeper::txn::record::read_entry;

/// One input.
pub(crate) fn run(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else { return };
    if *first == 0 {
        if let Ok(Opened::Log(mut reader)) = LogReader::begin(rest, rest.len() as u64) {
            while let Ok(Entry::Record { .. }) = reader.next_entry() {}
        }
        return;
    }
    let mut database = Database::new(true);
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (payload, after) = after.split_at(length);
        rest = after;
        if let Ok((header, txn, _)) = read_entry(payload) {
            replay(&mut database, &header, &txn);
        }
    }
    delete_orphans(&mut database);
    let tree = &database.tree;
    let mut nodes = 0;
    let mut digest = 0_u64;
    for node in tree.nodes() {
        nodes += 1;
        digest = digest.wrapping_add(node.digest());
        assert_eq!(node.child_nodes().count(), node.child_count());
        assert!(tree.node(&node.path()).is_some());
    }
    assert_eq!(tree.node_count(), nodes + 1);
    assert_eq!(tree.digest(), digest);
}
