"""A pytest plugin: kazoo's own suite on one server of ours, instead of an ensemble that it starts itself."""

import atexit
import os
import pathlib
import sys
import types

# Its harness makes certificates for an ensemble and counts objects with these; nothing here needs them.
for name in ("OpenSSL", "jks", "objgraph"):
    sys.modules.setdefault(name, types.ModuleType(name))
sys.modules["objgraph"].count = lambda *_: 0

import kazoo.testing.harness  # noqa: E402

from servers import Doorkeeper, ZooKeeper  # noqa: E402

SUPER = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="


class Node:
    """One server, as kazoo's harness handles it."""

    def __init__(self):
        folder = pathlib.Path(os.environ["KAZOO_SUITE_FOLDER"])
        if os.environ["KAZOO_SUITE_SERVER"] == "zookeeper":
            self.server = ZooKeeper(folder, properties=[f"-Dzookeeper.DigestAuthenticationProvider.superDigest={SUPER}"])
        else:
            self.server = Doorkeeper(folder, roles=["coordinator"])
        self.running = False
        self.secure_address = "none"

    @property
    def address(self):
        return self.server.coordinator

    @property
    def client_port(self):
        return int(self.address.rsplit(":", 1)[1])

    def run(self):
        if not self.running:
            self.server.start()
            self.running = True

    def stop(self):
        self.server.stop()
        self.running = False

    def reset(self):
        pass


class Cluster(list):
    def start(self):
        for node in self:
            node.run()

    def stop(self):
        for node in self:
            node.stop()

    def terminate(self):
        self.stop()

    def reset(self):
        pass

    def get_logs(self):
        return []


_cluster = Cluster([Node()])
_cluster.start()
atexit.register(_cluster.terminate)
kazoo.testing.harness.get_global_cluster = lambda: _cluster
