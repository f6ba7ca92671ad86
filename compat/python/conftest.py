"""Turns each test into a result line of compat/check, and gives the tests their servers and folders."""

import os
import pathlib
import shutil
import tempfile

import pytest

from servers import embedded

RESULTS = os.environ.get("COMPAT_RESULTS")
_shown = set()
PART = os.environ.get("COMPAT_PART", "python")


def _line(kind, item, detail):
    name = item.removeprefix("test_").replace("_", " ")
    shown = f" ({detail})" if detail else ""
    print(f"{kind:<7} {PART}: {name}{shown}", flush=True)
    if RESULTS:
        with open(RESULTS, "a", encoding="utf-8") as file:
            file.write(f"{kind}\t{PART}: {name}{shown}\n")


def pytest_report_teststatus():
    """No dots: the result lines are the progress."""
    return "", "", ""


def pytest_runtest_logreport(report):
    name = report.nodeid.split("::", 1)[-1]
    if report.failed and report.when in ("setup", "call", "teardown"):
        # A server that does not start fails every test: its reason is shown once.
        if report.when != "setup" or report.longreprtext not in _shown:
            _shown.add(report.longreprtext)
            for line in report.longreprtext.splitlines()[-60:]:
                print(f"    | {line}")
        reason = report.longrepr.reprcrash.message if hasattr(report.longrepr, "reprcrash") else report.longreprtext
        lines = reason.strip().splitlines() or ["no message"]
        _line("failed", name, lines[0][:300])
    elif report.skipped:
        _line("skipped", name, str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "")
    elif report.when == "call":
        _line("passed", name, f"{report.duration:.1f} s")


def pytest_collectreport(report):
    if report.failed:
        print(report.longreprtext)
        _line("failed", report.nodeid, "does not load")


@pytest.fixture(scope="module")
def folder():
    """A scratch folder of the module's own, removed afterwards unless COMPAT_KEEP is set."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="doorkeeper-compat-"))
    yield path
    if os.environ.get("COMPAT_KEEP"):
        print(f"kept {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def doorkeeper(folder):
    """The embedded default, coordinator and broker, on free ports."""
    with embedded(folder / "doorkeeper") as server:
        yield server
