//! A seed's world: a server on the simulated disk, its clients, the faults, and what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::client::{Client, Frame, same};
use super::disk::{Failure, Image};
use super::life::{Life, Options};
use super::requests::{self, Read, Request};
use crate::zookeeper::connection::answers::Answers;
use crate::zookeeper::pipeline::queue::{Job, Task};
use crate::zookeeper::proto::OpCode;
use crate::zookeeper::proto::request::WriteRequest;
use crate::zookeeper::read::Reading;
use crate::zookeeper::session::Session;
use crate::zookeeper::storage::{Entry, LogReader, Opened};
use crate::zookeeper::test_history::Model;
use crate::zookeeper::txn::record::{Txn, TxnHeader, read_entry};

const CLIENTS: usize = 4;
const SESSION_TIMEOUT: u32 = 6_000;
const SET_WATCHES_XID: i32 = -8;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A job of a batch, as its answer is expected.
#[derive(Debug)]
struct Planned {
    client: Option<usize>,
    xid: i32,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    /// Its operations' opcodes.
    Write(OpCode),
    Read(Read),
    CreateSession,
    CloseSession(i64),
}

pub(super) struct World {
    draw: StdRng,
    root: PathBuf,
    lives: usize,
    life: Life,
    clients: Vec<Client>,
    /// What was acknowledged: everything up to its zxid.
    model: Model,
    /// Every session id that ever became durable.
    ids: BTreeSet<i64>,
    clock: u64,
    /// What happened, for whoever has to find out why.
    pub(super) story: Vec<String>,
}

impl World {
    /// The world of a seed, below the folder `root`.
    pub(super) fn new(seed: u64, root: PathBuf, lying: bool) -> World {
        let mut draw = StdRng::seed_from_u64(seed);
        let options = Options { lying, ..options(&mut draw) };
        let life = Life::start(root.join("0"), &Image::new(), None, 0, options);
        let clients = (0..CLIENTS).map(|_| Client::default()).collect();
        let (model, story) = (Model::new(), vec![format!("{options:?}")]);
        World { draw, root, lives: 0, life, clients, model, ids: BTreeSet::new(), clock: 0, story }
    }

    pub(super) fn run(&mut self) {
        for _ in 0..self.draw.random_range(20..60) {
            self.clock += self.draw.random_range(0..1_500);
            self.come_and_go();
            self.read();
            self.round();
        }
        self.silence();
        self.power_cut(self.life.disk.position(), &[]);
        self.life.end();
    }

    /// Clients vanish without a word, and come back, or don't.
    fn come_and_go(&mut self) {
        for index in 0..CLIENTS {
            if self.clients[index].handle.is_some() {
                self.clients[index].touched = self.clock;
                let session = self.session(index);
                session.touch(self.clock);
                if self.draw.random_range(0..25) == 0 {
                    self.vanish(index);
                }
            } else if self.clients[index].session.is_some() && self.draw.random_range(0..4) == 0 {
                self.reattach(index);
            }
        }
    }

    fn session(&self, index: usize) -> Arc<Session> {
        let id = self.clients[index].session.unwrap();
        self.life.state.sessions.lock().get(id).expect("a connected client has its session")
    }

    fn vanish(&mut self, index: usize) {
        self.story.push(format!("{index} vanishes"));
        if let Some(handle) = self.clients[index].handle.take() {
            self.life.state.close_connection(&handle);
        }
    }

    fn reattach(&mut self, index: usize) {
        let id = self.clients[index].session.unwrap();
        let state = Arc::clone(&self.life.state);
        let session = state.sessions.lock().reattach(id, SESSION_TIMEOUT, self.clock);
        let alive = self.model.sessions.contains_key(&id);
        assert_eq!(session.is_some(), alive, "session {id:#x} of client {index}");
        self.story.push(format!("{index} comes back, {alive}"));
        let client = &mut self.clients[index];
        let Some(session) = session else {
            *client = Client { xid: client.xid, ..Client::default() };
            return;
        };
        let handle = self.life.connect();
        handle.attach(session);
        state.attach(id, &handle);
        client.handle = Some(Arc::clone(&handle));
        client.touched = self.clock;
        assert!(client.last_zxid <= self.model.zxid, "it has seen nothing that is not there");
        let (body, mut expected) = client.watched.set_anew(client.last_zxid, &self.model);
        let (database, identities, xid) =
            (state.database.read(), handle.identities(), SET_WATCHES_XID);
        let reading = Reading {
            state: &state,
            database: &database,
            connection: &handle,
            identities: &identities,
            xid,
        };
        let mut answers = Answers::default();
        reading.answer(OpCode::SetWatches2, &body, &mut answers);
        handle.send_all(&mut answers);
        drop(database);
        expected.push(Frame::Reply { xid, zxid: self.model.zxid, error: 0, body: None });
        self.expect(index, false, &expected);
    }

    /// Reads that no own write is in front of: answered from the tree as it is.
    fn read(&mut self) {
        for index in 0..CLIENTS {
            let Some(handle) = self.clients[index].handle.clone() else { continue };
            while self.draw.random_range(0..3) == 0 {
                let read = requests::read(&mut self.draw, &self.model);
                let xid = self.clients[index].next_xid();
                let state = Arc::clone(&self.life.state);
                let (database, identities) = (state.database.read(), handle.identities());
                let reading = Reading {
                    state: &state,
                    database: &database,
                    connection: &handle,
                    identities: &identities,
                    xid,
                };
                let mut answers = Answers::default();
                reading.answer(read.op, &read.body(), &mut answers);
                handle.send_all(&mut answers);
                drop(database);
                self.story.push(format!("{index} reads {read:?}"));
                let frame = read.expected(xid, &self.model, &mut self.clients[index].watched);
                self.expect(index, false, &[frame]);
            }
        }
    }

    /// One batch, and perhaps a fault in it.
    fn round(&mut self) {
        let (mut jobs, planned) = self.plan();
        if jobs.is_empty() {
            return;
        }
        let writes = planned.iter().any(|job| !matches!(job.asked, Asked::Read(_)));
        self.life.disk.pass();
        let marker = self.life.marker();
        let fault = self.draw.random_range(0..30);
        let error = if self.draw.random() { EIO } else { ENOSPC };
        match fault {
            0 if writes => self.life.disk.fail(Failure::Sync(error)),
            1 if writes => self.life.disk.fail(Failure::Write(error)),
            _ => {}
        }
        let failing = fault < 2 && writes;
        self.story.push(format!("batch {planned:?}, fault {fault}"));
        let done = self.life.batch(&mut jobs, writes);
        assert_eq!(done, !failing, "a failure of the log stops the writer");
        let txns = self.logged();
        if failing {
            for client in &self.clients {
                assert_eq!(client.receive(false), [], "nothing is answered behind a failure");
            }
            let end = self.life.disk.position();
            let upto = self.draw.random_range(0..=end);
            self.cut(upto, marker.as_deref(), &txns);
            return;
        }
        let end = self.life.disk.position();
        let cut = (2..5).contains(&fault).then(|| self.draw.random_range(0..=end));
        if cut.is_none_or(|upto| upto == end && self.draw.random()) {
            self.settle(&planned, &txns);
            if cut.is_some() {
                self.cut(end, self.life.marker().as_deref(), &[]);
            }
        } else if let Some(upto) = cut {
            self.cut(upto, marker.as_deref(), &txns);
        }
    }

    fn plan(&mut self) -> (Vec<Job>, Vec<Planned>) {
        let (mut jobs, mut planned) = (Vec::new(), Vec::new());
        let expired = self.life.state.sessions.lock().expire(self.clock);
        for session in expired {
            let id = session.id();
            let owner = self.clients.iter().find(|client| client.session == Some(id));
            let idle = owner.map(|client| self.clock - client.touched);
            assert!(
                owner.is_none_or(|client| client.handle.is_none()),
                "session {id:#x} expires after {idle:?} ms, though its client is there"
            );
            planned.push(Planned { client: None, xid: 0, asked: Asked::CloseSession(id) });
            jobs.push(job(Task::CloseSession, None, 0, session, None));
        }
        for index in 0..CLIENTS {
            if self.clients[index].session.is_none() && self.clients[index].handle.is_none() {
                if self.draw.random() {
                    self.open(index, &mut jobs, &mut planned);
                }
                continue;
            }
            let Some(handle) = self.clients[index].handle.clone() else { continue };
            let session = self.session(index);
            let mut behind_write = false;
            for _ in 0..self.draw.random_range(0..4) {
                let xid = self.clients[index].next_xid();
                let (task, op, asked) = if behind_write && self.draw.random_range(0..3) == 0 {
                    let read = requests::read(&mut self.draw, &self.model);
                    (Task::Read(read.body().into()), read.op, Asked::Read(read))
                } else {
                    behind_write = true;
                    let Request { op, body } = requests::write(&mut self.draw, &self.model);
                    let write = WriteRequest::decode(op, &body).unwrap();
                    (Task::Write(write), op, Asked::Write(op))
                };
                planned.push(Planned { client: Some(index), xid, asked });
                jobs.push(job(task, Some(op), xid, Arc::clone(&session), Some(&handle)));
            }
            if self.draw.random_range(0..40) == 0 {
                let xid = self.clients[index].next_xid();
                let asked = Asked::CloseSession(session.id());
                planned.push(Planned { client: Some(index), xid, asked });
                let op = Some(OpCode::CloseSession);
                jobs.push(job(Task::CloseSession, op, xid, session, Some(&handle)));
            }
        }
        for job in &jobs {
            if let Some(connection) = &job.connection {
                connection.add_pending(1);
            }
        }
        (jobs, planned)
    }

    fn open(&mut self, index: usize, jobs: &mut Vec<Job>, planned: &mut Vec<Planned>) {
        let handle = self.life.connect();
        let session = self.life.state.sessions.lock().create(SESSION_TIMEOUT, self.clock);
        assert!(!self.ids.contains(&session.id()), "an id is given out twice");
        handle.attach(Arc::clone(&session));
        self.life.state.attach(session.id(), &handle);
        planned.push(Planned { client: Some(index), xid: 0, asked: Asked::CreateSession });
        let task = Task::CreateSession { with_read_only: false };
        jobs.push(job(task, None, 0, Arc::clone(&session), Some(&handle)));
        let client = &mut self.clients[index];
        client.handle = Some(handle);
        client.session = Some(session.id());
        client.touched = self.clock;
    }

    /// The transactions behind what was acknowledged, as they stand in the log.
    fn logged(&self) -> Vec<(TxnHeader, Txn)> {
        let mut logs = BTreeMap::new();
        for (name, bytes) in self.life.disk.logical() {
            if let Some(zxid) =
                name.strip_prefix("log.").and_then(|hex| i64::from_str_radix(hex, 16).ok())
            {
                logs.insert(zxid, bytes);
            }
        }
        // Those that end before it hold nothing new.
        let first = logs.range(..=self.model.zxid + 1).next_back().map_or(0, |(zxid, _)| *zxid);
        logs.retain(|zxid, _| *zxid >= first);
        let mut txns: Vec<(TxnHeader, Txn)> = Vec::new();
        for bytes in logs.into_values() {
            let length = bytes.len() as u64;
            let Opened::Log(mut reader) = LogReader::begin(&bytes[..], length).unwrap() else {
                continue;
            };
            while let Entry::Record { payload, .. } = reader.next_entry().unwrap() {
                let (header, txn, _) = read_entry(payload).unwrap();
                let last = txns.last().map_or(self.model.zxid, |(header, _)| header.zxid);
                if header.zxid > last {
                    assert_eq!(header.zxid, last + 1, "no zxid is left out");
                    txns.push((header, txn));
                }
            }
        }
        txns
    }

    /// Goes through a batch that was done, job by job, and compares what each client was sent.
    fn settle(&mut self, planned: &[Planned], txns: &[(TxnHeader, Txn)]) {
        let mut expected: Vec<Vec<Frame>> = vec![Vec::new(); CLIENTS];
        let mut connecting = [false; CLIENTS];
        let mut txns = txns.iter();
        for Planned { client, xid, asked } in planned {
            let xid = *xid;
            if let Asked::Read(read) = asked {
                let index = client.unwrap();
                let frame = read.expected(xid, &self.model, &mut self.clients[index].watched);
                expected[index].push(frame);
                continue;
            }
            let (header, txn) = txns.next().expect("each change is in the log");
            for (client, expected) in self.clients.iter_mut().zip(&mut expected) {
                if client.handle.is_some() {
                    client.watched.fire(header, txn, &self.model, expected);
                }
            }
            self.model.apply(header, txn);
            match asked {
                Asked::CreateSession => {
                    let index = client.unwrap();
                    self.ids.insert(header.client_id);
                    connecting[index] = true;
                    expected[index].push(Frame::Connected { session: header.client_id });
                }
                Asked::CloseSession(id) => {
                    assert_eq!(
                        (header.client_id, matches!(txn, Txn::CloseSession { .. })),
                        (*id, true)
                    );
                    if let Some(index) = *client {
                        expected[index].push(Frame::Reply {
                            xid,
                            zxid: header.zxid,
                            error: 0,
                            body: None,
                        });
                        self.expect(
                            index,
                            connecting[index],
                            &std::mem::take(&mut expected[index]),
                        );
                        self.clients[index] = Client { xid, ..Client::default() };
                    }
                }
                Asked::Write(op) => {
                    let frame = requests::answer(*op, xid, header, txn, &self.model);
                    expected[client.unwrap()].push(frame);
                }
                Asked::Read(_) => {}
            }
        }
        assert!(txns.next().is_none(), "nothing else is in the log");
        for index in 0..CLIENTS {
            self.expect(index, connecting[index], &expected[index]);
        }
        let memory = Model::of(&self.life.state.database.read());
        assert_eq!(memory.difference(&self.model), None, "memory and log differ");
        self.check();
    }

    /// Compares what a client was sent with what it must have been.
    fn expect(&mut self, index: usize, connecting: bool, expected: &[Frame]) {
        let got = self.clients[index].receive(connecting);
        assert!(same(&got, expected), "client {index} got\n{got:#?}\ninstead of\n{expected:#?}");
        for frame in got {
            if let Frame::Event { zxid, .. } | Frame::Reply { zxid, .. } = frame {
                self.clients[index].last_zxid = self.clients[index].last_zxid.max(zxid);
            }
        }
    }

    /// What always holds.
    fn check(&self) {
        for (path, node) in &self.model.nodes {
            let owner = node.stat.ephemeral_owner;
            assert!(
                owner == 0 || self.model.sessions.contains_key(&owner),
                "{path} has outlived session {owner:#x}"
            );
        }
    }

    /// The power is cut behind `upto` calls to the disk; `txns` were under way.
    fn cut(&mut self, upto: usize, marker: Option<&[u8]>, txns: &[(TxnHeader, Txn)]) {
        let image = self.life.disk.power_cut(upto, &mut self.draw);
        self.life.end();
        self.lives += 1;
        let options = options(&mut self.draw);
        self.clock += self.draw.random_range(0..20_000);
        let folder = self.root.join(self.lives.to_string());
        self.life = Life::start(folder, &image, marker, self.clock, options);
        let last = self.life.recovery.last_zxid;
        self.story.push(format!("power cut, then {options:?}, back at {last:#x}"));
        let (acknowledged, written) =
            (self.model.zxid, self.model.zxid + i64::try_from(txns.len()).unwrap());
        assert!(
            (acknowledged..=written).contains(&last),
            "it comes back at {last:#x}; {acknowledged:#x} was acknowledged, {written:#x} written"
        );
        for (header, txn) in txns.iter().take_while(|(header, _)| header.zxid <= last) {
            self.model.apply(header, txn);
            if matches!(txn, Txn::CreateSession { .. }) {
                self.ids.insert(header.client_id);
            }
        }
        let memory = Model::of(&self.life.state.database.read());
        assert_eq!(memory.difference(&self.model), None, "what came back is not what was written");
        assert_eq!((self.life.recovery.digest_mismatches, self.life.recovery.orphans), (0, 0));
        self.check();
        for client in &mut self.clients {
            client.handle = None;
            let known = client.session.is_some_and(|id| self.model.sessions.contains_key(&id));
            if !known {
                // Its handshake was never answered, or its end was.
                *client = Client { xid: client.xid, ..Client::default() };
            }
        }
        for index in 0..CLIENTS {
            if self.clients[index].session.is_some() && self.draw.random_range(0..4) > 0 {
                self.reattach(index);
            }
        }
    }

    fn power_cut(&mut self, upto: usize, txns: &[(TxnHeader, Txn)]) {
        let marker = self.life.marker();
        self.cut(upto, marker.as_deref(), txns);
    }

    /// Nobody is heard of any more: all sessions end, and their ephemerals with them.
    fn silence(&mut self) {
        for index in 0..CLIENTS {
            self.vanish(index);
        }
        self.clock += u64::from(SESSION_TIMEOUT) + 1_000;
        let (mut jobs, planned) = (Vec::new(), self.life.state.sessions.lock().expire(self.clock));
        let planned: Vec<Planned> = planned
            .into_iter()
            .map(|session| {
                let asked = Asked::CloseSession(session.id());
                jobs.push(job(Task::CloseSession, None, 0, session, None));
                Planned { client: None, xid: 0, asked }
            })
            .collect();
        if !jobs.is_empty() {
            assert!(self.life.batch(&mut jobs, true));
            let txns = self.logged();
            self.settle(&planned, &txns);
        }
        assert!(self.model.sessions.is_empty(), "{:?}", self.model.sessions);
        let owned = self.model.nodes.values().any(|node| node.stat.ephemeral_owner != 0);
        assert!(!owned, "an ephemeral has outlived all sessions");
    }
}

fn options(draw: &mut StdRng) -> Options {
    Options {
        snapshots: draw.random_range(0..4) == 0,
        pre_alloc_size: [0, 64, 4_096][draw.random_range(0..3)],
        short_writes: draw.random_range(0..3) == 0,
        lying: false,
    }
}

fn job(
    task: Task,
    op: Option<OpCode>,
    xid: i32,
    session: Arc<Session>,
    connection: Option<&Arc<crate::zookeeper::connection::handle::ConnectionHandle>>,
) -> Job {
    let connection = connection.map(Arc::clone);
    let identities =
        connection.as_ref().map_or_else(|| Arc::from([]), |handle| handle.identities());
    Job { op, xid, connection, identities, bytes: 10, ..Job::of_server(task, session) }
}
