//! Control batches: the markers that end a transaction on a partition (KIP-98).
//!
//! Such a batch has one record. Its key is a version and a type (i16 each), its value a version (i16)
//! and the epoch of the transaction coordinator that wrote it (i32).

use std::ops::ControlFlow;

use super::records::{RecordStart, Source, Walk, headers, start, take_nullable, with_source};
use super::rewrite::put_varint;
use super::{BatchError, BatchHeader, HEADER_LENGTH};

/// Bytes of a key or value that are looked at; later versions may be longer.
const FIELD_MAX: usize = 16;

/// What a control record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlRecord {
    /// The producer's transaction ends here.
    EndTransaction {
        /// Whether its records count.
        committed: bool,
        /// Epoch of the transaction coordinator that decided it.
        coordinator_epoch: i32,
    },
    /// Something else: a type of `KRaft`'s, or one that is not known.
    Other,
}

/// The control record of a control batch; `None` if compaction took it and left the header.
///
/// # Errors
/// As [`super::for_each_record`].
pub fn control_record(
    header: &BatchHeader,
    batch: &[u8],
) -> Result<Option<ControlRecord>, BatchError> {
    with_source(header, batch, &mut First { header })
}

struct First<'a> {
    header: &'a BatchHeader,
}

impl Walk for First<'_> {
    type Value = ControlRecord;

    fn record<S: Source>(
        &mut self,
        _: i32,
        source: &mut S,
    ) -> Result<ControlFlow<ControlRecord>, BatchError> {
        let RecordStart { mut left, .. } = start(self.header, source)?;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let keep = |into: &mut Vec<u8>, piece: &[u8]| {
            let room = FIELD_MAX.saturating_sub(into.len());
            into.extend_from_slice(piece.get(..room).unwrap_or(piece));
        };
        take_nullable(source, &mut left, |piece| keep(&mut key, piece))?;
        take_nullable(source, &mut left, |piece| keep(&mut value, piece))?;
        headers(source, left)?;
        Ok(ControlFlow::Break(meaning(&key, &value)))
    }
}

fn meaning(key: &[u8], value: &[u8]) -> ControlRecord {
    let number = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 2).and_then(|b| b.first_chunk::<2>()).map(|b| i16::from_be_bytes(*b))
    };
    let committed = match (number(key, 0), number(key, 2)) {
        (Some(0..), Some(0)) => false,
        (Some(0..), Some(1)) => true,
        _ => return ControlRecord::Other,
    };
    match (number(value, 0), value.get(2..6).and_then(|b| b.first_chunk::<4>())) {
        (Some(0..), Some(epoch)) => ControlRecord::EndTransaction {
            committed,
            coordinator_epoch: i32::from_be_bytes(*epoch),
        },
        _ => ControlRecord::Other,
    }
}

/// The batch of a marker, for the log to give an offset.
pub fn control_batch(
    producer_id: i64,
    producer_epoch: i16,
    now_ms: i64,
    committed: bool,
    coordinator_epoch: i32,
) -> Vec<u8> {
    let mut body = vec![0];
    put_varint(&mut body, 0);
    put_varint(&mut body, 0);
    put_varint(&mut body, 4);
    body.extend_from_slice(&[0, 0, 0, u8::from(committed)]);
    put_varint(&mut body, 6);
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(&coordinator_epoch.to_be_bytes());
    put_varint(&mut body, 0);
    let mut batch = vec![0; HEADER_LENGTH];
    put_varint(&mut batch, i64::try_from(body.len()).unwrap_or(0));
    batch.extend_from_slice(&body);
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        partition_leader_epoch: -1,
        crc: 0,
        attributes: 0x30,
        last_offset_delta: 0,
        base_timestamp: now_ms,
        max_timestamp: now_ms,
        producer_id,
        producer_epoch,
        base_sequence: -1,
        record_count: 1,
    };
    header.seal(&mut batch);
    batch
}

#[cfg(test)]
mod tests {
    use super::super::testing::seal;
    use super::super::verified_batch;
    use super::*;

    #[test]
    fn a_marker_reads_back() {
        for committed in [true, false] {
            let batch = control_batch(9, 3, 1_000, committed, 17);
            let (header, batch) = verified_batch(&batch).unwrap();
            assert!(header.is_control() && header.is_transactional());
            let found = control_record(&header, batch).unwrap().unwrap();
            assert_eq!(found, ControlRecord::EndTransaction { committed, coordinator_epoch: 17 });
        }
    }

    #[test]
    fn every_cut_and_every_change_is_an_error_or_another_marker() {
        let good = control_batch(9, 3, 1_000, true, 17);
        for end in HEADER_LENGTH..good.len() {
            let mut cut = good[..end].to_vec();
            seal(&mut cut);
            let header = BatchHeader::parse(&cut).unwrap();
            assert!(control_record(&header, &cut).is_err(), "prefix of {end}");
        }
        for at in HEADER_LENGTH..good.len() {
            for flip in 1..=255 {
                let mut changed = good.clone();
                changed[at] ^= flip;
                let header = BatchHeader::parse(&changed).unwrap();
                let _ = control_record(&header, &changed);
            }
        }
    }
}
