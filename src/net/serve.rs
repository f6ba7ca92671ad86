//! The accept loop and the drain that ends it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::permit::{ConnectionCounts, ConnectionLimits, ConnectionPermit, ListenerTotal, Refusal};
use crate::limits;

/// Accepts until `stop` is cancelled, and runs `handler` for each connection in a task of `tracker`.
///
/// Returns as soon as `stop` is cancelled, with the socket closed; connections go on until their
/// handlers end, which see the same token. The address is the peer's, an IPv4 one as IPv4 even on a
/// socket that serves both. `TCP_NODELAY` is set. A connection above `limits` is closed at once.
/// When file descriptors or memory run out, the loop pauses instead of spinning, and goes on.
pub async fn serve<H, F>(
    listener: TcpListener,
    limits: ConnectionLimits,
    stop: CancellationToken,
    tracker: TaskTracker,
    handler: H,
) where
    H: Fn(TcpStream, SocketAddr, ConnectionPermit) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let total = ListenerTotal::default();
    serve_within(listener, limits, total, stop, tracker, || (), handler).await;
}

/// As [`serve`], with a total that other listeners share; `refused` is told of each connection above
/// the limits.
pub async fn serve_within<H, F>(
    listener: TcpListener,
    limits: ConnectionLimits,
    total: ListenerTotal,
    stop: CancellationToken,
    tracker: TaskTracker,
    refused: impl Fn(),
    handler: H,
) where
    H: Fn(TcpStream, SocketAddr, ConnectionPermit) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let counts = ConnectionCounts::within(limits, total);
    let admit = move |ip| counts.admit(ip);
    let accepting = accept(listener, admit, || Duration::ZERO, stop, tracker, refused, handler);
    tokio::task::unconstrained(accepting).await;
}

/// As [`serve`], with an `admit` that counts, and a `pace` that says after each connection how long
/// the next one has to wait.
pub async fn serve_admitted<P, H, F>(
    listener: TcpListener,
    admit: impl Fn(IpAddr) -> Result<P, Refusal>,
    pace: impl Fn() -> Duration,
    stop: CancellationToken,
    tracker: TaskTracker,
    handler: H,
) where
    H: Fn(TcpStream, SocketAddr, P) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let accepting = accept(listener, admit, pace, stop, tracker, || (), handler);
    tokio::task::unconstrained(accepting).await;
}

/// The loop itself. It runs unconstrained: in a storm, each of its turns is behind those of thousands
/// of connections, and must empty the kernel's queue before that overflows.
async fn accept<P, H, F>(
    listener: TcpListener,
    admit: impl Fn(IpAddr) -> Result<P, Refusal>,
    pace: impl Fn() -> Duration,
    stop: CancellationToken,
    tracker: TaskTracker,
    refused: impl Fn(),
    handler: H,
) where
    H: Fn(TcpStream, SocketAddr, P) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut refusals = RefusalLog::default();
    let mut backoff = limits::ACCEPT_BACKOFF_MIN;
    let mut turn = 0;
    loop {
        turn += 1;
        if turn % limits::ACCEPTS_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                backoff = limits::ACCEPT_BACKOFF_MIN;
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                match admit(peer.ip()) {
                    Ok(permit) => {
                        if let Err(e) = stream.set_nodelay(true) {
                            tracing::debug!(%peer, error = %e, "connection gone before it was served");
                            continue;
                        }
                        tracker.spawn(handler(stream, peer, permit));
                    }
                    Err(refusal) => {
                        refusals.refused(peer.ip(), &refusal);
                        refused();
                    }
                }
                let pause = pace();
                if !pause.is_zero() {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
            Err(e) if is_about_one_connection(&e) => {
                tracing::debug!(error = %e, "connection gone before it was accepted");
            }
            Err(e) => {
                if backoff == limits::ACCEPT_BACKOFF_MIN {
                    tracing::warn!(
                        error = %e,
                        "can't accept connections, trying again (is the limit of open files too low?)"
                    );
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(limits::ACCEPT_BACKOFF_MAX);
            }
        }
    }
}

/// Whether an error of `accept` concerns only the connection that was at the head of the queue.
fn is_about_one_connection(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// One WARN a minute for what may happen thousands of times a second.
#[derive(Debug, Default)]
pub struct RefusalLog {
    last: Option<Instant>,
    unlogged: u64,
}

impl RefusalLog {
    /// Notes a connection that is refused.
    pub fn refused(&mut self, ip: IpAddr, reason: &dyn std::fmt::Display) {
        self.unlogged += 1;
        if self.last.is_none_or(|at| at.elapsed() >= limits::REFUSAL_LOG_INTERVAL) {
            tracing::warn!(%ip, %reason, refused = self.unlogged, "connection refused");
            self.last = Some(Instant::now());
            self.unlogged = 0;
        }
    }
}

/// Cancels `stop` and waits for the tasks of `tracker`, at most `grace`. Returns how many tasks were
/// left running: 0 is a clean end.
pub async fn drain(stop: &CancellationToken, tracker: &TaskTracker, grace: Duration) -> usize {
    stop.cancel();
    tracker.close();
    match tokio::time::timeout(grace, tracker.wait()).await {
        Ok(()) => 0,
        Err(_) => tracker.len(),
    }
}
