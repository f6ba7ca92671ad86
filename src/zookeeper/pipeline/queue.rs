//! The queue to the writer: bounded by what its connections keep themselves from submitting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::control::Control;
use crate::limits;
use crate::zookeeper::auth::Identities;
use crate::zookeeper::connection::handle::ConnectionHandle;
use crate::zookeeper::connection::memory::Room;
use crate::zookeeper::proto::OpCode;
use crate::zookeeper::proto::request::WriteRequest;
use crate::zookeeper::session::Session;

/// What the writer is asked for.
#[derive(Debug)]
pub enum Task {
    /// A change.
    Write(WriteRequest),
    /// A change that can't be decoded.
    Malformed,
    /// `sync`, with its path.
    Sync(Option<Box<[u8]>>),
    /// A read behind a change of the same session, undecoded.
    Read(Box<[u8]>),
    /// A session begins, for this connection.
    CreateSession {
        /// Whether its answer has the read-only byte.
        with_read_only: bool,
    },
    /// What the AdminServer asks for.
    Control(Control),
    /// A session ends: its client asked for it, or its time is over.
    CloseSession,
    /// The container or TTL node at this path is deleted, if it still is to be.
    Sweep(Box<str>),
}

/// One task, with who asked.
#[derive(Debug)]
pub struct Job {
    /// What to do.
    pub task: Task,
    /// Which opcode it came with; `None` for what the server asks itself.
    pub op: Option<OpCode>,
    /// The request's number.
    pub xid: i32,
    /// For whom.
    pub session: Arc<Session>,
    /// Who is answered.
    pub connection: Option<Arc<ConnectionHandle>>,
    /// What the connection had proved when the request came.
    pub identities: Identities,
    /// When the request came.
    pub received: Instant,
    /// Whether its duration is recorded.
    pub sampled: bool,
    /// What it takes of memory, for the budget, in bytes.
    pub bytes: usize,
    /// What a large request takes of the memory that all of them share.
    pub room: Option<Room>,
}

impl Job {
    /// What the server itself asks for, in the name of `session`; nobody is answered.
    pub fn of_server(task: Task, session: Arc<Session>) -> Job {
        Job {
            task,
            op: None,
            xid: 0,
            session,
            connection: None,
            identities: Arc::from([]),
            received: Instant::now(),
            sampled: false,
            bytes: 0,
            room: None,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    jobs: Vec<Job>,
    waiting: bool,
    stopped: bool,
}

/// Jobs on their way to the writer.
#[derive(Debug)]
pub struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    limit: usize,
    batch_max: usize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

impl Queue {
    /// An empty queue; `limit` is `globalOutstandingLimit`.
    pub fn new(limit: usize) -> Self {
        Queue {
            inner: Mutex::new(Inner::default()),
            wake: Condvar::new(),
            limit,
            batch_max: usize::MAX,
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// The same with so many jobs at most in one batch; `None` is no limit.
    #[must_use]
    pub fn with_batches_of(self, max: Option<usize>) -> Self {
        Queue { batch_max: max.unwrap_or(usize::MAX).max(1), ..self }
    }

    /// Whether so much is with the writer that nothing should be added that can wait.
    pub fn is_full(&self) -> bool {
        self.requests.load(Ordering::Relaxed) >= self.limit || self.is_full_of_bytes()
    }

    /// Whether so much is with the writer that a connection which has `own` requests there already
    /// leaves its socket unread. A few of each are taken however many there are: with one of each
    /// in a batch, whoever sends many at once would wait for as many batches.
    pub fn is_full_for(&self, own: usize) -> bool {
        self.is_full_of_bytes() || own >= limits::OUTSTANDING_OF_ONE && self.is_full()
    }

    fn is_full_of_bytes(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= limits::OUTSTANDING_BYTES_MAX
    }

    /// Requests that are with the writer.
    pub fn outstanding(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that wait for it.
    pub fn depth(&self) -> usize {
        self.inner.lock().jobs.len()
    }

    /// Appends `jobs`, in their order, leaves the vector empty, and wakes the writer.
    pub fn submit(&self, jobs: &mut Vec<Job>) {
        self.put(jobs);
        self.wake();
    }

    /// The same, but it is left to the caller to wake the writer soon.
    pub fn put(&self, jobs: &mut Vec<Job>) {
        self.requests.fetch_add(jobs.len(), Ordering::Relaxed);
        self.bytes.fetch_add(jobs.iter().map(|job| job.bytes).sum(), Ordering::Relaxed);
        self.inner.lock().jobs.append(jobs);
    }

    /// Wakes the writer, if it waits and there is something for it.
    pub fn wake(&self) {
        let mut inner = self.inner.lock();
        if !inner.jobs.is_empty() && std::mem::take(&mut inner.waiting) {
            drop(inner);
            self.wake.notify_one();
        }
    }

    /// For the writer: waits for jobs and takes all there are into `batch`, which is empty, or as many
    /// as a batch may have. False when the queue is stopped and empty.
    pub fn take(&self, batch: &mut Vec<Job>) -> bool {
        let mut inner = self.inner.lock();
        while inner.jobs.is_empty() {
            if inner.stopped {
                return false;
            }
            inner.waiting = true;
            self.wake.wait(&mut inner);
        }
        inner.waiting = false;
        if inner.jobs.len() <= self.batch_max {
            std::mem::swap(&mut inner.jobs, batch);
        } else {
            let rest = inner.jobs.split_off(self.batch_max);
            *batch = std::mem::replace(&mut inner.jobs, rest);
        }
        true
    }

    /// For the writer: so much is done.
    pub fn done(&self, requests: usize, bytes: usize) {
        self.requests.fetch_sub(requests, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Lets the writer end once the queue is empty.
    pub fn stop(&self) {
        self.inner.lock().stopped = true;
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::session::SessionTracker;

    fn jobs(count: usize) -> Vec<Job> {
        let session = SessionTracker::new(1, 1).create(1, 0);
        (0..count)
            .map(|_| Job { bytes: 10, ..Job::of_server(Task::Sync(None), Arc::clone(&session)) })
            .collect()
    }

    #[test]
    fn all_that_waits_is_one_batch() {
        let queue = Queue::new(100);
        queue.submit(&mut jobs(2));
        queue.submit(&mut jobs(3));
        assert_eq!((queue.depth(), queue.outstanding()), (5, 5));
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch));
        assert_eq!((batch.len(), queue.depth(), queue.outstanding()), (5, 0, 5));
        queue.done(5, 50);
        assert_eq!(queue.outstanding(), 0);
    }

    #[test]
    fn a_batch_has_no_more_than_it_may_and_the_rest_follows_in_order() {
        let queue = Queue::new(100).with_batches_of(Some(2));
        let mut five = jobs(5);
        for (xid, job) in (1..).zip(&mut five) {
            job.xid = xid;
        }
        queue.submit(&mut five);
        for expected in [&[1, 2][..], &[3, 4], &[5]] {
            let mut batch = Vec::new();
            assert!(queue.take(&mut batch));
            let xids: Vec<i32> = batch.iter().map(|job| job.xid).collect();
            assert_eq!(xids, expected);
        }
    }

    #[test]
    fn it_waits_for_the_first_job() {
        let queue = Queue::new(100);
        let mut batch = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| queue.submit(&mut jobs(1)));
            assert!(queue.take(&mut batch));
        });
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn what_is_put_is_taken_after_the_wake() {
        let queue = Queue::new(100);
        let mut batch = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                queue.put(&mut jobs(2));
                queue.put(&mut jobs(1));
                queue.wake();
            });
            while batch.len() < 3 {
                let mut more = Vec::new();
                assert!(queue.take(&mut more));
                batch.append(&mut more);
            }
        });
        assert_eq!((batch.len(), queue.outstanding()), (3, 3));
    }

    #[test]
    fn it_is_full_by_requests_and_by_bytes() {
        let queue = Queue::new(2);
        queue.submit(&mut jobs(1));
        assert!(!queue.is_full());
        queue.submit(&mut jobs(1));
        assert!(queue.is_full());
        assert!(!queue.is_full_for(limits::OUTSTANDING_OF_ONE - 1), "a few are taken");
        assert!(queue.is_full_for(limits::OUTSTANDING_OF_ONE));
        let queue = Queue::new(1_000);
        let mut large = jobs(1);
        large[0].bytes = limits::OUTSTANDING_BYTES_MAX;
        queue.submit(&mut large);
        assert!(queue.is_full() && queue.is_full_for(1));
    }

    #[test]
    fn a_stop_lets_the_rest_be_taken_first() {
        let queue = Queue::new(100);
        queue.submit(&mut jobs(1));
        queue.stop();
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch));
        batch.clear();
        assert!(!queue.take(&mut batch));
    }
}
