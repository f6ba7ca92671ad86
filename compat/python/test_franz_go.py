"""franz-go: its own programme (compat/go) does the talking; here the stored batches are looked at as well."""

import subprocess

import pytest

import wire
from servers import WORK

NAMES = [f"franz-{codec}-{kind}" for codec in wire.CODECS for kind in ("plain", "idempotent")]


@pytest.fixture(scope="module")
def outcomes(doorkeeper):
    done = subprocess.run([WORK / "franz", doorkeeper.bootstrap], capture_output=True, timeout=180, check=False)
    lines = done.stdout.decode(errors="replace").splitlines()
    found = {line.split()[1].rstrip(":"): line for line in lines if line.startswith(("ok ", "failed "))}
    assert found, done.stderr.decode()[-3000:]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_produce_and_consume(doorkeeper, outcomes, name):
    assert outcomes.get(name) == f"ok {name}"
    _, codec, kind = name.split("-")
    batches = wire.stored_batches(doorkeeper.log_dir, name)
    assert {batch["codec"] for batch in batches} == {wire.CODECS[codec]}
    assert all((batch["producer_id"] >= 0) == (kind == "idempotent") for batch in batches)
    assert sum(batch["count"] for batch in batches) == 300


def test_admin(outcomes):
    assert outcomes.get("franz-admin") == "ok franz-admin"
