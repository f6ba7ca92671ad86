//! A point-in-time view of the tree, taken while writes go on: no copy of the tree, no long lock.
//!
//! A walker takes the nodes a few at a time, in the order of their places, each after its ancestors,
//! since a snapshot's reader needs parents first. Whoever is about to change or remove a node that the
//! walker has not reached yet puts the node, as it is, into the snapshot's buffer before that. Nodes
//! made since the beginning are left out.

use std::sync::Arc;

use parking_lot::Mutex;

use super::DataTree;
use super::acl_table::AclTable;
use super::slab::{NONE, NodeId, Slab};
use crate::limits::SNAPSHOT_BUFFER_MAX;
use crate::zookeeper::acl::AclList;
use crate::zookeeper::jute::Writer;

/// Nodes written, and places looked at, in one step of the walker.
const STEP_NODES: usize = 256;
const STEP_PLACES: u32 = 8192;

/// What the walker and the tree share.
#[derive(Debug)]
pub(super) struct Progress {
    visited: Vec<u64>,
    cursor: NodeId,
    limit: NodeId,
    buffer: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Walking,
    Overflowed,
    Finished,
}

impl Progress {
    fn visited(&self, id: NodeId) -> bool {
        id >= self.limit || self.visited[(id / 64) as usize] & (1 << (id % 64)) != 0
    }

    fn mark(&mut self, id: NodeId) {
        if id < self.limit {
            self.visited[(id / 64) as usize] |= 1 << (id % 64);
        }
    }

    /// Writes the node and those of its ancestors that are not written yet. Returns how many.
    fn emit(&mut self, slab: &Slab, id: NodeId, out: &mut Vec<u8>) -> usize {
        let mut chain = vec![id];
        let mut ancestor = slab.node(id).parent;
        while ancestor != NONE && !self.visited(ancestor) {
            chain.push(ancestor);
            ancestor = slab.node(ancestor).parent;
        }
        for &id in chain.iter().rev() {
            let node = slab.node(id);
            out.write_string(node.path());
            out.write_buffer(node.data.as_deref());
            out.write_long(AclTable::key(node.acl));
            node.stat().write(out);
            self.mark(id);
        }
        chain.len()
    }

    /// Keeps a node that is about to change. Returns false when nobody wants it any more.
    fn keep(&mut self, slab: &Slab, id: NodeId) -> bool {
        if self.state != State::Walking {
            return false;
        }
        if !self.visited(id) {
            let mut buffer = std::mem::take(&mut self.buffer);
            self.emit(slab, id, &mut buffer);
            if buffer.len() > SNAPSHOT_BUFFER_MAX {
                self.state = State::Overflowed;
                buffer = Vec::new();
            }
            self.buffer = buffer;
        }
        true
    }
}

/// The tree's side of a snapshot that is being taken.
pub(super) type Active = Option<Arc<Mutex<Progress>>>;

/// To be called before node `id` is changed or removed.
pub(super) fn before_change(active: &mut Active, slab: &Slab, id: NodeId) {
    if let Some(progress) = active
        && !progress.lock().keep(slab, id)
    {
        *active = None;
    }
}

/// To be called after a node was made at `id`.
pub(super) fn after_create(active: &Active, id: NodeId) {
    if let Some(progress) = active {
        progress.lock().mark(id);
    }
}

/// How far a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more.
    More,
    /// All nodes are written.
    Done,
    /// Writes changed more than the snapshot could keep: it is void.
    Overflowed,
}

/// The nodes of one moment. Dropping it ends the snapshot.
#[derive(Debug)]
pub struct TreeSnapshot {
    progress: Arc<Mutex<Progress>>,
    /// The last transaction in it.
    pub zxid: i64,
    /// The tree's digest.
    pub digest: u64,
    /// Whether digests are kept at all.
    pub digest_enabled: bool,
    /// Keys of ACLs, and the ACLs.
    pub acls: Vec<(i64, AclList)>,
}

impl TreeSnapshot {
    pub(super) fn begin(tree: &mut DataTree) -> Option<Self> {
        if let Some(progress) = &tree.snapshot
            && progress.lock().state == State::Walking
        {
            return None;
        }
        let limit = tree.slab.end();
        let progress = Arc::new(Mutex::new(Progress {
            visited: vec![0; (limit as usize).div_ceil(64)],
            cursor: 0,
            limit,
            buffer: Vec::new(),
            state: State::Walking,
        }));
        tree.snapshot = Some(progress.clone());
        Some(TreeSnapshot {
            progress,
            zxid: tree.last_zxid,
            digest: tree.digest,
            digest_enabled: tree.digest_enabled,
            acls: tree.acls.entries(),
        })
    }

    /// Appends the next few nodes to `out`, as a snapshot file has them. `tree` is the one that the
    /// snapshot is of; it is locked against changes for this one step only.
    pub fn step(&self, tree: &DataTree, out: &mut Vec<u8>) -> Step {
        self.step_by(STEP_NODES, tree, out)
    }

    pub(super) fn step_by(&self, count: usize, tree: &DataTree, out: &mut Vec<u8>) -> Step {
        let mut progress = self.progress.lock();
        let progress = &mut *progress;
        if progress.state == State::Overflowed {
            return Step::Overflowed;
        }
        out.append(&mut progress.buffer);
        let places_end = progress.limit.min(progress.cursor.saturating_add(STEP_PLACES));
        let mut nodes = 0;
        while progress.cursor < places_end && nodes < count {
            let id = progress.cursor;
            progress.cursor += 1;
            if !progress.visited(id) && tree.slab.node(id).path.is_some() {
                nodes += progress.emit(&tree.slab, id, out);
            }
        }
        if progress.cursor < progress.limit {
            return Step::More;
        }
        progress.state = State::Finished;
        Step::Done
    }
}

impl Drop for TreeSnapshot {
    fn drop(&mut self) {
        let mut progress = self.progress.lock();
        progress.state = State::Finished;
        progress.buffer = Vec::new();
    }
}
