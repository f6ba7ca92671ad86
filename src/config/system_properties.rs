//! Java system properties as ZooKeeper's operators set them: `-Dname=value` on the command line, and
//! in the environment's `SERVER_JVMFLAGS` and `JVMFLAGS`.

use std::collections::BTreeMap;

use super::keys::{self, Owner};
use super::settings::{Given, Origin};

/// Properties that ZooKeeper reads without the prefix `zookeeper.`. It doesn't look for them in
/// zoo.cfg, so that the property rules where both are given.
const PLAIN: [&str; 10] = [
    "follower.nodelay",
    "fsync.warningthresholdms",
    "java.security.auth.login.config",
    "jute.maxbuffer",
    "leader.closeSocketAsync",
    "leader.nodelay",
    "learner.asyncSending",
    "learner.closeSocketAsync",
    "readonlymode.enabled",
    "znode.container.",
];

/// Of these ZooKeeper reads the name with the prefix too.
const PLAIN_AND_PREFIXED: [&str; 4] = [
    "fsync.warningthresholdms",
    "leader.closeSocketAsync",
    "learner.asyncSending",
    "learner.closeSocketAsync",
];

/// Keys that `QuorumPeerConfig` reads from zoo.cfg by itself, so that no property of their name does
/// anything.
const FILE_ONLY: [&str; 33] = [
    "autopurge.",
    "clientPort",
    "clientPortAddress",
    "clientPortListenBacklog",
    "connectToLearnerMasterLimit",
    "dataDir",
    "dataLogDir",
    "dynamicConfigFile",
    "electionAlg",
    "group.",
    "initLimit",
    "jvm.pause.",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "maxClientCnxns",
    "maxSessionTimeout",
    "metricsProvider.",
    "minSessionTimeout",
    "observerMasterPort",
    "oraclePath",
    "peerType",
    "portUnification",
    "quorum.",
    "quorumListenOnAllIPs",
    "reconfigEnabled",
    "secureClientPort",
    "secureClientPortAddress",
    "sslQuorum",
    "sslQuorumReloadCertFiles",
    "standaloneEnabled",
    "syncEnabled",
    "syncLimit",
    "tickTime",
];

/// The variables that hold flags for a JVM, in the order in which they rule over each other:
/// `zkServer.sh` puts `JVMFLAGS` behind `SERVER_JVMFLAGS`, and `kafka-run-class.sh` reads `KAFKA_OPTS`.
const VARIABLES: [&str; 3] = ["SERVER_JVMFLAGS", "JVMFLAGS", "KAFKA_OPTS"];

/// Properties in the order in which they were given: the last of two equal ones counts, as in Java.
#[derive(Debug, Clone, Default)]
pub struct SystemProperties {
    given: Vec<(String, String, &'static str)>,
}

/// The properties as keys of the configuration.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Those that a file rules over, as in ZooKeeper.
    pub(super) below_files: BTreeMap<String, Given>,
    /// Those that rule over a file.
    pub(super) above_files: BTreeMap<String, Given>,
    /// Properties that do nothing in ZooKeeper either: one line each.
    pub(super) without_effect: Vec<String>,
    /// Properties of `zookeeper.` that nobody knows: one line each.
    pub(super) unknown: Vec<String>,
}

impl SystemProperties {
    /// Those of the environment's variables, by their names, and then those of the command line: each
    /// `name=value`, or a name alone, which is an empty value as in Java.
    ///
    /// The variables are split at white space and nowhere else, as the scripts' shell does. What is in
    /// them beside `-D` is for a JVM, and left alone.
    pub fn new(variable: impl Fn(&str) -> Option<String>, command_line: &[String]) -> Self {
        let mut given = Vec::new();
        let mut take = |text: &str, source| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            if !name.is_empty() {
                given.push((name.to_owned(), value.trim().to_owned(), source));
            }
        };
        for source in VARIABLES {
            for flag in variable(source).unwrap_or_default().split_whitespace() {
                if let Some(property) = flag.strip_prefix("-D") {
                    take(property, source);
                }
            }
        }
        for property in command_line {
            take(property, "-D");
        }
        SystemProperties { given }
    }

    /// Those of the environment and of the command line of this process.
    pub fn of_process(command_line: &[String]) -> Self {
        SystemProperties::new(|name| std::env::var(name).ok(), command_line)
    }

    /// Sorts the properties by what ZooKeeper does of them.
    pub(super) fn keys(&self) -> Keys {
        let mut keys = Keys::default();
        for (name, value, source) in &self.given {
            let given = Given { value: value.clone(), origin: Origin::Property { source } };
            let at = format!("{name} ({source})");
            if is_among(name, &PLAIN) {
                keys.above_files.insert(name.clone(), given);
            } else if name.starts_with("doorkeeper.") {
                keys.below_files.insert(name.clone(), given);
            } else if let Some(key) = name.strip_prefix("zookeeper.") {
                if is_among(key, &FILE_ONLY) {
                    keys.without_effect.push(format!(
                        "{at} changes nothing: ZooKeeper reads {key} from zoo.cfg only"
                    ));
                } else if is_among(key, &PLAIN) && !is_among(key, &PLAIN_AND_PREFIXED) {
                    keys.without_effect
                        .push(format!("{at} changes nothing: ZooKeeper reads {key} instead"));
                } else if keys::known(key).iter().any(|known| known.owner == Owner::Coordinator) {
                    keys.below_files.insert(key.to_owned(), given);
                } else {
                    let near = keys::nearest(key).map_or_else(String::new, |near| {
                        format!(" (the nearest known one is zookeeper.{near})")
                    });
                    keys.unknown.push(format!("{at}: unknown property{near}"));
                }
            } else {
                tracing::debug!(property = name, source, "not a property of ZooKeeper's");
            }
        }
        keys
    }
}

/// The system property that ZooKeeper reads for a key of zoo.cfg; `None` for a key that it reads from
/// the file only.
pub(super) fn name_of(key: &str) -> Option<String> {
    if is_among(key, &FILE_ONLY) || key.starts_with("server.") || key.starts_with("weight.") {
        None
    } else if is_among(key, &PLAIN) {
        Some(key.to_owned())
    } else {
        Some(format!("zookeeper.{key}"))
    }
}

/// Whether `name` is in `names`, an entry with a dot at its end being a family.
fn is_among(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| *known == name || known.ends_with('.') && name.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_properties_rule_and_jvm_flags_are_left_alone() {
        let variables = BTreeMap::from([
            (
                "SERVER_JVMFLAGS",
                "-Xmx1000m  -Dzookeeper.snapCount=1\t-Djute.maxbuffer=5 -D -XX:+UseG1GC",
            ),
            ("JVMFLAGS", "-Dzookeeper.snapCount=2 -Dzookeeper.maxCnxns=1"),
            ("KAFKA_OPTS", "-Dzookeeper.maxCnxns=9"),
        ]);
        let properties = SystemProperties::new(
            |name| variables.get(name).map(|&flags| flags.to_owned()),
            &["jute.maxbuffer=7".to_owned(), "zookeeper.skipACL".to_owned()],
        );
        let keys = properties.keys();
        assert_eq!(keys.below_files["snapCount"].value, "2");
        assert_eq!(keys.below_files["snapCount"].origin.to_string(), "JVMFLAGS");
        assert_eq!(keys.below_files["maxCnxns"].origin.to_string(), "KAFKA_OPTS");
        assert_eq!(keys.below_files["skipACL"].value, "");
        assert_eq!(keys.above_files["jute.maxbuffer"].value, "7");
        assert_eq!(keys.above_files["jute.maxbuffer"].origin.to_string(), "-D");
        assert!(keys.without_effect.is_empty() && keys.unknown.is_empty(), "{keys:?}");
    }

    #[test]
    fn properties_that_do_nothing_in_zookeeper_are_named() {
        let of = |text: &str| {
            let flags = |name: &str| (name == "SERVER_JVMFLAGS").then(|| text.to_owned());
            SystemProperties::new(flags, &[]).keys()
        };
        for (text, expected) in [
            ("-Dzookeeper.tickTime=1", "ZooKeeper reads tickTime from zoo.cfg only"),
            ("-Dzookeeper.autopurge.purgeInterval=1", "ZooKeeper reads autopurge.purgeInterval"),
            ("-Dzookeeper.jute.maxbuffer=1", "ZooKeeper reads jute.maxbuffer instead"),
        ] {
            let keys = of(text);
            assert!(keys.without_effect[0].contains(expected), "{keys:?}");
            assert!(keys.below_files.is_empty() && keys.above_files.is_empty());
        }
        let unknown = of("-Dzookeeper.snapCont=1 -Dzookeeper.xyzzy=1").unknown;
        assert_eq!(
            unknown,
            [
                "zookeeper.snapCont (SERVER_JVMFLAGS): unknown property (the nearest known one is \
                 zookeeper.snapCount)",
                "zookeeper.xyzzy (SERVER_JVMFLAGS): unknown property",
            ]
        );
        let other = of("-Dcom.sun.management.jmxremote -Dzookeeper.fsync.warningthresholdms=20");
        assert_eq!(other.below_files.len(), 1);
    }
}
