//! The `zookeeper-client` crate, which the Kafka side uses, against the coordinator.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use std::time::Duration;

use coordinator_support::Server;
use zookeeper_client::{
    Acls, AddWatchMode, Client, CreateMode, Error, EventType, SessionState, WatchedEvent,
};

async fn connect(server: &Server) -> Client {
    Client::connector()
        .with_session_timeout(Duration::from_secs(10))
        .connect(&server.address().to_string())
        .await
        .unwrap()
}

const OPEN: Acls<'_> = Acls::anyone_all();

#[tokio::test]
async fn nodes_versions_and_errors() {
    let server = Server::start().await;
    let client = connect(&server).await;
    let persistent = CreateMode::Persistent.with_acls(OPEN);
    let (stat, _) = client.create("/a", b"1", &persistent).await.unwrap();
    assert_eq!(stat.czxid, stat.mzxid);
    assert_eq!(client.create("/a", b"", &persistent).await.unwrap_err(), Error::NodeExists);
    assert_eq!(client.create("/x/y", b"", &persistent).await.unwrap_err(), Error::NoNode);
    let stat = client.set_data("/a", b"2", Some(0)).await.unwrap();
    assert_eq!(stat.version, 1);
    assert_eq!(client.set_data("/a", b"", Some(0)).await.unwrap_err(), Error::BadVersion);
    let (data, _) = client.get_data("/a").await.unwrap();
    assert_eq!(data, b"2");
    let sequential = CreateMode::EphemeralSequential.with_acls(OPEN);
    let (_, sequence) = client.create("/a/s-", b"", &sequential).await.unwrap();
    assert_eq!(sequence.to_string(), "0000000000");
    assert_eq!(client.list_children("/a").await.unwrap(), ["s-0000000000"]);
    assert_eq!(client.delete("/a", None).await.unwrap_err(), Error::NotEmpty);
    client.sync("/a").await.unwrap();
    assert!(client.check_stat("/b").await.unwrap().is_none());
}

#[tokio::test]
async fn a_registration_is_a_multi_that_tells_its_epoch() {
    let server = Server::start().await;
    let client = connect(&server).await;
    let ephemeral = CreateMode::Ephemeral.with_acls(OPEN);
    let mut writer = client.new_multi_writer();
    writer.add_create("/broker", b"", &ephemeral).unwrap();
    writer.add_set_data("/broker", b"{}", Some(0)).unwrap();
    let results = writer.commit().await.unwrap();
    assert_eq!(results.len(), 2);
    let stat = client.check_stat("/broker").await.unwrap().unwrap();
    assert_eq!((stat.czxid, stat.version), (stat.mzxid, 1));

    let mut reader = client.new_multi_reader();
    for _ in 0..100 {
        reader.add_get_data("/broker").unwrap();
    }
    assert_eq!(reader.commit().await.unwrap().len(), 100);
}

#[tokio::test]
async fn watches_of_each_kind() {
    let server = Server::start().await;
    let (client, writer) = (connect(&server).await, connect(&server).await);
    let persistent = CreateMode::Persistent.with_acls(OPEN);
    let (_, one_shot) = client.check_and_watch_stat("/a").await.unwrap();
    let mut recursive = client.watch("/a", AddWatchMode::PersistentRecursive).await.unwrap();
    writer.create("/a", b"", &persistent).await.unwrap();
    writer.create("/a/b", b"", &persistent).await.unwrap();
    writer.set_data("/a/b", b"1", None).await.unwrap();
    writer.delete("/a/b", None).await.unwrap();
    let fired = one_shot.changed().await;
    assert_eq!((fired.event_type, fired.path.as_str()), (EventType::NodeCreated, "/a"));
    let mut events = Vec::new();
    for _ in 0..4 {
        let WatchedEvent { event_type, path, .. } = recursive.changed().await;
        events.push((event_type, path));
    }
    let expected = [
        (EventType::NodeCreated, "/a"),
        (EventType::NodeCreated, "/a/b"),
        (EventType::NodeDataChanged, "/a/b"),
        (EventType::NodeDeleted, "/a/b"),
    ];
    assert_eq!(events, expected.map(|(kind, path)| (kind, path.to_owned())));
}

#[tokio::test]
async fn a_client_finds_its_session_again_after_a_restart() {
    let server = Server::start().await;
    let port = server.address().port();
    let client = connect(&server).await;
    let ephemeral = CreateMode::Ephemeral.with_acls(OPEN);
    client.create("/e", b"", &ephemeral).await.unwrap();
    let mut state = client.state_watcher();
    let directory = server.stop().await;
    while client.state() != SessionState::Disconnected {
        state.changed().await;
    }
    let server =
        Server::start_on(directory, |config| config.client_address.as_mut().unwrap().port = port)
            .await;
    while client.state() != SessionState::SyncConnected {
        state.changed().await;
    }
    let stat = client.check_stat("/e").await.unwrap().unwrap();
    assert_eq!(stat.ephemeral_owner, client.session_id().0);
    drop(server);
}
