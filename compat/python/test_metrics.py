"""Prometheus scrapes a doorkeeper under load: every query of the dashboard and of the alerts has data."""

import json
import math
import pathlib
import re
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from servers import Doorkeeper, Server, free_port, wait_for

GRAFANA = pathlib.Path(__file__).parents[2] / "grafana"
RATE_INTERVAL = "15s"


class Prometheus(Server):
    """Debian's Prometheus with our configuration, but for the target and a second between scrapes."""

    name = "prometheus"

    def __init__(self, folder, *targets):
        super().__init__(folder)
        self.address = f"127.0.0.1:{free_port()}"
        ours = (GRAFANA / "prometheus.yml").read_text()
        assert "localhost:9404" in ours and "15s" in ours
        (self.folder / "prometheus.yml").write_text(ours.replace("localhost:9404", '", "'.join(targets)).replace("15s", "1s"))
        (self.folder / "alerts.yml").write_text((GRAFANA / "alerts.yml").read_text())

    def command(self):
        return [
            "prometheus",
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={self.address}",
        ]

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def api(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def values(self, query):
        """The numbers that an instant query yields now; NaN, such as a quantile of nothing, is none."""
        found = [float(series["value"][1]) for series in self.api("query", query=query)["result"]]
        return [value for value in found if not math.isnan(value)]


class Load:
    """Znodes and records, written and read, with an error of each kind now and then, until stopped."""

    def __init__(self, server):
        self.server = server
        self.stopped = threading.Event()
        self.errors = []
        self.threads = [threading.Thread(target=self._run, args=(work,)) for work in (self._znodes, self._records)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)

    def _run(self, work):
        try:
            work()
        except Exception as error:  # shown by the test that needs the load
            self.errors.append(repr(error))

    def _znodes(self):
        client = KazooClient(hosts=self.server.coordinator)
        client.start()
        client.ensure_path("/load")
        while not self.stopped.is_set():
            path = client.create("/load/n-", b"0" * 100, sequence=True, ephemeral=True)
            client.get(path, watch=lambda event: None)
            client.set(path, b"1" * 100)
            client.get_children("/load")
            client.delete(path)
            with pytest.raises(NoNodeError):
                client.get(path)
        client.stop()
        client.close()

    def _records(self):
        bootstrap = {"bootstrap.servers": self.server.bootstrap}
        admin = AdminClient(bootstrap)
        admin.create_topics([NewTopic("load", 2, 1)])["load"].result(30)
        producer = Producer({**bootstrap, "linger.ms": 5})
        consumer = Consumer({**bootstrap, "group.id": "none", "enable.auto.commit": False})
        consumer.assign([TopicPartition("load", partition, OFFSET_BEGINNING) for partition in (0, 1)])
        while not self.stopped.is_set():
            for number in range(50):
                producer.produce("load", b"0" * 100, partition=number % 2)
            assert producer.flush(30) == 0
            consumer.consume(100, 0.2)
            with pytest.raises(KafkaException):  # it is there already
                admin.create_topics([NewTopic("load", 2, 1)])["load"].result(30)
        consumer.close()


@pytest.fixture(scope="module")
def server(folder):
    # Snapshots and fsyncs of partition logs are rare otherwise, and their panels would be empty.
    overrides = {"snapCount": "200", "log.flush.interval.messages": "1"}
    with Doorkeeper(folder / "doorkeeper", overrides) as doorkeeper, Load(doorkeeper) as load:
        doorkeeper.load = load
        yield doorkeeper


class GatewayLoad(Load):
    """Clients of a gateway with the relay on: changes, questions for what is there and what is not, records."""

    def __init__(self, gateway):
        self.bootstrap = {"bootstrap.servers": gateway.addresses["gateways"][0]["listeners"]["PLAINTEXT"]}
        super().__init__(gateway)
        self.threads = [threading.Thread(target=self._run, args=(self._everything,))]

    def _everything(self):
        admin, producer = AdminClient(self.bootstrap), Producer({**self.bootstrap, "linger.ms": 0})
        number = 0
        while not self.stopped.wait(0.2):
            number += 1
            admin.create_topics([NewTopic(f"by-gateway-{number}", 1, 1)])[f"by-gateway-{number}"].result(30)
            admin.list_topics(f"missing-{number}", timeout=30)
            producer.produce(f"by-gateway-{number}", b"0" * 100)
            assert producer.flush(30) == 0


@pytest.fixture(scope="module")
def gateway(folder, server):
    keys = {
        "process.roles": "gateway", "zookeeper.connect": server.coordinator, "listeners": "PLAINTEXT://127.0.0.1:0",
        "doorkeeper.http.listener": "127.0.0.1:0", "doorkeeper.gateway.addresses": "gateway", "doorkeeper.gateway.port.base": "0",
    }  # fmt: skip
    # From a file: the overrides of the other roles don't belong to it.
    file = folder / "gateway.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in keys.items()))
    made = Doorkeeper(folder / "gateway", files=[file], roles=["gateway"])
    made.overrides.clear()
    with made, GatewayLoad(made) as load:
        made.load = load
        yield made


@pytest.fixture(scope="module")
def prometheus(folder, server, gateway):
    with Prometheus(folder / "prometheus", server.http, gateway.http) as prometheus:
        yield prometheus


def panel_queries(name):
    dashboard = json.loads((GRAFANA / name).read_text())
    queries = [
        (panel["title"], target["expr"].replace("$instance", ".*").replace("$__rate_interval", RATE_INTERVAL))
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]
    assert len(queries) > 20
    return queries


def scrape(server):
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.read().decode()


@pytest.mark.parametrize("dashboard", ["dashboard.json", "gateway.json"])
def test_every_query_of_every_panel_returns_data(server, gateway, prometheus, dashboard):
    empty = panel_queries(dashboard)

    def none_left():
        assert not server.load.errors + gateway.load.errors, server.load.errors + gateway.load.errors
        empty[:] = [(title, query) for title, query in empty if not prometheus.values(query)]
        return not empty

    try:
        wait_for("data for every panel", none_left, seconds=90, every=1)
    except AssertionError as error:
        raise AssertionError(f"{error}; without data: {empty}") from None


def test_every_metric_of_the_alerts_is_scraped(server, gateway):
    rules = (GRAFANA / "alerts.yml").read_text()
    used = set(re.findall(r"\b(?:doorkeeper|process)_[a-z_]+", rules))
    assert len(used) > 8
    # It has a label for each broker that can't be connected to, and there is none.
    used.remove("doorkeeper_gateway_upstream_failures_total")

    def missing():
        text = scrape(server) + scrape(gateway)
        return {name for name in used if not re.search(rf"^{name}(\{{| )", text, re.MULTILINE)}

    wait_for("every metric", lambda: not missing(), every=0.5)


def test_every_alert_is_evaluated_and_none_fires(prometheus):
    def evaluated():
        groups = prometheus.api("rules", type="alert")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else None

    rules = wait_for("the evaluation of every alert", evaluated)
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []
    # The kernel counts overflows of other processes too.
    firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
    assert firing <= {"DoorkeeperGatewayListenOverflows"}


def test_promtool_finds_nothing_in_a_scrape(server, gateway):
    for each in (server, gateway):
        lint = subprocess.run(["promtool", "check", "metrics"], input=scrape(each), capture_output=True, text=True)
        assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")


def test_health_and_readiness(server):
    def get(path):
        with urllib.request.urlopen(f"http://{server.http}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()

    assert get("/healthz") == (200, "ok\n")
    assert get("/readyz") == (200, "broker: ready\ncoordinator: ready\n")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get("/nothing")


def test_prometheus_sees_the_end(server, gateway, prometheus):
    """Last: nothing serves afterwards."""
    gateway.load.__exit__()
    server.load.__exit__()
    up = f'up{{job="doorkeeper", instance="{server.http}"}}'
    assert prometheus.values(up) == [1.0]
    assert server.stop() == 0
    wait_for("a scrape that fails", lambda: prometheus.values(up) == [0.0])
