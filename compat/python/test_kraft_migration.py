"""Kafka's migration from ZooKeeper to KRaft (KIP-866), run to its end with our coordinator in ZooKeeper's place.

Apache's brokers and controllers of 3.9.1, restarted one by one as Kafka's guide says, under load; the tests
are its steps and run in this order.
"""

import base64
import json
import os

import pytest
from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AlterConfigOpType, ConfigEntry, ConfigResource,
    ResourcePatternType, ResourceType, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion,
)  # fmt: skip

import tools
from kafka_cluster import Cluster, Load, Znodes, controller, expiries, may_write
from servers import Doorkeeper, Kafka, ZooKeeper, free_port, wait_for

APACHE = os.environ.get("COMPAT_AGAINST") == "apache"
LONG = bool(os.environ.get("COMPAT_LONG"))
BROKER_COUNT, CONTROLLER_COUNT = (3, 3) if LONG else (2, 1)
PARTITIONS = 4
MIGRATED = "Completed migration of metadata from ZooKeeper to KRaft"
# Settings that only a broker in ZooKeeper mode may have.
ZOOKEEPER_ONLY = ("broker.id", "inter.broker.protocol.version", "controlled.shutdown.enable")


class Controller(Kafka):
    """A KRaft controller, of the quorum that takes over; `migrates` until the migration is final."""

    def __init__(self, folder, zookeeper, node_id, port):
        self.name = f"controller-{node_id}"
        super().__init__(folder / self.name, zookeeper, node_id, heap_megabytes=320)
        self.node_id, self.address = node_id, f"127.0.0.1:{port}"
        self.configuration = {
            "process.roles": "controller",
            "node.id": str(node_id),
            "listeners": f"CONTROLLER://{self.address}",
            "log.dirs": str(self.log_dir),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "zookeeper.connect": zookeeper,
            "zookeeper.metadata.migration.enable": "true",
        }

    def format(self, cluster_id):
        self.command()  # Writes server.properties.
        tools.run("3.9.1", "storage", "format", f"--cluster-id={cluster_id}", "--config", self.folder / "server.properties")

    def ready(self):
        return "Kafka Server started" in self.log_of_this_start()


class Steps:
    """The brokers, the controllers that take over, and the load."""

    def __init__(self, folder, coordinator):
        self.coordinator = coordinator
        replicas = {"min.insync.replicas": str(BROKER_COUNT - 1), "offsets.topic.replication.factor": str(BROKER_COUNT)}
        self.cluster = Cluster(folder, coordinator, BROKER_COUNT, replicas)
        ports = {3000 + number: free_port() for number in range(CONTROLLER_COUNT)}
        self.quorum = {
            "controller.quorum.voters": ",".join(f"{node}@127.0.0.1:{port}" for node, port in ports.items()),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OUTSIDE:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        }
        self.controllers = [Controller(folder, coordinator.coordinator, node, port) for node, port in ports.items()]
        for each in self.controllers:
            each.configuration.update(self.quorum)

    def __enter__(self):
        self.cluster.__enter__()
        return self

    def __exit__(self, *_):
        self.cluster.kill()
        for each in self.controllers:
            each.kill()

    def restart(self, broker, change, ready=None):
        """Stops a broker, lets its configuration be changed, and starts it again; its replicas catch up."""
        assert broker.stop(60) is not None, f"{broker.name} does not stop"
        change(broker.configuration)
        if ready:
            broker.ready = lambda: ready in broker.log_of_this_start()
        broker.start(120)
        self.cluster.wait_for_isr("before")
        self.load.goes_on(50)


@pytest.fixture(scope="module")
def steps(folder):
    if APACHE:
        server = ZooKeeper(folder / "zookeeper")
    else:
        server = Doorkeeper(folder / "coordinator", roles=["coordinator"])
    with server, Steps(folder, server) as running:
        yield running


def rule(user):
    return AclBinding(ResourceType.TOPIC, "users", ResourcePatternType.LITERAL, f"User:{user}", "*", AclOperation.ALL, AclPermissionType.ALLOW)


def add_user(admin, name):
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    change = UserScramCredentialUpsertion(name, info, f"{name}'s word".encode())
    admin.alter_user_scram_credentials([change])[name].result(30)
    admin.create_acls([rule(name)])[rule(name)].result(30)


def users_may_write(steps, *users):
    for user in users:
        for broker in steps.cluster.brokers.values():
            wait_for(f"{user} may write", lambda user=user, broker=broker: may_write(broker.outside, user, f"{user}'s word", "users") is None, every=0.2)


def retention(steps, topic):
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    return steps.cluster.admin.describe_configs([resource])[resource].result(30)["retention.ms"].value


def set_retention(steps, topic, value):
    entry = ConfigEntry("retention.ms", value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    steps.cluster.admin.incremental_alter_configs([resource])[resource].result(30)


def test_a_cluster_in_zookeeper_mode(steps):
    steps.cluster.create("before", PARTITIONS, {"retention.ms": "86400001"})
    steps.cluster.create("users", 1)
    steps.cluster.wait_for_isr("before")
    add_user(steps.cluster.admin, "early")
    steps.load = Load(steps.cluster, "before", PARTITIONS).__enter__()
    steps.load.goes_on()
    users_may_write(steps, "early")


def test_controllers_start_and_wait_for_the_brokers(steps):
    with Znodes(steps.coordinator) as client:
        cluster_id = json.loads(client.get("/cluster/id")[0])["id"]
    assert len(base64.urlsafe_b64decode(cluster_id + "==")) == 16
    for each in steps.controllers:
        each.format(cluster_id)
        each.spawn()
    for each in steps.controllers:
        wait_for(f"{each.name} serves", each._ready_or_dead, 120)
    steps.load.goes_on(50)


def test_brokers_restart_in_migration_mode_and_the_metadata_migrates(steps):
    def migrating(configuration):
        configuration.update({**steps.quorum, "zookeeper.metadata.migration.enable": "true", "inter.broker.protocol.version": "3.9"})

    for broker in steps.cluster.brokers.values():
        steps.restart(broker, migrating)
    wait_for("the metadata has migrated", lambda: any(MIGRATED in each.log.read_text() for each in steps.controllers), 120)
    with Znodes(steps.coordinator) as client:
        assert json.loads(client.get("/migration")[0])["kraft_controller_id"] >= 3000
        assert json.loads(client.get("/controller")[0])["brokerid"] >= 3000
    steps.load.goes_on()


def test_what_changes_now_is_written_to_both(steps):
    """The controllers write to the znodes too, over a kill of the coordinator."""
    epoch = controller(steps.coordinator)
    for name in ("during", "after-kill"):
        steps.cluster.create(name, 2, {"retention.ms": "86400002"})
        set_retention(steps, name, "86400003")
        add_user(steps.cluster.admin, f"of-{name}")
        with Znodes(steps.coordinator) as client:
            wait_for("the topic's znode", lambda name=name, client=client: client.exists(f"/brokers/topics/{name}/partitions/1/state"))
            wait_for("its configuration", lambda name=name, client=client: json.loads(client.get(f"/config/topics/{name}")[0])["config"] == {"retention.ms": "86400003"})
            wait_for("the user", lambda name=name, client=client: client.exists(f"/config/users/of-{name}"))
            wait_for("the ACL", lambda name=name, client=client: f"User:of-{name}" in client.get("/kafka-acl/Topic/users")[0].decode())
        if name == "during":
            steps.coordinator.kill()
            steps.coordinator.start()
            assert controller(steps.coordinator) == epoch
    users_may_write(steps, "early", "of-during", "of-after-kill")
    steps.load.goes_on()


def test_brokers_restart_as_kraft(steps):
    for broker in steps.cluster.brokers.values():
        assert not expiries(broker), expiries(broker)[:3]

    def kraft(configuration):
        number = configuration["broker.id"]
        for key in [key for key in configuration if key in ZOOKEEPER_ONLY or key.startswith("zookeeper.")]:
            del configuration[key]
        configuration.update({
            "process.roles": "broker", "node.id": number,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        })  # fmt: skip

    for broker in steps.cluster.brokers.values():
        steps.restart(broker, kraft, "Kafka Server started")
    with Znodes(steps.coordinator) as client:
        wait_for("no broker is registered any more", lambda: not client.get_children("/brokers/ids"))


def test_controllers_restart_and_the_coordinator_is_not_needed(steps):
    for each in steps.controllers:
        assert each.stop(60) is not None, f"{each.name} does not stop"
        for key in [key for key in each.configuration if key.startswith("zookeeper.")]:
            del each.configuration[key]
        each.start(120)
        assert not expiries(each), expiries(each)[:3]
    steps.load.goes_on()
    steps.coordinator.stop()
    steps.cluster.create("after", 2)
    steps.cluster.wait_for_isr("after")
    assert [retention(steps, topic) for topic in ("before", "during", "after-kill")] == ["86400001", "86400003", "86400003"]
    anything = AclBindingFilter(ResourceType.TOPIC, "users", ResourcePatternType.LITERAL, None, None, AclOperation.ANY, AclPermissionType.ANY)
    found = steps.cluster.admin.describe_acls(anything).result(30)
    assert {each.principal for each in found} == {"User:early", "User:of-during", "User:of-after-kill"}
    users_may_write(steps, "early", "of-during", "of-after-kill")


def test_every_record_is_there(steps):
    steps.load.goes_on()
    steps.load.stop()
    assert steps.load.total > 500
    steps.load.check()
