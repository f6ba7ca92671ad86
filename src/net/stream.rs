//! One connection, over TCP or over TLS on either side, in halves that are read and written apart.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::tls::TlsStream;
use crate::limits;

/// A TLS connection of which this process is the client.
pub type TlsClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// What a waiting TLS connection is read into: it keeps no buffer of its own meanwhile.
const WAITING_BYTES: usize = 256;

/// A connection as it was accepted or made.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// After a handshake in which this process was the server.
    Server(Box<TlsStream>),
    /// After a handshake in which this process was the client.
    Client(Box<TlsClientStream>),
}

/// Either TLS stream, in one piece.
#[derive(Debug)]
pub enum Tls {
    /// This process is the server.
    Server(Box<TlsStream>),
    /// This process is the client.
    Client(Box<TlsClientStream>),
}

/// Reads a [`Stream`].
#[derive(Debug)]
pub enum ReadHalf {
    /// Without TLS.
    Plain(OwnedReadHalf),
    /// With TLS.
    Tls(tokio::io::ReadHalf<Tls>),
}

/// Writes a [`Stream`]. With TLS what was written is on its way only after a flush; a dropped half
/// says goodbye only without TLS, so [`tokio::io::AsyncWriteExt::shutdown`] it.
#[derive(Debug)]
pub enum WriteHalf {
    /// Without TLS.
    Plain(OwnedWriteHalf),
    /// With TLS.
    Tls(tokio::io::WriteHalf<Tls>),
}

impl Stream {
    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Server(stream) => stream.get_ref().0,
            Stream::Client(stream) => stream.get_ref().0,
        }
    }

    /// Who is at the other end of the socket.
    ///
    /// # Errors
    /// The connection is gone already.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.socket().peer_addr()
    }

    /// Both halves.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        let tls = match self {
            Stream::Plain(stream) => {
                let (read, write) = stream.into_split();
                return (ReadHalf::Plain(read), WriteHalf::Plain(write));
            }
            Stream::Server(stream) => Tls::Server(stream),
            Stream::Client(stream) => Tls::Client(stream),
        };
        let (read, write) = tokio::io::split(tls);
        (ReadHalf::Tls(read), WriteHalf::Tls(write))
    }
}

impl ReadHalf {
    /// Reads once, into `room` bytes more of `input`, and returns how many came; 0 is the end. An
    /// empty `input` of more than [`limits::READ_KEPT_BYTES`] gives its memory back while nothing
    /// comes. Safe to be cancelled.
    ///
    /// # Errors
    /// The connection's.
    pub async fn read_into(&mut self, input: &mut BytesMut, room: usize) -> io::Result<usize> {
        if input.is_empty() {
            match self {
                ReadHalf::Plain(read) => {
                    if input.capacity() > limits::READ_KEPT_BYTES {
                        match read.try_read_buf(input) {
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                                *input = BytesMut::new();
                            }
                            read => return read,
                        }
                    }
                    read.readable().await?;
                }
                ReadHalf::Tls(read) => {
                    *input = BytesMut::new();
                    let mut few = [0; WAITING_BYTES];
                    let length = read.read(&mut few).await?;
                    input.extend_from_slice(&few[..length]);
                    return Ok(length);
                }
            }
        }
        input.reserve(room);
        match self {
            ReadHalf::Plain(read) => read.read_buf(input).await,
            ReadHalf::Tls(read) => read.read_buf(input).await,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, room),
            Stream::Server(stream) => Pin::new(stream).poll_read(context, room),
            Stream::Client(stream) => Pin::new(stream).poll_read(context, room),
        }
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Tls::Server(stream) => Pin::new(stream).poll_read(context, room),
            Tls::Client(stream) => Pin::new(stream).poll_read(context, room),
        }
    }
}

/// Writing is the same for all of them.
macro_rules! writes {
    ($($type:ident: $($variant:ident),+;)+) => {$(
        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($type::$variant(stream) => Pin::new(stream).poll_write(context, bytes),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                pieces: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($type::$variant(stream) => {
                        Pin::new(stream).poll_write_vectored(context, pieces)
                    })+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $($type::$variant(stream) => stream.is_write_vectored(),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($type::$variant(stream) => Pin::new(stream).poll_flush(context),)+
                }
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($type::$variant(stream) => Pin::new(stream).poll_shutdown(context),)+
                }
            }
        }
    )+};
}

writes! {
    Stream: Plain, Server, Client;
    Tls: Server, Client;
    WriteHalf: Plain, Tls;
}
