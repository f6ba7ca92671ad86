//! TLS towards brokers, which the test plays: whom a gateway trusts, and what it shows of itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod gateway_support;
mod kafka_support;
mod tls_support;

use std::path::Path;
use std::sync::Arc;

use doorkeeper::config::GatewayConfig;
use doorkeeper::gateway::Gateway;
use doorkeeper::net::tls::{ClientAuth, TlsServer};
use gateway_support::{Played, Stage, address, config, eventually, start};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, MetadataRequest};
use kafka_support::{Client, frame};
use tls_support::{Authority, Pair, pem, self_signed, write};

const LIST_OFFSETS: i16 = ApiKey::ListOffsets as i16;

struct Scene {
    stage: Stage,
    broker: Played,
    directory: tempfile::TempDir,
}

impl Scene {
    /// A broker with this certificate, whose listener has this protocol.
    async fn new(protocol: &str, server: &Pair, clients: Option<&Authority>) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let trusted = clients.map_or("", |authority| &authority.pem);
        let mut tls = tls_support::config(directory.path(), server, trusted);
        if clients.is_none() {
            tls.client_auth = ClientAuth::None;
            tls.trust_store = None;
        }
        let tls = Arc::new(TlsServer::new(tls).unwrap());
        let stage = Stage::new().await;
        let broker = Played::with_tls(tls).await;
        stage.register_with(1, broker.address, protocol).await;
        stage.topic("t", 1).await;
        Scene { stage, broker, directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    async fn gateway(&self, trusted: &str, change: impl FnOnce(&mut GatewayConfig)) -> Gateway {
        let mut config = config(&self.stage.connect());
        config.upstream.trust_store = Some(pem(write(self.path(), "brokers.pem", trusted)));
        change(&mut config);
        start(config).await
    }

    /// Whether a request of a client's comes to the broker and its answer back.
    async fn passes(&mut self, gateway: &Gateway) -> bool {
        let mut client = Client::connect(address(gateway)).await;
        client.write(&frame(LIST_OFFSETS, 5, 7, b"body")).await;
        let broker = async {
            let mut upstream = self.broker.conversation().await;
            let (head, _) = upstream.request().await.unwrap();
            upstream.answer(head.correlation, b"answer").await;
            upstream
        };
        let answer = client.frame();
        tokio::pin!(broker, answer);
        tokio::select! {
            answer = &mut answer => answer.is_some(),
            upstream = &mut broker => {
                let answer = answer.await;
                drop(upstream);
                answer.is_some_and(|answer| answer.ends_with(b"answer"))
            }
        }
    }
}

#[tokio::test]
async fn brokers_are_reached_over_tls_and_questions_answered_here() {
    let authority = Authority::new("brokers");
    let mut scene = Scene::new("SSL", &authority.sign("b1"), None).await;
    let gateway = scene.gateway(&authority.pem, |_| ()).await;
    assert!(scene.passes(&gateway).await);
    // The broker wants no login: the image answers.
    let mut client = Client::connect(address(&gateway)).await;
    let told = client.ask(9, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(told.topics.len(), 1);
    let offered = client.ask(0, &ApiVersionsRequest::default()).await;
    assert!(offered.api_keys.iter().any(|api| api.api_key == LIST_OFFSETS), "asked over TLS too");
}

#[tokio::test]
async fn a_broker_that_nobody_vouches_for_gets_nothing() {
    let (authority, stranger) = (Authority::new("brokers"), Authority::new("strangers"));
    let elsewhere = |params: &mut rcgen::CertificateParams| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("b1.example".try_into().unwrap())];
    };
    let here = authority.sign("b1");
    for (server, trusted, verify_host, good) in [
        (here, &authority, true, true),
        (authority.sign("b1"), &stranger, true, false),
        (authority.sign("b1"), &stranger, false, false),
        (authority.sign_expired("b1"), &authority, false, false),
        (authority.sign_with("b1", elsewhere), &authority, true, false),
        (authority.sign_with("b1", elsewhere), &authority, false, true),
    ] {
        let mut scene = Scene::new("SSL", &server, None).await;
        let gateway =
            scene.gateway(&trusted.pem, |config| config.upstream.verify_host = verify_host).await;
        assert_eq!(scene.passes(&gateway).await, good);
    }
}

#[tokio::test]
async fn a_certificate_that_is_itself_trusted_is_good() {
    let server = self_signed("b1", |params| {
        params.subject_alt_names.push(rcgen::SanType::IpAddress([127, 0, 0, 1].into()));
    });
    let mut scene = Scene::new("SSL", &server, None).await;
    let gateway = scene.gateway(&server.certificate_pem, |_| ()).await;
    assert!(scene.passes(&gateway).await);
}

#[tokio::test]
async fn the_gateway_shows_its_own_certificate_to_brokers_that_ask() {
    let (brokers, clients) = (Authority::new("brokers"), Authority::new("clients"));
    let mut scene = Scene::new("SSL", &brokers.sign("b1"), Some(&clients)).await;
    let gateway = scene.gateway(&brokers.pem, |_| ()).await;
    assert!(!scene.passes(&gateway).await, "it has none");
    let own = pem(write(scene.path(), "own.pem", &clients.sign("gate").pem));
    let gateway = scene.gateway(&brokers.pem, |config| config.upstream.key_store = Some(own)).await;
    assert!(scene.passes(&gateway).await);
}

#[tokio::test]
async fn new_files_are_taken_up() {
    let (authority, stranger) = (Authority::new("brokers"), Authority::new("strangers"));
    let mut scene = Scene::new("SSL", &authority.sign("b1"), None).await;
    let gateway = scene.gateway(&stranger.pem, |_| ()).await;
    assert!(!scene.passes(&gateway).await);
    write(scene.path(), "brokers.pem", "half a file");
    write(scene.path(), "brokers.pem", &authority.pem);
    eventually(async || scene.passes(&gateway).await.then_some(())).await;
}

#[tokio::test]
async fn without_a_trust_store_nothing_is_passed_on() {
    let authority = Authority::new("brokers");
    let mut scene = Scene::new("SSL", &authority.sign("b1"), None).await;
    let gateway = scene.gateway("", |config| config.upstream.trust_store = None).await;
    assert!(!scene.passes(&gateway).await);
    let mut client = Client::connect(address(&gateway)).await;
    let told = client.ask(9, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(told.topics.len(), 1, "what is answered here is answered");
}
