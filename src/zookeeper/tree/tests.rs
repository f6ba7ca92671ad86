//! The tree by itself.

use super::*;

#[test]
fn a_new_tree_is_a_fresh_zookeepers() {
    let tree = DataTree::new(true);
    assert_eq!(tree.node_count(), 5);
    assert_eq!(tree.data_size(), 44);
    assert_eq!(tree.node("/").unwrap().stat().cversion, -1);
    assert_eq!(tree.node("/zookeeper").unwrap().stat().cversion, -2);
    assert_eq!(tree.node("/zookeeper/config").unwrap().stat().aversion, -1);
}
