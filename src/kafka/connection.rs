//! One client connection: reads frames, answers them one after the other, writes in bursts.
//!
//! Requests of one connection are answered in their order and one at a time, as Kafka does; what
//! is read meanwhile waits. Answers to requests that arrived together leave in one write, but
//! none waits for a request that takes its time. A handler runs to its end even if the client
//! hangs up; `closing` tells it not to wait for anything.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::api::{self, ConnectionContext, HandlerError, HandlerResult, RequestContext};
use super::server::Service;
use super::wire::frame::{self, BadFrame};
use super::wire::guard::{self, Refused};
use super::wire::header::{self, Start};
use super::wire::output::Output;
use super::wire::schema;
use super::wire::send_file::SendFile;
use crate::limits;

/// The room that a read has at least. A client that sends longer frames gets as much as its last
/// one took, up to [`limits::KAFKA_READ_AHEAD_BYTES`].
const READ_BUFFER: usize = 4 << 10;

/// Why a connection ended, other than by the client or a stop.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] BadFrame),
    #[error("bad request header: {0}")]
    Header(Refused),
    #[error("unknown API key {0}")]
    UnknownApi(i16),
    #[error("{name} version {version} is not served")]
    Version { name: &'static str, version: i16 },
    #[error("bad {name} request version {version}: {refused}")]
    Body { name: &'static str, version: i16, refused: Refused },
    #[error("{name}: {error}")]
    Handler { name: &'static str, error: HandlerError },
    #[error("idle for longer than connections.max.idle.ms")]
    Idle,
    #[error("the client does not read its answers")]
    Stuck,
}

/// Serves a connection until the client hangs up, breaks the protocol or is idle for too long,
/// or the server stops.
pub(super) async fn run<S>(service: &Service, context: &ConnectionContext, stream: S)
where
    S: AsyncRead + SendFile + Unpin,
{
    let connection = Connection {
        service,
        context,
        stream,
        input: BytesMut::new(),
        last_frame: 0,
        output: Output::default(),
    };
    match connection.serve().await {
        Ok(()) => tracing::debug!("connection closed"),
        Err(Closed::Handler { name, error: error @ HandlerError::Encoding(_) }) => {
            tracing::error!(api = name, %error, "connection closed");
        }
        Err(reason) => tracing::debug!(%reason, "connection closed"),
    }
}

struct Connection<'a, S> {
    service: &'a Service,
    context: &'a ConnectionContext,
    stream: S,
    input: BytesMut,
    last_frame: usize,
    output: Output,
}

impl<S: AsyncRead + SendFile + Unpin> Connection<'_, S> {
    async fn serve(mut self) -> Result<(), Closed> {
        let max = self.service.broker().config.socket_request_max_bytes;
        loop {
            loop {
                let answered = match frame::take(&mut self.input, max) {
                    Ok(Some(frame)) => {
                        self.last_frame = frame.len();
                        self.answer(frame).await
                    }
                    Ok(None) => break,
                    Err(bad) => Err(bad.into()),
                };
                if let Err(reason) = answered {
                    // What was answered before stays answered.
                    self.flush().await?;
                    return Err(reason);
                }
                if self.output.len() >= limits::KAFKA_WRITE_BURST_BYTES {
                    self.flush().await?;
                }
            }
            self.flush().await?;
            if self.context.closing.is_cancelled() || !self.read().await? {
                return Ok(());
            }
        }
    }

    /// Reads more bytes. False at the end of the stream and when the server stops.
    async fn read(&mut self) -> Result<bool, Closed> {
        if self.input.is_empty() && self.input.capacity() > limits::KAFKA_READ_AHEAD_BYTES {
            self.input = BytesMut::new();
        }
        let room = self.last_frame.clamp(READ_BUFFER, limits::KAFKA_READ_AHEAD_BYTES);
        self.input.reserve(if self.input.is_empty() { room } else { READ_BUFFER });
        let idle = self.service.broker().config.connections_max_idle;
        let read = timeout(idle, self.stream.read_buf(&mut self.input));
        tokio::select! {
            biased;
            read = read => match read {
                Ok(read) => Ok(read? > 0),
                Err(_) => Err(Closed::Idle),
            },
            () = self.context.closing.cancelled() => Ok(false),
        }
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        if self.output.is_empty() {
            return Ok(());
        }
        let idle = self.service.broker().config.connections_max_idle;
        match timeout(idle, self.output.write_to(&mut self.stream)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(Closed::Stuck),
        }
    }

    /// Answers one request into the output.
    async fn answer(&mut self, mut frame: Bytes) -> Result<(), Closed> {
        let began = Instant::now();
        let received = frame::LENGTH_BYTES + frame.len();
        let start = header::start(&mut frame).map_err(Closed::Header)?;
        let Some(index) = api::REGISTRATIONS.iter().position(|api| api.key as i16 == start.key)
        else {
            return Err(Closed::UnknownApi(start.key));
        };
        let registration = &api::REGISTRATIONS[index];
        let (key, name) = (registration.key, registration.name);
        let metrics = &self.service.metrics(index);
        if !registration.serves(start.version) {
            if key != ApiKey::ApiVersions {
                return Err(Closed::Version { name, version: start.version });
            }
            let reply = api::api_versions::unsupported_version()
                .map_err(|error| Closed::Handler { name, error })?;
            let start = Start { version: 0, ..start };
            let sent = self.push(key, name, start, reply)?;
            metrics.answered(began, received, sent, true);
            return Ok(());
        }
        let client_id =
            header::client_id(&mut frame, key, start.version).map_err(Closed::Header)?;
        if let Some(schema) = schema::of(key) {
            guard::check(schema, start.version, &frame).map_err(|refused| Closed::Body {
                name,
                version: start.version,
                refused,
            })?;
        }
        let context = RequestContext {
            broker: self.service.broker(),
            connection: self.context,
            version: start.version,
            client_id,
            cache: self.service.cache(),
            auto_creation: self.service.auto_creation(),
            fetch_sessions: self.service.fetch_sessions(),
            failed: AtomicBool::new(false),
        };
        let reply = {
            let _in_flight = self.service.in_flight();
            self.wait_for(api::dispatch(&context, key, frame)).await
        };
        let reply = reply.map_err(|error| Closed::Handler { name, error })?;
        let failed = context.failed.into_inner();
        let sent = self.push(key, name, start, reply)?;
        metrics.answered(began, received, sent, failed);
        Ok(())
    }

    /// Runs a handler to its end. If it has to wait, what is answered already is written first,
    /// and the socket is watched: bytes are read ahead, and a client that hangs up is noticed.
    async fn wait_for(&mut self, handler: impl Future<Output = HandlerResult>) -> HandlerResult {
        let mut handler = pin!(handler);
        let polled = std::future::poll_fn(|task| Poll::Ready(handler.as_mut().poll(task))).await;
        if let Poll::Ready(result) = polled {
            return result;
        }
        let mut open = true;
        loop {
            if open && !self.output.is_empty() {
                tokio::select! {
                    biased;
                    result = &mut handler => return result,
                    written = self.output.write_to(&mut self.stream) => open = written.is_ok(),
                }
            } else if open && self.input.len() < limits::KAFKA_READ_AHEAD_BYTES {
                tokio::select! {
                    biased;
                    result = &mut handler => return result,
                    read = self.stream.read_buf(&mut self.input) => {
                        open = matches!(read, Ok(length) if length > 0);
                    }
                }
            } else {
                return handler.await;
            }
            if !open {
                self.context.closing.cancel();
            }
        }
    }

    fn push(
        &mut self,
        key: ApiKey,
        name: &'static str,
        start: Start,
        reply: api::Reply,
    ) -> Result<usize, Closed> {
        self.output.push(key, start, reply).map_err(|error| Closed::Handler {
            name,
            error: HandlerError::Encoding(error.to_string()),
        })
    }
}
