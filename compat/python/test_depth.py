"""A directory whose tree is far deeper than any that could be created (CVE-2026-115448): it is loaded from
a packed snapshot, served, changed at its very end and packed again, in memory for the names, not for the
paths: a hundred thousand levels are 10 GB of paths.
"""

import os
import pathlib
import struct
import time
import zlib

import pytest

from jute import buffer, create, integer, set_data, versioned, watched
from servers import Doorkeeper, wait_for
from test_directory import client

LONG = bool(os.environ.get("COMPAT_LONG"))
LEVELS = 100_000 if LONG else 8_000
PATIENCE = 600
MEMORY = 256 << 20
ZXID = 0x64
BAD_ARGUMENTS, NO_NODE, NOT_EMPTY, RECURSIVE = -8, -101, -111, 1
STAT = struct.pack(">qqqqiiiqq", 1, 1, 1, 1, 0, 0, 0, 0, 1)
CHILD_STAT = STAT[:36] + struct.pack(">i", 1) + STAT[40:]


def write_snapshot(path):
    """A chain of nodes, each with its level as data, packed as it is made."""
    adler, packer = 1, zlib.compressobj(1, wbits=31)
    with open(path, "wb") as file:
        pieces = [b"ZKSN", struct.pack(">iq", 2, -1), integer(0), integer(0)]
        for level in range(LEVELS + 1):
            data = b"%d" % level
            pieces += [integer(2 * level), b"/d" * level, integer(len(data)), data, struct.pack(">q", -1)]
            pieces.append(CHILD_STAT if level < LEVELS else STAT)
            if level == LEVELS:
                pieces += [integer(1), b"/"]
            if level % 8 == 0 or level == LEVELS:
                plain = b"".join(pieces)
                adler = zlib.adler32(plain, adler)
                file.write(packer.compress(plain))
                pieces = []
        file.write(packer.compress(struct.pack(">q", adler) + integer(1) + b"/"))
        file.write(packer.flush())


def peak_memory(server):
    """Bytes that were resident at most since the start."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))


@pytest.fixture(scope="module")
def server(folder):
    overrides = {"snapCount": "2", "snapshot.compression.method": "gz", "preAllocSize": "64"}
    return Doorkeeper(folder / "depth", overrides, roles=("coordinator",))


def test_cve_2026_115448_a_very_deep_tree_is_loaded_served_and_snapshotted(server):
    files = server.data_dir / "version-2"
    files.mkdir(parents=True)
    began = time.monotonic()
    write_snapshot(files / f"snapshot.{ZXID:x}.gz")
    print(f"{LEVELS} levels: written in {time.monotonic() - began:.1f} s, {(files / f'snapshot.{ZXID:x}.gz').stat().st_size >> 10} kB")

    began = time.monotonic()
    server.start(PATIENCE)
    print(f"loaded in {time.monotonic() - began:.1f} s, {peak_memory(server) >> 20} MiB at most")
    bottom = "/d" * LEVELS
    with client(server) as session:
        data, stat = session.do("getData", watched(bottom))
        assert (data, stat[4]) == (b"%d" % LEVELS, 0)
        assert session.do("getChildren", watched("/d" * (LEVELS - 1))) == ["d"]
        assert session.do("getAllChildrenNumber", buffer("/d")) == LEVELS - 1
        assert session.error("create", create(f"{bottom}/d")) == BAD_ARGUMENTS
        assert session.error("delete", versioned("/d" * (LEVELS - 1))) == NOT_EMPTY
        session.do("addWatch", buffer("/d") + integer(RECURSIVE))
        # Each has its event, and then its answer.
        for op, body in (
            ("setData", set_data(bottom, b"last", 0)),
            ("delete", versioned(bottom)),
            ("setData", set_data("/d" * (LEVELS - 1), b"the end")),
        ):
            answer = session.ask(op, body, events=1)
            assert answer[0] == op and answer[3] == 0, answer
        deleted = answer[2]
        assert session.error("exists", watched(bottom)) == NO_NODE

        # Every other write begins a snapshot, where none is being written.
        began, slowest = time.monotonic(), 0

        def snapshots():
            nonlocal slowest
            asked = time.monotonic()
            session.do("setData", set_data("/", b""))
            slowest = max(slowest, time.monotonic() - asked)
            zxids = [int(file.name.split(".")[1], 16) for file in files.glob("snapshot.*.gz")]
            return max(zxids) >= deleted

        wait_for("a snapshot", snapshots, PATIENCE, 0.05)
        print(
            f"snapshots in {time.monotonic() - began:.1f} s, {peak_memory(server) >> 20} MiB at most,"
            f" longest write {slowest * 1000:.0f} ms"
        )
    assert peak_memory(server) < MEMORY, "not a path for each node"
    server.kill()


def test_its_own_snapshot_of_it_is_read_again(server):
    newest = max((server.data_dir / "version-2").glob("snapshot.*.gz"), key=lambda file: int(file.name.split(".")[1], 16))
    assert int(newest.name.split(".")[1], 16) > ZXID
    server.start(PATIENCE)
    with client(server) as session:
        assert session.error("exists", watched("/d" * LEVELS)) == NO_NODE
        assert session.do("getData", watched("/d" * (LEVELS - 1)))[0] == b"the end"
        assert session.do("getAllChildrenNumber", buffer("/")) == LEVELS - 1
        session.do("delete", versioned("/d" * (LEVELS - 1)))
        session.do("delete", versioned("/d" * (LEVELS - 2)))
    server.kill()
