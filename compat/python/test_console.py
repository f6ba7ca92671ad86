"""Kafka's own tools of 3.9.1 and 4.1.0, unmodified: what comes back is what was sent."""

import json
import re

import pytest

import wire
from servers import wait_for
from tools import VERSIONS, run

every_version = pytest.mark.parametrize("version", VERSIONS)


def consume(server, version, topic, count, *more, partition=0):
    return run(
        version, "console-consumer", "--bootstrap-server", server.bootstrap, "--topic", topic, "--partition", partition,
        "--offset", "earliest", "--max-messages", count, "--timeout-ms", 15_000, *more,
    )  # fmt: skip


def produce(server, version, topic, lines, *more):
    run(
        version, "console-producer", "--bootstrap-server", server.bootstrap, "--topic", topic, *more,
        stdin="".join(f"{line}\n" for line in lines).encode(),
    )  # fmt: skip


@every_version
def test_producer_and_consumer(doorkeeper, version):
    """To a topic that nobody made; keys, headers and text of every alphabet."""
    topic = f"hello-{version}"
    rows = [f"from:here,number:{n}\tkey {n}\tvalue {n} äöü 日本 {'x' * (n % 300)}" for n in range(500)]
    rows.append("from:here\tempty value\t")
    produce(
        doorkeeper, version, topic, rows,
        "--property", "parse.key=true", "--property", "parse.headers=true",
    )  # fmt: skip
    printed = consume(
        doorkeeper, version, topic, len(rows),
        "--property", "print.key=true", "--property", "print.headers=true",
        "--property", "print.timestamp=true", "--property", "print.offset=true", "--property", "print.partition=true",
    )  # fmt: skip
    found = []
    for number, line in enumerate(printed.splitlines()):
        match = re.fullmatch(r"CreateTime:(\d{13})\tPartition:0\tOffset:(\d+)\t(.*)", line)
        assert match, line
        assert int(match[2]) == number
        found.append(match[3])
    assert found == rows


@every_version
def test_codecs(doorkeeper, version):
    """Each codec of the producer is in the stored batches, and all are read back in one go."""
    topic = f"codecs-{version}"
    sent = []
    for codec in wire.CODECS:
        lines = [f"{codec} {n} {'compressible ' * 20}" for n in range(100)]
        produce(doorkeeper, version, topic, lines, "--compression-codec", codec)
        sent += lines
    assert consume(doorkeeper, version, topic, len(sent)).splitlines() == sent
    batches = wire.stored_batches(doorkeeper.log_dir, topic)
    stored = {}
    for batch in batches:
        codec = sent[batch["offset"]].split()[0]
        stored.setdefault(codec, set()).add(batch["codec"])
        assert batch["producer_id"] >= 0, "the Java producer is idempotent unless told otherwise"
    assert stored == {name: {number} for name, number in wire.CODECS.items()}


@every_version
def test_topics(doorkeeper, version):
    topic, server = f"managed-{version}", ("--bootstrap-server", doorkeeper.bootstrap)
    made = run(version, "topics", *server, "--create", "--topic", topic, "--partitions", 3, "--replication-factor", 1, "--config", "retention.ms=86400000")
    assert f"Created topic {topic}." in made
    again = run(version, "topics", *server, "--create", "--topic", topic, fails=True)
    assert "already exists" in again
    run(version, "topics", *server, "--create", "--topic", topic, "--if-not-exists")
    too_many = run(version, "topics", *server, "--create", "--topic", f"{topic}-x", "--replication-factor", 2, fails=True)
    assert "InvalidReplicationFactorException" in too_many, too_many
    described = run(version, "topics", *server, "--describe", "--topic", topic)
    assert re.search(rf"Topic: {topic}\tTopicId: [\w-]{{22}}\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: .*retention.ms=86400000", described), described
    for partition in range(3):
        assert re.search(rf"Topic: {topic}\tPartition: {partition}\s+Leader: 0\s+Replicas: 0\s+Isr: 0", described), described
    run(version, "topics", *server, "--alter", "--topic", topic, "--partitions", 5)
    assert "PartitionCount: 5" in run(version, "topics", *server, "--describe", "--topic", topic)
    fewer = run(version, "topics", *server, "--alter", "--topic", topic, "--partitions", 2, fails=True)
    assert "InvalidPartitionsException" in fewer, fewer
    assert topic in run(version, "topics", *server, "--list").splitlines()
    run(version, "topics", *server, "--delete", "--topic", topic)
    wait_for(
        f"{topic} is gone",
        lambda: wire.ask(doorkeeper.bootstrap, "Metadata", 4, {"Topics": [{"Name": topic}], "AllowAutoTopicCreation": False})["Topics"][0]["ErrorCode"] == 3,
    )
    assert topic not in run(version, "topics", *server, "--list").splitlines()
    wait_for(f"the logs of {topic} are gone", lambda: not list(doorkeeper.log_dir.glob(f"{topic}-?")), 90)


@every_version
def test_configs(doorkeeper, version):
    topic, server = f"configured-{version}", ("--bootstrap-server", doorkeeper.bootstrap)
    entity = ("--entity-type", "topics", "--entity-name", topic)
    run(version, "topics", *server, "--create", "--topic", topic)
    run(version, "configs", *server, *entity, "--alter", "--add-config", "retention.ms=3600000,max.message.bytes=2000")
    described = run(version, "configs", *server, *entity, "--describe")
    assert "retention.ms=3600000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=3600000" in described, described
    assert "max.message.bytes=2000" in described
    everything = run(version, "configs", *server, *entity, "--describe", "--all")
    assert "cleanup.policy=delete" in everything and "segment.bytes=1073741824" in everything, everything
    wrong = run(version, "configs", *server, *entity, "--alter", "--add-config", "retention.ms=soon", fails=True)
    assert "InvalidConfigurationException" in wrong or "Invalid value" in wrong, wrong
    unknown = run(version, "configs", *server, *entity, "--alter", "--add-config", "no.such.key=1", fails=True)
    assert "InvalidConfigurationException" in unknown or "Unknown topic config" in unknown, unknown
    # What is altered takes effect: a record above max.message.bytes is refused.
    refused = wire.ask(doorkeeper.bootstrap, "Produce", 7, {
        "Acks": -1, "TimeoutMs": 1000,
        "TopicData": [{"Name": topic, "PartitionData": [{"Index": 0, "Records": wire.record_batch([b"x" * 2000])}]}],
    })  # fmt: skip
    assert refused["Responses"][0]["PartitionResponses"][0]["ErrorCode"] == 10
    run(version, "configs", *server, *entity, "--alter", "--delete-config", "retention.ms,max.message.bytes")
    assert "retention.ms" not in run(version, "configs", *server, *entity, "--describe")
    broker = ("--entity-type", "brokers", "--entity-name", "0")
    run(version, "configs", *server, *broker, "--alter", "--add-config", "log.retention.ms=7200000")
    described = run(version, "configs", *server, *broker, "--describe")
    assert "log.retention.ms=7200000" in described, described
    run(version, "configs", *server, *broker, "--alter", "--delete-config", "log.retention.ms")


@every_version
def test_perf_test_and_offsets(doorkeeper, version):
    topic, server = f"fast-{version}", ("--bootstrap-server", doorkeeper.bootstrap)
    run(version, "topics", *server, "--create", "--topic", topic, "--config", "segment.bytes=1048576", "--config", "index.interval.bytes=4096")
    said = run(version, "producer-perf-test", "--topic", topic, "--num-records", 30_000, "--record-size", 100, "--throughput", -1, "--producer-props", f"bootstrap.servers={doorkeeper.bootstrap}")
    assert said.strip().splitlines()[-1].startswith("30000 records sent"), said
    assert f"{topic}:0:30000" in run(version, "get-offsets", *server, "--topic", topic)
    assert f"{topic}:0:0" in run(version, "get-offsets", *server, "--topic", topic, "--time", "earliest")
    lines = consume(doorkeeper, version, topic, 30_000).splitlines()
    assert len(lines) == 30_000 and {len(line) for line in lines} == {100}
    batches = wire.stored_batches(doorkeeper.log_dir, topic)
    assert sum(batch["count"] for batch in batches) == 30_000
    assert [batch["offset"] for batch in batches[1:]] == [batch["offset"] + batch["count"] for batch in batches[:-1]]
    assert len(list((doorkeeper.log_dir / f"{topic}-0").glob("*.log"))) >= 3, "a segment is 1 MiB"


@every_version
def test_other_tools(doorkeeper, version, folder):
    topic, server = f"other-{version}", ("--bootstrap-server", doorkeeper.bootstrap)
    run(version, "topics", *server, "--create", "--topic", topic)
    produce(doorkeeper, version, topic, [f"line {n}" for n in range(10)])
    wanted = folder / f"delete-{version}.json"
    wanted.write_text(json.dumps({"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 4}]}))
    assert "low_watermark: 4" in run(version, "delete-records", *server, "--offset-json-file", wanted)
    assert consume(doorkeeper, version, topic, 6).splitlines() == [f"line {n}" for n in range(4, 10)]
    logs = json.loads(run(version, "log-dirs", *server, "--describe", "--topic-list", topic).splitlines()[-1])
    (broker,) = logs["brokers"]
    (directory,) = broker["logDirs"]
    assert directory["error"] is None
    (partition,) = directory["partitions"]
    assert partition["partition"] == f"{topic}-0" and partition["size"] > 0 and partition["offsetLag"] == 0
    assert re.search(r"Cluster ID: [\w-]{22}", run(version, "cluster", "cluster-id", *server))
    assert "Metadata(3): 0 to 1" in run(version, "broker-api-versions", *server)


def test_dump_log_segments(doorkeeper):
    """After a clean stop, Kafka's checks find nothing wrong in our logs and indexes; a start serves them again."""
    doorkeeper.stop()
    for version in VERSIONS:
        topic = f"fast-{version}"
        directory = doorkeeper.log_dir / f"{topic}-0"
        files = {kind: ",".join(str(file) for file in sorted(directory.glob(f"*.{kind}"))) for kind in ("log", "index", "timeindex")}
        said = run(version, "dump-log", "--deep-iteration", "--files", files["log"])
        assert "isvalid: false" not in said
        assert said.count("isvalid: true") == len(wire.stored_batches(doorkeeper.log_dir, topic))
        assert len(re.findall(r"^\| offset: \d+ ", said, flags=re.M)) == 30_000, said[:2000]
        for kind, flags in (("index", ["--index-sanity-check"]), ("index", ["--verify-index-only"]), ("timeindex", ["--index-sanity-check"]), ("timeindex", [])):
            said = run(version, "dump-log", *flags, "--files", files[kind])
            assert not re.search("Mismatch|mismatch|Indexed offset|out of order|Found", said), said[-3000:]
            if flags == ["--index-sanity-check"]:
                assert said.count("passed sanity check") == len(files[kind].split(",")), said
        codecs = ",".join(str(file) for file in (doorkeeper.log_dir / f"codecs-{version}-0").glob("*.log"))
        said = run(version, "dump-log", "--print-data-log", "--files", codecs)
        assert len(re.findall("payload: (none|gzip|snappy|lz4|zstd) ", said)) == 500, said[:2000]
    doorkeeper.start()
    for version in VERSIONS:
        assert f"fast-{version}:0:30000" in run(version, "get-offsets", "--bootstrap-server", doorkeeper.bootstrap, "--topic", f"fast-{version}")
