//! One connection of a load: what is to be written, what was read, and when each request was sent.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::{Interest, Poll, Token};

use super::Conversation;
use crate::histogram::Histogram;

/// Room that is offered to one `read`.
const READ_SIZE: usize = 64 << 10;
/// The longest answer that is taken for one.
const MAX_ANSWER: usize = 128 << 20;
/// How long opening and closing wait for the server each time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A non-blocking connection with its requests in flight.
#[derive(Debug)]
pub(super) struct Connection {
    stream: mio::net::TcpStream,
    /// The bytes that are still to be written: `out[written..]`.
    out: Vec<u8>,
    written: usize,
    /// The bytes read and not yet taken: `input[taken..filled]`.
    input: Vec<u8>,
    taken: usize,
    filled: usize,
    sent: VecDeque<Instant>,
    exhausted: bool,
}

impl Connection {
    /// Takes over a connection whose opening exchange is done, and registers it for readiness.
    pub(super) fn new(stream: TcpStream, index: usize, poll: &Poll) -> Result<Self> {
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry().register(
            &mut stream,
            Token(index),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(Self {
            stream,
            out: Vec::new(),
            written: 0,
            input: vec![0; READ_SIZE],
            taken: 0,
            filled: 0,
            sent: VecDeque::new(),
            exhausted: false,
        })
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

    /// Reads until the socket is empty; returns how many answers came.
    pub(super) fn read<C: Conversation>(
        &mut self,
        index: usize,
        mut latency: Option<&mut Histogram>,
        conversation: &mut C,
    ) -> Result<u64> {
        let mut answers = 0;
        loop {
            if self.filled == self.input.len() {
                let larger = self.input.len() * 2;
                self.input.resize(larger, 0);
            }
            let room = self.input.get_mut(self.filled..).unwrap_or_default();
            let offered = room.len();
            let count = match self.stream.read(room) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(answers),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("read"),
            };
            self.filled += count;
            let now = Instant::now();
            while let Some(answer) =
                frame(self.input.get(self.taken..self.filled).unwrap_or_default())?
            {
                let Some(sent) = self.sent.pop_front() else {
                    bail!("an answer without a request")
                };
                conversation.answered(index, answer)?;
                self.taken += 4 + answer.len();
                answers += 1;
                if let Some(latency) = &mut latency {
                    latency.record(now.saturating_duration_since(sent));
                }
            }
            self.input.copy_within(self.taken..self.filled, 0);
            self.filled -= self.taken;
            self.taken = 0;
            // Readiness is told by edges: a read that left room in the buffer has emptied the socket.
            if count < offered {
                return Ok(answers);
            }
        }
    }
}

/// Connects and sends the opening request.
pub(super) fn open<C: Conversation>(
    address: SocketAddr,
    index: usize,
    conversation: &mut C,
) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
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

/// The first whole frame of `bytes`, without its length.
fn frame(bytes: &[u8]) -> Result<Option<&[u8]>> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    Ok(rest.get(..frame_length(*length)?))
}

fn frame_length(length: [u8; 4]) -> Result<usize> {
    match usize::try_from(i32::from_be_bytes(length)) {
        Ok(length) if length <= MAX_ANSWER => Ok(length),
        _ => bail!("an answer's length is {}", i32::from_be_bytes(length)),
    }
}

/// Reads one frame from a blocking connection and returns it without its length.
pub(crate) fn read_frame(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).context("no answer")?;
    let mut payload = vec![0; frame_length(length)?];
    stream.read_exact(&mut payload).context("half an answer")?;
    Ok(payload)
}
