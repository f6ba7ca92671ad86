//! A point-in-time view of the tree, taken while writes go on: no copy of the tree, no long lock.
//!
//! A walker takes the nodes a few at a time, in the order of their places, each after its ancestors,
//! since a snapshot's reader needs parents first. Whoever is about to change or remove a node that the
//! walker has not reached yet keeps it for the walker, as it is, before that. Nodes made since the
//! beginning are left out.

use std::sync::Arc;

use parking_lot::Mutex;

use super::DataTree;
use super::acl_table::AclTable;
use super::nodes::{NodeId, Nodes};
use super::slab::NONE;
use super::trail::Trail;
use crate::limits::SNAPSHOT_BUFFER_MAX;
use crate::zookeeper::acl::AclList;
use crate::zookeeper::jute::{Reader, Writer};

/// Nodes written, bytes of them, and places looked at, in one step of the walker.
const STEP_NODES: usize = 256;
const STEP_BYTES: usize = 256 << 10;
const STEP_PLACES: usize = 8192;

/// Places whose kept nodes lie together.
const KEPT_CHUNK: usize = 256;

/// A node as it was when the snapshot began.
#[derive(Debug)]
struct Kept {
    parent: NodeId,
    /// As a snapshot file has it.
    record: Box<[u8]>,
}

/// What the walker and the tree share.
#[derive(Debug)]
pub(super) struct Progress {
    visited: Vec<u64>,
    cursor: NodeId,
    limit: NodeId,
    /// The node that is to be written next, and below it those that wait for it as their ancestor.
    chain: Vec<NodeId>,
    trail: Trail,
    /// Nodes that were changed or removed before the walker came to them, by their places.
    kept: Vec<Option<Box<[Option<Kept>; KEPT_CHUNK]>>>,
    kept_bytes: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Walking,
    Overflowed,
    Finished,
}

impl Progress {
    fn new(limit: NodeId) -> Self {
        let mut kept = Vec::new();
        kept.resize_with((limit as usize).div_ceil(KEPT_CHUNK), || None);
        Progress {
            visited: vec![0; (limit as usize).div_ceil(64)],
            cursor: 0,
            limit,
            chain: Vec::new(),
            trail: Trail::default(),
            kept,
            kept_bytes: 0,
            state: State::Walking,
        }
    }

    /// Whether the walker has no business there any more.
    fn visited(&self, id: NodeId) -> bool {
        id >= self.limit || self.visited[(id / 64) as usize] & (1 << (id % 64)) != 0
    }

    fn mark(&mut self, id: NodeId) {
        if id < self.limit {
            self.visited[(id / 64) as usize] |= 1 << (id % 64);
        }
    }

    fn kept(&self, id: NodeId) -> Option<&Kept> {
        let chunk = self.kept.get(id as usize / KEPT_CHUNK)?.as_ref()?;
        chunk[id as usize % KEPT_CHUNK].as_ref()
    }

    /// Keeps a node that is about to change. Returns false when nobody wants it any more.
    fn keep(&mut self, nodes: &Nodes, id: NodeId) -> bool {
        if self.state != State::Walking {
            return false;
        }
        if self.visited(id) || self.kept(id).is_some() {
            return true;
        }
        let mut record = Vec::new();
        write(nodes, id, nodes.path(id).as_bytes(), &mut record);
        self.kept_bytes += record.len();
        if self.kept_bytes > SNAPSHOT_BUFFER_MAX {
            self.state = State::Overflowed;
            return false;
        }
        let chunk = self.kept[id as usize / KEPT_CHUNK]
            .get_or_insert_with(|| Box::new([const { None }; KEPT_CHUNK]));
        chunk[id as usize % KEPT_CHUNK] =
            Some(Kept { parent: nodes.get(id).parent, record: record.into() });
        true
    }

    /// Writes the next node, if there is one and its ancestors are written; else looks further.
    fn advance(&mut self, nodes: &Nodes, out: &mut Vec<u8>) -> Advance {
        let Some(&id) = self.chain.last() else {
            if self.cursor == self.limit {
                return Advance::Done;
            }
            let id = self.cursor;
            self.cursor += 1;
            if !self.visited(id) && (self.kept(id).is_some() || nodes.contains(id)) {
                self.chain.push(id);
            }
            return Advance::Looked;
        };
        let parent = self.kept(id).map_or_else(|| nodes.get(id).parent, |kept| kept.parent);
        if parent != NONE && !self.visited(parent) {
            self.chain.push(parent);
            return Advance::Looked;
        }
        self.chain.pop();
        self.mark(id);
        let kept = self.kept[id as usize / KEPT_CHUNK].as_mut();
        if let Some(kept) = kept.and_then(|chunk| chunk[id as usize % KEPT_CHUNK].take()) {
            self.kept_bytes -= kept.record.len();
            let path = Reader::new(&kept.record).buffer().ok().flatten().unwrap_or_default();
            self.trail.go_to_path(parent, id, path);
            out.extend_from_slice(&kept.record);
        } else {
            write(nodes, id, self.trail.go_to(nodes, id), out);
        }
        Advance::Wrote
    }
}

enum Advance {
    Wrote,
    Looked,
    Done,
}

/// A node as a snapshot file has it.
fn write(nodes: &Nodes, id: NodeId, path: &[u8], out: &mut Vec<u8>) {
    let node = nodes.get(id);
    out.write_buffer(Some(path));
    out.write_buffer(node.data());
    out.write_long(AclTable::key(node.acl));
    nodes.stat(id).write(out);
}

/// The tree's side of a snapshot that is being taken.
pub(super) type Active = Option<Arc<Mutex<Progress>>>;

/// To be called before node `id` is changed or removed.
pub(super) fn before_change(active: &mut Active, nodes: &Nodes, id: NodeId) {
    if let Some(progress) = active
        && !progress.lock().keep(nodes, id)
    {
        *active = None;
    }
}

/// To be called after a node was made at `id`.
pub(super) fn after_create(active: &Active, id: NodeId) {
    if let Some(progress) = active {
        let mut progress = progress.lock();
        // The walker has still to come to the one that was there before.
        if progress.kept(id).is_none() {
            progress.mark(id);
        }
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
        let progress = Arc::new(Mutex::new(Progress::new(tree.nodes.end())));
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
        let (start, mut written) = (out.len(), 0);
        for _ in 0..STEP_PLACES {
            match progress.advance(&tree.nodes, out) {
                Advance::Looked => {}
                Advance::Wrote => written += 1,
                Advance::Done => {
                    progress.state = State::Finished;
                    return Step::Done;
                }
            }
            if written == count || out.len() - start >= STEP_BYTES {
                break;
            }
        }
        Step::More
    }
}

impl Drop for TreeSnapshot {
    fn drop(&mut self) {
        let mut progress = self.progress.lock();
        progress.state = State::Finished;
        let kept = std::mem::take(&mut progress.kept);
        // The writer need not wait until that is freed.
        drop(progress);
        drop(kept);
    }
}
