//! Four-letter words: their layouts, their counters, their bounds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod coordinator_support;

use coordinator_support::{DELETE, DELETED, GET_CHILDREN, GET_DATA, Server, versioned, watched};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn ask(server: &Server, word: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(word).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// The value of a key of `mntr`.
fn value(mntr: &str, key: &str) -> u64 {
    let line = mntr.lines().find_map(|line| line.strip_prefix(&format!("zk_{key}\t")));
    line.unwrap_or_else(|| panic!("no {key} in {mntr}")).parse().unwrap()
}

#[tokio::test]
async fn connections_sessions_and_watches_are_listed_as_zookeeper_lists_them() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let session = format!("{:#x}", client.session);
    client.create("/a", 0).await;
    client.create("/a/e", 1).await;
    client.ask(GET_DATA, &watched("/a", true)).await;
    client.ask(GET_DATA, &watched("/a/e", true)).await;
    client.ask(GET_CHILDREN, &watched("/a", true)).await;
    let peer = client.stream.local_addr().unwrap();

    let cons = ask(&server, b"cons").await;
    let line = cons.lines().find(|line| line.contains(&peer.to_string())).unwrap();
    assert!(line.starts_with(&format!(" /{peer}[1](queued=0,recved=6,sent=")), "{line}");
    for part in
        [format!(",sid={session},lop=GETC,est="), ",lcxid=0x".into(), ",lzxid=0x3,lresp=".into()]
    {
        assert!(line.contains(&part), "{part} in {line}");
    }
    assert!(cons.ends_with(")\n\n"), "{cons:?}");

    let dump = ask(&server, b"dump").await;
    assert!(
        dump.starts_with("SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at "),
        "{dump}"
    );
    let ephemerals = format!(
        ":\n\t{session}\nephemeral nodes dump:\nSessions with Ephemerals (1):\n{session}:\n\t/a/e\n\
         Connections dump:\nConnections Sets ("
    );
    assert!(dump.contains(&ephemerals), "{dump}");
    assert!(dump.contains(&format!("\tip: /{peer} sessionId: {session}\n")), "{dump}");

    assert_eq!(ask(&server, b"wchs").await, "1 connections watching 2 paths\nTotal watches:2\n");
    let by_session = ask(&server, b"wchc").await;
    assert!(by_session.starts_with(&format!("{session}\n\t/a")), "{by_session}");
    assert_eq!(by_session.len(), session.len() + "\n\t/a\n\t/a/e\n\n".len());
    let by_path = ask(&server, b"wchp").await;
    assert!(by_path.contains(&format!("/a/e\n\t{session}\n")), "{by_path}");
    assert_eq!(value(&ask(&server, b"mntr").await, "watch_count"), 3, "children's too");
}

#[tokio::test]
async fn counters_begin_at_zero_again_when_they_are_reset() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/app", 0).await;
    client.create("/app/x", 0).await;
    client.ask(GET_DATA, &watched("/app/x", true)).await;
    client.send(DELETE, &versioned("/app/x", -1)).await;
    assert_eq!(client.event().await.0, DELETED);
    assert_eq!(client.next().await.unwrap().err, 0);
    let mntr = ask(&server, b"mntr").await;
    assert!(mntr.starts_with("zk_version\t3.9."), "{mntr}");
    for (key, expected) in [
        ("cnt_updatelatency", 4),
        ("cnt_node_deleted_watch_count", 1),
        ("sum_node_deleted_watch_count", 1),
        // "/app", "/app/x" with a byte of data each, and "/app/x" deleted.
        ("cnt_app_write_per_namespace", 3),
        ("sum_app_write_per_namespace", 18),
        // The header, type, state and path of one event.
        ("watch_bytes", 16 + 4 + 4 + 4 + 6),
        ("connection_request_count", 1),
        ("digest_mismatches_count", 0),
        ("looking_count", 0),
    ] {
        assert_eq!(value(&mntr, key), expected, "{key}");
    }
    assert!(value(&mntr, "cnt_fsynctime") >= 1 && value(&mntr, "response_bytes") > 68);
    assert!(value(&mntr, "max_updatelatency") >= value(&mntr, "p50_updatelatency"));
    assert_eq!(ask(&server, b"crst").await, "Connection stats reset.\n");
    let cons = ask(&server, b"cons").await;
    assert!(cons.contains("recved=0,sent=0,sid=0x") && cons.contains(",lop=NA,"), "{cons}");
    assert_eq!(ask(&server, b"srst").await, "Server stats reset.\n");
    let mntr = ask(&server, b"mntr").await;
    assert_eq!(value(&mntr, "cnt_updatelatency"), 0);
    assert!(!mntr.contains("_app_write_per_namespace"), "{mntr}");
}

#[tokio::test]
async fn the_trace_mask_is_kept_and_directories_have_sizes() {
    let server = Server::start().await;
    assert_eq!(ask(&server, b"gtmk").await, "306");
    assert_eq!(ask(&server, b"stmk\0\0\0\0\0\0\0\x05").await, "5");
    assert_eq!(ask(&server, b"gtmk").await, "5");
    let dirs = ask(&server, b"dirs").await;
    let sizes: Vec<u64> = dirs
        .lines()
        .zip(["datadir_size: ", "logdir_size: "])
        .map(|(line, name)| line.strip_prefix(name).unwrap().parse().unwrap())
        .collect();
    assert!(sizes[0] > 0 && sizes[0] == sizes[1], "one folder: {dirs}");
    let envi = ask(&server, b"envi").await;
    assert!(envi.starts_with("Environment:\nzookeeper.version=3.9."), "{envi}");
}

#[tokio::test]
async fn digests_are_kept_of_every_128th_transaction() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    assert_eq!(ask(&server, b"hash").await, "");
    for i in 0..130 {
        client.create(&format!("/n{i}"), 0).await;
    }
    let hash = ask(&server, b"hash").await;
    assert!(hash.starts_with("80: ") && hash.lines().count() == 1, "{hash}");
}

#[tokio::test]
async fn srvr_is_answered_whatever_the_whitelist_says() {
    let server = Server::start_with(|config| config.four_letter_whitelist = Vec::new()).await;
    assert!(ask(&server, b"srvr").await.starts_with("Zookeeper version: 3.9."));
    let refused = "ruok is not executed because it is not in the whitelist.\n";
    assert_eq!(ask(&server, b"ruok").await, refused);
}
