//! TLS between clients and a gateway: who is let in, what happens to those who aren't, and new
//! certificates.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod gateway_support;
mod kafka_support;
mod tls_support;

use std::net::SocketAddr;
use std::sync::Arc;

use doorkeeper::config::gateway::GatewayAuthorizer;
use doorkeeper::config::{GatewayConfig, SecurityProtocol};
use doorkeeper::gateway::Gateway;
use doorkeeper::kafka::security::{AclRules, PrincipalMapper};
use doorkeeper::net::tls::{ClientAuth, TlsConfig};
use gateway_support::{Stage, address, config, eventually, in_time, relay, start};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use kafka_support::Client;
use rustls::ClientConfig;
use tls_support::{Authority, client, client_of, connect, write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A gateway whose only listener speaks TLS, in front of a broker that the test plays.
struct Scene {
    stage: Stage,
    gateway: Gateway,
    files: tempfile::TempDir,
    authority: Authority,
}

impl Scene {
    async fn new(change: impl FnOnce(&mut TlsConfig)) -> Scene {
        Scene::with(config, change).await
    }

    async fn with(
        config: impl FnOnce(&str) -> GatewayConfig,
        change: impl FnOnce(&mut TlsConfig),
    ) -> Scene {
        let stage = Stage::new().await;
        // Nobody listens there: everything that is asked is answered by the gateway.
        stage.register(1, "127.0.0.1:1".parse().unwrap()).await;
        stage.topic("t", 1).await;
        let (authority, files) = (Authority::new("ca"), tempfile::tempdir().unwrap());
        let mut tls = tls_support::config(files.path(), &authority.sign("server"), &authority.pem);
        change(&mut tls);
        let mut config = config(&stage.connect());
        config.listeners[0].protocol = SecurityProtocol::Ssl;
        config.listeners[0].tls = Some(tls);
        let gateway = start(config).await;
        Scene { stage, gateway, files, authority }
    }

    fn address(&self) -> SocketAddr {
        address(&self.gateway)
    }
}

/// What a client of this kind is told; `None` if it isn't served.
async fn told(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<MetadataResponse> {
    let stream = connect(address, config).await.ok()?;
    told_on(&mut Client::over(stream)).await
}

/// The same on an open connection. With TLS 1.3 a client learns only after its handshake that its
/// certificate is refused.
async fn told_on(client: &mut Client<TlsStream<TcpStream>>) -> Option<MetadataResponse> {
    let request = MetadataRequest::default().with_topics(None);
    let body = kafka_support::encode(&request, 8);
    let frame = kafka_support::frame(3, 8, 1, &body);
    client.stream.write_all(&frame).await.ok()?;
    client.stream.flush().await.ok()?;
    let mut length = [0; 4];
    in_time(client.stream.read_exact(&mut length)).await.ok()?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    in_time(client.stream.read_exact(&mut answer)).await.ok()?;
    let mut body = bytes::Bytes::from(answer).slice(4..);
    Some(kafka_protocol::protocol::Decodable::decode(&mut body, 8).unwrap())
}

#[tokio::test]
async fn clients_are_served_over_both_versions_of_tls() {
    let scene = Scene::new(|tls| tls.client_auth = ClientAuth::None).await;
    for version in rustls::ALL_VERSIONS {
        let config = client_of(&scene.authority, None, &[version]);
        let answer = told(scene.address(), &config).await.expect("served");
        assert_eq!(answer.brokers[0].port, 1);
        assert_eq!(answer.topics[0].name.as_ref().unwrap().as_str(), "t");
    }
}

#[tokio::test]
async fn a_listener_that_takes_certificates_takes_good_ones() {
    let scene = Scene::new(|tls| tls.client_auth = ClientAuth::Need).await;
    let (good, expired) = (scene.authority.sign("alice"), scene.authority.sign_expired("alice"));
    let strange = Authority::new("other").sign("alice");
    let config = |identity| client(&scene.authority, identity);
    assert!(told(scene.address(), &config(Some(&good))).await.is_some());
    for (what, identity) in
        [("none", None), ("expired", Some(&expired)), ("a stranger's", Some(&strange))]
    {
        assert!(told(scene.address(), &config(identity)).await.is_none(), "{what}");
    }
    assert!(told(scene.address(), &config(Some(&good))).await.is_some());

    let scene = Scene::new(|tls| tls.client_auth = ClientAuth::Want).await;
    let config = |identity| client(&scene.authority, identity);
    let strange = Authority::new("other").sign("alice");
    assert!(told(scene.address(), &config(None)).await.is_some());
    assert!(told(scene.address(), &config(Some(&strange))).await.is_none());
}

#[tokio::test]
async fn certificates_name_whom_acls_are_about() {
    let decide = |connect: &str| GatewayConfig {
        authorizer: GatewayAuthorizer::Acls(AclRules::default()),
        principal_mapper: PrincipalMapper::parse("RULE:^CN=([A-Za-z]+),O=.*$/$1/L").unwrap(),
        ..config(connect)
    };
    let scene = Scene::with(decide, |tls| tls.client_auth = ClientAuth::Want).await;
    let sees = async |identity: Option<&str>| {
        let identity = identity.map(|name| scene.authority.sign(name));
        let config = client(&scene.authority, identity.as_ref());
        Some(told(scene.address(), &config).await?.topics.len())
    };
    assert_eq!(sees(Some("Alice")).await, Some(0), "nothing is allowed yet");
    let acls = r#"{"version":1,"acls":[{"principal":"User:alice","permissionType":"Allow",
        "operation":"Read","host":"127.0.0.1"}]}"#;
    scene.stage.make("/kafka-acl/Topic/t", acls).await;
    eventually(async || (sees(Some("Alice")).await? == 1).then_some(())).await;
    assert_eq!(sees(Some("Bob")).await, Some(0));
    assert_eq!(sees(None).await, Some(0), "without a certificate they are nobody in particular");
    assert_eq!(sees(Some("alice 2")).await, None, "no rule fits");
    assert_eq!(sees(Some("alice")).await, Some(1));
}

#[tokio::test]
async fn who_speaks_no_tls_is_closed_and_who_says_nothing_disturbs_nobody() {
    let scene = Scene::new(|tls| tls.client_auth = ClientAuth::None).await;
    let _silent = TcpStream::connect(scene.address()).await.unwrap();
    let mut half = TcpStream::connect(scene.address()).await.unwrap();
    half.write_all(&[22, 3, 1, 2]).await.unwrap();
    for text in
        [&kafka_support::frame(3, 8, 1, b"")[..], b"GET / HTTP/1.1\r\n\r\n", &[22, 3, 1, 0, 1, 0]]
    {
        let mut plain = Client::connect(scene.address()).await;
        plain.write(text).await;
        let rest = plain.finish().await;
        // An alert of TLS at most.
        assert!(rest.is_empty() || rest[0] == 21, "{rest:?}");
    }
    let config = client(&scene.authority, None);
    assert!(told(scene.address(), &config).await.is_some());
}

#[tokio::test]
async fn the_relays_ports_speak_what_their_listener_speaks() {
    let scene = Scene::with(relay, |tls| tls.client_auth = ClientAuth::None).await;
    let config = client(&scene.authority, None);
    let answer = told(scene.address(), &config).await.unwrap();
    let broker = &answer.brokers[0];
    let port = format!("{}:{}", broker.host.as_str(), broker.port).parse().unwrap();
    assert_ne!(port, scene.address());
    assert_eq!(told(port, &config).await.unwrap().brokers, answer.brokers);
    let mut plain = Client::connect(port).await;
    plain.write(&kafka_support::frame(3, 8, 1, b"")).await;
    let rest = plain.finish().await;
    assert!(rest.is_empty() || rest[0] == 21, "{rest:?}");
}

#[tokio::test]
async fn new_certificates_are_taken_up_and_connections_go_on() {
    let scene = Scene::new(|tls| tls.client_auth = ClientAuth::None).await;
    let config = client(&scene.authority, None);
    let mut before = Client::over(connect(scene.address(), &config).await.unwrap());
    assert!(told_on(&mut before).await.is_some());

    // Half a file changes nothing.
    let renewed = Authority::new("renewed");
    let server = renewed.sign("server");
    write(scene.files.path(), "server.pem", &server.pem[..server.pem.len() / 2]);
    assert!(told(scene.address(), &config).await.is_some());

    write(scene.files.path(), "server.pem", &server.pem);
    let anew = client(&renewed, None);
    eventually(async || told(scene.address(), &anew).await).await;
    assert!(connect(scene.address(), &config).await.is_err(), "the old one is not shown any more");
    assert!(told_on(&mut before).await.is_some(), "it goes on");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_stop_the_start() {
    let stage = Stage::new().await;
    let (authority, files) = (Authority::new("ca"), tempfile::tempdir().unwrap());
    let mut config = config(&stage.connect());
    let mut tls = tls_support::config(files.path(), &authority.sign("server"), &authority.pem);
    tls.key_store = tls_support::pem(files.path().join("trusted.pem"));
    config.listeners[0].tls = Some(tls);
    let error = in_time(Gateway::start(config)).await.unwrap_err().to_string();
    assert!(error.starts_with("listener PLAINTEXT: can't use the store"), "{error}");
    assert!(error.ends_with("trusted.pem: it has no private key"), "{error}");
}
