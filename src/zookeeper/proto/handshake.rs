//! The first exchange of a connection: `ConnectRequest` and `ConnectResponse`.

use bytes::BufMut as _;

use crate::zookeeper::jute::{JuteError, Reader, Writer};

/// What a client opens its connection with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// The last zxid that the client has seen from any server.
    pub last_zxid_seen: i64,
    /// The session timeout that it wishes, in milliseconds.
    pub timeout_ms: i32,
    /// The session that it had, or 0.
    pub session_id: i64,
    /// The password of that session.
    pub password: Option<&'a [u8]>,
    /// Whether it would take a read-only server; `None` from clients older than 3.4, which must not
    /// be sent the field either.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Reads the request, with or without the last byte.
    pub fn decode(frame: &'a [u8]) -> Result<Self, JuteError> {
        let mut reader = Reader::new(frame);
        let _protocol_version = reader.int()?;
        Ok(ConnectRequest {
            last_zxid_seen: reader.long()?,
            timeout_ms: reader.int()?,
            session_id: reader.long()?,
            password: reader.buffer()?,
            read_only: reader.bool().ok(),
        })
    }
}

/// What the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectResponse {
    /// The session timeout that holds, in milliseconds.
    pub timeout_ms: u32,
    /// The session.
    pub session_id: i64,
    /// Its password.
    pub password: [u8; 16],
}

impl ConnectResponse {
    /// The session is gone, or was never the client's: all zeros.
    pub const EXPIRED: ConnectResponse =
        ConnectResponse { timeout_ms: 0, session_id: 0, password: [0; 16] };

    /// Appends the frame; the read-only byte only for a client that sent one.
    pub fn write(&self, with_read_only: bool, out: &mut Vec<u8>) {
        out.write_count(36 + usize::from(with_read_only));
        out.write_int(0);
        out.put_u32(self.timeout_ms);
        out.write_long(self.session_id);
        out.write_buffer(Some(&self.password));
        if with_read_only {
            out.write_bool(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.write_int(0);
        bytes.write_long(7);
        bytes.write_int(10_000);
        bytes.write_long(42);
        bytes.write_buffer(Some(&[9; 16]));
        bytes
    }

    #[test]
    fn the_last_byte_is_optional() {
        let mut bytes = request();
        let old = ConnectRequest::decode(&bytes).unwrap();
        assert_eq!((old.last_zxid_seen, old.timeout_ms, old.session_id), (7, 10_000, 42));
        assert_eq!((old.password, old.read_only), (Some(&[9; 16][..]), None));
        bytes.push(1);
        assert_eq!(ConnectRequest::decode(&bytes).unwrap().read_only, Some(true));
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_read_or_refused() {
        let mut bytes = request();
        bytes.push(0);
        for length in 0..bytes.len() - 1 {
            assert_eq!(ConnectRequest::decode(&bytes[..length]).is_ok(), length == 44);
        }
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = ConnectRequest::decode(&changed);
            }
        }
    }

    #[test]
    fn answers_have_the_length_that_the_client_expects() {
        let mut out = Vec::new();
        ConnectResponse { timeout_ms: 4_000, session_id: 1, password: [3; 16] }
            .write(false, &mut out);
        assert_eq!(out.len(), 40);
        assert_eq!(out[..4], 36_u32.to_be_bytes());
        out.clear();
        ConnectResponse::EXPIRED.write(true, &mut out);
        assert_eq!(out[..4], 37_u32.to_be_bytes());
        assert_eq!(out[4..20], [0; 16]);
    }
}
