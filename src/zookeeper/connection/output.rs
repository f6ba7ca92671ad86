//! What waits for clients that don't read, all connections together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use metrics::Counter;

/// The bytes that wait behind full sockets, and those that were sent.
#[derive(Debug, Clone)]
pub struct OutputTotal(Arc<Total>);

#[derive(Debug)]
struct Total {
    waiting: AtomicUsize,
    max: usize,
    sent: Counter,
}

impl OutputTotal {
    /// At most `max` bytes, before readers that do nothing are cut off; `sent` counts what is sent.
    pub fn new(max: usize, sent: Counter) -> Self {
        OutputTotal(Arc::new(Total { waiting: AtomicUsize::new(0), max, sent }))
    }

    /// Whether more waits than may.
    pub fn is_over(&self) -> bool {
        self.waiting() > self.0.max
    }

    /// Whether it is so little again that nobody more need be cut off.
    pub fn is_relieved(&self) -> bool {
        self.waiting() <= self.0.max / 4 * 3
    }

    fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

/// One connection's share of it: nothing, while its socket takes all it is given.
#[derive(Debug)]
pub(super) struct Share {
    total: OutputTotal,
    counted: usize,
    since: Option<Instant>,
}

impl Share {
    pub(super) fn new(total: OutputTotal) -> Self {
        Share { total, counted: 0, since: None }
    }

    /// So many bytes have been sent.
    pub(super) fn sent(&self, count: usize) {
        self.total.0.sent.increment(count as u64);
    }

    /// The socket is full, and `waiting` bytes wait; `progress` says whether it took some just now.
    pub(super) fn stalled(&mut self, waiting: usize, progress: bool) {
        if progress || self.since.is_none() {
            self.since = Some(Instant::now());
        }
        self.set(waiting);
    }

    /// More waits behind the full socket, if it is full.
    pub(super) fn grown(&mut self, waiting: usize) {
        if self.since.is_some() {
            self.set(waiting);
        }
    }

    /// The socket has taken all, or the connection ends.
    pub(super) fn clear(&mut self) {
        if self.since.take().is_some() {
            self.set(0);
        }
    }

    /// Since when the socket has taken nothing.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    fn set(&mut self, waiting: usize) {
        let total = &self.total.0.waiting;
        if waiting > self.counted {
            total.fetch_add(waiting - self.counted, Ordering::Relaxed);
        } else {
            total.fetch_sub(self.counted - waiting, Ordering::Relaxed);
        }
        self.counted = waiting;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_sockets_count() {
        let total = OutputTotal::new(100, Counter::noop());
        let (mut one, mut two) = (Share::new(total.clone()), Share::new(total.clone()));
        one.grown(1_000);
        assert!(!total.is_over(), "it is being sent");
        one.stalled(60, false);
        let since = one.since();
        two.stalled(60, true);
        assert!(total.is_over());
        one.stalled(50, false);
        assert_eq!(one.since(), since, "it has taken nothing since");
        two.grown(10);
        assert!(!total.is_over() && total.is_relieved());
        one.clear();
        assert_eq!(total.waiting(), 10);
        drop(two);
        assert_eq!(total.waiting(), 0);
    }
}
