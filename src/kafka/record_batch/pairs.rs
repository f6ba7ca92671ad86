//! Records as keys and values: those that the broker itself writes and reads, in the internal topics.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::records::{RecordStart, Source, Walk, headers, start, take_nullable, with_source};
use super::rewrite::put_varint;
use super::{BatchError, BatchHeader, HEADER_LENGTH, NO_PRODUCER_ID};

/// Walks the records of a whole batch with their offsets, keys and values.
///
/// # Errors
/// As [`super::for_each_record`].
pub fn for_each_key_value<B>(
    header: &BatchHeader,
    batch: &[u8],
    visit: impl FnMut(i64, Option<&[u8]>, Option<&[u8]>) -> ControlFlow<B>,
) -> Result<Option<B>, BatchError> {
    let (key, value) = (Vec::new(), Vec::new());
    with_source(header, batch, &mut Pairs { header, visit, key, value })
}

struct Pairs<'a, F> {
    header: &'a BatchHeader,
    visit: F,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<B, F> Walk for Pairs<'_, F>
where
    F: FnMut(i64, Option<&[u8]>, Option<&[u8]>) -> ControlFlow<B>,
{
    type Value = B;

    fn record<S: Source>(&mut self, _: i32, source: &mut S) -> Result<ControlFlow<B>, BatchError> {
        let RecordStart { mut left, offset_delta, .. } = start(self.header, source)?;
        let Pairs { key, value, .. } = self;
        key.clear();
        value.clear();
        let has_key = take_nullable(source, &mut left, |piece| key.extend_from_slice(piece))?;
        let has_value = take_nullable(source, &mut left, |piece| value.extend_from_slice(piece))?;
        headers(source, left)?;
        let offset = self.header.base_offset.saturating_add(i64::from(offset_delta));
        let (key, value) = (has_key.then_some(&key[..]), has_value.then_some(&value[..]));
        Ok((self.visit)(offset, key, value))
    }
}

/// A batch of these records without compression, for the log to give offsets: those of a producer's
/// transaction if one is named, by id and epoch.
pub fn plain_batch(
    records: &[(Bytes, Option<Bytes>)],
    now_ms: i64,
    producer: Option<(i64, i16)>,
) -> Vec<u8> {
    let mut batch = vec![0; HEADER_LENGTH];
    let mut body = Vec::new();
    for (index, (key, value)) in (0_i64..).zip(records) {
        body.clear();
        body.push(0);
        put_varint(&mut body, 0);
        put_varint(&mut body, index);
        put_bytes(&mut body, Some(key));
        put_bytes(&mut body, value.as_deref());
        put_varint(&mut body, 0);
        put_varint(&mut batch, i64::try_from(body.len()).unwrap_or(0));
        batch.extend_from_slice(&body);
    }
    let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
    let (producer_id, producer_epoch) = producer.unwrap_or((NO_PRODUCER_ID, -1));
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        partition_leader_epoch: -1,
        crc: 0,
        // The bit of a transaction.
        attributes: if producer.is_some() { 0x10 } else { 0 },
        last_offset_delta: count - 1,
        base_timestamp: now_ms,
        max_timestamp: now_ms,
        producer_id,
        producer_epoch,
        base_sequence: -1,
        record_count: count,
    };
    header.seal(&mut batch);
    batch
}

fn put_bytes(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(into, i64::try_from(bytes.len()).unwrap_or(0));
            into.extend_from_slice(bytes);
        }
        None => put_varint(into, -1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::verified_batch;
    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            records in proptest::collection::vec(
                (
                    proptest::collection::vec(any::<u8>(), 0..40),
                    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
                ),
                1..10,
            ),
            producer in proptest::option::of((0..i64::MAX, 0..i16::MAX)),
        ) {
            let written: Vec<(Bytes, Option<Bytes>)> = records
                .into_iter()
                .map(|(key, value)| (Bytes::from(key), value.map(Bytes::from)))
                .collect();
            let batch = plain_batch(&written, 1_000, producer);
            let (header, batch) = verified_batch(&batch).unwrap();
            prop_assert_eq!(header.is_transactional(), producer.is_some());
            let mut read = Vec::new();
            for_each_key_value(&header, batch, |offset, key, value| {
                let copied = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
                read.push((offset, copied(key.unwrap()), value.map(copied)));
                ControlFlow::<()>::Continue(())
            })
            .unwrap();
            let expected: Vec<_> = (0_i64..)
                .zip(written)
                .map(|(offset, (key, value))| (offset, key, value))
                .collect();
            prop_assert_eq!(read, expected);
        }
    }
}
