//! The ZooKeeper protocol: frames made by hand, the loads of the benchmark, and a small client.

mod client;
mod load;

pub use client::Client;
pub use load::{
    Create, GetData, Mixed, Multi, Numbers, Operation, Sessions, SetData, Watch, create_all,
    create_each, delete_all,
};

use anyhow::{Result, bail};

/// `OpCode.create` of `ZooDefs`.
const CREATE: i32 = 1;
/// `OpCode.delete`.
const DELETE: i32 = 2;
/// `OpCode.exists`.
const EXISTS: i32 = 3;
/// `OpCode.getData`.
const GET_DATA: i32 = 4;
/// `OpCode.setData`.
const SET_DATA: i32 = 5;
/// `OpCode.check`.
const CHECK: i32 = 13;
/// `OpCode.multi`.
const MULTI: i32 = 14;
/// `OpCode.addWatch`.
const ADD_WATCH: i32 = 106;
/// `OpCode.closeSession`.
const CLOSE_SESSION: i32 = -11;

/// The session timeout that every connection asks for, within the servers' limits (20 ticks).
const SESSION_TIMEOUT_MS: i32 = 30_000;

/// The bytes of a Stat.
const STAT_LENGTH: usize = 68;

/// The bytes of a `MultiHeader`.
const MULTI_HEADER_LENGTH: usize = 9;

/// Appends a `MultiHeader`: what comes next, or that nothing does.
fn put_multi_header(out: &mut Vec<u8>, operation: i32) {
    put_int(out, operation);
    out.push(u8::from(operation == -1));
    put_int(out, -1);
}

/// Appends a `ConnectRequest` for a new session, with the readOnly byte as every current client sends it.
fn put_connect(out: &mut Vec<u8>) {
    let length_at = begin(out);
    put_int(out, 0);
    put_long(out, 0);
    put_int(out, SESSION_TIMEOUT_MS);
    put_long(out, 0);
    put_buffer(out, &[0; 16]);
    out.push(0);
    end(out, length_at);
}

/// Checks a `ConnectResponse`: a session with an id.
fn check_connected(answer: &[u8]) -> Result<()> {
    let session =
        answer.get(8..).and_then(|rest| rest.first_chunk()).map(|id| i64::from_be_bytes(*id));
    match session {
        None | Some(0) => bail!("no session: {answer:02x?}"),
        Some(_) => Ok(()),
    }
}

/// Appends a request; `body` appends what follows its header.
fn put_request(out: &mut Vec<u8>, xid: i32, operation: i32, body: impl FnOnce(&mut Vec<u8>)) {
    let length_at = begin(out);
    put_int(out, xid);
    put_int(out, operation);
    body(out);
    end(out, length_at);
}

/// The body of a create of a persistent znode that anyone may do anything with.
fn put_create(out: &mut Vec<u8>, path: &str, data: &[u8]) {
    put_string(out, path);
    put_buffer(out, data);
    put_int(out, 1); // one ACL:
    put_int(out, 31); // every permission
    put_string(out, "world");
    put_string(out, "anyone");
    put_int(out, 0); // flags: persistent
}

/// The body of a setData without a version to compare.
fn put_set_data(out: &mut Vec<u8>, path: &str, data: &[u8]) {
    put_string(out, path);
    put_buffer(out, data);
    put_int(out, -1);
}

/// Appends a whole request for a persistent watch of one znode.
pub fn put_persistent_watch(out: &mut Vec<u8>, xid: i32, path: &str) {
    put_request(out, xid, ADD_WATCH, |out| {
        put_string(out, path);
        put_int(out, 0); // AddWatchMode.PERSISTENT
    });
}

/// The bytes of a frame that tells a watcher of a change at `path`, its length included: a reply's
/// header, type, state and path.
pub fn event_length(path: &str) -> usize {
    4 + 16 + 4 + 4 + 4 + path.len()
}

/// A reply's parts: xid, error code and body.
fn split_reply(answer: &[u8]) -> Result<(i32, i32, &[u8])> {
    let Some((header, body)) = answer.split_first_chunk::<16>() else {
        bail!("a reply of {} bytes", answer.len())
    };
    let int = |at: usize| {
        header
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .map_or(i32::MIN, |int| i32::from_be_bytes(*int))
    };
    Ok((int(0), int(12), body))
}

/// The buffer or string at the front of a body, and what follows it.
fn split_buffer(body: &[u8]) -> Result<(&[u8], &[u8])> {
    let parts = body.split_first_chunk::<4>().and_then(|(length, rest)| {
        rest.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)
    });
    parts.map_or_else(|| bail!("no buffer in {body:02x?}"), Ok)
}

/// Reserves room for a frame's length.
fn begin(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

/// Fills in the length of the frame that was begun.
fn end(out: &mut [u8], from: usize) {
    let length = i32::try_from(out.len() - from).unwrap_or(i32::MAX);
    if let Some(place) = out.get_mut(from - 4..from) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

fn put_int(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_long(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    put_int(out, i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.extend_from_slice(bytes);
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_buffer(out, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_framed() {
        let mut out = vec![9];
        put_request(&mut out, 7, GET_DATA, |out| put_string(out, "/a"));
        assert_eq!(out, [9, 0, 0, 0, 14, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0, 2, b'/', b'a']);
    }

    #[test]
    fn a_connect_request_has_the_length_of_current_clients() {
        let mut out = Vec::new();
        put_connect(&mut out);
        assert_eq!(out.len(), 4 + 45);
    }

    #[test]
    fn a_reply_is_split() {
        let mut reply = vec![0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0x9b];
        assert_eq!(split_reply(&reply).unwrap(), (5, -101, &[][..]));
        reply.extend([0, 0, 0, 1, b'x', 1]);
        let (_, _, body) = split_reply(&reply).unwrap();
        assert_eq!(split_buffer(body).unwrap(), (&b"x"[..], &[1][..]));
        assert!(split_reply(&reply[..15]).is_err());
        assert!(split_buffer(&[0, 0, 0, 2, 1]).is_err());
        assert!(split_buffer(&[0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
