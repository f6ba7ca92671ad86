//! Protocols and cipher suites by the names that Java has for them.

use rustls::crypto::aws_lc_rs;
use rustls::{CipherSuite, SupportedProtocolVersion};

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

impl Protocol {
    /// All that are served, the newest first.
    pub const ALL: [Protocol; 2] = [Protocol::Tls13, Protocol::Tls12];

    /// `TLSv1.3` or `TLSv1.2`; older ones are not served.
    pub fn by_name(name: &str) -> Option<Protocol> {
        match name {
            "TLSv1.2" => Some(Protocol::Tls12),
            "TLSv1.3" => Some(Protocol::Tls13),
            _ => None,
        }
    }

    pub(super) fn version(self) -> &'static SupportedProtocolVersion {
        match self {
            Protocol::Tls12 => &rustls::version::TLS12,
            Protocol::Tls13 => &rustls::version::TLS13,
        }
    }
}

/// Java's name of a suite: the one of the standard, which rustls gives for TLS 1.3 with a prefix of
/// its own.
pub(super) fn java_name(suite: CipherSuite) -> String {
    let name = format!("{suite:?}");
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name,
    }
}

/// The suites that can be served, by their names and the version they belong to.
pub fn cipher_suites() -> Vec<(String, Protocol)> {
    aws_lc_rs::ALL_CIPHER_SUITES
        .iter()
        .map(|suite| {
            let protocol = if suite.tls13().is_some() { Protocol::Tls13 } else { Protocol::Tls12 };
            (java_name(suite.suite()), protocol)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_the_names_that_java_has() {
        let suites = cipher_suites();
        for (name, protocol) in [
            ("TLS_AES_256_GCM_SHA384", Protocol::Tls13),
            ("TLS_AES_128_GCM_SHA256", Protocol::Tls13),
            ("TLS_CHACHA20_POLY1305_SHA256", Protocol::Tls13),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Protocol::Tls12),
            ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Protocol::Tls12),
        ] {
            assert!(suites.contains(&(name.to_owned(), protocol)), "{name}: {suites:?}");
        }
    }

    #[test]
    fn old_protocols_are_not_known() {
        assert_eq!(Protocol::by_name("TLSv1.2"), Some(Protocol::Tls12));
        for old in ["TLSv1.1", "TLSv1", "SSLv3", "TLS", ""] {
            assert_eq!(Protocol::by_name(old), None, "{old}");
        }
    }
}
