//! Each distinct ACL once: nodes refer to it by a number, which is also its key in a snapshot.

use std::collections::HashMap;

use crate::zookeeper::acl::{AclList, open_acl_unsafe};

/// The number of the ACL that is open to all, which is never freed.
pub(super) const OPEN: u32 = 0;

/// The key that stands for an open ACL in a snapshot, where no table entry goes with it.
const OPEN_KEY: i64 = -1;

/// The ACLs in use, with how many nodes use each.
#[derive(Debug)]
pub(super) struct AclTable {
    entries: Vec<Option<(AclList, u32)>>,
    ids: HashMap<AclList, u32>,
    free: Vec<u32>,
}

impl AclTable {
    pub(super) fn new() -> Self {
        let open = open_acl_unsafe();
        AclTable {
            entries: vec![Some((open.clone(), 0))],
            ids: HashMap::from([(open, OPEN)]),
            free: Vec::new(),
        }
    }

    /// The number of `list`, for one more node.
    pub(super) fn acquire(&mut self, list: &AclList) -> u32 {
        if let Some(&id) = self.ids.get(list) {
            if let Some(Some((_, users))) = self.entries.get_mut(id as usize) {
                *users += 1;
            }
            return id;
        }
        let entry = Some((list.clone(), 1));
        let id = if let Some(id) = self.free.pop() {
            self.entries[id as usize] = entry;
            id
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        };
        self.ids.insert(list.clone(), id);
        id
    }

    /// Number `id`, which is in use, for one more node.
    pub(super) fn acquire_number(&mut self, id: u32) -> u32 {
        if let Some(Some((_, users))) = self.entries.get_mut(id as usize) {
            *users += 1;
        }
        id
    }

    /// One node less uses number `id`.
    pub(super) fn release(&mut self, id: u32) {
        let Some(slot) = self.entries.get_mut(id as usize) else { return };
        let Some((list, users)) = slot else { return };
        *users = users.saturating_sub(1);
        if *users == 0 && id != OPEN {
            self.ids.remove(list);
            *slot = None;
            self.free.push(id);
        }
    }

    /// The list with number `id`.
    pub(super) fn get(&self, id: u32) -> &AclList {
        match self.entries.get(id as usize) {
            Some(Some((list, _))) => list,
            // Numbers come from `acquire` alone: this is never reached, and denies all if it is.
            _ => closed(),
        }
    }

    /// The key of number `id` in a snapshot.
    pub(super) fn key(id: u32) -> i64 {
        if id == OPEN { OPEN_KEY } else { i64::from(id) }
    }

    /// Keys and lists, as a snapshot's table has them.
    pub(super) fn entries(&self) -> Vec<(i64, AclList)> {
        self.entries
            .iter()
            .enumerate()
            .skip(1)
            .filter_map(|(id, entry)| {
                Some((i64::try_from(id).ok()?, entry.as_ref().map(|(list, _)| list.clone())?))
            })
            .collect()
    }
}

/// What a node gets whose ACL is lost: nobody may do anything but the super user. (An empty list would
/// not do: ZooKeeper takes it for open.)
pub(super) fn closed() -> &'static AclList {
    static LIST: std::sync::LazyLock<AclList> = std::sync::LazyLock::new(|| {
        AclList::from([crate::zookeeper::acl::Acl::new(0, "world", "anyone")])
    });
    &LIST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::acl::Acl;

    fn list(id: &str) -> AclList {
        AclList::from([Acl::new(31, "digest", id)])
    }

    #[test]
    fn equal_lists_share_a_number_until_the_last_is_gone() {
        let mut table = AclTable::new();
        assert_eq!(table.acquire(&open_acl_unsafe()), OPEN);
        let a = table.acquire(&list("a"));
        assert_eq!(table.acquire(&list("a")), a);
        let b = table.acquire(&list("b"));
        assert_ne!(a, b);
        table.release(a);
        assert_eq!(table.get(a), &list("a"));
        table.release(a);
        assert_eq!(table.entries(), vec![(AclTable::key(b), list("b"))]);
        assert_eq!(table.acquire(&list("c")), a);
        table.release(OPEN);
        assert_eq!(table.get(OPEN), &open_acl_unsafe());
    }
}
