//! Batches of every codec, cut off, changed and lying.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::testing::{TestBatch, seal};
use super::*;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn walk(batch: &[u8]) -> Result<Vec<RecordMeta>, BatchError> {
    let (header, batch) = verified_batch(batch)?;
    let mut all = Vec::new();
    for_each_record(&header, batch, |record| {
        all.push(record);
        ControlFlow::<()>::Continue(())
    })?;
    Ok(all)
}

#[test]
fn records_of_every_codec_are_walked() {
    let long = vec![b'x'; 100_000];
    for codec in CODECS {
        for xerial in [true, false] {
            let mut batch = TestBatch::of(1_000, &[b"one", b"", &long]).compressed(codec);
            batch.xerial = xerial;
            batch.records[1].1 = Some(b"key".to_vec());
            batch.records[2].0 = -5;
            let records = walk(&batch.build()).unwrap();
            let timestamps: Vec<i64> = records.iter().map(|record| record.timestamp).collect();
            assert_eq!(timestamps, [1_000, 1_001, 995], "{codec:?}");
            let keys: Vec<bool> = records.iter().map(|record| record.has_key).collect();
            assert_eq!(keys, [false, true, false]);
            assert!(records.iter().all(|record| record.index == record.offset_delta));
        }
    }
}

#[test]
fn log_append_time_is_the_time_of_every_record() {
    let mut batch = TestBatch::of(1_000, &[b"a", b"b"]);
    batch.attributes = 0x08;
    batch.max_timestamp = Some(77);
    let records = walk(&batch.build()).unwrap();
    assert!(records.iter().all(|record| record.timestamp == 77));
}

#[test]
fn a_walk_can_be_broken_off() {
    let batch = TestBatch::of(0, &[b"a", b"b", b"c"]).build();
    let header = BatchHeader::parse(&batch).unwrap();
    let found = for_each_record(&header, &batch, |record| match record.index {
        1 => ControlFlow::Break(record.timestamp),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(found, Ok(Some(1)));
}

#[test]
fn a_patched_header_keeps_its_checksum_right() {
    let batch = TestBatch::of(1_000, &[b"a", b"b"]).compressed(Compression::Lz4).build();
    for timestamps in [None, Some((5_000, true)), Some((1_001, false))] {
        let patch = HeaderPatch { base_offset: 42, partition_leader_epoch: 7, timestamps };
        let mut patched = patched_header(&batch, &patch).unwrap().to_vec();
        patched.extend(&batch[HEADER_LENGTH..]);
        let (header, _) = verified_batch(&patched).unwrap();
        assert_eq!((header.base_offset, header.last_offset()), (42, 43));
        assert_eq!(header.partition_leader_epoch, 7);
        let (max_timestamp, append_time) = timestamps.unwrap_or((1_001, false));
        assert_eq!(header.max_timestamp, max_timestamp);
        assert_eq!(header.is_log_append_time(), append_time);
        assert_eq!(header.compression(), Ok(Compression::Lz4));
    }
}

#[test]
fn every_prefix_is_an_error() {
    for codec in CODECS {
        let batch = TestBatch::of(1_000, &[b"one", b"two", &[7; 300]]).compressed(codec).build();
        for end in 0..batch.len() {
            assert!(walk(&batch[..end]).is_err(), "{codec:?}, {end} bytes");
            // The same with a header that knows of no more: the records end too early.
            if end > HEADER_LENGTH {
                let mut cut = batch[..end].to_vec();
                seal(&mut cut);
                let records = walk(&cut).map_or(0, |records| records.len());
                // A codec's own trailer may go missing; a record may not.
                assert!(records == 0 || codec != Compression::None, "{codec:?}, {end} bytes");
            }
        }
    }
}

#[test]
fn every_changed_byte_is_noticed_or_harmless() {
    for codec in CODECS {
        let batch = TestBatch::of(1_000, &[b"one", b"two", &[7; 300]]).compressed(codec).build();
        for at in 0..batch.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut bad = batch.to_vec();
                bad[at] ^= flip;
                // Base offset and leader epoch are the broker's and not checksummed.
                let unchecked = at < 8 || (12..16).contains(&at);
                assert_eq!(walk(&bad).is_ok(), unchecked, "{codec:?}, byte {at}");
                // With the checksum set right it must not panic, hang or take much memory.
                seal(&mut bad);
                let _ = walk(&bad);
            }
        }
    }
}

#[test]
fn a_count_that_does_not_fit_is_refused() {
    for codec in CODECS {
        for count in [0, 1, 3, i32::MAX, -1] {
            let mut batch = TestBatch::of(0, &[b"a", b"b"]).compressed(codec).build().to_vec();
            batch[57..61].copy_from_slice(&count.to_be_bytes());
            seal(&mut batch);
            assert!(matches!(walk(&batch), Err(BatchError::Malformed(_))), "{codec:?}: {count}");
        }
    }
}

#[test]
fn a_bomb_is_not_unpacked_into_memory() {
    // 64 MiB of zeros in little gzip: one record that claims to be larger still.
    let mut plain = Vec::new();
    plain.extend([0xfe, 0xff, 0xff, 0xff, 0x0f]);
    plain.resize(64 << 20, 0);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &plain).unwrap();
    let mut batch = TestBatch::of(0, &[b"a"]).build()[..HEADER_LENGTH].to_vec();
    batch[22] = 1;
    batch.extend(encoder.finish().unwrap());
    seal(&mut batch);
    assert!(walk(&batch).is_err());
    // The same with snappy: a block that claims four gigabytes.
    let mut batch = TestBatch::of(0, &[b"a"]).build()[..HEADER_LENGTH].to_vec();
    batch[22] = 2;
    batch.extend([0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]);
    seal(&mut batch);
    assert!(matches!(walk(&batch), Err(BatchError::Decompression(_))));
}

#[test]
fn sequence_numbers_wrap_to_zero() {
    assert_eq!(sequence_after(5, 3), 8);
    assert_eq!(sequence_after(i32::MAX, 0), i32::MAX);
    assert_eq!(sequence_after(i32::MAX, 1), 0);
    assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
}

#[test]
fn other_versions_and_codecs_are_named() {
    let mut batch = TestBatch::of(0, &[b"a"]).build().to_vec();
    batch[16] = 1;
    assert_eq!(BatchHeader::parse(&batch), Err(BatchError::Magic(1)));
    assert_eq!(BatchHeader::parse(&batch[..20]), Err(BatchError::Magic(1)));
    for codec in 5..8 {
        let mut batch = TestBatch::of(0, &[b"a"]).build().to_vec();
        batch[22] = codec;
        seal(&mut batch);
        assert_eq!(walk(&batch), Err(BatchError::UnknownCompression(i16::from(codec))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn our_batches_are_the_crates_batches(
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20),
        timestamp in 0i64..2_000_000_000_000,
    ) {
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let batch = TestBatch::of(timestamp, &values).build();
        let records = walk(&batch).unwrap();
        prop_assert_eq!(records.len(), values.len());
        let mut bytes = batch.clone();
        let decoded = kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes).unwrap();
        for (ours, theirs) in records.iter().zip(&decoded.records) {
            prop_assert_eq!(ours.timestamp, theirs.timestamp);
            prop_assert_eq!(i64::from(ours.offset_delta), theirs.offset);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = walk(&bytes);
        let mut batch = bytes;
        if batch.len() > HEADER_LENGTH {
            batch[16] = 2;
            seal(&mut batch);
            let _ = walk(&batch);
        }
    }
}
