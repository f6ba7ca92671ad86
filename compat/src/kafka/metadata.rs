//! The Metadata load: the same question again and again, every answer checked.

use anyhow::{Context, Result};
use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, MetadataRequest};

use super::client::{check_topics, metadata_request};
use super::{
    Correlation, METADATA_VERSION, check_api_versions, decode_answer, put_api_versions,
    request_frame,
};
use crate::load::Conversation;

/// One answer in so many is decoded; another is decoded only if its length is not that of the last one.
const SAMPLE: i32 = 1024;

/// Metadata of the named topics or of all.
#[derive(Debug)]
pub struct Metadata {
    frame: Vec<u8>,
    topics: usize,
    partitions: i32,
    correlations: Vec<Correlation>,
    /// The length of the last answer that was decoded and found right.
    right_length: usize,
}

impl Metadata {
    /// Asks for `names`, or for all; `topics` with as many `partitions` each are what there must be.
    pub fn new(
        names: Option<&[String]>,
        topics: usize,
        partitions: i32,
        connections: usize,
    ) -> Result<Self> {
        Ok(Self {
            frame: request_frame(&metadata_request(names), METADATA_VERSION, 0)?,
            topics,
            partitions,
            correlations: vec![Correlation::default(); connections],
            right_length: 0,
        })
    }
}

impl Conversation for Metadata {
    fn open(&mut self, _: usize, out: &mut Vec<u8>) -> Result<()> {
        put_api_versions(out)
    }

    fn opened(&mut self, _: usize, answer: &[u8]) -> Result<()> {
        check_api_versions(answer, ApiKey::Metadata, METADATA_VERSION)
    }

    fn ask(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        let Some(correlation) = self.correlations.get_mut(connection) else { return false };
        correlation.ask(&mut self.frame);
        out.extend_from_slice(&self.frame);
        true
    }

    fn answered(&mut self, connection: usize, answer: &[u8]) -> Result<()> {
        let Some(correlation) = self.correlations.get_mut(connection) else { return Ok(()) };
        correlation.answer(answer)?;
        if answer.len() != self.right_length || correlation.answered % SAMPLE == 1 {
            let bytes = Bytes::copy_from_slice(answer);
            let (_, response) = decode_answer::<MetadataRequest>(bytes, METADATA_VERSION)?;
            check_topics(&response, self.topics, self.partitions).context("Metadata")?;
            self.right_length = answer.len();
        }
        Ok(())
    }

    fn close(&mut self, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}
