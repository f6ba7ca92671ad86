//! The whole process killed with `kill -9` and started again on its data.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster_support;
mod support;

use std::time::{Duration, Instant};

use cluster_support::{coordinator, exists, json};
use rustix::process::Signal;
use support::{Server, embedded};

/// A start that had to wait for an old session would take its 18 s.
const SOON: Duration = Duration::from_secs(15);

fn killed(server: Server) {
    server.signal(Signal::KILL);
    let _ = server.end();
}

#[test]
fn an_embedded_broker_replaces_its_own_registration() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let begun = Instant::now();
        let server = Server::start(&embedded(dir.path()));
        assert!(begun.elapsed() < SOON, "round {round}: {:?}", begun.elapsed());
        killed(server);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_replaces_its_own_registration_on_a_coordinator_that_stayed() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let client = cluster_support::client(address).await;
    let file = dir.path().join("server.properties");
    let text = format!(
        "broker.id=4\nzookeeper.connect={address}/chroot\nlisteners=PLAINTEXT://127.0.0.1:0\n\
         log.dirs={}\n",
        dir.path().join("logs").display()
    );
    std::fs::write(&file, text).unwrap();
    let mut owners = Vec::new();
    for round in 0..3 {
        let arguments = [file.clone()];
        let begun = Instant::now();
        let server = tokio::task::spawn_blocking(move || Server::start(&arguments)).await.unwrap();
        assert!(begun.elapsed() < SOON, "round {round}: {:?}", begun.elapsed());
        let (_, stat) = client.get_data("/chroot/brokers/ids/4").await.unwrap();
        assert!(!owners.contains(&stat.ephemeral_owner), "a new session, a new registration");
        owners.push(stat.ephemeral_owner);
        assert_eq!(json(&client, "/chroot/controller").await["brokerid"], 4);
        tokio::task::spawn_blocking(move || killed(server)).await.unwrap();
        assert!(exists(&client, "/chroot/brokers/ids/4").await, "its session is still there");
    }
}
