//! What waits for clients that don't read, all connections together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The bytes that wait behind full sockets.
#[derive(Debug, Clone)]
pub struct OutputTotal {
    bytes: Arc<AtomicUsize>,
    max: usize,
}

impl OutputTotal {
    /// At most `max` bytes, before readers that do nothing are cut off.
    pub fn new(max: usize) -> Self {
        OutputTotal { bytes: Arc::default(), max }
    }

    /// Whether more waits than may.
    pub fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.max
    }

    /// Whether it is so little again that nobody more need be cut off.
    pub fn is_relieved(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) <= self.max / 4 * 3
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
        if waiting > self.counted {
            self.total.bytes.fetch_add(waiting - self.counted, Ordering::Relaxed);
        } else {
            self.total.bytes.fetch_sub(self.counted - waiting, Ordering::Relaxed);
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
        let total = OutputTotal::new(100);
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
        assert_eq!(total.bytes.load(Ordering::Relaxed), 10);
        drop(two);
        assert_eq!(total.bytes.load(Ordering::Relaxed), 0);
    }
}
