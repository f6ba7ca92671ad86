//! What compaction leaves of one batch: Kafka's `Cleaner.shouldRetainRecord` and
//! `MemoryRecords.filterTo`.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::offset_map::OffsetMap;
use crate::kafka::record_batch::{
    BatchError, BatchHeader, KeyedRecord, empty_batch, for_each_keyed_record, rewritten_batch,
};

/// The last batch of a producer that may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker::log) struct LastBatch {
    /// Last offset of its last batch of records, if it has any in the log.
    pub(in crate::broker::log) data_offset: Option<i64>,
    /// Its epoch.
    pub(in crate::broker::log) epoch: i16,
}

/// By what is filtered.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    /// The newest offset of every key of the dirty part.
    pub(super) map: &'a OffsetMap,
    /// The producers that the log remembers, by id.
    pub(super) producers: &'a HashMap<i64, LastBatch>,
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
}

/// What is left of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// The batch as it is.
    All,
    /// Another one in its place.
    Part(Vec<u8>),
}

impl Filter<'_> {
    /// Filters a batch. `needless` says that it was aborted or, for a control batch, that no record
    /// of its transaction is left.
    ///
    /// # Errors
    /// A batch that can't be decoded.
    pub(super) fn apply(
        &self,
        header: &BatchHeader,
        batch: &[u8],
        needless: bool,
    ) -> Result<Left, BatchError> {
        let control = header.is_control();
        let horizon = header.delete_horizon_ms();
        // A marker waits for its horizon first, so that no reader misses it.
        let discard = needless && (!control || horizon.is_some_and(|at| at <= self.now_ms));
        let keep_empty = header.has_producer_id() && self.is_last_of_producer(header);
        if discard {
            return Ok(if keep_empty { Left::Part(empty_batch(header)) } else { Left::Nothing });
        }
        let mut kept = Vec::new();
        let (mut all, mut tombstones) = (true, false);
        for_each_keyed_record(header, batch, |record| {
            let keep = control || self.keeps(horizon, &record);
            all &= keep;
            tombstones |= keep && !record.has_value;
            kept.push(keep);
            ControlFlow::<()>::Continue(())
        })?;
        if !kept.contains(&true) {
            return Ok(if keep_empty { Left::Part(empty_batch(header)) } else { Left::Nothing });
        }
        let set_horizon = horizon.is_none() && (tombstones || (control && needless));
        if all && !set_horizon {
            return Ok(Left::All);
        }
        let horizon = if set_horizon {
            Some(self.now_ms.saturating_add(self.delete_retention_ms))
        } else {
            horizon
        };
        let is_kept =
            |index: i32| usize::try_from(index).ok().and_then(|at| kept.get(at)) == Some(&true);
        let codec = (header.compression()?, None);
        Ok(Left::Part(rewritten_batch(header, batch, codec, horizon, is_kept)?))
    }

    /// A producer's last batch stays, if only as a header: its sequence number, or the epoch of its
    /// marker, is what keeps it from being cut in on.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        self.producers.get(&header.producer_id).is_some_and(|last| match last.data_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == last.epoch,
        })
    }

    fn keeps(&self, horizon: Option<i64>, record: &KeyedRecord) -> bool {
        if record.offset > self.map.latest_offset() {
            return true;
        }
        // Without a key it is nobody's newest; a compacted topic takes no such record.
        let Some(key) = record.key else { return false };
        let newest = self.map.get(&key).is_none_or(|newest| record.offset >= newest);
        newest && (record.has_value || horizon.is_none_or(|at| self.now_ms < at))
    }
}
