//! What a log remembers of idempotent producers (KIP-98): their epoch, their last five batches, and
//! their open transactions.

use std::collections::{BTreeMap, HashMap};

use super::cleaner::LastBatch;
use super::transactions::{Origin, TransactionGuard, TransactionMarker, Verification};
use super::{AbortedTransaction, LogError, ProducerInfo};
use crate::kafka::record_batch::{BatchHeader, ControlRecord, sequence_after};
use crate::limits;

/// Batches of a producer that are known well enough to recognise when they are sent again.
const BATCHES_KEPT: usize = 5;

/// One batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProducedBatchMeta {
    pub(super) last_sequence: i32,
    pub(super) last_offset: i64,
    pub(super) offset_delta: i32,
    pub(super) timestamp: i64,
}

impl ProducedBatchMeta {
    pub(super) fn base_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }

    fn base_sequence(&self) -> i32 {
        // The inverse of `sequence_after`: sequence numbers wrap from the largest i32 to 0.
        match self.last_sequence.checked_sub(self.offset_delta) {
            Some(first) if first >= 0 => first,
            _ => i32::MAX
                .wrapping_sub(self.offset_delta.wrapping_sub(self.last_sequence))
                .wrapping_add(1),
        }
    }
}

/// One producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProducerEntry {
    pub(super) epoch: i16,
    /// Oldest first, all of this epoch.
    pub(super) batches: Vec<ProducedBatchMeta>,
    pub(super) last_timestamp: i64,
    pub(super) coordinator_epoch: i32,
    /// Where its open transaction begins, −1 without.
    pub(super) transaction_start: i64,
}

/// Every producer of one log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct ProducerStates {
    producers: HashMap<i64, ProducerEntry>,
    /// Open transactions: first offset and producer.
    open: BTreeMap<i64, i64>,
    /// Transactions that ended above the high watermark: first offset, and that of the marker.
    ended: BTreeMap<i64, i64>,
    verifying: HashMap<i64, Verifying>,
    last_guard: u64,
}

/// A producer whose transaction the coordinator is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verifying {
    guard: TransactionGuard,
    /// Of the batches that wait for the answer; the first to be appended must be the first sent.
    lowest_sequence: i32,
    epoch: i16,
    since_ms: i64,
}

/// A transaction that a marker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    producer_id: i64,
    first_offset: i64,
    /// That of the marker.
    last_offset: i64,
}

impl Ended {
    /// As the transaction index has it.
    pub(super) fn aborted(&self, last_stable_offset: i64) -> AbortedTransaction {
        AbortedTransaction {
            first_offset: self.first_offset,
            producer_id: self.producer_id,
            last_offset: self.last_offset,
            last_stable_offset,
        }
    }
}

impl ProducerStates {
    pub(super) fn from_entries(entries: impl Iterator<Item = (i64, ProducerEntry)>) -> Self {
        let producers: HashMap<i64, ProducerEntry> = entries.collect();
        let open = producers.iter().filter(|(_, entry)| entry.transaction_start >= 0);
        let open = open.map(|(id, entry)| (entry.transaction_start, *id)).collect();
        ProducerStates { producers, open, ..ProducerStates::default() }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (i64, &ProducerEntry)> {
        self.producers.iter().map(|(id, entry)| (*id, entry))
    }

    pub(super) fn len(&self) -> usize {
        self.producers.len()
    }

    /// Checks a batch that is about to get `offset`. Answers the batch that it repeats, if it is one
    /// of the last five.
    ///
    /// # Errors
    /// [`LogError::InvalidTransactionState`] outside of a transaction, or inside without being part
    /// of it; [`LogError::InvalidProducerEpoch`] for an epoch below the known one;
    /// [`LogError::OutOfOrderSequence`] for a gap.
    pub(super) fn check(
        &self,
        batch: &BatchHeader,
        offset: i64,
        partition: &str,
        origin: Origin,
    ) -> Result<Option<ProducedBatchMeta>, LogError> {
        let entry = self.producers.get(&batch.producer_id);
        let (id, epoch, sequence) = (batch.producer_id, batch.producer_epoch, batch.base_sequence);
        if let Some(entry) = entry
            && origin.is_client()
            && epoch == entry.epoch
        {
            let repeated = entry.batches.iter().find(|known| {
                known.base_sequence() == sequence && known.last_sequence == batch.last_sequence()
            });
            if let Some(repeated) = repeated {
                return Ok(Some(*repeated));
            }
        }
        let open = entry.is_some_and(|entry| entry.transaction_start >= 0);
        if batch.is_transactional() && !open && !self.is_verified(id, origin.verification()) {
            return Err(LogError::InvalidTransactionState(
                "Record was not part of an ongoing transaction".to_owned(),
            ));
        }
        if let Some(entry) = entry {
            check_epoch(entry, id, epoch, offset, partition)?;
        }
        if origin.is_client() {
            self.check_sequence(batch, offset, partition)?;
        }
        if open && !batch.is_transactional() {
            return Err(LogError::InvalidTransactionState(format!(
                "Expected transactional write from producer {id} at offset {offset} in partition \
                 {partition}"
            )));
        }
        Ok(None)
    }

    fn is_verified(&self, id: i64, verification: Verification) -> bool {
        match verification {
            Verification::Off => true,
            Verification::Required(None) => false,
            Verification::Required(Some(guard)) => {
                self.verifying.get(&id).is_some_and(|verifying| verifying.guard == guard)
            }
        }
    }

    fn check_sequence(
        &self,
        batch: &BatchHeader,
        offset: i64,
        partition: &str,
    ) -> Result<(), LogError> {
        let (id, epoch, sequence) = (batch.producer_id, batch.producer_epoch, batch.base_sequence);
        if let Some(verifying) = self.verifying.get(&id)
            && sequence > verifying.lowest_sequence
        {
            return Err(LogError::OutOfOrderSequence(format!(
                "Out of order sequence number for producer {id} at offset {offset} in partition \
                 {partition}: {sequence} (incoming seq. number), {} (earliest seen sequence)",
                verifying.lowest_sequence
            )));
        }
        // A producer that is not known, because it is new or its records are gone, may begin
        // anywhere.
        let Some(entry) = self.producers.get(&id) else { return Ok(()) };
        if epoch > entry.epoch {
            if sequence != 0 && entry.epoch >= 0 {
                return Err(LogError::OutOfOrderSequence(format!(
                    "Invalid sequence number for new epoch of producer {id} at offset {offset} in \
                     partition {partition}: {epoch} (request epoch), {sequence} (seq. number), {} \
                     (current producer epoch)",
                    entry.epoch
                )));
            }
            return Ok(());
        }
        let last = entry.batches.last().map_or(-1, |batch| batch.last_sequence);
        if sequence_after(last, 1) != sequence {
            return Err(LogError::OutOfOrderSequence(format!(
                "Out of order sequence number for producer {id} at offset {offset} in partition \
                 {partition}: {sequence} (incoming seq. number), {last} (current end sequence \
                 number)"
            )));
        }
        Ok(())
    }

    /// Checks a marker that is about to get `offset`.
    ///
    /// # Errors
    /// [`LogError::InvalidProducerEpoch`], [`LogError::CoordinatorFenced`].
    pub(super) fn check_marker(
        &self,
        marker: &TransactionMarker,
        offset: i64,
        partition: &str,
    ) -> Result<(), LogError> {
        let id = marker.producer_id;
        let Some(entry) = self.producers.get(&id) else { return Ok(()) };
        check_epoch(entry, id, marker.producer_epoch, offset, partition)?;
        if marker.coordinator_epoch < entry.coordinator_epoch {
            return Err(LogError::CoordinatorFenced(format!(
                "Invalid coordinator epoch for producerId {id} at offset {offset} in partition \
                 {partition}: {} (zombie), {} (current)",
                marker.coordinator_epoch, entry.coordinator_epoch
            )));
        }
        Ok(())
    }

    pub(super) fn has_open_transaction(&self, id: i64) -> bool {
        self.producers.get(&id).is_some_and(|entry| entry.transaction_start >= 0)
    }

    /// Begins to verify a producer's transaction, or goes on with it.
    pub(super) fn begin_verification(
        &mut self,
        id: i64,
        epoch: i16,
        sequence: i32,
        now_ms: i64,
    ) -> TransactionGuard {
        if self.verifying.len() >= limits::PRODUCERS_PER_LOG_MAX {
            // Those who wait are told to try again.
            self.verifying.clear();
        }
        self.last_guard += 1;
        let verifying = self.verifying.entry(id).or_insert(Verifying {
            guard: TransactionGuard(self.last_guard),
            lowest_sequence: sequence,
            epoch,
            since_ms: now_ms,
        });
        if epoch > verifying.epoch {
            (verifying.epoch, verifying.lowest_sequence) = (epoch, sequence);
        } else if epoch == verifying.epoch {
            verifying.lowest_sequence = verifying.lowest_sequence.min(sequence);
        }
        verifying.guard
    }

    /// Takes note of a batch of a log that is read at a start, where `record` is what a control batch
    /// says; answers the transaction that it ended, and whether it counts.
    pub(super) fn replay(
        &mut self,
        batch: &BatchHeader,
        record: Option<ControlRecord>,
    ) -> Option<(Ended, bool)> {
        if let Some(ControlRecord::EndTransaction { committed, coordinator_epoch }) = record {
            let ended = self.end_transaction(batch, coordinator_epoch)?;
            return Some((ended, committed));
        }
        self.update(batch);
        None
    }

    /// Takes note of a marker that is in the log; answers the transaction that it ended, if one was
    /// open.
    pub(super) fn end_transaction(
        &mut self,
        batch: &BatchHeader,
        coordinator_epoch: i32,
    ) -> Option<Ended> {
        self.verifying.remove(&batch.producer_id);
        let entry = self.entry(batch);
        let first_offset = std::mem::replace(&mut entry.transaction_start, -1);
        entry.coordinator_epoch = coordinator_epoch;
        self.open.remove(&first_offset);
        (first_offset >= 0).then(|| Ended {
            producer_id: batch.producer_id,
            first_offset,
            last_offset: batch.last_offset(),
        })
    }

    /// The last stable offset once this transaction has ended and consumers may see it.
    pub(super) fn stable_after(&self, ended: &Ended) -> i64 {
        let other = self.open.iter().find(|(_, id)| **id != ended.producer_id);
        other.map_or(ended.last_offset + 1, |(first, _)| *first)
    }

    /// A transaction has ended, above the high watermark.
    pub(super) fn completed(&mut self, ended: &Ended) {
        self.ended.insert(ended.first_offset, ended.last_offset);
    }

    /// Consumers may see everything before this offset.
    pub(super) fn passed(&mut self, high_watermark: i64) {
        if !self.ended.is_empty() {
            self.ended.retain(|_, last| *last >= high_watermark);
        }
    }

    /// The offset before which everything is decided, and may be seen.
    pub(super) fn stable_offset(&self, log_start_offset: i64, high_watermark: i64) -> i64 {
        let open = self.open.keys().next().copied();
        let ended = self.ended.keys().next().copied();
        let unstable = open.into_iter().chain(ended).min();
        unstable.map_or(high_watermark, |first| first.max(log_start_offset).min(high_watermark))
    }

    /// A batch's producer, known from now on, with its epoch and the batch's timestamp.
    fn entry(&mut self, batch: &BatchHeader) -> &mut ProducerEntry {
        if !self.producers.contains_key(&batch.producer_id)
            && self.producers.len() >= limits::PRODUCERS_PER_LOG_MAX
        {
            self.forget_oldest();
        }
        let entry = self.producers.entry(batch.producer_id).or_insert_with(|| ProducerEntry {
            epoch: batch.producer_epoch,
            batches: Vec::new(),
            last_timestamp: -1,
            coordinator_epoch: -1,
            transaction_start: -1,
        });
        if entry.epoch != batch.producer_epoch {
            entry.epoch = batch.producer_epoch;
            entry.batches.clear();
        }
        entry.last_timestamp = batch.max_timestamp;
        entry
    }

    /// Takes note of a batch that is in the log, its offsets assigned.
    pub(super) fn update(&mut self, batch: &BatchHeader) {
        if !batch.has_producer_id() {
            return;
        }
        let entry = self.entry(batch);
        if batch.is_control() {
            // Its record is gone, or says nothing of transactions: the epoch is what is left of it.
            return;
        }
        if entry.batches.len() == BATCHES_KEPT {
            entry.batches.remove(0);
        }
        entry.batches.push(ProducedBatchMeta {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
        if batch.is_transactional() {
            if entry.transaction_start < 0 {
                entry.transaction_start = batch.base_offset;
                self.open.insert(batch.base_offset, batch.producer_id);
            }
            self.verifying.remove(&batch.producer_id);
        }
    }

    /// Forgets producers without a batch for `expiration_ms` (`producer.id.expiration.ms`).
    pub(super) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, entry| {
            entry.transaction_start >= 0
                || now_ms.saturating_sub(entry.last_timestamp) < expiration_ms
        });
        self.verifying
            .retain(|_, verifying| now_ms.saturating_sub(verifying.since_ms) < expiration_ms);
    }

    /// The last batch of every producer, for compaction to keep.
    pub(super) fn last_batches(&self) -> HashMap<i64, LastBatch> {
        let last = |entry: &ProducerEntry| LastBatch {
            data_offset: entry.batches.last().map(|batch| batch.last_offset),
            epoch: entry.epoch,
        };
        self.producers.iter().map(|(id, entry)| (*id, last(entry))).collect()
    }

    /// Makes room: the tenth of the producers whose last batch lies furthest back goes.
    fn forget_oldest(&mut self) {
        let last_offset =
            |entry: &ProducerEntry| entry.batches.last().map_or(-1, |batch| batch.last_offset);
        let mut offsets: Vec<i64> = self.producers.values().map(last_offset).collect();
        let tenth = offsets.len() / 10;
        let (_, bound, _) = offsets.select_nth_unstable(tenth);
        let bound = *bound;
        self.producers
            .retain(|_, entry| entry.transaction_start >= 0 || last_offset(entry) > bound);
    }

    /// For `DescribeProducers`, by producer id.
    pub(super) fn describe(&self) -> Vec<ProducerInfo> {
        let mut all: Vec<ProducerInfo> = self
            .producers
            .iter()
            .map(|(id, entry)| ProducerInfo {
                producer_id: *id,
                producer_epoch: entry.epoch,
                last_sequence: entry.batches.last().map_or(-1, |batch| batch.last_sequence),
                last_timestamp: entry.last_timestamp,
                coordinator_epoch: entry.coordinator_epoch,
                current_transaction_start_offset: entry.transaction_start,
            })
            .collect();
        all.sort_by_key(|producer| producer.producer_id);
        all
    }
}

fn check_epoch(
    entry: &ProducerEntry,
    id: i64,
    epoch: i16,
    offset: i64,
    partition: &str,
) -> Result<(), LogError> {
    if epoch < entry.epoch {
        return Err(LogError::InvalidProducerEpoch(format!(
            "Epoch of producer {id} at offset {offset} in {partition} is {epoch}, which is \
             smaller than the last seen epoch {}",
            entry.epoch
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Origin = Origin::Client(Verification::Required(None));

    fn batch(epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_length: 0,
            partition_leader_epoch: 0,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: 1_000 + base_offset,
            producer_id: 7,
            producer_epoch: epoch,
            base_sequence,
            record_count: count,
        }
    }

    fn append(states: &mut ProducerStates, batch: &BatchHeader) -> Result<bool, LogError> {
        let repeated = states.check(batch, batch.base_offset, "t-0", CLIENT)?;
        if repeated.is_none() {
            states.update(batch);
        }
        Ok(repeated.is_some())
    }

    #[test]
    fn the_last_five_batches_are_recognised() {
        let mut states = ProducerStates::default();
        for n in 0..6 {
            assert!(!append(&mut states, &batch(0, n * 10, 10, i64::from(n) * 10)).unwrap());
        }
        for n in 1..6 {
            let repeated =
                states.check(&batch(0, n * 10, 10, 0), 60, "t-0", CLIENT).unwrap().unwrap();
            assert_eq!(repeated.base_offset(), i64::from(n) * 10);
        }
        let sixth = states.check(&batch(0, 0, 10, 0), 60, "t-0", CLIENT);
        assert!(matches!(sixth, Err(LogError::OutOfOrderSequence(_))), "{sixth:?}");
        let other_length = states.check(&batch(0, 50, 9, 0), 60, "t-0", CLIENT);
        assert!(matches!(other_length, Err(LogError::OutOfOrderSequence(_))), "{other_length:?}");
    }

    #[test]
    fn a_gap_is_refused_and_an_unknown_producer_is_not() {
        let mut states = ProducerStates::default();
        assert!(!append(&mut states, &batch(3, 17, 1, 0)).unwrap());
        let gap = append(&mut states, &batch(3, 19, 1, 1));
        assert!(matches!(gap, Err(LogError::OutOfOrderSequence(_))), "{gap:?}");
        assert!(!append(&mut states, &batch(3, 18, 1, 1)).unwrap());
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old() {
        let mut states = ProducerStates::default();
        append(&mut states, &batch(0, 0, 5, 0)).unwrap();
        let late = append(&mut states, &batch(1, 5, 1, 5));
        assert!(matches!(late, Err(LogError::OutOfOrderSequence(_))), "{late:?}");
        assert!(!append(&mut states, &batch(1, 0, 1, 5)).unwrap());
        let fenced = append(&mut states, &batch(0, 5, 1, 6));
        assert!(matches!(fenced, Err(LogError::InvalidProducerEpoch(_))), "{fenced:?}");
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut states = ProducerStates::default();
        append(&mut states, &batch(0, i32::MAX - 1, 4, 0)).unwrap();
        let repeated =
            states.check(&batch(0, i32::MAX - 1, 4, 0), 4, "t-0", CLIENT).unwrap().unwrap();
        assert_eq!((repeated.last_sequence, repeated.base_offset()), (1, 0));
        assert!(!append(&mut states, &batch(0, 2, 1, 4)).unwrap());
        let mut states = ProducerStates::default();
        append(&mut states, &batch(0, i32::MAX, 1, 0)).unwrap();
        assert!(!append(&mut states, &batch(0, 0, 1, 1)).unwrap());
    }

    #[test]
    fn producers_expire_by_their_last_timestamp() {
        let mut states = ProducerStates::default();
        append(&mut states, &batch(0, 0, 1, 0)).unwrap();
        states.expire(1_000 + 99, 100);
        assert_eq!(states.len(), 1);
        states.expire(1_000 + 100, 100);
        assert_eq!(states.len(), 0);
    }
}
