//! The newest offset of each key, in bounded memory (Kafka's `SkimpyOffsetMap`).

use crate::kafka::record_batch::KeyHash;

const NONE: i64 = -1;

#[derive(Debug, Clone, Copy)]
struct Slot {
    key: KeyHash,
    offset: i64,
}

/// Keys by their hashes, each with the offset of its newest record. A fixed number of slots, of 24
/// bytes each.
#[derive(Debug)]
pub(super) struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    /// How many may be used.
    most: usize,
    /// Every key up to this offset is in the map.
    latest_offset: i64,
}

impl OffsetMap {
    /// A map for `keys` keys, or as many as `bytes` of memory can hold if at most `load_factor` of
    /// the slots are used.
    pub(super) fn new(bytes: u64, load_factor: f64, keys: u64) -> OffsetMap {
        let load_factor = load_factor.clamp(0.01, 0.99);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "numbers of keys"
        )]
        let wanted = (keys as f64 / load_factor) as u64 + 2;
        let slots = wanted.min(bytes / size_of::<Slot>() as u64).max(2);
        let slots = usize::try_from(slots).unwrap_or(usize::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "numbers of keys"
        )]
        let most = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        let empty = Slot { key: KeyHash::default(), offset: NONE };
        OffsetMap { slots: vec![empty; slots], used: 0, most, latest_offset: NONE }
    }

    /// Where the key is, or the empty slot where it would be. One is always empty.
    fn place(&self, key: &KeyHash) -> usize {
        let mut start = [0; 8];
        start.copy_from_slice(&key[..8]);
        let slots = self.slots.len();
        let mut at = usize::try_from(u64::from_le_bytes(start) % slots as u64).unwrap_or(0);
        while self.slots.get(at).is_some_and(|slot| slot.offset != NONE && slot.key != *key) {
            at = (at + 1) % slots;
        }
        at
    }

    /// The newest offset of a key, if the map has it.
    pub(super) fn get(&self, key: &KeyHash) -> Option<i64> {
        let slot = self.slots.get(self.place(key))?;
        (slot.offset != NONE).then_some(slot.offset)
    }

    /// Notes a record; `false` if there is no room for its key.
    pub(super) fn put(&mut self, key: &KeyHash, offset: i64) -> bool {
        let at = self.place(key);
        let full = self.used >= self.most;
        let Some(slot) = self.slots.get_mut(at) else { return false };
        if slot.offset == NONE {
            if full {
                return false;
            }
            self.used += 1;
        }
        *slot = Slot { key: *key, offset };
        self.latest_offset = offset;
        true
    }

    /// The offset up to which the map holds every key, −1 for none.
    pub(super) fn latest_offset(&self) -> i64 {
        self.latest_offset
    }

    /// Everything up to `offset` was looked at.
    pub(super) fn reached(&mut self, offset: i64) {
        self.latest_offset = self.latest_offset.max(offset);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_until_it_is_full(
            puts in proptest::collection::vec((0u8..40, 0u8..4), 0..200),
            bytes in 0u64..1_200,
            load_factor in 0.0..1.5,
        ) {
            let mut map = OffsetMap::new(bytes, load_factor, 1_000);
            prop_assert!(map.slots.len() * size_of::<Slot>() <= 1_200);
            let mut known = HashMap::new();
            for ((first, last), offset) in puts.into_iter().zip(0i64..) {
                // Many keys begin with the same bytes: they must not be taken for one.
                let mut key = KeyHash::default();
                key[0] = first;
                key[15] = last;
                let room = map.put(&key, offset);
                prop_assert_eq!(room, known.contains_key(&key) || known.len() < map.most);
                if room {
                    known.insert(key, offset);
                    prop_assert_eq!(map.latest_offset(), offset);
                }
                for (key, offset) in &known {
                    prop_assert_eq!(map.get(key), Some(*offset));
                }
            }
            prop_assert_eq!(map.get(&[0xff; 16]), None);
        }
    }

    #[test]
    fn few_keys_take_little_memory_and_one_always_fits() {
        assert!(OffsetMap::new(1 << 40, 0.9, 10).slots.len() < 20);
        assert!(OffsetMap::new(0, 0.0, 1_000).put(&[1; 16], 5));
    }
}
