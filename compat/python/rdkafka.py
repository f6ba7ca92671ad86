"""Producing and consuming with librdkafka, shared by several parts."""

import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic


def made(admin, topic, partitions=1, config=None):
    admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(30)
    return topic


def produce(doorkeeper, topic, records, **options):
    """Sends (partition, key, value, headers, timestamp); returns (partition, offset) of each."""
    producer = Producer({"bootstrap.servers": doorkeeper.bootstrap, "linger.ms": 20, "log_level": 0, **options})
    placed, errors = [None] * len(records), []

    def report(number):
        def delivered(error, message):
            if error:
                errors.append(error)
            else:
                placed[number] = (message.partition(), message.offset())

        return delivered

    for number, (partition, key, value, headers, timestamp) in enumerate(records):
        producer.produce(
            topic, value, key, partition=partition, on_delivery=report(number), timestamp=timestamp, headers=headers
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    assert not errors, errors[:3]
    return placed


def consume(doorkeeper, positions, count, seconds=60):
    """Reads `count` records from the given (topic, partition, offset)s, by assignment."""
    consumer = Consumer({
        "bootstrap.servers": doorkeeper.bootstrap, "group.id": "none", "enable.auto.commit": False,
        "enable.partition.eof": False, "auto.offset.reset": "error",
    })  # fmt: skip
    try:
        consumer.assign([TopicPartition(*position) for position in positions])
        messages, deadline = [], time.monotonic() + seconds
        while len(messages) < count and time.monotonic() < deadline:
            for message in consumer.consume(min(1000, count - len(messages)), 1):
                assert not message.error(), message.error()
                messages.append(message)
        last = f"{messages[-1].topic()}-{messages[-1].partition()} at {messages[-1].offset()}" if messages else "none"
        assert len(messages) == count, f"{len(messages)} of {count} records came in {seconds} s, the last {last}"
        return messages
    finally:
        consumer.close()
