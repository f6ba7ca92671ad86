"""What few clients ask for, byte for byte beside Apache ZooKeeper 3.9.4: containers and TTL nodes with
their sweeps, quotas, own ephemerals, counts, who am I, reconfig. As test_zookeeper.py, with the features on.
"""

import os

import pytest

from jute import (
    CONTAINER,
    EPHEMERAL,
    SEQUENTIAL,
    SEQUENTIAL_TTL,
    TTL,
    buffer,
    create,
    create_ttl,
    integer,
    multi,
    reconfig,
    set_data,
    versioned,
    watched,
)
from servers import Doorkeeper, ZooKeeper
from test_zookeeper import compare

LONG_TTL = 3_600_000
SWEEPS = {
    "znode.container.checkIntervalMs": "100",
    "znode.container.maxPerMinute": "60000",
    "znode.container.maxNeverUsedIntervalMs": "0",
}


def servers_of(folder, settings):
    """ZooKeeper and doorkeeper on the same zoo.cfg, not started; sweeps are system properties to the one."""
    properties = [f"-D{key}={value}" for key, value in SWEEPS.items()]
    zookeeper = ZooKeeper(folder / "zookeeper", settings, properties=properties)
    other = ZooKeeper(folder / "doorkeeper", settings, properties=properties)
    if os.environ.get("COMPAT_AGAINST") == "apache":
        return zookeeper, other
    other.command()  # Writes its zoo.cfg.
    files = [folder / "doorkeeper" / "zoo.cfg"]
    return zookeeper, Doorkeeper(folder / "doorkeeper", {"clientPort": "0", **SWEEPS}, files=files)


@pytest.fixture(scope="module")
def pair(folder):
    settings = {
        "tickTime": "400",
        "maxSessionTimeout": "60000",
        "extendedTypesEnabled": "true",
        "enforceQuota": "true",
        "reconfigEnabled": "true",
    }
    zookeeper, doorkeeper = servers_of(folder / "on", settings)
    with zookeeper, doorkeeper:
        yield zookeeper, doorkeeper


def test_containers(pair):
    def steps(script):
        a, b = script.connect("a"), script.connect("b")
        a.ask("createContainer", create("/c", b"x", CONTAINER))
        a.ask("createContainer", create("/c", b"x", CONTAINER))
        a.ask("getData", watched("/c"))
        for flags in (0, EPHEMERAL, SEQUENTIAL, TTL, 9, -1):
            a.ask("createContainer", create(f"/c/flags{flags}", b"", flags))
        a.ask("create2", create("/c/plain", b"", CONTAINER))
        a.ask("createContainer", create("c", b"", CONTAINER))
        a.ask("createContainer", create(None, b"", CONTAINER))
        a.ask("createContainer", create("/c/acl", b"", CONTAINER, acl=[]))
        a.ask("getChildren2", watched("/c"))
        a.ask("create", create("/c/plain/e", b"", EPHEMERAL))
        a.ask("createContainer", create("/c/plain/e/x", b"", CONTAINER))
        a.ask("multi", multi(("createContainer", create("/c/m", b"", CONTAINER)), ("create", create("/c/m2", b"", CONTAINER)), ("create2", create("/c/m/x"))))
        a.ask("multi", multi(("createContainer", create("/c/m3", b"", 0)), ("createContainer", create("/c/m4-", b"", SEQUENTIAL)), ("check", versioned("/nobody"))))
        a.ask("multi", multi(("createContainer", create("/c/m5", b"", TTL))))
        # Only what had children is swept, and nothing that has some.
        b.ask("exists", watched("/c/m", True))
        a.ask("delete", versioned("/c/m/x"))
        b.read()
        a.ask("exists", watched("/c/m2"))
        a.ask("getChildren2", watched("/c"))
        a.ask("setData", set_data("/c/m2", b"y"))

    compare(pair, steps)


def test_ttl_nodes(pair):
    def steps(script):
        a, b = script.connect("a"), script.connect("b")
        a.ask("create", create("/t"))
        a.ask("createTTL", create_ttl("/t/1", LONG_TTL))
        a.ask("createTTL", create_ttl("/t/n-", LONG_TTL, SEQUENTIAL_TTL))
        a.ask("createTTL", create_ttl("/t/1", LONG_TTL))
        a.ask("getData", watched("/t/1"))
        for ttl in (0, -1, 1 << 40, (1 << 40) - 1, -(1 << 63)):
            a.ask("createTTL", create_ttl(f"/t/ttl{ttl}", ttl))
        for flags in (0, EPHEMERAL, CONTAINER, 9):
            a.ask("createTTL", create_ttl(f"/t/flags{flags}", LONG_TTL, flags))
        a.ask("createTTL", create_ttl("t", LONG_TTL))
        a.ask("createTTL", create_ttl(None, LONG_TTL))
        a.ask("createTTL", create("/t/cut", b"", TTL))
        a.ask("create", create("/t/plain", b"", TTL))
        a.ask("create2", create("/t/plain", b"", SEQUENTIAL_TTL))
        a.ask("multi", multi(("createTTL", create_ttl("/t/m", LONG_TTL)), ("createTTL", create_ttl("/t/m2", LONG_TTL, 0)), ("createTTL", create_ttl("/t/m3", LONG_TTL, CONTAINER)), ("create", create("/t/m/x"))))
        a.ask("multi", multi(("createTTL", create_ttl("/t/m4", 0))))
        a.ask("multi", multi(("createTTL", create_ttl("/t/m5", LONG_TTL, 9))))
        a.ask("multi", multi(("create", create("/t/m6", b"", TTL))))
        a.ask("getChildren2", watched("/t"))
        a.ask("createTTL", create_ttl("/t/short", 4000))
        b.ask("exists", watched("/t/short", True))
        b.read()
        a.ask("getChildren2", watched("/t"))

    compare(pair, steps)


def test_ephemerals_of_ones_own(pair):
    def steps(script):
        a, b = script.connect("a"), script.connect("b")
        for path in ("/g", "/g/deep", "/ge"):
            a.ask("create", create(path))
        for path in ("/g/deep/1", "/g/2", "/ge/3"):
            a.ask("create", create(path, b"", EPHEMERAL))
        b.ask("create", create("/g/b", b"", EPHEMERAL))
        for prefix in ("/", "", " ", " / ", None, "/g", "/g/", "/g/d", "/nobody", "g"):
            a.ask("getEphemerals", buffer(prefix))
        a.ask("getEphemerals")
        b.ask("getEphemerals", buffer("/"))
        for path in ("/g", "/g/deep", "/g/2", "/nobody", "/zookeeper", "g", "/g/"):
            a.ask("getAllChildrenNumber", buffer(path))
        a.ask("getAllChildrenNumber")
        a.ask("closeSession")
        b.ask("getAllChildrenNumber", buffer("/g"))

    compare(pair, steps)


def test_root_counts(pair):
    """The root's numbers depend on what is elsewhere: their differences are compared."""

    def steps(script):
        a = script.connect("a")
        for path in ("/", ""):
            a.ask("getAllChildrenNumber", buffer(path))
            script.transcript[-1] = ("before", script.transcript[-1][1][:4])

    compare(pair, steps)


def test_who_am_i(pair):
    def steps(script):
        a = script.connect("a")
        a.ask("whoAmI")
        for credentials in ("ann:secret", "ben:se:cret", "ann:secret"):
            a.ask("auth", integer(0) + buffer("digest") + buffer(credentials))
            a.ask("whoAmI")
        a.ask("auth", integer(0) + buffer("ip") + buffer(""))
        a.ask("whoAmI", b"more than nothing")

    compare(pair, steps)


def test_check_watches(pair):
    def steps(script):
        a = script.connect("a")
        a.ask("create", create("/k"))
        a.ask("getData", watched("/k", True))
        a.ask("getChildren", watched("/k/x", True))
        a.ask("addWatch", buffer("/k") + integer(0))
        a.ask("addWatch", buffer("/k/deep") + integer(1))
        for path in ("/k", "/k/x", "/k/deep", "/nobody"):
            for kind in range(7):
                a.ask("checkWatches", buffer(path) + integer(kind))
        a.ask("checkWatches", buffer("/k"))

    compare(pair, steps)


def test_reconfig(pair):
    def steps(script):
        a = script.connect("a")
        a.ask("reconfig", reconfig(joining="server.2=127.0.0.1:1:2;3"))
        a.ask("reconfig", reconfig(leaving="1", version=5))
        a.ask("reconfig", reconfig(members="server.1=127.0.0.1:1:2;3"))
        a.ask("reconfig", reconfig()[:-1])
        a.ask("reconfig")
        a.ask("exists", watched("/zookeeper/config"))

    compare(pair, steps)


def test_quotas(pair):
    def steps(script):
        a = script.connect("a")
        limits, stats = (f"/zookeeper/quota/q/zookeeper_{name}" for name in ("limits", "stats"))

        def usage():
            a.ask("getData", watched(stats))

        for path in ("/q", "/q/1", "/q/1/2"):
            a.ask("create", create(path, b"12345"))
        a.ask("create", create("/zookeeper/quota/q"))
        a.ask("create", create(limits, b"count=5,bytes=30=;byteHardLimit=40;countHardLimit=6"))
        a.ask("create", create(stats, b"count=0,bytes=0"))
        usage()
        for number in range(3, 6):
            a.ask("create", create(f"/q/{number}", b"1"))
        a.ask("create", create("/q/6", b"1"))
        a.ask("create", create("/q/6", b""))
        a.ask("create", create("/elsewhere", b"1" * 100))
        usage()
        a.ask("setData", set_data("/q/1", b"1" * 27))
        a.ask("setData", set_data("/q/1", b"1" * 28, 7))
        a.ask("setData", set_data("/q/1", b"1" * 27, 7))
        a.ask("setData", set_data("/q", None))
        usage()
        a.ask("delete", versioned("/q/3"))
        a.ask("create", create("/q/e", b"1", EPHEMERAL))
        usage()
        a.ask("delete", versioned("/q/e"))
        a.ask("multi", multi(("create", create("/q/m", b"1")), ("setData", set_data("/q/m", b"12")), ("delete", versioned("/q/m"))))
        usage()
        a.ask("multi", multi(("create", create("/q/m", b"1")), ("check", versioned("/nobody"))))
        usage()
        # A quota below a quota has what is below it for itself.
        a.ask("create", create("/zookeeper/quota/q/1"))
        a.ask("create", create("/zookeeper/quota/q/1/zookeeper_limits", b"count=2,bytes=-1"))
        a.ask("create", create("/zookeeper/quota/q/1/zookeeper_stats", b""))
        a.ask("create", create("/q/1/3", b"123"))
        a.ask("getData", watched("/zookeeper/quota/q/1/zookeeper_stats"))
        usage()
        a.ask("delete", versioned("/zookeeper/quota/q/1/zookeeper_limits"))
        a.ask("delete", versioned("/q/1/3"))
        a.ask("getData", watched("/zookeeper/quota/q/1/zookeeper_stats"))
        usage()
        a.ask("setData", set_data(limits, b"count=1,bytes=1"))
        a.ask("create", create("/q/soft", b"1" * 100))
        usage()
        a.ask("setData", set_data(stats, b"count=1,bytes=1=;other=7"))
        a.ask("create", create("/q/softer", b"1"))
        usage()
        a.ask("delete", versioned(stats))
        a.ask("create", create("/q/uncounted", b"1"))
        a.ask("exists", watched("/q"))

    compare(pair, steps)


def test_features_off(folder):
    """With ZooKeeper's defaults: what is refused, and a quota that only counts."""
    zookeeper, doorkeeper = servers_of(folder / "off", {"tickTime": "400", "maxSessionTimeout": "60000"})

    def steps(script):
        a = script.connect("a")
        a.ask("createTTL", create_ttl("/t", LONG_TTL))
        a.ask("createTTL", create_ttl("/t", -1, 9))
        a.ask("create", create("/t", b"", TTL))
        a.ask("multi", multi(("createTTL", create_ttl("/t", LONG_TTL))))
        a.ask("reconfig", reconfig(leaving="1"))
        a.ask("createContainer", create("/c", b"", CONTAINER))
        a.ask("createContainer", create("/c/t", b"", SEQUENTIAL_TTL))
        a.ask("create", create("/zookeeper/quota/c"))
        a.ask("create", create("/zookeeper/quota/c/zookeeper_limits", b"count=1,bytes=1=;countHardLimit=1"))
        a.ask("create", create("/zookeeper/quota/c/zookeeper_stats", b"count=0,bytes=0"))
        a.ask("create", create("/c/1", b"12345"))
        a.ask("getData", watched("/zookeeper/quota/c/zookeeper_stats"))

    with zookeeper, doorkeeper:
        compare((zookeeper, doorkeeper), steps)
