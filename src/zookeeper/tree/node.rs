//! A znode as others see it.

use super::DataTree;
use super::names::Names;
use super::nodes::{Node, NodeId, ROOT};
use super::slab::NONE;
use crate::zookeeper::acl::AclList;
use crate::zookeeper::stat::{Stat, StatPersisted};

/// A znode, borrowed from its tree.
#[derive(Debug, Clone, Copy)]
pub struct NodeRef<'a> {
    pub(super) tree: &'a DataTree,
    pub(super) id: NodeId,
}

impl<'a> NodeRef<'a> {
    fn node(&self) -> &'a Node {
        self.tree.nodes.get(self.id)
    }

    /// The last part of its path; empty for the root.
    pub fn name(&self) -> &'a str {
        // It was a part of a path that is UTF-8.
        std::str::from_utf8(self.node().name()).unwrap_or_default()
    }

    /// Its path, `/` for the root: put together from the names above it.
    pub fn path(&self) -> String {
        if self.id == ROOT { "/".to_owned() } else { self.tree.nodes.path(self.id) }
    }

    /// Its data; `None` is null.
    pub fn data(&self) -> Option<&'a [u8]> {
        self.node().data()
    }

    /// What a client sees.
    pub fn stat(&self) -> Stat {
        self.tree.stat(self.id)
    }

    /// What is stored.
    pub fn stat_persisted(&self) -> StatPersisted {
        self.tree.nodes.stat(self.id)
    }

    /// The stored count of children ever created, which the next sequential child gets as its number.
    pub fn cversion_stored(&self) -> i32 {
        self.stat_persisted().cversion
    }

    /// Who may do what.
    pub fn acl(&self) -> &'a AclList {
        self.tree.acls.get(self.node().acl)
    }

    /// The field as stored: see [`Ownership`](crate::zookeeper::stat::Ownership).
    pub fn ephemeral_owner(&self) -> i64 {
        self.tree.nodes.ephemeral_owner(self.id)
    }

    /// How many children it has.
    pub fn child_count(&self) -> usize {
        self.tree.nodes.child_count(self.id) as usize
    }

    /// How many nodes there are below it.
    pub fn descendant_count(&self) -> usize {
        self.tree.nodes.descendant_count(self.id) as usize
    }

    /// What it adds to the tree's digest.
    pub fn digest(&self) -> u64 {
        u64::from(self.node().digest)
    }

    /// The node above it; `None` for the root.
    pub fn parent(&self) -> Option<NodeRef<'a>> {
        self.at(self.node().parent)
    }

    fn first_child(&self) -> Option<NodeRef<'a>> {
        self.at(self.tree.nodes.first_child(self.id))
    }

    fn next_sibling(&self) -> Option<NodeRef<'a>> {
        self.at(self.tree.nodes.next_sibling(self.id))
    }

    fn at(&self, id: NodeId) -> Option<NodeRef<'a>> {
        (id != NONE).then_some(NodeRef { tree: self.tree, id })
    }

    /// The names of its children, in no order.
    pub fn children(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.child_nodes().map(|child| child.name())
    }

    /// The names of its children packed as a listing has them, where it has very many.
    pub fn packed_children(&self) -> Option<&'a Names> {
        self.tree.nodes.packed_children(self.id)
    }

    /// Bytes of the names of its children in a listing, with their lengths.
    pub fn children_bytes(&self) -> usize {
        self.packed_children()
            .map_or_else(|| self.children().map(|name| 4 + name.len()).sum(), Names::bytes)
    }

    /// Its children, in no order.
    pub fn child_nodes(&self) -> impl Iterator<Item = NodeRef<'a>> + use<'a> {
        std::iter::successors(self.first_child(), NodeRef::next_sibling)
    }

    /// Shows it and every node below it, parents first, with their paths.
    pub fn walk(&self, mut see: impl FnMut(&str, NodeRef<'a>)) {
        let top = self.id;
        let mut node = *self;
        let mut path = self.tree.nodes.path(top);
        loop {
            see(if path.is_empty() { "/" } else { &path }, node);
            if let Some(child) = node.first_child() {
                node = child;
            } else {
                loop {
                    if node.id == top {
                        return;
                    }
                    path.truncate(path.len() - node.node().name().len() - 1);
                    if let Some(sibling) = node.next_sibling() {
                        node = sibling;
                        break;
                    }
                    let Some(parent) = node.parent() else { return };
                    node = parent;
                }
            }
            path.push('/');
            path.push_str(node.name());
        }
    }
}
