//! The keys of a gateway: its own, and those of Kafka that mean here what they mean on a broker.

use super::Use::{Refused, Used};
use super::{Key, boolean, int, list, long, password, string};

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
    string("doorkeeper.gateway.principal", Some(""), Refused("a gateway that reads SASL")),
    list("doorkeeper.gateway.refuse.apis", Some(""), Used),
    string("doorkeeper.gateway.sni.pattern", Some(""), Refused("brokers told apart by SNI")),
    boolean(
        "doorkeeper.gateway.upstream.shared.identity",
        Some("false"),
        Refused("a login of the gateway's own at the brokers"),
    ),
    string(
        "listener.security.protocol.map",
        Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
        Used,
    ),
    string("listeners", Some("PLAINTEXT://:9092"), Used),
    int("max.connections", Some("2147483647"), Used).at_least(0),
    int("max.connections.per.ip", Some("2147483647"), Used).at_least(0),
    int("socket.request.max.bytes", Some("104857600"), Used).at_least(1),
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
