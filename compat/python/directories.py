"""What the tests of data directories share: old servers, members of an ensemble, and looking in offline."""

import json
import re
import subprocess

import jute
from servers import Doorkeeper, ZooKeeper, four_letter_word, free_port, java, wait_for


class OldZooKeeper(ZooKeeper):
    """An Apache ZooKeeper of another version, standalone."""

    def __init__(self, folder, version, configuration=None, data_dir=None, properties=()):
        super().__init__(folder, configuration, data_dir, 256, properties)
        self.version = version

    def command(self):
        super().command()  # Writes its zoo.cfg.
        log4j = self.folder / "log4j.properties"
        log4j.write_text(
            "log4j.rootLogger=INFO, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p %c{1} - %m%n\n"
        )
        return java(
            self.heap_megabytes,
            f"zookeeper-{self.version}",
            f"-Dlog4j.configuration=file:{log4j}",
            "-Dzookeeper.jmx.log4j.disable=true",
            *self.properties,
            "org.apache.zookeeper.server.ZooKeeperServerMain",
            str(self.folder / "zoo.cfg"),
        )


class Member(ZooKeeper):
    """One server of an ensemble; `servers` are all the lines server.N."""

    def __init__(self, folder, number, servers):
        configuration = {"tickTime": "500", "initLimit": "40", "syncLimit": "20", "snapCount": "60", "preAllocSize": "64"}
        configuration["maxSessionTimeout"] = "60000"
        super().__init__(folder, {**configuration, **servers}, heap_megabytes=192)
        self.number = number
        self.data_dir.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "myid").write_text(f"{number}\n")

    def command(self):
        command = super().command()
        return [part.replace("server.ZooKeeperServerMain", "server.quorum.QuorumPeerMain") for part in command]

    def mode(self):
        found = re.search(r"^Mode: (\w+)", four_letter_word(self.coordinator, "srvr"), re.MULTILINE)
        return found and found[1]

    def ready(self):
        return self.mode() in ("leader", "follower")

    def doorkeeper(self, **overrides):
        """doorkeeper on this member's own zoo.cfg and directory."""
        self.command()
        return Doorkeeper(self.folder / "doorkeeper", overrides, files=[self.folder / "zoo.cfg"])


def ensemble(folder, count=3):
    """Members that are not started yet."""
    servers = {
        f"server.{number}": f"127.0.0.1:{free_port()}:{free_port()}:participant" for number in range(1, count + 1)
    }
    return [Member(folder / f"member{number}", number, servers) for number in range(1, count + 1)]


def start_together(members):
    """Starts members, which serve only when enough of them are there."""
    for member in members:
        member.spawn()
    for member in members:
        wait_for(f"member {member.number} serves", member._ready_or_dead, 120)


def data(command, data_dir, *options, fails=False):
    """What `doorkeeper data` prints."""
    binary = Doorkeeper(data_dir.parent).command()[0]
    done = subprocess.run(
        [binary, "data", command, str(data_dir), *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode != 0) == fails, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def inspect(data_dir):
    return json.loads(data("inspect", data_dir, "--json"))


def node(session, path):
    """Data and stat of one node."""
    return session.do("getData", jute.watched(path))
