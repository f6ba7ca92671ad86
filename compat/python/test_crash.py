"""kill -9 under load, again and again: every acknowledged write is there afterwards."""

import os
import random
import struct
import threading
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

import jute
import wire
from jute import EPHEMERAL, buffer, create, set_data, versioned, watched
from rdkafka import consume, made
from servers import embedded

ROUNDS = int(os.environ.get("COMPAT_ROUNDS", "20")) * (5 if os.environ.get("COMPAT_LONG") else 1)
WRITERS = 4
IN_FLIGHT = 16


@pytest.fixture(scope="module")
def server(folder):
    # Small segments and snapshots now and then, so that a kill also meets a roll and a snapshot.
    with embedded(folder / "doorkeeper", {"snapCount": "2000", "preAllocSize": "1024"}) as started:
        yield started


class Writer:
    """One session that creates, changes and deletes znodes as fast as it is answered; what it knows."""

    def __init__(self, script, name):
        self.client = script.connect(name, timeout=40_000)
        self.root = f"/crash-{name}"
        self.made, self.unsure_gone, self.gone = {}, set(), set()
        self.last_set_sent = self.last_set_acked = -1
        self.pending = []
        self.count = 0

    def prepare(self):
        for body in (create(self.root), create(f"{self.root}/value", b"-1"), create(f"{self.root}/short", b"", EPHEMERAL)):
            self.client.send("create", body)
            assert self.answer()[1] == 0

    def answer(self):
        frame = self.client.receive_frame()
        if frame is None:
            raise ConnectionError
        xid, _, error = struct.unpack_from(">iqi", frame)
        return xid, error

    def send(self, op, body, acknowledged):
        self.pending.append((self.client.send(op, body), acknowledged))
        if len(self.pending) >= IN_FLIGHT:
            self.settle()

    def settle(self):
        expected, acknowledged = self.pending.pop(0)
        xid, error = self.answer()
        assert (xid, error) == (expected, 0)
        acknowledged()

    def run(self):
        try:
            while True:
                self.count += 1
                path, data = f"{self.root}/{self.count}", b"%d" % self.count * 20
                self.send("create", create(path, data), lambda path=path, data=data: self.made.update({path: data}))
                self.last_set_sent = number = self.count
                self.send("setData", set_data(f"{self.root}/value", b"%d" % number), lambda number=number: setattr(self, "last_set_acked", number))
                if self.count % 5 == 0 and self.count > 20:
                    victim = f"{self.root}/{self.count - 20}"
                    self.unsure_gone.add(victim)
                    self.send("delete", versioned(victim), lambda victim=victim: self.gone.add(victim))
        except (ConnectionError, OSError):
            pass

    def check(self, script):
        """Everything acknowledged is there after the kill, and nothing that was acknowledged as gone."""
        again = jute.Client(script, "check", session=self.client.session)
        assert again.session[0] == self.client.session[0], "the session outlives the server"
        paths = [*self.made, f"{self.root}/value", f"{self.root}/short"]
        found = {}
        for start in range(0, len(paths), 500):
            part = paths[start : start + 500]
            for path in part:
                again.send("getData", watched(path))
            for path in part:
                frame = again.receive_frame()
                error = struct.unpack_from(">i", frame, 12)[0]
                found[path] = jute.Reader(frame[16:]).buffer() if not error else error
        value = int(found.pop(f"{self.root}/value"))
        assert self.last_set_acked <= value <= self.last_set_sent
        assert found.pop(f"{self.root}/short") == b"", "the session's ephemeral"
        lost = [path for path, data in self.made.items() if path not in self.unsure_gone and found[path] != data]
        assert not lost, f"{len(lost)} acknowledged creates are lost, the first {lost[0]}: {found[lost[0]]}"
        risen = [path for path in self.gone if found[path] != -101]
        assert not risen, f"{len(risen)} acknowledged deletes are undone, the first {risen[0]}"
        again.send("closeSession")
        again.receive_frame()
        again.socket.close()
        return len(self.made)


def test_znodes(server):
    draw = random.Random(1)
    acknowledged, all_made = 0, {}
    for number in range(ROUNDS):
        script = jute.Script(server.coordinator)
        writers = [Writer(script, f"{number}-{name}") for name in range(WRITERS)]
        for writer in writers:
            writer.prepare()
        threads = [threading.Thread(target=writer.run) for writer in writers]
        for thread in threads:
            thread.start()
        time.sleep(draw.uniform(0.1, 0.7))
        server.kill()
        for thread in threads:
            thread.join(20)
        server.start()
        for writer in writers:
            acknowledged += writer.check(script)
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
