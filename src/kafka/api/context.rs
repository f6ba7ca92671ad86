//! What a handler gets (its request's context) and gives (a reply, or a reason to hang up).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::protocol::{Encodable, StrBytes};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::auto_creation::AutoCreation;
use crate::broker::BrokerContext;
use crate::broker::log::FileSlice;
use crate::kafka::fetch_sessions::FetchSessions;
use crate::kafka::response_cache::ResponseCache;

/// What is known of one client connection.
#[derive(Debug)]
pub struct ConnectionContext {
    /// Counts the connections of this process; names the connection in logs.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The name of the listener that the client connected to, upper case.
    pub listener: Arc<str>,
    /// Cancelled when the client has hung up or the server stops: a handler that waits for
    /// something (a long poll) answers at once with what it has. A handler is never dropped
    /// half-way, so one that changes something need not look.
    pub closing: CancellationToken,
    /// `client_software_name` and `client_software_version` of `ApiVersions` (KIP-511).
    pub software: Mutex<Option<(StrBytes, StrBytes)>>,
}

/// What a handler knows of the request that it answers.
#[derive(Debug)]
pub struct RequestContext<'a> {
    /// The broker that serves it.
    pub broker: &'a Arc<BrokerContext>,
    /// The connection that it came from.
    pub connection: &'a ConnectionContext,
    /// The API version of the request, within what is served.
    pub version: i16,
    /// The client id of the request's header.
    pub client_id: Option<StrBytes>,
    /// Encoded topics.
    pub cache: &'a ResponseCache,
    /// Topics that are being made for clients.
    pub auto_creation: &'a AutoCreation,
    /// What consumers need not say again.
    pub fetch_sessions: &'a FetchSessions,
    pub(crate) failed: AtomicBool,
}

impl RequestContext<'_> {
    /// The code of `error`, with the request counted as one that was answered with an error.
    pub fn error(&self, error: ResponseError) -> i16 {
        self.failed.store(true, Ordering::Relaxed);
        error.code()
    }

    /// Counts the request as one that was answered with an error, if it was.
    pub fn note_failure(&self, failed: bool) {
        self.failed.fetch_or(failed, Ordering::Relaxed);
    }

    /// Encodes `response` in the version of the request.
    pub fn reply<R: Encodable>(&self, response: &R) -> HandlerResult {
        Reply::encode(response, self.version)
    }
}

/// A part of a body.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Record batches in a log, sent from where they are.
    File(FileSlice),
}

impl Piece {
    /// How many bytes are left of it.
    pub fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File(slice) => slice.len(),
        }
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leaves out the first `count` bytes: they are sent.
    pub fn advance(&mut self, count: usize) {
        match self {
            Piece::Bytes(bytes) => bytes.advance(count),
            Piece::File(slice) => slice.advance(count),
        }
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Piece::Bytes(bytes)
    }
}

/// The body of a response; frame length and header are put before it by the connection.
#[derive(Debug, Clone)]
pub enum Reply {
    /// One encoded body.
    Body(Bytes),
    /// A body in pieces, written one after the other without being copied together: for records.
    Pieces(Vec<Piece>),
    /// No response at all: `Produce` with `acks=0`.
    Nothing,
}

impl Reply {
    /// Encodes a response message in the given API version.
    pub fn encode<R: Encodable>(response: &R, version: i16) -> HandlerResult {
        let encoding = |error: anyhow::Error| HandlerError::Encoding(error.to_string());
        let mut body = BytesMut::with_capacity(response.compute_size(version).map_err(encoding)?);
        response.encode(&mut body, version).map_err(encoding)?;
        Ok(Reply::Body(body.freeze()))
    }

    /// The length of the body in bytes.
    pub fn len(&self) -> usize {
        match self {
            Reply::Body(body) => body.len(),
            Reply::Pieces(pieces) => pieces.iter().map(Piece::len).sum(),
            Reply::Nothing => 0,
        }
    }

    /// Whether there is nothing in the body.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a request gets no answer and its connection is closed. An error that the protocol has a
/// code for is a [`Reply`], never this.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The request can't be read; the client's fault.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// Kafka closes the connection on this request rather than answer it.
    #[error("{0}")]
    Close(String),
    /// The response can't be encoded; our fault.
    #[error("response could not be encoded: {0}")]
    Encoding(String),
}

/// What every handler returns.
pub type HandlerResult = Result<Reply, HandlerError>;
