"""confluent-kafka-python, today's librdkafka: admin, produce, consume by assignment with explicit offsets."""

import threading
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, OffsetSpec, ResourceType

import wire
from rdkafka import consume, made, produce
from servers import wait_for


@pytest.fixture(scope="module")
def admin(doorkeeper):
    return AdminClient({"bootstrap.servers": doorkeeper.bootstrap})


@pytest.mark.parametrize("idempotence", [False, True], ids=["plain", "idempotent"])
@pytest.mark.parametrize("codec", wire.CODECS)
def test_produce_and_consume(doorkeeper, admin, codec, idempotence):
    topic = made(admin, f"rd-{codec}-{'idempotent' if idempotence else 'plain'}", 2)
    start = wire.START
    records = [
        (n % 2, None if n % 7 == 0 else b"key %d" % n, None if n % 11 == 0 else b"value \0\xff %d " % n + b"z" * (n % 50),
         [("same", b"1"), ("same", b"2"), ("null", None), ("empty", b"")] if n % 3 else [], start + n)
        for n in range(400)
    ]  # fmt: skip
    placed = produce(doorkeeper, topic, records, **{"compression.type": codec, "enable.idempotence": idempotence})
    assert placed == [(n % 2, n // 2) for n in range(400)]
    found = {}
    for message in consume(doorkeeper, [(topic, 0, OFFSET_BEGINNING), (topic, 1, 0)], 400):
        assert message.timestamp()[0] == 1, "create time"
        found[message.partition(), message.offset()] = (
            message.partition(), message.key(), message.value(), message.headers() or [], message.timestamp()[1],
        )  # fmt: skip
    assert [found[place] for place in placed] == records
    for partition in (0, 1):
        batches = wire.stored_batches(doorkeeper.log_dir, topic, partition)
        assert {batch["codec"] for batch in batches} == {wire.CODECS[codec]}
        assert all((batch["producer_id"] >= 0) == idempotence for batch in batches)


def test_acks(doorkeeper, admin):
    for acks in ("0", "1", "all"):
        topic = made(admin, f"rd-acks-{acks}")
        produce(doorkeeper, topic, [(0, None, b"%d" % n, [], 0) for n in range(50)], acks=acks)
        assert [m.value() for m in consume(doorkeeper, [(topic, 0, 0)], 50)] == [b"%d" % n for n in range(50)]


def test_large_records(doorkeeper, admin):
    topic = made(admin, "rd-large")
    values = [bytes([n]) * 900_000 for n in range(8)]
    produce(doorkeeper, topic, [(0, None, value, [], 0) for value in values])
    assert [m.value() for m in consume(doorkeeper, [(topic, 0, 0)], 8)] == values
    producer = Producer({"bootstrap.servers": doorkeeper.bootstrap, "message.max.bytes": 3_000_000})
    refused = []
    producer.produce(topic, b"x" * 2_000_000, on_delivery=lambda error, _: refused.append(error))
    producer.flush(30)
    assert [error.name() for error in refused] == ["MSG_SIZE_TOO_LARGE"]


def test_long_poll(doorkeeper, admin):
    """A consumer that waits at the end gets a record when it is written, not when its poll ends."""
    topic = made(admin, "rd-poll")
    consumer = Consumer({
        "bootstrap.servers": doorkeeper.bootstrap, "group.id": "none", "enable.auto.commit": False, "fetch.wait.max.ms": 50_000,
    })  # fmt: skip
    consumer.assign([TopicPartition(topic, 0, 0)])
    wait_for("the consumer asks", lambda: consumer.poll(0.2) is None)
    # Well into its first fetch.
    timer = threading.Timer(1, lambda: produce(doorkeeper, topic, [(0, None, b"now", [], 0)]))
    started = time.monotonic()
    timer.start()
    message = consumer.poll(40)
    elapsed = time.monotonic() - started
    consumer.close()
    timer.join()
    assert message is not None and message.value() == b"now"
    assert 0.9 < elapsed < 30, elapsed


def test_offsets(doorkeeper, admin):
    topic = made(admin, "rd-offsets")
    produce(doorkeeper, topic, [(0, None, b"%d" % n, [], wire.START + 1000 * n) for n in range(100)])
    consumer = Consumer({"bootstrap.servers": doorkeeper.bootstrap, "group.id": "none", "enable.auto.commit": False})
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0), 10) == (0, 100)
    for time_asked, offset in ((0, 0), (wire.START, 0), (wire.START + 41_500, 42), (wire.START + 99_000, 99), (wire.START + 99_001, -1)):
        (found,) = consumer.offsets_for_times([TopicPartition(topic, 0, time_asked)], 10)
        assert found.offset == offset, time_asked
    consumer.close()
    for spec, offset in ((OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 100), (OffsetSpec.max_timestamp(), 99)):
        (found,) = admin.list_offsets({TopicPartition(topic, 0): spec}).values()
        assert found.result(10).offset == offset
    assert consume(doorkeeper, [(topic, 0, 57)], 43)[0].value() == b"57"


def test_delete_records(doorkeeper, admin):
    topic = made(admin, "rd-delete-records")
    produce(doorkeeper, topic, [(0, None, b"%d" % n, [], 0) for n in range(20)])
    (deleted,) = admin.delete_records([TopicPartition(topic, 0, 15)]).values()
    assert deleted.result(10).low_watermark == 15
    assert [m.value() for m in consume(doorkeeper, [(topic, 0, 15)], 5)] == [b"%d" % n for n in range(15, 20)]
    with pytest.raises(AssertionError, match="OFFSET_OUT_OF_RANGE|out of range"):
        consume(doorkeeper, [(topic, 0, 3)], 1, 10)


def test_admin(doorkeeper, admin):
    topic = made(admin, "rd-admin", 2, {"retention.ms": "12345"})
    with pytest.raises(KafkaException) as again:
        made(admin, topic)
    assert again.value.args[0].name() == "TOPIC_ALREADY_EXISTS"
    with pytest.raises(KafkaException) as invalid:
        made(admin, "not valid")
    assert invalid.value.args[0].name() == "TOPIC_EXCEPTION"
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result(10)

    def listed():
        found = admin.list_topics(timeout=10).topics
        return found if topic in found and len(found[topic].partitions) == 4 else None

    found = wait_for("four partitions", listed)
    assert all(partition.leader == 0 and partition.isrs == [0] for partition in found[topic].partitions.values())
    resource = ConfigResource(ResourceType.TOPIC, topic)
    config = admin.describe_configs([resource])[resource].result(10)
    assert config["retention.ms"].value == "12345" and config["segment.bytes"].value == "1073741824"
    resource = ConfigResource(ResourceType.BROKER, "0")
    assert "log.dirs" in admin.describe_configs([resource])[resource].result(10)
    cluster = admin.describe_cluster().result(10)
    assert [node.id for node in cluster.nodes] == [0] and cluster.controller.id == 0 and len(cluster.cluster_id) == 22
    admin.delete_topics([topic])[topic].result(10)
    wait_for("the topic is gone", lambda: topic not in admin.list_topics(timeout=10).topics)
