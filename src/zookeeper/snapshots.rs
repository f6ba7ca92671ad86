//! Snapshots, taken in the background while the writer goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::pipeline::control::{SnapshotTaken, SnapshotWaiter};
use super::state::State;
use super::stats::microseconds;
use super::storage::{SnapshotWriter, Storage, StorageError};
use crate::limits::SNAPSHOT_RETRY;

/// Starts snapshots, one at a time.
#[derive(Debug)]
pub struct Snapshots {
    state: Arc<State>,
    writer: SnapshotWriter,
    running: Arc<AtomicBool>,
    /// When the last one failed, if it did.
    failed: Arc<Mutex<Option<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Snapshots {
    /// Nothing is started yet.
    pub fn new(state: Arc<State>, storage: &Storage) -> Self {
        let writer = storage.snapshot_writer();
        let (running, failed) = (Arc::default(), Arc::default());
        Snapshots { state, writer, running, failed, thread: None }
    }

    /// Whether one is being taken.
    #[cfg(test)]
    pub(crate) fn running(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.running)
    }

    /// Whether it is time for a snapshot at `now`: enough was logged, or the last one failed a while ago.
    pub fn due(&self, storage: &Storage, now: Instant) -> bool {
        storage.snapshot_due()
            || self.failed.lock().is_some_and(|failed| now.duration_since(failed) >= SNAPSHOT_RETRY)
    }

    /// Begins a snapshot of this moment, with a new log behind it, unless one is being taken. To be
    /// called by the writer between two batches.
    /// `waiter` is told when it is on disk.
    pub fn start(
        &mut self,
        storage: &mut Storage,
        waiter: Option<SnapshotWaiter>,
    ) -> Result<(), StorageError> {
        if self.running.swap(true, Ordering::AcqRel) {
            tell(waiter, None);
            return Ok(());
        }
        let mut database = self.state.database.write();
        let locked = Instant::now();
        let snapshot = database.begin_snapshot();
        drop(database);
        let begin_lock = locked.elapsed();
        let Some(snapshot) = snapshot else {
            self.running.store(false, Ordering::Release);
            tell(waiter, None);
            return Ok(());
        };
        self.state.stats.longest_fsync_us.store(0, Ordering::Relaxed);
        storage.roll()?;
        let failed = Arc::clone(&self.failed);
        *failed.lock() = None;
        let (state, writer) = (Arc::clone(&self.state), self.writer.clone());
        let running = Arc::clone(&self.running);
        let thread = std::thread::Builder::new().name("zookeeper-snapshot".to_owned());
        let spawned = thread.spawn(move || {
            let taken = match writer.write(&state.database, &snapshot) {
                Ok(info) => {
                    state.stats.snapshot_duration.record(info.duration.as_secs_f64());
                    state.stats.server.snapshottime.record(microseconds(info.duration), 1);
                    let fsync = state.stats.longest_fsync_us.load(Ordering::Relaxed);
                    tracing::debug!(
                        zxid = format_args!("{:#x}", info.zxid),
                        bytes = info.bytes,
                        duration_ms = milliseconds(info.duration),
                        longest_lock_ms = milliseconds(info.longest_lock.max(begin_lock)),
                        longest_fsync_ms = milliseconds(Duration::from_micros(fsync)),
                        "snapshot written"
                    );
                    Ok(SnapshotTaken { zxid: info.zxid, path: writer.path_of(info.zxid) })
                }
                // The logs hold everything; only the next start takes longer.
                Err(error) => {
                    if error.is_full_disk() {
                        tracing::warn!(%error, retry = ?SNAPSHOT_RETRY, "no room for a snapshot");
                    } else {
                        tracing::error!(%error, retry = ?SNAPSHOT_RETRY, "a snapshot could not be written");
                    }
                    *failed.lock() = Some(Instant::now());
                    Err(error.to_string())
                }
            };
            running.store(false, Ordering::Release);
            tell(waiter, Some(taken));
        });
        match spawned {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => {
                tracing::error!(%error, "no thread for a snapshot");
                self.running.store(false, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Waits for the snapshot that is being taken.
    pub fn finish(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Tells whoever waits, if somebody does and is still there.
fn tell(waiter: Option<SnapshotWaiter>, taken: Option<Result<SnapshotTaken, String>>) {
    if let Some(waiter) = waiter {
        let _ = waiter.send(taken);
    }
}
