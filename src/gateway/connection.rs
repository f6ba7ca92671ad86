//! One client: the half that reads its requests and the half that writes its answers, in one task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::login::Login;
use super::owed::Ledger;
use super::rewrite;
use super::upstream::NoUpstream;
use super::{Core, replies, requests};
use crate::kafka::api::HandlerError;
use crate::kafka::security::Principal;
use crate::kafka::wire::frame::BadFrame;
use crate::kafka::wire::guard::Refused;
use crate::net::stream::{ReadHalf, Stream, WriteHalf};
use crate::{limits, net};

/// Why a connection ended, other than by the client or a stop.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    #[error("the client: {0}")]
    Client(io::Error),
    #[error("the client hung up in the middle of a request")]
    MidFrame,
    #[error("{0}")]
    Frame(#[from] BadFrame),
    #[error("bad request header: {0}")]
    Header(#[from] Refused),
    #[error("unknown API key {0}")]
    UnknownApi(i16),
    #[error("API key {key} version {version} is refused")]
    Refused { key: i16, version: i16 },
    #[error("{0}")]
    Request(#[from] HandlerError),
    #[error("no upstream: {0}")]
    NoUpstream(#[from] NoUpstream),
    #[error("the upstream: {0}")]
    Upstream(io::Error),
    #[error("the upstream ended while it owed something")]
    UpstreamEnded,
    #[error("the upstream answered what nobody asked, or in another order")]
    WrongAnswer,
    #[error("{0}")]
    Rewrite(#[from] rewrite::Failed),
    #[error("an answer is too long to be read: {0} bytes")]
    TooLong(usize),
    #[error("a login without request headers, by another mechanism than PLAIN and SCRAM")]
    Unfollowed,
    #[error("the time of its login is over")]
    SessionOver,
    #[error("idle for longer than connections.max.idle.ms")]
    Idle,
    #[error("the client does not read its answers")]
    Stuck,
    #[error("the upstream does not end its answer")]
    Unfinished,
}

/// How a client came in.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// The index of the listener.
    pub listener: usize,
    /// Whose address the client came by; `None` for the bootstrap address.
    pub broker: Option<i32>,
    /// Where the client is.
    pub address: SocketAddr,
    /// Who it is by its certificate, where it showed one.
    pub certificate: Option<Principal>,
}

/// What both halves of a connection share.
#[derive(Debug)]
pub(super) struct Link {
    pub core: Arc<Core>,
    pub visitor: Visitor,
    pub ledger: Ledger,
    pub login: Mutex<Login>,
    /// The answer to a question of the gateway's own that waits for it.
    pub own: Mutex<Option<Bytes>>,
    pub closing: CancellationToken,
    moved: Mutex<Instant>,
}

impl Link {
    /// Notes that something moved on the client's side.
    pub(super) fn moved(&self) {
        *self.moved.lock() = Instant::now();
    }

    pub(super) fn idle_max(&self) -> Duration {
        self.core.config.connections_max_idle
    }

    /// Ends when nothing has moved for too long.
    async fn idle(&self) {
        loop {
            let Some(end) = self.moved.lock().checked_add(self.idle_max()) else {
                return std::future::pending().await;
            };
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// Serves a client until it hangs up, breaks the protocol or is idle for too long, its upstream
/// fails it, or the gateway stops.
pub(super) async fn run(
    core: Arc<Core>,
    visitor: Visitor,
    stream: Stream,
    closing: CancellationToken,
) {
    let _open = core.metrics.connection();
    if let Err(error) = net::keep_alive(stream.socket()) {
        tracing::debug!(%error, "connection gone before it was served");
        return;
    }
    let link = Link {
        core,
        visitor,
        ledger: Ledger::default(),
        login: Mutex::default(),
        own: Mutex::default(),
        closing,
        moved: Mutex::new(Instant::now()),
    };
    if let Some(principal) = &link.visitor.certificate {
        tracing::debug!(%principal, client = %link.visitor.address, "a certificate was shown");
    }
    let (read, write) = stream.into_split();
    match serve(&link, read, write).await {
        Err(reason @ Closed::Unfollowed) => {
            tracing::info!(%reason, client = %link.visitor.address, "connection refused");
        }
        Ok(()) => tracing::debug!("connection closed"),
        Err(reason) => tracing::debug!(%reason, "connection closed"),
    }
}

async fn serve(link: &Link, read: ReadHalf, write: WriteHalf) -> Result<(), Closed> {
    let requests = async {
        let mut requests = requests::Requests::new(link, read);
        let ended = requests.run().await;
        // The upstream's writing half lives until the answers are there.
        match ended {
            Ok(()) => {
                link.ledger.finish();
                std::future::pending().await
            }
            Err(reason @ (Closed::MidFrame | Closed::Client(_))) => reason,
            Err(reason) => {
                link.ledger.finish();
                link.ledger.abandon();
                tokio::time::sleep(limits::GATEWAY_LINGER).await;
                reason
            }
        }
    };
    tokio::select! {
        biased;
        ended = replies::run(link, write) => ended,
        reason = requests => Err(reason),
        () = link.idle() => Err(Closed::Idle),
    }
}
