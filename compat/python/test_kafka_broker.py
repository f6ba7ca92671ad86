"""An unmodified Kafka 3.9.1 broker whose ZooKeeper is doorkeeper, and beside a doorkeeper broker."""

import os
import re

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from kazoo.client import KazooClient

import wire
from rdkafka import consume, made, produce
from servers import Doorkeeper, Kafka, ZooKeeper, embedded, wait_for

APACHE = os.environ.get("COMPAT_AGAINST") == "apache"


@pytest.fixture(scope="module")
def coordinator(folder):
    with ZooKeeper(folder / "zookeeper") if APACHE else Doorkeeper(folder / "coordinator", roles=["coordinator"]) as server:
        yield server


@pytest.fixture(scope="module")
def kafka(folder, coordinator):
    with Kafka(folder / "kafka", f"{coordinator.coordinator}/some/chroot", broker_id=3) as server:
        yield server


def znodes(coordinator):
    client = KazooClient(coordinator.coordinator)
    client.start()
    return client


def rows(count):
    return [(0, b"key %d" % n, b"value %d" % n, [], wire.START + n) for n in range(count)]


def read_by_group(kafka, topic, count):
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": f"readers of {topic}", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found = []
    wait_for("the group has read everything", lambda: found.extend(consumer.consume(100, 0.5)) or len(found) >= count)
    consumer.close()
    return sorted(message.value() for message in found)


def test_register_create_produce_consume(coordinator, kafka):
    client = znodes(coordinator)
    assert client.get_children("/some/chroot/brokers/ids") == ["3"]
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    made(admin, "on-ours", 3, {"retention.ms": "99999"})
    assert produce(kafka, "on-ours", rows(500)) == [(0, n) for n in range(500)]
    assert [message.value() for message in consume(kafka, [("on-ours", 0, 0)], 500)] == [row[2] for row in rows(500)]
    # Groups and their internal topic are the broker's own and need only znodes of us.
    assert read_by_group(kafka, "on-ours", 500) == sorted(row[2] for row in rows(500))
    assert client.exists("/some/chroot/brokers/topics/on-ours/partitions/2/state")
    admin.delete_topics(["on-ours"])["on-ours"].result(20)
    wait_for("the topic's znode is gone", lambda: not client.exists("/some/chroot/brokers/topics/on-ours"))
    client.stop()
    client.close()


def test_coordinator_is_killed_and_comes_back(coordinator, kafka):
    """The broker keeps its session over a kill -9 of its coordinator, and goes on creating topics."""
    client = znodes(coordinator)
    before = client.exists("/some/chroot/brokers/ids/3")
    client.stop()
    client.close()
    coordinator.kill()
    coordinator.start()
    client = znodes(coordinator)
    after = client.exists("/some/chroot/brokers/ids/3")
    assert after is not None and after.ephemeralOwner == before.ephemeralOwner
    made(AdminClient({"bootstrap.servers": kafka.bootstrap}), "after-the-kill", 2)
    assert produce(kafka, "after-the-kill", rows(50)) == [(0, n) for n in range(50)]
    client.stop()
    client.close()


def test_broker_restarts(coordinator, kafka):
    assert kafka.stop() is not None
    client = znodes(coordinator)
    wait_for("the registration is gone", lambda: not client.get_children("/some/chroot/brokers/ids"), 10)
    kafka.start()
    assert client.get_children("/some/chroot/brokers/ids") == ["3"]
    wait_for("the partition is led again", lambda: [
        partition["LeaderId"]
        for topic in wire.ask(kafka.bootstrap, "Metadata", 12, {"Topics": [{"Name": "after-the-kill"}]})["Topics"]
        for partition in topic["Partitions"]
    ] == [3, 3])  # fmt: skip
    assert len(consume(kafka, [("after-the-kill", 0, 0)], 50)) == 50
    client.stop()
    client.close()


def test_our_broker_refuses_apaches_cluster(folder, coordinator, kafka):
    """A broker of ours does not join a cluster of Apache's: exit code 1 and a line that says so."""
    assert kafka.process.poll() is None
    connect = f"{coordinator.coordinator}/some/chroot"
    broker = Doorkeeper(folder / "intruder", {"zookeeper.connect": connect, "broker.id": "9"}, roles=["broker"])
    broker.spawn()
    try:
        assert broker.wait(30) == 1
    finally:
        broker.kill()
    assert re.search(r"(?i)apache|kafka", broker.log_tail()) and "3" in broker.log_tail(), broker.log_tail()
    client = znodes(coordinator)
    assert client.get_children("/some/chroot/brokers/ids") == ["3"]
    client.stop()
    client.close()


def test_apache_broker_joins_ours(folder):
    """It gets no replicas from our controller, and an ERROR names it; our own broker goes on."""
    with embedded(folder / "ours") as ours:
        joined = Kafka(folder / "joins", ours.coordinator, broker_id=7).spawn()
        try:
            client = znodes(ours)
            wait_for("it is registered", lambda: client.exists("/brokers/ids/7"), 60)
            wait_for("an ERROR names it", lambda: re.search(r"ERROR.*\b7\b", ours.log.read_text()), 30)
            made(AdminClient({"bootstrap.servers": ours.bootstrap}), "ours-alone", 6)
            answer = wire.ask(ours.bootstrap, "Metadata", 12, {"Topics": [{"Name": "ours-alone"}]})
            assert [p["ReplicaNodes"] for p in answer["Topics"][0]["Partitions"]] == [[0]] * 6
            assert produce(ours, "ours-alone", rows(10)) == [(0, n) for n in range(10)]
            client.stop()
            client.close()
        finally:
            joined.kill()


if APACHE:
    del test_our_broker_refuses_apaches_cluster, test_apache_broker_joins_ours
