//! A gateway whose configuration changes while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod gateway_support;
mod kafka_support;
mod support;

use std::path::Path;

use gateway_support::{Played, Stage, eventually};
use kafka_protocol::messages::MetadataRequest;
use kafka_support::Client;
use rustix::process::Signal;
use support::Server;

fn write(file: &Path, stage: &Stage, more: &str) {
    let connect = stage.connect();
    let text = format!(
        "process.roles=gateway\nlisteners=PLAINTEXT://127.0.0.1:0\nzookeeper.connect={connect}\n\
         doorkeeper.http.listener=127.0.0.1:0\n{more}"
    );
    // As one step: half a file is another configuration.
    doorkeeper::durable_file::write(file, text.as_bytes()).unwrap();
}

fn metric(server: &Server, name: &str) -> Option<f64> {
    let page = server.get("/metrics").1;
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_without_a_connection_being_dropped() {
    let stage = Stage::new().await;
    let broker = Played::new().await;
    stage.register(1, broker.address).await;
    stage.topic("t", 1).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.properties");
    write(&file, &stage, "max.connections=50\n");
    let arguments = vec![file.display().to_string()];
    let server = tokio::task::spawn_blocking(move || Server::start(&arguments)).await.unwrap();
    let at = server.ready()["gateways"][0]["listeners"]["PLAINTEXT"].clone();
    let at = at.as_str().unwrap().parse().unwrap();
    let cap = || metric(&server, "doorkeeper_gateway_connections_max");
    assert_eq!(cap(), Some(50.0));
    let mut client = Client::connect(at).await;
    let everything = MetadataRequest::default().with_topics(None);
    assert_eq!(client.ask(12, &everything).await.topics.len(), 1);

    // By its file alone; with a key that can't change.
    write(&file, &stage, "max.connections=1\nauto.create.topics.enable=false\n");
    eventually(async || (cap() == Some(1.0)).then_some(())).await;
    assert_eq!(client.ask(12, &everything).await.topics.len(), 1, "it stays");
    let mut another = Client::connect(at).await;
    assert_eq!(another.frame().await, None, "there is one already");

    // By a signal.
    write(&file, &stage, "max.connections=7\n");
    server.signal(Signal::HUP);
    eventually(async || (cap() == Some(7.0)).then_some(())).await;
    assert_eq!(client.ask(12, &everything).await.topics.len(), 1);
    let mut another = Client::connect(at).await;
    assert_eq!(another.ask(12, &everything).await.topics.len(), 1);

    server.signal(Signal::TERM);
    let (status, _, stderr) = tokio::task::spawn_blocking(|| server.end()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let said = |text: &str| stderr.lines().any(|line| line.contains("WARN") && line.contains(text));
    assert!(said("auto.create.topics.enable"), "{stderr}");
}
