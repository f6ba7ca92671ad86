"""Directories as a power cut leaves them, cut at many bytes: Apache ZooKeeper's own classes read from each
what doorkeeper reads, every acknowledged write and of those in flight a prefix.
"""

import pathlib
import random
import shutil
import subprocess
import threading

from directories import data, inspect
from jute import EPHEMERAL, SEQUENTIAL, create, set_data
from servers import Doorkeeper, java
from test_directory import client, write_round

READER = pathlib.Path(__file__).parents[1] / "java" / "ReadDirectories.java"
CUTS = 36
WRITERS = 4


def read_by_zookeeper(directories):
    """{directory: (zxid, znodes, digest)}; an exception's text where it does not load."""
    command = java(256, "zookeeper-3.9.4", str(READER), *map(str, directories))
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("/") and "\t" in line]
    return {line[0]: tuple(line[1:]) for line in lines}


def load(server, number, stop, acknowledged):
    with client(server) as session:
        for count in range(100_000):
            if stop.is_set():
                return
            path = session.do("create", create(f"/w{number}-", bytes([count % 256]) * (count % 300), SEQUENTIAL))
            session.do("setData", set_data(path, b"set", 0))
            if count % 7 == 0:
                session.do("create", create(f"/e{number}-{count}", None, EPHEMERAL))
            acknowledged[number] = count + 1


def test_zookeeper_reads_the_same(folder):
    overrides = {"snapCount": "150", "preAllocSize": "64"}
    acknowledged = [0] * WRITERS
    with Doorkeeper(folder / "cut", overrides, roles=("coordinator",)) as server:
        with client(server) as session:
            write_round(session)
        stop = threading.Event()
        writers = [threading.Thread(target=load, args=(server, number, stop, acknowledged)) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        while min(acknowledged) < 90:
            assert all(writer.is_alive() for writer in writers), "a writer died"
            stop.wait(0.02)
        stop.set()
        for writer in writers:
            writer.join()
        server.kill()
    original = server.data_dir
    whole = inspect(original)
    log = max((original / "version-2").glob("log.*"), key=lambda file: int(file.name.split(".")[1], 16))
    content = log.read_bytes()
    # Where each record of the last log begins.
    dumped = data("dump", original, "--json").splitlines()
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    used = len(content.rstrip(b"\0"))
    assert len(dumped) > 300 and used > 100, "there is something to cut"
    directories = []
    for number in range(CUTS):
        at = chance.randrange(0, used + 1)
        copy = folder / f"cut-{number}"
        shutil.copytree(original / "version-2", copy / "version-2")
        # The file ends there, or goes on in the zeros that it was made longer with.
        rest = b"" if number % 2 else bytes(len(content) - at)
        (copy / "version-2" / log.name).write_bytes(content[:at] + rest)
        directories.append((copy, at))
    read = read_by_zookeeper([copy for copy, _ in directories] + [original])
    expected = (whole["lastZxid"].removeprefix("0x"), str(whole["znodes"]), str(whole["digest"]))
    assert read[str(original)] == expected, f"uncut: {read[str(original)]} is not {expected}"
    zxids = []
    for copy, at in directories:
        ours = inspect(copy)
        assert ours["digestMismatches"] == 0
        expected = (ours["lastZxid"].removeprefix("0x"), str(ours["znodes"]), str(ours["digest"]))
        theirs = read[str(copy)]
        what = f"seed {seed}: {log.name} cut at {at} of {used}"
        if theirs[0] == "error":
            # ZooKeeper stops at some torn ends; then so says `verify`, and a start of ours mends it.
            data("verify", copy, "--for-zookeeper", fails=True)
            data("repair", copy)
            theirs = read_by_zookeeper([copy])[str(copy)]
        assert theirs == expected, f"{what}: {theirs} is not {expected}"
        zxids.append((at, int(ours["lastZxid"], 16)))
    zxids.sort()
    assert [zxid for _, zxid in zxids] == sorted(zxid for _, zxid in zxids), f"seed {seed}: a later cut lost more"
    assert zxids[0][1] < zxids[-1][1]
