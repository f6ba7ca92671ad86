//! A connection as everybody else sees it: where its replies and events go, and who it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::limits;
use crate::zookeeper::auth::{Identities, identities_of_peer};
use crate::zookeeper::session::Session;

/// What waits to be sent.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    /// The connection's task, while it waits.
    waker: Option<Waker>,
    /// Close once everything is sent.
    closing: bool,
}

/// The state of a connection that its own task shares with the writer, the watch tables and the
/// session timer.
#[derive(Debug)]
pub struct ConnectionHandle {
    id: u64,
    peer: SocketAddr,
    session: OnceLock<Arc<Session>>,
    identities: Mutex<Identities>,
    outbox: Mutex<Outbox>,
    pending: AtomicUsize,
    gone: AtomicBool,
    received: AtomicU64,
    sent: AtomicU64,
}

impl ConnectionHandle {
    /// A connection that has just been accepted.
    pub fn new(id: u64, peer: SocketAddr) -> Self {
        ConnectionHandle {
            id,
            peer,
            session: OnceLock::new(),
            identities: Mutex::new(identities_of_peer(peer.ip())),
            outbox: Mutex::new(Outbox::default()),
            pending: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }
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
        *self.outbox.lock() = Outbox { closing: true, ..Outbox::default() };
    }

    /// Appends frames to what is sent; `packets` is their number. A client that reads too slowly for
    /// what it is sent is cut off: its output is dropped, and the connection closes.
    pub fn send(&self, packets: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let mut outbox = self.outbox.lock();
        if outbox.closing {
            return;
        }
        if outbox.bytes.len() > limits::OUTPUT_BYTES_MAX {
            tracing::debug!(peer = %self.peer, "closed: the client doesn't read its output");
            outbox.bytes = Vec::new();
            outbox.closing = true;
            return;
        }
        write(&mut outbox.bytes);
        self.sent.fetch_add(packets, Ordering::Relaxed);
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

    /// For its own task: takes what waits into `sending`, which is empty, and leaves `waker` to be
    /// woken for more. Says whether it is to be closed then.
    pub(super) fn collect(&self, sending: &mut Vec<u8>, waker: &Waker) -> bool {
        let mut outbox = self.outbox.lock();
        if sending.is_empty() && !outbox.bytes.is_empty() {
            std::mem::swap(sending, &mut outbox.bytes);
        }
        match &outbox.waker {
            Some(present) if present.will_wake(waker) => {}
            _ => outbox.waker = Some(waker.clone()),
        }
        outbox.closing
    }

    /// Whether something waits to be collected.
    pub(super) fn has_output(&self) -> bool {
        !self.outbox.lock().bytes.is_empty()
    }

    /// Bytes that wait to be collected.
    pub(super) fn output_len(&self) -> usize {
        self.outbox.lock().bytes.len()
    }

    /// Notes requests that came.
    pub fn count_received(&self, packets: u64) {
        self.received.fetch_add(packets, Ordering::Relaxed);
    }

    /// Packets received and sent since it was opened.
    pub fn packets(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> ConnectionHandle {
        ConnectionHandle::new(1, "127.0.0.1:1".parse().unwrap())
    }

    #[test]
    fn output_is_collected_once_and_in_order() {
        let handle = handle();
        handle.send(1, |out| out.push(1));
        handle.send(1, |out| out.push(2));
        let mut sending = Vec::new();
        assert!(!handle.collect(&mut sending, Waker::noop()));
        assert_eq!(sending, [1, 2]);
        assert!(!handle.has_output());
        handle.send(1, |out| out.push(3));
        assert!(!handle.collect(&mut sending, Waker::noop()), "what is being sent stays");
        assert_eq!((sending.len(), handle.output_len()), (2, 1));
        assert_eq!(handle.packets(), (0, 3));
    }

    #[test]
    fn a_client_that_never_reads_costs_a_bounded_amount() {
        let handle = handle();
        let frame = vec![0; 1 << 20];
        for _ in 0..10 * limits::OUTPUT_BYTES_MAX / frame.len() {
            handle.send(1, |out| out.extend_from_slice(&frame));
            assert!(handle.output_len() <= limits::OUTPUT_BYTES_MAX + frame.len());
        }
        assert!(handle.collect(&mut Vec::new(), Waker::noop()), "it is closed");
        assert_eq!(handle.output_len(), 0);
    }

    #[test]
    fn nothing_is_sent_after_a_close() {
        let handle = handle();
        handle.send(1, |out| out.push(1));
        handle.close();
        handle.send(1, |out| out.push(2));
        let mut sending = Vec::new();
        assert!(handle.collect(&mut sending, Waker::noop()));
        assert_eq!(sending, [1]);
    }
}
