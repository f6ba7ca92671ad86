//! Request and response headers, read and written by hand.
//!
//! Request header 1 is key, version, correlation id and client id; 2 has tagged fields after
//! them. Response header 0 is the correlation id; 1 has tagged fields after it, of which there
//! are none. Which of them a request has follows from its key and version.

use bytes::{Buf, BufMut, Bytes};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;

use super::guard::{self, Refused};

/// The fields that every request starts with, whatever its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The number of the API.
    pub key: i16,
    /// The version of the API.
    pub version: i16,
    /// What the response has to repeat.
    pub correlation: i32,
}

/// Reads the first eight bytes of a frame.
pub fn start(frame: &mut Bytes) -> Result<Start, Refused> {
    if frame.remaining() < 8 {
        return Err(Refused::Truncated);
    }
    Ok(Start { key: frame.get_i16(), version: frame.get_i16(), correlation: frame.get_i32() })
}

/// Reads the rest of a header: the client id; tagged fields are checked and skipped. What is left
/// of the frame is the body.
pub fn client_id(
    frame: &mut Bytes,
    key: ApiKey,
    version: i16,
) -> Result<Option<StrBytes>, Refused> {
    if frame.remaining() < 2 {
        return Err(Refused::Truncated);
    }
    let length = frame.get_i16();
    let client_id = match usize::try_from(length) {
        Ok(length) if length > frame.remaining() => return Err(Refused::Truncated),
        Ok(length) => {
            let text = frame.split_to(length);
            Some(StrBytes::from_utf8(text).map_err(|_| Refused::Utf8)?)
        }
        Err(_) if length == -1 => None,
        Err(_) => return Err(Refused::Length),
    };
    if key.request_header_version(version) >= 2 {
        let skipped = guard::skip_tagged_fields(frame)?;
        frame.advance(skipped);
    }
    Ok(client_id)
}

/// What stands behind the header of a whole request, without its length.
pub fn body(frame: &[u8], key: ApiKey, version: i16) -> Result<&[u8], Refused> {
    let length = frame.get(8..10).ok_or(Refused::Truncated)?;
    let length = i16::from_be_bytes([length[0], length[1]]);
    let rest = match usize::try_from(length) {
        Ok(length) => frame.get(10 + length..).ok_or(Refused::Truncated)?,
        Err(_) if length == -1 => &frame[10..],
        Err(_) => return Err(Refused::Length),
    };
    if key.request_header_version(version) < 2 {
        return Ok(rest);
    }
    Ok(&rest[guard::skip_tagged_fields(rest)?..])
}

/// A frame's length and response header: what comes before a body of `body` bytes.
pub fn response(
    output: &mut impl BufMut,
    key: ApiKey,
    version: i16,
    correlation: i32,
    body: usize,
) -> Result<(), TooLong> {
    let tagged = usize::from(key.response_header_version(version) >= 1);
    let length = i32::try_from(4 + tagged + body).map_err(|_| TooLong(body))?;
    output.put_i32(length);
    output.put_i32(correlation);
    output.put_bytes(0, tagged);
    Ok(())
}

/// A response body that no frame can carry.
#[derive(Debug, thiserror::Error)]
#[error("a response of {0} bytes is too long for a frame")]
pub struct TooLong(usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8]) -> Result<(Start, Option<StrBytes>, Bytes), Refused> {
        let mut frame = Bytes::from_static(bytes);
        let start = start(&mut frame)?;
        let key = ApiKey::try_from(start.key).unwrap();
        let client_id = client_id(&mut frame, key, start.version)?;
        Ok((start, client_id, frame))
    }

    #[test]
    fn both_header_versions_are_read() {
        let (start, client, body) = read(b"\0\x03\0\x08\0\0\0\x07\0\x02me\x01\x02").unwrap();
        assert_eq!(start, Start { key: 3, version: 8, correlation: 7 });
        assert_eq!(client.as_deref(), Some("me"));
        assert_eq!(&body[..], b"\x01\x02");
        let tagged = b"\0\x03\0\x09\0\0\0\x07\xff\xff\x02\x00\x01a\x05\x00rest";
        let (_, client, body) = read(tagged).unwrap();
        assert_eq!(client, None);
        assert_eq!(&body[..], b"rest");
    }

    #[test]
    fn short_and_lying_headers_are_refused() {
        let whole = b"\0\x03\0\x09\0\0\0\x07\0\x02me\x01\x00\x01a";
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
        assert!(read(b"\0\x03\0\x09\0\0\0\x07\x7f\xffme\x00").is_err());
        assert!(read(b"\0\x03\0\x09\0\0\0\x07\xff\xfe\x00").is_err());
        assert!(read(b"\0\x03\0\x09\0\0\0\x07\0\x01\xff\x00").is_err());
        let many = b"\0\x03\0\x09\0\0\0\x07\xff\xff\xff\xff\xff\xff\x0f";
        assert!(read(many).is_err());
    }

    #[test]
    fn a_response_header_is_as_long_as_its_version_says() {
        let mut output = Vec::new();
        response(&mut output, ApiKey::Metadata, 9, 5, 10).unwrap();
        assert_eq!(output, [0, 0, 0, 15, 0, 0, 0, 5, 0]);
        output.clear();
        response(&mut output, ApiKey::ApiVersions, 4, 5, 10).unwrap();
        assert_eq!(output, [0, 0, 0, 14, 0, 0, 0, 5]);
    }
}
