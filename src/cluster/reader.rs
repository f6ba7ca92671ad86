//! Reads many znodes at once: multi reads of a hundred paths, several in flight.

use std::collections::{BTreeMap, BTreeSet};

use metrics::counter;
use tokio::task::JoinSet;
use zookeeper_client::{Client, Error, MultiReadResult, Stat};

use super::acls::directories;
use super::builder::{ImageBuilder, Names, Read, Znode};
use super::layout::acl::ResourcePattern;
use super::layout::paths;
use super::layout::topic::TopicAssignment;
use super::znodes::Znodes;
use crate::limits;

pub(super) fn znode(data: Vec<u8>, stat: &Stat) -> Znode {
    Znode {
        data,
        czxid: stat.czxid,
        version: stat.version,
        owner: stat.ephemeral_owner,
        created_ms: stat.ctime,
        modified_ms: stat.mtime,
    }
}

/// Reads one znode; `None` if it is not there.
///
/// # Errors
/// The session's.
pub async fn read(client: &Client, path: &str) -> Result<Option<Znode>, Error> {
    match client.get_data(path).await {
        Ok((data, stat)) => Ok(Some(znode(data, &stat))),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The children of a znode, none if it is not there.
///
/// # Errors
/// The session's.
pub async fn children(client: &Client, path: &str) -> Result<Option<Vec<String>>, Error> {
    match client.list_children(path).await {
        Ok(children) => Ok(Some(children)),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What Kafka keeps to itself with `zookeeper.set.acl` counts as absent for whoever doesn't log in:
/// `/config/brokers` alone, of what is read here.
async fn allowed<T: Default>(reading: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match reading.await {
        Err(Error::NoAuth) => Ok(T::default()),
        read => read,
    }
}

/// What was read, where all must be allowed.
pub(super) fn allowed_only(read: Read) -> Result<Option<Znode>, Error> {
    match read {
        Read::Found(znode) => Ok(Some(znode)),
        Read::Absent => Ok(None),
        Read::Forbidden => Err(Error::NoAuth),
    }
}

/// Reads these znodes with multi reads, in the order of the paths.
pub(super) async fn read_each(client: &Client, paths: &[String]) -> Result<Vec<Read>, Error> {
    let mut found = vec![Read::Absent; paths.len()];
    let mut next = 0;
    let mut size = ChunkSize::default();
    let mut in_flight = JoinSet::new();
    loop {
        while in_flight.len() < limits::MULTI_READS_IN_FLIGHT && next < paths.len() {
            let start = next;
            next = paths.len().min(start + size.paths());
            let (client, chunk) = (client.clone(), paths[start..next].to_vec());
            in_flight.spawn(async move { (start, read_chunk(&client, &chunk).await) });
        }
        let Some(done) = in_flight.join_next().await else { break };
        let (start, znodes) = done.map_err(|e| Error::UnexpectedError(e.to_string()))?;
        let znodes = znodes?;
        let lengths = znodes.iter().map(|read| match read {
            Read::Found(znode) => znode.data.len(),
            Read::Absent | Read::Forbidden => 0,
        });
        size.saw(lengths.max().unwrap_or_default());
        for (place, znode) in found.iter_mut().skip(start).zip(znodes) {
            *place = znode;
        }
    }
    counter!("doorkeeper_cluster_znodes_read_total").increment(paths.len() as u64);
    Ok(found)
}

/// How many paths the next multi read may name, so that its answer is not too big: how big a znode
/// is shows only when it was read.
#[derive(Debug, Default)]
struct ChunkSize {
    /// Bytes that a znode is expected to have; 0 before the first answer.
    expected: usize,
}

impl ChunkSize {
    fn paths(&self) -> usize {
        if self.expected == 0 {
            return limits::MULTI_READ_PATHS_FIRST;
        }
        (limits::MULTI_READ_BYTES / self.expected).clamp(1, limits::MULTI_READ_PATHS)
    }

    /// One answer's largest znode. A big one is expected again for a while only: most are small.
    fn saw(&mut self, largest: usize) {
        self.expected = largest.max(self.expected / 2).max(1);
    }
}

/// One multi read; one by one where the coordinator finds that they are too much for one answer.
async fn read_chunk(client: &Client, paths: &[String]) -> Result<Vec<Read>, Error> {
    match multi_read(client, paths).await {
        Err(Error::BadArguments(_)) if paths.len() > 1 => {
            let mut znodes = Vec::with_capacity(paths.len());
            for path in paths {
                znodes.push(match read(client, path).await {
                    Ok(found) => found.map_or(Read::Absent, Read::Found),
                    Err(Error::NoAuth) => Read::Forbidden,
                    Err(error) => return Err(error),
                });
            }
            Ok(znodes)
        }
        answered => answered,
    }
}

async fn multi_read(client: &Client, paths: &[String]) -> Result<Vec<Read>, Error> {
    let mut reader = client.new_multi_reader();
    for path in paths {
        reader.add_get_data(path)?;
    }
    let results = reader.commit().await?;
    results
        .into_iter()
        .map(|result| match result {
            MultiReadResult::Data { data, stat } => Ok(Read::Found(znode(data, &stat))),
            MultiReadResult::Error { err: Error::NoNode } => Ok(Read::Absent),
            MultiReadResult::Error { err: Error::NoAuth } => Ok(Read::Forbidden),
            MultiReadResult::Error { err } => Err(err),
            other => Err(Error::UnexpectedError(format!("{other:?} is no data"))),
        })
        .collect()
}

/// Reads everything that an image is made of.
///
/// # Errors
/// The session's.
pub async fn read_everything(znodes: &Znodes, builder: &mut ImageBuilder) -> Result<(), Error> {
    let (controller, epoch, cluster_id, brokers, topics, topic_configs, broker_configs, deleting) =
        tokio::try_join!(
            znodes.read(paths::CONTROLLER),
            znodes.read(paths::CONTROLLER_EPOCH),
            znodes.read(paths::CLUSTER_ID),
            znodes.children(paths::BROKER_IDS),
            znodes.children(paths::TOPICS),
            znodes.children(paths::TOPIC_CONFIGS),
            allowed(znodes.children(paths::BROKER_CONFIGS)),
            znodes.children(paths::DELETE_TOPICS),
        )?;
    let set = |names: Option<Vec<String>>| names.into_iter().flatten().collect::<BTreeSet<_>>();
    let names = Names {
        brokers: brokers.into_iter().flatten().filter_map(|id| id.parse().ok()).collect(),
        topics: set(topics),
        topic_configs: set(topic_configs),
        broker_configs: set(broker_configs),
        deleting: set(deleting),
    };
    builder.retain(&names);
    builder.cluster_id(cluster_id.as_ref());
    builder.controller(controller.as_ref(), epoch.as_ref());
    read_brokers(znodes, builder, &names.brokers).await?;
    read_topic_configs(znodes, builder, &names.topic_configs).await?;
    read_broker_configs(znodes, builder, &names.broker_configs).await?;
    read_deleting(znodes, builder, &names.deleting).await?;
    read_topics(znodes, builder, &names.topics).await
}

/// Reads all ACLs.
///
/// # Errors
/// The session's.
pub async fn read_every_acl(znodes: &Znodes, builder: &mut ImageBuilder) -> Result<(), Error> {
    let mut listing = JoinSet::new();
    for (pattern, kind) in directories() {
        let znodes = znodes.clone();
        listing.spawn(async move {
            let names = znodes.children(&paths::acl_directory(pattern, kind)).await;
            (pattern, kind, names)
        });
    }
    builder.follow_acls(true);
    let mut resources = BTreeSet::new();
    while let Some(listed) = listing.join_next().await {
        let (pattern, kind, names) =
            listed.map_err(|error| Error::UnexpectedError(error.to_string()))?;
        let names: Option<BTreeSet<String>> = match names {
            Ok(names) => Some(names.into_iter().flatten().collect()),
            Err(Error::NoAuth) => None,
            Err(error) => return Err(error),
        };
        builder.acl_directory(pattern, kind, names.as_ref());
        let of = |name| ResourcePattern { pattern, kind, name };
        resources.extend(names.into_iter().flatten().map(of));
    }
    read_acls(znodes, builder, &resources).await
}

/// Reads these resources' ACLs again.
///
/// # Errors
/// The session's.
pub async fn read_acls(
    znodes: &Znodes,
    builder: &mut ImageBuilder,
    resources: &BTreeSet<ResourcePattern>,
) -> Result<(), Error> {
    let path = |of: &ResourcePattern| paths::acl(of.pattern, of.kind, &of.name);
    let paths: Vec<String> = resources.iter().map(path).collect();
    for (resource, read) in resources.iter().zip(znodes.read_each(&paths).await?) {
        builder.acl(resource, &read);
    }
    Ok(())
}

/// Reads these registrations again.
///
/// # Errors
/// The session's.
pub async fn read_brokers(
    znodes: &Znodes,
    builder: &mut ImageBuilder,
    ids: &BTreeSet<i32>,
) -> Result<(), Error> {
    let registrations: Vec<String> = ids.iter().map(|id| paths::broker(*id)).collect();
    for (id, znode) in ids.iter().zip(znodes.read_all(&registrations).await?) {
        builder.broker(*id, znode.as_ref());
    }
    Ok(())
}

/// Reads these topics and all their partitions again.
///
/// # Errors
/// The session's.
pub async fn read_topics(
    znodes: &Znodes,
    builder: &mut ImageBuilder,
    names: &BTreeSet<String>,
) -> Result<(), Error> {
    // Some at a time, so that the znodes of a large cluster are never all in memory as they are read.
    let names: Vec<&String> = names.iter().collect();
    for names in names.chunks(limits::TOPICS_READ_AT_ONCE) {
        read_some_topics(znodes, builder, names).await?;
    }
    Ok(())
}

async fn read_some_topics(
    znodes: &Znodes,
    builder: &mut ImageBuilder,
    names: &[&String],
) -> Result<(), Error> {
    let topics: Vec<String> = names.iter().map(|name| paths::topic(name)).collect();
    let topics = znodes.read_all(&topics).await?;
    let mut partitions = Vec::new();
    for (name, znode) in names.iter().zip(&topics) {
        // What can't be decoded is the builder's to report.
        let assignment = znode.as_ref().and_then(|z| TopicAssignment::decode(&z.data).ok());
        let numbers = assignment.into_iter().flat_map(|topic| topic.partitions.into_keys());
        partitions.extend(numbers.map(|partition| (*name, partition)));
    }
    let states: Vec<String> = partitions
        .iter()
        .map(|(name, partition)| paths::partition_state(name, *partition))
        .collect();
    let mut states = partitions.iter().zip(znodes.read_all(&states).await?).peekable();
    for (name, znode) in names.iter().zip(&topics) {
        let mut of_topic = BTreeMap::new();
        while let Some(((_, partition), state)) = states.next_if(|((topic, _), _)| topic == name) {
            if let Some(state) = state {
                of_topic.insert(*partition, state);
            }
        }
        builder.topic(name, znode.as_ref(), &of_topic);
    }
    Ok(())
}

/// Reads the states of these partitions, by topic, again.
///
/// # Errors
/// The session's.
pub async fn read_partitions(
    znodes: &Znodes,
    builder: &mut ImageBuilder,
    partitions: &BTreeMap<String, BTreeSet<i32>>,
) -> Result<(), Error> {
    let mut states = Vec::new();
    for (name, numbers) in partitions {
        states.extend(numbers.iter().map(|number| paths::partition_state(name, *number)));
    }
    let mut read = znodes.read_all(&states).await?.into_iter();
    for (name, numbers) in partitions {
        let of_topic = numbers.iter().copied().zip(read.by_ref()).collect();
        builder.partitions(name, &of_topic);
    }
    Ok(())
}

/// Reads these topics' configuration again.
///
/// # Errors
/// The session's.
pub async fn read_topic_configs(
    znodes: &Znodes,
    builder: &mut ImageBuilder,
    names: &BTreeSet<String>,
) -> Result<(), Error> {
    let configs: Vec<String> = names.iter().map(|name| paths::topic_config(name)).collect();
    for (name, znode) in names.iter().zip(znodes.read_all(&configs).await?) {
        builder.topic_config(name, znode.as_ref());
    }
    Ok(())
}

/// Reads these brokers' configuration again.
///
/// # Errors
/// The session's.
pub async fn read_broker_configs(
    znodes: &Znodes,
    builder: &mut ImageBuilder,
    entities: &BTreeSet<String>,
) -> Result<(), Error> {
    let configs: Vec<String> = entities.iter().map(|entity| paths::broker_config(entity)).collect();
    let znodes = allowed(znodes.read_all(&configs)).await?;
    for (entity, znode) in entities.iter().zip(znodes) {
        builder.broker_config(entity, znode.as_ref());
    }
    Ok(())
}

/// Reads again who has removed its replicas of these topics.
///
/// # Errors
/// The session's.
pub async fn read_deleting(
    znodes: &Znodes,
    builder: &mut ImageBuilder,
    names: &BTreeSet<String>,
) -> Result<(), Error> {
    for name in names {
        let done = znodes.children(&paths::delete_topic(name)).await?;
        builder.deleting(name, done.as_deref());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_znodes_make_small_reads_for_a_while() {
        let mut size = ChunkSize::default();
        assert_eq!(size.paths(), limits::MULTI_READ_PATHS_FIRST);
        size.saw(0);
        assert_eq!(size.paths(), limits::MULTI_READ_PATHS);
        size.saw(100);
        assert_eq!(size.paths(), limits::MULTI_READ_PATHS);
        size.saw(900 << 10);
        assert_eq!(size.paths(), 1);
        let mut answers = 0;
        while size.paths() < limits::MULTI_READ_PATHS {
            size.saw(100);
            answers += 1;
        }
        assert_eq!(answers, 7);
        size.saw(usize::MAX);
        assert_eq!(size.paths(), 1);
    }
}
