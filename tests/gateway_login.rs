//! Logins that pass through a gateway to brokers, which the test plays: whose questions are answered
//! here, and whose by the broker.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod gateway_support;
mod kafka_support;

use std::time::Duration;

use doorkeeper::config::gateway_upstream::{LoginMechanism, UpstreamLogin};
use doorkeeper::config::{GatewayConfig, Secret};
use doorkeeper::gateway::Gateway;
use gateway_support::{Conversation, Played, Stage, address, config, start};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, MetadataRequest, MetadataResponse, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_support::{Client, encode, frame, framed, text};

const METADATA: i16 = ApiKey::Metadata as i16;
const HANDSHAKE: i16 = ApiKey::SaslHandshake as i16;
const AUTHENTICATE: i16 = ApiKey::SaslAuthenticate as i16;
const ALICE: &[u8] = b"\0alice\0secret";
const SCRAM: [(&[u8], &[u8]); 2] = [
    (b"n,,n=alice,r=nonce", b"r=nonce2,s=salt,i=4096"),
    (b"c=biws,r=nonce2,p=proof", b"v=signature"),
];

struct Scene {
    _stage: Stage,
    broker: Played,
    gateway: Gateway,
}

/// A client and its upstream.
struct Pair {
    client: Client,
    upstream: Conversation,
}

impl Scene {
    async fn new() -> Scene {
        Scene::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut GatewayConfig)) -> Scene {
        let stage = Stage::new().await;
        let broker = Played::new().await;
        stage.register_with(1, broker.address, "SASL_PLAINTEXT").await;
        stage.topic("t", 1).await;
        let mut config = config(&stage.connect());
        change(&mut config);
        let gateway = start(config).await;
        Scene { _stage: stage, broker, gateway }
    }

    async fn client(&self) -> Client {
        Client::connect(address(&self.gateway)).await
    }

    /// A client whose handshake the broker has answered with this error.
    async fn greeted(&mut self, version: i16, mechanism: &str, error: i16) -> Pair {
        let mut client = self.client().await;
        let request = SaslHandshakeRequest::default().with_mechanism(text(mechanism));
        let correlation = client.send(version, &request).await;
        let mut pair = Pair { client, upstream: self.broker.conversation().await };
        pair.handshake_goes_on(version, correlation, error).await;
        pair
    }

    /// A client that has logged in.
    async fn logged_in(&mut self, lifetime_ms: i64) -> Pair {
        let mut pair = self.greeted(1, "PLAIN", 0).await;
        pair.authenticate(1, ALICE, 0, b"", lifetime_ms).await;
        pair
    }
}

impl Pair {
    async fn handshake_goes_on(&mut self, version: i16, correlation: i32, error: i16) {
        let (head, _) = self.upstream.request().await.unwrap();
        assert_eq!((head.key, head.version, head.correlation), (HANDSHAKE, version, correlation));
        let answer = SaslHandshakeResponse::default().with_error_code(error);
        self.upstream.answer(correlation, &encode(&answer, version)).await;
        let told = self.client.answer::<SaslHandshakeRequest>(version, correlation).await;
        assert_eq!(told.error_code, error);
    }

    /// Another handshake on the same connection.
    async fn greet(&mut self, mechanism: &str, error: i16) {
        let request = SaslHandshakeRequest::default().with_mechanism(text(mechanism));
        let correlation = self.client.send(1, &request).await;
        self.handshake_goes_on(1, correlation, error).await;
    }

    /// Passes a token and the broker's answer to it.
    async fn authenticate(
        &mut self,
        version: i16,
        token: &[u8],
        error: i16,
        answer: &[u8],
        lifetime_ms: i64,
    ) {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(token.to_vec().into());
        let correlation = self.client.send(version, &request).await;
        let (head, body) = self.upstream.request().await.unwrap();
        assert_eq!((head.key, head.version), (AUTHENTICATE, version));
        assert!(body.windows(token.len()).any(|part| part == token), "it passes unchanged");
        let response = SaslAuthenticateResponse::default()
            .with_error_code(error)
            .with_error_message((error != 0).then(|| text("no")))
            .with_auth_bytes(answer.to_vec().into())
            .with_session_lifetime_ms(if version > 0 { lifetime_ms } else { 0 });
        let mut body = if version >= 2 { vec![0] } else { Vec::new() };
        body.extend(encode(&response, version));
        self.upstream.answer(correlation, &body).await;
        let told = self.client.answer::<SaslAuthenticateRequest>(version, correlation).await;
        assert_eq!((told.error_code, &told.auth_bytes[..]), (error, answer));
    }

    /// Whether `Metadata` is answered by the gateway: then the broker never sees it.
    async fn is_answered_here(&mut self) -> bool {
        let request = MetadataRequest::default().with_topics(None);
        let correlation = self.client.send(1, &request).await;
        tokio::select! {
            told = self.client.answer::<MetadataRequest>(1, correlation) => {
                assert_eq!(told.topics.len(), 1);
                true
            }
            asked = self.upstream.request() => {
                let (head, _) = asked.expect("the question, not the end");
                assert_eq!((head.key, head.correlation), (METADATA, correlation));
                let answer = encode(&MetadataResponse::default(), 1);
                self.upstream.answer(correlation, &answer).await;
                let told = self.client.answer::<MetadataRequest>(1, correlation).await;
                assert!(told.topics.is_empty(), "the broker's own answer");
                false
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_answered_here_before_the_login_but_api_versions() {
    let mut scene = Scene::new().await;
    let mut client = scene.client().await;
    let offered = client.ask(0, &ApiVersionsRequest::default()).await;
    assert_eq!(offered.error_code, 0);
    for key in [ApiKey::Metadata, ApiKey::FindCoordinator, ApiKey::DescribeCluster] {
        let mut client = scene.client().await;
        client.write(&frame(key as i16, 0, 9, b"\0\0\0\0")).await;
        let mut upstream = scene.broker.conversation().await;
        assert_eq!(upstream.request().await.unwrap().0.key, key as i16);
        upstream.answer(9, b"the broker's own").await;
        assert!(client.frame().await.unwrap().ends_with(b"the broker's own"));
    }
    let mut pair = scene.greeted(1, "PLAIN", 0).await;
    assert!(!pair.is_answered_here().await, "nor in the middle of it");
}

#[tokio::test]
async fn whoever_logged_in_is_answered_here() {
    let mut scene = Scene::new().await;
    for version in 0..=2 {
        let mut pair = scene.greeted(1, "PLAIN", 0).await;
        pair.authenticate(version, ALICE, 0, b"", 0).await;
        assert!(pair.is_answered_here().await);
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let mut pair = scene.greeted(1, mechanism, 0).await;
            for (token, answer) in SCRAM {
                pair.authenticate(version, token, 0, answer, 0).await;
            }
            assert!(pair.is_answered_here().await);
            // Another broker would not know who this is.
            drop(pair.upstream);
            assert_eq!(pair.client.frame().await, None);
        }
    }
}

#[tokio::test]
async fn a_login_that_the_broker_refuses_counts_for_nothing() {
    let mut scene = Scene::new().await;
    let mut pair = scene.greeted(1, "PLAIN", 0).await;
    pair.authenticate(1, b"\0alice\0wrong", 58, b"", 0).await;
    assert!(!pair.is_answered_here().await);
    let mut pair = scene.greeted(1, "PLAIN", 33).await;
    assert!(!pair.is_answered_here().await);
    let mut pair = scene.greeted(1, "SCRAM-SHA-256", 0).await;
    pair.authenticate(1, SCRAM[0].0, 0, SCRAM[0].1, 0).await;
    pair.authenticate(1, SCRAM[1].0, 0, b"e=other-error", 0).await;
    assert!(!pair.is_answered_here().await);
}

#[tokio::test]
async fn a_user_whose_name_is_not_known_is_answered_by_the_broker() {
    let mut scene = Scene::new().await;
    let mut pair = scene.greeted(1, "OAUTHBEARER", 0).await;
    pair.authenticate(1, b"n,,\x01auth=Bearer x", 0, b"", 0).await;
    assert!(!pair.is_answered_here().await);
    let mut pair = scene.greeted(1, "SCRAM-SHA-256", 0).await;
    pair.authenticate(1, b"n,,n=id,r=nonce,tokenauth=true", 0, SCRAM[0].1, 0).await;
    pair.authenticate(1, SCRAM[1].0, 0, SCRAM[1].1, 0).await;
    assert!(!pair.is_answered_here().await, "a token's name is not its owner's");
    let mut scene = Scene::with(|config| config.principal_upstream = true).await;
    assert!(!scene.logged_in(0).await.is_answered_here().await);
}

#[tokio::test]
async fn tokens_without_a_header_pass_after_the_old_handshake() {
    let mut scene = Scene::new().await;
    let mut pair = scene.greeted(0, "PLAIN", 0).await;
    // What is sent in one go is told apart all the same.
    let mut both = framed(ALICE).to_vec();
    both.extend(frame(ApiKey::ListOffsets as i16, 5, 9, b"body"));
    pair.client.write(&both).await;
    assert_eq!(pair.upstream.bare().await.unwrap(), ALICE);
    pair.upstream.answer_bare(b"").await;
    assert_eq!(pair.client.frame().await.unwrap(), b""[..]);
    assert_eq!(pair.upstream.request().await.unwrap().0.correlation, 9);
    pair.upstream.answer(9, b"answer").await;
    assert!(pair.client.frame().await.unwrap().ends_with(b"answer"));
    assert!(pair.is_answered_here().await);

    let mut pair = scene.greeted(0, "SCRAM-SHA-512", 0).await;
    for (token, answer) in SCRAM {
        pair.client.write(&framed(token)).await;
        assert_eq!(pair.upstream.bare().await.unwrap(), token);
        pair.upstream.answer_bare(answer).await;
        assert_eq!(pair.client.frame().await.unwrap(), answer);
    }
    assert!(pair.is_answered_here().await);

    // A broker that does not take the handshake says so, and no token follows.
    let mut pair = scene.greeted(0, "GSSAPI", 33).await;
    assert!(!pair.is_answered_here().await);
    // Nobody here knows where such tokens end.
    let mut client = scene.client().await;
    let request = SaslHandshakeRequest::default().with_mechanism(text("GSSAPI"));
    let correlation = client.send(0, &request).await;
    let mut upstream = scene.broker.conversation().await;
    upstream.request().await.unwrap();
    upstream.answer(correlation, &encode(&SaslHandshakeResponse::default(), 0)).await;
    assert_eq!(client.frame().await, None);
    upstream.ended().await;
}

#[tokio::test]
async fn a_login_is_renewed_in_mid_stream() {
    let mut scene = Scene::new().await;
    let mut pair = scene.logged_in(3_600_000).await;
    assert!(pair.is_answered_here().await);
    pair.greet("PLAIN", 0).await;
    assert!(!pair.is_answered_here().await, "the broker decides meanwhile");
    pair.authenticate(1, ALICE, 0, b"", 3_600_000).await;
    assert!(pair.is_answered_here().await);
    // A broker that renews no logins says so, and the first one goes on to hold.
    pair.greet("PLAIN", 34).await;
    assert!(pair.is_answered_here().await);
}

#[tokio::test]
async fn a_login_whose_time_is_over_is_renewed_or_the_connection_closed() {
    let mut scene = Scene::new().await;
    let mut pair = scene.logged_in(1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    pair.greet("PLAIN", 0).await;
    pair.authenticate(1, ALICE, 0, b"", 3_600_000).await;
    assert!(pair.is_answered_here().await);
    for key in [ApiKey::Metadata, ApiKey::ApiVersions, ApiKey::ListOffsets] {
        let mut pair = scene.logged_in(1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        pair.client.write(&frame(key as i16, 0, 9, b"\0\0\0\0")).await;
        assert_eq!(pair.client.frame().await, None, "{key:?}");
        pair.upstream.ended().await;
    }
}

#[tokio::test]
async fn every_prefix_and_every_changed_byte_of_a_login_disturbs_nobody() {
    let mut scene = Scene::new().await;
    let mut bystander = scene.logged_in(0).await;
    let mut whole = frame(HANDSHAKE, 1, 1, b"\x00\x05PLAIN").to_vec();
    let token =
        encode(&SaslAuthenticateRequest::default().with_auth_bytes(ALICE.to_vec().into()), 1);
    whole.extend(frame(AUTHENTICATE, 1, 2, &token));
    for end in 0..whole.len() {
        let mut client = scene.client().await;
        client.write(&whole[..end]).await;
        drop(client);
    }
    for at in 0..whole.len() {
        for bit in [0, 3, 7] {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            let mut client = scene.client().await;
            client.write(&changed).await;
            drop(client);
        }
    }
    // A token that no broker reads.
    let mut client = scene.client().await;
    let mut long = frame(AUTHENTICATE, 1, 1, b"").to_vec();
    long[..4].copy_from_slice(&(1_i32 << 20).to_be_bytes());
    client.write(&long).await;
    assert_eq!(client.frame().await, None);
    assert!(bystander.is_answered_here().await);
}

#[tokio::test]
async fn an_upstream_with_a_login_is_kept_alive_while_its_client_is() {
    let mut scene =
        Scene::with(|config| config.upstream.keep_alive = Duration::from_millis(100)).await;
    let mut pair = scene.logged_in(0).await;
    for _ in 0..3 {
        let told = pair.client.ask(1, &MetadataRequest::default().with_topics(None)).await;
        assert_eq!(told.topics.len(), 1, "answered here");
        let (head, _) = pair.upstream.request().await.unwrap();
        assert_eq!(head.key, ApiKey::ApiVersions as i16, "the gateway's own");
        // The client's answers come as if nothing had been between them.
        pair.client.write(&frame(ApiKey::ListOffsets as i16, 5, 70, b"body")).await;
        let (next, _) = pair.upstream.request().await.unwrap();
        assert_eq!((next.key, next.correlation), (ApiKey::ListOffsets as i16, 70));
        pair.upstream.answer(head.correlation, b"for the gateway alone").await;
        pair.upstream.answer(70, b"for the client").await;
        assert!(pair.client.frame().await.unwrap().ends_with(b"for the client"));
    }
}

/// A gateway that logs in itself.
async fn with_own_login(mechanism: LoginMechanism) -> Scene {
    Scene::with(|config| {
        config.upstream.shared_identity = true;
        config.upstream.login = Some(UpstreamLogin {
            mechanism,
            username: "gate".to_owned(),
            password: Secret::new("secret"),
        });
    })
    .await
}

/// The broker's half of a login of the gateway's.
async fn takes_login(upstream: &mut Conversation, error: i16, lifetime_ms: i64) {
    let (head, body) = upstream.request().await.unwrap();
    assert_eq!(head.key, HANDSHAKE);
    assert!(body.ends_with(b"PLAIN"));
    upstream.answer(head.correlation, &encode(&SaslHandshakeResponse::default(), 1)).await;
    let (head, body) = upstream.request().await.unwrap();
    assert_eq!((head.key, head.version), (AUTHENTICATE, 1));
    assert!(body.ends_with(b"\0gate\0secret"));
    let response = SaslAuthenticateResponse::default()
        .with_error_code(error)
        .with_session_lifetime_ms(lifetime_ms);
    upstream.answer(head.correlation, &encode(&response, 1)).await;
}

const LIST_OFFSETS: i16 = ApiKey::ListOffsets as i16;

#[tokio::test]
async fn the_gateway_logs_in_for_clients_that_do_not() {
    let mut scene = with_own_login(LoginMechanism::Plain).await;
    let mut client = scene.client().await;
    let told = client.ask(1, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(told.topics.len(), 1, "who asks is known");
    client.write(&frame(LIST_OFFSETS, 5, 5, b"body")).await;
    let mut upstream = scene.broker.conversation().await;
    takes_login(&mut upstream, 0, 0).await;
    assert_eq!(upstream.request().await.unwrap().0.correlation, 5);
    upstream.answer(5, b"answer").await;
    assert!(client.frame().await.unwrap().ends_with(b"answer"));
    // As on a broker's listener without SASL.
    let request = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    assert_eq!(client.ask(1, &request).await.error_code, 34);
    // Nothing was owed: another upstream takes its place, logged in as well.
    drop(upstream);
    client.write(&frame(LIST_OFFSETS, 5, 6, b"body")).await;
    let mut upstream = scene.broker.conversation().await;
    takes_login(&mut upstream, 0, 0).await;
    assert_eq!(upstream.request().await.unwrap().0.correlation, 6);
}

#[tokio::test]
async fn the_gateway_renews_its_login_between_requests() {
    let mut scene = with_own_login(LoginMechanism::Plain).await;
    let mut client = scene.client().await;
    client.write(&frame(LIST_OFFSETS, 5, 1, b"body")).await;
    let mut upstream = scene.broker.conversation().await;
    takes_login(&mut upstream, 0, 1).await;
    for correlation in 2..5 {
        assert_eq!(upstream.request().await.unwrap().0.correlation, correlation - 1);
        // It is over when the next request comes, with an answer owed still.
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.write(&frame(LIST_OFFSETS, 5, correlation, b"body")).await;
        upstream.answer(correlation - 1, b"answer").await;
        takes_login(&mut upstream, 0, 1).await;
        let answer = client.frame().await.unwrap();
        assert_eq!(answer[..4], (correlation - 1).to_be_bytes());
    }
}

#[tokio::test]
async fn a_login_of_the_gateways_that_is_refused_ends_only_who_needs_it() {
    let mut scene = with_own_login(LoginMechanism::Plain).await;
    let mut bystander = scene.client().await;
    let mut client = scene.client().await;
    client.write(&frame(LIST_OFFSETS, 5, 5, b"body")).await;
    let mut upstream = scene.broker.conversation().await;
    takes_login(&mut upstream, 58, 0).await;
    assert_eq!(client.frame().await, None);
    upstream.ended().await;
    // Nor is a broker believed that does not know the password.
    let mut scene = with_own_login(LoginMechanism::ScramSha512).await;
    let mut client = scene.client().await;
    client.write(&frame(LIST_OFFSETS, 5, 5, b"body")).await;
    let mut upstream = scene.broker.conversation().await;
    let (head, _) = upstream.request().await.unwrap();
    upstream.answer(head.correlation, &encode(&SaslHandshakeResponse::default(), 1)).await;
    let (head, body) = upstream.request().await.unwrap();
    let at = body.windows(2).position(|part| part == b"r=").unwrap();
    let mut first = body[at..].to_vec();
    first.extend(b"more,s=c2FsdA==,i=4096");
    let said = |token: &[u8]| {
        encode(&SaslAuthenticateResponse::default().with_auth_bytes(token.to_vec().into()), 1)
    };
    upstream.answer(head.correlation, &said(&first)).await;
    let (head, body) = upstream.request().await.unwrap();
    assert!(body.windows(3).any(|part| part == b",p="));
    upstream.answer(head.correlation, &said(b"v=c2FsdA==")).await;
    assert_eq!(client.frame().await, None);
    upstream.ended().await;
    let told = bystander.ask(1, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(told.topics.len(), 1);
}
