"""Metadata: doorkeeper's answers beside those of Kafka 3.9.1 in ZooKeeper mode, field by field.

The same topics are made on both and the same requests sent to both. Ids of topics are compared as the
names they belong to; host, port and cluster id only by being there. Brokers, partitions and the topics
of one group are sorted; the order of the groups, of replicas and of the ISR must be equal.
"""

import itertools
import uuid

import pytest

import wire
from servers import Kafka, ZooKeeper, embedded, wait_for

VERSIONS = range(13)
UNKNOWN_TOPIC_ID = 100
TOPICS = {"one": 1, "three": 3, "with.dots-and_more": 2, "__consumer_offsets": 2}
LONGEST, TOO_LONG = "l" * 249, "l" * 250
UNKNOWN_ID = uuid.UUID("00000000-0000-4000-8000-00000000beef")
SWITCHED_OFF = {"auto.create.topics.enable": "false", "broker.rack": "here"}


@pytest.fixture(scope="module")
def pair(folder):
    """(Kafka, doorkeeper), both without auto-creation and with the same topics."""
    with (
        ZooKeeper(folder / "zookeeper") as zookeeper,
        Kafka(folder / "kafka", zookeeper.coordinator, configuration=SWITCHED_OFF) as kafka,
        embedded(folder / "doorkeeper", SWITCHED_OFF) as doorkeeper,
    ):
        for server in (kafka, doorkeeper):
            topics = [
                {"Name": name, "NumPartitions": count, "ReplicationFactor": 1, "Assignments": [], "Configs": []}
                for name, count in TOPICS.items()
            ]
            made = wire.ask(server.bootstrap, "CreateTopics", 5, {"Topics": topics, "timeoutMs": 20_000})
            assert [topic["ErrorCode"] for topic in made["Topics"]] == [0] * len(TOPICS), made
            wait_for(
                "every partition has a leader",
                lambda server=server: all(
                    partition["LeaderId"] == 0
                    for topic in everything(server)["Topics"]
                    for partition in topic["Partitions"]
                )
                and len(everything(server)["Topics"]) == len(TOPICS),
            )
        yield kafka, doorkeeper


def everything(server):
    return wire.ask(server.bootstrap, "Metadata", 12, {"Topics": None})


def ids(server):
    return {topic["Name"]: topic["TopicId"] for topic in everything(server)["Topics"]}


def group(topic):
    if topic["ErrorCode"] == UNKNOWN_TOPIC_ID:
        return "unknown ids"
    # LEADER_NOT_AVAILABLE of a topic, not of a partition, is one that was missing and is being made.
    return "found" if topic["ErrorCode"] == 0 else "missing"


def comparable(answer, names):
    """The answer without what may differ; `names` are the names of topic ids."""
    answer = dict(answer)
    for broker in answer["Brokers"]:
        assert broker.pop("Host") == "127.0.0.1"
        assert broker.pop("Port") > 0
    answer["Brokers"].sort(key=lambda broker: broker["NodeId"])
    if answer.get("ClusterId") is not None:
        assert len(answer.pop("ClusterId")) == 22
    for topic in answer["Topics"]:
        if "TopicId" in topic:
            topic["TopicId"] = names.get(topic["TopicId"], topic["TopicId"])
        topic["Partitions"].sort(key=lambda partition: partition["PartitionIndex"])
    answer["groups"] = [name for name, _ in itertools.groupby(answer["Topics"], group)]
    answer["Topics"].sort(key=lambda topic: (group(topic), str(topic["Name"]), str(topic.get("TopicId"))))
    return answer


def answer_of(server, version, request):
    """The comparable answer, or that the server hung up."""
    request = request(ids(server)) if callable(request) else request
    names = {topic_id: f"id of {name}" for name, topic_id in ids(server).items()}
    try:
        return comparable(wire.ask(server.bootstrap, "Metadata", version, request), names)
    except ConnectionError as error:
        return f"connection {error}"


def differences(left, right, path="answer"):
    """Where two decoded answers differ, a line each."""
    if type(left) is not type(right):
        return [f"{path}: Kafka {left!r}, doorkeeper {right!r}"]
    if isinstance(left, dict):
        keys = sorted(left.keys() | right.keys())
        return sum((differences(left.get(k), right.get(k), f"{path}.{k}") for k in keys), [])
    if isinstance(left, list) and len(left) == len(right):
        pairs = enumerate(zip(left, right, strict=True))
        return sum((differences(a, b, f"{path}[{i}]") for i, (a, b) in pairs), [])
    return [] if left == right else [f"{path}: Kafka {left!r}, doorkeeper {right!r}"]


def compare(pair, request, versions=VERSIONS):
    kafka, doorkeeper = pair
    found = []
    for version in versions:
        expected = answer_of(kafka, version, request)
        found += [f"v{version} {line}" for line in differences(expected, answer_of(doorkeeper, version, request))]
    assert not found, "\n".join(found)


def by_name(*names, **more):
    return {"Topics": [{"Name": name} for name in names], **more}


def by_id(*topic_ids):
    return {"Topics": [{"TopicId": topic_id, "Name": None} for topic_id in topic_ids]}


def test_all_topics(pair):
    compare(pair, {"Topics": []}, [0])
    compare(pair, {"Topics": None}, VERSIONS[1:])


def test_no_topics(pair):
    compare(pair, {"Topics": []}, VERSIONS[1:])


def test_known_topics(pair):
    compare(pair, by_name("three", "one"))
    compare(pair, by_name("__consumer_offsets"))


def test_unknown_topics(pair):
    compare(pair, by_name("nobody", "knows"))
    compare(pair, by_name(LONGEST))


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ä", "a\0b", TOO_LONG], ids=lambda name: ascii(name)[:20])
def test_invalid_name(pair, name):
    compare(pair, by_name(name))


def test_mixed_and_repeated_names(pair):
    compare(pair, by_name("nobody", "three", "a b", "one", "three", "nobody", "with.dots-and_more"))


def test_auto_creation_asked_for_but_off(pair):
    compare(pair, by_name("wished", AllowAutoTopicCreation=True), VERSIONS[4:])
    compare(pair, by_name("wished", AllowAutoTopicCreation=False), VERSIONS[4:])
    assert "wished" not in ids(pair[1])


def test_authorized_operations(pair):
    for cluster, topics in itertools.product((False, True), repeat=2):
        flags = {"IncludeTopicAuthorizedOperations": topics}
        compare(pair, by_name("one", "nobody", **flags), VERSIONS[8:])
        flags["IncludeClusterAuthorizedOperations"] = cluster
        compare(pair, by_name("one", "nobody", **flags), range(8, 11))
        compare(pair, {"Topics": None, **flags}, range(8, 11))


def test_by_id(pair):
    compare(pair, lambda known: by_id(known["three"]), [12])
    compare(pair, lambda known: by_id(known["three"], known["one"], known["three"]), [12])
    compare(pair, by_id(UNKNOWN_ID), [12])
    compare(pair, lambda known: by_id(known["one"], UNKNOWN_ID, known["three"]), [12])


def test_names_beside_ids_are_ignored(pair):
    compare(pair, lambda known: {"Topics": [{"TopicId": known["one"], "Name": "three"}, {"Name": "three"}]}, [12])
    compare(pair, {"Topics": [{"TopicId": UNKNOWN_ID, "Name": "three"}]}, [12])


def test_ids_before_version_12(pair):
    compare(pair, lambda known: by_id(known["one"]), [10, 11])
    compare(pair, lambda known: {"Topics": [{"TopicId": known["one"], "Name": "one"}]}, [10, 11])


def test_null_name_without_id(pair):
    requests = by_id(wire.ZERO_ID), {"Topics": [{"Name": "one"}, {"Name": None}]}
    for request in requests:
        compare(pair, request, [10, 11])
    # In version 12 Kafka 3.9.1 stumbles over its own null (UNKNOWN_SERVER_ERROR); ours says what is wrong.
    kafka, doorkeeper = pair
    for request in requests:
        for server, code in ((kafka, -1), (doorkeeper, 42)):
            answer = wire.ask(server.bootstrap, "Metadata", 12, request)
            assert {topic["ErrorCode"] for topic in answer["Topics"]} == {code}, answer


def test_version_13(pair):
    """Kafka 4's schema: as version 12, and a top-level error code at the end."""
    _, doorkeeper = pair
    known = ids(doorkeeper)
    for request in (
        {"Topics": None},
        {"Topics": []},
        by_name("three", "nobody", "a b", IncludeTopicAuthorizedOperations=True),
        by_id(known["one"], UNKNOWN_ID),
    ):
        try:
            newest = wire.ask(doorkeeper.bootstrap, "Metadata", 13, request)
        except ConnectionError:
            pytest.fail("version 13: the connection was closed")
        assert newest.pop("ErrorCode") == 0
        assert newest == wire.ask(doorkeeper.bootstrap, "Metadata", 12, request)


def test_auto_creation(folder, pair):
    """What is answered at first and in the end when a topic is made by asking for it."""
    del pair  # Two Kafka brokers at most: this one's servers are beside the module's own.
    outcomes = []
    with (
        ZooKeeper(folder / "zookeeper-auto") as zookeeper,
        Kafka(folder / "kafka-auto", zookeeper.coordinator, configuration={"num.partitions": "2"}) as kafka,
        embedded(folder / "doorkeeper-auto", {"num.partitions": "2"}) as doorkeeper,
    ):
        for server in (kafka, doorkeeper):
            outcome = {}
            for version in VERSIONS:
                request = by_name(f"made-{version}", f"also.made.{version}", "bad name")
                first = wire.ask(server.bootstrap, "Metadata", version, request)
                outcome[version, "first"] = comparable(first, {})

                def led(version=version, server=server):
                    # Without a wish for creation from 4 on: the first request alone must have made it.
                    wish = {"AllowAutoTopicCreation": False} if version >= 4 else {}
                    answer = wire.ask(server.bootstrap, "Metadata", version, by_name(f"made-{version}", **wish))
                    topic = answer["Topics"][0]
                    return not topic["ErrorCode"] and all(p["LeaderId"] == 0 for p in topic["Partitions"]) and answer

                made = wait_for(f"made-{version} has leaders", led, 15)
                names = {made["Topics"][0].get("TopicId"): "its id"}
                outcome[version, "then"] = comparable(made, names)
            for version in range(4, 13):
                request = by_name("never-made", AllowAutoTopicCreation=False)
                outcome[version, "not wished"] = comparable(wire.ask(server.bootstrap, "Metadata", version, request), {})
            # A name that collides with another but for dots and underscores.
            outcome["collision"] = comparable(wire.ask(server.bootstrap, "Metadata", 12, by_name("also_made_1")), {})
            outcomes.append(outcome)
    found = []
    for key, expected in outcomes[0].items():
        found += [f"{key} {line}" for line in differences(expected, outcomes[1][key])]
    assert not found, "\n".join(found)
