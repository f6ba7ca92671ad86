//! A `Metadata` answer put together from encoded topics, the same for a broker and a gateway.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;

use super::{HandlerResult, Piece, Reply};
use crate::cluster::{ClusterImage, TopicImage};
use crate::kafka::response_cache::{self, ResponseCache, View};

/// The topics of an answer in its order: ids that are unknown, topics that are there, names that
/// are not.
#[derive(Debug, Default)]
pub struct Topics<'a> {
    /// Ids that no topic has.
    pub unknown: Vec<MetadataResponseTopic>,
    /// Topics that are there.
    pub found: Vec<&'a Arc<TopicImage>>,
    /// Names that no topic has.
    pub missing: Vec<MetadataResponseTopic>,
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

/// The topics of these ids, each once.
pub fn by_id<'a>(image: &'a ClusterImage, asked: &[MetadataRequestTopic]) -> Topics<'a> {
    let mut topics = Topics::default();
    let mut seen = HashSet::with_capacity(asked.len());
    let ids = asked.iter().map(|topic| topic.topic_id).filter(|id| !id.is_nil());
    for id in ids.filter(|id| seen.insert(*id)) {
        match image.topic_by_id(id) {
            Some(topic) => topics.found.push(topic),
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
    let Topics { unknown, found, missing } = topics;
    let front = cache.front(image, view)?;
    let mut body = BytesMut::with_capacity(front.len() + 64 * found.len() + 16);
    body.put_slice(&front);
    response_cache::put_count(&mut body, version, unknown.len() + found.len() + missing.len());
    for topic in &unknown {
        body.put_slice(&response_cache::encoded(topic, version)?);
    }
    cache.topics(image, view, found.into_iter(), |topic| body.put_slice(topic))?;
    for topic in &missing {
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
    let (count, topics) = cache.all(image, view)?;
    let front = cache.front(image, view)?;
    let mut start = BytesMut::with_capacity(front.len() + 8);
    start.put_slice(&front);
    response_cache::put_count(&mut start, view.version, count);
    let end = response_cache::end(view.version, cluster_operations);
    Ok(Reply::Pieces([start.freeze(), topics, end].map(Piece::from).into()))
}
