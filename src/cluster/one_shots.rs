//! The one-shot watches of one session with a server older than ZooKeeper 3.6.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::{Counter, counter};
use parking_lot::Mutex;
use zookeeper_client::{Client, Error, EventType, OneshotWatcher};

use super::builder::Znode;
use super::dirty::Dirty;
use super::layout::paths;
use super::reader;
use crate::limits;

/// What a watch is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// A znode's data, or its coming into being.
    Data,
    /// A znode's children.
    Children,
}

/// The watches that are pending. Setting one twice would cost the client memory, and telling of what
/// was read before one that is pending needs no other.
#[derive(Debug)]
pub(super) struct OneShots {
    dirty: Arc<Dirty>,
    /// Znodes that may be missing without a parent whose children are listed.
    roots: Vec<String>,
    pending: Mutex<HashSet<(Kind, String)>>,
    /// The children of each znode whose children are read, as they were read last.
    lists: Mutex<HashMap<String, BTreeSet<String>>>,
    /// Pending watches of znodes that were not there.
    absent: AtomicUsize,
    /// The same, when all had been read.
    absent_at_first: AtomicUsize,
    events: Counter,
}

impl OneShots {
    pub(super) fn new(dirty: Arc<Dirty>, roots: Vec<String>) -> Self {
        OneShots {
            dirty,
            roots,
            pending: Mutex::default(),
            lists: Mutex::default(),
            absent: AtomicUsize::new(0),
            absent_at_first: AtomicUsize::new(0),
            events: counter!("doorkeeper_cluster_watch_events_total"),
        }
    }

    /// Whether a watch of this znode's data is pending.
    pub(super) fn is_data_watched(&self, path: &str) -> bool {
        self.is_pending(Kind::Data, path)
    }

    fn is_pending(&self, kind: Kind, path: &str) -> bool {
        self.pending.lock().contains(&(kind, path.to_owned()))
    }

    /// Takes the watch that a read of data has set.
    pub(super) fn add_data(self: &Arc<Self>, path: &str, watcher: OneshotWatcher) {
        self.add(Kind::Data, path, watcher, false);
    }

    fn add(self: &Arc<Self>, kind: Kind, path: &str, watcher: OneshotWatcher, absent: bool) {
        let key = (kind, path.to_owned());
        self.pending.lock().insert(key.clone());
        if absent {
            self.absent.fetch_add(1, Ordering::Relaxed);
        }
        let shots = self.clone();
        // It ends with the session at the latest, which tells every watch.
        tokio::spawn(async move {
            let event = watcher.changed().await;
            shots.pending.lock().remove(&key);
            if absent {
                shots.absent.fetch_sub(1, Ordering::Relaxed);
            }
            if event.event_type != EventType::Session {
                shots.events.increment(1);
                shots.dirty.note_one_shot(&event);
            }
        });
    }

    /// Whether nothing else would tell of it when this znode comes into being.
    fn is_awaited(&self, path: &str) -> bool {
        self.roots.iter().any(|root| root == path)
            || matches!(paths::Znode::parse(path), Some(paths::Znode::PartitionState(..)))
    }

    /// A znode that was not there a moment ago: watched for, where nothing else would tell of it.
    pub(super) async fn await_znode(
        self: &Arc<Self>,
        client: &Client,
        path: &str,
    ) -> Result<Option<Znode>, Error> {
        if !self.is_awaited(path) {
            return Ok(None);
        }
        if !self.is_pending(Kind::Data, path) {
            let (stat, watcher) = client.check_and_watch_stat(path).await?;
            self.add(Kind::Data, path, watcher, stat.is_none());
            if stat.is_none() {
                return Ok(None);
            }
        }
        reader::read(client, path).await
    }

    /// The children of a znode, watched.
    pub(super) async fn children(
        self: &Arc<Self>,
        client: &Client,
        path: &str,
    ) -> Result<Option<Vec<String>>, Error> {
        let children = loop {
            if self.is_pending(Kind::Children, path) {
                break reader::children(client, path).await?;
            }
            match client.list_and_watch_children(path).await {
                Ok((children, watcher)) => {
                    self.add(Kind::Children, path, watcher, false);
                    break Some(children);
                }
                Err(Error::NoNode) if !self.is_awaited(path) => break None,
                Err(Error::NoNode) => {
                    // Its coming is told as an event of its data, which makes the list be read again.
                    if self.await_znode(client, path).await?.is_none() {
                        break None;
                    }
                }
                Err(error) => return Err(error),
            }
        };
        let known: Option<BTreeSet<String>> =
            children.as_ref().map(|names| names.iter().cloned().collect());
        let mut lists = self.lists.lock();
        match known {
            Some(known) => _ = lists.insert(path.to_owned(), known),
            None => _ = lists.remove(path),
        }
        drop(lists);
        Ok(children)
    }

    /// Says that all has been read once.
    pub(super) fn all_read(&self) {
        self.absent_at_first.store(self.absent.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Reads the lists of children again that changed, and notes what came and went.
    pub(super) async fn list_again(self: &Arc<Self>, client: &Client) -> Result<(), Error> {
        for path in self.dirty.take_lists() {
            let before = self.lists.lock().get(&path).cloned().unwrap_or_default();
            let now = self.children(client, &path).await?;
            let now: BTreeSet<String> = now.into_iter().flatten().collect();
            let at = |child: &String| format!("{path}/{child}");
            self.dirty.note_paths(before.difference(&now).map(at));
            // One that went and came again between two readings of the list is in both: what tells
            // whether it has to be read is whether it is watched.
            let unwatched = |path: &String| {
                !self.is_pending(Kind::Data, path) && !self.is_pending(Kind::Children, path)
            };
            self.dirty.note_paths(now.iter().map(at).filter(unwatched));
        }
        // Topics that are gone leave watches of their states behind.
        let allowed = self.absent_at_first.load(Ordering::Relaxed) + limits::WATCHES_OF_ABSENT_MAX;
        if self.absent.load(Ordering::Relaxed) > allowed {
            let reason = "the watches of znodes that are gone are too many: a new session";
            return Err(Error::UnexpectedError(reason.to_owned()));
        }
        Ok(())
    }
}
