//! What a coordinator finds on its directory, and why it doesn't start.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use coordinator_support::*;
use doorkeeper::zookeeper::server::Coordinator;
use tempfile::TempDir;

/// What a crash leaves: the files as they are at this moment.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_crash() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    for round in 0..50 {
        client.create("/a/s-", 2).await;
        client.ask(SET_DATA, &set_data("/a", round.to_string().as_bytes(), round)).await;
    }
    client.create("/e", 1).await;
    client.ask(MULTI, &multi(&[(CREATE, open("/m", 0)), (CHECK, versioned("/nobody", 0))])).await;
    let last = client.ask(MULTI, &multi(&[(CREATE, open("/m", 0))])).await.zxid;

    let crashed = TempDir::new().unwrap();
    copy(server.directory.path(), crashed.path());
    let again = Server::start_on(crashed, |_| ()).await;
    let mut client = Client::open(again.address(), client.hello()).await.unwrap();
    assert_ne!(client.session, 0, "the session is there");
    let (data, stat) = client.ask(GET_DATA, &watched("/a", false)).await.data_and_stat();
    assert_eq!(data.as_deref(), Some(&b"49"[..]));
    assert_eq!((stat.version, stat.num_children, stat.cversion), (50, 50, 50));
    let owner = client.ask(EXISTS, &watched("/e", false)).await.stat().ephemeral_owner;
    assert_eq!(owner, client.session);
    let reply = client.ask(EXISTS, &watched("/m", false)).await;
    assert_eq!((reply.stat().czxid, reply.zxid), (last, last));
    assert_eq!(client.create("/a/s-", 2).await.string(), "/a/s-0000000050");
}

#[tokio::test]
async fn snapshots_are_taken_while_writes_go_on_and_old_ones_are_purged() {
    let server = Server::start_with(|config| {
        config.snap_count = 50;
        config.snap_retain_count = 3;
        config.purge_interval = Duration::from_millis(100);
    })
    .await;
    let mut client = server.connect().await;
    let snapshots = |directory: &Path| {
        let files = fs::read_dir(directory.join("version-2")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("snapshot.")).count()
    };
    for i in 0..1_000 {
        client.create(&format!("/n{i}"), 0).await;
    }
    let mut tries = 0;
    while !(1..=4).contains(&snapshots(server.directory.path())) {
        tries += 1;
        assert!(tries < 300, "{} snapshots", snapshots(server.directory.path()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let server = Server::start_on(server.stop().await, |_| ()).await;
    let mut client = server.connect().await;
    let root = client.ask(EXISTS, &watched("/", false)).await.stat();
    assert_eq!(root.num_children, 1_001);
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    for version in 0..200 {
        client.send(SET_DATA, &set_data("/a", b"x", version)).await;
    }
    // The first answer shows that some are in the pipeline.
    assert_eq!(client.next().await.unwrap().err, 0);
    let stop = tokio::spawn(server.stop());
    let mut acknowledged = 1;
    while let Some(reply) = client.next().await {
        assert_eq!(reply.err, 0);
        acknowledged += 1;
    }
    let server = Server::start_on(stop.await.unwrap(), |_| ()).await;
    let mut client = server.connect().await;
    let stat = client.ask(EXISTS, &watched("/a", false)).await.stat();
    assert_eq!(stat.version, acknowledged, "no more and no less than was acknowledged");
}

async fn refusal(change: impl FnOnce(&mut doorkeeper::config::CoordinatorConfig)) -> String {
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path());
    change(&mut config);
    let error = Coordinator::start(config).await.expect_err("it must not start").to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[tokio::test]
async fn what_prevents_a_start_is_said_in_one_line() {
    let server = Server::start().await;
    let port = server.address().port();
    let error = refusal(|config| config.client_address.as_mut().unwrap().port = port).await;
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("in use"), "{error}");

    let locked = server.directory.path().to_owned();
    let error = refusal(|config| {
        (config.data_dir, config.data_log_dir) = (locked.clone(), locked.clone());
    })
    .await;
    assert!(error.contains(&*locked.to_string_lossy()), "{error}");
    assert!(server.connect().await.exists("/").await, "the one that has it goes on");

    let file = server.directory.path().join("a file");
    fs::write(&file, "").unwrap();
    let error = refusal(|config| {
        (config.data_dir, config.data_log_dir) = (file.join("sub"), file.join("sub"));
    })
    .await;
    assert!(error.contains("a file"), "{error}");
}
