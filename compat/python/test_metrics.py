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

    def __init__(self, folder, target):
        super().__init__(folder)
        self.address = f"127.0.0.1:{free_port()}"
        ours = (GRAFANA / "prometheus.yml").read_text()
        assert "localhost:9404" in ours and "15s" in ours
        (self.folder / "prometheus.yml").write_text(ours.replace("localhost:9404", target).replace("15s", "1s"))
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


@pytest.fixture(scope="module")
def prometheus(folder, server):
    with Prometheus(folder / "prometheus", server.http) as prometheus:
        yield prometheus


def panel_queries():
    dashboard = json.loads((GRAFANA / "dashboard.json").read_text())
    queries = [
        (panel["title"], target["expr"].replace("$instance", ".*").replace("$__rate_interval", RATE_INTERVAL))
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]
    assert len(queries) > 30
    return queries


def scrape(server):
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.read().decode()


def test_every_query_of_every_panel_returns_data(server, prometheus):
    empty = panel_queries()

    def none_left():
        assert not server.load.errors, server.load.errors
        empty[:] = [(title, query) for title, query in empty if not prometheus.values(query)]
        return not empty

    try:
        wait_for("data for every panel", none_left, seconds=90, every=1)
    except AssertionError as error:
        raise AssertionError(f"{error}; without data: {empty}") from None


def test_every_metric_of_the_alerts_is_scraped(server):
    rules = (GRAFANA / "alerts.yml").read_text()
    used = set(re.findall(r"\b(?:doorkeeper|process)_[a-z_]+", rules))
    assert len(used) > 8
    text = scrape(server)
    assert not [name for name in used if not re.search(rf"^{name}(\{{| )", text, re.MULTILINE)]


def test_every_alert_is_evaluated_and_none_fires(prometheus):
    def evaluated():
        groups = prometheus.api("rules", type="alert")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else None

    rules = wait_for("the evaluation of every alert", evaluated)
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


def test_promtool_finds_nothing_in_a_scrape(server):
    lint = subprocess.run(["promtool", "check", "metrics"], input=scrape(server), capture_output=True, text=True)
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")


def test_health_and_readiness(server):
    def get(path):
        with urllib.request.urlopen(f"http://{server.http}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()

    assert get("/healthz") == (200, "ok\n")
    assert get("/readyz") == (200, "broker: ready\ncoordinator: ready\n")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get("/nothing")


def test_prometheus_sees_the_end(server, prometheus):
    """Last: nothing serves afterwards."""
    server.load.__exit__()
    assert prometheus.values('up{job="doorkeeper"}') == [1.0]
    assert server.stop() == 0
    wait_for("a scrape that fails", lambda: prometheus.values('up{job="doorkeeper"}') == [0.0])
