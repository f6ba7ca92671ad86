"""What shakes behind gateways, and gateways that end: clients go on, and nothing acknowledged is lost."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

import gateway_answers
import wire
from gateway_cluster import SESSION_SECONDS, frozen
from gateway_fixtures import APACHE, LONG, leaders
from kafka_cluster import Load
from servers import wait_for

pytest_plugins = ["gateway_fixtures"]


def whole_again(cluster, fronts, topic):
    """The brokers are in sync, and a change shows that the gateways watch again."""
    cluster.in_sync()
    cluster.create(topic, 2)
    gateway_answers.same(cluster, list(fronts.compared()), 60)


def starting_clients(front, leaders_before):
    """Clients that start now find the leaders, and use one of them."""
    assert leaders(front) == leaders_before
    value, told = os.urandom(8).hex().encode(), []
    producer = Producer({"bootstrap.servers": front.bootstrap, "acks": "all", "log_level": 0, "delivery.timeout.ms": 60_000})
    producer.produce("kept", value, on_delivery=lambda error, message: told.append((error, message)))
    assert producer.flush(60) == 0
    (error, message), = told
    assert error is None
    consumer = Consumer({"bootstrap.servers": front.bootstrap, "group.id": f"away-{front.bootstrap}", "log_level": 0})
    consumer.assign([TopicPartition("kept", message.partition(), message.offset())])
    read = wait_for("the record", lambda: consumer.poll(1), 60, every=0)
    assert (read.error(), read.value()) == (None, value)
    consumer.close()


def leaders_now(cluster):
    cluster.in_sync()
    return {number: partition["LeaderId"] for number, partition in cluster.topic("kept").items()}


def acked(cluster, topic, front):
    cluster.create(topic, 3, configs={"min.insync.replicas": "2"})
    return Load(front, topic, 3, pause=0.02)


class Both:
    """Two gateways as a client is told of them."""

    def __init__(self, first, second):
        self.bootstrap = f"{first.bootstrap},{second.bootstrap}"


def test_clients_start_while_the_ensemble_is_stopped(cluster, fronts):
    """A gateway too, which has its image on disk; a producer that was there goes on through the relay."""
    before = leaders_now(cluster)
    with acked(cluster, "through-the-stop", fronts.relay) as load:
        load.goes_on(30)
        begun = time.monotonic()
        cluster.stop_ensemble()
        try:
            for front in (fronts.direct, fronts.relay):
                starting_clients(front, before)
            if not APACHE:
                assert fronts.second.stop() == 0
                fronts.second.start()
                starting_clients(fronts.second, before)
            while LONG and time.monotonic() < begun + 60:
                load.goes_on(30)
        finally:
            cluster.start_ensemble()
        whole_again(cluster, fronts, "after-the-stop")
        load.stop()
        load.check(fronts.relay.bootstrap)
    if not APACHE:
        gateway_answers.same(cluster, [("second", "PLAINTEXT", fronts.second.bootstrap, True)])


def test_clients_start_while_the_ensemble_is_frozen(cluster, fronts):
    before = leaders_now(cluster)
    begun = time.monotonic()
    with cluster.frozen_ensemble():
        for front in (fronts.direct, fronts.relay):
            starting_clients(front, before)
        while LONG and time.monotonic() < begun + 2 * SESSION_SECONDS:
            starting_clients(fronts.relay, before)
    whole_again(cluster, fronts, "after-the-frost")


def test_the_ensembles_leader_is_killed(cluster, fronts):
    leader = cluster.leader()
    leader.kill()
    # The others elect another one, and what changes through it shows.
    assert cluster.leader() is not leader
    whole_again(cluster, fronts, "after-the-leader")
    leader.start()
    whole_again(cluster, fronts, "after-its-return")


@pytest.mark.skipif(APACHE, reason="a gateway is killed")
def test_a_gateway_is_killed(cluster, fronts):
    with acked(cluster, "a-gateway-less", Both(fronts.second, fronts.relay)) as load:
        load.goes_on(30)
        fronts.second.kill()
        load.goes_on(30)
        fronts.second.start()
        load.stop()
        load.check(fronts.relay.bootstrap)
    gateway_answers.same(cluster, list(fronts.compared()))


def test_a_broker_is_frozen(cluster, fronts):
    """Its clients wait; those of the others, and who asks for the metadata, do not."""
    # Led by each broker alone, so that nobody waits for the frozen one's replica.
    cluster.create("one-each", assignment=[[1], [2], [3]])
    cluster.in_sync()
    controller = cluster.controller().broker_id
    cold = 3 if controller != 3 else 2
    with frozen(cluster.brokers[cold]):
        for front in (fronts.direct, fronts.relay):
            assert wire.ask(front.bootstrap, "Metadata", 12, {"Topics": [{"Name": "kept"}]})["Topics"][0]["ErrorCode"] == 0
            told = []
            producer = Producer({"bootstrap.servers": front.bootstrap, "acks": "all", "log_level": 0, "delivery.timeout.ms": 120_000})
            for partition in {1, 2, 3} - {cold}:
                producer.produce("one-each", b"x", partition=partition - 1, on_delivery=lambda error, _: told.append(error))
            wait_for("the other brokers' records", lambda producer=producer, told=told: producer.poll(0.1) is not None and len(told) == 2, 120, every=0)
            assert told == [None, None]
        if LONG and not APACHE:
            # Its session ends: its partitions have other leaders, and it is told of no more.
            def gone():
                answer = wire.ask(fronts.relay.bootstrap, "Metadata", 12, {"Topics": [{"Name": "kept"}]})
                nodes = {broker["NodeId"] for broker in answer["Brokers"]}
                led_by = {partition["LeaderId"] for partition in answer["Topics"][0]["Partitions"]}
                return nodes == led_by == {1, 2, 3} - {cold}

            wait_for("the frozen broker is missed", gone, 60, every=0.2)
    whole_again(cluster, fronts, "after-a-brokers-frost")


def test_a_broker_is_killed_under_a_relayed_producer(cluster, fronts):
    with acked(cluster, "a-broker-less", fronts.relay) as load:
        load.goes_on(30)
        cluster.kill_broker(3)
        load.goes_on(30)
        gateway_answers.same(cluster, list(fronts.compared()))
        load.stop()
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(load.check, address) for address in (fronts.relay.bootstrap, cluster.bootstrap)]:
                done.result()
