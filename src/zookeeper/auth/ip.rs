//! The `ip` scheme: an address, or a network as `address/bits` (`IPAuthenticationProvider`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network that an ACL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

/// Reads `10.0.0.0/8`, `10.1.2.3`, `2001:db8::/32`; `None` where ZooKeeper finds it invalid.
fn parse(expression: &str) -> Option<Network> {
    let (address, bits) = match expression.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (expression, None),
    };
    let address = parse_address(address)?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= width)?,
        None => width,
    };
    Some(Network { address, bits })
}

fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        // ZooKeeper takes no IPv4 form at the end, and no zone.
        return text.parse::<Ipv6Addr>().ok().filter(|_| !text.contains('.')).map(IpAddr::V6);
    }
    let mut bytes = [0; 4];
    let mut parts = text.split('.');
    for byte in &mut bytes {
        // Unlike Rust's parser, ZooKeeper takes "010" for ten.
        *byte = parts.next()?.parse::<u8>().ok()?;
    }
    parts.next().is_none().then_some(IpAddr::V4(Ipv4Addr::from(bytes)))
}

/// Whether an ACL may name this expression.
pub(super) fn is_valid(expression: &str) -> bool {
    parse(expression).is_some()
}

/// Whether a client at the address `id` is meant by `expression`.
pub(super) fn matches(id: &str, expression: &str) -> bool {
    let (Some(network), Some(client)) = (parse(expression), parse_address(id)) else {
        return false;
    };
    match (network.address, client) {
        (IpAddr::V4(network_address), IpAddr::V4(client)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(network.bits)).unwrap_or(0);
            network_address.to_bits() & mask == client.to_bits() & mask
        }
        (IpAddr::V6(network_address), IpAddr::V6(client)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(network.bits)).unwrap_or(0);
            network_address.to_bits() & mask == client.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_matched_by_their_bits() {
        for (id, expression, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.20.30.40", "10.0.0.0/8", true),
            ("11.20.30.40", "10.0.0.0/8", false),
            ("10.20.30.40", "10.20.30.0/25", true),
            ("10.20.30.140", "10.20.30.0/25", false),
            ("1.2.3.4", "9.9.9.9/0", true),
            ("1.2.3.4", "1.2.3.4/32", true),
            ("2001:db8::7", "2001:db8::/32", true),
            ("2001:db9::7", "2001:db8::/32", false),
            ("::1", "::/0", true),
            ("127.0.0.1", "::/0", false),
            ("127.0.0.1", "nonsense", false),
        ] {
            assert_eq!(matches(id, expression), expected, "{id} {expression}");
        }
    }

    #[test]
    fn an_expression_is_an_address_with_bits_that_fit() {
        for (expression, valid) in [
            ("10.0.0.0/8", true),
            ("10.0.0.0/33", false),
            ("10.0.0.0/-1", false),
            ("10.0.0.0/", false),
            ("10.0.0", false),
            ("10.0.0.0.0", false),
            ("256.0.0.1", false),
            ("::1", true),
            ("::1/129", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1%eth0", false),
            ("anyone", false),
            ("", false),
        ] {
            assert_eq!(is_valid(expression), valid, "{expression}");
        }
    }
}
