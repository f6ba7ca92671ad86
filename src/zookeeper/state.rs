//! What connections, the writer and the session timer share.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use tokio::net::tcp::OwnedWriteHalf;

use super::audit::Audit;
use super::auth::Auth;
use super::connection::handle::ConnectionHandle;
use super::connection::memory::LargeRequests;
use super::connection::output::OutputTotal;
use super::connection::throttle::Throttle;
use super::database::Database;
use super::pipeline::queue::Queue;
use super::session::SessionTracker;
use super::stats::{Responses, Stats};
use super::storage::SnapshotWriter;
use super::watch::Watches;
use crate::config::CoordinatorConfig;
use crate::{calendar, limits};

/// The state of one coordinator.
///
/// Locks are taken in the order of the fields `database`, `watches`, then any other, and only
/// `database` is held while another is taken. The writer alone takes `database` for writing.
#[derive(Debug)]
pub struct State {
    /// The configuration.
    pub config: CoordinatorConfig,
    /// Who may do what.
    pub auth: Auth,
    /// Who changed what, where that is written down.
    pub audit: OnceLock<Audit>,
    /// Tree and sessions: whoever reads sees only what is durable.
    pub database: RwLock<Database>,
    /// Who watches what. A read registers its watch while it holds `database`, and changes fire
    /// while the writer holds it: so no event is missed or comes before the reply it follows.
    pub watches: Mutex<Watches>,
    /// When each session expires.
    pub sessions: Mutex<SessionTracker>,
    /// The connection of each session that has one.
    pub attached: Mutex<HashMap<i64, Arc<ConnectionHandle>>>,
    /// Every open connection, by its number.
    pub connections: Mutex<HashMap<u64, Arc<ConnectionHandle>>>,
    /// The way to the writer.
    pub queue: Queue,
    /// The memory that large requests share.
    pub large_requests: LargeRequests,
    /// What waits for clients that don't read.
    pub output: OutputTotal,
    /// How many clients may open a session.
    throttle: Option<Mutex<Throttle>>,
    /// What is counted.
    pub stats: Stats,
    /// Whether requests are left unread, because the coordinator stops.
    pub draining: AtomicBool,
    /// What snapshots are written with; it knows the sizes on disk.
    pub disk: SnapshotWriter,
    /// The port that clients connect to; -1 is none.
    pub client_port: AtomicI32,
    /// The port that they connect to with TLS; -1 is none.
    pub secure_client_port: AtomicI32,
    /// Whether `/zookeeper/config` is served empty: it names the servers of an ensemble that this one
    /// was taken over from, and clients that follow it would go there.
    pub config_hidden: AtomicBool,
    /// `stmk`: kept and told, as ZooKeeper's scripts expect; nothing is traced by it.
    pub trace_mask: AtomicI64,
    /// Digests of the tree, one in [`DIGEST_EVERY`] transactions, the newest last.
    pub digests: Mutex<VecDeque<(i64, u64)>>,
    started: Instant,
    next_connection: AtomicU64,
}

/// After how many transactions a digest is kept for `hash` (`DataTree.DIGEST_LOG_INTERVAL`).
pub const DIGEST_EVERY: i64 = 128;

/// How many of them are kept (`DataTree.DIGEST_LOG_LIMIT`).
pub const DIGESTS_MAX: usize = 1_024;

/// `ZooTrace`'s mask before anybody sets it.
const TRACE_MASK: i64 = 306;

impl State {
    /// The state over a recovered database.
    pub fn new(
        config: CoordinatorConfig,
        database: Database,
        sessions: SessionTracker,
        disk: SnapshotWriter,
    ) -> Self {
        let stats = Stats::new();
        State {
            queue: Queue::new(config.global_outstanding_limit)
                .with_batches_of(config.request_throttle.max_requests),
            large_requests: LargeRequests::new(
                config.large_request_threshold,
                config.large_request_max_bytes,
                config.jute_max_buffer,
            ),
            output: OutputTotal::new(limits::OUTPUT_BYTES_TOTAL_MAX, stats.sent_bytes.clone()),
            throttle: config
                .connection_throttle
                .map(|throttle| Mutex::new(Throttle::new(throttle, 0))),
            auth: Auth::new(config.auth.clone()),
            audit: OnceLock::new(),
            config,
            database: RwLock::new(database),
            watches: Mutex::new(Watches::new()),
            sessions: Mutex::new(sessions),
            attached: Mutex::new(HashMap::new()),
            connections: Mutex::new(HashMap::new()),
            stats,
            draining: AtomicBool::new(false),
            disk,
            client_port: AtomicI32::new(-1),
            secure_client_port: AtomicI32::new(-1),
            config_hidden: AtomicBool::new(false),
            trace_mask: AtomicI64::new(TRACE_MASK),
            digests: Mutex::new(VecDeque::new()),
            started: Instant::now(),
            next_connection: AtomicU64::new(1),
        }
    }

    /// Milliseconds since the start, the clock of sessions.
    pub fn now_ms(&self) -> u64 {
        self.ms_at(Instant::now())
    }

    /// The same for a moment that was read before.
    pub fn ms_at(&self, at: Instant) -> u64 {
        calendar::milliseconds(at.duration_since(self.started))
    }

    /// How long the coordinator has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Bytes of snapshots and of logs on disk; 0 where the directory can't be read.
    pub fn disk_bytes(&self) -> (u64, u64) {
        self.disk.sizes().unwrap_or_default()
    }

    /// Whether a client may open a session now (`renew`: take one up again).
    pub fn admits_session(&self, renew: bool) -> bool {
        let server = &self.stats.server;
        let deficit = match &self.throttle {
            None => 0,
            Some(throttle) => {
                let mut throttle = throttle.lock();
                if !throttle.admit(renew, self.now_ms(), rand::random()) {
                    server.connection_rejected.fetch_add(1, Ordering::Relaxed);
                    return false;
                }
                throttle.deficit()
            }
        };
        server.connection_token_deficit.record(deficit, 1);
        server.connection_request_count.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// The probability with which a client is refused at random when it opens a session.
    pub fn connection_drop_probability(&self) -> f64 {
        self.throttle.as_ref().map_or(0.0, |throttle| throttle.lock().drop_probability())
    }

    /// Cuts off clients that don't read, those that have read nothing for the longest time first,
    /// until what waits for the rest is bearable.
    pub fn cut_off_silent_readers(&self) {
        let mut silent: Vec<_> = self
            .connections
            .lock()
            .values()
            .filter_map(|handle| Some((handle.stalled_since()?, Arc::clone(handle))))
            .collect();
        silent.sort_unstable_by_key(|(since, _)| *since);
        let mut count = 0_usize;
        for (_, handle) in silent {
            if self.output.is_relieved() {
                break;
            }
            handle.cut_off();
            count += 1;
        }
        tracing::warn!(
            clients = count,
            "clients that don't read what they asked for were cut off: it took too much memory"
        );
    }

    /// Registers a connection. Without a socket, its own task sends what its handle is given.
    pub fn open_connection(
        &self,
        peer: SocketAddr,
        socket: Option<OwnedWriteHalf>,
        by_secure_port: bool,
    ) -> Arc<ConnectionHandle> {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let handle = ConnectionHandle::new(id, peer, socket, self.output.clone());
        let handle = Arc::new(handle.by_port(by_secure_port));
        self.connections.lock().insert(id, Arc::clone(&handle));
        if self.draining.load(Ordering::Acquire) {
            handle.close();
        }
        handle
    }

    /// Forgets a connection and its watches; its session goes on until it expires.
    pub fn close_connection(&self, handle: &Arc<ConnectionHandle>) {
        self.stats.server.responses.lock().add(&handle.responses());
        // First: the writer may be about to answer a read of this connection that watches.
        handle.set_gone();
        self.watches.lock().remove_watcher(handle.id());
        self.connections.lock().remove(&handle.id());
        if let Some(session) = handle.session() {
            let mut attached = self.attached.lock();
            if attached.get(&session.id()).is_some_and(|present| present.id() == handle.id()) {
                attached.remove(&session.id());
            }
        }
    }

    /// Makes `handle` the connection of its session; the one before it is closed.
    pub fn attach(&self, session: i64, handle: &Arc<ConnectionHandle>) {
        let before = self.attached.lock().insert(session, Arc::clone(handle));
        if let Some(before) = before {
            before.close();
        }
    }

    /// Notes the digest of the tree after a transaction, one in so many.
    pub fn note_digest(&self, zxid: i64, digest: u64) {
        if zxid % DIGEST_EVERY == 0 {
            let mut digests = self.digests.lock();
            digests.push_back((zxid, digest));
            if digests.len() > DIGESTS_MAX {
                digests.pop_front();
            }
        }
    }

    /// Sizes of all answers and events, of the connections that are there and those that were.
    pub fn responses(&self) -> Responses {
        let mut all = *self.stats.server.responses.lock();
        for connection in self.connections.lock().values() {
            all.add(&connection.responses());
        }
        all
    }

    /// Leaves sockets unread from now on, and closes each connection once its replies are sent.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        let handles: Vec<_> = self.connections.lock().values().cloned().collect();
        for handle in handles {
            handle.wake();
        }
    }
}
