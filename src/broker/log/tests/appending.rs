//! Appends and reads of a log that runs.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::*;
use crate::broker::log::TimestampType;
use crate::kafka::record_batch::Compression;
use crate::kafka::record_batch::testing::seal;

#[test]
fn offsets_follow_one_another_over_segments() {
    let (_directory, _manager, log) = new_log(&small());
    fill(&log, 40);
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.high_watermark()), (0, 80, 80));
    assert!(log.segment_count() > 4, "{} segments", log.segment_count());
    for offset in 0..80 {
        let batches = read_all(&log, offset);
        assert_eq!(batches[0].0.base_offset, offset / 2 * 2);
        assert_eq!(batches.last().unwrap().0.next_offset(), 80);
        assert_eq!(i64::try_from(batches.len()).unwrap(), 40 - offset / 2);
    }
    assert!(log.read(80, 100, true).unwrap().bytes.is_empty());
    for offset in [-1, 81, i64::MAX] {
        let read = log.read(offset, 100, true);
        assert!(matches!(read, Err(LogError::OffsetOutOfRange { .. })), "{offset}: {read:?}");
    }
}

#[test]
fn a_read_takes_whole_batches_within_its_bound() {
    let (_directory, _manager, log) = new_log(&LogConfig::default());
    fill(&log, 3);
    let one = usize::try_from(log.size() / 3).unwrap();
    for (bound, at_least_one, batches) in [
        (0, false, 0),
        (0, true, 1),
        (one - 1, false, 0),
        (one - 1, true, 1),
        (one, false, 1),
        (2 * one - 1, false, 1),
        (2 * one, true, 2),
        (100 * one, false, 3),
    ] {
        let read = log.read(0, bound, at_least_one).unwrap();
        assert_eq!(read.bytes.len(), batches * one, "{bound}, {at_least_one}");
    }
    assert_eq!(log.available_bytes(0, false), 3 * one as u64);
    assert_eq!(log.available_bytes(6, false), 0);
}

#[test]
fn the_end_of_a_long_read_is_found_with_the_index_and_without() {
    let config = LogConfig { index_interval_bytes: 1_000, ..LogConfig::default() };
    let (directory, manager, log) = new_log(&config);
    fill(&log, 500);
    let (size, one) = (usize::try_from(log.size()).unwrap(), log.size() / 500);
    let check = |log: &PartitionLog| {
        for start in [0, 2, 333, 998] {
            let before = usize::try_from(start / 2 * i64::try_from(one).unwrap()).unwrap();
            for most in (0..=size + 5_000).step_by(3_777) {
                let whole = most.min(size - before) / usize::try_from(one).unwrap();
                let read = log.read(start, most, false).unwrap();
                assert_eq!(read.bytes.len() as u64, whole as u64 * one, "{start}, {most}");
                assert!(whole == 0 || verified_batch(&read.bytes).is_ok());
            }
        }
    };
    check(&log);
    drop(log);
    manager.shutdown();
    drop(manager);
    // Wrong places, right in their order: none of them is believed. The last one is left as it was, or
    // the index would be made anew.
    let path = file(directory.path(), "00000000000000000000.index");
    let mut index = std::fs::read(&path).unwrap();
    assert!(index.len() > 100 * 8);
    let last = index.len() - 8;
    for entry in index[..last].chunks_exact_mut(8) {
        entry[7] ^= 1;
    }
    std::fs::write(&path, &index).unwrap();
    let manager = open(directory.path());
    let log = super::log(&manager, &config);
    assert_eq!(std::fs::read(&path).unwrap(), index, "it is used as it is");
    check(&log);
}

#[test]
fn a_batch_is_stored_as_it_came_but_for_its_offset_and_epoch() {
    let (_directory, _manager, log) = new_log(&LogConfig::default());
    fill(&log, 1);
    let batch = TestBatch::of(NOW, &[b"x", b"y", b"z"]).compressed(Compression::Zstd).build();
    let info = log.append(&batch, &options(5)).unwrap();
    assert_eq!((info.base_offset, info.last_offset, info.log_append_time), (2, 4, -1));
    let stored = &read_all(&log, 2)[0];
    assert_eq!((stored.0.base_offset, stored.0.partition_leader_epoch), (2, 5));
    assert_eq!(stored.1[8..12], batch[8..12]);
    assert_eq!(stored.1[16..], batch[16..]);
}

#[test]
fn log_append_time_is_written_into_the_batch() {
    let append_time = TimestampType::LogAppendTime;
    let config = LogConfig { message_timestamp_type: append_time, ..LogConfig::default() };
    let (_directory, _manager, log) = new_log(&config);
    let batch = TestBatch::of(5, &[b"x", b"y"]).compressed(Compression::Gzip).by(1, 0, 0);
    assert_eq!(append(&log, &batch).unwrap().log_append_time, NOW);
    let header = read_all(&log, 0)[0].0;
    assert!(header.is_log_append_time());
    assert_eq!((header.max_timestamp, header.base_timestamp), (NOW, 5));
    let again = append(&log, &batch).unwrap();
    assert_eq!((again.duplicate, again.log_append_time), (true, NOW));
}

#[test]
fn a_largest_timestamp_that_is_wrong_is_set_right() {
    let (_directory, _manager, log) = new_log(&LogConfig::default());
    let mut batch = TestBatch::of(NOW, &[b"x", b"y"]);
    batch.max_timestamp = Some(NOW + 1_000_000);
    append(&log, &batch).unwrap();
    assert_eq!(read_all(&log, 0)[0].0.max_timestamp, NOW + 1);
    // And so is the type of the timestamps, which is the topic's.
    batch.attributes = 0x08;
    append(&log, &batch).unwrap();
    let header = read_all(&log, 2)[0].0;
    assert_eq!((header.is_log_append_time(), header.max_timestamp), (false, NOW + 1_000_000));
}

/// What is done to a good batch, and the error that it then gets.
type Change = (&'static str, fn(&mut Vec<u8>), &'static str);

const REFUSED: &[Change] = &[
    ("empty", |batch| batch.clear(), "NotOneBatch"),
    (
        "cut_off",
        |batch| {
            batch.pop();
        },
        "NotOneBatch",
    ),
    ("one_byte_changed", |batch| batch[70] ^= 1, "CorruptMessage"),
    ("tiny_length", |batch| batch[8..12].copy_from_slice(&[0, 0, 0, 3]), "CorruptMessage"),
    (
        "header_only_by_length",
        |batch| {
            batch.truncate(40);
            seal(batch);
        },
        "CorruptMessage",
    ),
    ("magic_1", |batch| batch[16] = 1, "NotOneBatch"),
    ("magic_9", |batch| batch[16] = 9, "CorruptMessage"),
    ("base_offset", |batch| batch[7] = 1, "InvalidRecord"),
    ("two_batches", |batch| batch.extend(batch.clone()), "NotOneBatch"),
    (
        "no_records",
        |batch| {
            batch[57..61].fill(0);
            seal(batch);
        },
        "InvalidRecord",
    ),
    (
        "count",
        |batch| {
            batch[60] = 9;
            seal(batch);
        },
        "InvalidRecord",
    ),
    (
        "negative_delta",
        |batch| {
            batch[23] = 0x80;
            seal(batch);
        },
        "InvalidRecord",
    ),
    (
        "control",
        |batch| {
            batch[22] |= 0x20;
            seal(batch);
        },
        "InvalidRecord",
    ),
    (
        "transactional",
        |batch| {
            batch[22] |= 0x10;
            seal(batch);
        },
        "InvalidTransactionState",
    ),
    (
        "append_time",
        |batch| {
            batch[22] |= 0x08;
            batch[35..43].fill(0xff);
            seal(batch);
        },
        "InvalidTimestamp",
    ),
    (
        "codec",
        |batch| {
            batch[22] |= 0x06;
            seal(batch);
        },
        "UnsupportedCompressionType",
    ),
    (
        "not_gzip",
        |batch| {
            batch[22] |= 0x01;
            seal(batch);
        },
        "InvalidRecord",
    ),
    (
        "sequence",
        |batch| {
            batch[43..51].fill(0);
            seal(batch);
        },
        "InvalidRecord",
    ),
    (
        "offset_delta",
        |batch| {
            batch[64] = 8;
            seal(batch);
        },
        "InvalidRecord",
    ),
];

#[test]
fn a_batch_that_is_not_right_is_refused() {
    let (_directory, _manager, log) = new_log(&LogConfig::default());
    for (name, change, error) in REFUSED {
        let mut batch = TestBatch::of(NOW, &[b"x", b"y"]).build().to_vec();
        change(&mut batch);
        let refused = log.append(&batch.into(), &options(0)).unwrap_err();
        assert!(format!("{refused:?}").starts_with(error), "{name}: {refused:?}");
        assert_eq!((log.log_end_offset(), log.size()), (0, 0), "{name}");
    }
}

#[test]
fn what_the_topic_and_the_version_forbid_is_refused() {
    let (_directory, _manager, log) = new_log(&LogConfig::default());
    let refused = |config: LogConfig, batch: &TestBatch, produce_version| {
        log.update_config(config);
        let options = AppendOptions { produce_version, ..options(0) };
        log.append(&batch.build(), &options).unwrap_err()
    };
    let batch = TestBatch::of(NOW, &[b"x", b"y"]);
    let size = u32::try_from(batch.build().len()).unwrap();
    let config = || LogConfig::default();
    let large = refused(LogConfig { max_message_bytes: size - 1, ..config() }, &batch, 9);
    assert!(matches!(large, LogError::MessageTooLarge(_)), "{large:?}");
    let large = refused(LogConfig { segment_bytes: size - 1, ..config() }, &batch, 9);
    assert!(matches!(large, LogError::RecordListTooLarge(_)), "{large:?}");
    let zstd = refused(config(), &batch.clone().compressed(Compression::Zstd), 6);
    assert!(matches!(zstd, LogError::UnsupportedCompressionType(_)), "{zstd:?}");
    let keyless = refused(LogConfig { cleanup_compact: true, ..config() }, &batch, 9);
    assert_eq!(keyless.record_errors().len(), 2, "{keyless:?}");
    let old = TestBatch::of(NOW - 500, &[b"x", b"y"]);
    let limits = LogConfig {
        message_timestamp_before_max_ms: 499,
        message_timestamp_after_max_ms: 100,
        ..config()
    };
    let early = refused(limits.clone(), &old, 9);
    assert!(matches!(&early, LogError::InvalidTimestamp { records, .. } if records.len() == 1));
    let late = refused(limits, &TestBatch::of(NOW + 100, &[b"x", b"y"]), 9);
    assert_eq!(late.record_errors()[0].batch_index, 1, "{late:?}");
    log.update_config(LogConfig { max_message_bytes: size, segment_bytes: size, ..config() });
    append(&log, &batch).unwrap();
    append(&log, &batch).unwrap();
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn bytes_behind_the_batch_are_cut_off() {
    let (_directory, _manager, log) = new_log(&LogConfig::default());
    let mut batch = TestBatch::of(NOW, &[b"x"]).build().to_vec();
    let size = batch.len();
    batch.extend([0, 0, 0]);
    log.append(&batch.into(), &options(0)).unwrap();
    assert_eq!(log.size(), size as u64);
}

#[test]
fn repeated_batches_get_their_first_offsets() {
    let (_directory, _manager, log) = new_log(&small());
    for n in 0..30 {
        let batch = TestBatch::of(NOW, &[&[1; 100], &[2; 100]]).by(7, 3, n * 2);
        assert!(!append(&log, &batch).unwrap().duplicate);
        if n >= 4 {
            let fifth = TestBatch::of(NOW, &[&[1; 100], &[2; 100]]).by(7, 3, (n - 4) * 2);
            let info = append(&log, &fifth).unwrap();
            assert!(info.duplicate);
            assert_eq!(info.base_offset, i64::from(n - 4) * 2);
        }
    }
    assert_eq!(log.log_end_offset(), 60);
    let gap = append(&log, &TestBatch::of(NOW, &[b"x"]).by(7, 3, 99));
    assert!(matches!(gap, Err(LogError::OutOfOrderSequence(_))), "{gap:?}");
    let old = append(&log, &TestBatch::of(NOW, &[b"x"]).by(7, 2, 60));
    assert!(matches!(old, Err(LogError::InvalidProducerEpoch(_))), "{old:?}");
    assert_eq!(log.producers().len(), 1);
    assert_eq!(log.producers()[0].last_sequence, 59);
}

#[test]
fn a_timestamp_finds_the_first_record_that_is_not_older() {
    let (_directory, _manager, log) = new_log(&small());
    // Within a batch, and over segments, timestamps go up and down.
    let times = [10, 30, 20, 50, 40, 40, 90, 70, 60, 80];
    let mut all = Vec::new();
    for (n, time) in times.iter().cycle().take(60).enumerate() {
        let time = NOW + time + 100 * i64::try_from(n / 10).unwrap();
        let mut batch = TestBatch::of(time, &[&[0; 80], &[0; 80]]);
        batch.records[1].0 = -5;
        append(&log, &batch.compressed(Compression::Lz4)).unwrap();
        all.extend([time, time - 5]);
    }
    for asked in NOW..NOW + 700 {
        let expected = all.iter().position(|time| *time >= asked);
        let found = log.offset_for_timestamp(asked).unwrap();
        assert_eq!(
            found.map(|found| found.offset),
            expected.map(|at| i64::try_from(at).unwrap()),
            "{asked}"
        );
        assert_eq!(found.map(|found| found.timestamp), expected.map(|at| all[at]));
    }
    let largest = log.max_timestamp().unwrap().unwrap();
    assert_eq!((largest.timestamp, largest.offset), (NOW + 590, 112));
    log.delete_records(113).unwrap();
    let found = log.offset_for_timestamp(NOW).unwrap().unwrap();
    assert_eq!(found.offset, 113);
}

#[test]
fn an_empty_log_has_no_timestamps() {
    let (_directory, _manager, log) = new_log(&LogConfig::default());
    assert_eq!(log.max_timestamp().unwrap(), None);
    assert_eq!(log.offset_for_timestamp(0).unwrap(), None);
}

#[test]
fn a_segment_is_closed_by_the_age_of_its_first_record() {
    let config = LogConfig { segment_ms: 1_000, ..LogConfig::default() };
    let (_directory, _manager, log) = new_log(&config);
    for (at, segments) in [(0, 1), (1_000, 1), (1_001, 2), (1_500, 2), (2_002, 3), (0, 3)] {
        append(&log, &TestBatch::of(NOW + at, &[b"x"])).unwrap();
        assert_eq!(log.segment_count(), segments, "{at}");
    }
}

#[test]
fn a_full_index_closes_its_segment() {
    let config =
        LogConfig { segment_index_bytes: 48, index_interval_bytes: 0, ..LogConfig::default() };
    let (_directory, _manager, log) = new_log(&config);
    fill(&log, 20);
    assert!(log.segment_count() >= 5, "{}", log.segment_count());
    assert_eq!(read_all(&log, 0).len(), 20);
    // Even an index without room for one entry does not stop the log.
    log.update_config(LogConfig { segment_index_bytes: 4, ..config });
    fill(&log, 5);
    assert_eq!(read_all(&log, 0).len(), 25);
}

#[test]
fn leader_epochs_end_where_the_next_begins() {
    let (_directory, _manager, log) = new_log(&LogConfig::default());
    log.begin_leader_epoch(1).unwrap();
    log.append(&TestBatch::of(NOW, &[b"x"]).build(), &options(1)).unwrap();
    log.begin_leader_epoch(4).unwrap();
    assert_eq!(log.epoch_end_offset(1), Some((1, 1)));
    assert_eq!(log.epoch_end_offset(3), Some((1, 1)));
    assert_eq!(log.epoch_end_offset(4), Some((4, 1)));
    assert_eq!(log.epoch_end_offset(5), None);
    assert_eq!((log.latest_leader_epoch(), log.leader_epoch_at(0)), (Some(4), Some(1)));
}

#[test]
fn with_flush_messages_consumers_see_only_what_is_on_disk() {
    let config = LogConfig { flush_messages: 2, ..LogConfig::default() };
    let (_directory, _manager, log) = new_log(&config);
    let one = TestBatch::of(NOW, &[b"x"]);
    assert!(!append(&log, &one).unwrap().flush_due);
    assert_eq!(log.high_watermark(), 1);
    assert!(append(&log, &one).unwrap().flush_due);
    assert!(append(&log, &one).unwrap().flush_due);
    assert_eq!((log.log_end_offset(), log.high_watermark()), (3, 1));
    assert!(log.read(1, 1_000, true).unwrap().bytes.is_empty());
    assert_eq!(read_all(&log, 0).len(), 1);
    log.flush().unwrap();
    assert_eq!(log.high_watermark(), 3);
    assert_eq!(read_all(&log, 0).len(), 3);
    assert!(!append(&log, &one).unwrap().flush_due);
    assert_eq!(log.high_watermark(), 4);
}

#[tokio::test]
async fn a_waiter_is_told_of_records_and_of_the_end() {
    let (_directory, manager, log) = new_log(&LogConfig::default());
    let waiter = Arc::new(Notify::new());
    let watch = log.watch(&waiter);
    fill(&log, 1);
    waiter.notified().await;
    manager.delete_topic(TOPIC, TOPIC_ID).unwrap();
    waiter.notified().await;
    assert!(log.is_closed());
    drop(watch);
    let refused = append(&log, &TestBatch::of(NOW, &[b"x"]));
    assert!(matches!(refused, Err(LogError::Deleted)), "{refused:?}");
}

#[test]
fn readers_see_whole_batches_while_others_append_and_trim() {
    let config = LogConfig { retention_bytes: 5_000, file_delete_delay_ms: 0, ..small() };
    let (_directory, _manager, log) = new_log(&config);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = 0;
                    let mut offset = 0;
                    while !done.load(Ordering::Relaxed) || offset < log.log_end_offset() {
                        match log.read(offset, 900, true) {
                            Ok(slice) => {
                                let mut rest = &slice.bytes[..];
                                while !rest.is_empty() {
                                    let (header, batch) = verified_batch(rest).unwrap();
                                    assert!(header.base_offset <= offset, "a gap at {offset}");
                                    offset = header.next_offset();
                                    rest = &rest[batch.len()..];
                                    seen += 1;
                                }
                            }
                            Err(LogError::OffsetOutOfRange { start, .. }) => offset = start,
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                    seen
                })
            })
            .collect();
        let writers: Vec<_> = (0..2).map(|_| scope.spawn(|| fill(&log, 400))).collect();
        let trimmer = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for path in log.enforce_retention(NOW).unwrap() {
                    std::fs::remove_file(path).unwrap();
                }
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        trimmer.join().unwrap();
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
    assert_eq!(log.log_end_offset(), 1_600);
}

#[test]
fn a_topic_may_have_a_codec_of_its_own() {
    use crate::kafka::record_batch::testing::stored_records;
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    let (_directory, _manager, log) = new_log(&LogConfig::default());
    let mut sequence = 0;
    for target in codecs {
        log.update_config(LogConfig { compression: Some((target, None)), ..LogConfig::default() });
        for source in codecs {
            let batch = TestBatch::of(NOW, &[b"one", &[b'x'; 5_000], b""])
                .compressed(source)
                .by(7, 0, sequence);
            sequence += 3;
            let sent = batch.build();
            let info = log.append(&sent, &options(4)).unwrap();
            let stored = log.read(info.base_offset, 0, true).unwrap().bytes;
            let (header, _) = verified_batch(&stored).unwrap();
            assert_eq!(header.compression(), Ok(target));
            assert_eq!(
                (header.base_sequence, header.last_offset(), header.partition_leader_epoch),
                (sequence - 3, info.base_offset + 2, 4)
            );
            assert_eq!((header.base_timestamp, header.max_timestamp), (NOW, NOW + 2));
            let before: Vec<_> =
                stored_records(&sent).into_iter().map(|r| (r.timestamp, r.key, r.value)).collect();
            let after: Vec<_> = stored_records(&stored)
                .into_iter()
                .map(|r| (r.timestamp, r.key, r.value))
                .collect();
            assert_eq!(after, before, "{source:?} to {target:?}");
            if source == target {
                assert_eq!(stored[21..], sent[21..], "what needs no change is not touched");
            }
            assert!(log.append(&sent, &options(4)).unwrap().duplicate);
        }
    }
}

#[test]
fn bounds_hold_for_the_codec_of_the_topic_too() {
    let packed = TestBatch::of(NOW, &[&vec![b'x'; 50_000]]).compressed(Compression::Gzip).build();
    assert!(packed.len() < 1_000);
    let config = LogConfig {
        compression: Some((Compression::None, None)),
        max_message_bytes: 10_000,
        ..LogConfig::default()
    };
    let (_directory, _manager, log) = new_log(&config);
    let refused = log.append(&packed, &options(0));
    assert!(matches!(refused, Err(LogError::MessageTooLarge(_))), "{refused:?}");
    log.update_config(LogConfig { max_message_bytes: 1_000_000, segment_bytes: 10_000, ..config });
    let refused = log.append(&packed, &options(0));
    assert!(matches!(refused, Err(LogError::RecordListTooLarge(_))), "{refused:?}");
    assert_eq!(log.log_end_offset(), 0);
    let append_time = LogConfig {
        compression: Some((Compression::Zstd, Some(1))),
        message_timestamp_type: TimestampType::LogAppendTime,
        ..LogConfig::default()
    };
    log.update_config(append_time);
    assert_eq!(log.append(&packed, &options(0)).unwrap().log_append_time, NOW);
    let (header, _) = verified_batch(&log.read(0, 0, true).unwrap().bytes).unwrap();
    assert_eq!((header.is_log_append_time(), header.max_timestamp), (true, NOW));
}
