"""TLS on the coordinator's ports beside Apache ZooKeeper 3.9.4: the same stores, the same clients, the same people.

Stores are made by keytool and openssl; the clients are Java's own over Netty, and kazoo.
"""

import contextlib
import logging
import os
import shutil
import socket
import ssl
import struct
import subprocess

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import CREATOR_ALL_ACL

import pki
from servers import Doorkeeper, ZooKeeper, free_port, java, wait_for

logging.getLogger("kazoo").setLevel(logging.CRITICAL)

KINDS = ("JKS", "PKCS12", "PEM")


@pytest.fixture(scope="module")
def authority(folder):
    return pki.Authority(folder / "pki")


@pytest.fixture(scope="module")
def server_pair(authority):
    return authority.sign("server")


@pytest.fixture(scope="module")
def joe(authority):
    return authority.sign("joe")


def tls_keys(authority, pair, kind):
    """The lines of a zoo.cfg that make a secure port."""
    password = authority.folder / "password"
    password.write_text(pki.PASSWORD + "\n")
    return {
        "secureClientPort": str(free_port()),
        "secureClientPortAddress": "127.0.0.1",
        "ssl.keyStore.location": str(pair.key_store(kind)),
        "ssl.keyStore.passwordPath": str(password),
        "ssl.trustStore.location": str(pki.trust_store(authority, kind)),
        "ssl.trustStore.password": pki.PASSWORD,
    }


@contextlib.contextmanager
def ours(folder, keys):
    """doorkeeper, or ZooKeeper in its place with COMPAT_AGAINST=apache."""
    if os.environ.get("COMPAT_AGAINST") == "apache":
        with theirs(folder, keys) as server:
            yield server
    else:
        with Doorkeeper(folder, roles=["coordinator"], overrides={"maxClientCnxns": "0", **keys}) as server:
            server.secure = f"127.0.0.1:{keys['secureClientPort']}"
            yield server


@contextlib.contextmanager
def theirs(folder, keys):
    netty = {"serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory"}
    with ZooKeeper(folder, {**keys, **netty}) as server:
        server.secure = f"127.0.0.1:{keys['secureClientPort']}"
        yield server


@contextlib.contextmanager
def kazoo(address, authority, pair):
    made = KazooClient(
        address, timeout=10, use_ssl=True, ca=str(authority.pem), certfile=str(pair.pem), keyfile=str(pair.key),
        connection_retry={"max_tries": 3, "delay": 0.5},
    )  # fmt: skip
    made.start(timeout=60)
    try:
        yield made
    finally:
        made.stop()
        made.close()


def java_client(address, authority, pair, kind, *command):
    """What ZooKeeper's own command line prints, over TLS; it must end well."""
    properties = {
        "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
        "zookeeper.client.secure": "true",
        "zookeeper.ssl.keyStore.location": pair.key_store(kind),
        "zookeeper.ssl.keyStore.password": pki.PASSWORD,
        "zookeeper.ssl.trustStore.location": pki.trust_store(authority, kind),
        "zookeeper.ssl.trustStore.password": pki.PASSWORD,
    }
    properties = [f"-D{key}={value}" for key, value in properties.items()]
    host = address.replace("127.0.0.1", "localhost")
    line = java(128, "zookeeper-3.9.4", *properties, "org.apache.zookeeper.ZooKeeperMain", "-server", host, *command)
    done = subprocess.run(line, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout.decode()


def is_served(address, authority, pair=None, port_speaks_tls=True):
    """Whether a client with this certificate gets a session."""
    context = ssl.create_default_context(cafile=authority.pem)
    if pair:
        context.load_cert_chain(pair.pem, pair.key)
    host, port = address.rsplit(":", 1)
    hello = struct.pack(">iqiqi16sb", 0, 0, 10_000, 0, 16, bytes(16), 0)
    try:
        with socket.create_connection((host, int(port)), timeout=20) as plain:
            stream = context.wrap_socket(plain, server_hostname="localhost") if port_speaks_tls else plain
            stream.sendall(struct.pack(">i", len(hello)) + hello)
            answer = stream.recv(41)
            return len(answer) > 0 and struct.unpack(">i", answer[:4])[0] == 37
    except (ConnectionError, ssl.SSLError):
        return False


@pytest.mark.parametrize("kind", KINDS)
def test_stores_and_clients(folder, authority, server_pair, joe, kind):
    """Stores of every kind: kazoo and Java's client read what the other wrote; x509 lets in whom it means."""
    jane = authority.sign("jane")
    with ours(folder / f"ours-{kind}", tls_keys(authority, server_pair, kind)) as server:
        with kazoo(server.secure, authority, joe) as client:
            client.create("/joe", b"from kazoo", acl=CREATOR_ALL_ACL)
        assert "from kazoo" in java_client(server.secure, authority, joe, kind, "get", "/joe")
        java_client(server.secure, authority, joe, kind, "create", "/java", "from Java", "auth::cdrwa")
        with kazoo(server.secure, authority, jane) as client:
            with pytest.raises(NoAuthError):
                client.get("/joe")
            with pytest.raises(NoAuthError):
                client.get("/java")
        with kazoo(server.secure, authority, joe) as client:
            assert client.get("/java")[0] == b"from Java"


SUBJECTS = {
    "plain": "/C=DE/ST=Bavaria/L=Town/O=Acme, Inc./OU=Ops/CN=joe",
    "several-values": "/O=Acme/OU=Ops+CN=joe",
    "mail": "/O=Acme/CN=joe/emailAddress=joe@example.org",
    "domain": "/DC=org/DC=example/UID=joe",
    "special": '/O=a+CN= #lead "quoted" <x>;y=z\\/ ',
    "unicode": "/O=Äpfel & Söhne/CN=żółć",
    "rare": "/title=Boss/serialNumber=7/SN=Doe/GN=Joe/street=Main 1/CN=joe",
}


def test_subjects_are_written_as_zookeeper_writes_them(folder, authority, server_pair):
    """The identity that x509 gives to certificates with unusual subjects."""
    pairs = {name: authority.sign(f"subject-{name}", subject) for name, subject in SUBJECTS.items()}
    found = []
    for start, name in ((theirs, "theirs"), (ours, "ours")):
        identities = {}
        with start(folder / f"{name}-subjects", tls_keys(authority, server_pair, "PEM")) as server:
            for subject, pair in pairs.items():
                with kazoo(server.secure, authority, pair) as client:
                    client.create(f"/{subject}", b"", acl=CREATOR_ALL_ACL)
                    acls, _ = client.get_acls(f"/{subject}")
                    identities[subject] = [(acl.perms, acl.id.scheme, acl.id.id) for acl in acls]
        found.append(identities)
    assert found[0] == found[1]
    assert found[0]["plain"] == [(31, "x509", "CN=joe,OU=Ops,O=Acme\\, Inc.,L=Town,ST=Bavaria,C=DE")]


def test_who_is_not_let_in(folder, authority, server_pair, joe):
    """No certificate, another authority's, an expired one, no TLS: refused here as there."""
    stranger = pki.Authority(folder / "stranger")
    cases = {
        "good": (joe, True),
        "none": (None, True),
        "another authority's": (stranger.sign("joe"), True),
        "expired": (authority.sign("late", days=0), True),
        "no TLS": (None, False),
    }
    answers = []
    for start, name in ((theirs, "theirs"), (ours, "ours")):
        with start(folder / f"{name}-refused", tls_keys(authority, server_pair, "PKCS12")) as server:
            answers.append(
                {what: is_served(server.secure, authority, pair, tls) for what, (pair, tls) in cases.items()}
            )
    assert answers[0] == answers[1] == {what: what == "good" for what in cases}


def test_one_port_for_both(folder, authority, server_pair, joe):
    """client.portUnification: TLS, no TLS and four-letter words on one port."""
    keys = {**tls_keys(authority, server_pair, "JKS"), "client.portUnification": "true"}
    with ours(folder / "ours-unified", keys) as server:
        with kazoo(server.coordinator, authority, joe) as client:
            client.create("/secure", b"1")
        plain = KazooClient(server.coordinator, timeout=10)
        plain.start(timeout=60)
        assert plain.get("/secure")[0] == b"1"
        plain.stop()
        plain.close()
        assert server.ready()


def test_new_certificates_without_losing_connections(folder, authority, server_pair, joe):
    """The server's certificate and the trust store change under a live connection."""
    files = folder / "renewed-files"
    files.mkdir()
    store, trusted = files / "server.p12", files / "trusted.pem"
    shutil.copy(server_pair.key_store("PKCS12"), store)
    shutil.copy(authority.pem, trusted)
    keys = {
        **tls_keys(authority, server_pair, "PKCS12"),
        "ssl.keyStore.location": str(store),
        "ssl.trustStore.location": str(trusted),
        "client.certReload": "true",
    }
    renewed = pki.Authority(folder / "renewed")
    jane = renewed.sign("jane")
    with ours(folder / "ours-renewed", keys) as server, kazoo(server.secure, authority, joe) as client:
        client.create("/before", b"1")
        session = client.client_id
        shutil.copy(renewed.sign("server").key_store("PKCS12"), store)
        trusted.write_bytes(authority.pem.read_bytes() + renewed.pem.read_bytes())
        wait_for("the new certificate", lambda: is_served(server.secure, renewed, jane))
        assert client.get("/before")[0] == b"1"
        assert client.client_id == session and client.connected
        assert not is_served(server.secure, authority, joe), "the old certificate is not shown any more"
        with kazoo(server.secure, renewed, jane) as other:
            assert other.get("/before")[0] == b"1"
