//! Encoded topics, made when the image changes and not when a request comes.
//!
//! A topic's bytes in a `Metadata` answer depend on the topic, on which brokers can be reached
//! through the client's listener, and on the version. They are kept for as long as these stay the
//! same; the bytes of all topics together are kept for each image. What stands around them
//! (brokers, cluster id, controller) is kept for each image too, so that an answer is copied
//! together or, when it is long, written from where it is.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use hashbrown::HashMap;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::protocol::{Encodable, StrBytes};
use parking_lot::RwLock;

use super::api::HandlerError;
use super::api::metadata_topic::{self, Reachable};
use crate::cluster::{ClusterImage, TopicImage};
use crate::kafka::addresses::AddressBook;
use crate::limits;

/// What an answer's encoding depends on, beside the image.
#[derive(Debug, Clone)]
pub struct View {
    /// The addresses that the client is told.
    pub addresses: Arc<AddressBook>,
    /// The version of the request.
    pub version: i16,
    /// The bits of `topic_authorized_operations`.
    pub operations: i32,
}

/// What entries are kept by.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    addresses: Arc<AddressBook>,
    version: i16,
    operations: i32,
}

impl Key {
    fn new(view: &View, version: i16, operations: i32) -> Self {
        Key { addresses: Arc::clone(&view.addresses), version, operations }
    }
}

/// Encoded topics of one view; versions that encode a topic alike share it.
#[derive(Debug, Default)]
struct Topics {
    image: Arc<ClusterImage>,
    reachable: Reachable,
    encoded: HashMap<Arc<str>, (Arc<TopicImage>, Bytes)>,
    bytes: usize,
    all: Option<All>,
}

/// Every topic that clients know, in the order of their names.
#[derive(Debug, Clone)]
pub struct All {
    /// The bytes of all of them.
    pub bytes: Bytes,
    /// Where each one ends.
    pub ends: Arc<[usize]>,
}

/// What stands before the topics, for one image.
#[derive(Debug)]
struct Front {
    image: Arc<ClusterImage>,
    bytes: Bytes,
}

/// The cache of all listeners and versions of a broker or of a gateway's cluster.
#[derive(Debug, Default)]
pub struct ResponseCache {
    topics: RwLock<HashMap<Key, Arc<RwLock<Topics>>>>,
    fronts: RwLock<HashMap<Key, Front>>,
}

impl ResponseCache {
    /// The start of an answer, up to and without the topics.
    pub fn front(&self, image: &Arc<ClusterImage>, view: &View) -> Result<Bytes, HandlerError> {
        // Only topics have operations.
        let key = Key::new(view, view.version, 0);
        if let Some(front) = self.fronts.read().get(&key)
            && Arc::ptr_eq(&front.image, image)
        {
            return Ok(front.bytes.clone());
        }
        let bytes = encode_front(image, view)?;
        let front = Front { image: Arc::clone(image), bytes: bytes.clone() };
        let mut fronts = self.fronts.write();
        fronts.retain(|_, front| is_recent(&front.image, image));
        fronts.insert(key, front);
        Ok(bytes)
    }

    /// Calls `each` with the bytes of one topic after the other.
    pub fn topics<'a>(
        &self,
        image: &Arc<ClusterImage>,
        view: &View,
        wanted: impl Iterator<Item = &'a Arc<TopicImage>>,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), HandlerError> {
        let class = self.class(view);
        let mut missing = Vec::new();
        let mut wanted = wanted.peekable();
        {
            let topics = class.read();
            if Arc::ptr_eq(&topics.image, image) {
                while let Some(topic) = wanted.peek() {
                    match topics.get(topic) {
                        Some(bytes) => each(bytes),
                        None => break,
                    }
                    wanted.next();
                }
            }
        }
        missing.extend(wanted);
        if missing.is_empty() {
            return Ok(());
        }
        self.drop_old(image);
        let mut topics = class.write();
        topics.follow(image, &view.addresses);
        for topic in missing {
            each(&topics.get_or_encode(topic, view)?);
        }
        Ok(())
    }

    /// All topics that clients know.
    pub fn all(&self, image: &Arc<ClusterImage>, view: &View) -> Result<All, HandlerError> {
        let class = self.class(view);
        {
            let topics = class.read();
            if let Some(all) = &topics.all
                && Arc::ptr_eq(&topics.image, image)
            {
                return Ok(all.clone());
            }
        }
        self.drop_old(image);
        let mut topics = class.write();
        topics.follow(image, &view.addresses);
        let mut bytes = BytesMut::new();
        let mut ends = Vec::new();
        for topic in image.visible_topics() {
            bytes.put_slice(&topics.get_or_encode(topic, view)?);
            ends.push(bytes.len());
        }
        let all = All { bytes: bytes.freeze(), ends: ends.into() };
        if all.bytes.len() <= limits::KAFKA_RESPONSE_CACHE_BYTES {
            topics.all = Some(all.clone());
        }
        Ok(all)
    }

    /// Drops what nobody has asked for since long: it would keep an old image and its answers.
    fn drop_old(&self, image: &ClusterImage) {
        let mut topics = self.topics.write();
        topics.retain(|_, class| {
            class.try_read().is_none_or(|topics| is_recent(&topics.image, image))
        });
    }

    fn class(&self, view: &View) -> Arc<RwLock<Topics>> {
        let key = Key::new(view, first_alike(view.version), view.operations);
        if let Some(class) = self.topics.read().get(&key) {
            return Arc::clone(class);
        }
        Arc::clone(self.topics.write().entry(key).or_default())
    }
}

impl Topics {
    /// Drops what the image no longer has as it was encoded. An image older than the one that is
    /// followed, which a slow request may bring, is followed too: the next one comes back.
    fn follow(&mut self, image: &Arc<ClusterImage>, addresses: &AddressBook) {
        if Arc::ptr_eq(&self.image, image) {
            return;
        }
        let reachable = Reachable::new(image, addresses);
        if reachable == self.reachable {
            self.encoded.retain(|name, (topic, _)| {
                image.topics.get(name).is_some_and(|now| Arc::ptr_eq(now, topic))
            });
        } else {
            self.encoded.clear();
            self.reachable = reachable;
        }
        self.bytes = self.encoded.values().map(|(_, bytes)| bytes.len()).sum();
        self.all = None;
        self.image = Arc::clone(image);
    }

    fn get(&self, topic: &Arc<TopicImage>) -> Option<&Bytes> {
        let (encoded, bytes) = self.encoded.get(&topic.name)?;
        Arc::ptr_eq(encoded, topic).then_some(bytes)
    }

    fn get_or_encode(
        &mut self,
        topic: &Arc<TopicImage>,
        view: &View,
    ) -> Result<Bytes, HandlerError> {
        if let Some(bytes) = self.get(topic) {
            return Ok(bytes.clone());
        }
        let described =
            metadata_topic::describe(topic, &self.reachable, view.version, view.operations);
        let bytes = encoded(&described, view.version)?;
        if self.bytes + bytes.len() <= limits::KAFKA_RESPONSE_CACHE_BYTES {
            self.bytes += bytes.len();
            let entry = (Arc::clone(topic), bytes.clone());
            self.encoded.insert(Arc::clone(&topic.name), entry);
        }
        Ok(bytes)
    }
}

/// Whether an image is one of the newest that were answered from. One that no answer was made from
/// yet is version 0.
fn is_recent(image: &ClusterImage, newest: &ClusterImage) -> bool {
    image.version == 0 || newest.version.saturating_sub(image.version) < limits::IMAGES_KEPT
}

/// The first version that encodes a topic as `version` does.
fn first_alike(version: i16) -> i16 {
    match version {
        1..=4 => 1,
        10.. => 10,
        other => other,
    }
}

fn encode_front(image: &ClusterImage, view: &View) -> Result<Bytes, HandlerError> {
    let version = view.version;
    let mut front = BytesMut::with_capacity(256);
    if version >= 3 {
        front.put_i32(0);
    }
    let reachable =
        image.brokers.values().filter_map(|info| Some((info, view.addresses.of(info)?)));
    put_count(&mut front, version, reachable.clone().count());
    for (info, (host, port)) in reachable {
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(info.id))
            .with_host(StrBytes::from_string(host.to_owned()))
            .with_port(port)
            .with_rack(info.rack.clone().map(StrBytes::from_string));
        front.put_slice(&encoded(&broker, version)?);
    }
    if version >= 2 {
        put_nullable_text(&mut front, version, image.cluster_id.as_deref());
    }
    if version >= 1 {
        front.put_i32(image.controller_id());
    }
    Ok(front.freeze())
}

/// What stands behind the topics; `cluster_operations` are the bits of the field of that name.
pub fn end(version: i16, cluster_operations: i32) -> Bytes {
    let mut end = BytesMut::with_capacity(8);
    if (8..=10).contains(&version) {
        end.put_i32(cluster_operations);
    }
    if version >= 13 {
        end.put_i16(0);
    }
    if version >= 9 {
        end.put_u8(0);
    }
    end.freeze()
}

/// The count of an array in a `Metadata` answer.
pub fn put_count(buffer: &mut BytesMut, version: i16, count: usize) {
    if version >= 9 {
        put_unsigned_varint(buffer, count + 1);
    } else {
        // An image can't have 2^31 topics.
        buffer.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
    }
}

/// Puts other bits of `topic_authorized_operations` into an encoded topic; versions below 8 have none.
pub fn set_operations(topic: &mut [u8], version: i16, operations: i32) {
    // They are the last field; behind it, flexible versions count the tagged ones: none.
    let behind = match version {
        8 => 0,
        9.. => 1,
        _ => return,
    };
    let end = topic.len().saturating_sub(behind);
    if let Some(bits) = topic[..end].last_chunk_mut() {
        *bits = operations.to_be_bytes();
    }
}

fn put_nullable_text(buffer: &mut BytesMut, version: i16, text: Option<&str>) {
    let length = text.map(str::len);
    if version >= 9 {
        put_unsigned_varint(buffer, length.map_or(0, |length| length + 1));
    } else {
        let length = length.map_or(Ok(-1), i16::try_from);
        buffer.put_i16(length.unwrap_or(i16::MAX));
    }
    buffer.put_slice(text.unwrap_or_default().as_bytes());
}

fn put_unsigned_varint(buffer: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        buffer.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value.to_le_bytes()[0]);
}

/// The bytes of one structure of an answer.
pub fn encoded(structure: &impl Encodable, version: i16) -> Result<Bytes, HandlerError> {
    let mut bytes = BytesMut::new();
    structure
        .encode(&mut bytes, version)
        .map_err(|error| HandlerError::Encoding(error.to_string()))?;
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests;
