//! What requests may take of memory, all connections together: large ones wait until there is room
//! for them, and may not take for ever to arrive.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::limits;

/// The room for a request, free again when dropped.
pub type Room = OwnedSemaphorePermit;

/// The unit in which room is counted, in bytes.
const UNIT: usize = 1 << 10;

/// The room that all large requests share.
#[derive(Debug, Clone)]
pub struct LargeRequests {
    free: Arc<Semaphore>,
    threshold: usize,
}

impl LargeRequests {
    /// Requests of more than `threshold` bytes share `total`; the longest one possible, of `longest`
    /// bytes, finds room in any case.
    pub fn new(threshold: usize, total: usize, longest: usize) -> Self {
        let units = (total.max(longest) / UNIT + 1).min(Semaphore::MAX_PERMITS);
        LargeRequests { free: Arc::new(Semaphore::new(units)), threshold }
    }

    /// Whether a request of so many bytes needs room.
    pub(super) fn concern(&self, length: usize) -> bool {
        length > self.threshold
    }
}

type Waiting = Pin<Box<dyn Future<Output = Option<Room>> + Send>>;

/// The large request that a connection is receiving.
#[derive(Default)]
pub(super) struct Arrival {
    waiting: Option<Waiting>,
    room: Option<Room>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Arrival {
    /// Whether more of a request of `length` bytes may be read; false if it took too long.
    pub(super) fn poll(
        &mut self,
        length: usize,
        shared: &LargeRequests,
        context: &mut Context<'_>,
    ) -> Poll<bool> {
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limits::LARGE_REQUEST_TIMEOUT)));
        if deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(false);
        }
        if self.room.is_none() {
            let waiting = self.waiting.get_or_insert_with(|| {
                let free = Arc::clone(&shared.free);
                let units = u32::try_from(length / UNIT + 1).unwrap_or(u32::MAX);
                Box::pin(async move { free.acquire_many_owned(units).await.ok() })
            });
            self.room = ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        Poll::Ready(self.room.is_some())
    }

    /// The request is whole: its room, if it is a large one, for whoever carries it out.
    pub(super) fn done(&mut self) -> Option<Room> {
        if self.deadline.is_some() {
            self.deadline = None;
            self.waiting = None;
        }
        self.room.take()
    }
}
