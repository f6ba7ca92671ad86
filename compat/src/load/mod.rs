//! The load generator: one thread, many connections, a fixed number of requests in flight on each.
//!
//! It is a closed loop: an answer is followed by the next request of its connection at once. So the
//! throughput is what the server can do with that many requests in flight, and a latency is the time
//! from a request's writing to its answer's reading, which includes the time that the answer waits
//! for a busy generator: the generator's own CPU time stands beside every figure.

mod connection;
mod storm;
pub(crate) use connection::read_frame;
pub use storm::{Storm, Stormed, storm};

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::{Events, Poll, Token};

use crate::histogram::Histogram;
use crate::process;
use connection::Connection;

/// How long a server may leave every request unanswered before the load counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Room that is offered to one `read`.
const READ_SIZE: usize = 256 << 10;
/// Connections that are opened together: fewer than any server's backlog.
const OPENED_AT_ONCE: usize = 32;

/// What is said on the connections of a load, and whether the answers are right. Frames have a
/// big-endian length of four bytes in front, in both protocols, and answers come in the order of
/// their requests.
pub trait Conversation {
    /// Appends a connection's first request.
    fn open(&mut self, connection: usize, out: &mut Vec<u8>) -> Result<()>;
    /// Checks the answer to the first request.
    fn opened(&mut self, connection: usize, answer: &[u8]) -> Result<()>;
    /// Appends the next request; false when this connection has nothing more to ask.
    fn ask(&mut self, connection: usize, out: &mut Vec<u8>) -> bool;
    /// How many of the first bytes of an answer of this length are to be kept for
    /// [`Conversation::answered`]; the others are read and dropped. Called once for each answer.
    fn wanted(&mut self, length: usize) -> usize {
        length
    }
    /// Checks the answer to the oldest request that has none.
    fn answered(&mut self, connection: usize, answer: &[u8]) -> Result<()>;
    /// Appends a goodbye that the server follows by closing the connection; false = hang up.
    fn close(&mut self, connection: usize, out: &mut Vec<u8>) -> bool;
}

/// The size of a load, and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// The server's address.
    pub address: SocketAddr,
    /// Its process, whose CPU time is measured.
    pub pid: u32,
    /// How many connections.
    pub connections: usize,
    /// How many requests are in flight on each.
    pub in_flight: usize,
}

/// How long a load lasts.
#[derive(Debug, Clone, Copy)]
pub enum Extent {
    /// An unmeasured time, then a measured one.
    Time {
        /// Unmeasured.
        warm_up: Duration,
        /// Measured.
        measured: Duration,
    },
    /// Until no connection has anything more to ask; all of it is measured.
    Everything,
}

impl Extent {
    /// The unmeasured and the measured time; of a load without an end, none.
    pub fn times(self) -> (Duration, Duration) {
        match self {
            Extent::Time { warm_up, measured } => (warm_up, measured),
            Extent::Everything => (Duration::ZERO, Duration::ZERO),
        }
    }
}

/// What a load found.
#[derive(Debug)]
pub struct Measured {
    /// Answers in the measured time.
    pub answers: u64,
    /// The measured time.
    pub elapsed: Duration,
    /// Times from request to answer.
    pub latency: Histogram,
    /// CPU time of the server in the measured time.
    pub server_cpu: Duration,
    /// CPU time of the generator's thread in the measured time.
    pub generator_cpu: Duration,
    /// CPU time of everything else on the machine in the measured time.
    pub other_cpu: Duration,
}

/// Measures the CPU time of everybody, from its start to its stop.
#[derive(Debug)]
pub struct Meter {
    pid: u32,
    begin: Mark,
}

impl Meter {
    /// Starts to measure the server of this process id, and the calling thread as its generator.
    pub fn start(pid: u32) -> Result<Self> {
        Ok(Self { pid, begin: Mark::now(pid)? })
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.begin.at.elapsed()
    }

    /// What was found, with so many answers.
    pub fn stop(self, answers: u64, latency: Histogram) -> Result<Measured> {
        Ok(Measured::between(&self.begin, &Mark::now(self.pid)?, answers, latency))
    }
}

impl Measured {
    fn between(begin: &Mark, end: &Mark, answers: u64, latency: Histogram) -> Self {
        let server_cpu = end.server.saturating_sub(begin.server);
        let generator_cpu = end.generator.saturating_sub(begin.generator);
        let machine = end.machine.saturating_sub(begin.machine);
        Self {
            answers,
            elapsed: end.at - begin.at,
            latency,
            server_cpu,
            generator_cpu,
            other_cpu: machine.saturating_sub(server_cpu + generator_cpu),
        }
    }
}

/// The counters at one instant.
#[derive(Debug)]
struct Mark {
    at: Instant,
    server: Duration,
    generator: Duration,
    machine: Duration,
}

impl Mark {
    fn now(pid: u32) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: process::cpu_time(pid)?,
            generator: process::thread_cpu_time()?,
            machine: process::machine_cpu_time()?,
        })
    }
}

/// Opens the connections, keeps the load up as long as `extent` says, waits for what is still in
/// flight, and closes the connections. An answer that the conversation does not accept is an error.
pub fn run<C: Conversation>(load: Load, extent: Extent, conversation: &mut C) -> Result<Measured> {
    run_and(load, extent, conversation, &mut || Ok(()))
}

/// The same, and calls `inspect` before the connections are closed.
pub fn run_and<C: Conversation>(
    load: Load,
    extent: Extent,
    conversation: &mut C,
    inspect: &mut dyn FnMut() -> Result<()>,
) -> Result<Measured> {
    let mut poll = Poll::new()?;
    let mut connections = Vec::with_capacity(load.connections);
    for (index, stream) in open_all(&load, conversation)?.into_iter().enumerate() {
        connections.push(Connection::new(stream, index, &poll)?);
    }
    let mut run = Run { connections, room: vec![0; READ_SIZE], answers: 0, latency: None };
    let measured = run.drive(&mut poll, &load, extent, conversation);
    let measured = measured.with_context(|| format!("load on {}", load.address))?;
    inspect()?;
    let streams = run.connections.into_iter().map(Connection::into_stream);
    close_all(streams.collect::<Result<_>>()?, conversation)?;
    Ok(measured)
}

/// Opens all connections of a load and has the opening exchange on each, a few at a time: more of
/// them than that might not fit into a server's backlog.
pub(crate) fn open_all<C: Conversation>(
    load: &Load,
    conversation: &mut C,
) -> Result<Vec<TcpStream>> {
    let mut streams: Vec<TcpStream> = Vec::with_capacity(load.connections);
    while streams.len() < load.connections {
        let first = streams.len();
        for index in first..load.connections.min(first + OPENED_AT_ONCE) {
            streams.push(connection::open(load.address, index, conversation)?);
        }
        for (index, stream) in streams.iter_mut().enumerate().skip(first) {
            let opened = read_frame(stream).and_then(|answer| conversation.opened(index, &answer));
            opened.with_context(|| format!("connection {index} to {}", load.address))?;
        }
    }
    Ok(streams)
}

/// Has the closing exchange on all connections, waiting for the server to hang up.
pub(crate) fn close_all<C: Conversation>(
    mut streams: Vec<TcpStream>,
    conversation: &mut C,
) -> Result<()> {
    let mut closing = Vec::with_capacity(streams.len());
    for (index, stream) in streams.iter_mut().enumerate() {
        closing.push(connection::say_goodbye(stream, index, conversation)?);
    }
    for (index, stream) in streams.into_iter().enumerate() {
        if closing.get(index).is_some_and(|closing| *closing) {
            connection::await_end(stream, index)?;
        }
    }
    Ok(())
}

/// A load under way.
struct Run {
    connections: Vec<Connection>,
    room: Vec<u8>,
    answers: u64,
    /// Where latencies go; none while unmeasured.
    latency: Option<Histogram>,
}

impl Run {
    fn drive<C: Conversation>(
        &mut self,
        poll: &mut Poll,
        load: &Load,
        extent: Extent,
        conversation: &mut C,
    ) -> Result<Measured> {
        let mut events = Events::with_capacity(load.connections.max(16));
        let (warm_up, measured) = match extent {
            Extent::Time { warm_up, measured } => (warm_up, Some(measured)),
            Extent::Everything => (Duration::ZERO, None),
        };
        let mut begin = None;
        if warm_up.is_zero() {
            begin = Some(Mark::now(load.pid)?);
            self.latency = Some(Histogram::default());
        }
        let started = Instant::now();
        for (index, connection) in self.connections.iter_mut().enumerate() {
            connection.fill(index, load.in_flight, started, conversation)?;
        }
        let mut last_answer = (0, started);
        let (end, latency) = loop {
            let next = match &begin {
                None => Some(started + warm_up),
                Some(mark) => measured.map(|measured| mark.at + measured),
            };
            let now = Instant::now();
            if next.is_some_and(|next| now >= next) {
                let mark = Mark::now(load.pid)?;
                let latency = self.latency.replace(Histogram::default()).unwrap_or_default();
                if begin.is_some() {
                    break (mark, latency);
                }
                begin = Some(mark);
                self.answers = 0;
            }
            if measured.is_none() && self.idle() {
                break (Mark::now(load.pid)?, self.latency.take().unwrap_or_default());
            }
            if self.answers != last_answer.0 {
                last_answer = (self.answers, now);
            } else if now > last_answer.1 + PATIENCE {
                bail!("no answer within {} s", PATIENCE.as_secs());
            }
            let wait =
                next.map_or(PATIENCE, |next| next.saturating_duration_since(now)).min(PATIENCE);
            self.turn(poll, &mut events, wait, load.in_flight, conversation)?;
        };
        let answers = self.answers;
        let Some(begin) = begin else { bail!("the load ended before it was measured") };
        // What is in flight is still owed: its answers are read, so that the servers are left alike.
        let deadline = Instant::now() + PATIENCE;
        while !self.idle() {
            if Instant::now() > deadline {
                bail!("answers still missing {} s after the load's end", PATIENCE.as_secs());
            }
            self.turn(poll, &mut events, Duration::from_secs(1), 0, conversation)?;
        }
        Ok(Measured::between(&begin, &end, answers, latency))
    }

    /// Waits for readiness once and serves every connection that is ready.
    fn turn<C: Conversation>(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        wait: Duration,
        in_flight: usize,
        conversation: &mut C,
    ) -> Result<()> {
        if let Err(error) = poll.poll(events, Some(wait)) {
            if error.kind() == std::io::ErrorKind::Interrupted {
                return Ok(());
            }
            return Err(error.into());
        }
        for event in events.iter() {
            let Token(index) = event.token();
            let Some(connection) = self.connections.get_mut(index) else { continue };
            if event.is_readable() {
                self.answers += connection
                    .read(index, &mut self.room, self.latency.as_mut(), conversation)
                    .with_context(|| format!("connection {index}"))?;
                connection.fill(index, in_flight, Instant::now(), conversation)?;
            } else {
                connection.flush()?;
            }
        }
        Ok(())
    }

    fn idle(&self) -> bool {
        self.connections.iter().all(Connection::is_idle)
    }
}

#[cfg(test)]
mod tests;
