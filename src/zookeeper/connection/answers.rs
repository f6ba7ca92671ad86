//! What one look at the input is answered with: put together first, and then given to the connection
//! as a whole.

use crate::zookeeper::stats::Responses;

/// Replies and events in their order, on their way to [`super::handle::ConnectionHandle::send_all`].
#[derive(Debug, Default)]
pub struct Answers {
    pub(super) bytes: Vec<u8>,
    pub(super) sizes: Responses,
    /// The connection is to be closed behind them.
    pub(super) closing: bool,
}

impl Answers {
    /// Nothing yet, in this buffer, which is empty.
    pub(super) fn in_buffer(bytes: Vec<u8>) -> Self {
        Answers { bytes, ..Answers::default() }
    }

    /// Appends one frame, which `write` writes.
    pub fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        write(&mut self.bytes);
        self.sizes.sent(size(before, &self.bytes));
    }

    /// Has the connection closed behind what was put so far: what follows is dropped.
    pub fn close(&mut self) {
        self.closing = true;
    }

    /// Whether it is.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Bytes put and not given away yet.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to give away.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.closing
    }
}

/// The size of a frame that was written at `before`, without the length in front of it, as ZooKeeper
/// counts.
pub(super) fn size(before: usize, bytes: &[u8]) -> u64 {
    (bytes.len() - before).saturating_sub(4) as u64
}
