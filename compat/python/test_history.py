"""Histories of many clients on a few znodes, recorded through kills and checked for linearizability, znode by znode."""

import itertools
import os
import random
import threading
import time

import jute
from jute import create, set_data, versioned, watched
from linearizability import BAD_VERSION, NO_NODE, NODE_EXISTS, Operation, linearizable, outcome
from servers import embedded

LONG = bool(os.environ.get("COMPAT_LONG"))
CLIENTS, ZNODES = 6, 8
EXPECTED = {"create": {0, NODE_EXISTS}, "set": {0, NO_NODE, BAD_VERSION}, "delete": {0, NO_NODE, BAD_VERSION}, "read": {0, NO_NODE}}


class Recorder(threading.Thread):
    """A client that asks one thing at a time, of random znodes, and connects again when its server is gone."""

    def __init__(self, script, seed, stop):
        super().__init__()
        self.script, self.draw, self.stop, self.numbers = script, random.Random(seed), stop, itertools.count()
        self.history = {f"/h{number}": [] for number in range(ZNODES)}
        self.name_of_mine, self.error, self.known = f"{seed}", None, {}

    def run(self):
        try:
            while not self.stop.is_set():
                try:
                    client = jute.Client(self.script, self.name_of_mine, timeout=10_000)
                    while client.session and not self.stop.is_set():
                        self.ask(client)
                except OSError:
                    time.sleep(0.01)
        except Exception as error:  # noqa: BLE001: the test shows it
            self.error = error

    def ask(self, client):
        draw = self.draw
        path = draw.choice(list(self.history))
        kind = draw.choices(["read", "set", "create", "delete"], [5, 4, 2, 1])[0]
        data = f"{self.name_of_mine}:{next(self.numbers)}".encode()
        # A version that was seen lately is often, but not always, still the one.
        version = draw.choice([-1, self.known.get(path, 0)]) if kind in ("set", "delete") else -1
        op, body = {
            "create": lambda: ("create", create(path, data)),
            "set": lambda: ("setData", set_data(path, data, version)),
            "delete": lambda: ("delete", versioned(path, version)),
            "read": lambda: ("getData", watched(path)),
        }[kind]()
        operation = Operation(kind, time.monotonic(), data=data, version=version)
        self.history[path].append(operation)
        client.send(op, body)
        frame = client.receive_frame()
        if frame is None:
            raise ConnectionError
        operation.end = time.monotonic()
        reader = jute.Reader(frame)
        operation.error = reader.unpack("iqi")[2]
        assert operation.error in EXPECTED[kind], f"{kind}: {operation.error}"
        if operation.error == 0 and kind in ("set", "read"):
            seen = reader.buffer() if kind == "read" else None
            self.known[path] = reader.unpack("qqqqiiiqiiq")[4]
            operation.seen = (seen, self.known[path]) if kind == "read" else self.known[path]


def record(server, seconds, kills, seed):
    """The histories of all znodes, from before the first operation to behind the last."""
    stop, script = threading.Event(), jute.Script(server.coordinator)
    script.note = lambda label, value: None
    recorders = [Recorder(script, f"{seed}-{number}", stop) for number in range(CLIENTS)]
    draw = random.Random(seed)
    for recorder in recorders:
        recorder.start()
    for _ in range(kills):
        time.sleep(draw.uniform(0.2, 0.6))
        server.kill()
        server.start()
    time.sleep(seconds)
    stop.set()
    for recorder in recorders:
        recorder.join(60)
        assert not recorder.is_alive() and recorder.error is None, recorder.error
    history = {path: [operation for recorder in recorders for operation in recorder.history[path]] for path in recorders[0].history}
    last = jute.Client(script, "last")
    for path, operations in history.items():
        operation = Operation("read", time.monotonic())
        last.send("getData", watched(path))
        reader = jute.Reader(last.receive_frame())
        operation.end, operation.error = time.monotonic(), reader.unpack("iqi")[2]
        if operation.error == 0:
            operation.seen = (reader.buffer(), reader.unpack("qqqqiiiqiiq")[4])
        operations.append(operation)
        # The next history begins without it.
        last.send("delete", versioned(path))
        last.receive_frame()
    last.send("closeSession")
    return history


def check(history):
    for path, operations in history.items():
        if not linearizable(operations):
            shown = sorted(operations, key=lambda operation: operation.start)
            raise AssertionError(f"{path} is not linearizable: {shown[:20]} … {len(shown)} operations")
    answered = [operation for operations in history.values() for operation in operations if operation.end]
    assert sum(operation.error == 0 for operation in answered) > 100 * CLIENTS, f"only {len(answered)} answers: no load"
    return answered


def test_concurrent_clients(folder):
    with embedded(folder / "concurrent") as server:
        check(record(server, 20 if LONG else 3, 0, 1))


def test_kill_9(folder):
    with embedded(folder / "killed", {"snapCount": "2000", "preAllocSize": "1024"}) as server:
        for seed in range(10 if LONG else 1):
            history = record(server, 0.3, 10, seed)
            answered = check(history)
            lost = [operation for operations in history.values() for operation in operations if operation.end is None]
            assert lost, f"no kill met an operation on its way, of {len(answered)}"


# The checker itself.


def one(kind, start, end, **more):
    return Operation(kind, start, end, error=more.pop("error", 0), **more)


def test_the_checker_refuses_what_cannot_have_happened():
    made = one("create", 0, 1, data=b"a")
    later = one("set", 2, 3, data=b"b", seen=1)
    read_old = one("read", 4, 5, seen=(b"a", 0))
    read_new = one("read", 4, 5, seen=(b"b", 1))
    assert linearizable([made, later, read_new])
    assert not linearizable([made, later, read_old]), "a stale read"
    assert linearizable([made, later, one("read", 2.5, 5, seen=(b"a", 0))]), "while it is being set both may be seen"
    assert not linearizable([made, later, one("read", 6, 7, seen=None, error=NO_NODE)]), "an acknowledged write is lost"
    assert not linearizable([made, later, read_new, one("read", 6, 7, seen=(b"a", 0))]), "time goes back"
    both = [one("set", 2, 5, data=data, version=0, seen=1) for data in (b"b", b"c")]
    assert not linearizable([made, *both]), "two sets of one version"
    assert linearizable([made, both[0], one("set", 2, 5, data=b"c", version=0, error=BAD_VERSION)])
    assert not linearizable([made, one("delete", 2, 3), one("set", 4, 5, data=b"b", seen=1)])
    assert not linearizable([one("set", 2, 3, data=b"b", error=BAD_VERSION, version=0), one("create", 4, 5, data=b"a")])


def test_the_checker_lets_what_was_not_answered_happen_late_or_never():
    made, lost = one("create", 0, 1, data=b"a"), Operation("set", 2, data=b"b")
    assert linearizable([made, lost, one("read", 8, 9, seen=(b"a", 0))])
    assert linearizable([made, lost, one("read", 8, 9, seen=(b"b", 1))])
    assert linearizable([made, lost, one("read", 6, 7, seen=(b"a", 0)), one("read", 8, 9, seen=(b"b", 1))])
    assert not linearizable([made, lost, one("read", 6, 7, seen=(b"b", 1)), one("read", 8, 9, seen=(b"a", 0))])
    assert not linearizable([made, lost, one("read", 1.2, 1.5, seen=(b"b", 1))]), "before it was asked"


def test_the_checker_on_random_histories():
    """Histories made by drawing a moment for each operation are good; with one answer changed, hardly any is."""
    refused = 0
    for seed in range(200):
        draw = random.Random(seed)
        state, history = None, []
        for moment in range(60):
            kind = draw.choice(["create", "set", "delete", "read", "read"])
            operation = Operation(kind, moment - draw.uniform(0, 4), data=b"%d" % moment, version=draw.choice([-1, -1, 0, 1]))
            state = happen(operation, state)
            if draw.random() < 0.9 or kind == "read":
                operation.end = moment + draw.uniform(0, 4)
            history.append(operation)
        draw.shuffle(history)
        assert linearizable(history), seed
        victim = draw.choice([operation for operation in history if operation.end])
        victim.error, victim.seen = (0, (b"never written", 0)) if victim.kind == "read" else (victim.error or NO_NODE, 77)
        refused += not linearizable(history)
    assert refused == 200


def happen(operation, state):
    operation.error, operation.seen, state = outcome(state, operation)
    return state
