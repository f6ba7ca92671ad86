"""kafka-python: admin, produce, consume by assignment."""

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

import wire
from servers import wait_for


@pytest.fixture(scope="module")
def admin(doorkeeper):
    client = KafkaAdminClient(bootstrap_servers=doorkeeper.bootstrap)
    yield client
    client.close()


def consume(doorkeeper, topic, count, offset=0):
    consumer = KafkaConsumer(bootstrap_servers=doorkeeper.bootstrap, enable_auto_commit=False, consumer_timeout_ms=20_000)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek(TopicPartition(topic, 0), offset)
    found = []
    for record in consumer:
        found.append(record)
        if len(found) == count:
            break
    consumer.close()
    assert len(found) == count
    return found


@pytest.mark.parametrize("idempotence", [False, True], ids=["plain", "idempotent"])
@pytest.mark.parametrize("codec", wire.CODECS)
def test_produce_and_consume(doorkeeper, admin, codec, idempotence):
    topic = f"py-{codec}-{'idempotent' if idempotence else 'plain'}"
    admin.create_topics([NewTopic(topic, 1, 1)])
    producer = KafkaProducer(
        bootstrap_servers=doorkeeper.bootstrap, compression_type=None if codec == "none" else codec,
        enable_idempotence=idempotence, acks="all", linger_ms=20,
    )  # fmt: skip
    sent, futures = [], []
    for n in range(200):
        row = (b"key %d" % n if n % 5 else None, b"value \0\xff %d " % n * 5, [("same", b"1"), ("same", b"2")] if n % 2 else [], wire.START + n)
        sent.append(row)
        futures.append(producer.send(topic, row[1], row[0], headers=row[2], timestamp_ms=row[3], partition=0))
    assert [future.get(30).offset for future in futures] == list(range(200))
    producer.close()
    found = consume(doorkeeper, topic, 200)
    assert [(record.key, record.value, list(record.headers), record.timestamp) for record in found] == sent
    assert [record.offset for record in found] == list(range(200))
    batches = wire.stored_batches(doorkeeper.log_dir, topic)
    assert {batch["codec"] for batch in batches} == {wire.CODECS[codec]}
    assert all((batch["producer_id"] >= 0) == idempotence for batch in batches)


def test_admin(doorkeeper, admin):
    admin.create_topics([NewTopic("py-admin", 3, 1)])
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics([NewTopic("py-admin", 3, 1)])
    assert "py-admin" in admin.list_topics()
    consumer = KafkaConsumer(bootstrap_servers=doorkeeper.bootstrap, enable_auto_commit=False)
    assert consumer.partitions_for_topic("py-admin") == {0, 1, 2}
    partition = TopicPartition("py-admin", 1)
    assert consumer.beginning_offsets([partition]) == {partition: 0}
    assert consumer.end_offsets([partition]) == {partition: 0}
    consumer.close()
    assert admin.describe_cluster()["controller_id"] == 0
    admin.delete_topics(["py-admin"])
    wait_for("the topic is gone", lambda: "py-admin" not in admin.list_topics())


def test_created_by_producing(doorkeeper):
    producer = KafkaProducer(bootstrap_servers=doorkeeper.bootstrap)
    assert producer.send("py-auto", b"first").get(30).offset == 0
    producer.close()
    assert consume(doorkeeper, "py-auto", 1)[0].value == b"first"
