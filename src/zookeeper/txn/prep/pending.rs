//! The tree as the requests of a batch leave it, before any of them is applied
//! (`ZooKeeperServer.outstandingChanges`), with an undo list for the multi that fails.

use bytes::Bytes;
use hashbrown::HashMap;

use super::quota::Charges;
use crate::zookeeper::acl::AclList;
use crate::zookeeper::path;
use crate::zookeeper::proto::ErrorCode;
use crate::zookeeper::stat::StatPersisted;
use crate::zookeeper::tree::DataTree;
use crate::zookeeper::tree::digest::node_digest;

/// Data as a batch leaves it.
#[derive(Debug, Clone)]
enum Data<'a> {
    /// The tree's.
    Unchanged(Option<&'a [u8]>),
    /// Set in this batch.
    Set(Option<Bytes>),
}

/// What the batch has made of a node.
#[derive(Debug, Clone)]
enum Entry<'a> {
    Present(PendingNode<'a>),
    Deleted,
}

/// A znode as checks see it.
#[derive(Debug, Clone)]
pub(super) struct PendingNode<'a> {
    pub(super) stat: StatPersisted,
    pub(super) acl: AclList,
    pub(super) children: usize,
    data: Data<'a>,
    digest: u64,
}

/// What undoes a multi.
#[derive(Debug, Default)]
struct Undo<'a> {
    /// What `nodes` held before each change.
    entries: Vec<(Box<str>, Option<Entry<'a>>)>,
    created: usize,
    digest: u64,
    charges: Charges,
}

/// What the batch has changed so far, over the tree.
#[derive(Debug)]
pub(super) struct Pending<'a> {
    tree: &'a DataTree,
    nodes: HashMap<Box<str>, Entry<'a>>,
    /// Ephemerals created in this batch, with their sessions, gone or not.
    created: Vec<(i64, Box<str>)>,
    /// While a multi is being prepared.
    undo: Option<Undo<'a>>,
    digest: u64,
    /// Kept where quotas are enforced.
    charges: Option<Charges>,
    /// What a soft quota had to say.
    warning: Option<String>,
    /// The paths that a hard quota refused.
    exceeded: Vec<String>,
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The root has one name here; the tree knows two.
fn key(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

impl<'a> Pending<'a> {
    pub(super) fn new(tree: &'a DataTree, enforce_quota: bool) -> Self {
        Pending {
            tree,
            nodes: HashMap::new(),
            created: Vec::new(),
            undo: None,
            digest: tree.digest(),
            charges: enforce_quota.then(Charges::default),
            warning: None,
            exceeded: Vec::new(),
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

    pub(super) fn node(&self, path: &str) -> Option<PendingNode<'a>> {
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
            data: Data::Unchanged(node.data()),
            digest: node.digest(),
        })
    }

    /// From here on, until [`Pending::keep`], all can be rolled back.
    pub(super) fn mark(&mut self) {
        let (created, digest) = (self.created.len(), self.digest);
        let charges = self.charges.clone().unwrap_or_default();
        self.undo = Some(Undo { entries: Vec::new(), created, digest, charges });
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
        if let Some(charges) = &mut self.charges {
            *charges = undo.charges;
        }
    }

    /// What a soft quota had to say about this batch, once.
    pub(super) fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    /// The paths that a hard quota refused in this batch, once.
    pub(super) fn take_exceeded(&mut self) -> Vec<String> {
        std::mem::take(&mut self.exceeded)
    }

    /// Whether the quota above `path` allows a node with `data` there: a new one, or in place of what
    /// it has.
    pub(super) fn check_quota(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        create: bool,
    ) -> Result<(), ErrorCode> {
        let Some(charges) = &self.charges else { return Ok(()) };
        let before = if create { 0 } else { self.data_len(path) };
        let bytes = length(data.map_or(0, <[u8]>::len)) - before;
        let checked = charges.check(self.tree, path, i64::from(create), bytes, &mut self.warning);
        if checked.is_err() {
            self.exceeded.push(path.to_owned());
        }
        checked
    }

    fn charge(&mut self, path: &str, count: i64, bytes: i64) {
        if let Some(charges) = &mut self.charges {
            charges.add(self.tree, path, count, bytes);
        }
    }

    fn data_len(&self, path: &str) -> i64 {
        let of_tree = || self.tree.node(path).and_then(|node| node.data()).map_or(0, <[u8]>::len);
        length(match self.nodes.get(key(path)) {
            Some(Entry::Present(PendingNode { data: Data::Set(data), .. })) => {
                data.as_ref().map_or(0, Bytes::len)
            }
            Some(Entry::Deleted) => 0,
            Some(Entry::Present(_)) | None => of_tree(),
        })
    }

    /// The paths that a session owns now, sorted.
    pub(super) fn ephemerals(&self, session: i64) -> Vec<String> {
        let of_tree = self.tree.ephemerals(session);
        let of_batch = self.created.iter().filter(|(owner, _)| *owner == session);
        let mut paths: Vec<String> = of_tree
            .chain(of_batch.map(|(_, path)| path.to_string()))
            .filter(|path| match self.nodes.get(path.as_str()) {
                Some(Entry::Present(node)) => node.stat.ephemeral_owner == session,
                Some(Entry::Deleted) => false,
                None => true,
            })
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Creates a node below `parent`, which is as [`Pending::node`] gave it.
    pub(super) fn create(
        &mut self,
        path: &str,
        stat: StatPersisted,
        data: Option<Bytes>,
        acl: AclList,
        mut parent: PendingNode<'a>,
        parent_stat: StatPersisted,
    ) {
        self.charge(path, 1, length(data.as_ref().map_or(0, Bytes::len)));
        if let Some(parent_path) = path::parent(path) {
            parent.stat = parent_stat;
            parent.children += 1;
            self.put(parent_path, parent);
        }
        if stat.ephemeral_owner != 0 {
            self.created.push((stat.ephemeral_owner, path.into()));
        }
        self.put(path, PendingNode { stat, acl, children: 0, data: Data::Set(data), digest: 0 });
    }

    /// Sets the data of a node, which is as [`Pending::node`] gave it.
    pub(super) fn set_data(
        &mut self,
        path: &str,
        node: PendingNode<'a>,
        stat: StatPersisted,
        data: Option<Bytes>,
    ) {
        if self.charges.is_some() {
            let bytes = length(data.as_ref().map_or(0, Bytes::len)) - self.data_len(path);
            self.charge(path, 0, bytes);
        }
        self.put(path, PendingNode { stat, data: Data::Set(data), ..node });
    }

    /// Sets the ACL of a node, which is as [`Pending::node`] gave it.
    pub(super) fn set_acl(
        &mut self,
        path: &str,
        node: PendingNode<'a>,
        stat: StatPersisted,
        acl: AclList,
    ) {
        self.put(path, PendingNode { stat, acl, ..node });
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
            if self.charges.is_some() {
                self.charge(path, -1, -self.data_len(path));
            }
            self.digest = self.digest.wrapping_sub(node.digest);
            self.replace(path, Entry::Deleted);
        }
    }

    fn put(&mut self, path: &str, mut node: PendingNode<'a>) {
        if self.tree.digest_enabled() {
            let data = match &node.data {
                Data::Set(data) => data.as_deref(),
                Data::Unchanged(data) => *data,
            };
            let digest = node_digest(path, data, &node.stat);
            self.digest = self.digest.wrapping_sub(node.digest).wrapping_add(digest);
            node.digest = digest;
        }
        self.replace(path, Entry::Present(node));
    }

    fn replace(&mut self, path: &str, entry: Entry<'a>) {
        let path = key(path);
        let before = self.nodes.insert(path.into(), entry);
        if let Some(undo) = &mut self.undo {
            undo.entries.push((path.into(), before));
        }
    }
}
