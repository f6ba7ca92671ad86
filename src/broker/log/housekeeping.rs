//! The logs' background thread: flushes, retention, checkpoints, late removals, and the clean stop.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use metrics::gauge;
use tracing::warn;

use super::checkpoint::{LOG_START_OFFSETS, RECOVERY_POINTS, write_offsets};
use super::directory::LogDirectory;
use super::files::replace;
use super::startup::CLEAN_SHUTDOWN;
use super::{LogError, LogManager, PartitionLog, producer_snapshot};
use crate::calendar;

/// How often producers are looked at for `producer.id.expiration.ms`
/// (`producer.id.expiration.check.interval.ms`).
const PRODUCER_CHECK: Duration = Duration::from_mins(10);
/// After this long without use, files of old segments are closed.
const IDLE_FILES: Duration = Duration::from_mins(5);
/// How often the gauges of sizes are set.
const GAUGES: Duration = Duration::from_secs(5);
/// What the file of a clean stop holds (`CleanShutdownFileHandler`).
const CLEAN_SHUTDOWN_CONTENT: &str = r#"{"version":0,"brokerEpoch":-1}"#;

/// Something that is done at intervals.
struct Every {
    interval: Duration,
    due: Instant,
}

impl Every {
    fn new(interval: Duration) -> Every {
        Every { interval, due: Instant::now() + interval }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.due;
        if due {
            self.due = now + self.interval;
        }
        due
    }
}

impl LogManager {
    /// Starts the background thread. It ends with [`LogManager::shutdown`], or when the manager is
    /// dropped.
    pub(super) fn start_housekeeping(self: &Arc<Self>) -> Result<(), LogError> {
        let manager = Arc::downgrade(self);
        let housekeeping = Arc::clone(&self.housekeeping);
        let options = self.options.clone();
        let thread =
            std::thread::Builder::new().name("log-housekeeping".to_owned()).spawn(move || {
                let mut flushes = Every::new(options.flush_check_interval);
                let mut retention = Every::new(options.retention_check_interval);
                let mut checkpoints = Every::new(options.checkpoint_interval);
                let mut producers = Every::new(PRODUCER_CHECK);
                let mut idle = Every::new(IDLE_FILES);
                // Due at once, so that the first scrape finds them.
                let mut gauges = Every { interval: GAUGES, due: Instant::now() };
                loop {
                    let due = [&flushes, &retention, &checkpoints, &producers, &idle, &gauges];
                    let next = due.into_iter().map(|every| every.due).min();
                    let pause = next.map_or(GAUGES, |next| next.duration_since(Instant::now()));
                    let signals = housekeeping.wait(pause.min(Duration::from_secs(1)));
                    let Some(manager) = Weak::upgrade(&manager) else { return };
                    if signals.stop {
                        return;
                    }
                    let now = Instant::now();
                    if signals.work {
                        manager.flush_rolled();
                    }
                    if flushes.is_due(now) {
                        manager.flush_overdue();
                    }
                    if retention.is_due(now) {
                        manager.enforce_retention();
                    }
                    if checkpoints.is_due(now) || signals.checkpoint {
                        manager.write_checkpoints();
                    }
                    if producers.is_due(now) {
                        let expiration = manager.producer_id_expiration_ms();
                        for log in manager.logs() {
                            log.appender.lock().producers.expire(calendar::now_ms(), expiration);
                        }
                    }
                    if idle.is_due(now) {
                        manager.close_idle_files();
                    }
                    if gauges.is_due(now) {
                        manager.set_gauges();
                    }
                    manager.remove_due(calendar::now_ms());
                }
            });
        let thread =
            thread.map_err(|error| LogError::Start(format!("log-housekeeping: {error}")))?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    fn flush_rolled(&self) {
        for log in self.logs() {
            if log.rolled.swap(false, std::sync::atomic::Ordering::AcqRel) {
                told(&log, log.flush_closed_segments());
            }
        }
    }

    fn flush_overdue(&self) {
        let now = calendar::now_ms();
        for log in self.logs() {
            if log.is_flush_overdue(now) {
                told(&log, log.flush());
            }
        }
    }

    /// Removes what retention lets go of, in every log. Called by the background thread; blocking.
    pub fn enforce_retention(&self) {
        let now = calendar::now_ms();
        for log in self.logs() {
            match log.enforce_retention(now) {
                Ok(removed) => {
                    let delay = log.config().file_delete_delay_ms;
                    self.remove_later(now.saturating_add(delay), removed);
                }
                Err(error) => warn!(log = log.name, %error, "old segments can't be removed"),
            }
        }
    }

    /// Writes where each log starts and up to where it is on disk.
    pub(super) fn write_checkpoints(&self) {
        for directory in &self.directories {
            if directory.is_offline() {
                continue;
            }
            if let Err(error) = self.write_checkpoints_of(directory) {
                warn!(directory = %directory.path().display(), %error, "no checkpoint written");
            }
        }
    }

    fn write_checkpoints_of(&self, directory: &Arc<LogDirectory>) -> Result<(), LogError> {
        let mut logs = self.logs();
        logs.retain(|log| Arc::ptr_eq(&log.directory, directory));
        logs.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let point =
            |log: &PartitionLog| log.recovery_point.load(std::sync::atomic::Ordering::Acquire);
        write_offsets(
            &LogManager::file_in(directory, RECOVERY_POINTS),
            logs.iter().map(|log| (&*log.topic, log.partition, point(log))),
        )?;
        logs.retain(|log| {
            let first = log.segments.load().first().map_or(0, |segment| segment.base_offset);
            log.log_start_offset() > first
        });
        write_offsets(
            &LogManager::file_in(directory, LOG_START_OFFSETS),
            logs.iter().map(|log| (&*log.topic, log.partition, log.log_start_offset())),
        )
    }

    fn close_idle_files(&self) {
        for log in self.logs() {
            for segment in log.segments.load().iter() {
                segment.close_if_idle();
            }
        }
    }

    fn set_gauges(&self) {
        let logs = self.logs();
        let bytes: u64 = logs.iter().map(|log| log.size()).sum();
        let segments: usize = logs.iter().map(|log| log.segment_count()).sum();
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        {
            gauge!("doorkeeper_log_bytes").set(bytes as f64);
            gauge!("doorkeeper_log_segments").set(segments as f64);
            let uncleanable = logs.iter().filter(|log| log.is_uncleanable()).count();
            gauge!("doorkeeper_log_uncleanable_partitions").set(uncleanable as f64);
        }
    }

    /// Removes files and directories whose time has come.
    fn remove_due(&self, now: i64) {
        let due: Vec<_> = {
            let mut removals = self.removals.lock();
            if removals.is_empty() {
                return;
            }
            removals.extract_if(.., |(due, _)| *due <= now).collect()
        };
        for (_, path) in due {
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            if let Err(error) = removed
                && error.kind() != std::io::ErrorKind::NotFound
            {
                warn!(path = %path.display(), %error, "it can't be removed");
            }
        }
    }

    /// Flushes every log, writes the checkpoints, producer snapshots and `.kafka_cleanshutdown`,
    /// and ends the background threads. Nothing may append afterwards. Blocking, for seconds;
    /// dropping the manager without it is an unclean stop.
    pub fn shutdown(&self) {
        self.cleaner.stop();
        self.cleaner.join();
        self.housekeeping.signal(|signals| signals.stop = true);
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
        let mut clean: Vec<(&Arc<LogDirectory>, bool)> =
            self.directories.iter().map(|directory| (directory, !directory.is_offline())).collect();
        for log in self.logs() {
            if let Err(error) = log.stop() {
                warn!(log = log.name, %error, "the log is not stopped in order");
                for (directory, clean) in &mut clean {
                    *clean &= !Arc::ptr_eq(directory, &log.directory);
                }
            }
        }
        self.write_checkpoints();
        for (directory, clean) in clean {
            if clean {
                let file = LogManager::file_in(directory, CLEAN_SHUTDOWN);
                if let Err(error) = replace(&file, CLEAN_SHUTDOWN_CONTENT.as_bytes(), true) {
                    warn!(%error, "the next start will check the logs");
                }
            }
        }
    }
}

impl PartitionLog {
    /// Flushes and closes the log, and leaves what a quick start needs.
    fn stop(&self) -> Result<(), LogError> {
        self.close();
        self.check_online()?;
        {
            let appender = self.appender.lock();
            let active = self.active_segment();
            Self::write_out_indexes(&appender, &active)?;
            active.aborted().sync()?;
            if !is_snapshot_needless(&appender.producers, self) {
                producer_snapshot::write(
                    &self.path,
                    appender.next_offset,
                    &appender.producers,
                    false,
                )?;
            }
        }
        self.flush()
    }
}

/// A log that never had anything needs no snapshot: replaying nothing is quick.
fn is_snapshot_needless(
    producers: &super::producer_state::ProducerStates,
    log: &PartitionLog,
) -> bool {
    producers.len() == 0 && log.log_end_offset() == log.log_start_offset()
}

fn told(log: &PartitionLog, result: Result<(), LogError>) {
    match result {
        Ok(()) | Err(LogError::Deleted | LogError::Offline(_)) => {}
        Err(error) => warn!(log = log.name, %error, "the log can't be flushed"),
    }
}

impl Drop for LogManager {
    fn drop(&mut self) {
        self.cleaner.stop();
        self.housekeeping.signal(|signals| signals.stop = true);
    }
}
