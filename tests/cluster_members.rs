//! Several brokers on one coordinator, which never speak to each other; and brokers that are not
//! ours.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster_support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster_support::*;
use doorkeeper::broker::Broker;
use doorkeeper::cluster::ClusterImage;
use kafka_protocol::ResponseError;

const APACHE: &[u8] = br#"{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://apache:9092"],"jmx_port":-1,"port":9092,"host":"apache","version":5,"timestamp":"1700000000000"}"#;

/// Leaders of a topic's partitions as this broker's image has them.
fn leaders(broker: &Broker, topic: &str) -> Vec<i32> {
    let image = broker.context().image.load();
    image.topic(topic).unwrap().partitions.values().map(|partition| partition.leader).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_form_a_cluster_and_lose_a_member() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let proxy = Proxy::start(address).await;
    // The first becomes controller, and dies later.
    let first = broker(proxy.address, 1, dir.path()).await;
    let (second, third) =
        tokio::join!(broker(address, 2, dir.path()), broker(address, 3, dir.path()));
    for broker in [&first, &second, &third] {
        let all = |image: &ClusterImage| (image.brokers.len() == 3).then_some(());
        until(broker, "three brokers", all).await;
        assert_eq!(broker.context().image.load().controller_id(), 1);
    }

    // Any of them makes a topic that a client asks for.
    for (name, broker) in [("one", &first), ("two", &second), ("three", &third)] {
        broker.context().admin.auto_create_topic(name).await.unwrap();
        for other in [&first, &second, &third] {
            until_served(other, name).await;
        }
    }
    // All of them at once: it is made once.
    let made = tokio::join!(
        first.context().admin.auto_create_topic("same"),
        second.context().admin.auto_create_topic("same"),
        third.context().admin.auto_create_topic("same"),
    );
    assert!(made.0.is_ok() && made.1.is_ok() && made.2.is_ok(), "{made:?}");
    // Partitions are spread, and each is led where its records are.
    make_topic(&first, "wide", 9).await;
    until_served(&second, "wide").await;
    until_served(&third, "wide").await;
    let mut spread: BTreeMap<i32, usize> = BTreeMap::new();
    for leader in leaders(&second, "wide") {
        *spread.entry(leader).or_default() += 1;
    }
    assert_eq!(spread, [(1, 3), (2, 3), (3, 3)].into());
    for (partition, leader) in (0..).zip(leaders(&second, "wide")) {
        for broker in [&first, &second, &third] {
            let led = broker.context().partitions.led("wide", partition, -1);
            match led {
                Ok(led) => assert_eq!((broker.id(), led.leader_epoch), (leader, 0)),
                Err(code) => {
                    assert_eq!(code, ResponseError::NotLeaderOrFollower);
                    assert_ne!(broker.id(), leader);
                }
            }
        }
    }

    // The controller dies: its partitions lose their leader and another is elected, in time.
    let begun = Instant::now();
    kill(first, &proxy);
    for broker in [&second, &third] {
        let moved = |image: &ClusterImage| {
            let elected = [2, 3].contains(&image.controller_id());
            let wide = image.topic("wide")?;
            let dead = wide.partitions.values().filter(|partition| partition.leader == -1).count();
            (elected && dead == 3 && !image.is_alive(1)).then_some(())
        };
        until(broker, "controllership and leaders move", moved).await;
    }
    // The session's time, and as long again as a busy machine takes for anything.
    assert!(begun.elapsed() < SESSION + PATIENCE, "{:?}", begun.elapsed());
    let image = second.context().image.load();
    assert_eq!(image.controller.as_ref().unwrap().epoch, 2);
    for partition in image.topic("wide").unwrap().partitions.values() {
        let dead = partition.replicas == [1];
        assert_eq!(partition.leader_epoch, i32::from(dead));
        assert_eq!(partition.isr, partition.replicas, "the last in the ISR stays");
    }
    assert_eq!(image.leaderless_partitions(), dead_partitions(&image));

    // A topic with a replica on the dead broker waits with its end.
    second.context().admin.delete_topic("wide").await.unwrap();
    let gone = second.context().admin.wait_for_deletion("wide", Duration::from_millis(500)).await;
    assert!(!gone);
    assert!(second.context().image.load().topic("wide").is_none(), "clients do not see it");
    // It comes back: leaders with the next epoch, and the deletion goes through.
    proxy.heal();
    let first = start_after_kill(config(proxy.address, 1, dir.path())).await;
    for broker in [&first, &second, &third] {
        assert!(broker.context().admin.wait_for_deletion("wide", PATIENCE).await);
        for name in ["one", "two", "three", "same"] {
            until_served(broker, name).await;
        }
    }
    for (id, broker) in [(1, &first), (2, &second), (3, &third)] {
        let folder = dir.path().join(format!("broker-{id}"));
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with("wide-") || name.ends_with("-delete"), "{name}");
        }
        for log in broker.context().logs.logs() {
            assert_ne!(&**log.topic(), "wide");
        }
    }
    let image = first.context().image.load();
    for topic in image.visible_topics() {
        for partition in topic.partitions.values() {
            let expected = if partition.leader == 1 { 2 } else { 0 };
            assert_eq!(partition.leader_epoch, expected, "away and back are an epoch each");
        }
    }
}

fn dead_partitions(image: &ClusterImage) -> usize {
    image
        .visible_topics()
        .flat_map(|topic| topic.partitions.values())
        .filter(|partition| partition.replicas == [1])
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apache_broker_in_the_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let client = client(address).await;
    client.mkdir("/brokers/ids", &PERSISTENT).await.unwrap();
    client.create("/brokers/ids/9", APACHE, &EPHEMERAL).await.unwrap();
    let reason = start_error(config(address, 0, dir.path())).await;
    assert!(reason.contains("broker 9") && reason.contains("not a doorkeeper"), "{reason}");
    assert!(!exists(&client, "/brokers/ids/0").await);
    client.delete("/brokers/ids/9", None).await.unwrap();

    let theirs = br#"{"version":2,"brokerid":9,"timestamp":"1","kraftControllerEpoch":-1}"#;
    client.create("/controller", theirs, &EPHEMERAL).await.unwrap();
    let reason = start_error(config(address, 0, dir.path())).await;
    assert!(reason.contains("controller") && reason.contains("not a doorkeeper"), "{reason}");
    client.delete("/controller", None).await.unwrap();

    // One that comes later gets nothing.
    let broker = broker(address, 0, dir.path()).await;
    client.create("/brokers/ids/9", APACHE, &EPHEMERAL).await.unwrap();
    let joined = |image: &ClusterImage| image.is_alive(9).then_some(());
    until(&broker, "the Apache broker", joined).await;
    make_topic(&broker, "t", 4).await;
    assert_eq!(leaders(&broker, "t"), [0, 0, 0, 0]);
    let theirs = br#"{"version":1,"partitions":{"0":[9],"1":[9,0]}}"#;
    client.create("/brokers/topics/mixed", theirs, &PERSISTENT).await.unwrap();
    let half = |image: &ClusterImage| {
        let mixed = image.topic("mixed")?;
        (mixed.partitions.len() == 1 && mixed.partitions[&1].leader == 0).then_some(())
    };
    until(&broker, "only its own replica leads", half).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_not_ours_ends_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let broker = broker(address, 0, dir.path()).await;
    let client = client(address).await;
    let theirs = br#"{"version":2,"brokerid":9,"timestamp":"1","kraftControllerEpoch":-1}"#;
    let mut usurp = client.new_multi_writer();
    usurp.add_delete("/controller", None).unwrap();
    usurp.add_create("/controller", theirs, &EPHEMERAL).unwrap();
    usurp.commit().await.unwrap();
    let reason = tokio::time::timeout(PATIENCE, broker.failed()).await.unwrap();
    assert!(reason.contains("broker 9") && reason.contains("not a doorkeeper"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_controller_writes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let broker = broker(address, 0, dir.path()).await;
    let client = client(address).await;
    // Somebody raises the epoch behind its back, as a new controller would.
    client.set_data("/controller_epoch", b"7", None).await.unwrap();
    let raised = |image: &ClusterImage| (image.controller.as_ref()?.epoch == 7).then_some(());
    until(&broker, "the new epoch", raised).await;
    let topic = br#"{"version":1,"partitions":{"0":[0]}}"#;
    client.create("/brokers/topics/t", topic, &PERSISTENT).await.unwrap();
    // Its first try is fenced; then it finds that /controller is its own, and its epoch is 7.
    until_served(&broker, "t").await;
    let state = json(&client, "/brokers/topics/t/partitions/0/state").await;
    assert_eq!(state["controller_epoch"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_on_several_brokers_is_led_by_its_first_live_one() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let (one, two) = tokio::join!(broker(address, 1, dir.path()), broker(address, 2, dir.path()));
    let both = |image: &ClusterImage| (image.brokers.len() == 2).then_some(());
    until(&one, "two brokers", both).await;
    let client = client(address).await;
    let topic = br#"{"version":1,"partitions":{"0":[3,2,1],"1":[1,2]}}"#;
    client.create("/brokers/topics/t", topic, &PERSISTENT).await.unwrap();
    until_served(&one, "t").await;
    assert_eq!(leaders(&one, "t"), [2, 1]);
    // Nothing is copied, so nobody else is in sync, and nobody else may lead.
    two.shutdown(Duration::from_secs(1)).await;
    let lost = |image: &ClusterImage| (image.topic("t")?.partitions[&0].leader == -1).then_some(());
    until(&one, "no leader", lost).await;
    assert_eq!(leaders(&one, "t"), [-1, 1]);

    let admin = &one.context().admin;
    let mut request = cluster_support::topic("u", 1);
    request.replication_factor = 2;
    let code = admin.plan_topic(request.clone()).unwrap_err().code;
    assert_eq!(code, ResponseError::InvalidReplicationFactor);
    request.replication_factor = 1;
    request.config.insert("cleanup.policy".to_owned(), "squash".to_owned());
    assert_eq!(admin.plan_topic(request).unwrap_err().code, ResponseError::InvalidConfig);
}
