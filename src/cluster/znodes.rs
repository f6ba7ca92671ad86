//! How the znodes of a cluster are read: with multi reads, or one by one from a server older than
//! ZooKeeper 3.6, which has neither those nor persistent watches.
//!
//! From an old server each read sets a one-shot watch in the same step, unless one is pending: so
//! nothing that changes after a read is missed. What is told by a list of children is found out by
//! reading the list again.

use std::sync::Arc;

use metrics::counter;
use tokio::task::JoinSet;
use zookeeper_client::{Client, Error};

use super::builder::{Read, Znode};
use super::dirty::Dirty;
use super::one_shots::OneShots;
use super::reader;
use crate::limits;

/// The znodes of a cluster, by one session.
#[derive(Debug, Clone)]
pub struct Znodes {
    client: Client,
    how: How,
}

#[derive(Debug, Clone)]
enum How {
    /// Multi reads.
    Multi,
    /// Single reads.
    Single,
    /// Single reads that set watches.
    Watched(Arc<OneShots>),
}

impl Znodes {
    /// Reads many at once: the server must be of ZooKeeper 3.6 or newer.
    pub fn multi(client: Client) -> Self {
        Znodes { client, how: How::Multi }
    }

    /// Reads one by one, from any server.
    pub fn single(client: Client) -> Self {
        Znodes { client, how: How::Single }
    }

    /// Reads one by one, from any server, and tells `dirty` of what changes after it was read.
    /// `roots` are those that may be missing without a parent whose children are listed.
    pub(super) fn watched(client: Client, dirty: Arc<Dirty>, roots: Vec<String>) -> Self {
        let shots = Arc::new(OneShots::new(dirty, roots));
        Znodes { client, how: How::Watched(shots) }
    }

    /// Reads one znode; `None` if it is not there.
    ///
    /// # Errors
    /// The session's.
    pub async fn read(&self, path: &str) -> Result<Option<Znode>, Error> {
        match &self.how {
            How::Multi | How::Single => reader::read(&self.client, path).await,
            How::Watched(shots) => {
                let read = self.read_single(&[path.to_owned()], Some(shots)).await?;
                reader::allowed_only(read.into_iter().next().unwrap_or_default())
            }
        }
    }

    /// The children of a znode; `None` if it is not there.
    ///
    /// # Errors
    /// The session's.
    pub async fn children(&self, path: &str) -> Result<Option<Vec<String>>, Error> {
        match &self.how {
            How::Multi | How::Single => reader::children(&self.client, path).await,
            How::Watched(shots) => shots.children(&self.client, path).await,
        }
    }

    /// Reads these znodes, in the order of the paths; `None` for those that are not there.
    ///
    /// # Errors
    /// The session's.
    pub async fn read_all(&self, paths: &[String]) -> Result<Vec<Option<Znode>>, Error> {
        self.read_each(paths).await?.into_iter().map(reader::allowed_only).collect()
    }

    /// The same, with those that must not be read.
    pub(super) async fn read_each(&self, paths: &[String]) -> Result<Vec<Read>, Error> {
        let shots = match &self.how {
            How::Multi => return reader::read_each(&self.client, paths).await,
            How::Single => None,
            How::Watched(shots) => Some(shots),
        };
        let mut found = vec![Read::Absent; paths.len()];
        let mut next = 0;
        let mut in_flight = JoinSet::new();
        loop {
            while in_flight.len() < limits::SINGLE_READ_BATCHES && next < paths.len() {
                let start = next;
                next = paths.len().min(start + limits::SINGLE_READS_IN_BATCH);
                let (from, batch) = (self.clone(), paths[start..next].to_vec());
                let shots = shots.cloned();
                in_flight
                    .spawn(async move { (start, from.read_single(&batch, shots.as_ref()).await) });
            }
            let Some(done) = in_flight.join_next().await else { break };
            let (start, znodes) = done.map_err(|e| Error::UnexpectedError(e.to_string()))?;
            for (place, read) in found.iter_mut().skip(start).zip(znodes?) {
                *place = read;
            }
        }
        counter!("doorkeeper_cluster_znodes_read_total").increment(paths.len() as u64);
        Ok(found)
    }

    /// Reads each by itself: all are asked for before the first answer is waited for.
    async fn read_single(
        &self,
        paths: &[String],
        shots: Option<&Arc<OneShots>>,
    ) -> Result<Vec<Read>, Error> {
        let client = &self.client;
        let asked: Vec<_> = paths
            .iter()
            .map(|path| match shots {
                Some(shots) if !shots.is_data_watched(path) => {
                    Asked::Watched(client.get_and_watch_data(path))
                }
                _ => Asked::Plain(client.get_data(path)),
            })
            .collect();
        let mut found = Vec::with_capacity(paths.len());
        for (path, asked) in paths.iter().zip(asked) {
            let read = match asked {
                Asked::Plain(plain) => plain.await,
                Asked::Watched(watched) => watched.await.map(|(data, stat, watcher)| {
                    if let Some(shots) = shots {
                        shots.add_data(path, watcher);
                    }
                    (data, stat)
                }),
            };
            found.push(match read {
                Ok((data, stat)) => Read::Found(reader::znode(data, &stat)),
                Err(Error::NoAuth) => Read::Forbidden,
                Err(Error::NoNode) => match shots {
                    Some(shots) => {
                        shots.await_znode(client, path).await?.map_or(Read::Absent, Read::Found)
                    }
                    None => Read::Absent,
                },
                Err(error) => return Err(error),
            });
        }
        Ok(found)
    }

    /// Says that all has been read once.
    pub(super) fn all_read(&self) {
        if let How::Watched(shots) = &self.how {
            shots.all_read();
        }
    }

    /// Reads the lists of children again that changed, and notes what came and went.
    ///
    /// # Errors
    /// The session's, or that too many watches wait for what will never come.
    pub(super) async fn list_again(&self) -> Result<(), Error> {
        match &self.how {
            How::Multi | How::Single => Ok(()),
            How::Watched(shots) => shots.list_again(&self.client).await,
        }
    }
}

/// A read under way, without a watch or with one.
enum Asked<P, W> {
    Plain(P),
    Watched(W),
}
