//! Reads a partition of `__consumer_offsets` when this broker comes to lead it.

use std::io;
use std::ops::ControlFlow;

use super::group::Now;
use super::records::{BadRecord, GroupValue, Key, OffsetValue};
use super::shard::{Restored, Shard};
use crate::broker::log::{LogError, PartitionLog};
use crate::kafka::record_batch::{self, BatchError, BatchHeader, ControlRecord};
use crate::limits;

/// Why a log can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("{0}")]
    Log(#[from] LogError),
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("no batch begins at offset {0}: {1}")]
    Damaged(i64, BatchError),
}

/// Takes up all records of a log. A damaged one is named and left out, as Kafka does.
pub(super) fn read(log: &PartitionLog, shard: &mut Shard, now: Now) -> Result<u64, LoadError> {
    let mut offset = log.log_start_offset();
    let mut records = 0;
    let mut named = 0;
    loop {
        let slice = log.locate(offset, limits::GROUPS_READ_BYTES, true)?;
        let Some(batches) = slice.batches else { return Ok(records) };
        let bytes = batches.read(batches.len())?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let header =
                BatchHeader::parse(rest).map_err(|error| LoadError::Damaged(offset, error))?;
            let Some(batch) = rest.get(..header.size()) else { break };
            let transaction = header.is_transactional().then_some(header.producer_id);
            let outcome = if header.is_control() {
                record_batch::control_record(&header, batch).map(|marker| {
                    if let Some(ControlRecord::EndTransaction { committed, .. }) = marker {
                        shard.end_transaction(header.producer_id, committed);
                    }
                })
            } else {
                record_batch::for_each_key_value(&header, batch, |at, key, value| {
                    records += 1;
                    let taken = take_up(shard, key, value, at, transaction, now);
                    if let Err(reason) = taken
                        && named < limits::RECORDS_NAMED_MAX
                    {
                        named += 1;
                        tracing::warn!(
                            topic = %log.topic(),
                            partition = log.partition(),
                            offset = at,
                            %reason,
                            "a record is left out"
                        );
                    }
                    ControlFlow::<()>::Continue(())
                })
                .map(|_| ())
            };
            if let Err(error) = outcome {
                tracing::warn!(
                    topic = %log.topic(),
                    partition = log.partition(),
                    offset = header.base_offset,
                    %error,
                    "a batch is left out"
                );
            }
            offset = header.last_offset() + 1;
            rest = &rest[header.size()..];
        }
    }
}

fn take_up(
    shard: &mut Shard,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    at: i64,
    transaction: Option<i64>,
    now: Now,
) -> Result<(), BadRecord> {
    let Some(key) = Key::decode(key.unwrap_or_default())? else { return Ok(()) };
    let value = match (&key, value) {
        (_, None) => None,
        (Key::Offset { .. }, Some(value)) => Some(Restored::Offset(OffsetValue::decode(value)?)),
        (Key::Group(_), Some(value)) => Some(Restored::Group(GroupValue::decode(value)?)),
    };
    shard.restore(key, value, at, transaction, now);
    Ok(())
}
