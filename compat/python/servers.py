"""Starts and stops the servers of the tests: doorkeeper, Apache ZooKeeper 3.9.4, Apache Kafka 3.9.1.

Each is a context manager on free loopback ports, in a folder of its own; entering it waits until it
serves, leaving it stops it by pid. The log of each is `<folder>/<name>.log`; a server that dies
while it is waited for fails with the end of it.
"""

import ctypes
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import wire

WORK = pathlib.Path(os.environ.get("WORK") or pathlib.Path(__file__).parents[2] / "target" / "compat")
START_SECONDS = 60
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def free_port():
    """A port that was free a moment ago, below the range that outgoing connections take theirs from."""
    for _ in range(1000):
        port = 10_000 + int.from_bytes(os.urandom(2), "big") % 20_000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def wait_for(what, condition, seconds=START_SECONDS, every=0.02):
    """Waits until `condition()` is true and returns its value; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(every)


def four_letter_word(address, word, timeout=5):
    """What a ZooKeeper server answers to a four-letter word; empty if nobody answers."""
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=timeout) as connection:
            connection.sendall(word.encode())
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer.decode()
    except OSError:
        return ""


def die_with_parent():
    """In a child: be killed if the test process goes away."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """A process with a log file, started and stopped by pid."""

    name = "server"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / f"{self.name}.log"
        self.process = None
        self.log_start = 0

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def command(self):
        raise NotImplementedError

    def ready(self):
        raise NotImplementedError

    def spawn(self, environment=None):
        """Starts the process without waiting for it to serve."""
        self.log_start = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **(environment or {})},
                preexec_fn=die_with_parent,
            )
        return self

    def start(self, seconds=START_SECONDS):
        """Starts the process and returns when it serves."""
        self.spawn()
        try:
            wait_for(f"{self.name} serves", self._ready_or_dead, seconds)
        except BaseException:
            self.kill()
            raise
        return self

    def _ready_or_dead(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
        return self.ready()

    def log_of_this_start(self):
        return self.log.read_bytes()[self.log_start :].decode(errors="replace")

    def log_tail(self, lines=30):
        return "\n".join(self.log_of_this_start().splitlines()[-lines:])

    def stop(self, seconds=30):
        """SIGTERM, and the exit code; killed and None if it does not end in time."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                return None
        return self.process.returncode

    def kill(self):
        """SIGKILL, as a power cut that the kernel survives."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait(self, seconds=START_SECONDS):
        """Waits for it to end by itself and returns its exit code."""
        return self.process.wait(seconds)


class Doorkeeper(Server):
    """doorkeeper from the release binary: coordinator and broker unless `roles` says otherwise.

    Keys and values of `overrides` go to `--override`; `files` are configuration files. A server that
    is started again keeps its ports.
    """

    name = "doorkeeper"

    def __init__(self, folder, overrides=None, files=(), roles=("coordinator", "broker"), session_timeout=None):
        super().__init__(folder)
        self.files = [str(file) for file in files]
        self.ready_file = self.folder / "ready.json"
        self.addresses = None
        self.overrides = {"doorkeeper.data.dir": str(self.folder / "data"), "doorkeeper.http.listener": "127.0.0.1:0"}
        if not files:
            if set(roles) != {"coordinator", "broker"}:
                self.overrides["process.roles"] = ",".join(roles)
            if "coordinator" in roles:
                self.overrides["clientPort"] = "0"
                self.overrides["clientPortAddress"] = "127.0.0.1"
                self.overrides["4lw.commands.whitelist"] = "*"
            if "broker" in roles:
                self.overrides["listeners"] = "PLAINTEXT://127.0.0.1:0"
        self.overrides.update(overrides or {})

    def command(self):
        binary = os.environ.get("DOORKEEPER") or WORK.parent / "release" / "doorkeeper"
        command = [str(binary), "run", *self.files, "--ready-file", str(self.ready_file)]
        for key, value in self.overrides.items():
            command += ["--override", f"{key}={value}"]
        return command

    def ready(self):
        try:
            self.addresses = json.loads(self.ready_file.read_text())
        except FileNotFoundError:
            return False
        return self.addresses["pid"] == self.process.pid

    def spawn(self, environment=None):
        self.ready_file.unlink(missing_ok=True)
        return super().spawn(environment)

    def start(self, seconds=START_SECONDS):
        super().start(seconds)
        # The next start of the same server is on the same ports.
        if self.overrides.get("clientPort") == "0":
            self.overrides["clientPort"] = self.coordinator.rsplit(":", 1)[1]
        if self.overrides.get("listeners") == "PLAINTEXT://127.0.0.1:0":
            self.overrides["listeners"] = f"PLAINTEXT://{self.bootstrap}"
        return self

    @property
    def coordinator(self):
        """host:port of the ZooKeeper protocol."""
        return self.addresses["coordinator"]

    @property
    def bootstrap(self):
        """host:port of the Kafka protocol."""
        return self.addresses["brokers"][0]["listeners"]["PLAINTEXT"]

    @property
    def http(self):
        return self.addresses["http"]

    @property
    def log_dir(self):
        """Where the partitions' segment files are."""
        return pathlib.Path(self.overrides.get("log.dirs", self.folder / "data" / "broker"))

    @property
    def data_dir(self):
        """The coordinator's data directory."""
        return pathlib.Path(self.overrides.get("dataDir", self.folder / "data" / "coordinator"))


def java(heap_megabytes, jars, *arguments):
    """A command line for a small JVM on the jars of $WORK/<jars>; leading -D arguments are its own."""
    own = len(arguments) - len(list(itertools.dropwhile(lambda argument: argument.startswith("-D"), arguments)))
    return [
        "java",
        f"-Xmx{heap_megabytes}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        "-XX:-UsePerfData",
        *arguments[:own],
        "-cp",
        f"{WORK / jars}/*",
        *arguments[own:],
    ]


class ZooKeeper(Server):
    """Apache ZooKeeper 3.9.4, standalone. `configuration` adds to or replaces lines of its zoo.cfg."""

    name = "zookeeper"

    def __init__(self, folder, configuration=None, data_dir=None, heap_megabytes=384, properties=()):
        super().__init__(folder)
        self.data_dir = pathlib.Path(data_dir or self.folder / "data")
        self.heap_megabytes = heap_megabytes
        self.properties = properties
        self.configuration = {
            "tickTime": "2000",
            "dataDir": str(self.data_dir),
            "clientPort": str(free_port()),
            "clientPortAddress": "127.0.0.1",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
            "maxClientCnxns": "0",
        }
        self.configuration.update(configuration or {})

    @property
    def coordinator(self):
        """host:port of the ZooKeeper protocol."""
        return f"127.0.0.1:{self.configuration['clientPort']}"

    def command(self):
        file = self.folder / "zoo.cfg"
        file.write_text("".join(f"{key}={value}\n" for key, value in self.configuration.items()))
        logback = self.folder / "logback.xml"
        logback.write_text(
            "<configuration><appender name='out' class='ch.qos.logback.core.ConsoleAppender'><encoder>"
            "<pattern>%d{ISO8601} %-5p %c{1} - %m%n</pattern></encoder></appender>"
            "<root level='INFO'><appender-ref ref='out'/></root></configuration>\n"
        )
        return java(
            self.heap_megabytes,
            "zookeeper-3.9.4",
            f"-Dlogback.configurationFile={logback}",
            *self.properties,
            "org.apache.zookeeper.server.ZooKeeperServerMain",
            str(file),
        )

    def ready(self):
        return "Mode:" in four_letter_word(self.coordinator, "srvr")


class Kafka(Server):
    """Apache Kafka 3.9.1 in ZooKeeper mode, a member of the cluster at `zookeeper`."""

    name = "kafka"

    def __init__(self, folder, zookeeper, broker_id=0, configuration=None, heap_megabytes=512):
        super().__init__(folder)
        self.heap_megabytes = heap_megabytes
        self.bootstrap = f"127.0.0.1:{free_port()}"
        self.log_dir = self.folder / "data"
        self.configuration = {
            "broker.id": str(broker_id),
            "zookeeper.connect": zookeeper,
            "listeners": f"PLAINTEXT://{self.bootstrap}",
            "log.dirs": str(self.log_dir),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "controlled.shutdown.enable": "false",
        }
        self.configuration.update(configuration or {})

    def command(self):
        file = self.folder / "server.properties"
        file.write_text("".join(f"{key}={value}\n" for key, value in self.configuration.items()))
        log4j = self.folder / "log4j.properties"
        log4j.write_text(
            "log4j.rootLogger=INFO, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p %c{1} - %m%n\n"
        )
        return java(
            self.heap_megabytes, "kafka-3.9.1", f"-Dlog4j.configuration=file:{log4j}", "kafka.Kafka", str(file)
        )

    def ready(self):
        # The port opens before the broker answers; its own line says when it does, and only then does it
        # hear from the controller who is in the cluster.
        if f"[KafkaServer id={self.configuration['broker.id']}] started" not in self.log_of_this_start():
            return False
        brokers = wire.ask(self.bootstrap, "Metadata", 1, {"Topics": []})["Brokers"]
        return int(self.configuration["broker.id"]) in [broker["NodeId"] for broker in brokers]


class Apache:
    """ZooKeeper and Kafka in doorkeeper's place, for proving a test itself (COMPAT_AGAINST=apache)."""

    def __init__(self, folder, overrides=None):
        self.folder = pathlib.Path(folder)
        self.zookeeper = ZooKeeper(self.folder / "zookeeper")
        broker = {
            key: value for key, value in (overrides or {}).items() if key not in self.zookeeper.configuration
        }
        self.kafka = Kafka(self.folder / "kafka", self.zookeeper.coordinator, configuration=broker)
        self.coordinator, self.bootstrap = self.zookeeper.coordinator, self.kafka.bootstrap
        self.log_dir, self.data_dir = self.kafka.log_dir, self.zookeeper.data_dir
        self.killed = False

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self, seconds=START_SECONDS):
        self.zookeeper.start(seconds)
        if self.killed:
            # Kafka gives up on its own old registration: it has to expire first.
            wait_for("the registration expires", lambda: "/brokers/ids" not in four_letter_word(self.coordinator, "dump"))
        self.kafka.start(seconds)
        return self

    def stop(self):
        self.kafka.stop()
        return self.zookeeper.stop()

    def kill(self):
        self.kafka.kill()
        self.zookeeper.kill()
        self.killed = True


def embedded(folder, overrides=None):
    """What the tests test: doorkeeper with coordinator and broker, on free ports."""
    kind = Apache if os.environ.get("COMPAT_AGAINST") == "apache" else Doorkeeper
    return kind(folder, overrides=overrides)
