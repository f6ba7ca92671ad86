//! From a path to its node: one hash lookup. A node keeps the hash of its path, its name and its
//! parent; whether it is the one is seen by climbing.
//!
//! The table is cut into shards that grow one by one, so that no single insert has to move a million
//! entries while the writer holds its lock. The largest shard gets twice as many nodes as the smallest:
//! so they don't all grow at the same time, and are never all half empty.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::nodes::{NodeId, Nodes};

const SHARDS: u8 = u8::MAX;

/// What the shards are dealt out by: as many bits of a hash.
const SLICE_BITS: u32 = 12;

/// The ids of all nodes but the root, by path.
#[derive(Debug)]
pub(super) struct PathIndex {
    shards: Box<[HashTable<NodeId>]>,
    /// The shard of each slice of hashes.
    slices: Box<[u8]>,
    hasher: DefaultHashBuilder,
}

impl PathIndex {
    pub(super) fn new() -> Self {
        PathIndex {
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            slices: slices().collect(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// The hash that a node at `path` keeps.
    pub(super) fn hash(&self, path: &str) -> u32 {
        let hash = self.hasher.hash_one(path);
        #[allow(clippy::cast_possible_truncation, reason = "half of it is kept")]
        let folded = (hash ^ hash >> 32) as u32;
        folded
    }

    /// The shard of a hash, and what the shard knows it by: other bits in other places.
    fn place(&self, hash: u32) -> (usize, u64) {
        let shard = self.slices[(hash >> (u32::BITS - SLICE_BITS)) as usize];
        let mixed = u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(32);
        (usize::from(shard), mixed)
    }

    pub(super) fn find(&self, nodes: &Nodes, path: &str, hash: u32) -> Option<NodeId> {
        let (shard, mixed) = self.place(hash);
        let is_it = |&id: &NodeId| nodes.get(id).hash == hash && nodes.is_at(id, path);
        self.shards[shard].find(mixed, is_it).copied()
    }

    /// Adds a node that is not there yet, and has its hash.
    pub(super) fn insert(&mut self, nodes: &Nodes, id: NodeId) {
        let (shard, mixed) = self.place(nodes.get(id).hash);
        let mut table = std::mem::take(&mut self.shards[shard]);
        table.insert_unique(mixed, id, |&id| self.place(nodes.get(id).hash).1);
        self.shards[shard] = table;
    }

    pub(super) fn remove(&mut self, nodes: &Nodes, id: NodeId) {
        let (shard, mixed) = self.place(nodes.get(id).hash);
        if let Ok(entry) = self.shards[shard].find_entry(mixed, |&other| other == id) {
            entry.remove();
        }
    }
}

/// The shard of each slice: sizes rise evenly, on a scale of ratios, from one to two.
fn slices() -> impl Iterator<Item = u8> {
    (0..1_u32 << SLICE_BITS).map(|slice| {
        let share = f64::from(slice) / f64::from(1_u32 << SLICE_BITS);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 255")]
        let shard = ((1.0 + share).log2() * f64::from(SHARDS)) as u8;
        shard.min(SHARDS - 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_shard_is_twice_the_smallest() {
        let mut sizes = vec![0; usize::from(SHARDS)];
        slices().for_each(|shard| sizes[usize::from(shard)] += 1);
        let part = |range: std::ops::Range<usize>| sizes[range].iter().sum::<u32>();
        assert!((12 * 10..12 * 12).contains(&part(0..12)), "{sizes:?}");
        assert!((12 * 20..12 * 23).contains(&part(243..255)), "{sizes:?}");
        assert!(sizes.iter().all(|&size| size > 0));
    }
}
