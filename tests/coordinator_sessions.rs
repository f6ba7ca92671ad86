//! Sessions over real sockets: handshake, re-attach, expiry, close, restart.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use std::time::{Duration, Instant};

use coordinator_support::*;
use doorkeeper::zookeeper::session::password;
use tokio::io::AsyncReadExt as _;

#[tokio::test]
async fn a_handshake_gives_id_password_and_a_clamped_timeout() {
    let server = Server::start().await;
    for (wished, given) in [(0, 100), (-1, 100), (5_000, 5_000), (i32::MAX, 20_000)] {
        let hello = Hello { timeout_ms: wished, ..Hello::default() };
        let client = Client::open(server.address(), hello).await.unwrap();
        assert_eq!(client.timeout_ms, given, "{wished}");
        assert_eq!(client.session >> 56, 1, "a standalone server's high byte");
        assert_eq!(client.password, password(client.session));
    }
}

#[tokio::test]
async fn old_clients_get_no_read_only_byte() {
    let server = Server::start().await;
    let old = Hello { read_only: None, ..Hello::default() };
    let mut client = Client::open(server.address(), old.clone()).await.unwrap();
    assert!(client.exists("/").await);
    let expired = Hello { session: 99, ..old };
    let refused = Client::open(server.address(), expired).await.unwrap();
    assert_eq!((refused.session, refused.timeout_ms), (0, 0));
}

#[tokio::test]
async fn session_ids_grow() {
    let server = Server::start().await;
    let first = server.connect().await.session;
    let second = server.connect().await.session;
    assert_eq!(second, first + 1);
    let server = Server::start_on(server.stop().await, |_| ()).await;
    assert!(server.connect().await.session > second, "over a restart too");
}

#[tokio::test]
async fn a_client_from_the_future_is_sent_away_without_an_answer() {
    let server = Server::start().await;
    let ahead = Hello { last_zxid: 1_000, ..Hello::default() };
    assert!(Client::open(server.address(), ahead).await.is_none());
}

#[tokio::test]
async fn a_session_is_taken_up_by_another_connection_and_the_old_one_is_closed() {
    let server = Server::start().await;
    let mut old = server.connect().await;
    old.create("/e", 1).await;
    let mut new = Client::open(server.address(), old.hello()).await.unwrap();
    assert_eq!((new.session, &new.password), (old.session, &old.password));
    old.is_closed().await;
    let stat = new.ask(EXISTS, &watched("/e", false)).await.stat();
    assert_eq!(stat.ephemeral_owner, new.session);
}

#[tokio::test]
async fn a_wrong_password_is_answered_with_zeros_and_disturbs_nobody() {
    let server = Server::start().await;
    let mut owner = server.connect().await;
    for password in [vec![0; 16], vec![], vec![7; 15]] {
        let wrong = Hello { password, ..owner.hello() };
        let mut refused = Client::open(server.address(), wrong).await.unwrap();
        assert_eq!((refused.timeout_ms, refused.session), (0, 0));
        assert_eq!(refused.password, [0; 16]);
        refused.is_closed().await;
    }
    assert!(owner.exists("/").await);
}

#[tokio::test]
async fn an_idle_session_expires_and_its_ephemerals_go_in_one_transaction() {
    let server = Server::start().await;
    let mut watcher = server.connect().await;
    let hello = Hello { timeout_ms: 4_000, ..Hello::default() };
    let mut idle = Client::open(server.address(), hello).await.unwrap();
    let mut silent_since = Instant::now();
    for path in ["/e1", "/e2"] {
        watcher.ask(EXISTS, &watched(path, true)).await;
        silent_since = Instant::now();
        idle.create(path, 1).await;
        assert_eq!(watcher.event().await.0, CREATED);
        watcher.ask(EXISTS, &watched(path, true)).await;
    }
    let first = watcher.event().await;
    let lived = silent_since.elapsed();
    let second = watcher.event().await;
    assert_eq!((first.0, first.1.as_str()), (DELETED, "/e1"));
    assert_eq!((second.0, second.1.as_str()), (DELETED, "/e2"));
    assert_eq!(first.2, second.2, "one zxid");
    assert!(lived >= Duration::from_millis(3_990), "{lived:?}");
    idle.is_closed().await;
    let gone = Client::open(server.address(), idle.hello()).await.unwrap();
    assert_eq!(gone.session, 0);
}

#[tokio::test]
async fn every_request_keeps_a_session_alive() {
    let server = Server::start().await;
    let hello = Hello { timeout_ms: 4_000, ..Hello::default() };
    let mut client = Client::open(server.address(), hello).await.unwrap();
    client.create("/e", 1).await;
    let until = Instant::now() + Duration::from_millis(8_500);
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.is_quiet().await;
    }
    assert!(client.exists("/e").await);
}

#[tokio::test]
async fn closing_a_session_is_answered_and_then_the_connection_is_closed() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/e", 1).await;
    let reply = client.ask(CLOSE_SESSION, &[]).await;
    assert_eq!((reply.err, reply.body.len()), (0, 0));
    assert!(reply.zxid > 0);
    client.is_closed().await;
    assert!(!server.connect().await.exists("/e").await);
    assert_eq!(Client::open(server.address(), client.hello()).await.unwrap().session, 0);
}

#[tokio::test]
async fn sessions_and_ephemerals_outlive_a_restart_with_their_full_timeout() {
    let server = Server::start().await;
    let hello = Hello { timeout_ms: 8_000, ..Hello::default() };
    let mut client = Client::open(server.address(), hello.clone()).await.unwrap();
    client.create("/e", 1).await;
    tokio::time::sleep(Duration::from_millis(4_100)).await;
    let server = Server::start_on(server.stop().await, |_| ()).await;
    client.is_closed().await;
    tokio::time::sleep(Duration::from_millis(4_100)).await;
    let again = Hello { timeout_ms: 8_000, ..client.hello() };
    let mut client = Client::open(server.address(), again).await.unwrap();
    assert_ne!(client.session, 0, "8,200 ms of silence, 4,100 of them after the restart");
    let stat = client.ask(EXISTS, &watched("/e", false)).await.stat();
    assert_eq!(stat.ephemeral_owner, client.session);
    let shorter = Hello { timeout_ms: 500, ..client.hello() };
    let client = Client::open(server.address(), shorter).await.unwrap();
    assert_eq!((client.session, client.timeout_ms), (stat.ephemeral_owner, 500));

    // Nobody takes it up after the next restart: it expires.
    let server = Server::start_on(server.stop().await, |_| ()).await;
    let mut other = server.connect().await;
    if other.ask(EXISTS, &watched("/e", true)).await.err == 0 {
        assert_eq!(other.event().await.0, DELETED);
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_holds_nothing_up() {
    let server = Server::start().await;
    let silent = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    assert!(server.connect().await.exists("/").await);
    let stopped = Instant::now();
    server.stop().await;
    assert!(stopped.elapsed() < Duration::from_secs(30), "as long as a stop may take is more");
    let mut silent = silent;
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn connections_from_one_address_are_capped() {
    let server = Server::start_with(|config| config.max_client_cnxns = 2).await;
    let _first = server.connect().await;
    let second = server.connect().await;
    assert!(Client::open(server.address(), Hello::default()).await.is_none());
    drop(second);
    let deadline = Instant::now() + Duration::from_secs(30);
    while Client::open(server.address(), Hello::default()).await.is_none() {
        assert!(Instant::now() < deadline, "a place that was freed is not given again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
