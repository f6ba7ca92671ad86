//! Who may do what, over real sockets: SASL, enforced authentication, access control lists.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use std::time::Duration;

use coordinator_support::*;
use doorkeeper::config::{AuthConfig, SaslUser, Secret};
use doorkeeper::zookeeper::acl::{self, Acl, open_acl_unsafe};
use doorkeeper::zookeeper::jute::Reader;
use zookeeper_client::{Acls, CreateMode, Error, SaslOptions};

const AUTH_FAILED: i32 = -115;
const INVALID_ACL: i32 = -114;
const REQUIRE_SASL: i32 = -124;

fn users() -> Vec<SaslUser> {
    let user = |name: &str, password: &str| SaslUser {
        name: name.to_owned(),
        password: Secret::new(password),
    };
    vec![user("bob", "bobsecret"), user("kafka", "kafkasecret")]
}

async fn sasl_server(change: impl FnOnce(&mut AuthConfig)) -> Server {
    Server::start_with(|config| {
        config.auth.sasl_provider = true;
        config.auth.sasl_users = Some(users());
        change(&mut config.auth);
    })
    .await
}

/// The crate that the Kafka side uses, authenticated with SASL.
async fn connect(
    server: &Server,
    user: &'static str,
    password: &'static str,
) -> Result<zookeeper_client::Client, Error> {
    zookeeper_client::Client::connector()
        .with_session_timeout(Duration::from_secs(10))
        .with_sasl(SaslOptions::digest_md5(user, password))
        .connect(&server.address().to_string())
        .await
}

/// The token of a reply.
fn challenge(reply: &Reply) -> Option<Vec<u8>> {
    Reader::new(&reply.body).buffer().unwrap().map(<[u8]>::to_vec)
}

#[tokio::test]
async fn a_client_of_another_implementation_authenticates() {
    let server = sasl_server(|_| ()).await;
    let bob = connect(&server, "bob", "bobsecret").await.unwrap();
    let own = CreateMode::Persistent.with_acls(Acls::creator_all());
    bob.create("/bob", b"1", &own).await.unwrap();
    let (acls, _) = bob.get_acl("/bob").await.unwrap();
    assert_eq!((acls.len(), acls[0].scheme(), acls[0].id()), (1, "sasl", "bob"));
    let kafka = connect(&server, "kafka", "kafkasecret").await.unwrap();
    assert_eq!(kafka.get_data("/bob").await.unwrap_err(), Error::NoAuth);
    assert_eq!(bob.get_data("/bob").await.unwrap().0, b"1");
    assert!(connect(&server, "bob", "guess").await.is_err());
    assert!(connect(&server, "eve", "").await.is_err());
}

#[tokio::test]
async fn a_super_user_of_sasl_passes_every_list() {
    let server = sasl_server(|auth| auth.sasl_super_users = vec!["kafka".to_owned()]).await;
    let bob = connect(&server, "bob", "bobsecret").await.unwrap();
    let own = CreateMode::Persistent.with_acls(Acls::creator_all());
    bob.create("/bob", b"1", &own).await.unwrap();
    let kafka = connect(&server, "kafka", "kafkasecret").await.unwrap();
    kafka.set_data("/bob", b"2", None).await.unwrap();
}

#[tokio::test]
async fn a_failed_exchange_is_answered_and_the_connection_closed() {
    let server = sasl_server(|_| ()).await;
    let mut client = server.connect().await;
    let first = client.ask(SASL, &token(None)).await;
    assert_eq!((first.zxid, first.err), (0, 0));
    let text = String::from_utf8(challenge(&first).unwrap()).unwrap();
    assert!(text.starts_with("realm=\"zk-sasl-md5\",nonce=\""), "{text}");
    let xid = client.send(SASL, &token(Some(b"username=\"bob\""))).await;
    let reply = client.next().await.unwrap();
    assert_eq!((reply.xid, reply.zxid, reply.err), (xid, 0, AUTH_FAILED));
    assert_eq!(challenge(&reply), None);
    client.is_closed().await;
}

#[tokio::test]
async fn a_failed_exchange_may_be_forgiven_and_proves_nothing() {
    let server = sasl_server(|auth| auth.keep_sasl_failed_clients = true).await;
    let mut client = server.connect().await;
    client.ask(SASL, &token(Some(b""))).await;
    for guess in [&b"username=\"bob\""[..], b"", b"again"] {
        let reply = client.ask(SASL, &token(Some(guess))).await;
        assert_eq!((reply.err, challenge(&reply)), (0, None));
    }
    let own = [Acl::new(acl::ALL, "auth", "")];
    assert_eq!(client.ask(CREATE, &create("/a", b"", 0, &own)).await.err, INVALID_ACL);
    assert_eq!(client.create("/a", 0).await.err, 0);
}

#[tokio::test]
async fn without_users_a_token_is_answered_with_none() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let reply = client.ask(SASL, &token(Some(b""))).await;
    assert_eq!((reply.zxid, reply.err, challenge(&reply)), (0, 0, None));
    assert_eq!(client.create("/a", 0).await.err, 0);
    client.send(SASL, &[0, 0]).await;
    assert_eq!(client.next().await, None, "malformed");
}

#[tokio::test]
async fn a_sasl_answer_comes_behind_the_writes_before_it() {
    let server = sasl_server(|_| ()).await;
    let mut client = server.connect().await;
    let create = client.send(CREATE, &open("/a", 0)).await;
    let sasl = client.send(SASL, &token(None)).await;
    let exists = client.send(EXISTS, &watched("/a", false)).await;
    for xid in [create, sasl, exists] {
        let reply = client.next().await.unwrap();
        assert_eq!((reply.xid, reply.err), (xid, 0));
    }
}

#[tokio::test]
async fn an_enforced_scheme_comes_before_everything_else() {
    let server = sasl_server(|auth| auth.enforced_schemes = vec!["sasl".to_owned()]).await;
    for (op, body) in [
        (EXISTS, watched("/", false)),
        (CREATE, open("/a", 0)),
        (MULTI, multi(&[])),
        (PING, vec![]),
        (CLOSE_SESSION, vec![]),
        (SET_WATCHES, set_watches(0, &[&[], &[], &[]])),
        (SYNC, path("/")),
    ] {
        let mut client = server.connect().await;
        // Proved, but not what is asked for.
        assert_eq!(client.ask(AUTH, &auth("digest", b"a:b")).await.err, 0);
        let xid = client.send(op, &body).await;
        let reply = client.next().await.unwrap();
        assert_eq!((reply.xid, reply.zxid, reply.err), (xid, 0, REQUIRE_SASL), "{op}");
        client.is_closed().await;
    }
    let mut client = server.connect().await;
    client.ask(SASL, &token(None)).await;
    client.send(SASL, &token(Some(b"username=\"bob\""))).await;
    assert_eq!(client.next().await.unwrap().err, REQUIRE_SASL);
    client.is_closed().await;
    let bob = connect(&server, "bob", "bobsecret").await.unwrap();
    let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
    bob.create("/a", b"", &open).await.unwrap();
}

#[tokio::test]
async fn one_of_several_enforced_schemes_is_enough() {
    let schemes = ["sasl", "digest"].map(str::to_owned).to_vec();
    let server = sasl_server(|auth| auth.enforced_schemes = schemes).await;
    let mut client = server.connect().await;
    assert_eq!(client.ask(AUTH, &auth("digest", b"a:b")).await.err, 0);
    assert_eq!(client.create("/a", 0).await.err, 0);
}

#[tokio::test]
async fn a_client_of_another_ensemble_is_closed_without_an_answer() {
    let server = Server::start_with(|config| {
        config.auth.ensemble_provider = true;
        config.auth.ensemble_names = Some(vec!["east".to_owned()]);
    })
    .await;
    let mut client = server.connect().await;
    assert_eq!(client.ask(AUTH, &auth("ensemble", b"east")).await.err, 0);
    client.send_as(-4, AUTH, &auth("ensemble", b"west")).await;
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn cve_2026_100235_requests_behind_a_set_acl_are_checked_by_the_new_list() {
    let server = Server::start().await;
    let (mut owner, mut other) = (server.connect().await, server.connect().await);
    owner.ask(AUTH, &auth("digest", b"owner:x")).await;
    owner.create("/n", 0).await;
    let closed = [Acl::new(acl::ALL, "auth", "")];
    // One burst of the owner, one multi: what follows in the same batch sees the new list.
    let xids = [
        owner.send(SET_ACL, &set_acl("/n", &[Acl::new(acl::ADMIN, "world", "anyone")], -1)).await,
        owner.send(SET_DATA, &set_data("/n", b"1", -1)).await,
        owner.send(CREATE, &open("/n/c", 0)).await,
        owner.send(SET_ACL, &set_acl("/n", &closed, -1)).await,
        owner.send(SET_DATA, &set_data("/n", b"2", -1)).await,
    ];
    for (xid, expected) in xids.into_iter().zip([0, NO_AUTH, NO_AUTH, 0, 0]) {
        let reply = owner.next().await.unwrap();
        assert_eq!((reply.xid, reply.err), (xid, expected));
    }
    assert_eq!(other.ask(SET_DATA, &set_data("/n", b"3", -1)).await.err, NO_AUTH);
    owner.ask(SET_ACL, &set_acl("/n", &open_acl_unsafe(), -1)).await;
    let both = multi(&[
        (SET_ACL, set_acl("/n", &[Acl::new(acl::READ, "world", "anyone")], -1)),
        (SET_DATA, set_data("/n", b"4", -1)),
    ]);
    // ZooKeeper knows no setACL in a multi: it is refused as a whole, or by the new list.
    let reply = other.ask(MULTI, &both).await;
    assert!(reply.err != 0 || reply.body.windows(4).any(|bytes| bytes == NO_AUTH.to_be_bytes()));
    let (data, _) = owner.ask(GET_DATA, &watched("/n", false)).await.data_and_stat();
    assert_eq!(data.as_deref(), Some(&b"2"[..]));
}

#[tokio::test]
async fn cve_2026_59739_set_watches_tells_nothing_of_what_may_not_be_read() {
    let server = Server::start().await;
    let mut owner = server.connect().await;
    owner.ask(AUTH, &auth("digest", b"owner:x")).await;
    let own = [Acl::new(acl::ALL, "auth", "")];
    owner.ask(CREATE, &create("/secret", b"", 0, &own)).await;
    owner.ask(CREATE, &create("/secret/child", b"", 0, &own)).await;
    owner.ask(SET_DATA, &set_data("/secret", b"1", -1)).await;
    let lists: [&[&str]; 5] =
        [&["/secret"], &["/secret"], &["/secret"], &["/secret"], &["/secret"]];
    for (op, lists) in [(SET_WATCHES, &lists[..3]), (105, &lists[..])] {
        let mut spy = server.connect().await;
        // A zxid before all of it: each of these would be an event at once.
        assert_eq!(spy.ask(op, &set_watches(0, lists)).await.err, 0);
        spy.is_quiet().await;
    }
    owner.send(SET_WATCHES, &set_watches(0, &[&[], &["/secret"], &[]])).await;
    assert_eq!(owner.event().await, (CREATED, "/secret".to_owned(), -1), "who may read is told");
}

#[tokio::test]
async fn cve_2024_23944_watches_tell_only_who_may_read() {
    let server = Server::start().await;
    let (mut owner, mut spy) = (server.connect().await, server.connect().await);
    owner.ask(AUTH, &auth("digest", b"owner:x")).await;
    let own = [Acl::new(acl::ALL, "auth", "")];
    owner.ask(CREATE, &create("/secret", b"", 0, &own)).await;
    for (path, mode) in [("/", 1), ("/secret", 1), ("/secret", 0), ("/secret/child", 0)] {
        assert_eq!(spy.ask(ADD_WATCH, &versioned(path, mode)).await.err, 0);
    }
    assert_eq!(spy.ask(EXISTS, &watched("/secret/other", true)).await.err, NO_NODE);
    owner.ask(CREATE, &create("/secret/child", b"", 0, &own)).await;
    owner.ask(CREATE, &create("/secret/other", b"", 0, &own)).await;
    owner.ask(SET_DATA, &set_data("/secret/child", b"1", -1)).await;
    owner.ask(DELETE, &versioned("/secret/child", -1)).await;
    spy.is_quiet().await;
    owner.create("/open", 0).await;
    assert_eq!(spy.event().await.1, "/open", "it watches all the same");
}

#[tokio::test]
async fn cve_2019_0201_get_acl_shows_hashes_to_admins_only() {
    let server = Server::start().await;
    let (mut owner, mut other) = (server.connect().await, server.connect().await);
    owner.ask(AUTH, &auth("digest", b"owner:x")).await;
    let list = [Acl::new(acl::ALL, "auth", ""), Acl::new(acl::READ, "world", "anyone")];
    owner.ask(CREATE, &create("/n", b"", 0, &list)).await;
    let hidden = [Acl::new(acl::ALL, "auth", "")];
    owner.ask(CREATE, &create("/hidden", b"", 0, &hidden)).await;
    let read = |reply: Reply| acl::read_list(&mut Reader::new(&reply.body)).unwrap().unwrap();
    assert!(read(owner.ask(GET_ACL, &path("/n")).await)[0].id.starts_with("owner:"));
    assert_ne!(&*read(owner.ask(GET_ACL, &path("/n")).await)[0].id, "owner:x");
    assert_eq!(&*read(other.ask(GET_ACL, &path("/n")).await)[0].id, "owner:x", "the mask");
    assert_eq!(other.ask(GET_ACL, &path("/hidden")).await.err, NO_AUTH);
}

#[tokio::test]
async fn cve_2026_79993_the_servers_own_opcodes_change_nothing() {
    let server = Server::start().await;
    let mut owner = server.connect().await;
    owner.create("/n", 0).await;
    // deleteContainer, createSession, error, and check outside of a multi.
    for op in [20, -10, -1, 13] {
        let mut client = server.connect().await;
        client.send(op, &versioned("/n", -1)).await;
        assert_ne!(client.next().await.map(|reply| reply.err), Some(0), "{op}");
    }
    assert!(owner.exists("/n").await);
}
