"""Raw answers of the metadata plane: every version of every API, of a gateway beside a broker's, field by field.

Brokers, partitions and the topics of one group are sorted; the order of the groups, of replicas, ISR and
offline replicas must be equal. Addresses count unless the gateway is a relay, which has its own.
"""

import itertools
import time
import uuid

import wire

UNKNOWN_ID = uuid.UUID("00000000-0000-4000-8000-00000000beef")
GROUPS = ["console", "", "a group", "äöü", "group-7", "zz" * 100]
NO_SUCH_TOPIC, BAD_NAME = "nobody-made-it", "bad name"


def by_name(names, **more):
    return {"Topics": [{"Name": name} for name in names], **more}


def by_id(ids):
    return {"Topics": [{"TopicId": topic_id, "Name": None} for topic_id in ids]}


def metadata_requests(ids):
    names = sorted(ids)
    some = [NO_SUCH_TOPIC, *names[:3], BAD_NAME, names[-1], names[0]]
    for version in range(13):
        yield version, {"Topics": None if version else []}
        yield version, by_name(some)
        if version >= 1:
            yield version, {"Topics": []}
        if version >= 4:
            yield version, by_name([NO_SUCH_TOPIC, "__share_group_state"], AllowAutoTopicCreation=False)
        if version >= 8:
            operations = {"IncludeTopicAuthorizedOperations": True}
            if version <= 10:
                operations["IncludeClusterAuthorizedOperations"] = True
            yield version, by_name(names[:2], **operations)
        if version == 12:
            yield version, by_id([ids[names[-1]], UNKNOWN_ID, ids[names[0]]])


def requests(ids):
    """(API, version, request) of all that is compared."""
    for version, request in metadata_requests(ids):
        yield "Metadata", version, request
    for version, operations in itertools.product((0, 1), (False, True)):
        yield "DescribeCluster", version, {"IncludeClusterAuthorizedOperations": operations}
    for kind in (2, 3):
        yield "DescribeCluster", 1, {"EndpointType": kind}
    for version in range(4):
        for key, kind in itertools.product(GROUPS[:3], (0, 1) if version else (0,)):
            yield "FindCoordinator", version, {"Key": key, **({"KeyType": kind} if version else {})}
    for version in range(4, 7):
        for kind in (0, 1):
            yield "FindCoordinator", version, {"CoordinatorKeys": GROUPS, "KeyType": kind}
        yield "FindCoordinator", version, {"CoordinatorKeys": [], "KeyType": 0}


def group(topic):
    return {0: "found", 29: "not allowed", 100: "unknown ids"}.get(topic["ErrorCode"], "missing")


def comparable(answer, relay):
    """The answer without its order where it means nothing, and without what a relay changes."""
    answer = dict(answer)
    answer.pop("ThrottleTimeMs", None)
    nodes = [*answer.get("Brokers", ()), *answer.get("Coordinators", ())]
    if "Host" in answer:
        nodes.append(answer)
    for node in nodes:
        if relay and node["Host"]:
            node["Host"], node["Port"] = "the relay's", 0
    if "Brokers" in answer:
        answer["Brokers"].sort(key=lambda broker: broker.get("NodeId", broker.get("BrokerId")))
    if "Topics" in answer:
        for topic in answer["Topics"]:
            topic["Partitions"].sort(key=lambda partition: partition["PartitionIndex"])
        answer["groups"] = [name for name, _ in itertools.groupby(answer["Topics"], group)]
        answer["Topics"].sort(key=lambda topic: (group(topic), str(topic["Name"]), str(topic.get("TopicId"))))
    return answer


def differences(broker, front, path="answer"):
    """Where two decoded answers differ, a line each."""
    if isinstance(broker, dict) and isinstance(front, dict):
        keys = sorted(broker.keys() | front.keys())
        return sum((differences(broker.get(k), front.get(k), f"{path}.{k}") for k in keys), [])
    if isinstance(broker, list) and isinstance(front, list) and len(broker) == len(front):
        pairs = enumerate(zip(broker, front, strict=True))
        return sum((differences(a, b, f"{path}[{i}]") for i, (a, b) in pairs), [])
    return [] if broker == front else [f"{path}: broker {broker!r}, gateway {front!r}"]


def ask(connection, api, version, request, relay):
    try:
        return comparable(connection.ask(api, version, request), relay)
    except ConnectionError as error:
        return f"connection {error}"


def topic_ids(connection):
    return {topic["Name"]: topic["TopicId"] for topic in connection.ask("Metadata", 12, {"Topics": None})["Topics"]}


def compare(broker, front, relay=False, connect=wire.Connection, ids=None):
    """Lines of what differs between the answers at two addresses; `ids` are topics to ask for, those
    that are seen if not given."""
    found = []
    with connect(broker) as left, connect(front) as right:
        ids = ids or topic_ids(left)
        for api, version, request in requests(ids):
            expected = ask(left, api, version, request, relay)
            answered = ask(right, api, version, request, relay)
            lines = differences(expected, answered)
            found += [f"{api} v{version} {request}: {line}" for line in lines[:5]]
            if isinstance(expected, str) or isinstance(answered, str):
                break
    return found


def same(cluster, fronts, seconds=30):
    """The gateways answer as the brokers do, once these agree with each other."""
    deadline = time.monotonic() + seconds
    while True:
        cluster.settle()
        found = []
        for name, listener, front, relay in fronts:
            broker = next(broker for broker in cluster.live.values() if broker.listens(listener))
            address = broker.outside if listener == "OUTSIDE" else broker.bootstrap
            found += [f"{name}, {line}" for line in compare(address, front, relay)]
        if not found:
            return
        assert time.monotonic() < deadline, "\n".join(found[:20])
        time.sleep(0.2)
