"""Three unmodified Kafka 3.9.1 brokers on our coordinator, under load, while everything that may happen happens.

The tests are one story and run in this order; the load goes on through all of them.
"""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourcePatternType,
    ResourceType, ScramCredentialInfo, ScramMechanism, UserScramCredentialDeletion, UserScramCredentialUpsertion,
)  # fmt: skip

import tools
from kafka_cluster import BROKERS, Cluster, Load, Znodes, controller, expiries, may_write, owners, read
from servers import Doorkeeper, ZooKeeper, wait_for

APACHE = os.environ.get("COMPAT_AGAINST") == "apache"
LONG = bool(os.environ.get("COMPAT_LONG"))
PARTITIONS = 6


@pytest.fixture(scope="module")
def coordinator(folder):
    # Snapshots often, so that a kill meets some.
    settings = {"snapCount": "500", "preAllocSize": "1024"}
    if APACHE:
        server = ZooKeeper(folder / "zookeeper", settings)
    else:
        server = Doorkeeper(folder / "coordinator", settings, roles=["coordinator"])
    with server:
        yield server


@pytest.fixture(scope="module")
def cluster(folder, coordinator):
    with Cluster(folder, coordinator) as started:
        yield started


@pytest.fixture(scope="module")
def load(cluster):
    cluster.create("load", PARTITIONS)
    cluster.create("kept", 2)
    with Load(cluster, "load", PARTITIONS) as running:
        yield running


def kill_coordinator(coordinator, cluster):
    """kill -9, and back: the same sessions hold the same registrations, and nobody else is controller."""
    before, who = owners(coordinator), controller(coordinator)
    coordinator.kill()
    coordinator.start()
    assert owners(coordinator) == before
    assert controller(coordinator) == who
    for broker in cluster.brokers.values():
        assert not expiries(broker), expiries(broker)[:3]


def kill_broker(cluster, coordinator, victim):
    """kill -9; the others take over when its session expires; it comes back and catches up."""
    others = [number for number in cluster.brokers if number != victim]
    cluster.brokers[victim].kill()
    wait_for(f"the registration of {victim} expires", lambda: victim not in owners(coordinator), every=0.2)
    cluster.wait_for_isr("load", others)
    return others


def test_replicas_of_every_topic_are_in_sync(cluster, coordinator, load):
    cluster.wait_for_isr("load")
    load.goes_on()
    assert sorted(owners(coordinator)) == list(BROKERS)
    assert {leader for leader, _, _ in cluster.partitions("load").values()} == set(BROKERS)


def test_coordinator_is_killed_and_comes_back(cluster, coordinator, load):
    draw = random.Random(1)
    for number in range(20 if LONG else 3):
        load.goes_on(draw.randrange(1, 300))
        kill_coordinator(coordinator, cluster)
        load.goes_on()
        cluster.create(f"after-kill-{number}", 2)
        cluster.wait_for_isr(f"after-kill-{number}")


def change(cluster, kind, name, *entries):
    """IncrementalAlterConfigs."""
    resource = ConfigResource(kind, name, incremental_configs=[
        ConfigEntry(key, value, incremental_operation=operation) for operation, key, value in entries
    ])  # fmt: skip
    cluster.admin.incremental_alter_configs([resource])[resource].result(30)


def described(broker, kind, name, key):
    """The value that this broker itself goes by."""
    resource = ConfigResource(kind, name)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    return admin.describe_configs([resource])[resource].result(30)[key].value


def test_configurations_are_changed(cluster, coordinator, load):
    """A change goes through a sequential znode that every broker watches."""
    put, drop = AlterConfigOpType.SET, AlterConfigOpType.DELETE
    change(cluster, ConfigResource.Type.TOPIC, "load", (put, "retention.ms", "99999999"))
    change(cluster, ConfigResource.Type.BROKER, "2", (put, "log.cleaner.threads", "2"))
    for broker in cluster.brokers.values():
        wait_for("the topic's value", lambda broker=broker: described(broker, ConfigResource.Type.TOPIC, "load", "retention.ms") == "99999999")
    broker = cluster.brokers[2]
    wait_for("the broker's value", lambda: described(broker, ConfigResource.Type.BROKER, "2", "log.cleaner.threads") == "2")
    with Znodes(coordinator) as client:
        assert json.loads(client.get("/config/topics/load")[0])["config"] == {"retention.ms": "99999999"}
    change(cluster, ConfigResource.Type.TOPIC, "load", (drop, "retention.ms", None))
    wait_for("the default again", lambda: described(broker, ConfigResource.Type.TOPIC, "load", "retention.ms") != "99999999")


def test_users_and_acls_are_changed(cluster, load):
    """SCRAM users and ACLs live in znodes; each broker hears of a change through its watch."""
    addresses = [broker.outside for broker in cluster.brokers.values()]
    admin, pool = cluster.admin, ThreadPoolExecutor(len(addresses))

    def user(change):
        (result,) = admin.alter_user_scram_credentials([change]).values()
        result.result(30)

    def everywhere(what, verdict, *of):
        def at(address):
            wait_for(f"{what} at {address}", lambda: may_write(address, *of, topic="kept") in verdict, 60, every=0.2)

        list(pool.map(at, addresses))

    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    refused = ("TOPIC_AUTHORIZATION_FAILED",)
    unknown = ("_AUTHENTICATION", "_TRANSPORT")
    user(UserScramCredentialUpsertion("alice", info, b"first"))
    everywhere("alice is known, and may nothing", refused, "alice", "first")
    rule = AclBinding(ResourceType.TOPIC, "kept", ResourcePatternType.LITERAL, "User:alice", "*", AclOperation.ALL, AclPermissionType.ALLOW)
    admin.create_acls([rule])[rule].result(30)
    everywhere("alice may write", (None,), "alice", "first")
    user(UserScramCredentialUpsertion("alice", info, b"second"))
    everywhere("the new password counts", (None,), "alice", "second")
    assert may_write(addresses[0], "alice", "first", "kept") in unknown
    of_hers = AclBindingFilter(ResourceType.TOPIC, "kept", ResourcePatternType.LITERAL, "User:alice", None, AclOperation.ANY, AclPermissionType.ANY)
    assert len(admin.delete_acls([of_hers])[of_hers].result(30)) == 1
    everywhere("alice may nothing again", refused, "alice", "second")
    user(UserScramCredentialDeletion("alice", ScramMechanism.SCRAM_SHA_256))
    everywhere("alice is gone", unknown, "alice", "second")


def test_a_topic_is_reassigned(folder, cluster, coordinator, load):
    """kafka-reassign-partitions: the partitions of a topic, one on each broker, move to one of them."""
    topic = cluster.create("moves", 3, replicas=1)
    for number, target in enumerate(BROKERS if LONG else BROKERS[:1]):
        plan = folder / f"plan-{number}.json"
        wanted = [{"topic": topic, "partition": each, "replicas": [target]} for each in range(3)]
        plan.write_text(json.dumps({"version": 1, "partitions": wanted}))
        command = ["--bootstrap-server", cluster.bootstrap, "--reassignment-json-file", plan]
        tools.run("3.9.1", "reassign-partitions", *command, "--execute")
        wait_for("every partition has moved", lambda target=target: cluster.partitions(topic) == {each: (target, [target], [target]) for each in range(3)}, every=0.2)
        with Znodes(coordinator) as client:
            wait_for("no reassignment is left", lambda client=client: not client.exists("/admin/reassign_partitions"))
            placed = json.loads(client.get(f"/brokers/topics/{topic}")[0])["partitions"]
            assert placed == {str(each): [target] for each in range(3)}
    assert "completed" in tools.run("3.9.1", "reassign-partitions", *command, "--verify")


def test_the_controller_is_killed(cluster, coordinator, load):
    for _ in range(3 if LONG else 1):
        victim, epoch = controller(coordinator)
        others = kill_broker(cluster, coordinator, victim)
        after = wait_for("another broker is controller", lambda: controller(coordinator))
        assert after[0] in others and after[1] > epoch
        load.goes_on()
        cluster.brokers[victim].start(120)
        cluster.wait_for_isr("load")


def test_a_broker_is_killed_and_comes_back(cluster, coordinator, load):
    """And, while it is away, the coordinator is killed too."""
    for _ in range(3 if LONG else 1):
        who = controller(coordinator)
        victim = next(number for number in cluster.brokers if number != who[0])
        kill_broker(cluster, coordinator, victim)
        kill_coordinator(coordinator, cluster)
        load.goes_on()
        cluster.brokers[victim].start(120)
        cluster.wait_for_isr("load")
        assert controller(coordinator) == who


def test_topics_are_deleted(cluster, coordinator, load):
    with Znodes(coordinator) as client:
        topics = [topic for topic in client.get_children("/brokers/topics") if topic.startswith(("after-kill-", "moves"))]
        assert len(topics) >= 4
        for result in cluster.admin.delete_topics(topics, operation_timeout=30).values():
            result.result(60)
        for topic in topics:
            znodes = [f"{parent}/{topic}" for parent in ("/brokers/topics", "/config/topics", "/admin/delete_topics")]
            wait_for(f"no znode of {topic} is left", lambda znodes=znodes: not any(map(client.exists, znodes)), 90)


def test_no_acknowledged_record_is_lost(cluster, load):
    load.goes_on()
    load.stop()
    assert load.total > 1000
    load.check()
    assert len([*read(cluster.bootstrap, "kept", 0), *read(cluster.bootstrap, "kept", 1)]) >= 2


def test_no_session_expired(cluster, load):
    """A broker that lived never lost its session, whatever happened to the coordinator."""
    assert load.total > 1000
    for broker in cluster.brokers.values():
        assert not expiries(broker), expiries(broker)[:3]
