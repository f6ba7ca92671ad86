//! What one look at the input is answered with: put together first, and then given to the connection
//! as a whole.

use super::listing::Listing;
use crate::zookeeper::stats::Responses;
use crate::zookeeper::tree::Names;

/// Replies and events in their order, on their way to [`super::handle::ConnectionHandle::send_all`].
#[derive(Debug, Default)]
pub struct Answers {
    pub(super) bytes: Vec<u8>,
    /// Long listings that go in between.
    pub(super) listings: Vec<Listing>,
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

    /// Appends one frame in which names go that are too many to copy. `write` writes the rest of it,
    /// and says behind which byte of the buffer they go.
    pub fn put_listing(&mut self, names: Names, write: impl FnOnce(&mut Vec<u8>) -> usize) {
        let before = self.bytes.len();
        let listing = Listing::new(write(&mut self.bytes), names);
        self.sizes.sent(size(before, &self.bytes) + listing.left() as u64);
        if listing.left() > 0 {
            self.listings.push(listing);
        }
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
        self.bytes.len() + self.listings.iter().map(Listing::left).sum::<usize>()
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
