//! Questions of the gateway's own to a broker: whole frames, bounded in time and length.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::kafka::wire::frame as wire;
use crate::kafka::wire::guard;
use crate::net::stream::Stream;

/// The correlation id of every question of the gateway's own.
pub(super) const CORRELATION: i32 = 1;

/// A whole request of the gateway's own.
pub(super) fn frame<R: Encodable>(key: ApiKey, version: i16, request: &R) -> io::Result<Bytes> {
    let name = Some(StrBytes::from_static_str("doorkeeper-gateway"));
    self::request(key, version, (CORRELATION, name), request)
}

/// A whole request with this correlation id and client id.
pub(super) fn request<R: Encodable>(
    key: ApiKey,
    version: i16,
    (correlation, client): (i32, Option<StrBytes>),
    request: &R,
) -> io::Result<Bytes> {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(client);
    let mut content = BytesMut::new();
    header.encode(&mut content, key.request_header_version(version)).map_err(io::Error::other)?;
    request.encode(&mut content, version).map_err(io::Error::other)?;
    let mut output = BytesMut::with_capacity(content.len() + 4);
    output.put_i32(i32::try_from(content.len()).map_err(io::Error::other)?);
    output.put_slice(&content);
    Ok(output.freeze())
}

/// Sends a whole request, and returns its answer from the correlation id on, unchecked.
///
/// # Errors
/// As for [`ask`].
pub(super) async fn send(
    stream: &mut Stream,
    request: &[u8],
    (longest, patience): (usize, Duration),
) -> io::Result<Bytes> {
    let exchange = async {
        stream.write_all(request).await?;
        stream.flush().await?;
        let mut input = BytesMut::new();
        loop {
            if let Some(frame) = wire::take(&mut input, longest).map_err(invalid)? {
                return Ok::<Bytes, io::Error>(frame);
            }
            if stream.read_buf(&mut input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    let answer =
        timeout(patience, exchange).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))?;
    if answer.clone().try_get_i32().map_err(invalid)? != CORRELATION {
        return Err(invalid("another correlation id than the question's"));
    }
    Ok(answer)
}

/// Asks, and returns the body of the answer, unchecked.
///
/// # Errors
/// The connection's; `InvalidData` for an answer that is none; `TimedOut`.
pub(super) async fn ask<R: Encodable>(
    stream: &mut Stream,
    key: ApiKey,
    version: i16,
    request: &R,
    bounds: (usize, Duration),
) -> io::Result<Bytes> {
    let mut answer = send(stream, &frame(key, version, request)?, bounds).await?;
    answer.advance(4);
    if key.response_header_version(version) >= 1 {
        let tagged = guard::skip_tagged_fields(&answer).map_err(invalid)?;
        answer.advance(tagged);
    }
    Ok(answer)
}

pub(super) fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
