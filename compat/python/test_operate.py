"""What operators see, beside Apache ZooKeeper 3.9.4 in the same state: four-letter words, the AdminServer, metrics.

Both are asked the same requests by the same client; then their texts must have the same lines, keys,
types and, where it isn't a time, an address or a size of theirs, the same values.
"""

import json
import re
import socket
import urllib.error
import urllib.request

import pytest
from kazoo.client import KazooClient

import servers
from servers import Doorkeeper, ZooKeeper, four_letter_word, free_port

PROMETHEUS = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"

# Metrics of ZooKeeper's that doorkeeper does not have, with the reason: the one place where this stands.
LACKING = {
    "jvm_pause_time_ms": "there is no JVM",
    "outstanding_changes_queued": "what a batch changes is kept for that batch alone, and not as records that are queued",
    "outstanding_changes_removed": "as above",
    "proposal_process_time": "a request that is prepared is in the log already: nothing hands it on",
    "sync_processor_queue_size": "as above: nothing waits between the two",
    "sync_processor_queue_time_ms": "as above",
    "read_per_namespace": "it would cost every read a look-up",
}


def configuration(folder, metrics):
    keys = {
        "tickTime": "2000",
        "dataDir": str(folder),
        "clientPort": str(free_port()),
        "clientPortAddress": "127.0.0.1",
        "4lw.commands.whitelist": "*",
        "admin.enableServer": "true",
        "admin.serverAddress": "127.0.0.1",
        "admin.serverPort": str(free_port()),
    }
    if metrics:
        keys |= {
            "metricsProvider.className": PROMETHEUS,
            "metricsProvider.httpHost": "127.0.0.1",
            "metricsProvider.httpPort": str(free_port()),
            "metricsProvider.exportJvmInfo": "false",
        }
    return keys


class HttpZooKeeper(ZooKeeper):
    """With the jars of its AdminServer and its metrics page."""

    def command(self):
        return [part.replace("/zookeeper-3.9.4/*", "/zookeeper-http-3.9.4/*") for part in super().command()]


class Pair:
    """Both servers on the same requests, and what is asked of them."""

    def __init__(self, folder, metrics):
        self.servers = {}
        self.keys = {}
        for name in ("zookeeper", "doorkeeper"):
            own = folder / name
            own.mkdir(parents=True)
            keys = configuration(own / "data", metrics)
            self.keys[name] = keys
            if name == "zookeeper":
                self.servers[name] = HttpZooKeeper(own, keys, data_dir=own / "data", heap_megabytes=256)
            else:
                file = own / "zoo.cfg"
                file.write_text("".join(f"{key}={value}\n" for key, value in keys.items()))
                self.servers[name] = Doorkeeper(own, {"clientPort": keys["clientPort"]}, files=[file])
        self.clients = {}
        for name, server in self.servers.items():
            server.start()
            self.clients[name] = self.use(name)

    def address(self, name):
        return f"127.0.0.1:{self.keys[name]['clientPort']}"

    def use(self, name):
        """The same requests, in the same order, on each."""
        client = KazooClient(hosts=self.address(name), timeout=20)
        client.start(timeout=30)
        client.create("/app", b"data")
        client.create("/app/x", b"1")
        client.create("/app/e1", b"", ephemeral=True)
        client.create("/app/e2", b"", ephemeral=True)
        client.set("/app/x", b"22")
        client.get("/app", watch=lambda event: None)
        client.get("/app/x", watch=lambda event: None)
        client.exists("/none", watch=lambda event: None)
        client.get_children("/app", watch=lambda event: None)
        client.delete("/app/x")
        return client

    def word(self, name, word):
        return four_letter_word(self.address(name), word)

    def words(self, word):
        return self.word("zookeeper", word), self.word("doorkeeper", word)

    def http(self, name, path, method="GET", headers=None):
        port = self.keys[name]["admin.serverPort"]
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def commands(self, path, **how):
        """Status and JSON of both."""
        answers = []
        for name in ("zookeeper", "doorkeeper"):
            status, _, body = self.http(name, f"/commands/{path}", **how)
            answers.append((status, json.loads(body)))
        return answers

    def session(self, name):
        return self.clients[name].client_id[0]

    def stop(self):
        for client in self.clients.values():
            client.stop()
            client.close()
        for server in self.servers.values():
            server.stop()


@pytest.fixture(scope="module")
def pair(folder):
    made = Pair(folder / "plain", metrics=False)
    yield made
    made.stop()


def layout(text):
    """A text with what differs from server to server, and from moment to moment, taken out."""
    text = re.sub(r"0x[0-9a-f]{8,}", "SESSION", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "PEER", text)
    text = re.sub(r"expire at \w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ \d{4}", "expire at DATE", text)
    text = re.sub(r"3\.9\.4-\S+(, built on .*)?", "VERSION", text)
    text = re.sub(r"(est|lresp|llat|minlat|avglat|maxlat|recved|sent)=-?\d+", r"\1=N", text)
    return text


def test_words_that_do_not_depend_on_the_moment_are_equal(pair):
    for word in ("ruok", "isro", "gtmk", "crst", "wchs", "hash"):
        zookeeper, doorkeeper = pair.words(word)
        assert doorkeeper == zookeeper, word


def test_a_word_that_is_none_gets_no_answer(pair):
    zookeeper, doorkeeper = pair.words("icfg")
    assert (zookeeper, doorkeeper) == ("", "")


def test_srvr_and_stat_have_the_same_lines(pair):
    for word in ("srvr", "stat"):
        zookeeper, doorkeeper = (text.splitlines() for text in pair.words(word))
        assert doorkeeper[0].startswith("Zookeeper version: 3.9."), word
        keys = [[re.sub(r"\d.*| /.*", "", line.split(":")[0]) for line in lines] for lines in (zookeeper, doorkeeper)]
        # A connection of the question itself may be listed or not.
        same = [[key for key in lines if key] for lines in keys]
        assert same[1] == same[0], word
        for line in ("Zxid: ", "Mode: ", "Node count: ", "Outstanding: "):
            of = [next(found for found in lines if found.startswith(line)) for lines in (zookeeper, doorkeeper)]
            assert of[1] == of[0], word


def test_connections_are_told_in_the_same_form(pair):
    zookeeper, doorkeeper = (layout(text) for text in pair.words("cons"))
    of = [[line for line in text.splitlines() if "sid=" in line] for text in (zookeeper, doorkeeper)]
    assert of[1] == of[0]
    assert len(of[0]) == 1 and doorkeeper.endswith(")\n\n")


def test_sessions_ephemerals_and_watches_are_told_in_the_same_form(pair):
    for word in ("wchc", "wchp"):
        zookeeper, doorkeeper = (layout(text).splitlines() for text in pair.words(word))
        assert sorted(doorkeeper) == sorted(zookeeper), word
    zookeeper, doorkeeper = (layout(text) for text in pair.words("dump"))
    until = "Connections dump:"
    assert sorted(doorkeeper.split(until)[0].splitlines()) == sorted(zookeeper.split(until)[0].splitlines())
    line = "\tip: /PEER sessionId: SESSION"
    assert line in zookeeper.splitlines() and line in doorkeeper.splitlines()


def test_conf_dirs_and_envi_have_the_same_keys(pair):
    for word, separator in (("conf", "="), ("dirs", ": ")):
        zookeeper, doorkeeper = ([line.split(separator)[0] for line in text.splitlines()] for text in pair.words(word))
        assert doorkeeper == zookeeper, word
    zookeeper, doorkeeper = ({line.split("=")[0] for line in text.splitlines()} for text in pair.words("envi"))
    assert zookeeper - doorkeeper == {key for key in zookeeper if key.startswith("java.")}
    assert doorkeeper <= zookeeper


def test_the_trace_mask_is_set_and_told(pair):
    for name in ("zookeeper", "doorkeeper"):
        host, port = pair.address(name).split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(b"stmk" + (306).to_bytes(8, "big"))
            assert connection.recv(100) == b"306", name


def mntr(text):
    return dict(line.split("\t", 1) for line in text.splitlines())


def test_mntr_has_zookeepers_keys_and_forms(pair):
    zookeeper, doorkeeper = (mntr(text) for text in pair.words("mntr"))
    assert list(doorkeeper)[:2] == ["zk_version", "zk_server_state"]
    lacking = {key for key in zookeeper if key not in doorkeeper}
    stem = re.compile(r"^zk_(?:(?:avg|min|max|cnt|sum|p50|p95|p99|p999)_)?(?:app_)?")
    unexplained = {key for key in lacking if stem.sub("", key) not in LACKING and key[3:] not in LACKING}
    assert not unexplained
    assert not {key for key in doorkeeper if key not in zookeeper}
    for key in doorkeeper:
        ours, theirs = doorkeeper[key], zookeeper[key]
        assert ("." in ours) == ("." in theirs) or key == "zk_version", f"{key}: {ours} and {theirs}"
    for key in ("znode_count", "watch_count", "ephemerals_count", "approximate_data_size", "global_sessions"):
        assert doorkeeper[f"zk_{key}"] == zookeeper[f"zk_{key}"], key
    for key in ("cnt_app_write_per_namespace", "sum_app_write_per_namespace", "cnt_updatelatency", "cnt_node_deleted_watch_count",
                "sum_node_deleted_watch_count", "watch_bytes", "connection_request_count", "digest_mismatches_count"):
        assert doorkeeper[f"zk_{key}"] == zookeeper[f"zk_{key}"], key


def shape(value):
    """The types of a JSON value; maps that are keyed by sessions or paths by the type of their values."""
    if isinstance(value, dict):
        if all(re.fullmatch(r"\d+|/.*", key) for key in value):
            return {"*": next((shape(one) for one in value.values()), None)}
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_the_admin_server_names_the_same_commands(pair):
    pages = [pair.http(name, "/commands")[2].decode() for name in ("zookeeper", "doorkeeper")]
    assert pages[1].split() == pages[0].split()


@pytest.mark.parametrize(
    "path",
    [
        "configuration", "conf", "config", "connections", "cons", "connection_stat_reset", "dirs", "dump", "get_trace_mask", "gtmk",
        "initial_configuration", "is_read_only", "isro", "last_snapshot", "leader", "observer_connection_stat_reset", "observers",
        "ruok", "server_stats", "srvr", "stats", "stat", "set_trace_mask", "set_trace_mask?traceMask=5", "set_trace_mask?traceMask=x",
        "voting_view", "watches", "watches_by_path", "watch_summary", "zabstate", "nosuch", "hash",
    ],
)  # fmt: skip
def test_admin(pair, path):
    (zookeeper_status, zookeeper), (status, doorkeeper) = pair.commands(path)
    assert status == zookeeper_status
    assert shape(doorkeeper) == shape(zookeeper)
    for key in ("command", "error", "tracemask", "num_paths", "num_total_watches", "node_count", "read_only"):
        assert doorkeeper.get(key) == zookeeper.get(key), key


def test_admin_monitor_environment_and_properties(pair):
    (_, zookeeper), (_, doorkeeper) = pair.commands("monitor")
    assert doorkeeper["command"] == zookeeper["command"] == "monitor"
    for key, value in doorkeeper.items():
        assert type(value) is type(zookeeper[key]), key
    (_, zookeeper), (_, doorkeeper) = pair.commands("environment")
    assert set(doorkeeper) <= set(zookeeper)
    (_, zookeeper), (_, doorkeeper) = pair.commands("system_properties")
    given = {key: value for key, value in zookeeper.items() if key.startswith("zookeeper.")}
    ours = {key: value for key, value in doorkeeper.items() if key.startswith("zookeeper.")}
    assert set(ours) == set(given)


def test_admin_snapshot_wants_the_same_credentials(pair):
    for headers in ({}, {"Authorization": "nosuch x"}, {"Authorization": "digest a b c"}, {"Authorization": "digest"}):
        (zookeeper_status, zookeeper), (status, doorkeeper) = pair.commands("snapshot", headers=headers)
        assert (status, doorkeeper["error"]) == (zookeeper_status, zookeeper["error"]), headers
    (zookeeper_status, zookeeper), (status, doorkeeper) = pair.commands("restore", method="POST")
    assert (status, doorkeeper) == (zookeeper_status, zookeeper)


def test_a_snapshot_of_one_is_restored_by_the_other(pair):
    snapshots = {}
    for name in ("zookeeper", "doorkeeper"):
        status, headers, body = pair.http(name, "/commands/snapshot", headers={"Authorization": "digest root:secret"})
        assert (status, body[:4], headers["Content-Type"]) == (200, b"ZKSN", "application/octet-stream"), name
        assert int(headers["snapshot_size"]) == len(body) and headers["last_zxid"].startswith("0x")
        snapshots[name] = body
    for name, other in (("doorkeeper", "zookeeper"), ("zookeeper", "doorkeeper")):
        port = pair.keys[name]["admin.serverPort"]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/commands/restore",
            data=snapshots[other],
            headers={"Authorization": "digest root:secret", "Content-Type": "application/octet-stream"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            assert "last_zxid" in json.loads(response.read())
        client = KazooClient(hosts=pair.address(name), timeout=20)
        client.start(timeout=30)
        assert client.get("/app")[0] == b"data"
        client.stop()
        client.close()


@pytest.fixture(scope="module")
def pages(folder):
    """The metrics pages of both, as {name: type} and {name: [labels]}."""
    made = Pair(folder / "metrics", metrics=True)
    texts = []
    for name in ("zookeeper", "doorkeeper"):
        with urllib.request.urlopen(f"http://127.0.0.1:{made.keys[name]['metricsProvider.httpPort']}/metrics", timeout=30) as response:
            texts.append(response.read().decode())
    yield texts
    made.stop()


def types(page):
    return {line.split()[2]: line.split()[3] for line in page.splitlines() if line.startswith("# TYPE ")}


def samples(page):
    """Names with their labels, as a Prometheus reads them."""
    found = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name.replace(",}", "}")] = float(value)
    return found


def test_the_metrics_page_has_zookeepers_names_and_types(pages):
    zookeeper, doorkeeper = (types(page) for page in pages)
    assert {name: kind for name, kind in doorkeeper.items() if zookeeper.get(name) != kind} == {}
    assert set(zookeeper) - set(doorkeeper) == set(LACKING), "what is missing is listed with its reason"
    assert not any(name.startswith("jvm") for name in doorkeeper)


def test_the_metrics_page_has_zookeepers_labels_and_values(pages):
    zookeeper, doorkeeper = (samples(page) for page in pages)
    stem = re.compile(r"(_count|_sum)?(\{.*)?$")
    wanted = {name for name in zookeeper if stem.sub("", name) not in LACKING and name not in LACKING}
    basic = {name for name in wanted if name not in doorkeeper}
    # Quantiles are of latencies here; of sizes and of what is always 0 they say nothing.
    assert {name for name in basic if "quantile" not in name} == set()
    for name in ("readlatency", "updatelatency", "propagation_latency"):
        for quantile in ("0.5", "0.9", "0.99"):
            assert f'{name}{{quantile="{quantile}"}}' in doorkeeper
    for name in ("znode_count", "watch_count", "ephemerals_count", "global_sessions", "updatelatency_count",
                 'write_per_namespace_count{key="app"}', 'write_per_namespace_sum{key="app"}', "node_deleted_watch_count_sum"):
        assert doorkeeper[name] == zookeeper[name], name
