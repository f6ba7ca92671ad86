"""Gateways and brokers at an Apache ZooKeeper 3.9.4 that demands a login, and TLS with certificates.

Beside them an unmodified Kafka 3.9.1 broker with `zookeeper.set.acl`: the ACLs of our znodes are its own.
"""

import json
import re
import subprocess
import urllib.request

import pytest

import pki
import wire
from servers import WORK, Doorkeeper, Kafka, ZooKeeper, free_port, wait_for

PROVIDER = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
MODULE = "org.apache.zookeeper.server.auth.DigestLoginModule required"
PASSWORDS = {"kafka": "kafka-secret", "reader": "reader-secret"}
LOGIN = "java.security.auth.login.config"


def jaas(folder, user, password=None):
    """A login's file."""
    file = folder / f"{user}.jaas"
    file.write_text(f'Client {{ {MODULE} username="{user}" password="{password or PASSWORDS[user]}"; }};\n')
    return file


def tls(authority, pair, kind):
    """Kafka's keys for a client of ZooKeeper's."""
    keys = {
        "zookeeper.ssl.client.enable": "true",
        "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
        "zookeeper.ssl.keystore.location": str(pair.key_store(kind)),
        "zookeeper.ssl.keystore.password": pki.PASSWORD,
        "zookeeper.ssl.keystore.type": kind,
        # Kafka's own default is 1.2 alone, ZooKeeper's server 1.3 alone.
        "zookeeper.ssl.protocol": "TLSv1.3",
        "zookeeper.ssl.enabled.protocols": "TLSv1.2,TLSv1.3",
        "zookeeper.ssl.truststore.location": str(pki.trust_store(authority, kind)),
        "zookeeper.ssl.truststore.type": kind,
    }
    # A store of PEM with certificates alone has no password, and Java says so.
    return keys if kind == "PEM" else {**keys, "zookeeper.ssl.truststore.password": pki.PASSWORD}


class SecureKafka(Kafka):
    """A broker that logs in."""

    def __init__(self, folder, zookeeper, login, configuration):
        self.login = login
        super().__init__(folder, zookeeper, configuration=configuration)

    def command(self):
        command = super().command()
        return [command[0], f"-D{LOGIN}={self.login}", *command[1:]]


class Gateway(Doorkeeper):
    name = "gateway"

    def __init__(self, folder, zookeeper, overrides):
        keys = {"listeners": "PLAINTEXT://127.0.0.1:0", "zookeeper.connect": zookeeper, "zookeeper.connection.timeout.ms": "60000"}
        super().__init__(folder, {**keys, **overrides}, roles=["gateway"])
        del self.overrides["doorkeeper.data.dir"]

    @property
    def bootstrap(self):
        return self.addresses["gateways"][0]["listeners"]["PLAINTEXT"]


@pytest.fixture(scope="module")
def authority(folder):
    return pki.Authority(folder / "pki")


@pytest.fixture(scope="module")
def kafka_pair(authority):
    return authority.sign("kafka")


@pytest.fixture(scope="module")
def zookeeper(folder, authority):
    users = " ".join(f'user_{name}="{password}"' for name, password in PASSWORDS.items())
    login = folder / "server.jaas"
    login.write_text(f"Server {{ {MODULE} {users}; }};\n")
    secure = free_port()
    configuration = {
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
        "authProvider.1": PROVIDER,
        "sessionRequireClientSASLAuth": "true",
        "secureClientPort": str(secure),
        "secureClientPortAddress": "127.0.0.1",
        "ssl.keyStore.location": str(authority.sign("server").key_store("PKCS12")),
        "ssl.keyStore.password": pki.PASSWORD,
        "ssl.trustStore.location": str(pki.trust_store(authority, "PKCS12")),
        "ssl.trustStore.password": pki.PASSWORD,
        "ssl.clientAuth": "need",
    }
    with ZooKeeper(folder / "zookeeper", configuration, properties=(f"-D{LOGIN}={login}",)) as server:
        server.secure = f"localhost:{secure}"
        yield server


@pytest.fixture(scope="module")
def owned(folder, authority, kafka_pair):
    """What both brokers are given: a login, a certificate, and ACLs."""
    return {"zookeeper.set.acl": "true", "broker.id": "1", **tls(authority, kafka_pair, "PKCS12")}


@pytest.fixture(scope="module")
def kafka(folder, zookeeper, owned):
    with SecureKafka(folder / "kafka", f"{zookeeper.secure}/apache", jaas(folder, "kafka"), owned) as server:
        fill(server.bootstrap)
        yield server


@pytest.fixture(scope="module")
def ours(folder, zookeeper, owned, authority, kafka_pair):
    keys = {"zookeeper.connect": f"{zookeeper.secure}/ours", LOGIN: str(jaas(folder, "kafka"))}
    with Doorkeeper(folder / "broker", {**owned, **tls(authority, kafka_pair, "JKS"), **keys}, roles=["broker"]) as server:
        fill(server.bootstrap)
        yield server


def fill(bootstrap):
    """A topic, a configuration of a topic and of all brokers, a block of producer ids."""
    topic = {"Name": "t", "NumPartitions": 2, "ReplicationFactor": 1, "Assignments": [], "Configs": [{"Name": "retention.ms", "Value": "100000"}]}
    made = wire.ask(bootstrap, "CreateTopics", 5, {"Topics": [topic], "timeoutMs": 30_000})
    assert made["Topics"][0]["ErrorCode"] == 0, made
    wait_for("its leaders", lambda: leaders(bootstrap))
    change = {"Name": "message.max.bytes", "ConfigOperation": 0, "Value": "2000000"}
    resource = {"ResourceType": 4, "ResourceName": "", "Configs": [change]}
    done = wire.ask(bootstrap, "IncrementalAlterConfigs", 0, {"Resources": [resource], "ValidateOnly": False})
    assert done["Responses"][0]["ErrorCode"] == 0, done
    request = {"TransactionalId": None, "TransactionTimeoutMs": 1000}
    wait_for("a producer id", lambda: wire.ask(bootstrap, "InitProducerId", 1, request)["ErrorCode"] == 0)


def leaders(bootstrap):
    """Partition to leader and epoch of the topic; None while it is not there."""
    topic = wire.ask(bootstrap, "Metadata", 9, {"Topics": [{"Name": "t"}]})["Topics"][0]
    found = {each["PartitionIndex"]: (each["LeaderId"], each["LeaderEpoch"]) for each in topic["Partitions"]}
    return found if topic["ErrorCode"] == 0 and all(leader >= 0 for leader, _ in found.values()) else None


# Kazoo logs in with pure-sasl, which only the environment of its own suite has: path to ACL of all that
# is below a root, and what becomes of a write.
LOOK = """
import json, sys
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
address, user, password, root, target = sys.argv[1:]
client = KazooClient(address, timeout=30, sasl_options={"mechanism": "DIGEST-MD5", "username": user, "password": password})
client.start(60)
found, left = {}, [""]
while left:
    path = left.pop()
    try:
        entries, _ = client.get_acls(root + path)
        left += [f"{path}/{child}" for child in client.get_children(root + path)]
        found[path] = sorted((entry.perms, entry.id.scheme, entry.id.id) for entry in entries)
    except NoAuthError:
        found[path] = "secret"
try:
    client.set(target, client.get(target)[0])
    written = True
except NoAuthError:
    written = False
print(json.dumps([found, written]))
client.stop()
"""


def look(zookeeper, user, root):
    """Path below `root` to its ACL, and whether the user may write there."""
    python = WORK / "venv-kazoo-suite" / "bin" / "python"
    line = [python, "-c", LOOK, zookeeper.coordinator, user, PASSWORDS[user], root, f"{root}/brokers/topics/t"]
    done = subprocess.run(line, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found, written = json.loads(done.stdout)
    # Notifications are numbered.
    return {re.sub(r"\d{10}$", "N", path): acl for path, acl in found.items()}, written


def test_acls_of_our_znodes_are_those_of_kafka(zookeeper, kafka, ours):
    (theirs, theirs_written), (own, own_written) = look(zookeeper, "kafka", "/apache"), look(zookeeper, "kafka", "/ours")
    assert theirs_written and own_written
    common = set(theirs) & set(own)
    for path in [
        "/brokers/ids/1", "/brokers/topics/t/partitions/1/state", "/controller", "/controller_epoch", "/cluster/id", "/config/topics/t",
        "/config/users", "/config/brokers/<default>", "/config/changes/config_change_N", "/latest_producer_id_block", "/admin/delete_topics",
        "/consumers", "/brokers/seqid", "/isr_change_notification", "/log_dir_event_notification",
    ]:  # fmt: skip
        assert path in common, f"{path}: {path in theirs} {path in own}"
    wrong = {path: (theirs[path], own[path]) for path in common if theirs[path] != own[path]}
    assert not wrong
    assert all(any(scheme == "sasl" and user == "kafka" for _, scheme, user in entries) for path, entries in own.items() if path != "/consumers"), own
    secret = {path for path, entries in own.items() if not any(scheme == "world" for _, scheme, _ in entries)}
    assert secret and all(path.startswith(("/config/users", "/config/brokers")) for path in secret), secret
    for root in ("/apache", "/ours"):
        found, written = look(zookeeper, "reader", root)
        assert not written
        hidden = {path for path, acl in found.items() if acl == "secret"}
        assert hidden and all(path.startswith(("/config/users", "/config/brokers", "/delegation_token")) for path in hidden), hidden


@pytest.mark.parametrize("kind", ["JKS", "PKCS12", "PEM", "plain"])
def test_gateway_logs_in_over(folder, zookeeper, authority, kafka, kind):
    keys = {LOGIN: str(jaas(folder, "reader"))}
    address = zookeeper.coordinator
    if kind != "plain":
        keys.update(tls(authority, authority.sign(f"reader-{kind}"), kind))
        address = zookeeper.secure
    with Gateway(folder / f"gateway-{kind}", f"{address}/apache", keys) as gateway:
        assert leaders(gateway.bootstrap) == leaders(kafka.bootstrap)
        answer = wire.ask(gateway.bootstrap, "Metadata", 9, {"Topics": None})
        theirs = wire.ask(kafka.bootstrap, "Metadata", 9, {"Topics": None})
        assert answer["Brokers"] == theirs["Brokers"]
        assert answer["ClusterId"] == theirs["ClusterId"]


def is_connected(gateway):
    """Whether it follows the znodes, by its own metric."""
    with urllib.request.urlopen(f"http://{gateway.http}/metrics", timeout=20) as page:
        return "\ndoorkeeper_cluster_coordinator_connected 1\n" in page.read().decode()


def refused_and_back(gateway, break_it, mend_it, line):
    """A gateway that is refused says so once with the key, answers from its last image, and gets in again."""
    gateway.overrides["zookeeper.connection.timeout.ms"] = "60000"
    with gateway:
        before = leaders(gateway.bootstrap)
    break_it()
    gateway.overrides["zookeeper.connection.timeout.ms"] = "3000"
    with gateway:
        assert leaders(gateway.bootstrap) == before, "answered from the last image"
        said = wait_for(line, lambda: [each for each in gateway.log_of_this_start().splitlines() if line in each])
        assert "ERROR" in said[0], said
        assert not is_connected(gateway)
        # It is tried again: what was mended is seen without a new start, and what was said is said once.
        mend_it()
        wait_for("it is let in again", lambda: is_connected(gateway))
        said = [each for each in gateway.log_of_this_start().splitlines() if line in each]
        assert len(said) == 1, said
        assert leaders(gateway.bootstrap) == before


def test_wrong_password(folder, zookeeper, kafka):
    place = folder / "gateway-password"
    place.mkdir()
    keys = {LOGIN: str(jaas(place, "reader")), "doorkeeper.gateway.image.dir": str(place / "image")}
    gateway = Gateway(place, f"{zookeeper.coordinator}/apache", keys)
    refused_and_back(
        gateway, lambda: jaas(place, "reader", "wrong"), lambda: jaas(place, "reader"), f"refuses the login of {LOGIN}"
    )
    assert "wrong" not in gateway.log.read_text().replace("wrong version", ""), "a password in the log"


def test_wrong_certificates(folder, zookeeper, authority, kafka):
    place = folder / "gateway-certificates"
    stranger = pki.Authority(folder / "stranger")
    good, bad = authority.sign("reader"), stranger.sign("reader")
    shown, trusted = folder / "shown.pem", folder / "trusted.pem"
    shown.write_bytes(good.pem.read_bytes() + good.key.read_bytes())
    trusted.write_bytes(authority.pem.read_bytes())
    keys = {
        LOGIN: str(jaas(folder, "reader")),
        "doorkeeper.gateway.image.dir": str(place / "image"),
        "zookeeper.ssl.client.enable": "true",
        "zookeeper.ssl.keystore.location": str(shown),
        "zookeeper.ssl.truststore.location": str(trusted),
    }
    gateway = Gateway(place, f"{zookeeper.secure}/apache", keys)

    def change(file, *parts):
        return lambda: file.write_bytes(b"".join(part.read_bytes() for part in parts))

    refused_and_back(gateway, change(trusted, stranger.pem), change(trusted, authority.pem), "zookeeper.ssl.truststore.location: ")
    refused_and_back(gateway, change(shown, bad.pem, bad.key), change(shown, good.pem, good.key), "zookeeper.ssl.keystore.location: ")


def test_broker_that_is_refused_says_why(folder, zookeeper, owned):
    place = folder / "broker-refused"
    place.mkdir()
    keys = {**owned, "zookeeper.connect": f"{zookeeper.secure}/refused", LOGIN: str(jaas(place, "kafka", "wrong"))}
    broker = Doorkeeper(place, keys, roles=["broker"]).spawn()
    assert broker.wait() == 1
    assert f"refuses the login of {LOGIN}" in broker.log_tail()
