"""Who talks to the brokers while clients use a relay: sockets by their owner, and the brokers' own counts."""

import os
import pathlib
import threading
from concurrent.futures import ThreadPoolExecutor

ESTABLISHED = "01"
EVERY_SECONDS = 0.02


def connections(ports):
    """(inode, description) of this machine's open connections to one of the ports."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            local, remote, state, inode = fields[1], fields[2], fields[3], int(fields[9])
            if state == ESTABLISHED and inode and int(remote.rsplit(":", 1)[1], 16) in ports:
                found.add((inode, f"{local} to {remote}"))
    return found


def owner(inode):
    """The process that has this socket; None if it is gone already."""
    wanted = f"socket:[{inode}]"
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            for descriptor in os.scandir(f"/proc/{process}/fd"):
                if os.readlink(descriptor.path) == wanted:
                    return int(process)
        except OSError:
            continue
    return None


def command(pid):
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        words = ["?"]
    return f"{pid}: {' '.join(words)[-200:]}"


class Watch:
    """From its start until `strangers` is asked for; nobody else may ask the brokers meanwhile."""

    def __init__(self, cluster, gateway):
        self.cluster, self.gateway = cluster, gateway
        self.allowed = {broker.process.pid for broker in cluster.live.values()} | {gateway.process.pid}
        addresses = [address for broker in cluster.live.values() for address in (broker.bootstrap, broker.outside)]
        self.ports = {int(address.rsplit(":", 1)[1]) for address in addresses}
        self.seen, self.owners, self.stopping = set(), {}, threading.Event()
        self.before = self.counts()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping.wait(EVERY_SECONDS):
            for inode, which in connections(self.ports) - self.seen:
                self.seen.add((inode, which))
                self.owners[which] = owner(inode)

    def counts(self):
        """(Metadata requests that the brokers have taken, those that the gateway has asked of them)."""
        with ThreadPoolExecutor() as pool:
            taken = sum(pool.map(lambda broker: broker.metadata_requests(), self.cluster.live.values()))
        return taken, self.gateway.metric("doorkeeper_gateway_requests_total", api="Metadata", outcome="asked")

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def strangers(self):
        """Lines about connections to the brokers that are neither the brokers' own nor the gateway's."""
        found = {pid for pid in self.owners.values() if pid is not None} - self.allowed
        return [command(pid) for pid in sorted(found)]

    def of_gateway(self):
        """How many connections of the gateway's to the brokers were seen."""
        return sum(pid == self.gateway.process.pid for pid in self.owners.values())

    def metadata_requests(self):
        """How many Metadata requests the brokers took, and how many of them the gateway asked."""
        return tuple(now - before for now, before in zip(self.counts(), self.before, strict=True))
