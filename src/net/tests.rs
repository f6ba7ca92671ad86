//! The accept loop over real sockets: caps, drain, and errors that name the address.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{ConnectionLimits, bind, drain, serve};
use crate::config::ListenAddress;

fn address(host: &str, port: u16) -> ListenAddress {
    ListenAddress { host: host.to_owned(), port }
}

struct Echo {
    at: SocketAddr,
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// A server that answers each byte with itself until its peer or `stop` ends it.
fn echo(host: &str, limits: ConnectionLimits) -> Echo {
    let listener = bind(&address(host, 0)).unwrap();
    let at = SocketAddr::new([127, 0, 0, 1].into(), listener.local_addr().unwrap().port());
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let connection_stop = stop.clone();
    tokio::spawn(serve(
        listener,
        limits,
        stop.clone(),
        tracker.clone(),
        move |mut stream, peer, permit| {
            let stop = connection_stop.clone();
            async move {
                assert!(peer.is_ipv4(), "an IPv4 peer shows as {peer}");
                let _permit = permit;
                let mut byte = [0];
                loop {
                    let read = tokio::select! {
                        () = stop.cancelled() => return,
                        read = stream.read(&mut byte) => read,
                    };
                    if !matches!(read, Ok(1)) || stream.write_all(&byte).await.is_err() {
                        return;
                    }
                }
            }
        },
    ));
    Echo { at, stop, tracker }
}

/// Whether a new connection is served, and the connection.
async fn served(at: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let mut byte = [7];
    let answered =
        stream.write_all(&byte).await.is_ok() && matches!(stream.read(&mut byte).await, Ok(1));
    answered.then_some(stream)
}

const NO_LIMITS: ConnectionLimits = ConnectionLimits { total: usize::MAX, per_ip: usize::MAX };

#[tokio::test]
async fn serves_ipv4_on_the_empty_host() {
    let echo = echo("", NO_LIMITS);
    assert!(served(echo.at).await.is_some());
}

#[tokio::test]
async fn refuses_above_the_caps_and_serves_again_when_a_place_is_free() {
    for limits in [
        ConnectionLimits { total: 2, per_ip: usize::MAX },
        ConnectionLimits { total: usize::MAX, per_ip: 2 },
        ConnectionLimits::zero_is_unlimited(0, 2),
    ] {
        let echo = echo("127.0.0.1", limits);
        let first = served(echo.at).await.unwrap();
        let _second = served(echo.at).await.unwrap();
        assert!(served(echo.at).await.is_none(), "a third connection is served under {limits:?}");
        drop(first);
        while served(echo.at).await.is_none() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn drain_closes_the_socket_and_counts_what_is_left() {
    let echo = echo("127.0.0.1", NO_LIMITS);
    let _open = served(echo.at).await.unwrap();
    echo.tracker.spawn(std::future::pending::<()>());
    assert_eq!(drain(&echo.stop, &echo.tracker, Duration::from_millis(200)).await, 1);
    assert!(TcpStream::connect(echo.at).await.is_err(), "the socket is still open");
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let taken = bind(&address("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = bind(&address("127.0.0.1", port)).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("can't listen on 127.0.0.1:{port}: the port is in use by another process")
    );
}

#[tokio::test]
async fn an_address_of_another_machine_is_named() {
    let error = bind(&address("192.0.2.1", 0)).unwrap_err().to_string();
    assert_eq!(error, "can't listen on 192.0.2.1:0: this machine has no such address");
}
