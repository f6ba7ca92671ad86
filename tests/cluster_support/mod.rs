//! A coordinator and brokers in this process, and a connection between them that can be cut.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use doorkeeper::broker::{Broker, StartError};
use doorkeeper::cluster::ClusterImage;
use doorkeeper::cluster::admin::TopicRequest;
use doorkeeper::config::broker::ListenerConfig;
use doorkeeper::config::{BrokerConfig, CoordinatorConfig, ListenAddress};
use doorkeeper::zookeeper::server::Coordinator;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions};

pub(crate) const PERSISTENT: CreateOptions<'static> =
    CreateMode::Persistent.with_acls(Acls::anyone_all());
pub(crate) const EPHEMERAL: CreateOptions<'static> =
    CreateMode::Ephemeral.with_acls(Acls::anyone_all());

/// The tick of the coordinator: sessions of two ticks are the shortest.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// How long sessions last in these tests.
pub(crate) const SESSION: Duration = Duration::from_secs(3);
/// Longer than anything takes on a busy machine: a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A coordinator on this port (0 = a free one), its data below `dir`.
pub(crate) async fn coordinator(dir: &Path, port: u16) -> Coordinator {
    let config = CoordinatorConfig {
        client_address: Some(ListenAddress { host: "127.0.0.1".to_owned(), port }),
        data_dir: dir.join("coordinator"),
        data_log_dir: dir.join("coordinator"),
        tick_time: TICK,
        min_session_timeout: TICK * 2,
        max_session_timeout: TICK * 200,
        max_client_cnxns: 0,
        pre_alloc_size: 64 << 10,
        force_sync: false,
        ..CoordinatorConfig::default()
    };
    Coordinator::start(config).await.unwrap()
}

/// A broker's configuration: one listener on a free port, its logs below `dir`.
pub(crate) fn config(connect: SocketAddr, id: i32, dir: &Path) -> BrokerConfig {
    BrokerConfig {
        broker_id: id,
        listeners: vec![ListenerConfig {
            name: "PLAINTEXT".to_owned(),
            protocol: "PLAINTEXT".to_owned(),
            bind: ListenAddress { host: "127.0.0.1".to_owned(), port: 0 },
            advertised: None,
        }],
        log_dirs: vec![dir.join(format!("broker-{id}"))],
        zookeeper_connect: connect.to_string(),
        zookeeper_session_timeout: SESSION,
        zookeeper_connection_timeout: PATIENCE,
        ..BrokerConfig::default()
    }
}

pub(crate) async fn broker(connect: SocketAddr, id: i32, dir: &Path) -> Broker {
    Broker::start(config(connect, id, dir)).await.unwrap()
}

/// The one line of a start that must fail.
pub(crate) async fn start_error(config: BrokerConfig) -> String {
    let StartError(reason) = Broker::start(config).await.unwrap_err();
    assert!(!reason.contains('\n'), "{reason}");
    reason
}

/// A client of the test's own.
pub(crate) async fn client(connect: SocketAddr) -> Client {
    Client::connector()
        .with_session_timeout(Duration::from_secs(20))
        .connect(&connect.to_string())
        .await
        .unwrap()
}

/// A znode's data as text.
pub(crate) async fn text(client: &Client, path: &str) -> String {
    let (data, _) = client.get_data(path).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8(data).unwrap()
}

pub(crate) async fn json(client: &Client, path: &str) -> serde_json::Value {
    serde_json::from_str(&text(client, path).await).unwrap()
}

pub(crate) async fn exists(client: &Client, path: &str) -> bool {
    client.check_stat(path).await.unwrap().is_some()
}

/// Waits until the broker's image passes the check.
pub(crate) async fn until<T>(
    broker: &Broker,
    what: &str,
    check: impl FnMut(&ClusterImage) -> Option<T>,
) -> T {
    let found = broker.context().image.wait_for(PATIENCE, check).await;
    found.unwrap_or_else(|| panic!("{what}: {:?}", broker.context().image.load()))
}

/// Waits until all of the topic's partitions have a live leader.
pub(crate) async fn until_served(broker: &Broker, topic: &str) {
    let served = broker.context().admin.wait_for_topic(topic, PATIENCE).await;
    assert!(served, "{topic}: {:?}", broker.context().image.load());
}

/// Waits until a condition holds that no event tells of.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let begun = Instant::now();
    while !check().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A topic of these partitions, replication factor 1.
pub(crate) fn topic(name: &str, partitions: i32) -> TopicRequest {
    TopicRequest {
        name: name.to_owned(),
        partitions,
        replication_factor: 1,
        ..TopicRequest::default()
    }
}

/// Makes a topic and waits until it is served.
pub(crate) async fn make_topic(broker: &Broker, name: &str, partitions: i32) {
    let admin = &broker.context().admin;
    let plan = admin.plan_topic(topic(name, partitions)).unwrap();
    admin.create_topic(&plan).await.unwrap();
    until_served(broker, name).await;
}

/// Forwards connections until it is cut, and again when it is healed.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    open: watch::Sender<bool>,
    frozen: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn start(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = watch::Sender::new(true);
        let watched = open.subscribe();
        let frozen = watch::Sender::new(false);
        let still = frozen.subscribe();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(forward(stream, to, watched.clone(), still.clone()));
            }
        });
        Proxy { address, open, frozen }
    }

    /// Nothing moves any more, and nothing ends: as where the other side was stopped (`kill -STOP`).
    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// Every connection ends at once, and new ones end at once too.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn heal(&self) {
        self.open.send_replace(true);
    }
}

async fn forward(
    mut from: TcpStream,
    to: SocketAddr,
    mut open: watch::Receiver<bool>,
    mut frozen: watch::Receiver<bool>,
) {
    if !*open.borrow_and_update() {
        return;
    }
    let Ok(mut to) = TcpStream::connect(to).await else { return };
    loop {
        let mut thaw = frozen.clone();
        tokio::select! {
            _ = open.wait_for(|open| !*open) => return,
            // What the copy holds at this moment is lost with the connection's end.
            _ = frozen.wait_for(|frozen| *frozen) => {}
            _ = tokio::io::copy_bidirectional(&mut from, &mut to) => return,
        }
        if thaw.wait_for(|frozen| !*frozen).await.is_err() {
            return;
        }
    }
}

/// Starts a broker on directories that a killed one may still hold for a moment: its process would
/// be gone, but here its tasks have to let go.
pub(crate) async fn start_after_kill(config: BrokerConfig) -> Broker {
    let begun = Instant::now();
    loop {
        match Broker::start(config.clone()).await {
            Ok(broker) => return broker,
            Err(StartError(reason)) => {
                assert!(reason.contains("lock") && begun.elapsed() < PATIENCE, "{reason}");
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ends a broker as `kill -9` does: its sessions stay, since nothing more comes through.
pub(crate) fn kill(broker: Broker, proxy: &Proxy) {
    proxy.cut();
    drop(broker);
}
