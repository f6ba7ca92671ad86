//! What the AdminServer asks of the writer, between two batches: a snapshot of this moment, or another
//! database in the place of this one.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Pipeline;
use super::queue::{Job, Queue, Task};
use crate::calendar;
use crate::zookeeper::database::Database;
use crate::zookeeper::session::{Session, SessionTracker, first_session_id};
use crate::zookeeper::storage::StorageError;
use crate::zookeeper::txn::apply;

/// A snapshot that is on disk.
#[derive(Debug, Clone)]
pub struct SnapshotTaken {
    /// The last transaction in it.
    pub zxid: i64,
    /// Its file.
    pub path: PathBuf,
}

/// Who waits for a snapshot; `None` is told where another one is being written.
pub type SnapshotWaiter = oneshot::Sender<Option<Result<SnapshotTaken, String>>>;

/// One request to the writer itself.
#[derive(Debug)]
pub enum Control {
    /// Take a snapshot.
    Snapshot(SnapshotWaiter),
    /// Serve this database instead; the answer is the zxid from which it goes on.
    Restore(Box<Database>, oneshot::Sender<Result<i64, String>>),
}

impl Queue {
    /// Asks the writer for something between two batches.
    pub fn control(&self, control: Control) {
        self.submit(&mut vec![Job::of_server(Task::Control(control), Session::of_server())]);
    }
}

/// Takes the controls out of a batch: they are done behind it.
pub(super) fn take_out(batch: &mut Vec<Job>) -> Vec<Control> {
    let mut controls = Vec::new();
    if batch.iter().any(|job| matches!(job.task, Task::Control(_))) {
        for job in std::mem::take(batch) {
            match job.task {
                Task::Control(control) => controls.push(control),
                task => batch.push(Job { task, ..job }),
            }
        }
    }
    controls
}

impl Pipeline {
    /// Does what was asked for; an error is one after which nothing can be written.
    pub(super) fn control(&mut self, control: Control) -> Result<(), StorageError> {
        match control {
            Control::Snapshot(waiter) => self.snapshots.start(&mut self.storage, Some(waiter))?,
            Control::Restore(database, done) => {
                let zxid = self.restore(*database)?;
                // Whoever asked may have gone.
                let _ = done.send(zxid);
            }
        }
        Ok(())
    }

    /// Puts `database` in the place of the present one.
    ///
    /// It is on disk, as a snapshot, before anybody sees it. The zxid never goes back: clients refuse a
    /// server that is behind what they have seen, and older files stay older. Every connection is
    /// closed; sessions that the snapshot has are there with their full timeouts, all others are
    /// gone, and clients set their watches again when they come back.
    fn restore(&mut self, mut database: Database) -> Result<Result<i64, String>, StorageError> {
        self.snapshots.finish();
        let before = self.state.database.read().tree.last_zxid();
        database.tree.advance(before + 1);
        apply::delete_orphans(&mut database);
        if let Err(reason) = self.storage.refuses(&database) {
            return Ok(Err(reason.to_string()));
        }
        self.storage.replace(&mut database)?;
        let zxid = database.tree.last_zxid();

        let state = Arc::clone(&self.state);
        let now = state.now_ms();
        let known = database.sessions.keys().copied().chain(database.tree.ephemeral_owners());
        let first = first_session_id(0, known);
        let tick_ms = calendar::milliseconds(state.config.tick_time);
        {
            let mut present = state.database.write();
            let mut sessions = state.sessions.lock();
            for session in sessions.sessions() {
                session.set_closing();
            }
            let mut tracker = SessionTracker::new(tick_ms, first.max(sessions.next_id()));
            for (&id, &timeout) in &database.sessions {
                tracker.track(id, u32::try_from(timeout).unwrap_or(0), now);
            }
            *sessions = tracker;
            drop(sessions);
            *present = database;
            state.watches.lock().clear();
            state.attached.lock().clear();
            state.digests.lock().clear();
        }
        let connections: Vec<_> = state.connections.lock().values().cloned().collect();
        for connection in &connections {
            connection.close();
        }
        let closed = connections.len();
        tracing::warn!(zxid = format_args!("{zxid:#x}"), closed, "the database was restored");
        Ok(Ok(zxid))
    }
}
