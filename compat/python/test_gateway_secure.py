"""Logins, TLS and ACLs through gateways, beside the same against the broker itself: right, wrong, expired, limited.

`COMPAT_AGAINST=apache` puts the broker in the gateways' place, which is how the tests are tested.
"""

import json
import os
import re
import ssl
import subprocess
import time

import kafka
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

import gateway_answers
import tools
import wire
from pki import trust_store
from secure_cluster import (
    LIFETIME_SECONDS, PLAIN_USERS, PROTOCOLS, SCRAM_USERS, TOPICS, BrokerItself, Gateway, Secured, mechanism_of, password_of,
)  # fmt: skip
from servers import WORK, wait_for
from wire_login import Refused, log_in, logged_in

APACHE = os.environ.get("COMPAT_AGAINST") == "apache"
LONG = bool(os.environ.get("COMPAT_LONG"))
MODES = ("direct", "relay")
every_mode = pytest.mark.parametrize("mode", MODES)
USERS = (*PLAIN_USERS, *SCRAM_USERS)
# What each may see of the topics.
SEEN = {
    "alice": {"open-alpha", "open-beta"}, "nobody": set(), "admin": set(TOPICS), "sam": {"of-sam"},
    "sue": {"open-alpha", "open-beta", "of-sam"},
}  # fmt: skip


@pytest.fixture(scope="module")
def secured(folder):
    with Secured(folder) as started:
        for kind in (0, 1):
            def found(kind=kind):
                return wire.ask(started.broker.bootstrap, "FindCoordinator", 3, {"Key": "first", "KeyType": kind})["ErrorCode"] == 0

            wait_for("a coordinator", found, 90, every=0.2)
        yield started


@pytest.fixture(scope="module")
def places(folder, secured):
    """Where clients come to: the broker, and gateways before it, by mode."""
    itself = BrokerItself(secured.broker)
    if APACHE:
        yield {"broker": itself, "direct": itself, "relay": itself}
        return
    with (
        Gateway(folder / "direct", secured.zookeeper, secured.keys, relay=False) as direct,
        Gateway(folder / "relay", secured.zookeeper, secured.keys, relay=True) as relay,
    ):
        yield {"broker": itself, "direct": direct, "relay": relay}


def librdkafka(secured, address, listener, user=None, password=None, client=None, protocol=None, mechanism=None):
    """A client's settings."""
    settings = {"bootstrap.servers": address, "security.protocol": protocol or PROTOCOLS[listener], "log_level": 0}
    if "SSL" in settings["security.protocol"]:
        settings["ssl.ca.location"] = str(trust_store(secured.keys.authority, "PEM"))
        if client:
            settings.update({"ssl.certificate.location": str(client.pem), "ssl.key.location": str(client.key)})
    if user:
        settings.update({
            "sasl.mechanism": mechanism or mechanism_of(user), "sasl.username": user, "sasl.password": password or password_of(user),
        })  # fmt: skip
    return settings


def topics_seen(settings):
    found = AdminClient(settings).list_topics(timeout=60).topics
    return {name for name in found if not name.startswith("__")}


LOGINS = [(listener, user) for user in USERS for listener in (("LOGIN", "BOTH") if LONG or user in ("alice", "sue") else ("LOGIN",))]


@pytest.mark.parametrize(("listener", "user"), LOGINS)
def test_librdkafka_sees_what_its_user_may_see(secured, places, listener, user):
    for name, place in places.items():
        assert topics_seen(librdkafka(secured, place.at(listener), listener, user)) == SEEN[user], name


@every_mode
@pytest.mark.parametrize("listener", ["LOGIN", "CRYPTED", "BOTH", "MUTUAL"])
def test_librdkafka_produces_and_consumes(secured, places, mode, listener):
    user = None if PROTOCOLS[listener] == "SSL" else "alice"
    settings = librdkafka(secured, places[mode].at(listener), listener, user, client=secured.keys.client)
    told, value = [], os.urandom(8).hex().encode()
    producer = Producer({**settings, "acks": "all"})
    producer.produce("open-alpha", value, partition=0, on_delivery=lambda error, message: told.append((error, message)))
    assert producer.flush(60) == 0
    (error, message), = told
    assert error is None
    consumer = Consumer({**settings, "group.id": "console"})
    consumer.assign([TopicPartition("open-alpha", 0, message.offset())])
    read = wait_for("the record", lambda: consumer.poll(1), 60, every=0)
    assert (read.error(), read.value()) == (None, value)
    consumer.close()


def first_error(settings):
    """The error that librdkafka tells its application of: name and words, without what differs between two places.

    Which alert a TLS library chooses is its own affair.
    """
    told = []
    client = Producer({**settings, "error_cb": told.append, "reconnect.backoff.ms": 100})

    def useful():
        client.poll(0.1)
        # What all brokers have in common comes last; it is all there is where one hangs up on the first request.
        return sorted(told, key=lambda error: error.name() == "_ALL_BROKERS_DOWN")

    # A request makes it connect.
    try:
        client.list_topics(timeout=0.3)
        raise AssertionError("it was let in")
    except KafkaException:
        pass
    error = wait_for("an error", useful, 60, every=0)[0]
    words = re.sub(r"\S+://\S+?/\w+: ", "", error.str())
    words = re.sub(r"error:\w+:SSL routines::\S+ alert .*", "a TLS alert", words)
    return error.name(), re.sub(r"\(after \d+ms in state \w+.*?\)|127\.0\.0\.1:\d+|:\d+\b", "", words).strip()


def wrong(secured):
    """How clients fail, by name: listener, and what their settings have wrong."""
    keys = secured.keys
    return {
        "wrong password": ("LOGIN", {"user": "alice", "password": "wrong"}, "_AUTHENTICATION"),
        "wrong password, SCRAM": ("LOGIN", {"user": "sam", "password": "wrong"}, "_AUTHENTICATION"),
        "wrong password, TLS": ("BOTH", {"user": "alice", "password": "wrong"}, "_AUTHENTICATION"),
        "unknown user": ("LOGIN", {"user": "who", "password": "x", "mechanism": "PLAIN"}, "_AUTHENTICATION"),
        "unknown user, SCRAM": ("LOGIN", {"user": "who", "password": "x", "mechanism": "SCRAM-SHA-512"}, "_AUTHENTICATION"),
        "the mechanism is not the user's": ("LOGIN", {"user": "sam", "mechanism": "SCRAM-SHA-512"}, "_AUTHENTICATION"),
        "no login": ("LOGIN", {"protocol": "PLAINTEXT"}, "_ALL_BROKERS_DOWN"),
        "plaintext on a TLS port": ("CRYPTED", {"protocol": "PLAINTEXT"}, "_ALL_BROKERS_DOWN"),
        "a login without TLS on a TLS port": ("BOTH", {"user": "alice", "protocol": "SASL_PLAINTEXT"}, "_ALL_BROKERS_DOWN"),
        "TLS on a port without it": ("LOGIN", {"user": "alice", "protocol": "SASL_SSL"}, "_TRANSPORT"),
        "the server's certificate has expired": ("EXPIRED", {}, "_SSL"),
        "the client's certificate has expired": ("MUTUAL", {"user": "alice", "client": keys.expired_client}, "_TRANSPORT"),
        "no certificate": ("MUTUAL", {"user": "alice"}, "_TRANSPORT"),
    }


WRONG = [
    "wrong password", "wrong password, SCRAM", "wrong password, TLS", "unknown user", "unknown user, SCRAM",
    "the mechanism is not the user's", "no login", "plaintext on a TLS port", "a login without TLS on a TLS port",
    "TLS on a port without it", "the server's certificate has expired", "the client's certificate has expired", "no certificate",
]  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_librdkafkas_error_is_the_brokers(secured, places, what):
    listener, options, expected = wrong(secured)[what]
    errors = {name: first_error(librdkafka(secured, place.at(listener), listener, **options)) for name, place in places.items()}
    assert errors["direct"] == errors["relay"] == errors["broker"], errors
    assert errors["broker"][0] == expected, errors


def java_settings(folder, secured, listener, user=None, password=None):
    said = {"security.protocol": PROTOCOLS[listener], "request.timeout.ms": "30000", "default.api.timeout.ms": "60000"}
    if user:
        mechanism = mechanism_of(user) if user in USERS else "PLAIN"
        module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
        password = password or password_of(user)
        said["sasl.mechanism"] = mechanism
        said["sasl.jaas.config"] = f'org.apache.kafka.common.security.{module} required username="{user}" password="{password}";'
    if "SSL" in said["security.protocol"]:
        said.update({"ssl.truststore.location": str(trust_store(secured.keys.authority, "PEM")), "ssl.truststore.type": "PEM"})
    file = folder / f"client-{listener}-{user}-{len(password or '')}.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in said.items()))
    return file


def java_error(said):
    """The exception's own line."""
    found = [line for line in said.splitlines() if re.search(r"(Authentication|Authorization|Handshake)\w*Exception", line)]
    assert found, said
    return found[0].split("Exception: ", 1)[-1]


JAVA = [("LOGIN", "alice", None), ("LOGIN", "alice", "wrong"), ("EXPIRED", None, None)]
JAVA_LONG = [("BOTH", "sue", None), ("BOTH", "sam", "wrong"), ("LOGIN", "who", "unknown"), ("CRYPTED", None, None)]


@pytest.mark.parametrize(("listener", "user", "password"), JAVA + (JAVA_LONG if LONG else []))
def test_java_topics(folder, secured, places, listener, user, password):
    """Kafka's own tool sees what its user may, or says the same."""
    fails = bool(password) or listener == "EXPIRED"
    said = {}
    for name, place in places.items():
        if name == "direct" and not LONG:
            continue
        file = java_settings(folder, secured, listener, user, password)
        printed = tools.run(
            "4.1.0" if name == "relay" else "3.9.1", "topics", "--bootstrap-server", place.at(listener), "--command-config", file, "--list", fails=fails,
        )  # fmt: skip
        said[name] = java_error(printed) if fails else {line for line in printed.splitlines() if line and not line.startswith("__")}
    assert len(set(map(str, said.values()))) == 1, said
    if not fails:
        assert said["broker"] == (SEEN[user] if user else set(TOPICS))


@every_mode
def test_java_acls(folder, secured, places, mode):
    """Kafka's acls tool, by the listener where the administrator logs in."""
    file = java_settings(folder, secured, "LOGIN", "admin")
    server = ("--bootstrap-server", places[mode].at("LOGIN"), "--command-config", file)
    topic = f"granted-{mode}"
    tools.run("3.9.1", "acls", *server, "--add", "--allow-principal", "User:nobody", "--operation", "Describe", "--topic", topic)
    listed = tools.run("3.9.1", "acls", *server, "--list", "--topic", topic)
    assert "principal=User:nobody" in listed and "operation=DESCRIBE" in listed, listed
    # What was granted shows at once: first it is unknown, then there.
    connect = logged_in("PLAIN", "nobody", password_of("nobody"))
    question = {"Topics": [{"Name": topic}], "AllowAutoTopicCreation": False}
    for name, place in places.items():
        with connect(place.at("LOGIN")) as connection:
            wait_for(f"the grant at {name}", lambda: connection.ask("Metadata", 9, question)["Topics"][0]["ErrorCode"] == 3, every=0.1)
    tools.run("3.9.1", "acls", *server, "--remove", "--force", "--allow-principal", "User:nobody", "--operation", "Describe", "--topic", topic)
    for name, place in places.items():
        with connect(place.at("LOGIN")) as connection:
            wait_for(f"its end at {name}", lambda: connection.ask("Metadata", 9, question)["Topics"][0]["ErrorCode"] == 29, every=0.1)


def kafka_python(secured, address, listener, user, password=None):
    """The topics that it sees, or the name of its error."""
    settings = {
        "bootstrap_servers": address, "security_protocol": PROTOCOLS[listener], "sasl_mechanism": mechanism_of(user),
        "sasl_plain_username": user, "sasl_plain_password": password or password_of(user),
    }  # fmt: skip
    if "SSL" in settings["security_protocol"]:
        settings["ssl_cafile"] = str(trust_store(secured.keys.authority, "PEM"))
    try:
        client = kafka.KafkaConsumer(**settings)
        try:
            return {name for name in client.topics() if not name.startswith("__")}
        finally:
            client.close()
    except kafka.errors.KafkaError as error:
        return type(error).__name__


@pytest.mark.parametrize(("listener", "user", "password"), [("LOGIN", "alice", None), ("BOTH", "sue", None), ("LOGIN", "sam", "wrong")])
def test_kafka_python(secured, places, listener, user, password):
    said = {name: kafka_python(secured, place.at(listener), listener, user, password) for name, place in places.items()}
    assert said["direct"] == said["relay"] == said["broker"], said
    assert password or said["broker"] == SEEN[user]


def franz_go(secured, address, listener, user, password=None):
    ca = trust_store(secured.keys.authority, "PEM") if "SSL" in PROTOCOLS[listener] else ""
    command = [WORK / "franz", address, "topics", mechanism_of(user), user, password or password_of(user), ca]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, check=False)
    return {name for name in json.loads(done.stdout) if not name.startswith("__")} if done.returncode == 0 else done.stdout


@pytest.mark.parametrize(("listener", "user", "password"), [("LOGIN", "alice", None), ("BOTH", "sue", None), ("LOGIN", "sam", "wrong")])
def test_franz_go(secured, places, listener, user, password):
    said = {name: franz_go(secured, place.at(listener), listener, user, password) for name, place in places.items()}
    assert said["direct"] == said["relay"] == said["broker"], said
    assert password or said["broker"] == SEEN[user]


def tls(secured, client=None):
    context = ssl.create_default_context(cafile=str(trust_store(secured.keys.authority, "PEM")))
    if client:
        context.load_cert_chain(client.pem, client.key)
    return context


@every_mode
@pytest.mark.parametrize(("listener", "user"), [("LOGIN", user) for user in USERS] + [("BOTH", "alice"), ("BOTH", "sue")])
def test_every_answer_is_what_the_broker_answers_this_user(secured, places, mode, listener, user):
    """In every version, for topics that the user may and may not know of; a relay has addresses of its own."""
    with wire.Connection(secured.broker.bootstrap) as operator:
        ids = gateway_answers.topic_ids(operator)
    connect = logged_in(mechanism_of(user), user, password_of(user), tls(secured) if listener == "BOTH" else None)
    broker, front = places["broker"].at(listener), places[mode]
    found = []

    def same():
        found[:] = gateway_answers.compare(broker, front.at(listener), front.relay, connect, ids)
        return not found

    try:
        wait_for("equal answers", same, 30, every=0.2)
    except AssertionError as error:
        raise AssertionError("\n".join(found[:20])) from error


@pytest.fixture(scope="module")
def token(folder, secured):
    """A delegation token of alice's: its id and secret."""
    file = java_settings(folder, secured, "LOGIN", "alice")
    made = tools.run(
        "3.9.1", "delegation-tokens", "--bootstrap-server", secured.broker.addresses["LOGIN"], "--command-config", file, "--create",
        "--max-life-time-period", "-1",
    )  # fmt: skip
    return re.search(r"^(\S{22})\s+(\S{20,}=*)\s+User:alice", made, re.MULTILINE).groups()


@every_mode
def test_a_delegation_token_is_a_login(secured, places, token, mode):
    """Whose it is, the gateway can't know: what its user sees is what the broker says."""
    connect = logged_in("SCRAM-SHA-256", *token, token=True)

    def known():
        # It is in every broker's cache a moment after it was made.
        try:
            with connect(places["broker"].at("LOGIN")) as connection:
                return {topic["Name"] for topic in connection.ask("Metadata", 9, {"Topics": None})["Topics"]} - {"__consumer_offsets", "__transaction_state"}
        except Refused:
            return None

    assert wait_for("the token is known", known) == SEEN["alice"]
    with wire.Connection(secured.broker.bootstrap) as operator:
        ids = gateway_answers.topic_ids(operator)
    front = places[mode]
    assert gateway_answers.compare(places["broker"].at("LOGIN"), front.at("LOGIN"), front.relay, connect, ids) == []


def refused(address, mechanism, user, password):
    """The server's error for a raw login, and what follows on the connection."""
    with wire.Connection(address) as connection:
        try:
            log_in(connection, mechanism, user, password)
            return "let in"
        except Refused as error:
            said = error.args
        try:
            connection.ask("ApiVersions", 0)
            return said, "goes on"
        except ConnectionError:
            return said, "closed"


@every_mode
def test_raw_logins_fail_as_at_the_broker(places, mode):
    for mechanism, user, password in (
        ("PLAIN", "alice", "wrong"), ("PLAIN", "who", "x"), ("SCRAM-SHA-256", "sam", "wrong"), ("SCRAM-SHA-512", "who", "x"), ("GSSAPI", "x", "y"),
    ):  # fmt: skip
        expected = refused(places["broker"].at("LOGIN"), mechanism, user, password)
        assert refused(places[mode].at("LOGIN"), mechanism, user, password) == expected, (mechanism, user)


def before_login(address):
    """What becomes of requests that come before any login."""
    found = {}
    for api, version, values in (("ApiVersions", 0, {}), ("Metadata", 9, {"Topics": None}), ("DescribeCluster", 0, {}), ("ListOffsets", 5, {"ReplicaId": -1})):
        with wire.Connection(address) as connection:
            try:
                connection.ask(api, version, values)
                found[api] = "answered"
            except ConnectionError:
                found[api] = "closed"
    return found


@every_mode
def test_nothing_is_answered_before_the_login(places, mode):
    expected = before_login(places["broker"].at("LOGIN"))
    assert expected == {"ApiVersions": "answered", "Metadata": "closed", "DescribeCluster": "closed", "ListOffsets": "closed"}
    assert before_login(places[mode].at("LOGIN")) == expected


@every_mode
def test_a_login_ends_and_is_renewed_in_mid_stream(places, mode):
    """KIP-368: what the gateway answers itself ends with the login too."""
    question = {"Topics": [{"Name": "open-alpha"}]}
    word = password_of("alice")
    with wire.Connection(places[mode].at("SHORT")) as ending, wire.Connection(places[mode].at("SHORT")) as renewed:
        lifetimes = [log_in(connection, "PLAIN", "alice", word) for connection in (ending, renewed)]
        begun = time.monotonic()
        assert all(0 < lifetime <= LIFETIME_SECONDS * 1000 for lifetime in lifetimes), lifetimes
        assert ending.ask("Metadata", 9, question)["Topics"][0]["ErrorCode"] == 0
        # Well before the end, and the new one begins now. Kafka refuses another user's name.
        time.sleep(LIFETIME_SECONDS / 2)
        assert log_in(renewed, "PLAIN", "alice", word) > 0
        time.sleep(max(0, begun + LIFETIME_SECONDS + 1 - time.monotonic()))
        with pytest.raises(ConnectionError):
            ending.ask("Metadata", 9, question)
        # Renewed by less than its lifetime ago, unless this machine stood still.
        if time.monotonic() < begun + 1.4 * LIFETIME_SECONDS:
            assert renewed.ask("Metadata", 9, question)["Topics"][0]["ErrorCode"] == 0


@every_mode
def test_a_java_client_logs_in_again_under_way(folder, secured, places, mode):
    """A producer that goes on for longer than a login holds, and a consumer beside it, by the same connections."""
    if mode == "direct" and not LONG:
        mode = "relay"
    file = java_settings(folder, secured, "SHORT", "admin")
    count, seconds = 600, 2 * LIFETIME_SECONDS
    address, topic = places[mode].at("SHORT"), "open-alpha"
    before = end_offset(secured, topic)
    said = tools.run(
        "3.9.1", "producer-perf-test", "--topic", topic, "--num-records", count, "--record-size", 50, "--throughput", count // seconds,
        "--producer.config", file, "--producer-props", f"bootstrap.servers={address}", "retries=0", "acks=1", "enable.idempotence=false", seconds=180,
    )  # fmt: skip
    assert f"{count} records sent" in said, said
    assert end_offset(secured, topic) == before + count


def end_offset(secured, topic):
    consumer = Consumer({"bootstrap.servers": secured.broker.bootstrap, "group.id": "none", "log_level": 0})
    try:
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, partition), 30)[1] for partition in range(2))
    finally:
        consumer.close()
