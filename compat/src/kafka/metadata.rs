//! The Metadata load: the same question again and again, every answer checked.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, MetadataRequest};

use super::client::{Client, Expected, metadata_request};
use super::{
    Correlation, METADATA_VERSION, check_api_versions, decode_answer, put_api_versions,
    request_frame,
};
use crate::load::Conversation;

/// One answer in so many is decoded; another is decoded only if its length is not that of the last one.
const SAMPLE: u64 = 1024;
/// Of an answer that is not decoded, its correlation id is kept.
const LOOKED_AT: usize = 4;
const PATIENCE: Duration = Duration::from_mins(1);

/// Metadata of the named topics or of all.
#[derive(Debug)]
pub struct Metadata {
    frame: Vec<u8>,
    expected: Expected,
    /// The first request of each connection; none: `ApiVersions`.
    opening: Option<Vec<u8>>,
    correlations: Vec<Correlation>,
    answers: u64,
    /// The length of the last answer that was decoded and found right.
    right_length: usize,
}

impl Metadata {
    /// Asks for `names`, or for all; `expected` is what there must be. Connections open with
    /// `ApiVersions`, as clients do.
    pub fn new(names: Option<&[String]>, expected: Expected, connections: usize) -> Result<Self> {
        Ok(Self {
            frame: request_frame(&metadata_request(names), METADATA_VERSION, 0)?,
            expected,
            opening: None,
            correlations: vec![Correlation::default(); connections],
            answers: 0,
            right_length: 0,
        })
    }

    /// The same for a server that may have no broker behind it to tell versions: connections open with
    /// Metadata of no topics. It is asked once before, so that the length of a right answer is known.
    pub fn at_once(
        names: Option<&[String]>,
        expected: Expected,
        connections: usize,
        address: SocketAddr,
    ) -> Result<Self> {
        let mut metadata = Self::new(names, expected, connections)?;
        metadata.opening = Some(request_frame(&metadata_request(Some(&[])), METADATA_VERSION, 0)?);
        let answer = Client::connect(address, PATIENCE)?.exchange(&metadata.frame)?;
        metadata.check(&answer)?;
        Ok(metadata)
    }

    /// The request's frame, its length in front.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// The length of a right answer.
    pub fn answer_length(&self) -> usize {
        self.right_length
    }

    fn check(&mut self, answer: &[u8]) -> Result<()> {
        let bytes = Bytes::copy_from_slice(answer);
        let (_, response) = decode_answer::<MetadataRequest>(bytes, METADATA_VERSION)?;
        self.expected.check(&response).context("Metadata")?;
        self.right_length = answer.len();
        Ok(())
    }
}

/// The frame of a request for all topics.
pub fn all_topics_frame() -> Result<Vec<u8>> {
    request_frame(&metadata_request(None), METADATA_VERSION, 1)
}

impl Conversation for Metadata {
    fn open(&mut self, _: usize, out: &mut Vec<u8>) -> Result<()> {
        match &self.opening {
            Some(frame) => out.extend_from_slice(frame),
            None => put_api_versions(out)?,
        }
        Ok(())
    }

    fn opened(&mut self, _: usize, answer: &[u8]) -> Result<()> {
        if self.opening.is_none() {
            return check_api_versions(answer, ApiKey::Metadata, METADATA_VERSION);
        }
        let bytes = Bytes::copy_from_slice(answer);
        decode_answer::<MetadataRequest>(bytes, METADATA_VERSION).map(drop)
    }

    fn ask(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        let Some(correlation) = self.correlations.get_mut(connection) else { return false };
        correlation.ask(&mut self.frame);
        out.extend_from_slice(&self.frame);
        true
    }

    fn wanted(&mut self, length: usize) -> usize {
        self.answers += 1;
        let closely = length != self.right_length || self.answers.is_multiple_of(SAMPLE);
        if closely { length } else { LOOKED_AT }
    }

    fn answered(&mut self, connection: usize, answer: &[u8]) -> Result<()> {
        let Some(correlation) = self.correlations.get_mut(connection) else { return Ok(()) };
        correlation.answer(answer)?;
        if answer.len() > LOOKED_AT { self.check(answer) } else { Ok(()) }
    }

    fn close(&mut self, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}
