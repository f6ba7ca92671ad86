//! The client's side of a connection: TCP, which the writer sends on by itself, or TLS, which only
//! the connection's own task touches.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::handle::ConnectionHandle;
use super::spare;
use crate::limits;
use crate::net::tls::TlsStream;

/// Where a connection's bytes come from, and where they go where the handle has no socket.
#[derive(Debug)]
pub(super) enum Stream {
    /// The reading half; the writing half is with the handle.
    Plain(OwnedReadHalf),
    /// All of it.
    Tls(Box<Tls>),
}

/// A TLS connection with what is being sent on it.
#[derive(Debug)]
pub(super) struct Tls {
    stream: TlsStream,
    sending: Vec<u8>,
    sent: usize,
}

impl Stream {
    /// A connection without TLS, and the half that its handle sends on.
    pub(super) fn plain(stream: TcpStream) -> (Stream, OwnedWriteHalf) {
        let (reading, writing) = stream.into_split();
        (Stream::Plain(reading), writing)
    }

    /// A connection after its TLS handshake.
    pub(super) fn tls(stream: TlsStream) -> Stream {
        Stream::Tls(Box::new(Tls { stream, sending: Vec::new(), sent: 0 }))
    }

    /// Reads once.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(reading) => Pin::new(reading).poll_read(context, room),
            Stream::Tls(tls) => Pin::new(&mut tls.stream).poll_read(context, room),
        }
    }

    /// Sends all that waits in the handle, and leaves a waker there to be woken for more. Says
    /// whether the connection is to be closed now.
    pub(super) fn poll_flush(
        &mut self,
        handle: &Arc<ConnectionHandle>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        match self {
            Stream::Plain(_) => handle.poll_flush(context),
            Stream::Tls(tls) => tls.poll_flush(handle, context),
        }
    }

    /// Closes our side and reads what the client still sends, for a moment: a socket closed with
    /// unread bytes resets the connection, and the client might lose the last replies.
    pub(super) async fn linger(self, writing: Option<OwnedWriteHalf>) {
        drop(writing); // Sends the end.
        let discard = async {
            let mut bytes = vec![0; 4_096];
            match self {
                Stream::Plain(mut reading) => while reading.read(&mut bytes).await? > 0 {},
                Stream::Tls(mut tls) => {
                    tls.stream.shutdown().await?;
                    while tls.stream.read(&mut bytes).await? > 0 {}
                }
            }
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(limits::LINGER, discard).await;
        tracing::debug!("connection closed");
    }
}

impl Tls {
    fn poll_flush(
        &mut self,
        handle: &Arc<ConnectionHandle>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        let mut progress = false;
        loop {
            while self.sent < self.sending.len() {
                let bytes = &self.sending[self.sent..];
                let Poll::Ready(count) = Pin::new(&mut self.stream).poll_write(context, bytes)?
                else {
                    handle.note_full_socket(progress);
                    return Poll::Pending;
                };
                progress = true;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.sent += count;
                handle.count_sent_bytes(count);
            }
            self.sent = 0;
            spare::keep_output(std::mem::take(&mut self.sending));
            let closing = handle.take_output(&mut self.sending, context);
            if self.sending.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_flush(context))?;
                return Poll::Ready(Ok(closing));
            }
        }
    }
}
