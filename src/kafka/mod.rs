//! The Kafka protocol server: frames in, one handler for each API, frames out.
//!
//! - [`wire`]: frames, headers and the guard that checks a body before any decoder sees it.
//! - [`api`]: one file for each API that is served, and what a handler gets and gives.
//! - [`security`]: the place of SASL, ACLs and quotas.

pub mod api;
pub mod security;
pub mod wire;
