//! What the HTTP endpoints listen with: capped in connections, bounded in time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::limits;

/// Accepts no more connections than it has places; further ones wait in the kernel.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
    idle: Duration,
    reading_counts: bool,
}

impl HttpListener {
    /// A connection on which nothing is answered for `idle` ends.
    pub fn new(listener: TcpListener, idle: Duration) -> Self {
        let places = Arc::new(Semaphore::new(limits::HTTP_CONNECTIONS_MAX));
        HttpListener { listener, places, idle, reading_counts: false }
    }

    /// Bytes that come keep a connection alive too, where requests may have long bodies.
    #[must_use]
    pub fn alive_while_reading(self) -> Self {
        HttpListener { reading_counts: true, ..self }
    }
}

/// The client's address, for handlers: that of the socket, whatever headers say.
#[derive(Debug, Clone, Copy)]
pub struct HttpPeer(pub SocketAddr);

impl Connected<IncomingStream<'_, HttpListener>> for HttpPeer {
    fn connect_info(stream: IncomingStream<'_, HttpListener>) -> Self {
        HttpPeer(*stream.remote_addr())
    }
}

impl axum::serve::Listener for HttpListener {
    type Io = TimedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TimedStream, SocketAddr) {
        let mut backoff = limits::ACCEPT_BACKOFF_MIN;
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                // The semaphore is never closed.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    return (TimedStream::new(stream, place, self.idle, self.reading_counts), peer);
                }
                Err(error) => {
                    tracing::debug!(%error, "HTTP connection not accepted");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(limits::ACCEPT_BACKOFF_MAX);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing was answered on it for a while, however slowly its requests
/// drip in.
#[derive(Debug)]
pub struct TimedStream {
    stream: TcpStream,
    idle: Duration,
    reading_counts: bool,
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl TimedStream {
    fn new(
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        idle: Duration,
        reading_counts: bool,
    ) -> Self {
        let deadline = Box::pin(tokio::time::sleep(idle));
        TimedStream { stream, idle, reading_counts, deadline, _place: place }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.reading_counts && buffer.filled().len() > before {
            let until = Instant::now() + self.idle;
            self.deadline.as_mut().reset(until);
        }
        read
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            let until = Instant::now() + self.idle;
            self.deadline.as_mut().reset(until);
        } else if written.is_pending() && self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
