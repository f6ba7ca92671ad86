//! Snapshots as ZooKeeper takes them, while transactions go on: each node as of another moment, and an
//! ACL table that is older than the nodes. With the log, the end is the same.

use std::collections::HashMap;

use super::*;
use crate::zookeeper::acl::{self, AclList};
use crate::zookeeper::jute::Writer as _;
use crate::zookeeper::txn::apply::replay;

/// Runs through a history once more, and writes a snapshot in the middle of it.
struct Walk<'a> {
    history: &'a [(TxnHeader, Txn)],
    done: usize,
    database: Database,
    /// Keys of ACLs, as they come up.
    keys: HashMap<AclList, i64>,
}

impl Walk<'_> {
    fn advance(&mut self, count: usize) {
        for (header, txn) in self.history.iter().skip(self.done).take(count) {
            replay(&mut self.database, header, txn);
            self.done += 1;
        }
    }

    fn key(&mut self, list: &AclList) -> i64 {
        if *list == open_acl_unsafe() {
            return -1;
        }
        let next = i64::try_from(self.keys.len()).unwrap() + 1;
        *self.keys.entry(list.clone()).or_insert(next)
    }

    /// Writes the snapshot: between two nodes, as many transactions are applied as `pauses` says.
    fn write(&mut self, mut pauses: impl Iterator<Item = u8>) -> Vec<u8> {
        let mut out = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff".to_vec();
        out.write_count(self.database.sessions.len());
        for (session, timeout) in &self.database.sessions {
            out.write_long(*session);
            out.write_int(*timeout);
        }
        let lists: Vec<AclList> =
            self.database.tree.nodes().map(|node| node.acl().clone()).collect();
        for list in &lists {
            self.key(list);
        }
        out.write_count(self.keys.len());
        for (list, key) in &self.keys {
            out.write_long(*key);
            acl::write_list(list, &mut out);
        }
        let mut ahead = vec!["/".to_owned()];
        while let Some(path) = ahead.pop() {
            let Some(node) = self.database.tree.node(&path) else { continue };
            let prefix = if path == "/" { "" } else { &path };
            out.write_string(prefix);
            out.write_buffer(node.data());
            let (list, stat) = (node.acl().clone(), node.stat_persisted());
            let mut names: Vec<String> =
                node.children().map(|name| format!("{prefix}/{name}")).collect();
            names.sort();
            ahead.append(&mut names);
            let key = self.key(&list);
            out.write_long(key);
            stat.write(&mut out);
            self.advance(usize::from(pauses.next().unwrap_or(0)));
        }
        out.write_string("/");
        seal(&mut out);
        out.write_long(self.database.tree.last_zxid());
        out.write_int(DIGEST_VERSION);
        out.write_long(self.database.tree.digest().cast_signed());
        seal(&mut out);
        out
    }
}

fn seal(out: &mut Vec<u8>) {
    let sum = i64::from(adler32::Adler32::of(out));
    out.write_long(sum);
    out.write_string("/");
}

proptest! {
    #![proptest_config(Config { cases: 64, ..Config::default() })]

    #[test]
    fn a_fuzzy_snapshot_and_the_log_are_the_tree(
        steps in steps(2..120),
        begin in any::<u16>(),
        pauses in proptest::collection::vec(0_u8..4, 1..40),
    ) {
        let directory = folder();
        let mut server = Server::start(directory.path()).unwrap();
        let mut model = Model::new();
        let mut history = Vec::new();
        for step in &steps {
            let (header, mut txn) = model.transaction(step);
            if let Txn::CloseSession { paths } = &mut txn {
                // Without its list, as before ZooKeeper 3.6, a replay can't know the parents of what was
                // gone before the snapshot came to it: their pzxid stays behind, in ZooKeeper too.
                let owned = server.database.tree.ephemerals(header.client_id);
                paths.get_or_insert_with(|| owned.collect());
            }
            model.apply(&header, &txn);
            server.run(&header, &txn);
            history.push((header, txn));
        }
        drop(server);
        let begin = usize::from(begin) % steps.len();
        let mut walk =
            Walk { history: &history, done: 0, database: Database::new(true), keys: HashMap::new() };
        walk.advance(begin);
        let snapshot = walk.write(pauses.iter().copied());
        let path = version_2(directory.path()).join(format!("snapshot.{begin:x}"));
        fs::write(path, snapshot).unwrap();
        let server = Server::start(directory.path()).unwrap();
        let recovery = server.storage.recovery();
        prop_assert_eq!(recovery.snapshot_zxid, Some(i64::try_from(begin).unwrap()));
        prop_assert_eq!(recovery.digest_mismatches, 0);
        if recovery.orphans == 0 {
            prop_assert_eq!(model.difference(&server.model()), None);
        }
    }
}
