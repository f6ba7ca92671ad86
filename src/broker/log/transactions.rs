//! The log's side of transactions (KIP-98): what a transaction coordinator of this process calls.
//!
//! 1. A producer's first transactional batch on a partition is only appended once the coordinator
//!    has said that the partition is part of an open transaction (KIP-890, part one): ask
//!    [`PartitionLog::begin_verification`] for a guard, ask the coordinator, and pass the guard to
//!    [`PartitionLog::append_as`]. While the transaction is open its further batches need none.
//! 2. [`PartitionLog::append_marker`] ends the transaction. Of one that was aborted, the segment's
//!    `.txnindex` says what does not count.
//! 3. [`PartitionLog::last_stable_offset`] is where the first open transaction begins;
//!    [`PartitionLog::locate_committed`] reads up to there, and names the aborted ones.

use bytes::Bytes;

use super::append::Marker;
use super::validate::ProducedBatch;
use super::{AppendInfo, AppendOptions, LogError, PartitionLog};
use crate::kafka::record_batch::{BatchHeader, control_batch};

/// Names one verification of one producer on one partition: a marker that comes between makes it
/// void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionGuard(pub(super) u64);

/// Whether a transactional batch must be part of a transaction that the coordinator knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// It need not (`transaction.partition.verification.enable=false`).
    Off,
    /// It must; with the guard under which the coordinator said so, if it was asked.
    Required(Option<TransactionGuard>),
}

/// Who appends a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A producer: sequence numbers count.
    Client(Verification),
    /// The coordinator of a consumer group, on behalf of a producer: there are none.
    Coordinator(Verification),
}

impl Origin {
    pub(super) fn is_client(self) -> bool {
        matches!(self, Origin::Client(_))
    }

    pub(super) fn verification(self) -> Verification {
        let (Origin::Client(verification) | Origin::Coordinator(verification)) = self;
        verification
    }
}

/// The end of a producer's transaction on one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionMarker {
    /// The producer.
    pub producer_id: i64,
    /// Its epoch; a newer one than its batches had fences them.
    pub producer_epoch: i16,
    /// Whether its records count.
    pub committed: bool,
    /// Epoch of the coordinator that decided: the leader epoch of its partition of
    /// `__transaction_state`.
    pub coordinator_epoch: i32,
}

impl PartitionLog {
    /// Whether a producer's transaction is open here.
    pub fn has_open_transaction(&self, producer_id: i64) -> bool {
        self.appender.lock().producers.has_open_transaction(producer_id)
    }

    /// Begins to verify the transaction of a batch that is to be appended (`sequence` is that of its
    /// first record); `None` if it is open, so that no verification is needed.
    pub fn begin_verification(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        sequence: i32,
        now_ms: i64,
    ) -> Option<TransactionGuard> {
        let mut appender = self.appender.lock();
        if appender.producers.has_open_transaction(producer_id) {
            return None;
        }
        Some(appender.producers.begin_verification(producer_id, producer_epoch, sequence, now_ms))
    }

    /// Appends as [`PartitionLog::append`] does, for a batch that may be transactional.
    ///
    /// # Errors
    /// As there; [`LogError::InvalidTransactionState`] for a transactional batch whose transaction
    /// is neither open nor verified, and for another batch while one is open.
    pub fn append_as(
        &self,
        records: &Bytes,
        options: &AppendOptions,
        origin: Origin,
    ) -> Result<AppendInfo, LogError> {
        self.append_from(records, options, origin)
    }

    /// Ends a producer's transaction: appends the control batch, and lets consumers read on. Without
    /// an open transaction the marker is written all the same, and fences older epochs. `options` says
    /// the leader epoch and the time.
    ///
    /// # Errors
    /// [`LogError::InvalidProducerEpoch`] for an epoch below the known one,
    /// [`LogError::CoordinatorFenced`] for a coordinator epoch below the known one,
    /// [`LogError::Storage`], [`LogError::Deleted`], [`LogError::Offline`].
    pub fn append_marker(
        &self,
        marker: &TransactionMarker,
        options: &AppendOptions,
    ) -> Result<AppendInfo, LogError> {
        let batch = control_batch(
            marker.producer_id,
            marker.producer_epoch,
            options.now_ms,
            marker.committed,
            marker.coordinator_epoch,
        );
        let header = BatchHeader::parse(&batch)
            .map_err(|error| LogError::CorruptMessage(error.to_string()))?;
        let produced =
            ProducedBatch { header, size: batch.len(), max_timestamp: header.max_timestamp };
        let ends =
            Marker { committed: marker.committed, coordinator_epoch: marker.coordinator_epoch };
        let config = self.config.load();
        let mut appender = self.appender.lock();
        if self.is_closed() {
            return Err(LogError::Deleted);
        }
        self.check_online()?;
        let offset = appender.next_offset;
        appender.producers.check_marker(marker, offset, &self.name)?;
        let info =
            self.append_checked(&mut appender, &batch, &produced, options, &config, Some(ends))?;
        drop(appender);
        if !info.flush_due {
            self.notify_waiters();
        }
        Ok(info)
    }
}
