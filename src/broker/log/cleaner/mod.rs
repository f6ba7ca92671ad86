//! Compaction: of each key of a log with `cleanup.policy=compact` only the newest record stays, as
//! Apache Kafka's `LogCleaner` does it.
//!
//! - `choose`: which part of a log may be compacted, and when;
//! - `clean`: one compaction of one log: `offset_map` (the newest offset of each key), `batches`
//!   (reading), `filter` (what is left of a batch), `transactions` (what was aborted);
//! - `swap`: the exchange of the files, and its end after a crash;
//! - here: the thread, and the checkpoint of what is clean.

mod batches;
mod choose;
mod clean;
mod filter;
mod offset_map;
pub(super) mod swap;
mod transactions;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use metrics::{Counter, counter};
use parking_lot::{Condvar, Mutex};
use tracing::{error, info, warn};

use super::checkpoint::{CLEANED_OFFSETS, write_offsets};
use super::directory::LogDirectory;
use super::segment::Segment;
use super::{LogError, LogManager, PartitionLog};
use crate::calendar;

pub(super) use choose::{Dirty, dirty};
pub(super) use clean::{CleanError, Cleaned};
pub(super) use filter::LastBatch;

static COMPACTED_BYTES: LazyLock<Counter> =
    LazyLock::new(|| counter!("doorkeeper_log_compacted_bytes_total"));

/// How the logs of a broker are compacted. Defaults are Apache Kafka 3.9's.
#[derive(Debug, Clone)]
pub struct CleanerOptions {
    /// `log.cleaner.enable`.
    pub enabled: bool,
    /// `log.cleaner.dedupe.buffer.size`: bytes for the keys of one compaction, at most.
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: how much of it is used.
    pub dedupe_load_factor: f64,
    /// `log.cleaner.io.buffer.size`: bytes that are read and written at once.
    pub io_buffer_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`, read and written together.
    pub io_max_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`: the pause when there is nothing to do.
    pub backoff: Duration,
}

impl Default for CleanerOptions {
    fn default() -> Self {
        CleanerOptions {
            enabled: true,
            dedupe_buffer_bytes: 134_217_728,
            dedupe_load_factor: 0.9,
            io_buffer_bytes: 524_288,
            io_max_bytes_per_second: f64::MAX,
            backoff: Duration::from_secs(15),
        }
    }
}

/// The cleaner's thread, and how it is stopped.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    stopping: Arc<Stopping>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Stopping {
    stop: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Cleaner {
    /// Begins to end the thread.
    pub(super) fn stop(&self) {
        self.stopping.stop.store(true, Ordering::Release);
        let _lock = self.stopping.lock.lock();
        self.stopping.wake.notify_all();
    }

    /// Waits until it has ended.
    pub(super) fn join(&self) {
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Stopping {
    fn is_set(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn wait(&self, at_most: Duration) {
        let mut lock = self.lock.lock();
        if !self.is_set() {
            self.wake.wait_for(&mut lock, at_most);
        }
    }
}

impl LogManager {
    /// Starts the thread that compacts one log after the other.
    pub(super) fn start_cleaner(self: &Arc<Self>) -> Result<(), LogError> {
        if !self.options.cleaner.enabled {
            return Ok(());
        }
        let manager: Weak<LogManager> = Arc::downgrade(self);
        let stopping = Arc::clone(&self.cleaner.stopping);
        let backoff = self.options.cleaner.backoff;
        let thread = std::thread::Builder::new().name("log-cleaner".to_owned()).spawn(move || {
            while !stopping.is_set() {
                let Some(manager) = manager.upgrade() else { return };
                let cleaned = manager.compact(calendar::now_ms());
                drop(manager);
                if !cleaned {
                    stopping.wait(backoff);
                }
            }
        });
        let thread = thread.map_err(|error| LogError::Start(format!("log-cleaner: {error}")))?;
        *self.cleaner.thread.lock() = Some(thread);
        Ok(())
    }

    /// Compacts the log that needs it most; `false` if none does. Called by the cleaner's thread;
    /// blocking.
    pub(super) fn compact(&self, now_ms: i64) -> bool {
        let mut filthiest: Option<(Dirty, Arc<PartitionLog>)> = None;
        for log in self.logs() {
            if !log.config.load().cleanup_compact || log.is_uncleanable() || log.is_closed() {
                continue;
            }
            match dirty(&log, now_ms) {
                Ok(found) if found.is_due() => {
                    let least = filthiest.as_ref().map_or(-1.0, |(most, _)| most.ratio());
                    if found.ratio() > least {
                        filthiest = Some((found, log));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    let error = CleanError::from(error);
                    log.not_cleaned(error);
                }
            }
        }
        let Some((dirty, log)) = filthiest else { return false };
        let started = Instant::now();
        let stop = || self.cleaner.stopping.is_set();
        match log.compact(&dirty, &self.options.cleaner, now_ms, &stop) {
            Ok(cleaned) => {
                info!(
                    log = log.name,
                    from = dirty.first_dirty_offset,
                    to = cleaned.end_offset,
                    bytes_before = cleaned.bytes_read,
                    bytes_after = cleaned.bytes_written,
                    seconds = started.elapsed().as_secs_f64(),
                    "log compacted"
                );
                COMPACTED_BYTES.increment(cleaned.bytes_read);
                self.after_compaction(&log, cleaned.removed, now_ms);
                true
            }
            Err(error) => {
                // What was done before stays done; the checkpoint is as before. A damaged log does
                // not keep the next one waiting.
                let damaged = matches!(error, CleanError::Damaged(_));
                log.not_cleaned(error);
                damaged
            }
        }
    }

    fn after_compaction(&self, log: &Arc<PartitionLog>, removed: Vec<PathBuf>, now_ms: i64) {
        let due = now_ms.saturating_add(log.config().file_delete_delay_ms);
        self.remove_later(due, removed);
        if let Err(error) = self.write_cleaned_offsets(&log.directory) {
            warn!(directory = %log.directory.path().display(), %error, "no checkpoint written");
        }
        // Retention passes over a log that is being compacted.
        match log.enforce_retention(now_ms) {
            Ok(removed) => self.remove_later(due, removed),
            Err(error) => warn!(log = log.name, %error, "old segments can't be removed"),
        }
    }

    /// Writes up to where each log of a directory is compacted.
    fn write_cleaned_offsets(&self, directory: &Arc<LogDirectory>) -> Result<(), LogError> {
        let mut offsets: Vec<(Arc<PartitionLog>, i64)> = self
            .logs()
            .into_iter()
            .filter(|log| Arc::ptr_eq(&log.directory, directory))
            .map(|log| {
                let cleaned = log.cleaned_to.load(Ordering::Acquire);
                (log, cleaned)
            })
            .filter(|(_, cleaned)| *cleaned >= 0)
            .collect();
        offsets.sort_by(|(a, _), (b, _)| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        write_offsets(
            &LogManager::file_in(directory, CLEANED_OFFSETS),
            offsets.iter().map(|(log, offset)| (&*log.topic, log.partition, *offset)),
        )
    }
}

impl PartitionLog {
    /// Compacts the part of the log that [`dirty`] found. Retention and the log's deletion wait for
    /// it, or pass over it; appends and reads go on.
    pub(super) fn compact(
        &self,
        dirty: &Dirty,
        options: &CleanerOptions,
        now_ms: i64,
        stop: &dyn Fn() -> bool,
    ) -> Result<Cleaned, CleanError> {
        let _cleaning = self.cleaning.lock();
        let cleaned = clean::Cleaning::new(self, options, now_ms, stop).run(dirty)?;
        self.cleaned_to.store(cleaned.end_offset, Ordering::Release);
        Ok(cleaned)
    }

    /// Whether compaction met something that a person must look at.
    pub fn is_uncleanable(&self) -> bool {
        self.uncleanable.load(Ordering::Acquire)
    }

    /// Tells why the log is not compacted: damage once, and the log is left alone from then on.
    fn not_cleaned(&self, error: CleanError) {
        match error {
            CleanError::Aborted => {}
            CleanError::Damaged(error) => {
                if !self.uncleanable.swap(true, Ordering::AcqRel) {
                    error!(
                        log = self.name,
                        %error,
                        "the log can't be compacted any more: it is damaged; other logs go on"
                    );
                }
            }
            CleanError::Failed(error) => {
                warn!(log = self.name, %error, "compaction failed; it is tried again");
            }
        }
    }

    /// Where a segment's offsets end.
    fn end_of(&self, segment: &Segment) -> i64 {
        let segments = self.segments.load();
        let after = segments.partition_point(|other| other.base_offset <= segment.base_offset);
        segments.get(after).map_or_else(|| self.log_end_offset(), |next| next.base_offset)
    }

    /// Puts a compacted segment, whose files are `.swap`, in the place of those that it was made of;
    /// answers the files to remove.
    fn exchange(&self, old: &[Arc<Segment>], new: Segment) -> Result<Vec<PathBuf>, CleanError> {
        let base = new.base_offset;
        let bases: Vec<i64> = old.iter().map(|segment| segment.base_offset).collect();
        let (steps, removed) = swap::exchange(&self.path, base, &bases);
        {
            let _appender = self.appender.lock();
            if self.is_closed() || self.directory.is_offline() {
                return Err(CleanError::Aborted);
            }
            let mut segments = Vec::clone(&self.segments.load());
            segments.retain(|segment| !bases.contains(&segment.base_offset));
            let at = segments.partition_point(|segment| segment.base_offset < base);
            segments.insert(at, Arc::new(new));
            // New readers look for the new files, which are not in their places yet: they look again.
            for segment in old {
                segment.mark_removed();
            }
            for step in &steps {
                if let Err(error) = step.run() {
                    // Half of the files are exchanged: only a start can tell.
                    self.directory.set_offline(&error);
                    return Err(CleanError::Aborted);
                }
            }
            self.segments.store(Arc::new(segments));
        }
        if let Err(error) = super::files::sync_directory(&self.path) {
            self.directory.set_offline(&error);
            return Err(CleanError::Aborted);
        }
        Ok(removed)
    }
}
