//! Who a client is, and what it may do.
//!
//! - [`principal`]: who asks, and where from.
//! - [`authorizer`]: what a caller may do, by the cluster's ACLs (pure).
//! - [`ssl_principal`]: whom a certificate names (pure).
//!
//! A broker has no SASL, ACLs or quotas yet: every client may do everything, and a configuration that
//! asks for protection stops the start.

pub mod authorizer;
pub mod principal;
pub mod ssl_principal;

pub use authorizer::{AclRules, Authority, Rights};
pub use principal::{Caller, Principal};
pub use ssl_principal::PrincipalMapper;
