"""kcat, the librdkafka of the distribution: metadata, produce with each codec, consume by assignment."""

import json
import subprocess

import pytest

import wire


def kcat(server, *arguments, stdin=b""):
    command = ["kcat", "-b", server.bootstrap, *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout.decode()}\n{done.stderr.decode()}"
    return done.stdout


def test_metadata(doorkeeper):
    kcat(doorkeeper, "-P", "-t", "kcat-metadata", stdin=b"one\n")
    found = json.loads(kcat(doorkeeper, "-L", "-J"))
    assert [broker["id"] for broker in found["brokers"]] == [0]
    assert found["brokers"][0]["name"] == doorkeeper.bootstrap
    assert found["controllerid"] == 0
    (topic,) = [topic for topic in found["topics"] if topic["topic"] == "kcat-metadata"]
    assert topic["partitions"] == [{"partition": 0, "leader": 0, "replicas": [{"id": 0}], "isrs": [{"id": 0}]}]


@pytest.mark.parametrize("idempotence", [False, True], ids=["plain", "idempotent"])
@pytest.mark.parametrize("codec", wire.CODECS)
def test_produce_and_consume(doorkeeper, codec, idempotence):
    topic = f"kcat-{codec}-{'idempotent' if idempotence else 'plain'}"
    rows = [(f"key {n}", f"value {n} {'same again ' * 10}") for n in range(300)]
    kcat(
        doorkeeper, "-P", "-t", topic, "-K", "\t", "-z", codec, "-H", "from=kcat", "-H", "twice=1", "-H", "twice=2",
        "-X", f"enable.idempotence={str(idempotence).lower()}", "-X", "acks=all",
        stdin="".join(f"{key}\t{value}\n" for key, value in rows).encode(),
    )  # fmt: skip
    printed = kcat(doorkeeper, "-C", "-t", topic, "-p", 0, "-o", "beginning", "-e", "-q", "-J", "-X", "enable.auto.commit=false")
    records = [json.loads(line) for line in printed.splitlines()]
    assert [(record["key"], record["payload"]) for record in records] == rows
    assert [record["offset"] for record in records] == list(range(300))
    assert all(record["headers"] == ["from", "kcat", "twice", "1", "twice", "2"] for record in records)
    assert all(record["tstype"] == "create" and record["ts"] > 1_600_000_000_000 for record in records)
    batches = wire.stored_batches(doorkeeper.log_dir, topic)
    assert {batch["codec"] for batch in batches} == {wire.CODECS[codec]}
    assert all((batch["producer_id"] >= 0) == idempotence for batch in batches)


def test_offsets(doorkeeper):
    """From an offset, a number from the end, a time; and what the end is."""
    topic = "kcat-offsets"
    kcat(doorkeeper, "-P", "-t", topic, stdin=b"".join(b"%d\n" % n for n in range(100)))

    def read(*where):
        return kcat(doorkeeper, "-C", "-t", topic, "-p", 0, "-e", "-q", "-f", "%s ", *where).split()

    assert read("-o", "42") == [b"%d" % n for n in range(42, 100)]
    assert read("-o", "-5") == [b"%d" % n for n in range(95, 100)]
    assert read("-o", "s@1000") == [b"%d" % n for n in range(100)]
    assert read("-o", "end") == []
    assert b"offset 100" in kcat(doorkeeper, "-Q", "-t", f"{topic}:0:-1")
    assert b"offset 0" in kcat(doorkeeper, "-Q", "-t", f"{topic}:0:-2")
