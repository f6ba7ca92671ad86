//! A coordinator older than ZooKeeper 3.6, which has neither multi reads nor persistent watches: ours,
//! behind a proxy that refuses them as such a server does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster_support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cluster_support::{PATIENCE, PERSISTENT, client, coordinator, eventually};
use doorkeeper::cluster::client::Coordinator as Address;
use doorkeeper::cluster::layout::acl::{PatternType, ResourceType};
use doorkeeper::cluster::layout::topic::{PartitionState, TopicAssignment};
use doorkeeper::cluster::observer::{FollowAcls, Observer};
use doorkeeper::cluster::{ClusterImage, ImageHandle, ResourceAcls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use zookeeper_client::Client;

const MULTI_READ: i32 = 22;
const SET_WATCHES_2: i32 = 105;
const ADD_WATCH: i32 = 106;

/// Passes requests on, those apart that no old server knows.
struct OldServer {
    address: SocketAddr,
    /// How many requests were refused.
    refused: Arc<AtomicUsize>,
    /// Whether a refused request is answered, before its connection is closed.
    answers: Arc<AtomicBool>,
    open: watch::Sender<bool>,
}

impl OldServer {
    async fn start(to: SocketAddr) -> OldServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (refused, answers) = (Arc::default(), Arc::new(AtomicBool::new(true)));
        let open = watch::Sender::new(true);
        let server = (Arc::clone(&refused), Arc::clone(&answers), open.subscribe());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (refused, answers, mut open) = server.clone();
                tokio::spawn(async move {
                    if !*open.borrow_and_update() {
                        return;
                    }
                    tokio::select! {
                        _ = pass(stream, to, &refused, &answers) => {}
                        _ = open.wait_for(|open| !*open) => {}
                    }
                });
            }
        });
        OldServer { address, refused, answers, open }
    }
}

async fn pass(
    mut client: TcpStream,
    to: SocketAddr,
    refused: &AtomicUsize,
    answers: &AtomicBool,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (mut from_server, mut to_server) = server.split();
    let (mut from_client, mut to_client) = client.split();
    let requests = async {
        let mut first = true;
        loop {
            let length = from_client.read_i32().await?;
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            from_client.read_exact(&mut frame).await?;
            let of = |at: usize| i32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
            if !first && matches!(of(4), MULTI_READ | SET_WATCHES_2 | ADD_WATCH) {
                refused.fetch_add(1, Ordering::SeqCst);
                return Ok::<_, std::io::Error>(of(0));
            }
            first = false;
            let whole = [&length.to_be_bytes()[..], &frame].concat();
            to_server.write_all(&whole).await?;
        }
    };
    let xid = tokio::select! {
        xid = requests => xid?,
        copied = tokio::io::copy(&mut from_server, &mut to_client) => return copied.map(|_| ()),
    };
    if answers.load(Ordering::SeqCst) {
        // A reply's header: the request, no transaction, UNIMPLEMENTED.
        let mut reply = 16_i32.to_be_bytes().to_vec();
        reply.extend(xid.to_be_bytes());
        reply.extend((-1_i64).to_be_bytes());
        reply.extend((-6_i32).to_be_bytes());
        to_client.write_all(&reply).await?;
    }
    Ok(())
}

fn observe(address: SocketAddr) -> (ImageHandle, Observer) {
    let images = ImageHandle::new();
    let address = Address {
        connect: address.to_string(),
        session_timeout: Duration::from_secs(20),
        connection_timeout: PATIENCE,
        ..Address::default()
    };
    let observer = Observer::start(address, None, images.clone(), FollowAcls::Yes);
    (images, observer)
}

fn assignment(partitions: i32) -> Vec<u8> {
    let partitions = (0..partitions).map(|partition| (partition, vec![0])).collect();
    TopicAssignment { partitions, ..TopicAssignment::default() }.encode()
}

fn state(epoch: i32) -> Vec<u8> {
    PartitionState::new(0, epoch, vec![0], 1).encode()
}

fn state_path(topic: &str, partition: i32) -> String {
    format!("/brokers/topics/{topic}/partitions/{partition}/state")
}

async fn make(client: &Client, path: &str, data: &[u8]) {
    client.mkdir(path.rsplit_once('/').unwrap().0, &PERSISTENT).await.unwrap();
    client.create(path, data, &PERSISTENT).await.unwrap();
}

async fn seen(images: &ImageHandle, what: &str, mut check: impl FnMut(&ClusterImage) -> bool) {
    let found = images.wait_for(PATIENCE, |image| check(image).then_some(())).await;
    let image = images.load();
    let (version, topics) = (image.version, image.topics.keys().collect::<Vec<_>>());
    assert!(found.is_some(), "{what}: version {version}, topics {topics:?}");
}

fn epoch(image: &ClusterImage, topic: &str, partition: i32) -> Option<i32> {
    Some(image.topic(topic)?.partitions.get(&partition)?.leader_epoch)
}

const BROKER: &[u8] = br#"{"version":5,"host":"h","port":9,"jmx_port":-1,"timestamp":"1","endpoints":["PLAINTEXT://h:9"],"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"features":{}}"#;

/// Everything that an image is made of comes, changes and goes.
async fn everything_is_seen(client: &Client, images: &ImageHandle, topic: &str, broker: i32) {
    // The topic first, its states later, as a controller makes them.
    make(client, &format!("/brokers/topics/{topic}"), &assignment(2)).await;
    for partition in [0, 1] {
        make(client, &state_path(topic, partition), &state(0)).await;
        seen(images, "a partition comes", |image| epoch(image, topic, partition) == Some(0)).await;
    }
    for number in 1..=5 {
        client.set_data(&state_path(topic, 1), &state(number), None).await.unwrap();
        seen(images, "a new leader", |image| epoch(image, topic, 1) == Some(number)).await;
    }
    let path = format!("/brokers/topics/{topic}");
    client.set_data(&path, &assignment(3), None).await.unwrap();
    make(client, &state_path(topic, 2), &state(0)).await;
    seen(images, "it grows", |image| epoch(image, topic, 2) == Some(0)).await;

    let config = format!("/config/topics/{topic}");
    make(client, &config, br#"{"version":1,"config":{"retention.ms":"5"}}"#).await;
    let value = |image: &ClusterImage, key: &str| {
        image.topic(topic).and_then(|topic| topic.config.get(key).cloned())
    };
    seen(images, "its configuration", |image| value(image, "retention.ms").is_some()).await;
    client.set_data(&config, br#"{"version":1,"config":{"a":"b"}}"#, None).await.unwrap();
    seen(images, "another configuration", |image| value(image, "a").is_some()).await;

    // The parent of the brokers' configuration may not be there at first.
    let defaults = format!("/config/brokers/{broker}");
    make(client, &defaults, br#"{"version":1,"config":{"a":"b"}}"#).await;
    seen(images, "a broker's configuration", |image| image.broker_config(broker, "a") == Some("b"))
        .await;

    let acl = format!("/kafka-acl/Topic/{topic}");
    let allowed = |image: &ClusterImage| {
        let topics = image.acls.as_ref()?.directory(PatternType::Literal, ResourceType::Topic);
        match topics.resources.get(topic).map(|acls| &**acls) {
            Some(ResourceAcls::Known(entries)) => Some(entries.len()),
            _ => None,
        }
    };
    let entry = r#"{"principal":"User:a","permissionType":"Allow","operation":"Read","host":"*"}"#;
    make(client, &acl, format!(r#"{{"version":1,"acls":[{entry}]}}"#).as_bytes()).await;
    seen(images, "an ACL", |image| allowed(image) == Some(1)).await;
    let more = entry.replace("Read", "Write");
    let more = format!(r#"{{"version":1,"acls":[{entry},{more}]}}"#);
    client.set_data(&acl, more.as_bytes(), None).await.unwrap();
    seen(images, "another ACL", |image| allowed(image) == Some(2)).await;
    client.delete(&acl, None).await.unwrap();
    seen(images, "no ACL", |image| allowed(image).is_none()).await;

    let registration = format!("/brokers/ids/{broker}");
    make(client, &registration, BROKER).await;
    seen(images, "a broker comes", |image| image.is_alive(broker)).await;
    let controller = format!(r#"{{"version":2,"brokerid":{broker},"timestamp":"1"}}"#);
    client.create("/controller", controller.as_bytes(), &PERSISTENT).await.unwrap();
    seen(images, "it is controller", |image| image.controller_id() == broker).await;
    client.delete("/controller", None).await.unwrap();
    client.delete(&registration, None).await.unwrap();
    seen(images, "a broker goes", |image| !image.is_alive(broker) && image.controller.is_none())
        .await;

    let request = format!("/admin/delete_topics/{topic}");
    make(client, &request, b"").await;
    seen(images, "its deletion is asked for", |image| image.deleting.contains_key(topic)).await;
    make(client, &format!("{request}/7"), b"").await;
    seen(images, "a broker has removed it", |image| image.deleting[topic].contains(&7)).await;
    for partition in 0..3 {
        client.delete(&state_path(topic, partition), None).await.unwrap();
        let path = format!("/brokers/topics/{topic}/partitions/{partition}");
        client.delete(&path, None).await.unwrap();
    }
    for path in [
        format!("/brokers/topics/{topic}/partitions"),
        path,
        config,
        format!("{request}/7"),
        request,
        defaults,
    ] {
        client.delete(&path, None).await.unwrap();
    }
    seen(images, "it is gone", |image| {
        !image.topics.contains_key(topic)
            && !image.deleting.contains_key(topic)
            && !image.topic_configs.contains_key(topic)
            && image.broker_config(broker, "a").is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_read_and_followed() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let client = client(address).await;
    make(&client, "/brokers/topics/first", &assignment(500)).await;
    for partition in 0..500 {
        make(&client, &state_path("first", partition), &state(7)).await;
    }
    let old = OldServer::start(address).await;
    let (images, _observer) = observe(old.address);
    seen(&images, "all partitions", |image| {
        image.topic("first").is_some_and(|topic| topic.partitions.len() == 500)
    })
    .await;
    assert_eq!(old.refused.load(Ordering::SeqCst), 1, "one probe");
    everything_is_seen(&client, &images, "one", 1).await;
    // The same names again and again: what was left of the time before does not get in the way.
    for _ in 0..5 {
        everything_is_seen(&client, &images, "one", 1).await;
    }
    assert_eq!(old.refused.load(Ordering::SeqCst), 1, "nothing more is refused");

    // After an outage all is read again, and a server that says nothing is found out too.
    old.answers.store(false, Ordering::SeqCst);
    old.open.send_replace(false);
    eventually("the outage is noticed", async || !images.connected()).await;
    client.set_data(&state_path("first", 3), &state(8), None).await.unwrap();
    old.open.send_replace(true);
    seen(&images, "what was missed", |image| epoch(image, "first", 3) == Some(8)).await;
    assert!(old.refused.load(Ordering::SeqCst) > 1, "every session finds out again");
    everything_is_seen(&client, &images, "two", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_a_few_images() {
    const PARTITIONS: i32 = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let client = client(address).await;
    make(&client, "/brokers/topics/t", &assignment(PARTITIONS)).await;
    for partition in 0..PARTITIONS {
        make(&client, &state_path("t", partition), &state(0)).await;
    }
    let old = OldServer::start(address).await;
    let (images, _observer) = observe(old.address);
    seen(&images, "all partitions", |image| {
        image.topic("t").is_some_and(|topic| topic.partitions.len() == 1_000)
    })
    .await;
    let before = images.load().version;
    for part in [0..200, 200..600, 600..PARTITIONS] {
        let mut writer = client.new_multi_writer();
        for partition in part {
            writer.add_set_data(&state_path("t", partition), &state(1), None).unwrap();
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
