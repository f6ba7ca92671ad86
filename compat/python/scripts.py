"""Random scripts for the differential runner: a seed becomes steps over a few sessions, the same ones each time.

A step is a `Step`: what it does, on which of the script's sessions, and what a person would call it. Bodies are
functions of the script's root, so that the same steps can run again below another one.

Where doorkeeper is stricter than Apache ZooKeeper 3.9.4 on purpose (README has the list), the scripts keep out of the way:
- Opcodes that are a server's own (20 deleteContainer, CVE-2026-79993; -10 createSession) close the connection.
- Behind a setACL, in the same burst or multi, the new list counts (CVE-2026-100235).
- setWatches tells nobody of nodes that he may not read (CVE-2026-59739; the comparison looks after that).
- A wrong password for a session leaves the connection that the session has alone; ZooKeeper closes it.
- addWatch on no path at all (null, not empty) is malformed; and the answer to a multiRead that fails as a whole (of
  nothing but writes, or of a null path) ends with its error, where ZooKeeper appends results that no client reads.
- A create of no path at all (null) is malformed before anybody looks at its flags.
- A hard quota counts what is on its way: in scripts with quotas only one of what is asked at once changes anything.
- A quota's data is what both can read (CVE-2026-100300), and nobody logs in with SASL to act as another.
- createTTL with an impossible time and flags of another kind is refused; ZooKeeper dies of it, at every start again.
"""

import dataclasses
import random
from collections.abc import Callable

import jute
from jute import EPHEMERAL, OPEN, SEQUENTIAL, acl_list, buffer, integer, long, multi, set_acl, set_data, versioned, watched

USERS = ("ann", "ben")
SUPER = "super:admin"
# Of SASL; the last one is a super user.
LOGINS = {"bob": "bobsecret", "eve": "evesecret", "kafka": "kafkasecret"}
NAMES = ("a", "b", "c")
# What changes nothing.
READS = ("exists", "getData", "getChildren", "getChildren2", "getACL", "sync", "check")
SLOTS = ("s0", "s1", "s2")
ALL, READ, WRITE, CREATE, DELETE, ADMIN = 31, 1, 2, 4, 8, 16
# Invalid, or special in some way; `~` stands for the root of the script.
BAD_PATHS = (
    "", "a", "~/", "~//a", "~/a/", "~/./a", "~/../a", "~/a\0b", "~/\x1f", "~/\ud7ff", "~/\ue000", "~/\uf8ff", "~/\ufff0", "~/\uffff",
    "~/\x7f", "/", "/zookeeper", "/zookeeper/config", "~/ä☃", None,
)  # fmt: skip
ACLS = {
    "open": OPEN,
    "read": [(READ, "world", "anyone")],
    "creator": [(ALL, "auth", "")],
    "ann": [(ALL, "digest", jute.digest("ann", "secret"))],
    "ann, others read": [(ALL, "digest", jute.digest("ann", "secret")), (READ, "world", "anyone")],
    "ben, no admin": [(ALL - ADMIN, "digest", jute.digest("ben", "secret"))],
    "here": [(ALL, "ip", "127.0.0.1")],
    "there": [(ALL, "ip", "10.0.0.0/8")],
    "write": [(WRITE | DELETE, "world", "anyone")],
    "create": [(CREATE | READ, "world", "anyone")],
    "twice": [(READ, "world", "anyone"), (WRITE, "world", "anyone"), (READ, "world", "anyone")],
    "none": [(0, "world", "anyone")],
    "more than all": [(0xFF, "world", "anyone")],
    "empty": [],
    "unknown scheme": [(ALL, "nobody", "knows")],
    "somebody": [(ALL, "world", "somebody")],
    "no colon": [(ALL, "digest", "ann")],
    "no address": [(ALL, "ip", "localhost")],
    "super": [(ALL, "super", "")],
    "bob": [(ALL, "sasl", "bob")],
    "eve, others read": [(ALL, "sasl", "eve"), (READ, "world", "anyone")],
    "a principal": [(ALL, "sasl", "bob/host@REALM")],
    "no principal": [(ALL, "sasl", "a/b/c@")],
    "a certificate": [(ALL, "x509", "CN=bob")],
}
# Limits of quotas, soft and hard, in the forms that ZooKeeper's own tools have written.
LIMITS = (
    b"count=-1,bytes=-1", b"count=2,bytes=-1", b"count=-1,bytes=40", b"count=3,bytes=300", b"count=2,bytes=5=;byteHardLimit=400;countHardLimit=4",
    b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=2", b"count=-1,bytes=-1=;byteHardLimit=30;countHardLimit=-1", b"count=1,bytes=1=;countHardLimit=6",
    b"count=0,bytes=0=;byteHardLimit=0;countHardLimit=0", b"bytes=7,count=7", b"",
)  # fmt: skip
USUAL_ACLS = ("open",) * 12 + tuple(ACLS)


@dataclasses.dataclass
class Step:
    """`kind` is a method of the runner (differential.py); `arguments` are its arguments."""

    kind: str
    slot: str
    text: str
    arguments: tuple = ()


@dataclasses.dataclass
class Request:
    """`body(root)` is what goes behind the header; `waits` is the xid's reply."""

    op: str | int
    text: str
    body: Callable[[str], bytes]


class Maker:
    """Draws the steps of one seed."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.steps = []
        self.quotas = False

    def make(self):
        draw = self.draw
        slots = SLOTS[: draw.choice([1, 2, 2, 3, 3])]
        self.quotas = draw.random() < 0.2
        for slot in slots:
            self.connect(slot)
            if draw.random() < 0.4:
                self.authenticate(slot)
        kinds = {
            self.write: 30, self.read: 22, self.burst: 6, self.multi: 10, self.multi_read: 3, self.set_watches: 3, self.watch_table: 8,
            self.authenticate: 2, self.sasl: 2, self.reattach: 3, self.drop: 1, self.close: 1, self.connect: 1, self.malformed: 1.5, self.other: 3,
        }  # fmt: skip
        if self.quotas:
            kinds[self.quota] = 15
        # Some scripts leave out most kinds, so that what is left meets itself more often.
        chosen = list(kinds) if draw.random() < 0.6 else [self.write, *draw.sample(list(kinds), 4)]
        weights = [kinds[kind] for kind in chosen]
        for _ in range(draw.randint(5, 60)):
            draw.choices(chosen, weights)[0](draw.choice(slots))
        if draw.random() < 0.01:
            self.steps.append(Step("expire", draw.choice(slots), "its connection is cut and its session expires"))
        return self.steps

    def add(self, slot, request):
        self.steps.append(Step("ask", slot, f"{request.op} {request.text}", (request,)))

    # Paths and arguments.

    def path(self, bad=0.03):
        draw = self.draw
        if draw.random() < bad:
            return draw.choice(BAD_PATHS)
        path = "~"
        for _ in range(draw.choice([0, 1, 1, 1, 2, 2, 3])):
            name = f"{draw.choice(NAMES)}{draw.choice([0, 0, 1, 2, 3, 7]):010}" if draw.random() < 0.15 else draw.choice(NAMES)
            path += f"/{name}"
        return path

    def version(self):
        return self.draw.choice([-1, -1, -1, -1, 0, 0, 1, 2, 7, -2, 0x7FFFFFFF])

    def data(self):
        return self.draw.choice([None, b"", b"x", b"data", b"\0\xff" * 20, b"y" * 300])

    def flags(self):
        draw = self.draw
        if draw.random() < 0.04:
            return draw.choice([4, 5, 6, 7, -1, 8])
        return draw.choice([0, 0, 0, 0, EPHEMERAL, EPHEMERAL, SEQUENTIAL, SEQUENTIAL | EPHEMERAL])

    def acl(self):
        return self.draw.choice(USUAL_ACLS)

    # Requests.

    def create_request(self):
        draw = self.draw
        path, data, acl = self.path(), self.data(), self.acl()
        kind = draw.random()
        if path is None:
            return request("create", f"None acl {acl}", lambda root: node(root, path, data, acl) + integer(0))
        if kind < 0.06:
            return request("createContainer", f"{path} acl {acl}", lambda root: node(root, path, data, acl) + integer(4))
        if kind < 0.10:
            flags, ttl = draw.choice([5, 5, 5, 6, 0, 4]), draw.choice([1 << 30, 600_000, 0, -1, 1 << 40, (1 << 40) - 1])
            if flags not in (5, 6) and not 0 < ttl < 1 << 40:
                # ZooKeeper checks it by the flags, stores it by the opcode, and dies of it at every start.
                ttl = 1
            return request("createTTL", f"{path} flags {flags} ttl {ttl}", lambda root: node(root, path, data, acl) + integer(flags) + long(ttl))
        op, flags = draw.choice(["create", "create2"]), self.flags()
        if flags & SEQUENTIAL and path and draw.random() < 0.5:
            path += "/"
        return request(op, f"{path} flags {flags} acl {acl} data {data!r:.20}", lambda root: node(root, path, data, acl) + integer(flags))

    def write_request(self, inside_multi=False):
        draw = self.draw
        kind = draw.random()
        if kind < 0.5:
            return self.create_request()
        path, version = self.path(), self.version()
        if inside_multi and kind < 0.6:
            return request("check", f"{path} version {version}", lambda root: versioned(full(root, path), version))
        if kind < 0.72:
            return request("delete", f"{path} version {version}", lambda root: versioned(full(root, path), version))
        if kind < 0.92:
            data = self.data()
            return request("setData", f"{path} version {version}", lambda root: set_data(full(root, path), data, version))
        acl = self.acl()
        if path is None or not path.startswith("~"):
            path = "~/a"
        return request("setACL", f"{path} {acl} version {version}", lambda root: set_acl(full(root, path), ACLS[acl], version))

    def read_request(self):
        draw = self.draw
        path, watch = self.path(), draw.random() < 0.5
        op = draw.choice(["exists", "getData", "getData", "getChildren", "getChildren2", "getACL", "sync"])
        if op in ("getACL", "sync"):
            return request(op, f"{path}", lambda root: buffer(full(root, path)))
        return request(op, f"{path}{' watch' * watch}", lambda root: watched(full(root, path), watch))

    def at_once(self, operations):
        """Of several changes the last one, where quotas count."""
        changes = [operation for operation in operations if operation.op not in READS]
        return [operation for operation in operations if not self.quotas or operation.op in READS or operation is changes[-1]]

    def multi_request(self):
        operations = [self.write_request(inside_multi=True) for _ in range(self.draw.choice([0, 1, 2, 2, 3, 4, 6]))]
        return composed("multi", set_acl_last(self.at_once(operations)))

    # Steps, each for one slot.

    def write(self, slot):
        self.add(slot, self.write_request())

    def read(self, slot):
        self.add(slot, self.read_request())

    def multi(self, slot):
        self.add(slot, self.multi_request())

    def multi_read(self, slot):
        draw = self.draw
        operations = []
        for _ in range(draw.randint(0, 4)):
            path = self.path() or ""
            op = draw.choice(["getData", "getChildren"])
            operations.append(request(op, f"{path}", lambda root, path=path: watched(full(root, path))))
        if operations and draw.random() < 0.05:
            operations.append(self.write_request(inside_multi=True))
        self.add(slot, composed("multiRead", operations))

    def burst(self, slot):
        """Several requests before the first answer is read."""
        makers = [self.write_request, self.read_request, self.read_request, self.multi_request]
        requests = set_acl_last(self.at_once([self.draw.choice(makers)() for _ in range(self.draw.randint(2, 8))]))
        text = "at once: " + "; ".join(f"{request.op} {request.text}" for request in requests)
        self.steps.append(Step("burst", slot, text, (requests,)))

    def set_watches(self, slot):
        draw = self.draw
        op = draw.choice(["setWatches", "setWatches2"])
        lists = [[self.path(bad=0) for _ in range(draw.randint(0, 3))] for _ in range(3 if op == "setWatches" else 5)]
        back = draw.choice([0, 1, 2, 5, 10])
        text = f"{op} of {back} transactions ago: {lists}"
        self.steps.append(Step("set_watches", slot, text, (op, back, lists)))

    def watch_table(self, slot):
        draw = self.draw
        path, number = self.path() or "", draw.choice([0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, -1])
        op = draw.choice(["addWatch", "addWatch", "removeWatches", "checkWatches"])
        if op == "addWatch":
            number = draw.choice([0, 0, 1, 1, 1, 2, -1])
        self.add(slot, request(op, f"{path} {number}", lambda root: buffer(full(root, path)) + integer(number)))

    def authenticate(self, slot):
        draw = self.draw
        if draw.random() < 0.05:
            scheme, credentials = draw.choice([("nobody", b"x"), ("digest", b"no colon"), ("digest", b""), ("digest", None), ("ip", b""), ("world", b"anyone")])
        else:
            user = draw.choice([*USERS, *USERS, *USERS, "super"])
            scheme, credentials = "digest", (SUPER if user == "super" else f"{user}:secret").encode()
        self.add(slot, request("auth", f"{scheme} {credentials}", lambda root: integer(0) + buffer(scheme) + buffer(credentials)))

    def sasl(self, slot):
        draw = self.draw
        user = draw.choice([*LOGINS, *LOGINS, "nobody"])
        how = draw.choice(["to its end"] * 6 + ["with another password", "as itself", "half"])
        self.steps.append(Step("sasl", slot, f"SASL of {user}, {how}", (user, how)))

    def quota(self, slot):
        """A quota is set, changed, looked at or taken away, node by node."""
        draw = self.draw
        below = draw.choice(["", "", "/a", "/a", "/b", "/a/b"])
        node, kind = f"/zookeeper/quota~{below}", draw.random()
        limits, stats, data = f"{node}/zookeeper_limits", f"{node}/zookeeper_stats", draw.choice(LIMITS)
        put = lambda path, data: request("create", f"{path} {data}", lambda root: buffer(full(root, path)) + buffer(data) + acl_list(OPEN) + integer(0))
        if kind < 0.5:
            parents = [f"/zookeeper/quota~{part}" for part in ("", "/a") if below.startswith(part)]
            made = [put(path, b"") for path in dict.fromkeys([*parents, node])]
            for request_ in [*made, *draw.choice([[put(limits, data), put(stats, b"count=0,bytes=0")], [put(stats, b""), put(limits, data)], [put(limits, data)]])]:
                self.add(slot, request_)
        elif kind < 0.65:
            self.add(slot, request("setData", f"{limits} {data}", lambda root: set_data(full(root, limits), data)))
        elif kind < 0.75:
            path = draw.choice([limits, stats, node])
            self.add(slot, request("delete", path, lambda root: versioned(full(root, path))))
        else:
            watch = draw.random() < 0.3
            self.add(slot, request("getData", f"{stats}{' watch' * watch}", lambda root: watched(full(root, stats), watch)))

    def connect(self, slot):
        options = {"timeout": self.draw.choice([30_000, 40_000, 60_000, 100_000]), "read_only": self.draw.choice([b"\0", b"\0", b"", b"\1"])}
        self.steps.append(Step("connect", slot, f"a new session, {options}", (options,)))

    def reattach(self, slot):
        how = self.draw.choice(["again", "again", "again", "moved", "moved", "wrong password", "from the future", "unknown"])
        self.steps.append(Step("reattach", slot, f"re-attaches, {how}", (how,)))

    def drop(self, slot):
        self.steps.append(Step("drop", slot, "cuts its connection"))

    def close(self, slot):
        self.steps.append(Step("close", slot, "closes its session"))

    def malformed(self, slot):
        """A body that is cut, or that has bytes too many."""
        draw = self.draw
        whole = draw.choice([self.write_request, self.read_request, self.multi_request])()
        if draw.random() < 0.2:
            text, body = "and more", lambda root: whole.body(root) + b"more"
        else:
            share = draw.random()
            text, body = f"cut at {share:.2f}", lambda root: whole.body(root)[: int(len(whole.body(root)) * share)]
        self.add(slot, Request(whole.op, f"{whole.text}, {text}", body))

    def other(self, slot):
        draw = self.draw
        path = self.path()
        self.add(
            slot,
            draw.choice([
                request("ping", "", lambda root: b""),
                request("getEphemerals", f"{path}", lambda root: buffer(full(root, path))),
                request("getAllChildrenNumber", f"{path}", lambda root: buffer(full(root, path))),
                request("whoAmI", "", lambda root: b""),
                request("whoAmI", "", lambda root: b""),
                request("getAllChildrenNumber", f"{path}", lambda root: buffer(full(root, path))),
                request("getEphemerals", f"{path}", lambda root: buffer(full(root, path))),
                request("check", f"{path}", lambda root: versioned(full(root, path))),
                request("reconfig", "", lambda root: buffer("") + buffer("") + buffer("") + long(-1)),
                request(draw.choice([10, 23, 99, 108, -1, 9999]), "", lambda root: b""),
            ]),
        )  # fmt: skip


def set_acl_last(operations):
    """Whether Apache ZooKeeper 3.9.4 checks what comes right behind a setACL by the old or by the new list is a matter
    of luck, and in a multi by the old one (CVE-2026-100235)."""
    last = operations[-1:]
    return [operation for operation in operations[:-1] if "setACL" not in f"{operation.op} {operation.text}"] + last


def request(op, text, body):
    return Request(op, text, body)


def composed(op, operations):
    text = "; ".join(f"{operation.op} {operation.text}" for operation in operations)
    return Request(op, f"[{text}]", lambda root: multi(*((operation.op, operation.body(root)) for operation in operations)))


def node(root, path, data, acl):
    """A create's body up to its flags."""
    return buffer(full(root, path)) + buffer(data) + acl_list(ACLS[acl])


def full(root, path):
    return path and path.replace("~", root, 1)


def script(seed, without=()):
    """The steps of a seed; those in whose text one of the words `without` stands are left out."""
    return [step for step in Maker(seed).make() if not any(word in step.text for word in without)]
