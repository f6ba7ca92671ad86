"""Real clients and Kafka's tools that know a gateway's address alone: through the relay, and in direct mode.

While the clients of one mode run, nothing else asks the brokers, so that their own counts tell of them.
"""

import json
import subprocess
import types

import kafka
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

import gateway_answers
import tools
import wire
from gateway_fixtures import APACHE, LONG, lines_of, resolved
from gateway_watch import Watch
from servers import WORK, wait_for

pytest_plugins = ["gateway_fixtures"]

MODES = ("relay", "direct")
NAMES = ("console", "kcat", "librdkafka", "kafka-python", "kafka-python-transactions")


def modes(*names):
    # One mode's tests run together.
    return pytest.mark.parametrize("side", names, indirect=True, scope="module")


every_mode = modes(*MODES)
# In direct mode clients talk to the brokers themselves, which says less of a gateway.
direct_if_long = modes(*(MODES if LONG else MODES[:1]))
the_relay = modes("relay")


@pytest.fixture(scope="module")
def topics(cluster):
    cluster.create_all({f"{name}-{mode}": 3 for name in NAMES for mode in MODES})
    cluster.in_sync()


@pytest.fixture(scope="module")
def side(request, topics, cluster, fronts):
    """A gateway, its mode, and a watch over the brokers."""
    del topics
    mode = request.param
    front = getattr(fronts, mode)
    watch = None if APACHE else Watch(cluster, front)
    yield types.SimpleNamespace(mode=mode, front=front, bootstrap=front.bootstrap, watch=watch)
    if watch:
        watch.stop()


def console(version, side, topic, group):
    """Kafka's own producer and consumer; the keys' partitions."""
    lines = lines_of(topic)
    server = ("--bootstrap-server", side.bootstrap, "--topic", topic)
    tools.run(version, "console-producer", *server, "--property", "parse.key=true", "--property", "key.separator=\t", stdin="".join(f"{line}\t{line}\n" for line in lines).encode())
    printed = tools.run(
        version, "console-consumer", *server, "--group", group, "--from-beginning", "--max-messages", len(lines),
        "--timeout-ms", 60_000, "--property", "print.partition=true",
    )  # fmt: skip
    found = dict(line.split("\t")[::-1] for line in printed.splitlines())
    assert sorted(found) == sorted(lines)
    return {line: int(partition.removeprefix("Partition:")) for line, partition in found.items()}


@every_mode
def test_console(side):
    topic = f"console-{side.mode}"
    # The newer clients have versions of requests that these brokers lack.
    for version in tools.VERSIONS if LONG else [tools.VERSIONS[side.mode == "relay"]]:
        partitions = console(version, side, topic, f"group-{side.mode}-{version}")
        for key in list(partitions)[:10]:
            assert resolved(side, "--topic", topic, "--key", key)["key"]["partition"] == partitions[key]


@direct_if_long
def test_kcat(side):
    topic, lines = f"kcat-{side.mode}", lines_of("kcat")
    run = {"capture_output": True, "timeout": 120, "check": True}
    subprocess.run(["kcat", "-b", side.bootstrap, "-P", "-t", topic, "-X", "acks=all"], input="".join(f"{line}\n" for line in lines).encode(), **run)
    printed = subprocess.run(["kcat", "-b", side.bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q"], **run)
    assert sorted(printed.stdout.decode().splitlines()) == sorted(lines)


@every_mode
def test_librdkafka_with_groups_and_transactions(side):
    topic = f"librdkafka-{side.mode}"
    producer = Producer({"bootstrap.servers": side.bootstrap, "transactional.id": f"transaction-{side.mode}", "log_level": 0})
    producer.init_transactions(90)
    for kept in (False, True):
        producer.begin_transaction()
        for number, line in enumerate(lines_of(topic)):
            producer.produce(topic, f"{line} {kept}", partition=number % 3)
        producer.commit_transaction(60) if kept else producer.abort_transaction(60)
    consumer = Consumer({
        "bootstrap.servers": side.bootstrap, "group.id": f"librdkafka-{side.mode}", "auto.offset.reset": "earliest",
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


def kafka_python_reads(side, topic, expected, **options):
    consumer = kafka.KafkaConsumer(topic, bootstrap_servers=side.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=60_000, **options)
    found = []
    for message in consumer:
        found.append(message.value.decode())
        if len(found) == len(expected):
            break
    consumer.close()
    assert sorted(found) == sorted(expected)


@direct_if_long
def test_kafka_python_with_groups(side):
    topic = f"kafka-python-{side.mode}"
    producer = kafka.KafkaProducer(bootstrap_servers=side.bootstrap, acks="all")
    for line in lines_of(topic):
        producer.send(topic, line.encode())
    producer.flush(60)
    producer.close()
    kafka_python_reads(side, topic, lines_of(topic), group_id=topic)


@direct_if_long
def test_kafka_python_with_transactions(side):
    topic = f"kafka-python-transactions-{side.mode}"
    producer = kafka.KafkaProducer(bootstrap_servers=side.bootstrap, transactional_id=topic)
    producer.init_transactions()
    for kept in (False, True):
        producer.begin_transaction()
        for line in lines_of(topic):
            producer.send(topic, f"{line} {kept}".encode())
        producer.commit_transaction() if kept else producer.abort_transaction()
    producer.close()
    kafka_python_reads(side, topic, [f"{line} True" for line in lines_of(topic)], group_id=topic, isolation_level="read_committed")


CHECKS = ["administer", "group", "transactions"]


def programme(*command):
    """The names of a programme's checks, which must all be well."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=240, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and all(line.startswith("ok ") for line in lines), done.stdout + done.stderr
    return [line.removeprefix("ok ") for line in lines]


@direct_if_long
def test_franz_go(side):
    assert programme(WORK / "franz", side.bootstrap, f"franz-{side.mode}") == CHECKS


@direct_if_long
def test_sarama(side):
    assert programme(WORK / "go-sarama", side.bootstrap, f"sarama-{side.mode}") == CHECKS


@direct_if_long
def test_kafkajs(side):
    assert programme("node", WORK / "node" / "kafkajs.js", side.bootstrap, f"kafkajs-{side.mode}") == CHECKS


def partitions(side, topic):
    answer = wire.ask(side.bootstrap, "Metadata", 12, {"Topics": [{"Name": topic}]})["Topics"][0]
    return {partition["PartitionIndex"]: partition for partition in answer["Partitions"]}


@pytest.mark.parametrize("version", tools.VERSIONS if LONG else tools.VERSIONS[1:])
@the_relay
def test_kafkas_tools(side, shared_folder, version):
    """What they change shows through the relay, where they are told of it."""
    topic, server = f"tools-{version}", ("--bootstrap-server", side.bootstrap)
    tools.run(version, "topics", *server, "--create", "--topic", topic, "--partitions", 2, "--replication-factor", 2)
    tools.run(version, "topics", *server, "--alter", "--topic", topic, "--partitions", 3)
    described = tools.run(version, "topics", *server, "--describe", "--topic", topic)
    assert "PartitionCount: 3" in described and "ReplicationFactor: 2" in described, described
    entity = ("--entity-type", "topics", "--entity-name", topic)
    tools.run(version, "configs", *server, *entity, "--alter", "--add-config", "retention.ms=86400005")
    assert "retention.ms=86400005" in tools.run(version, "configs", *server, *entity, "--describe")

    # The leader stays where it is, and is no longer the preferred one.
    before = partitions(side, topic)[0]
    assert before["LeaderId"] == before["ReplicaNodes"][0]
    wanted = before["ReplicaNodes"][::-1]
    plan = shared_folder / f"reassign-{version}.json"
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": wanted}]}))
    files = ("--reassignment-json-file", plan)
    assert "Successfully started" in tools.run(version, "reassign-partitions", *server, *files, "--execute")
    wait_for("the replicas are reordered", lambda: partitions(side, topic)[0]["ReplicaNodes"] == wanted, every=0.2)
    assert "is completed" in tools.run(version, "reassign-partitions", *server, *files, "--verify")
    said = tools.run(version, "leader-election", *server, "--election-type", "preferred", "--topic", topic, "--partition", 0)
    assert "Successfully completed leader election" in said, said
    wait_for("the preferred leader leads", lambda: partitions(side, topic)[0]["LeaderId"] == wanted[0], every=0.2)

    # The consumer of an earlier test has this group.
    group = "librdkafka-relay"
    reset = ("--reset-offsets", "--to-earliest", "--all-topics", "--execute")
    tools.run(version, "consumer-groups", *server, "--group", group, *reset)
    described = tools.run(version, "consumer-groups", *server, "--describe", "--group", group)
    rows = [line.split() for line in described.splitlines() if line.startswith(f"{group} ")]
    assert len(rows) == 3 and all(row[3] == "0" for row in rows), described
    tools.run(version, "topics", *server, "--delete", "--topic", topic)
    gone = {"Topics": [{"Name": topic}], "AllowAutoTopicCreation": False}
    wait_for("the topic is gone", lambda: wire.ask(side.bootstrap, "Metadata", 9, gone)["Topics"][0]["ErrorCode"] == 3, every=0.2)


@pytest.mark.skipif(APACHE, reason="there is no gateway to be seen")
@every_mode
def test_whom_the_brokers_saw(side):
    """Through the relay, the gateway alone; in direct mode the clients themselves, which proves the measurement."""
    taken, asked = side.watch.metadata_requests()
    side.watch.stop()
    if side.mode == "relay":
        assert side.watch.strangers() == []
        assert side.watch.of_gateway() > 20, "the gateway passed everything on"
        assert taken == asked, f"the brokers took {taken} Metadata requests, {asked} of them the gateway's"
    else:
        assert side.watch.strangers() != []
        assert taken > asked


def test_answers_are_the_brokers_afterwards(cluster, fronts):
    """Groups, transactions and tools have changed what there is to know."""
    cluster.in_sync()
    gateway_answers.same(cluster, list(fronts.compared()))
