//! Where a gateway's image comes from: the znodes, or the disk while the coordinator is away.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster_support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster_support::*;
use doorkeeper::cluster::client::Coordinator as Address;
use doorkeeper::cluster::layout::acl::{PatternType, ResourceType};
use doorkeeper::cluster::layout::topic::{PartitionState, TopicAssignment};
use doorkeeper::cluster::observer::{FollowAcls, Observer};
use doorkeeper::cluster::{ClusterImage, ImageHandle, ResourceAcls};
use doorkeeper::config::gateway::GatewayListener;
use doorkeeper::config::{GatewayConfig, ListenAddress};
use doorkeeper::gateway::Gateway;
use zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, Permission};

fn gateway_config(coordinator: SocketAddr, dir: &Path) -> GatewayConfig {
    GatewayConfig {
        listeners: vec![GatewayListener::plain(
            "PLAINTEXT",
            ListenAddress { host: "127.0.0.1".to_owned(), port: 0 },
        )],
        image_dir: Some(dir.join("image")),
        zookeeper_connect: coordinator.to_string(),
        zookeeper_session_timeout: Duration::from_secs(20),
        zookeeper_connection_timeout: Duration::from_secs(2),
        ..GatewayConfig::default()
    }
}

fn assignment(partitions: i32) -> Vec<u8> {
    let partitions = (0..partitions).map(|partition| (partition, vec![0])).collect();
    TopicAssignment { partitions, ..TopicAssignment::default() }.encode()
}

fn state(epoch: i32) -> Vec<u8> {
    PartitionState::new(0, epoch, vec![0], 1).encode()
}

async fn make(client: &Client, path: &str, data: &[u8]) {
    let (parent, _) = path.rsplit_once('/').unwrap();
    client.mkdir(parent, &PERSISTENT).await.unwrap();
    client.create(path, data, &PERSISTENT).await.unwrap();
}

async fn make_state(client: &Client, topic: &str, partition: i32, data: &[u8]) {
    make(client, &format!("/brokers/topics/{topic}/partitions/{partition}/state"), data).await;
}

/// Waits until the image passes the check.
async fn seen(images: &ImageHandle, what: &str, mut check: impl FnMut(&ClusterImage) -> bool) {
    let found = images.wait_for(PATIENCE, |image| check(image).then_some(())).await;
    assert!(found.is_some(), "{what}: {:?}", images.load());
}

fn observe(coordinator: SocketAddr) -> (ImageHandle, Observer) {
    let images = ImageHandle::new();
    let address = Address {
        connect: coordinator.to_string(),
        chroot: String::new(),
        session_timeout: Duration::from_secs(20),
        connection_timeout: PATIENCE,
        ..Address::default()
    };
    let observer = Observer::start(address, None, images.clone(), FollowAcls::Yes);
    (images, observer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_from_disk_while_the_coordinator_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let client = client(address).await;
    make(&client, "/brokers/topics/kept", &assignment(1)).await;
    make_state(&client, "kept", 0, &state(4)).await;
    let proxy = Proxy::start(address).await;

    let config = gateway_config(proxy.address, dir.path());
    let gateway = Gateway::start(config.clone()).await.unwrap();
    assert!(gateway.views().load().image.topic("kept").is_some());
    assert_eq!(gateway.image().report(), (true, None));
    let taken = Gateway::start(config.clone()).await.unwrap_err().to_string();
    assert!(taken.contains("doorkeeper.gateway.image.dir"), "{taken}");
    gateway.shutdown(Duration::from_secs(5)).await;

    proxy.cut();
    make(&client, "/brokers/topics/newer", &assignment(1)).await;
    make_state(&client, "newer", 0, &state(0)).await;
    let limited = GatewayConfig { image_age_max: Some(Duration::ZERO), ..config.clone() };
    let gateway = Gateway::start(limited).await.unwrap();
    let image = gateway.views().load().image.clone();
    assert_eq!(image.topic("kept").unwrap().partitions[&0].leader_epoch, 4);
    assert!(image.topic("newer").is_none());
    let (ready, text) = gateway.image().report();
    assert!(!ready && text.unwrap().contains("doorkeeper.gateway.image.age.max.ms"));

    proxy.heal();
    let current = || async {
        gateway.views().load().image.topic("newer").is_some() && gateway.image().report().0
    };
    eventually("the image is current again", current).await;
    let now = gateway.views().load().image.clone();
    let same = Arc::ptr_eq(&now.topics["kept"], &image.topics["kept"]);
    assert!(same, "what did not change is not built again");
    gateway.shutdown(Duration::from_secs(5)).await;
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(text).count()
    }
}

// On one thread, whose log lines are taken.
#[tokio::test]
async fn an_outage_is_logged_at_its_start_and_at_its_end() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _taken = tracing::subscriber::set_default(subscriber);
    let (away, back) = ("coordinator away: serving the last image", "coordinator is back");
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let client = client(address).await;
    make(&client, "/brokers/topics/t", &assignment(1)).await;
    make_state(&client, "t", 0, &state(0)).await;
    let proxy = Proxy::start(address).await;
    let images = ImageHandle::new();
    let there = Address {
        connect: proxy.address.to_string(),
        session_timeout: Duration::from_secs(10),
        connection_timeout: PATIENCE,
        ..Address::default()
    };
    let _observer = Observer::start(there, None, images.clone(), FollowAcls::No);
    seen(&images, "a first image", |image| image.version > 0).await;
    eventually("it is followed", async || images.connected()).await;
    assert_eq!((log.count(away), log.count(back)), (0, 0));

    // The connection ends; then it goes on and nothing comes any more.
    for outage in 1..=2 {
        if outage == 1 {
            proxy.cut();
        } else {
            proxy.freeze(true);
        }
        eventually("it is noticed", async || !images.connected()).await;
        assert!(images.load().topic("t").is_some(), "the last image stays");
        let path = "/brokers/topics/t/partitions/0/state";
        client.set_data(path, &state(outage), None).await.unwrap();
        if outage == 1 {
            proxy.heal();
        } else {
            proxy.freeze(false);
        }
        eventually("it is followed again", async || images.connected()).await;
        let epoch = images.load().topic("t").unwrap().partitions[&0].leader_epoch;
        assert_eq!(epoch, outage, "what was missed is in the first image after it");
        // A machine that stands still for seconds makes outages of its own.
        let said = (log.count(away), log.count(back));
        assert!(said.0 == said.1 && said.0 >= usize::try_from(outage).unwrap(), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_of_another_cluster_is_not_answered_from() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let client = client(address).await;
    make(&client, "/brokers/topics/other", &assignment(1)).await;
    make_state(&client, "other", 0, &state(0)).await;
    client.mkdir("/chroot", &PERSISTENT).await.unwrap();

    let config = gateway_config(address, dir.path());
    Gateway::start(config.clone()).await.unwrap().shutdown(Duration::from_secs(5)).await;
    let there = GatewayConfig { zookeeper_chroot: "/chroot".to_owned(), ..config };
    let gateway = Gateway::start(there).await.unwrap();
    assert!(gateway.views().load().image.topics.is_empty());
    gateway.shutdown(Duration::from_secs(5)).await;
}

fn acl(principal: &str) -> String {
    format!(
        r#"{{"version":1,"acls":[{{"principal":"{principal}","permissionType":"Allow","operation":"Read",
        "host":"*"}}]}}"#
    )
}

/// Whom the entries of a topic's ACLs name: of the literal name, and of the prefix.
fn named_in_acls(image: &ClusterImage, topic: &str) -> [Option<String>; 2] {
    PatternType::ALL.map(|pattern| {
        let directory = image.acls.as_ref()?.directory(pattern, ResourceType::Topic);
        match &**directory.resources.get(topic)? {
            ResourceAcls::Known(entries) => Some(entries[0].principal.clone()),
            ResourceAcls::Unknown => Some("unknown".to_owned()),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn acls_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let client = client(address).await;
    make(&client, "/kafka-acl/Topic/t", acl("User:first").as_bytes()).await;
    let proxy = Proxy::start(address).await;
    let (images, _observer) = observe(proxy.address);
    let shown = async |literal: Option<&str>, prefixed: Option<&str>| {
        let expected = [literal, prefixed].map(|name| name.map(str::to_owned));
        let what = format!("ACLs of {expected:?}");
        seen(&images, &what, |image| named_in_acls(image, "t") == expected).await;
    };
    shown(Some("User:first"), None).await;
    // The parents of the others come later.
    make(&client, "/kafka-acl-extended/prefixed/Topic/t", acl("User:second").as_bytes()).await;
    shown(Some("User:first"), Some("User:second")).await;
    client.set_data("/kafka-acl/Topic/t", b"{", None).await.unwrap();
    shown(Some("unknown"), Some("User:second")).await;
    client.set_data("/kafka-acl/Topic/t", acl("User:third").as_bytes(), None).await.unwrap();
    shown(Some("User:third"), Some("User:second")).await;
    // What changes while the coordinator is away is seen after it.
    proxy.cut();
    client.delete("/kafka-acl/Topic/t", None).await.unwrap();
    client
        .set_data("/kafka-acl-extended/prefixed/Topic/t", acl("User:fourth").as_bytes(), None)
        .await
        .unwrap();
    proxy.heal();
    shown(None, Some("User:fourth")).await;
    client.delete("/kafka-acl-extended/prefixed/Topic/t", None).await.unwrap();
    shown(None, None).await;
    // Those that only others may read are not taken for none. No watch tells of them.
    proxy.cut();
    let others = [Acl::new(Permission::ALL, AuthId::new("digest", "other:x"))];
    let secret = CreateMode::Persistent.with_acls(Acls::from(&others[..]));
    client.create("/kafka-acl/Topic/t", acl("User:fifth").as_bytes(), &secret).await.unwrap();
    proxy.heal();
    shown(Some("unknown"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_changes_is_a_few_images() {
    const PARTITIONS: i32 = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let client = client(address).await;
    make(&client, "/brokers/topics/t", &assignment(PARTITIONS)).await;
    client.mkdir("/brokers/topics/t/partitions", &PERSISTENT).await.unwrap();
    let path = |partition: i32| format!("/brokers/topics/t/partitions/{partition}");
    let mut writer = client.new_multi_writer();
    for partition in 0..PARTITIONS {
        writer.add_create(&path(partition), b"", &PERSISTENT).unwrap();
        writer.add_create(&format!("{}/state", path(partition)), &state(0), &PERSISTENT).unwrap();
    }
    writer.commit().await.unwrap();

    let (images, _observer) = observe(address);
    seen(&images, "all partitions", |image| {
        image.topic("t").is_some_and(|topic| topic.partitions.len() == 1_000)
    })
    .await;
    let before = images.load().version;
    for part in [0..200, 200..600, 600..PARTITIONS] {
        let mut writer = client.new_multi_writer();
        for partition in part {
            writer.add_set_data(&format!("{}/state", path(partition)), &state(1), None).unwrap();
        }
        writer.commit().await.unwrap();
    }
    seen(&images, "all new leaders", |image| {
        image.topics["t"].partitions.values().all(|partition| partition.leader_epoch == 1)
    })
    .await;
    let made = images.load().version - before;
    assert!(made < 100, "{made} images for {PARTITIONS} changes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_hides_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let client = client(address).await;
    for topic in ["good", "half", "newer"] {
        make(&client, &format!("/brokers/topics/{topic}"), &assignment(2)).await;
        make_state(&client, topic, 0, &state(0)).await;
    }
    make(&client, "/brokers/topics/bad", b"{").await;
    make_state(&client, "bad", 0, &state(0)).await;
    make_state(&client, "half", 1, b"nonsense").await;
    let newer = br#"{"version":99,"partitions":{"0":[0]},"what":{"is":["this"]}}"#;
    client.set_data("/brokers/topics/newer", newer, None).await.unwrap();
    make(&client, "/brokers/ids/1", br#"{"version":0}"#).await;
    make(&client, "/brokers/ids/x", b"").await;

    let (images, _observer) = observe(address);
    seen(&images, "a first image", |image| image.version > 0).await;
    let image = images.load();
    assert!(image.topic("good").is_some() && image.topic("bad").is_none());
    assert_eq!(image.topic("half").unwrap().partitions.len(), 1);
    assert_eq!(image.topic("newer").unwrap().partitions.len(), 1);
    assert!(image.brokers.is_empty());

    // A topic that was good and no longer is stays as brokers keep it, and others go on.
    client.set_data("/brokers/topics/good", b"[]", None).await.unwrap();
    let good = "/brokers/topics/good/partitions/0/state";
    client.set_data(good, b"", None).await.unwrap();
    make_state(&client, "half", 2, b"{}").await;
    client.set_data("/brokers/topics/half/partitions/0/state", &state(9), None).await.unwrap();
    seen(&images, "what came after", |image| {
        image.topic("half").unwrap().partitions[&0].leader_epoch == 9
    })
    .await;
    let image = images.load();
    assert_eq!(image.topic("good").unwrap().partitions[&0].leader_epoch, 0);
    // Until it can be read again.
    client.set_data(good, &state(3), None).await.unwrap();
    seen(&images, "it is understood", |image| {
        image.topic("good").unwrap().partitions[&0].leader_epoch == 3
    })
    .await;
}
