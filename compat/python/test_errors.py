"""Answers to unusual requests: doorkeeper's error codes beside those of Kafka 3.9.1 in ZooKeeper mode.

Every case is one raw request to both; the answers are compared field by field, but for what is named
in `IGNORED` (ids, times, addresses, texts for people).
"""

import struct
import uuid

import pytest

import wire
from servers import Kafka, ZooKeeper, embedded, wait_for
from test_metadata import differences
from wire import START

IGNORED = {"ErrorMessage", "TopicId", "ThrottleTimeMs", "LogAppendTimeMs", "ClusterId", "Host", "Port", "ProducerId", "MaxTimestamp", "ClusterAuthorizedOperations"}
UNKNOWN_ID = uuid.UUID("00000000-0000-4000-8000-00000000beef")
SETTINGS = {"auto.create.topics.enable": "false", "num.partitions": "2"}


@pytest.fixture(scope="module")
def pair(folder):
    with (
        ZooKeeper(folder / "zookeeper") as zookeeper,
        Kafka(folder / "kafka", zookeeper.coordinator, configuration=SETTINGS) as kafka,
        embedded(folder / "doorkeeper", SETTINGS) as doorkeeper,
    ):
        for server in (kafka, doorkeeper):
            topic = {"Name": "data", "NumPartitions": 2, "ReplicationFactor": 1}
            assert wire.ask(server.bootstrap, "CreateTopics", 5, {"Topics": [topic], "timeoutMs": 20_000})["Topics"][0]["ErrorCode"] == 0
            led(server, "data")
            for number in range(3):
                values = [b"%d" % (number * 10 + n) for n in range(10)]
                batch = wire.record_batch(values, START + number * 1000)
                answer = wire.ask(server.bootstrap, "Produce", 7, produce_request("data", batch))
                assert answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"] == 0
        yield kafka, doorkeeper


def led(server, topic):
    def has_leaders():
        found = wire.ask(server.bootstrap, "Metadata", 5, {"Topics": [{"Name": topic}], "AllowAutoTopicCreation": False})["Topics"][0]
        return not found["ErrorCode"] and all(p["LeaderId"] == 0 for p in found["Partitions"])

    wait_for(f"{topic} has leaders", has_leaders)


def produce_request(topic, batch, partition=0, **more):
    return {"Acks": -1, "TimeoutMs": 5000, "TopicData": [{"Name": topic, "PartitionData": [{"Index": partition, "Records": batch}]}], **more}


def strip(value):
    if isinstance(value, dict):
        return {key: strip(item) for key, item in value.items() if key not in IGNORED}
    if isinstance(value, list):
        items = [strip(item) for item in value]
        return sorted(items, key=repr) if items and isinstance(items[0], dict) else items
    return value


def answer(server, api, version, request):
    request = request(server) if callable(request) else request
    try:
        return strip(wire.ask(server.bootstrap, api, version, request))
    except ConnectionError as error:
        return f"connection {error}"


def compare(pair, api, versions, *requests):
    kafka, doorkeeper = pair
    found = []
    for version in versions:
        for number, request in enumerate(requests):
            expected = answer(kafka, api, version, request)
            found += [f"{api} v{version} request {number}: {line}" for line in differences(expected, answer(doorkeeper, api, version, request))]
    assert not found, "\n".join(found)


def topic_id(server, topic="data"):
    return wire.ask(server.bootstrap, "Metadata", 12, {"Topics": [{"Name": topic}]})["Topics"][0]["TopicId"]


def creation(name, **fields):
    return {"Topics": [{"Name": name, "NumPartitions": 1, "ReplicationFactor": 1, **fields}], "timeoutMs": 10_000}


def test_where_kafka_knows_no_better(pair):
    """Kafka makes a topic on a broker that is not there, and fails itself on an unknown operation."""
    doorkeeper = pair[1]
    for brokers in ([5], []):
        nowhere = {"NumPartitions": -1, "ReplicationFactor": -1, "Assignments": [{"PartitionIndex": 0, "BrokerIds": brokers}]}
        answer = wire.ask(doorkeeper.bootstrap, "CreateTopics", 5, creation("nowhere", **nowhere))
        assert answer["Topics"][0]["ErrorCode"] == 39
    change = {"ResourceType": 2, "ResourceName": "data", "Configs": [{"Name": "retention.ms", "ConfigOperation": 9, "Value": "1"}]}
    answer = wire.ask(doorkeeper.bootstrap, "IncrementalAlterConfigs", 1, {"Resources": [change]})
    assert answer["Responses"][0]["ErrorCode"] == 42


def test_create_topics(pair):
    def config(**values):
        return [{"Name": name.replace("_", "."), "Value": value} for name, value in values.items()]

    def assigned(*pairs):
        return {"NumPartitions": -1, "ReplicationFactor": -1, "Assignments": [{"PartitionIndex": index, "BrokerIds": list(ids)} for index, ids in pairs]}

    compare(
        pair, "CreateTopics", range(2, 8),
        creation("data"), creation("not valid"), creation(""), creation("."), creation("x" * 250),
        creation("zero", NumPartitions=0), creation("negative", NumPartitions=-2), creation("none", ReplicationFactor=0), creation("negative", ReplicationFactor=-2),
        creation("two", ReplicationFactor=2),
        creation("config", Configs=config(no_such_key="1")), creation("config", Configs=config(retention_ms="soon")),
        creation("config", Configs=config(retention_ms="-2")), creation("config", Configs=config(cleanup_policy="shred")),
        creation("config", Configs=config(segment_bytes="1")), creation("config", Configs=[{"Name": "retention.ms", "Value": None}]),
        creation("assigned", **assigned((1, [0]))), creation("assigned", **assigned((0, [0, 0]))),
        creation("assigned", Assignments=[{"PartitionIndex": 0, "BrokerIds": [0]}]),
        {"Topics": [{"Name": "twice", "NumPartitions": 1, "ReplicationFactor": 1}] * 2, "timeoutMs": 10_000},
        {"Topics": [], "timeoutMs": 10_000},
    )  # fmt: skip


def test_create_topics_that_succeed(pair):
    for version in range(2, 8):
        dry = {**creation(f"dry-{version}"), "validateOnly": True}
        both = {"Topics": [{"Name": f"made-{version}", "NumPartitions": 3, "ReplicationFactor": 1, "Configs": [{"Name": "retention.ms", "Value": "5000"}]}, {"Name": "data", "NumPartitions": 1, "ReplicationFactor": 1}], "timeoutMs": 10_000}
        compare(pair, "CreateTopics", [version], dry, both)
        if version >= 4:
            compare(pair, "CreateTopics", [version], creation(f"defaults-{version}", NumPartitions=-1, ReplicationFactor=-1))
        compare(pair, "CreateTopics", [version], creation(f"made_{version}.x"), creation(f"made.{version}_x"))
        for server in pair:
            led(server, f"made-{version}")


def test_delete_topics(pair):
    compare(pair, "DeleteTopics", range(1, 6), {"TopicNames": ["nobody"], "TimeoutMs": 10_000}, {"TopicNames": ["not valid"], "TimeoutMs": 10_000}, {"TopicNames": [], "TimeoutMs": 10_000})
    compare(
        pair, "DeleteTopics", [6],
        {"Topics": [{"Name": "nobody"}], "TimeoutMs": 10_000},
        {"Topics": [{"Name": None, "TopicId": UNKNOWN_ID}], "TimeoutMs": 10_000},
        lambda server: {"Topics": [{"Name": "data", "TopicId": topic_id(server)}], "TimeoutMs": 10_000},
        {"Topics": [{"Name": None, "TopicId": wire.ZERO_ID}], "TimeoutMs": 10_000},
    )  # fmt: skip
    for version in (1, 5, 6):
        compare(pair, "CreateTopics", [5], creation(f"gone-{version}"))
        for server in pair:
            led(server, f"gone-{version}")
        name = f"gone-{version}"
        request = {"TopicNames": [name], "TimeoutMs": 10_000} if version < 6 else (lambda server, name=name: {"Topics": [{"Name": None, "TopicId": topic_id(server, name)}], "TimeoutMs": 10_000})
        compare(pair, "DeleteTopics", [version], request)


def test_create_partitions(pair):
    def grown(name, count, assignments=None, **more):
        return {"Topics": [{"Name": name, "Count": count, "Assignments": assignments}], "TimeoutMs": 10_000, **more}

    compare(
        pair, "CreatePartitions", range(4),
        grown("nobody", 3), grown("data", 2), grown("data", 1), grown("data", 0), grown("data", -1),
        grown("data", 3, [{"BrokerIds": [0]}], ValidateOnly=True), grown("data", 3, [{"BrokerIds": [5]}]), grown("data", 3, [{"BrokerIds": [0, 0]}]),
        grown("data", 4, [{"BrokerIds": [0]}]), grown("data", 3, ValidateOnly=True),
        {"Topics": [{"Name": "data", "Count": 3, "Assignments": None}] * 2, "TimeoutMs": 10_000},
    )  # fmt: skip


def test_describe_configs(pair):
    def of(kind, name, keys=None):
        return {"Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys}]}

    keys = ["retention.ms", "segment.bytes", "max.message.bytes", "cleanup.policy", "retention.bytes", "compression.type", "message.timestamp.type", "min.insync.replicas", "flush.messages"]
    compare(pair, "DescribeConfigs", range(1, 5), of(2, "data", keys), of(2, "nobody"), of(2, "not valid"), of(2, "data", []), of(2, "data", ["no.such.key"]), of(4, "5"), of(4, "x"), of(99, "x"), of(2, ""))
    kafka, doorkeeper = pair
    for kind, name in ((2, "data"),):
        theirs, ours = (
            {config["Name"]: config for config in wire.ask(server.bootstrap, "DescribeConfigs", 4, of(kind, name))["Results"][0]["Configs"]}
            for server in (kafka, doorkeeper)
        )  # fmt: skip
        assert sorted(theirs) == sorted(ours)
        wrong = [f"{key}: Kafka {theirs[key]['Value']!r}, doorkeeper {ours[key]['Value']!r}" for key in theirs if theirs[key]["Value"] != ours[key]["Value"]]
        assert not wrong, wrong


def test_alter_configs(pair):
    def change(*operations, kind=2, name="data", **more):
        return {"Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": [{"Name": key, "ConfigOperation": operation, "Value": value} for key, operation, value in operations]}], **more}

    SET, DELETE, APPEND, SUBTRACT = range(4)
    compare(
        pair, "IncrementalAlterConfigs", range(2),
        change(("retention.ms", SET, "soon")), change(("no.such.key", SET, "1")), change(("retention.ms", SET, None)), change(("retention.ms", APPEND, "1")),
        change(("retention.ms", SET, "1"), ("retention.ms", SET, "2")),
        change(("retention.ms", SET, "77"), name="nobody"), change(("retention.ms", SET, "77"), name="not valid"), change(("retention.ms", SET, "77"), name=""),
        change(("retention.ms", SET, "77"), ValidateOnly=True), change(("retention.ms", SET, "77")), change(("retention.ms", DELETE, None)),
        change(("cleanup.policy", SUBTRACT, "delete"), ValidateOnly=True), change(("log.retention.ms", SET, "x"), kind=4, name="0"),
        change(("broker.id", SET, "5"), kind=4, name="0"), change(("log.retention.ms", SET, "1"), kind=4, name="77"), change(("x", SET, "1"), kind=99, name="0"),
    )  # fmt: skip

    def replace(*values, kind=2, name="data", **more):
        return {"Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": [{"Name": key, "Value": value} for key, value in values]}], **more}

    compare(
        pair, "AlterConfigs", range(3),
        replace(("retention.ms", "soon")), replace(("no.such.key", "1")), replace(("retention.ms", None)), replace(("retention.ms", "1"), name="nobody"),
        replace(("retention.ms", "5000"), ValidateOnly=True), replace(("retention.ms", "5000")), replace(),
    )  # fmt: skip
    keys = {"Resources": [{"ResourceType": 2, "ResourceName": "data", "ConfigurationKeys": ["retention.ms"]}]}
    compare(pair, "DescribeConfigs", [4], keys)


def test_list_offsets(pair):
    def at(timestamp, topic="data", partition=0, epoch=-1, **more):
        return {"ReplicaId": -1, "IsolationLevel": 0, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": partition, "CurrentLeaderEpoch": epoch, "Timestamp": timestamp}]}], **more}

    def plain(timestamp, topic="data", partition=0):
        return {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": partition, "Timestamp": timestamp}]}]}

    times = (-1, -2, 0, START, START + 1, START + 1000, START + 1001, START + 2000, START + 2001)
    compare(pair, "ListOffsets", [1], *(plain(time) for time in times), plain(-1, "nobody"), plain(-1, partition=7), plain(-1, partition=1))
    compare(pair, "ListOffsets", range(4, 10), *(at(time) for time in times), at(-1, "nobody"), at(-1, partition=7), at(0, partition=1), at(-1, epoch=0), at(-1, epoch=5))
    compare(pair, "ListOffsets", range(7, 10), at(-3), at(-3, partition=1))
    repeated = at(-1)
    repeated["Topics"][0]["Partitions"] *= 2
    compare(pair, "ListOffsets", range(4, 10), repeated)


def fetch_request(partition=0, topic="data", offset=0, epoch=-1, wait=0, most=1 << 20, identity=None, **more):
    name = {"TopicId": identity} if identity is not None else {"Topic": topic}
    request = {"MaxWaitMs": wait, "MinBytes": 1, "MaxBytes": 1 << 20, "SessionEpoch": -1, "Topics": [{**name, "Partitions": [{"Partition": partition, "CurrentLeaderEpoch": epoch, "FetchOffset": offset, "PartitionMaxBytes": most}]}]}
    request.update(more)
    return request


def for_version(request, version):
    """The request without the fields that the version does not have."""
    fields = {f["name"]: f for f in wire.schema("FetchRequest")["fields"]}
    partition = next(f for f in fields["Topics"]["fields"] if f["name"] == "Partitions")["fields"]
    trimmed = {key: value for key, value in request.items() if wire._includes(fields[key]["versions"], version)}
    for topic in trimmed["Topics"]:
        for item in topic["Partitions"]:
            for f in partition:
                if f["name"] in item and not wire._includes(f["versions"], version):
                    del item[f["name"]]
    return trimmed


def test_fetch(pair):
    for version in range(4, 13):
        compare(
            pair, "Fetch", [version],
            *(for_version(request, version) for request in (
                fetch_request(), fetch_request(offset=10), fetch_request(offset=15), fetch_request(offset=30), fetch_request(offset=31), fetch_request(offset=-1),
                fetch_request(topic="nobody"), fetch_request(partition=7), fetch_request(partition=1), fetch_request(most=1), fetch_request(most=100), fetch_request(most=0),
                fetch_request(MaxBytes=1), fetch_request(IsolationLevel=1),
            )),
        )  # fmt: skip
        if version >= 9:
            compare(pair, "Fetch", [version], fetch_request(epoch=0), fetch_request(epoch=5))
    for version in range(13, 18):
        def by_id(server, version=version, **fields):
            return for_version(fetch_request(identity=topic_id(server), **fields), version)

        compare(
            pair, "Fetch", [version],
            by_id, lambda server: by_id(server, offset=20), lambda server: by_id(server, offset=31), lambda server: by_id(server, partition=7), lambda server: by_id(server, epoch=5),
            for_version(fetch_request(identity=UNKNOWN_ID), version), for_version(fetch_request(identity=wire.ZERO_ID), version),
        )  # fmt: skip


def test_produce(pair):
    good = wire.record_batch([b"x"] * 3, START + 5000)
    bad_crc = good[:-1] + bytes([good[-1] ^ 1])
    old_magic = good[:16] + b"\1" + good[17:]
    unknown_magic = good[:16] + b"\7" + good[17:]
    too_short = good[:40]
    count = good[:57] + struct.pack(">i", 5) + good[61:]
    wrong_count = count[:17] + struct.pack(">I", wire.crc32c(count[21:])) + count[21:]
    requests = [
        produce_request("nobody", good), produce_request("data", good, 7), produce_request("data", bad_crc, 1), produce_request("data", old_magic, 1),
        produce_request("data", unknown_magic, 1), produce_request("data", too_short, 1), produce_request("data", b"", 1), produce_request("data", wrong_count, 1),
        produce_request("data", good + good, 1), produce_request("data", good, 1, Acks=2), produce_request("data", good, 1, Acks=1),
    ]  # fmt: skip
    compare(pair, "Produce", [3, 7, 8, 9, 11], *requests)
    compare(pair, "Produce", [7], produce_request("data", wire.record_batch([b"z" * 1_100_000]), 1))
    compare(pair, "Fetch", [4], for_version(fetch_request(partition=1), 4))


def test_idempotent_produce(pair):
    pids = {}
    for server in pair:

        def first(server=server):
            made = wire.ask(server.bootstrap, "InitProducerId", 4, {"TransactionalId": None, "TransactionTimeoutMs": 60_000})
            # A broker whose first block of ids is on its way: COORDINATOR_LOAD_IN_PROGRESS.
            return None if made["ErrorCode"] == 14 else made

        made = wait_for("a producer id", first)
        assert made["ErrorCode"] == 0 and made["ProducerEpoch"] == 0
        pids[server] = made["ProducerId"]

    def batch(sequence, epoch=0, count=2):
        return lambda server: produce_request("data", wire.record_batch([b"i"] * count, START + 9000, pids[server], epoch, sequence), 1)

    compare(
        pair, "Produce", [9],
        batch(0), batch(0), batch(2), batch(2), batch(0), batch(7), batch(4), batch(6), batch(8), batch(10), batch(0), batch(12, epoch=1), batch(0, epoch=1), batch(2, epoch=0), batch(2, epoch=1),
    )  # fmt: skip
    compare(pair, "InitProducerId", range(5), {"TransactionalId": None, "TransactionTimeoutMs": 60_000})
    for fields in ({"ProducerId": 5, "ProducerEpoch": -1}, {"ProducerId": -1, "ProducerEpoch": 5}):
        compare(pair, "InitProducerId", [3, 4], {"TransactionalId": None, "TransactionTimeoutMs": 60_000, **fields})


def test_offset_for_leader_epoch(pair):
    def of(epoch, topic="data", partition=0, current=-1):
        return {"Topics": [{"Topic": topic, "Partitions": [{"Partition": partition, "CurrentLeaderEpoch": current, "LeaderEpoch": epoch}]}]}

    compare(pair, "OffsetForLeaderEpoch", range(2, 5), of(0), of(5), of(-1), of(0, "nobody"), of(0, partition=7), of(0, current=5), of(0, current=0))


def test_delete_records(pair):
    def upto(offset, topic="data", partition=0):
        return {"Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": partition, "Offset": offset}]}], "TimeoutMs": 5000}

    compare(pair, "DeleteRecords", range(3), upto(0), upto(31), upto(-2), upto(1, "nobody"), upto(1, partition=7), upto(5), upto(3), upto(5))
    compare(pair, "ListOffsets", [4], {"ReplicaId": -1, "Topics": [{"Name": "data", "Partitions": [{"PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": -2}]}]})
    compare(pair, "Fetch", [4], for_version(fetch_request(offset=2), 4), for_version(fetch_request(offset=5), 4))


def test_describe_cluster_and_producers(pair):
    compare(pair, "DescribeCluster", range(2), {}, {"IncludeClusterAuthorizedOperations": False})
    compare(pair, "DescribeCluster", [1], {"EndpointType": 1}, {"EndpointType": 2}, {"EndpointType": 9})
    compare(pair, "DescribeProducers", [0], {"Topics": [{"Name": "nobody", "PartitionIndexes": [0]}]}, {"Topics": [{"Name": "data", "PartitionIndexes": [0, 7]}]})


def test_api_versions(pair):
    """A version of ApiVersions from the future; and whatever we advertise Kafka 3.9 or 4.1 does too."""
    for server in pair:
        with wire.Connection(server.bootstrap) as connection:
            header = struct.pack(">hhih", 18, 99, 7, -1) + b"\0"
            connection.socket.sendall(struct.pack(">i", len(header)) + header)
            frame = connection.receive_frame()
            decoded = wire.decode("ApiVersionsResponse", 0, frame[4:])
            assert decoded["ErrorCode"] == 35
            assert [(a["MinVersion"], a["MaxVersion"]) for a in decoded["ApiKeys"] if a["ApiKey"] == 18] == [(0, 4)]
    kafka, doorkeeper = pair
    names = {"ClientSoftwareName": "not valid!", "ClientSoftwareVersion": "1"}
    codes = [wire.ask(server.bootstrap, "ApiVersions", 3, names)["ErrorCode"] for server in pair]
    assert codes[0] == codes[1] == 42
    theirs, ours = (
        {a["ApiKey"]: (a["MinVersion"], a["MaxVersion"]) for a in wire.ask(server.bootstrap, "ApiVersions", 3, {"ClientSoftwareName": "compat", "ClientSoftwareVersion": "1"})["ApiKeys"]}
        for server in pair
    )  # fmt: skip
    wider = {key: (ours[key], theirs[key]) for key in ours.keys() & theirs.keys() if ours[key][0] < theirs[key][0]}
    assert not wider


def test_unusual_frames(pair):
    """An unknown API, an unsupported version, a frame cut short or too long: how the connection ends."""
    frames = {
        "unknown api": struct.pack(">hhih", 999, 0, 1, -1),
        "unsupported version": struct.pack(">hhih", 3, 99, 1, -1),
        "truncated body": struct.pack(">hhih", 3, 1, 1, -1) + b"\0\0",
        "count beyond the body": struct.pack(">hhih", 3, 1, 1, -1) + b"\x7f\xff\xff\xff",
        "header cut short": b"\0\3\0",
        "empty": b"",
    }
    found = []
    for name, frame in frames.items():
        outcomes = []
        for server in pair:
            with wire.Connection(server.bootstrap, timeout=5) as connection:
                connection.socket.sendall(struct.pack(">i", len(frame)) + frame)
                try:
                    outcomes.append(len(connection.receive_frame()))
                except (ConnectionError, TimeoutError) as error:
                    outcomes.append(repr(error))
        if outcomes[0] != outcomes[1]:
            found.append(f"{name}: Kafka {outcomes[0]}, doorkeeper {outcomes[1]}")
    for length in (-1, 0x7FFFFFFF, 104_857_601):
        for server in pair:
            with wire.Connection(server.bootstrap, timeout=5) as connection:
                connection.socket.sendall(struct.pack(">i", length))
                with pytest.raises(ConnectionError):
                    connection.receive_frame()
    assert not found, "\n".join(found)
