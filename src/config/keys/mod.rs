//! The tables of keys: what Kafka 3.9, ZooKeeper 3.9 and doorkeeper know, and what is done of each.

mod broker;
mod coordinator;
mod gateway;
mod own;

pub use broker::BROKER_KEYS;
pub use coordinator::COORDINATOR_KEYS;
pub use gateway::GATEWAY_KEYS;
pub use own::OWN_KEYS;

use super::kafka_tls;
use coordinator::COORDINATOR_FAMILIES;

/// The keys of which a listener of a gateway may have a value of its own.
pub(super) const OF_LISTENERS: &[&[&str]] =
    &[kafka_tls::OF_LISTENERS, &["max.connection.creation.rate", "max.connections"]];

/// The type of a key's value, as Kafka's `ConfigDef.Type` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// Any text.
    String,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 16 bits.
    Short,
    /// A whole number of 64 bits.
    Long,
    /// A decimal number.
    Double,
    /// Texts with commas between them.
    List,
    /// The name of a Java class.
    Class,
    /// Text that is never shown.
    Password,
}

/// What is done of a key that a file sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It takes effect.
    Used,
    /// It is accepted with a warning and changes nothing yet.
    Unused,
    /// It is accepted with a warning: here it can't change anything. The text is the reason, to
    /// follow "since".
    Idle(&'static str),
    /// Neglecting it would protect less or risk data, so a value other than the default stops the
    /// start. The text is what isn't built yet.
    Refused(&'static str),
}

/// One key that a configuration file may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// The name as it stands in the file.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The default as text; `None` is no value (`null` in Kafka).
    pub default: Option<&'static str>,
    /// What is done of it.
    pub used: Use,
    /// The lowest and highest number allowed.
    pub bounds: (i64, i64),
    /// The texts allowed; empty allows any. For a list: of each entry.
    pub choices: &'static [&'static str],
}

impl Key {
    const fn at_least(mut self, min: i64) -> Self {
        self.bounds.0 = min;
        self
    }

    const fn between(mut self, min: i64, max: i64) -> Self {
        self.bounds = (min, max);
        self
    }

    const fn one_of(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }

    /// Whether its value must not be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Whether `value` is one that the key allows; the error says what was expected.
    ///
    /// # Errors
    /// What was expected instead, to follow "expected".
    pub fn check(&self, value: &str) -> Result<(), String> {
        let number = |min: i64, max: i64| {
            let (min, max) = (min.max(self.bounds.0), max.min(self.bounds.1));
            match parse_number(value) {
                Some(n) if (min..=max).contains(&n) => Ok(()),
                _ if max == i64::MAX && min == i64::MIN => Err("a whole number".to_owned()),
                _ if max >= i64::from(i32::MAX) && min > i64::from(i32::MIN) => {
                    Err(format!("a whole number of at least {min}"))
                }
                _ => Err(format!("a whole number from {min} to {max}")),
            }
        };
        let chosen = |text: &str| {
            if self.choices.is_empty() || self.choices.contains(&text) {
                Ok(())
            } else {
                Err(format!("one of {}", self.choices.join(", ")))
            }
        };
        match self.kind {
            Kind::Boolean => match value.to_ascii_lowercase().as_str() {
                "true" | "false" => Ok(()),
                _ => Err("true or false".to_owned()),
            },
            Kind::Int => number(i32::MIN.into(), i32::MAX.into()),
            Kind::Short => number(i16::MIN.into(), i16::MAX.into()),
            Kind::Long => number(i64::MIN, i64::MAX),
            Kind::Double => match value.parse::<f64>() {
                Ok(n) if n.is_finite() => Ok(()),
                _ => Err("a decimal number".to_owned()),
            },
            Kind::String => chosen(value),
            Kind::List => value
                .split(',')
                .map(str::trim)
                .filter(|entry| !entry.is_empty())
                .try_for_each(chosen),
            Kind::Class | Kind::Password => Ok(()),
        }
    }
}

/// A whole number as Kafka and ZooKeeper write it: decimal, or hexadecimal after `0x`.
pub fn parse_number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

const fn key(name: &'static str, kind: Kind, default: Option<&'static str>, used: Use) -> Key {
    Key { name, kind, default, used, bounds: (i64::MIN, i64::MAX), choices: &[] }
}

macro_rules! constructors {
    ($($name:ident $kind:ident)*) => {$(
        const fn $name(name: &'static str, default: Option<&'static str>, used: Use) -> Key {
            key(name, Kind::$kind, default, used)
        }
    )*};
}

constructors! {
    boolean Boolean
    string String
    int Int
    short Short
    long Long
    double Double
    list List
    class Class
    password Password
}

/// Which part of doorkeeper a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// ZooKeeper's keys.
    Coordinator,
    /// Kafka's keys.
    Broker,
    /// `doorkeeper.gateway.*`, and the keys of Kafka that a gateway takes.
    Gateway,
    /// Keys of the process: `doorkeeper.*` and `process.roles`.
    Process,
}

/// What is known of a key name.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Whose key it is.
    pub owner: Owner,
    /// What is done of it.
    pub used: Use,
    /// Its row of the table; `None` for a member of a family such as `ssl.*`.
    pub key: Option<&'static Key>,
}

/// Keys of Kafka before 3.0, which real files still carry, with what took their place.
const RETIRED: &[(&str, &str)] = &[
    ("advertised.host.name", "advertised.listeners"),
    ("advertised.port", "advertised.listeners"),
    ("host.name", "listeners"),
    ("port", "listeners"),
    ("quota.consumer.default", "quotas"),
    ("quota.producer.default", "quotas"),
    ("zookeeper.sync.time.ms", "nothing"),
    ("inter.broker.protocol", "inter.broker.listener.name"),
];

/// The key that took the place of one that Kafka 3 no longer reads.
pub fn successor(name: &str) -> Option<&'static str> {
    RETIRED.iter().find(|(retired, _)| *retired == name).map(|(_, successor)| *successor)
}

fn row(table: &'static [Key], name: &str) -> Option<&'static Key> {
    table.iter().find(|key| key.name == name)
}

/// Every owner that knows `name`: two where Kafka and ZooKeeper share a name or a family (`ssl.`).
pub fn known(name: &str) -> Vec<Known> {
    let mut found = Vec::new();
    for (owner, table) in [
        (Owner::Process, OWN_KEYS),
        (Owner::Coordinator, COORDINATOR_KEYS),
        (Owner::Broker, BROKER_KEYS),
    ] {
        if let Some(key) = row(table, name) {
            found.push(Known { owner, used: key.used, key: Some(key) });
        }
    }
    if !found.iter().any(|known| known.owner != Owner::Broker)
        && let Some((_, _, used)) = COORDINATOR_FAMILIES.iter().find(|(prefix, numbered, _)| {
            name.strip_prefix(prefix).is_some_and(|rest| {
                !*numbered || !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
            })
        })
    {
        found.push(Known { owner: Owner::Coordinator, used: *used, key: None });
    }
    if found.is_empty() && successor(name).is_some() {
        found.push(Known { owner: Owner::Broker, used: Use::Unused, key: None });
    }
    if found.is_empty()
        && let Some(rest) = name.strip_prefix("listener.name.")
        && let Some((_, rest)) = rest.split_once('.')
    {
        // `listener.name.<listener>.[<mechanism>.]<key>`: the key with one listener's own value.
        let secured = rest.contains("ssl.") || rest.contains("sasl.");
        let used = if secured {
            Use::Refused("TLS and SASL")
        } else {
            row(BROKER_KEYS, rest).map_or(Use::Unused, |key| match key.used {
                Use::Used => Use::Unused,
                other => other,
            })
        };
        found.push(Known { owner: Owner::Broker, used, key: None });
    }
    found.extend(known_to_gateways(name, &found));
    found
}

/// What begins the keys of one listener of a gateway.
pub(super) const GATEWAY_LISTENER: &str = "doorkeeper.gateway.listener.";

/// What they end with, behind the listener's name.
const GATEWAY_LISTENER_KEYS: &[&str] =
    &["advertised.host", "advertised.port.base", "brokers", "port.base"];

/// What begins the keys of one of several clusters.
pub(super) const GATEWAY_CLUSTER: &str = "doorkeeper.gateway.cluster.";

/// The cluster that a key is of, and the key that it is for that cluster: one of the gateway's, named
/// without `doorkeeper.gateway.`, or one of Kafka's. `None` for the key where there is none such.
pub(super) fn of_cluster(name: &str) -> Option<(&str, Option<String>)> {
    let (cluster, rest) = name.strip_prefix(GATEWAY_CLUSTER)?.split_once('.')?;
    let own = format!("doorkeeper.gateway.{rest}");
    let candidates = [own, rest.to_owned()];
    let known = |key: &String| {
        key != "doorkeeper.gateway.clusters"
            && !key.starts_with(GATEWAY_CLUSTER)
            && known(key).iter().any(|known| known.owner == Owner::Gateway)
    };
    Some((cluster, candidates.into_iter().find(known)))
}

/// What a gateway does of a key that the others know as `elsewhere`.
fn known_to_gateways(name: &str, elsewhere: &[Known]) -> Option<Known> {
    let found = |used, key| Some(Known { owner: Owner::Gateway, used, key });
    if let Some(key) = row(GATEWAY_KEYS, name) {
        return found(key.used, Some(key));
    }
    let of_listener = name.strip_prefix(GATEWAY_LISTENER).and_then(|rest| rest.split_once('.'));
    if of_listener.is_some_and(|(_, key)| GATEWAY_LISTENER_KEYS.contains(&key)) {
        return found(Use::Used, None);
    }
    if let Some((_, key)) = of_cluster(name) {
        let known = known(&key?);
        return known.into_iter().find(|known| known.owner == Owner::Gateway);
    }
    if let Some((listener, key)) =
        name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.'))
        && !listener.is_empty()
        && OF_LISTENERS.iter().any(|of_listeners| of_listeners.contains(&key))
    {
        return found(Use::Used, row(GATEWAY_KEYS, key));
    }
    let of_broker = elsewhere.iter().find(|known| known.owner == Owner::Broker)?;
    let guards = gateway::SECURITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let refused = matches!(of_broker.used, Use::Refused(_));
    (guards && refused).then_some(Known { owner: Owner::Gateway, ..*of_broker })
}

/// How alike two names must be, from 0 to 1, for one to be taken as a slip of the other.
const LIKENESS_MIN: f64 = 0.6;

/// The known name that is most like `name`, if one is like it at all.
pub fn nearest(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix(GATEWAY_CLUSTER)
        && let Some((cluster, rest)) = rest.split_once('.')
    {
        // Those of the gateway are named without what begins them.
        let own = nearest_in(&[GATEWAY_KEYS], &format!("doorkeeper.gateway.{rest}"));
        let (_, found) = own
            .into_iter()
            .chain(nearest_in(&[GATEWAY_KEYS], rest))
            .max_by(|a, b| a.0.total_cmp(&b.0))?;
        let found = found.strip_prefix("doorkeeper.gateway.").unwrap_or(found);
        return Some(format!("{GATEWAY_CLUSTER}{cluster}.{found}"));
    }
    let tables = [OWN_KEYS, GATEWAY_KEYS, COORDINATOR_KEYS, BROKER_KEYS];
    nearest_in(&tables, name).map(|(_, found)| found.to_owned())
}

fn nearest_in(tables: &[&'static [Key]], name: &str) -> Option<(f64, &'static str)> {
    let lower = name.to_ascii_lowercase();
    let likeness =
        |key: &str| strsim::normalized_damerau_levenshtein(&lower, &key.to_ascii_lowercase());
    tables
        .iter()
        .copied()
        .flatten()
        .map(|key| (likeness(key.name), key.name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_their_defaults_are_valid() {
        for table in [OWN_KEYS, GATEWAY_KEYS, COORDINATOR_KEYS, BROKER_KEYS] {
            assert!(table.is_sorted_by(|a, b| a.name < b.name));
            for key in table {
                if let Some(default) = key.default {
                    assert_eq!(key.check(default), Ok(()), "the default of {}", key.name);
                }
            }
        }
    }

    #[test]
    fn a_key_says_what_it_expects() {
        for (name, value, expected) in [
            ("tickTime", "fast", "a whole number of at least 1"),
            ("clientPort", "70000", "a whole number from 0 to 65535"),
            ("num.partitions", "0", "a whole number of at least 1"),
            ("delete.topic.enable", "yes", "true or false"),
            ("log.message.timestamp.type", "Now", "one of CreateTime, LogAppendTime"),
            ("log.cleanup.policy", "delete,squash", "one of compact, delete"),
            ("log.retention.ms", "1.5", "a whole number"),
        ] {
            let key = known(name)[0].key.unwrap();
            assert_eq!(key.check(value), Err(expected.to_owned()), "{name}={value}");
        }
    }

    #[test]
    fn families_and_listener_keys_are_known() {
        use Owner::{Broker, Coordinator, Gateway};
        for (name, used) in [
            ("ssl.keyStore.location", Use::Used),
            ("ssl.x509.clientCertIdType", Use::Used),
            ("ssl.x509.other", Use::Refused("this setting of TLS")),
            ("authProvider.1", Use::Used),
            ("metricsProvider.httpPort", Use::Used),
            ("listener.name.external.ssl.keystore.location", Use::Refused("TLS and SASL")),
            ("listener.name.external.max.connections", Use::Unused),
            ("host.name", Use::Unused),
            ("group.1", Use::Idle("they are for the members of an ensemble")),
            ("ssl.quorum.clientAuth", Use::Idle("they are for the members of an ensemble")),
            ("group.initial.rebalance.delay.ms", Use::Used),
        ] {
            assert_eq!(known(name).first().map(|known| known.used), Some(used), "{name}");
        }
        for strange in ["no.such.key", "server.one", "group.", "listener.name.x"] {
            assert!(known(strange).is_empty(), "{strange}");
        }
        assert_eq!(known("group.initial.rebalance.delay.ms").len(), 1, "Kafka's alone");
        let owners = |name| known(name).iter().map(|known| known.owner).collect::<Vec<_>>();
        assert_eq!(owners("ssl.protocol"), [Coordinator, Broker, Gateway], "all have TLS");
        assert_eq!(owners("listeners"), [Broker, Gateway]);
        assert_eq!(owners("log.dirs"), [Broker], "a gateway keeps nothing");
        assert_eq!(owners("doorkeeper.gateway.listener.external.brokers"), [Gateway]);
        assert_eq!(owners("doorkeeper.gateway.listener.external.broker"), []);
        for key in [
            "doorkeeper.gateway.cluster.a.zookeeper.connect",
            "doorkeeper.gateway.cluster.a.port.base",
            "doorkeeper.gateway.cluster.a.listener.external.brokers",
            "doorkeeper.gateway.cluster.a.listener.name.external.ssl.client.auth",
        ] {
            assert_eq!(owners(key), [Gateway], "{key}");
        }
        for key in [
            "doorkeeper.gateway.cluster.a.clusters",
            "doorkeeper.gateway.cluster.a.cluster.b.port.base",
            "doorkeeper.gateway.cluster.a.log.dirs",
            "doorkeeper.gateway.cluster.a",
        ] {
            assert_eq!(owners(key), [], "{key}");
        }
    }

    #[test]
    fn the_nearest_key_is_found() {
        for (typo, meant) in [
            ("log.retention.hour", "log.retention.hours"),
            ("clientport", "clientPort"),
            ("zookeeper.conect", "zookeeper.connect"),
            ("doorkeeper.http.listner", "doorkeeper.http.listener"),
            ("doorkeeper.gateway.adresses", "doorkeeper.gateway.addresses"),
            ("auto.create.topics", "auto.create.topics.enable"),
            ("maxClientConns", "maxClientCnxns"),
            (
                "doorkeeper.gateway.cluster.a.zookeper.connect",
                "doorkeeper.gateway.cluster.a.zookeeper.connect",
            ),
            ("doorkeeper.gateway.cluster.a.prt.base", "doorkeeper.gateway.cluster.a.port.base"),
        ] {
            assert_eq!(nearest(typo).as_deref(), Some(meant));
        }
        for strange in ["xyzzy", "foo", ""] {
            assert_eq!(nearest(strange), None);
        }
    }
}
