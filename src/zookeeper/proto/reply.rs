//! Replies and watch events, appended as whole frames to a connection's output.

use super::{ErrorCode, XID_EVENT};
use crate::zookeeper::jute::Writer;
use crate::zookeeper::watch::EventType;

/// `KeeperState.SyncConnected`, the only state that a server sends.
const SYNC_CONNECTED: i32 = 3;

/// Appends a reply with a body.
pub fn ok(out: &mut Vec<u8>, xid: i32, zxid: i64, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    header(out, xid, zxid, 0);
    body(out);
    end(out, start);
}

/// Appends a reply in whose body, between what the two write, `between` bytes go that are sent apart.
/// Returns where.
pub fn around(
    out: &mut Vec<u8>,
    xid: i32,
    zxid: i64,
    between: usize,
    before: impl FnOnce(&mut Vec<u8>),
    after: impl FnOnce(&mut Vec<u8>),
) -> usize {
    let start = out.len();
    header(out, xid, zxid, 0);
    before(out);
    let at = out.len();
    after(out);
    end_with(out, start, between);
    at
}

/// Appends a reply that has no body.
pub fn empty(out: &mut Vec<u8>, xid: i32, zxid: i64) {
    let start = out.len();
    header(out, xid, zxid, 0);
    end(out, start);
}

/// Appends a reply that says why the request failed.
pub fn error(out: &mut Vec<u8>, xid: i32, zxid: i64, code: ErrorCode) {
    let start = out.len();
    header(out, xid, zxid, code.number());
    end(out, start);
}

/// Appends a reply that says why the request failed and has a body all the same.
pub fn error_with(
    out: &mut Vec<u8>,
    xid: i32,
    zxid: i64,
    code: ErrorCode,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    header(out, xid, zxid, code.number());
    body(out);
    end(out, start);
}

/// Appends a watch event. `zxid` is that of the transaction, or -1 for one that `setWatches` caught
/// up.
pub fn event(out: &mut Vec<u8>, zxid: i64, kind: EventType, path: &str) {
    let start = out.len();
    header(out, XID_EVENT, zxid, 0);
    out.write_int(kind as i32);
    out.write_int(SYNC_CONNECTED);
    out.write_string(path);
    end(out, start);
}

/// The start of one result in the answer to a multi: `MultiHeader{kind, done, err}`.
pub fn multi_header(out: &mut Vec<u8>, kind: i32, done: bool, err: i32) {
    out.write_int(kind);
    out.write_bool(done);
    out.write_int(err);
}

/// One failed operation in the answer to a multi.
pub fn multi_error(out: &mut Vec<u8>, code: i32) {
    multi_header(out, -1, false, code);
    out.write_int(code);
}

/// The end of the answer to a multi.
pub fn multi_end(out: &mut Vec<u8>) {
    multi_header(out, -1, true, -1);
}

fn header(out: &mut Vec<u8>, xid: i32, zxid: i64, err: i32) {
    out.reserve(64);
    out.write_int(0);
    out.write_int(xid);
    out.write_long(zxid);
    out.write_int(err);
}

/// Writes the frame's length before it. A reply that is too long for the 31 bits of the field can
/// only be one of a node with some hundred million children.
fn end(out: &mut [u8], start: usize) {
    end_with(out, start, 0);
}

/// The same where some bytes of the frame are sent apart.
fn end_with(out: &mut [u8], start: usize, more: usize) {
    let length = i32::try_from(out.len() - start - 4 + more).unwrap_or(i32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_their_length() {
        let mut out = Vec::new();
        empty(&mut out, 7, 9);
        assert_eq!(out[..], [0, 0, 0, 16, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]);
        out.clear();
        error(&mut out, 7, 9, ErrorCode::NoNode);
        assert_eq!(out[16..20], (-101_i32).to_be_bytes());
        out.clear();
        event(&mut out, -1, EventType::NodeDeleted, "/a");
        assert_eq!(out.len(), 4 + 16 + 8 + 4 + 2);
        assert_eq!(out[4..8], (-1_i32).to_be_bytes());
        assert_eq!(out[8..16], (-1_i64).to_be_bytes());
        ok(&mut out, 1, 2, |out| out.write_string("x"));
        assert_eq!(out[34..38], 21_u32.to_be_bytes());
    }
}
