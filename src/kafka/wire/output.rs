//! Answers that wait for one write: short ones copied together, long ones where they are.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::Context;

use bytes::{Buf, BufMut, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::io::AsyncWriteExt;

use super::header::{self, Start, TooLong};
use super::send_file::SendFile;
use crate::kafka::api::{Piece, Reply};
use crate::limits;

const SLICES: usize = 16;

/// The answers of one connection that are not written yet, in the order of their requests.
#[derive(Debug, Default)]
pub struct Output {
    sealed: VecDeque<Piece>,
    open: BytesMut,
    length: usize,
}

impl Output {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends an answer with its frame length and header. Returns the bytes that it takes.
    pub fn push(&mut self, key: ApiKey, start: Start, reply: Reply) -> Result<usize, TooLong> {
        let before = self.length;
        let body = reply.len();
        match reply {
            Reply::Nothing => return Ok(0),
            Reply::Body(bytes) => {
                self.start(key, start, body)?;
                self.piece(bytes.into());
            }
            Reply::Pieces(pieces) => {
                self.start(key, start, body)?;
                for piece in pieces {
                    self.piece(piece);
                }
            }
        }
        Ok(self.length - before)
    }

    fn start(&mut self, key: ApiKey, start: Start, body: usize) -> Result<(), TooLong> {
        let before = self.open.len();
        header::response(&mut self.open, key, start.version, start.correlation, body)?;
        self.length += self.open.len() - before;
        Ok(())
    }

    fn piece(&mut self, piece: Piece) {
        self.length += piece.len();
        match piece {
            Piece::Bytes(bytes) if bytes.len() < limits::KAFKA_COPY_MAX => {
                self.open.put_slice(&bytes);
            }
            piece => {
                self.seal();
                self.sealed.push_back(piece);
            }
        }
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            self.sealed.push_back(self.open.split().freeze().into());
        }
    }

    /// Writes everything, with as few system calls as its pieces allow. Can be dropped half-way
    /// and begun again.
    pub async fn write_to(&mut self, stream: &mut (impl SendFile + Unpin)) -> io::Result<()> {
        if self.sealed.is_empty() {
            // The ordinary case keeps its buffer: nothing is allocated for the next answers.
            while !self.open.is_empty() {
                let written = stream.write(&self.open).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                self.open.advance(written);
                self.length -= written;
            }
            self.open.clear();
            return Ok(());
        }
        self.seal();
        while let Some(first) = self.sealed.front() {
            let written = match first {
                Piece::File(slice) => {
                    let send = |context: &mut Context<'_>| {
                        Pin::new(&mut *stream).poll_send_file(slice, context)
                    };
                    poll_fn(send).await?
                }
                Piece::Bytes(_) => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let mut used = 0;
                    for (slice, piece) in slices.iter_mut().zip(&self.sealed) {
                        let Piece::Bytes(bytes) = piece else { break };
                        *slice = IoSlice::new(bytes);
                        used += 1;
                    }
                    stream.write_vectored(&slices[..used]).await?
                }
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(written);
        }
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        self.length -= written;
        while let Some(first) = self.sealed.front_mut() {
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.sealed.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn answers_are_written_in_order_whatever_their_length() {
        let long = Bytes::from(vec![9; limits::KAFKA_COPY_MAX]);
        let replies = [
            Reply::Body(Bytes::from_static(b"ab")),
            Reply::Body(long.clone()),
            Reply::Nothing,
            Reply::Pieces(vec![
                Bytes::from_static(b"c").into(),
                long.clone().into(),
                Bytes::from_static(b"d").into(),
            ]),
            Reply::Body(Bytes::from_static(b"e")),
        ];
        let mut output = Output::default();
        let mut expected = Vec::new();
        for (correlation, reply) in (0_i32..).zip(replies) {
            let start = Start { key: 3, version: 8, correlation };
            let body: Vec<u8> = match &reply {
                Reply::Body(body) => body.to_vec(),
                Reply::Pieces(pieces) => pieces
                    .iter()
                    .flat_map(|piece| match piece {
                        Piece::Bytes(bytes) => bytes.clone(),
                        Piece::File(_) => unreachable!("there is none"),
                    })
                    .collect(),
                Reply::Nothing => Vec::new(),
            };
            if !matches!(reply, Reply::Nothing) {
                expected.put_i32(4 + i32::try_from(body.len()).unwrap());
                expected.put_i32(correlation);
                expected.extend_from_slice(&body);
            }
            output.push(ApiKey::Metadata, start, reply).unwrap();
            assert_eq!(output.len(), expected.len());
        }
        let (mut near, mut far) = tokio::io::duplex(1_000);
        let reader = tokio::spawn(async move {
            let mut read = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut far, &mut read).await.unwrap();
            read
        });
        output.write_to(&mut near).await.unwrap();
        assert!(output.is_empty());
        drop(near);
        assert_eq!(reader.await.unwrap(), expected);
    }
}
