//! The coordinator as the process sees it: started, watched for failure, shut down.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admin::Endpoints;
use super::audit::Audit;
use super::io_threads::IoThreads;
use super::listeners::Listeners;
use super::pipeline::Pipeline;
use super::session::{SessionTracker, first_session_id};
use super::state::State;
use super::stats::microseconds;
use super::storage::{Disk, FileSystem, Storage, StorageConfig, StorageError};
use super::{expiry, sweep};
use crate::calendar;
use crate::config::CoordinatorConfig;
use crate::net::tls::TlsError;
use crate::net::{self, BindError};
use crate::telemetry;

/// Why a coordinator doesn't start: one line that an operator can act on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A client port can't be listened on.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// The certificates can't be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The data directory can't be used, or is damaged.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// The audit log can't be written.
    #[error("doorkeeper.audit.file: {0}")]
    Audit(String),
    /// The system gives no thread, no address or no time.
    #[error("coordinator: {0}")]
    System(String),
}

/// A coordinator that serves.
#[derive(Debug)]
pub struct Coordinator {
    state: Arc<State>,
    client_address: Option<SocketAddr>,
    secure_client_address: Option<SocketAddr>,
    /// Those of the AdminServer and of the metrics page.
    addresses: (Option<SocketAddr>, Option<SocketAddr>),
    stop: CancellationToken,
    connections: TaskTracker,
    services: TaskTracker,
    io_threads: Arc<IoThreads>,
    writer: JoinHandle<()>,
    failed: watch::Receiver<Option<String>>,
}

impl Coordinator {
    /// Recovers the data directory, listens, and serves when it returns.
    ///
    /// # Errors
    /// A busy port, a directory that can't be written or is locked by another process, a damaged
    /// log: see [`StartError`].
    pub async fn start(config: CoordinatorConfig) -> Result<Coordinator, StartError> {
        Coordinator::start_on(config, Arc::new(FileSystem)).await
    }

    /// The same, with log and snapshots written through `disk`.
    ///
    /// # Errors
    /// As [`Coordinator::start`].
    pub async fn start_on(
        config: CoordinatorConfig,
        disk: Arc<dyn Disk>,
    ) -> Result<Coordinator, StartError> {
        // First, so that a busy port leaves the directory untouched. Clients wait in the backlog.
        let listeners = Listeners::bind(&config).await?;
        let client_address = listeners.client_address;
        let secure_client_address = listeners.secure_client_address;
        let endpoints = Endpoints::bind(&config).await?;
        let addresses = endpoints.addresses();
        let storage_config = StorageConfig::from(&config);
        let begun = Instant::now();
        let opened =
            tokio::task::spawn_blocking(move || Storage::open_on(&storage_config, disk)).await;
        let (storage, database) =
            opened.map_err(|error| StartError::System(format!("recovery: {error}")))??;

        let known = database
            .sessions
            .keys()
            .copied()
            .chain(database.tree.ephemeral_owners())
            .chain(storage.recovery().highest_sessions.values().copied());
        let mut sessions = SessionTracker::new(
            calendar::milliseconds(config.tick_time),
            first_session_id(machine_uptime_ms(), known),
        );
        for (&id, &timeout) in &database.sessions {
            sessions.track(id, u32::try_from(timeout).unwrap_or(0), 0);
        }
        let state = State::new(config, database, sessions, storage.snapshot_writer());
        let state = Arc::new(state);
        for (known, address) in [
            (&state.client_port, client_address),
            (&state.secure_client_port, secure_client_address),
        ] {
            let port = address.map_or(-1, |address| i32::from(address.port()));
            known.store(port, Ordering::Relaxed);
        }
        state.config_hidden.store(storage.recovery().member, Ordering::Relaxed);
        let (server, recovery) = (&state.stats.server, storage.recovery());
        server.dbinittime.record(microseconds(begun.elapsed()), 1);
        server.startup_snap_load_time.record(microseconds(recovery.snapshot_time), 1);
        server.startup_txns_load_time.record(microseconds(recovery.replay_time), 1);
        server.startup_txns_loaded.record(recovery.replayed, 1);
        server.digest_mismatches_count.store(recovery.digest_mismatches, Ordering::Relaxed);
        set_gauges_on_scrape(&state);
        if let Some(config) = &state.config.audit {
            let audit = Audit::start(config, state.stats.audit_dropped.clone());
            let audit = audit.map_err(|error| StartError::Audit(error.to_string()))?;
            audit.server_started();
            let _ = state.audit.set(audit);
        }

        let (failed_sender, failed) = watch::channel(None);
        let pipeline = Pipeline::new(Arc::clone(&state), storage, failed_sender);
        let writer = std::thread::Builder::new()
            .name("zookeeper-writer".to_owned())
            .spawn(move || pipeline.run())
            .map_err(|error| StartError::System(format!("no thread for the writer: {error}")))?;

        let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
        let services = TaskTracker::new();
        services.spawn(expiry::run(Arc::clone(&state), stop.clone()));
        services.spawn(sweep::run(Arc::clone(&state), stop.clone()));
        services.spawn(purge(Arc::clone(&state), stop.clone()));
        let io_threads = IoThreads::start(&state)
            .map_err(|error| StartError::System(format!("no thread for connections: {error}")))?;
        let io_threads = Arc::new(io_threads);
        listeners.serve(&state, &stop, &io_threads, &connections, &services);
        endpoints.serve(&state, &stop);
        Ok(Coordinator {
            state,
            client_address,
            secure_client_address,
            addresses,
            stop,
            connections,
            services,
            io_threads,
            writer,
            failed,
        })
    }

    /// Where clients connect without TLS, or with either; `None` where TLS alone is served.
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.client_address
    }

    /// Where clients connect with TLS alone (`secureClientPort`).
    pub fn secure_client_address(&self) -> Option<SocketAddr> {
        self.secure_client_address
    }

    /// Where the AdminServer listens, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.addresses.0
    }

    /// Where the page of ZooKeeper's metrics is, if there is one.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.addresses.1
    }

    /// Waits until the log can't be written any more, and says why: the process must exit then.
    pub async fn failed(&self) -> String {
        let mut failed = self.failed.clone();
        let reason = match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone(),
            // The writer has gone without a reason: it was stopped, or it panicked.
            Err(_) if self.stop.is_cancelled() => std::future::pending().await,
            Err(_) => None,
        };
        reason.unwrap_or_else(|| "the writer has ended".to_owned())
    }

    /// Stops accepting, finishes what is in flight for at most `grace`, closes connections. Sessions
    /// live on: clients re-attach after a restart.
    pub async fn shutdown(self, grace: Duration) {
        self.stop.cancel();
        self.state.drain();
        let left = net::drain(&self.stop, &self.connections, grace).await;
        if left > 0 {
            tracing::debug!(left, "connections were cut off by the stop");
        }
        self.services.close();
        let _ = tokio::time::timeout(grace, self.services.wait()).await;
        self.state.queue.stop();
        let (io_threads, writer, state) = (self.io_threads, self.writer, self.state);
        let last = move || {
            io_threads.stop();
            let _ = writer.join();
            if let Some(audit) = state.audit.get() {
                audit.server_stops();
            }
        };
        let _ = tokio::task::spawn_blocking(last).await;
    }
}

/// How long the machine has been up: the clock of ZooKeeper's session ids.
fn machine_uptime_ms() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let mut parts = uptime.split_whitespace().next().unwrap_or_default().split('.');
    let mut next = || parts.next().and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
    next() * 1_000 + next() * 10
}

/// `autopurge`: keeps the newest snapshots and the logs that they need.
async fn purge(state: Arc<State>, stop: CancellationToken) {
    let interval = state.config.purge_interval;
    if interval.is_zero() {
        return;
    }
    loop {
        let (writer, retain) = (state.disk.clone(), state.config.snap_retain_count);
        match tokio::task::spawn_blocking(move || writer.purge(retain)).await {
            Ok(Ok(files)) => tracing::debug!(files, "old snapshots and logs removed"),
            Ok(Err(error)) => tracing::warn!(%error, "old snapshots and logs can't be removed"),
            Err(_) => return,
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}

fn set_gauges_on_scrape(state: &Arc<State>) {
    let state: Weak<State> = Arc::downgrade(state);
    telemetry::on_scrape(Box::new(move || {
        if let Some(state) = state.upgrade() {
            set_gauges(&state);
        }
    }));
}

#[allow(clippy::cast_precision_loss, reason = "gauges are floating point")]
fn set_gauges(state: &State) {
    let gauges = &state.stats.gauges;
    gauges.connections.set(state.connections.lock().len() as f64);
    gauges.sessions.set(state.sessions.lock().len() as f64);
    gauges.watches.set(state.watches.lock().len() as f64);
    gauges.outstanding_requests.set(state.queue.outstanding() as f64);
    gauges.commit_queue_depth.set(state.queue.depth() as f64);
    let (snapshots, logs) = state.disk_bytes();
    gauges.snapshot_bytes.set(snapshots as f64);
    gauges.log_bytes.set(logs as f64);
    let database = state.database.read();
    gauges.znodes.set(database.tree.node_count() as f64);
    gauges.ephemerals.set(database.tree.ephemeral_count() as f64);
    gauges.data_bytes.set(database.tree.data_size() as f64);
}
