//! Loading every log of the log directories, in parallel, at the broker's start.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::checkpoint::{CLEANED_OFFSETS, LOG_START_OFFSETS, RECOVERY_POINTS, read_offsets};
use super::directory::LogDirectory;
use super::load::{LoadOptions, load, remove_file};
use super::manager::Logs;
use super::{LogError, LogManager, PartitionLog};
use crate::calendar;

/// Name of the file that says that the broker stopped in order.
pub(super) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// A partition's directory that is to be loaded.
struct Job {
    directory: Arc<LogDirectory>,
    path: PathBuf,
    topic: String,
    partition: i32,
    options: LoadOptions,
    /// From the checkpoint: up to where it is compacted, −1 if that is not known.
    cleaned_to: i64,
}

#[derive(Default)]
struct Results {
    logs: Logs,
    unreadable: HashMap<(String, i32), String>,
}

/// Loads every log into a manager that has none yet.
pub(super) fn load_all(manager: &mut LogManager) -> Result<(), LogError> {
    let started = std::time::Instant::now();
    let mut jobs = Vec::new();
    let mut clean = true;
    for directory in &manager.directories {
        clean &= find_jobs(manager, directory, &mut jobs)?;
    }
    let count = jobs.len();
    let results = Mutex::new(Results::default());
    let jobs = Mutex::new(jobs);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let job = jobs.lock().pop();
                    let Some(job) = job else { return };
                    load_one(manager, job, &results);
                }
            });
        }
    });
    let results = results.into_inner();
    manager.unreadable = results.unreadable;
    *manager.logs.write() = results.logs;
    if count > 0 {
        info!(
            logs = count,
            clean_stop = clean,
            seconds = started.elapsed().as_secs_f64(),
            "logs loaded"
        );
    }
    Ok(())
}

fn load_one(manager: &LogManager, job: Job, results: &Mutex<Results>) {
    let Job { directory, path, topic, partition, options, cleaned_to } = job;
    let name = format!("{topic}-{partition}");
    match load(&path, &name, &options) {
        Ok(found) => {
            let config = manager.options.defaults.clone();
            let log =
                PartitionLog::assemble(&topic, partition, directory, path.clone(), config, found);
            log.cleaned_to.store(cleaned_to, Ordering::Release);
            let mut results = results.lock();
            let partitions = results.logs.entry(Arc::clone(log.topic())).or_default();
            if let Some(other) = partitions.get(&partition) {
                error!(
                    log = name, kept = %other.path.display(), other = %path.display(),
                    "two log directories hold this log: it is not served"
                );
                partitions.remove(&partition);
                let reason = "two log directories hold this log".to_owned();
                results.unreadable.insert((topic, partition), reason);
            } else {
                partitions.insert(partition, Arc::new(log));
            }
        }
        Err(reason) => {
            error!(log = name, %reason, "the log can't be loaded and is not served");
            results.lock().unreadable.insert((topic, partition), reason.to_string());
        }
    }
}

/// The partitions of one log directory; answers whether the broker stopped in order there.
fn find_jobs(
    manager: &LogManager,
    directory: &Arc<LogDirectory>,
    jobs: &mut Vec<Job>,
) -> Result<bool, LogError> {
    let root = directory.path();
    let failed = |error| LogError::storage(root, error);
    let clean_file = root.join(CLEAN_SHUTDOWN);
    let clean = clean_file.exists();
    let recovery_points = checkpoint(&root.join(RECOVERY_POINTS));
    let start_offsets = checkpoint(&root.join(LOG_START_OFFSETS));
    let cleaned = checkpoint(&root.join(CLEANED_OFFSETS));
    let now = calendar::now_ms();
    for entry in std::fs::read_dir(root).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !is_directory || name == "__cluster_metadata-0" {
            continue;
        }
        if name.ends_with("-delete") {
            manager.remove_later(now, vec![entry.path()]);
            continue;
        }
        if name.ends_with("-stray") || name.ends_with("-future") {
            warn!(directory = %entry.path().display(), "not a log that is served: left alone");
            continue;
        }
        let Some((topic, partition)) = split_name(&name) else {
            warn!(directory = %entry.path().display(), "not a partition's directory: left alone");
            continue;
        };
        let key = (topic.to_owned(), partition);
        jobs.push(Job {
            directory: Arc::clone(directory),
            path: entry.path(),
            topic: topic.to_owned(),
            partition,
            cleaned_to: cleaned.get(&key).copied().unwrap_or(-1),
            options: LoadOptions {
                clean,
                recovery_point: recovery_points.get(&key).copied().unwrap_or(0),
                log_start_offset: start_offsets.get(&key).copied().unwrap_or(0),
                index_interval_bytes: manager.options.defaults.index_interval_bytes,
                now_ms: now,
                producer_id_expiration_ms: manager.producer_id_expiration_ms(),
            },
        });
    }
    // From here on the directory is in use: a stop that is not in order must be noticed.
    if clean {
        remove_file(&clean_file)?;
    }
    Ok(clean || jobs.is_empty())
}

/// Reads a checkpoint. One that is damaged only means more to check.
fn checkpoint(path: &Path) -> HashMap<(String, i32), i64> {
    read_offsets(path).unwrap_or_else(|error| {
        warn!(%error, "the checkpoint is passed over");
        HashMap::new()
    })
}

/// Topic and partition of a directory's name.
fn split_name(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
    if crate::cluster::topic_name::check(topic).is_err() {
        return None;
    }
    Some((topic, partition))
}
