//! The one place that encodes records anew: batches that compaction takes records out of, and those
//! whose codec a topic changes.
//!
//! A record's key, value and headers are copied as the bytes that they are, so that duplicate and
//! empty header keys stay; its offset and its timestamp stay what they were too.

use std::io::Write as _;
use std::ops::ControlFlow;

use sha2::{Digest as _, Sha256};

use super::compression::Compressor;
use super::records::{
    RecordStart, Source, Walk, headers, malformed, skip_nullable, start, take_nullable, with_source,
};
use super::{BatchError, BatchHeader, Compression, DELETE_HORIZON, HEADER_LENGTH, NO_TIMESTAMP};

/// Half of the SHA-256 of a record's key: two keys with the same one are the same key. (Kafka's
/// MD5 can be made to collide, and then one record would take the other's place.)
pub type KeyHash = [u8; 16];

/// What compaction needs to know of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyedRecord {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: i64,
    /// Its key, `None` without one.
    pub key: Option<KeyHash>,
    /// Whether it has a value; without one it is a tombstone.
    pub has_value: bool,
}

/// Walks the records of a whole batch as [`super::for_each_record`] does, with their keys.
///
/// # Errors
/// As there.
pub fn for_each_keyed_record<B>(
    header: &BatchHeader,
    batch: &[u8],
    visit: impl FnMut(KeyedRecord) -> ControlFlow<B>,
) -> Result<Option<B>, BatchError> {
    with_source(header, batch, &mut Keys { header, visit })
}

struct Keys<'a, F> {
    header: &'a BatchHeader,
    visit: F,
}

impl<B, F: FnMut(KeyedRecord) -> ControlFlow<B>> Walk for Keys<'_, F> {
    type Value = B;

    fn record<S: Source>(&mut self, _: i32, source: &mut S) -> Result<ControlFlow<B>, BatchError> {
        let RecordStart { mut left, timestamp, offset_delta } = start(self.header, source)?;
        let mut hash = Sha256::new();
        let has_key = take_nullable(source, &mut left, |piece| hash.update(piece))?;
        let has_value = skip_nullable(source, &mut left)?;
        headers(source, left)?;
        let key = has_key.then(|| {
            let mut key = KeyHash::default();
            key.copy_from_slice(&hash.finalize()[..size_of::<KeyHash>()]);
            key
        });
        let offset = self.header.base_offset.saturating_add(i64::from(offset_delta));
        Ok((self.visit)(KeyedRecord { offset, timestamp, key, has_value }))
    }
}

/// A batch with only those records of `batch` for whose index `keep` holds, in `codec`. Offsets,
/// sequence numbers and the producer stay. With `delete_horizon_ms`, the timestamps count from it.
///
/// # Errors
/// As [`super::for_each_record`]; [`BatchError::Malformed`] for a record that can't be written.
pub fn rewritten_batch(
    header: &BatchHeader,
    batch: &[u8],
    codec: (Compression, Option<i32>),
    delete_horizon_ms: Option<i64>,
    keep: impl FnMut(i32) -> bool,
) -> Result<Vec<u8>, BatchError> {
    let (codec, level) = codec;
    let out = Compressor::new(codec, level, vec![0; HEADER_LENGTH]).map_err(|e| unwritten(&e))?;
    let mut copy = Copy {
        header,
        keep,
        out,
        base_timestamp: delete_horizon_ms,
        max_timestamp: NO_TIMESTAMP,
        count: 0,
    };
    with_source(header, batch, &mut copy)?;
    let Copy { out, base_timestamp, max_timestamp, count, .. } = copy;
    let mut bytes = out.finish().map_err(|error| unwritten(&error))?;
    let horizon = if delete_horizon_ms.is_some() { DELETE_HORIZON } else { 0 };
    let sealed = BatchHeader {
        attributes: (header.attributes & 0x38) | codec.id() | horizon,
        base_timestamp: base_timestamp.unwrap_or(NO_TIMESTAMP),
        max_timestamp: if header.is_log_append_time() {
            header.max_timestamp
        } else {
            max_timestamp
        },
        record_count: count,
        ..*header
    };
    sealed.seal(&mut bytes);
    Ok(bytes)
}

/// The header alone of a batch that has no records any more: it keeps its offsets, and its
/// producer's epoch and sequence numbers.
pub fn empty_batch(header: &BatchHeader) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LENGTH];
    let sealed = BatchHeader {
        attributes: header.attributes & 0x38,
        base_timestamp: NO_TIMESTAMP,
        record_count: 0,
        ..*header
    };
    sealed.seal(&mut bytes);
    bytes
}

fn unwritten(error: &std::io::Error) -> BatchError {
    malformed(&format!("the records can't be compressed: {error}"))
}

struct Copy<'a, F> {
    header: &'a BatchHeader,
    keep: F,
    out: Compressor,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    count: i32,
}

impl<F: FnMut(i32) -> bool> Walk for Copy<'_, F> {
    type Value = ();

    fn record<S: Source>(
        &mut self,
        index: i32,
        source: &mut S,
    ) -> Result<ControlFlow<()>, BatchError> {
        let RecordStart { left, timestamp, offset_delta } = start(self.header, source)?;
        if !(self.keep)(index) {
            source.skip(left)?;
            return Ok(ControlFlow::Continue(()));
        }
        let base = *self.base_timestamp.get_or_insert(timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.count += 1;
        let mut fields = Vec::with_capacity(16);
        fields.push(0);
        put_varint(&mut fields, timestamp.wrapping_sub(base));
        put_varint(&mut fields, i64::from(offset_delta));
        let length = left.saturating_add(fields.len() as u64);
        let length = i32::try_from(length).map_err(|_| malformed("a record is too long"))?;
        let mut start = Vec::with_capacity(24);
        put_varint(&mut start, i64::from(length));
        start.extend_from_slice(&fields);
        let mut failed = self.out.write_all(&start).err();
        source.take(left, |piece| {
            if failed.is_none() {
                failed = self.out.write_all(piece).err();
            }
        })?;
        match failed {
            Some(error) => Err(unwritten(&error)),
            None => Ok(ControlFlow::Continue(())),
        }
    }
}

/// A number as a zigzag varint, as records hold all of theirs.
pub(super) fn put_varint(into: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        into.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    into.push(u8::try_from(rest).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::records::RecordBatchDecoder;
    use proptest::prelude::*;

    use super::super::testing::TestBatch;
    use super::super::verified_batch;
    use super::*;

    const CODECS: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    fn keyed(batch: &[u8]) -> Vec<KeyedRecord> {
        let (header, batch) = verified_batch(batch).unwrap();
        let mut all = Vec::new();
        for_each_keyed_record(&header, batch, |record| {
            all.push(record);
            ControlFlow::<()>::Continue(())
        })
        .unwrap();
        all
    }

    /// Everything of a record behind its length, timestamp and offset, as raw bytes.
    fn tails(batch: &[u8]) -> Vec<Vec<u8>> {
        struct Tails<'a>(&'a BatchHeader, Vec<Vec<u8>>);
        impl Walk for Tails<'_> {
            type Value = ();
            fn record<S: Source>(
                &mut self,
                _: i32,
                source: &mut S,
            ) -> Result<ControlFlow<()>, BatchError> {
                let left = start(self.0, source)?.left;
                let mut tail = Vec::new();
                source.take(left, |piece| tail.extend_from_slice(piece))?;
                self.1.push(tail);
                Ok(ControlFlow::Continue(()))
            }
        }
        let (header, batch) = verified_batch(batch).unwrap();
        let mut tails = Tails(&header, Vec::new());
        with_source(&header, batch, &mut tails).unwrap();
        tails.1
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn what_is_kept_stays_as_it_was(
            records in proptest::collection::vec(
                (
                    0i64..100_000,
                    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..8)),
                    proptest::option::of(0usize..2_000),
                    any::<bool>(),
                ),
                1..20,
            ),
            from in 0usize..5,
            to in 0usize..5,
            append_time in any::<bool>(),
            horizon in proptest::option::of(0i64..1_000_000),
        ) {
            let mut batch = TestBatch::of(500, &[]).compressed(CODECS[from]).by(7, 2, 40);
            batch.records = records
                .iter()
                .map(|(delta, key, value, _)| (*delta, key.clone(), value.map(|n| vec![b'v'; n])))
                .collect();
            if append_time {
                batch.attributes = 0x08;
                batch.max_timestamp = Some(123_456);
            }
            let original = batch.build();
            let header = BatchHeader::parse(&original).unwrap();
            let kept: Vec<bool> = records.iter().map(|record| record.3).collect();
            let keep = |index: i32| kept[usize::try_from(index).unwrap()];
            let rewritten =
                rewritten_batch(&header, &original, (CODECS[to], None), horizon, keep).unwrap();
            let (now, _) = verified_batch(&rewritten).unwrap();
            let only = |all: Vec<KeyedRecord>| {
                all.into_iter().zip(&kept).filter(|(_, keep)| **keep).map(|(r, _)| r)
                    .collect::<Vec<_>>()
            };
            prop_assert_eq!(keyed(&rewritten), only(keyed(&original)));
            let expected: Vec<_> = tails(&original).into_iter().zip(&kept)
                .filter(|(_, keep)| **keep).map(|(tail, _)| tail).collect();
            prop_assert_eq!(tails(&rewritten), expected);
            prop_assert_eq!(now.delete_horizon_ms(), horizon);
            prop_assert_eq!(now.compression().unwrap(), CODECS[to]);
            prop_assert_eq!(
                (now.base_offset, now.last_offset_delta, now.producer_id, now.producer_epoch),
                (header.base_offset, header.last_offset_delta, 7, 2)
            );
            prop_assert_eq!((now.base_sequence, now.is_log_append_time()), (40, append_time));
        }
    }

    #[test]
    fn another_decoder_reads_every_codec() {
        for codec in CODECS {
            let long = vec![b'x'; 200_000];
            let original = TestBatch::of(1_000, &[b"one", b"two", &long]).build();
            let header = BatchHeader::parse(&original).unwrap();
            let kept = |index| index != 1;
            let rewritten =
                rewritten_batch(&header, &original, (codec, None), Some(77), kept).unwrap();
            let mut bytes = Bytes::from(rewritten);
            let read = RecordBatchDecoder::decode_with_custom_compression(
                &mut bytes,
                Some(|bytes: &mut Bytes, _| {
                    // The crate's own codecs are not compiled in.
                    let mut plain = Vec::new();
                    let stream = super::super::compression::decompressor(codec, bytes, 1 << 20);
                    std::io::Read::read_to_end(&mut stream.unwrap(), &mut plain).unwrap();
                    Ok(Bytes::from(plain))
                }),
            )
            .unwrap();
            let read: Vec<_> =
                read.records.iter().map(|r| (r.offset, r.timestamp, r.value.clone())).collect();
            assert_eq!(read.len(), 2, "{codec:?}");
            assert_eq!(read[0], (0, 1_000, Some(Bytes::from_static(b"one"))));
            assert_eq!(read[1], (2, 1_002, Some(Bytes::from(long))));
        }
    }

    #[test]
    fn an_empty_batch_keeps_its_producer_and_its_offsets() {
        let batch = TestBatch::of(1_000, &[b"a", b"b"]).by(5, 1, 8).compressed(Compression::Zstd);
        let header = BatchHeader::parse(&batch.build()).unwrap();
        let empty = empty_batch(&header);
        let (now, _) = verified_batch(&empty).unwrap();
        assert_eq!((now.record_count, now.last_offset(), now.last_sequence()), (0, 1, 9));
        assert_eq!((now.max_timestamp, now.base_timestamp, now.attributes), (1_001, -1, 0));
        assert!(keyed(&empty).is_empty());
    }
}
