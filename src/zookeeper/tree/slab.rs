//! Where the nodes lie: fixed-size chunks, so that growing never moves a node nor stalls the writer.

use crate::zookeeper::stat::StatPersisted;

/// A node's place in the slab. Reused after the node is gone.
pub(super) type NodeId = u32;

/// No node.
pub(super) const NONE: NodeId = u32::MAX;

/// The root's place.
pub(super) const ROOT: NodeId = 0;

const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

/// One znode. The fields of its stat stand here one by one: nested, they would cost padding.
#[derive(Debug)]
pub(super) struct Node {
    /// `None` where there is no node; the root's is empty.
    pub(super) path: Option<Box<str>>,
    pub(super) data: Option<Box<[u8]>>,
    czxid: i64,
    mzxid: i64,
    ctime: i64,
    mtime: i64,
    ephemeral_owner: i64,
    pzxid: i64,
    version: i32,
    cversion: i32,
    aversion: i32,
    pub(super) acl: u32,
    pub(super) digest: u32,
    pub(super) parent: NodeId,
    pub(super) first_child: NodeId,
    pub(super) next_sibling: NodeId,
    pub(super) previous_sibling: NodeId,
    pub(super) child_count: u32,
}

impl Node {
    /// A node without family.
    pub(super) fn new(
        path: Box<str>,
        data: Option<Box<[u8]>>,
        acl: u32,
        stat: &StatPersisted,
    ) -> Self {
        Node {
            path: Some(path),
            data,
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            ephemeral_owner: stat.ephemeral_owner,
            pzxid: stat.pzxid,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            acl,
            digest: 0,
            parent: NONE,
            first_child: NONE,
            next_sibling: NONE,
            previous_sibling: NONE,
            child_count: 0,
        }
    }

    /// Its path; the root's is empty.
    pub(super) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    pub(super) fn stat(&self) -> StatPersisted {
        StatPersisted {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion,
            aversion: self.aversion,
            ephemeral_owner: self.ephemeral_owner,
            pzxid: self.pzxid,
        }
    }

    pub(super) fn set_stat(&mut self, stat: &StatPersisted) {
        self.czxid = stat.czxid;
        self.mzxid = stat.mzxid;
        self.ctime = stat.ctime;
        self.mtime = stat.mtime;
        self.version = stat.version;
        self.cversion = stat.cversion;
        self.aversion = stat.aversion;
        self.ephemeral_owner = stat.ephemeral_owner;
        self.pzxid = stat.pzxid;
    }
}

/// The nodes by id.
#[derive(Debug, Default)]
pub(super) struct Slab {
    chunks: Vec<Vec<Node>>,
    free: Vec<NodeId>,
    live: usize,
}

impl Slab {
    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// One more than the highest id ever given out.
    pub(super) fn end(&self) -> NodeId {
        match self.chunks.split_last() {
            None => 0,
            Some((last, full)) => to_id(full.len() * CHUNK + last.len()),
        }
    }

    /// The node at `id`, which the caller knows to be there.
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.chunks[(id >> CHUNK_BITS) as usize][id as usize & (CHUNK - 1)]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.chunks[(id >> CHUNK_BITS) as usize][id as usize & (CHUNK - 1)]
    }

    /// Puts a node into a free place.
    pub(super) fn insert(&mut self, node: Node) -> NodeId {
        self.live += 1;
        if let Some(id) = self.free.pop() {
            *self.node_mut(id) = node;
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let id = self.end();
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(node);
        }
        id
    }

    /// Frees the place of a node that nothing refers to any more.
    pub(super) fn remove(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        node.path = None;
        node.data = None;
        self.free.push(id);
        self.live -= 1;
    }
}

/// Ids end long after memory does: four billion nodes of more than a hundred bytes.
fn to_id(index: usize) -> NodeId {
    NodeId::try_from(index).unwrap_or(NONE)
}
