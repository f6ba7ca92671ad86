//! One connection of a load: what is to be written, what was read, and when each request was sent.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::{Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::Conversation;
use crate::histogram::Histogram;

/// The longest answer that is taken for one.
const MAX_ANSWER: usize = 128 << 20;
/// Bytes in front of an answer that say how long it is.
const LENGTH_BYTES: usize = 4;
/// The error of a connection that is not there yet: `EINPROGRESS` of Linux.
const EINPROGRESS: i32 = 115;
/// How long opening and closing wait for the server each time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections from one source address: the ports of those that ended are taken for a while.
const PER_SOURCE: usize = 4_000;

/// A non-blocking connection with its requests in flight.
#[derive(Debug)]
pub(super) struct Connection {
    stream: mio::net::TcpStream,
    /// The bytes that are still to be written: `out[written..]`.
    out: Vec<u8>,
    written: usize,
    answer: Option<Answer>,
    /// What is kept of an answer that is not whole yet, or the beginning of its length.
    kept: Vec<u8>,
    sent: VecDeque<Instant>,
    exhausted: bool,
}

/// An answer that is being read.
#[derive(Debug, Clone, Copy)]
struct Answer {
    length: usize,
    /// How many of its first bytes the conversation wants.
    wanted: usize,
    /// How many of its bytes were read.
    read: usize,
}

impl Connection {
    /// Takes over a connection whose opening exchange is done, and registers it for readiness.
    pub(super) fn new(stream: TcpStream, index: usize, poll: &Poll) -> Result<Self> {
        stream.set_nonblocking(true)?;
        Self::register(stream, index, poll)
    }

    /// A connection that is only being made: it is writable when it is there, or has failed.
    pub(super) fn connecting(address: SocketAddr, index: usize, poll: &Poll) -> Result<Self> {
        let socket = socket(address)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error.into()),
            _ => {}
        }
        Self::register(socket.into(), index, poll)
    }

    fn register(stream: TcpStream, index: usize, poll: &Poll) -> Result<Self> {
        let mut stream = mio::net::TcpStream::from_std(stream);
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(index), both)?;
        Ok(Self {
            stream,
            out: Vec::new(),
            written: 0,
            answer: None,
            kept: Vec::new(),
            sent: VecDeque::new(),
            exhausted: false,
        })
    }

    /// Why the connection was not made, if it was not.
    pub(super) fn refused(&self) -> Result<()> {
        match self.stream.take_error()? {
            None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }

    /// The connection as a blocking one again.
    pub(super) fn into_stream(self) -> Result<TcpStream> {
        let stream = TcpStream::from(self.stream);
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    /// Whether no answer is owed.
    pub(super) fn is_idle(&self) -> bool {
        self.sent.is_empty()
    }

    /// Asks until `in_flight` requests are unanswered, and writes what the socket takes.
    pub(super) fn fill<C: Conversation>(
        &mut self,
        index: usize,
        in_flight: usize,
        now: Instant,
        conversation: &mut C,
    ) -> Result<()> {
        while self.sent.len() < in_flight && !self.exhausted {
            if conversation.ask(index, &mut self.out) {
                self.sent.push_back(now);
            } else {
                self.exhausted = true;
            }
        }
        self.flush()
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) -> Result<()> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("write"),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads until the socket is empty, by way of `room`; returns how many answers came.
    pub(super) fn read<C: Conversation>(
        &mut self,
        index: usize,
        room: &mut [u8],
        mut latency: Option<&mut Histogram>,
        conversation: &mut C,
    ) -> Result<u64> {
        let mut answers = 0;
        loop {
            let count = match self.stream.read(room) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(answers),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("read"),
            };
            let bytes = room.get(..count).unwrap_or_default();
            let now = Instant::now();
            answers += self.take(index, bytes, now, latency.as_deref_mut(), conversation)?;
            // Readiness is told by edges: a read that left room in the buffer has emptied the socket.
            if count < room.len() {
                return Ok(answers);
            }
        }
    }

    /// Takes what was read: keeps of an answer that is not whole yet what is wanted of it.
    fn take<C: Conversation>(
        &mut self,
        index: usize,
        mut bytes: &[u8],
        now: Instant,
        mut latency: Option<&mut Histogram>,
        conversation: &mut C,
    ) -> Result<u64> {
        let mut answers = 0;
        loop {
            let Some(mut answer) = self.answer else {
                let missing = LENGTH_BYTES - self.kept.len();
                let (some, rest) = bytes.split_at(missing.min(bytes.len()));
                self.kept.extend_from_slice(some);
                bytes = rest;
                let Some(length) = self.kept.first_chunk() else { return Ok(answers) };
                let length = frame_length(*length)?;
                self.kept.clear();
                let wanted = conversation.wanted(length).min(length);
                self.answer = Some(Answer { length, wanted, read: 0 });
                continue;
            };
            let (some, rest) = bytes.split_at((answer.length - answer.read).min(bytes.len()));
            bytes = rest;
            let wanted = some.get(..answer.wanted.saturating_sub(answer.read).min(some.len()));
            let wanted = wanted.unwrap_or_default();
            if some.len() < answer.length {
                self.kept.extend_from_slice(wanted);
            }
            answer.read += some.len();
            self.answer = Some(answer);
            if answer.read < answer.length {
                return Ok(answers);
            }
            self.answer = None;
            let Some(sent) = self.sent.pop_front() else { bail!("an answer without a request") };
            if some.len() < answer.length {
                conversation.answered(index, &self.kept)?;
                self.kept = Vec::new();
            } else {
                conversation.answered(index, wanted)?;
            }
            answers += 1;
            if let Some(latency) = &mut latency {
                latency.record(now.saturating_duration_since(sent));
            }
        }
    }
}

/// A socket towards `address`; every few thousand are from another loopback address.
fn socket(address: SocketAddr) -> Result<Socket> {
    static SOCKETS: AtomicUsize = AtomicUsize::new(0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip().is_loopback() && address.is_ipv4() {
        let source = SOCKETS.fetch_add(1, Ordering::Relaxed) / PER_SOURCE;
        let [low, middle, ..] = source.to_le_bytes();
        let source = Ipv4Addr::new(127, 1, middle, low);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// Connects and sends the opening request.
pub(super) fn open<C: Conversation>(
    address: SocketAddr,
    index: usize,
    conversation: &mut C,
) -> Result<TcpStream> {
    let socket = socket(address)?;
    socket.connect(&address.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut out = Vec::new();
    conversation.open(index, &mut out)?;
    stream.write_all(&out)?;
    Ok(stream)
}

/// Sends the goodbye, if the conversation has one; says whether the server will hang up.
pub(super) fn say_goodbye<C: Conversation>(
    stream: &mut TcpStream,
    index: usize,
    conversation: &mut C,
) -> Result<bool> {
    let mut out = Vec::new();
    let closing = conversation.close(index, &mut out);
    stream.write_all(&out)?;
    Ok(closing)
}

/// Waits for the server to hang up. One that resets the connection behind its answer has closed it
/// as well.
pub(super) fn await_end(mut stream: TcpStream, index: usize) -> Result<()> {
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            Err(error).with_context(|| format!("goodbye of connection {index}"))
        }
        _ => Ok(()),
    }
}

fn frame_length(length: [u8; LENGTH_BYTES]) -> Result<usize> {
    match usize::try_from(i32::from_be_bytes(length)) {
        Ok(length) if length <= MAX_ANSWER => Ok(length),
        _ => bail!("an answer's length is {}", i32::from_be_bytes(length)),
    }
}

/// Reads one frame from a blocking connection and returns it without its length.
pub(crate) fn read_frame(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).context("no answer")?;
    let mut payload = vec![0; frame_length(length)?];
    stream.read_exact(&mut payload).context("half an answer")?;
    Ok(payload)
}
