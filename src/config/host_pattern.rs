//! Host names of brokers, as a pattern with their ids (pure).

use std::fmt;
use std::str::FromStr;

const ID: &str = "{id}";

/// `broker-{id}.kafka.example.com`: a name for each broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    before: String,
    after: String,
}

/// A text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a host name with a dot and {{id}} once, such as broker-{{id}}.kafka.example.com")]
pub struct NoPattern;

impl HostPattern {
    /// The name of a broker.
    pub fn host(&self, id: i32) -> String {
        format!("{}{id}{}", self.before, self.after)
    }

    /// The broker of a name, in any case and with a dot at its end or without.
    pub fn id(&self, host: &str) -> Option<i32> {
        let host = normal(host);
        let id = host.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        let plain = id.bytes().all(|byte| byte.is_ascii_digit());
        let padded = id.len() > 1 && id.starts_with('0');
        (plain && !padded).then(|| id.parse().ok()).flatten()
    }
}

/// A host name as it is compared.
pub fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether a text is a name that clients send in a TLS handshake: Java's send none without a dot.
pub fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(inner)
    };
    text.contains('.')
        && text.len() <= 253
        && text.split('.').all(label)
        && text.parse::<std::net::IpAddr>().is_err()
}

impl FromStr for HostPattern {
    type Err = NoPattern;

    fn from_str(text: &str) -> Result<HostPattern, NoPattern> {
        let (before, after) = text.split_once(ID).ok_or(NoPattern)?;
        let pattern = HostPattern { before: before.to_ascii_lowercase(), after: normal(after) };
        let again = after.contains(ID) || pattern.before.ends_with(|c: char| c.is_ascii_digit());
        let valid =
            !again && is_host_name(&pattern.host(0)) && is_host_name(&pattern.host(i32::MAX));
        if valid { Ok(pattern) } else { Err(NoPattern) }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{ID}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_brokers_or_nobodys() {
        let pattern: HostPattern = "Broker-{id}.kafka.example.com".parse().unwrap();
        assert_eq!(pattern.host(7), "broker-7.kafka.example.com");
        for (name, id) in [
            ("broker-7.kafka.example.com", Some(7)),
            ("BROKER-0.Kafka.Example.COM.", Some(0)),
            ("broker-2147483647.kafka.example.com", Some(i32::MAX)),
            ("broker-2147483648.kafka.example.com", None),
            ("broker--1.kafka.example.com", None),
            ("broker-07.kafka.example.com", None),
            ("broker-+7.kafka.example.com", None),
            ("broker-.kafka.example.com", None),
            ("broker-7.kafka.example.org", None),
            ("xbroker-7.kafka.example.com", None),
            ("broker-.com", None),
            ("", None),
        ] {
            assert_eq!(pattern.id(name), id, "{name}");
        }
        for id in [0, 1, 1_001, i32::MAX] {
            assert_eq!(pattern.id(&pattern.host(id)), Some(id));
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "{id}",
            "broker.example.com",
            "b{id}",
            "b{id}.{id}.com",
            "b1{id}.example.com",
            "b {id}.example.com",
            ".{id}.com",
            "b-{id}..com",
            "{id}.1.2.3",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
        assert!("{id}.kafka.example.com".parse::<HostPattern>().is_ok());
    }
}
