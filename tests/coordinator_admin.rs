//! The AdminServer and the page of ZooKeeper's metrics, over sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod coordinator_support;

use std::time::Duration;

use coordinator_support::{Client, Hello, SET_ACL, Server, set_acl};
use doorkeeper::config::{AdminConfig, CoordinatorConfig, ListenAddress, MetricsPageConfig};
use doorkeeper::zookeeper::acl::Acl;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn any_port() -> ListenAddress {
    ListenAddress { host: "127.0.0.1".to_owned(), port: 0 }
}

fn with_http(config: &mut CoordinatorConfig) {
    config.admin = Some(AdminConfig {
        address: any_port(),
        address_given: true,
        command_url: "/commands".to_owned(),
        idle_timeout: Duration::from_secs(30),
        rate_limit_interval: Duration::ZERO,
        snapshot_enabled: true,
        restore_enabled: true,
        tls: None,
        plain_too: false,
    });
    config.metrics_page = Some(MetricsPageConfig { address: any_port() });
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

async fn http(server: &Server, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let address = server.coordinator.admin_address().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = bytes[end + 4..].to_vec();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = dechunked(&body);
    }
    Answer { status, head, body }
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n").unwrap();
        let length =
            usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.extend_from_slice(&bytes[line + 2..line + 2 + length]);
        bytes = &bytes[line + 2 + length + 2..];
    }
}

async fn get(server: &Server, path: &str) -> Answer {
    http(server, "GET", path, &[], b"").await
}

const ADMIN: &str = "Authorization: digest admin:secret";

#[tokio::test]
async fn every_command_answers_with_its_name_and_an_error() {
    let server = Server::start_with(with_http).await;
    let links = get(&server, "/commands").await;
    let text = String::from_utf8(links.body).unwrap();
    let names: Vec<&str> =
        text.split("\">").skip(1).map(|part| part.split('<').next().unwrap()).collect();
    assert_eq!(names.len(), 28, "{text}");
    for name in names.into_iter().filter(|name| !["snapshot", "restore"].contains(name)) {
        let answer = get(&server, &format!("/commands/{name}")).await;
        let json = answer.json();
        assert_eq!((answer.status, json["command"].as_str()), (200, Some(name)));
        let error = match name {
            "leader" => Value::from("server is not initialized"),
            "set_trace_mask" => Value::from("setTraceMask requires long traceMask argument"),
            _ => Value::Null,
        };
        assert_eq!(json["error"], error, "{name}");
    }
    let unknown = get(&server, "/commands/nosuch").await;
    assert_eq!(
        (unknown.status, unknown.json()["error"].as_str()),
        (200, Some("Unknown command: nosuch"))
    );
    assert_eq!(get(&server, "/commands/stmk?traceMask=5").await.json()["tracemask"], 5);
    assert_eq!(get(&server, "/commands/gtmk").await.json()["tracemask"], 5);
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/commandsruok", 404),
        ("POST", "/commands/ruok", 405),
        ("PUT", "/commands/ruok", 405),
        ("TRACE", "/commands/ruok", 405),
    ] {
        assert_eq!(http(&server, method, path, &[], b"").await.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn what_the_commands_tell_is_true() {
    let server = Server::start_with(with_http).await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    client.create("/a/e", 1).await;
    client.exists("/a").await;
    let stats = get(&server, "/commands/stats").await.json();
    assert_eq!(stats["server_stats"]["last_processed_zxid"], 3);
    assert_eq!((&stats["node_count"], &stats["read_only"]), (&Value::from(7), &Value::from(false)));
    assert_eq!(stats["connections"].as_array().unwrap().len(), 1);
    let connection = &get(&server, "/commands/cons").await.json()["connections"][0];
    assert_eq!(connection["session_id"], client.session);
    assert_eq!(connection["last_operation"], "EXIS");
    let dump = get(&server, "/commands/dump").await.json();
    let ephemerals = &dump["session_id_to_ephemeral_paths"][client.session.to_string()];
    assert_eq!(ephemerals, &Value::from(vec!["/a/e"]));
    let monitor = get(&server, "/commands/monitor").await.json();
    assert_eq!((&monitor["znode_count"], &monitor["ephemerals_count"]), (&7.into(), &1.into()));
    assert!(monitor["avg_updatelatency"].is_f64() && monitor["version"].is_string());
}

#[tokio::test]
async fn snapshot_and_restore_need_credentials_that_may_do_everything_with_the_root() {
    let server = Server::start_with(with_http).await;
    let ask = async |headers: &[&str]| {
        let path = "/commands/snapshot?streaming=false";
        http(&server, "GET", path, headers, b"").await
    };
    let refused = ask(&[]).await;
    let reason = "Auth info is missing for the command";
    assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some(reason)));
    for header in [
        "Authorization: nosuch x",
        "Authorization: digest a b c",
        "Authorization: x509",
        "Authorization: ",
    ] {
        let refused = ask(&[header]).await;
        assert_eq!(
            (refused.status, refused.json()["error"].as_str()),
            (401, Some("Not authenticated"))
        );
    }
    let restore = http(&server, "POST", "/commands/restore", &[], b"").await;
    assert_eq!(restore.status, 401);
    assert_eq!(ask(&[ADMIN]).await.status, 200, "the root is open to the world");
    restrict_root(&server, "ip", "10.9.8.7", 31).await;
    let refused = ask(&[ADMIN]).await;
    assert_eq!((refused.status, refused.json()["error"].as_str()), (403, Some("Not authorized")));
}

#[tokio::test]
async fn cve_2024_51504_the_peer_address_is_that_of_the_socket() {
    let server = Server::start_with(with_http).await;
    restrict_root(&server, "ip", "10.9.8.7", 31).await;
    for header in ["X-Forwarded-For: 10.9.8.7", "Forwarded: for=10.9.8.7", "X-Real-IP: 10.9.8.7"] {
        let headers = ["Authorization: ip", header];
        let answer = http(&server, "GET", "/commands/snapshot", &headers, b"").await;
        assert_eq!(answer.status, 403, "{header}");
    }
}

#[tokio::test]
async fn cve_2025_58457_some_permissions_are_not_enough() {
    let server = Server::start_with(with_http).await;
    restrict_root(&server, "ip", "127.0.0.1", 31 & !16).await;
    for (method, path) in [("GET", "/commands/snapshot"), ("POST", "/commands/restore")] {
        let answer = http(&server, method, path, &["Authorization: ip"], b"").await;
        assert_eq!(answer.status, 403, "{path}");
    }
}

async fn restrict_root(server: &Server, scheme: &str, id: &str, perms: i32) {
    let mut client = server.connect().await;
    let acl = [Acl { perms, scheme: scheme.into(), id: id.into() }];
    assert_eq!(client.ask(SET_ACL, &set_acl("/", &acl, -1)).await.err, 0);
}

#[tokio::test]
async fn a_restored_snapshot_survives_and_its_sessions_go_on() {
    let server = Server::start_with(with_http).await;
    let mut owner = server.connect().await;
    owner.create("/kept", 0).await;
    owner.create("/kept/ephemeral", 1).await;
    let snapshot = http(&server, "GET", "/commands/snapshot", &[ADMIN], b"").await;
    assert_eq!(snapshot.status, 200);
    assert_eq!(snapshot.header("last_zxid"), Some("0x3"));
    assert_eq!(snapshot.header("snapshot_size"), Some(snapshot.body.len().to_string().as_str()));
    assert_eq!(&snapshot.body[..4], b"ZKSN");

    let mut later = server.connect().await;
    later.create("/later", 0).await;
    let restored = http(&server, "POST", "/commands/restore", &[ADMIN], &snapshot.body).await;
    assert_eq!(restored.status, 200, "{:?}", restored.json());
    // The zxid goes on: clients refuse a server that is behind what they have seen.
    assert_eq!(restored.json()["last_zxid"], 6);
    owner.is_closed().await;
    later.is_closed().await;

    let expired = Client::open(server.address(), later.hello()).await.unwrap();
    assert_eq!(expired.session, 0, "it is not in the snapshot");
    let mut owner = Client::open(server.address(), owner.hello()).await.unwrap();
    assert!(owner.exists("/kept/ephemeral").await);
    assert!(!owner.exists("/later").await);
    owner.create("/after", 0).await;
    let hello = owner.hello();
    let directory = server.stop().await;
    let server = Server::start_on(directory, |_| ()).await;
    let mut owner = Client::open(server.address(), hello).await.unwrap();
    for (path, is_there) in [("/kept/ephemeral", true), ("/later", false), ("/after", true)] {
        assert_eq!(owner.exists(path).await, is_there, "{path} after a restart");
    }
    let mut new = Client::open(server.address(), Hello::default()).await.unwrap();
    assert!(new.exists("/kept").await);
}

#[tokio::test]
async fn what_is_no_snapshot_restores_nothing() {
    let server = Server::start_with(with_http).await;
    let mut client = server.connect().await;
    client.create("/a", 0).await;
    let snapshot = http(&server, "GET", "/commands/snapshot", &[ADMIN], b"").await.body;
    let mut torn = snapshot.clone();
    torn.truncate(snapshot.len() / 2);
    let mut changed = snapshot.clone();
    changed[snapshot.len() / 2] ^= 1;
    for body in [&b""[..], b"no snapshot", &torn, &changed] {
        let answer = http(&server, "POST", "/commands/restore", &[ADMIN], body).await;
        assert_eq!(answer.status, 500);
    }
    assert!(client.exists("/a").await, "its connection is still there");
}

#[tokio::test]
async fn snapshot_and_restore_can_be_off_and_are_limited() {
    let off = Server::start_with(|config| {
        with_http(config);
        let admin = config.admin.as_mut().unwrap();
        (admin.snapshot_enabled, admin.restore_enabled) = (false, false);
    })
    .await;
    let limited = Server::start_with(|config| {
        with_http(config);
        config.admin.as_mut().unwrap().rate_limit_interval = Duration::from_secs(3_600);
    })
    .await;
    let unsealed = Server::start_with(|config| {
        with_http(config);
        config.serialize_last_zxid = false;
    })
    .await;
    for (method, path) in
        [("GET", "/commands/snapshot?streaming=false"), ("POST", "/commands/restore")]
    {
        assert_eq!(http(&off, method, path, &[ADMIN], b"").await.status, 503);
        http(&limited, method, path, &[ADMIN], b"").await;
        assert_eq!(http(&limited, method, path, &[ADMIN], b"").await.status, 429);
        assert_eq!(http(&unsealed, method, path, &[ADMIN], b"").await.status, 500);
    }
}

#[tokio::test]
async fn a_busy_port_that_was_asked_for_stops_the_start_and_a_default_one_does_not() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ListenAddress::from(taken.local_addr().unwrap());
    let start = async |given: bool| {
        let directory = tempfile::tempdir().unwrap();
        let mut config = coordinator_support::config(directory.path());
        with_http(&mut config);
        let admin = config.admin.as_mut().unwrap();
        (admin.address, admin.address_given) = (address.clone(), given);
        let started = doorkeeper::zookeeper::server::Coordinator::start(config).await;
        (started, directory.path().join("version-2").exists())
    };
    let (refused, touched) = start(true).await;
    let error = refused.map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, format!("can't listen on {address}: the port is in use by another process"));
    assert!(!touched, "ports come before data");
    let (started, _) = start(false).await;
    let coordinator = started.unwrap();
    assert_eq!(coordinator.admin_address(), None);
    coordinator.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_metrics_page_has_zookeepers_names_and_types() {
    let server = Server::start_with(with_http).await;
    server.connect().await.create("/app", 0).await;
    let address = server.coordinator.metrics_address().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    for line in [
        "# TYPE znode_count gauge",
        "znode_count 6",
        "# TYPE readlatency summary",
        "# TYPE updatelatency summary",
        "updatelatency_count 2",
        "# TYPE fsynctime summary",
        "# TYPE bytes_received_count counter",
        "election_time_count 0",
        "write_per_namespace_count{key=\"app\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!text.contains("jvm"), "{text}");
}
