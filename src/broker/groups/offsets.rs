//! What a group has committed, and what transactions will have committed. Pure.
//!
//! The offsets of `kafka.coordinator.group.GroupMetadata` of Kafka 3.9.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::records::OffsetValue;

/// A partition of a topic.
pub type TopicPartition = (Arc<str>, i32);

/// A committed offset, and the record that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Committed {
    value: OffsetValue,
    /// The offset of its record in `__consumer_offsets`: the later of two is the one that counts.
    record: i64,
}

/// All offsets of one group.
#[derive(Debug, Clone, Default)]
pub struct Offsets {
    committed: BTreeMap<TopicPartition, Committed>,
    /// By producer id, what its open transaction commits.
    pending: HashMap<i64, BTreeMap<TopicPartition, Committed>>,
}

impl Offsets {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// Notes an offset whose record was written at this place of the log.
    pub fn commit(&mut self, partition: TopicPartition, value: OffsetValue, record: i64) {
        let later = self.committed.get(&partition).is_none_or(|before| before.record < record);
        if later {
            self.committed.insert(partition, Committed { value, record });
        }
    }

    /// Notes an offset that counts when the producer's transaction is committed.
    pub fn commit_in_transaction(
        &mut self,
        producer: i64,
        partition: TopicPartition,
        value: OffsetValue,
        record: i64,
    ) {
        let pending = self.pending.entry(producer).or_default();
        pending.insert(partition, Committed { value, record });
    }

    /// The producer's transaction has ended.
    pub fn end_transaction(&mut self, producer: i64, committed: bool) {
        let Some(pending) = self.pending.remove(&producer) else { return };
        if committed {
            for (partition, Committed { value, record }) in pending {
                self.commit(partition, value, record);
            }
        }
    }

    /// The producers with an open transaction.
    pub fn producers(&self) -> impl Iterator<Item = i64> + '_ {
        self.pending.keys().copied()
    }

    /// What was committed last.
    pub fn get(&self, partition: &TopicPartition) -> Option<&OffsetValue> {
        self.committed.get(partition).map(|committed| &committed.value)
    }

    /// Whether an open transaction will change it (KIP-447).
    pub fn is_unstable(&self, partition: &TopicPartition) -> bool {
        self.pending.values().any(|pending| pending.contains_key(partition))
    }

    /// Everything that was committed, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &OffsetValue)> {
        self.committed.iter().map(|(partition, committed)| (partition, &committed.value))
    }

    /// Every partition that a transaction will change, or that was committed.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.committed.keys().chain(self.pending.values().flat_map(BTreeMap::keys))
    }

    /// Forgets a partition, and says whether it was there.
    pub fn remove(&mut self, partition: &TopicPartition) -> bool {
        for pending in self.pending.values_mut() {
            pending.remove(partition);
        }
        self.pending.retain(|_, pending| !pending.is_empty());
        self.committed.remove(partition).is_some()
    }

    /// Takes up a tombstone of the log: what transactions will commit stays.
    pub fn forget(&mut self, partition: &TopicPartition) {
        self.committed.remove(partition);
    }

    /// The partitions whose offsets have expired. `base` says from when on the retention counts, or
    /// that an offset is kept. What a transaction is about to change is kept too.
    pub fn expired(
        &self,
        now_ms: i64,
        retention_ms: i64,
        base: impl Fn(&TopicPartition, &OffsetValue) -> Option<i64>,
    ) -> Vec<TopicPartition> {
        let is_due = |partition: &TopicPartition, value: &OffsetValue| {
            let Some(base) = base(partition, value) else { return false };
            match value.expire_timestamp {
                Some(at) => now_ms >= at,
                None => now_ms.saturating_sub(base) >= retention_ms,
            }
        };
        self.iter()
            .filter(|(partition, value)| is_due(partition, value) && !self.is_unstable(partition))
            .map(|(partition, _)| partition.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(offset: i64) -> OffsetValue {
        OffsetValue {
            offset,
            leader_epoch: -1,
            metadata: Arc::from(""),
            commit_timestamp: offset * 10,
            expire_timestamp: None,
        }
    }

    fn partition(number: i32) -> TopicPartition {
        (Arc::from("topic"), number)
    }

    #[test]
    fn a_transaction_counts_when_it_is_committed_and_not_over_what_came_later() {
        let mut offsets = Offsets::default();
        offsets.commit(partition(0), value(1), 10);
        offsets.commit_in_transaction(7, partition(0), value(2), 11);
        offsets.commit_in_transaction(7, partition(1), value(3), 12);
        assert_eq!(offsets.get(&partition(0)), Some(&value(1)));
        assert!(offsets.is_unstable(&partition(0)) && offsets.is_unstable(&partition(1)));
        offsets.commit(partition(0), value(4), 13);
        offsets.end_transaction(7, true);
        assert_eq!(offsets.get(&partition(0)), Some(&value(4)), "its record came later");
        assert_eq!(offsets.get(&partition(1)), Some(&value(3)));
        assert!(!offsets.is_unstable(&partition(0)));

        offsets.commit_in_transaction(8, partition(1), value(9), 14);
        offsets.end_transaction(8, false);
        assert_eq!(offsets.get(&partition(1)), Some(&value(3)));
    }

    #[test]
    fn what_expired_is_told_unless_a_transaction_is_about_to_change_it() {
        let mut offsets = Offsets::default();
        for number in 0..3 {
            offsets.commit(partition(number), value(i64::from(number)), i64::from(number));
        }
        let mut said = value(0);
        said.expire_timestamp = Some(50);
        offsets.commit(partition(3), said, 3);
        offsets.commit_in_transaction(7, partition(1), value(9), 4);
        let by_commit = |_: &TopicPartition, value: &OffsetValue| Some(value.commit_timestamp);
        assert_eq!(offsets.expired(110, 100, by_commit), [partition(0), partition(3)]);
        assert_eq!(offsets.expired(49, 100, by_commit), []);
        assert_eq!(offsets.expired(1_000, 100, |_, _| None), []);
        assert!(offsets.remove(&partition(0)) && !offsets.remove(&partition(0)));
    }
}
