//! Listeners, TLS, connection caps and drain, shared by both protocols.

mod bind;
pub mod bucket;
mod http;
pub mod network;
mod permit;
pub mod proxy_protocol;
mod serve;
pub mod splice;
pub mod stream;
pub mod tls;

pub use bind::{BindError, bind, bind_with_backlog, is_wildcard, keep_alive, machine_name};
pub use http::{HttpListener, HttpPeer, Https};
pub use permit::{
    ConnectionCounts, ConnectionLimits, ConnectionPermit, ListenerTotal, ProcessCap, Refusal,
};
pub use serve::{RefusalLog, drain, serve, serve_admitted, serve_within};

#[cfg(test)]
mod tests;
