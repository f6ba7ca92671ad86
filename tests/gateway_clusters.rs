//! One gateway for several brokers on one port, told apart by name, and for several clusters: each with
//! its own answers, metrics and trouble.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod gateway_support;
mod kafka_support;
mod support;
mod tls_support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use doorkeeper::config::gateway::{GatewayAddresses, RelayNames};
use doorkeeper::config::{GatewayConfig, SecurityProtocol};
use doorkeeper::net::tls::ClientAuth;
use gateway_support::{Played, Stage, address, config, eventually, start};
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse};
use kafka_support::{Client, frame};
use rcgen::SanType;
use rustls::ClientConfig;
use support::Server;
use tls_support::{Authority, Pair, connect_as, write};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

const LIST_OFFSETS: i16 = ApiKey::ListOffsets as i16;

/// A certificate for every host below these domains.
fn certificate(authority: &Authority, domains: &[&str]) -> Pair {
    authority.sign_with("gateway", |params| {
        for domain in domains {
            let name = format!("*.{domain}").try_into().unwrap();
            params.subject_alt_names.push(SanType::DnsName(name));
        }
    })
}

async fn at(
    host: &str,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Client<TlsStream<TcpStream>> {
    Client::over(connect_as(host, address, config).await.unwrap())
}

async fn told(client: &mut Client<TlsStream<TcpStream>>) -> MetadataResponse {
    client.ask(9, &MetadataRequest::default().with_topics(None)).await
}

fn brokers(answer: &MetadataResponse) -> Vec<(i32, String, i32)> {
    let mut brokers: Vec<_> = answer
        .brokers
        .iter()
        .map(|broker| (broker.node_id.0, broker.host.as_str().to_owned(), broker.port))
        .collect();
    brokers.sort();
    brokers
}

fn topics(answer: &MetadataResponse) -> Vec<&str> {
    answer.topics.iter().filter_map(|topic| Some(topic.name.as_ref()?.as_str())).collect()
}

#[tokio::test]
async fn one_port_has_a_name_for_every_broker() {
    let (authority, files) = (Authority::new("ca"), tempfile::tempdir().unwrap());
    let stage = Stage::new().await;
    let (mut first, mut second) = (Played::new().await, Played::new().await);
    stage.register(1, first.address).await;
    stage.topic("t", 1).await;
    let server = certificate(&authority, &["kafka.example.com"]);
    let mut tls = tls_support::config(files.path(), &server, &authority.pem);
    tls.client_auth = ClientAuth::None;
    let names = |advertised_port| {
        let pattern = "Broker-{id}.kafka.example.com".parse().unwrap();
        GatewayAddresses::Names(RelayNames { pattern, advertised_port })
    };
    let mut config = GatewayConfig { addresses: names(None), ..config(&stage.connect()) };
    config.listeners[0].protocol = SecurityProtocol::Ssl;
    config.listeners[0].tls = Some(tls);
    let gateway = start(config.clone()).await;
    let (at_gateway, trust) = (address(&gateway), tls_support::client(&authority, None));
    let port = i32::from(at_gateway.port());

    for host in ["bootstrap.kafka.example.com", "localhost", "broker-x.kafka.example.com"] {
        let answer = told(&mut at(host, at_gateway, &trust).await).await;
        assert_eq!(
            brokers(&answer),
            [(1, "broker-1.kafka.example.com".to_owned(), port)],
            "{host}"
        );
    }
    // A broker that comes has a name at once.
    stage.register(2, second.address).await;
    eventually(async || {
        let answer = told(&mut at("b.kafka.example.com", at_gateway, &trust).await).await;
        (brokers(&answer).len() == 2).then_some(())
    })
    .await;
    for (host, broker) in
        [("broker-1.kafka.example.com", &mut first), ("BROKER-2.kafka.example.com", &mut second)]
    {
        let mut client = at(host, at_gateway, &trust).await;
        client.write(&frame(LIST_OFFSETS, 5, 7, b"body")).await;
        tokio::io::AsyncWriteExt::flush(&mut client.stream).await.unwrap();
        let mut upstream = broker.conversation().await;
        let (head, _) = upstream.request().await.unwrap();
        assert_eq!((head.key, head.correlation), (LIST_OFFSETS, 7), "{host}");
    }
    // The name of a broker that isn't there answers questions still.
    let mut gone = at("broker-9.kafka.example.com", at_gateway, &trust).await;
    assert_eq!(brokers(&told(&mut gone).await).len(), 2);
    gateway.shutdown(gateway_support::PATIENCE).await;

    config.addresses = names(Some(443));
    let gateway = start(config).await;
    let answer = told(&mut at("b.kafka.example.com", address(&gateway), &trust).await).await;
    assert!(brokers(&answer).iter().all(|(_, _, port)| *port == 443));
    gateway.shutdown(gateway_support::PATIENCE).await;
}

/// A way to a coordinator that can be closed.
struct Way {
    address: SocketAddr,
    open: Arc<AtomicBool>,
}

impl Way {
    async fn closed(to: String) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, open) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let is_open = open.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if !is_open.load(Ordering::Relaxed) {
                    continue;
                }
                let to = to.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Way { address, open }
    }
}

/// The file of a gateway for the clusters `a` and `b`, with these lines.
fn properties(dir: &Path, a: &str, b: &str, lines: &str) -> String {
    let path = dir.join("gateway.properties");
    let text = format!(
        "process.roles=gateway\ndoorkeeper.http.listener=127.0.0.1:0\n\
         doorkeeper.gateway.clusters=a,b\ndoorkeeper.gateway.addresses=gateway\n\
         doorkeeper.gateway.cluster.a.zookeeper.connect={a}\n\
         doorkeeper.gateway.cluster.b.zookeeper.connect={b}\n{lines}",
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn front<'a>(ready: &'a serde_json::Value, cluster: &str) -> &'a serde_json::Value {
    let fronts = ready["gateways"].as_array().unwrap();
    fronts.iter().find(|front| front["cluster"] == cluster).unwrap_or(&serde_json::Value::Null)
}

fn listener(ready: &serde_json::Value, cluster: &str, name: &str) -> SocketAddr {
    front(ready, cluster)["listeners"][name].as_str().unwrap().parse().unwrap()
}

/// What the test does from another thread than the one that its brokers live on.
async fn apart<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(call).await.unwrap()
}

/// A cluster of one broker, and one topic.
async fn cluster(topic: &str, id: i32) -> Stage {
    let stage = Stage::new().await;
    stage.register(id, "127.0.0.1:1".parse().unwrap()).await;
    stage.topic(topic, id).await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_share_a_listener_by_host_names_and_nothing_else() {
    let (authority, dir) = (Authority::new("ca"), tempfile::tempdir().unwrap());
    let (a, b) = (cluster("of-a", 1).await, cluster("of-b", 2).await);
    let domains = ["a.example.com", "b.example.com"];
    let server = certificate(&authority, &domains);
    let store = write(dir.path(), "server.pem", &server.pem);
    let lines = format!(
        "listeners=SSL://127.0.0.1:0\nssl.keystore.type=PEM\nssl.keystore.location={}\n\
         doorkeeper.gateway.cluster.a.sni.host=all.a.example.com\n\
         doorkeeper.gateway.cluster.a.sni.pattern=b{{id}}.a.example.com\n\
         doorkeeper.gateway.cluster.b.sni.host=all.b.example.com\n\
         doorkeeper.gateway.cluster.b.sni.pattern=b{{id}}.b.example.com\n\
         doorkeeper.gateway.listener.ssl.brokers=PLAINTEXT\n",
        store.display()
    );
    let file = properties(dir.path(), &a.connect(), &b.connect(), &lines);
    let server = apart(move || Server::start(&[file])).await;
    let ready = server.ready();
    let shared = listener(&ready, "a", "SSL");
    assert_eq!(listener(&ready, "b", "SSL"), shared);
    let port = i32::from(shared.port());
    assert_eq!(front(&ready, "a")["brokers"]["1"]["SSL"], format!("b1.a.example.com:{port}"));

    let trust = tls_support::client(&authority, None);
    for (host, topic, broker) in [
        ("all.a.example.com", "of-a", (1, "b1.a.example.com".to_owned(), port)),
        ("all.b.example.com", "of-b", (2, "b2.b.example.com".to_owned(), port)),
        ("b1.a.example.com", "of-a", (1, "b1.a.example.com".to_owned(), port)),
        ("b7.b.example.com", "of-b", (2, "b2.b.example.com".to_owned(), port)),
    ] {
        let answer = told(&mut at(host, shared, &trust).await).await;
        assert_eq!((topics(&answer), brokers(&answer)), (vec![topic], vec![broker]), "{host}");
    }
    // Nobody knows which cluster such a client wants.
    for host in ["localhost", "other.a.example.com"] {
        let mut lost = at(host, shared, &trust).await;
        lost.write(&frame(3, 9, 1, b"")).await;
        assert_eq!(lost.answer_if_any().await, None, "{host}");
    }
    let (server, metrics) = apart(move || {
        let metrics = server.get("/metrics").1;
        (server, metrics)
    })
    .await;
    for line in [
        "doorkeeper_cluster_brokers{cluster=\"a\"} 1",
        "doorkeeper_cluster_topics{cluster=\"b\"} 1",
        "doorkeeper_gateway_requests_total{api=\"Metadata\",outcome=\"here\",cluster=\"a\"} 2",
        "doorkeeper_gateway_requests_total{api=\"Metadata\",outcome=\"here\",cluster=\"b\"} 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    apart(move || server.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_cluster_serves_while_the_other_has_no_coordinator() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (cluster("of-a", 1).await, cluster("of-b", 2).await);
    let way = Way::closed(b.connect()).await;
    let file = properties(
        dir.path(),
        &a.connect(),
        &way.address.to_string(),
        "doorkeeper.gateway.port.base=0\nzookeeper.connection.timeout.ms=2000\n\
         doorkeeper.gateway.cluster.a.listeners=PLAINTEXT://127.0.0.1:0\n\
         doorkeeper.gateway.cluster.b.listeners=PLAINTEXT://127.0.0.1:0\n",
    );
    let server = Arc::new(apart(move || Server::start(&[file])).await);
    let get = async |path: &'static str| {
        let server = server.clone();
        apart(move || server.get(path)).await
    };
    let ready = server.ready();
    assert_eq!(front(&ready, "b"), &serde_json::Value::Null);
    let request = MetadataRequest::default().with_topics(None);
    let answer = Client::connect(listener(&ready, "a", "PLAINTEXT")).await.ask(9, &request).await;
    assert_eq!(topics(&answer), ["of-a"]);
    assert_eq!(get("/readyz/a").await, (200, "ready\n".to_owned()));
    let (status, text) = get("/readyz").await;
    assert_eq!(status, 503);
    assert!(text.contains("gateway a: ready\n") && text.contains("gateway b: not ready: waiting"));
    assert_eq!(get("/readyz/b").await.0, 503);
    assert_eq!(get("/readyz/c").await.0, 404);

    way.open.store(true, Ordering::Relaxed);
    let ready = eventually(async || {
        let ready = server.ready();
        (!front(&ready, "b").is_null()).then_some(ready)
    })
    .await;
    let answer = Client::connect(listener(&ready, "b", "PLAINTEXT")).await.ask(9, &request).await;
    assert_eq!(topics(&answer), ["of-b"]);
    let port = answer.brokers[0].port;
    assert_eq!(front(&ready, "b")["brokers"]["2"]["PLAINTEXT"], format!("127.0.0.1:{port}"));
    assert_eq!(get("/readyz").await.0, 200);
    let server = Arc::into_inner(server).unwrap();
    apart(move || server.stop()).await;
}
