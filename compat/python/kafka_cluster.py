"""Three unmodified Kafka 3.9.1 brokers on one coordinator, and a load that remembers what was acknowledged."""

import functools
import json
import re
import threading
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kazoo.client import KazooClient

from servers import Kafka, free_port, wait_for

BROKERS = (1, 2, 3)
# A kill of the coordinator must be over before a session is; a killed broker is missed only after it.
SESSION_SECONDS = 18
SETTINGS = {
    "zookeeper.session.timeout.ms": str(SESSION_SECONDS * 1000),
    # A coordinator that is away for some seconds is no reason to give up while connecting.
    "zookeeper.connection.timeout.ms": "60000",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "replica.lag.time.max.ms": "10000",
    "auto.leader.rebalance.enable": "false",
    "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer",
    # Brokers, and the tests as operators, come unauthenticated; SCRAM users have what their ACLs give.
    "super.users": "User:ANONYMOUS",
    "sasl.enabled.mechanisms": "SCRAM-SHA-256",
    "listener.name.outside.scram-sha-256.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "log.cleaner.enable": "false",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


class Broker(Kafka):
    """One broker with a listener for operators and one for SCRAM users."""

    def __init__(self, folder, zookeeper, broker_id, configuration=None):
        self.name = f"kafka-{broker_id}"
        super().__init__(folder / self.name, zookeeper, broker_id, heap_megabytes=320)
        self.broker_id = broker_id
        self.outside = f"127.0.0.1:{free_port()}"
        self.configuration.update(SETTINGS)
        self.configuration.update({
            "listeners": f"PLAINTEXT://{self.bootstrap},OUTSIDE://{self.outside}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OUTSIDE:SASL_PLAINTEXT",
            **(configuration or {}),
        })  # fmt: skip


class Cluster:
    """Brokers on a coordinator (`coordinator.coordinator` is its address), started together."""

    def __init__(self, folder, coordinator, count=len(BROKERS), configuration=None):
        self.coordinator = coordinator
        self.brokers = {
            number: Broker(folder, coordinator.coordinator, number, configuration) for number in BROKERS[:count]
        }

    def __enter__(self):
        for broker in self.brokers.values():
            broker.spawn()
        try:
            for broker in self.brokers.values():
                wait_for(f"{broker.name} serves", broker._ready_or_dead, 120)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """Nothing is asked of the brokers any more: a clean stop would only take time."""
        for broker in self.brokers.values():
            broker.kill()

    @property
    def bootstrap(self):
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    @functools.cached_property
    def admin(self):
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def create(self, topic, partitions=3, config=None, replicas=None):
        new = NewTopic(topic, partitions, replicas or len(self.brokers), config=config or {})
        self.admin.create_topics([new])[topic].result(60)
        return topic

    def partitions(self, topic):
        """Partition number to (leader, replicas, ISR), as a broker says; empty while there is no such topic."""
        found = self.admin.list_topics(topic, timeout=30).topics[topic]
        if found.error:
            return {}
        return {number: (each.leader, each.replicas, sorted(each.isrs)) for number, each in found.partitions.items()}

    def wait_for_isr(self, topic, members=None, seconds=90):
        """Until every partition has all its replicas (or those `members`) in sync, and one of them leads."""

        def whole():
            found = self.partitions(topic)
            return found and all(
                isr == sorted(members if members is not None else replicas) and leader in isr
                for leader, replicas, isr in found.values()
            )

        wait_for(f"the ISR of {topic} is {members or 'whole'}", whole, seconds, every=0.2)


class Znodes:
    """A look at the coordinator, with a session of its own for as long as it takes."""

    def __init__(self, coordinator):
        self.client = KazooClient(coordinator.coordinator, timeout=30)

    def __enter__(self):
        self.client.start(60)
        return self.client

    def __exit__(self, *_):
        self.client.stop()
        self.client.close()


def owners(coordinator):
    """Broker ids that are registered, with the session that owns each."""
    with Znodes(coordinator) as client:
        found = {}
        for name in client.get_children("/brokers/ids"):
            stat = client.exists(f"/brokers/ids/{name}")
            if stat:
                found[int(name)] = stat.ephemeralOwner
        return found


def controller(coordinator):
    """(broker id, controller epoch); None while nobody is."""
    with Znodes(coordinator) as client:
        if not client.exists("/controller"):
            return None
        return json.loads(client.get("/controller")[0])["brokerid"], int(client.get("/controller_epoch")[0])


def expiries(broker):
    """What a broker logged of sessions that ended without its wish."""
    return re.findall(r"^.*(?:[Ss]ession (?:0x\w+ )?(?:has )?expired|Session expired|Expired state).*$", broker.log.read_text(errors="replace"), re.MULTILINE)


class Load:
    """An idempotent producer that asks for all replicas, and what it was told; stops at the end of `with`."""

    def __init__(self, cluster, topic, partitions, pause=0.002):
        self.cluster, self.topic, self.count, self.pause = cluster, topic, partitions, pause
        self.acknowledged = {number: {} for number in range(partitions)}
        self.errors, self.sent, self.stopping = [], 0, threading.Event()
        self.producer = Producer({
            "bootstrap.servers": cluster.bootstrap, "log_level": 0, "enable.idempotence": True, "acks": "all", "linger.ms": 5,
            "delivery.timeout.ms": 300_000, "reconnect.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 2000,
        })  # fmt: skip
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def _delivered(self, error, message):
        if error:
            self.errors.append(str(error))
        else:
            self.acknowledged[message.partition()][message.offset()] = message.value()

    def _run(self):
        while not self.stopping.is_set():
            if len(self.producer) < 2000:
                for partition in range(self.count):
                    self.producer.produce(
                        self.topic, b"record %d" % self.sent, partition=partition, on_delivery=self._delivered
                    )
                    self.sent += 1
            self.producer.poll(self.pause)

    @property
    def total(self):
        return sum(map(len, self.acknowledged.values()))

    def goes_on(self, records=200, seconds=120):
        """Waits until so many more records are acknowledged in every partition."""
        goal = {number: len(found) + records // self.count + 1 for number, found in self.acknowledged.items()}

        def reached():
            return all(len(self.acknowledged[number]) >= wanted for number, wanted in goal.items())

        wait_for("records are acknowledged in every partition", reached, seconds)

    def stop(self):
        if not self.stopping.is_set():
            self.stopping.set()
            self.thread.join(30)
            assert self.producer.flush(120) == 0, "records are left that nobody acknowledged or refused"

    def check(self, bootstrap=None):
        """Reads everything: what was acknowledged is there, once, at the offset that was told."""
        assert not self.errors, self.errors[:3]
        assert self.total == self.sent
        for partition, expected in self.acknowledged.items():
            found = read(bootstrap or self.cluster.bootstrap, self.topic, partition)
            wrong = [offset for offset, value in expected.items() if found.get(offset) != value]
            assert not wrong, f"partition {partition}: {len(wrong)} of {len(expected)} acknowledged records are lost, the first at {min(wrong)}"
            assert len(found) == len(expected), f"partition {partition}: {len(found)} records, {len(expected)} were sent"


def read(bootstrap, topic, partition, seconds=60, **options):
    """Offset to value of all that is in a partition."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False, "enable.partition.eof": True,
        "auto.offset.reset": "error", "log_level": 0, **options,
    })  # fmt: skip
    found, deadline = {}, time.monotonic() + seconds
    try:
        consumer.assign([TopicPartition(topic, partition, 0)])
        while time.monotonic() < deadline:
            for message in consumer.consume(1000, 1):
                if message.error() is None:
                    found[message.offset()] = message.value()
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    return found
                else:
                    assert message.error().retriable(), message.error()
        raise AssertionError(f"{topic}-{partition}: no end of it in {seconds} s, {len(found)} records came")
    finally:
        consumer.close()


def sasl(name, password):
    return {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": name, "sasl.password": password}


def may_write(address, name, password, topic):
    """None if a record of this user's is acknowledged, or Kafka's word for why it is not."""
    outcome = []
    producer = Producer({
        "bootstrap.servers": address, "log_level": 0, "acks": "all", "delivery.timeout.ms": 20_000, **sasl(name, password),
        "error_cb": lambda error: outcome.append(error.name()) if error.name() == "_AUTHENTICATION" else None,
    })  # fmt: skip
    producer.produce(topic, b"by a user", on_delivery=lambda error, _: outcome.append(error.name() if error else None))
    while not outcome:
        producer.poll(0.1)
    return outcome[0]
