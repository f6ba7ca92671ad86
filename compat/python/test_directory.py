"""One data directory, handed over both ways between doorkeeper and Apache ZooKeeper 3.9.4.

After each hand-over the whole tree, every stat and ACL of it, is what the other server showed; the
session with its ephemerals goes on; ZooKeeper counts no digest mismatch and says nothing at WARN or
ERROR that it doesn't say when it starts on a directory of its own.
"""

import contextlib
import itertools
import re
import struct
import subprocess

import pytest

import jute
from jute import EPHEMERAL, SEQUENTIAL, buffer, create, integer, multi, set_acl, set_data, versioned, watched
from servers import Doorkeeper, ZooKeeper, four_letter_word, java, wait_for

# Snapshots often, so that each life of a server leaves some in the middle of its writes.
SETTINGS = {"tickTime": "1000", "maxSessionTimeout": "60000", "snapCount": "60", "preAllocSize": "64"}
LONG_TIMEOUT = 60_000
NO_AUTH, NOT_EMPTY = -102, -111
USER = [(31, "digest", jute.digest("user", "secret"))]
READ_ONLY = [(1, "world", "anyone"), (30, "ip", "127.0.0.1")]
DEPTH = 900


class Client(jute.Client):
    """A raw client that masks nothing."""

    def stat(self, reader):
        fields = struct.unpack_from(">qqqqiiiqiiq", reader.data, reader.at)
        reader.at += 68
        return fields

    def do(self, op, body=b""):
        """The answer's body; the request must succeed."""
        answer = self.ask(op, body)
        assert answer != "closed" and answer[3] == 0, f"{op}: {answer}"
        return answer[4]

    def error(self, op, body=b""):
        return self.ask(op, body)[3]


class Session(jute.Script):
    """What jute.Client expects of a script, without a transcript."""

    def __init__(self, address, **options):
        host, port = address.rsplit(":", 1)
        self.address, self.sessions, self.transcript = (host, int(port)), [], []
        self.client = Client(self, **options)
        # Not interested in what a script notes.
        self.note = lambda label, value: None

    def owner(self, session):
        return session

    def zxid(self, value):
        return value


@contextlib.contextmanager
def client(server, authenticated=True, **options):
    session = Session(server.coordinator, **options).client
    assert session.session and session.session[0], "no session"
    if authenticated:
        session.do("auth", integer(0) + buffer("digest") + buffer("user:secret"))
    try:
        yield session
    finally:
        session.socket.close()


def tree(session, path="/"):
    """Everything below `path`: data (None is null), stat, ACL."""
    nodes, ahead = {}, [path]
    while ahead:
        path = ahead.pop()
        data, stat = session.do("getData", watched(path))
        acls, _ = session.do("getACL", buffer(path))
        nodes[path] = (data, stat, acls)
        prefix = path if path != "/" else ""
        ahead += [f"{prefix}/{name}" for name in session.do("getChildren", watched(path))]
    return nodes


def compare(before, after):
    """Fails with the first few nodes that differ."""
    wrong = [path for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]
    shown = "\n".join(f"{path}: {before.get(path)} became {after.get(path)}" for path in wrong[:5])
    assert not wrong, f"{len(wrong)} nodes differ:\n{shown}"


def start(kind, folder, data_dir, **settings):
    """A server of that kind on the data directory."""
    zookeeper = ZooKeeper(folder / kind, {**SETTINGS, **settings}, data_dir=data_dir)
    if kind == "zookeeper":
        zookeeper.log.unlink(missing_ok=True)
        return zookeeper
    zookeeper.command()  # Writes its zoo.cfg.
    return Doorkeeper(folder / kind, files=[zookeeper.folder / "zoo.cfg"])


def complaints(zookeeper):
    """What ZooKeeper has logged at WARN and ERROR since its start, numbers left out, and what it says of
    connections: clients here hang up when they like."""
    lines = re.findall(r"^\S+ \S+ +(?:WARN|ERROR) +(.*)$", zookeeper.log.read_text(), re.MULTILINE)
    return {re.sub(r"0x[0-9a-f]+|\d+|/\S*", "#", line) for line in lines if "ServerCnxn - " not in line}


def mismatches(zookeeper):
    answer = four_letter_word(zookeeper.coordinator, "mntr")
    return re.search(r"zk_digest_mismatches_count\t(\d+)", answer).group(1)


@pytest.fixture(scope="module")
def usual_complaints(folder):
    """What ZooKeeper complains about on a directory of its own: stopped, killed, started again."""
    usual = set()
    for end in ("stop", "kill", "stop"):
        with start("zookeeper", folder / "usual", folder / "usual" / "data") as server:
            usual |= complaints(server)
            with client(server) as session:
                write_round(session)
                read = tree(session)
            assert read
            usual |= complaints(server)
            getattr(server, end)()
    return usual


rounds = itertools.count()


def write_round(session):
    """Something of everything that a client can write, below a root of its own."""
    root = f"/round{next(rounds)}"
    session.do("create", create(root, b"root"))
    session.do("create", create(f"{root}/empty", b""))
    session.do("create", create(f"{root}/null", None))
    session.do("create", create(f"{root}/binary", bytes(range(256)) * 40))
    session.do("create", create(f"{root}/\u00e4\u2603", "\u00f6".encode()))
    session.do("create", create(f"{root}/secret", b"s", acl=USER))
    session.do("create", create(f"{root}/readable", b"r", acl=READ_ONLY))
    session.do("create", create(f"{root}/reset", b"r"))
    session.do("setACL", set_acl(f"{root}/reset", USER))
    for _ in range(5):
        session.do("create", create(f"{root}/s-", b"", SEQUENTIAL))
    session.do("delete", versioned(f"{root}/s-{8 + 2:010}"))
    session.do("create", create(f"{root}/e-", b"e", EPHEMERAL | SEQUENTIAL))
    session.do("create", create(f"{root}/e", None, EPHEMERAL))
    for version in range(3):
        session.do("setData", set_data(f"{root}/empty", b"x" * version, version))
    session.do("setData", set_data(f"{root}/readable", None))
    session.do(
        "multi",
        multi(
            ("create", create(f"{root}/multi", b"")),
            ("setData", set_data(f"{root}/multi", b"set", 0)),
            ("check", versioned(f"{root}/multi", 1)),
            ("create", create(f"{root}/multi/child", None)),
            ("delete", versioned(f"{root}/s-{9:010}")),
        ),
    )
    session.do("multi", multi(("create", create(f"{root}/undone")), ("check", versioned(root, 77))))
    session.do("multi", multi())
    assert session.error("delete", versioned(root)) == NOT_EMPTY
    assert session.error("create", create(root)) < 0
    session.do("setData", set_data("/", root.encode()))
    return root


def hand_over(folder, usual, lives):
    """Servers of these kinds, one after the other, on one directory; each ended as it says."""
    data_dir = folder / "data"
    nodes, identity, counter = None, jute.NO_SESSION, 0
    for number, (kind, end) in enumerate(lives):
        with start(kind, folder, data_dir) as server:
            with client(server, session=identity, timeout=LONG_TIMEOUT) as session:
                assert identity in (jute.NO_SESSION, session.session), "the session goes on"
                identity = session.session
                if nodes is not None:
                    compare(nodes, tree(session))
                else:
                    session.do("create", create("/sequence"))
                    deep = ""
                    for _ in range(DEPTH):
                        deep += "/d"
                        session.do("create", create(deep, None))
                # Another server goes on counting where this one stopped.
                for _ in range(3):
                    path = session.do("create", create("/sequence/n", b"", SEQUENTIAL))
                    assert path == f"/sequence/n{counter:010}", path
                    counter += 1
                write_round(session)
                with client(server, authenticated=False) as stranger:
                    secret = next(path for path in (nodes or tree(session)) if path.endswith("/secret"))
                    assert stranger.error("getData", watched(secret)) == NO_AUTH
                    stranger.do("create", create(f"/stranger{number}", None, EPHEMERAL))
                    stranger.do("closeSession")
                nodes = tree(session)
                owned = [path for path, (_, stat, _) in nodes.items() if stat[7]]
                assert len(owned) == 2 * (number + 1), "ephemerals of every life are there"
                assert all(nodes[path][1][7] == identity[0] for path in owned)
            if kind == "zookeeper":
                assert mismatches(server) == "0"
                assert complaints(server) <= usual, complaints(server) - usual
            getattr(server, end)()
    return data_dir, nodes, identity


def test_stopped(folder, usual_complaints):
    kinds = ["zookeeper", "doorkeeper"] * 3
    hand_over(folder / "stopped", usual_complaints, [(kind, "stop") for kind in kinds])


def test_killed(folder, usual_complaints):
    kinds = ["doorkeeper", "zookeeper", "zookeeper", "doorkeeper", "doorkeeper", "zookeeper"]
    hand_over(folder / "killed", usual_complaints, [(kind, "kill") for kind in kinds])


@pytest.mark.parametrize("first", ["zookeeper", "doorkeeper"])
def test_a_session_that_nobody_keeps_expires_at_the_next_server(folder, first):
    folder /= f"expiry-{first}"
    second = {"zookeeper": "doorkeeper", "doorkeeper": "zookeeper"}[first]
    with start(first, folder, folder / "data") as server:
        with client(server, timeout=8_000) as session:
            session.do("create", create("/ephemeral", None, EPHEMERAL))
        server.kill()
    with start(second, folder, folder / "data") as server, client(server) as session:
        assert session.error("exists", watched("/ephemeral")) == 0, "its full timeout begins again"
        wait_for("it expires", lambda: session.error("exists", watched("/ephemeral")) != 0, 30, 0.1)
        assert session.do("exists", watched("/"))[9] == 1, "one child is left"


def test_a_session_with_more_ephemerals_than_a_record_holds(folder, usual_complaints):
    folder /= "ephemerals"
    count, name = 20_000, "n" * 70
    with start("doorkeeper", folder, folder / "data", snapCount="1000000") as server:
        with client(server) as session:
            for first in range(0, count, 1_000):
                names = range(first, first + 1_000)
                session.do("multi", multi(*(("create", create(f"/{name}{number}", None, EPHEMERAL)) for number in names)))
            session.do("closeSession")
        server.kill()
    with start("zookeeper", folder, folder / "data") as server:
        assert "zk_ephemerals_count\t0" in four_letter_word(server.coordinator, "mntr")
        assert mismatches(server) == "0"
        assert complaints(server) <= usual_complaints, complaints(server) - usual_complaints
        with client(server) as session:
            assert session.do("getChildren", watched("/")) == ["zookeeper"]


def test_zookeepers_own_tools_read_what_doorkeeper_writes(folder):
    folder /= "tools"
    data_dir, nodes, identity = hand_over(folder, set(), [("doorkeeper", "stop"), ("doorkeeper", "kill")])
    files = sorted((data_dir / "version-2").iterdir())
    logs = [file for file in files if file.name.startswith("log.")]
    snapshots = [file for file in files if file.name.startswith("snapshot.")]
    assert len(logs) > 2 and len(snapshots) > 2, files

    def run(main, *arguments):
        command = java(256, "zookeeper-3.9.4", main, *map(str, arguments))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    counted, last = 0, 0
    for log in logs:
        printed = run("org.apache.zookeeper.server.persistence.TxnLogToolkit", "-d", log)
        assert "CRC ERROR" not in printed, printed[-2000:]
        counted += int(re.search(r"EOF reached after (\d+) txns", printed).group(1))
        last = max(last, *(int(value, 16) for value in re.findall(r"zxid 0x([0-9a-f]+)", printed)))
    assert counted == last, "every transaction since the first is there, once"
    newest = max(snapshots, key=lambda file: int(file.name.split(".")[1], 16))
    printed = run("org.apache.zookeeper.server.SnapshotFormatter", newest)
    shown = {line for line in printed.splitlines() if line.startswith("/")}
    assert len(shown & nodes.keys()) > DEPTH
    assert f"0x{identity[0]:x}" in printed, "its sessions are there"
