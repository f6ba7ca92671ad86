//! Who asks, and where from.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The kind of principal that Kafka's own mechanisms make.
const USER: &str = "User";

/// Who a client is known as (`org.apache.kafka.common.security.auth.KafkaPrincipal`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal {
    /// `User`, unless a principal builder of the cluster's own makes others.
    pub kind: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl Principal {
    /// The user of this name.
    pub fn user(name: &str) -> Principal {
        Principal { kind: Arc::from(USER), name: Arc::from(name) }
    }

    /// Whoever neither logged in nor showed a certificate.
    pub fn anonymous() -> Principal {
        Principal::user("ANONYMOUS")
    }
}

/// As it stands in an ACL: `User:alice`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// Who asks, and where from: what ACLs are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// The client's address.
    pub host: IpAddr,
}
