//! What becomes of a broker whose connection, session, process or coordinator goes away.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster_support;

use std::time::{Duration, Instant};

use cluster_support::*;
use doorkeeper::cluster::ClusterImage;
use doorkeeper::cluster::layout::topic::id_text;

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_the_connection_was_cut_is_seen_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let proxy = Proxy::start(coordinator.client_address().unwrap()).await;
    let mut config = config(proxy.address, 0, dir.path());
    config.zookeeper_session_timeout = Duration::from_secs(20);
    let broker = doorkeeper::broker::Broker::start(config).await.unwrap();
    let client = client(coordinator.client_address().unwrap()).await;
    make_topic(&broker, "before", 2).await;
    make_topic(&broker, "untouched", 1).await;
    let image = broker.context().image.clone();
    let (old, epoch) = (image.load(), image.load().brokers[&0].epoch);

    proxy.cut();
    eventually("the cut is noticed", || async { !image.connected() }).await;
    assert_eq!(image.load().version, old.version, "the last image is served");
    // One of each kind, all below watches that the server has forgotten.
    let made = br#"{"version":3,"topic_id":"nMgdTK9_SGiqQnTCLuC_7A","partitions":{"0":[0]},
        "adding_replicas":{},"removing_replicas":{}}"#;
    client.create("/brokers/topics/during", made, &PERSISTENT).await.unwrap();
    let state = br#"{"controller_epoch":1,"leader":0,"version":1,"leader_epoch":6,"isr":[0]}"#;
    let path = "/brokers/topics/before/partitions/1/state";
    client.set_data(path, state, None).await.unwrap();
    let topic_config = br#"{"version":1,"config":{"retention.ms":"77"}}"#;
    client.set_data("/config/topics/before", topic_config, None).await.unwrap();
    client.create("/config/brokers/<default>", topic_config, &PERSISTENT).await.unwrap();
    assert!(image.age() > Duration::ZERO);
    proxy.heal();

    let seen = |image: &ClusterImage| {
        let before = image.topic("before")?;
        (image.topics.contains_key("during")
            && before.partitions[&1].leader_epoch == 6
            && before.config.get("retention.ms").is_some_and(|value| value == "77")
            && image.broker_configs.contains_key("<default>"))
        .then_some(())
    };
    until(&broker, "what changed meanwhile", seen).await;
    until_served(&broker, "during").await;
    let new = image.load();
    assert!(image.connected() && image.age() == Duration::ZERO);
    assert_eq!(new.brokers[&0].epoch, epoch, "the session was kept");
    let same = |name| std::sync::Arc::ptr_eq(&old.topics[name], &new.topics[name]);
    assert!(same("untouched") && !same("before"));

    // The watches are there again.
    client.set_data(path, state, None).await.unwrap();
    make_topic(&broker, "after", 1).await;
    // And after a second cut, when the client has more than one set of them.
    proxy.cut();
    eventually("the cut is noticed", || async { !image.connected() }).await;
    proxy.heal();
    eventually("the image is current", || async { image.connected() }).await;
    make_topic(&broker, "again", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let proxy = Proxy::start(coordinator.client_address().unwrap()).await;
    let broker = broker(proxy.address, 0, dir.path()).await;
    let client = client(coordinator.client_address().unwrap()).await;
    make_topic(&broker, "t", 1).await;
    let before = broker.context().image.load();
    let owner = before.brokers[&0].owner;
    proxy.cut();
    eventually("the session expires", || async { !exists(&client, "/brokers/ids/0").await }).await;
    assert!(!exists(&client, "/controller").await);
    assert!(broker.context().partitions.led("t", 0, -1).is_ok(), "what it has, it serves");
    proxy.heal();
    let back = |image: &ClusterImage| {
        let registered = image.brokers.get(&0).is_some_and(|broker| broker.owner != owner);
        let controller = image.controller.as_ref().is_some_and(|c| c.epoch == 2);
        (registered && controller).then_some(())
    };
    until(&broker, "registered and elected again", back).await;
    assert!(broker.context().image.load().brokers[&0].epoch > before.brokers[&0].epoch);
    make_topic(&broker, "after", 1).await;
    assert_eq!(broker.context().producer_ids.next().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_registration_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let broker = broker(address, 0, dir.path()).await;
    let epoch = broker.context().image.load().brokers[&0].epoch;
    let client = client(address).await;
    client.delete("/brokers/ids/0", None).await.unwrap();
    client.delete("/controller", None).await.unwrap();
    let back = |image: &ClusterImage| {
        let registered = image.brokers.get(&0).is_some_and(|broker| broker.epoch > epoch);
        let controller = image.controller.as_ref().is_some_and(|c| c.epoch == 2);
        (registered && controller).then_some(())
    };
    until(&broker, "registered and elected again", back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_its_own_old_registration_is_replaced_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let proxy = Proxy::start(coordinator.client_address().unwrap()).await;
    let mut long = config(proxy.address, 0, dir.path());
    long.zookeeper_session_timeout = Duration::from_secs(30);
    let client = client(coordinator.client_address().unwrap()).await;
    let mut starts = Vec::new();
    for round in 0..3 {
        proxy.heal();
        let broker = doorkeeper::broker::Broker::start(long.clone()).await.unwrap();
        let owner = broker.context().image.load().brokers[&0].owner;
        if round == 0 {
            make_topic(&broker, "t", 1).await;
        }
        kill(broker, &proxy);
        let (_, stat) = client.get_data("/brokers/ids/0").await.unwrap();
        assert_eq!(stat.ephemeral_owner, owner, "the old registration is still there");
        assert!(exists(&client, "/controller").await);
        // The killed process's locks are gone with it; here its tasks let go of them.
        proxy.heal();
        let begun = Instant::now();
        let broker = start_after_kill(long.clone()).await;
        starts.push(begun.elapsed());
        let image = broker.context().image.load();
        assert_ne!(image.brokers[&0].owner, owner);
        assert!(broker.context().is_controller());
        until_served(&broker, "t").await;
        broker.shutdown(Duration::from_secs(1)).await;
    }
    // A machine that is busy with other tests may delay them; the old session lives for 30 s.
    assert!(starts.iter().min().unwrap() < &Duration::from_secs(15), "{starts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_registration_is_waited_for_and_then_refused() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let one = broker(address, 0, dir.path()).await;
    let other = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let mut config = config(address, 0, other.path());
    let cluster = one.context().image.load().cluster_id.clone().unwrap();
    let reason = start_error(config.clone()).await;
    assert!(begun.elapsed() >= SESSION, "one session timeout and two ticks");
    assert!(begun.elapsed() < SESSION + PATIENCE, "{:?}", begun.elapsed());
    assert!(reason.contains("broker.id 0 is registered by another session"), "{reason}");
    assert!(reason.contains(&one.listeners()["PLAINTEXT"].port().to_string()), "{reason}");
    assert!(one.context().image.load().is_alive(0), "the other broker is not disturbed");

    // When it ends in time, its id is free.
    config.log_dirs = vec![other.path().join("next")];
    config.zookeeper_session_timeout = PATIENCE;
    let start = tokio::spawn(doorkeeper::broker::Broker::start(config));
    tokio::time::sleep(SESSION / 4).await;
    assert!(!start.is_finished());
    one.shutdown(Duration::from_secs(1)).await;
    let two = start.await.unwrap().unwrap();
    assert_eq!(two.context().image.load().cluster_id.as_ref(), Some(&cluster));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_and_another_id_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let first = broker(address, 0, dir.path()).await;
    first.shutdown(Duration::from_secs(1)).await;
    let mut renamed = config(address, 5, dir.path());
    renamed.log_dirs = vec![dir.path().join("broker-0")];
    let reason = start_error(renamed).await;
    assert!(reason.contains("broker.id is 5") && reason.contains("broker.id=0"), "{reason}");

    let client = client(address).await;
    client.delete("/cluster/id", None).await.unwrap();
    let reason = start_error(config(address, 0, dir.path())).await;
    assert!(reason.contains("the coordinator has no /cluster/id"), "{reason}");
    assert!(!exists(&client, "/cluster/id").await, "nothing is written there");
    let other = br#"{"version":"1","id":"AAAAAAAAAAAAAAAAAAAAAA"}"#;
    client.create("/cluster/id", other, &PERSISTENT).await.unwrap();
    let reason = start_error(config(address, 0, dir.path())).await;
    assert!(reason.contains("AAAAAAAAAAAAAAAAAAAAAA"), "{reason}");
    assert!(!exists(&client, "/brokers/ids/0").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_coordinator_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut nowhere = config("127.0.0.1:1".parse().unwrap(), 0, dir.path());
    nowhere.zookeeper_connection_timeout = Duration::from_millis(300);
    let reason = start_error(nowhere).await;
    assert!(reason.contains("can't reach the coordinator at 127.0.0.1:1"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_coordinator_finds_its_broker_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = coordinator(dir.path(), 0).await;
    let address = first.client_address().unwrap();
    let mut config = config(address, 0, dir.path());
    config.zookeeper_session_timeout = Duration::from_secs(20);
    let broker = doorkeeper::broker::Broker::start(config).await.unwrap();
    make_topic(&broker, "t", 1).await;
    let epoch = broker.context().image.load().brokers[&0].epoch;
    let image = broker.context().image.clone();
    first.shutdown(Duration::from_secs(1)).await;
    eventually("the stop is noticed", || async { !image.connected() }).await;
    assert!(broker.context().partitions.led("t", 0, -1).is_ok());
    let _second = coordinator(dir.path(), address.port()).await;
    eventually("the image is current", || async { image.connected() }).await;
    assert_eq!(image.load().brokers[&0].epoch, epoch, "the session outlives the coordinator");
    make_topic(&broker, "after", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_coordinator_erases_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let first = coordinator(dir.path(), 0).await;
    let address = first.client_address().unwrap();
    let broker = broker(address, 0, dir.path()).await;
    make_topic(&broker, "t", 2).await;
    let old = broker.context().image.load();
    let id = old.topic("t").unwrap().id;
    let cluster = old.cluster_id.clone();
    first.shutdown(Duration::from_secs(1)).await;
    let wiped = tempfile::tempdir().unwrap();
    let _second = coordinator(wiped.path(), address.port()).await;
    let empty = |image: &ClusterImage| {
        (image.topics.is_empty() && image.is_alive(0) && image.controller_id() == 0).then_some(())
    };
    until(&broker, "the empty cluster", empty).await;
    assert_eq!(broker.context().image.load().cluster_id, cluster, "it is the same cluster");
    // Another topic shows that the follower has been through the image without the first one.
    make_topic(&broker, "other", 1).await;
    let logs = broker.context().logs.logs();
    let kept = logs.iter().filter(|log| log.topic_id() == id).count();
    assert_eq!(kept, 2, "{}", id_text(id));
    for partition in ["t-0", "t-1"] {
        let files = dir.path().join("broker-0").join(partition);
        assert!(files.join("00000000000000000000.log").exists(), "{partition}");
    }
    let kept = logs.iter().find(|log| log.topic_id() == id).unwrap();
    assert_eq!(kept.config().retention_ms, -1, "nor is anything trimmed");

    // A new topic of the old name is another: the old records stay beside it.
    make_topic(&broker, "t", 1).await;
    let new = broker.context().partitions.led("t", 0, -1).unwrap().log;
    assert_ne!(new.topic_id(), id);
    let names: Vec<String> = std::fs::read_dir(dir.path().join("broker-0"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        names.iter().any(|name| name.starts_with("t-0.") && name.ends_with("-stray")),
        "{names:?}"
    );
    assert!(names.contains(&"t-1".to_owned()), "{names:?}");
}
