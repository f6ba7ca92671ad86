//! The way from the root to the node that was written last, so that the path of the next one is put
//! together from what is new in it: a chain of a hundred thousand levels has five billion ancestors.

use super::nodes::{NodeId, Nodes};
use super::slab::NONE;

/// The path of a node, and the nodes on it.
#[derive(Debug, Default)]
pub(super) struct Trail {
    path: Vec<u8>,
    /// Ids, each with the length of its path, from the top.
    nodes: Vec<(NodeId, usize)>,
}

impl Trail {
    /// Goes to a node of the tree. Returns its path, the root's being empty.
    pub(super) fn go_to(&mut self, nodes: &Nodes, id: NodeId) -> &[u8] {
        if self.go_back(nodes.get(id).parent) {
            self.path.push(b'/');
            self.path.extend_from_slice(nodes.get(id).name());
            self.nodes.push((id, self.path.len()));
        } else {
            let mut above = id;
            while above != NONE {
                self.nodes.push((above, 0));
                above = nodes.get(above).parent;
            }
            self.nodes.reverse();
            self.path.clear();
            for (above, length) in &mut self.nodes {
                let node = nodes.get(*above);
                if node.parent != NONE {
                    self.path.push(b'/');
                    self.path.extend_from_slice(node.name());
                }
                *length = self.path.len();
            }
        }
        &self.path
    }

    /// Goes to a node that is not in the tree any more, or not as it was.
    pub(super) fn go_to_path(&mut self, parent: NodeId, id: NodeId, path: &[u8]) {
        let above = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        if self.go_back(parent) {
            self.path.extend_from_slice(&path[above..]);
        } else {
            self.path.clear();
            self.path.extend_from_slice(path);
            if parent != NONE {
                self.nodes.push((parent, above));
            }
        }
        self.nodes.push((id, path.len()));
    }

    /// Goes back to a node on the way; false if it isn't on it, and then there is no way any more.
    fn go_back(&mut self, to: NodeId) -> bool {
        while let Some(&(id, length)) = self.nodes.last() {
            if id == to {
                self.path.truncate(length);
                return true;
            }
            self.nodes.pop();
        }
        false
    }
}
