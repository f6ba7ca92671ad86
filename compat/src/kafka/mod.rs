//! The Kafka protocol: a small client on the `kafka-protocol` crate, and the loads of the benchmark,
//! whose frames are made once and answers checked by hand.

mod client;
mod cluster;
mod metadata;
mod records;

pub use client::{Client, Expected, METADATA_VERSION};
pub use cluster::Topics;
pub use metadata::{Metadata, all_topics_frame};
pub use records::{FETCH_BYTES, Fetch, Produce};

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

/// Where the correlation id stands in a request's frame: behind length, API key and version.
const CORRELATION_AT: usize = 8;

/// The whole frame of a request, its length in front.
fn request_frame<R: Request>(request: &R, version: i16, correlation_id: i32) -> Result<Vec<u8>> {
    let key = ApiKey::try_from(R::KEY).ok().context("a request without a key")?;
    let mut out = BytesMut::new();
    out.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("bench")))
        .encode(&mut out, key.request_header_version(version))?;
    request.encode(&mut out, version)?;
    let length = i32::try_from(out.len() - 4)?;
    let mut frame = Vec::from(out);
    patch(&mut frame, 0, &length.to_be_bytes());
    Ok(frame)
}

/// Overwrites the bytes of a frame at `at`.
fn patch(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = frame.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Decodes an answer (a frame without its length): correlation id and body.
fn decode_answer<R: Request>(answer: Bytes, version: i16) -> Result<(i32, R::Response)> {
    let key = ApiKey::try_from(R::KEY).ok().context("a request without a key")?;
    let mut rest = answer;
    let header = ResponseHeader::decode(&mut rest, key.response_header_version(version))?;
    Ok((header.correlation_id, R::Response::decode(&mut rest, version)?))
}

/// The correlation ids of one connection: which request is next, which answer is due.
#[derive(Debug, Default, Clone, Copy)]
struct Correlation {
    asked: i32,
    answered: i32,
}

impl Correlation {
    fn ask(&mut self, frame: &mut [u8]) {
        self.asked = self.asked.wrapping_add(1);
        patch(frame, CORRELATION_AT, &self.asked.to_be_bytes());
    }

    fn answer(&mut self, answer: &[u8]) -> Result<()> {
        self.answered = self.answered.wrapping_add(1);
        let id = answer.first_chunk().map(|id| i32::from_be_bytes(*id));
        anyhow::ensure!(
            id == Some(self.answered),
            "an answer to {id:?} where {} was due",
            self.answered
        );
        Ok(())
    }
}

/// Appends the opening request of every client, `ApiVersions`; its version 0 has no body.
fn put_api_versions(out: &mut Vec<u8>) -> Result<()> {
    out.extend(request_frame(&kafka_protocol::messages::ApiVersionsRequest::default(), 0, 0)?);
    Ok(())
}

/// Checks that the answer to [`put_api_versions`] offers `version` of the API `key`.
fn check_api_versions(answer: &[u8], key: ApiKey, version: i16) -> Result<()> {
    use kafka_protocol::messages::ApiVersionsRequest;
    let (_, versions) = decode_answer::<ApiVersionsRequest>(Bytes::copy_from_slice(answer), 0)?;
    let range = versions.api_keys.iter().find(|api| api.api_key == key as i16);
    let range = range.with_context(|| format!("{key:?} is not offered"))?;
    anyhow::ensure!(
        (range.min_version..=range.max_version).contains(&version),
        "{key:?} is offered from {} to {}, not {version}",
        range.min_version,
        range.max_version
    );
    Ok(())
}
