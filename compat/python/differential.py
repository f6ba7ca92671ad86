"""The differential runner: random scripts (scripts.py) on Apache ZooKeeper 3.9.4 and on doorkeeper, side by side.

Each answer, each event and, at its end, each node of a script's tree with Stat and ACL must be the same on both;
session ids, times and where zxids begin are masked. By itself, `python differential.py 17` runs seed 17 and shows
the steps and the first difference, `python differential.py 1-500` many; `--shrink` leaves steps out as long as the
two still differ.
"""

import argparse
import contextlib
import multiprocessing
import pathlib
import shutil
import socket
import tempfile
import time
import traceback

import jute
import scripts
from jute import EPHEMERAL, buffer, create, integer, watched
from servers import Doorkeeper, ZooKeeper

# A short tick makes the shortest session short; no script lets a session expire but on purpose.
SETTINGS = {
    "tickTime": "200", "maxSessionTimeout": "100000", "forceSync": "no", "extendedTypesEnabled": "true", "snapCount": "20000",
    "enforceQuota": "true", "authProvider.1": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider", "superUser": "kafka",
    "DigestAuthenticationProvider.superDigest": jute.digest(*scripts.SUPER.split(":")), "fsync.warningthresholdms": "60000",
}  # fmt: skip
# No sweep of containers comes between.
SWEEPS, NEVER = "znode.container.checkIntervalMs", "1000000000"
# What takes a zxid of its own, and tells events in a given order.
WRITES = {"create", "create2", "createContainer", "createTTL", "delete", "setData", "setACL", "multi", "reconfig"}
CHUNK = 25
NO_AUTH = -102
PING = "ping"


class Runner(jute.Script):
    """Runs scripts on one server, one after the other."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.transcript, self.sessions, self.passwords, self.base = [], [], {}, 0
        self.admin = self.connect_raw("admin", timeout=100_000)
        assert self.admin.ask("auth", integer(0) + buffer("digest") + buffer(scripts.SUPER))[3] == 0
        self.admin.ask("create", create("/r"))
        self.admin.ask("create", create("/zookeeper/quota/r"))

    def connect_raw(self, name, **options):
        client = jute.Client(self, name, **options)
        client.name, client.open = name, client.session is not None and client.session[0] != 0
        if client.open:
            self.passwords[client.session[0]] = client.session[1]
        return client

    def zxid(self, value):
        if value in (-1, 0):
            return value
        return value - self.base if value > self.base else "before"

    def acls(self, acls):
        """Sorted: `auth` becomes the client's identities, of which ZooKeeper keeps a set."""
        return sorted(acls)

    def run(self, steps, name):
        """The transcript of the steps, run below /r/`name`."""
        self.root = f"/r/{name}"
        self.transcript, self.sessions, self.passwords, self.clients, self.last_zxid = [], [], {}, {}, 0
        self.base = self.admin.xid = 0
        self.base = self.admin.ask("exists", watched("/"))[2]
        self.transcript.clear()
        self.admin.ask("create", create(self.root))
        for number, step in enumerate(steps):
            self.note("step", number)
            try:
                getattr(self, step.kind)(step.slot, *step.arguments)
            except (OSError, AssertionError, ValueError, IndexError, KeyError, MemoryError) as error:
                # How it went wrong is what is compared; ZooKeeper's answers are never malformed.
                self.note(step.slot, f"error {error!r} {traceback.format_exc(limit=-1)}")
        self.finish(len(steps))
        return self.transcript

    def finish(self, number):
        self.note("step", number)
        for client in self.clients.values():
            if client.open:
                with contextlib.suppress(OSError):
                    client.send(PING)
        for client in self.clients.values():
            if client.open:
                self.until_answer(client)
        self.note("tree", self.tree())
        self.note("tree of quotas", self.tree(f"/zookeeper/quota{self.root}"))
        for session in self.sessions:
            client = self.connect_raw("closing", session=(session, self.passwords[session]), timeout=100_000)
            if client.open:
                client.ask("closeSession")
                client.closed()
            client.socket.close()
        for client in self.clients.values():
            client.socket.close()
        self.note("tree at the end", self.tree())
        self.note("tree of quotas at the end", self.tree(f"/zookeeper/quota{self.root}"))

    def tree(self, top=None):
        """Every node below the script's root, or another one, as an administrator sees it."""
        nodes, paths, mark = [], [top or self.root], len(self.transcript)
        while paths:
            for path in paths:
                self.admin.send("getData", watched(path))
                self.admin.send("getACL", buffer(path))
                self.admin.send("getChildren", watched(path))
            below = []
            for path in paths:
                data, acl, children = (self.admin.read() for _ in range(3))
                nodes.append((path, data[3:], acl[3:], children[3:]))
                if children[3] == 0:
                    below += [f"{path}/{child}" for child in children[4]]
            paths = below
        # Their xids and the script's place in this run don't matter.
        del self.transcript[mark:]
        return nodes

    # Steps.

    def until_answer(self, client, count=1):
        """Reads until so many answers have come; events come where they come."""
        while count:
            last = client.read()
            if last == "closed":
                client.open = False
                return
            if last[0] in ("event", PING):
                count -= last[0] == PING
                continue
            count -= 1
            op, _, zxid, error, *_ = last
            if zxid != "before":
                self.last_zxid = max(self.last_zxid, zxid)
            if error and (op in ("auth", "sasl") or zxid == -1):
                # The connection is about to be closed; another request might still be taken, or not.
                self.until_closed(client)

    def until_closed(self, client):
        while client.open:
            client.open = client.read() != "closed"

    def client(self, slot):
        """The slot's connection, if it is open."""
        client = self.clients.get(slot)
        if client is None or not client.open:
            self.note(slot, "not connected")
            return None
        return client

    def ask(self, slot, request):
        if client := self.client(slot):
            client.send(request.op, request.body(self.root))
            self.until_answer(client)

    def burst(self, slot, requests):
        if client := self.client(slot):
            for request in requests:
                client.send(request.op, request.body(self.root))
            self.until_answer(client, len(requests))

    def set_watches(self, slot, op, back, lists):
        """And then asks for each node, so that it is known which of them the client may not read."""
        client = self.client(slot)
        if client is None:
            return
        lists = [[scripts.full(self.root, path) for path in paths] for paths in lists]
        client.send(op, jute.set_watches(self.base + max(self.last_zxid - back, 0), *lists))
        self.until_answer(client)
        denied = []
        for path in {path for paths in lists for path in paths} if client.open else ():
            client.send("exists", watched(path))
            answer = jute.Client.decode(client, client.receive_frame())
            if answer[3] == NO_AUTH:
                denied.append(path)
        self.note("denied", sorted(denied))

    def sasl(self, slot, user, how):
        if client := self.client(slot):
            client.token = None
            client.send("sasl", buffer(b""))
            self.until_answer(client)
            if client.open and client.token and how != "half":
                password = "guessed" if how == "with another password" else scripts.LOGINS.get(user, "")
                authzid = user if how == "as itself" else None
                client.send("sasl", buffer(jute.sasl_response(client.token, user, password, authzid)))
                self.until_answer(client)

    def connect(self, slot, options):
        self.drop(slot)
        self.clients[slot] = self.connect_raw(slot, **options)

    def drop(self, slot):
        """Cuts the connection, and waits until the server has seen it."""
        client = self.clients.get(slot)
        if client and client.open:
            with contextlib.suppress(OSError):
                client.socket.shutdown(socket.SHUT_WR)
            self.until_closed(client)
        if client:
            client.socket.close()

    def reattach(self, slot, how):
        before = self.clients.get(slot)
        if before is None or before.session is None:
            return
        identity, password = before.session
        if how in ("again", "moved"):
            if how == "again":
                self.drop(slot)
            self.clients[slot] = self.connect_raw(slot, session=before.session, timeout=100_000)
            self.until_closed(before)
        elif how == "wrong password":
            self.drop(slot)
            self.connect_raw("guesses", session=(identity, b"x" * 16)).socket.close()
        elif how == "unknown":
            self.connect_raw("guesses", session=(0x1234567, password)).socket.close()
        else:
            self.connect_raw("from the future", session=before.session, last_zxid=1 << 60).socket.close()

    def close(self, slot):
        if client := self.client(slot):
            client.send("closeSession")
            self.until_answer(client)
            self.until_closed(client)

    def expire(self, slot):
        if client := self.client(slot):
            client.ask("create", create(f"{self.root}-marker", b"", EPHEMERAL))
            self.drop(slot)
            self.clients[slot] = self.connect_raw(slot, session=client.session, timeout=1)
            self.drop(slot)
            deadline, mark = time.monotonic() + 30, len(self.transcript)
            while self.admin.ask("exists", watched(f"{self.root}-marker"))[3] == 0:
                assert time.monotonic() < deadline, "it has not expired"
                time.sleep(0.02)
            del self.transcript[mark:]


def ordered(transcript):
    """The transcript with those events sorted whose order is free: of a session's end, whose ephemerals go in any
    order."""
    answers = {entry[2] for _, entry in transcript if isinstance(entry, tuple) and entry[0] in WRITES}
    result, streams = [], {}
    for label, entry in transcript:
        free = isinstance(entry, tuple) and entry[0] == "event" and entry[1] not in answers and entry[1] != -1
        group = streams.get(label)
        if free and group and group[0][1] == entry[1]:
            group.append(entry)
            group.sort(key=repr)
            continue
        value = [entry] if free else entry
        streams[label] = value if free else None
        result.append((label, value))
    return result


def without_denied(transcript):
    """Apache ZooKeeper 3.9.4 tells a client that sets its watches anew of nodes that it may not read
    (CVE-2026-59739); doorkeeper does not."""
    result, since = [], 0
    for label, entry in transcript:
        if label == "step":
            since = len(result) + 1
        if label == "denied":
            kept = [(name, event) for name, event in result[since:] if not (event[0] == "event" and event[1] == -1 and event[5] in entry)]
            result[since:] = kept
        result.append((label, entry))
    return result


def difference(theirs, ours, steps, against_apache=False):
    """What differs first, for people; None if nothing does."""
    left, right = ordered(without_denied(theirs)), ordered(without_denied(ours) if against_apache else ours)
    number = 0
    for index in range(max(len(left), len(right))):
        mine = left[index] if index < len(left) else "nothing more"
        other = right[index] if index < len(right) else "nothing more"
        if mine != other:
            if isinstance(mine[1], list) and isinstance(other[1], list) and mine[0].startswith("tree"):
                pairs = zip(mine[1], other[1], strict=False)
                mine, other = next(((a, b) for a, b in pairs if a != b), (mine, other))
            text = f"{steps[number].slot}: {steps[number].kind} {steps[number].text}" if number < len(steps) else "the end"
            return f"step {number} ({text})\n  ZooKeeper  {mine}\n  doorkeeper {other}"
        if mine[0] == "step":
            number = mine[1]
    return None


# Words of steps that are left out (--without).
WITHOUT = []


def chosen(seed, kept=None):
    """The steps of a seed, or those of them with these numbers."""
    steps = scripts.script(seed, WITHOUT)
    return steps if kept is None else [steps[number] for number in kept]


class Driver:
    """A process of its own that runs scripts on one server."""

    def __init__(self, server):
        self.pipe, child = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self.work, args=(server.coordinator, child), daemon=True)
        self.process.start()
        child.close()

    @staticmethod
    def work(address, pipe):
        try:
            runner = Runner(address)
            while job := pipe.recv():
                for name, seed, kept in job:
                    pipe.send(runner.run(chosen(seed, kept), name))
        except Exception:  # noqa: BLE001: the other process shows it
            pipe.send(traceback.format_exc())

    def receive(self):
        answer = self.pipe.recv()
        assert not isinstance(answer, str), answer
        return answer

    def stop(self):
        self.process.kill()
        self.process.join()


class Pair:
    """Both servers, each with its driver; started anew after a difference, which the next script might not survive."""

    def __init__(self, folder, against_apache=False):
        self.folder, self.against_apache = pathlib.Path(folder), against_apache
        self.count, self.drivers, self.servers, self.stack = 0, [], [], None
        self.starts = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def start(self):
        self.starts += 1
        folder = self.folder / str(self.starts)
        folder.mkdir(parents=True)
        jaas = folder / "jaas.conf"
        users = " ".join(f'user_{user}="{password}"' for user, password in scripts.LOGINS.items())
        jaas.write_text(f"Server {{ org.apache.zookeeper.server.auth.DigestLoginModule required {users}; }};\n")
        of_java = {SWEEPS: NEVER, "java.security.auth.login.config": str(jaas)}
        properties = [f"-D{key}={value}" for key, value in of_java.items()]
        zookeeper = ZooKeeper(folder / "zookeeper", SETTINGS, properties=properties, heap_megabytes=512)
        other = ZooKeeper(folder / "doorkeeper", SETTINGS, properties=properties, heap_megabytes=512)
        if not self.against_apache:
            other.command()  # Writes its zoo.cfg.
            other = Doorkeeper(folder / "doorkeeper", of_java, files=[folder / "doorkeeper" / "zoo.cfg"])
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self.servers = [stack.enter_context(server) for server in (zookeeper, other)]
            self.drivers = [Driver(server) for server in self.servers]
            for driver in self.drivers:
                stack.callback(driver.stop)
            self.stack = stack.pop_all()

    def restart(self):
        self.stack.close()
        self.start()

    def run(self, job):
        """Transcripts of both for each of [(seed, the numbers of the steps to be run or None for all)]."""
        names = []
        for seed, kept in job:
            self.count += 1
            names.append((f"{self.count:06}", seed, kept))
        for driver in self.drivers:
            driver.pipe.send(names)
        for _ in job:
            yield [driver.receive() for driver in self.drivers]

    def differences(self, seeds):
        """(seed, difference) of the seeds that show one."""
        seeds = list(seeds)
        while seeds:
            chunk, seeds = seeds[:CHUNK], seeds[CHUNK:]
            for position, (theirs, ours) in enumerate(self.run([(seed, None) for seed in chunk])):
                found = difference(theirs, ours, chosen(chunk[position]), self.against_apache)
                if found:
                    # What is left of the chunk is still in the pipes.
                    self.restart()
                    seeds = chunk[position + 1 :] + seeds
                    yield chunk[position], found
                    break

    def shrink(self, seed):
        """The numbers of few steps of a seed that still show a difference, and the difference."""
        kept, found = list(range(len(chosen(seed)))), None
        size = len(kept)
        while size:
            start = 0
            while start < len(kept):
                fewer = kept[:start] + kept[start + size :]
                ((theirs, ours),) = self.run([(seed, fewer)])
                different = difference(theirs, ours, chosen(seed, fewer), self.against_apache)
                if different:
                    kept, found = fewer, different
                else:
                    start += size
            size //= 2
        self.restart()
        return kept, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("seeds", help="one, or FIRST-LAST")
    parser.add_argument("--shrink", action="store_true", help="leave steps out as long as the two differ")
    parser.add_argument("--stop-after", type=int, default=10, help="differences")
    parser.add_argument("--against-apache", action="store_true", help="ZooKeeper in both places")
    parser.add_argument("--without", default="", help="leave out steps with one of these words in their text: createTTL,flags 4")
    options = parser.parse_args()
    WITHOUT.extend(word for word in options.without.split(",") if word)
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    folder = tempfile.mkdtemp(prefix="doorkeeper-differential-")
    started, count = time.monotonic(), 0
    try:
        with Pair(folder, options.against_apache) as pair:
            for seed, found in pair.differences(seeds):
                count += 1
                kept = range(len(chosen(seed)))
                if options.shrink:
                    kept, found = pair.shrink(seed)
                print(f"seed {seed}: {found}")
                if options.shrink or len(seeds) == 1:
                    for number, step in enumerate(chosen(seed, kept)):
                        print(f"    {number} {step.slot}: {step.kind} {step.text}")
                print(flush=True)
                if count >= options.stop_after:
                    break
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{count} differences in at most {len(seeds)} scripts, {time.monotonic() - started:.0f} s")
    return count > 0


if __name__ == "__main__":
    raise SystemExit(main())
