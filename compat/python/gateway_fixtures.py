"""The cluster and the gateways that all tests of a run share: a pytest plugin, which the test files name.

One story over several files, in their order on the command line. A direct gateway (clients go on to the
brokers) and two with the relay on; `COMPAT_AGAINST=apache` puts brokers in the gateways' place, which is how
the tests are tested.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from gateway_cluster import Cluster, Gateway
from servers import WORK, wait_for

APACHE = os.environ.get("COMPAT_AGAINST") == "apache"
LONG = bool(os.environ.get("COMPAT_LONG"))


class BrokerInstead:
    """A broker in a gateway's place."""

    def __init__(self, broker):
        self.bootstrap, self.outside, self.relay = broker.bootstrap, broker.outside, False


class Fronts:
    """The gateways, by name, and what they are compared by."""

    def __init__(self, direct, relay, second):
        self.direct, self.relay, self.second = direct, relay, second

    def compared(self):
        yield "direct", "PLAINTEXT", self.direct.bootstrap, False
        yield "direct, outside", "OUTSIDE", self.direct.outside, False
        yield "relay", "PLAINTEXT", self.relay.bootstrap, self.relay.relay


@pytest.fixture(scope="session")
def shared_folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="doorkeeper-compat-"))
    yield path
    if os.environ.get("COMPAT_KEEP"):
        print(f"kept {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(shared_folder):
    with Cluster(shared_folder / "cluster") as started:
        started.create("kept", 6)
        started.create("two-replicas", 4, 2)
        started.create_internal_topics()
        started.in_sync()
        yield started


@pytest.fixture(scope="session")
def roots(cluster):
    """The top-level znodes before any gateway came."""
    with cluster.znodes() as session:
        return sorted(session.get_children("/"))


@pytest.fixture(scope="session")
def fronts(shared_folder, cluster, roots):
    del roots
    if APACHE:
        yield Fronts(*(BrokerInstead(cluster.brokers[number]) for number in (2, 1, 2)))
        return
    both = {
        "listeners": "PLAINTEXT://127.0.0.1:0,OUTSIDE://127.0.0.1:0",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OUTSIDE:PLAINTEXT",
    }
    # It is started again while the ensemble is away: from its disk, when it has waited for this long.
    on_disk = {
        "doorkeeper.gateway.image.dir": str(shared_folder / "image"),
        "zookeeper.connection.timeout.ms": "3000",
    }
    with (
        Gateway(shared_folder / "direct", cluster, overrides=both) as direct,
        Gateway(shared_folder / "relay", cluster, relay=True) as relay,
        Gateway(shared_folder / "second", cluster, relay=True, overrides=on_disk) as second,
    ):
        yield Fronts(direct, relay, second)


def doorkeeper(*arguments, code=0):
    """What a command of doorkeeper's prints; it must end with this code."""
    binary = os.environ.get("DOORKEEPER") or WORK.parent / "release" / "doorkeeper"
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def resolved(front, *arguments, code=0):
    return json.loads(doorkeeper("resolve", "--bootstrap", front.bootstrap, "--json", *arguments, code=code))


def no_difference(cluster, fronts):
    """`doorkeeper diff` of gateway and broker, and of broker and ensemble, is empty."""
    cluster.settle()
    broker = cluster.any_broker().bootstrap
    assert doorkeeper("diff", fronts.direct.bootstrap, broker, "--addresses", "--wait", 30) == ""
    assert doorkeeper("diff", fronts.relay.bootstrap, broker, "--wait", 30) == ""
    assert doorkeeper("diff", f"zookeeper://{cluster.zookeeper}", broker, "--addresses", "--listener", "PLAINTEXT", "--wait", 30) == ""


def leaders(front, topic="kept"):
    (found,) = resolved(front, "--topic", topic)["topics"]
    return {each["partition"]: each["leader"] for each in found["partitions"]}


def lines_of(name, count=60):
    return [f"{name} {number}" for number in range(count)]
