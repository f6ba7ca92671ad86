//! The watch tables: who is told of which change. Pure: firing says which watchers to tell, the
//! caller tells them.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::path::Lengths;

/// What happened to a znode, with ZooKeeper's numbers (`Watcher.Event.EventType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum EventType {
    /// The znode was created.
    NodeCreated = 1,
    /// The znode was deleted.
    NodeDeleted = 2,
    /// The znode's data was set.
    NodeDataChanged = 3,
    /// A child of the znode was created or deleted.
    NodeChildrenChanged = 4,
}

/// How a watch behaves; one path can have each of them from one watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WatchMode {
    /// One event, then it is gone.
    Standard = 1,
    /// Every event of the node, until removed.
    Persistent = 2,
    /// Every data event of the node and of all below it, until removed.
    Recursive = 4,
}

/// What `removeWatches` and `checkWatches` name (`Watcher.WatcherType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatcherType {
    /// One-shot child watches.
    Children,
    /// One-shot data watches.
    Data,
    /// Everything on the path.
    Any,
    /// Persistent watches.
    Persistent,
    /// Persistent recursive watches.
    PersistentRecursive,
}

impl WatcherType {
    /// The type with this number on the wire.
    pub fn from_wire(number: i32) -> Option<Self> {
        Some(match number {
            1 => WatcherType::Children,
            2 => WatcherType::Data,
            3 => WatcherType::Any,
            4 => WatcherType::Persistent,
            5 => WatcherType::PersistentRecursive,
            _ => return None,
        })
    }
}

/// Who watches: the number of a connection. Watches live as long as their connection.
pub type WatcherId = u64;

const ALL_MODES: u8 = 7;

/// One of ZooKeeper's two tables (`WatchManager`): a set of watchers for each path.
#[derive(Debug, Default)]
struct Table {
    by_path: HashMap<Arc<str>, Vec<WatcherId>>,
    by_watcher: HashMap<WatcherId, Owned>,
    /// The paths of the recursive watches, one for each watch.
    recursive: Lengths,
    count: usize,
}

/// What one watcher watches in one table.
#[derive(Debug, Default)]
struct Owned {
    /// The modes that it has on each path.
    modes: HashMap<Arc<str>, u8>,
    /// Bytes of the paths.
    bytes: usize,
}

impl Owned {
    fn forget(&mut self, path: &str) {
        if self.modes.remove(path).is_some() {
            self.bytes -= path.len();
        }
    }
}

/// Ends the one-shot watch that a watcher may have on a path; whether it has another one there.
fn spend(by_watcher: &mut HashMap<WatcherId, Owned>, path: &str, watcher: WatcherId) -> bool {
    let Some(owned) = by_watcher.get_mut(&watcher) else { return false };
    let Some(modes) = owned.modes.get_mut(path) else { return false };
    *modes &= !(WatchMode::Standard as u8);
    if *modes != 0 {
        return true;
    }
    owned.forget(path);
    if owned.modes.is_empty() {
        by_watcher.remove(&watcher);
    }
    false
}

impl Table {
    fn add(&mut self, path: &str, watcher: WatcherId, mode: WatchMode) {
        let owned = self.by_watcher.entry(watcher).or_default();
        let mode = mode as u8;
        let added = if let Some(modes) = owned.modes.get_mut(path) {
            let added = mode & !*modes;
            *modes |= mode;
            added
        } else {
            let path = match self.by_path.get_key_value(path) {
                Some((path, _)) => Arc::clone(path),
                None => Arc::from(path),
            };
            owned.modes.insert(Arc::clone(&path), mode);
            owned.bytes += path.len();
            self.by_path.entry(path).or_default().push(watcher);
            self.count += 1;
            mode
        };
        if added & WatchMode::Recursive as u8 != 0 {
            self.recursive.add(path);
        }
    }

    fn has(&self, path: &str, watcher: WatcherId, modes: u8) -> bool {
        self.by_watcher
            .get(&watcher)
            .and_then(|owned| owned.modes.get(path))
            .is_some_and(|have| have & modes != 0)
    }

    /// Removes the `modes` of one watcher on one path; whether there was any.
    fn remove(&mut self, path: &str, watcher: WatcherId, modes: u8) -> bool {
        let Some(owned) = self.by_watcher.get_mut(&watcher) else { return false };
        let Some(have) = owned.modes.get_mut(path) else { return false };
        let removed = *have & modes;
        *have &= !modes;
        if removed & WatchMode::Recursive as u8 != 0 {
            self.recursive.remove(path);
        }
        if *have == 0 {
            owned.forget(path);
            if owned.modes.is_empty() {
                self.by_watcher.remove(&watcher);
            }
            self.forget(path, watcher);
        }
        removed != 0
    }

    fn remove_watcher(&mut self, watcher: WatcherId) {
        for (path, modes) in self.by_watcher.remove(&watcher).unwrap_or_default().modes {
            if modes & WatchMode::Recursive as u8 != 0 {
                self.recursive.remove(&path);
            }
            self.forget(&path, watcher);
        }
    }

    fn forget(&mut self, path: &str, watcher: WatcherId) {
        if let Some(watchers) = self.by_path.get_mut(path) {
            if let Some(at) = watchers.iter().position(|w| *w == watcher) {
                watchers.swap_remove(at);
                self.count -= 1;
            }
            if watchers.is_empty() {
                self.by_path.remove(path);
            }
        }
    }

    /// Adds to `told` whoever watches `path`, or a node above it recursively, each once, and
    /// spends the one-shot watches of `path`. `told` is empty before.
    fn trigger(&mut self, path: &str, told: &mut Vec<WatcherId>) {
        if let Some(watchers) = self.by_path.get_mut(path) {
            told.extend_from_slice(watchers);
            watchers.retain(|watcher| spend(&mut self.by_watcher, path, *watcher));
            self.count -= told.len() - watchers.len();
            if watchers.is_empty() {
                self.by_path.remove(path);
            }
        }
        let of_the_path = told.len();
        for ancestor in self.recursive.candidates(path).filter(|at| at.len() < path.len()) {
            for watcher in self.by_path.get(ancestor).into_iter().flatten() {
                if self.has(ancestor, *watcher, WatchMode::Recursive as u8) {
                    told.push(*watcher);
                }
            }
        }
        if told.len() > of_the_path.max(1) {
            let mut seen = HashSet::with_capacity(told.len());
            told.retain(|watcher| seen.insert(*watcher));
        }
    }
}

/// Both tables. `exists` and `getData` share the data watches; `getChildren` sets child watches;
/// a persistent watch is in both, a recursive one in the data table alone.
#[derive(Debug, Default)]
pub struct Watches {
    data: Table,
    child: Table,
}

impl Watches {
    /// No watches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.data.count + self.child.count == 0
    }

    /// How many watches there are: pairs of a path and a watcher, in both tables.
    pub fn len(&self) -> usize {
        self.data.count + self.child.count
    }

    /// How many of them one watcher has.
    pub fn count_of(&self, watcher: WatcherId) -> usize {
        let count = |table: &Table| table.by_watcher.get(&watcher).map_or(0, |o| o.modes.len());
        count(&self.data) + count(&self.child)
    }

    /// Bytes of the paths that they are on.
    pub fn bytes_of(&self, watcher: WatcherId) -> usize {
        let bytes = |table: &Table| table.by_watcher.get(&watcher).map_or(0, |owned| owned.bytes);
        bytes(&self.data) + bytes(&self.child)
    }

    /// How many connections watch data, how many paths, and how many such watches there are, as
    /// `wchs` counts: ZooKeeper shows its table of data watches alone.
    pub fn summary(&self) -> (usize, usize, usize) {
        (self.data.by_watcher.len(), self.data.by_path.len(), self.data.count)
    }

    /// The paths that each watcher watches, in the table of data watches.
    pub fn by_watcher(&self) -> impl Iterator<Item = (WatcherId, impl Iterator<Item = &str>)> {
        self.data
            .by_watcher
            .iter()
            .map(|(&watcher, owned)| (watcher, owned.modes.keys().map(|path| &**path)))
    }

    /// Who watches each path, in the table of data watches.
    pub fn by_path(&self) -> impl Iterator<Item = (&str, &[WatcherId])> {
        self.data.by_path.iter().map(|(path, watchers)| (&**path, watchers.as_slice()))
    }

    /// Forgets every watch.
    pub fn clear(&mut self) {
        *self = Watches::new();
    }

    /// Registers a one-shot watch of `exists` or `getData`.
    pub fn add_data(&mut self, path: &str, watcher: WatcherId) {
        self.data.add(path, watcher, WatchMode::Standard);
    }

    /// Registers a one-shot watch of `getChildren`.
    pub fn add_child(&mut self, path: &str, watcher: WatcherId) {
        self.child.add(path, watcher, WatchMode::Standard);
    }

    /// Registers a persistent or recursive watch.
    pub fn add_persistent(&mut self, path: &str, watcher: WatcherId, recursive: bool) {
        if recursive {
            self.data.add(path, watcher, WatchMode::Recursive);
        } else {
            self.data.add(path, watcher, WatchMode::Persistent);
            self.child.add(path, watcher, WatchMode::Persistent);
        }
    }

    /// Whether the watcher has such a watch (`DataTree.containsWatcher`).
    pub fn contains(&self, path: &str, watcher: WatcherId, kind: WatcherType) -> bool {
        let standard = WatchMode::Standard as u8;
        match kind {
            WatcherType::Children => self.child.has(path, watcher, standard),
            WatcherType::Data => self.data.has(path, watcher, standard),
            WatcherType::Persistent => self.data.has(path, watcher, WatchMode::Persistent as u8),
            WatcherType::PersistentRecursive => {
                self.data.has(path, watcher, WatchMode::Recursive as u8)
            }
            WatcherType::Any => {
                self.child.has(path, watcher, ALL_MODES) || self.data.has(path, watcher, ALL_MODES)
            }
        }
    }

    /// Removes such watches; whether there was one (`DataTree.removeWatch`).
    pub fn remove(&mut self, path: &str, watcher: WatcherId, kind: WatcherType) -> bool {
        let (data, child) = match kind {
            WatcherType::Children => (0, WatchMode::Standard as u8),
            WatcherType::Data => (WatchMode::Standard as u8, 0),
            WatcherType::Persistent => (WatchMode::Persistent as u8, WatchMode::Persistent as u8),
            WatcherType::PersistentRecursive => (WatchMode::Recursive as u8, 0),
            WatcherType::Any => (ALL_MODES, ALL_MODES),
        };
        let from_child = self.child.remove(path, watcher, child);
        self.data.remove(path, watcher, data) || from_child
    }

    /// Forgets a watcher and its watches.
    pub fn remove_watcher(&mut self, watcher: WatcherId) {
        self.data.remove_watcher(watcher);
        self.child.remove_watcher(watcher);
    }

    /// A znode was created, or its data was set: who watches its data.
    pub fn fire_data(&mut self, path: &str, told: &mut Vec<WatcherId>) {
        told.clear();
        self.data.trigger(path, told);
    }

    /// A child of `path` came or went: who watches its children.
    pub fn fire_children(&mut self, path: &str, told: &mut Vec<WatcherId>) {
        told.clear();
        self.child.trigger(path, told);
    }

    /// A znode was deleted: who watches its data, then who watches its children and has not been
    /// told already.
    pub fn fire_deleted(&mut self, path: &str, told: &mut Vec<WatcherId>) {
        told.clear();
        self.data.trigger(path, told);
        let mut more = Vec::new();
        self.child.trigger(path, &mut more);
        if !told.is_empty() && !more.is_empty() {
            let known: HashSet<WatcherId> = told.iter().copied().collect();
            more.retain(|watcher| !known.contains(watcher));
        }
        told.append(&mut more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data(watches: &mut Watches, path: &str) -> Vec<WatcherId> {
        let mut told = Vec::new();
        watches.fire_data(path, &mut told);
        told.sort_unstable();
        told
    }

    fn children(watches: &mut Watches, path: &str) -> Vec<WatcherId> {
        let mut told = Vec::new();
        watches.fire_children(path, &mut told);
        told.sort_unstable();
        told
    }

    fn deleted(watches: &mut Watches, path: &str) -> Vec<WatcherId> {
        let mut told = Vec::new();
        watches.fire_deleted(path, &mut told);
        told.sort_unstable();
        told
    }

    #[test]
    fn one_shot_watches_fire_once_and_are_a_set() {
        let mut watches = Watches::new();
        watches.add_data("/a", 1);
        watches.add_data("/a", 1);
        watches.add_data("/a", 2);
        assert_eq!(watches.len(), 2);
        assert_eq!(data(&mut watches, "/a"), [1, 2]);
        assert!(data(&mut watches, "/a").is_empty());
        assert!(watches.is_empty());
    }

    #[test]
    fn the_bytes_of_a_watcher_s_paths_are_known() {
        let mut watches = Watches::new();
        watches.add_data("/long/path", 1);
        watches.add_data("/long/path", 1);
        watches.add_persistent("/p", 1, false);
        watches.add_child("/long/path", 2);
        assert_eq!((watches.bytes_of(1), watches.bytes_of(2)), (14, 10), "/p is in both tables");
        data(&mut watches, "/long/path");
        data(&mut watches, "/p");
        assert_eq!((watches.bytes_of(1), watches.bytes_of(2)), (4, 10));
        watches.remove_watcher(1);
        assert_eq!(watches.bytes_of(1), 0);
    }

    #[test]
    fn a_deletion_is_told_once_to_whoever_watches_data_and_children() {
        let mut watches = Watches::new();
        watches.add_data("/a", 1);
        watches.add_child("/a", 1);
        watches.add_child("/a", 2);
        assert_eq!(deleted(&mut watches, "/a"), [1, 2]);
        assert!(watches.is_empty());
    }

    #[test]
    fn persistent_watches_stay_and_hear_of_children_too() {
        let mut watches = Watches::new();
        watches.add_persistent("/a", 1, false);
        for _ in 0..2 {
            assert_eq!(data(&mut watches, "/a"), [1]);
            assert_eq!(children(&mut watches, "/a"), [1]);
            assert_eq!(deleted(&mut watches, "/a"), [1]);
        }
        assert!(data(&mut watches, "/a/b").is_empty(), "not recursive");
    }

    #[test]
    fn recursive_watches_hear_of_all_below_but_never_of_children() {
        let mut watches = Watches::new();
        watches.add_persistent("/a", 1, true);
        watches.add_persistent("/", 2, true);
        watches.add_data("/a/b", 1);
        assert_eq!(data(&mut watches, "/a/b"), [1, 2]);
        assert_eq!(data(&mut watches, "/a/b/c"), [1, 2]);
        assert_eq!(data(&mut watches, "/ab"), [2]);
        assert!(children(&mut watches, "/a").is_empty());
    }

    #[test]
    fn modes_on_one_path_are_removed_one_by_one() {
        let mut watches = Watches::new();
        watches.add_data("/a", 1);
        watches.add_persistent("/a", 1, false);
        watches.add_persistent("/a", 1, true);
        assert!(watches.remove("/a", 1, WatcherType::Persistent));
        assert!(!watches.remove("/a", 1, WatcherType::Persistent));
        assert!(!watches.contains("/a", 1, WatcherType::Children));
        assert!(watches.contains("/a", 1, WatcherType::Data));
        assert!(watches.contains("/a", 1, WatcherType::PersistentRecursive));
        assert!(watches.remove("/a", 1, WatcherType::Any));
        assert!(watches.is_empty());
        assert!(watches.data.recursive.is_empty());
    }

    #[test]
    fn a_watcher_goes_with_all_its_watches() {
        let mut watches = Watches::new();
        watches.add_persistent("/a", 1, true);
        watches.add_persistent("/b", 1, false);
        watches.add_child("/a", 2);
        watches.remove_watcher(1);
        assert_eq!(watches.len(), 1);
        assert_eq!(watches.count_of(2), 1);
        assert!(watches.data.recursive.is_empty());
    }

    /// The same rules, written as plainly as possible: a list of (child table?, path, watcher, mode).
    #[derive(Default)]
    struct Model(Vec<(bool, String, WatcherId, u8)>);

    impl Model {
        fn add(&mut self, child: bool, path: &str, watcher: WatcherId, mode: WatchMode) {
            let entry = (child, path.to_owned(), watcher, mode as u8);
            if !self.0.contains(&entry) {
                self.0.push(entry);
            }
        }
        fn fire(&mut self, child: bool, path: &str) -> Vec<WatcherId> {
            let below = |p: &str| p == "/" || path.starts_with(&format!("{p}/"));
            let mut told: Vec<_> = self
                .0
                .iter()
                .filter(|(c, p, _, m)| *c == child && (p == path || (*m == 4 && below(p))))
                .map(|(_, _, w, _)| *w)
                .collect();
            self.0.retain(|(c, p, _, m)| !(*c == child && p == path && *m == 1));
            told.sort_unstable();
            told.dedup();
            told
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Data(usize, u64),
        Child(usize, u64),
        Persistent(usize, u64, bool),
        FireData(usize),
        FireChildren(usize),
        FireDeleted(usize),
        Remove(usize, u64, i32),
        Gone(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (path, watcher) = (0usize..5, 0u64..4);
        prop_oneof![
            (path.clone(), watcher.clone()).prop_map(|(p, w)| Step::Data(p, w)),
            (path.clone(), watcher.clone()).prop_map(|(p, w)| Step::Child(p, w)),
            (path.clone(), watcher.clone(), any::<bool>())
                .prop_map(|(p, w, r)| Step::Persistent(p, w, r)),
            path.clone().prop_map(Step::FireData),
            path.clone().prop_map(Step::FireChildren),
            path.clone().prop_map(Step::FireDeleted),
            (path, watcher.clone(), 1..6).prop_map(|(p, w, t)| Step::Remove(p, w, t)),
            watcher.prop_map(Step::Gone),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_the_plain_model(steps in proptest::collection::vec(step(), 1..60)) {
            const PATHS: [&str; 5] = ["/", "/a", "/a/b", "/a/b/c", "/d"];
            let (mut watches, mut model) = (Watches::new(), Model::default());
            for step in steps {
                match step {
                    Step::Data(p, w) => {
                        watches.add_data(PATHS[p], w);
                        model.add(false, PATHS[p], w, WatchMode::Standard);
                    }
                    Step::Child(p, w) => {
                        watches.add_child(PATHS[p], w);
                        model.add(true, PATHS[p], w, WatchMode::Standard);
                    }
                    Step::Persistent(p, w, recursive) => {
                        watches.add_persistent(PATHS[p], w, recursive);
                        if recursive {
                            model.add(false, PATHS[p], w, WatchMode::Recursive);
                        } else {
                            model.add(false, PATHS[p], w, WatchMode::Persistent);
                            model.add(true, PATHS[p], w, WatchMode::Persistent);
                        }
                    }
                    Step::FireData(p) => {
                        prop_assert_eq!(data(&mut watches, PATHS[p]), model.fire(false, PATHS[p]));
                    }
                    Step::FireChildren(p) => {
                        prop_assert_eq!(
                            children(&mut watches, PATHS[p]), model.fire(true, PATHS[p]));
                    }
                    Step::FireDeleted(p) => {
                        let mut expected = model.fire(false, PATHS[p]);
                        expected.extend(model.fire(true, PATHS[p]));
                        expected.sort_unstable();
                        expected.dedup();
                        prop_assert_eq!(deleted(&mut watches, PATHS[p]), expected);
                    }
                    Step::Remove(p, w, number) => {
                        let kind = WatcherType::from_wire(number).unwrap();
                        let before = model.0.len();
                        model.0.retain(|(c, path, watcher, mode)| {
                            !(path == PATHS[p] && *watcher == w && match kind {
                                WatcherType::Children => *c && *mode == 1,
                                WatcherType::Data => !*c && *mode == 1,
                                WatcherType::Persistent => *mode == 2,
                                WatcherType::PersistentRecursive => *mode == 4,
                                WatcherType::Any => true,
                            })
                        });
                        prop_assert_eq!(watches.contains(PATHS[p], w, kind), before != model.0.len());
                        prop_assert_eq!(
                            watches.remove(PATHS[p], w, kind), before != model.0.len());
                    }
                    Step::Gone(w) => {
                        watches.remove_watcher(w);
                        model.0.retain(|(_, _, watcher, _)| *watcher != w);
                    }
                }
                let mut pairs: Vec<_> = model.0.iter().map(|(c, p, w, _)| (*c, p, *w)).collect();
                pairs.sort_unstable();
                pairs.dedup();
                prop_assert_eq!(watches.len(), pairs.len());
                for watcher in 0..4 {
                    let own = pairs.iter().filter(|(.., w)| *w == watcher);
                    let bytes: usize = own.map(|(_, path, _)| path.len()).sum();
                    prop_assert_eq!(watches.bytes_of(watcher), bytes);
                }
            }
        }
    }
}
