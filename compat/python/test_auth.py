"""Who may do what: the same scripts on Apache ZooKeeper 3.9.4 and on doorkeeper, with the same JAAS file.

The clients are kazoo with pure-sasl, ZooKeeper's own command line, and a socket for what neither sends.
"""

import base64
import contextlib
import hashlib
import logging
import re
import socket
import struct
import subprocess

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, make_acl, make_digest_acl

from jute import sasl_response
from servers import WORK, Doorkeeper, ZooKeeper, java

logging.getLogger("kazoo").setLevel(logging.CRITICAL)

PROVIDER = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
MODULE = "org.apache.zookeeper.server.auth.DigestLoginModule"
PASSWORDS = {"bob": "bobsecret", "eve": "eve's \\\"secret\\\"", "kafka": "kafkasecret"}
ROOT = base64.b64encode(hashlib.sha1(b"root:pw").digest()).decode()


@contextlib.contextmanager
def servers(folder, configuration):
    """(ZooKeeper, doorkeeper) with these lines of zoo.cfg and the same users."""
    folder.mkdir()
    jaas = folder / "jaas.conf"
    users = "\n".join(f'    user_{name}="{password}"' for name, password in PASSWORDS.items())
    jaas.write_text(f"// who may come in\nServer {{\n  {MODULE} required\n{users};\n}};\n")
    configuration = {"authProvider.1": PROVIDER, "superUser": "kafka", **configuration}
    login = f"-Djava.security.auth.login.config={jaas}"
    with ZooKeeper(folder / "zookeeper", configuration, properties=(login,)) as zookeeper:
        audit = folder / "audit.log"
        overrides = {
            **configuration,
            "java.security.auth.login.config": str(jaas),
            **({"doorkeeper.audit.file": str(audit)} if "audit.enable" in configuration else {}),
        }
        with Doorkeeper(folder / "doorkeeper", overrides=overrides, roles=["coordinator"]) as doorkeeper:
            doorkeeper.audit = audit
            yield zookeeper, doorkeeper


@pytest.fixture(scope="module")
def pair(folder):
    with servers(folder / "open", {"DigestAuthenticationProvider.superDigest": f"root:{ROOT}"}) as both:
        yield both


@pytest.fixture(scope="module")
def enforcing(folder):
    with servers(folder / "enforcing", {"sessionRequireClientSASLAuth": "true"}) as both:
        yield both


def sasl(user, password=None):
    password = password or PASSWORDS[user].replace('\\"', '"')
    return {"sasl_options": {"mechanism": "DIGEST-MD5", "username": user, "password": password}}


@contextlib.contextmanager
def client(server, **options):
    made = KazooClient(server.coordinator, timeout=10, **options)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        made.close()


def outcome(function, *arguments, **options):
    """What a call comes to: its value, or the name of its error."""
    try:
        return function(*arguments, **options)
    except KazooException as error:
        return type(error).__name__


def acls(k, path):
    return [(acl.perms, acl.id.scheme, acl.id.id) for acl in k.get_acls(path)[0]]


def same(pair, script):
    """Runs the script on both and compares what it returns."""
    ours, theirs = [], []
    for server, came in zip(pair, (theirs, ours), strict=True):
        script(server, lambda label, value, came=came: came.append((label, value)))
    assert theirs, "the script says nothing"
    for their, our in zip(theirs, ours, strict=True):
        assert their == our, f"ZooKeeper {their}, doorkeeper {our}"


def test_kazoo_authenticates_with_sasl(pair):
    def script(server, say):
        with client(server, **sasl("bob")) as bob, client(server) as nobody:
            bob.create("/bob", b"1", acl=CREATOR_ALL_ACL)
            say("own", acls(bob, "/bob"))
            say("no name", outcome(nobody.get, "/bob"))
            with client(server, **sasl("eve")) as eve:
                say("another", outcome(eve.get, "/bob"))
                say("not admin", outcome(eve.set_acls, "/bob", OPEN_ACL_UNSAFE))
            with client(server, **sasl("kafka")) as kafka:
                say("super", outcome(kafka.set, "/bob", b"2") != "NoAuthError")
            for identity in ("eve", "a/b@R", "a/b/c@R", "@"):
                wanted = [make_acl("sasl", identity, all=True)]
                say(f"acl {identity}", outcome(bob.create, "/named-" + identity.replace("/", "_"), b"", acl=wanted))
            bob.delete("/bob")

    same(pair, script)


def test_wrong_passwords_and_unknown_users(pair):
    def script(server, say):
        for user, password in (("bob", "guess"), ("nobody", "bobsecret")):
            states = []
            made = KazooClient(server.coordinator, timeout=10, **sasl(user, password))
            made.add_listener(lambda state, states=states: states.append(state))
            try:
                made.start()
                came = outcome(made.create, "/by-nobody", b"")
            except Exception as error:
                came = type(error).__name__
            finally:
                made.stop()
                made.close()
            say(user, (came, "CONNECTED" in states))
            assert came != "/by-nobody", "a client without a password"

    same(pair, script)


def test_schemes_and_masks(pair):
    def script(server, say):
        with client(server, auth_data=[("digest", "joe:x")]) as joe, client(server) as other:
            digest = make_digest_acl("joe", "x", all=True)
            joe.create("/joe", b"", acl=[digest, make_acl("world", "anyone", read=True)])
            say("whole", acls(joe, "/joe"))
            say("masked", acls(other, "/joe"))
            say("write", outcome(other.set, "/joe", b""))
            with client(server, auth_data=[("digest", "root:pw")]) as root:
                say("super", acls(root, "/joe"))
            for scheme, identity in (
                ("ip", "127.0.0.0/8"),
                ("ip", "10.0.0.0/8"),
                ("ip", "::1/64"),
                ("ip", "::ffff:1.2.3.4"),
                ("ip", "300.0.0.1"),
                ("digest", "joe"),
                ("x509", "CN=joe"),
                ("ensemble", "x"),
                ("super", ""),
                ("auth", ""),
                ("world", "nobody"),
            ):
                path = f"/{scheme}-{identity.replace('/', '_').replace(':', '_')}"
                say(path, outcome(other.create, path, b"1", acl=[make_acl(scheme, identity, all=True)]))
                say(f"{path} read", str(outcome(other.get, path))[:12])
            joe.delete("/joe")

    same(pair, script)


def test_enforced_sasl(enforcing):
    def script(server, say):
        with client(server, **sasl("bob")) as bob:
            say("in", bob.create("/in", b""))
            bob.delete("/in")

    same(enforcing, script)
    # What kazoo makes of the code -124 is its own affair: the bytes are compared.
    for request in (struct.pack(">ii", -2, 11), struct.pack(">iii", 1, 3, 2) + b"/a\0", struct.pack(">ii", 7, -11)):
        answers = [Raw(server).ask(request) for server in enforcing]
        assert answers[0] == answers[1]
        assert answers[0][8 + 4 : 16] == struct.pack(">i", -124), answers[0]


class Raw:
    """A session on a socket."""

    def __init__(self, server):
        host, port = server.coordinator.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.send(struct.pack(">iqiqi", 0, 0, 10_000, 0, 16) + bytes(16) + b"\0")
        assert self.receive() is not None

    def send(self, frame):
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)

    def receive(self):
        """The next frame; None at the end."""

        def exactly(count):
            data = b""
            while len(data) < count:
                try:
                    chunk = self.socket.recv(count - len(data))
                except ConnectionResetError:
                    chunk = b""
                if not chunk:
                    return None
                data += chunk
            return data

        header = exactly(4)
        return header and exactly(struct.unpack(">i", header)[0])

    def ask(self, frame):
        self.send(frame)
        return self.receive()

    def token(self, token, xid=1):
        """Header and token of the answer to a SASL token."""
        answer = self.ask(struct.pack(">iii", xid, 102, len(token)) + token)
        length = struct.unpack(">i", answer[16:20])[0]
        return struct.unpack(">iqi", answer[:16]), None if length < 0 else answer[20 : 20 + length]


def test_the_exchange_byte_by_byte(pair):
    def script(server, say):
        def hide(challenge):
            return challenge and re.sub(rb'nonce="[^"]*"', b"", challenge)

        raw = Raw(server)
        header, challenge = raw.token(b"")
        say("challenge", (header, hide(challenge)))
        header, final = raw.token(sasl_response(challenge, "bob", "bobsecret"), xid=2)
        say("proved", (header, final[:8], len(final)))
        say("again", raw.token(b"", xid=3))
        say("closed", raw.receive())
        for label, token in (
            ("initial", b"abc"),
            ("long", b"a" * 5000),
        ):
            header, answer = Raw(server).token(token)
            say(label, (header, hide(answer)))
        for label, change in (
            ("realm", lambda text: text.replace(b'realm="zk-sasl-md5"', b'realm="x"')),
            ("uri", lambda text: text.replace(b"zookeeper/zk", b"kafka/zk")),
            ("qop", lambda text: text.replace(b"qop=auth", b"qop=auth-conf")),
            ("count", lambda text: text.replace(b"nc=00000001", b"nc=00000002")),
            ("twice", lambda text: text + b',username="kafka"'),
            ("cut", lambda text: text[:-30]),
            ("same authzid", None),
        ):
            raw = Raw(server)
            _, challenge = raw.token(b"")
            authzid = "bob" if change is None else None
            text = sasl_response(challenge, "bob", "bobsecret", authzid)
            header, final = raw.token(change(text) if change else text)
            say(label, (header, final and final[:8]))

    same(pair, script)


def test_nobody_acts_as_another(pair):
    """Stricter than 3.9.4, which takes any authzid (and goes by the name that was proved)."""
    for server, code in zip(pair, (0, -115), strict=True):
        raw = Raw(server)
        _, challenge = raw.token(b"")
        header, _ = raw.token(sasl_response(challenge, "bob", "bobsecret", authzid="kafka"))
        assert header[2] == code


def test_zookeepers_own_client(pair, folder):
    """zkCli.sh, whose Java client logs in from a section Client."""
    login = folder / "client.conf"
    login.write_text(f'Client {{ {MODULE} required username="bob" password="bobsecret"; }};\n')
    properties = (f"-Djava.security.auth.login.config={login}", "-Dzookeeper.fips-mode=false")

    def run(server, script):
        command = java(128, "zookeeper-3.9.4", *properties, "org.apache.zookeeper.ZooKeeperMain", "-server", server.coordinator)
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, cwd=WORK)
        lines = (done.stdout + done.stderr).splitlines()
        kept = r"(Created|Authentication|Insufficient|sasl|'|:|Auth scheme|digest|ip|world|Acl is not valid|KeeperErrorCode)"
        return [line for line in lines if re.match(kept, line)]

    script = (
        "create /cli one auth::cdrwa\ngetAcl /cli\nwhoami\naddauth digest joe:x\nwhoami\n"
        "create /cli/d two digest:joe:abc:r\nget /cli/d\nsetAcl /cli sasl:eve:r\nget /cli\nquit\n"
    )
    theirs, ours = (run(server, script) for server in pair)
    assert sorted(theirs) == sorted(ours)
    assert any("sasl" in line for line in ours) and "Created /cli" in ours, ours


def test_audit_logs_tell_the_same(folder):
    with servers(folder / "audited", {"audit.enable": "true"}) as both:
        for server in both:
            with client(server, **sasl("bob")) as bob:
                bob.create("/a", b"", acl=CREATOR_ALL_ACL)
                outcome(bob.create, "/a", b"")
                bob.create("/a/s-", b"", ephemeral=True, sequence=True)
                bob.set("/a", b"1")
                outcome(bob.set, "/a", b"1", version=0)
                bob.set_acls("/a", OPEN_ACL_UNSAFE)
                transaction = bob.transaction()
                transaction.create("/a/t")
                transaction.delete("/a/t")
                transaction.commit()
                transaction = bob.transaction()
                transaction.delete("/nowhere")
                transaction.commit()
                bob.get("/a")
            with client(server) as nobody:
                nobody.delete("/a")
        zookeeper, doorkeeper = both
        doorkeeper.stop()
        logs = zookeeper.log_of_this_start(), doorkeeper.audit.read_text()
    told = [re.findall(r"Slf4jAuditLogger(?: -|:) (.*)", log) for log in logs]
    theirs, ours = ([re.sub(r"session=0x[0-9a-f]+\t", "", line) for line in lines] for lines in told)
    # ZooKeeper's stop comes after this; the order of a client's names is a hash table's there.
    ours = [line for line in ours if "serverStop" not in line]
    sort_names = lambda line: re.sub(r"user=([^\t]*)", lambda names: "user=" + ",".join(sorted(names[1].split(","))), line)
    assert [sort_names(line) for line in theirs] == [sort_names(line) for line in ours]
    assert len(ours) == 12
