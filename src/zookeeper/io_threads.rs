//! The threads that client connections live on, each with an event loop of its own.
//!
//! What one look at the sockets finds is read as a whole, and then the writer is woken, once; what a
//! batch of the writer answers is sent as a whole, by the thread of the connections. So a request
//! costs no switch of threads where there are many of them.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::handle::ConnectionHandle;
use super::state::State;
use crate::limits;

thread_local! {
    static COURIER: RefCell<Option<Arc<Courier>>> = const { RefCell::new(None) };
}

/// The way between the writer and the connections of one thread.
#[derive(Debug, Default)]
pub struct Courier {
    /// Connections that the writer has answered.
    answered: Mutex<Vec<Arc<ConnectionHandle>>>,
    answers: Notify,
    requests: Notify,
}

impl Courier {
    /// That of the thread which runs this; none on other threads.
    pub fn of_this_thread() -> Option<Arc<Courier>> {
        COURIER.with_borrow(Clone::clone)
    }

    /// For a connection of this thread that has handed requests to the queue: the writer is to be
    /// woken, once the connections that are ready now have handed over theirs.
    pub fn requests_wait(&self) {
        self.requests.notify_one();
    }

    /// For the writer: one more connection with something to send. [`Courier::go`] follows.
    pub fn take(&self, connection: Arc<ConnectionHandle>) {
        self.answered.lock().push(connection);
    }

    /// For the writer: what was taken is to be sent.
    pub fn go(&self) {
        self.answers.notify_one();
    }

    async fn wake_writer(&self, state: &State) {
        loop {
            self.requests.notified().await;
            state.queue.wake();
        }
    }

    async fn deliver(&self) {
        let mut batch = Vec::new();
        loop {
            self.answers.notified().await;
            std::mem::swap(&mut *self.answered.lock(), &mut batch);
            for (index, connection) in batch.drain(..).enumerate() {
                connection.deliver();
                if index % limits::DELIVERIES_PER_TURN == limits::DELIVERIES_PER_TURN - 1 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// The threads. They end, and all connections with them, when this is dropped.
#[derive(Debug)]
pub(super) struct IoThreads {
    handles: Vec<Handle>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    next: AtomicUsize,
    stop: CancellationToken,
}

impl IoThreads {
    /// Starts as many threads as there are cores, within bounds.
    pub(super) fn start(state: &Arc<State>) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut threads = IoThreads {
            handles: Vec::new(),
            threads: Mutex::new(Vec::new()),
            next: AtomicUsize::new(0),
            stop: CancellationToken::new(),
        };
        for number in 0..cores.min(limits::IO_THREADS_MAX) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            threads.handles.push(runtime.handle().clone());
            let (stop, state) = (threads.stop.clone(), Arc::clone(state));
            let thread = std::thread::Builder::new().name(format!("zookeeper-io-{number}"));
            threads.threads.lock().push(thread.spawn(move || {
                let courier = Arc::new(Courier::default());
                COURIER.set(Some(Arc::clone(&courier)));
                let for_requests = Arc::clone(&courier);
                runtime.spawn(async move { for_requests.wake_writer(&state).await });
                runtime.spawn(async move { courier.deliver().await });
                runtime.block_on(stop.cancelled());
            })?);
        }
        Ok(threads)
    }

    /// Runs a connection on one of the threads, in turn.
    pub(super) fn spawn(
        &self,
        tracker: &TaskTracker,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len().max(1);
        if let Some(handle) = self.handles.get(number) {
            tracker.spawn_on(connection, handle);
        }
    }

    /// Ends the threads, and what still runs on them, and waits for that. It blocks.
    pub(super) fn stop(&self) {
        self.stop.cancel();
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for IoThreads {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
