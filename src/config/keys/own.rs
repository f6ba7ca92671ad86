//! The keys that neither Kafka nor ZooKeeper has: those of the process.

use super::Use::Used;
use super::{Key, boolean, int, list, string};

/// Sorted by name.
pub const OWN_KEYS: &[Key] = &[
    boolean("client.secure", Some("false"), Used),
    string("doorkeeper.audit.file", None, Used),
    string("doorkeeper.data.dir", None, Used),
    string("doorkeeper.http.listener", None, Used),
    string("doorkeeper.log.level", None, Used),
    boolean("doorkeeper.take.over.member", Some("false"), Used),
    int("doorkeeper.znode.depth.max", Some("1000"), Used).between(1, 2_500),
    string("java.security.auth.login.config", None, Used),
    list("process.roles", None, Used),
    boolean("sasl.client", Some("true"), Used),
    string("sasl.clientconfig", Some("Client"), Used),
];
