//! The tree against a model, snapshots taken while it changes, and depth.

use proptest::prelude::*;

use super::snapshot::Step as WalkerStep;
use super::*;
use crate::zookeeper::database::Database;
use crate::zookeeper::storage::read_snapshot;
use crate::zookeeper::test_history::{Model, steps};
use crate::zookeeper::txn::apply::{apply, replay};
use crate::zookeeper::txn::record::{CreateTxn, Txn, TxnHeader};

#[test]
fn a_new_tree_is_a_fresh_zookeepers() {
    let tree = DataTree::new(true);
    assert_eq!(tree.node_count(), 5);
    assert_eq!(tree.data_size(), 44);
    assert_eq!(tree.node("/").unwrap().stat().cversion, -1);
    assert_eq!(tree.node("/zookeeper").unwrap().stat().cversion, -2);
    assert_eq!(tree.node("/zookeeper/config").unwrap().stat().aversion, -1);
    assert_eq!(tree.node("").unwrap().path(), "/");
    assert_eq!(tree.node("/").unwrap().path(), "/");
    assert_eq!(parent_path("/a/b"), Some("/a"));
    assert_eq!(parent_path("/a"), Some(""));
    assert_eq!((parent_path("/"), parent_path(""), parent_path("a")), (None, None, None));
}

fn check(database: &Database, model: &Model) {
    let tree = &database.tree;
    assert_eq!(model.difference(&Model::of(database)), None);
    assert_eq!(tree.digest(), model.digest());
    assert_eq!(tree.node_count(), model.nodes.len() + 1);
    let size: usize =
        model.nodes.iter().map(|(path, n)| path.len() + n.data.as_ref().map_or(0, Vec::len)).sum();
    assert_eq!(tree.data_size(), size as u64);
    let owned: usize = model.sessions.keys().map(|id| tree.ephemerals(*id).count()).sum();
    assert_eq!(tree.ephemeral_count(), owned);
    for node in tree.nodes() {
        let mut names: Vec<&str> = node.children().collect();
        names.sort_unstable();
        let prefix = if node.path() == "/" { "/".to_owned() } else { format!("{}/", node.path()) };
        let below = model.nodes.keys().filter_map(|path| path.strip_prefix(&prefix));
        let expected: Vec<&str> =
            below.filter(|name| !name.is_empty() && !name.contains('/')).collect();
        assert_eq!(names, expected, "children of {}", node.path());
        assert_eq!(node.child_count(), names.len());
        assert_eq!(tree.node(&node.path()).unwrap().id, node.id);
    }
}

/// A snapshot file's bytes around the nodes that a walker gave.
fn load(snapshot: &crate::zookeeper::database::DatabaseSnapshot, nodes: &[u8]) -> Database {
    let mut loader = TreeLoader::new(true);
    for (key, list) in &snapshot.tree.acls {
        loader.add_acl(*key, list);
        assert!(!list.is_empty(), "ZooKeeper takes an empty list for open");
    }
    let mut reader = crate::zookeeper::jute::Reader::new(nodes);
    while !reader.is_empty() {
        let path = reader.required_string("path").unwrap();
        let data = reader.buffer().unwrap();
        let acl = reader.long().unwrap();
        let stat = StatPersisted::read(&mut reader).unwrap();
        loader.add_node(path, data, acl, &stat).unwrap();
    }
    let (tree, lost) = loader.finish(snapshot.tree.zxid).unwrap();
    assert!(lost.is_empty());
    Database { tree, sessions: snapshot.sessions.iter().copied().collect() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_as_the_models(steps in steps(0..150)) {
        let mut database = Database::new(true);
        let mut model = Model::new();
        let mut changes = Vec::new();
        for step in &steps {
            let (header, txn) = model.transaction(step);
            changes.clear();
            apply(&mut database, &header, &txn, &mut changes);
            model.apply(&header, &txn);
            if let Some(difference) = model.difference(&Model::of(&database)) {
                prop_assert!(false, "after {:?}: {}", txn, difference);
            }
            prop_assert_eq!(database.tree.digest(), model.digest());
        }
        check(&database, &model);
    }

    #[test]
    fn a_snapshot_is_of_its_moment(
        before in steps(0..120),
        during in steps(0..120),
        pace in 1_usize..9,
    ) {
        let mut database = Database::new(true);
        let mut model = Model::new();
        for step in &before {
            let (header, txn) = model.transaction(step);
            replay(&mut database, &header, &txn);
            model.apply(&header, &txn);
        }
        let then = model.clone();
        let snapshot = database.begin_snapshot().unwrap();
        prop_assert!(database.begin_snapshot().is_none(), "one at a time");
        let mut nodes = Vec::new();
        let mut done = false;
        for (position, step) in during.iter().enumerate() {
            let (header, txn) = model.transaction(step);
            replay(&mut database, &header, &txn);
            model.apply(&header, &txn);
            if position % pace == 0 && !done {
                done = snapshot.tree.step_by(1, &database.tree, &mut nodes) == WalkerStep::Done;
            }
        }
        while !done {
            done = snapshot.tree.step_by(1, &database.tree, &mut nodes) == WalkerStep::Done;
        }
        check(&load(&snapshot, &nodes), &then);
        prop_assert_eq!(snapshot.tree.digest, then.digest());
        drop(snapshot);
        check(&database, &model);
        prop_assert!(database.begin_snapshot().is_some(), "the next one can begin");
    }

    /// ZooKeeper's snapshots hold, for some nodes, what came after their zxid. Sessions end with the
    /// list of their ephemerals, as since ZooKeeper 3.6: without it, the end of a session passes over
    /// an ephemeral that somebody else has made anew since, which so keeps what was set before the
    /// end (ZOOKEEPER-3145 added the list).
    #[test]
    fn replay_over_a_tree_that_is_ahead_ends_the_same(
        before in steps(0..60),
        during in steps(0..60),
    ) {
        let mut database = Database::new(true);
        let mut model = Model::new();
        for step in &before {
            let (header, txn) = model.transaction(step);
            replay(&mut database, &header, &txn);
            model.apply(&header, &txn);
        }
        let mut log = Vec::new();
        for step in &during {
            let (header, mut txn) = model.transaction(step);
            if let Txn::CloseSession { paths } = &mut txn {
                *paths = Some(model.owned(header.client_id));
            }
            replay(&mut database, &header, &txn);
            model.apply(&header, &txn);
            log.push((header, txn));
        }
        // All of it again: as if the whole tree had been written after the last transaction.
        for (header, txn) in &log {
            replay(&mut database, header, txn);
        }
        let shape = |model: &Model| -> Vec<(String, Option<Vec<u8>>, i32)> {
            let node = |(path, n): (&String, &crate::zookeeper::test_history::ModelNode)| {
                (path.clone(), n.data.clone(), n.stat.num_children)
            };
            model.nodes.iter().map(node).collect()
        };
        prop_assert_eq!(shape(&Model::of(&database)), shape(&model));
    }
}

/// A stack that no recursion over the levels would fit on.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(160 << 10).spawn(test).unwrap().join().unwrap();
}

#[test]
fn depth_costs_no_stack() {
    const LEVELS: usize = 5_000;
    on_a_small_stack(|| {
        let mut database = Database::new(true);
        let mut zxid = 0;
        let mut run = |database: &mut Database, txn: &Txn| {
            zxid += 1;
            replay(database, &TxnHeader { client_id: 1, cxid: 0, zxid, time: 0 }, txn)
        };
        let path = "/d".repeat(LEVELS);
        for level in 1..=LEVELS {
            let path = path[..2 * level].to_owned();
            let create = CreateTxn { path, data: None, acl: open_acl_unsafe(), parent_cversion: 1 };
            run(&mut database, &Txn::Create { create, ephemeral: false, with_stat: false });
        }
        assert_eq!(database.tree.node_count(), LEVELS + 5);
        let snapshot = database.begin_snapshot().unwrap();
        // The deepest changes first, and takes all above it into the snapshot.
        run(&mut database, &Txn::SetData { path: path.clone(), data: None, version: 1 });
        let mut nodes = Vec::new();
        while snapshot.tree.step(&database.tree, &mut nodes) == WalkerStep::More {}
        let loaded = load(&snapshot, &nodes);
        assert_eq!(loaded.tree.digest(), snapshot.tree.digest);
        assert_eq!(loaded.tree.node(&path).unwrap().stat().version, 0);
        // The topmost goes, and all below it.
        run(&mut database, &Txn::Delete { path: "/d".to_owned() });
        assert_eq!(database.tree.node_count(), 5);
        assert_eq!(database.tree.data_size(), 44);
    });
}

/// CVE-2026-115448: what a snapshot of a deep tree does at once is bounded, however long its paths are,
/// and no memory is taken for paths.
#[test]
fn cve_2026_115448_deep_trees_are_loaded_and_written_in_small_steps() {
    const LEVELS: usize = 3_000;
    on_a_small_stack(|| {
        let stat = StatPersisted::default();
        let mut loader = TreeLoader::new(false);
        loader.add_node("", None, -1, &stat).unwrap();
        // A chain, and on the way back up a leaf at each level.
        for level in 1..=LEVELS {
            loader.add_node(&"/d".repeat(level), Some(b"d"), -1, &stat).unwrap();
        }
        for level in (1..LEVELS).rev() {
            loader.add_node(&format!("{}/leaf", "/d".repeat(level)), None, -1, &stat).unwrap();
        }
        let (mut tree, _) = loader.finish(1).unwrap();
        assert_eq!(tree.node("/").unwrap().descendant_count(), 2 * LEVELS - 1);
        let middle = "/d".repeat(LEVELS / 2);
        assert_eq!(tree.node(&middle).unwrap().descendant_count(), LEVELS);
        assert_eq!(tree.node(&middle).unwrap().path(), middle);

        let snapshot = tree.begin_snapshot().unwrap();
        // The deepest is kept as it was, and goes; another takes its place, and stays out.
        let deepest = "/d".repeat(LEVELS);
        tree.delete(&deepest, 2, |_, _, _| ()).unwrap();
        tree.create(&format!("{middle}/new"), None, &open_acl_unsafe(), &stat, -1).unwrap();
        let mut paths = HashSet::new();
        let mut piece = Vec::new();
        let mut more = true;
        while more {
            more = snapshot.step(&tree, &mut piece) == WalkerStep::More;
            assert!(piece.len() < (256 << 10) + deepest.len() + 200, "{} bytes", piece.len());
            let mut reader = crate::zookeeper::jute::Reader::new(&piece);
            while !reader.is_empty() {
                let path = reader.required_string("path").unwrap().to_owned();
                let parent = parent_path(&path).map_or_else(String::new, str::to_owned);
                assert!(path.is_empty() || paths.contains(&parent), "parents first");
                reader.buffer().unwrap();
                reader.long().unwrap();
                StatPersisted::read(&mut reader).unwrap();
                assert!(paths.insert(path), "each once");
            }
            piece.clear();
        }
        assert_eq!(paths.len(), 2 * LEVELS);
        assert!(paths.contains(&deepest));
        assert!(
            paths.contains(&format!("{middle}/leaf")) && !paths.contains(&format!("{middle}/new"))
        );
        assert_eq!(tree.node("/").unwrap().descendant_count(), 2 * LEVELS - 1);
    });
}

#[test]
fn what_is_no_snapshot_is_no_tree() {
    assert!(read_snapshot(&b"ZKSN"[..], 0, true).is_err());
    let mut loader = TreeLoader::new(true);
    let stat = StatPersisted::default();
    assert_eq!(loader.add_node("/a", None, -1, &stat), Err(LoadError::NoRoot));
    loader.add_node("", None, -1, &stat).unwrap();
    assert_eq!(loader.add_node("", None, -1, &stat), Err(LoadError::Twice("/".to_owned())));
    assert_eq!(loader.add_node("/a/b", None, -1, &stat), Err(LoadError::NoParent("/a/b".into())));
    assert_eq!(loader.add_node("a", None, -1, &stat), Err(LoadError::NoParent("a".into())));
    loader.add_node("/a", None, 77, &stat).unwrap();
    assert_eq!(loader.add_node("/a", None, -1, &stat), Err(LoadError::Twice("/a".to_owned())));
    let (tree, lost) = loader.finish(5).unwrap();
    assert_eq!(lost.into_iter().collect::<Vec<_>>(), [77]);
    assert_eq!(tree.node("/a").unwrap().acl()[0].perms, 0, "lost means closed");
    assert_eq!(tree.last_zxid(), 5);
}
