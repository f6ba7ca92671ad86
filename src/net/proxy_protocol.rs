//! The PROXY protocol, versions 1 and 2 (`proxy-protocol.txt` of HAProxy): what a load balancer says
//! of a connection before its client says anything (pure).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, its line end included.
pub const V1_BYTES_MAX: usize = 107;
/// The longest header of version 2 that is read: the fixed part, the longest addresses and 304 bytes
/// of further fields, the room that the protocol's own text has receivers keep.
pub const V2_BYTES_MAX: usize = 536;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;
/// The command of a connection that the load balancer makes on its own behalf.
const LOCAL: u8 = 0;

/// Who is at the other end of a load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A client at this address.
    Client(SocketAddr),
    /// The load balancer itself (a health check), or one whose address it can't tell: the
    /// connection's own address counts.
    Unknown,
}

/// Why a connection doesn't begin with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// It begins with something else.
    #[error("it begins with no PROXY header")]
    Missing,
    /// It goes on for longer than a header may.
    #[error("its PROXY header is too long")]
    TooLong,
    /// It begins as a header does, and goes on otherwise.
    #[error("its PROXY header is malformed")]
    Malformed,
}

/// Looks at the first bytes of a connection: the header's length and what it says, or `None` while
/// more bytes are needed to tell. Never needs more than [`V2_BYTES_MAX`].
///
/// # Errors
/// The connection doesn't begin with a header, or one that is not well-formed.
pub fn parse(bytes: &[u8]) -> Result<Option<(usize, Source)>, BadHeader> {
    if begins(bytes, V2_START) {
        version2(bytes)
    } else if begins(bytes, V1_START) {
        version1(bytes)
    } else {
        Err(BadHeader::Missing)
    }
}

/// Whether `bytes` are the beginning of something that starts so.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    let known = bytes.len().min(start.len());
    bytes[..known] == start[..known]
}

fn version1(bytes: &[u8]) -> Result<Option<(usize, Source)>, BadHeader> {
    let room = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = room.windows(2).position(|pair| pair == b"\r\n") else {
        return if room.len() < V1_BYTES_MAX { Ok(None) } else { Err(BadHeader::TooLong) };
    };
    let line = room.get(V1_START.len()..end).ok_or(BadHeader::Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| BadHeader::Malformed)?;
    let source = if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        // Whatever follows is to be ignored.
        Source::Unknown
    } else {
        Source::Client(line_of_addresses(line).ok_or(BadHeader::Malformed)?)
    };
    Ok(Some((end + 2, source)))
}

/// `TCP4 192.0.2.1 192.0.2.2 56324 443`: one space between them, and nothing else.
fn line_of_addresses(line: &str) -> Option<SocketAddr> {
    let mut parts = line.split(' ');
    let family = parts.next()?;
    let (source, destination) = (parts.next()?, parts.next()?);
    let (source_port, destination_port) = (port(parts.next()?)?, port(parts.next()?)?);
    if parts.next().is_some() {
        return None;
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, _) = (address(source)?, address(destination)?);
    let _ = destination_port;
    Some(SocketAddr::new(source.to_canonical(), source_port))
}

/// A decimal number from 0 to 65535 without a sign and without zeros in front.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    (plain && !padded).then(|| text.parse().ok()).flatten()
}

fn version2(bytes: &[u8]) -> Result<Option<(usize, Source)>, BadHeader> {
    let Some(fixed) = bytes.get(..V2_FIXED) else {
        // A wrong version is told as soon as it is there.
        let version = bytes.get(12).is_none_or(|byte| byte >> 4 == 2);
        return if version { Ok(None) } else { Err(BadHeader::Malformed) };
    };
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0x0f);
    let (family, transport) = (fixed[13] >> 4, fixed[13] & 0x0f);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if version != 2 || command > 1 || family > 3 || transport > 2 {
        return Err(BadHeader::Malformed);
    }
    let whole = V2_FIXED + length;
    if whole > V2_BYTES_MAX {
        return Err(BadHeader::TooLong);
    }
    let Some(addresses) = bytes.get(V2_FIXED..whole) else { return Ok(None) };
    if command == LOCAL {
        return Ok(Some((whole, Source::Unknown)));
    }
    // A stream over IPv4 or IPv6; of the others, this side has no use for the addresses.
    let source = match (family, transport) {
        (1, 1) => address_of::<4>(addresses, 12)?,
        (2, 1) => address_of::<16>(addresses, 36)?,
        _ => Source::Unknown,
    };
    Ok(Some((whole, source)))
}

/// The source of a block of addresses: two addresses of `N` bytes, then two ports. What follows it
/// (further fields) is not read.
fn address_of<const N: usize>(block: &[u8], length: usize) -> Result<Source, BadHeader>
where
    IpAddr: From<[u8; N]>,
{
    let block = block.get(..length).ok_or(BadHeader::Malformed)?;
    let source = block.first_chunk::<N>().ok_or(BadHeader::Malformed)?;
    let port = u16::from_be_bytes([block[2 * N], block[2 * N + 1]]);
    Ok(Source::Client(SocketAddr::new(IpAddr::from(*source).to_canonical(), port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = V2_START.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn client(text: &str) -> Source {
        Source::Client(text.parse().unwrap())
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 0x04, 0x01, 0xbb];

    #[test]
    fn headers_of_version_1() {
        for (text, expected) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", client("192.0.2.1:56324")),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                client("255.255.255.255:65535"),
            ),
            ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", client("[2001:db8::1]:1")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", client("192.0.2.1:1")),
            ("PROXY UNKNOWN\r\n", Source::Unknown),
            ("PROXY UNKNOWN ffff:f...f:ffff ffff 65535 65535\r\n", Source::Unknown),
        ] {
            let whole = [text.as_bytes(), b"behind it"].concat();
            assert_eq!(parse(&whole), Ok(Some((text.len(), expected))), "{text}");
            for end in 0..text.len() {
                assert_eq!(parse(&whole[..end]), Ok(None), "{end} bytes of {text}");
            }
        }
        for text in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 443\r\n",
            "PROXY TCP4 192.0.2.1 ::1 1 443\r\n",
            "PROXY TCP4 ::1 ::1 1 443\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.1 1 443\r\n",
            "PROXY TCP4 host host 1 443\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(BadHeader::Malformed), "{text}");
        }
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        assert_eq!(parse(&long[..V1_BYTES_MAX - 1]), Ok(None));
        assert_eq!(parse(&long), Err(BadHeader::TooLong));
        // The line end may take the last two bytes.
        let mut longest = long[..V1_BYTES_MAX - 2].to_vec();
        longest.extend(b"\r\n");
        assert_eq!(parse(&longest), Ok(Some((V1_BYTES_MAX, Source::Unknown))));
    }

    #[test]
    fn headers_of_version_2() {
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&7_u16.to_be_bytes());
        let more = [V4.as_slice(), &[4, 0, 1, 9]].concat();
        for (bytes, expected) in [
            (v2(1, 0x11, &V4), client("192.0.2.1:56324")),
            (v2(1, 0x11, &more), client("192.0.2.1:56324")),
            (v2(1, 0x21, &v6), client("[2001:db8::1]:7")),
            (v2(0, 0x00, &[]), Source::Unknown),
            (v2(0, 0x11, &V4), Source::Unknown),
            (v2(1, 0x00, &[1, 2, 3]), Source::Unknown),
            (v2(1, 0x12, &V4), Source::Unknown),
            (v2(1, 0x31, &[0; 216]), Source::Unknown),
        ] {
            let whole = [bytes.as_slice(), b"behind it"].concat();
            assert_eq!(parse(&whole), Ok(Some((bytes.len(), expected))), "{bytes:?}");
            for end in 0..bytes.len() {
                assert_eq!(parse(&whole[..end]), Ok(None), "{end} bytes of {bytes:?}");
            }
        }
        let mut other_version = v2(1, 0x11, &V4);
        other_version[12] = 0x31;
        for bytes in [
            v2(2, 0x11, &V4),
            v2(1, 0x41, &V4),
            v2(1, 0x13, &V4),
            v2(1, 0x11, &V4[..11]),
            v2(1, 0x21, &V4),
            other_version,
        ] {
            assert_eq!(parse(&bytes), Err(BadHeader::Malformed), "{bytes:?}");
        }
        let room = V2_BYTES_MAX - V2_FIXED;
        let longest = v2(1, 0x11, &[V4.as_slice(), &vec![0; room - 12]].concat());
        assert_eq!(parse(&longest), Ok(Some((V2_BYTES_MAX, client("192.0.2.1:56324")))));
        let longer = v2(1, 0x11, &[V4.as_slice(), &vec![0; room - 11]].concat());
        assert_eq!(parse(&longer), Err(BadHeader::TooLong));
        assert_eq!(parse(&longer[..V2_FIXED]), Err(BadHeader::TooLong), "it is told at once");
    }

    #[test]
    fn what_begins_otherwise_is_no_header() {
        for bytes in
            [&b"\x00\x00\x00\x10"[..], b"\x16\x03\x01", b"PROXX", b"\r\n\r\n\0\r\nQUIX", b"proxy "]
        {
            assert_eq!(parse(bytes), Err(BadHeader::Missing), "{bytes:?}");
        }
        assert_eq!(parse(b""), Ok(None));
    }

    proptest! {
        #[test]
        fn every_address_is_read_back(ip: IpAddr, port: u16, behind: Vec<u8>) {
            let (family, block) = match ip {
                IpAddr::V4(ip) => (0x11, [&ip.octets()[..], &[9; 4]].concat()),
                IpAddr::V6(ip) => (0x21, [&ip.octets()[..], &[9; 16]].concat()),
            };
            let body = [block.as_slice(), &port.to_be_bytes(), &[0, 1]].concat();
            let word = if ip.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!("PROXY {word} {ip} {ip} {port} 1\r\n").into_bytes();
            let expected = Source::Client(SocketAddr::new(ip.to_canonical(), port));
            for header in [v2(1, family, &body), line] {
                let whole = [header.as_slice(), &behind].concat();
                prop_assert_eq!(parse(&whole), Ok(Some((header.len(), expected))));
            }
        }

        /// More bytes never change what was told, and a header never needs more than its bound.
        #[test]
        fn what_is_told_stays(bytes in prop::collection::vec(any::<u8>(), 0..700), start in 0..3_usize) {
            let start = [&b""[..], V1_START, V2_START][start];
            let bytes = [start, &bytes].concat();
            let whole = parse(&bytes);
            for end in 0..bytes.len() {
                match parse(&bytes[..end]) {
                    Ok(None) => prop_assert!(end < V2_BYTES_MAX),
                    told => prop_assert_eq!(told, whole),
                }
            }
        }
    }
}
