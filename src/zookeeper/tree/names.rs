//! The names of a wide node's children, packed as a listing has them: so a listing of a million takes
//! hold of some thousand pieces, and copies nothing while it holds the tree.
//!
//! The pieces are the buckets of a linear hash table, made and given up one at a time: no insert has to
//! move them all. A piece that a listing still holds is copied before it is changed.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;

use crate::zookeeper::jute::Writer as _;

/// Bytes in a bucket, on average: up to twice as many before it is split.
const BUCKET_BYTES: usize = 4 << 10;

/// By how much a bucket grows.
const GROWTH: usize = 1 << 10;

/// Names as a listing has them, each behind its length, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Names {
    buckets: Vec<Arc<Vec<u8>>>,
    bytes: usize,
}

impl Names {
    /// How many bytes they are, with their lengths.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes, in pieces of some kilobytes; some may be empty.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.buckets.iter().map(|bucket| bucket.as_slice())
    }

    /// The piece with that number.
    pub fn piece(&self, number: usize) -> Option<&[u8]> {
        self.buckets.get(number).map(|bucket| bucket.as_slice())
    }
}

/// Names that come and go.
#[derive(Debug)]
pub(super) struct Packed {
    names: Names,
    hasher: DefaultHashBuilder,
}

impl Packed {
    pub(super) fn new() -> Self {
        let names = Names { buckets: vec![Arc::default()], bytes: 0 };
        Packed { names, hasher: DefaultHashBuilder::default() }
    }

    /// All of them, as they are now.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// The bucket of a name among `count`: as many low bits of its hash as tell them apart, one bit
    /// less where that bucket is not made yet.
    #[allow(clippy::cast_possible_truncation, reason = "its low bits")]
    fn bucket(&self, name: &[u8], count: usize) -> usize {
        let mask = count.next_power_of_two() - 1;
        let bucket = self.hasher.hash_one(name) as usize & mask;
        if bucket < count { bucket } else { bucket & (mask >> 1) }
    }

    /// Adds a name that is not there.
    pub(super) fn insert(&mut self, name: &[u8]) {
        let bucket = self.bucket(name, self.names.buckets.len());
        push(Arc::make_mut(&mut self.names.buckets[bucket]), name);
        self.names.bytes += 4 + name.len();
        if self.names.bytes > self.names.buckets.len() * BUCKET_BYTES {
            self.split();
        }
    }

    /// Removes a name.
    pub(super) fn remove(&mut self, name: &[u8]) {
        let bucket = self.bucket(name, self.names.buckets.len());
        let bucket = &mut self.names.buckets[bucket];
        let mut start = 0;
        let place = entries(bucket).find_map(|found| {
            let place = start..start + 4 + found.len();
            start = place.end;
            (found == name).then_some(place)
        });
        if let Some(place) = place {
            self.names.bytes -= place.len();
            Arc::make_mut(bucket).drain(place);
        }
        if self.names.bytes * 4 < self.names.buckets.len() * BUCKET_BYTES {
            self.merge();
        }
    }

    /// Makes one bucket more, and gives it its part of the one that had it so far.
    fn split(&mut self) {
        let count = self.names.buckets.len();
        let from = sibling(count);
        let (mut stay, mut go) = (Vec::new(), Vec::new());
        for name in entries(&self.names.buckets[from]) {
            let to = if self.bucket(name, count + 1) == from { &mut stay } else { &mut go };
            push(to, name);
        }
        self.names.buckets[from] = Arc::new(stay);
        self.names.buckets.push(Arc::new(go));
    }

    /// Gives the last bucket's names back to the one that it was split from.
    fn merge(&mut self) {
        if self.names.buckets.len() > 1
            && let Some(last) = self.names.buckets.pop()
        {
            let to = sibling(self.names.buckets.len());
            Arc::make_mut(&mut self.names.buckets[to]).extend_from_slice(&last);
        }
    }
}

/// The bucket that bucket `number` is split from: the same without its highest bit.
fn sibling(number: usize) -> usize {
    number & !(1 << number.ilog2())
}

fn push(bucket: &mut Vec<u8>, name: &[u8]) {
    let more = 4 + name.len();
    if bucket.capacity() - bucket.len() < more {
        bucket.reserve_exact(more.max(GROWTH));
    }
    bucket.write_buffer(Some(name));
}

fn entries(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        bytes = rest;
        Some(name)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn listed(names: &Names) -> BTreeSet<Vec<u8>> {
        let all: Vec<u8> = names.pieces().flatten().copied().collect();
        assert_eq!(all.len(), names.bytes());
        let listed: Vec<_> = entries(&all).map(<[u8]>::to_vec).collect();
        let set: BTreeSet<_> = listed.iter().cloned().collect();
        assert_eq!(set.len(), listed.len(), "each once");
        set
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn names_are_a_set_and_a_listing_is_of_its_moment(
            steps in proptest::collection::vec((any::<u16>(), 0..5_u8), 0..4_000),
        ) {
            let (mut packed, mut model) = (Packed::new(), BTreeSet::new());
            let mut taken = Vec::new();
            for (number, kind) in steps {
                // Of very different lengths, so that buckets are split and merged.
                let number = number % 1_024;
                let name = format!("{number:0width$}", width = 4 + usize::from(number) % 40 * 8);
                if kind < 3 {
                    if model.insert(name.clone().into_bytes()) {
                        packed.insert(name.as_bytes());
                    }
                } else if model.remove(name.as_bytes()) {
                    packed.remove(name.as_bytes());
                }
                if number % 512 == 0 {
                    taken.push((packed.names().clone(), model.clone()));
                }
            }
            taken.push((packed.names().clone(), model.clone()));
            for (names, then) in &taken {
                prop_assert_eq!(&listed(names), then);
            }
            for name in &model {
                packed.remove(name);
            }
            prop_assert_eq!((packed.names().bytes(), packed.names().pieces().len()), (0, 1));
        }
    }

    #[test]
    fn buckets_stay_small() {
        let mut packed = Packed::new();
        for number in 0..50_000 {
            packed.insert(format!("node-{number}").as_bytes());
        }
        let names = packed.names();
        assert!((names.bytes() / BUCKET_BYTES..).contains(&names.pieces().len()));
        assert!(names.pieces().all(|piece| piece.len() < 4 * BUCKET_BYTES));
        assert!((0..names.pieces().len()).all(|number| names.piece(number).is_some()));
    }
}
