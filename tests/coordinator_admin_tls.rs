//! The AdminServer over TLS: alone, beside HTTP, and with clients that must show certificates.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;
mod tls_support;

use std::sync::Arc;
use std::time::Duration;

use coordinator_support::{Client, Hello, Server};
use doorkeeper::config::{AdminConfig, CoordinatorConfig, ListenAddress};
use doorkeeper::net::tls::ClientAuth;
use rustls::ClientConfig;
use serde_json::Value;
use tls_support::{Authority, client, connect};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A server whose AdminServer has certificates, beside their files.
struct Fixture {
    server: Server,
    authority: Authority,
    _files: tempfile::TempDir,
}

impl Fixture {
    async fn start(change: impl FnOnce(&mut CoordinatorConfig, &mut AdminConfig)) -> Fixture {
        let authority = Authority::new("ca");
        let files = tempfile::tempdir().unwrap();
        let mut tls = tls_support::config(files.path(), &authority.sign("server"), &authority.pem);
        tls.client_auth = ClientAuth::None;
        let mut admin = AdminConfig {
            address: ListenAddress { host: "127.0.0.1".to_owned(), port: 0 },
            address_given: true,
            command_url: "/commands".to_owned(),
            idle_timeout: Duration::from_secs(30),
            rate_limit_interval: Duration::ZERO,
            snapshot_enabled: true,
            restore_enabled: true,
            tls: Some(tls),
            plain_too: false,
        };
        let server = Server::start_with(|config| {
            change(config, &mut admin);
            config.admin = Some(admin);
        })
        .await;
        Fixture { server, authority, _files: files }
    }

    async fn secure(&self, config: &Arc<ClientConfig>, path: &str) -> Option<String> {
        let address = self.server.coordinator.admin_address().unwrap();
        ask(connect(address, config).await.ok()?, path).await
    }

    async fn plain(&self, path: &str) -> Option<String> {
        let address = self.server.coordinator.admin_address().unwrap();
        ask(TcpStream::connect(address).await.unwrap(), path).await
    }
}

/// The answer to a GET; `None` where the server gives none.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> Option<String> {
    let head =
        format!("GET /commands/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let mut answer = Vec::new();
    // How the connection ends says nothing: the answer has a length.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).ok().filter(|answer| answer.starts_with("HTTP/1.1 200 "))
}

fn json(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn forced_https_answers_nobody_without_tls() {
    let fixture = Fixture::start(|_, _| ()).await;
    let answer = fixture.secure(&client(&fixture.authority, None), "ruok").await.unwrap();
    assert_eq!(json(&answer)["command"], "ruok");
    let head = answer.to_ascii_lowercase();
    assert!(head.contains("strict-transport-security: max-age=86400; includesubdomains"), "{head}");
    assert_eq!(fixture.plain("ruok").await, None);
    let told = fixture.secure(&client(&fixture.authority, None), "monitor").await.unwrap();
    assert_eq!(json(&told)["insecure_admin_count"], 0);
}

#[tokio::test]
async fn a_unified_port_answers_both_and_counts_those_without_tls() {
    let fixture = Fixture::start(|_, admin| admin.plain_too = true).await;
    let config = client(&fixture.authority, None);
    assert!(fixture.secure(&config, "ruok").await.is_some());
    let plain = fixture.plain("ruok").await.unwrap();
    assert!(!plain.to_ascii_lowercase().contains("strict-transport-security"), "{plain}");
    let told = fixture.secure(&config, "monitor").await.unwrap();
    assert_eq!(json(&told)["insecure_admin_count"], 1);
}

#[tokio::test]
async fn a_certificate_that_is_needed_must_be_a_good_one() {
    let fixture = Fixture::start(|_, admin| {
        admin.tls.as_mut().unwrap().client_auth = ClientAuth::Need;
    })
    .await;
    let authority = &fixture.authority;
    let joe = authority.sign("joe");
    assert!(fixture.secure(&client(authority, Some(&joe)), "ruok").await.is_some());
    let stranger = Authority::new("another").sign("joe");
    let expired = authority.sign_expired("joe");
    for refused in [None, Some(&stranger), Some(&expired)] {
        assert_eq!(fixture.secure(&client(authority, refused), "ruok").await, None);
    }
    assert!(fixture.secure(&client(authority, Some(&joe)), "ruok").await.is_some());
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_keeps_nobody_waiting() {
    let fixture = Fixture::start(|_, _| ()).await;
    let address = fixture.server.coordinator.admin_address().unwrap();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(fixture.secure(&client(&fixture.authority, None), "ruok").await.is_some());
}

#[tokio::test]
async fn connections_of_the_secure_port_are_listed_apart() {
    let fixture = Fixture::start(|config, admin| {
        config.tls.clone_from(&admin.tls);
        config.secure_client_address =
            Some(ListenAddress { host: "127.0.0.1".to_owned(), port: 0 });
        admin.plain_too = true;
    })
    .await;
    let plain = fixture.server.connect().await;
    let address = fixture.server.coordinator.secure_client_address().unwrap();
    let stream = connect(address, &client(&fixture.authority, None)).await.unwrap();
    let secure = Client::over(stream, Hello::default()).await.unwrap();
    for command in ["connections", "stats"] {
        let told = json(&fixture.plain(command).await.unwrap());
        for (key, peer) in [
            ("connections", plain.stream.local_addr().unwrap()),
            ("secure_connections", secure.stream.get_ref().0.local_addr().unwrap()),
        ] {
            let listed = told[key].as_array().unwrap();
            assert_eq!(listed.len(), 1, "{command}: {told}");
            assert_eq!(listed[0]["remote_socket_address"], peer.to_string());
        }
    }
}
