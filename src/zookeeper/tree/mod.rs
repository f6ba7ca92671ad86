//! The znodes: pure data, changed by transactions alone.
//!
//! Nodes lie in a slab and know their parent, their first child and their siblings by number; a hash
//! index leads from a path to its node in one lookup. Nothing here recurses: a tree may be as deep as
//! its paths are long.

mod acl_table;
pub mod digest;
mod index;
mod load;
mod quota;
mod slab;
pub mod snapshot;

use std::collections::{HashMap, HashSet};

use indexmap::IndexSet;

use self::acl_table::AclTable;
use self::index::PathIndex;
use self::slab::{NONE, Node, NodeId, ROOT, Slab};
use self::snapshot::TreeSnapshot;
use super::acl::{AclList, open_acl_unsafe, read_acl_unsafe};
use super::path::Lengths;
use super::stat::{Ownership, Stat, StatPersisted};

pub use self::load::{LoadError, TreeLoader};

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
    slab: Slab,
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
        tree.insert("".into(), Some(Box::default()), &open_acl_unsafe(), &StatPersisted::default());
        for path in ["/zookeeper", "/zookeeper/quota"] {
            tree.insert_system(path, &open_acl_unsafe(), &StatPersisted::default());
        }
        let stat = StatPersisted { aversion: -1, ..StatPersisted::default() };
        tree.insert_system("/zookeeper/config", &read_acl_unsafe(), &stat);
        tree
    }

    fn insert_system(&mut self, path: &str, acl: &AclList, stat: &StatPersisted) {
        self.insert(path.into(), Some(Box::default()), acl, stat);
    }

    fn empty(digest_enabled: bool) -> Self {
        DataTree {
            slab: Slab::default(),
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
    pub fn ephemerals(&self, session: i64) -> impl Iterator<Item = &str> {
        let ids = self.ephemerals.get(&session).into_iter().flatten();
        ids.map(|&id| self.slab.node(id).path())
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
        self.slab.len() + 1
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
        (0..self.slab.end())
            .filter(|&id| self.slab.node(id).path.is_some())
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
        let parent = self.find(parent_path(path).ok_or(TreeError::NoNode)?);
        let parent = parent.ok_or(TreeError::NoNode)?;
        if let Some(existing) = self.find(path) {
            // Only a replay over a snapshot that is ahead of its zxid comes here: the node is newer
            // than this transaction, its ACL may have been lost.
            self.replace_acl(existing, acl);
            self.raise_cversion(parent, parent_cversion, stat.czxid);
            return Err(TreeError::NodeExists);
        }
        self.raise_cversion(parent, parent_cversion, stat.czxid);
        let acl = self.acls.acquire(acl);
        let id = self.insert_below(parent, path.into(), data.map(Box::from), acl, stat);
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
        let parent = self.find(parent_path(path).ok_or(TreeError::NoNode)?);
        let parent = parent.ok_or(TreeError::NoNode)?;
        self.change(parent, |node| {
            let mut stat = node.stat();
            stat.pzxid = stat.pzxid.max(zxid);
            node.set_stat(&stat);
        });
        let top = self.find(path).ok_or(TreeError::NoNode)?;
        let mut id = top;
        loop {
            let node = self.slab.node(id);
            if node.first_child != NONE {
                id = node.first_child;
                continue;
            }
            let parent = node.parent;
            let parent_acl = self.acls.get(self.slab.node(parent).acl);
            gone(node.path(), self.acls.get(node.acl), parent_acl);
            let quota = (!self.quotas.is_empty())
                .then(|| (node.path().to_owned(), node.data.as_deref().map_or(0, <[u8]>::len)));
            self.remove(id);
            if let Some((path, bytes)) = quota {
                self.quota_after_delete(&path, bytes);
            }
            if id == top {
                return Ok(());
            }
            id = parent;
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
        let before = data_len(self.slab.node(id).data.as_deref());
        self.data_size = self.data_size + data_len(data) - before;
        self.change(id, |node| {
            node.data = data.map(Box::from);
            let mut stat = node.stat();
            stat.mzxid = zxid;
            stat.mtime = time;
            stat.version = version;
            node.set_stat(&stat);
        });
        let more = data_len(data).cast_signed() - before.cast_signed();
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
        self.change(id, |node| {
            let mut stat = node.stat();
            stat.aversion = aversion;
            node.set_stat(&stat);
        });
        Ok(self.stat(id))
    }

    fn find(&self, path: &str) -> Option<NodeId> {
        match path {
            "" | "/" => (self.slab.len() > 0).then_some(ROOT),
            path => self.index.find(&self.slab, path),
        }
    }

    fn stat(&self, id: NodeId) -> Stat {
        let node = self.slab.node(id);
        node.stat().to_stat(node.data.as_deref().map_or(0, <[u8]>::len), node.child_count)
    }

    fn replace_acl(&mut self, id: NodeId, acl: &AclList) {
        snapshot::before_change(&mut self.snapshot, &self.slab, id);
        let number = self.acls.acquire(acl);
        let node = self.slab.node_mut(id);
        let before = std::mem::replace(&mut node.acl, number);
        self.acls.release(before);
    }

    /// Children are counted up only: in a replay the parent may be ahead.
    fn raise_cversion(&mut self, parent: NodeId, cversion: i32, zxid: i64) {
        let before = self.slab.node(parent).stat().cversion;
        let cversion = if cversion == -1 { before.wrapping_add(1) } else { cversion };
        if cversion > before {
            self.change(parent, |node| {
                let mut stat = node.stat();
                stat.cversion = cversion;
                stat.pzxid = zxid;
                node.set_stat(&stat);
            });
        }
    }

    /// Changes a node's data or stat, and keeps snapshot and digest right.
    fn change(&mut self, id: NodeId, edit: impl FnOnce(&mut Node)) {
        snapshot::before_change(&mut self.snapshot, &self.slab, id);
        let node = self.slab.node_mut(id);
        edit(node);
        self.update_digest(id);
    }

    fn update_digest(&mut self, id: NodeId) {
        if self.digest_enabled {
            let node = self.slab.node_mut(id);
            let digest = digest::checksum(node.path(), node.data.as_deref(), &node.stat());
            let before = std::mem::replace(&mut node.digest, digest);
            self.digest =
                self.digest.wrapping_sub(u64::from(before)).wrapping_add(u64::from(digest));
        }
    }

    /// Adds a node below a parent that is there; the root is the first to be added.
    fn insert(
        &mut self,
        path: Box<str>,
        data: Option<Box<[u8]>>,
        acl: &AclList,
        stat: &StatPersisted,
    ) -> NodeId {
        let parent = parent_path(&path).and_then(|parent| self.find(parent)).unwrap_or(NONE);
        let acl = self.acls.acquire(acl);
        self.insert_below(parent, path, data, acl, stat)
    }

    fn insert_below(
        &mut self,
        parent: NodeId,
        path: Box<str>,
        data: Option<Box<[u8]>>,
        acl: u32,
        stat: &StatPersisted,
    ) -> NodeId {
        self.data_size += path.len().max(1) as u64 + data_len(data.as_deref());
        let id = self.slab.insert(Node::new(path, data, acl, stat));
        if parent != NONE {
            self.index.insert(&self.slab, id);
            let first = self.slab.node(parent).first_child;
            if first != NONE {
                self.slab.node_mut(first).previous_sibling = id;
            }
            let node = self.slab.node_mut(id);
            node.parent = parent;
            node.next_sibling = first;
            let parent = self.slab.node_mut(parent);
            parent.first_child = id;
            parent.child_count += 1;
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
        self.update_digest(id);
        id
    }

    /// Removes a node that has no children.
    fn remove(&mut self, id: NodeId) {
        let parent = self.slab.node(id).parent;
        // The parent shows one child less, though nothing of it changes that a snapshot holds.
        snapshot::before_change(&mut self.snapshot, &self.slab, id);
        let node = self.slab.node(id);
        let (previous, next) = (node.previous_sibling, node.next_sibling);
        let (acl, digest) = (node.acl, node.digest);
        self.data_size -= node.path().len() as u64 + data_len(node.data.as_deref());
        match Ownership::of(node.stat().ephemeral_owner) {
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
        if previous == NONE {
            self.slab.node_mut(parent).first_child = next;
        } else {
            self.slab.node_mut(previous).next_sibling = next;
        }
        if next != NONE {
            self.slab.node_mut(next).previous_sibling = previous;
        }
        self.slab.node_mut(parent).child_count -= 1;
        self.digest = self.digest.wrapping_sub(u64::from(digest));
        self.acls.release(acl);
        self.index.remove(&self.slab, id);
        self.slab.remove(id);
    }
}

/// A znode, borrowed from its tree.
#[derive(Debug, Clone, Copy)]
pub struct NodeRef<'a> {
    tree: &'a DataTree,
    id: NodeId,
}

impl<'a> NodeRef<'a> {
    fn node(&self) -> &'a Node {
        self.tree.slab.node(self.id)
    }

    /// Its path, `/` for the root.
    pub fn path(&self) -> &'a str {
        match self.node().path() {
            "" => "/",
            path => path,
        }
    }

    /// Its data; `None` is null.
    pub fn data(&self) -> Option<&'a [u8]> {
        self.node().data.as_deref()
    }

    /// What a client sees.
    pub fn stat(&self) -> Stat {
        self.tree.stat(self.id)
    }

    /// What is stored.
    pub fn stat_persisted(&self) -> StatPersisted {
        self.node().stat()
    }

    /// The stored count of children ever created, which the next sequential child gets as its number.
    pub fn cversion_stored(&self) -> i32 {
        self.node().stat().cversion
    }

    /// Who may do what.
    pub fn acl(&self) -> &'a AclList {
        self.tree.acls.get(self.node().acl)
    }

    /// The field as stored: see [`Ownership`].
    pub fn ephemeral_owner(&self) -> i64 {
        self.node().stat().ephemeral_owner
    }

    /// How many children it has.
    pub fn child_count(&self) -> usize {
        self.node().child_count as usize
    }

    /// What it adds to the tree's digest.
    pub fn digest(&self) -> u64 {
        u64::from(self.node().digest)
    }

    /// The node above it; `None` for the root.
    pub fn parent(&self) -> Option<NodeRef<'a>> {
        let parent = self.node().parent;
        (parent != NONE).then_some(NodeRef { tree: self.tree, id: parent })
    }

    fn first_child(&self) -> Option<NodeRef<'a>> {
        let id = self.node().first_child;
        (id != NONE).then_some(NodeRef { tree: self.tree, id })
    }

    fn next_sibling(&self) -> Option<NodeRef<'a>> {
        let id = self.node().next_sibling;
        (id != NONE).then_some(NodeRef { tree: self.tree, id })
    }

    /// The names of its children, in no order.
    pub fn children(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let skip = self.node().path().len() + 1;
        self.child_nodes().map(move |child| child.node().path().get(skip..).unwrap_or_default())
    }

    /// Its children, in no order.
    pub fn child_nodes(&self) -> impl Iterator<Item = NodeRef<'a>> + use<'a> {
        let tree = self.tree;
        let mut next = self.node().first_child;
        std::iter::from_fn(move || {
            if next == NONE {
                return None;
            }
            let id = next;
            next = tree.slab.node(id).next_sibling;
            Some(NodeRef { tree, id })
        })
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
