"""The ZooKeeper protocol byte for byte: the same requests to Apache ZooKeeper 3.9.4 and to doorkeeper.

Both start empty on the same zoo.cfg, and even zxids must be equal, counted from the start of a test;
times and session ids alone may differ (jute.py masks them). Children come unordered. Each test works below a node of its own.
"""

import os
import random
import time

import pytest

import jute
from jute import EPHEMERAL, OPEN, SEQUENTIAL, buffer, create, integer, multi, set_acl, set_data, set_watches, versioned, watched
from servers import Doorkeeper, ZooKeeper, four_letter_word

TICK = 1_000
PERSISTENT, RECURSIVE = 0, 1


@pytest.fixture(scope="module")
def pair(folder):
    """(ZooKeeper, doorkeeper), each started on the zoo.cfg of its own folder."""
    settings = {"tickTime": str(TICK), "maxSessionTimeout": "60000"}
    with ZooKeeper(folder / "zookeeper", settings) as zookeeper:
        other = ZooKeeper(folder / "doorkeeper", settings)
        if os.environ.get("COMPAT_AGAINST") == "apache":
            with other:
                yield zookeeper, other
            return
        other.command()  # Writes its zoo.cfg.
        with Doorkeeper(folder / "doorkeeper", {"clientPort": "0"}, files=[folder / "doorkeeper" / "zoo.cfg"]) as doorkeeper:
            yield zookeeper, doorkeeper


def compare(pair, steps):
    """Runs the steps on both and compares the transcripts entry by entry."""
    transcripts = []
    for server in pair:
        script = jute.Script(server.coordinator)
        try:
            steps(script)
        except Exception as error:  # noqa: BLE001: how far it came is what is compared
            script.note("the script ended", repr(error))
        transcripts.append(list(script.transcript))
        script.close()
    theirs, ours = transcripts
    assert not any(label == "the script ended" for label, _ in theirs), theirs[-1]
    for number, (left, right) in enumerate(zip(theirs, ours, strict=False)):
        assert left == right, f"step {number}: ZooKeeper {left}, doorkeeper {right}"
    assert len(theirs) == len(ours), f"ZooKeeper {theirs[len(ours) :]}, doorkeeper {ours[len(theirs) :]}"


def test_fresh_server(pair):
    def steps(script):
        a = script.connect()
        for path in ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"):
            a.ask("exists", watched(path))
            a.ask("getChildren2", watched(path))
        a.ask("getACL", buffer("/"))
        a.ask("closeSession")
        a.closed()

    compare(pair, steps)


def test_handshake(pair):
    def steps(script):
        script.connect("with readOnly")
        script.connect("without readOnly", read_only=b"")
        script.connect("asks for too little", timeout=1)
        script.connect("asks for too much", timeout=10_000_000)
        script.connect("from the future", last_zxid=1 << 40)
        a = script.connect("a")
        a.ask("ping")
        script.connect("unknown session", session=(0x1234567, b"\0" * 16))
        script.connect("wrong password", session=(a.session[0], b"x" * 16))
        b = script.connect("again", session=a.session)
        a.closed()
        b.ask("create", create("/handshake", b"x"))
        b.ask("exists", watched("/handshake"))
        # The password is a function of the id, so that sessions survive a change of server.
        script.note("password", b.session[1] == java_bytes(b.session[0] ^ 0xB3415C00))
        b.ask("closeSession")
        b.closed()
        script.connect("after closing", session=b.session)

    compare(pair, steps)


def java_bytes(seed, count=16):
    """java.util.Random(seed).nextBytes(16)."""
    state = (seed ^ 0x5DEECE66D) & (1 << 48) - 1
    out = b""
    while len(out) < count:
        state = (state * 0x5DEECE66D + 0xB) & (1 << 48) - 1
        out += (state >> 16).to_bytes(4, "little")
    return out


def test_bad_frames(pair):
    def steps(script):
        for frame in (integer(-1), integer(0x7FFFFFFF), integer(1 << 20), b"GET / HTTP/1.1\r\n\r\n"):
            client = script.connect("bad frame", hello=False)
            client.socket.sendall(frame)
            client.closed()
        for body in (b"", b"\0\0\0\1", b"\0\0\0\1\0\0\0"):
            client = script.connect("short frame")
            client.send_frame(body)
            client.closed()
        a = script.connect("a")
        a.ask(9999)
        a.closed()
        b = script.connect("b")
        b.ask("check", versioned("/", -1))
        b.closed()

    compare(pair, steps)


@pytest.mark.parametrize("op", ["create", "setData", "delete", "getData", "multi", "setWatches", "getChildren2"])
def test_truncated_body(pair, op):
    whole = {
        "create": create("/cut", b"data"), "setData": set_data("/cut", b"data"), "delete": versioned("/cut"),
        "getData": watched("/cut"), "multi": multi(("create", create("/cut"))), "setWatches": set_watches(0, ["/a"], [], []),
        "getChildren2": watched("/"),
    }[op]  # fmt: skip

    def steps(script):
        for length in (0, 1, 4, len(whole) // 2, len(whole) - 1):
            a = script.connect(f"cut at {length}")
            a.ask(op, whole[:length])
            a.ask("exists", watched("/cut"))
            a.socket.close()

    compare(pair, steps)


def test_create_and_stat(pair):
    def steps(script):
        a = script.connect()
        a.ask("create", create("/c", None))
        a.ask("create2", create("/c/1", b""))
        a.ask("create", create("/c/2", b"x" * 1000))
        a.ask("exists", watched("/c"))
        for flags in (SEQUENTIAL, EPHEMERAL, EPHEMERAL | SEQUENTIAL):
            a.ask("create2", create("/c/n-", b"n", flags))
        a.ask("create", create("/c/", b"", SEQUENTIAL))
        a.ask("delete", versioned("/c/1"))
        a.ask("create", create("/c/after-", b"", SEQUENTIAL))
        a.ask("getChildren2", watched("/c"))
        for path in ("/c", "/c/2", "/c/n-0000000003"):
            a.ask("getData", watched(path))
        a.ask("setData", set_data("/c/2", None))
        a.ask("setData", set_data("/c/2", b"again", 1))
        a.ask("setData", set_data("/c/2", b"too late", 1))
        a.ask("getData", watched("/c/2"))
        a.ask("setData", set_data("/", b"root"))
        a.ask("getData", watched("/"))
        a.ask("sync", buffer("/c"))
        a.ask("sync", buffer("/nobody"))
        b = script.connect("b")
        b.ask("exists", watched("/c/n-0000000003"))
        b.ask("exists", watched("/c/n-0000000004"))
        a.ask("closeSession")
        a.closed()
        b.ask("getChildren2", watched("/c"))
        b.ask("exists", watched("/c/n-0000000003"))

    compare(pair, steps)


def test_errors(pair):
    def steps(script):
        a = script.connect()
        a.ask("create", create("/e", b""))
        a.ask("create", create("/e/full", b""))
        a.ask("create", create("/e/full/child", b""))
        a.ask("create", create("/e/short", b"", EPHEMERAL))
        a.ask("create", create("/e", b""))
        a.ask("create", create("/", b""))
        a.ask("create", create("/e/nobody/child", b""))
        a.ask("create", create("/e/short/child", b""))
        a.ask("create", create("/e/short/child", b"", EPHEMERAL))
        a.ask("create", create("/e/flags", b"", 9))
        a.ask("create", create("/e/flags", b"", -1))
        a.ask("create", create("/e/acl", b"", acl=[]))
        a.ask("create", create("/e/acl", b"", acl=[(31, "nobody", "knows")]))
        a.ask("create", create("/e/acl", b"", acl=[(31, "world", "everyone")]))
        a.ask("create", create("/e/acl", b"", acl=[(31, "auth", "")]))
        a.ask("create", create("/e/acl", b"", acl=[(31, "ip", "no address")]))
        a.ask("create", create("/e/acl", b"", acl=[(31, "digest", "no colon")]))
        for path in ("", "e", "/e/", "/e//x", "/e/./x", "/e/../x", "/e/.", "/e/..", "/e/\x01", "/e/\x7f", "/e/\x00", "/e/\ue000", "/e/\ufff0", "/e/...", "/e/ä"):
            a.ask("create", create(path, b""))
            a.ask("exists", watched(path))
        a.ask("create", create(None, b""))
        for path in ("/e/nobody", "/e/full", "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "e", "/e/"):
            a.ask("delete", versioned(path))
        a.ask("delete", versioned("/e/full", 7))
        a.ask("delete", versioned("/e/full/child", 7))
        a.ask("setData", set_data("/e/nobody", b""))
        a.ask("setData", set_data("e", b""))
        a.ask("getData", watched("/e/nobody"))
        a.ask("getChildren", watched("/e/nobody"))
        a.ask("getACL", buffer("/e/nobody"))
        a.ask("setACL", set_acl("/e/nobody", OPEN))
        a.ask("setACL", set_acl("/e", OPEN, 7))
        a.ask("setACL", set_acl("/e", []))
        a.ask("exists", watched("/e"))
        a.ask("closeSession")

    compare(pair, steps)


def test_multi(pair):
    def steps(script):
        a = script.connect()
        a.ask("create", create("/m", b""))
        a.ask("multi", multi())
        a.ask(
            "multi",
            multi(
                ("create", create("/m/a", None, EPHEMERAL)),
                ("setData", set_data("/m/a", b"registration", 0)),
                ("create2", create("/m/s-", b"", SEQUENTIAL)),
                ("check", versioned("/m/a", 1)),
                ("create", create("/m/b", b"")),
                ("delete", versioned("/m/b")),
            ),
        )
        a.ask("getChildren2", watched("/m"))
        a.ask(
            "multi",
            multi(
                ("create", create("/m/c", b"")),
                ("create", create("/m/t-", b"", SEQUENTIAL)),
                ("check", versioned("/m/a", 9)),
                ("setData", set_data("/m/a", b"")),
            ),
        )
        # A failed transaction leaves no gap in the sequence.
        a.ask("create2", create("/m/t-", b"", SEQUENTIAL))
        a.ask("getChildren2", watched("/m"))
        a.ask("multi", multi(("delete", versioned("/m/nobody"))))
        a.ask("multi", multi(("check", versioned("/m/nobody"))))
        a.ask("multi", multi(("create", create("m", b""))))
        a.ask("multi", multi(("create", create("/m/x", b"", 9))))
        a.ask("multi", multi(("check", versioned("/m", 0)), ("check", versioned("/m", 0))))
        a.ask("multi", multi(("delete", versioned("/m/a")), ("create", create("/m/a", b"new")), ("setData", set_data("/m/a", b"newer", 0))))
        a.ask("getData", watched("/m/a"))
        a.ask("multiRead", multi(("getData", watched("/m/a")), ("getChildren", watched("/m")), ("getData", watched("/m/nobody")), ("getData", watched("/m"))))
        a.ask("multi", multi(("getData", watched("/m/a")), ("create", create("/m/y", b""))))
        a.ask("exists", watched("/m"))

    compare(pair, steps)


def test_multi_events(pair):
    def steps(script):
        a, b = script.connect("a"), script.connect("b")
        a.ask("create", create("/me", b""))
        b.ask("getChildren", watched("/me", True))
        b.ask("exists", watched("/me/x", True))
        a.ask("getData", watched("/me", True))
        a.ask("multi", multi(("create", create("/me/x", b"")), ("setData", set_data("/me", b"1")), ("delete", versioned("/me/x"))), events=1)
        b.read(2)
        b.silent()

    compare(pair, steps)


def test_one_shot_watches(pair):
    def steps(script):
        a, b = script.connect("a"), script.connect("b")
        a.ask("create", create("/w", b""))
        b.ask("exists", watched("/w/x", True))
        b.ask("getData", watched("/w/x", True))
        b.ask("getChildren", watched("/w", True))
        a.ask("create", create("/w/x", b""))
        b.read(2)
        # Each fires once, and the same watch set twice is one.
        b.ask("getData", watched("/w/x", True))
        b.ask("exists", watched("/w/x", True))
        a.ask("setData", set_data("/w/x", b"1"))
        b.read()
        a.ask("setData", set_data("/w/x", b"2"))
        # A deleted node: data and child watch of one connection are one event.
        b.ask("getData", watched("/w/x", True))
        b.ask("getChildren", watched("/w/x", True))
        b.ask("getChildren2", watched("/w", True))
        a.ask("delete", versioned("/w/x"))
        b.read(2)
        b.silent()
        # One's own event comes before the answer.
        a.ask("exists", watched("/w/own", True))
        a.ask("getChildren", watched("/w", True))
        a.ask("create", create("/w/own", b""), events=2)
        a.ask("getData", watched("/w/own", True))
        a.ask("setData", set_data("/w/own", b""), events=1)
        # setACL tells nobody; a failed write neither.
        a.ask("getData", watched("/w/own", True))
        a.ask("setACL", set_acl("/w/own", OPEN))
        a.ask("setData", set_data("/w/own", b"", 99))
        a.ask("exists", watched("/w/own"))
        a.ask("delete", versioned("/w/own"), events=1)
        # Watches die with their connection.
        b.ask("exists", watched("/w/late", True))
        c = script.connect("c", session=b.session)
        b.closed()
        a.ask("create", create("/w/late", b""))
        c.silent()

    compare(pair, steps)


def test_persistent_watches(pair):
    def steps(script):
        a, b = script.connect("a"), script.connect("b")
        a.ask("create", create("/p", b""))
        b.ask("addWatch", buffer("/p") + integer(PERSISTENT))
        b.ask("addWatch", buffer("/p/deep") + integer(RECURSIVE))
        b.ask("addWatch", buffer("/p") + integer(7))
        a.ask("setData", set_data("/p", b"1"))
        a.ask("setData", set_data("/p", b"2"))
        b.read(2)
        a.ask("create", create("/p/deep", b""))
        b.read(2)
        a.ask("create", create("/p/deep/er", b""))
        a.ask("setData", set_data("/p/deep/er", b"1"))
        b.read(2)
        # A one-shot watch beside them is spent by itself.
        b.ask("getData", watched("/p/deep/er", True))
        b.ask("getChildren", watched("/p/deep", True))
        a.ask("setData", set_data("/p/deep/er", b"2"))
        b.read()
        b.silent()
        a.ask("delete", versioned("/p/deep/er"))
        b.read(2)
        b.silent()
        for kind in (1, 2, 3, 4, 5):
            b.ask("removeWatches", buffer("/p") + integer(kind))
        b.ask("removeWatches", buffer("/p/deep") + integer(5))
        b.ask("removeWatches", buffer("/p/deep") + integer(9))
        a.ask("setData", set_data("/p", b"3"))
        b.silent()

    compare(pair, steps)


def test_set_watches(pair):
    def steps(script):
        a = script.connect("a")
        for path in ("/s", "/s/same", "/s/changed", "/s/gone", "/s/kids", "/s/childless"):
            last = a.ask("create", create(path, b""))
        seen = last[2] + script.base
        a.ask("setData", set_data("/s/changed", b"1"))
        a.ask("delete", versioned("/s/gone"))
        a.ask("create", create("/s/kids/k", b""))
        b = script.connect("b", last_zxid=seen)
        b.send("setWatches", set_watches(seen, ["/s/same", "/s/changed", "/s/gone"], ["/s/same", "/s/never"], ["/s/kids", "/s/childless", "/s/gone"]))
        answers = sorted_until_reply(b, 6)
        script.note("caught up", answers)
        a.ask("setData", set_data("/s/same", b""))
        b.read()
        a.ask("create", create("/s/never", b""))
        b.read()
        a.ask("create", create("/s/childless/c", b""))
        b.read()
        b.silent()
        c = script.connect("c")
        c.ask("setWatches2", set_watches(seen, [], [], [], ["/s"], ["/s/kids"]))
        a.ask("setData", set_data("/s/kids/k", b""))
        a.ask("setData", set_data("/s", b""))
        c.read(2)
        c.silent()

    compare(pair, steps)


def sorted_until_reply(client, most):
    """Events in no given order, which end with the answer to setWatches."""
    events = []
    for _ in range(most):
        answer = client.decode(client.receive_frame())
        if answer[0] != "event":
            return [*sorted(events), answer]
        events.append(answer)
    return [*sorted(events), "no answer"]


def test_acls(pair):
    ann, ben = jute.digest("ann", "secret"), jute.digest("ben", "secret")

    def steps(script):
        a, b = script.connect("a"), script.connect("b")
        a.ask("auth", integer(0) + buffer("digest") + buffer("ann:secret"))
        a.ask("create", create("/acl", b""))
        a.ask("create", create("/acl/all", b"x", acl=[(31, "auth", "")]))
        a.ask("create", create("/acl/mine", b"x", acl=[(31, "digest", ann), (1, "world", "anyone")]))
        a.ask("create", create("/acl/here", b"x", acl=[(31, "ip", "127.0.0.0/8")]))
        a.ask("create", create("/acl/there", b"x", acl=[(31, "ip", "10.1.2.3")]))
        a.ask("create", create("/acl/write", b"x", acl=[(2, "world", "anyone"), (31, "digest", ben)]))
        a.ask("create", create("/acl/admin", b"x", acl=[(16, "world", "anyone"), (31, "digest", ben)]))
        for client in (a, b):
            for path in ("/acl/all", "/acl/mine", "/acl/here", "/acl/there", "/acl/write", "/acl/admin"):
                client.ask("getACL", buffer(path))
                client.ask("getData", watched(path))
                client.ask("exists", watched(path))
                client.ask("getChildren", watched(path))
                client.ask("setData", set_data(path, b"y"))
                client.ask("create", create(f"{path}/child-", b"", SEQUENTIAL))
                client.ask("multi", multi(("check", versioned(path, -1))))
                client.ask("delete", versioned(f"{path}/child-0000000000"))
                client.ask("addWatch", buffer(path) + integer(PERSISTENT))
                client.ask("removeWatches", buffer(path) + integer(4))
        b.ask("setACL", set_acl("/acl/mine", OPEN))
        b.ask("setACL", set_acl("/acl/admin", OPEN, 0))
        b.ask("getACL", buffer("/acl/admin"))
        a.ask("setACL", set_acl("/acl/all", [(1, "world", "anyone")], 0))
        a.ask("setACL", set_acl("/acl/all", OPEN))
        # A node's own ACL says nothing about its deletion, its parent's does.
        a.ask("create", create("/acl/parent", b"", acl=[(1 | 4, "world", "anyone")]))
        b.ask("create", create("/acl/parent/x", b""))
        b.ask("delete", versioned("/acl/parent/x"))
        b.ask("delete", versioned("/acl/parent/nobody"))
        b.ask("delete", versioned("/acl/there"))
        # What is decided against a state that the same transaction makes.
        b.ask("multi", multi(("create", create("/acl/once", b"", acl=[(1, "world", "anyone")])), ("setData", set_data("/acl/once", b""))))
        c = script.connect("c")
        c.ask("auth", integer(0) + buffer("nobody") + buffer("x"))
        c.closed()
        d = script.connect("d")
        d.ask("auth", integer(0) + buffer("digest") + buffer("ann:wrong"))
        d.ask("getData", watched("/acl/write"))

    compare(pair, steps)


def test_watches_withheld_by_acl(pair):
    def steps(script):
        a, b = script.connect("a"), script.connect("b")
        a.ask("auth", integer(0) + buffer("digest") + buffer("ann:secret"))
        a.ask("create", create("/hide", b""))
        a.ask("create", create("/hide/x", b"", acl=[(31, "auth", "")]))
        b.ask("addWatch", buffer("/hide") + integer(RECURSIVE))
        b.ask("exists", watched("/hide/y", True))
        a.ask("setData", set_data("/hide/x", b"1"))
        b.silent()
        a.ask("create", create("/hide/y", b"", acl=[(31, "auth", "")]))
        b.silent()
        a.ask("create", create("/hide/z", b""))
        b.read()

    compare(pair, steps)


def test_pipelined_requests(pair):
    """Answers come in the order of the requests, reads behind writes included."""

    def steps(script):
        a = script.connect()
        a.send("create", create("/pipe", b""))
        for number in range(50):
            a.send("create", create(f"/pipe/{number}", b""))
            a.send("exists", watched(f"/pipe/{number}"))
            a.send("setData", set_data("/pipe", b"%d" % number))
            a.send("getData", watched("/pipe"))
            a.send("getChildren2", watched("/pipe"))
            a.send("delete", versioned(f"/pipe/{number - 10}"))
        a.read(301)

    compare(pair, steps)


def test_random_requests(pair):
    """A long run of random requests on a small tree; the seed is the test's own."""
    seed = int(os.environ.get("COMPAT_SEED", "8"))

    def steps(script):
        draw = random.Random(seed)
        clients = [script.connect(name) for name in "abc"]
        clients[0].ask("create", create("/r", b""))

        def path():
            return "/r" + "".join(f"/{draw.choice('xyz')}" for _ in range(draw.randint(0, 3)))

        def operation():
            return draw.choice([
                ("create", create(path(), b"1", draw.choice([0, 0, 0, EPHEMERAL]))),
                ("create2", create(path() + "/n-", b"", draw.choice([SEQUENTIAL, SEQUENTIAL | EPHEMERAL]))),
                ("delete", versioned(path(), draw.choice([-1, -1, 0, 1]))),
                ("setData", set_data(path(), b"2", draw.choice([-1, -1, 0, 1]))),
                ("check", versioned(path(), draw.choice([-1, 0]))),
            ])  # fmt: skip

        for _ in range(1500 if not os.environ.get("COMPAT_LONG") else 50_000):
            client = draw.choice(clients)
            kind = draw.random()
            if kind < 0.5:
                op, body = operation()
                while op == "check":
                    op, body = operation()
                client.ask(op, body)
            elif kind < 0.7:
                client.ask("multi", multi(*(operation() for _ in range(draw.randint(1, 4)))))
            else:
                client.ask(draw.choice(["exists", "getData", "getChildren2"]), watched(path()))
        for client in clients:
            client.ask("closeSession")
        last = script.connect("last")
        last.ask("getChildren2", watched("/r"))

    compare(pair, steps)


def test_session_expiry(pair):
    """Ephemerals go in one transaction when the session's time is up, and nobody else's do."""

    def steps(script):
        a, b = script.connect("a", timeout=60 * TICK), script.connect("b", timeout=4 * TICK)
        a.ask("create", create("/x", b""))
        for number in range(3):
            # Its time begins with the last request, and not before that is sent.
            started = time.monotonic()
            b.ask("create", create(f"/x/{number}", b"", EPHEMERAL))
        a.ask("getChildren", watched("/x", True))
        a.socket.settimeout(60)
        a.read()
        elapsed = time.monotonic() - started
        script.note("in time", 4 * TICK / 1000 - 0.05 <= elapsed <= 6 * TICK / 1000 + 30 or elapsed)
        b.closed()
        a.ask("getChildren2", watched("/x"))
        script.connect("too late", session=b.session)
        # Pings keep a session, whatever else it does.
        c = script.connect("c", timeout=4 * TICK)
        c.ask("create", create("/x/c", b"", EPHEMERAL))
        for _ in range(12):
            time.sleep(TICK / 2000)
            c.ask("ping")
        a.ask("exists", watched("/x/c"))
        c.ask("closeSession")
        a.ask("exists", watched("/x/c"))

    compare(pair, steps)


def test_reattach_keeps_ephemerals(pair):
    def steps(script):
        a = script.connect("a", timeout=30 * TICK)
        a.ask("create", create("/re", b""))
        a.ask("create", create("/re/e", b"", EPHEMERAL))
        a.socket.close()
        b = script.connect("b", session=a.session, timeout=10_000)
        b.ask("getData", watched("/re/e"))
        b.ask("delete", versioned("/re/e"))
        b.ask("closeSession")
        b.closed()

    compare(pair, steps)


def test_four_letter_words(pair):
    """ruok and isro alike; srvr, stat, mntr and conf with the same keys where both have them."""
    zookeeper, doorkeeper = (server.coordinator for server in pair)
    for word in ("ruok", "isro"):
        assert four_letter_word(doorkeeper, word) == four_letter_word(zookeeper, word)
    theirs, ours = four_letter_word(zookeeper, "srvr"), four_letter_word(doorkeeper, "srvr")
    keys = [line.split(":")[0] for line in theirs.splitlines()]
    assert [line.split(":")[0] for line in ours.splitlines()] == keys
    wanted = {line.split("\t")[0] for line in four_letter_word(zookeeper, "mntr").splitlines()} & {
        f"zk_{key}" for key in (
            "version", "server_state", "avg_latency", "max_latency", "min_latency", "packets_received", "packets_sent",
            "num_alive_connections", "outstanding_requests", "znode_count", "watch_count", "ephemerals_count",
            "approximate_data_size", "open_file_descriptor_count", "max_file_descriptor_count", "uptime", "global_sessions",
        )
    }  # fmt: skip
    assert wanted - {line.split("\t")[0] for line in four_letter_word(doorkeeper, "mntr").splitlines()} == set()
    theirs, ours = (
        {line.split("=")[0] for line in four_letter_word(server, "conf").splitlines()} for server in (zookeeper, doorkeeper)
    )
    assert theirs - ours == set()
    assert "Zxid: 0x" in four_letter_word(doorkeeper, "stat")
