"""A pytest plugin for kazoo's own suite: its cluster waits until it serves, instead of two seconds."""

import os
import socket
import time

import pytest
from kazoo.testing.common import ZookeeperCluster

START_SECONDS = 60


def serves(server):
    """Whether it answers `srvr` as a server that is ready."""
    try:
        with socket.create_connection((server.host, server.client_port), timeout=5) as connection:
            connection.sendall(b"srvr")
            return b"Mode:" in connection.recv(65536)
    except OSError:
        return False


def log_tail():
    with open(os.environ["SUITE_LOG"], encoding="utf-8", errors="replace") as log:
        return "".join(log.readlines()[-5:])


def start(cluster):
    for server in cluster:
        server.run()
    deadline = time.monotonic() + START_SECONDS
    for server in cluster:
        while not serves(server):
            if server.process.poll() is not None or time.monotonic() > deadline:
                # Each test would wait for it anew.
                pytest.exit(f"the server does not start:\n{log_tail()}", returncode=1)
            time.sleep(0.02)


ZookeeperCluster.start = start
