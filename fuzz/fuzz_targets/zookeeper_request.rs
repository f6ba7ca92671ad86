//! Any frame as a ZooKeeper request or handshake: the decoders must not panic.

#![no_main]

use doorkeeper::zookeeper::jute::Reader;
use doorkeeper::zookeeper::proto::OpCode;
use doorkeeper::zookeeper::proto::handshake::ConnectRequest;
use doorkeeper::zookeeper::proto::request::{
    AuthPacket, ReadRequest, RequestHeader, WriteRequest, decode_sync,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = ConnectRequest::decode(data);
    let mut reader = Reader::new(data);
    let Ok(header) = RequestHeader::read(&mut reader) else { return };
    let Some(op) = OpCode::from_client(header.kind) else { return };
    let body = reader.rest();
    let _ = WriteRequest::decode(op, body);
    let _ = ReadRequest::decode(op, body);
    let _ = AuthPacket::decode(body);
    let _ = decode_sync(body);
});
