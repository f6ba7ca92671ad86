"""What a gateway stands in front of: three Kafka 3.9.1 brokers with racks and two listeners, on three Apache ZooKeepers 3.9.4.

The brokers log in to ZooKeeper and their znodes are theirs (`zookeeper.set.acl`): whoever doesn't log in,
as the gateways, can read and nothing else. Changes are asked for with requests of our own (`wire`).
"""

import base64
import contextlib
import hashlib
import os
import re
import signal
import time
import urllib.request

from kazoo.client import KazooClient

import tools
import wire
from directories import ensemble, start_together
from servers import Doorkeeper, Kafka, free_port, wait_for

RACKS = {1: "a", 2: "b", 3: "c"}
# Longer than an ensemble is stopped for; a broker that is killed is missed only after it.
SESSION_SECONDS = 12
SUPER = "super:secret-of-the-tests"
SETTINGS = {
    "zookeeper.session.timeout.ms": str(SESSION_SECONDS * 1000),
    "zookeeper.connection.timeout.ms": "60000",
    "zookeeper.set.acl": "true",
    "default.replication.factor": "3",
    "min.insync.replicas": "1",
    "offsets.topic.num.partitions": "5",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.num.partitions": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "auto.create.topics.enable": "false",
    "auto.leader.rebalance.enable": "false",
    "log.cleaner.enable": "false",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.segment.bytes": "1048576",
    "log.index.size.max.bytes": "65536",
}


class Broker(Kafka):
    """A broker with a listener that all have, and one that only the first two have."""

    def __init__(self, folder, zookeeper, broker_id, jaas):
        self.name, self.broker_id, self.jaas = f"kafka-{broker_id}", broker_id, jaas
        super().__init__(folder / self.name, zookeeper, broker_id, heap_megabytes=256)
        self.outside = f"127.0.0.1:{free_port()}"
        self.jmx_port = free_port()
        listeners = f"PLAINTEXT://{self.bootstrap}"
        if broker_id != 3:
            listeners += f",OUTSIDE://{self.outside}"
        self.configuration.update(SETTINGS)
        self.configuration.update({
            "listeners": listeners, "broker.rack": RACKS[broker_id], "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OUTSIDE:PLAINTEXT",
        })  # fmt: skip

    def listens(self, listener):
        return f"{listener}://" in self.configuration["listeners"]

    def ask(self, api, version, request):
        return wire.ask(self.bootstrap, api, version, request)

    def command(self):
        command = super().command()
        jmx = "-Dcom.sun.management.jmxremote"
        own = [
            f"-Djava.security.auth.login.config={self.jaas}", f"{jmx}.port={self.jmx_port}", f"{jmx}.rmi.port={self.jmx_port}",
            f"{jmx}.host=127.0.0.1", f"{jmx}.authenticate=false", f"{jmx}.ssl=false", "-Djava.rmi.server.hostname=127.0.0.1",
        ]  # fmt: skip
        return [command[0], *own, *command[1:]]

    def metadata_requests(self):
        """How many Metadata requests of any version it has taken since its start, by its own count."""
        said = tools.run(
            "3.9.1", "jmx", "--jmx-url", f"service:jmx:rmi:///jndi/rmi://127.0.0.1:{self.jmx_port}/jmxrmi", "--one-time",
            "--object-name", "kafka.network:type=RequestMetrics,name=RequestsPerSec,request=Metadata,version=*",
            "--attributes", "Count", "--report-format", "properties",
        )  # fmt: skip
        return sum(int(count) for count in re.findall(r"^kafka\.network:.*:Count=(\d+)$", said, re.MULTILINE))


class Gateway(Doorkeeper):
    """A gateway in front of the cluster: in direct mode, or with the relay on."""

    def __init__(self, folder, cluster, relay=False, overrides=None):
        self.name, self.relay = folder.name, relay
        keys = {
            "listeners": "PLAINTEXT://127.0.0.1:0", "zookeeper.connect": cluster.zookeeper,
            "zookeeper.session.timeout.ms": str(SESSION_SECONDS * 1000),
            "zookeeper.connection.timeout.ms": "60000", "auto.create.topics.enable": "false",
        }  # fmt: skip
        if relay:
            keys.update({"doorkeeper.gateway.addresses": "gateway", "doorkeeper.gateway.port.base": "0"})
        super().__init__(folder, {**keys, **(overrides or {})}, roles=["gateway"])
        del self.overrides["doorkeeper.data.dir"]

    @property
    def bootstrap(self):
        return self.addresses["gateways"][0]["listeners"]["PLAINTEXT"]

    def metric(self, name, **labels):
        """The sum of a metric's samples that have these labels."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        samples = [line for line in lines if re.match(rf"{name}[{{ ]", line)]
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples if all(each in line for each in wanted))

    @property
    def outside(self):
        return self.addresses["gateways"][0]["listeners"]["OUTSIDE"]


class Cluster:
    """Ensemble and brokers, started together."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        jaas = folder / "jaas.conf"
        login = "org.apache.zookeeper.server.auth.DigestLoginModule required"
        jaas.write_text(
            f'Server {{ {login} user_kafka="kafka-secret"; }};\n'
            f'Client {{ {login} username="kafka" password="kafka-secret"; }};\n'
        )
        digest = base64.b64encode(hashlib.sha1(SUPER.encode()).digest()).decode()
        self.members = ensemble(folder)
        for member in self.members:
            member.name = f"zookeeper-{member.number}"
            member.heap_megabytes = 128
            # The members' own settings make many small snapshots, which nobody wants here.
            member.configuration.update({"snapCount": "100000", "preAllocSize": "1024", "tickTime": "1000"})
            member.properties = (
                f"-Djava.security.auth.login.config={jaas}",
                "-Dzookeeper.authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
                f"-Dzookeeper.DigestAuthenticationProvider.superDigest=super:{digest}",
            )
        self.zookeeper = ",".join(member.coordinator for member in self.members)
        self.brokers = {number: Broker(folder, self.zookeeper, number, jaas) for number in RACKS}

    def __enter__(self):
        try:
            start_together(self.members)
            for broker in self.brokers.values():
                broker.spawn()
            for broker in self.brokers.values():
                wait_for(f"{broker.name} serves", broker._ready_or_dead, 120, every=0.1)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """Nothing is asked of them any more: a clean stop would only take time."""
        for server in [*self.brokers.values(), *self.members]:
            server.kill()

    @property
    def live(self):
        return {number: broker for number, broker in self.brokers.items() if broker.process.poll() is None}

    @property
    def bootstrap(self):
        return ",".join(broker.bootstrap for broker in self.live.values())

    def any_broker(self):
        return next(iter(self.live.values()))

    # The ensemble.

    def leader(self):
        """The member that leads the others."""
        return wait_for("a leader", lambda: next((member for member in self.members if member.mode() == "leader"), None), every=0.2)

    def stop_ensemble(self):
        for member in self.members:
            member.process.terminate()
        for member in self.members:
            member.process.wait(60)

    def start_ensemble(self):
        start_together(self.members)

    def frozen_ensemble(self):
        return frozen(*self.members)

    @contextlib.contextmanager
    def znodes(self):
        """A session that may do everything."""
        client = KazooClient(self.zookeeper, timeout=30, auth_data=[("digest", SUPER)])
        client.start(60)
        try:
            yield client
        finally:
            client.stop()
            client.close()

    # What the brokers say.

    def metadata(self, broker):
        return sorted_answer(wire.ask(broker.bootstrap, "Metadata", 12, {"Topics": None}))

    def settle(self, until=lambda answer: True, seconds=90):
        """Waits until all live brokers say the same twice, and it is what is expected; returns it.

        Until then a change is on its way through the controller.
        """
        deadline, last, equal = time.monotonic() + seconds, None, 0
        while True:
            try:
                answers = [self.metadata(broker) for broker in self.live.values()]
            except OSError:
                answers = [None]
            same = answers[0] is not None and all(answer == answers[0] for answer in answers)
            whole = same and {broker["NodeId"] for broker in answers[0]["Brokers"]} == set(self.live)
            equal = equal + 1 if whole and answers[0] == last and until(answers[0]) else 0
            if equal >= 2:
                return answers[0]
            last = answers[0]
            assert time.monotonic() < deadline, f"the brokers don't come to agree within {seconds} s: {answers}"
            time.sleep(0.1)

    def topic(self, name, answer=None):
        """The partitions of a topic by number; None if there is no such topic."""
        answer = answer or self.metadata(self.any_broker())
        for topic in answer["Topics"]:
            if topic["Name"] == name:
                return {partition["PartitionIndex"]: partition for partition in topic["Partitions"]}
        return None

    def controller(self):
        return self.brokers[self.settle(lambda answer: answer["ControllerId"] in self.live)["ControllerId"]]

    def in_sync(self):
        """Waits until every replica on a live broker is in its ISR, and every partition has a leader."""

        def whole(answer):
            partitions = [partition for topic in answer["Topics"] for partition in topic["Partitions"]]
            return all(
                set(partition["IsrNodes"]) >= set(partition["ReplicaNodes"]) & set(self.live)
                and partition["LeaderId"] in self.live
                for partition in partitions
            )

        return self.settle(whole)

    # Changes, as a client of the controller asks for them.

    def ask_controller(self, api, version, request, seconds=60):
        with wire.Connection(self.controller().bootstrap, seconds) as connection:
            return connection.ask(api, version, request)

    def create_internal_topics(self):
        """Both are made by the first who asks."""
        for kind in (0, 1):
            def found(kind=kind):
                return self.any_broker().ask("FindCoordinator", 3, {"Key": "first", "KeyType": kind})["ErrorCode"] == 0

            wait_for("a coordinator", found, 90, every=0.2)

    def create_all(self, counts, replicas=3, configs=None):
        """Makes topics (a name, and how many partitions) in requests of a hundred; returns when all brokers know them."""
        configs = [{"Name": key, "Value": value} for key, value in (configs or {}).items()]
        names = list(counts)
        for start in range(0, len(names), 100):
            topics = [
                {"Name": name, "NumPartitions": counts[name], "ReplicationFactor": replicas, "Assignments": [], "Configs": configs}
                for name in names[start : start + 100]
            ]
            made = self.ask_controller("CreateTopics", 5, {"Topics": topics, "timeoutMs": 120_000}, seconds=180)
            assert all(topic["ErrorCode"] == 0 for topic in made["Topics"]), made

        def known(answer):
            found = {topic["Name"]: len(topic["Partitions"]) for topic in answer["Topics"]}
            return all(found.get(name) == count for name, count in counts.items())

        self.settle(known, 240)

    def create(self, name, partitions=3, replicas=3, assignment=None, configs=None):
        assignments = [{"PartitionIndex": number, "BrokerIds": ids} for number, ids in enumerate(assignment or [])]
        counts = {"NumPartitions": -1, "ReplicationFactor": -1} if assignment else {"NumPartitions": partitions, "ReplicationFactor": replicas}
        topic = {"Name": name, **counts, "Assignments": assignments}
        topic["Configs"] = [{"Name": key, "Value": value} for key, value in (configs or {}).items()]
        made = self.ask_controller("CreateTopics", 5, {"Topics": [topic], "timeoutMs": 30_000})
        assert made["Topics"][0]["ErrorCode"] == 0, made
        count = len(assignment) if assignment else partitions
        self.settle(lambda answer: len(self.topic(name, answer) or ()) == count)

    def delete(self, name):
        gone = self.ask_controller("DeleteTopics", 3, {"TopicNames": [name], "TimeoutMs": 30_000})
        assert gone["Responses"][0]["ErrorCode"] in (0, 7), gone
        self.settle(lambda answer: self.topic(name, answer) is None)

    def grow(self, name, count):
        topic = {"Name": name, "Count": count, "Assignments": None}
        grown = self.ask_controller("CreatePartitions", 1, {"Topics": [topic], "TimeoutMs": 10_000, "ValidateOnly": False})
        # 7: it waits for leaders of all partitions, also of those whose only replica is on a broker that is down.
        assert grown["Results"][0]["ErrorCode"] in (0, 7), grown
        self.settle(lambda answer: len(self.topic(name, answer) or ()) == count)

    def reassign(self, name, partition, replicas):
        wanted = {"Name": name, "Partitions": [{"PartitionIndex": partition, "Replicas": replicas}]}
        done = self.ask_controller("AlterPartitionReassignments", 0, {"TimeoutMs": 30_000, "Topics": [wanted]})
        assert done["ErrorCode"] == 0, done
        assert done["Responses"][0]["Partitions"][0]["ErrorCode"] == 0, done

        def moved(answer):
            found = self.topic(name, answer)[partition]
            return found["ReplicaNodes"] == replicas and sorted(found["IsrNodes"]) == sorted(replicas)

        self.settle(moved)

    def configure(self, name, key, value):
        """Sets a topic's configuration, which no answer of the metadata plane shows."""
        change = {"Name": key, "ConfigOperation": 0, "Value": value}
        resource = {"ResourceType": 2, "ResourceName": name, "Configs": [change]}
        done = self.ask_controller("IncrementalAlterConfigs", 1, {"Resources": [resource], "ValidateOnly": False})
        assert done["Responses"][0]["ErrorCode"] == 0, done

    def delete_all(self, names, seconds=240):
        names = set(names)
        gone = self.ask_controller("DeleteTopics", 3, {"TopicNames": sorted(names), "TimeoutMs": 120_000}, seconds=180)
        # 7: it takes longer than the request waits.
        assert all(each["ErrorCode"] in (0, 7) for each in gone["Responses"]), gone
        self.settle(lambda answer: not names & {topic["Name"] for topic in answer["Topics"]}, seconds)

    def elect_preferred(self):
        done = self.ask_controller("ElectLeaders", 2, {"ElectionType": 0, "TopicPartitions": None, "TimeoutMs": 30_000})
        assert done["ErrorCode"] == 0, done

        def preferred(answer):
            partitions = [partition for topic in answer["Topics"] for partition in topic["Partitions"]]
            return all(p["LeaderId"] == p["ReplicaNodes"][0] for p in partitions if p["ReplicaNodes"][0] in p["IsrNodes"])

        self.settle(preferred)

    def move_controller(self):
        """The old one loses its znode; another one, or the same again, takes it."""
        with self.znodes() as session:
            before = int(session.get("/controller_epoch")[0])
            session.delete("/controller")
            wait_for("a new controller", lambda: int(session.get("/controller_epoch")[0]) > before, 60)
            wait_for("its znode", lambda: session.exists("/controller"), 60)
        self.settle(lambda answer: answer["ControllerId"] in self.live)

    def stop_broker(self, number):
        # Its session is closed by a clean end.
        assert self.brokers[number].stop(60) is not None
        self.settle()

    def kill_broker(self, number):
        self.brokers[number].kill()
        self.settle()

    def start_broker(self, number):
        with self.znodes() as session:
            wait_for("its old registration ends", lambda: not session.exists(f"/brokers/ids/{number}"), 60, every=0.1)
        self.brokers[number].start(120)
        self.in_sync()


@contextlib.contextmanager
def frozen(*servers):
    """Their connections stay open, and nothing answers on them."""
    for server in servers:
        os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for server in servers:
            os.kill(server.process.pid, signal.SIGCONT)


def sorted_answer(answer):
    """A Metadata answer in the order in which it is compared."""
    answer["Brokers"].sort(key=lambda broker: broker["NodeId"])
    for topic in answer["Topics"]:
        topic["Partitions"].sort(key=lambda partition: partition["PartitionIndex"])
    answer["Topics"].sort(key=lambda topic: (topic["ErrorCode"], str(topic["Name"]), str(topic.get("TopicId"))))
    answer.pop("ThrottleTimeMs", None)
    return answer
