"""One Kafka 3.9.1 broker whose users log in over every kind of listener, and gateways before it.

Its ACLs are AclAuthorizer's. `INTERNAL` is for the broker itself and the tests as operators, who may do everything.
"""

from confluent_kafka.admin import (
    AclBinding, AclOperation, AclPermissionType, AdminClient, NewTopic, ResourcePatternType, ResourceType, ScramCredentialInfo,
    ScramMechanism, UserScramCredentialUpsertion,
)  # fmt: skip

from pki import PASSWORD, Authority, trust_store
from servers import Doorkeeper, Kafka, ZooKeeper, free_port

PROTOCOLS = {
    "INTERNAL": "PLAINTEXT", "LOGIN": "SASL_PLAINTEXT", "CRYPTED": "SSL", "BOTH": "SASL_SSL", "MUTUAL": "SASL_SSL", "EXPIRED": "SSL",
    "SHORT": "SASL_PLAINTEXT",
}  # fmt: skip
# How long a login holds on SHORT.
LIFETIME_SECONDS = 10
PLAIN_USERS = {"alice": "alice's word", "nobody": "nobody's word", "admin": "admin's word"}
SCRAM_USERS = {"sam": ("SCRAM-SHA-256", "sam's word"), "sue": ("SCRAM-SHA-512", "sue's word")}
TOPICS = ("open-alpha", "open-beta", "closed", "of-sam")
AUTHORIZER = {
    "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer",
    "super.users": "User:ANONYMOUS;User:admin",
    "auto.create.topics.enable": "false",
}
JAAS = "org.apache.kafka.common.security"


def password_of(user):
    return PLAIN_USERS.get(user) or SCRAM_USERS[user][1]


def mechanism_of(user):
    return "PLAIN" if user in PLAIN_USERS else SCRAM_USERS[user][0]


class Keys:
    """Who vouches for whom."""

    def __init__(self, folder):
        self.authority = Authority(folder)
        self.server, self.expired = self.authority.sign("server"), self.authority.sign("expired", days=0)
        self.client, self.expired_client = self.authority.sign("client"), self.authority.sign("expired-client", days=0)

    def listeners(self):
        """Kafka's keys for the listeners with TLS; a gateway's are the same."""
        said = {}
        for listener, protocol in PROTOCOLS.items():
            if not protocol.endswith("SSL"):
                continue
            own = self.expired if listener == "EXPIRED" else self.server
            prefix = f"listener.name.{listener.lower()}.ssl"
            said.update({
                f"{prefix}.keystore.location": str(own.key_store("PKCS12")), f"{prefix}.keystore.type": "PKCS12",
                f"{prefix}.keystore.password": PASSWORD,
            })  # fmt: skip
            if listener == "MUTUAL":
                said.update({
                    f"{prefix}.client.auth": "required", f"{prefix}.truststore.location": str(trust_store(self.authority, "PKCS12")),
                    f"{prefix}.truststore.type": "PKCS12", f"{prefix}.truststore.password": PASSWORD,
                })  # fmt: skip
        return said

    def upstream(self):
        """A gateway's keys for the brokers' TLS."""
        prefix = "doorkeeper.gateway.upstream.ssl"
        return {
            f"{prefix}.truststore.location": str(trust_store(self.authority, "PEM")), f"{prefix}.truststore.type": "PEM",
            f"{prefix}.keystore.location": str(self.client.key_store("PKCS12")), f"{prefix}.keystore.type": "PKCS12",
            f"{prefix}.keystore.password": PASSWORD,
            # The broker's listener MUTUAL wants a certificate of everybody; who it is, the login says.
            "doorkeeper.gateway.upstream.shared.identity": "true",
        }  # fmt: skip


class Broker(Kafka):
    """With a listener of each kind."""

    def __init__(self, folder, zookeeper, keys):
        super().__init__(folder, zookeeper, 1, heap_megabytes=320)
        self.addresses = {listener: f"127.0.0.1:{free_port()}" for listener in PROTOCOLS}
        self.bootstrap = self.addresses["INTERNAL"]
        users = " ".join(f'user_{user}="{word}"' for user, word in PLAIN_USERS.items())
        own = {
            "listeners": ",".join(f"{listener}://{address}" for listener, address in self.addresses.items()),
            "listener.security.protocol.map": ",".join(f"{listener}:{protocol}" for listener, protocol in PROTOCOLS.items()),
            "inter.broker.listener.name": "INTERNAL",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "delegation.token.secret.key": "the secret of the tests",
            "transaction.state.log.num.partitions": "3",
            **AUTHORIZER,
            **keys.listeners(),
        }
        for listener in ("LOGIN", "BOTH", "MUTUAL", "SHORT"):
            prefix = f"listener.name.{listener.lower()}"
            own[f"{prefix}.plain.sasl.jaas.config"] = f"{JAAS}.plain.PlainLoginModule required {users};"
            for mechanism in ("scram-sha-256", "scram-sha-512"):
                own[f"{prefix}.{mechanism}.sasl.jaas.config"] = f"{JAAS}.scram.ScramLoginModule required;"
        for mechanism in ("plain", "scram-sha-256"):
            own[f"listener.name.short.{mechanism}.connections.max.reauth.ms"] = str(LIFETIME_SECONDS * 1000)
        self.configuration.update(own)


class Gateway(Doorkeeper):
    """A gateway with the broker's listeners."""

    def __init__(self, folder, zookeeper, keys, relay):
        self.name, self.relay = folder.name, relay
        keys = {
            "listeners": ",".join(f"{listener}://127.0.0.1:0" for listener in PROTOCOLS),
            "listener.security.protocol.map": ",".join(f"{listener}:{protocol}" for listener, protocol in PROTOCOLS.items()),
            "zookeeper.connect": zookeeper.coordinator, "zookeeper.connection.timeout.ms": "60000",
            **AUTHORIZER, **keys.listeners(), **keys.upstream(),
        }  # fmt: skip
        if relay:
            keys.update({"doorkeeper.gateway.addresses": "gateway", "doorkeeper.gateway.port.base": "0"})
        super().__init__(folder, keys, roles=["gateway"])
        del self.overrides["doorkeeper.data.dir"]

    def at(self, listener):
        return self.addresses["gateways"][0]["listeners"][listener]


class BrokerItself:
    """The broker, as a place that clients come to."""

    relay = False

    def __init__(self, broker):
        self.broker = broker

    def at(self, listener):
        return self.broker.addresses[listener]


class Secured:
    """ZooKeeper and the broker, with users, topics and ACLs."""

    def __init__(self, folder):
        self.folder, self.keys = folder, Keys(folder / "keys")
        self.zookeeper = ZooKeeper(folder / "zookeeper", heap_megabytes=128)
        self.broker = Broker(folder / "kafka", self.zookeeper.coordinator, self.keys)

    def __enter__(self):
        self.zookeeper.start()
        try:
            self.broker.start(120)
            self._fill()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.broker.kill()
        self.zookeeper.kill()

    def _fill(self):
        admin = self.admin = AdminClient({"bootstrap.servers": self.broker.bootstrap, "log_level": 0})
        for made in admin.create_topics([NewTopic(topic, 2, 1) for topic in TOPICS]).values():
            made.result(60)
        mechanisms = {"SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256, "SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512}
        wanted = [
            UserScramCredentialUpsertion(user, ScramCredentialInfo(mechanisms[mechanism], 4096), word.encode())
            for user, (mechanism, word) in SCRAM_USERS.items()
        ]
        for changed in admin.alter_user_scram_credentials(wanted).values():
            changed.result(60)
        allow, deny = AclPermissionType.ALLOW, AclPermissionType.DENY
        literal, prefixed = ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED
        rules = [
            ("alice", ResourceType.TOPIC, "open-", prefixed, AclOperation.ALL, allow),
            ("alice", ResourceType.TOPIC, "open-beta", literal, AclOperation.WRITE, deny),
            ("alice", ResourceType.GROUP, "console", literal, AclOperation.READ, allow),
            ("alice", ResourceType.TRANSACTIONAL_ID, "group-7", literal, AclOperation.DESCRIBE, allow),
            ("sam", ResourceType.TOPIC, "of-sam", literal, AclOperation.READ, allow),
            ("sam", ResourceType.GROUP, "*", literal, AclOperation.ALL, allow),
            ("sam", ResourceType.BROKER, "kafka-cluster", literal, AclOperation.DESCRIBE, allow),
            ("sue", ResourceType.TOPIC, "*", literal, AclOperation.DESCRIBE, allow),
            ("sue", ResourceType.TOPIC, "closed", literal, AclOperation.ALL, deny),
        ]
        bindings = [AclBinding(kind, name, pattern, f"User:{user}", "*", operation, kind_of) for user, kind, name, pattern, operation, kind_of in rules]
        for made in admin.create_acls(bindings).values():
            made.result(60)
