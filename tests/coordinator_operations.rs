//! What few clients ask for: containers, TTL nodes, ephemerals of one's own, counts, reconfig.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use std::time::{Duration, Instant};

use coordinator_support::*;
use doorkeeper::config::CoordinatorConfig;
use doorkeeper::config::Secret;
use doorkeeper::zookeeper::acl::{self, Acl};
use doorkeeper::zookeeper::jute::Reader;
use doorkeeper::zookeeper::stat::Stat;

/// Looks for what is to be deleted all the time.
fn eager(config: &mut CoordinatorConfig) {
    config.container_check_interval = Duration::from_millis(10);
    config.container_max_per_minute = u32::MAX;
    config.extended_types_enabled = true;
}

fn strings(body: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(body);
    let count = reader.int().unwrap();
    (0..count).map(|_| reader.string().unwrap().unwrap().to_owned()).collect()
}

/// Waits for the next event, which is that `path` is deleted.
async fn deleted(client: &mut Client, path: &str) {
    let (kind, found, zxid) = client.event().await;
    assert_eq!((kind, found.as_str()), (DELETED, path));
    assert!(zxid > 0, "the sweep's own transaction");
}

#[tokio::test]
async fn a_container_goes_after_its_last_child_and_an_unused_one_stays() {
    let server = Server::start_with(eager).await;
    let mut client = server.connect().await;
    let made = client.ask(CREATE_CONTAINER, &open("/used", 4)).await;
    let mut reader = Reader::new(&made.body);
    assert_eq!(reader.string().unwrap(), Some("/used"));
    let stat = Stat::read(&mut reader).unwrap();
    assert_eq!((stat.czxid, stat.ephemeral_owner), (made.zxid, 0), "its owner is not shown");
    client.ask(CREATE_CONTAINER, &open("/unused", 4)).await;
    client.ask(CREATE, &open("/ordinary", 4)).await;
    for parent in ["/used", "/ordinary"] {
        client.create(&format!("{parent}/child"), 0).await;
    }
    client.ask(EXISTS, &watched("/used", true)).await;
    for parent in ["/ordinary", "/used"] {
        client.ask(DELETE, &versioned(&format!("{parent}/child"), -1)).await;
    }
    deleted(&mut client, "/used").await;
    // Whoever looked at one has looked at all of them.
    assert!(client.exists("/unused").await);
    assert!(client.exists("/ordinary").await, "only createContainer makes one");
}

#[tokio::test]
async fn a_container_that_was_never_used_goes_if_told_so() {
    let server = Server::start_with(|config| {
        eager(config);
        config.container_max_never_used_ms = 1;
    })
    .await;
    let mut client = server.connect().await;
    client.ask(EXISTS, &watched("/c", true)).await;
    client.send(CREATE_CONTAINER, &open("/c", 4)).await;
    assert_eq!(client.event().await.0, CREATED);
    assert_eq!(client.next().await.unwrap().err, 0);
    while client.ask(EXISTS, &watched("/c", true)).await.err == 0 {
        deleted(&mut client, "/c").await;
    }
}

#[tokio::test]
async fn a_ttl_node_goes_when_its_time_is_over_and_it_has_no_children() {
    let server = Server::start_with(eager).await;
    let mut client = server.connect().await;
    let made = client.ask(CREATE_TTL, &create_ttl("/t-", 6, 3_600_000)).await;
    let path = Reader::new(&made.body).string().unwrap().unwrap().to_owned();
    assert_eq!((made.err, path.as_str()), (0, "/t-0000000000"));
    // Its time is over before anybody could make its child in a request of its own.
    let both = [(CREATE_TTL, create_ttl("/t", 5, 1)), (CREATE, open("/t/child", 0))];
    assert_eq!(client.ask(MULTI, &multi(&both)).await.err, 0);
    let stat = client.ask(EXISTS, &watched("/t", true)).await.stat();
    assert_eq!(stat.ephemeral_owner, 0);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(client.exists("/t").await, "it has a child");
    client.send(DELETE, &versioned("/t/child", -1)).await;
    // The event of the node itself may only come after the reply to the delete.
    assert_eq!(client.next().await.unwrap().err, 0);
    deleted(&mut client, "/t").await;
}

#[tokio::test]
async fn ttl_nodes_outlive_a_restart_until_their_time_is_over() {
    let server = Server::start_with(eager).await;
    let mut client = server.connect().await;
    assert_eq!(client.ask(CREATE_TTL, &create_ttl("/long", 5, 3_600_000)).await.err, 0);
    assert_eq!(client.ask(CREATE_TTL, &create_ttl("/short", 5, 1)).await.err, 0);
    client.ask(CREATE_CONTAINER, &open("/c", 4)).await;
    client.create("/c/child", 1).await;
    client.ask(CLOSE_SESSION, &[]).await;
    let server = Server::start_on(server.stop().await, eager).await;
    let mut client = server.connect().await;
    for path in ["/short", "/c"] {
        let deadline = Instant::now() + Duration::from_secs(30);
        while client.exists(path).await {
            assert!(Instant::now() < deadline, "{path}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(client.exists("/long").await);
}

#[tokio::test]
async fn without_extended_types_nothing_has_a_time_to_live() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    assert_eq!(client.ask(CREATE_TTL, &create_ttl("/t", 5, 1_000)).await.err, -6);
    assert_eq!(client.ask(CREATE, &open("/t", 5)).await.err, -6);
    assert!(!client.exists("/t").await);
}

#[tokio::test]
async fn a_multi_makes_containers_and_ttl_nodes_and_answers_as_create2() {
    let server = Server::start_with(|config| config.extended_types_enabled = true).await;
    let mut client = server.connect().await;
    let operations = [
        (CREATE_CONTAINER, open("/c", 4)),
        (CREATE, open("/d", 4)),
        (CREATE_TTL, create_ttl("/t", 5, 1_000_000)),
    ];
    let done = client.ask(MULTI, &multi(&operations)).await;
    let mut reader = Reader::new(&done.body);
    for path in ["/c", "/d", "/t"] {
        assert_eq!((reader.int(), reader.bool(), reader.int()), (Ok(15), Ok(false), Ok(0)));
        assert_eq!(reader.string().unwrap(), Some(path));
        assert_eq!(Stat::read(&mut reader).unwrap().czxid, done.zxid);
    }
    assert_eq!((reader.int(), reader.bool(), reader.int()), (Ok(-1), Ok(true), Ok(-1)));
    let bad = multi(&[(CREATE, open("/e", 5))]);
    assert_eq!(client.ask(MULTI, &bad).await.err, -5, "no place for its time");
}

#[tokio::test]
async fn ephemerals_are_those_of_the_session_below_a_prefix() {
    let server = Server::start().await;
    let (mut mine, mut other) = (server.connect().await, server.connect().await);
    for path in ["/a", "/a/deep", "/b"] {
        mine.create(path, 0).await;
    }
    for path in ["/a/deep/e1", "/a/e2", "/b/e3"] {
        mine.create(path, 1).await;
    }
    other.create("/a/foreign", 1).await;
    let mut ask = async |prefix: &str| strings(&mine.ask(GET_EPHEMERALS, &path(prefix)).await.body);
    assert_eq!(ask("/").await, ["/a/deep/e1", "/a/e2", "/b/e3"]);
    assert_eq!(ask("").await.len(), 3);
    assert_eq!(ask("/a").await, ["/a/deep/e1", "/a/e2"]);
    assert_eq!(ask("/a/d").await, ["/a/deep/e1"], "a prefix of the text");
    assert!(ask("/c").await.is_empty());
    assert_eq!(strings(&other.ask(GET_EPHEMERALS, &path("/")).await.body), ["/a/foreign"]);
}

#[tokio::test]
async fn all_children_are_counted_at_every_depth() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for path in ["/a", "/a/b", "/a/b/c", "/a/d", "/ab"] {
        client.create(path, 0).await;
    }
    let mut ask = async |at: &str| {
        let reply = client.ask(GET_ALL_CHILDREN_NUMBER, &path(at)).await;
        (reply.err, Reader::new(&reply.body).int().unwrap_or(-1))
    };
    assert_eq!(ask("/a").await, (0, 3));
    assert_eq!(ask("/a/b/c").await, (0, 0));
    assert_eq!(ask("/zookeeper").await, (0, 2));
    assert_eq!(ask("/").await, (0, 8));
    assert_eq!(ask("/nobody").await, (NO_NODE, -1));

    client.ask(AUTH, &auth("digest", b"joe:secret")).await;
    let hidden = [Acl::new(acl::ALL, "auth", "")];
    client.ask(CREATE, &create("/hidden", b"", 0, &hidden)).await;
    let mut other = server.connect().await;
    assert_eq!(other.ask(GET_ALL_CHILDREN_NUMBER, &path("/hidden")).await.err, NO_AUTH);
}

#[tokio::test]
async fn who_am_i_says_what_was_proved_in_its_order() {
    let server = Server::start_with(|config| {
        config.auth.super_digest = Some(Secret::new("super:D/InIHSb7yEEbrWz8b9l71RjZJU="));
    })
    .await;
    let mut client = server.connect().await;
    client.ask(AUTH, &auth("digest", b"joe:secret")).await;
    client.ask(AUTH, &auth("digest", b"super:test")).await;
    let reply = client.ask(WHO_AM_I, &[]).await;
    let mut reader = Reader::new(&reply.body);
    let count = reader.int().unwrap();
    let mut next = || reader.string().unwrap().unwrap().to_owned();
    let found: Vec<_> = (0..count).map(|_| format!("{} {}", next(), next())).collect();
    assert_eq!(found, ["ip 127.0.0.1", "digest joe", "super ", "digest super"]);
}

#[tokio::test]
async fn check_watches_says_whether_there_is_one() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/w", 0).await;
    client.ask(GET_DATA, &watched("/w", true)).await;
    for (kind, err) in [(1, -121), (2, 0), (3, 0), (4, -121), (5, -121), (6, -5)] {
        assert_eq!(client.ask(CHECK_WATCHES, &versioned("/w", kind)).await.err, err, "{kind}");
    }
    let mut other = server.connect().await;
    assert_eq!(other.ask(CHECK_WATCHES, &versioned("/w", 2)).await.err, -121, "one's own");
}

#[tokio::test]
async fn a_reconfig_is_refused_as_a_single_server_does() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let before = client.create("/a", 0).await.zxid;
    let refused = client.ask(RECONFIG, &reconfig()).await;
    assert_eq!((refused.err, refused.zxid), (-123, before + 1));
    assert_eq!(client.ask(RECONFIG, &[]).await.err, -5);
    let server = Server::start_with(|config| config.reconfig_enabled = true).await;
    assert_eq!(server.connect().await.ask(RECONFIG, &reconfig()).await.err, -6);
}

#[tokio::test]
async fn quotas_count_and_the_hard_ones_hold() {
    let server = Server::start_with(|config| config.enforce_quota = true).await;
    let mut client = server.connect().await;
    for path in ["/q", "/q/a", "/zookeeper/quota/q"] {
        client.create(path, 0).await;
    }
    let limits = create(
        "/zookeeper/quota/q/zookeeper_limits",
        b"count=-1,bytes=-1=;byteHardLimit=100;countHardLimit=3",
        0,
        &acl::open_acl_unsafe(),
    );
    let stats = "/zookeeper/quota/q/zookeeper_stats";
    assert_eq!(client.ask(CREATE, &limits).await.err, 0);
    let made = create(stats, b"count=0,bytes=0", 0, &acl::open_acl_unsafe());
    assert_eq!(client.ask(CREATE, &made).await.err, 0);
    client.ask(GET_DATA, &watched(stats, true)).await;
    let usage = async |client: &mut Client| {
        let (data, stat) = client.ask(GET_DATA, &watched(stats, false)).await.data_and_stat();
        assert_eq!(stat.version, 0, "the server's own changes have no version");
        String::from_utf8(data.unwrap()).unwrap()
    };
    assert_eq!(usage(&mut client).await, "count=2,bytes=2");
    client.create("/q/b", 0).await;
    assert_eq!(client.create("/q/c", 0).await.err, -125);
    assert_eq!(client.ask(SET_DATA, &set_data("/q/a", &[1; 99], -1)).await.err, -125);
    assert_eq!(client.ask(SET_DATA, &set_data("/q/a", &[1; 98], -1)).await.err, 0);
    assert_eq!(usage(&mut client).await, "count=3,bytes=100");
    assert_eq!(client.ask(DELETE, &versioned("/q/b", -1)).await.err, 0);
    assert_eq!(usage(&mut client).await, "count=2,bytes=99");
    let server = Server::start_on(server.stop().await, |_| ()).await;
    let mut client = server.connect().await;
    assert_eq!(usage(&mut client).await, "count=2,bytes=99");
    assert_eq!(client.create("/q/c", 0).await.err, 0);
    assert_eq!(client.create("/q/d", 0).await.err, 0, "not enforced");
    assert_eq!(usage(&mut client).await, "count=4,bytes=101");
}
