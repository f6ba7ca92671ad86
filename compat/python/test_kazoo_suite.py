"""kazoo's own test suite on Apache ZooKeeper 3.9.4, standalone, and on doorkeeper."""

import os
import re
import subprocess
import sys

# Tests of kazoo's suite that may fail on ours, with the reason. What also fails on Apache ZooKeeper 3.9.4
# standalone is not listed: it is compared with a run there.
ALLOWED = {
    "reconfig": "an ensemble's operation; one server answers as ZooKeeper's standalone does once it is built",
}


def test_kazoo_suite(folder):
    """kazoo's own test suite: whatever passes on ZooKeeper passes on ours."""
    outcomes = {}
    for kind in ("zookeeper", "doorkeeper"):
        environment = {**os.environ, "KAZOO_SUITE_SERVER": kind, "KAZOO_SUITE_FOLDER": str(folder / f"suite-{kind}"), "ZOOKEEPER_VERSION": "3.9.4", "COMPAT_RESULTS": "", "PYTHONPATH": os.path.dirname(__file__)}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "kazoo_suite", "-p", "no:cacheprovider", "-q", "-rA", "--tb=no", "--pyargs", "kazoo.tests",
             "--deselect", "kazoo.tests.test_eventlet_handler", "--deselect", "kazoo.tests.test_gevent_handler"],
            env=environment, cwd=folder, capture_output=True, timeout=1500, check=False,
        )  # fmt: skip
        found = {}
        for verdict, name in re.findall(r"^(PASSED|FAILED|ERROR) \S*?(test_\w+\.py::\S+)", done.stdout.decode(), flags=re.M):
            found[name] = verdict
        assert len(found) > 200, done.stdout.decode()[-3000:] + done.stderr.decode()[-1000:]
        outcomes[kind] = found
    passed = {name for name, verdict in outcomes["zookeeper"].items() if verdict == "PASSED"}
    worse = sorted(
        name for name in passed
        if outcomes["doorkeeper"].get(name) != "PASSED" and not any(word in name for word in ALLOWED)
    )  # fmt: skip
    assert not worse, f"{len(worse)} of {len(passed)}: {worse}"
