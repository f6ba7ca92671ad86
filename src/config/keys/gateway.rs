//! The keys of a gateway: its own, and those of Kafka that mean here what they mean on a broker.

use super::Use::{Idle, Refused, Used};
use super::{Key, boolean, int, list, long, password, string};

const NOT_JAVA: &str = "TLS here is not Java's: ssl.enabled.protocols has the versions";
const OF_CLIENTS: &str = "it is about connections to brokers, not about clients";

/// Sorted by name.
pub const GATEWAY_KEYS: &[Key] = &[
    string("authorizer.class.name", Some(""), Used),
    boolean("auto.create.topics.enable", Some("true"), Used),
    long("connections.max.idle.ms", Some("600000"), Used),
    string("doorkeeper.gateway.addresses", Some("brokers"), Used).one_of(&["brokers", "gateway"]),
    string("doorkeeper.gateway.advertised.host", None, Used),
    int("doorkeeper.gateway.advertised.port.base", None, Used).between(0, 65_535),
    list("doorkeeper.gateway.clusters", Some(""), Refused("a gateway for several clusters")),
    long("doorkeeper.gateway.image.age.max.ms", None, Used).at_least(0),
    string("doorkeeper.gateway.image.dir", Some(""), Used),
    int("doorkeeper.gateway.port.base", None, Used).between(0, 65_535),
    string("doorkeeper.gateway.principal", Some("kafka"), Used).one_of(&["kafka", "upstream"]),
    list("doorkeeper.gateway.refuse.apis", Some(""), Used),
    string("doorkeeper.gateway.sni.pattern", Some(""), Refused("brokers told apart by SNI")),
    string("doorkeeper.gateway.upstream.sasl.mechanism", None, Used),
    password("doorkeeper.gateway.upstream.sasl.password", None, Used),
    string("doorkeeper.gateway.upstream.sasl.username", None, Used),
    boolean("doorkeeper.gateway.upstream.shared.identity", Some("false"), Used),
    list("doorkeeper.gateway.upstream.ssl.enabled.protocols", Some("TLSv1.2,TLSv1.3"), Used),
    string(
        "doorkeeper.gateway.upstream.ssl.endpoint.identification.algorithm",
        Some("https"),
        Used,
    ),
    password("doorkeeper.gateway.upstream.ssl.key.password", None, Used),
    string("doorkeeper.gateway.upstream.ssl.keystore.location", None, Used),
    password("doorkeeper.gateway.upstream.ssl.keystore.password", None, Used),
    string("doorkeeper.gateway.upstream.ssl.keystore.type", Some("JKS"), Used),
    string("doorkeeper.gateway.upstream.ssl.truststore.location", None, Used),
    password("doorkeeper.gateway.upstream.ssl.truststore.password", None, Used),
    string("doorkeeper.gateway.upstream.ssl.truststore.type", Some("JKS"), Used),
    string(
        "listener.security.protocol.map",
        Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
        Used,
    ),
    string("listeners", Some("PLAINTEXT://:9092"), Used),
    int("max.connections", Some("2147483647"), Used).at_least(0),
    int("max.connections.per.ip", Some("2147483647"), Used).at_least(0),
    int("socket.request.max.bytes", Some("104857600"), Used).at_least(1),
    list("ssl.cipher.suites", Some(""), Used),
    string("ssl.client.auth", Some("none"), Used).one_of(&["required", "requested", "none"]),
    list("ssl.enabled.protocols", Some("TLSv1.2,TLSv1.3"), Used),
    string("ssl.endpoint.identification.algorithm", Some("https"), Idle(OF_CLIENTS)),
    password("ssl.key.password", None, Used),
    string("ssl.keymanager.algorithm", Some("SunX509"), Idle(NOT_JAVA)),
    password("ssl.keystore.certificate.chain", None, Used),
    password("ssl.keystore.key", None, Used),
    string("ssl.keystore.location", None, Used),
    password("ssl.keystore.password", None, Used),
    string("ssl.keystore.type", Some("JKS"), Used),
    string("ssl.protocol", Some("TLSv1.3"), Idle(NOT_JAVA)),
    string("ssl.provider", None, Idle(NOT_JAVA)),
    string("ssl.secure.random.implementation", None, Idle(NOT_JAVA)),
    string("ssl.trustmanager.algorithm", Some("PKIX"), Idle(NOT_JAVA)),
    password("ssl.truststore.certificates", None, Used),
    string("ssl.truststore.location", None, Used),
    password("ssl.truststore.password", None, Used),
    string("ssl.truststore.type", Some("JKS"), Used),
    string("zookeeper.clientCnxnSocket", None, Used).one_of(&[
        "",
        "org.apache.zookeeper.ClientCnxnSocketNIO",
        "org.apache.zookeeper.ClientCnxnSocketNetty",
    ]),
    string("zookeeper.connect", None, Used),
    int("zookeeper.connection.timeout.ms", None, Used),
    int("zookeeper.session.timeout.ms", Some("18000"), Used),
    boolean("zookeeper.ssl.client.enable", Some("false"), Used),
    list("zookeeper.ssl.enabled.protocols", None, Used),
    string("zookeeper.ssl.endpoint.identification.algorithm", Some("HTTPS"), Used),
    string("zookeeper.ssl.keystore.location", None, Used),
    password("zookeeper.ssl.keystore.password", None, Used),
    string("zookeeper.ssl.keystore.type", None, Used),
    string("zookeeper.ssl.protocol", Some("TLSv1.2"), Used),
    string("zookeeper.ssl.truststore.location", None, Used),
    password("zookeeper.ssl.truststore.password", None, Used),
    string("zookeeper.ssl.truststore.type", None, Used),
];

/// Keys of brokers whose neglect by a gateway would protect less than the file asks for: what a
/// broker refuses of them, a gateway refuses too.
pub(super) const SECURITY_PREFIXES: &[&str] = &[
    "listener.name.",
    "max.connections.per.ip.overrides",
    "principal.builder.class",
    "sasl.",
    "ssl.",
    "super.users",
    "zookeeper.ssl.",
];
