//! The znodes: pure data, changed by transactions alone.
//!
//! Nodes lie in a slab, know their name, and know their parent, their first child and their siblings
//! by number; a hash index leads from a path to its node in one lookup. Nothing here recurses, and
//! nothing keeps a node's path: a tree may be as deep as its paths are long.

mod acl_table;
mod content;
pub mod digest;
mod index;
mod load;
mod names;
mod node;
mod nodes;
mod quota;
mod slab;
pub mod snapshot;
mod trail;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use indexmap::IndexSet;

use self::acl_table::AclTable;
use self::index::PathIndex;
use self::nodes::{NodeId, Nodes, ROOT};
use self::slab::NONE;
use self::snapshot::TreeSnapshot;
use super::acl::{AclList, open_acl_unsafe, read_acl_unsafe};
use super::path::Lengths;
use super::stat::{Ownership, Stat, StatPersisted};

pub use self::load::{LoadError, TreeLoader};
pub use self::names::Names;
pub use self::node::NodeRef;

/// Why a change could not be made. Live, prep has checked before; in a replay it is ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeError {
    /// There is no such node, or no parent for it.
    NoNode,
    /// The node is there already.
    NodeExists,
}

impl TreeError {
    /// ZooKeeper's error code.
    pub fn code(self) -> i32 {
        match self {
            TreeError::NoNode => -101,
            TreeError::NodeExists => -110,
        }
    }
}

/// All znodes, and what is counted about them.
#[derive(Debug)]
pub struct DataTree {
    nodes: Nodes,
    index: PathIndex,
    acls: AclTable,
    ephemerals: HashMap<i64, HashSet<NodeId>>,
    ephemeral_count: usize,
    /// Containers and nodes with a time to live: those that a sweep has to look at.
    expiring: IndexSet<NodeId>,
    /// The paths that have a quota.
    quotas: HashSet<Box<str>>,
    quota_lengths: Lengths,
    data_size: u64,
    digest: u64,
    digest_enabled: bool,
    last_zxid: i64,
    snapshot: snapshot::Active,
}

impl DataTree {
    /// A tree as a new server has it: the root, `/zookeeper`, `/zookeeper/quota` and
    /// `/zookeeper/config`, at zxid 0.
    pub fn new(digest_enabled: bool) -> Self {
        let mut tree = DataTree::empty(digest_enabled);
        for path in ["", "/zookeeper", "/zookeeper/quota"] {
            tree.insert_system(path, &open_acl_unsafe(), &StatPersisted::default());
        }
        let stat = StatPersisted { aversion: -1, ..StatPersisted::default() };
        tree.insert_system("/zookeeper/config", &read_acl_unsafe(), &stat);
        tree
    }

    /// Adds a node below a parent that is there; the root is the first to be added.
    fn insert_system(&mut self, path: &str, acl: &AclList, stat: &StatPersisted) {
        let parent = parent_path(path).and_then(|parent| self.find(parent)).unwrap_or(NONE);
        let (acl, hash) = (self.acls.acquire(acl), self.index.hash(path));
        self.insert_below(parent, path, hash, Some(b""), acl, stat);
        self.nodes.add_descendants(parent, 1);
    }

    fn empty(digest_enabled: bool) -> Self {
        DataTree {
            nodes: Nodes::new(),
            index: PathIndex::new(),
            acls: AclTable::new(),
            ephemerals: HashMap::new(),
            ephemeral_count: 0,
            expiring: IndexSet::new(),
            quotas: HashSet::new(),
            quota_lengths: Lengths::default(),
            data_size: 0,
            digest: 0,
            digest_enabled,
            last_zxid: 0,
            snapshot: None,
        }
    }

    /// The node at `path`. The root is `/`, or the empty string.
    pub fn node(&self, path: &str) -> Option<NodeRef<'_>> {
        self.find(path).map(|id| NodeRef { tree: self, id })
    }

    /// Whether there is a node at `path`.
    pub fn contains(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    /// The paths of the nodes that `session` owns, in no order.
    pub fn ephemerals(&self, session: i64) -> impl Iterator<Item = String> {
        let ids = self.ephemerals.get(&session).into_iter().flatten();
        ids.map(|&id| self.nodes.path(id))
    }

    /// The sessions that own nodes.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = i64> {
        self.ephemerals.keys().copied()
    }

    /// How many nodes are owned by sessions.
    pub fn ephemeral_count(&self) -> usize {
        self.ephemeral_count
    }

    /// Containers and nodes with a time to live, in no order: those at most `count` after the first
    /// `skip`. What changes between two calls may move one from the last place to another.
    pub fn expiring(&self, skip: usize, count: usize) -> impl Iterator<Item = NodeRef<'_>> {
        let places = skip..skip.saturating_add(count).min(self.expiring.len());
        places.filter_map(|place| {
            self.expiring.get_index(place).map(|&id| NodeRef { tree: self, id })
        })
    }

    /// How many nodes there are, the root counted twice, as ZooKeeper counts.
    pub fn node_count(&self) -> usize {
        self.nodes.len() + 1
    }

    /// Bytes of paths and data.
    pub fn data_size(&self) -> u64 {
        self.data_size
    }

    /// The digest of all nodes; 0 if digests are off.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Whether digests are kept.
    pub fn digest_enabled(&self) -> bool {
        self.digest_enabled
    }

    /// The last transaction applied.
    pub fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    pub(crate) fn advance(&mut self, zxid: i64) {
        self.last_zxid = self.last_zxid.max(zxid);
    }

    /// Every node, in no order but parents before children within a chain of creates.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        (0..self.nodes.end())
            .filter(|&id| self.nodes.contains(id))
            .map(|id| NodeRef { tree: self, id })
    }

    /// Starts a point-in-time snapshot, unless one is being taken.
    pub fn begin_snapshot(&mut self) -> Option<TreeSnapshot> {
        TreeSnapshot::begin(self)
    }

    /// Creates a node. `parent_cversion` is the parent's afterwards, -1 for one more.
    pub(crate) fn create(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &AclList,
        stat: &StatPersisted,
        parent_cversion: i32,
    ) -> Result<Stat, TreeError> {
        let above = parent_path(path).ok_or(TreeError::NoNode)?;
        let parent = self.find(above).ok_or(TreeError::NoNode)?;
        let hash = self.index.hash(path);
        if let Some(existing) = self.index.find(&self.nodes, path, hash) {
            // Only a replay over a snapshot that is ahead of its zxid comes here: the node is newer
            // than this transaction, its ACL may have been lost.
            self.replace_acl(existing, acl);
            self.raise_cversion(parent, above, parent_cversion, stat.czxid);
            return Err(TreeError::NodeExists);
        }
        self.raise_cversion(parent, above, parent_cversion, stat.czxid);
        let acl = self.acls.acquire(acl);
        let id = self.insert_below(parent, path, hash, data, acl, stat);
        self.nodes.add_descendants(parent, 1);
        snapshot::after_create(&self.snapshot, id);
        self.quota_after_create(path, data.map_or(0, <[u8]>::len));
        Ok(self.stat(id))
    }

    /// Deletes a node, and the subtree below it: a replay may meet children there that belong to a
    /// later node of the same path. `gone` sees each node before it goes.
    pub(crate) fn delete(
        &mut self,
        path: &str,
        zxid: i64,
        mut gone: impl FnMut(&str, &AclList, &AclList),
    ) -> Result<(), TreeError> {
        let above = parent_path(path).ok_or(TreeError::NoNode)?;
        let parent = self.find(above).ok_or(TreeError::NoNode)?;
        let mut stat = self.nodes.stat(parent);
        stat.pzxid = stat.pzxid.max(zxid);
        self.change_stat(parent, above, &stat);
        let top = self.find(path).ok_or(TreeError::NoNode)?;
        self.nodes.subtract_descendants(parent, self.nodes.descendant_count(top) + 1);
        // Of the node at `id`, all along: built from nothing for each, the paths of a deep subtree
        // would take for ever.
        let mut path = Cow::Borrowed(path);
        let mut id = top;
        loop {
            let child = self.nodes.first_child(id);
            if child != NONE {
                id = child;
                let path = path.to_mut();
                path.push('/');
                path.push_str(NodeRef { tree: self, id }.name());
                continue;
            }
            let node = self.nodes.get(id);
            let (parent, bytes) = (node.parent, node.data_len());
            let parent_acl = self.acls.get(self.nodes.get(parent).acl);
            gone(&path, self.acls.get(node.acl), parent_acl);
            self.remove(id, path.len());
            if !self.quotas.is_empty() {
                self.quota_after_delete(&path, bytes);
            }
            if id == top {
                return Ok(());
            }
            id = parent;
            let above = path.rfind('/').unwrap_or(0);
            path.to_mut().truncate(above);
        }
    }

    /// Sets a node's data and its version.
    pub(crate) fn set_data(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        zxid: i64,
        time: i64,
    ) -> Result<Stat, TreeError> {
        let id = self.find(path).ok_or(TreeError::NoNode)?;
        let more = self.replace_data(id, data);
        let stat = StatPersisted { mzxid: zxid, mtime: time, version, ..self.nodes.stat(id) };
        self.change_stat(id, path, &stat);
        self.quota_add(path, 0, more);
        Ok(self.stat(id))
    }

    /// Sets a node's ACL and its aversion.
    pub(crate) fn set_acl(
        &mut self,
        path: &str,
        acl: &AclList,
        aversion: i32,
    ) -> Result<Stat, TreeError> {
        let id = self.find(path).ok_or(TreeError::NoNode)?;
        self.replace_acl(id, acl);
        let stat = StatPersisted { aversion, ..self.nodes.stat(id) };
        self.change_stat(id, path, &stat);
        Ok(self.stat(id))
    }

    fn find(&self, path: &str) -> Option<NodeId> {
        match path {
            "" | "/" => (self.nodes.len() > 0).then_some(ROOT),
            path => self.index.find(&self.nodes, path, self.index.hash(path)),
        }
    }

    fn stat(&self, id: NodeId) -> Stat {
        self.nodes.stat(id).to_stat(self.nodes.get(id).data_len(), self.nodes.child_count(id))
    }

    fn replace_acl(&mut self, id: NodeId, acl: &AclList) {
        snapshot::before_change(&mut self.snapshot, &self.nodes, id);
        let number = self.acls.acquire(acl);
        let before = std::mem::replace(&mut self.nodes.get_mut(id).acl, number);
        self.acls.release(before);
    }

    /// Replaces a node's data, whose digest is then to be updated. Returns how many bytes more it has.
    fn replace_data(&mut self, id: NodeId, data: Option<&[u8]>) -> i64 {
        snapshot::before_change(&mut self.snapshot, &self.nodes, id);
        let node = self.nodes.get_mut(id);
        let (before, after) = (node.data_len() as u64, data_len(data));
        node.set_data(data);
        self.data_size = self.data_size + after - before;
        after.cast_signed() - before.cast_signed()
    }

    /// Children are counted up only: in a replay the parent may be ahead.
    fn raise_cversion(&mut self, parent: NodeId, path: &str, cversion: i32, zxid: i64) {
        let mut stat = self.nodes.stat(parent);
        let before = stat.cversion;
        stat.cversion = if cversion == -1 { before.wrapping_add(1) } else { cversion };
        if stat.cversion > before {
            stat.pzxid = zxid;
            self.change_stat(parent, path, &stat);
        }
    }

    /// Changes the stat of the node at `path`, and keeps snapshot and digest right.
    fn change_stat(&mut self, id: NodeId, path: &str, stat: &StatPersisted) {
        snapshot::before_change(&mut self.snapshot, &self.nodes, id);
        self.nodes.set_stat(id, stat);
        self.update_digest(id, path, stat);
    }

    fn update_digest(&mut self, id: NodeId, path: &str, stat: &StatPersisted) {
        if self.digest_enabled {
            let node = self.nodes.get_mut(id);
            let digest = digest::checksum(path, node.data(), stat);
            let before = std::mem::replace(&mut node.digest, digest);
            self.digest =
                self.digest.wrapping_sub(u64::from(before)).wrapping_add(u64::from(digest));
        }
    }

    /// Adds a node below a parent that is there, or the root below `NONE`. Those above it are not told
    /// that they have a descendant more.
    fn insert_below(
        &mut self,
        parent: NodeId,
        path: &str,
        hash: u32,
        data: Option<&[u8]>,
        acl: u32,
        stat: &StatPersisted,
    ) -> NodeId {
        self.data_size += path.len().max(1) as u64 + data_len(data);
        let name = path.rsplit('/').next().unwrap_or_default();
        let id = self.nodes.insert(parent, name.as_bytes(), data, (hash, acl), stat);
        if parent != NONE {
            self.index.insert(&self.nodes, id);
        }
        match Ownership::of(stat.ephemeral_owner) {
            Ownership::Persistent => {}
            Ownership::Session(session) => {
                self.ephemerals.entry(session).or_default().insert(id);
                self.ephemeral_count += 1;
            }
            Ownership::Container | Ownership::Ttl(_) => {
                self.expiring.insert(id);
            }
        }
        self.update_digest(id, path, stat);
        id
    }

    /// Removes a node that has no children and is not the root; its path has so many bytes. Those above
    /// it are not told that they have a descendant less.
    fn remove(&mut self, id: NodeId, path_len: usize) {
        // The parent shows one child less, though nothing of it changes that a snapshot holds.
        snapshot::before_change(&mut self.snapshot, &self.nodes, id);
        let node = self.nodes.get(id);
        self.data_size -= (path_len + node.data_len()) as u64;
        self.digest = self.digest.wrapping_sub(u64::from(node.digest));
        self.acls.release(node.acl);
        match Ownership::of(self.nodes.ephemeral_owner(id)) {
            Ownership::Persistent => {}
            Ownership::Session(session) => {
                if let Some(ids) = self.ephemerals.get_mut(&session) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
                self.ephemeral_count -= 1;
            }
            Ownership::Container | Ownership::Ttl(_) => {
                self.expiring.swap_remove(&id);
            }
        }
        self.index.remove(&self.nodes, id);
        self.nodes.remove(id);
    }
}

/// The path of the node above `path`: empty for the root, `None` for the root itself.
pub fn parent_path(path: &str) -> Option<&str> {
    path.rsplit_once('/').filter(|(_, name)| !name.is_empty()).map(|(parent, _)| parent)
}

fn data_len(data: Option<&[u8]>) -> u64 {
    data.map_or(0, <[u8]>::len) as u64
}

#[cfg(test)]
mod tests;
