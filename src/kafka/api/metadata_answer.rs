//! A `Metadata` answer put together from encoded topics, the same for a broker and a gateway.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;

use super::{HandlerError, HandlerResult, Piece, Reply};
use crate::cluster::{ClusterImage, TopicImage};
use crate::kafka::response_cache::{self, ResponseCache, View};
use crate::limits;

/// The topics of an answer in its order: ids that are unknown, topics that are there, names that
/// are not, and what the client may not do.
#[derive(Debug, Default)]
pub struct Topics<'a> {
    /// Ids that no topic has.
    pub unknown: Vec<MetadataResponseTopic>,
    /// Topics that are there, each with the bits of `topic_authorized_operations`.
    pub found: Vec<(&'a Arc<TopicImage>, i32)>,
    /// Names that no topic has.
    pub missing: Vec<MetadataResponseTopic>,
    /// Names that no topic has, and that the client may not make one of.
    pub not_to_be_made: Vec<MetadataResponseTopic>,
    /// What the client may not know of.
    pub hidden: Vec<MetadataResponseTopic>,
}

/// Whether a request of this version may name a topic so.
pub fn may_ask(topic: &MetadataRequestTopic, version: i16) -> bool {
    match &topic.name {
        Some(_) => version >= 12 || topic.topic_id.is_nil(),
        None => version >= 12 && !topic.topic_id.is_nil(),
    }
}

/// Whether topics are asked for by their ids: names are ignored as soon as one id is given.
pub fn is_by_id(asked: &[MetadataRequestTopic]) -> bool {
    asked.iter().any(|topic| !topic.topic_id.is_nil())
}

/// The topics of these ids, each once, with the bits of `topic_authorized_operations`.
pub fn by_id<'a>(
    image: &'a ClusterImage,
    asked: &[MetadataRequestTopic],
    operations: i32,
) -> Topics<'a> {
    let mut topics = Topics::default();
    let mut seen = HashSet::with_capacity(asked.len());
    let ids = asked.iter().map(|topic| topic.topic_id).filter(|id| !id.is_nil());
    for id in ids.filter(|id| seen.insert(*id)) {
        match image.topic_by_id(id) {
            Some(topic) => topics.found.push((topic, operations)),
            None => topics.unknown.push(
                MetadataResponseTopic::default()
                    .with_error_code(ResponseError::UnknownTopicId.code())
                    .with_name(None)
                    .with_topic_id(id),
            ),
        }
    }
    topics
}

/// The names that are asked for, each once.
pub fn names(asked: &[MetadataRequestTopic]) -> impl Iterator<Item = &str> {
    let mut seen = HashSet::with_capacity(asked.len());
    let names = asked.iter().filter_map(|topic| topic.name.as_ref().map(|name| name.as_str()));
    names.filter(move |name| seen.insert(*name))
}

/// An answer with these topics.
pub fn some(
    cache: &ResponseCache,
    image: &Arc<ClusterImage>,
    view: &View,
    topics: Topics<'_>,
    cluster_operations: i32,
) -> HandlerResult {
    let version = view.version;
    let Topics { unknown, found, missing, not_to_be_made, hidden } = topics;
    let behind = || missing.iter().chain(&not_to_be_made).chain(&hidden);
    let front = cache.front(image, view)?;
    let mut body = BytesMut::with_capacity(front.len() + 64 * found.len() + 16);
    body.put_slice(&front);
    let count = unknown.len() + found.len() + behind().count();
    response_cache::put_count(&mut body, version, count);
    for topic in &unknown {
        body.put_slice(&response_cache::encoded(topic, version)?);
    }
    let mut operations = found.iter().map(|(_, operations)| *operations);
    cache.topics(image, view, found.iter().map(|(topic, _)| *topic), |topic| {
        put_topic(&mut body, topic, view, operations.next().unwrap_or(view.operations));
    })?;
    for topic in behind() {
        body.put_slice(&response_cache::encoded(topic, version)?);
    }
    body.put_slice(&response_cache::end(version, cluster_operations));
    Ok(Reply::Body(body.freeze()))
}

/// An answer with all topics: their bytes are not copied unless they are few.
pub fn all(
    cache: &ResponseCache,
    image: &Arc<ClusterImage>,
    view: &View,
    cluster_operations: i32,
) -> HandlerResult {
    let topics = cache.all(image, view)?;
    let start = start(cache, image, view, topics.ends.len())?;
    let end = response_cache::end(view.version, cluster_operations);
    Ok(Reply::Pieces([start.freeze(), topics.bytes, end].map(Piece::from).into()))
}

/// An answer with those of all topics that the client may know of, for which `operations` gives the
/// bits of `topic_authorized_operations`. It is asked in the order of their names. Long runs of them
/// are not copied.
pub fn all_allowed(
    cache: &ResponseCache,
    image: &Arc<ClusterImage>,
    view: &View,
    cluster_operations: i32,
    mut operations: impl FnMut(&str) -> Option<i32>,
) -> HandlerResult {
    let topics = cache.all(image, view)?;
    let mut told =
        Told { all: &topics.bytes, run: 0..0, pieces: Vec::new(), open: BytesMut::new() };
    let mut count = 0;
    let mut from = 0;
    for (topic, end) in image.visible_topics().zip(topics.ends.iter().copied()) {
        if let Some(operations) = operations(&topic.name) {
            count += 1;
            if operations == view.operations {
                told.add(from..end);
            } else {
                told.end_run();
                put_topic(&mut told.open, &topics.bytes[from..end], view, operations);
            }
        }
        from = end;
    }
    told.end_run();
    told.open.put_slice(&response_cache::end(view.version, cluster_operations));
    told.seal();
    let start = start(cache, image, view, count)?.freeze();
    Ok(Reply::Pieces(std::iter::once(start.into()).chain(told.pieces).collect()))
}

/// An answer up to its topics.
fn start(
    cache: &ResponseCache,
    image: &Arc<ClusterImage>,
    view: &View,
    count: usize,
) -> Result<BytesMut, HandlerError> {
    let front = cache.front(image, view)?;
    let mut start = BytesMut::with_capacity(front.len() + 8);
    start.put_slice(&front);
    response_cache::put_count(&mut start, view.version, count);
    Ok(start)
}

/// Appends an encoded topic with these bits of `topic_authorized_operations`.
fn put_topic(body: &mut BytesMut, topic: &[u8], view: &View, operations: i32) {
    let from = body.len();
    body.put_slice(topic);
    if operations != view.operations {
        response_cache::set_operations(&mut body[from..], view.version, operations);
    }
}

/// A part of all topics, put together.
struct Told<'a> {
    all: &'a Bytes,
    /// The neighbours among all topics that come next.
    run: Range<usize>,
    pieces: Vec<Piece>,
    /// What is copied together.
    open: BytesMut,
}

impl Told<'_> {
    fn add(&mut self, topic: Range<usize>) {
        if self.run.end != topic.start {
            self.end_run();
            self.run.start = topic.start;
        }
        self.run.end = topic.end;
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        if run.len() < limits::KAFKA_COPY_MAX {
            self.open.put_slice(&self.all[run]);
        } else {
            self.seal();
            self.pieces.push(self.all.slice(run).into());
        }
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push(self.open.split().freeze().into());
        }
    }
}
