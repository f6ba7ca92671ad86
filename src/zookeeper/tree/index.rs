//! From a path to its node: one hash lookup.
//!
//! The table is cut into shards that grow one by one, so that no single insert has to rehash a million
//! paths while the writer holds its lock.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::slab::{NodeId, Slab};

const SHARD_BITS: u32 = 8;

/// The ids of all nodes but the root, by path.
#[derive(Debug)]
pub(super) struct PathIndex {
    shards: Box<[HashTable<NodeId>]>,
    hasher: DefaultHashBuilder,
}

impl PathIndex {
    pub(super) fn new() -> Self {
        PathIndex {
            shards: (0..1 << SHARD_BITS).map(|_| HashTable::new()).collect(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// The table uses a hash's top and low bits, so the shard is taken from between them.
    fn shard(hash: u64) -> usize {
        (hash >> 40) as usize & ((1 << SHARD_BITS) - 1)
    }

    pub(super) fn find(&self, slab: &Slab, path: &str) -> Option<NodeId> {
        let hash = self.hasher.hash_one(path);
        self.shards[Self::shard(hash)].find(hash, |&id| slab.node(id).path() == path).copied()
    }

    /// Adds a node whose path is not there yet.
    pub(super) fn insert(&mut self, slab: &Slab, id: NodeId) {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(slab.node(id).path());
        self.shards[Self::shard(hash)]
            .insert_unique(hash, id, |&id| hasher.hash_one(slab.node(id).path()));
    }

    pub(super) fn remove(&mut self, slab: &Slab, id: NodeId) {
        let hash = self.hasher.hash_one(slab.node(id).path());
        if let Ok(entry) = self.shards[Self::shard(hash)].find_entry(hash, |&other| other == id) {
            entry.remove();
        }
    }
}
