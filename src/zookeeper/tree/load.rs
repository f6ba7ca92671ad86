//! Building a tree from the nodes of a snapshot, one after the other.

use std::collections::{BTreeSet, HashMap};

use super::acl_table::{OPEN, closed};
use super::nodes::NodeId;
use super::slab::NONE;
use super::{DataTree, parent_path};
use crate::zookeeper::acl::AclList;
use crate::zookeeper::stat::StatPersisted;

/// Why nodes do not make a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A child came before its parent, or has none.
    #[error("node {0} has no parent")]
    NoParent(String),
    /// The same path twice.
    #[error("node {0} appears twice")]
    Twice(String),
    /// The first node is not the root.
    #[error("the first node is not the root")]
    NoRoot,
}

/// A tree in the making.
#[derive(Debug)]
pub struct TreeLoader {
    tree: DataTree,
    /// The tree's number of each of the snapshot's ACL keys.
    acls: HashMap<i64, u32>,
    lost_acls: BTreeSet<i64>,
    /// The last node and its path: the next one is mostly near it, and looking up its parent would
    /// mean climbing to the root.
    last: NodeId,
    last_path: String,
}

impl TreeLoader {
    /// An empty tree.
    pub fn new(digest_enabled: bool) -> Self {
        TreeLoader {
            tree: DataTree::empty(digest_enabled),
            acls: HashMap::from([(-1, OPEN)]),
            lost_acls: BTreeSet::new(),
            last: NONE,
            last_path: String::new(),
        }
    }

    /// An entry of the snapshot's ACL table.
    pub fn add_acl(&mut self, key: i64, list: &AclList) {
        let number = self.tree.acls.acquire(list);
        if key == -1 {
            // Whatever the table says, -1 is the open ACL.
            self.tree.acls.release(number);
        } else if let Some(before) = self.acls.insert(key, number) {
            self.tree.acls.release(before);
        }
    }

    /// A node, after its parent; the root, whose path is empty, first. A node may name an ACL that
    /// the table lacks, since ZooKeeper writes the table first and goes on working meanwhile: a later
    /// transaction in the log sets it then; if none does, nobody may touch the node.
    pub fn add_node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_key: i64,
        stat: &StatPersisted,
    ) -> Result<(), LoadError> {
        let parent = self.parent(path)?;
        let hash = self.tree.index.hash(path);
        if parent != NONE && self.tree.index.find(&self.tree.nodes, path, hash).is_some() {
            return Err(LoadError::Twice(path.to_owned()));
        }
        let acl = if let Some(&number) = self.acls.get(&acl_key) {
            self.tree.acls.acquire_number(number)
        } else {
            self.lost_acls.insert(acl_key);
            self.tree.acls.acquire(closed())
        };
        self.last = self.tree.insert_below(parent, path, hash, data, acl, stat);
        self.last_path.clear();
        self.last_path.push_str(path);
        Ok(())
    }

    fn parent(&self, path: &str) -> Result<NodeId, LoadError> {
        if path.is_empty() {
            return match self.tree.nodes.len() {
                0 => Ok(NONE),
                _ => Err(LoadError::Twice("/".to_owned())),
            };
        }
        if self.tree.nodes.len() == 0 {
            return Err(LoadError::NoRoot);
        }
        let no_parent = || LoadError::NoParent(path.to_owned());
        let parent = parent_path(path).ok_or_else(no_parent)?;
        match self.last_path.strip_prefix(parent) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let levels = rest.bytes().filter(|&byte| byte == b'/').count();
                let above = |id, _| if id == NONE { NONE } else { self.tree.nodes.get(id).parent };
                Ok((0..levels).fold(self.last, above))
            }
            _ => self.tree.find(parent).ok_or_else(no_parent),
        }
    }

    /// The tree at `zxid`, and the ACL keys that the table lacked.
    pub fn finish(mut self, zxid: i64) -> Result<(DataTree, BTreeSet<i64>), LoadError> {
        if self.tree.nodes.len() == 0 {
            return Err(LoadError::NoRoot);
        }
        // The table's own hold on the lists ends: those that no node uses go.
        for (key, number) in self.acls {
            if key != -1 {
                self.tree.acls.release(number);
            }
        }
        // Each came after its parent, and has a higher id.
        self.tree.nodes.count_descendants();
        self.tree.last_zxid = zxid;
        self.tree.set_up_quotas();
        Ok((self.tree, self.lost_acls))
    }
}
