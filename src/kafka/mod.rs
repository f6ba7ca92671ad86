//! The Kafka protocol server: frames in, one handler for each API, frames out.
//!
//! - [`wire`]: frames, headers and the guard that checks a body before any decoder sees it.
//! - [`api`]: one file for each API that is served, and what a handler gets and gives.
//! - [`addresses`]: which address of each broker the clients of a listener are told.
//! - [`response_cache`]: encoded topics, made when the image changes and not when a request comes.
//! - [`fetch_sessions`]: what consumers need not say again.
//! - [`record_batch`]: the record batches of Produce and Fetch, and of the logs.
//! - [`server`]: listeners and connections.
//! - [`security`]: the place of SASL, ACLs and quotas.

mod connection;

pub mod addresses;
pub mod api;
pub mod fetch_sessions;
pub mod record_batch;
pub mod response_cache;
pub mod security;
pub mod server;
pub mod wire;
