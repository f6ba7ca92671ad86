//! The directories of `log.dirs`: one lock each, and `meta.properties`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use rustix::fs::{FlockOperation, fcntl_lock, flock};
use tokio::sync::Notify;
use tracing::error;

use super::LogError;
use super::files::read_small;
use crate::durable_file;

const META_PROPERTIES: &str = "meta.properties";
const META_PROPERTIES_MAX: u64 = 1024 * 1024;

/// What `meta.properties` says about whose directory it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`, if the file has it.
    pub cluster_id: Option<String>,
    /// `broker.id`, if the file has it.
    pub broker_id: Option<i32>,
}

/// The locked directories of `log.dirs`. Dropping it frees the locks.
#[derive(Debug)]
pub struct LogDirectories {
    paths: Vec<PathBuf>,
    meta: MetaProperties,
    /// Every key of each directory's file, so that a rewrite keeps what others put there.
    properties: Vec<BTreeMap<String, String>>,
    locks: Vec<File>,
}

impl LogDirectories {
    /// Creates what is missing, locks each directory and reads their `meta.properties`. Blocking.
    ///
    /// # Errors
    /// [`LogError::Start`]: a directory that can't be written, is locked by another process, is
    /// `KRaft`'s, or disagrees with another about the cluster or the broker.
    pub fn open(paths: &[PathBuf]) -> Result<LogDirectories, LogError> {
        if paths.is_empty() {
            return Err(LogError::Start("log.dirs: there is no directory in it".to_owned()));
        }
        let mut directories = LogDirectories {
            paths: Vec::new(),
            meta: MetaProperties::default(),
            properties: Vec::new(),
            locks: Vec::new(),
        };
        for path in paths {
            let failed = |error| LogError::Start(format!("log.dirs: {}: {error}", path.display()));
            durable_file::create_directory(path).map_err(failed)?;
            let path = path.canonicalize().map_err(failed)?;
            if directories.paths.contains(&path) {
                return Err(LogError::Start(format!("log.dirs: {} twice", path.display())));
            }
            directories.locks.push(lock(&path)?);
            let properties = read_properties(&path)?;
            directories.merge(&path, &properties)?;
            directories.properties.push(properties);
            directories.paths.push(path);
        }
        Ok(directories)
    }

    fn merge(
        &mut self,
        path: &Path,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), LogError> {
        let file = path.join(META_PROPERTIES);
        let wrong = |what: String| Err(LogError::Start(format!("{}: {what}", file.display())));
        if properties.is_empty() {
            return Ok(());
        }
        if properties.get("version").map(String::as_str) != Some("0") {
            return wrong("version is not 0: the directory belongs to a KRaft node".to_owned());
        }
        if let Some(id) = properties.get("cluster.id") {
            match &self.meta.cluster_id {
                Some(other) if other != id => {
                    return wrong(format!("cluster.id is {id}, in another log directory {other}"));
                }
                _ => self.meta.cluster_id = Some(id.clone()),
            }
        }
        if let Some(id) = properties.get("broker.id") {
            let Ok(id) = id.parse::<i32>() else {
                return wrong(format!("broker.id is {id}, which is not a number"));
            };
            match self.meta.broker_id {
                Some(other) if other != id => {
                    return wrong(format!("broker.id is {id}, in another log directory {other}"));
                }
                _ => self.meta.broker_id = Some(id),
            }
        }
        Ok(())
    }

    /// What the directories already say; all `None` on new ones.
    pub fn meta(&self) -> &MetaProperties {
        &self.meta
    }

    /// Writes `meta.properties` (version 0) into every directory that lacks it. Blocking.
    ///
    /// # Errors
    /// [`LogError::Start`] if a directory belongs to another cluster or broker.
    pub fn write_meta(&mut self, cluster_id: &str, broker_id: i32) -> Result<(), LogError> {
        if let Some(stored) = &self.meta.cluster_id
            && stored != cluster_id
        {
            return Err(LogError::Start(format!(
                "cluster.id: the cluster's is {cluster_id}, but {} says {stored}: this broker's \
                 data belongs to another cluster; zookeeper.connect may be wrong",
                self.first().join(META_PROPERTIES).display()
            )));
        }
        if let Some(stored) = self.meta.broker_id
            && stored != broker_id
        {
            return Err(LogError::Start(format!(
                "broker.id: {broker_id} is configured, but {} says {stored}",
                self.first().join(META_PROPERTIES).display()
            )));
        }
        for (path, properties) in self.paths.iter().zip(&mut self.properties) {
            let before = properties.clone();
            properties.insert("version".to_owned(), "0".to_owned());
            properties.insert("cluster.id".to_owned(), cluster_id.to_owned());
            properties.insert("broker.id".to_owned(), broker_id.to_string());
            if *properties != before {
                let mut text = "#\n".to_owned();
                for (key, value) in &*properties {
                    let _ = writeln!(text, "{key}={value}");
                }
                let file = path.join(META_PROPERTIES);
                durable_file::write(&file, text.as_bytes())
                    .map_err(|error| LogError::storage(&file, error))?;
            }
        }
        self.meta.cluster_id = Some(cluster_id.to_owned());
        self.meta.broker_id = Some(broker_id);
        Ok(())
    }

    /// The first directory: files of the broker that belong to no partition live there.
    pub fn first(&self) -> &Path {
        self.paths.first().map_or(Path::new("."), PathBuf::as_path)
    }

    /// Every directory, absolute, in the order of `log.dirs`.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

/// Takes the lock file: with the kind of lock that Apache Kafka takes, which holds between
/// processes, and one that holds between two brokers of one process too.
fn lock(path: &Path) -> Result<File, LogError> {
    let file_path = path.join(".lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file_path)
        .map_err(|error| LogError::Start(format!("{}: {error}", file_path.display())))?;
    let operation = FlockOperation::NonBlockingLockExclusive;
    match fcntl_lock(&file, operation).and_then(|()| flock(&file, operation)) {
        Ok(()) => Ok(file),
        Err(_) => Err(LogError::Start(format!(
            "log.dirs: {} is locked by another process: it is in use",
            path.display()
        ))),
    }
}

/// `key=value` lines, as Java writes its properties.
fn read_properties(path: &Path) -> Result<BTreeMap<String, String>, LogError> {
    let file = path.join(META_PROPERTIES);
    let bytes = read_small(&file, META_PROPERTIES_MAX)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
    Ok(lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect())
}

/// One log directory, as the logs in it know it.
#[derive(Debug)]
pub(super) struct LogDirectory {
    path: PathBuf,
    offline: AtomicBool,
    housekeeping: Arc<Housekeeping>,
}

/// How logs reach the manager's background thread, and how it is stopped.
#[derive(Debug, Default)]
pub(super) struct Housekeeping {
    signals: Mutex<Signals>,
    wake: Condvar,
    /// A directory went offline.
    pub(super) went_offline: Notify,
}

/// What the background thread was asked for.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Signals {
    pub(super) work: bool,
    pub(super) checkpoint: bool,
    pub(super) stop: bool,
}

impl Housekeeping {
    pub(super) fn signal(&self, set: impl FnOnce(&mut Signals)) {
        set(&mut self.signals.lock());
        self.wake.notify_one();
    }

    /// Waits until something is asked for, or the time is over; takes what was asked for.
    pub(super) fn wait(&self, at_most: std::time::Duration) -> Signals {
        let mut signals = self.signals.lock();
        if !(signals.work || signals.checkpoint || signals.stop) {
            self.wake.wait_for(&mut signals, at_most);
        }
        let taken = *signals;
        signals.work = false;
        signals.checkpoint = false;
        taken
    }
}

impl LogDirectory {
    pub(super) fn new(path: PathBuf, housekeeping: Arc<Housekeeping>) -> LogDirectory {
        LogDirectory { path, offline: AtomicBool::new(false), housekeeping }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// Nothing is read or written here any more, until a restart looks at what is really on disk.
    pub(super) fn set_offline(&self, reason: &LogError) {
        if !self.offline.swap(true, Ordering::AcqRel) {
            error!(directory = %self.path.display(), %reason, "the log directory is offline");
            self.housekeeping.went_offline.notify_waiters();
        }
    }

    /// A segment waits for its flush.
    pub(super) fn wake_housekeeping(&self) {
        self.housekeeping.signal(|signals| signals.work = true);
    }

    /// A log start offset changed.
    pub(super) fn checkpoint_soon(&self) {
        self.housekeeping.signal(|signals| signals.checkpoint = true);
    }
}
