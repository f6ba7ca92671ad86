//! The tree as the requests of a batch leave it, before any of them is applied
//! (`ZooKeeperServer.outstandingChanges`), with an undo list for the multi that fails.

use bytes::Bytes;
use hashbrown::HashMap;

use crate::zookeeper::acl::AclList;
use crate::zookeeper::path;
use crate::zookeeper::stat::StatPersisted;
use crate::zookeeper::tree::DataTree;
use crate::zookeeper::tree::digest::node_digest;

/// Data as a batch leaves it.
#[derive(Debug, Clone)]
enum Data {
    /// The tree's.
    Unchanged,
    /// Set in this batch.
    Set(Option<Bytes>),
}

/// What the batch has made of a node.
#[derive(Debug, Clone)]
enum Entry {
    Present(PendingNode),
    Deleted,
}

/// A znode as checks see it.
#[derive(Debug, Clone)]
pub(super) struct PendingNode {
    pub(super) stat: StatPersisted,
    pub(super) acl: AclList,
    pub(super) children: usize,
    data: Data,
    digest: u64,
}

/// What undoes a multi.
#[derive(Debug, Default)]
struct Undo {
    /// What `nodes` held before each change.
    entries: Vec<(Box<str>, Option<Entry>)>,
    created: usize,
    digest: u64,
}

/// What the batch has changed so far, over the tree.
#[derive(Debug)]
pub(super) struct Pending<'a> {
    tree: &'a DataTree,
    nodes: HashMap<Box<str>, Entry>,
    /// Ephemerals created in this batch, with their sessions, gone or not.
    created: Vec<(i64, Box<str>)>,
    /// While a multi is being prepared.
    undo: Option<Undo>,
    digest: u64,
}

/// The root has one name here; the tree knows two.
fn key(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

impl<'a> Pending<'a> {
    pub(super) fn new(tree: &'a DataTree) -> Self {
        Pending {
            tree,
            nodes: HashMap::new(),
            created: Vec::new(),
            undo: None,
            digest: tree.digest(),
        }
    }

    /// The tree's digest after everything so far.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        match self.nodes.get(key(path)) {
            Some(entry) => matches!(entry, Entry::Present(_)),
            None => self.tree.contains(path),
        }
    }

    pub(super) fn node(&self, path: &str) -> Option<PendingNode> {
        match self.nodes.get(key(path)) {
            Some(Entry::Present(node)) => return Some(node.clone()),
            Some(Entry::Deleted) => return None,
            None => {}
        }
        let node = self.tree.node(path)?;
        Some(PendingNode {
            stat: node.stat_persisted(),
            acl: node.acl().clone(),
            children: node.child_count(),
            data: Data::Unchanged,
            digest: node.digest(),
        })
    }

    /// From here on, until [`Pending::keep`], all can be rolled back.
    pub(super) fn mark(&mut self) {
        let (created, digest) = (self.created.len(), self.digest);
        self.undo = Some(Undo { entries: Vec::new(), created, digest });
    }

    /// What has happened since the mark stays.
    pub(super) fn keep(&mut self) {
        self.undo = None;
    }

    /// What has happened since the mark has not.
    pub(super) fn roll_back(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        for (path, before) in undo.entries.into_iter().rev() {
            match before {
                Some(entry) => self.nodes.insert(path, entry),
                None => self.nodes.remove(&path),
            };
        }
        self.created.truncate(undo.created);
        self.digest = undo.digest;
    }

    /// The paths that a session owns now, sorted.
    pub(super) fn ephemerals(&self, session: i64) -> Vec<String> {
        let of_tree = self.tree.ephemerals(session);
        let of_batch = self.created.iter().filter(|(owner, _)| *owner == session);
        let mut paths: Vec<String> = of_tree
            .chain(of_batch.map(|(_, path)| &**path))
            .filter(|path| match self.nodes.get(*path) {
                Some(Entry::Present(node)) => node.stat.ephemeral_owner == session,
                Some(Entry::Deleted) => false,
                None => true,
            })
            .map(str::to_owned)
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    pub(super) fn create(
        &mut self,
        path: &str,
        stat: StatPersisted,
        data: Option<Bytes>,
        acl: AclList,
        parent_stat: StatPersisted,
    ) {
        if let Some(parent_path) = path::parent(path)
            && let Some(mut parent) = self.node(parent_path)
        {
            parent.stat = parent_stat;
            parent.children += 1;
            self.put(parent_path, parent);
        }
        if stat.ephemeral_owner != 0 {
            self.created.push((stat.ephemeral_owner, path.into()));
        }
        self.put(path, PendingNode { stat, acl, children: 0, data: Data::Set(data), digest: 0 });
    }

    pub(super) fn set_data(&mut self, path: &str, stat: StatPersisted, data: Option<Bytes>) {
        if let Some(mut node) = self.node(path) {
            node.stat = stat;
            node.data = Data::Set(data);
            self.put(path, node);
        }
    }

    pub(super) fn set_acl(&mut self, path: &str, stat: StatPersisted, acl: AclList) {
        if let Some(mut node) = self.node(path) {
            node.stat = stat;
            node.acl = acl;
            self.put(path, node);
        }
    }

    /// Deletes a node; its parent's pzxid shows it.
    pub(super) fn remove(&mut self, path: &str, zxid: i64) {
        if let Some(parent_path) = path::parent(path)
            && let Some(mut parent) = self.node(parent_path)
        {
            parent.stat.pzxid = zxid;
            parent.children = parent.children.saturating_sub(1);
            self.put(parent_path, parent);
        }
        if let Some(node) = self.node(path) {
            self.digest = self.digest.wrapping_sub(node.digest);
            self.replace(path, Entry::Deleted);
        }
    }

    fn put(&mut self, path: &str, mut node: PendingNode) {
        if self.tree.digest_enabled() {
            let data = match &node.data {
                Data::Set(data) => data.as_deref(),
                Data::Unchanged => self.tree.node(path).and_then(|node| node.data()),
            };
            let digest = node_digest(path, data, &node.stat);
            self.digest = self.digest.wrapping_sub(node.digest).wrapping_add(digest);
            node.digest = digest;
        }
        self.replace(path, Entry::Present(node));
    }

    fn replace(&mut self, path: &str, entry: Entry) {
        let path = key(path);
        let before = self.nodes.insert(path.into(), entry);
        if let Some(undo) = &mut self.undo {
            undo.entries.push((path.into(), before));
        }
    }
}
