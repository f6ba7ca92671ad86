//! Listeners, connection caps and drain, shared by both protocols.

mod bind;
mod permit;
mod serve;

pub use bind::{BindError, bind, machine_name};
pub use permit::{ConnectionLimits, ConnectionPermit};
pub use serve::{drain, serve};

#[cfg(test)]
mod tests;
