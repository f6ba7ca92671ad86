//! Snapshots, taken in the background while the writer goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::state::State;
use super::storage::{SnapshotWriter, Storage, StorageError};

/// Starts snapshots, one at a time.
#[derive(Debug)]
pub struct Snapshots {
    state: Arc<State>,
    writer: SnapshotWriter,
    running: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Snapshots {
    /// Nothing is started yet.
    pub fn new(state: Arc<State>, storage: &Storage) -> Self {
        let writer = storage.snapshot_writer();
        Snapshots { state, writer, running: Arc::new(AtomicBool::new(false)), thread: None }
    }

    /// Begins a snapshot of this moment, with a new log behind it, unless one is being taken. To be
    /// called by the writer between two batches.
    pub fn start(&mut self, storage: &mut Storage) -> Result<(), StorageError> {
        if self.running.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let Some(snapshot) = self.state.database.write().begin_snapshot() else {
            self.running.store(false, Ordering::Release);
            return Ok(());
        };
        storage.roll()?;
        let (state, writer) = (Arc::clone(&self.state), self.writer.clone());
        let running = Arc::clone(&self.running);
        let thread = std::thread::Builder::new().name("zookeeper-snapshot".to_owned());
        let spawned = thread.spawn(move || {
            match writer.write(&state.database, &snapshot) {
                Ok(info) => {
                    state.stats.snapshot_duration.record(info.duration.as_secs_f64());
                    tracing::debug!(?info, "snapshot written");
                }
                // The logs hold everything; only the next start takes longer.
                Err(error) => tracing::error!(%error, "a snapshot could not be written"),
            }
            running.store(false, Ordering::Release);
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
