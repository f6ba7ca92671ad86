//! Gateways and brokers at a coordinator that demands something of them: a login, TLS, both.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster_support;
mod tls_support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_support::*;
use doorkeeper::broker::Broker;
use doorkeeper::cluster::ConnectError;
use doorkeeper::cluster::client::Coordinator as Address;
use doorkeeper::cluster::layout::topic::{PartitionState, TopicAssignment};
use doorkeeper::config::gateway::GatewayListener;
use doorkeeper::config::{
    CoordinatorAccess, CoordinatorConfig, CoordinatorLogin, CoordinatorTls, GatewayConfig,
    ListenAddress, SaslUser, Secret,
};
use doorkeeper::gateway::Gateway;
use doorkeeper::net::tls::StoreKind;
use doorkeeper::net::tls::store::{Password, StoreConfig, StoreSource};
use doorkeeper::zookeeper::server::Coordinator;
use tls_support::Authority;
use zookeeper_client::{Acl, Acls, AuthId, AuthUser, Client, CreateMode, Error, Permission};

/// A coordinator that lets in nobody who doesn't log in, and who does so over TLS if it has stores.
async fn demanding(dir: &Path, authority: Option<&Authority>) -> Coordinator {
    let user = |name: &str| SaslUser {
        name: name.to_owned(),
        password: Secret::new(format!("{name}-secret")),
    };
    let here = || Some(ListenAddress { host: "127.0.0.1".to_owned(), port: 0 });
    let mut config = CoordinatorConfig {
        client_address: here(),
        data_dir: dir.join("coordinator"),
        data_log_dir: dir.join("coordinator"),
        min_session_timeout: Duration::from_secs(1),
        max_session_timeout: Duration::from_secs(60),
        max_client_cnxns: 0,
        pre_alloc_size: 64 << 10,
        force_sync: false,
        ..CoordinatorConfig::default()
    };
    config.auth.sasl_provider = true;
    config.auth.sasl_users = Some(vec![user("kafka"), user("reader")]);
    config.auth.enforced_schemes = vec!["sasl".to_owned()];
    if let Some(authority) = authority {
        let own = authority.sign("server");
        config.tls = Some(tls_support::config(dir, &own, &authority.pem));
        config.auth.x509_provider = true;
        config.secure_client_address = here();
    }
    Coordinator::start(config).await.unwrap()
}

fn login(dir: &Path, user: &str, password: &str) -> CoordinatorLogin {
    let file = dir.join(format!("{user}.jaas"));
    let text = format!(
        "Client {{ org.apache.zookeeper.server.auth.DigestLoginModule required \
         username=\"{user}\" password=\"{password}\"; }};\n"
    );
    std::fs::write(&file, text).unwrap();
    CoordinatorLogin { file, section: "Client".to_owned() }
}

fn logged_in(dir: &Path, user: &str) -> CoordinatorAccess {
    CoordinatorAccess { login: Some(login(dir, user, &format!("{user}-secret"))), tls: None }
}

fn pem(path: PathBuf, text: &str) -> StoreConfig {
    std::fs::write(&path, text).unwrap();
    StoreConfig::file(path, StoreKind::Pem, Password::Text(Secret::new("")))
}

/// TLS that trusts one authority and shows a certificate of another, or none.
fn tls(dir: &Path, name: &str, trusted: &Authority, shown: Option<&Authority>) -> CoordinatorTls {
    CoordinatorTls {
        key_store: shown.map(|by| pem(dir.join(format!("{name}-key.pem")), &by.sign("kafka").pem)),
        trust_store: pem(dir.join(format!("{name}-trust.pem")), &trusted.pem),
    }
}

fn at(address: SocketAddr, access: CoordinatorAccess) -> Address {
    Address {
        connect: address.to_string(),
        session_timeout: Duration::from_secs(20),
        connection_timeout: PATIENCE,
        access,
        ..Address::default()
    }
}

/// Why an operator must act.
async fn refusal(address: SocketAddr, access: CoordinatorAccess) -> String {
    // TLS that fails is tried until this has passed.
    let patience = if access.tls.is_some() { Duration::from_secs(2) } else { PATIENCE };
    let address = Address { connection_timeout: patience, ..at(address, access) };
    match address.connect().await {
        Err(ConnectError::Refused(reason)) => reason,
        Err(ConnectError::Session(error)) => panic!("no reason: {error}"),
        Ok(_) => panic!("it was let in"),
    }
}

fn gateway(address: SocketAddr, access: CoordinatorAccess) -> GatewayConfig {
    GatewayConfig {
        listeners: vec![GatewayListener::plain(
            "PLAINTEXT",
            ListenAddress { host: "127.0.0.1".to_owned(), port: 0 },
        )],
        zookeeper_connect: address.to_string(),
        zookeeper_session_timeout: Duration::from_secs(20),
        access,
        ..GatewayConfig::default()
    }
}

/// Every znode with the transaction that changed it last, those of ZooKeeper's own left out.
async fn znodes(client: &Client) -> BTreeMap<String, (i64, i64, i64)> {
    let (mut found, mut left) = (BTreeMap::new(), vec![String::new()]);
    while let Some(path) = left.pop() {
        let name = if path.is_empty() { "/" } else { &path };
        let (children, stat) = client.get_children(name).await.unwrap();
        found.insert(name.to_owned(), (stat.czxid, stat.mzxid, stat.pzxid));
        let below = children.into_iter().filter(|child| child != "zookeeper");
        left.extend(below.map(|child| format!("{path}/{child}")));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_needs_no_more_than_an_account_that_reads() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = demanding(dir.path(), None).await;
    let address = coordinator.client_address().unwrap();
    let owner = at(address, logged_in(dir.path(), "kafka")).connect().await.unwrap();
    let acls = [
        Acl::new(Permission::ALL, AuthId::authed()),
        Acl::new(Permission::READ, AuthId::new("sasl", "reader")),
    ];
    let options = CreateMode::Persistent.with_acls(Acls::new(&acls));
    let assignment =
        TopicAssignment { partitions: [(0, vec![1])].into(), ..TopicAssignment::default() };
    let state = PartitionState::new(1, 7, vec![1], 1).encode();
    let registration = br#"{"version":5,"host":"h","port":9,"jmx_port":-1,"timestamp":"1","endpoints":["PLAINTEXT://h:9"],"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"features":{}}"#;
    for (path, data) in [
        ("/cluster/id", &br#"{"version":"1","id":"Y2x1c3RlcmlkMDAwMDAwMA"}"#[..]),
        ("/brokers/ids/1", registration),
        ("/brokers/topics/t", &assignment.encode()),
        ("/brokers/topics/t/partitions/0/state", &state),
        ("/config/topics/t", br#"{"version":1,"config":{"retention.ms":"5"}}"#),
    ] {
        owner.mkdir(path.rsplit_once('/').unwrap().0, &options).await.unwrap();
        owner.create(path, data, &options).await.unwrap();
    }
    let before = znodes(&owner).await;

    let reader = at(address, logged_in(dir.path(), "reader")).connect().await.unwrap();
    let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let refused = reader.create("/brokers/topics/mine", b"", &open).await.unwrap_err();
    assert_eq!(refused, Error::NoAuth);
    let gateway = Gateway::start(gateway(address, logged_in(dir.path(), "reader"))).await.unwrap();
    let image = gateway.views().load().image.clone();
    assert_eq!(image.cluster_id.as_deref(), Some("Y2x1c3RlcmlkMDAwMDAwMA"));
    assert_eq!(image.brokers[&1].endpoint("PLAINTEXT").unwrap().port, 9);
    let topic = image.topic("t").unwrap();
    assert_eq!(topic.partitions[&0].leader_epoch, 7);
    assert_eq!(topic.config["retention.ms"], "5");

    // What changes is seen too.
    let next = PartitionState::new(1, 8, vec![1], 1).encode();
    owner.set_data("/brokers/topics/t/partitions/0/state", &next, None).await.unwrap();
    eventually("the new epoch", async || {
        gateway.views().load().image.topic("t").unwrap().partitions[&0].leader_epoch == 8
    })
    .await;
    gateway.shutdown(PATIENCE).await;
    let mut after = znodes(&owner).await;
    let changed = "/brokers/topics/t/partitions/0/state";
    after.insert(changed.to_owned(), before[changed]);
    assert_eq!(after, before, "a gateway writes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_login_fails_is_told_with_its_key_and_a_new_password_needs_no_start() {
    const KEY: &str = "java.security.auth.login.config";
    let dir = tempfile::tempdir().unwrap();
    let coordinator = demanding(dir.path(), None).await;
    let address = coordinator.client_address().unwrap();
    let wrong = login(dir.path(), "kafka", "wrong");
    let access = CoordinatorAccess { login: Some(wrong), tls: None };
    let reason = refusal(address, access.clone()).await;
    assert!(reason.contains("refuses the login") && reason.contains(KEY), "{reason}");
    assert!(!reason.contains("wrong"), "no password in {reason}");
    let reason = refusal(address, CoordinatorAccess::default()).await;
    assert!(reason.contains("demands a login") && reason.contains(KEY), "{reason}");

    // The file is read for every session.
    login(dir.path(), "kafka", "kafka-secret");
    at(address, access).connect().await.unwrap();
    let gone = CoordinatorLogin { file: dir.path().join("gone"), section: "Client".to_owned() };
    let reason = refusal(address, CoordinatorAccess { login: Some(gone), tls: None }).await;
    assert!(reason.starts_with(KEY) && reason.contains("can't read it"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_over_tls_and_why_tls_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let coordinator = demanding(dir.path(), Some(&authority)).await;
    let address = coordinator.secure_client_address().unwrap();
    let with = |tls: CoordinatorTls| CoordinatorAccess {
        tls: Some(tls),
        ..logged_in(dir.path(), "kafka")
    };
    let right = tls(dir.path(), "right", &authority, Some(&authority));
    let client = at(address, with(right.clone())).connect().await;
    let users = client.unwrap().list_auth_users().await.unwrap();
    let schemes: Vec<&str> = users.iter().map(AuthUser::scheme).collect();
    assert!(schemes.contains(&"sasl") && schemes.contains(&"x509"), "{users:?}");

    for (made, expected) in [
        (
            tls(dir.path(), "a", &stranger, Some(&authority)),
            "zookeeper.ssl.truststore.location: the certificate of the coordinator",
        ),
        (
            tls(dir.path(), "b", &authority, Some(&stranger)),
            "zookeeper.ssl.keystore.location: the coordinator",
        ),
        (tls(dir.path(), "c", &authority, None), "zookeeper.ssl.keystore.location is not set"),
    ] {
        let reason = refusal(address, with(made)).await;
        assert!(reason.starts_with(expected), "{reason}");
    }
    let plain = coordinator.client_address().unwrap();
    let reason = refusal(plain, with(right.clone())).await;
    assert!(reason.starts_with("zookeeper.ssl.client.enable: "), "{reason}");
    let mut unreadable = right;
    unreadable.trust_store.source = StoreSource::File(dir.path().join("gone.pem"));
    let reason = refusal(address, with(unreadable)).await;
    assert!(reason.starts_with("zookeeper.ssl.truststore.location: can't use"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_znodes_of_a_broker_that_logs_in_are_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = demanding(dir.path(), None).await;
    let address = coordinator.client_address().unwrap();
    let mut config = config(address, 0, dir.path());
    config.access = logged_in(dir.path(), "kafka");
    config.set_acl = true;
    config.zookeeper_chroot = "/here".to_owned();
    let broker = Broker::start(config).await.unwrap();
    make_topic(&broker, "t", 1).await;
    broker.context().admin.set_broker_config(None, BTreeMap::new()).await.unwrap();

    let reader = at(address, logged_in(dir.path(), "reader")).connect().await.unwrap();
    let (mut left, mut seen) = (vec!["/here".to_owned()], 0);
    while let Some(path) = left.pop() {
        let sensitive = ["/config/users", "/config/brokers"];
        let (acls, _) = match reader.get_acl(&path).await {
            Err(Error::NoAuth) if sensitive.iter().any(|root| path.contains(root)) => continue,
            acls => acls.unwrap_or_else(|error| panic!("{path}: {error}")),
        };
        let shown: Vec<(Permission, &str, &str)> =
            acls.iter().map(|acl| (acl.permission(), acl.scheme(), acl.id())).collect();
        let all = (Permission::ALL, "sasl", "kafka");
        if path == "/here/consumers" {
            assert_eq!(shown, [(Permission::ALL, "world", "anyone")], "{path}");
        } else {
            assert_eq!(shown, [all, (Permission::READ, "world", "anyone")], "{path}");
        }
        seen += 1;
        let children = reader.list_children(&path).await.unwrap();
        left.extend(children.iter().map(|child| format!("{path}/{child}")));
    }
    assert!(seen > 20, "{seen}");
    broker.shutdown(PATIENCE).await;
}
