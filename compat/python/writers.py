"""A load of writes that knows what was acknowledged, and checks after a fault that it is there."""

import struct
import threading

import jute
from jute import EPHEMERAL, create, set_data, versioned, watched

IN_FLIGHT = 16


class Writer:
    """One session that creates, changes and deletes znodes as fast as it is answered; what it knows."""

    def __init__(self, script, name, timeout=40_000):
        self.client = script.connect(name, timeout=timeout)
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

    def known(self):
        """What has been acknowledged so far: nodes that are gone, nodes made, and the last value."""
        return set(self.gone), dict(self.made), self.last_set_acked

    def check(self, script, known=None):
        """Everything acknowledged (or, of that, what was `known` before) is there after the kill, and nothing
        that was acknowledged as gone."""
        gone, made, last_set = known or self.known()
        again = jute.Client(script, "check", session=self.client.session)
        assert again.session[0] == self.client.session[0], "the session outlives the server"
        paths = [*made, f"{self.root}/value", f"{self.root}/short"]
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
        assert last_set <= value <= self.last_set_sent, f"{value} is not from {last_set} to {self.last_set_sent}"
        assert found.pop(f"{self.root}/short") == b"", "the session's ephemeral"
        lost = [path for path, data in made.items() if path not in self.unsure_gone and found[path] != data]
        assert not lost, f"{len(lost)} acknowledged creates are lost, the first {lost[0]}: {found[lost[0]]}"
        risen = [path for path in gone if found[path] != -101]
        assert not risen, f"{len(risen)} acknowledged deletes are undone, the first {risen[0]}"
        again.send("closeSession")
        again.receive_frame()
        again.socket.close()
        return len(made)


class Load:
    """A few writers at work on a server, beside a session that dies: it holds an ephemeral and hangs up."""

    def __init__(self, server, name, count=4):
        self.server = server
        self.script = jute.Script(server.coordinator)
        self.writers = [Writer(self.script, f"{name}-{number}") for number in range(count)]
        for writer in self.writers:
            writer.prepare()
        self.threads = [threading.Thread(target=writer.run) for writer in self.writers]
        for thread in self.threads:
            thread.start()

    def acknowledged(self):
        return sum(len(writer.made) for writer in self.writers)

    def join(self):
        """Waits until every writer has lost its connection."""
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a writer still waits for an answer"

    def known(self):
        """What has been acknowledged to each writer so far."""
        return [writer.known() for writer in self.writers]

    def check(self, known=None):
        """Everything acknowledged (or what was `known` before) is there; returns how much that was."""
        host, port = self.server.coordinator.rsplit(":", 1)
        self.script.address = (host, int(port))
        return sum(writer.check(self.script, of) for writer, of in zip(self.writers, known or [None] * len(self.writers), strict=True))
