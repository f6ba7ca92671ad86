"""kazoo's own view: the same script on Apache ZooKeeper 3.9.4 and on doorkeeper, and kazoo's recipes on ours.

The raw protocol is compared in test_zookeeper.py; here it is what the library makes of it.
"""

import contextlib
import logging
import os
import queue
import threading

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.protocol.states import KazooState
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, make_digest_acl

from servers import Doorkeeper, ZooKeeper, wait_for

logging.getLogger("kazoo").setLevel(logging.CRITICAL)


@pytest.fixture(scope="module")
def pair(folder):
    """(ZooKeeper, doorkeeper); the second is ZooKeeper too with COMPAT_AGAINST=apache."""
    with ZooKeeper(folder / "zookeeper") as zookeeper:
        apache = os.environ.get("COMPAT_AGAINST") == "apache"
        other = ZooKeeper(folder / "other") if apache else Doorkeeper(folder / "doorkeeper", roles=["coordinator"])
        with other:
            yield zookeeper, other


@pytest.fixture(scope="module")
def ours(pair):
    return pair[1]


@contextlib.contextmanager
def client(server, **options):
    made = KazooClient(server.coordinator, timeout=20, **options)
    made.start(60)
    try:
        yield made
    finally:
        made.stop()
        made.close()


class Script:
    """Runs steps and keeps what came of each, errors by name."""

    def __init__(self, server):
        self.server = server
        self.transcript = []

    def __call__(self, label, function, *arguments, **options):
        try:
            value = self.plain(function(*arguments, **options))
        except KazooException as error:
            value = type(error).__name__
        self.transcript.append((label, value))
        return value

    def plain(self, value):
        if hasattr(value, "_asdict"):
            fields = value._asdict()
            return {
                name: (bool(field) if name in ("ctime", "mtime", "ephemeralOwner", "czxid", "mzxid", "pzxid") else self.plain(field))
                for name, field in fields.items()
            }  # fmt: skip
        if isinstance(value, KazooException):
            return type(value).__name__
        if isinstance(value, (list, tuple)):
            return [self.plain(item) for item in value]
        return value


def compare(pair, steps):
    transcripts = []
    for server in pair:
        script = Script(server)
        steps(script)
        transcripts.append(script.transcript)
    for left, right in zip(*transcripts, strict=True):
        assert left == right, f"ZooKeeper {left}, doorkeeper {right}"


def test_znodes(pair):
    def steps(step):
        with client(step.server) as k:
            step("create", k.create, "/k", b"data")
            step("again", k.create, "/k", b"data")
            step("makepath", k.create, "/k/a/b/c", b"x", makepath=True)
            step("no parent", k.create, "/k/no/body", b"x")
            step("with stat", k.create, "/k/stat", b"12345", include_data=True)
            step("sequence", k.create, "/k/n-", b"", sequence=True)
            step("ephemeral", k.create, "/k/e", b"", ephemeral=True)
            step("ephemeral sequence", k.create, "/k/es-", b"", ephemeral=True, sequence=True)
            step("child of ephemeral", k.create, "/k/e/child", b"")
            for path in ("/k", "/k/a", "/k/e", "/k/nobody"):
                step(f"get {path}", k.get, path)
                step(f"exists {path}", k.exists, path)
                step(f"children {path}", lambda path=path: sorted(k.get_children(path)))
                step(f"children and stat {path}", lambda path=path: k.get_children(path, include_data=True)[1])
            step("set", k.set, "/k", b"more")
            step("set version", k.set, "/k", b"again", version=1)
            step("wrong version", k.set, "/k", b"again", version=1)
            step("set nobody", k.set, "/k/nobody", b"")
            step("sync", k.sync, "/k")
            step("not empty", k.delete, "/k/a")
            step("wrong version", k.delete, "/k/a/b/c", version=3)
            step("delete", k.delete, "/k/a/b/c", version=0)
            step("delete nobody", k.delete, "/k/a/b/c")
            step("recursive", k.delete, "/k", recursive=True)
            step("gone", k.exists, "/k")

    compare(pair, steps)


def test_transactions(pair):
    def steps(step):
        with client(step.server) as k:
            k.create("/kt")
            t = k.transaction()
            t.create("/kt/a", b"1")
            t.set_data("/kt/a", b"2")
            t.check("/kt/a", 1)
            t.create("/kt/n-", b"", sequence=True, ephemeral=True)
            step("good", t.commit)
            t = k.transaction()
            t.create("/kt/b")
            t.check("/kt/a", 7)
            t.delete("/kt/a")
            step("bad", t.commit)
            step("nothing of it", lambda: sorted(k.get_children("/kt")))
            t = k.transaction()
            t.create("/kt/a")
            t.delete("/kt/nobody")
            step("bad at first", t.commit)
            step("empty", k.transaction().commit)

    compare(pair, steps)


def test_watches(pair):
    def steps(step):
        seen = queue.Queue()

        def event():
            return seen.get(timeout=60)

        with client(step.server) as k, client(step.server) as other:
            k.create("/kw")
            k.exists("/kw/x", watch=seen.put)
            k.get_children("/kw", watch=seen.put)
            other.create("/kw/x", b"")
            step("created", lambda: sorted((event(), event())))
            k.get("/kw/x", watch=seen.put)
            other.set("/kw/x", b"1")
            step("changed", event)
            other.set("/kw/x", b"2")
            k.get("/kw/x", watch=seen.put)
            k.get_children("/kw", watch=seen.put)
            other.delete("/kw/x")
            step("deleted", lambda: sorted((event(), event())))
            step("no more", seen.empty)
            changes = queue.Queue()
            k.DataWatch("/kw/data", lambda data, stat: changes.put((data, stat and stat.version)))
            k.ChildrenWatch("/kw", lambda children: changes.put(sorted(children)))
            step("first", lambda: [changes.get(timeout=60), changes.get(timeout=60)])
            other.create("/kw/data", b"a")
            step("then", lambda: sorted((str(changes.get(timeout=60)), str(changes.get(timeout=60)))))
            other.set("/kw/data", b"b")
            step("and then", changes.get, timeout=60)

    compare(pair, steps)


def test_acls(pair):
    def steps(step):
        mine = make_digest_acl("ann", "secret", all=True)
        with client(step.server, auth_data=[("digest", "ann:secret")]) as k, client(step.server) as other:
            step("creator", k.create, "/ka", b"x", acl=CREATOR_ALL_ACL)
            step("digest", k.create, "/ka/digest", b"x", acl=[mine])
            step("read", k.create, "/ka/read", b"x", acl=READ_ACL_UNSAFE + [mine])
            step("nobody's", other.create, "/kb", b"x", acl=CREATOR_ALL_ACL)
            for path in ("/ka", "/ka/digest", "/ka/read"):
                for name, who in (("mine", k), ("other", other)):
                    step(f"{name} get {path}", who.get, path)
                    step(f"{name} acl {path}", who.get_acls, path)
                    step(f"{name} set {path}", who.set, path, b"y")
                    step(f"{name} create {path}", who.create, f"{path}/by-{name}", b"")
                    step(f"{name} acls {path}", who.set_acls, path, OPEN_ACL_UNSAFE if name == "other" else [mine])
            step("open", k.set_acls, "/ka", OPEN_ACL_UNSAFE, version=1)
            step("open then", other.get, "/ka")
            step("auth later", other.add_auth, "digest", "ann:secret")
            step("auth then", other.get, "/ka/digest")

    compare(pair, steps)


def test_sessions(pair):
    """A lost connection keeps session and ephemerals; a closed one takes them away."""

    def steps(step):
        states = queue.Queue()
        with client(step.server) as other:
            k = KazooClient(step.server.coordinator, timeout=10)
            k.add_listener(states.put)
            k.start()
            step("connected", states.get, timeout=60)
            k.create("/ks", b"", ephemeral=True)
            identity = k.client_id
            k._connection._socket.shutdown(2)
            step("suspended", states.get, timeout=60)
            step("again", states.get, timeout=60)
            step("same session", lambda: k.client_id == identity)
            step("ephemeral", other.exists, "/ks")
            gone = threading.Event()
            other.exists("/ks", watch=lambda _: gone.set())
            k.stop()
            step("gone", gone.wait, 60)
            step("closed", lambda: states.get(timeout=60) == KazooState.LOST)
            k.close()

    compare(pair, steps)


def test_lock(ours):
    """Eight contenders, one at a time."""
    inside, worst, order = [], [], []

    def contend(number):
        with client(ours) as k:
            for _ in range(3):
                with k.Lock("/lock", str(number)):
                    inside.append(number)
                    worst.append(len(inside))
                    order.append(number)
                    inside.remove(number)

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(order) == 24 and max(worst) == 1


def test_lock_is_released_by_a_lost_session(ours):
    with client(ours) as k:
        holder = KazooClient(ours.coordinator, timeout=4)
        holder.start()
        assert holder.Lock("/lost-lock").acquire()
        lock = k.Lock("/lost-lock")
        assert not lock.acquire(blocking=False)
        holder._connection._socket.close()
        holder.stop()
        assert lock.acquire(timeout=60)


def test_election(ours):
    led = queue.Queue()

    def candidate(number):
        with client(ours) as k:
            k.Election("/election", str(number)).run(led.put, number)

    threads = [threading.Thread(target=candidate, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    assert sorted(led.get(timeout=60) for _ in threads) == list(range(5))
    for thread in threads:
        thread.join(20)


def test_queues(ours):
    with client(ours) as k, client(ours) as other:
        plain = k.Queue("/queue")
        for n in range(20):
            plain.put(b"%d" % n)
        assert [other.Queue("/queue").get() for _ in range(20)] == [b"%d" % n for n in range(20)]
        assert plain.get() is None
        locking = k.LockingQueue("/locking-queue")
        locking.put_all([b"a", b"b", b"c"])
        taken = []
        for _ in range(3):
            taken.append(locking.get(60))
            assert locking.consume()
        assert taken == [b"a", b"b", b"c"]


def test_counter_party_and_barriers(ours):
    with client(ours) as k, client(ours) as other:

        def count():
            with client(ours) as mine:
                counter = mine.Counter("/counter")
                for _ in range(10):
                    counter += 1

        threads = [threading.Thread(target=count) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert k.Counter("/counter").value == 30
        here, there = k.Party("/party", "here"), other.Party("/party", "there")
        here.join()
        there.join()
        assert sorted(here) == ["here", "there"]
        there.leave()
        assert list(here) == ["here"]
        barrier = k.Barrier("/barrier")
        barrier.create()
        opened = threading.Thread(target=lambda: other.Barrier("/barrier").wait(20))
        opened.start()
        barrier.remove()
        opened.join(20)
        assert not opened.is_alive()
