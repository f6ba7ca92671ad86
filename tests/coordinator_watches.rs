//! Watches over real sockets: what fires, for whom, in which order.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use coordinator_support::*;
use doorkeeper::zookeeper::acl::{self, Acl};

fn event(kind: i32, path: &str, zxid: i64) -> (i32, String, i64) {
    (kind, path.to_owned(), zxid)
}

#[tokio::test]
async fn an_event_comes_before_the_reply_of_the_write_that_fired_it() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    client.ask(GET_DATA, &watched("/a", true)).await;
    let xid = client.send(SET_DATA, &set_data("/a", b"1", -1)).await;
    let fired = client.event().await;
    let reply = client.next().await.unwrap();
    assert_eq!((reply.xid, fired), (xid, event(CHANGED, "/a", reply.zxid)));
    client.ask(SET_DATA, &set_data("/a", b"2", -1)).await;
    client.is_quiet().await;
}

#[tokio::test]
async fn an_event_comes_before_any_reply_that_shows_the_change() {
    let server = Server::start().await;
    let mut writer = server.connect().await;
    let mut reader = server.connect().await;
    writer.create("/a", 0).await;
    for round in 0..200 {
        let before = reader.ask(GET_DATA, &watched("/a", true)).await.data_and_stat().1;
        writer.send(SET_DATA, &set_data("/a", b"x", round)).await;
        // Asked again and again: the first reply with the new version has the event before it.
        let mut told = false;
        'asking: loop {
            let xid = reader.send(GET_DATA, &watched("/a", false)).await;
            loop {
                let next = reader.next().await.unwrap();
                if next.xid == -1 {
                    told = true;
                    continue;
                }
                assert_eq!(next.xid, xid);
                if next.data_and_stat().1.version > before.version {
                    break 'asking;
                }
                assert!(!told, "the event came before a reply that doesn't show the change");
                break;
            }
        }
        assert!(told, "round {round}: the change was seen before its event");
        assert_eq!(writer.next().await.unwrap().err, 0);
    }
}

#[tokio::test]
async fn exists_watches_what_is_not_there_and_get_data_does_not() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    assert_eq!(client.ask(GET_DATA, &watched("/a", true)).await.err, NO_NODE);
    assert_eq!(client.ask(GET_CHILDREN, &watched("/a", true)).await.err, NO_NODE);
    client.create("/a", 0).await;
    client.ask(DELETE, &versioned("/a", -1)).await;
    client.is_quiet().await;
    assert_eq!(client.ask(EXISTS, &watched("/a", true)).await.err, NO_NODE);
    client.send(CREATE, &open("/a", 0)).await;
    assert_eq!(client.event().await.0, CREATED);
}

#[tokio::test]
async fn a_deletion_tells_data_and_child_watches_once_then_the_parent() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    client.create("/a/b", 0).await;
    client.ask(GET_DATA, &watched("/a/b", true)).await;
    client.ask(GET_CHILDREN, &watched("/a/b", true)).await;
    client.ask(GET_CHILDREN, &watched("/a", true)).await;
    client.send(DELETE, &versioned("/a/b", -1)).await;
    let (first, second) = (client.event().await, client.event().await);
    assert_eq!((first.0, first.1.as_str()), (DELETED, "/a/b"));
    assert_eq!((second.0, second.1.as_str()), (CHILDREN, "/a"));
    assert_eq!(client.next().await.unwrap().err, 0);
}

#[tokio::test]
async fn the_events_of_a_multi_have_one_zxid_and_come_in_its_order() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for path in ["/a", "/b"] {
        client.ask(EXISTS, &watched(path, true)).await;
    }
    client.ask(GET_CHILDREN, &watched("/", true)).await;
    client.send(MULTI, &multi(&[(CREATE, open("/b", 0)), (CREATE, open("/a", 0))])).await;
    let events = [client.event().await, client.event().await, client.event().await];
    let zxid = client.next().await.unwrap().zxid;
    let expected =
        [event(CREATED, "/b", zxid), event(CHILDREN, "/", zxid), event(CREATED, "/a", zxid)];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn persistent_and_recursive_watches_stay_until_removed() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let mut writer = server.connect().await;
    let added = client.ask(ADD_WATCH, &versioned("/p", 0)).await;
    assert_eq!((added.err, added.body), (0, vec![0; 4]));
    client.ask(ADD_WATCH, &versioned("/r", 1)).await;
    for root in ["/p", "/r"] {
        writer.create(root, 0).await;
        writer.create(&format!("{root}/c"), 0).await;
        writer.ask(SET_DATA, &set_data(&format!("{root}/c"), b"", -1)).await;
        writer.ask(SET_DATA, &set_data(root, b"", -1)).await;
    }
    let mut events = Vec::new();
    for _ in 0..7 {
        let (kind, path, _) = client.event().await;
        events.push((kind, path));
    }
    let expected = [
        (CREATED, "/p"),
        (CHILDREN, "/p"),
        (CHANGED, "/p"),
        (CREATED, "/r"),
        (CREATED, "/r/c"),
        (CHANGED, "/r/c"),
        (CHANGED, "/r"),
    ];
    assert_eq!(events, expected.map(|(kind, path)| (kind, path.to_owned())));
    assert_eq!(client.ask(REMOVE_WATCHES, &versioned("/p", 5)).await.err, -121);
    assert_eq!(client.ask(REMOVE_WATCHES, &versioned("/p", 4)).await.err, 0);
    assert_eq!(client.ask(REMOVE_WATCHES, &versioned("/r", 3)).await.err, 0);
    writer.ask(SET_DATA, &set_data("/p", b"", -1)).await;
    writer.ask(SET_DATA, &set_data("/r", b"", -1)).await;
    client.is_quiet().await;
}

#[tokio::test]
async fn set_watches_tells_what_was_missed_and_registers_the_rest() {
    let server = Server::start().await;
    let mut writer = server.connect().await;
    for path in ["/same", "/changed", "/gone", "/parent", "/still"] {
        writer.create(path, 0).await;
    }
    let seen = writer.create("/last", 0).await.zxid;
    writer.ask(SET_DATA, &set_data("/changed", b"", -1)).await;
    writer.ask(DELETE, &versioned("/gone", -1)).await;
    writer.create("/parent/child", 0).await;
    writer.create("/born", 0).await;

    let mut client = server.connect().await;
    let lists: [&[&str]; 3] =
        [&["/same", "/changed", "/gone"], &["/born", "/unborn"], &["/parent", "/still", "/gone"]];
    client.send_as(-8, SET_WATCHES, &set_watches(seen, &lists)).await;
    let mut events = Vec::new();
    for _ in 0..5 {
        events.push(client.event().await);
    }
    let expected = [
        event(CHANGED, "/changed", -1),
        event(DELETED, "/gone", -1),
        event(CREATED, "/born", -1),
        event(CHILDREN, "/parent", -1),
        event(DELETED, "/gone", -1),
    ];
    assert_eq!(events, expected);
    let reply = client.next().await.unwrap();
    assert_eq!((reply.xid, reply.err), (-8, 0));
    writer.ask(SET_DATA, &set_data("/same", b"", -1)).await;
    assert_eq!(client.event().await.1, "/same");
    writer.create("/unborn", 0).await;
    assert_eq!(client.event().await.1, "/unborn");
    writer.create("/still/child", 0).await;
    let fired = client.event().await;
    assert_eq!((fired.0, fired.1.as_str()), (CHILDREN, "/still"));
}

#[tokio::test]
async fn nobody_is_told_of_a_node_that_they_may_not_read() {
    let server = Server::start().await;
    let mut owner = server.connect().await;
    owner.ask(AUTH, &auth("digest", b"joe:secret")).await;
    let hidden = [Acl::new(acl::ALL, "auth", "")];
    let mut other = server.connect().await;
    other.ask(ADD_WATCH, &versioned("/h", 1)).await;
    other.ask(EXISTS, &watched("/h", true)).await;
    let created = owner.ask(CREATE, &create("/h", b"", 0, &hidden)).await.zxid;
    owner.ask(SET_DATA, &set_data("/h", b"1", -1)).await;
    other.is_quiet().await;
    // What setWatches catches up is withheld as well.
    let lists: [&[&str]; 3] = [&["/h"], &["/h"], &["/h"]];
    other.send_as(-8, SET_WATCHES, &set_watches(created - 1, &lists)).await;
    assert_eq!(other.next().await.unwrap().xid, -8);
    owner.send_as(-8, SET_WATCHES, &set_watches(created - 1, &lists)).await;
    let told = [owner.event().await.0, owner.event().await.0, owner.event().await.0];
    assert_eq!(told, [CHANGED, CREATED, CHILDREN]);
}

#[tokio::test]
async fn watches_go_with_their_connection() {
    let server = Server::start().await;
    let mut old = server.connect().await;
    old.create("/a", 0).await;
    old.ask(GET_DATA, &watched("/a", true)).await;
    old.ask(ADD_WATCH, &versioned("/a", 1)).await;
    let mut new = Client::open(server.address(), old.hello()).await.unwrap();
    old.is_closed().await;
    new.ask(SET_DATA, &set_data("/a", b"", -1)).await;
    new.is_quiet().await;
}
