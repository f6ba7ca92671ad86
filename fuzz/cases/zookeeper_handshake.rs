//! Any frame as a handshake, or as a four-letter word: the decoder must not panic.

use doorkeeper::zookeeper::proto::handshake::ConnectRequest;

/// One input.
pub(crate) fn run(data: &[u8]) {
    if let Ok(request) = ConnectRequest::decode(data) {
        assert!(request.password.is_none_or(|password| password.len() < data.len()));
    }
}
