//! One client, and its upstream.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Core;

/// Serves a client until it hangs up, breaks the protocol or is idle for too long, its upstream
/// fails it, or the gateway stops.
pub(super) async fn run(
    core: Arc<Core>,
    listener: usize,
    broker: Option<i32>,
    stream: TcpStream,
    closing: CancellationToken,
) {
    let _ = (&core.answers, listener, broker, stream, closing);
}
