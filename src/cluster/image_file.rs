//! An image as bytes, checksummed (pure).
//!
//! A line that names the format, which cluster it is of, the image, and the CRC-32C of all that, all
//! numbers big-endian. Configuration of brokers is left out: it may hold passwords, and the metadata
//! plane has no use for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::acls::{self, AclDirectory, Acls, ResourceAcls};
use super::image::{
    BrokerInfo, ClusterImage, ControllerInfo, Endpoint, PartitionImage, TopicImage,
};
use super::layout::acl::{AclEntry, Operation, Permission};

#[cfg(test)]
mod tests;

/// The first bytes of the file. Another format has another number; the first had no ACLs.
const MAGIC: &[u8] = b"doorkeeper image 2\n";

/// Bytes of the checksum at the end.
const CHECKSUM: usize = 4;

/// Why bytes are no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageFileError {
    /// They begin otherwise.
    #[error("it is not an image, or one of another version of doorkeeper")]
    Format,
    /// They are not what was written.
    #[error("its checksum is wrong: it is damaged")]
    Checksum,
    /// They are of another cluster.
    #[error("it is of the cluster at {0}")]
    Source(String),
    /// Their checksum is right and their content is not.
    #[error("it makes no sense")]
    Content,
}

/// The image as bytes. `source` says which cluster it is of.
pub fn encode(image: &ClusterImage, source: &str) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    source.to_owned().put(&mut out);
    image.cluster_id.put(&mut out);
    image.controller.put(&mut out);
    image.brokers.values().cloned().collect::<Vec<_>>().put(&mut out);
    image.topic_configs.put(&mut out);
    put_count(image.topics.len(), &mut out);
    for topic in image.topics.values() {
        put_topic(topic, &mut out);
    }
    image.deleting.put(&mut out);
    image.acls.put(&mut out);
    let checksum = crc32c::crc32c(&out);
    out.extend(checksum.to_be_bytes());
    out
}

/// The image of these bytes, as version 1.
///
/// # Errors
/// They were not written by [`encode`] for this `source`, or are damaged.
pub fn decode(bytes: &[u8], source: &str) -> Result<ClusterImage, ImageFileError> {
    if !bytes.starts_with(MAGIC) {
        return Err(ImageFileError::Format);
    }
    let (content, checksum) =
        bytes.split_last_chunk::<CHECKSUM>().ok_or(ImageFileError::Checksum)?;
    if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) {
        return Err(ImageFileError::Checksum);
    }
    let mut rest = content.strip_prefix(MAGIC).ok_or(ImageFileError::Checksum)?;
    let written_for = String::get(&mut rest).ok_or(ImageFileError::Content)?;
    if written_for != source {
        return Err(ImageFileError::Source(written_for));
    }
    let image = image(&mut rest).ok_or(ImageFileError::Content)?;
    if rest.is_empty() { Ok(image) } else { Err(ImageFileError::Content) }
}

fn image(rest: &mut &[u8]) -> Option<ClusterImage> {
    let cluster_id = Field::get(rest)?;
    let controller = Field::get(rest)?;
    let brokers: Vec<Arc<BrokerInfo>> = Field::get(rest)?;
    let topic_configs: BTreeMap<Arc<str>, Arc<BTreeMap<String, String>>> = Field::get(rest)?;
    let mut topics = BTreeMap::new();
    let mut topic_ids = HashMap::new();
    for _ in 0..get_count(rest)? {
        let mut topic = get_topic(rest)?;
        topic.config = topic_configs.get(&topic.name).cloned().unwrap_or_default();
        if !topic.id.is_nil() {
            topic_ids.insert(topic.id, topic.name.clone());
        }
        topics.insert(topic.name.clone(), Arc::new(topic));
    }
    Some(ClusterImage {
        version: 1,
        changed_ms: None,
        cluster_id,
        controller,
        brokers: Arc::new(brokers.into_iter().map(|broker| (broker.id, broker)).collect()),
        topics: Arc::new(topics),
        topic_ids: Arc::new(topic_ids),
        topic_configs: Arc::new(topic_configs),
        broker_configs: Arc::default(),
        deleting: Arc::new(Field::get(rest)?),
        acls: Field::get(rest)?,
    })
}

/// What knows its bytes.
trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    /// `None` if the bytes that are left are not such a value.
    fn get(rest: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Field for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend(self.to_be_bytes());
            }
            fn get(rest: &mut &[u8]) -> Option<Self> {
                let (bytes, after) = rest.split_first_chunk()?;
                *rest = after;
                Some(<$number>::from_be_bytes(*bytes))
            }
        }
    )*};
}

numbers!(u8, u32, i32, i64, u128);

macro_rules! records {
    ($($record:ident { $($field:ident),* $(,)? })*) => {$(
        impl Field for $record {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)*
            }
            fn get(rest: &mut &[u8]) -> Option<Self> {
                Some($record { $($field: Field::get(rest)?,)* })
            }
        }
    )*};
}

records! {
    ControllerInfo { broker_id, epoch, epoch_version, owner, doorkeeper, kraft }
    BrokerInfo { id, epoch, endpoints, rack, doorkeeper, owner }
    Endpoint { listener, protocol, host, port }
    PartitionImage {
        replicas, leader, leader_epoch, isr, controller_epoch, partition_epoch,
        leader_recovery_state, created_zxid, created_ms,
    }
    AclEntry { principal, host, operation, permission }
    AclDirectory { unlisted, resources }
}

impl Field for Acls {
    fn put(&self, out: &mut Vec<u8>) {
        for (pattern, kind) in acls::directories() {
            self.directory(pattern, kind).put(out);
        }
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        let mut acls = Acls::default();
        for (pattern, kind) in acls::directories() {
            *acls.directory_mut(pattern, kind) = Field::get(rest)?;
        }
        Some(acls)
    }
}

impl Field for ResourceAcls {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            ResourceAcls::Unknown => false.put(out),
            ResourceAcls::Known(entries) => {
                true.put(out);
                entries.put(out);
            }
        }
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        Some(Option::get(rest)?.map_or(ResourceAcls::Unknown, ResourceAcls::Known))
    }
}

impl Field for Operation {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        Operation::of_code(u8::get(rest)?)
    }
}

impl Field for Permission {
    fn put(&self, out: &mut Vec<u8>) {
        (*self == Permission::Allow).put(out);
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        Some(if bool::get(rest)? { Permission::Allow } else { Permission::Deny })
    }
}

/// A topic without its configuration, which stands by itself.
fn put_topic(topic: &TopicImage, out: &mut Vec<u8>) {
    topic.name.put(out);
    topic.id.as_u128().put(out);
    topic.internal.put(out);
    topic.partitions.put(out);
    topic.assignment.put(out);
    topic.adding.put(out);
    topic.removing.put(out);
    topic.znode_version.put(out);
    topic.created_zxid.put(out);
}

fn get_topic(rest: &mut &[u8]) -> Option<TopicImage> {
    Some(TopicImage {
        name: Field::get(rest)?,
        id: Uuid::from_u128(Field::get(rest)?),
        internal: Field::get(rest)?,
        partitions: Field::get(rest)?,
        assignment: Field::get(rest)?,
        adding: Field::get(rest)?,
        removing: Field::get(rest)?,
        znode_version: Field::get(rest)?,
        created_zxid: Field::get(rest)?,
        config: Arc::default(),
    })
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        match u8::get(rest)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// How many there are of something, each of at least one byte.
fn put_count(count: usize, out: &mut Vec<u8>) {
    // A znode is at most some megabytes, and a cluster has fewer topics than that.
    u32::try_from(count).unwrap_or(u32::MAX).put(out);
}

fn get_count(rest: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(u32::get(rest)?).ok()?;
    (count <= rest.len()).then_some(count)
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        out.extend(self.as_bytes());
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        let count = get_count(rest)?;
        let (text, after) = rest.split_at_checked(count)?;
        *rest = after;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }
}

impl Field for Arc<str> {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        out.extend(self.as_bytes());
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        String::get(rest).map(Arc::from)
    }
}

impl<T: Field> Field for Arc<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        T::get(rest).map(Arc::new)
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        if bool::get(rest)? { T::get(rest).map(Some) } else { Some(None) }
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        for value in self {
            value.put(out);
        }
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        // Grown as values come, not by a count that promises them.
        (0..get_count(rest)?).map(|_| T::get(rest)).collect()
    }
}

impl<T: Field + Ord> Field for BTreeSet<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        for value in self {
            value.put(out);
        }
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        (0..get_count(rest)?).map(|_| T::get(rest)).collect()
    }
}

impl<K: Field + Ord, V: Field> Field for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    fn get(rest: &mut &[u8]) -> Option<Self> {
        (0..get_count(rest)?).map(|_| Some((K::get(rest)?, V::get(rest)?))).collect()
    }
}
