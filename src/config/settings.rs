//! What files, overrides and defaults say together: each value with its origin, and what is wrong.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Secret;
use super::keys::{self, Key, Owner};
use super::system_properties;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File {
        /// The file as it was named on the command line.
        path: Arc<PathBuf>,
        /// The line, from 1.
        line: usize,
    },
    /// A Java system property.
    Property {
        /// `-D`, or the variable of the environment that holds it.
        source: &'static str,
    },
    /// `--override`.
    Override,
    /// The default of a start without files, or what `doorkeeper.data.dir` implies.
    Embedded,
    /// Kafka's or ZooKeeper's own default.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Property { source } => f.write_str(source),
            Origin::Override => f.write_str("--override"),
            Origin::Embedded => f.write_str("doorkeeper's default"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A value that somebody gave.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// One line of the effective configuration.
#[derive(Debug, Clone)]
pub struct Effective {
    /// Whose key it is.
    pub owner: Owner,
    /// The key.
    pub key: Cow<'static, str>,
    /// The value as text; `None` where nothing is set. Secrets show as `[hidden]`.
    pub value: Option<String>,
    /// Where the value comes from.
    pub origin: Origin,
}

/// The layers of values, and what was found wrong while they were read.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) given: BTreeMap<String, Given>,
    pub(super) embedded: BTreeMap<&'static str, String>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) effective: Vec<Effective>,
    /// Where these are the settings of one of several clusters: its name.
    pub(super) cluster: Option<String>,
    /// For keys that the cluster has values of its own of: how they are given.
    pub(super) written: BTreeMap<String, String>,
}

const HIDDEN: &str = "[hidden]";

/// The value of a key, hidden where it is a secret.
fn shown_value<'a>(key: &str, given: &'a Given) -> &'a str {
    let secret = keys::known(key).iter().any(|known| known.key.is_some_and(Key::is_secret))
        || key.to_ascii_lowercase().contains("password")
            && !key.to_ascii_lowercase().ends_with("passwordpath");
    if secret { HIDDEN } else { &given.value }
}

/// `key=value (origin)`, with secrets hidden.
pub(super) fn shown(key: &str, given: &Given) -> String {
    format!("{key}={} ({})", shown_value(key, given), given.origin)
}

impl Settings {
    /// What these settings are for one of several clusters: its own values of keys before those of
    /// all.
    pub(super) fn of_cluster(&self, cluster: &str) -> Settings {
        let mut settings = Settings {
            given: self.given.clone(),
            embedded: self.embedded.clone(),
            cluster: Some(cluster.to_owned()),
            ..Settings::default()
        };
        for (name, given) in &self.given {
            if let Some((of, Some(key))) = keys::of_cluster(name)
                && of == cluster
            {
                settings.given.insert(key.clone(), given.clone());
                settings.written.insert(key, name.clone());
            }
        }
        settings
    }

    /// Whether the cluster has a value of its own of a key.
    pub(super) fn is_own(&self, key: &str) -> bool {
        self.written.contains_key(key)
    }

    /// Takes in what was found of a cluster.
    pub(super) fn absorb(&mut self, of_cluster: Settings) {
        for problem in of_cluster.problems {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        for warning in of_cluster.warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        let cluster = of_cluster.cluster.unwrap_or_default();
        let own = of_cluster.effective.into_iter().map(|line| {
            if line.owner != Owner::Gateway {
                return line;
            }
            let key = line.key.strip_prefix("doorkeeper.gateway.").unwrap_or(&line.key);
            let key = Cow::Owned(format!("{}{cluster}.{key}", keys::GATEWAY_CLUSTER));
            Effective { key, ..line }
        });
        self.effective.extend(own);
    }

    /// Whether a file or an override sets `key`.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// Whether a file or an override sets `key` to something.
    pub(super) fn is_filled(&self, key: &str) -> bool {
        self.given.get(key).is_some_and(|given| !given.value.is_empty())
    }

    /// Says what is wrong with the value of `key`, whoever gave it.
    pub(super) fn problem(&mut self, key: &str, reason: &str) {
        let name = self.written.get(key).map_or(key, String::as_str);
        let line = match (self.given.get(key), &self.cluster) {
            (Some(given), _) => format!("{}: {reason}", shown(name, given)),
            (None, Some(cluster)) => format!("cluster {cluster}: {key}: {reason}"),
            (None, None) => format!("{key}: {reason}"),
        };
        self.problems.push(line);
    }

    /// The text of `key`: as given, or the default; `None` where neither is there. A value that its
    /// row doesn't allow is a problem, and the default goes on in its place.
    pub(super) fn text(&mut self, owner: Owner, key: &'static str) -> Option<String> {
        let row = keys::known(key)
            .into_iter()
            .find(|known| known.owner == owner)
            .and_then(|known| known.key);
        let default = row.and_then(|row| row.default).map(str::to_owned);
        let (mut value, mut origin) = match self.embedded.get(key) {
            Some(value) => (Some(value.clone()), Origin::Embedded),
            None => (default, Origin::Default),
        };
        if let Some(given) = self.given.get(key) {
            match row.map_or(Ok(()), |row| row.check(&given.value)) {
                Ok(()) => (value, origin) = (Some(given.value.clone()), given.origin.clone()),
                Err(expected) => self.problem(key, &format!("expected {expected}")),
            }
        }
        let hidden = row.is_some_and(Key::is_secret) && value.is_some();
        self.effective.push(Effective {
            owner,
            key: Cow::Borrowed(key),
            value: if hidden { Some(HIDDEN.to_owned()) } else { value.clone() },
            origin,
        });
        value
    }

    /// The name under which `key` is given for one listener: `listener.name.<listener>.<key>`, in
    /// small letters as Kafka wants it, or `key` itself.
    pub(super) fn key_of_listener(&self, listener: &str, key: &'static str) -> Cow<'static, str> {
        let own = format!("listener.name.{}.{key}", listener.to_ascii_lowercase());
        if self.is_given(&own) { Cow::Owned(own) } else { Cow::Borrowed(key) }
    }

    /// The text of `key` for one listener: its own, or that of all, or the default.
    pub(super) fn text_of_listener(
        &mut self,
        owner: Owner,
        listener: &str,
        key: &'static str,
    ) -> Option<String> {
        let name = self.key_of_listener(listener, key);
        let Some(given) = self.given.get(&*name).filter(|_| *name != *key).cloned() else {
            return self.text(owner, key);
        };
        let known = keys::known(key).into_iter().find(|known| known.owner == owner);
        let row = known.and_then(|known| known.key);
        if let Err(expected) = row.map_or(Ok(()), |row| row.check(&given.value)) {
            self.problem(&name, &format!("expected {expected}"));
            return self.text(owner, key);
        }
        let value = if row.is_some_and(Key::is_secret) { HIDDEN } else { &given.value }.to_owned();
        let (value, origin) = (Some(value), given.origin);
        self.effective.push(Effective { owner, key: name, value, origin });
        Some(given.value)
    }

    /// The secret of `key`.
    pub(super) fn secret(&mut self, owner: Owner, key: &'static str) -> Option<Secret> {
        self.text(owner, key).map(Secret::new)
    }

    /// The coordinator's keys that were given, each as the system property that ZooKeeper makes of it,
    /// secrets hidden.
    pub(super) fn shown_properties(&self) -> Vec<(String, String)> {
        let of_coordinator =
            |key: &str| keys::known(key).iter().any(|known| known.owner == Owner::Coordinator);
        self.given
            .iter()
            .filter(|(key, _)| of_coordinator(key))
            .filter_map(|(key, given)| {
                let name = system_properties::name_of(key)?;
                Some((name, shown_value(key, given).to_owned()))
            })
            .collect()
    }

    /// The lines `key=value` of all files, in their order, secrets hidden.
    pub(super) fn shown_file_lines(&self) -> String {
        let mut lines: Vec<_> = self
            .given
            .iter()
            .filter_map(|(key, given)| match &given.origin {
                Origin::File { path, line } => {
                    Some((Arc::clone(path), *line, format!("{key}={}\n", shown_value(key, given))))
                }
                _ => None,
            })
            .collect();
        lines.sort();
        lines.into_iter().map(|(.., text)| text).collect()
    }

    /// The decimal number of `key`, whose row has a default.
    pub(super) fn decimal(&mut self, owner: Owner, key: &'static str) -> f64 {
        self.text(owner, key).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// What a key without a value of its own comes to, for the effective configuration.
    pub(super) fn comes_to(&mut self, key: &'static str, value: &dyn std::fmt::Display) {
        for line in self.effective.iter_mut().filter(|line| line.key == key) {
            line.value = Some(value.to_string());
        }
    }

    /// The number of `key`, whose row has a default.
    pub(super) fn number(&mut self, owner: Owner, key: &'static str) -> i64 {
        self.text(owner, key).and_then(|text| keys::parse_number(&text)).unwrap_or_default()
    }

    /// The truth of `key`, whose row has a default.
    pub(super) fn flag(&mut self, owner: Owner, key: &'static str) -> bool {
        self.text(owner, key).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// The entries of `key`, without empty ones.
    pub(super) fn list(&mut self, owner: Owner, key: &'static str) -> Vec<String> {
        self.text(owner, key)
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(str::to_owned)
            .collect()
    }
}
