//! What the HTTP endpoints listen with: capped in connections, bounded in time, with TLS or without.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::tls::{TLS_HANDSHAKE, TlsServer, TlsStream};
use crate::limits;

/// Whether an HTTP endpoint speaks TLS.
#[derive(Clone)]
pub enum Https {
    /// It doesn't.
    Off,
    /// It speaks nothing else.
    Only(Arc<TlsServer>),
    /// Both, told apart by the first byte; the function is told of each connection without.
    Either(Arc<TlsServer>, Arc<dyn Fn() + Send + Sync>),
}

impl std::fmt::Debug for Https {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Https::Off => "Off",
            Https::Only(_) => "Only",
            Https::Either(..) => "Either",
        })
    }
}

/// Accepts no more connections than it has places; further ones wait in the kernel.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
    idle: Duration,
    reading_counts: bool,
    https: Https,
}

impl HttpListener {
    /// A connection on which nothing is answered for `idle` ends.
    pub fn new(listener: TcpListener, idle: Duration) -> Self {
        let places = Arc::new(Semaphore::new(limits::HTTP_CONNECTIONS_MAX));
        HttpListener { listener, places, idle, reading_counts: false, https: Https::Off }
    }

    /// Bytes that come keep a connection alive too, where requests may have long bodies.
    #[must_use]
    pub fn alive_while_reading(self) -> Self {
        HttpListener { reading_counts: true, ..self }
    }

    /// With TLS, or beside it.
    #[must_use]
    pub fn with_https(self, https: Https) -> Self {
        HttpListener { https, ..self }
    }
}

/// The client of a connection, for handlers.
#[derive(Debug, Clone)]
pub struct HttpPeer {
    /// Its address: that of the socket, whatever headers say.
    pub address: SocketAddr,
    secure: Arc<AtomicBool>,
}

impl HttpPeer {
    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.secure.load(Ordering::Relaxed)
    }
}

impl Connected<IncomingStream<'_, HttpListener>> for HttpPeer {
    fn connect_info(stream: IncomingStream<'_, HttpListener>) -> Self {
        let secure = Arc::clone(&stream.io().secure);
        HttpPeer { address: *stream.remote_addr(), secure }
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
                    let secure = Arc::new(AtomicBool::new(false));
                    // The handshake is the connection's own affair: the next client doesn't wait.
                    let opening = open(stream, peer, self.https.clone(), Arc::clone(&secure));
                    let stream = TimedStream {
                        transport: Transport::Opening(Box::pin(opening)),
                        secure,
                        idle: self.idle,
                        reading_counts: self.reading_counts,
                        deadline: Box::pin(tokio::time::sleep(self.idle)),
                        _place: place,
                    };
                    return (stream, peer);
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

/// Finds out what a client speaks, and shakes hands where that is TLS.
async fn open(
    stream: TcpStream,
    peer: SocketAddr,
    https: Https,
    secure: Arc<AtomicBool>,
) -> io::Result<Transport> {
    let server = match https {
        Https::Off => return Ok(Transport::Plain(stream)),
        Https::Only(server) => server,
        Https::Either(server, plain) => {
            let mut first = [0];
            let seen = stream.peek(&mut first).await?;
            if first != [TLS_HANDSHAKE] {
                if seen > 0 {
                    plain();
                }
                return Ok(Transport::Plain(stream));
            }
            server
        }
    };
    let accepted = server.accept(stream, peer.ip()).await;
    let stream = accepted.map_err(|error| {
        tracing::debug!(%peer, %error, "no HTTPS connection");
        io::Error::new(io::ErrorKind::InvalidData, error)
    })?;
    secure.store(true, Ordering::Relaxed);
    Ok(Transport::Tls(Box::new(stream)))
}

type Opening = Pin<Box<dyn Future<Output = io::Result<Transport>> + Send>>;

/// What carries a connection's bytes.
enum Transport {
    /// Not known yet.
    Opening(Opening),
    Plain(TcpStream),
    Tls(Box<TlsStream>),
    /// There was no handshake.
    Failed(io::Error),
}

/// What can be read and written.
trait Bytes: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Bytes for S {}

impl Transport {
    /// The stream, once it is known which.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&mut dyn Bytes>> {
        if let Transport::Opening(opening) = self {
            let opened = ready!(opening.as_mut().poll(context));
            *self = opened.unwrap_or_else(Transport::Failed);
        }
        match self {
            Transport::Opening(_) => Poll::Pending,
            Transport::Failed(error) => Poll::Ready(Err(error.kind().into())),
            Transport::Plain(stream) => Poll::Ready(Ok(stream)),
            Transport::Tls(stream) => Poll::Ready(Ok(&mut **stream)),
        }
    }
}

/// A connection that ends when nothing was answered on it for a while, however slowly its requests
/// drip in.
pub struct TimedStream {
    transport: Transport,
    secure: Arc<AtomicBool>,
    idle: Duration,
    reading_counts: bool,
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl std::fmt::Debug for TimedStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimedStream").field("idle", &self.idle).finish_non_exhaustive()
    }
}

impl TimedStream {
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.deadline.as_mut().poll(context).map(|()| io::ErrorKind::TimedOut.into())
    }

    fn put_off(&mut self) {
        let until = Instant::now() + self.idle;
        self.deadline.as_mut().reset(until);
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(late) = self.poll_late(context) {
            return Poll::Ready(Err(late));
        }
        let before = buffer.filled().len();
        let stream = ready!(self.transport.poll(context))?;
        let read = Pin::new(stream).poll_read(context, buffer);
        if self.reading_counts && buffer.filled().len() > before {
            self.put_off();
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
        let stream = ready!(self.transport.poll(context))?;
        let written = Pin::new(stream).poll_write(context, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.put_off();
        } else if written.is_pending()
            && let Poll::Ready(late) = self.poll_late(context)
        {
            return Poll::Ready(Err(late));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = ready!(self.transport.poll(context))?;
        Pin::new(stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = ready!(self.transport.poll(context))?;
        Pin::new(stream).poll_shutdown(context)
    }
}
