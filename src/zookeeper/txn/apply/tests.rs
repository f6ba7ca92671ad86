//! What single transactions do, and what they tell.

use bytes::Bytes;

use super::*;
use crate::zookeeper::acl::{Acl, open_acl_unsafe};

const SESSION: i64 = 0x0100_0000_0000_0001;

struct Server {
    database: Database,
    zxid: i64,
    changes: Vec<Change>,
}

impl Server {
    fn new() -> Self {
        Server { database: Database::new(true), zxid: 0, changes: Vec::new() }
    }

    fn run(&mut self, txn: &Txn) -> Applied {
        self.zxid += 1;
        let header =
            TxnHeader { client_id: SESSION, cxid: 1, zxid: self.zxid, time: 1_000 + self.zxid };
        self.changes.clear();
        apply(&mut self.database, &header, txn, &mut self.changes)
    }

    fn stat(&self, path: &str) -> Stat {
        self.database.tree.node(path).unwrap().stat()
    }

    fn seen(&self) -> Vec<(ChangeKind, &str)> {
        self.changes.iter().map(|change| (change.kind, &*change.path)).collect()
    }
}

fn create(path: &str, parent_cversion: i32, ephemeral: bool) -> Txn {
    let data = Some(Bytes::from_static(b"xy"));
    let path = path.to_owned();
    let create = CreateTxn { path, data, acl: open_acl_unsafe(), parent_cversion };
    Txn::Create { create, ephemeral, with_stat: true }
}

fn delete(path: &str) -> Txn {
    Txn::Delete { path: path.to_owned() }
}

#[test]
fn stats_are_zookeepers() {
    let mut server = Server::new();
    let Applied::Stat(stat) = server.run(&create("/a", 2, false)) else { panic!() };
    assert_eq!(stat, server.stat("/a"));
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid), (1, 1, 1));
    assert_eq!((stat.ctime, stat.mtime), (1_001, 1_001));
    assert_eq!((stat.version, stat.cversion, stat.aversion, stat.data_length), (0, 0, 0, 2));
    let root = server.stat("/");
    assert_eq!((root.cversion, root.num_children, root.pzxid, root.mzxid), (2, 2, 1, 0));

    server.run(&create("/a/e", 1, true));
    assert_eq!(server.stat("/a/e").ephemeral_owner, SESSION);
    assert_eq!((server.stat("/a").cversion, server.stat("/a").pzxid), (1, 2));

    server.run(&delete("/a/e"));
    let stat = server.stat("/a");
    assert_eq!((stat.cversion, stat.pzxid, stat.num_children), (2, 3, 0));

    server.run(&Txn::SetData { path: "/a".to_owned(), data: None, version: 1 });
    let stat = server.stat("/a");
    assert_eq!((stat.mzxid, stat.mtime, stat.version, stat.data_length), (4, 1_004, 1, 0));
    assert_eq!(server.database.tree.node("/a").unwrap().data(), None);

    let acl = AclList::from([Acl::new(1, "world", "anyone")]);
    server.run(&Txn::SetAcl { path: "/a".to_owned(), acl: acl.clone(), version: 1 });
    assert_eq!((server.stat("/a").aversion, server.stat("/a").mzxid), (1, 4));
    assert_eq!(server.database.tree.node("/a").unwrap().acl(), &acl);
    assert_eq!(server.changes, [], "an ACL fires no watch");
    assert_eq!(server.database.tree.last_zxid(), 5);
}

#[test]
fn changes_are_what_watches_need() {
    let mut server = Server::new();
    server.run(&create("/a", -1, false));
    assert_eq!(server.seen(), [(ChangeKind::Created, "/a")]);
    let closed = AclList::from([Acl::new(2, "world", "anyone")]);
    server.run(&Txn::SetAcl { path: "/a".to_owned(), acl: closed.clone(), version: 1 });
    server.run(&create("/a/b", -1, false));
    assert_eq!(server.changes[0].parent_acl, closed);
    assert_eq!(server.changes[0].acl, open_acl_unsafe());
    server.run(&Txn::SetData { path: "/".to_owned(), data: None, version: 1 });
    assert_eq!(server.seen(), [(ChangeKind::DataChanged, "/")]);
    let multi = Txn::Multi(vec![
        delete("/a/b"),
        Txn::Check { path: "/a".to_owned(), version: 0 },
        delete("/a"),
    ]);
    assert_eq!(
        server.run(&multi),
        Applied::Multi(vec![Applied::Done, Applied::Done, Applied::Done])
    );
    assert_eq!(server.seen(), [(ChangeKind::Deleted, "/a/b"), (ChangeKind::Deleted, "/a")]);
    assert_eq!((&server.changes[0].parent_acl, &server.changes[1].acl), (&closed, &closed));
}

#[test]
fn a_failed_multi_changes_nothing() {
    let mut server = Server::new();
    let errors = [0, -101, -2].map(|error| Txn::Error { error });
    assert_eq!(
        server.run(&Txn::Multi(errors.to_vec())),
        Applied::Multi(vec![Applied::Error(0), Applied::Error(-101), Applied::Error(-2)])
    );
    // A log may hold the operations themselves beside the error.
    let mixed = vec![create("/a", -1, false), Txn::Error { error: -110 }, delete("/zookeeper")];
    assert_eq!(
        server.run(&Txn::Multi(mixed)),
        Applied::Multi(vec![Applied::Error(0), Applied::Error(-110), Applied::Error(-2)])
    );
    assert_eq!(server.database.tree.node_count(), 5);
    assert_eq!(server.database.tree.last_zxid(), 2);
}

#[test]
fn a_session_takes_its_ephemerals_along() {
    let mut server = Server::new();
    server.run(&Txn::CreateSession { timeout: 5_000 });
    assert_eq!(server.database.sessions.get(&SESSION), Some(&5_000));
    server.run(&create("/e1", -1, true));
    server.run(&create("/e2", -1, true));
    server.run(&create("/p", -1, false));
    // One that was already gone, and one that the list forgot.
    let paths = Some(vec!["/e1".to_owned(), "/gone".to_owned()]);
    server.run(&Txn::CloseSession { paths });
    assert_eq!(server.seen(), [(ChangeKind::Deleted, "/e1"), (ChangeKind::Deleted, "/e2")]);
    assert_eq!(server.database.tree.ephemeral_count(), 0);
    assert!(server.database.sessions.is_empty());
    assert!(server.database.tree.contains("/p"));
}

#[test]
fn replay_over_a_newer_tree_is_lenient_as_zookeepers() {
    let mut server = Server::new();
    server.run(&create("/a", -1, false));
    assert_eq!(server.run(&create("/a", 9, false)), Applied::Error(-110));
    assert_eq!((server.stat("/").pzxid, server.stat("/").cversion), (2, 16));
    assert_eq!(server.run(&create("/x/y", 1, false)), Applied::Error(-101));
    assert_eq!(server.run(&delete("/b")), Applied::Error(-101));
    assert_eq!(server.stat("/").pzxid, 4, "the parent knows of the delete all the same");
    assert_eq!(server.changes, []);
    let set = Txn::SetData { path: "/b".to_owned(), data: None, version: 1 };
    assert_eq!(server.run(&set), Applied::Error(-101));
    assert_eq!(server.changes, []);
    assert_eq!(server.run(&delete("/")), Applied::Error(-101));
    assert_eq!(server.run(&create("/", 1, false)), Applied::Error(-101));
}

#[test]
fn orphans_go_without_a_transaction() {
    let mut server = Server::new();
    server.run(&Txn::CreateSession { timeout: 5_000 });
    server.run(&create("/e", -1, true));
    assert_eq!(delete_orphans(&mut server.database), 0);
    server.database.sessions.clear();
    assert_eq!(delete_orphans(&mut server.database), 1);
    assert!(!server.database.tree.contains("/e"));
    assert_eq!(server.database.tree.last_zxid(), 2);
}
