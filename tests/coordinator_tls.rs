//! TLS on the coordinator's ports: who is let in, as whom, and what happens to those who aren't.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;
mod tls_support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coordinator_support::{
    CREATE, Client, EXISTS, GET_DATA, Hello, NO_AUTH, SET_DATA, Server, create, path, set_data,
    watched,
};
use doorkeeper::config::{
    AlternativeNameId, CertificateId, CoordinatorConfig, ListenAddress, NameKind,
};
use doorkeeper::net::tls::ClientAuth;
use doorkeeper::net::tls::options::Protocol;
use doorkeeper::zookeeper::acl::{ALL, Acl};
use rustls::ClientConfig;
use tls_support::{Authority, Pair, client, client_of, connect, self_signed, write};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

type Secure = Client<TlsStream<TcpStream>>;

/// A server with a secure port, beside the files of its certificates.
struct Fixture {
    server: Server,
    files: tempfile::TempDir,
    authority: Authority,
}

impl Fixture {
    async fn start() -> Fixture {
        Fixture::start_with(|_| ()).await
    }

    async fn start_with(change: impl FnOnce(&mut CoordinatorConfig)) -> Fixture {
        let authority = Authority::new("ca");
        let files = tempfile::tempdir().unwrap();
        let tls = tls_support::config(files.path(), &authority.sign("server"), &authority.pem);
        let server = Server::start_with(|config| {
            config.tls = Some(tls);
            config.auth.x509_provider = true;
            config.secure_client_address =
                Some(ListenAddress { host: "127.0.0.1".to_owned(), port: 0 });
            change(config);
        })
        .await;
        Fixture { server, files, authority }
    }

    fn address(&self) -> SocketAddr {
        self.server.coordinator.secure_client_address().unwrap()
    }

    async fn session(&self, config: &Arc<ClientConfig>) -> Option<Secure> {
        session(self.address(), config).await
    }
}

/// A session over TLS; `None` where the server doesn't give one.
async fn session(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<Secure> {
    let mut stream = connect(address, config).await.ok()?;
    // With TLS 1.3 a client learns only later that its certificate is refused.
    let hello = hello();
    stream.write_all(&hello).await.ok()?;
    stream.flush().await.ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.ok()?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).await.ok()?;
    Some(Client::taken(stream, &answer))
}

/// The frame that opens a session.
fn hello() -> Vec<u8> {
    let frame = Hello::default().frame();
    let mut bytes = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(&frame);
    bytes
}

#[tokio::test]
async fn a_client_with_a_certificate_is_served() {
    let fixture = Fixture::start().await;
    let joe = fixture.authority.sign("joe");
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let config = client_of(&fixture.authority, Some(&joe), versions);
        let mut client = fixture.session(&config).await.expect("no session");
        assert_eq!(client.ask(EXISTS, &watched("/zookeeper", false)).await.err, 0);
    }
}

#[tokio::test]
async fn large_answers_events_and_many_requests_at_once_come_in_order() {
    let fixture = Fixture::start().await;
    let config = client(&fixture.authority, Some(&fixture.authority.sign("joe")));
    let mut client = fixture.session(&config).await.unwrap();
    let mut watcher = fixture.session(&config).await.unwrap();
    let data = vec![7; 900_000];
    let acl = doorkeeper::zookeeper::acl::open_acl_unsafe();
    assert_eq!(client.ask(CREATE, &create("/large", &data, 0, &acl)).await.err, 0);
    assert_eq!(watcher.ask(GET_DATA, &watched("/large", true)).await.body.len(), data.len() + 72);
    let mut xids = Vec::new();
    for _ in 0..20 {
        xids.push(client.send(GET_DATA, &watched("/large", false)).await);
        xids.push(client.send(SET_DATA, &set_data("/large", &data, -1)).await);
    }
    for xid in xids {
        let reply = client.next().await.unwrap();
        assert_eq!((reply.xid, reply.err), (xid, 0));
    }
    assert_eq!(watcher.event().await.1, "/large");
    assert!(watcher.exists("/large").await);
}

#[tokio::test]
async fn whoever_has_no_good_certificate_is_not_served() {
    let fixture = Fixture::start().await;
    let stranger = Authority::new("another");
    for (what, identity) in [
        ("none", None),
        ("another authority's", Some(stranger.sign("joe"))),
        ("an expired one", Some(fixture.authority.sign_expired("joe"))),
        ("its own", Some(self_signed("joe", |_| ()))),
    ] {
        let config = client(&fixture.authority, identity.as_ref());
        assert!(fixture.session(&config).await.is_none(), "{what}");
    }
    assert!(fixture.server.connect().await.exists("/zookeeper").await, "the others are served");
}

#[tokio::test]
async fn a_client_checks_the_server_too() {
    let fixture = Fixture::start().await;
    let config = client(&Authority::new("another"), Some(&fixture.authority.sign("joe")));
    assert!(connect(fixture.address(), &config).await.is_err());
}

#[tokio::test]
async fn client_auth_may_be_wanted_or_none() {
    for (auth, stranger_is_served) in [(ClientAuth::Want, false), (ClientAuth::None, true)] {
        let fixture =
            Fixture::start_with(|config| config.tls.as_mut().unwrap().client_auth = auth).await;
        let nobody = client(&fixture.authority, None);
        assert!(fixture.session(&nobody).await.is_some(), "{auth:?}");
        let stranger = client(&fixture.authority, Some(&Authority::new("another").sign("joe")));
        assert_eq!(fixture.session(&stranger).await.is_some(), stranger_is_served, "{auth:?}");
    }
}

#[tokio::test]
async fn a_certificate_in_the_trust_store_needs_no_authority() {
    let joe = self_signed("joe", |_| ());
    let late = self_signed("late", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let fixture = Fixture::start().await;
    write(
        fixture.files.path(),
        "trusted.pem",
        &format!("{}{}", joe.certificate_pem, late.certificate_pem),
    );
    until_served(&fixture, &client(&fixture.authority, Some(&joe))).await;
    let config = client(&fixture.authority, Some(&late));
    assert!(fixture.session(&config).await.is_none(), "an expired one");
}

/// Waits until the server has taken up new files, so that this client is served.
async fn until_served(fixture: &Fixture, config: &Arc<ClientConfig>) -> Secure {
    for _ in 0..600 {
        if let Some(client) = fixture.session(config).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the new files were not taken up");
}

#[tokio::test]
async fn new_certificates_are_taken_up_and_connections_go_on() {
    let fixture = Fixture::start().await;
    let joe = fixture.authority.sign("joe");
    let old = client(&fixture.authority, Some(&joe));
    let mut open = fixture.session(&old).await.unwrap();

    // Half a file leaves in force what was.
    let renewed = Authority::new("renewed");
    let server = renewed.sign("server");
    write(fixture.files.path(), "server.pem", &server.pem[..server.pem.len() / 2]);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(fixture.session(&old).await.is_some());

    write(fixture.files.path(), "trusted.pem", &renewed.pem);
    write(fixture.files.path(), "server.pem", &server.pem);
    let new = client(&renewed, Some(&renewed.sign("jane")));
    let mut jane = until_served(&fixture, &new).await;
    assert!(jane.exists("/zookeeper").await);
    assert!(open.exists("/zookeeper").await, "the connection from before goes on");
    assert!(fixture.session(&old).await.is_none(), "the old authority is not trusted any more");
}

#[tokio::test]
async fn an_x509_acl_lets_its_subject_in() {
    let fixture = Fixture::start().await;
    let (joe, jane) = (fixture.authority.sign("joe"), fixture.authority.sign("jane"));
    let mut joe = fixture.session(&client(&fixture.authority, Some(&joe))).await.unwrap();
    let mut jane = fixture.session(&client(&fixture.authority, Some(&jane))).await.unwrap();
    let acl = [Acl::new(ALL, "x509", "CN=joe,O=Acme\\, Inc.")];
    assert_eq!(joe.ask(CREATE, &create("/mine", b"x", 0, &acl)).await.err, 0);
    let acl = [Acl::new(ALL, "auth", "")];
    assert_eq!(joe.ask(CREATE, &create("/own", b"x", 0, &acl)).await.err, 0);
    let mut plain = fixture.server.connect().await;
    for path in ["/mine", "/own"] {
        assert_eq!(joe.ask(SET_DATA, &set_data(path, b"y", -1)).await.err, 0, "{path}");
        assert_eq!(jane.ask(SET_DATA, &set_data(path, b"y", -1)).await.err, NO_AUTH, "{path}");
        assert_eq!(plain.ask(SET_DATA, &set_data(path, b"y", -1)).await.err, NO_AUTH, "{path}");
    }
    let shown = joe.ask(coordinator_support::GET_ACL, &path("/own")).await;
    assert!(String::from_utf8_lossy(&shown.body).contains("CN=joe,O=Acme\\, Inc."));
    let bad = [Acl::new(ALL, "x509", "joe")];
    assert_eq!(joe.ask(CREATE, &create("/bad", b"x", 0, &bad)).await.err, -114, "no such name");
}

#[tokio::test]
async fn the_super_user_of_x509_passes_every_acl() {
    let fixture = Fixture::start_with(|config| {
        config.auth.x509_super_user = Some("CN=root,O=Acme\\, Inc.".to_owned());
    })
    .await;
    let mut plain = fixture.server.connect().await;
    let acl = [Acl::new(ALL, "digest", "joe:hash")];
    assert_eq!(plain.ask(CREATE, &create("/closed", b"x", 0, &acl)).await.err, 0);
    for (name, expected) in [("root", 0), ("joe", NO_AUTH)] {
        let identity = fixture.authority.sign(name);
        let config = client(&fixture.authority, Some(&identity));
        let mut client = fixture.session(&config).await.unwrap();
        let reply = client.ask(GET_DATA, &watched("/closed", false)).await;
        assert_eq!(reply.err, expected, "{name}");
    }
}

#[tokio::test]
async fn an_id_from_an_alternative_name_is_what_lists_and_the_super_user_name() {
    let fixture = Fixture::start_with(|config| {
        config.auth.certificate_id = CertificateId::AlternativeName(AlternativeNameId {
            kind: NameKind::UniformResourceIdentifier,
            matching: regex::Regex::new("^spiffe:").unwrap(),
            extracting: regex::Regex::new("/sa/(.+)$").unwrap(),
            group: 1,
        });
        config.auth.x509_super_user = Some("root".to_owned());
    })
    .await;
    let of = |account: &str| {
        fixture.authority.sign_with("same", |params| {
            let uri = format!("spiffe://mesh/ns/orders/sa/{account}");
            params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
        })
    };
    let acl = [Acl::new(ALL, "x509", "writer")];
    let mut writer =
        fixture.session(&client(&fixture.authority, Some(&of("writer")))).await.unwrap();
    assert_eq!(writer.ask(CREATE, &create("/mine", b"x", 0, &acl)).await.err, 0);
    for (account, expected) in [("writer", 0), ("reader", NO_AUTH), ("root", 0)] {
        let mut client =
            fixture.session(&client(&fixture.authority, Some(&of(account)))).await.unwrap();
        let reply = client.ask(SET_DATA, &set_data("/mine", b"y", -1)).await;
        assert_eq!(reply.err, expected, "{account}");
    }
}

#[tokio::test]
async fn one_port_serves_both_where_it_is_unified() {
    let fixture = Fixture::start_with(|config| config.port_unification = true).await;
    let address = fixture.server.address();
    let joe = fixture.authority.sign("joe");
    let mut secure =
        session(address, &client(&fixture.authority, Some(&joe))).await.expect("no TLS");
    assert_eq!(secure.create("/a", 0).await.err, 0);
    assert!(fixture.server.connect().await.exists("/a").await, "without TLS");
    let mut word = TcpStream::connect(address).await.unwrap();
    word.write_all(b"ruok").await.unwrap();
    let mut answer = String::new();
    word.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "imok");
}

#[tokio::test]
async fn what_is_not_tls_is_cut_off_on_the_secure_port() {
    let fixture = Fixture::start().await;
    for bytes in [&hello()[..], b"ruok", &[22, 3, 1, 0xff, 0xff, 9, 9, 9]] {
        let mut stream = TcpStream::connect(fixture.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(30), read).await.expect("left open");
        assert!(!answer.starts_with(b"imok"));
    }
}

#[tokio::test]
async fn an_old_protocol_or_suite_is_refused_where_it_is_not_enabled() {
    let fixture = Fixture::start_with(|config| {
        let tls = config.tls.as_mut().unwrap();
        tls.protocols = vec![Protocol::Tls13];
        tls.cipher_suites = vec!["TLS_AES_128_GCM_SHA256".to_owned()];
    })
    .await;
    let joe = fixture.authority.sign("joe");
    let old = client_of(&fixture.authority, Some(&joe), &[&rustls::version::TLS12]);
    assert!(fixture.session(&old).await.is_none());
    let new = client_of(&fixture.authority, Some(&joe), &[&rustls::version::TLS13]);
    let client = fixture.session(&new).await.unwrap();
    let suite = client.stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
}

/// CVE-2026-59969 and GHSA-7xrh-hqfc-g7qr: a name of reverse DNS opens no door, and the check of
/// the address is not skipped.
#[tokio::test]
async fn cve_2026_59969_a_client_comes_from_an_address_of_its_certificate() {
    let fixture = Fixture::start_with(|config| {
        config.tls.as_mut().unwrap().verify_client_address = true;
    })
    .await;
    let named = fixture.authority.sign_with("joe", |params| {
        // 127.0.0.1 is "localhost" in reverse, which must not matter.
        params.subject_alt_names.retain(|name| matches!(name, rcgen::SanType::DnsName(_)));
    });
    let elsewhere = fixture.authority.sign_with("joe", |params| {
        params.subject_alt_names = vec![rcgen::SanType::IpAddress("192.0.2.1".parse().unwrap())];
    });
    let none = fixture.authority.sign_with("127.0.0.1", |params| params.subject_alt_names.clear());
    for (what, pair) in [("a name", &named), ("another address", &elsewhere), ("no name", &none)] {
        let config = client(&fixture.authority, Some(pair));
        assert!(fixture.session(&config).await.is_none(), "{what}");
    }
    let here: Pair = fixture.authority.sign("joe");
    assert!(fixture.session(&client(&fixture.authority, Some(&here))).await.is_some());
}

#[tokio::test]
async fn a_session_goes_from_one_port_to_the_other() {
    let fixture = Fixture::start().await;
    let joe = fixture.authority.sign("joe");
    let config = client(&fixture.authority, Some(&joe));
    let mut secure = fixture.session(&config).await.unwrap();
    assert_eq!(secure.create("/e", 1).await.err, 0);
    let mut plain = Client::open(fixture.server.address(), secure.hello()).await.unwrap();
    assert_eq!(plain.session, secure.session);
    secure.is_closed().await;
    assert!(plain.exists("/e").await);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_handshakes() {
    let fixture = Fixture::start().await;
    let _silent = TcpStream::connect(fixture.address()).await.unwrap();
    let mut open = fixture
        .session(&client(&fixture.authority, Some(&fixture.authority.sign("joe"))))
        .await
        .unwrap();
    let stop = fixture.server.stop();
    tokio::time::timeout(Duration::from_secs(30), stop).await.expect("it does not stop");
    open.is_closed().await;
}

#[tokio::test]
async fn handshakes_at_once_are_limited() {
    let fixture = Fixture::start_with(|config| config.tls_handshake_limit = 1).await;
    let joe = client(&fixture.authority, Some(&fixture.authority.sign("joe")));
    // One of them holds the only place until it has said something. Which of two connections gets
    // it is open: a silent one that comes too late is refused, so there is one more for each try.
    let mut silent = vec![TcpStream::connect(fixture.address()).await.unwrap()];
    let refused = async {
        while fixture.session(&joe).await.is_some() {
            silent.push(TcpStream::connect(fixture.address()).await.unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("none is refused");
    drop(silent);
    until_served(&fixture, &joe).await;
}
