//! Parts of files on their way to a client: from the page cache to the socket, where the stream can.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use crate::broker::log::FileSlice;
use crate::limits;
use crate::net::stream::WriteHalf;

/// A stream that parts of files can be written to.
pub trait SendFile: AsyncWrite {
    /// Writes some of `slice`, from its beginning; says how much. Here by way of a buffer, as a stream
    /// needs it that looks at what it is given, such as TLS.
    ///
    /// # Errors
    /// What reading or writing fails with.
    fn poll_send_file(
        self: Pin<&mut Self>,
        slice: &FileSlice,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let bytes = slice.read(limits::KAFKA_WRITE_BURST_BYTES)?;
        self.poll_write(context, &bytes)
    }
}

impl SendFile for TcpStream {
    fn poll_send_file(
        self: Pin<&mut Self>,
        slice: &FileSlice,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        poll_send(&self, slice, context, send_file)
    }
}

impl SendFile for OwnedWriteHalf {
    fn poll_send_file(
        self: Pin<&mut Self>,
        slice: &FileSlice,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        poll_send(self.get_mut().as_ref(), slice, context, send_file)
    }
}

impl SendFile for WriteHalf {
    fn poll_send_file(
        self: Pin<&mut Self>,
        slice: &FileSlice,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match &*self {
            WriteHalf::Plain(half) => poll_send(half.as_ref(), slice, context, send_file),
            WriteHalf::Tls(_) => {
                let bytes = slice.read(limits::KAFKA_WRITE_BURST_BYTES)?;
                self.poll_write(context, &bytes)
            }
        }
    }
}

fn poll_send(
    stream: &TcpStream,
    slice: &FileSlice,
    context: &mut Context<'_>,
    send: fn(&TcpStream, &FileSlice) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(context))?;
        let sent = match stream.try_io(Interest::WRITABLE, || send(stream, slice)) {
            // Not every kernel can, nor every file system.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                stream.try_write(&slice.read(limits::KAFKA_WRITE_BURST_BYTES)?)
            }
            sent => sent,
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            sent => return Poll::Ready(sent),
        }
    }
}

/// Some of `slice`, without its bytes ever being copied here. At most so much at once that other
/// connections of this thread need not wait for long.
#[cfg(target_os = "linux")]
fn send_file(stream: &TcpStream, slice: &FileSlice) -> io::Result<usize> {
    let (file, mut position) = slice.place();
    let most = slice.len().min(limits::KAFKA_SEND_FILE_BYTES);
    Ok(rustix::fs::sendfile(stream, file, Some(&mut position), most)?)
}

#[cfg(not(target_os = "linux"))]
fn send_file(_stream: &TcpStream, _slice: &FileSlice) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
impl SendFile for tokio::io::DuplexStream {}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::kafka::api::{Piece, Reply};
    use crate::kafka::wire::header::Start;
    use crate::kafka::wire::output::Output;

    /// More than a socket takes at once.
    const LENGTH: usize = 20 << 20;

    fn answers() -> (Output, Vec<u8>) {
        let stored: Vec<u8> = (0_u8..251).cycle().take(LENGTH).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&stored).unwrap();
        let slice = FileSlice::new(Arc::new(file), 7, LENGTH - 7);
        let bytes = |text: &'static str| Piece::Bytes(text.into());
        let pieces = vec![bytes("before"), Piece::File(slice), bytes("behind")];
        let mut output = Output::default();
        let start = Start { key: 1, version: 4, correlation: 5 };
        output.push(kafka_protocol::messages::ApiKey::Fetch, start, Reply::Pieces(pieces)).unwrap();
        (output, [b"before", &stored[7..], b"behind"].concat())
    }

    async fn read(mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        bytes.split_off(8)
    }

    #[tokio::test]
    async fn files_are_sent_between_other_pieces() {
        let (mut output, expected) = answers();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let client = tokio::spawn(read(client));
        output.write_to(&mut server).await.unwrap();
        drop(server);
        assert!(client.await.unwrap() == expected && output.is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_sent_from_the_file_is_read() {
        let mut stored = tempfile::tempfile().unwrap();
        stored.write_all(b"..stored").unwrap();
        let slice = FileSlice::new(Arc::new(stored), 2, 6);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        for refusal in [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported] {
            let refused: fn(&TcpStream, &FileSlice) -> io::Result<usize> = match refusal {
                io::ErrorKind::Unsupported => |_, _| Err(io::ErrorKind::Unsupported.into()),
                _ => |_, _| Err(io::ErrorKind::InvalidInput.into()),
            };
            let sent = poll_fn(|context| poll_send(&server, &slice, context, refused)).await;
            assert_eq!(sent.unwrap(), 6);
            let mut bytes = [0; 6];
            client.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"stored");
        }
    }

    #[tokio::test]
    async fn a_stream_that_takes_no_files_is_given_their_bytes() {
        let (mut output, expected) = answers();
        let (mut near, far) = tokio::io::duplex(100_000);
        let client = tokio::spawn(read(far));
        output.write_to(&mut near).await.unwrap();
        near.shutdown().await.unwrap();
        drop(near);
        assert!(client.await.unwrap() == expected && output.is_empty());
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_ends_the_connection() {
        let slice = FileSlice::new(Arc::new(tempfile::tempfile().unwrap()), 0, 100_000);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut output = Output::default();
        let start = Start { key: 1, version: 4, correlation: 5 };
        let reply = Reply::Pieces(vec![Piece::File(slice)]);
        output.push(kafka_protocol::messages::ApiKey::Fetch, start, reply).unwrap();
        assert!(output.write_to(&mut server).await.is_err());
    }
}
