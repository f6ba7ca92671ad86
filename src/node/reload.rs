//! A configuration that changes while its process runs: read again at SIGHUP, and when its files
//! change. What can change does, without a connection being dropped; what can't is named.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::keys::Owner;
use crate::config::{self, ConfigError, Configuration, GatewayConfig, SystemProperties};
use crate::file_stamp::{self, Stamp};
use crate::gateway::clusters::Gateways;
use crate::limits;
use crate::telemetry::logging;

/// Where a process has its configuration from.
#[derive(Debug, Default)]
pub struct Source {
    /// `zoo.cfg`, `server.properties` or both.
    pub files: Vec<PathBuf>,
    /// `--override`.
    pub overrides: Vec<String>,
    /// `-D`.
    pub properties: SystemProperties,
    /// The level of logs stands on the command line or in the environment, which rule over the file.
    pub log_level_is_given: bool,
}

/// Every key that takes effect, with its value.
type Effective = BTreeMap<(Owner, String), Option<String>>;

/// Keys of a gateway that can change while it runs, of all clusters and listeners.
const CHANGEABLE: [&str; 5] = [
    "max.connections",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    "max.connection.creation.rate",
    "requests.per.second.per.ip",
];

/// The key of the level of logs.
const LOG_LEVEL: &str = "doorkeeper.log.level";

/// Watches the configuration of a process.
#[derive(Debug)]
pub(super) struct Reload {
    source: Source,
    hangup: Signal,
    stamps: Vec<Stamp>,
    effective: Effective,
}

impl Reload {
    /// # Errors
    /// The system refuses a signal handler.
    pub(super) fn new(source: Source, configuration: &Configuration) -> std::io::Result<Reload> {
        let stamps = stamps(&source.files);
        let effective = effective(configuration);
        Ok(Reload { source, hangup: signal(SignalKind::hangup())?, stamps, effective })
    }

    /// Takes up changes for as long as it is polled.
    pub(super) async fn follow(&mut self, gateways: Option<&Gateways>) -> Infallible {
        loop {
            self.changed().await;
            self.read(gateways);
        }
    }

    fn read(&mut self, gateways: Option<&Gateways>) {
        let Source { files, overrides, properties, .. } = &self.source;
        match config::load_with(files, overrides, properties) {
            Ok(configuration) => self.take_up(&configuration, gateways),
            Err(ConfigError { problems }) => {
                for problem in problems {
                    tracing::warn!(
                        problem,
                        "the configuration is wrong: the one from before stays in force"
                    );
                }
            }
        }
    }

    /// Waits for a signal, or for files that have changed.
    async fn changed(&mut self) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    self.stamps = stamps(&self.source.files);
                    return;
                }
                () = tokio::time::sleep(limits::CONFIGURATION_LOOK_INTERVAL) => {}
            }
            let now = stamps(&self.source.files);
            if now != self.stamps {
                self.stamps = now;
                return;
            }
        }
    }

    fn take_up(&mut self, configuration: &Configuration, gateways: Option<&Gateways>) {
        let now = effective(configuration);
        let changed = differences(&self.effective, &now);
        let (taken, left): (BTreeSet<_>, BTreeSet<_>) =
            changed.into_iter().partition(|(owner, key)| self.can_change(*owner, key));
        let names = |keys: &BTreeSet<(Owner, String)>| {
            keys.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(", ")
        };
        if let Some(gateways) = gateways {
            let first = configuration.gateway.iter();
            let configs: Vec<&GatewayConfig> = first.chain(&configuration.more_gateways).collect();
            gateways.set_limits(&configs);
        }
        if taken.contains(&(Owner::Process, LOG_LEVEL.to_owned())) {
            let level = configuration.log_level.as_deref();
            logging::set_level(level.unwrap_or(logging::DEFAULT_LEVEL));
        }
        if !left.is_empty() {
            tracing::warn!(
                keys = names(&left),
                "the configuration was read again, and these can't change while the process runs: \
                 a restart is needed"
            );
        }
        if taken.is_empty() {
            tracing::info!("the configuration was read again: nothing changed that can");
        } else {
            tracing::info!(keys = names(&taken), "the configuration was read again, and taken up");
        }
        // What waits for a restart is named again only when it changes again.
        self.effective = now;
    }

    fn can_change(&self, owner: Owner, key: &str) -> bool {
        match owner {
            Owner::Process => key == LOG_LEVEL && !self.source.log_level_is_given,
            Owner::Gateway => is_changeable(key),
            Owner::Coordinator | Owner::Broker => false,
        }
    }
}

/// Whether a gateway's key can change, with or without the cluster or the listener that it is of.
fn is_changeable(key: &str) -> bool {
    let own = key.strip_prefix("doorkeeper.gateway.").unwrap_or(key);
    let own = match own.strip_prefix("cluster.").and_then(|rest| rest.split_once('.')) {
        Some((_, of_cluster)) => of_cluster,
        None => own,
    };
    let own = match own.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.')) {
        Some((_, of_listener)) => of_listener,
        None => own,
    };
    CHANGEABLE.contains(&own)
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| file_stamp::of(file)).collect()
}

fn effective(configuration: &Configuration) -> Effective {
    let lines = configuration.effective.iter();
    lines.map(|line| ((line.owner, line.key.to_string()), line.value.clone())).collect()
}

/// The keys whose values are not the same in both.
fn differences(before: &Effective, now: &Effective) -> BTreeSet<(Owner, String)> {
    let all = before.keys().chain(now.keys());
    let value = |of: &Effective, key: &(Owner, String)| of.get(key).cloned().flatten();
    all.filter(|key| value(before, key) != value(now, key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_can_change_wherever_they_are_set() {
        for key in [
            "max.connections",
            "max.connections.per.ip.overrides",
            "listener.name.external.max.connections",
            "doorkeeper.gateway.requests.per.second.per.ip",
            "doorkeeper.gateway.cluster.a.max.connections.per.ip",
            "doorkeeper.gateway.cluster.a.requests.per.second.per.ip",
            "doorkeeper.gateway.cluster.a.listener.name.b.max.connection.creation.rate",
        ] {
            assert!(is_changeable(key), "{key}");
        }
        for key in ["listeners", "doorkeeper.gateway.addresses", "max.connections.else"] {
            assert!(!is_changeable(key), "{key}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_wrong_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.properties");
        let write = |cap: &str| {
            let text = format!(
                "process.roles=gateway\nzookeeper.connect=localhost:1\nmax.connections={cap}\n"
            );
            std::fs::write(&file, text).unwrap();
        };
        write("5");
        let source = Source { files: vec![file.clone()], ..Source::default() };
        let loaded = config::load(&source.files, &[]).unwrap();
        let mut reload = Reload::new(source, &loaded).unwrap();
        let cap = |reload: &Reload| {
            let key = (Owner::Gateway, "max.connections".to_owned());
            reload.effective.get(&key).cloned().flatten()
        };
        for (written, in_force) in [("many", "5"), ("6", "6"), ("-1", "6")] {
            write(written);
            reload.read(None);
            assert_eq!(cap(&reload).as_deref(), Some(in_force), "{written}");
        }
    }

    #[test]
    fn what_is_set_unset_or_changed_differs() {
        let of = |pairs: &[(&str, Option<&str>)]| -> Effective {
            let entry = |(key, value): &(&str, Option<&str>)| {
                ((Owner::Gateway, (*key).to_owned()), value.map(str::to_owned))
            };
            pairs.iter().map(entry).collect()
        };
        let before = of(&[("same", Some("1")), ("unset", Some("1")), ("changed", Some("1"))]);
        let now = of(&[("same", Some("1")), ("set", Some("1")), ("changed", None), ("none", None)]);
        let found: Vec<String> =
            differences(&before, &now).into_iter().map(|(_, key)| key).collect();
        assert_eq!(found, ["changed", "set", "unset"]);
    }
}
