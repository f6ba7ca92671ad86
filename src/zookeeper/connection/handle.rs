//! A connection as everybody else sees it: where its replies and events go, and who it is.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::net::tcp::OwnedWriteHalf;

use super::activity::Activity;
use super::answers::Answers;
use super::output::{OutputTotal, Share};
use super::unsent::Unsent;
use crate::calendar;
use crate::limits;
use crate::zookeeper::auth::{AuthId, Identities, identities_of_peer};
use crate::zookeeper::io_threads::Courier;
use crate::zookeeper::session::Session;
use crate::zookeeper::stats::Responses;

/// What waits to be sent, and the socket that it goes to.
#[derive(Debug)]
struct Outbox {
    unsent: Unsent,
    /// Bytes that the connection's task has taken to send them itself.
    taken: usize,
    /// None where the connection's task sends (TLS), once the connection has ended, and in tests.
    socket: Option<OwnedWriteHalf>,
    /// The connection's task, while it waits.
    waker: Option<Waker>,
    /// The task waits for an answer of the writer, not only for its socket.
    awaits_writer: bool,
    /// Close once everything is sent.
    closing: bool,
    /// What of it all connections together must bear.
    share: Share,
    /// Sizes of what was put in.
    responses: Responses,
    /// Frames put in since it was opened, or since `crst`.
    packets: u64,
}

impl Outbox {
    fn new(socket: Option<OwnedWriteHalf>, total: OutputTotal) -> Self {
        Outbox {
            unsent: Unsent::default(),
            taken: 0,
            socket,
            waker: None,
            awaits_writer: false,
            closing: false,
            share: Share::new(total),
            responses: Responses::default(),
            packets: 0,
        }
    }

    /// Has whoever polls woken for more: `context` is its task's.
    fn register(&mut self, context: &Context<'_>) {
        match &self.waker {
            Some(present) if present.will_wake(context.waker()) => {}
            _ => self.waker = Some(context.waker().clone()),
        }
    }

    /// Whether more may be put in. A client that reads too slowly for what it is sent is cut off.
    fn has_room(&mut self, peer: SocketAddr) -> bool {
        if !self.closing && self.waiting() > limits::OUTPUT_BYTES_MAX {
            tracing::debug!(%peer, "closed: the client doesn't read its output");
            self.cut_off();
        }
        !self.closing
    }

    /// Forgets what waits, and lets the connection end.
    fn cut_off(&mut self) {
        self.unsent.clear();
        self.closing = true;
        self.share.clear();
    }

    fn waiting(&self) -> usize {
        self.unsent.len() + self.taken
    }

    /// Sends as much as the socket takes; says whether that was all.
    fn flush(&mut self) -> io::Result<bool> {
        if self.unsent.is_empty() {
            return Ok(true);
        }
        let Some(socket) = &self.socket else { return Ok(false) };
        let mut progress = false;
        loop {
            match self.unsent.send_some(socket) {
                Ok(0) => {
                    self.share.clear();
                    return Ok(true);
                }
                Ok(count) => {
                    progress = true;
                    self.share.sent(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.share.stalled(self.unsent.len(), progress);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The state of a connection that its own task shares with the writer, the watch tables and the
/// session timer.
pub struct ConnectionHandle {
    id: u64,
    peer: SocketAddr,
    session: OnceLock<Arc<Session>>,
    identities: Mutex<Identities>,
    outbox: Mutex<Outbox>,
    pending: AtomicUsize,
    gone: AtomicBool,
    /// A request of it was dropped: none behind that one may be carried out.
    invalid: AtomicBool,
    /// Whether it came by the port for TLS alone.
    by_secure_port: bool,
    touched: AtomicBool,
    courier: Option<Arc<Courier>>,
    received: AtomicU64,
    activity: Activity,
}

impl std::fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionHandle")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl ConnectionHandle {
    /// A connection that has just been accepted, on the thread that it lives on.
    pub fn new(
        id: u64,
        peer: SocketAddr,
        socket: Option<OwnedWriteHalf>,
        output: OutputTotal,
    ) -> Self {
        ConnectionHandle {
            id,
            peer,
            session: OnceLock::new(),
            identities: Mutex::new(identities_of_peer(peer.ip())),
            outbox: Mutex::new(Outbox::new(socket, output)),
            pending: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            invalid: AtomicBool::new(false),
            by_secure_port: false,
            touched: AtomicBool::new(false),
            courier: Courier::of_this_thread(),
            received: AtomicU64::new(0),
            activity: Activity::new(calendar::now_ms()),
        }
    }

    /// The same, of a client that came by the port for TLS alone, or by another.
    #[must_use]
    pub fn by_port(self, secure: bool) -> Self {
        ConnectionHandle { by_secure_port: secure, ..self }
    }

    /// Whether it came by the port for TLS alone.
    pub fn came_by_secure_port(&self) -> bool {
        self.by_secure_port
    }

    /// Its number, unique in this process; as a watcher it has the same one.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The session that the handshake attached it to.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.get()
    }

    /// Attaches it, once.
    pub fn attach(&self, session: Arc<Session>) {
        let _ = self.session.set(session);
    }

    /// What the client has proved so far.
    pub fn identities(&self) -> Identities {
        Arc::clone(&self.identities.lock())
    }

    /// Whether `accept` accepts what the client has proved so far.
    pub fn is_identified(&self, accept: impl FnOnce(&[AuthId]) -> bool) -> bool {
        accept(&self.identities.lock())
    }

    /// Replaces what the client has proved.
    pub fn set_identities(&self, identities: Identities) {
        *self.identities.lock() = identities;
    }

    /// Requests of this connection that are with the writer.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    /// `count` requests go to the writer.
    pub fn add_pending(&self, count: usize) {
        self.pending.fetch_add(count, Ordering::Relaxed);
    }

    /// One of them is answered: to be called after the answer is in the outbox, so that whoever sees
    /// none pending answers behind it.
    pub fn answered(&self) {
        self.pending.fetch_sub(1, Ordering::Release);
    }

    /// Whether its task has ended: it takes no replies, and no watches.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Its task ends.
    pub fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
        let mut outbox = self.outbox.lock();
        outbox.cut_off();
        outbox.taken = 0;
        (outbox.socket, outbox.waker) = (None, None);
    }

    /// Takes back the socket's writing half, which is closed with the connection.
    pub(super) fn take_socket(&self) -> Option<OwnedWriteHalf> {
        self.outbox.lock().socket.take()
    }

    /// Appends a frame to what is sent, and returns its size: 0 where it is dropped, since the
    /// connection closes. A client that reads too slowly for what it is sent is cut off: its output is
    /// dropped, and the connection closes.
    pub fn send(&self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let mut outbox = self.outbox.lock();
        if !outbox.has_room(self.peer) {
            return 0;
        }
        let size = outbox.unsent.put(write);
        outbox.responses.sent(size);
        outbox.packets += 1;
        let waiting = outbox.waiting();
        outbox.share.grown(waiting);
        size
    }

    /// Appends all of them, as [`ConnectionHandle::send`] does, and leaves nothing in `answers`.
    pub fn send_all(&self, answers: &mut Answers) {
        let mut outbox = self.outbox.lock();
        if outbox.has_room(self.peer) {
            outbox.unsent.append(&mut answers.bytes, &mut answers.listings);
            outbox.packets += answers.sizes.count();
            outbox.responses.add(&answers.sizes);
            outbox.closing = answers.closing;
            let waiting = outbox.waiting();
            outbox.share.grown(waiting);
        }
        drop(outbox);
        answers.bytes.clear();
        answers.listings.clear();
        answers.sizes = Responses::default();
        answers.closing = false;
    }

    /// A request of it is not carried out: nothing more is, and it is closed.
    pub fn invalidate(&self) {
        self.invalid.store(true, Ordering::Release);
        self.cut_off();
    }

    /// Whether that has happened.
    pub fn is_invalid(&self) -> bool {
        self.invalid.load(Ordering::Acquire)
    }

    /// Closes it as soon as everything in the outbox is sent.
    pub fn close(&self) {
        self.outbox.lock().closing = true;
        self.wake();
    }

    /// Wakes the connection's task, if it waits.
    pub fn wake(&self) {
        let waker = self.outbox.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The way to the thread that it lives on; none in tests.
    pub fn courier(&self) -> Option<&Arc<Courier>> {
        self.courier.as_ref()
    }

    /// For the writer: notes that [`ConnectionHandle::deliver`] is to follow; whether that was not so
    /// yet.
    pub fn touch(&self) -> bool {
        !self.touched.swap(true, Ordering::AcqRel)
    }

    /// Behind the writer's answers: sends them where that is possible at once, and wakes the
    /// connection's task where it is needed.
    pub fn deliver(&self) {
        // Before the outbox is locked: whoever puts something in behind it finds it stored.
        self.touched.store(false, Ordering::Release);
        let mut outbox = self.outbox.lock();
        let all_sent = outbox.flush().unwrap_or(false);
        let woken = std::mem::take(&mut outbox.awaits_writer) || outbox.closing || !all_sent;
        let waker = if woken { outbox.waker.take() } else { None };
        drop(outbox);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// For its own task: sends all that waits, and leaves its waker to be woken for more. Says
    /// whether the connection is to be closed now.
    pub(super) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut outbox = self.outbox.lock();
        outbox.register(context);
        loop {
            if outbox.flush()? {
                return Poll::Ready(Ok(outbox.closing));
            }
            let Some(socket) = &outbox.socket else { return Poll::Pending };
            std::task::ready!(socket.as_ref().poll_write_ready(context))?;
        }
    }

    /// For its own task, where that sends: what waits goes to `sending`, which is empty and all sent,
    /// and a waker is left to be woken for more. Says whether the connection is to be closed once
    /// that is sent.
    pub(super) fn take_output(&self, sending: &mut Vec<u8>, context: &mut Context<'_>) -> bool {
        let mut outbox = self.outbox.lock();
        outbox.register(context);
        outbox.unsent.take(sending);
        outbox.taken = sending.len();
        if sending.is_empty() {
            outbox.share.clear();
        }
        outbox.closing
    }

    /// For its own task, where that sends: the socket is full; `progress` says whether it took some
    /// just now.
    pub(super) fn note_full_socket(&self, progress: bool) {
        let mut outbox = self.outbox.lock();
        let waiting = outbox.waiting();
        outbox.share.stalled(waiting, progress);
    }

    /// Since when its client has read nothing of what waits for it.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.outbox.lock().share.since()
    }

    /// Forgets what waits for it, and closes it.
    pub fn cut_off(&self) {
        self.outbox.lock().cut_off();
        self.wake();
    }

    /// For its own task, where that sends: so much has been sent.
    pub(super) fn count_sent_bytes(&self, count: usize) {
        self.outbox.lock().share.sent(count);
    }

    /// Whether it is to be closed, as soon as all is sent.
    pub(super) fn is_closing(&self) -> bool {
        self.outbox.lock().closing
    }

    /// For its own task: it is to be woken when the writer has answered. False where it must look once
    /// more before it sleeps: something waits to be sent, or it was not to be woken yet, and an
    /// answer may just have come.
    pub(super) fn await_writer(&self) -> bool {
        let mut outbox = self.outbox.lock();
        std::mem::replace(&mut outbox.awaits_writer, true) && outbox.waiting() == 0
    }

    /// Bytes that wait to be sent.
    #[cfg(test)]
    fn output_len(&self) -> usize {
        self.outbox.lock().waiting()
    }

    /// What waits to be sent, taken out: for tests, which have no socket.
    #[cfg(test)]
    pub(crate) fn take_waiting(&self) -> Vec<u8> {
        let (mut outbox, mut all) = (self.outbox.lock(), Vec::new());
        loop {
            let mut part = Vec::new();
            outbox.unsent.take(&mut part);
            if part.is_empty() {
                return all;
            }
            all.append(&mut part);
        }
    }

    /// Notes requests that came.
    pub fn count_received(&self, packets: u64) {
        self.received.fetch_add(packets, Ordering::Relaxed);
    }

    /// Its last request, and how long its requests took.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Sizes of the answers and events that it was sent.
    pub fn responses(&self) -> Responses {
        self.outbox.lock().responses
    }

    /// `crst`: packets and latencies begin at zero again.
    pub fn reset(&self) {
        self.received.store(0, Ordering::Relaxed);
        self.outbox.lock().packets = 0;
        self.activity.reset();
    }

    /// Packets received and sent since it was opened, or since `crst`.
    pub fn packets(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.outbox.lock().packets)
    }
}

#[cfg(test)]
mod tests {
    use metrics::Counter;

    use super::*;

    fn handle() -> ConnectionHandle {
        let output = OutputTotal::new(limits::OUTPUT_BYTES_TOTAL_MAX, Counter::noop());
        ConnectionHandle::new(1, "127.0.0.1:1".parse().unwrap(), None, output)
    }

    #[test]
    fn a_client_that_never_reads_costs_a_bounded_amount() {
        let handle = handle();
        let frame = vec![0; 1 << 20];
        for _ in 0..10 * limits::OUTPUT_BYTES_MAX / frame.len() {
            handle.send(|out| out.extend_from_slice(&frame));
            assert!(handle.output_len() <= limits::OUTPUT_BYTES_MAX + frame.len());
        }
        assert!(handle.is_closing());
        assert_eq!(handle.output_len(), 0);
    }

    #[test]
    fn a_batch_delivers_to_it_once() {
        let handle = handle();
        assert!(handle.touch());
        assert!(!handle.touch(), "a delivery is to follow already");
        handle.deliver();
        assert!(handle.touch());
    }

    #[test]
    fn nothing_is_sent_after_a_close() {
        let handle = handle();
        handle.send(|out| out.push(1));
        handle.close();
        handle.send(|out| out.push(2));
        assert!(handle.is_closing());
        assert_eq!((handle.output_len(), handle.packets()), (1, (0, 1)));
    }

    #[test]
    fn answers_come_behind_what_waits_and_leave_their_buffer_empty() {
        let handle = handle();
        let mut answers = Answers::default();
        for number in 1..=2 {
            answers.put(|out| out.extend_from_slice(&[0, 0, 0, 1, number]));
            handle.send_all(&mut answers);
            assert!(answers.is_empty());
        }
        handle.send(|out| out.push(3));
        answers.put(|out| out.push(4));
        answers.close();
        handle.send_all(&mut answers);
        answers.put(|out| out.push(5));
        handle.send_all(&mut answers);
        assert!(handle.is_closing() && answers.is_empty());
        assert_eq!((handle.packets(), handle.responses().bytes()), ((0, 4), 2));
        assert_eq!(handle.take_waiting(), [0, 0, 0, 1, 1, 0, 0, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn whoever_awaits_the_writer_looks_once_more_and_is_woken_once() {
        struct Count(AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (handle, count) = (handle(), Arc::new(Count(AtomicUsize::new(0))));
        let waker = Waker::from(Arc::clone(&count));
        assert!(!handle.await_writer(), "an answer may have come before");
        assert!(handle.await_writer());
        assert!(handle.poll_flush(&mut Context::from_waker(&waker)).is_ready());
        handle.deliver();
        handle.deliver();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(handle.poll_flush(&mut Context::from_waker(&waker)).is_ready());
        handle.deliver();
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "it awaits its socket alone");
    }
}
