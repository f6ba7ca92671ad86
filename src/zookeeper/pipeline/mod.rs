//! The one writer: takes all that waits as one batch, prepares each request, logs it, syncs the log
//! once, applies the batch, and answers. Nothing is read, no watch fires and nothing is acknowledged
//! before it is durable.

pub mod control;
pub mod queue;
mod throttle;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::RwLockWriteGuard;
use tokio::sync::watch;

use self::control::Control;
use self::queue::{Job, Task};
use self::throttle::Throttle;
use super::acl;
use super::audit::Audited;
use super::connection::answers::Answers;
use super::connection::handle::ConnectionHandle;
use super::database::Database;
use super::io_threads::Courier;
use super::jute::Writer as _;
use super::proto::handshake::ConnectResponse;
use super::proto::{ErrorCode, OpCode, reply};
use super::read::Reading;
use super::session;
use super::state::State;
use super::stats::microseconds;
use super::storage::{Storage, StorageError};
use super::txn::apply::{self, Applied, Change, ChangeKind};
use super::txn::prep::{Caller, Prep, PrepOptions, Prepared, Verdict};
use super::txn::record::Txn;
use super::watch::{EventType, WatcherId};
use crate::{calendar, limits};

/// How many requests are applied before readers are let in between.
const APPLY_CHUNK: usize = 64;

/// How a batch's request is finished once the batch is durable.
#[derive(Debug)]
enum Plan {
    /// Apply the transaction and say how it came out.
    Transaction(Prepared),
    /// Answer with this code; nothing was logged.
    Refuse(ErrorCode),
    /// Answer a `sync`.
    Sync,
    /// Answer a read.
    Read,
    /// There is nothing to do any more.
    Nothing,
}

/// The writer, on its own thread.
#[derive(Debug)]
pub struct Pipeline {
    state: Arc<State>,
    storage: Storage,
    snapshots: super::snapshots::Snapshots,
    failed: watch::Sender<Option<String>>,
    throttle: Throttle,
    digest_enabled: bool,
    changes: Vec<Change>,
    told: Vec<WatcherId>,
    /// The answer to a read, and an event, while they are made.
    answers: Answers,
    event: Vec<u8>,
    /// The present request is the last one of its batch.
    last: bool,
    /// What is audited of the present batch, one for each request where anything is.
    audited: Vec<Audited>,
    /// The connections that the batch answers or tells of changes.
    touched: Vec<Arc<ConnectionHandle>>,
    couriers: Vec<Arc<Courier>>,
    /// When a soft quota was last warned of.
    quota_warned: Option<Instant>,
    /// When the present batch became durable: its requests are answered then.
    now: Instant,
}

impl Pipeline {
    /// A writer for this state. A failure of the log is announced in `failed`.
    pub fn new(state: Arc<State>, storage: Storage, failed: watch::Sender<Option<String>>) -> Self {
        let snapshots = super::snapshots::Snapshots::new(Arc::clone(&state), &storage);
        Pipeline {
            throttle: Throttle::new(state.config.request_throttle),
            digest_enabled: state.config.digest_enabled,
            state,
            storage,
            snapshots,
            failed,
            changes: Vec::new(),
            told: Vec::new(),
            answers: Answers::default(),
            event: Vec::new(),
            last: false,
            audited: Vec::new(),
            touched: Vec::new(),
            couriers: Vec::new(),
            quota_warned: None,
            now: Instant::now(),
        }
    }

    /// Whether a snapshot is being taken.
    #[cfg(test)]
    pub(crate) fn snapshot_running(&self) -> Arc<std::sync::atomic::AtomicBool> {
        self.snapshots.running()
    }

    /// Works until the queue is stopped and empty, or the log can't be written. After a failure
    /// nothing more is acknowledged: what was not synced may or may not be on disk.
    pub fn run(mut self) {
        let mut batch = Vec::new();
        while self.state.queue.take(&mut batch) {
            self.now = Instant::now();
            self.throttle.sift(&mut batch, &self.state, self.now);
            let controls = control::take_out(&mut batch);
            if let Err(error) = self.batch(&mut batch, controls) {
                tracing::error!(%error, "the transaction log can't be written: no more writes");
                self.failed.send_replace(Some(error.to_string()));
                return;
            }
        }
        self.snapshots.finish();
        if let Err(error) = self.storage.close() {
            tracing::warn!(%error, "the end of the transaction log can't be noted");
        }
    }

    fn batch(&mut self, batch: &mut Vec<Job>, controls: Vec<Control>) -> Result<(), StorageError> {
        let requests = batch.len() + controls.len();
        let bytes = batch.iter().map(|job| job.bytes).sum();
        let state = Arc::clone(&self.state);
        #[allow(clippy::cast_precision_loss, reason = "a batch is small")]
        state.stats.batch_size.record(requests as f64);

        let begun = self.now;
        let plans = self.prepare(batch)?;
        let prepared = Instant::now();
        state.stats.prepared(plans.len(), prepared.duration_since(begun));
        let transactions = plans.iter().filter(|plan| matches!(plan, Plan::Transaction(_))).count();
        if transactions > 0 {
            self.storage.commit()?;
        }
        self.now = Instant::now();
        if transactions > 0 {
            let took = self.now.duration_since(prepared);
            state.stats.fsynced(transactions, took, state.config.fsync_warning_threshold);
        }
        state.stats.batch_done(transactions, self.now.duration_since(begun));
        let mut database = state.database.write();
        let mut audited = std::mem::take(&mut self.audited).into_iter();
        let length = batch.len();
        for (index, (job, plan)) in batch.drain(..).zip(plans).enumerate() {
            if index % APPLY_CHUNK == APPLY_CHUNK - 1 {
                RwLockWriteGuard::bump(&mut database);
            }
            self.last = index + 1 == length;
            self.finish(&mut database, &job, &plan);
            if let (Some(audit), Some(audited), Plan::Transaction(prepared)) =
                (state.audit.get(), audited.next(), &plan)
            {
                audit.finished(&state.auth, &job, &audited, prepared);
            }
        }
        drop(database);
        for control in controls {
            self.control(control)?;
        }
        state.queue.done(requests, bytes);
        self.send_answers();
        if self.snapshots.due(&self.storage, self.now) {
            self.snapshots.start(&mut self.storage, None)?;
        }
        Ok(())
    }

    /// Sends the answers of a few connections, and leaves those of more to their threads.
    fn send_answers(&mut self) {
        let few = self.touched.len() <= limits::DIRECT_SENDS_MAX;
        for connection in self.touched.drain(..) {
            match connection.courier() {
                Some(courier) if !few => {
                    if !self.couriers.iter().any(|known| Arc::ptr_eq(known, courier)) {
                        self.couriers.push(Arc::clone(courier));
                    }
                    let courier = Arc::clone(courier);
                    courier.take(connection);
                }
                _ => connection.deliver(),
            }
        }
        for courier in self.couriers.drain(..) {
            courier.go();
        }
    }

    /// Checks and logs each request, in order.
    fn prepare(&mut self, batch: &mut [Job]) -> Result<Vec<Plan>, StorageError> {
        let time = calendar::now_ms();
        let database = self.state.database.read();
        let options = PrepOptions {
            auth: &self.state.auth,
            depth_max: self.state.config.znode_depth_max,
            extended_types: self.state.config.extended_types_enabled,
            enforce_quota: self.state.config.enforce_quota,
            reconfig_enabled: self.state.config.reconfig_enabled,
        };
        let mut prep = Prep::new(&database.tree, options, time);
        let mut plans = Vec::with_capacity(batch.len());
        for job in batch {
            let caller = Caller {
                session_id: job.session.id(),
                xid: job.xid,
                identities: &job.identities,
                session_closing: job.session.is_closing(),
            };
            if self.state.audit.get().is_some() {
                self.audited.push(Audited::of(&job.task));
            }
            if self.throttle.refuses(job, self.now) {
                self.state.stats.server.throttled_ops.fetch_add(1, Ordering::Relaxed);
                plans.push(Plan::Refuse(ErrorCode::ThrottledOp));
                continue;
            }
            let prepared = match &mut job.task {
                Task::Write(request) => prep.write(std::mem::take(request), &caller),
                Task::Malformed if job.op == Some(OpCode::Multi) => prep.malformed_multi(&caller),
                Task::Malformed | Task::Control(_) => {
                    plans.push(Plan::Refuse(ErrorCode::MarshallingError));
                    continue;
                }
                Task::Sync(_) | Task::Read(_) | Task::CreateSession { .. }
                    if caller.session_closing =>
                {
                    plans.push(Plan::Refuse(ErrorCode::SessionExpired));
                    continue;
                }
                Task::Sync(_) => {
                    plans.push(Plan::Sync);
                    continue;
                }
                Task::Read(_) => {
                    plans.push(Plan::Read);
                    continue;
                }
                Task::CreateSession { .. } => {
                    let timeout = i32::try_from(job.session.timeout_ms()).unwrap_or(i32::MAX);
                    prep.create_session(job.session.id(), timeout)
                }
                Task::CloseSession => {
                    job.session.set_closing();
                    let begun = Instant::now();
                    let prepared = prep.close_session(job.session.id(), job.xid);
                    let took = microseconds(begun.elapsed());
                    self.state.stats.server.close_session_prep_time.record(took, 1);
                    prepared
                }
                Task::Sweep(path) => {
                    let never_used_ms = self.state.config.container_max_never_used_ms;
                    let Some(prepared) = prep.sweep(path, never_used_ms) else {
                        plans.push(Plan::Nothing);
                        continue;
                    };
                    prepared
                }
            };
            let digest = self.digest_enabled.then_some(prepared.digest);
            self.storage.append(&prepared.header, &prepared.txn, digest)?;
            plans.push(Plan::Transaction(prepared));
        }
        for path in prep.take_quota_exceeded() {
            self.state.stats.server.quota_exceeded_error_per_namespace.record(&path, 0);
        }
        if let Some(excess) = prep.take_quota_warning()
            && self.quota_warned.is_none_or(|at| at.elapsed() > limits::QUOTA_WARNING_INTERVAL)
        {
            self.quota_warned = Some(Instant::now());
            tracing::warn!(excess, "a soft quota is exceeded");
        }
        Ok(plans)
    }

    /// Applies and answers one request of a durable batch.
    fn finish(&mut self, database: &mut Database, job: &Job, plan: &Plan) {
        let mut code = None;
        match plan {
            Plan::Transaction(prepared) => code = self.transaction(database, job, prepared),
            Plan::Refuse(refusal) => {
                let refusal = *refusal;
                code = Some(refusal);
                let zxid = database.tree.last_zxid();
                self.answer(job, |out| reply::error(out, job.xid, zxid, refusal));
            }
            Plan::Sync => {
                if let Task::Sync(path) = &job.task {
                    let zxid = database.tree.last_zxid();
                    self.answer(job, |out| {
                        reply::ok(out, job.xid, zxid, |out| out.write_buffer(path.as_deref()));
                    });
                }
            }
            Plan::Read => {
                if let (Task::Read(body), Some(connection), Some(op)) =
                    (&job.task, &job.connection, job.op)
                    && !connection.is_gone()
                {
                    let identities = &job.identities;
                    let (state, xid) = (&*self.state, job.xid);
                    let reading = Reading { state, database, connection, identities, xid };
                    if !reading.answer(op, body, &mut self.answers) {
                        state.stats.error(op);
                    }
                    connection.send_all(&mut self.answers);
                    self.touch(connection);
                }
            }
            Plan::Nothing => {}
        }
        self.account(job, plan, database.tree.last_zxid(), code);
        if let Some(connection) = &job.connection {
            connection.answered();
        }
    }

    fn account(&self, job: &Job, plan: &Plan, zxid: i64, code: Option<ErrorCode>) {
        let stats = &self.state.stats;
        let elapsed = self.now.duration_since(job.received);
        // What the server asked itself nobody waits for.
        if let Some(connection) = &job.connection {
            let latency = match plan {
                Plan::Transaction(_) => &stats.server.updatelatency,
                _ => &stats.server.readlatency,
            };
            latency.record(microseconds(elapsed), 1);
            let now = self.state.ms_at(self.now);
            connection.activity().answered(job.op, job.xid, zxid, now, elapsed, 1);
            stats.packets_sent.fetch_add(1, Ordering::Relaxed);
            if self.throttle.is_stale(job, self.now) {
                stats.server.stale_replies.fetch_add(1, Ordering::Relaxed);
            }
        }
        let Some(op) = job.op else { return };
        if job.sampled {
            stats.duration(op, elapsed);
        }
        if code.is_some() {
            stats.error(op);
        }
    }

    fn transaction(
        &mut self,
        database: &mut Database,
        job: &Job,
        prepared: &Prepared,
    ) -> Option<ErrorCode> {
        let Prepared { header, txn, verdict, .. } = prepared;
        let (xid, zxid) = (job.xid, header.zxid);
        let applied = if self.state.watches.lock().is_empty() {
            apply::replay(database, header, txn)
        } else {
            self.changes.clear();
            let mut changes = std::mem::take(&mut self.changes);
            let applied = apply::apply(database, header, txn, &mut changes);
            self.fire(zxid, &changes);
            self.changes = changes;
            applied
        };
        self.state.stats.server.written(txn);
        self.state.note_digest(zxid, prepared.digest);
        match (txn, verdict) {
            (_, Verdict::Refused(code)) => {
                self.answer(job, |out| reply::error(out, xid, zxid, *code));
                return Some(*code);
            }
            (_, Verdict::MultiRefused { count, culprit, code }) => {
                self.answer(job, |out| {
                    reply::ok(out, xid, zxid, |out| multi_refused(*count, *culprit, *code, out));
                });
                return Some(*code);
            }
            (Txn::CreateSession { .. }, Verdict::Ok) => self.session_created(job),
            (Txn::CloseSession { .. }, Verdict::Ok) => self.session_closed(job, zxid),
            (_, Verdict::Ok) => {
                self.answer(job, |out| {
                    reply::ok(out, xid, zxid, |out| result(txn, &applied, out));
                });
            }
        }
        None
    }

    fn answer(&mut self, job: &Job, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(connection) = &job.connection {
            connection.send(write);
            self.touch(connection);
        }
    }

    fn touch(&mut self, connection: &Arc<ConnectionHandle>) {
        if connection.touch() {
            self.touched.push(Arc::clone(connection));
        }
    }

    fn session_created(&mut self, job: &Job) {
        let Task::CreateSession { with_read_only } = job.task else { return };
        let id = job.session.id();
        let response = ConnectResponse {
            timeout_ms: job.session.timeout_ms(),
            session_id: id,
            password: session::password(id),
        };
        self.answer(job, |out| response.write(with_read_only, out));
    }

    fn session_closed(&mut self, job: &Job, zxid: i64) {
        let id = job.session.id();
        self.state.sessions.lock().remove(id);
        self.answer(job, |out| reply::empty(out, job.xid, zxid));
        if let Some(connection) = self.state.attached.lock().remove(&id) {
            connection.close();
        }
        if let Some(connection) = &job.connection {
            connection.close();
        }
    }

    /// Tells the watchers of what a transaction changed, in its order.
    fn fire(&mut self, zxid: i64, changes: &[Change]) {
        for change in changes {
            let parent = super::path::parent(&change.path).unwrap_or("/");
            let mut told = std::mem::take(&mut self.told);
            let (kind, children_changed) = match change.kind {
                ChangeKind::Created => (EventType::NodeCreated, true),
                ChangeKind::Deleted => (EventType::NodeDeleted, true),
                ChangeKind::DataChanged => (EventType::NodeDataChanged, false),
            };
            {
                let mut watches = self.state.watches.lock();
                if change.kind == ChangeKind::Deleted {
                    watches.fire_deleted(&change.path, &mut told);
                } else {
                    watches.fire_data(&change.path, &mut told);
                }
            }
            self.tell(&told, zxid, kind, &change.path, &change.acl);
            if children_changed {
                self.state.watches.lock().fire_children(parent, &mut told);
                let kind = EventType::NodeChildrenChanged;
                self.tell(&told, zxid, kind, parent, &change.parent_acl);
            }
            self.told = told;
        }
    }

    /// Sends an event to whoever may read the node. A watch that is not told is spent all the same.
    fn tell(
        &mut self,
        told: &[WatcherId],
        zxid: i64,
        kind: EventType,
        path: &str,
        acl: &[acl::Acl],
    ) {
        if told.is_empty() {
            return;
        }
        let state = Arc::clone(&self.state);
        let server = &state.stats.server;
        server.watched(kind).record(told.len() as u64, 1);
        let mut event = std::mem::take(&mut self.event);
        event.clear();
        reply::event(&mut event, zxid, kind, path);
        let for_everybody = state.auth.allows(acl, acl::READ, &[]);
        let (mut sent, mut bytes) = (0, 0);
        let connections = state.connections.lock();
        for watcher in told {
            let Some(connection) = connections.get(watcher) else { continue };
            if for_everybody
                || connection.is_identified(|who| state.auth.allows(acl, acl::READ, who))
            {
                bytes += connection.send(|out| out.extend_from_slice(&event));
                sent += 1;
                self.touch(connection);
            }
            // Nothing more comes for them in this batch: they need not wait until all are told.
            if self.last && self.touched.len() >= limits::DELIVERIES_PER_TURN {
                self.send_answers();
            }
        }
        drop(connections);
        self.event = event;
        server.watch_bytes.fetch_add(bytes, Ordering::Relaxed);
        state.stats.packets_sent.fetch_add(sent, Ordering::Relaxed);
    }
}

/// The body of the answer to a transaction that was applied.
fn result(txn: &Txn, applied: &Applied, out: &mut Vec<u8>) {
    match (txn, applied) {
        (Txn::Create { create, with_stat, .. }, applied) => {
            out.write_string(&create.path);
            if let (true, Applied::Stat(stat)) = (with_stat, applied) {
                stat.write(out);
            }
        }
        (Txn::CreateContainer(create) | Txn::CreateTtl { create, .. }, Applied::Stat(stat)) => {
            out.write_string(&create.path);
            stat.write(out);
        }
        (Txn::SetData { .. } | Txn::SetAcl { .. }, Applied::Stat(stat)) => stat.write(out),
        (Txn::Multi(txns), Applied::Multi(results)) => {
            for (txn, applied) in txns.iter().zip(results) {
                let kind = match txn {
                    Txn::CreateContainer(_) | Txn::CreateTtl { .. } => OpCode::Create2.number(),
                    txn => txn.kind(),
                };
                reply::multi_header(out, kind, false, 0);
                result(txn, applied, out);
            }
            reply::multi_end(out);
        }
        _ => {}
    }
}

/// The body of the answer to a multi that failed: no error before the culprit, its own at the
/// culprit, an inconsistency after it.
fn multi_refused(count: usize, culprit: usize, code: ErrorCode, out: &mut Vec<u8>) {
    for index in 0..count {
        let code = match index.cmp(&culprit) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => code.number(),
            std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency.number(),
        };
        reply::multi_error(out, code);
    }
    reply::multi_end(out);
}
