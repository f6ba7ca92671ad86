"""kill -9 under load, again and again: every acknowledged write is there afterwards."""

import os
import random
import threading
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

import jute
import wire
from jute import buffer
from rdkafka import consume, made
from servers import embedded
from writers import Load

ROUNDS = int(os.environ.get("COMPAT_ROUNDS", "20")) * (5 if os.environ.get("COMPAT_LONG") else 1)


@pytest.fixture(scope="module")
def server(folder):
    # Small segments and snapshots now and then, so that a kill also meets a roll and a snapshot.
    with embedded(folder / "doorkeeper", {"snapCount": "2000", "preAllocSize": "1024"}) as started:
        yield started


def test_znodes(server):
    draw = random.Random(1)
    acknowledged, all_made = 0, {}
    for number in range(ROUNDS):
        load = Load(server, number)
        time.sleep(draw.uniform(0.1, 0.7))
        server.kill()
        load.join()
        server.start()
        acknowledged += load.check()
        for writer in load.writers:
            all_made[writer.root] = {path for path in writer.made if path not in writer.unsure_gone}
    # And what the first rounds wrote has outlived all later kills.
    script = jute.Script(server.coordinator)
    last = script.connect("last")
    for root, made_there in all_made.items():
        last.send("getChildren", buffer(root) + b"\0")
        frame = last.receive_frame()
        reader = jute.Reader(frame[16:])
        children = {f"{root}/{name}" for name in reader.vector(reader.string)}
        assert made_there <= children
    assert acknowledged > 50 * ROUNDS, f"only {acknowledged} acknowledged creates: no load"
    script.close()


def test_records(server):
    """One idempotent producer lives through all kills; afterwards each record is there once, in order."""
    topic = made(AdminClient({"bootstrap.servers": server.bootstrap}), "crash", 1, {"segment.bytes": "1048576"})
    producer = Producer({
        "bootstrap.servers": server.bootstrap, "log_level": 0, "enable.idempotence": True, "linger.ms": 1, "delivery.timeout.ms": 300_000,
        "message.timeout.ms": 300_000, "reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 100, "retry.backoff.ms": 10,
        "topic.metadata.refresh.interval.ms": 1000, "socket.connection.setup.timeout.ms": 3000,
    })  # fmt: skip
    acked, errors, stop = {}, [], threading.Event()
    sent = 0

    def delivered(error, message):
        if error:
            errors.append(str(error))
        else:
            acked[int(message.value().split()[0])] = message.offset()

    def load():
        nonlocal sent
        while not stop.is_set():
            # Some 20,000 a second: enough that a kill meets requests in flight, little enough to read back.
            for _ in range(100):
                producer.produce(topic, b"%d " % sent + b"x" * (sent % 200), on_delivery=delivered)
                sent += 1
            producer.poll(0.005)
            while len(producer) > 2000 and not stop.is_set():
                producer.poll(0.005)

    thread = threading.Thread(target=load)
    thread.start()
    draw = random.Random(2)
    checked, recoveries = 0, []
    try:
        for _ in range(ROUNDS):
            before = len(acked)
            deadline = time.monotonic() + 60
            while len(acked) < before + 200 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert len(acked) >= before + 200, f"no progress: {len(acked)} acknowledged, errors {errors[:3]}"
            time.sleep(draw.uniform(0, 0.5))
            server.kill()
            known = dict(acked)
            killed = time.monotonic()
            server.start()
            recoveries.append(round(time.monotonic() - killed, 2))
            fresh = {offset: number for number, offset in known.items() if offset >= checked}
            if fresh:
                last = max(fresh)
                for message in consume(server, [(topic, 0, checked)], last - checked + 1):
                    if message.offset() in fresh:
                        assert int(message.value().split()[0]) == fresh[message.offset()]
                checked = last + 1
    finally:
        stop.set()
        thread.join(20)
    assert producer.flush(60) == 0
    assert not errors, errors[:3]
    assert len(acked) == sent
    end = {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}]}
    answer = wire.ask(server.bootstrap, "ListOffsets", 1, end)["Topics"][0]["Partitions"][0]
    assert (answer["ErrorCode"], answer["Offset"]) == (0, sent), f"{sent} were sent, starts in {recoveries} s"
    values = [int(message.value().split()[0]) for message in consume(server, [(topic, 0, 0)], sent)]
    assert values == list(range(sent)), "each record once, in the order it was sent"
