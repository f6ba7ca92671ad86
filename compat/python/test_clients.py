"""ZooKeeper clients in other languages, each a programme of its own that prints a line a check.

Curator and ZooKeeper's own Java client (compat/java/clients), the C client (compat/c) and go-zookeeper
(compat/go-zookeeper). A programme that says "restart" has its server killed and started again.
"""

import os
import subprocess
import threading

import pytest

from servers import WORK, Doorkeeper, ZooKeeper, java

APACHE = os.environ.get("COMPAT_AGAINST") == "apache"
SECONDS = 240
PROGRAMMES = {
    "curator": [
        "basics", "transactions", "access-control", "locks", "leaders", "watches", "nodes-and-counters", "discovery",
        "ensemble-tracker", "containers-and-ttl", "caches-over-a-restart", "session-over-a-restart",
    ],
    "failover-controller": ["election", "access-control", "nobody-changes-over-a-restart", "failover-and-fencing"],
    "c": ["basics", "watches", "pipelined", "transactions", "access-control", "session-is-handed-over", "over-a-restart"],
    "go": ["basics", "watches", "transactions", "access-control", "locks", "four-letter-words", "over-a-restart"],
}  # fmt: skip
SWEEP = {"znode.container.checkIntervalMs": "200"}


def command(programme, address):
    """How it is started."""
    return {
        "curator": java(192, "curator-5.9.0", "Curator", address),
        "failover-controller": java(192, "curator-5.9.0", "FailoverController", address),
        "c": [WORK / "c-client", address],
        "go": [WORK / "go-zookeeper", address],
    }[programme]


@pytest.fixture(scope="module")
def server(folder):
    if APACHE:
        properties = [f"-D{key}={value}" for key, value in SWEEP.items()]
        started = ZooKeeper(folder / "zookeeper", {"extendedTypesEnabled": "true"}, properties=properties)
    else:
        started = Doorkeeper(folder / "doorkeeper", {"extendedTypesEnabled": "true", **SWEEP}, roles=["coordinator"])
    with started:
        yield started


_outcomes = {}


def outcomes(programme, server):
    """Runs a programme once; check to the line that it printed."""
    if programme not in _outcomes:
        _outcomes[programme] = {}
        process = subprocess.Popen(
            command(programme, server.coordinator), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )  # fmt: skip
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                word, _, rest = line.strip().partition(" ")
                if word in ("ok", "failed"):
                    _outcomes[programme][rest.partition(":")[0]] = line.strip()
                elif line.strip() == "restart":
                    server.kill()
                    server.start()
                    process.stdin.write("restarted\n")
                    process.stdin.flush()
            code = process.wait()
        finally:
            timer.cancel()
            process.kill()
        if code or any(line.startswith("failed") for line in _outcomes[programme].values()):
            print(f"{programme} ended with {code}:\n{''.join(said)[-4000:]}")
    return _outcomes[programme]


@pytest.mark.parametrize(("programme", "name"), [(programme, name) for programme, names in PROGRAMMES.items() for name in names])
def test_client(server, programme, name):
    assert outcomes(programme, server).get(name) == f"ok {name}"
