//! Who a client is, and what it may do.
//!
//! - [`principal`]: who asks, and where from.
//!
//! A broker has no SASL, ACLs or quotas yet: every client may do everything, and a configuration that
//! asks for protection stops the start.

pub mod principal;

pub use principal::{Caller, Principal};
