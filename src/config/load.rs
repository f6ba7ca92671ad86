//! Files and overrides in; the roles to start and their typed configurations out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys::{self, Owner, Use};
use super::settings::{Effective, Given, Origin, Settings, shown};
use super::{
    BrokerConfig, CoordinatorConfig, GatewayConfig, ListenAddress, SystemProperties,
    coordinator_access, gateway_clusters, members, properties,
};
use crate::telemetry::logging;
use crate::{bounded_file, limits};

/// What a process is started with.
#[derive(Debug)]
pub struct Configuration {
    /// The coordinator's, where the role is started.
    pub coordinator: Option<CoordinatorConfig>,
    /// The broker's, where the role is started.
    pub broker: Option<BrokerConfig>,
    /// The gateway's, where the role is started; of several clusters the first one's.
    pub gateway: Option<GatewayConfig>,
    /// Those of the other clusters.
    pub more_gateways: Vec<GatewayConfig>,
    /// `doorkeeper.http.listener`; `None` is no HTTP.
    pub http: Option<ListenAddress>,
    /// `doorkeeper.log.level`: a level or a filter of logs.
    pub log_level: Option<String>,
    /// What an operator should know, one line each: keys that change nothing, most of all.
    pub warnings: Vec<String>,
    /// Keys of files that nobody knows, one line each with the nearest known one.
    pub unknown: Vec<String>,
    /// Every key that takes effect, with its value and origin.
    pub effective: Vec<Effective>,
}

/// Why a configuration can't be used: one line for each problem.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct ConfigError {
    /// One line each, with key, value, origin and what was expected.
    pub problems: Vec<String>,
}

/// The roles of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Roles {
    coordinator: bool,
    broker: bool,
    gateway: bool,
}

/// As [`load_with`], without system properties.
///
/// # Errors
/// Every problem that was found, not only the first.
pub fn load(files: &[PathBuf], overrides: &[String]) -> Result<Configuration, ConfigError> {
    load_with(files, overrides, &SystemProperties::default())
}

/// Reads the files (none: the embedded default) and lays the overrides (`KEY=VALUE`) over them.
///
/// A file with `clientPort`, `secureClientPort`, `dataDir` or `tickTime` is a `zoo.cfg`, any other one a
/// `server.properties`; which of them are there says which roles start, unless `process.roles` does.
/// The last file that sets a key wins, and an override over every file. A system property yields to
/// a file, as in ZooKeeper, where that reads the key from both.
///
/// # Errors
/// Every problem that was found, not only the first.
pub fn load_with(
    files: &[PathBuf],
    overrides: &[String],
    properties: &SystemProperties,
) -> Result<Configuration, ConfigError> {
    let properties = properties.keys();
    let mut settings = Settings { given: properties.below_files, ..Settings::default() };
    let (coordinator, broker) = (files.is_empty(), files.is_empty());
    let mut roles = Roles { coordinator, broker, gateway: false };
    for file in files {
        match read(file) {
            Ok(found) => {
                let kind = kind_of(&found);
                roles.coordinator |= kind.coordinator;
                roles.broker |= kind.broker;
                settings.given.extend(found);
            }
            Err(problem) => settings.problems.push(problem),
        }
    }
    settings.given.extend(properties.above_files);
    for text in overrides {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                let given = Given { value: value.trim().to_owned(), origin: Origin::Override };
                settings.given.insert(key.trim().to_owned(), given);
            }
            _ => settings.problems.push(format!("--override {text}: expected KEY=VALUE")),
        }
    }
    if settings.is_given("process.roles") {
        roles = named_roles(&mut settings);
    }
    if roles.coordinator {
        members::read_dynamic_file(&mut settings, read);
    }
    settings.warnings.extend(properties.without_effect);
    let mut unknown = properties.unknown;
    unknown.extend(review(&mut settings, roles));
    embedded_defaults(&mut settings, files.is_empty());
    let coordinator = roles.coordinator.then(|| CoordinatorConfig::from_settings(&mut settings));
    let broker =
        roles.broker.then(|| BrokerConfig::from_settings(&mut settings, roles.coordinator));
    if let Some(broker) = &broker {
        coordinator_access::check_embedded(&mut settings, coordinator.as_ref(), broker);
    }
    let mut more_gateways =
        if roles.gateway { gateway_clusters::from_settings(&mut settings) } else { Vec::new() };
    let gateway = (!more_gateways.is_empty()).then(|| more_gateways.remove(0));
    let http = http_listener(&mut settings);
    let log_level = log_level(&mut settings);
    let Settings { problems, warnings, effective, .. } = settings;
    if problems.is_empty() {
        Ok(Configuration {
            coordinator,
            broker,
            gateway,
            more_gateways,
            http,
            log_level,
            warnings,
            unknown,
            effective,
        })
    } else {
        Err(ConfigError { problems })
    }
}

/// A file's keys; the last of two equal ones counts.
fn read(path: &Path) -> Result<BTreeMap<String, Given>, String> {
    let fail = |reason: String| format!("can't read {}: {reason}", path.display());
    let bytes =
        bounded_file::read(path, limits::CONFIG_FILE_BYTES_MAX).map_err(|e| fail(e.to_string()))?;
    let properties = properties::parse(&bytes).map_err(|e| fail(e.to_string()))?;
    let path = Arc::new(path.to_owned());
    Ok(properties
        .into_iter()
        .map(|property| {
            let origin = Origin::File { path: Arc::clone(&path), line: property.line };
            (property.key, Given { value: property.value, origin })
        })
        .collect())
}

/// The roles that a file asks for by the keys it holds: a file may hold both roles' keys.
fn kind_of(found: &BTreeMap<String, Given>) -> Roles {
    let has = |keys: &[&str]| keys.iter().any(|key| found.contains_key(*key));
    let coordinator = has(&["clientPort", "secureClientPort", "dataDir", "tickTime"]);
    let broker =
        has(&["broker.id", "node.id", "listeners", "log.dirs", "log.dir", "zookeeper.connect"]);
    Roles { coordinator, broker: broker || !coordinator, gateway: false }
}

fn named_roles(settings: &mut Settings) -> Roles {
    const KEY: &str = "process.roles";
    const NONE: Roles = Roles { coordinator: false, broker: false, gateway: false };
    let mut roles = NONE;
    for role in settings.list(Owner::Process, KEY) {
        match role.as_str() {
            "coordinator" => roles.coordinator = true,
            "broker" => roles.broker = true,
            "gateway" => roles.gateway = true,
            "controller" => settings.problem(
                KEY,
                "controller is a role of KRaft, which doorkeeper doesn't speak: a broker here is \
                 elected controller through the coordinator (expected coordinator, broker, or gateway)",
            ),
            other => {
                let reason = format!("{other}: expected coordinator, broker or both, or gateway");
                settings.problem(KEY, &reason);
            }
        }
    }
    if roles == NONE && settings.problems.is_empty() {
        settings.problem(KEY, "expected coordinator, broker or both, or gateway");
    }
    if roles.gateway && (roles.coordinator || roles.broker) {
        settings.problem(KEY, "a gateway runs alone, in front of a cluster that it is no part of");
    }
    roles
}

/// Looks at every given key: which stop the start, which change nothing, which nobody knows. The
/// last are returned.
fn review(settings: &mut Settings, roles: Roles) -> Vec<String> {
    let running = |owner: Owner| match owner {
        Owner::Coordinator => roles.coordinator,
        Owner::Broker => roles.broker,
        Owner::Gateway => roles.gateway,
        Owner::Process => true,
    };
    let given = settings.given.clone();
    let (mut unknown, mut unused, mut other_role) = (Vec::new(), Vec::new(), Vec::new());
    let mut idle: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in &given {
        let known = keys::known(name);
        if known.is_empty() {
            let near = keys::nearest(name)
                .map_or_else(String::new, |near| format!(" (the nearest known key is {near})"));
            let line = format!("{}: unknown key{near}", shown(name, value));
            if value.origin == Origin::Override || name.starts_with("doorkeeper.") {
                settings.problems.push(line);
            } else {
                unknown.push(line);
            }
            continue;
        }
        let at = format!("{name} ({})", value.origin);
        let Some(here) = known.iter().filter(|known| running(known.owner)).max_by_key(|known| {
            match known.used {
                Use::Refused(_) => 2,
                Use::Used => 1,
                Use::Unused | Use::Idle(_) => 0,
            }
        }) else {
            other_role.push(at);
            continue;
        };
        match here.used {
            Use::Used => {}
            Use::Idle(reason) => {
                if let Some(key) = here.key
                    && let Err(expected) = key.check(&value.value)
                {
                    settings.problem(name, &format!("expected {expected}"));
                }
                idle.entry(reason).or_default().push(at);
            }
            Use::Unused => {
                if let Some(key) = here.key
                    && let Err(expected) = key.check(&value.value)
                {
                    settings.problem(name, &format!("expected {expected}"));
                }
                unused.push(match keys::successor(name) {
                    Some(successor) => format!("{at}: Kafka 3 reads {successor} instead"),
                    None => at,
                });
            }
            Use::Refused(what) => {
                let default = here.key.and_then(|key| key.default).unwrap_or("");
                if value.value.is_empty() || value.value.eq_ignore_ascii_case(default) {
                    unused.push(at);
                } else {
                    let reason = format!("{what} is not built yet, and the file asks for it");
                    settings.problem(name, &reason);
                }
            }
        }
    }
    for (keys, what) in [
        (unused, "known, but not used yet, so they change nothing"),
        (other_role, "keys of a role that this process doesn't start, so they change nothing"),
    ] {
        if !keys.is_empty() {
            settings.warnings.push(format!("{what}: {}", keys.join(", ")));
        }
    }
    for (reason, keys) in idle {
        settings
            .warnings
            .push(format!("these change nothing, since {reason}: {}", keys.join(", ")));
    }
    unknown
}

/// The defaults below files and overrides: those of a start without files, and what
/// `doorkeeper.data.dir` implies.
fn embedded_defaults(settings: &mut Settings, no_files: bool) {
    if no_files {
        for (key, value) in [
            ("admin.enableServer", "false"),
            ("autopurge.purgeInterval", "1"),
            ("broker.id", "0"),
            ("clientPort", "2181"),
            ("clientPortAddress", "127.0.0.1"),
            ("doorkeeper.data.dir", "doorkeeper-data"),
            ("doorkeeper.http.listener", "127.0.0.1:9404"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("listeners", "PLAINTEXT://127.0.0.1:9092"),
            ("tickTime", "2000"),
        ] {
            settings.embedded.insert(key, value.to_owned());
        }
    }
    if let Some(dir) = settings.text(Owner::Process, "doorkeeper.data.dir") {
        if dir.is_empty() {
            settings.problem("doorkeeper.data.dir", "expected a directory");
        }
        for (key, below) in [("dataDir", "coordinator"), ("log.dir", "broker")] {
            let path = Path::new(&dir).join(below);
            settings.embedded.insert(key, path.to_string_lossy().into_owned());
        }
    }
}

fn log_level(settings: &mut Settings) -> Option<String> {
    const KEY: &str = "doorkeeper.log.level";
    let level = settings.text(Owner::Process, KEY).filter(|text| !text.is_empty())?;
    if let Err(error) = logging::check_level(&level) {
        let reason =
            format!("expected a level (info) or a filter (warn,doorkeeper=debug): {error}");
        settings.problem(KEY, &reason);
    }
    Some(level)
}

fn http_listener(settings: &mut Settings) -> Option<ListenAddress> {
    const KEY: &str = "doorkeeper.http.listener";
    let text = settings.text(Owner::Process, KEY).filter(|text| !text.is_empty())?;
    let address = ListenAddress::parse(&text);
    if address.is_none() {
        settings.problem(KEY, "expected host:port, or nothing for no HTTP");
    }
    address
}
