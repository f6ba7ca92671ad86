//! Requests of an open session: decoded in bursts, answered here or handed to the writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::RwLockReadGuard;

use super::answers::Answers;
use super::handle::ConnectionHandle;
use super::input::Front;
use super::{Connection, Phase, Step, spare};
use crate::limits;
use crate::zookeeper::auth::AuthId;
use crate::zookeeper::database::Database;
use crate::zookeeper::jute::Reader;
use crate::zookeeper::pipeline::queue::{Job, Task};
use crate::zookeeper::proto::request::{RequestHeader, WriteRequest, decode_sync};
use crate::zookeeper::proto::{ErrorCode, OpCode, XID_PING, reply};
use crate::zookeeper::read::Reading;
use crate::zookeeper::session::Session;
use crate::zookeeper::state::State;
use crate::zookeeper::stats::{DURATION_SAMPLING, microseconds};

/// One burst: the requests that are answered from one look at the input.
struct Burst<'a> {
    state: &'a State,
    handle: &'a Arc<ConnectionHandle>,
    session: &'a Arc<Session>,
    /// Held from the first answer on until the answers are in the outbox: so no event comes between a
    /// reply and the watch that it registers, and no reply of the writer before an earlier one.
    database: Option<RwLockReadGuard<'a, Database>>,
    answers: Answers,
    received: Instant,
    requests: u64,
    answered: u64,
    /// The last request that was answered.
    last: Option<(OpCode, i32)>,
    sampled: Option<OpCode>,
    /// How often the last opcode has come that was not counted yet.
    counted: (OpCode, u64),
}

/// What becomes of the connection after a request.
enum Next {
    Continue,
    /// The request can't be taken yet.
    Wait,
    /// Nothing more is read; whoever answers closes.
    Finish,
    /// What is in the outbox is sent, then it is closed.
    Close,
}

impl Connection {
    pub(super) fn serve(&mut self, session: &Arc<Session>) -> Step {
        let state = Arc::clone(&self.state);
        let handle = Arc::clone(&self.handle);
        let mut burst: Option<Burst<'_>> = None;
        let mut closing = false;
        let mut step = loop {
            let frame = match self.input.front(state.config.jute_max_buffer) {
                Front::Frame(frame) => frame,
                Front::Incomplete => break Step::NeedInput,
                Front::BadLength(length) => {
                    tracing::debug!(length, "closed: a request of an impossible length");
                    let rejected = &state.stats.server.large_requests_rejected;
                    rejected.fetch_add(u64::from(length > 0), Ordering::Relaxed);
                    closing = true;
                    break Step::Flush;
                }
            };
            let burst = burst.get_or_insert_with(|| {
                self.jobs = spare::jobs();
                Burst::new(&state, &handle, session)
            });
            match self.request(burst, frame.clone()) {
                Next::Continue => {
                    self.input.take_to(frame.end);
                    // What was answered here needs it no more.
                    drop(self.arrival.done());
                }
                Next::Wait => break Step::Wait,
                Next::Finish => {
                    self.phase = Phase::Finished;
                    break Step::Wait;
                }
                Next::Close => {
                    closing = true;
                    break Step::Flush;
                }
            }
            if self.jobs.len() >= limits::JOBS_PER_SUBMIT {
                burst.give_answers();
                self.submit();
            }
            if burst.answers.len() > limits::OUTPUT_BYTES_FLUSH || burst.answers.is_closing() {
                break Step::Flush;
            }
        };
        if let Some(burst) = burst {
            if burst.answered > 0 && step == Step::NeedInput {
                step = Step::Flush;
            }
            burst.end();
            self.submit();
            spare::keep_jobs(std::mem::take(&mut self.jobs));
        }
        if closing { self.finish() } else { step }
    }

    /// Hands its requests to the writer. What was answered before them is in the outbox.
    fn submit(&mut self) {
        if !self.jobs.is_empty() {
            self.handle.add_pending(self.jobs.len());
            if let Some(courier) = self.handle.courier() {
                self.state.queue.put(&mut self.jobs);
                courier.requests_wait();
            } else {
                self.state.queue.submit(&mut self.jobs);
            }
        }
    }

    fn request(&mut self, burst: &mut Burst<'_>, frame: std::ops::Range<usize>) -> Next {
        let bytes = self.input.slice(frame);
        let mut reader = Reader::new(bytes);
        let Ok(RequestHeader { xid, kind }) = RequestHeader::read(&mut reader) else {
            tracing::debug!("closed: a request without a header");
            return Next::Close;
        };
        let body = reader.rest();
        let Some(op) = OpCode::from_client(kind) else {
            tracing::debug!(kind, "closed: an opcode that is not served");
            burst.requests += 1;
            burst.answers.put(|out| reply::error(out, xid, -1, ErrorCode::Unimplemented));
            return Next::Close;
        };
        let pending = self.handle.pending();
        if pending == 0 {
            self.deferred_reads = 0;
        }
        let behind_own_write = pending > 0 || !self.jobs.is_empty();
        if !self.admitted && !matches!(op, OpCode::Auth | OpCode::Sasl) {
            burst.requests += 1;
            self.refuse_unauthenticated(xid, &mut burst.answers);
            return Next::Close;
        }
        let task = match op {
            OpCode::Ping => {
                let zxid = burst.database().tree.last_zxid();
                burst.answers.put(|out| reply::empty(out, XID_PING, zxid));
                burst.answered(op, xid, true, &mut self.requests);
                return Next::Continue;
            }
            OpCode::Auth => {
                let body: Box<[u8]> = body.into();
                let ok = self.authenticate(xid, &body, &mut burst.answers);
                burst.answered(op, xid, ok, &mut self.requests);
                return if ok { Next::Continue } else { Next::Close };
            }
            // Its number is one of the requests', so that its answer comes in their order.
            OpCode::Sasl if behind_own_write => return Next::Wait,
            OpCode::Sasl => {
                let body: Box<[u8]> = body.into();
                let ok = self.sasl(xid, &body, &mut burst.answers);
                burst.answered(op, xid, ok, &mut self.requests);
                return if ok { Next::Continue } else { Next::Close };
            }
            OpCode::Exists
            | OpCode::GetData
            | OpCode::GetAcl
            | OpCode::GetChildren
            | OpCode::GetChildren2
            | OpCode::MultiRead
            | OpCode::SetWatches
            | OpCode::SetWatches2
            | OpCode::AddWatch
            | OpCode::RemoveWatches
            | OpCode::CheckWatches
            | OpCode::GetEphemerals
            | OpCode::GetAllChildrenNumber
            | OpCode::WhoAmI => {
                if !behind_own_write {
                    let ok = burst.read(op, xid, body, &self.identities);
                    burst.answered(op, xid, ok, &mut self.requests);
                    return Next::Continue;
                }
                if self.deferred_reads >= limits::DEFERRED_READS_MAX {
                    return Next::Wait;
                }
                self.deferred_reads += 1;
                Task::Read(body.into())
            }
            OpCode::Sync => decode_sync(body).map_or(Task::Malformed, Task::Sync),
            OpCode::CloseSession => Task::CloseSession,
            OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::SetData
            | OpCode::SetAcl
            | OpCode::Multi
            | OpCode::Reconfig => {
                let own = pending + self.jobs.len();
                if own > 0 && self.state.queue.is_full_for(own) {
                    return Next::Wait;
                }
                WriteRequest::decode(op, body).map_or_else(
                    |error| {
                        tracing::debug!(op = op.name(), %error, "malformed request");
                        Task::Malformed
                    },
                    Task::Write,
                )
            }
        };
        burst.requests += 1;
        self.requests += 1;
        burst.count(op);
        self.jobs.push(Job {
            task,
            op: Some(op),
            xid,
            session: Arc::clone(burst.session),
            connection: Some(Arc::clone(&self.handle)),
            identities: Arc::clone(&self.identities),
            received: burst.received,
            sampled: self.requests % DURATION_SAMPLING == 1,
            bytes: size_of::<Job>() + bytes.len(),
            room: self.arrival.done(),
        });
        if op == OpCode::CloseSession { Next::Finish } else { Next::Continue }
    }
}

impl<'a> Burst<'a> {
    fn new(state: &'a State, handle: &'a Arc<ConnectionHandle>, session: &'a Arc<Session>) -> Self {
        let received = Instant::now();
        session.touch(state.ms_at(received));
        Burst {
            state,
            handle,
            session,
            database: None,
            answers: Answers::in_buffer(spare::output()),
            received,
            requests: 0,
            answered: 0,
            last: None,
            sampled: None,
            counted: (OpCode::Ping, 0),
        }
    }

    fn database(&mut self) -> &Database {
        self.database.get_or_insert_with(|| self.state.database.read())
    }

    fn read(&mut self, op: OpCode, xid: i32, body: &[u8], identities: &[AuthId]) -> bool {
        let (state, connection) = (self.state, self.handle);
        let database = self.database.get_or_insert_with(|| state.database.read());
        if self.session.is_closing() {
            let zxid = database.tree.last_zxid();
            self.answers.put(|out| reply::error(out, xid, zxid, ErrorCode::SessionExpired));
            return false;
        }
        let reading = Reading { state, database, connection, identities, xid };
        reading.answer(op, body, &mut self.answers)
    }

    /// Counts a request. Most bursts are of one kind: all of it is counted at once.
    fn count(&mut self, op: OpCode) {
        if self.counted.0 != op {
            self.give_count();
            self.counted.0 = op;
        }
        self.counted.1 += 1;
    }

    fn give_count(&mut self) {
        if self.counted.1 > 0 {
            self.state.stats.requests(self.counted.0, self.counted.1);
            self.counted.1 = 0;
        }
    }

    /// Puts what was answered so far into the outbox.
    fn give_answers(&mut self) {
        if !self.answers.is_empty() {
            self.handle.send_all(&mut self.answers);
        }
    }

    fn answered(&mut self, op: OpCode, xid: i32, ok: bool, requests: &mut u64) {
        self.last = Some((op, xid));
        self.requests += 1;
        self.answered += 1;
        *requests += 1;
        if *requests % DURATION_SAMPLING == 1 {
            self.sampled = Some(op);
        }
        self.count(op);
        if !ok {
            self.state.stats.error(op);
        }
    }

    fn end(mut self) {
        let zxid = self.last.map_or(-1, |_| self.database().tree.last_zxid());
        self.give_answers();
        self.database = None;
        self.give_count();
        spare::keep_output(std::mem::take(&mut self.answers.bytes));
        let stats = &self.state.stats;
        stats.packets_received.fetch_add(self.requests, Ordering::Relaxed);
        self.handle.count_received(self.requests);
        if self.answered > 0 {
            stats.packets_sent.fetch_add(self.answered, Ordering::Relaxed);
            let elapsed = self.received.elapsed();
            stats.server.readlatency.record(microseconds(elapsed), self.answered);
            if let Some((op, xid)) = self.last {
                let now = self.state.ms_at(self.received);
                let activity = self.handle.activity();
                activity.answered(Some(op), xid, zxid, now, elapsed, self.answered);
            }
            if let Some(op) = self.sampled {
                stats.duration(op, elapsed);
            }
        }
    }
}
