//! A long listing on its way to a client: sent from the pieces in which the tree keeps it, between the
//! bytes of an outbox.

use std::io::IoSlice;

use crate::zookeeper::tree::Names;

/// Pieces that are handed to a socket at once.
const SLICES: usize = 64;

/// Names that go behind so many bytes of an outbox.
#[derive(Debug)]
pub(super) struct Listing {
    at: usize,
    names: Names,
    /// The piece that is next, and how much of it has been sent.
    piece: usize,
    sent: usize,
    left: usize,
}

impl Listing {
    pub(super) fn new(at: usize, names: Names) -> Self {
        Listing { at, left: names.bytes(), names, piece: 0, sent: 0 }
    }

    /// The same, where so many bytes come before the outbox's.
    pub(super) fn behind(self, bytes: usize) -> Self {
        Listing { at: self.at + bytes, ..self }
    }

    /// Behind which byte of the outbox it goes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes that have not been sent.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// What comes next, as much as a socket takes at once; nothing when all is sent.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(SLICES);
        let mut skip = self.sent;
        for number in self.piece.. {
            let Some(piece) = self.names.piece(number) else { break };
            if skip < piece.len() {
                slices.push(IoSlice::new(&piece[skip..]));
            }
            skip = 0;
            if slices.len() == SLICES {
                break;
            }
        }
        slices
    }

    /// So many bytes of it have been sent.
    pub(super) fn advance(&mut self, count: usize) {
        self.left -= count;
        self.sent += count;
        while let Some(piece) = self.names.piece(self.piece)
            && self.sent >= piece.len()
        {
            self.sent -= piece.len();
            self.piece += 1;
        }
    }

    /// Appends the next piece to `out`.
    pub(super) fn take(&mut self, out: &mut Vec<u8>) {
        if let Some(piece) = self.names.piece(self.piece) {
            let rest = &piece[self.sent..];
            out.extend_from_slice(rest);
            self.left -= rest.len();
            self.piece += 1;
            self.sent = 0;
        }
    }
}
