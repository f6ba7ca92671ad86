//! Any frame as a ZooKeeper request: the decoders must not panic.

use doorkeeper::zookeeper::jute::Reader;
use doorkeeper::zookeeper::proto::OpCode;
use doorkeeper::zookeeper::proto::request::{
    AuthPacket, ReadRequest, RequestHeader, WriteRequest, decode_sync,
};

/// One input.
pub(crate) fn run(data: &[u8]) {
    let mut reader = Reader::new(data);
    let Ok(header) = RequestHeader::read(&mut reader) else { return };
    let Some(op) = OpCode::from_client(header.kind) else { return };
    let body = reader.rest();
    let _ = WriteRequest::decode(op, body);
    let _ = ReadRequest::decode(op, body);
    let _ = AuthPacket::decode(body);
    let _ = decode_sync(body);
}
