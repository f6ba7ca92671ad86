"""ZooKeeper, then doorkeeper on its zoo.cfg and directory, then ZooKeeper again, while a Kafka broker and kazoo go on.

Every client keeps its session, with its ephemerals, watches and locks, through every step; the tree is compared
node by node, with each Stat and ACL; nothing that was acknowledged is lost.
"""

import os
import threading

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import ConnectionLoss, NodeExistsError, OperationTimeoutError, SessionExpiredError
from kazoo.recipe.watchers import ChildrenWatch, DataWatch
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

from kafka_cluster import Cluster, Load, expiries
from jute import watched
from servers import Doorkeeper, ZooKeeper, wait_for
from test_directory import client, compare, mismatches, tree

APACHE = os.environ.get("COMPAT_AGAINST") == "apache"
LONG = bool(os.environ.get("COMPAT_LONG"))
# Who serves, and how it ends.
LIVES = [("zookeeper", "stop"), ("doorkeeper", "stop"), ("zookeeper", "kill"), ("doorkeeper", "kill"), ("zookeeper", "stop")]
LIVES = LIVES * 3 if LONG else LIVES
SESSION_SECONDS = 40
# kazoo by itself waits ever longer between its attempts, up to a minute: longer than a session lives.
RECONNECT = {"max_tries": -1, "delay": 0.1, "max_delay": 1.0}
WRITERS = 3
PARTITIONS = 2


class Member:
    """A kazoo client that writes all the time, and knows what was acknowledged."""

    def __init__(self, address, number):
        self.states, self.value, self.failure = [], 0, None
        self.stopping = threading.Event()
        self.root = f"/load/{number}"
        self.client = KazooClient(address, timeout=SESSION_SECONDS, connection_retry=RECONNECT)
        self.client.add_listener(self.states.append)
        self.client.start(60)
        self.session = self.client.client_id
        self.client.ensure_path(self.root)
        self.client.create(f"{self.root}/value", b"0")
        self.client.create(f"/members/{number}", b"here", ephemeral=True, makepath=True)
        self.lock = self.client.Lock(f"/locks/{number}", str(number))
        self.lock.acquire()
        self.seen, self.names = [], []
        DataWatch(self.client, "/watched", lambda data, stat: self.seen.append(data))
        ChildrenWatch(self.client, "/parent", lambda names: self.names.append(len(names)))
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _until_answered(self, attempt):
        """Repeats a request whose answer was lost with the connection."""
        again = False
        while True:
            try:
                return attempt(again)
            except (ConnectionLoss, OperationTimeoutError):
                again = True
                self.stopping.wait(0.02)

    def _create(self, path, again):
        try:
            self.client.create(path, b"x" * 20)
        except NodeExistsError:
            assert again, f"{path} was there before"

    def _run(self):
        try:
            while not self.stopping.is_set():
                number = self.value + 1
                self._until_answered(lambda again, number=number: self._create(f"{self.root}/{number}", again))
                self._until_answered(lambda again, number=number: self.client.set(f"{self.root}/value", b"%d" % number))
                self.value = number
                # Some hundred writes a second: enough to be met by every stop, few enough to be read back.
                self.stopping.wait(0.005)
        except (SessionExpiredError, AssertionError) as error:
            self.failure = error

    def check(self, looking):
        """The same session, its ephemeral and its lock; all that was acknowledged is there."""
        assert self.failure is None, self.failure
        assert KazooState.LOST not in self.states, f"{self.root} lost its session: {self.states}"
        assert self.client.client_id == self.session
        known = self.value
        names = set(looking.get_children(self.root))
        lost = [number for number in range(1, known + 1) if str(number) not in names]
        assert not lost, f"{len(lost)} of {known} acknowledged creates are lost, the first {lost[0]}"
        assert int(looking.get(f"{self.root}/value")[0]) >= known
        assert looking.exists(f"/members/{self.root.rsplit('/', 1)[1]}").ephemeralOwner == self.session[0]
        assert self.lock.is_acquired and len(looking.get_children(self.lock.path)) == 1

    def stop(self):
        self.stopping.set()
        self.thread.join(30)
        self.client.stop()
        self.client.close()


def quiet(server):
    """Every znode but the load's."""
    with client(server) as session:
        tops = [name for name in session.do("getChildren", watched("/")) if name != "load"]
        found = {}
        for name in tops:
            found.update(tree(session, f"/{name}"))
        return found


def test_zookeeper_doorkeeper_zookeeper(folder):
    zookeeper = ZooKeeper(folder / "zookeeper", {"snapCount": "300", "preAllocSize": "1024"})
    zookeeper.command()  # Writes zoo.cfg.
    ours = zookeeper if APACHE else Doorkeeper(folder / "doorkeeper", files=[zookeeper.folder / "zoo.cfg"])
    servers = {"zookeeper": zookeeper, "doorkeeper": ours}
    replicas = {"min.insync.replicas": "1", "offsets.topic.replication.factor": "1", "zookeeper.session.timeout.ms": str(SESSION_SECONDS * 1000)}
    members, before = [], None
    zookeeper.start()
    try:
        with Cluster(folder, zookeeper, 1, replicas) as cluster:
            cluster.create("load", PARTITIONS, replicas=1)
            looking = KazooClient(zookeeper.coordinator, timeout=SESSION_SECONDS, connection_retry=RECONNECT)
            looking.start(60)
            looking.create("/watched", b"0")
            looking.create("/parent", b"", acl=[make_digest_acl("user", "secret", all=True), *OPEN_ACL_UNSAFE])
            members = [Member(zookeeper.coordinator, number) for number in range(WRITERS)]
            with Load(cluster, "load", PARTITIONS) as load:
                for number, (kind, end) in enumerate(LIVES):
                    server = servers[kind]
                    if number:
                        server.start()
                        wait_for("everybody is back", lambda: all(member.client.connected for member in members) and looking.connected)
                        for member in members:
                            member.check(looking)
                        compare(before, quiet(server))
                    for member in members:
                        reached = member.value + 20
                        wait_for("writes are acknowledged", lambda member=member, reached=reached: member.value > reached or member.failure)
                        member.check(looking)
                    load.goes_on(100)
                    topic = cluster.create(f"made-on-{number}", 1)
                    cluster.wait_for_isr(topic)
                    # Watches that were set on the server before fire on this one.
                    looking.set("/watched", b"%d" % number)
                    looking.create("/parent/n-", sequence=True)
                    for member in members:
                        wait_for("the watches fire", lambda member=member, number=number: member.seen[-1] == b"%d" % number and member.names[-1] == number + 1)
                    if kind == "zookeeper":
                        assert mismatches(server) == "0"
                    before = quiet(server)
                    if number + 1 < len(LIVES):
                        getattr(server, end)()
                load.stop()
                assert not expiries(cluster.brokers[1]), expiries(cluster.brokers[1])[:3]
                load.check()
            looking.stop()
            looking.close()
    finally:
        for member in members:
            member.stop()
        zookeeper.stop()
        ours.stop()

