"""A raw ZooKeeper client: each request as bytes, each answer and event as a tuple, in the order they came.

What may differ between two servers that did the same is masked: times become "time", a session id
becomes its place in the list of sessions that the test opened, and zxids count from the script's start.
"""

import base64
import hashlib
import re
import socket
import struct

OPS = {
    "create": 1, "delete": 2, "exists": 3, "getData": 4, "setData": 5, "getACL": 6, "setACL": 7, "getChildren": 8,
    "sync": 9, "ping": 11, "getChildren2": 12, "check": 13, "multi": 14, "create2": 15, "reconfig": 16,
    "checkWatches": 17, "removeWatches": 18, "createContainer": 19, "deleteContainer": 20, "createTTL": 21,
    "multiRead": 22, "auth": 100, "setWatches": 101, "sasl": 102, "getEphemerals": 103, "getAllChildrenNumber": 104,
    "setWatches2": 105, "addWatch": 106, "whoAmI": 107, "closeSession": -11,
}  # fmt: skip
SPECIAL_XIDS = {"ping": -2, "auth": -4, "setWatches": -8, "setWatches2": -8}
EVENT_XID = -1
NO_SESSION = (0, b"\0" * 16)
OPEN = [(31, "world", "anyone")]
EPHEMERAL, SEQUENTIAL = 1, 2
CONTAINER, TTL, SEQUENTIAL_TTL = 4, 5, 6


def integer(value):
    return struct.pack(">i", value)


def long(value):
    return struct.pack(">q", value)


def buffer(value):
    if value is None:
        return integer(-1)
    value = value.encode() if isinstance(value, str) else value
    return integer(len(value)) + value


def acl_list(acls):
    return integer(len(acls)) + b"".join(integer(perms) + buffer(scheme) + buffer(who) for perms, scheme, who in acls)


def paths(values):
    return integer(len(values)) + b"".join(buffer(value) for value in values)


def digest(user, password):
    return f"{user}:{base64.b64encode(hashlib.sha1(f'{user}:{password}'.encode()).digest()).decode()}"


def sasl_response(challenge, user, password, authzid=None):
    """What a client of SASL DIGEST-MD5 answers to a challenge, from the RFC."""
    nonce = re.search(rb'nonce="([^"]*)"', challenge)[1]
    secret = hashlib.md5(f"{user}:zk-sasl-md5:{password}".encode()).digest() + b":" + nonce + b":cn"
    if authzid is not None:
        secret += b":" + authzid.encode()
    uri, secret = (hashlib.md5(part).hexdigest().encode() for part in (b"AUTHENTICATE:zookeeper/zk-sasl-md5", secret))
    value = hashlib.md5(secret + b":" + nonce + b":00000001:cn:auth:" + uri).hexdigest()
    text = (
        f'charset=utf-8,username="{user}",realm="zk-sasl-md5",nonce="{nonce.decode()}",nc=00000001,cnonce="cn",'
        f'digest-uri="zookeeper/zk-sasl-md5",maxbuf=65536,response={value},qop=auth'
    )
    return (text + (f',authzid="{authzid}"' if authzid is not None else "")).encode()


def multi(*operations):
    """The body of a multi of (op, body) pairs."""
    out = b"".join(integer(OPS[op]) + b"\0" + integer(-1) + body for op, body in operations)
    return out + integer(-1) + b"\1" + integer(-1)


def create(path, data=b"", flags=0, acl=OPEN):
    return buffer(path) + buffer(data) + acl_list(acl) + integer(flags)


def create_ttl(path, ttl, flags=TTL, data=b"", acl=OPEN):
    return create(path, data, flags, acl) + long(ttl)


def reconfig(joining=None, leaving=None, members=None, version=-1):
    return buffer(joining) + buffer(leaving) + buffer(members) + long(version)


def set_data(path, data, version=-1):
    return buffer(path) + buffer(data) + integer(version)


def versioned(path, version=-1):
    """delete and check."""
    return buffer(path) + integer(version)


def watched(path, watch=False):
    """exists, getData, getChildren, getChildren2."""
    return buffer(path) + bytes([watch])


def set_acl(path, acl, version=-1):
    return buffer(path) + acl_list(acl) + integer(version)


def set_watches(relative_zxid, *lists):
    return long(relative_zxid) + b"".join(paths(values) for values in lists)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def unpack(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def buffer(self):
        length = self.unpack("i")
        if length < 0:
            return None
        assert self.at + length <= len(self.data), "a buffer longer than the frame"
        self.at += length
        return self.data[self.at - length : self.at]

    def string(self):
        raw = self.buffer()
        return None if raw is None else raw.decode()

    def vector(self, item):
        return [item() for _ in range(self.unpack("i"))]

    def left(self):
        return len(self.data) - self.at


class Script:
    """One run of the same steps against one server; `transcript` is what it answered."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.sessions = []
        self.transcript = []
        self.clients = []
        self.base = 0
        self.connect("base").ask("exists", watched("/"))
        self.base = self.transcript.pop()[1][2]

    def note(self, label, value):
        self.transcript.append((label, value))

    def connect(self, name="a", **options):
        client = Client(self, name, **options)
        self.clients.append(client)
        return client

    def owner(self, session):
        return f"session {self.sessions.index(session)}" if session in self.sessions else session

    def zxid(self, value):
        """A zxid as counted from the script's start; what is no zxid as it is."""
        return value if value in (-1, 0) else value - self.base

    def acls(self, acls):
        """A list of permissions as it is compared."""
        return acls

    def close(self):
        """Closes every session, so that none expires in the middle of the next script."""
        sessions = {client.session for client in self.clients if client.session and client.session[0]}
        for client in self.clients:
            client.socket.close()
        for session in sessions:
            client = Client(self, "closing", session=session)
            if client.session and client.session[0]:
                client.send("closeSession")
                client.receive_frame()
            client.socket.close()


class Client:
    """One connection. Every answer and event goes to the script's transcript as it is read."""

    def __init__(self, script, name="a", timeout=10_000, session=NO_SESSION, last_zxid=0, read_only=b"\0", version=0, hello=True):
        self.script, self.name = script, name
        self.asked = {}
        self.xid = 0
        # Of SASL, as it came.
        self.token = None
        self.socket = socket.create_connection(script.address, timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.session = None
        if not hello:
            return
        identity, password = session
        self.send_frame(integer(version) + long(last_zxid) + integer(timeout) + long(identity) + buffer(password) + read_only)
        frame = self.receive_frame()
        if frame is None:
            script.note(f"{name} connects", "closed")
            return
        reader = Reader(frame)
        protocol, granted, session_id, password = reader.unpack("i"), reader.unpack("i"), reader.unpack("q"), reader.buffer()
        if session_id and session_id not in script.sessions:
            script.sessions.append(session_id)
        self.session = (session_id, password)
        self.granted = granted
        script.note(f"{name} connects", (protocol, granted, script.owner(session_id), len(password), frame[reader.at :]))

    def send_frame(self, data):
        self.socket.sendall(integer(len(data)) + data)

    def receive_exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                chunk = self.socket.recv(count - len(data))
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            data += chunk
        return data

    def receive_frame(self):
        """A frame, or None when the server has closed."""
        head = self.receive_exactly(4)
        return None if head is None else self.receive_exactly(struct.unpack(">i", head)[0])

    def send(self, op, body=b""):
        """Sends a request without waiting."""
        number = OPS.get(op, op)
        if op in SPECIAL_XIDS:
            xid = SPECIAL_XIDS[op]
        else:
            self.xid += 1
            xid = self.xid
        self.asked[xid] = op
        self.send_frame(integer(xid) + integer(number) + body)
        return xid

    def read(self, count=1):
        """Reads that many answers or events into the transcript; returns the last."""
        last = None
        for _ in range(count):
            frame = self.receive_frame()
            last = "closed" if frame is None else self.decode(frame)
            self.script.note(self.name, last)
            if frame is None:
                break
        return last

    def ask(self, op, body=b"", events=0):
        """Sends a request and reads its answer and, wherever they come, that many events."""
        self.send(op, body)
        return self.read(1 + events)

    def closed(self):
        """Notes whether the server closes the connection, having sent no more."""
        frame = self.receive_frame()
        self.script.note(f"{self.name} end", "closed" if frame is None else self.decode(frame))

    def silent(self, seconds=0.3):
        """Notes that nothing comes for that long: for what must not happen."""
        self.socket.settimeout(seconds)
        try:
            frame = self.receive_frame()
            self.script.note(f"{self.name} silent", "closed" if frame is None else self.decode(frame))
        except TimeoutError:
            self.script.note(f"{self.name} silent", "nothing came")
        self.socket.settimeout(20)

    def decode(self, frame):
        reader = Reader(frame)
        xid, zxid, error = reader.unpack("iqi")
        if xid == EVENT_XID:
            kind, state = reader.unpack("ii")
            return ("event", self.script.zxid(zxid), error, kind, state, reader.string(), reader.left())
        op = self.asked.get(xid)
        if op == "ping":
            # Its header shows the last zxid that was processed, whoever's it was.
            return (op, error, reader.left())
        body = self.body(op, reader) if reader.left() and not error else ()
        return (op, xid, self.script.zxid(zxid), error, body, frame[reader.at :])

    def body(self, op, reader):
        if op in ("create", "sync"):
            return reader.string()
        if op in ("create2", "createContainer", "createTTL"):
            return (reader.string(), self.stat(reader))
        if op in ("exists", "setData", "setACL"):
            return self.stat(reader)
        if op == "getData":
            return (reader.buffer(), self.stat(reader))
        if op == "getACL":
            acls = reader.vector(lambda: (reader.unpack("i"), reader.string(), reader.string()))
            return (self.script.acls(acls), self.stat(reader))
        if op == "getChildren":
            return sorted(reader.vector(reader.string))
        if op == "getChildren2":
            return (sorted(reader.vector(reader.string)), self.stat(reader))
        if op in ("multi", "multiRead"):
            return self.results(reader)
        if op in ("addWatch", "getAllChildrenNumber"):
            return reader.unpack("i")
        if op == "sasl":
            self.token = reader.buffer()
            # A nonce serves once, and what proves the server depends on it.
            return self.token and re.sub(rb'(nonce="|rspauth=)[^",]*', rb"\1", self.token)
        if op == "getEphemerals":
            return sorted(reader.vector(reader.string))
        if op == "whoAmI":
            # Apache ZooKeeper keeps them in a set.
            return sorted(reader.vector(lambda: (reader.string(), reader.string())))
        return ()

    def results(self, reader):
        names = {number: name for name, number in OPS.items()}
        found = []
        while True:
            kind, done, error = reader.unpack("i?i")
            if done:
                return [*found, (kind, error)]
            if kind == -1:
                found.append(("error", error, reader.unpack("i")))
            elif names[kind] in ("delete", "check"):
                found.append((names[kind], error))
            else:
                found.append((names[kind], error, self.body(names[kind], reader)))

    def stat(self, reader):
        names = "czxid mzxid ctime mtime version cversion aversion owner length children pzxid".split()
        stat = dict(zip(names, reader.unpack("qqqqiiiqiiq"), strict=True))
        for field in ("czxid", "mzxid", "pzxid"):
            stat[field] = self.script.zxid(stat[field])
        stat["changed"] = stat["mtime"] >= stat["ctime"] if stat["version"] else stat["mtime"] == stat["ctime"]
        for field in ("ctime", "mtime"):
            stat[field] = "time" if stat[field] > 1_600_000_000_000 else stat[field]
        stat["owner"] = self.script.owner(stat["owner"])
        return stat
