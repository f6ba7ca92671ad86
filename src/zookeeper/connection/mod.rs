//! One client connection: a single task that reads, answers what it can, hands the rest to the
//! writer, and sends what comes back.
//!
//! The task decodes as many requests as its buffer holds, answers them into one output buffer, and
//! writes that at once. Nothing is spawned and no channel is made for a request.

pub mod activity;
pub mod answers;
mod authentication;
pub mod handle;
mod handshake;
mod input;
mod listing;
pub mod memory;
pub mod output;
mod requests;
mod security;
mod spare;
mod stream;
pub mod throttle;
mod unsent;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use self::handle::ConnectionHandle;
use self::input::Input;
use self::memory::Arrival;
use self::security::Opened;
pub use self::security::Security;
use self::stream::Stream;
use super::auth::{Exchange, Identities};
use super::pipeline::queue::Job;
use super::session::Session;
use super::state::State;
use crate::limits;

/// Serves `stream` until the client goes, its session ends, or the coordinator stops. `permit` is kept
/// meanwhile.
pub fn serve<P: Send + Unpin + 'static>(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    state: Arc<State>,
    security: Security,
    stop: CancellationToken,
    permit: P,
) -> impl Future<Output = ()> + Send + 'static {
    let opening = Box::pin(open(stream, peer, state, security, stop));
    Served { stage: Stage::Opening(opening), span: Span::none(), _permit: permit }
}

/// A connection's task. Thousands of them wait for their clients: what only a begin or an end needs is
/// apart, and gone meanwhile.
struct Served<P> {
    stage: Stage,
    span: Span,
    _permit: P,
}

/// A future that is somewhere else.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Stage {
    Opening(Boxed<Option<(Stream, Connection)>>),
    Serving(Stream, Connection),
    Lingering(Boxed<()>),
    Ended,
}

async fn open(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    state: Arc<State>,
    security: Security,
    stop: CancellationToken,
) -> Option<(Stream, Connection)> {
    let by_secure_port = matches!(security, Security::Tls(_));
    let stream = TcpStream::from_std(stream).ok()?;
    let opened = tokio::select! {
        () = stop.cancelled() => return None,
        opened = security.open(stream, peer, &state) => opened,
    };
    let Opened { stream, writing, identities } = opened?;
    let handle = state.open_connection(peer, writing, by_secure_port);
    if let Some(identities) = identities {
        handle.set_identities(identities);
    }
    Some((stream, Connection::new(state, handle)))
}

impl<P: Unpin> Future for Served<P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Served { stage, span, .. } = self.get_mut();
        loop {
            *stage = match stage {
                Stage::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Some((stream, connection)) => {
                        let handle = &connection.handle;
                        let (peer, id) = (handle.peer(), handle.id());
                        *span = tracing::debug_span!("connection", %peer, id);
                        Stage::Serving(stream, connection)
                    }
                    None => Stage::Ended,
                },
                Stage::Serving(stream, connection) => {
                    let _entered = span.enter();
                    let end = ready!(connection.poll(stream, context));
                    let writing = connection.handle.take_socket();
                    match (end, std::mem::replace(stage, Stage::Ended)) {
                        (Ok(End::ByServer), Stage::Serving(stream, connection)) => {
                            drop(connection);
                            let span = span.clone();
                            Stage::Lingering(Box::pin(stream.linger(writing).instrument(span)))
                        }
                        (Ok(_), _) => {
                            tracing::debug!("the client closed the connection");
                            Stage::Ended
                        }
                        (Err(error), _) => {
                            tracing::debug!(%error, "connection lost");
                            Stage::Ended
                        }
                    }
                }
                Stage::Lingering(lingering) => {
                    ready!(lingering.as_mut().poll(context));
                    Stage::Ended
                }
                Stage::Ended => return Poll::Ready(()),
            };
        }
    }
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    ByClient,
    ByServer,
}

/// How far a connection is.
#[derive(Debug)]
enum Phase {
    /// Nothing but the handshake or a four-letter word is accepted.
    New,
    /// The session is being created; nothing is read.
    Opening(Arc<Session>),
    /// Requests are served.
    Serving(Arc<Session>),
    /// Nothing more is read; what is owed is sent.
    Finished,
}

/// Why processing the input stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There may be output to send before more is done.
    Flush,
    /// More bytes are needed.
    NeedInput,
    /// The writer has to answer first.
    Wait,
}

struct Connection {
    state: Arc<State>,
    handle: Arc<ConnectionHandle>,
    input: Input,
    phase: Phase,
    /// What the client has proved: the handle has the same, for others.
    identities: Identities,
    /// Whether that is what the configuration enforces.
    admitted: bool,
    /// SASL, once the client has begun it.
    sasl: Option<Box<Exchange>>,
    /// Runs while a handshake or the end is waited for.
    deadline: Option<Pin<Box<Sleep>>>,
    /// A large request that is arriving.
    arrival: Arrival,
    /// Requests for the writer that it has not been given yet: none between two looks at the input.
    jobs: Vec<Job>,
    deferred_reads: usize,
    requests: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.state.close_connection(&self.handle);
    }
}

impl Connection {
    fn new(state: Arc<State>, handle: Arc<ConnectionHandle>) -> Self {
        Connection {
            admitted: state.auth.admits(&handle.identities()),
            sasl: None,
            identities: handle.identities(),
            state,
            handle,
            input: Input::default(),
            phase: Phase::New,
            deadline: None,
            arrival: Arrival::default(),
            jobs: Vec::new(),
            deferred_reads: 0,
            requests: 0,
        }
    }

    fn poll(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<End>> {
        let end = self.poll_end(stream, context);
        self.input.rest();
        end
    }

    fn poll_end(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<End>> {
        loop {
            let draining = self.state.draining.load(Ordering::Acquire);
            if draining && self.handle.pending() == 0 && !self.handle.is_closing() {
                self.handle.close();
            }
            let Poll::Ready(closing) = stream.poll_flush(&self.handle, context)? else {
                // A client that is gone without a word must not hold its connection for ever.
                if self.state.output.is_over() {
                    self.state.cut_off_silent_readers();
                }
                let given_up =
                    self.handle.is_closing() && self.poll_deadline(limits::CLOSE_TIMEOUT, context);
                return if given_up { Poll::Ready(Ok(End::ByServer)) } else { Poll::Pending };
            };
            if closing {
                return Poll::Ready(Ok(End::ByServer));
            }
            let step = if draining { Step::Wait } else { self.process() };
            match step {
                Step::Flush => {}
                Step::Wait => {
                    if self.handle.await_writer() {
                        return Poll::Pending;
                    }
                }
                Step::NeedInput => {
                    if matches!(self.phase, Phase::New)
                        && self.poll_deadline(limits::HANDSHAKE_TIMEOUT, context)
                    {
                        tracing::debug!("no handshake in time");
                        let expired = &self.state.stats.server.sessionless_connections_expired;
                        expired.fetch_add(1, Ordering::Relaxed);
                        return Poll::Ready(Ok(End::ByServer));
                    }
                    if let Some(length) = self.input.missing()
                        && self.state.large_requests.concern(length)
                        && !ready!(self.arrival.poll(length, &self.state.large_requests, context))
                    {
                        tracing::debug!(
                            length,
                            "closed: a large request that did not arrive in time"
                        );
                        return Poll::Ready(Ok(End::ByServer));
                    }
                    if ready!(self.poll_receive(stream, context))? == 0 {
                        return Poll::Ready(Ok(End::ByClient));
                    }
                }
            }
        }
    }

    /// Whether the deadline has passed, which this sets if there is none yet.
    fn poll_deadline(&mut self, after: Duration, context: &mut Context<'_>) -> bool {
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        deadline.as_mut().poll(context).is_ready()
    }

    /// Reads once; 0 is the end.
    fn poll_receive(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(self.input.room());
        ready!(stream.poll_read(context, &mut room))?;
        let count = room.filled().len();
        self.input.filled(count);
        let stats = &self.state.stats;
        stats.received_bytes.increment(count as u64);
        stats.server.bytes_received_count.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn process(&mut self) -> Step {
        match &self.phase {
            Phase::New => self.open(),
            Phase::Opening(session) => {
                if self.handle.pending() > 0 {
                    return Step::Wait;
                }
                self.phase = Phase::Serving(Arc::clone(session));
                self.deadline = None;
                Step::Flush
            }
            Phase::Serving(session) => {
                let session = Arc::clone(session);
                self.serve(&session)
            }
            Phase::Finished => Step::Wait,
        }
    }

    /// Ends the connection from our side: what is in the outbox is sent, nothing more is read.
    fn finish(&mut self) -> Step {
        self.phase = Phase::Finished;
        self.handle.close();
        Step::Flush
    }
}

/// Clamps a client's timeout to `[min, max]`.
fn clamp_timeout(wished_ms: i32, min: Duration, max: Duration) -> u32 {
    let ms = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    let clamped = wished_ms.max(ms(min)).min(ms(max));
    u32::try_from(clamped).unwrap_or(0)
}
