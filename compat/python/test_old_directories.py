"""Directories that old Apache ZooKeepers left: doorkeeper goes on with them, and 3.9.4 after it.

Each old server is killed under load, so that its last snapshots are fuzzy and its logs have torn ends.
"""

import threading

import pytest

import jute
from directories import OldZooKeeper, data
from jute import EPHEMERAL, create, set_data
from servers import Doorkeeper
from test_directory import LONG_TIMEOUT, SETTINGS, client, compare, mismatches, start, tree, write_round

VERSIONS = [
    ("3.4.14", ()),
    ("3.5.10", ()),
    ("3.6.4", ("-Dzookeeper.snapshot.compression.method=gz",)),
    ("3.6.4", ("-Dzookeeper.snapshot.compression.method=snappy",)),
]
WRITERS = 3


def load(server, number, stop, written):
    """Creates and sets until told to stop, so that snapshots are taken meanwhile."""
    with client(server) as session:
        for count in range(100_000):
            if stop.is_set():
                return
            path = f"/load{number}-{count}"
            session.do("create", create(path, b"one", acl=[(1, "digest", f"u{count % 9}:x"), (31, "world", "anyone")]))
            session.do("setData", set_data(path, b"two" * (count % 50), 0))
            written[number] = count + 1


@pytest.mark.parametrize(("version", "properties"), VERSIONS, ids=lambda value: value if isinstance(value, str) else (value or ("-plain",))[0].rsplit("=")[-1])
def test_directory_of(folder, version, properties):
    folder /= f"old-{version}-{len(properties) and properties[0][-4:]}"
    data_dir = folder / "data"
    written = [0] * WRITERS
    with OldZooKeeper(folder / "old", version, SETTINGS, data_dir, properties) as server:
        with client(server, timeout=LONG_TIMEOUT) as session:
            identity = session.session
            root = write_round(session)
            session.do("create", create("/mine", b"mine", EPHEMERAL))
            stop = threading.Event()
            writers = [threading.Thread(target=load, args=(server, number, stop, written)) for number in range(WRITERS)]
            for writer in writers:
                writer.start()
            while min(written) < 60:
                assert all(writer.is_alive() for writer in writers), "a writer died"
                stop.wait(0.02)
            stop.set()
            for writer in writers:
                writer.join()
            nodes = tree(session)
        server.kill()
    names = [file.name for file in (data_dir / "version-2").iterdir()]
    snapshots = [name for name in names if name.startswith("snapshot.")]
    assert len(snapshots) > 1, names
    if properties:
        assert all(name.endswith(properties[0].rsplit("=")[-1]) for name in snapshots), names
    data("verify", data_dir, "--for-zookeeper")

    # 3.4 has no /zookeeper/config, which whoever loads its directory later adds.
    def known(found):
        return {path: node for path, node in found.items() if not path.startswith("/zookeeper")}

    with start("doorkeeper", folder, data_dir) as server:
        with client(server, session=identity, timeout=LONG_TIMEOUT) as session:
            assert session.session == identity, "the session goes on"
            compare(known(nodes), known(tree(session)))
            assert nodes["/mine"][1][7] == identity[0]
            write_round(session)
            nodes = tree(session)
        assert (data_dir / "doorkeeper.before").is_dir(), "the old files are kept"
        server.stop()
    assert isinstance(server, Doorkeeper)
    with start("zookeeper", folder, data_dir) as server:
        with client(server, session=identity, timeout=LONG_TIMEOUT) as session:
            assert session.session == identity
            compare(known(nodes), known(tree(session)))
            assert session.error("exists", jute.watched(root)) == 0
        assert mismatches(server) == "0"
