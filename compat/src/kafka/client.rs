//! A blocking client with one request at a time: what a benchmark needs before and after its load.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};

use super::{decode_answer, request_frame};
use crate::load::read_frame;

/// The version of Metadata that the benchmark asks for: the newest that Kafka 3.9 has.
pub const METADATA_VERSION: i16 = 12;
const CREATE_TOPICS_VERSION: i16 = 7;
const DELETE_TOPICS_VERSION: i16 = 6;
/// The error of a partition without a leader.
const LEADER_NOT_AVAILABLE: i16 = 5;
/// How long a broker may take to make topics, and to find leaders for them.
const PATIENCE: Duration = Duration::from_mins(2);

/// A connection to one broker.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    /// Connects; each step waits at most `patience`.
    pub fn connect(address: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// Metadata of the named topics, without making them, or of all.
    pub fn metadata(&mut self, topics: Option<&[String]>) -> Result<MetadataResponse> {
        self.call(&metadata_request(topics), METADATA_VERSION)
    }

    /// Makes topics with one replica, and waits until every partition has a leader.
    pub fn create_topics(&mut self, names: &[String], partitions: i32) -> Result<()> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        for names in names.chunks(100) {
            let topic = |name: &String| {
                CreatableTopic::default()
                    .with_name(topic_name(name))
                    .with_num_partitions(partitions)
                    .with_replication_factor(1)
            };
            let request = CreateTopicsRequest::default()
                .with_topics(names.iter().map(topic).collect())
                .with_timeout_ms(i32::try_from(PATIENCE.as_millis())?);
            for topic in self.call(&request, CREATE_TOPICS_VERSION)?.topics {
                if topic.error_code != 0 {
                    bail!("topic {:?} was not made: error {}", topic.name, topic.error_code);
                }
            }
        }
        let deadline = Instant::now() + PATIENCE;
        let expected = Expected { topics: names.len(), partitions, led: true };
        while let Err(error) = expected.check(&self.metadata(Some(names))?) {
            if Instant::now() > deadline {
                return Err(error).context("topics without leaders");
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Deletes topics.
    pub fn delete_topics(&mut self, names: &[String]) -> Result<()> {
        let topic = |name: &String| DeleteTopicState::default().with_name(Some(topic_name(name)));
        let request = DeleteTopicsRequest::default()
            .with_topics(names.iter().map(topic).collect())
            .with_timeout_ms(i32::try_from(PATIENCE.as_millis())?);
        for result in self.call(&request, DELETE_TOPICS_VERSION)?.responses {
            if result.error_code != 0 {
                bail!("topic {:?} was not deleted: error {}", result.name, result.error_code);
            }
        }
        Ok(())
    }

    /// Sends a whole frame and returns the answer without its length.
    pub(super) fn exchange(&mut self, frame: &[u8]) -> Result<Vec<u8>> {
        self.stream.write_all(frame)?;
        read_frame(&mut self.stream)
    }

    fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.correlation_id += 1;
        let frame = request_frame(request, version, self.correlation_id)?;
        let answer = self.exchange(&frame).with_context(|| format!("API {}", R::KEY))?;
        let answer = Bytes::from(answer);
        let (id, response) = decode_answer::<R>(answer, version)?;
        if id != self.correlation_id {
            bail!("an answer to {id} where {} was asked", self.correlation_id);
        }
        Ok(response)
    }
}

/// A Metadata request for the named topics, or for all.
pub(super) fn metadata_request(topics: Option<&[String]>) -> MetadataRequest {
    let named = |name: &String| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    MetadataRequest::default()
        .with_topics(topics.map(|topics| topics.iter().map(named).collect()))
        .with_allow_auto_topic_creation(false)
}

/// What an answer to Metadata must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// How many topics there are.
    pub topics: usize,
    /// How many partitions each has.
    pub partitions: i32,
    /// Whether each of them has a leader that is there, or none has.
    pub led: bool,
}

impl Expected {
    /// Checks that as many topics are there, each with as many partitions.
    pub fn check(&self, response: &MetadataResponse) -> Result<()> {
        let Self { topics, partitions, led } = *self;
        if response.topics.len() != topics {
            bail!("{} topics instead of {topics}", response.topics.len());
        }
        for topic in &response.topics {
            let right = topic.partitions.iter().filter(|partition| {
                let leader = partition.leader_id;
                if led {
                    partition.error_code == 0
                        && response.brokers.iter().any(|b| b.node_id == leader)
                } else {
                    partition.error_code == LEADER_NOT_AVAILABLE && leader.0 == -1
                }
            });
            if topic.error_code != 0 || i32::try_from(right.count()) != Ok(partitions) {
                bail!(
                    "topic {:?}: error {}, {} partitions, not {partitions} {} a leader",
                    topic.name,
                    topic.error_code,
                    topic.partitions.len(),
                    if led { "with" } else { "without" }
                );
            }
        }
        Ok(())
    }
}

pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
