//! What a connection has still to send: bytes, and long listings between them.

use std::collections::VecDeque;
use std::io;

use tokio::net::tcp::OwnedWriteHalf;

use super::listing::Listing;
use super::spare;
use crate::limits;

/// Frames in their order. Where a listing waits there are bytes as well: its own frame's.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
    /// How many of the bytes are sent.
    sent: usize,
    listings: VecDeque<Listing>,
}

impl Unsent {
    /// How much waits.
    pub(super) fn len(&self) -> usize {
        let listings: usize = self.listings.iter().map(Listing::left).sum();
        self.bytes.len() - self.sent + listings
    }

    /// Whether all is sent.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends what `write` writes. Returns the size of that, as ZooKeeper counts.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::output();
        }
        let before = self.bytes.len();
        write(&mut self.bytes);
        super::answers::size(before, &self.bytes)
    }

    /// Appends bytes and the listings between them, and leaves nothing in either.
    pub(super) fn append(&mut self, bytes: &mut Vec<u8>, listings: &mut Vec<Listing>) {
        let before = self.bytes.len();
        if before == 0 {
            std::mem::swap(&mut self.bytes, bytes);
        } else {
            self.bytes.extend_from_slice(bytes);
        }
        bytes.clear();
        self.listings.extend(listings.drain(..).map(|listing| listing.behind(before)));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Unsent::default();
    }

    /// Sends what comes next, as much as the socket takes at once. Returns how much that was: 0 when
    /// all is sent.
    pub(super) fn send_some(&mut self, socket: &OwnedWriteHalf) -> io::Result<usize> {
        let end = self.end();
        let count = if self.sent < end {
            let count = socket.try_write(&self.bytes[self.sent..end])?;
            self.sent += count;
            count
        } else if let Some(listing) = self.listings.front_mut() {
            let count = socket.try_write_vectored(&listing.slices())?;
            listing.advance(count);
            if listing.left() == 0 {
                self.listings.pop_front();
            }
            count
        } else {
            self.sent = 0;
            spare::keep_output(std::mem::take(&mut self.bytes));
            return Ok(0);
        };
        if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
    }

    /// Moves what comes next to `sending`, which is empty: all of it, or a part where a listing waits.
    pub(super) fn take(&mut self, sending: &mut Vec<u8>) {
        if self.listings.is_empty() && self.sent == 0 {
            std::mem::swap(&mut self.bytes, sending);
            return;
        }
        while sending.len() < limits::OUTPUT_BYTES_FLUSH {
            let end = self.end();
            sending.extend_from_slice(&self.bytes[self.sent..end]);
            self.sent = end;
            let Some(listing) = self.listings.front_mut() else { break };
            listing.take(sending);
            if listing.left() == 0 {
                self.listings.pop_front();
            }
        }
        if self.listings.is_empty() && self.sent == self.bytes.len() {
            self.clear();
        }
    }

    /// Where the bytes end that come before the next listing.
    fn end(&self) -> usize {
        self.listings.front().map_or(self.bytes.len(), Listing::at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::connection::answers::Answers;
    use crate::zookeeper::stat::StatPersisted;
    use crate::zookeeper::tree::{Names, TreeLoader};

    /// Names of some hundred kilobytes, and what they are in a listing.
    fn names() -> (Names, Vec<u8>) {
        let mut loader = TreeLoader::new(false);
        for number in 0..=20_000 {
            let path = if number == 0 { String::new() } else { format!("/{number:040}") };
            loader.add_node(&path, None, -1, &StatPersisted::default()).unwrap();
        }
        let (tree, _) = loader.finish(0).unwrap();
        let names = tree.node("/").unwrap().packed_children().unwrap().clone();
        let listing: Vec<u8> = names.pieces().flatten().copied().collect();
        assert_eq!(listing.len(), 20_000 * 44);
        (names, listing)
    }

    /// Two listings, with something before, in, between and behind their frames; and all its bytes.
    fn two_listings() -> (Unsent, Vec<u8>) {
        let (names, listing) = names();
        let (mut unsent, mut answers) = (Unsent::default(), Answers::default());
        let mut expected = Vec::new();
        for part in [&b"first"[..], b"second"] {
            answers.put(|out| out.extend_from_slice(part));
            answers.put_listing(names.clone(), |out| {
                out.extend_from_slice(b"head");
                let at = out.len();
                out.extend_from_slice(b"tail");
                at
            });
            expected.extend([part, b"head", &listing, b"tail"].concat());
            assert_eq!(answers.len(), part.len() + 8 + listing.len());
            unsent.append(&mut answers.bytes, &mut answers.listings);
            assert!(answers.is_empty());
        }
        answers.put_listing(Names::default(), |out| out.len());
        unsent.append(&mut answers.bytes, &mut answers.listings);
        unsent.put(|out| out.extend_from_slice(b"end"));
        expected.extend(b"end");
        assert_eq!(unsent.len(), expected.len());
        (unsent, expected)
    }

    #[test]
    fn long_listings_are_taken_where_they_belong_in_parts() {
        let (mut unsent, expected) = two_listings();
        let mut all = Vec::new();
        loop {
            let mut part = Vec::new();
            unsent.take(&mut part);
            if part.is_empty() {
                break;
            }
            assert!(part.len() < limits::OUTPUT_BYTES_FLUSH + (64 << 10), "{}", part.len());
            all.append(&mut part);
            assert_eq!(unsent.len(), expected.len() - all.len());
        }
        assert!(all == expected);
        assert!(unsent.is_empty());
        let (mut unsent, _) = two_listings();
        unsent.clear();
        assert_eq!(unsent.len(), 0);
    }

    #[tokio::test]
    async fn a_socket_takes_long_listings_as_they_lie() {
        use tokio::io::AsyncReadExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) =
            tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        let (mut client, (reading, socket)) = (client.unwrap(), server.unwrap().0.into_split());
        let (mut unsent, expected) = two_listings();
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            all
        });
        while !unsent.is_empty() {
            match unsent.send_some(&socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.writable().await.unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        drop((socket, reading));
        assert!(reader.await.unwrap() == expected);
    }
}
