//! Opens a listening socket, with an error that an operator can act on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::config::ListenAddress;
use crate::limits;

/// Why an address can't be listened on: one line with the address and the reason.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {reason}")]
pub struct BindError {
    /// The address as configured.
    pub address: ListenAddress,
    /// What the system said, with what can be done about it where that is known.
    pub reason: String,
}

/// Listens on `address`; call it inside a tokio runtime.
///
/// An empty host is every interface, IPv6 and IPv4 with one socket where the machine has IPv6. A
/// name that has both an IPv4 and an IPv6 address is bound on the first one that works, IPv4 before
/// IPv6 as the JVM prefers. `SO_REUSEADDR` is set, so that a restart doesn't wait for `TIME_WAIT`.
///
/// # Errors
/// The name doesn't resolve, or the system refuses every one of its addresses.
pub fn bind(address: &ListenAddress) -> Result<TcpListener, BindError> {
    bind_with_backlog(address, None)
}

/// As [`bind`], with so many connections that may wait for an accept
/// (`None`: [`limits::LISTEN_BACKLOG`]).
///
/// # Errors
/// The name doesn't resolve, or the system refuses every one of its addresses.
pub fn bind_with_backlog(
    address: &ListenAddress,
    backlog: Option<u32>,
) -> Result<TcpListener, BindError> {
    let backlog = backlog.map_or(limits::LISTEN_BACKLOG, |n| i32::try_from(n).unwrap_or(i32::MAX));
    let fail = |reason: String| BindError { address: address.clone(), reason };
    let mut refused = None;
    for candidate in candidates(address).map_err(|e| fail(e.to_string()))? {
        match listen(candidate, backlog) {
            Ok(listener) => return Ok(listener),
            Err(e) => refused = refused.or(Some(e)),
        }
    }
    Err(fail(match refused {
        Some(e) if e.kind() == io::ErrorKind::AddrInUse => {
            "the port is in use by another process".to_owned()
        }
        Some(e) if e.kind() == io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address".to_owned()
        }
        Some(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            "permission denied (ports below 1024 need a privilege)".to_owned()
        }
        Some(e) => e.to_string(),
        None => "the name has no address".to_owned(),
    }))
}

fn candidates(address: &ListenAddress) -> io::Result<Vec<SocketAddr>> {
    if address.host.is_empty() {
        return Ok(vec![
            SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port),
            SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port),
        ]);
    }
    let mut found: Vec<SocketAddr> =
        (address.host.as_str(), address.port).to_socket_addrs()?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found)
}

fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

/// Lets the system find out by itself that a silent peer is gone (`SO_KEEPALIVE`).
///
/// # Errors
/// The connection is gone already.
pub fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_keepalive(true)
}

/// Whether a host is every interface of the machine.
pub fn is_wildcard(host: &str) -> bool {
    host.is_empty() || host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// The machine's own name, which clients are told where a listener is bound to every interface and
/// nothing else is advertised.
pub fn machine_name() -> String {
    let named = |name: String| Some(name.trim().to_owned()).filter(|name| !name.is_empty());
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .and_then(named)
        .or_else(|| std::env::var("HOSTNAME").ok().and_then(named))
        .unwrap_or_else(|| "localhost".to_owned())
}
