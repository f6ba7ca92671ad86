//! What prep allows, refuses and makes of each request.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::config::AuthConfig;
use crate::zookeeper::acl::{Acl, open_acl_unsafe};
use crate::zookeeper::database::Database;
use crate::zookeeper::stat::Stat;
use crate::zookeeper::txn::apply::apply;

static AUTH: Auth = Auth::new(AuthConfig::DEFAULT);
const OPTIONS: PrepOptions<'static> = PrepOptions {
    auth: &AUTH,
    depth_max: 5,
    extended_types: true,
    enforce_quota: true,
    reconfig_enabled: false,
};
const TIME: i64 = 1_000_000;

fn caller(session_id: i64) -> Caller<'static> {
    Caller { session_id, xid: 1, identities: &[], session_closing: false }
}

fn create_request(path: &str, mode: CreateMode) -> Operation {
    Operation::Create(CreateRequest {
        path: path.to_owned(),
        data: Some(Bytes::from_static(b"x")),
        acl: open_acl_unsafe().to_vec(),
        mode: Some(mode),
        with_stat: false,
    })
}

const PERSISTENT: CreateMode = CreateMode::Persistent { sequential: false };
const SEQUENTIAL: CreateMode = CreateMode::Persistent { sequential: true };
const EPHEMERAL: CreateMode = CreateMode::Ephemeral { sequential: false };
const CONTAINER: CreateMode = CreateMode::Container { sequential: false };

fn ttl(ttl: i64) -> CreateMode {
    CreateMode::Ttl { sequential: false, ttl }
}

fn create(path: &str) -> Operation {
    create_request(path, PERSISTENT)
}

fn delete(path: &str, version: i32) -> Operation {
    Operation::Delete { path: path.to_owned(), version }
}

fn set(path: &str, version: i32) -> Operation {
    Operation::SetData { path: path.to_owned(), data: Some(Bytes::from_static(b"yy")), version }
}

fn check(path: &str, version: i32) -> Operation {
    Operation::Check { path: path.to_owned(), version }
}

/// A server without log, sockets and threads: prepares and applies at once.
struct Server {
    database: Database,
    changes: Vec<crate::zookeeper::txn::apply::Change>,
}

impl Server {
    fn new() -> Self {
        Server { database: Database::new(true), changes: Vec::new() }
    }

    fn run(&mut self, prepare: impl FnOnce(&mut Prep<'_>) -> Prepared) -> Prepared {
        let prepared = prepare(&mut Prep::new(&self.database.tree, OPTIONS, TIME));
        self.apply(&prepared);
        prepared
    }

    fn run_with(&mut self, options: PrepOptions<'_>, operation: Operation) -> Verdict {
        let request = WriteRequest::Single(operation);
        let prepared = Prep::new(&self.database.tree, options, TIME).write(request, &caller(1));
        self.apply(&prepared);
        prepared.verdict
    }

    fn apply(&mut self, prepared: &Prepared) {
        apply(&mut self.database, &prepared.header, &prepared.txn, &mut self.changes);
        assert_eq!(self.database.tree.last_zxid(), prepared.header.zxid);
        assert_eq!(self.database.tree.digest(), prepared.digest, "after {:?}", prepared.txn);
    }

    fn try_run(&mut self, request: Request) -> Option<Prepared> {
        let prepared = prepare(&mut Prep::new(&self.database.tree, OPTIONS, TIME), request)?;
        self.apply(&prepared);
        Some(prepared)
    }

    fn write(&mut self, operation: Operation) -> Verdict {
        self.run(|prep| prep.write(WriteRequest::Single(operation), &caller(1))).verdict
    }

    fn stat(&self, path: &str) -> Stat {
        self.database.tree.node(path).unwrap().stat()
    }
}

fn refused(code: ErrorCode) -> Verdict {
    Verdict::Refused(code)
}

#[test]
fn create_checks_in_zookeepers_order() {
    let mut server = Server::new();
    assert_eq!(server.write(create("/a")), Verdict::Ok);
    assert_eq!(server.write(create_request("/a/e", EPHEMERAL)), Verdict::Ok);
    for (path, code) in [
        ("", ErrorCode::BadArguments),
        ("a", ErrorCode::BadArguments),
        ("/a/", ErrorCode::BadArguments),
        ("/\0", ErrorCode::BadArguments),
        ("//x", ErrorCode::BadArguments),
        ("/", ErrorCode::NodeExists),
        ("/a", ErrorCode::NodeExists),
        ("/x/y", ErrorCode::NoNode),
        ("/x/\u{1}", ErrorCode::NoNode),
        ("/a/\u{1}", ErrorCode::BadArguments),
        ("/a/e/x", ErrorCode::NoChildrenForEphemerals),
        ("/a/e/x/y", ErrorCode::NoNode),
    ] {
        assert_eq!(server.write(create(path)), refused(code), "{path:?}");
    }
    let bad_flags = Operation::Create(CreateRequest {
        path: "relative".into(),
        data: None,
        acl: Vec::new(),
        mode: None,
        with_stat: false,
    });
    assert_eq!(server.write(bad_flags), refused(ErrorCode::BadArguments));
    let no_acl = Operation::Create(CreateRequest {
        path: "/no/parent".into(),
        data: None,
        acl: Vec::new(),
        mode: Some(PERSISTENT),
        with_stat: false,
    });
    assert_eq!(server.write(no_acl), refused(ErrorCode::InvalidAcl), "before the parent");
}

#[test]
fn delete_checks_in_zookeepers_order() {
    let mut server = Server::new();
    server.write(create("/a"));
    server.write(create("/a/b"));
    for (path, version, code) in [
        ("/", -1, ErrorCode::BadArguments),
        ("/zookeeper", -1, ErrorCode::BadArguments),
        ("/zookeeper/quota", -1, ErrorCode::BadArguments),
        ("/zookeeper/config", -1, ErrorCode::BadArguments),
        ("a", -1, ErrorCode::BadArguments),
        ("/a/", -1, ErrorCode::NoNode),
        ("//", -1, ErrorCode::NoNode),
        ("/x/y", -1, ErrorCode::NoNode),
        ("/a", 7, ErrorCode::BadVersion),
        ("/a", 0, ErrorCode::NotEmpty),
    ] {
        assert_eq!(server.write(delete(path, version)), refused(code), "{path:?} {version}");
    }
    assert_eq!(server.write(delete("/a/b", 0)), Verdict::Ok);
    assert_eq!(server.write(delete("/a", -1)), Verdict::Ok);
}

#[test]
fn set_and_check_demand_a_valid_path_and_the_version() {
    let mut server = Server::new();
    for operation in [set("", -1), set("a", -1), set("/a/", -1), check("//", -1)] {
        assert_eq!(server.write(operation), refused(ErrorCode::BadArguments));
    }
    assert_eq!(server.write(set("/a", -1)), refused(ErrorCode::NoNode));
    assert_eq!(server.write(set("/", -1)), Verdict::Ok);
    assert_eq!(server.write(set("/", 0)), refused(ErrorCode::BadVersion));
    assert_eq!(server.write(set("/", 1)), Verdict::Ok);
    assert_eq!(server.stat("/").version, 2);
}

#[test]
fn every_attempt_takes_a_zxid() {
    let mut server = Server::new();
    server.write(create("/a"));
    server.write(create("/a"));
    server.run(|prep| prep.write(WriteRequest::Multi(Vec::new()), &caller(1)));
    server.run(|prep| prep.malformed_multi(&caller(1)));
    server.run(|prep| prep.create_session(7, 4_000));
    server.run(|prep| prep.close_session(7, 0));
    server.write(Operation::Refused(ErrorCode::ReconfigDisabled));
    assert_eq!(server.database.tree.last_zxid(), 7);
}

#[test]
fn sequential_names_count_the_children_ever_created() {
    let mut server = Server::new();
    server.write(create("/a"));
    server.write(create("/a/x"));
    server.write(create("/a/y"));
    server.write(delete("/a/x", -1));
    let name = |prepared: Prepared| match prepared.txn {
        Txn::Create { create, .. } => create.path,
        other => panic!("{other:?}"),
    };
    let sequential = |path: &str| WriteRequest::Single(create_request(path, SEQUENTIAL));
    let first = server.run(|prep| prep.write(sequential("/a/s-"), &caller(1)));
    assert_eq!(name(first), "/a/s-0000000002");
    let nameless = server.run(|prep| prep.write(sequential("/a/"), &caller(1)));
    assert_eq!(name(nameless), "/a/0000000003");
}

#[test]
fn the_counter_ends_at_its_greatest_value_in_a_batch_as_without_one() {
    let mut server = Server::new();
    server.write(create("/a"));
    let mut last = server.run(|prep| prep.write(WriteRequest::Single(create("/a/x")), &caller(1)));
    let Txn::Create { create, .. } = &mut last.txn else { panic!("{:?}", last.txn) };
    (create.path, create.parent_cversion) = ("/a/y".into(), i32::MAX);
    apply(&mut server.database, &last.header, &last.txn, &mut server.changes);
    let mut prep = Prep::new(&server.database.tree, OPTIONS, TIME);
    let mut next = || {
        let request = WriteRequest::Single(create_request("/a/s-", SEQUENTIAL));
        prep.write(request, &caller(1))
    };
    assert!(matches!(next().txn, Txn::Create { create, .. } if create.path == "/a/s-2147483647"));
    assert_eq!(next().verdict, refused(ErrorCode::NodeExists));
}

#[test]
fn a_failed_multi_leaves_no_trace_in_the_batch() {
    let mut server = Server::new();
    server.write(create("/a"));
    let tree = &server.database.tree;
    let mut prep = Prep::new(tree, OPTIONS, TIME);
    let multi = WriteRequest::Multi(vec![
        create_request("/a/s-", SEQUENTIAL),
        set("/a", 0),
        check("/nobody", -1),
        delete("/a", -1),
    ]);
    let failed = prep.write(multi, &caller(1));
    let code = ErrorCode::NoNode;
    assert_eq!(failed.verdict, Verdict::MultiRefused { count: 4, culprit: 2, code });
    assert_eq!(failed.digest, tree.digest());
    let next = prep.write(WriteRequest::Single(create_request("/a/s-", SEQUENTIAL)), &caller(1));
    assert!(matches!(next.txn, Txn::Create { create, .. } if create.path == "/a/s-0000000000"));
    assert_eq!(prep.write(WriteRequest::Single(set("/a", 0)), &caller(1)).verdict, Verdict::Ok);
}

#[test]
fn operations_of_a_multi_see_each_other() {
    let mut server = Server::new();
    let multi = WriteRequest::Multi(vec![
        create_request("/e", EPHEMERAL),
        set("/e", 0),
        check("/e", 1),
        delete("/e", 1),
        create("/e"),
    ]);
    let prepared = server.run(|prep| prep.write(multi, &caller(1)));
    assert_eq!(prepared.verdict, Verdict::Ok);
    assert_eq!(server.stat("/e").ephemeral_owner, 0);
}

#[test]
fn acls_are_checked_against_what_the_batch_leaves_behind() {
    let mut server = Server::new();
    server.write(create("/a"));
    let mut prep = Prep::new(&server.database.tree, OPTIONS, TIME);
    let closed = Operation::SetAcl {
        path: "/a".into(),
        acl: vec![Acl::new(acl::READ, "world", "anyone")],
        version: -1,
    };
    let mut write = |operation| prep.write(WriteRequest::Single(operation), &caller(1)).verdict;
    assert_eq!(write(closed), Verdict::Ok);
    assert_eq!(write(set("/a", -1)), refused(ErrorCode::NoAuth));
    assert_eq!(write(create("/a/b")), refused(ErrorCode::NoAuth));
    assert_eq!(write(delete("/a/b", -1)), refused(ErrorCode::NoAuth), "before NoNode");
    assert_eq!(write(check("/a", -1)), Verdict::Ok);
    assert_eq!(write(delete("/a", -1)), Verdict::Ok, "the parent's ACL counts");
}

#[test]
fn a_session_takes_its_ephemerals_with_it_those_of_the_batch_too() {
    let mut server = Server::new();
    server.write(create_request("/old", EPHEMERAL));
    server.write(create_request("/gone", EPHEMERAL));
    let mut prep = Prep::new(&server.database.tree, OPTIONS, TIME);
    let mut write =
        |operation, session| prep.write(WriteRequest::Single(operation), &caller(session)).verdict;
    assert_eq!(write(create_request("/new", EPHEMERAL), 1), Verdict::Ok);
    assert_eq!(write(delete("/gone", -1), 2), Verdict::Ok);
    assert_eq!(write(create_request("/gone", EPHEMERAL), 2), Verdict::Ok);
    let closed = prep.close_session(1, 9);
    let paths = Some(vec!["/new".to_owned(), "/old".to_owned()]);
    assert_eq!(closed.txn, Txn::CloseSession { paths });
    let closing = Caller { session_closing: true, ..caller(1) };
    let late = prep.write(WriteRequest::Single(create_request("/late", EPHEMERAL)), &closing);
    assert_eq!(late.verdict, refused(ErrorCode::SessionExpired));
}

#[test]
fn depth_and_size_are_bounded() {
    let mut server = Server::new();
    for path in ["/1", "/1/2", "/1/2/3", "/1/2/3/4", "/1/2/3/4/5"] {
        assert_eq!(server.write(create(path)), Verdict::Ok);
    }
    assert_eq!(server.write(create("/1/2/3/4/5/6")), refused(ErrorCode::BadArguments));

    // Each entry of the list becomes one for each identity: a small request, a large transaction.
    let long = "x".repeat(1_000);
    let identities: Vec<AuthId> = (0..100)
        .map(|i| AuthId { scheme: "digest".into(), id: format!("{i}:{long}").into() })
        .collect();
    let caller = Caller { identities: &identities, ..caller(1) };
    let auth = |path: &str, entries: i32| {
        Operation::Create(CreateRequest {
            path: path.to_owned(),
            data: None,
            acl: (0..entries).map(|perms| Acl::new(perms, "auth", "")).collect(),
            mode: Some(PERSISTENT),
            with_stat: false,
        })
    };
    let large = server.run(|prep| prep.write(WriteRequest::Single(auth("/a", 30)), &caller));
    assert_eq!(large.verdict, refused(ErrorCode::BadArguments));
    let operations = (0..30).map(|i| auth(&format!("/m{i}"), 1)).collect();
    let multi = server.run(|prep| prep.write(WriteRequest::Multi(operations), &caller));
    let code = ErrorCode::BadArguments;
    assert_eq!(multi.verdict, Verdict::MultiRefused { count: 30, culprit: 20, code });
    assert!(multi.txn.fits());
    assert!(!server.database.tree.contains("/m0"));
}

#[test]
fn ttl_nodes_need_the_extended_types_and_a_time_that_their_owner_can_hold() {
    let mut server = Server::new();
    let off = PrepOptions { extended_types: false, ..OPTIONS };
    let verdict = server.run_with(off, create_request("relative", ttl(1)));
    assert_eq!(verdict, refused(ErrorCode::Unimplemented), "before the path");
    for bad in [-1, 0, TTL_MAX + 1, i64::MIN] {
        let verdict = server.write(create_request("/t", ttl(bad)));
        assert_eq!(verdict, refused(ErrorCode::BadArguments), "{bad}");
    }
    assert_eq!(server.write(create_request("/t", ttl(TTL_MAX))), Verdict::Ok);
    assert_eq!(server.write(create("/t/child")), Verdict::Ok, "it may have children");
    assert_eq!(server.stat("/t").ephemeral_owner, 0, "a client doesn't see it");
}

#[test]
fn the_sweep_deletes_what_is_still_to_be_deleted() {
    let mut server = Server::new();
    server.write(create_request("/c", CONTAINER));
    server.write(create("/c/child"));
    server.write(create_request("/t", ttl(1)));
    let swept = |server: &mut Server, time: i64, path: &str| {
        let prepared = Prep::new(&server.database.tree, OPTIONS, time).sweep(path, 0);
        if let Some(prepared) = &prepared {
            server.apply(prepared);
        }
        prepared.map(|prepared| prepared.txn)
    };
    assert_eq!(swept(&mut server, TIME, "/c"), None, "it has a child");
    assert_eq!(swept(&mut server, TIME, "/c/child"), None, "an ordinary node");
    assert_eq!(swept(&mut server, TIME, "/nobody"), None);
    assert_eq!(swept(&mut server, TIME + 1, "/t"), None, "not yet");
    let deleted = |path: &str| Some(Txn::DeleteContainer { path: path.to_owned() });
    assert_eq!(swept(&mut server, TIME + 2, "/t"), deleted("/t"));
    server.write(delete("/c/child", -1));
    assert_eq!(swept(&mut server, TIME, "/c"), deleted("/c"));
    assert_eq!(server.stat("/").pzxid, server.database.tree.last_zxid());
}

#[test]
fn the_sweep_sees_what_its_batch_did_before_it() {
    let mut server = Server::new();
    server.write(create_request("/c", CONTAINER));
    server.write(create("/c/child"));
    let mut prep = Prep::new(&server.database.tree, OPTIONS, TIME);
    prep.write(WriteRequest::Single(delete("/c/child", -1)), &caller(1));
    prep.write(WriteRequest::Single(create("/c/other")), &caller(1));
    assert_eq!(prep.sweep("/c", 0), None);
    prep.write(WriteRequest::Single(delete("/c/other", -1)), &caller(1));
    assert!(prep.sweep("/c", 0).is_some());
    assert_eq!(prep.sweep("/c", 0), None, "only once");
}

#[test]
fn reconfig_needs_an_ensemble() {
    let mut server = Server::new();
    assert_eq!(server.write(Operation::Reconfig), refused(ErrorCode::ReconfigDisabled));
    let on = PrepOptions { reconfig_enabled: true, ..OPTIONS };
    assert_eq!(server.run_with(on, Operation::Reconfig), refused(ErrorCode::Unimplemented));
}

/// A node of `/q`, whose quota is `limits`.
fn with_quota(limits: &str) -> Server {
    let mut server = Server::new();
    let data = |path: &str, data: &str| {
        Operation::Create(CreateRequest {
            path: path.to_owned(),
            data: Some(Bytes::copy_from_slice(data.as_bytes())),
            acl: open_acl_unsafe().to_vec(),
            mode: Some(PERSISTENT),
            with_stat: false,
        })
    };
    for operation in [
        create("/q"),
        create("/zookeeper/quota/q"),
        data("/zookeeper/quota/q/zookeeper_limits", limits),
        data("/zookeeper/quota/q/zookeeper_stats", "count=0,bytes=0"),
    ] {
        assert_eq!(server.write(operation), Verdict::Ok);
    }
    server
}

#[test]
fn a_hard_quota_refuses_one_node_too_many_and_one_byte_too_many() {
    // Each node has one byte, `set` makes it two; `/q` itself counts.
    let exceeded = refused(ErrorCode::QuotaExceeded);
    let mut server = with_quota("count=1,bytes=1=;countHardLimit=2");
    assert_eq!(server.write(create("/q/a")), Verdict::Ok);
    assert_eq!(server.write(create("/q/b")), exceeded);
    assert_eq!(server.write(set("/q/a", 7)), refused(ErrorCode::BadVersion), "the quota allows it");
    assert_eq!(server.write(set("/q/a", -1)), Verdict::Ok, "bytes have a soft limit only");
    assert_eq!(server.write(delete("/q/a", -1)), Verdict::Ok);
    assert_eq!(server.write(create("/q/b")), Verdict::Ok);
    assert_eq!(server.write(create("/elsewhere")), Verdict::Ok);

    let mut server = with_quota("count=-1,bytes=-1=;byteHardLimit=2");
    assert_eq!(server.write(create("/q/a")), Verdict::Ok);
    assert_eq!(server.write(set("/q/a", 7)), exceeded, "before the version");
    assert_eq!(server.write(create("/q/b")), exceeded);
    let off = PrepOptions { enforce_quota: false, ..OPTIONS };
    assert_eq!(server.run_with(off, create("/q/b")), Verdict::Ok);
}

#[test]
fn a_hard_quota_holds_within_a_batch_and_within_a_multi() {
    let server = with_quota("count=-1,bytes=-1=;countHardLimit=3");
    let mut prep = Prep::new(&server.database.tree, OPTIONS, TIME);
    let mut write = |request| prep.write(request, &caller(1)).verdict;
    let single = WriteRequest::Single;
    assert_eq!(write(single(create("/q/a"))), Verdict::Ok);
    let too_many = WriteRequest::Multi(vec![create("/q/b"), create("/q/c")]);
    let code = ErrorCode::QuotaExceeded;
    assert_eq!(write(too_many), Verdict::MultiRefused { count: 2, culprit: 1, code });
    assert_eq!(write(single(create("/q/b"))), Verdict::Ok, "the multi was rolled back");
    assert_eq!(write(single(create("/q/c"))), refused(code));
    assert_eq!(write(single(delete("/q/a", -1))), Verdict::Ok);
    assert_eq!(write(single(create("/q/c"))), Verdict::Ok);
}

#[test]
fn a_soft_quota_warns() {
    let server = with_quota("count=1,bytes=-1");
    let mut prep = Prep::new(&server.database.tree, OPTIONS, TIME);
    assert_eq!(prep.take_quota_warning(), None);
    let verdict = prep.write(WriteRequest::Single(create("/q/a")), &caller(1)).verdict;
    assert_eq!(verdict, Verdict::Ok);
    assert_eq!(prep.take_quota_warning().as_deref(), Some("/q: 2 nodes of 1"));
    assert_eq!(prep.take_quota_warning(), None);
}

/// CVE-2026-100300
#[test]
fn cve_2026_100300_quota_nodes_that_cannot_be_read_are_refused() {
    let mut server = Server::new();
    assert_eq!(server.write(create("/zookeeper/quota/a")), Verdict::Ok);
    let limits = "/zookeeper/quota/a/zookeeper_limits";
    assert_eq!(server.write(create(limits)), refused(ErrorCode::BadArguments));
}

const PATHS: [&str; 6] = ["/a", "/a/b", "/a/c", "/d", "/d/e", "/"];

fn operation() -> impl Strategy<Value = Operation> {
    let path = || (0..PATHS.len()).prop_map(|i| PATHS[i]);
    prop_oneof![
        4 => (path(), 0..5).prop_map(|(path, flags)| {
            create_request(path, CreateMode::from_flags(flags).unwrap())
        }),
        1 => (path(), any::<bool>()).prop_map(|(path, sequential)| {
            create_request(path, CreateMode::Ttl { sequential, ttl: 1 })
        }),
        2 => (path(), -1..3).prop_map(|(path, version)| delete(path, version)),
        2 => (path(), -1..3).prop_map(|(path, version)| set(path, version)),
        1 => (path(), -1..3).prop_map(|(path, version)| check(path, version)),
        1 => (path(), -1..2, 0..32).prop_map(|(path, version, perms)| Operation::SetAcl {
            path: path.to_owned(),
            acl: vec![Acl::new(perms | acl::ADMIN, "world", "anyone")],
            version,
        }),
    ]
}

#[derive(Debug, Clone)]
enum Request {
    Write(i64, WriteRequest),
    Close(i64),
    Sweep(&'static str),
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        6 => (1..3_i64, operation())
            .prop_map(|(session, operation)| Request::Write(session, WriteRequest::Single(operation))),
        2 => (1..3_i64, proptest::collection::vec(operation(), 0..5))
            .prop_map(|(session, operations)| Request::Write(session, WriteRequest::Multi(operations))),
        1 => (1..3_i64).prop_map(Request::Close),
        2 => (0..PATHS.len()).prop_map(|i| Request::Sweep(PATHS[i])),
    ]
}

fn prepare(prep: &mut Prep<'_>, request: Request) -> Option<Prepared> {
    match request {
        Request::Write(session, request) => Some(prep.write(request, &caller(session))),
        Request::Close(session) => Some(prep.close_session(session, 0)),
        Request::Sweep(path) => prep.sweep(path, 0),
    }
}

/// What a client sees of a node, kept in the plainest way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ModelNode {
    czxid: i64,
    mzxid: i64,
    pzxid: i64,
    version: i32,
    aversion: i32,
    /// Children created and deleted: what `cversion` counts.
    child_changes: i32,
    children_created: i32,
    owner: i64,
    container: bool,
    data_length: i32,
    perms: i32,
}

/// ZooKeeper's semantics once more, one request at a time, written without regard for speed.
#[derive(Debug, Clone)]
struct Model(BTreeMap<String, ModelNode>);

impl Model {
    fn new() -> Self {
        let node = ModelNode {
            czxid: 0,
            mzxid: 0,
            pzxid: 0,
            version: 0,
            aversion: 0,
            child_changes: -1,
            children_created: 0,
            owner: 0,
            container: false,
            data_length: 0,
            perms: 31,
        };
        Model(BTreeMap::from([("/".to_owned(), node)]))
    }

    fn children(&self, path: &str) -> usize {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let below = |p: &&String| {
            p.len() > prefix.len() && p.starts_with(&prefix) && !p[prefix.len()..].contains('/')
        };
        self.0.keys().filter(below).count()
    }

    fn parent(path: &str) -> String {
        let at = path.rfind('/').unwrap();
        if at == 0 { "/".to_owned() } else { path[..at].to_owned() }
    }

    fn remove(&mut self, path: &str, zxid: i64) {
        self.0.remove(path);
        let parent = self.0.get_mut(&Model::parent(path)).unwrap();
        parent.child_changes += 1;
        parent.pzxid = zxid;
    }

    fn operation(
        &mut self,
        operation: &Operation,
        session: i64,
        zxid: i64,
    ) -> Result<(), ErrorCode> {
        match operation {
            Operation::Create(request) => {
                let parent_path = Model::parent(&request.path);
                let parent = self.0.get(&parent_path).ok_or(ErrorCode::NoNode)?.clone();
                if parent.perms & acl::CREATE == 0 {
                    return Err(ErrorCode::NoAuth);
                }
                let mode = request.mode.unwrap();
                let suffix = if mode.is_sequential() {
                    format!("{:010}", parent.children_created)
                } else {
                    String::new()
                };
                let path = format!("{}{suffix}", request.path);
                if self.0.contains_key(&path) {
                    return Err(ErrorCode::NodeExists);
                }
                if parent.owner != 0 {
                    return Err(ErrorCode::NoChildrenForEphemerals);
                }
                let parent = self.0.get_mut(&parent_path).unwrap();
                parent.child_changes += 1;
                parent.children_created += 1;
                parent.pzxid = zxid;
                let node = ModelNode {
                    czxid: zxid,
                    mzxid: zxid,
                    pzxid: zxid,
                    version: 0,
                    aversion: 0,
                    child_changes: 0,
                    children_created: 0,
                    owner: match mode {
                        CreateMode::Ephemeral { .. } => session,
                        _ => 0,
                    },
                    container: matches!(mode, CreateMode::Container { .. }),
                    data_length: 1,
                    perms: 31,
                };
                self.0.insert(path, node);
            }
            Operation::Delete { path, version } => {
                if path == "/" {
                    return Err(ErrorCode::BadArguments);
                }
                let parent = self.0.get(&Model::parent(path)).ok_or(ErrorCode::NoNode)?;
                if parent.perms & acl::DELETE == 0 {
                    return Err(ErrorCode::NoAuth);
                }
                let node = self.0.get(path).ok_or(ErrorCode::NoNode)?;
                if *version != -1 && *version != node.version {
                    return Err(ErrorCode::BadVersion);
                }
                if self.children(path) > 0 {
                    return Err(ErrorCode::NotEmpty);
                }
                self.remove(path, zxid);
            }
            Operation::SetData { path, version, .. } => {
                let node = self.0.get_mut(path).ok_or(ErrorCode::NoNode)?;
                if node.perms & acl::WRITE == 0 {
                    return Err(ErrorCode::NoAuth);
                }
                if *version != -1 && *version != node.version {
                    return Err(ErrorCode::BadVersion);
                }
                node.version += 1;
                node.mzxid = zxid;
                node.data_length = 2;
            }
            Operation::SetAcl { path, acl, version } => {
                let node = self.0.get_mut(path).ok_or(ErrorCode::NoNode)?;
                if *version != -1 && *version != node.aversion {
                    return Err(ErrorCode::BadVersion);
                }
                node.aversion += 1;
                node.perms = acl[0].perms;
            }
            Operation::Check { path, version } => {
                let node = self.0.get(path).ok_or(ErrorCode::NoNode)?;
                if node.perms & acl::READ == 0 {
                    return Err(ErrorCode::NoAuth);
                }
                if *version != -1 && *version != node.version {
                    return Err(ErrorCode::BadVersion);
                }
            }
            Operation::Reconfig => return Err(ErrorCode::ReconfigDisabled),
            Operation::Refused(code) => return Err(*code),
        }
        Ok(())
    }

    fn request(&mut self, request: &Request, zxid: i64) -> Option<Verdict> {
        Some(match request {
            Request::Write(session, WriteRequest::Single(operation)) => {
                match self.operation(operation, *session, zxid) {
                    Ok(()) => Verdict::Ok,
                    Err(code) => Verdict::Refused(code),
                }
            }
            Request::Write(session, WriteRequest::Multi(operations)) => {
                let before = self.clone();
                for (culprit, operation) in operations.iter().enumerate() {
                    if let Err(code) = self.operation(operation, *session, zxid) {
                        *self = before;
                        let count = operations.len();
                        return Some(Verdict::MultiRefused { count, culprit, code });
                    }
                }
                Verdict::Ok
            }
            Request::Close(session) => {
                let owned = |(_, node): &(&String, &ModelNode)| node.owner == *session;
                let paths: Vec<String> =
                    self.0.iter().filter(owned).map(|(path, _)| path.clone()).collect();
                for path in paths {
                    self.remove(&path, zxid);
                }
                Verdict::Ok
            }
            Request::Sweep(path) => {
                let node = self.0.get(*path)?;
                if !node.container || node.children_created == 0 || self.children(path) > 0 {
                    return None;
                }
                self.remove(path, zxid);
                Verdict::Ok
            }
        })
    }

    /// Everything but `/zookeeper`, which the model doesn't have.
    fn compare(&self, database: &Database) -> Result<(), TestCaseError> {
        let nodes = database.tree.nodes();
        let seen = nodes.filter(|node| !node.path().starts_with("/zookeeper")).count();
        prop_assert_eq!(seen, self.0.len());
        for (path, expected) in &self.0 {
            let stat = database.tree.node(path).unwrap().stat();
            let system = usize::from(path == "/");
            prop_assert_eq!(
                usize::try_from(stat.num_children).unwrap(),
                self.children(path) + system
            );
            prop_assert_eq!(stat.cversion, expected.child_changes, "{}", path);
            let got = (stat.czxid, stat.mzxid, stat.pzxid, stat.version, stat.aversion);
            let ModelNode { czxid, mzxid, pzxid, version, aversion, .. } = *expected;
            prop_assert_eq!(got, (czxid, mzxid, pzxid, version, aversion), "{}", path);
            prop_assert_eq!(stat.ephemeral_owner, expected.owner);
            prop_assert_eq!(stat.data_length, expected.data_length);
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn behaves_like_the_plain_model(requests in proptest::collection::vec(request(), 1..50)) {
        let (mut server, mut model) = (Server::new(), Model::new());
        for request in requests {
            let zxid = server.database.tree.last_zxid() + 1;
            let prepared = server.try_run(request.clone());
            let verdict = model.request(&request, zxid);
            prop_assert_eq!(prepared.map(|prepared| prepared.verdict), verdict, "{:?}", request);
            model.compare(&server.database)?;
        }
    }

    #[test]
    fn a_batch_comes_out_as_its_requests_one_by_one(
        before in proptest::collection::vec(request(), 0..20),
        batch in proptest::collection::vec(request(), 1..30),
    ) {
        let (mut one_by_one, mut at_once) = (Server::new(), Server::new());
        for request in before {
            one_by_one.try_run(request.clone());
            at_once.try_run(request);
        }
        let expected: Vec<Prepared> = batch
            .iter()
            .filter_map(|request| one_by_one.try_run(request.clone()))
            .collect();
        let prepared: Vec<Prepared> = {
            let mut prep = Prep::new(&at_once.database.tree, OPTIONS, TIME);
            batch.into_iter().filter_map(|request| prepare(&mut prep, request)).collect()
        };
        prop_assert_eq!(&prepared, &expected);
        for prepared in &prepared {
            at_once.apply(prepared);
        }
    }
}
