"""Gateways, and a doorkeeper broker, at an Apache ZooKeeper older than 3.6: no multi reads, no persistent watches."""

import types
import urllib.request

import pytest

import wire
from directories import OldZooKeeper
from gateway_cluster import Gateway, sorted_answer
from servers import Doorkeeper, Kafka, free_port, wait_for

# 3.4 has no `create2`, which our own broker's client asks for; a gateway creates nothing.
VERSIONS = {"3.5.10": True, "3.4.14": False}


@pytest.fixture(scope="module", params=VERSIONS)
def zookeeper(folder, request):
    settings = {"tickTime": "2000", "clientPort": str(free_port()), "admin.enableServer": "false"}
    place = folder / request.param
    with OldZooKeeper(place / "zookeeper", request.param, settings, place / "data") as server:
        server.version = request.param
        yield server


@pytest.fixture(scope="module")
def kafka(folder, zookeeper):
    with Kafka(folder / zookeeper.version / "kafka", f"{zookeeper.coordinator}/kafka", broker_id=1) as broker:
        yield broker


def topic(name, partitions):
    return {"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Assignments": [], "Configs": []}


def create(bootstrap, *topics):
    """Makes topics; one whose namesake is still being deleted is asked for again."""

    def made():
        nonlocal topics
        answer = wire.ask(bootstrap, "CreateTopics", 5, {"Topics": list(topics), "timeoutMs": 30_000})
        later = [each["Name"] for each in answer["Topics"] if "marked for deletion" in str(each["ErrorMessage"])]
        assert all(each["ErrorCode"] == 0 for each in answer["Topics"] if each["Name"] not in later), answer
        topics = [each for each in topics if each["Name"] in later]
        return not topics

    wait_for("they are made", made, every=0.2)


def metadata(bootstrap):
    return sorted_answer(wire.ask(bootstrap, "Metadata", 9, {"Topics": None, "AllowAutoTopicCreation": False}))


def whole(answer, topics):
    """Whether it shows these topics with as many led partitions, and no others."""
    found = {each["Name"]: each["Partitions"] for each in answer["Topics"]}
    return {name: len(led) for name, led in found.items()} == topics and all(
        each["LeaderId"] >= 0 for led in found.values() for each in led
    )


def metric(server, name):
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=20) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_gateway_follows(folder, zookeeper, kafka):
    topics = {f"t{number}": 3 for number in range(40)}
    create(kafka.bootstrap, *(topic(name, count) for name, count in topics.items()))
    cluster = types.SimpleNamespace(zookeeper=f"{zookeeper.coordinator}/kafka")
    with Gateway(folder / zookeeper.version / "gateway", cluster) as gateway:
        bootstrap = gateway.bootstrap

        def equal(expected):
            def same():
                theirs = metadata(kafka.bootstrap)
                return whole(theirs, expected) and metadata(bootstrap) == theirs

            wait_for(f"{len(expected)} topics", same)

        equal(topics)
        for number in range(5):
            create(kafka.bootstrap, topic(f"new{number}", 7))
            topics[f"new{number}"] = 7
            equal(topics)
            grown = {"Name": f"t{number}", "Count": 6, "Assignments": None}
            done = wire.ask(kafka.bootstrap, "CreatePartitions", 1, {"Topics": [grown], "TimeoutMs": 30_000, "ValidateOnly": False})
            assert done["Results"][0]["ErrorCode"] == 0, done
            topics[f"t{number}"] = 6
            equal(topics)
        gone = [f"t{number}" for number in range(10, 30)]
        done = wire.ask(kafka.bootstrap, "DeleteTopics", 3, {"TopicNames": gone, "TimeoutMs": 30_000})
        assert all(each["ErrorCode"] == 0 for each in done["Responses"]), done
        for name in gone:
            del topics[name]
        equal(topics)
        create(kafka.bootstrap, *(topic(name, 2) for name in gone))
        topics.update(dict.fromkeys(gone, 2))
        equal(topics)

        # A broker that goes and comes.
        kafka.stop()
        wait_for("nobody is alive", lambda: not metadata(bootstrap)["Brokers"])
        kafka.start()
        equal(topics)

        # And the server itself.
        zookeeper.kill()
        wait_for("it is noticed", lambda: metric(gateway, "doorkeeper_cluster_coordinator_connected") == 0)
        assert len(metadata(bootstrap)["Topics"]) == len(topics)
        zookeeper.start()
        wait_for("it is followed again", lambda: metric(gateway, "doorkeeper_cluster_coordinator_connected") == 1)
        # A start of Kafka's clients with the server again takes a while.
        wait_for("its broker is back", lambda: metadata(kafka.bootstrap)["Brokers"])
        create(kafka.bootstrap, topic("after", 2))
        topics["after"] = 2
        equal(topics)


def test_broker_joins(folder, zookeeper):
    if not VERSIONS[zookeeper.version]:
        keys = {"zookeeper.connect": f"{zookeeper.coordinator}/ours", "zookeeper.connection.timeout.ms": "5000"}
        broker = Doorkeeper(folder / zookeeper.version / "ours", keys, roles=["broker"]).spawn()
        assert broker.wait() == 1, "it doesn't hang"
        assert "unimplemented operation" in broker.log_tail(), broker.log_tail()
        return
    keys = {"zookeeper.connect": f"{zookeeper.coordinator}/ours", "broker.id": "5"}
    with Doorkeeper(folder / zookeeper.version / "ours", keys, roles=["broker"]) as broker:
        create(broker.bootstrap, topic("mine", 4))
        wait_for("its leaders", lambda: whole(metadata(broker.bootstrap), {"mine": 4}))
