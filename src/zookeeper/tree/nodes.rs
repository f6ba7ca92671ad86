//! The nodes and how they hang together. What every node has lies in one slab; what only parents have,
//! and what is rarely set, in another, for those that need it.

use super::content::Content;
use super::names::{Names, Packed};
use super::slab::{NONE, Place, Slab};
use crate::zookeeper::stat::StatPersisted;

/// A node's place. Reused after the node is gone.
pub(super) type NodeId = Place;

/// Children beyond which their names are packed beside the list of them, and of which at least half
/// have to go before that ends.
const WIDE: u32 = 4_096;

/// The root's place.
pub(super) const ROOT: NodeId = 0;

/// What every znode has. A million of them are a million times this.
#[derive(Debug, Default)]
pub(super) struct Node {
    content: Content,
    czxid: i64,
    mzxid: i64,
    ctime: i64,
    mtime: i64,
    version: i32,
    pub(super) acl: u32,
    pub(super) digest: u32,
    /// The index's hash of its path.
    pub(super) hash: u32,
    pub(super) parent: NodeId,
    next_sibling: NodeId,
    previous_sibling: NodeId,
    /// Where the rest of it is; `NONE` if that is all zero, and its pzxid is its czxid.
    more: Place,
}

impl Node {
    /// The last part of its path; the root's is empty.
    pub(super) fn name(&self) -> &[u8] {
        self.content.name()
    }

    /// Its data; `None` is null.
    pub(super) fn data(&self) -> Option<&[u8]> {
        self.content.data()
    }

    pub(super) fn data_len(&self) -> usize {
        self.data().map_or(0, <[u8]>::len)
    }

    pub(super) fn set_data(&mut self, data: Option<&[u8]>) {
        self.content = Content::new(self.content.name(), data);
    }
}

/// What a parent has, and what is rarely set.
#[derive(Debug)]
struct More {
    pzxid: i64,
    ephemeral_owner: i64,
    cversion: i32,
    aversion: i32,
    first_child: NodeId,
    child_count: u32,
    descendant_count: u32,
    /// The names of the children, where they are very many.
    names: Option<Box<Packed>>,
}

impl Default for More {
    fn default() -> Self {
        More {
            pzxid: 0,
            ephemeral_owner: 0,
            cversion: 0,
            aversion: 0,
            first_child: NONE,
            child_count: 0,
            descendant_count: 0,
            names: None,
        }
    }
}

/// The nodes by id.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Slab<Node>,
    more: Slab<More>,
}

impl Nodes {
    pub(super) fn new() -> Self {
        Nodes { nodes: Slab::new(), more: Slab::new() }
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// One more than the highest id ever given out.
    pub(super) fn end(&self) -> NodeId {
        self.nodes.end()
    }

    /// Whether there is a node at an id that was given out once.
    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.get(id).content.is_some()
    }

    /// The node at `id`, which the caller knows to be there.
    pub(super) fn get(&self, id: NodeId) -> &Node {
        self.nodes.get(id)
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(id)
    }

    fn more(&self, id: NodeId) -> Option<&More> {
        let more = self.get(id).more;
        (more != NONE).then(|| self.more.get(more))
    }

    fn more_mut(&mut self, id: NodeId) -> &mut More {
        let Node { more, czxid, .. } = *self.get(id);
        if more != NONE {
            return self.more.get_mut(more);
        }
        let place = self.more.insert(More { pzxid: czxid, ..More::default() });
        self.get_mut(id).more = place;
        self.more.get_mut(place)
    }

    pub(super) fn stat(&self, id: NodeId) -> StatPersisted {
        let node = self.get(id);
        let mut stat = StatPersisted {
            czxid: node.czxid,
            mzxid: node.mzxid,
            ctime: node.ctime,
            mtime: node.mtime,
            version: node.version,
            pzxid: node.czxid,
            ..StatPersisted::default()
        };
        if let Some(more) = self.more(id) {
            stat.cversion = more.cversion;
            stat.aversion = more.aversion;
            stat.ephemeral_owner = more.ephemeral_owner;
            stat.pzxid = more.pzxid;
        }
        stat
    }

    pub(super) fn set_stat(&mut self, id: NodeId, stat: &StatPersisted) {
        let node = self.get_mut(id);
        node.czxid = stat.czxid;
        node.mzxid = stat.mzxid;
        node.ctime = stat.ctime;
        node.mtime = stat.mtime;
        node.version = stat.version;
        let plain = stat.cversion == 0
            && stat.aversion == 0
            && stat.ephemeral_owner == 0
            && stat.pzxid == stat.czxid;
        if node.more != NONE || !plain {
            let more = self.more_mut(id);
            more.cversion = stat.cversion;
            more.aversion = stat.aversion;
            more.ephemeral_owner = stat.ephemeral_owner;
            more.pzxid = stat.pzxid;
        }
    }

    pub(super) fn ephemeral_owner(&self, id: NodeId) -> i64 {
        self.more(id).map_or(0, |more| more.ephemeral_owner)
    }

    pub(super) fn first_child(&self, id: NodeId) -> NodeId {
        self.more(id).map_or(NONE, |more| more.first_child)
    }

    pub(super) fn next_sibling(&self, id: NodeId) -> NodeId {
        self.get(id).next_sibling
    }

    pub(super) fn child_count(&self, id: NodeId) -> u32 {
        self.more(id).map_or(0, |more| more.child_count)
    }

    /// The names of the children, where they are very many.
    pub(super) fn packed_children(&self, id: NodeId) -> Option<&Names> {
        self.more(id)?.names.as_ref().map(|packed| packed.names())
    }

    /// The names of the children, packed.
    fn pack_children(&self, id: NodeId) -> Packed {
        let mut packed = Packed::new();
        let mut child = self.first_child(id);
        while child != NONE {
            let node = self.get(child);
            packed.insert(node.name());
            child = node.next_sibling;
        }
        packed
    }

    /// How many nodes are below it.
    pub(super) fn descendant_count(&self, id: NodeId) -> u32 {
        self.more(id).map_or(0, |more| more.descendant_count)
    }

    /// So many nodes more are below `id`, and so below all above it.
    pub(super) fn add_descendants(&mut self, mut id: NodeId, count: u32) {
        while id != NONE {
            self.more_mut(id).descendant_count += count;
            id = self.get(id).parent;
        }
    }

    /// So many nodes less are below `id`, and so below all above it.
    pub(super) fn subtract_descendants(&mut self, mut id: NodeId, count: u32) {
        while id != NONE {
            self.more_mut(id).descendant_count -= count;
            id = self.get(id).parent;
        }
    }

    /// Counts all descendants, where every node has a higher id than its parent.
    pub(super) fn count_descendants(&mut self) {
        for id in (0..self.end()).rev() {
            let parent = self.get(id).parent;
            if parent != NONE {
                let count = self.descendant_count(id) + 1;
                self.more_mut(parent).descendant_count += count;
            }
        }
    }

    /// Adds a node below `parent`, which is `NONE` for the root alone. Its descendants are counted
    /// apart.
    pub(super) fn insert(
        &mut self,
        parent: NodeId,
        name: &[u8],
        data: Option<&[u8]>,
        (hash, acl): (u32, u32),
        stat: &StatPersisted,
    ) -> NodeId {
        let next_sibling = if parent == NONE { NONE } else { self.first_child(parent) };
        let id = self.nodes.insert(Node {
            content: Content::new(name, data),
            acl,
            hash,
            parent,
            next_sibling,
            previous_sibling: NONE,
            more: NONE,
            ..Node::default()
        });
        self.set_stat(id, stat);
        if next_sibling != NONE {
            self.get_mut(next_sibling).previous_sibling = id;
        }
        if parent != NONE {
            let more = self.more_mut(parent);
            more.first_child = id;
            more.child_count += 1;
            if let Some(names) = &mut more.names {
                names.insert(name);
            } else if more.child_count > WIDE {
                let packed = Box::new(self.pack_children(parent));
                self.more_mut(parent).names = Some(packed);
            }
        }
        id
    }

    /// Removes a node that has no children and is not the root.
    pub(super) fn remove(&mut self, id: NodeId) {
        let node = self.nodes.remove(id);
        let Node { parent, next_sibling: next, previous_sibling: previous, more, .. } = node;
        if more != NONE {
            self.more.remove(more);
        }
        if next != NONE {
            self.get_mut(next).previous_sibling = previous;
        }
        if previous != NONE {
            self.get_mut(previous).next_sibling = next;
        }
        let parent = self.more_mut(parent);
        if previous == NONE {
            parent.first_child = next;
        }
        parent.child_count -= 1;
        if parent.child_count < WIDE / 2 {
            parent.names = None;
        } else if let Some(names) = &mut parent.names {
            names.remove(node.name());
        }
    }

    /// Whether the path of the node at `id` is `path`, the root's being empty.
    pub(super) fn is_at(&self, mut id: NodeId, path: &str) -> bool {
        let mut rest = path.as_bytes();
        while id != ROOT {
            let node = self.get(id);
            let above = rest.strip_suffix(node.name()).and_then(|above| above.strip_suffix(b"/"));
            let Some(above) = above else { return false };
            rest = above;
            id = node.parent;
        }
        rest.is_empty()
    }

    /// The path of a node, the root's being empty.
    pub(super) fn path(&self, id: NodeId) -> String {
        let (mut length, mut above) = (0, id);
        while above != ROOT {
            let node = self.get(above);
            length += 1 + node.name().len();
            above = node.parent;
        }
        let mut bytes = vec![b'/'; length];
        let (mut end, mut above) = (length, id);
        while above != ROOT {
            let node = self.get(above);
            let start = end - node.name().len();
            bytes[start..end].copy_from_slice(node.name());
            end = start - 1;
            above = node.parent;
        }
        // Names were parts of paths that are UTF-8.
        String::from_utf8(bytes).unwrap_or_default()
    }
}
