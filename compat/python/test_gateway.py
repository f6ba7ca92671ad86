"""Gateways in front of three Kafka 3.9.1 brokers and three Apache ZooKeepers 3.9.4, which they may only read.

The tests are one story and run in this order. A direct gateway (clients go on to the brokers) and two with
the relay on; `COMPAT_AGAINST=apache` puts brokers in the gateways' place, which is how the tests are tested.
"""

import json
import os
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor

import kafka
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

import gateway_answers
import tools
from gateway_cluster import Cluster, Gateway
from kafka_cluster import Load
from servers import WORK, wait_for

APACHE = os.environ.get("COMPAT_AGAINST") == "apache"
LONG = bool(os.environ.get("COMPAT_LONG"))
MODES = ("direct", "relay")
every_mode = pytest.mark.parametrize("mode", MODES)


class BrokerInstead:
    """A broker in a gateway's place."""

    def __init__(self, broker):
        self.bootstrap, self.outside, self.relay = broker.bootstrap, broker.outside, False


class Fronts:
    """The gateways, by name, and what they are compared by."""

    def __init__(self, direct, relay, second):
        self.direct, self.relay, self.second = direct, relay, second

    def compared(self):
        yield "direct", "PLAINTEXT", self.direct.bootstrap, False
        yield "direct, outside", "OUTSIDE", self.direct.outside, False
        yield "relay", "PLAINTEXT", self.relay.bootstrap, self.relay.relay


@pytest.fixture(scope="module")
def cluster(folder):
    with Cluster(folder / "cluster") as started:
        started.create("kept", 6)
        started.create("two-replicas", 4, 2)
        # Both internal topics are made by the first who asks.
        for kind in (0, 1):
            def found(kind=kind):
                return started.any_broker().ask("FindCoordinator", 3, {"Key": "first", "KeyType": kind})["ErrorCode"] == 0

            wait_for("a coordinator", found, 90, every=0.2)
        started.in_sync()
        yield started


@pytest.fixture(scope="module")
def roots(cluster):
    """The top-level znodes before any gateway came."""
    with cluster.znodes() as session:
        return sorted(session.get_children("/"))


@pytest.fixture(scope="module")
def fronts(folder, cluster, roots):
    del roots
    if APACHE:
        yield Fronts(*(BrokerInstead(cluster.brokers[number]) for number in (2, 1, 2)))
        return
    both = {
        "listeners": "PLAINTEXT://127.0.0.1:0,OUTSIDE://127.0.0.1:0",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OUTSIDE:PLAINTEXT",
    }
    with (
        Gateway(folder / "direct", cluster, overrides=both) as direct,
        Gateway(folder / "relay", cluster, relay=True) as relay,
        Gateway(folder / "second", cluster, relay=True) as second,
    ):
        yield Fronts(direct, relay, second)


def doorkeeper(*arguments, code=0):
    """What a command of doorkeeper's prints; it must end with this code."""
    binary = os.environ.get("DOORKEEPER") or WORK.parent / "release" / "doorkeeper"
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def no_difference(cluster, fronts):
    """`doorkeeper diff` of gateway and broker, and of broker and ensemble, is empty."""
    cluster.settle()
    broker = cluster.any_broker().bootstrap
    assert doorkeeper("diff", fronts.direct.bootstrap, broker, "--addresses", "--wait", 30) == ""
    assert doorkeeper("diff", fronts.relay.bootstrap, broker, "--wait", 30) == ""
    assert doorkeeper("diff", f"zookeeper://{cluster.zookeeper}", broker, "--addresses", "--listener", "PLAINTEXT", "--wait", 30) == ""


def test_answers_are_the_brokers_when_idle(cluster, fronts):
    gateway_answers.same(cluster, list(fronts.compared()))


def test_doorkeeper_diff_is_empty_when_idle(cluster, fronts):
    no_difference(cluster, fronts)


EVENTS = {
    "a topic is made": lambda cluster: cluster.create("made", 4),
    "it grows": lambda cluster: cluster.grow("made", 6),
    "a partition moves": lambda cluster: cluster.reassign("two-replicas", 0, [3, 1]),
    "a topic is deleted": lambda cluster: cluster.delete("made"),
    "a broker stops": lambda cluster: cluster.stop_broker(3),
    "a topic is made without it": lambda cluster: cluster.create("without", 3, 2),
    "a topic of its is deleted": lambda cluster: cluster.delete("two-replicas"),
    "the broker is back": lambda cluster: cluster.start_broker(3),
    "the controller moves": lambda cluster: cluster.move_controller(),
    "preferred leaders are elected": lambda cluster: cluster.elect_preferred(),
}


@pytest.mark.parametrize("event", EVENTS)
def test_answers_after(cluster, fronts, event):
    EVENTS[event](cluster)
    gateway_answers.same(cluster, list(fronts.compared()))
    if event in ("a broker stops", "preferred leaders are elected"):
        no_difference(cluster, fronts)


class Drawn:
    """One random event after the other; at most one broker is down."""

    def __init__(self, cluster, seed):
        self.cluster, self.draw, self.made = cluster, random.Random(seed), 0
        self.topics, self.down = [], None

    def make(self):
        self.made += 1
        self.cluster.create(f"drawn-{self.made}", self.draw.randrange(1, 8), self.draw.randrange(1, 3))
        self.topics.append(f"drawn-{self.made}")

    def grow(self):
        name = self.draw.choice(self.topics)
        self.cluster.grow(name, len(self.cluster.topic(name)) + 1)

    def delete(self):
        self.cluster.delete(self.topics.pop(self.draw.randrange(len(self.topics))))

    def move(self):
        replicas = self.draw.sample(sorted(self.cluster.live), 2)
        self.cluster.reassign(self.draw.choice(self.topics), 0, replicas)

    def leave(self):
        self.down = self.draw.choice((1, 2, 3))
        self.draw.choice((self.cluster.stop_broker, self.cluster.kill_broker))(self.down)

    def come_back(self):
        self.cluster.start_broker(self.down)
        self.down = None

    def next(self):
        choices = [self.make, self.make]
        if self.topics:
            choices.append(self.delete)
        if self.down is None:
            choices += [self.leave, self.cluster.move_controller, self.cluster.elect_preferred]
            choices += [self.grow, self.move, self.move] if self.topics else []
        else:
            choices += [self.come_back, self.come_back]
        chosen = self.draw.choice(choices)
        chosen()
        return chosen.__name__


def test_answers_after_random_events(cluster, fronts):
    drawn = Drawn(cluster, 10)
    for number in range(50 if LONG else 2):
        name = drawn.next()
        try:
            gateway_answers.same(cluster, list(fronts.compared()))
        except AssertionError as error:
            raise AssertionError(f"event {number}, {name}: {error}") from error
    if drawn.down:
        drawn.come_back()
    no_difference(cluster, fronts)


def lines_of(name, count=60):
    return [f"{name} {number}" for number in range(count)]


def console(version, front, topic, group):
    """Kafka's own producer and consumer; the keys' partitions."""
    lines = lines_of(topic)
    server = ("--bootstrap-server", front.bootstrap, "--topic", topic)
    tools.run(version, "console-producer", *server, "--property", "parse.key=true", "--property", "key.separator=\t", stdin="".join(f"{line}\t{line}\n" for line in lines).encode())
    printed = tools.run(
        version, "console-consumer", *server, "--group", group, "--from-beginning", "--max-messages", len(lines),
        "--timeout-ms", 60_000, "--property", "print.partition=true",
    )  # fmt: skip
    found = dict(line.split("\t")[::-1] for line in printed.splitlines())
    assert sorted(found) == sorted(lines)
    return {line: int(partition.removeprefix("Partition:")) for line, partition in found.items()}


def resolved(front, *arguments, code=0):
    return json.loads(doorkeeper("resolve", "--bootstrap", front.bootstrap, "--json", *arguments, code=code))


@pytest.mark.parametrize(("mode", "version"), [("direct", "3.9.1"), ("relay", "4.1.0")] + ([("direct", "4.1.0"), ("relay", "3.9.1")] if LONG else []))
def test_console(cluster, fronts, mode, version):
    front, topic = getattr(fronts, mode), f"console-{mode}-{version}"
    cluster.create(topic, 5)
    partitions = console(version, front, topic, f"group-{mode}-{version}")
    for key in list(partitions)[:10]:
        assert resolved(front, "--topic", topic, "--key", key)["key"]["partition"] == partitions[key]


@every_mode
def test_kcat(cluster, fronts, mode):
    front, topic = getattr(fronts, mode), f"kcat-{mode}"
    cluster.create(topic, 3)
    lines = lines_of(topic)
    run = {"capture_output": True, "timeout": 120, "check": True}
    subprocess.run(["kcat", "-b", front.bootstrap, "-P", "-t", topic, "-X", "acks=all"], input="".join(f"{line}\n" for line in lines).encode(), **run)
    printed = subprocess.run(["kcat", "-b", front.bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q"], **run)
    assert sorted(printed.stdout.decode().splitlines()) == sorted(lines)


def partitions_of(front, topic, keys, partitioner):
    """Where librdkafka puts these keys."""
    placed = {}
    producer = Producer({"bootstrap.servers": front.bootstrap, "partitioner": partitioner, "log_level": 0})
    for key in keys:
        producer.produce(topic, b"x", key.encode(), on_delivery=lambda error, message: placed.setdefault(message.key().decode(), error or message.partition()))
    assert producer.flush(60) == 0
    return placed


@every_mode
def test_librdkafka_with_groups_and_transactions(cluster, fronts, mode):
    front, topic = getattr(fronts, mode), f"librdkafka-{mode}"
    cluster.create(topic, 3)
    producer = Producer({"bootstrap.servers": front.bootstrap, "transactional.id": f"transaction-{mode}", "log_level": 0})
    producer.init_transactions(90)
    for kept in (False, True):
        producer.begin_transaction()
        for number, line in enumerate(lines_of(topic)):
            producer.produce(topic, f"{line} {kept}", partition=number % 3)
        producer.commit_transaction(60) if kept else producer.abort_transaction(60)
    consumer = Consumer({
        "bootstrap.servers": front.bootstrap, "group.id": f"librdkafka-{mode}", "auto.offset.reset": "earliest",
        "isolation.level": "read_committed", "log_level": 0,
    })  # fmt: skip
    consumer.subscribe([topic])
    expected, found = sorted(f"{line} True" for line in lines_of(topic)), []

    def all_came():
        for message in consumer.consume(100, 1):
            assert not message.error() or message.error().retriable(), message.error()
            if not message.error():
                found.append(message.value().decode())
        return len(found) >= len(expected)

    wait_for("all records", all_came, 90, every=0)
    assert sorted(found) == expected
    consumer.commit(asynchronous=False)
    committed = consumer.committed([TopicPartition(topic, number) for number in range(3)], 60)
    # Records of aborted transactions and markers have offsets, too.
    assert all(each.offset > 0 for each in committed), committed
    consumer.close()


@every_mode
def test_kafka_python_with_groups(cluster, fronts, mode):
    front, topic = getattr(fronts, mode), f"kafka-python-{mode}"
    cluster.create(topic, 3)
    producer = kafka.KafkaProducer(bootstrap_servers=front.bootstrap, acks="all")
    for line in lines_of(topic):
        producer.send(topic, line.encode())
    producer.flush(60)
    producer.close()
    consumer = kafka.KafkaConsumer(
        topic, bootstrap_servers=front.bootstrap, group_id=f"kafka-python-{mode}", auto_offset_reset="earliest", consumer_timeout_ms=60_000
    )  # fmt: skip
    found = []
    for message in consumer:
        found.append(message.value.decode())
        if len(found) == len(lines_of(topic)):
            break
    consumer.close()
    assert sorted(found) == sorted(lines_of(topic))


def test_franz_go_through_the_relay(cluster, fronts):
    done = subprocess.run([WORK / "franz", fronts.relay.bootstrap], capture_output=True, text=True, timeout=180, check=False)
    codecs = [line for line in done.stdout.splitlines() if "franz-admin" not in line]
    assert codecs and all(line.startswith("ok ") for line in codecs), done.stdout + done.stderr
    cluster.in_sync()


def test_keys_are_resolved_as_librdkafka_does(fronts):
    keys = [f"key {number}" for number in range(12)]
    for ours, theirs in (("librdkafka", "consistent"), ("java", "murmur2")):
        placed = partitions_of(fronts.direct, "kept", keys, theirs)
        for key in keys:
            said = resolved(fronts.direct, "--topic", "kept", "--key", key, "--partitioner", ours)
            assert said["key"]["partition"] == placed[key], (theirs, key)


def test_groups_are_resolved_as_the_broker_does(cluster, fronts):
    for front in (fronts.direct, fronts.relay):
        for option, kind in (("--group", 0), ("--transactional-id", 1)):
            said = resolved(front, option, "of somebody")["coordinators"][0]
            broker = cluster.any_broker().ask("FindCoordinator", 3, {"Key": "of somebody", "KeyType": kind})
            assert said["broker"] == broker["NodeId"] >= 0


def leaders(front, topic="kept"):
    (found,) = resolved(front, "--topic", topic)["topics"]
    return {each["partition"]: each["leader"] for each in found["partitions"]}


def starting_clients(cluster, fronts):
    """Clients that start while the ensemble is away find the leaders, and use them."""
    expected = {number: partition["LeaderId"] for number, partition in cluster.topic("kept").items()}
    for front in (fronts.direct, fronts.relay):
        assert leaders(front) == expected
        value = os.urandom(8).hex().encode()
        told = []
        producer = Producer({"bootstrap.servers": front.bootstrap, "acks": "all", "log_level": 0, "delivery.timeout.ms": 60_000})
        producer.produce("kept", value, on_delivery=lambda error, message: told.append((error, message)))
        assert producer.flush(60) == 0
        (error, message), = told
        assert error is None
        consumer = Consumer({"bootstrap.servers": front.bootstrap, "group.id": f"away-{front.bootstrap}", "log_level": 0})
        consumer.assign([TopicPartition("kept", message.partition(), message.offset())])
        read = wait_for("the record", lambda: consumer.poll(1), 60, every=0)
        assert (read.error(), read.value()) == (None, value)
        consumer.close()


def test_clients_start_while_the_ensemble_is_stopped(cluster, fronts):
    cluster.in_sync()
    cluster.stop_ensemble()
    try:
        starting_clients(cluster, fronts)
    finally:
        cluster.start_ensemble()
    cluster.in_sync()
    # The change shows that the gateways watch again.
    cluster.create("after-the-stop", 2)
    gateway_answers.same(cluster, list(fronts.compared()))


def test_clients_start_while_the_ensemble_is_frozen(cluster, fronts):
    with cluster.frozen_ensemble():
        starting_clients(cluster, fronts)
    cluster.in_sync()
    cluster.create("after-the-frost", 2)
    gateway_answers.same(cluster, list(fronts.compared()))


def acked(cluster, topic, front):
    cluster.create(topic, 3, configs={"min.insync.replicas": "2"})
    return Load(front, topic, 3, pause=0.02)


class Both:
    """Two gateways as a client is told of them."""

    def __init__(self, first, second):
        self.bootstrap = f"{first.bootstrap},{second.bootstrap}"


@pytest.mark.skipif(APACHE, reason="a gateway is killed")
def test_a_gateway_is_killed(cluster, fronts):
    with acked(cluster, "a-gateway-less", Both(fronts.second, fronts.relay)) as load:
        load.goes_on(30)
        fronts.second.kill()
        load.goes_on(30)
        fronts.second.start()
        load.stop()
        load.check(fronts.relay.bootstrap)
    gateway_answers.same(cluster, list(fronts.compared()))


def test_a_broker_is_killed_under_a_relayed_producer(cluster, fronts):
    with acked(cluster, "a-broker-less", fronts.relay) as load:
        load.goes_on(30)
        cluster.kill_broker(3)
        load.goes_on(30)
        gateway_answers.same(cluster, list(fronts.compared()))
        load.stop()
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(load.check, address) for address in (fronts.relay.bootstrap, cluster.bootstrap)]:
                done.result()


def test_who_does_not_log_in_can_not_write(cluster, roots):
    """Nor have the gateways, which don't: they could have made top-level znodes alone."""
    session = KazooClient(cluster.zookeeper, timeout=30)
    session.start(60)
    try:
        for path in ("/brokers/topics/kept", "/brokers/ids/1", "/controller_epoch"):
            with pytest.raises(NoAuthError):
                session.set(path, b"x")
        with pytest.raises(NoAuthError):
            session.create("/brokers/ids/9", b"x", ephemeral=True)
        assert sorted(session.get_children("/")) == roots
    finally:
        session.stop()
        session.close()
