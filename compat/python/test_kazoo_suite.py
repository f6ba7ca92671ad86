"""kazoo's own test suite, as kazoo ships it; its harness starts and stops the servers, with a `java` of ours.

compat/bin/java runs doorkeeper on the zoo.cfg, the keystores and the JAAS file that the harness wrote, with the
flags that it gave: so the tests of restarts, TLS and SASL run too. The long form runs it on Apache ZooKeeper
3.9.4 as well: whatever passes there passes on ours.
"""

import functools
import os
import pathlib
import shutil
import subprocess
import xml.etree.ElementTree
from concurrent.futures import ThreadPoolExecutor

import pytest

from servers import WORK, free_port

APACHE = os.environ.get("COMPAT_AGAINST") == "apache"
LONG = bool(os.environ.get("COMPAT_LONG"))
PYTHON = WORK / "venv-kazoo-suite" / "bin" / "python"
AT_ONCE = 3
# kazoo's tests wait for fixed times in places: what fails runs again by itself, and counts if it never passes.
TRIES = 3

# What can't pass on one server, Apache's or ours.
NEEDS_AN_ENSEMBLE = {
    "test_client.TestClient.test_update_host_list",
    "test_eventlet_handler.TestEventletClient.test_update_host_list",
    "test_gevent_handler.TestGeventClient.test_update_host_list",
    "test_client.TestReconfig.test_add_remove_observer",
    "test_client.TestReconfig.test_bad_input",
    "test_client.TestReconfig.test_no_super_auth",
}
# Stops two of three servers, so that the third goes over to it.
NEEDS_READ_ONLY_MODE = {"test_connection.TestReadOnlyMode.test_read_only"}
# What kazoo itself leaves out here.
NEEDS_KERBEROS = {
    "test_sasl.TestSASLGSSAPIAuthentication.test_connect_gssapi_auth",
    "test_sasl.TestSASLGSSAPIAuthentication.test_invalid_gssapi_auth",
}


def node(name, tests):
    """pytest's name of a test, from `module.Class.test`."""
    module, *rest = name.split(".")
    return "::".join([str(tests / f"{module}.py"), *rest])


def run(kind, folder, number, targets):
    """Runs tests in a pytest process with a server of its own; test to "passed", "failed" or "skipped"."""
    folder = folder / f"{kind}-{number}"
    folder.mkdir(parents=True)
    logback = folder / "logback.xml"
    logback.write_text(
        "<configuration><appender name='out' class='ch.qos.logback.core.ConsoleAppender'><encoder>"
        "<pattern>%d{ISO8601} %-5p %c{1} - %m%n</pattern></encoder></appender>"
        "<root level='WARN'><appender-ref ref='out'/></root></configuration>\n"
    )
    environment = {
        **os.environ,
        "PATH": f"{pathlib.Path(__file__).parents[1] / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": os.path.dirname(__file__),
        "TMPDIR": str(folder),
        # One test compares the server's version with the one below, and only where this is set.
        "CI": "true",
        "SUITE_LOG": str(folder / "server.log"),
        "ZOOKEEPER_CLUSTER_SIZE": "1",
        "ZOOKEEPER_VERSION": "3.9.4",
        "ZOOKEEPER_CLASSPATH": f"{WORK / 'zookeeper-3.9.4'}/*",
        "ZOOKEEPER_PORT_OFFSET": str(free_port()),
        "JAVA_TOOL_OPTIONS": f"-Dlogback.configurationFile={logback}",
        "COMPAT_RESULTS": "",
    }
    if kind == "zookeeper":
        environment["SUITE_JAVA"] = shutil.which("java")
    report = folder / "report.xml"
    command = [PYTHON, "-m", "pytest", "-p", "kazoo_suite", "-p", "no:cacheprovider", "-q", "--tb=short", f"--junitxml={report}", *targets]
    with open(folder / "out", "wb") as out:
        subprocess.run(command, env=environment, cwd=folder, stdout=out, stderr=out, timeout=900, check=False)
    assert report.exists(), (folder / "out").read_text(errors="replace")[-3000:]
    found = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        # What stands before the package depends on where pytest takes the root folder to be.
        name = f"{case.get('classname').rpartition('kazoo.tests.')[2]}.{case.get('name')}"
        tags = {child.tag for child in case}
        verdict = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        # A test whose teardown fails is there twice.
        if found.get(name) != "failed":
            found[name] = verdict
    return found


def suite(kind, folder):
    """Runs it all, and again what failed; the verdict on each test."""
    asked = subprocess.run([PYTHON, "-c", "import kazoo.tests; print(kazoo.tests.__path__[0])"], capture_output=True, check=True)
    tests = pathlib.Path(asked.stdout.decode().strip())
    # The largest files first, so that no long one is left alone at the end.
    files = sorted(tests.glob("test_*.py"), key=lambda file: -file.stat().st_size)
    verdicts = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for found in pool.map(functools.partial(run, kind, folder), [file.stem for file in files], [[file] for file in files]):
            verdicts.update(found)
    assert len(verdicts) > 480, f"kazoo's suite has more than {len(verdicts)} tests"
    for number in range(1, TRIES):
        again = sorted(name for name, verdict in verdicts.items() if verdict == "failed" and name not in NEEDS_AN_ENSEMBLE | NEEDS_READ_ONLY_MODE)
        if again:
            print(f"on {kind}, again: {again}")
            verdicts.update(run(kind, folder, f"again-{number}", [node(name, tests) for name in again]))
    return verdicts


def named(verdicts, verdict):
    return {name for name, found in verdicts.items() if found == verdict}


@pytest.fixture(scope="module")
def ours(folder):
    return suite("zookeeper" if APACHE else "doorkeeper", folder)


def test_kazoo_suite_passes(ours):
    failed = named(ours, "failed") - NEEDS_AN_ENSEMBLE - NEEDS_READ_ONLY_MODE
    assert not failed, f"{len(failed)} of {len(ours)}: {sorted(failed)}"


def test_kazoo_suite_skips_nothing_else(ours):
    assert named(ours, "skipped") == NEEDS_KERBEROS


if LONG:

    def test_kazoo_suite_on_zookeeper_passes_nothing_more(ours, folder):
        theirs = suite("zookeeper", folder / "long")
        assert named(theirs, "failed") == NEEDS_AN_ENSEMBLE | NEEDS_READ_ONLY_MODE
        assert named(theirs, "passed") <= named(ours, "passed")
