//! What a broker and its controller write, znode by znode.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster_support;

use std::time::Duration;

use cluster_support::*;
use doorkeeper::cluster::admin::PartitionsRequest;
use doorkeeper::cluster::layout::topic::parse_id;
use kafka_protocol::ResponseError;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_makes_the_layout() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let broker = broker(address, 7, dir.path()).await;
    let client = client(address).await;

    for root in [
        "/consumers",
        "/brokers/ids",
        "/brokers/topics",
        "/brokers/seqid",
        "/config/changes",
        "/config/topics",
        "/config/clients",
        "/config/users",
        "/config/brokers",
        "/config/ips",
        "/admin/delete_topics",
        "/isr_change_notification",
        "/log_dir_event_notification",
        "/latest_producer_id_block",
    ] {
        assert_eq!(text(&client, root).await, "", "{root}");
    }
    let id = json(&client, "/cluster/id").await;
    assert_eq!(id["version"], "1");
    assert_eq!(id["id"].as_str().unwrap().len(), 22);
    let meta = std::fs::read_to_string(dir.path().join("broker-7/meta.properties")).unwrap();
    assert!(meta.contains(&format!("cluster.id={}", id["id"].as_str().unwrap())), "{meta}");
    assert!(meta.contains("broker.id=7"), "{meta}");

    let registration = json(&client, "/brokers/ids/7").await;
    let port = broker.listeners()["PLAINTEXT"].port();
    assert_eq!(registration["version"], 5);
    assert_eq!(registration["host"], "127.0.0.1");
    assert_eq!(registration["port"], port);
    assert_eq!(registration["endpoints"], json!([format!("PLAINTEXT://127.0.0.1:{port}")]));
    let protocols = json!({"PLAINTEXT": "PLAINTEXT"});
    assert_eq!(registration["listener_security_protocol_map"], protocols);
    assert_eq!(registration["features"], json!({}));
    assert_eq!(registration["doorkeeper"], doorkeeper::VERSION);
    let (_, stat) = client.get_data("/brokers/ids/7").await.unwrap();
    assert!(stat.ephemeral_owner != 0 && stat.version == 1);
    let image = broker.context().image.load();
    assert_eq!(image.brokers[&7].epoch, stat.czxid);

    let controller = json(&client, "/controller").await;
    assert_eq!((&controller["version"], &controller["brokerid"]), (&json!(2), &json!(7)));
    assert_eq!(controller["kraftControllerEpoch"], -1);
    assert!(controller["timestamp"].is_string());
    assert_eq!(text(&client, "/controller_epoch").await, "1");
    assert!(broker.context().is_controller());

    broker.shutdown(Duration::from_secs(5)).await;
    assert!(!exists(&client, "/brokers/ids/7").await, "its session is closed");
    assert!(!exists(&client, "/controller").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chroot_is_made_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let mut config = config(address, 0, dir.path());
    config.zookeeper_chroot = "/kafka/one".to_owned();
    let broker = doorkeeper::broker::Broker::start(config).await.unwrap();
    make_topic(&broker, "t", 1).await;
    let client = client(address).await;
    assert!(exists(&client, "/kafka/one/brokers/ids/0").await);
    assert!(exists(&client, "/kafka/one/brokers/topics/t/partitions/0/state").await);
    assert!(!exists(&client, "/brokers").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_generated_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let first = broker(address, -1, dir.path()).await;
    assert_eq!(first.id(), 1_001);
    first.shutdown(Duration::from_secs(5)).await;
    let again = broker(address, -1, dir.path()).await;
    assert_eq!(again.id(), 1_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_from_its_making_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let broker = broker(address, 0, dir.path()).await;
    let client = client(address).await;
    let admin = &broker.context().admin;

    let mut request = topic("t", 2);
    request.config.insert("retention.ms".to_owned(), "1234".to_owned());
    let id = admin.create_topic(&admin.plan_topic(request).unwrap()).await.unwrap();
    until_served(&broker, "t").await;
    let znode = json(&client, "/brokers/topics/t").await;
    assert_eq!(znode["version"], 3);
    assert_eq!(znode["partitions"], json!({"0": [0], "1": [0]}));
    assert_eq!(znode["adding_replicas"], json!({}));
    assert_eq!(znode["removing_replicas"], json!({}));
    assert_eq!(parse_id(znode["topic_id"].as_str().unwrap()).unwrap(), id);
    let config = json(&client, "/config/topics/t").await;
    assert_eq!(config, json!({"version": 1, "config": {"retention.ms": "1234"}}));
    let (_, config_stat) = client.get_data("/config/topics/t").await.unwrap();
    let (_, topic_stat) = client.get_data("/brokers/topics/t").await.unwrap();
    assert!(config_stat.czxid <= topic_stat.czxid, "the configuration is never later");
    for path in ["/brokers/topics/t/partitions", "/brokers/topics/t/partitions/1"] {
        assert_eq!(text(&client, path).await, "");
    }
    let state = json(&client, "/brokers/topics/t/partitions/1/state").await;
    let expected =
        json!({"controller_epoch": 1, "leader": 0, "version": 1, "leader_epoch": 0, "isr": [0]});
    assert_eq!(state, expected);

    let again = admin.plan_topic(topic("t", 1)).unwrap_err();
    assert_eq!(again.code, ResponseError::TopicAlreadyExists);
    let log = broker.context().partitions.led("t", 1, -1).unwrap().log;
    assert_eq!(log.topic_id(), id);
    assert_eq!(log.config().retention_ms, 1234);

    let more = PartitionsRequest { name: "t".to_owned(), count: 3, assignment: None };
    admin.create_partitions(&admin.plan_partitions(&more).unwrap()).await.unwrap();
    let three = |image: &doorkeeper::cluster::ClusterImage| {
        (image.topic("t")?.partitions.len() == 3).then_some(())
    };
    until(&broker, "three partitions", three).await;
    let znode = json(&client, "/brokers/topics/t").await;
    assert_eq!(znode["partitions"], json!({"0": [0], "1": [0], "2": [0]}));
    assert_eq!(parse_id(znode["topic_id"].as_str().unwrap()).unwrap(), id);

    let set = [("retention.ms".to_owned(), "99".to_owned())].into();
    admin.set_topic_config("t", set).await.unwrap();
    eventually("the log has the new configuration", || async { log.config().retention_ms == 99 })
        .await;
    let change = json(&client, "/config/changes/config_change_0000000000").await;
    assert_eq!(change, json!({"version": 2, "entity_path": "topics/t"}));

    admin.delete_topic("t").await.unwrap();
    assert!(admin.wait_for_deletion("t", PATIENCE).await);
    for gone in ["/brokers/topics/t", "/config/topics/t", "/admin/delete_topics/t"] {
        assert!(!exists(&client, gone).await, "{gone}");
    }
    let unknown = broker.context().partitions.led("t", 0, -1).unwrap_err();
    assert_eq!(unknown, ResponseError::UnknownTopicOrPartition);
    assert!(!dir.path().join("broker-0/t-0").exists());

    make_topic(&broker, "t", 1).await;
    let new = broker.context().image.load().topic("t").unwrap().id;
    assert_ne!(new, id, "a topic made again is another");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_another_tool_made_becomes_usable() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let broker = broker(address, 0, dir.path()).await;
    let client = client(address).await;
    let old = br#"{"version":1,"partitions":{"0":[0],"1":[0]}}"#;
    client.create("/brokers/topics/old", old, &PERSISTENT).await.unwrap();
    until_served(&broker, "old").await;
    let has_id = |image: &doorkeeper::cluster::ClusterImage| {
        image.topic("old").map(|topic| topic.id).filter(|id| !id.is_nil())
    };
    let id = until(&broker, "an id", has_id).await;
    let log = broker.context().partitions.led("old", 1, 0).unwrap().log;
    assert_eq!(log.topic_id(), id);
    let by_id = broker.context().partitions.led_by_id(id, 0, -1).unwrap();
    assert_eq!(&*by_id.topic.name, "old");

    // And it is deleted by a znode, as tools did before there was an API.
    client.create("/admin/delete_topics/old", b"", &PERSISTENT).await.unwrap();
    eventually("the topic is gone", || async {
        !exists(&client, "/brokers/topics/old").await
            && !exists(&client, "/admin/delete_topics/old").await
    })
    .await;
    assert!(!dir.path().join("broker-0/old-0").exists());

    // A request for what is not there is dropped.
    client.create("/admin/delete_topics/nothing", b"", &PERSISTENT).await.unwrap();
    eventually("the request is gone", || async {
        !exists(&client, "/admin/delete_topics/nothing").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_fence_and_codes_are_kafkas() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let broker = broker(address, 0, dir.path()).await;
    let client = client(address).await;
    make_topic(&broker, "t", 1).await;
    let partitions = &broker.context().partitions;
    let code = |topic: &str, partition, epoch| partitions.led(topic, partition, epoch).unwrap_err();
    assert_eq!(code("x", 0, -1), ResponseError::UnknownTopicOrPartition);
    assert_eq!(code("t", 1, -1), ResponseError::UnknownTopicOrPartition);
    assert_eq!(code("t", 0, 1), ResponseError::UnknownLeaderEpoch);
    assert_eq!(partitions.led("t", 0, 0).unwrap().leader_epoch, 0);
    let nobody = partitions.led_by_id(uuid::Uuid::from_u128(1), 0, -1).unwrap_err();
    assert_eq!(nobody, ResponseError::UnknownTopicId);

    let state = br#"{"controller_epoch":1,"leader":0,"version":1,"leader_epoch":4,"isr":[0]}"#;
    let path = "/brokers/topics/t/partitions/0/state";
    client.set_data(path, state, None).await.unwrap();
    let raised = |image: &doorkeeper::cluster::ClusterImage| {
        (image.topic("t")?.partitions[&0].leader_epoch == 4).then_some(())
    };
    until(&broker, "the epoch is raised", raised).await;
    assert_eq!(code("t", 0, 3), ResponseError::FencedLeaderEpoch);
    assert_eq!(partitions.led("t", 0, -1).unwrap().leader_epoch, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_ids_come_in_blocks_and_never_twice() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = coordinator(dir.path(), 0).await;
    let address = coordinator.client_address().unwrap();
    let (one, two) = tokio::join!(broker(address, 1, dir.path()), broker(address, 2, dir.path()));
    let client = client(address).await;
    assert_eq!(one.context().producer_ids.next().await.unwrap(), 0);
    let block = json(&client, "/latest_producer_id_block").await;
    let expected = json!({"version": 1, "broker": 1, "block_start": "0", "block_end": "999"});
    assert_eq!(block, expected);
    assert_eq!(two.context().producer_ids.next().await.unwrap(), 1_000);
    for expected in 1..1_000 {
        assert_eq!(one.context().producer_ids.next().await.unwrap(), expected);
    }
    assert_eq!(one.context().producer_ids.next().await.unwrap(), 2_000);
    assert_eq!(two.context().producer_ids.next().await.unwrap(), 1_001);
}
