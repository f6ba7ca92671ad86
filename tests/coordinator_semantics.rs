//! What servers of this protocol get wrong most often, one test for each.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use coordinator_support::*;
use doorkeeper::config::CoordinatorConfig;
use doorkeeper::zookeeper::acl::{self, Acl, open_acl_unsafe};
use doorkeeper::zookeeper::jute::{Reader, Writer as _};
use doorkeeper::zookeeper::stat::Stat;
use doorkeeper::zookeeper::storage::{Storage, StorageConfig};
use doorkeeper::zookeeper::txn::record::{CreateTxn, Txn, TxnHeader};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

const BAD_VERSION: i32 = -103;
const NODE_EXISTS: i32 = -110;
const BAD_ARGUMENTS: i32 = -8;

async fn stat(client: &mut Client, path: &str) -> Stat {
    client.ask(EXISTS, &watched(path, false)).await.stat()
}

async fn data_of(client: &mut Client, path: &str) -> Option<Vec<u8>> {
    client.ask(GET_DATA, &watched(path, false)).await.data_and_stat().0
}

fn event(kind: i32, path: &str, zxid: i64) -> (i32, String, i64) {
    (kind, path.to_owned(), zxid)
}

/// A client who has proved to be `joe`.
async fn joe(server: &Server) -> Client {
    let mut joe = server.connect().await;
    joe.send_as(-4, AUTH, &auth("digest", b"joe:secret")).await;
    assert_eq!(joe.next().await.unwrap().err, 0);
    joe
}

fn only_joe() -> Vec<Acl> {
    vec![Acl::new(acl::ALL, "auth", "")]
}

/// Frames as they are sent in one go.
fn pipelined(requests: &[(i32, i32, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (xid, op, body) in requests {
        let frame = request(*xid, *op, body);
        bytes.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&frame);
    }
    bytes
}

#[tokio::test]
async fn the_cversion_shown_counts_creates_and_deletes() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    assert_eq!(stat(&mut client, "/").await.cversion, -1);
    assert_eq!(stat(&mut client, "/zookeeper").await.cversion, -2);
    client.create("/a", 0).await;
    for (name, shown) in [("b", 1), ("c", 2)] {
        client.create(&format!("/a/{name}"), 0).await;
        assert_eq!(stat(&mut client, "/a").await.cversion, shown);
    }
    let deleted = client.ask(DELETE, &versioned("/a/b", -1)).await.zxid;
    let after = stat(&mut client, "/a").await;
    assert_eq!((after.cversion, after.pzxid, after.num_children), (3, deleted, 1));
}

#[tokio::test]
async fn a_sequential_name_counts_the_children_ever_created() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    client.create("/a/x", 0).await;
    client.create("/a/y", 0).await;
    assert_eq!(client.create("/a/n-", 2).await.string(), "/a/n-0000000002");
    client.ask(DELETE, &versioned("/a/x", -1)).await;
    assert_eq!(client.create("/a/n-", 3).await.string(), "/a/n-0000000003", "deletes don't count");
    assert_eq!(client.create("/a/", 2).await.string(), "/a/0000000004");
    assert_eq!(client.create("/a/", 0).await.err, BAD_ARGUMENTS);
    assert_eq!(client.create("/a/n-0000000006", 0).await.err, 0);
    assert_eq!(client.create("/a/n-", 2).await.err, NODE_EXISTS, "the name may be taken");
}

#[tokio::test]
async fn each_kind_of_change_has_its_own_fields_in_a_stat() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let created = client.create("/a", 0).await.zxid;
    let born = stat(&mut client, "/a").await;
    assert_eq!((born.czxid, born.mzxid, born.pzxid), (created, created, created));
    assert_eq!((born.version, born.aversion, born.ctime), (0, 0, born.mtime));
    client.ask(SET_ACL, &set_acl("/a", &open_acl_unsafe(), 0)).await;
    assert_eq!(stat(&mut client, "/a").await, Stat { aversion: 1, ..born });
    let child = client.create("/a/b", 0).await.zxid;
    let with_child = Stat { aversion: 1, cversion: 1, pzxid: child, num_children: 1, ..born };
    assert_eq!(stat(&mut client, "/a").await, with_child);
    client.ask(SET_DATA, &set_data("/a/b", b"longer", -1)).await;
    assert_eq!(stat(&mut client, "/a").await, with_child, "a child's data is its own");
    let set = client.ask(SET_DATA, &set_data("/a", b"12", 0)).await;
    let mtime = set.stat().mtime;
    let expected = Stat { version: 1, mzxid: set.zxid, mtime, data_length: 2, ..with_child };
    assert_eq!(set.stat(), expected);
}

#[tokio::test]
async fn every_attempt_to_write_takes_a_zxid_and_nothing_else_does() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let mut last = client.create("/a", 0).await.zxid;
    for (op, body, err) in [
        (CREATE, open("/a", 0), NODE_EXISTS),
        (CREATE, open("/a/", 0), BAD_ARGUMENTS),
        (DELETE, versioned("/nobody", -1), NO_NODE),
        (SET_DATA, set_data("/a", b"", 9), BAD_VERSION),
        (SET_ACL, set_acl("/a", &[], -1), -114),
        (MULTI, multi(&[]), 0),
        (MULTI, multi(&[(CHECK, versioned("/nobody", -1))]), 0),
        (RECONFIG, reconfig(), -123),
    ] {
        let reply = client.ask(op, &body).await;
        last += 1;
        assert_eq!((reply.err, reply.zxid), (err, last), "{op}");
    }
    for (op, body) in [
        (GET_DATA, watched("/a", true)),
        (GET_CHILDREN, watched("/nobody", false)),
        (SYNC, path("/a")),
        (ADD_WATCH, versioned("/a", 0)),
        (WHO_AM_I, Vec::new()),
    ] {
        assert_eq!(client.ask(op, &body).await.zxid, last, "{op}");
    }
    client.send_as(-4, AUTH, &auth("digest", b"joe:secret")).await;
    assert_eq!(client.next().await.unwrap().zxid, 0);
    let mut other = server.connect().await;
    assert_eq!(other.ask(SYNC, &path("/")).await.zxid, last + 1, "a session's beginning");
    assert_eq!(other.ask(CLOSE_SESSION, &[]).await.zxid, last + 2, "and its end");
}

#[tokio::test]
async fn the_zxid_goes_on_over_a_restart_and_a_client_that_is_ahead_is_sent_away() {
    let server = Server::start().await;
    let last = server.connect().await.create("/a", 0).await.zxid;
    let server = Server::start_on(server.stop().await, |_| ()).await;
    let mut client = server.connect().await;
    assert_eq!(client.create("/b", 0).await.zxid, last + 2, "its session took one");
    let seen = Hello { last_zxid: last + 2, ..Hello::default() };
    assert!(Client::open(server.address(), seen).await.is_some());
    let ahead = Hello { last_zxid: last + 4, ..Hello::default() };
    assert!(Client::open(server.address(), ahead).await.is_none());
}

#[tokio::test]
async fn an_event_comes_before_whatever_shows_its_change() {
    let server = Server::start().await;
    let (mut writer, mut reader) = (server.connect().await, server.connect().await);
    writer.create("/a", 0).await;
    for client in [&mut writer, &mut reader] {
        client.ask(GET_DATA, &watched("/a", true)).await;
    }
    let xid = writer.send(SET_DATA, &set_data("/a", b"1", -1)).await;
    let own = writer.event().await;
    let reply = writer.next().await.unwrap();
    assert_eq!((reply.xid, own), (xid, event(CHANGED, "/a", reply.zxid)));
    reader.send(GET_DATA, &watched("/a", false)).await;
    assert_eq!(reader.event().await, event(CHANGED, "/a", reply.zxid));
    assert_eq!(reader.next().await.unwrap().data_and_stat().1.version, 1);
}

#[tokio::test]
async fn a_read_behind_a_write_of_its_session_sees_it() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    let requests: Vec<_> = (0..100)
        .flat_map(|round: i32| {
            let data = set_data("/a", round.to_string().as_bytes(), round);
            [(2 * round, SET_DATA, data), (2 * round + 1, GET_DATA, watched("/a", false))]
        })
        .collect();
    client.stream.write_all(&pipelined(&requests)).await.unwrap();
    for (xid, op, _) in requests {
        let reply = client.next().await.unwrap();
        assert_eq!((reply.xid, reply.err), (xid, 0));
        if op == GET_DATA {
            assert_eq!(reply.data_and_stat().1.version, xid / 2 + 1);
        }
    }
}

#[tokio::test]
async fn watches_are_a_set_and_belong_to_their_connection() {
    let server = Server::start().await;
    let (mut writer, mut client) = (server.connect().await, server.connect().await);
    assert_eq!(client.ask(EXISTS, &watched("/a", true)).await.err, NO_NODE);
    let created = writer.create("/a", 0).await.zxid;
    assert_eq!(client.event().await, event(CREATED, "/a", created));
    for op in [EXISTS, GET_DATA, GET_DATA] {
        client.ask(op, &watched("/a", true)).await;
    }
    let set = writer.ask(SET_DATA, &set_data("/a", b"", -1)).await.zxid;
    assert_eq!(client.event().await, event(CHANGED, "/a", set));
    client.is_quiet().await;
    // Of a deletion, whoever watches data and children hears once.
    client.ask(EXISTS, &watched("/a", true)).await;
    client.ask(GET_CHILDREN, &watched("/a", true)).await;
    let deleted = writer.ask(DELETE, &versioned("/a", -1)).await.zxid;
    assert_eq!(client.event().await, event(DELETED, "/a", deleted));
    client.is_quiet().await;
    // getData and getChildren of what isn't there watch nothing.
    client.ask(GET_DATA, &watched("/a", true)).await;
    client.ask(GET_CHILDREN, &watched("/a", true)).await;
    client.ask(EXISTS, &watched("/b", true)).await;
    let mut again = Client::open(server.address(), client.hello()).await.unwrap();
    writer.create("/a", 0).await;
    writer.create("/b", 0).await;
    again.is_quiet().await;
}

#[tokio::test]
async fn a_recursive_watch_never_hears_of_children_and_a_persistent_one_stays() {
    let server = Server::start().await;
    let (mut writer, mut client) = (server.connect().await, server.connect().await);
    // Neither needs the node to be there, nor to be readable.
    client.ask(ADD_WATCH, &versioned("/p", 0)).await;
    client.ask(ADD_WATCH, &versioned("/r", 1)).await;
    let mut expected = Vec::new();
    for root in ["/p", "/r"] {
        let child = format!("{root}/c");
        expected.push(event(CREATED, root, writer.create(root, 0).await.zxid));
        let born = writer.create(&child, 0).await.zxid;
        let set = writer.ask(SET_DATA, &set_data(&child, b"", -1)).await.zxid;
        let gone = writer.ask(DELETE, &versioned(&child, -1)).await.zxid;
        if root == "/p" {
            expected.extend([event(CHILDREN, "/p", born), event(CHILDREN, "/p", gone)]);
        } else {
            expected.push(event(CREATED, &child, born));
            expected.push(event(CHANGED, &child, set));
            expected.push(event(DELETED, &child, gone));
        }
    }
    for expected in expected {
        assert_eq!(client.event().await, expected);
    }
    client.is_quiet().await;
}

#[tokio::test]
async fn watches_of_two_modes_on_one_path_are_removed_one_by_one() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    client.ask(GET_DATA, &watched("/a", true)).await;
    client.ask(ADD_WATCH, &versioned("/a", 0)).await;
    let no_watcher = -121;
    let mut ask = async |op: i32, kind: i32| client.ask(op, &versioned("/a", kind)).await.err;
    assert_eq!(ask(CHECK_WATCHES, 1).await, no_watcher, "no one-shot child watch");
    assert_eq!(ask(CHECK_WATCHES, 2).await, 0);
    assert_eq!(ask(REMOVE_WATCHES, 4).await, 0);
    assert_eq!(ask(REMOVE_WATCHES, 4).await, no_watcher);
    assert_eq!(ask(CHECK_WATCHES, 2).await, 0, "the other one is still there");
    assert_eq!(ask(REMOVE_WATCHES, 3).await, 0);
    assert_eq!(ask(REMOVE_WATCHES, 3).await, no_watcher);
}

#[tokio::test]
async fn set_watches_catches_up_before_its_reply() {
    let server = Server::start().await;
    let (mut writer, mut client) = (server.connect().await, server.connect().await);
    let mut seen = 0;
    for path in ["/same", "/set", "/gone", "/parent"] {
        seen = writer.create(path, 0).await.zxid;
    }
    writer.ask(SET_DATA, &set_data("/set", b"", -1)).await;
    writer.ask(DELETE, &versioned("/gone", -1)).await;
    writer.create("/parent/c", 0).await;
    let lists: [&[&str]; 5] = [
        &["/same", "/set", "/gone"],
        &["/same", "/never"],
        &["/parent", "/same", "/gone"],
        &["/set"],
        &["/parent"],
    ];
    client.send_as(-8, SET_WATCHES2, &set_watches(seen, &lists)).await;
    for (kind, path) in [
        (CHANGED, "/set"),
        (DELETED, "/gone"),
        (CREATED, "/same"),
        (CHILDREN, "/parent"),
        (DELETED, "/gone"),
    ] {
        assert_eq!(client.event().await, event(kind, path, -1), "no transaction is behind it");
    }
    assert_eq!(client.next().await.unwrap().xid, -8);
    let set = writer.ask(SET_DATA, &set_data("/parent/c", b"", -1)).await.zxid;
    assert_eq!(client.event().await, event(CHANGED, "/parent/c", set), "the recursive one");
    let born = writer.create("/never", 0).await.zxid;
    assert_eq!(client.event().await, event(CREATED, "/never", born));
}

#[tokio::test]
async fn a_session_ends_with_the_ephemerals_that_were_on_their_way() {
    let server = Server::start().await;
    let (mut closing, mut other) = (server.connect().await, server.connect().await);
    let requests: Vec<_> = (1..=20)
        .map(|n| (n, CREATE, open(&format!("/e{n}"), 1)))
        .chain([(21, CLOSE_SESSION, Vec::new()), (22, CREATE, open("/late", 1))])
        .collect();
    closing.stream.write_all(&pipelined(&requests)).await.unwrap();
    for xid in 1..=21 {
        assert_eq!(closing.next().await.unwrap().xid, xid);
    }
    closing.is_closed().await;
    let root = stat(&mut other, "/").await;
    assert_eq!(root.num_children, 1, "only /zookeeper is left");
}

#[tokio::test]
async fn ephemerals_go_in_one_transaction_and_each_tells_its_own_watchers() {
    let server = Server::start().await;
    let mut watcher = server.connect().await;
    let mut owner = server.connect().await;
    owner.create("/p", 0).await;
    for path in ["/p/a", "/p/b"] {
        owner.create(path, 1).await;
        watcher.ask(EXISTS, &watched(path, true)).await;
    }
    watcher.ask(GET_CHILDREN, &watched("/p", true)).await;
    let zxid = owner.ask(CLOSE_SESSION, &[]).await.zxid;
    let (a, parent, b) = (watcher.event().await, watcher.event().await, watcher.event().await);
    assert_eq!(a, event(DELETED, "/p/a", zxid));
    assert_eq!(parent, event(CHILDREN, "/p", zxid));
    assert_eq!(b, event(DELETED, "/p/b", zxid));
    assert_eq!(stat(&mut watcher, "/p").await.pzxid, zxid);
}

#[tokio::test]
async fn nothing_is_done_for_a_connection_whose_session_has_moved() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for round in 0..20 {
        let mut moved = Client::open(server.address(), client.hello()).await.unwrap();
        assert_eq!(moved.session, client.session);
        // The other end may have gone already.
        let late = request(1, CREATE, &open(&format!("/late{round}"), 0));
        let mut bytes = u32::try_from(late.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(&late);
        let _ = client.stream.write_all(&bytes).await;
        client.is_closed().await;
        assert!(!moved.exists(&format!("/late{round}")).await);
        client = moved;
    }
}

#[tokio::test]
async fn a_delete_is_checked_by_path_permission_node_version_and_children_in_this_order() {
    let server = Server::start().await;
    let mut owner = joe(&server).await;
    let mut other = server.connect().await;
    owner.ask(CREATE, &create("/closed", b"", 0, &only_joe())).await;
    for path in ["/closed/x", "/open", "/open/x", "/open/x/y"] {
        owner.create(path, 0).await;
    }
    for special in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "a"] {
        let reply = other.ask(DELETE, &versioned(special, -1)).await;
        assert_eq!(reply.err, BAD_ARGUMENTS, "{special}");
    }
    assert_eq!(other.ask(DELETE, &versioned("/closed/nobody", 7)).await.err, NO_AUTH);
    assert_eq!(other.ask(DELETE, &versioned("/closed/x", 7)).await.err, NO_AUTH);
    assert_eq!(other.ask(DELETE, &versioned("/open/nobody", 7)).await.err, NO_NODE);
    assert_eq!(other.ask(DELETE, &versioned("/open/x", 7)).await.err, BAD_VERSION);
    assert_eq!(other.ask(DELETE, &versioned("/open/x", 0)).await.err, -111);
    assert_eq!(other.ask(DELETE, &versioned("/open/x/y", -1)).await.err, 0);
    assert_eq!(other.create("/", 0).await.err, NODE_EXISTS);
    owner.create("/e", 1).await;
    assert_eq!(other.create("/e", 0).await.err, NODE_EXISTS);
    assert_eq!(other.create("/e/c", 0).await.err, -108);
    assert_eq!(other.create("/nobody/c", 0).await.err, NO_NODE);
    assert_eq!(other.ask(SET_DATA, &set_data("/", b"root", -1)).await.err, 0);
}

#[tokio::test]
async fn each_request_needs_the_permission_that_is_its_own() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let mut root = server.connect().await;
    let requests = |node: &str| {
        [
            (GET_DATA, watched(node, false), acl::READ),
            (GET_CHILDREN, watched(node, false), acl::READ),
            (EXISTS, watched(node, false), acl::READ),
            (SET_DATA, set_data(node, b"", -1), acl::WRITE),
            (CREATE, open(&format!("{node}/new"), 0), acl::CREATE),
            (DELETE, versioned(&format!("{node}/new"), -1), acl::DELETE),
            (GET_ACL, path(node), acl::READ | acl::ADMIN),
            (SYNC, path(node), acl::ALL),
            (ADD_WATCH, versioned(node, 0), acl::ALL),
            // At the end: it opens the node.
            (SET_ACL, set_acl(node, &open_acl_unsafe(), -1), acl::ADMIN),
        ]
    };
    for perms in [acl::READ, acl::WRITE, acl::CREATE, acl::DELETE, acl::ADMIN] {
        let node = format!("/p{perms}");
        root.ask(CREATE, &open(&node, 0)).await;
        root.create(&format!("{node}/new"), 0).await;
        root.ask(SET_ACL, &set_acl(&node, &[Acl::new(perms, "world", "anyone")], -1)).await;
        for (op, body, needed) in requests(&node) {
            let reply = client.ask(op, &body).await;
            assert_eq!(reply.err == NO_AUTH, needed & perms == 0, "{op} with {perms}: {reply:?}");
        }
    }
    assert!(!client.exists("/nobody").await, "no ACL where no node is");
}

#[tokio::test]
async fn writes_check_paths_and_reads_do_not() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    for bad in ["", "a", "/a/", "//a", "/.", "/a/..", "/a\u{1}", "/\u{e000}"] {
        assert_eq!(client.create(bad, 0).await.err, BAD_ARGUMENTS, "{bad:?}");
        let set = client.ask(SET_DATA, &set_data(bad, b"", -1)).await;
        assert_eq!(set.err, BAD_ARGUMENTS, "{bad:?}");
        if !bad.is_empty() {
            assert_eq!(client.ask(GET_DATA, &watched(bad, false)).await.err, NO_NODE, "{bad:?}");
        }
    }
    assert!(client.exists("").await, "the root's other name");
}

#[tokio::test]
async fn null_data_is_not_empty_data() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let with = |path: &str, data: Option<&[u8]>| {
        let mut body = Vec::new();
        body.write_string(path);
        body.write_buffer(data);
        acl::write_list(&open_acl_unsafe(), &mut body);
        body.write_int(0);
        body
    };
    client.ask(CREATE, &with("/null", None)).await;
    client.ask(CREATE, &with("/empty", Some(b""))).await;
    let server = Server::start_on(server.stop().await, |_| ()).await;
    let mut client = server.connect().await;
    assert_eq!(data_of(&mut client, "/null").await, None);
    assert_eq!(data_of(&mut client, "/empty").await, Some(Vec::new()));
}

#[tokio::test]
async fn a_multi_that_fails_gives_its_numbers_back_and_tells_nobody() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    client.ask(ADD_WATCH, &versioned("/", 1)).await;
    let failing = multi(&[
        (CREATE, open("/a/s-", 2)),
        (SET_DATA, set_data("/a", b"", -1)),
        (CHECK, versioned("/a", 9)),
    ]);
    let failed = client.ask(MULTI, &failing).await;
    assert_eq!(failed.err, 0);
    // Behind it in the same batch, the name that it had is free.
    let requests = [(101, MULTI, failing), (102, CREATE, open("/a/s-", 2))];
    client.stream.write_all(&pipelined(&requests)).await.unwrap();
    assert_eq!(client.next().await.unwrap().xid, 101);
    assert_eq!(client.event().await.1, "/a/s-0000000000");
    assert_eq!(client.next().await.unwrap().string(), "/a/s-0000000000");
    let good = multi(&[(CREATE, open("/b", 0)), (SET_DATA, set_data("/b", b"", 0))]);
    client.send(MULTI, &good).await;
    let events = [client.event().await, client.event().await];
    let zxid = client.next().await.unwrap().zxid;
    assert_eq!(events, [event(CREATED, "/b", zxid), event(CHANGED, "/b", zxid)]);
}

#[tokio::test]
async fn whoever_is_sent_away_is_answered_first() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    assert_eq!(client.ask(CLOSE_SESSION, &[]).await.err, 0);
    client.is_closed().await;
    let mut client = server.connect().await;
    let unknown = client.ask(4_711, &[]).await;
    assert_eq!((unknown.err, unknown.zxid), (-6, -1));
    client.is_closed().await;
    // A multi that makes no sense is answered, and the connection goes on.
    let mut client = server.connect().await;
    assert_eq!(client.ask(MULTI, &multi(&[(4_711, Vec::new())])).await.err, -5);
    assert!(client.exists("/").await);
}

/// CVE-2026-79993: what a server sends to itself can't come from a socket.
#[tokio::test]
async fn cve_2026_79993_a_servers_own_opcodes_do_nothing_when_a_client_sends_them() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    root.ask(CREATE_CONTAINER, &open("/c", 4)).await;
    for op in [-10, -1, 0, 13, 20] {
        let mut client = server.connect().await;
        assert_eq!(client.ask(op, &path("/c")).await.err, -6, "{op}");
        client.is_closed().await;
    }
    let inside = multi(&[(20, path("/c"))]);
    assert_eq!(root.ask(MULTI, &inside).await.err, -5);
    assert!(root.exists("/c").await, "deleteContainer asks for no permission");
}

#[tokio::test]
async fn a_flood_is_left_in_its_socket_and_nothing_of_it_is_dropped() {
    const REQUESTS: i32 = 3_000;
    let server = Server::start_with(|config| config.global_outstanding_limit = 10).await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    let requests: Vec<_> =
        (0..REQUESTS).map(|n| (n, SET_DATA, set_data("/a", &[0; 100], n))).collect();
    let bytes = pipelined(&requests);
    let (mut reading, mut writing) = client.stream.into_split();
    let sender = tokio::spawn(async move {
        writing.write_all(&bytes).await.unwrap();
        writing
    });
    for expected in 0..REQUESTS {
        let mut frame = [0; 4 + 16 + Stat::ENCODED];
        tokio::io::AsyncReadExt::read_exact(&mut reading, &mut frame).await.unwrap();
        let mut reader = Reader::new(&frame[4..]);
        assert_eq!(reader.int().unwrap(), expected);
        let (_zxid, err) = (reader.long().unwrap(), reader.int().unwrap());
        assert_eq!(err, 0, "none before it is missing, or its version would be wrong");
    }
    drop(sender.await.unwrap());
}

#[tokio::test]
async fn times_are_the_transactions_own_and_a_replay_gives_them_back() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    client.ask(SET_DATA, &set_data("/a", b"later", -1)).await;
    let before = stat(&mut client, "/a").await;
    let server = Server::start_on(server.stop().await, |_| ()).await;
    let mut client = server.connect().await;
    assert_eq!(stat(&mut client, "/a").await, before);
}

#[tokio::test]
async fn a_watch_whose_event_is_withheld_is_spent_on_every_path() {
    let server = Server::start().await;
    let mut owner = joe(&server).await;
    let mut stranger = server.connect().await;
    let hidden = |path: &str| create(path, b"", 0, &only_joe());
    owner.ask(CREATE, &hidden("/h")).await;
    owner.create("/open", 0).await;
    for path in ["/h", "/open"] {
        stranger.ask(ADD_WATCH, &versioned(path, 0)).await;
    }
    stranger.ask(ADD_WATCH, &versioned("/", 1)).await;
    for node in ["/h/created", "/open/hidden"] {
        stranger.ask(EXISTS, &watched(node, true)).await;
    }
    owner.ask(CREATE, &hidden("/h/created")).await;
    owner.ask(SET_DATA, &set_data("/h", b"", -1)).await;
    stranger.is_quiet().await;
    // Its own node is hidden, its parent is not.
    let zxid = owner.ask(CREATE, &hidden("/open/hidden")).await.zxid;
    assert_eq!(stranger.event().await, event(CHILDREN, "/open", zxid));
    let inside = [(SET_DATA, set_data("/open/hidden", b"", -1)), (CREATE, hidden("/h/multi"))];
    owner.ask(MULTI, &multi(&inside)).await;
    stranger.is_quiet().await;
    // Nobody may read them, so what setWatches would catch up is withheld, too.
    let lists: [&[&str]; 3] = [&["/h"], &["/h"], &["/h"]];
    stranger.send_as(-8, SET_WATCHES, &set_watches(0, &lists)).await;
    assert_eq!(stranger.next().await.unwrap().xid, -8);
    // Now that all is open, the one-shot watches have nothing more to say: only the persistent ones.
    for node in ["/h", "/h/created", "/open/hidden"] {
        owner.ask(SET_ACL, &set_acl(node, &open_acl_unsafe(), -1)).await;
    }
    for node in ["/h/created", "/open/hidden"] {
        assert_eq!(stranger.ask(CHECK_WATCHES, &versioned(node, 2)).await.err, -121, "{node}");
    }
    let zxid = owner.ask(SET_DATA, &set_data("/h", b"", -1)).await.zxid;
    assert_eq!(stranger.event().await, event(CHANGED, "/h", zxid));
    stranger.is_quiet().await;
    // An ephemeral that goes with its session, and a node that a multi deletes.
    for node in ["/h/e", "/h/d"] {
        let flags = i32::from(node == "/h/e");
        owner.ask(CREATE, &create(node, b"", flags, &only_joe())).await;
        assert_eq!(stranger.event().await.1, "/h", "the parent is open now");
    }
    owner.ask(SET_ACL, &set_acl("/h", &only_joe(), -1)).await;
    owner.ask(MULTI, &multi(&[(DELETE, versioned("/h/d", -1))])).await;
    owner.ask(CLOSE_SESSION, &[]).await;
    stranger.is_quiet().await;
}

#[tokio::test]
async fn new_sessions_never_have_an_id_that_was_ever_seen() {
    let server = Server::start().await;
    let mut alive = server.connect().await;
    alive.create("/e", 1).await;
    let mut ids = vec![alive.session];
    for _ in 0..5 {
        let mut client = server.connect().await;
        ids.push(client.session);
        client.ask(CLOSE_SESSION, &[]).await;
    }
    let mut directory = server.stop().await;
    for _ in 0..3 {
        let server = Server::start_on(directory, |config| config.snap_count = 2).await;
        for _ in 0..4 {
            let mut client = server.connect().await;
            assert!(client.session > *ids.last().unwrap(), "{:#x} of {ids:x?}", client.session);
            ids.push(client.session);
            client.ask(CLOSE_SESSION, &[]).await;
        }
        directory = server.stop().await;
    }
}

#[tokio::test]
async fn a_wide_node_is_made_listed_and_emptied() {
    const CHILDREN_OF_IT: usize = 20_000;
    let server = Server::start_with(|config| {
        config.force_sync = false;
        config.snap_count = 5_000;
    })
    .await;
    let (mut client, mut other) = (server.connect().await, server.connect().await);
    client.create("/wide", 0).await;
    for from in (0..CHILDREN_OF_IT).step_by(1_000) {
        let creates: Vec<_> = (from..from + 1_000)
            .map(|n| (CREATE, create(&format!("/wide/{n:05}"), b"", 0, &open_acl_unsafe())))
            .collect();
        assert_eq!(client.ask(MULTI, &multi(&creates)).await.err, 0);
    }
    let names = |reply: Reply| {
        let mut reader = Reader::new(&reply.body);
        let count = reader.int().unwrap();
        (0..count).map(|_| reader.string().unwrap().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut listed = names(client.ask(GET_CHILDREN, &watched("/wide", false)).await);
    listed.sort_unstable();
    let all: Vec<_> = (0..CHILDREN_OF_IT).map(|number| format!("{number:05}")).collect();
    assert!(listed == all, "{} are listed", listed.len());
    // Several asked for at once, with answers of other kinds before and behind them.
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(client.send(12, &watched("/wide", true)).await);
        sent.push(client.send(EXISTS, &watched("/wide", false)).await);
    }
    for (number, xid) in sent.into_iter().enumerate() {
        let reply = client.next().await.unwrap();
        assert_eq!((reply.xid, reply.err), (xid, 0));
        if number % 2 == 0 {
            let mut listed = names(reply);
            listed.sort_unstable();
            assert!(listed == all, "{} are listed", listed.len());
        } else {
            assert_eq!(usize::try_from(reply.stat().num_children).unwrap(), CHILDREN_OF_IT);
        }
    }
    // One of several reads: behind nine bytes of its own header.
    let mut reply =
        client.ask(MULTI_READ, &multi(&[(GET_CHILDREN, watched("/wide", false))])).await;
    reply.body.drain(..9);
    let mut listed = names(reply);
    listed.sort_unstable();
    assert!(listed == all, "{} are listed", listed.len());
    // The watch that came with the listings fires once.
    assert_eq!(other.ask(DELETE, &versioned("/wide/00000", -1)).await.err, 0);
    assert_eq!(client.event().await.1, "/wide");
    assert_eq!(client.create("/wide/00000", 0).await.err, 0);
    client.is_quiet().await;
    for chunk in listed.chunks(1_000) {
        let deletes: Vec<_> =
            chunk.iter().map(|name| (DELETE, versioned(&format!("/wide/{name}"), -1))).collect();
        assert_eq!(client.ask(MULTI, &multi(&deletes)).await.err, 0);
    }
    assert_eq!(stat(&mut other, "/wide").await.num_children, 0);
}

/// CVE-2026-100300: whatever stands in the quotas of a directory, it is loaded, served and snapshotted.
#[tokio::test]
async fn cve_2026_100300_a_directory_with_malformed_quotas_is_served() {
    let texts: [Option<&[u8]>; 8] = [
        None,
        Some(b""),
        Some(b"x"),
        Some(b"count="),
        Some(b"count=1"),
        Some(b"count=99999999999999999999,bytes=-9223372036854775808"),
        Some(b"count=1,bytes=1=;byteHardLimit=;countHardLimit=many"),
        Some(b"\xff\xfe\0"),
    ];
    let directory = TempDir::new().unwrap();
    let settings = StorageConfig::from(&config(directory.path()));
    let (mut storage, _) = Storage::open(&settings).unwrap();
    let mut zxid = 0;
    for (number, text) in texts.iter().enumerate() {
        for path in ["/q?", "/zookeeper/quota/q?", "limits", "stats"] {
            let (path, data) = match path {
                "limits" | "stats" => (format!("/zookeeper/quota/q?/zookeeper_{path}"), *text),
                other => (other.to_owned(), None),
            };
            zxid += 1;
            let header = TxnHeader { client_id: 1, cxid: 1, zxid, time: zxid };
            let create = CreateTxn {
                path: path.replace('?', &number.to_string()),
                data: data.map(Bytes::copy_from_slice),
                acl: open_acl_unsafe(),
                parent_cversion: -1,
            };
            let txn = Txn::Create { create, ephemeral: false, with_stat: false };
            storage.append(&header, &txn, None).unwrap();
        }
    }
    storage.close().unwrap();
    drop(storage);
    let mut directory = directory;
    for snap_count in [100_000, 5, 100_000] {
        let enforced = |config: &mut CoordinatorConfig| {
            config.enforce_quota = true;
            config.snap_count = snap_count;
        };
        let server = Server::start_on(directory, enforced).await;
        let mut client = server.connect().await;
        for number in 0..texts.len() {
            let path = format!("/q{number}/a");
            // A limit that can be read may hold, as that of one node; nothing else is refused.
            let created = client.create(&path, 0).await.err;
            assert!(matches!(created, 0 | -125), "{created}");
            client.ask(SET_DATA, &set_data(&path, b"longer", -1)).await;
            client.ask(DELETE, &versioned(&path, -1)).await;
            assert!(!client.exists(&path).await);
        }
        directory = server.stop().await;
    }
}

/// CVE-2026-115448: a directory may hold a tree that is far deeper than what can be created.
#[tokio::test]
async fn cve_2026_115448_a_tree_of_any_depth_is_loaded_served_and_snapshotted() {
    // Creates stop at a depth that ZooKeeper's stack bears; another server's directory may go on.
    const LEVELS: usize = 6_000;
    let server = Server::start_with(|config| {
        config.force_sync = false;
        config.znode_depth_max = LEVELS;
    })
    .await;
    let mut client = server.connect().await;
    let path_of = |levels: usize| "/d".repeat(levels);
    for from in (0..LEVELS).step_by(50) {
        let creates: Vec<_> = (from + 1..=from + 50)
            .map(|level| (CREATE, create(&path_of(level), b"", 0, &open_acl_unsafe())))
            .collect();
        assert_eq!(client.ask(MULTI, &multi(&creates)).await.err, 0, "at {from}");
    }
    // Loaded from the log, by a server that would not create it.
    let server = Server::start_on(server.stop().await, |config| config.snap_count = 2).await;
    let mut client = server.connect().await;
    let deepest = path_of(LEVELS);
    assert_eq!(client.create(&format!("{deepest}/d"), 0).await.err, BAD_ARGUMENTS);
    client.ask(ADD_WATCH, &versioned("/d", 1)).await;
    client.send(SET_DATA, &set_data(&deepest, b"found", -1)).await;
    assert_eq!(client.event().await.1, deepest);
    assert_eq!(client.next().await.unwrap().stat().version, 1);
    let below = client.ask(GET_ALL_CHILDREN_NUMBER, &path("/d")).await;
    assert_eq!(Reader::new(&below.body).int().unwrap(), i32::try_from(LEVELS).unwrap() - 1);
    // Every other write begins a snapshot; the last one is whole when the server has stopped.
    for _ in 0..6 {
        client.ask(SYNC, &path("/")).await;
        client.ask(SET_DATA, &set_data("/", b"", -1)).await;
    }
    let directory = server.stop().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let snapshots = || {
        let files = std::fs::read_dir(directory.path().join("version-2")).unwrap();
        let sizes = files.map(|file| file.unwrap()).filter(|file| {
            file.file_name().to_string_lossy().starts_with("snapshot.")
                && file.metadata().unwrap().len() > u64::try_from(LEVELS * LEVELS).unwrap()
        });
        sizes.count()
    };
    while snapshots() == 0 {
        assert!(Instant::now() < deadline, "no snapshot has all levels");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Loaded from a snapshot.
    let server = Server::start_on(directory, |_| ()).await;
    let mut client = server.connect().await;
    assert_eq!(data_of(&mut client, &deepest).await.as_deref(), Some(&b"found"[..]));
    // And it can be taken down, from the end.
    assert_eq!(client.ask(DELETE, &versioned(&path_of(LEVELS - 1), -1)).await.err, -111);
    for level in (LEVELS - 10..=LEVELS).rev() {
        assert_eq!(client.ask(DELETE, &versioned(&path_of(level), -1)).await.err, 0, "{level}");
    }
}
