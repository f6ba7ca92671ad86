//! One life of the server: the real storage, state and writer, between a start and a power cut.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::disk::{Image, SimulatedDisk};
use crate::config::CoordinatorConfig;
use crate::zookeeper::connection::handle::ConnectionHandle;
use crate::zookeeper::pipeline::Pipeline;
use crate::zookeeper::pipeline::queue::Job;
use crate::zookeeper::session::{SessionTracker, first_session_id};
use crate::zookeeper::state::State;
use crate::zookeeper::storage::{Recovery, Storage, StorageConfig};

/// What is chosen for one life.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// A snapshot behind each batch.
    pub(super) snapshots: bool,
    pub(super) pre_alloc_size: u64,
    pub(super) short_writes: bool,
    /// The disk says that it has synced, and hasn't.
    pub(super) lying: bool,
}

/// A server that runs.
pub(super) struct Life {
    pub(super) state: Arc<State>,
    pub(super) disk: SimulatedDisk,
    pub(super) recovery: Recovery,
    folder: PathBuf,
    snapshots: bool,
    snapshot_running: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
    failed: watch::Receiver<Option<String>>,
    next_connection: u64,
}

/// Each start is a reboot that took the same time: the clock in session ids begins anew.
const UPTIME_MS: u64 = 5_000;

/// Beside `version-2`, and rewritten as a whole.
const MARKER: &str = "doorkeeper.last";

fn read_folder(folder: &Path) -> Image {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect()
}

impl Life {
    /// Starts on what a power cut left.
    pub(super) fn start(
        folder: PathBuf,
        image: &Image,
        marker: Option<&[u8]>,
        clock_ms: u64,
        options: Options,
    ) -> Life {
        let files = folder.join("version-2");
        std::fs::create_dir_all(&files).unwrap();
        for (name, bytes) in image {
            std::fs::write(files.join(name), bytes).unwrap();
        }
        if let Some(marker) = marker {
            std::fs::write(folder.join(MARKER), marker).unwrap();
        }
        let config = CoordinatorConfig {
            data_dir: folder.clone(),
            data_log_dir: folder.clone(),
            tick_time: Duration::from_millis(1_000),
            snap_count: if options.snapshots { 0 } else { 1 << 40 },
            pre_alloc_size: options.pre_alloc_size,
            extended_types_enabled: true,
            ..CoordinatorConfig::default()
        };
        let disk = SimulatedDisk::default();
        let (storage, database) =
            Storage::open_on(&StorageConfig::from(&config), Arc::new(disk.clone()))
                .expect("what a power cut leaves can be started on");
        disk.begin(&read_folder(&files));
        if options.lying {
            disk.lie();
        }
        disk.set_short_writes(options.short_writes);

        let recovery = storage.recovery().clone();
        let known = database
            .sessions
            .keys()
            .copied()
            .chain(database.tree.ephemeral_owners())
            .chain(recovery.highest_sessions.values().copied());
        let mut sessions = SessionTracker::new(1_000, first_session_id(UPTIME_MS, known));
        for (&id, &timeout) in &database.sessions {
            sessions.track(id, u32::try_from(timeout).unwrap(), clock_ms);
        }
        let state = State::new(config, database, sessions, storage.snapshot_writer());
        let state = Arc::new(state);
        let (failed_sender, failed) = watch::channel(None);
        let pipeline = Pipeline::new(Arc::clone(&state), storage, failed_sender);
        let snapshot_running = pipeline.snapshot_running();
        let writer = std::thread::spawn(move || pipeline.run());
        Life {
            state,
            disk,
            recovery,
            folder,
            snapshots: options.snapshots,
            snapshot_running,
            writer: Some(writer),
            failed,
            next_connection: 1,
        }
    }

    /// A new connection.
    pub(super) fn connect(&mut self) -> Arc<ConnectionHandle> {
        let id = self.next_connection;
        self.next_connection += 1;
        let peer = "127.0.0.1:1".parse().unwrap();
        let handle = Arc::new(ConnectionHandle::new(id, peer, None, self.state.output.clone()));
        self.state.connections.lock().insert(id, Arc::clone(&handle));
        handle
    }

    /// Has the jobs done as one batch. False where the log failed.
    pub(super) fn batch(&self, jobs: &mut Vec<Job>, writes: bool) -> bool {
        self.state.queue.submit(jobs);
        let deadline = Instant::now() + Duration::from_secs(60);
        let wait = || {
            assert!(Instant::now() < deadline, "the writer hangs");
            std::thread::sleep(Duration::from_micros(20));
        };
        while self.state.queue.outstanding() > 0 {
            if self.failed.borrow().is_some() {
                return false;
            }
            wait();
        }
        if self.snapshots && writes {
            let zxid = self.state.database.read().tree.last_zxid();
            let snapshot = format!("snapshot.{zxid:x}");
            while !self.disk.was_renamed_to(&snapshot)
                || self.snapshot_running.load(Ordering::Acquire)
            {
                wait();
            }
        }
        true
    }

    /// What says up to where this server wrote.
    pub(super) fn marker(&self) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join(MARKER)).ok()
    }

    /// Ends the threads; what they still write no longer counts.
    pub(super) fn end(&mut self) {
        self.state.queue.stop();
        if let Some(writer) = self.writer.take() {
            writer.join().unwrap();
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.state.queue.stop();
    }
}
