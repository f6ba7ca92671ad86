"""Compaction beside Apache Kafka 3.9.1's: the same log, cleaned by both, and each on what the other left."""

import re
import shutil

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from servers import Doorkeeper, Kafka, wait_for
from tools import run

TOPIC = "compacted"
CLEANER = {
    "log.cleaner.backoff.ms": "100",
    "log.cleaner.dedupe.buffer.size": "2000000",
    "log.retention.check.interval.ms": "3600000",
}


def fill(bootstrap):
    """Every codec, tombstones, idempotent producers, transactions that are committed and aborted."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    config = {
        "cleanup.policy": "compact",
        "segment.bytes": "6000",
        "index.interval.bytes": "300",
        "min.cleanable.dirty.ratio": "0.0",
        "delete.retention.ms": "86400000",
    }
    admin.create_topics([NewTopic(TOPIC, 1, 1, config=config)])[TOPIC].result(30)
    common = {"bootstrap.servers": bootstrap, "linger.ms": 0, "enable.idempotence": True}
    for turn, codec in enumerate(["none", "gzip", "snappy", "lz4", "zstd"] * 2):
        producer = Producer({**common, "compression.type": codec})
        for number in range(60):
            key = f"key {number * 7 % 23}"
            value = None if number % 11 == 3 else f"{turn} {number} {codec} " * 8
            # Twice the same header key: what encodes records anew must keep both.
            producer.produce(TOPIC, key=key, value=value, headers=[("h", b"1"), ("h", b"2")])
            if number % 5 == 4:
                assert producer.flush(30) == 0
        transactional = Producer({**common, "transactional.id": f"t{turn % 3}"})
        transactional.init_transactions(30)
        for commits in (True, False, True):
            transactional.begin_transaction()
            for number in range(8):
                transactional.produce(TOPIC, key=f"in transaction {number}", value=f"{turn} {commits} " * 10)
                if number % 3 == 0:
                    transactional.flush(30)
            transactional.commit_transaction(30) if commits else transactional.abort_transaction(30)


def dump(folder):
    """Batches and records of every segment, as Kafka's own tool reads them; without what says when."""
    partition = folder / f"{TOPIC}-0"
    segments = sorted(partition.glob("*.log"))
    text = run("3.9.1", "dump-log", "--print-data-log", "--files", ",".join(map(str, segments)))
    found = []
    for line in text.splitlines():
        line = re.sub(r"position: \d+|size: \d+|crc: \d+|Log starting offset: \d+", "", line)
        line = re.sub(r"deleteHorizonMs: OptionalLong\[\d+\]", "deleteHorizonMs: set", line)
        if "offset" in line.lower() and not line.startswith("Dumping"):
            found.append(line)
    assert found and all("isvalid: true" in line for line in found if "baseOffset" in line)
    return found


def aborted(folder):
    indexes = sorted((folder / f"{TOPIC}-0").glob("*.txnindex"))
    indexes = [index for index in indexes if index.stat().st_size > 0]
    if not indexes:
        return []
    text = run("3.9.1", "dump-log", "--files", ",".join(map(str, indexes)))
    return sorted(line for line in text.splitlines() if "producerId" in line)


def read(bootstrap, isolation="read_committed"):
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "nobody", "isolation.level": isolation,
        "enable.partition.eof": True, "enable.auto.commit": False,
    })  # fmt: skip
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    found = []
    while True:
        message = consumer.poll(30)
        assert message is not None, "nothing came for 30 s"
        if message.error():
            if message.error().name() == "_PARTITION_EOF":
                consumer.close()
                return found
            raise KafkaException(message.error())
        found.append((message.offset(), message.key(), message.value(), message.timestamp(), message.headers()))


def active(folder):
    return max(int(path.stem) for path in (folder / f"{TOPIC}-0").glob("*.log"))


def cleaned(folder):
    """Whether everything but the active segment is clean, by the checkpoint that both write."""
    try:
        text = (folder / "cleaner-offset-checkpoint").read_text()
    except FileNotFoundError:
        return False
    # Its version and its count; Kafka makes the file before it fills it.
    return re.match(r"0\n\d+\n", text) and f"{TOPIC} 0 {active(folder)}\n" in text


def test_both_leave_the_same(tmp_path):
    """What Kafka appended, cleaned by Kafka and by doorkeeper: the same batches, records and index."""
    with Doorkeeper(tmp_path / "coordinator", roles=("coordinator",)) as coordinator:

        def kafka(folder, **configuration):
            server = Kafka(tmp_path / f"kafka-{folder.name}", coordinator.coordinator, configuration={**CLEANER, "log.dirs": str(folder), **configuration})
            server.log_dir = folder
            return server

        def doorkeeper(folder):
            overrides = {**CLEANER, "log.dirs": str(folder), "broker.id": "0", "zookeeper.connect": coordinator.coordinator}
            return Doorkeeper(tmp_path / f"doorkeeper-{folder.name}", overrides=overrides, roles=("broker",))

        original = tmp_path / "original"
        with kafka(original, **{"log.cleaner.enable": "false"}) as server:
            fill(server.bootstrap)
            state = {key: value for _, key, value, _, _ in read(server.bootstrap)}
            state = {key: value for key, value in state.items() if value is not None}
        theirs, ours = tmp_path / "theirs", tmp_path / "ours"
        shutil.copytree(original, theirs)
        shutil.copytree(original, ours)
        with kafka(theirs):
            wait_for("Kafka has cleaned", lambda: cleaned(theirs), seconds=60)
        with doorkeeper(ours):
            wait_for("doorkeeper has cleaned", lambda: cleaned(ours), seconds=60)
        assert len(dump(ours)) < len(dump(original))
        assert dump(ours) == dump(theirs)
        assert aborted(ours) == aborted(theirs)

        # Each serves what the other has left: to whoever reads what is committed, the same as ever.
        with kafka(ours, **{"log.cleaner.enable": "false"}) as server:
            kafka_reads = read(server.bootstrap)
        with doorkeeper(theirs) as server:
            doorkeeper_reads = read(server.bootstrap)
        assert kafka_reads == doorkeeper_reads
        left = {key: value for _, key, value, _, _ in kafka_reads}
        assert {key: value for key, value in left.items() if value is not None} == state
