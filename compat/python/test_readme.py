"""The first session of README.md, executed: each command that it shows prints what it shows.

Commands are lines that begin with "$ " in the code blocks of the section; what follows is their output.
The ports of the defaults are replaced by free ones; Kafka's scripts are the jars of Maven by the names that
Kafka's own download gives them.
"""

import os
import re
import subprocess

from servers import WORK, Doorkeeper
from tools import VERSIONS

README = WORK.parents[1] / "README.md"
SCRIPTS = {
    "kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    # The shell went away with ZooKeeper: Kafka 3.9's is the last.
    "zookeeper-shell.sh": "org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka -server",
}


def session():
    """[(command, [lines of output])] of the section "A first session"."""
    section = re.search(r"^## A first session\n(.*?)^## ", README.read_text(), flags=re.M | re.S)[1]
    steps = []
    for block in re.findall(r"^```\w*\n(.*?)^```", section, flags=re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            elif steps:
                steps[-1][1].append(line)
    return steps


def scripts(folder):
    folder.mkdir()
    for name, main in SCRIPTS.items():
        version = VERSIONS[0] if name == "zookeeper-shell.sh" else VERSIONS[1]
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec java -Xmx256m -XX:TieredStopAtLevel=1 -cp "{WORK}/kafka-{version}/*" {main} "$@"\n')
        script.chmod(0o755)
    return folder


def test_first_session(folder):
    steps = session()
    assert len(steps) >= 4, "README.md shows no session"
    bin_folder = scripts(folder / "bin")
    with Doorkeeper(folder / "doorkeeper") as server:
        real = {"9092": server.bootstrap, "2181": server.coordinator, "9404": server.http}
        for command, expected in steps:
            for port, address in real.items():
                command = re.sub(rf"(localhost|127\.0\.0\.1):{port}\b", address, command)
            if command.startswith(("cargo ", "doorkeeper")):
                continue  # It is running.
            done = subprocess.run(
                ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, timeout=60, check=False,
                env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}, cwd=folder,
            )  # fmt: skip
            printed = done.stdout.decode().splitlines()
            assert done.returncode == 0, f"{command}\n{done.stdout.decode()}\n{done.stderr.decode()}"
            at = 0
            for line in expected:
                assert line in printed[at:], f"{command}\nREADME shows: {line}\nit prints: {printed}"
                at = printed.index(line, at) + 1
