//! The built binary as a gateway: its ready file, its endpoint, its end, and a broker's port that
//! somebody else has.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod gateway_support;
mod kafka_support;
mod support;

use std::net::SocketAddr;

use gateway_support::{Played, Stage, eventually};
use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest, MetadataResponse};
use kafka_support::Client;
use rustix::process::Signal;
use support::Server;

/// A gateway's arguments: one listener on a free port, and these settings.
fn arguments(stage: &Stage, more: &[String]) -> Vec<String> {
    let settings = [
        "process.roles=gateway".to_owned(),
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        "doorkeeper.http.listener=127.0.0.1:0".to_owned(),
        format!("zookeeper.connect={}", stage.connect()),
    ];
    let settings = settings.into_iter().chain(more.iter().cloned());
    settings.flat_map(|setting| ["--override".to_owned(), setting]).collect()
}

/// Starts it beside this test's runtime, which serves its coordinator.
async fn started(arguments: Vec<String>) -> Server {
    tokio::task::spawn_blocking(move || Server::start(&arguments)).await.unwrap()
}

fn bootstrap(server: &Server) -> SocketAddr {
    let address = server.ready()["gateways"][0]["listeners"]["PLAINTEXT"].clone();
    address.as_str().unwrap().parse().unwrap()
}

async fn everything(at: SocketAddr) -> MetadataResponse {
    Client::connect(at).await.ask(12, &MetadataRequest::default().with_topics(None)).await
}

fn brokers(answer: &MetadataResponse) -> Vec<(i32, i32)> {
    answer.brokers.iter().map(|broker| (broker.node_id.0, broker.port)).collect()
}

/// A sample of the metrics page.
fn metric(server: &Server, name: &str) -> Option<f64> {
    let (status, page) = server.get("/metrics");
    assert_eq!(status, 200);
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_where_it_serves_and_stops_cleanly() {
    let stage = Stage::new().await;
    let broker = Played::new().await;
    stage.register(1, broker.address).await;
    stage.topic("t", 1).await;
    let server = started(arguments(&stage, &[])).await;
    assert!(server.banner.starts_with(&format!("doorkeeper {} serves", doorkeeper::VERSION)));
    let ready = server.ready();
    assert_eq!((&ready["brokers"], &ready["coordinator"]), (&serde_json::json!([]), &().into()));
    assert_eq!(ready["gateways"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/healthz").0, 200);
    assert_eq!(server.get("/readyz"), (200, "gateway: ready\n".to_owned()));
    let answer = everything(bootstrap(&server)).await;
    assert_eq!(brokers(&answer), [(1, i32::from(broker.address.port()))]);
    assert_eq!(answer.topics.len(), 1);
    // A connection that is idle does not keep it from its end.
    let mut idle = Client::connect(bootstrap(&server)).await;
    idle.ask(0, &ApiVersionsRequest::default()).await;
    let ready_file = server.ready_file();
    server.signal(Signal::TERM);
    let (status, _, stderr) = tokio::task::spawn_blocking(|| server.end()).await.unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "a clean run logs nothing at WARN");
    assert!(!ready_file.exists());
    assert_eq!(idle.frame().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brokers_port_that_is_taken_is_an_error_until_it_is_free() {
    // Somebody has the second broker's port. Below the range of outgoing connections, where nobody
    // gets one by chance.
    let (base, first, occupant) = loop {
        let base = 10_000 + u16::from_be_bytes(rand::random()) % 20_000;
        let bind = |id: u16| std::net::TcpListener::bind(("127.0.0.1", base + id));
        if let (Ok(first), Ok(second)) = (bind(1), bind(2)) {
            break (base, first, second);
        }
    };
    drop(first);
    let stage = Stage::new().await;
    let (one, two) = (Played::new().await, Played::new().await);
    stage.register(1, one.address).await;
    stage.register(2, two.address).await;
    let relay = [
        "doorkeeper.gateway.addresses=gateway".to_owned(),
        format!("doorkeeper.gateway.port.base={base}"),
    ];
    let server = started(arguments(&stage, &relay)).await;
    let without = "doorkeeper_gateway_brokers_without_port";
    assert_eq!(metric(&server, without), Some(1.0));
    let at = bootstrap(&server);
    let port = |id: u16| i32::from(base + id);
    assert_eq!(
        brokers(&everything(at).await),
        [(1, port(1))],
        "no address is better than a wrong one"
    );

    drop(occupant);
    eventually(async || {
        (brokers(&everything(at).await) == [(1, port(1)), (2, port(2))]).then_some(())
    })
    .await;
    assert_eq!(metric(&server, without), Some(0.0));
    let by_its_port = SocketAddr::from(([127, 0, 0, 1], base + 2));
    assert_eq!(everything(by_its_port).await.brokers.len(), 2);
    server.signal(Signal::TERM);
    let (status, _, stderr) = tokio::task::spawn_blocking(|| server.end()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let errors: Vec<&str> = stderr.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(matches!(errors[..], [said] if said.contains("broker=2")), "said once: {stderr}");
}
