//! Snapshots, taken in the background while the writer goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::pipeline::control::{SnapshotTaken, SnapshotWaiter};
use super::state::State;
use super::stats::microseconds;
use super::storage::{HoldTimer, SnapshotWriter, Storage, StorageError};
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
        let hold = HoldTimer::start();
        let snapshot = database.begin_snapshot();
        drop(database);
        let begin_lock = hold.stop();
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
                    let longest_lock = info.longest_lock.max(begin_lock);
                    tracing::debug!(
                        zxid = format_args!("{:#x}", info.zxid),
                        bytes = info.bytes,
                        duration_ms = milliseconds(info.duration),
                        longest_lock_ms = milliseconds(longest_lock.time),
                        longest_lock_cpu_ms = milliseconds(longest_lock.cpu),
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::config::CoordinatorConfig;
    use crate::zookeeper::session::SessionTracker;
    use crate::zookeeper::storage::{Disk, DiskFile, FileSystem, StorageConfig};

    const ENOSPC: i32 = 28;

    /// A disk with no room for snapshots while it is full.
    #[derive(Debug, Clone, Default)]
    struct FullDisk(Arc<AtomicBool>);

    impl Disk for FullDisk {
        fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            let name = path.file_name().unwrap().to_string_lossy();
            if name.contains("snapshot.") && self.0.load(Ordering::SeqCst) {
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
            FileSystem.create(path)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            FileSystem.rename(from, to)
        }

        fn sync_parent(&self, path: &Path) -> io::Result<()> {
            FileSystem.sync_parent(path)
        }
    }

    #[test]
    fn a_snapshot_for_which_there_was_no_room_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let config = CoordinatorConfig {
            data_dir: folder.path().to_owned(),
            data_log_dir: folder.path().to_owned(),
            ..CoordinatorConfig::default()
        };
        let disk = FullDisk::default();
        let (mut storage, database) =
            Storage::open_on(&StorageConfig::from(&config), Arc::new(disk.clone())).unwrap();
        let sessions = SessionTracker::new(1_000, 1);
        let state = State::new(config, database, sessions, storage.snapshot_writer());
        let mut snapshots = Snapshots::new(Arc::new(state), &storage);
        let begun = Instant::now();
        assert!(!snapshots.due(&storage, begun + 10 * SNAPSHOT_RETRY), "nothing was logged");

        let take = |snapshots: &mut Snapshots, storage: &mut Storage| {
            let (waiter, mut told) = tokio::sync::oneshot::channel();
            snapshots.start(storage, Some(waiter)).unwrap();
            snapshots.finish();
            told.try_recv().unwrap().expect("no other is being taken")
        };
        disk.0.store(true, Ordering::SeqCst);
        assert!(take(&mut snapshots, &mut storage).is_err());
        assert!(!snapshots.due(&storage, begun), "not at once again");
        let later = Instant::now() + SNAPSHOT_RETRY;
        assert!(snapshots.due(&storage, later), "but a while later");
        assert!(snapshots.due(&storage, later + 10 * SNAPSHOT_RETRY), "and until it is tried");

        disk.0.store(false, Ordering::SeqCst);
        assert!(take(&mut snapshots, &mut storage).is_ok());
        assert!(!snapshots.due(&storage, later + 10 * SNAPSHOT_RETRY), "it is written");
    }
}
