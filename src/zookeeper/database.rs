//! What the log and the snapshots keep: the tree and the sessions.

use std::collections::HashMap;

use super::tree::DataTree;
use super::tree::snapshot::TreeSnapshot;

/// The tree and the sessions that are alive.
#[derive(Debug)]
pub struct Database {
    /// The znodes.
    pub tree: DataTree,
    /// Timeouts in milliseconds, by session id.
    pub sessions: HashMap<i64, i32>,
}

impl Database {
    /// As a new server has it.
    pub fn new(digest_enabled: bool) -> Self {
        Database { tree: DataTree::new(digest_enabled), sessions: HashMap::new() }
    }

    /// Starts a point-in-time snapshot, unless one is being taken. Cheap: nodes are read later, see
    /// [`TreeSnapshot::step`].
    pub fn begin_snapshot(&mut self) -> Option<DatabaseSnapshot> {
        let tree = self.tree.begin_snapshot()?;
        Some(DatabaseSnapshot {
            tree,
            sessions: self.sessions.iter().map(|(&k, &v)| (k, v)).collect(),
        })
    }
}

/// The database of one moment.
#[derive(Debug)]
pub struct DatabaseSnapshot {
    /// The tree.
    pub tree: TreeSnapshot,
    /// Sessions and their timeouts in milliseconds.
    pub sessions: Vec<(i64, i32)>,
}
