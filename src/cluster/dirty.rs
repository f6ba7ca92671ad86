//! What the watches named and was not read again yet, and who waits for it.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;
use zookeeper_client::{EventType, WatchedEvent};

use super::changes::Changes;
use super::layout::paths;
use crate::limits;

/// Filled by the tasks that drain the watches, emptied by the observer.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    changes: Mutex<Changes>,
    /// Lists of children to be read again, where one-shot watches tell no more than that one changed.
    lists: Mutex<BTreeSet<String>>,
    notify: Notify,
}

impl Dirty {
    /// Notes the event of a persistent recursive watch.
    pub(super) fn note(&self, event: &WatchedEvent) {
        if self.changes.lock().note(&event.path) {
            self.notify.notify_one();
        }
    }

    /// Notes the event of a one-shot watch.
    pub(super) fn note_one_shot(&self, event: &WatchedEvent) {
        let path = event.path.as_str();
        let noted = match paths::Znode::parse(path) {
            // States go with their topic: it is looked at as a whole.
            Some(paths::Znode::PartitionState(topic, _))
                if event.event_type == EventType::NodeDeleted =>
            {
                self.changes.lock().note(&paths::topic(topic))
            }
            Some(_) => self.changes.lock().note(path),
            None => false,
        };
        if !noted {
            self.lists.lock().insert(path.to_owned());
        }
        self.notify.notify_one();
    }

    /// Notes znodes that came or went, by the list of their parent's children.
    pub(super) fn note_paths(&self, paths: impl Iterator<Item = String>) {
        let mut changes = self.changes.lock();
        paths.for_each(|path| _ = changes.note(&path));
    }

    /// Waits until there is something.
    pub(super) async fn changed(&self) {
        self.notify.notified().await;
    }

    /// Waits until no change came for a moment, or for as long as a burst is gathered at most.
    pub(super) async fn quiet(&self) {
        let gather = async {
            let pause = || tokio::time::timeout(limits::BURST_QUIET, self.notify.notified());
            while pause().await.is_ok() {}
        };
        _ = tokio::time::timeout(limits::BURST_GATHER_MAX, gather).await;
    }

    /// How many znodes are named.
    pub(super) fn len(&self) -> usize {
        self.changes.lock().len()
    }

    /// Takes the changes.
    pub(super) fn take(&self) -> Changes {
        std::mem::take(&mut *self.changes.lock())
    }

    /// Takes the lists.
    pub(super) fn take_lists(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.lists.lock())
    }
}
