"""Answers of gateways in front of three Kafka 3.9.1 brokers and three Apache ZooKeepers 3.9.4, which they may only read."""

import random

import pytest
from confluent_kafka import Producer
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

import gateway_answers
from gateway_fixtures import LONG, no_difference, resolved

pytest_plugins = ["gateway_fixtures"]


def test_answers_are_the_brokers_when_idle(cluster, fronts):
    gateway_answers.same(cluster, list(fronts.compared()))


def test_doorkeeper_diff_is_empty_when_idle(cluster, fronts):
    no_difference(cluster, fronts)


def test_answers_with_many_topics(cluster, fronts):
    """Made and deleted in bursts; each has ten partitions."""
    names = [f"many-{number}" for number in range(500 if LONG else 20)]
    cluster.create_all(dict.fromkeys(names, 10), 2)
    cluster.in_sync()
    gateway_answers.same(cluster, list(fronts.compared()), 120)
    no_difference(cluster, fronts)
    cluster.delete_all(names)
    gateway_answers.same(cluster, list(fronts.compared()), 120)


EVENTS = {
    "a topic is made": lambda cluster: cluster.create("made", 4),
    "it grows": lambda cluster: cluster.grow("made", 6),
    "a partition moves": lambda cluster: cluster.reassign("two-replicas", 0, [3, 1]),
    "a topic is deleted": lambda cluster: cluster.delete("made"),
    "a broker stops": lambda cluster: cluster.stop_broker(3),
    "a topic is made without it": lambda cluster: cluster.create("without", 3, 2),
    "a topic of its is deleted": lambda cluster: cluster.delete("two-replicas"),
    "it grows without it": lambda cluster: cluster.grow("without", 5),
    "the broker is back": lambda cluster: cluster.start_broker(3),
    "the controller moves": lambda cluster: cluster.move_controller(),
    "preferred leaders are elected": lambda cluster: cluster.elect_preferred(),
}


@pytest.mark.parametrize("event", EVENTS)
def test_answers_after(cluster, fronts, event):
    EVENTS[event](cluster)
    gateway_answers.same(cluster, list(fronts.compared()))
    if event in ("a broker stops", "preferred leaders are elected"):
        no_difference(cluster, fronts)


class Drawn:
    """One random event after the other; at most one broker is down."""

    def __init__(self, cluster, seed):
        self.cluster, self.draw, self.made = cluster, random.Random(seed), 0
        self.topics, self.down, self.drawn = {}, None, []

    def make(self):
        self.made += 1
        name = f"drawn-{self.made}"
        self.topics[name] = self.draw.randrange(1, 8)
        self.cluster.create(name, self.topics[name], self.draw.randrange(1, 3))

    def any(self):
        return self.draw.choice(sorted(self.topics))

    def grow(self):
        name = self.any()
        self.topics[name] += 1
        self.cluster.grow(name, self.topics[name])

    def delete(self, name=None):
        name = name or self.any()
        del self.topics[name]
        self.cluster.delete(name)

    def topics_of(self, broker):
        """Those of which a replica is there."""
        found = {name: self.cluster.topic(name) for name in sorted(self.topics)}
        return [name for name, parts in found.items() if any(broker in part["ReplicaNodes"] for part in parts.values())]

    def delete_with_dead_replica(self):
        self.delete(self.draw.choice(self.topics_of(self.down)))

    def configure(self):
        self.cluster.configure(self.any(), "retention.ms", str(self.draw.randrange(86_400_000, 99_000_000)))

    def move(self):
        replicas = self.draw.sample(sorted(self.cluster.live), 2)
        self.cluster.reassign(self.any(), 0, replicas)

    def one_down(self):
        self.down = self.draw.choice([number for number in (1, 2, 3) if self.topics_of(number)])
        return self.down

    def stop(self):
        self.cluster.stop_broker(self.one_down())

    def kill(self):
        self.cluster.kill_broker(self.one_down())

    def come_back(self):
        self.cluster.start_broker(self.down)
        self.down = None

    def next(self):
        """Draws an event and lets it happen; as long as there are kinds that have not been drawn, one of these."""
        choices = [self.make, self.make]
        if self.topics:
            choices += [self.delete, self.configure, self.grow]
        if self.down is None:
            choices += [self.cluster.move_controller, self.cluster.elect_preferred]
            choices += [self.stop, self.kill, self.move, self.move] if self.topics else []
        else:
            choices += [self.come_back, self.come_back]
            choices += [self.delete_with_dead_replica] * 2 if self.topics_of(self.down) else []
        new = [choice for choice in choices if choice.__name__ not in self.drawn]
        chosen = self.draw.choice(new or choices)
        self.drawn.append(chosen.__name__)
        chosen()


KINDS = {
    "make", "grow", "delete", "delete_with_dead_replica", "configure", "move", "stop", "kill", "come_back", "move_controller",
    "elect_preferred",
}  # fmt: skip


def test_answers_after_random_events(cluster, fronts):
    drawn = Drawn(cluster, 10)
    try:
        for _ in range(50 if LONG else 2):
            drawn.next()
            gateway_answers.same(cluster, list(fronts.compared()))
            if LONG:
                no_difference(cluster, fronts)
    except AssertionError as error:
        raise AssertionError(f"after {drawn.drawn}: {error}") from error
    finally:
        if drawn.down:
            drawn.come_back()
    no_difference(cluster, fronts)
    assert not LONG or set(drawn.drawn) == KINDS, drawn.drawn


def partitions_of(front, topic, keys, partitioner):
    """Where librdkafka puts these keys."""
    placed = {}
    producer = Producer({"bootstrap.servers": front.bootstrap, "partitioner": partitioner, "log_level": 0})
    for key in keys:
        producer.produce(topic, b"x", key.encode(), on_delivery=lambda error, message: placed.setdefault(message.key().decode(), error or message.partition()))
    assert producer.flush(60) == 0
    return placed


def test_keys_are_resolved_as_librdkafka_does(fronts):
    keys = [f"key {number}" for number in range(12)]
    for ours, theirs in (("librdkafka", "consistent"), ("java", "murmur2")):
        placed = partitions_of(fronts.direct, "kept", keys, theirs)
        for key in keys:
            said = resolved(fronts.direct, "--topic", "kept", "--key", key, "--partitioner", ours)
            assert said["key"]["partition"] == placed[key], (theirs, key)


def test_groups_are_resolved_as_the_broker_does(cluster, fronts):
    for front in (fronts.direct, fronts.relay):
        for option, kind in (("--group", 0), ("--transactional-id", 1)):
            said = resolved(front, option, "of somebody")["coordinators"][0]
            broker = cluster.any_broker().ask("FindCoordinator", 3, {"Key": "of somebody", "KeyType": kind})
            assert said["broker"] == broker["NodeId"] >= 0


def test_who_does_not_log_in_can_not_write(cluster, roots):
    """Nor have the gateways, which don't: they could have made top-level znodes alone."""
    session = KazooClient(cluster.zookeeper, timeout=30)
    session.start(60)
    try:
        for path in ("/brokers/topics/kept", "/brokers/ids/1", "/controller_epoch"):
            with pytest.raises(NoAuthError):
                session.set(path, b"x")
        with pytest.raises(NoAuthError):
            session.create("/brokers/ids/9", b"x", ephemeral=True)
        assert sorted(session.get_children("/")) == roots
    finally:
        session.stop()
        session.close()
