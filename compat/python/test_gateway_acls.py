"""A gateway before a Kafka 3.9.1 broker with AclAuthorizer: what each user is told, field by field as the broker tells it.

ACLs are made and taken away through the broker's own admin API while everybody stays connected: users that logged
in with SASL PLAIN on one listener, nobody in particular on another.
"""

import collections
import os
import pathlib
import re
import shutil
import tempfile
import time
import urllib.request

import pytest
from kazoo.client import KazooClient

import gateway_answers
import wire
from servers import Doorkeeper, Kafka, ZooKeeper, free_port, wait_for

pytestmark = pytest.mark.skipif(os.environ.get("COMPAT_AGAINST") == "apache", reason="there is no gateway of Apache's")

TOPICS = ["audit", "orders", "orders-eu", "orders-us", "public"]
INTERNAL = ["__consumer_offsets", "__transaction_state"]
MISSING = ["missing", "new-one", "orders-none", "bad name", "__share_group_state"]
GROUPS, TRANSACTIONS = ["g1", "g2", "x", "äöü"], ["tx-1", "other"]
# "root" and "broker" are super users; nobody ever writes an ACL about "erin".
USERS = ["alice", "bob", "carol", "dave", "erin", "root"]
ANONYMOUS = "ANONYMOUS"
EVERYBODY = [*USERS, ANONYMOUS]

KINDS = {"topic": 2, "group": 3, "cluster": 4, "transaction": 5}
OPERATIONS = {
    "All": 2, "Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Alter": 7, "Describe": 8, "ClusterAction": 9,
    "DescribeConfigs": 10, "AlterConfigs": 11, "IdempotentWrite": 12,
}  # fmt: skip
ALLOW, DENY = 3, 2
CLUSTER = "kafka-cluster"


def acl(user, kind, name, operation, permission=ALLOW, host="*"):
    """One ACL; a name that ends with … is a prefix."""
    prefixed = name.endswith("…")
    return {
        "ResourceType": KINDS[kind], "ResourceName": name.removesuffix("…"), "ResourcePatternType": 4 if prefixed else 3,
        "Principal": f"User:{user}", "Host": host, "Operation": OPERATIONS[operation], "PermissionType": permission,
    }  # fmt: skip


class Case:
    """ACLs, what each user sees of the topics with them, and who may make topics that are asked for."""

    def __init__(self, name, acls, sees, creators=()):
        self.name, self.acls, self.sees, self.creators = name, acls, sees, {"root", *creators}

    def expected(self, user):
        return sorted(TOPICS + INTERNAL) if user == "root" else sorted(self.sees.get(user, self.sees.get("*", [])))


EVERYTHING = TOPICS + INTERNAL
CASES = [
    Case("nothing", [], {}),
    Case(
        "literal, prefixed and for everybody",
        [
            acl("alice", "topic", "orders", "Read"), acl("alice", "group", "g1", "Describe"),
            acl("alice", "transaction", "tx-…", "Write"), acl("bob", "topic", "orders-…", "Write"),
            acl("bob", "group", "g…", "Read"), acl("carol", "topic", "*", "Describe"), acl("carol", "group", "*", "All"),
            acl("carol", "cluster", CLUSTER, "Describe"), acl("*", "topic", "public", "Describe"),
            acl(ANONYMOUS, "topic", "audit", "Alter"), acl("dave", "topic", "__…", "Delete"),
        ],
        {
            "alice": ["orders", "public"], "bob": ["orders-eu", "orders-us", "public"], "carol": EVERYTHING,
            ANONYMOUS: ["audit", "public"], "dave": [*INTERNAL, "public"], "*": ["public"],
        },
    ),
    Case(
        "denials",
        [
            acl("*", "topic", "*", "All"), acl("alice", "topic", "audit", "Describe", DENY),
            acl("bob", "topic", "orders…", "All", DENY), acl(ANONYMOUS, "topic", "*", "Read", DENY),
            acl("carol", "topic", "*", "All", DENY, host="10.9.9.9"), acl("dave", "topic", "public", "All", DENY, "127.0.0.1"),
            acl("*", "cluster", CLUSTER, "AlterConfigs"), acl("alice", "cluster", CLUSTER, "Alter"),
            acl("*", "group", "*", "Read"), acl("alice", "group", "g1", "Describe", DENY),
            acl("*", "transaction", "tx-…", "Describe"), acl("bob", "transaction", "*", "Write", DENY),
        ],
        {
            "alice": [name for name in EVERYTHING if name != "audit"],
            "bob": [name for name in EVERYTHING if not name.startswith("orders")],
            "dave": [name for name in EVERYTHING if name != "public"], "*": EVERYTHING,
        },
        creators=EVERYBODY,
    ),
    Case(
        "hosts, and what implies nothing",
        [
            acl("alice", "topic", "orders", "AlterConfigs"), acl("alice", "topic", "audit", "DescribeConfigs"),
            acl("bob", "topic", "o…", "Delete", host="127.0.0.1"), acl("carol", "topic", "orders", "Read", host="10.1.2.3"),
            acl("carol", "topic", "orders-eu", "Read"), acl("dave", "topic", "orders", "All"),
            acl("dave", "topic", "orders", "Read", DENY), acl(ANONYMOUS, "topic", "*", "Describe", host="127.0.0.1"),
            acl(ANONYMOUS, "cluster", CLUSTER, "All"), acl(ANONYMOUS, "cluster", CLUSTER, "Create", DENY),
            acl("alice", "group", "g1", "Delete"), acl("alice", "group", "g2", "Read", DENY),
        ],
        {
            "bob": ["orders", "orders-eu", "orders-us"], "carol": ["orders-eu"], "dave": ["orders"], ANONYMOUS: EVERYTHING,
        },
        creators=["dave"],
    ),
]  # fmt: skip


class Broker(Kafka):
    """One broker: PLAINTEXT for nobody in particular, SASL for users, and for the broker itself."""

    def __init__(self, folder, zookeeper):
        super().__init__(folder, zookeeper, 1, heap_megabytes=320)
        self.sasl = f"127.0.0.1:{free_port()}"
        users = " ".join(f'user_{user}="{user}-secret"' for user in [*USERS, "broker"])
        login = f'org.apache.kafka.common.security.plain.PlainLoginModule required username="broker" password="broker-secret" {users};'
        self.configuration.update({
            "listeners": f"PLAINTEXT://{self.bootstrap},SASL://{self.sasl}", "inter.broker.listener.name": "SASL",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN", "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": login, "zookeeper.connection.timeout.ms": "60000",
            "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": "User:broker;User:root",
            "offsets.topic.num.partitions": "50", "transaction.state.log.num.partitions": "50",
            "log.index.size.max.bytes": "65536", "log.cleaner.enable": "false", "auto.create.topics.enable": "true",
        })  # fmt: skip


class Gateway(Doorkeeper):
    name = "gateway"

    def __init__(self, folder, zookeeper, overrides=None):
        keys = {
            "listeners": "PLAINTEXT://127.0.0.1:0,SASL://127.0.0.1:0", "zookeeper.connect": zookeeper,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT",
            "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": "User:broker;User:root",
            "zookeeper.connection.timeout.ms": "20000",
        }  # fmt: skip
        super().__init__(folder, {**keys, **(overrides or {})}, roles=["gateway"])
        del self.overrides["doorkeeper.data.dir"]

    @property
    def listeners(self):
        return self.addresses["gateways"][0]["listeners"]

    def outcomes(self):
        """How many questions had which outcome: answered here, asked of the broker, …"""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        counted = collections.Counter()
        for api, outcome, count in re.findall(r'^doorkeeper_gateway_requests_total{api="(\w+)",outcome="(\w+)"} (\d+)', text, re.M):
            if api in ("Metadata", "DescribeCluster", "FindCoordinator"):
                counted[outcome] += int(count)
        return counted

    @property
    def bootstrap(self):
        return self.listeners["PLAINTEXT"]

    @property
    def sasl(self):
        return self.listeners["SASL"]


def connect(server, user):
    if user == ANONYMOUS:
        return wire.Connection(server.bootstrap)
    connection = wire.Connection(server.sasl)
    assert connection.ask("SaslHandshake", 1, {"Mechanism": "PLAIN"})["ErrorCode"] == 0
    token = f"\0{user}\0{user}-secret".encode()
    answer = connection.ask("SaslAuthenticate", 1, {"AuthBytes": token})
    assert answer["ErrorCode"] == 0, answer
    return connection


class Everybody:
    """A connection of each user to one server, for as long as a test lasts."""

    def __init__(self, server):
        self.connections = {}
        try:
            for user in EVERYBODY:
                self.connections[user] = connect(server, user)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self.connections.values():
            connection.socket.close()

    def __getitem__(self, user):
        return self.connections[user]

    def sees(self, user):
        topics = self[user].ask("Metadata", 1, {"Topics": None})["Topics"]
        return sorted(topic["Name"] for topic in topics)


class Setting:
    def __init__(self, folder):
        self.folder = folder
        self.zookeeper = ZooKeeper(folder / "zookeeper", heap_megabytes=128)
        self.broker = Broker(folder / "kafka", self.zookeeper.coordinator)
        self.gateway = Gateway(folder / "gateway", self.zookeeper.coordinator)

    def __enter__(self):
        try:
            self.zookeeper.start()
            self.broker.start(120)
            self.make_topics()
            self.gateway.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        for server in (self.gateway, self.broker, self.zookeeper):
            server.kill()

    def as_root(self, api, version, request):
        with connect(self.broker, "root") as connection:
            return connection.ask(api, version, request)

    def make_topics(self):
        topics = [{"Name": name, "NumPartitions": 2, "ReplicationFactor": 1, "Assignments": [], "Configs": []} for name in TOPICS]
        made = self.as_root("CreateTopics", 5, {"Topics": topics, "timeoutMs": 30000})
        assert all(topic["ErrorCode"] == 0 for topic in made["Topics"]), made
        for kind in (0, 1):
            found = lambda kind=kind: self.as_root("FindCoordinator", 1, {"Key": "a", "KeyType": kind})["ErrorCode"] == 0
            wait_for("the internal topics are there", found, 60)
        self.ids = {}
        all_there = lambda: sorted(self.topics()) == sorted(EVERYTHING)
        wait_for("the topics are there", all_there, 60)

    def topics(self):
        topics = self.as_root("Metadata", 12, {"Topics": None})["Topics"]
        self.ids = {topic["Name"]: topic["TopicId"] for topic in topics if topic["ErrorCode"] == 0}
        return self.ids

    def set_acls(self, acls):
        everything = {
            "ResourceTypeFilter": 1, "ResourceNameFilter": None, "PatternTypeFilter": 1, "PrincipalFilter": None,
            "HostFilter": None, "Operation": 1, "PermissionType": 1,
        }  # fmt: skip
        removed = self.as_root("DeleteAcls", 3, {"Filters": [everything]})
        assert all(result["ErrorCode"] == 0 for result in removed["FilterResults"]), removed
        if acls:
            made = self.as_root("CreateAcls", 3, {"Creations": acls})
            assert all(result["ErrorCode"] == 0 for result in made["Results"]), made


def requests(ids, creator):
    """(API, version, request) of all that is compared. Nothing is asked for that the broker would make."""
    by_name = gateway_answers.by_name
    for version in range(13):
        yield "Metadata", version, {"Topics": None if version else []}
        asked = [*TOPICS[:3], INTERNAL[0]] if creator else [*TOPICS[:3], *MISSING, INTERNAL[0]]
        yield "Metadata", version, by_name(asked)
        if version >= 4:
            yield "Metadata", version, by_name([*MISSING, *TOPICS], AllowAutoTopicCreation=False)
        if version >= 8:
            operations = {"IncludeTopicAuthorizedOperations": True, "AllowAutoTopicCreation": False}
            if version <= 10:
                operations["IncludeClusterAuthorizedOperations"] = True
            yield "Metadata", version, {"Topics": None, **operations}
            yield "Metadata", version, by_name([*TOPICS, *MISSING], **operations)
        if version == 12:
            yield "Metadata", version, gateway_answers.by_id([ids[name] for name in EVERYTHING])
            yield "Metadata", version, gateway_answers.by_id([ids["orders"], gateway_answers.UNKNOWN_ID, ids["audit"]])
    for version in (0, 1):
        for operations in (False, True):
            yield "DescribeCluster", version, {"IncludeClusterAuthorizedOperations": operations}
    for version in range(4):
        for kind, keys in ((0, GROUPS), (1, TRANSACTIONS)):
            for key in keys[:2] if version or not kind else ():
                yield "FindCoordinator", version, {"Key": key, **({"KeyType": kind} if version else {})}
    for version in range(4, 7):
        yield "FindCoordinator", version, {"CoordinatorKeys": GROUPS, "KeyType": 0}
        yield "FindCoordinator", version, {"CoordinatorKeys": TRANSACTIONS, "KeyType": 1}


def differences(broker, front, ids, users, creators):
    """Lines of what differs between what the users are told."""
    found = []
    for user in users:
        for api, version, request in requests(ids, user in creators):
            expected = gateway_answers.ask(broker[user], api, version, request, False)
            answered = gateway_answers.ask(front[user], api, version, request, False)
            assert not isinstance(answered, str) and not isinstance(expected, str), (user, api, version, request, answered, expected)
            lines = gateway_answers.differences(expected, answered)
            found += [f"{user}: {api} v{version} {request}: {line}" for line in lines[:5]]
    return found


def eventually_same(broker, front, ids, case, users=EVERYBODY, seconds=30):
    """The gateway and the broker tell every user what is expected, and then the same."""
    deadline = time.monotonic() + seconds
    while True:
        seen = {user: (case.expected(user), broker.sees(user), front.sees(user)) for user in users}
        found = [f"{user} sees {both}" for user, both in seen.items() if not both[0] == both[1] == both[2]]
        found = found or differences(broker, front, ids, users, case.creators)
        if not found:
            return
        assert time.monotonic() < deadline, f"{case.name}:\n" + "\n".join(found[:20])
        time.sleep(0.1)


@pytest.fixture(scope="module")
def setting():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="doorkeeper-compat-"))
    try:
        with Setting(folder) as started:
            yield started
    finally:
        if not os.environ.get("COMPAT_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


def test_users_are_told_what_the_broker_tells_them_while_acls_change(setting):
    with Everybody(setting.broker) as broker, Everybody(setting.gateway) as front:
        for case in CASES:
            setting.set_acls(case.acls)
            eventually_same(broker, front, setting.ids, case)
    # The gateway knew it by itself: only ids that no topic has are asked of the broker.
    outcomes = setting.gateway.outcomes()
    assert outcomes["here"] > 50 * outcomes["asked"] > 0 and not outcomes["passed"], outcomes


def test_topics_are_made_for_who_may_make_them(setting):
    setting.set_acls([
        acl("alice", "topic", "new-…", "Create"), acl("alice", "topic", "new-…", "Describe"),
        acl("bob", "cluster", CLUSTER, "Create"), acl("bob", "topic", "*", "Describe"),
        acl(ANONYMOUS, "topic", "anonymous-…", "All"), acl("carol", "topic", "*", "Describe"),
    ])  # fmt: skip

    def error(connection, name):
        return connection.ask("Metadata", 12, {"Topics": [{"Name": name}]})["Topics"][0]["ErrorCode"]

    with Everybody(setting.gateway) as front:
        for user, name in (("alice", "new-of-alice"), ("bob", "of-bob"), (ANONYMOUS, "anonymous-one")):
            wait_for(f"{name} is made", lambda user=user, name=name: error(front[user], name) == 0, 30)
            # A gateway reads the znodes, and may be ahead of the broker.
            wait_for(f"the broker has {name}", lambda name=name: name in setting.topics(), 30)
        # Told apart from what is there: the first may be described, not made; the second neither.
        wait_for("carol may look", lambda: error(front["carol"], "of-bob") == 0, 30)
        assert [error(front["carol"], "of-carol"), error(front["alice"], "of-alice")] == [29, 29]
    assert not {"of-carol", "of-alice"} & set(setting.topics())
    gone = [name for name in setting.topics() if name not in EVERYTHING]
    deleted = setting.as_root("DeleteTopics", 4, {"TopicNames": gone, "TimeoutMs": 30000})
    assert all(topic["ErrorCode"] == 0 for topic in deleted["Responses"]), deleted
    wait_for("they are gone", lambda: not set(gone) & set(setting.topics()), 30)


def test_acls_that_can_not_be_understood_hide_their_topics(setting):
    setting.set_acls([acl("alice", "topic", "*", "Read"), acl("alice", "topic", "orders", "Read"), acl("bob", "topic", "audit", "Read")])
    client = KazooClient(hosts=setting.zookeeper.coordinator)
    client.start(timeout=30)
    try:
        with Everybody(setting.gateway) as front:
            wait_for("alice sees all", lambda: front.sees("alice") == sorted(EVERYTHING), 30)
            good, _ = client.get("/kafka-acl/Topic/orders")
            client.set("/kafka-acl/Topic/orders", good[:-3])
            all_but = sorted(set(EVERYTHING) - {"orders"})
            wait_for("alice no longer sees it", lambda: front.sees("alice") == all_but, 30)
            assert front.sees("root") == sorted(EVERYTHING), "super users see it"
            assert front.sees("bob") == ["audit"]
            assert setting.gateway.log_of_this_start().count('path="/kafka-acl/Topic/orders"') == 1
            client.set("/kafka-acl/Topic/orders", good)
            wait_for("alice sees it again", lambda: front.sees("alice") == sorted(EVERYTHING), 30)
    finally:
        client.stop()
        client.close()


def test_a_gateway_that_starts_from_disk_goes_by_the_acls_that_it_knew(setting):
    case = CASES[1]
    setting.set_acls(case.acls)
    gateway = Gateway(
        setting.folder / "second", setting.zookeeper.coordinator,
        {"doorkeeper.gateway.image.dir": str(setting.folder / "image"), "zookeeper.connection.timeout.ms": "2000"},
    )  # fmt: skip
    try:
        gateway.start()
        with Everybody(setting.broker) as broker, Everybody(gateway) as front:
            eventually_same(broker, front, setting.ids, case)
        assert gateway.stop() == 0
        setting.zookeeper.stop()
        gateway.start()
        with Everybody(setting.broker) as broker, Everybody(gateway) as front:
            eventually_same(broker, front, setting.ids, case, users=["alice", "carol", "erin", "root", ANONYMOUS])
    finally:
        gateway.kill()
        if setting.zookeeper.process.poll() is not None:
            setting.zookeeper.start()


def test_without_acls_everybody_is_let_in_where_that_is_set(setting):
    key = "allow.everyone.if.no.acl.found"
    setting.gateway.stop()
    setting.broker.stop()
    setting.broker.configuration[key] = "true"
    setting.gateway.overrides[key] = "true"
    setting.broker.start(120)
    wait_for("the topics are there", lambda: sorted(setting.topics()) == sorted(EVERYTHING), 60)
    setting.gateway.start()
    hidden = Case(
        "everybody is let in but where ACLs are",
        [
            acl("alice", "topic", "orders", "Read"), acl("bob", "topic", "orders-…", "Read"), acl("carol", "group", "g1", "Read"),
            acl("dave", "topic", "public", "Read", DENY), acl("carol", "cluster", CLUSTER, "Alter"),
        ],
        {
            "alice": ["audit", "orders", *INTERNAL], "bob": ["audit", "orders-eu", "orders-us", *INTERNAL],
            "*": ["audit", *INTERNAL],
        },
        creators=EVERYBODY,
    )  # fmt: skip
    with Everybody(setting.broker) as broker, Everybody(setting.gateway) as front:
        for case in (Case("everybody is let in", [], {"*": EVERYTHING}, creators=EVERYBODY), hidden):
            setting.set_acls(case.acls)
            eventually_same(broker, front, setting.ids, case)
