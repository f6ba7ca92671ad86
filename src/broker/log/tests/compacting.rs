//! Compaction: what stays, what goes, and what a stop at any moment leaves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::recovering::{copy, kill, stop};
use super::*;
use crate::broker::log::cleaner::{CleanError, dirty, swap};
use crate::kafka::record_batch::Compression;
use crate::kafka::record_batch::testing::{StoredRecord, stored_records};

pub(super) fn compacted() -> LogConfig {
    LogConfig {
        cleanup_compact: true,
        cleanup_delete: false,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: 10_000,
        ..small()
    }
}

/// A batch of keys with their values; no value is a tombstone.
pub(super) fn keyed(at: i64, records: &[(&str, Option<&[u8]>)]) -> TestBatch {
    let mut batch = TestBatch::of(at, &[]);
    batch.records = records
        .iter()
        .zip(0..)
        .map(|((key, value), delta)| {
            (delta, Some(key.as_bytes().to_vec()), value.map(<[u8]>::to_vec))
        })
        .collect();
    batch
}

fn put(log: &PartitionLog, key: &str, value: &str) -> i64 {
    let value = format!("{value:.<150}");
    append(log, &keyed(NOW, &[(key, Some(value.as_bytes()))])).unwrap().base_offset
}

/// Every record that can be read, in order.
fn records(log: &PartitionLog) -> Vec<StoredRecord> {
    let mut last = -1;
    let mut all = Vec::new();
    for (header, batch) in read_all(log, log.log_start_offset()) {
        assert!(header.base_offset > last, "offset {} twice", header.base_offset);
        last = header.last_offset();
        all.extend(stored_records(&batch));
    }
    all
}

/// What a reader that keeps the newest value of each key has in the end.
pub(super) fn state(records: &[StoredRecord]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut state = BTreeMap::new();
    for record in records {
        let key = record.key.clone().unwrap();
        match &record.value {
            Some(value) => state.insert(key, value.clone()),
            None => state.remove(&key),
        };
    }
    state
}

/// Compacts until there is nothing left to do.
fn compact(manager: &LogManager, now_ms: i64) {
    for _ in 0..1_000 {
        if !manager.compact(now_ms) {
            return;
        }
    }
    panic!("compaction does not come to an end");
}

#[test]
fn the_newest_record_of_each_key_stays_where_it_was() {
    let (directory, manager, log) = new_log(&compacted());
    for round in 0..30 {
        for key in ["a", "b", "c"] {
            put(&log, key, &format!("{key}{round}"));
        }
    }
    let before = records(&log);
    let active = log.active_segment();
    compact(&manager, NOW);
    let after = records(&log);
    assert!(Arc::ptr_eq(&active, &log.active_segment()), "the active segment is left alone");
    assert!(after.iter().all(|record| before.contains(record)), "something was changed");
    let closed: Vec<_> = after.iter().filter(|r| r.offset < active.base_offset).collect();
    assert_eq!(closed.len(), 3, "{closed:?}");
    assert_eq!(state(&after), state(&before));
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 90));
    let text = std::fs::read_to_string(directory.path().join("cleaner-offset-checkpoint")).unwrap();
    assert_eq!(text, format!("0\n1\n{TOPIC} 0 {}\n", active.base_offset));
    assert!(!manager.compact(NOW), "it is clean");
    // Every place can be read from, and found by time.
    for offset in 0..90 {
        let read = log.read(offset, 1, true).unwrap().bytes;
        let expected = after.iter().find(|record| record.offset >= offset).unwrap();
        assert_eq!(stored_records(&read[..first_length(&read)])[0].offset, expected.offset);
    }
    let found = log.offset_for_timestamp(NOW).unwrap().unwrap();
    assert_eq!(found.offset, after[0].offset);
    let on_disk = |manager: &LogManager| records(&manager.get(TOPIC, 0).unwrap());
    drop(log);
    stop(manager);
    let manager = open(directory.path());
    assert_eq!(on_disk(&manager), after);
    manager.get(TOPIC, 0).unwrap().update_config(compacted());
    assert!(!manager.compact(NOW), "the checkpoint says that it is clean");
    kill(manager);
    let manager = open(directory.path());
    assert_eq!(on_disk(&manager), after);
}

fn first_length(bytes: &[u8]) -> usize {
    BatchHeader::parse(bytes).unwrap().size()
}

#[test]
fn tombstones_stay_until_their_horizon() {
    let (_directory, manager, log) = new_log(&compacted());
    put(&log, "gone", "x");
    append(&log, &keyed(NOW, &[("gone", None), ("stays", Some(b"y"))])).unwrap();
    for _ in 0..20 {
        put(&log, "filler", "z");
    }
    let tombstone = |log: &PartitionLog| {
        let all = records(log);
        all.into_iter().find(|record| record.key.as_deref() == Some(b"gone"))
    };
    let before = tombstone(&log).unwrap();
    assert_eq!(before.offset, 0);
    compact(&manager, NOW);
    let kept = tombstone(&log).unwrap();
    assert_eq!((kept.offset, kept.timestamp, kept.value), (1, NOW, None));
    let header = read_all(&log, 1)[0].0;
    assert_eq!(header.delete_horizon_ms(), Some(NOW + 10_000));
    assert_eq!((header.base_offset, header.last_offset(), header.max_timestamp), (1, 2, NOW + 1));
    let more = |log: &PartitionLog| {
        for _ in 0..20 {
            put(log, "filler", "z");
        }
    };
    more(&log);
    compact(&manager, NOW + 9_999);
    assert!(tombstone(&log).is_some(), "the horizon has not come");
    more(&log);
    compact(&manager, NOW + 10_000);
    assert_eq!(tombstone(&log), None);
    let stays = records(&log).into_iter().find(|r| r.key.as_deref() == Some(b"stays")).unwrap();
    assert_eq!((stays.offset, stays.timestamp), (2, NOW + 1));
}

#[test]
fn records_wait_for_the_least_lag_and_not_beyond_the_greatest() {
    let (_directory, manager, log) = new_log(&compacted());
    fill_keyed(&log, 30);
    let config = LogConfig { min_compaction_lag_ms: 20_000, ..compacted() };
    log.update_config(config);
    // A record a second: at 30 s the first ten are old enough.
    let found = dirty(&log, NOW + 30_000).unwrap();
    assert!(found.first_uncleanable_offset <= 10, "{found:?}");
    assert!(found.first_uncleanable_offset > 0);
    compact(&manager, NOW + 30_000);
    let left = records(&log);
    assert!(left.len() > 15 && left.len() < 30, "{}", left.len());
    assert_eq!(log.cleaned_to.load(Ordering::Acquire), found.first_uncleanable_offset);
    // So little is dirty that it would not be worth it, but for the greatest lag.
    let config = LogConfig { min_cleanable_dirty_ratio: 1.0, ..compacted() };
    log.update_config(config.clone());
    assert!(!manager.compact(NOW + 100_000));
    log.update_config(LogConfig { max_compaction_lag_ms: 80_000, ..config.clone() });
    assert!(!manager.compact(NOW + 80_000));
    log.update_config(LogConfig { max_compaction_lag_ms: 50_000, ..config });
    assert!(manager.compact(NOW + 100_000));
    let active = log.active_segment().base_offset;
    assert_eq!(records(&log).iter().filter(|record| record.offset < active).count(), 1);
}

/// Records of one key, a second apart.
fn fill_keyed(log: &PartitionLog, count: i64) {
    for _ in 0..count {
        let at = NOW + log.log_end_offset() * 1_000;
        append(log, &keyed(at, &[("key", Some(&[b'v'; 250]))])).unwrap();
    }
}

#[test]
fn the_greatest_lag_closes_segments() {
    let config = LogConfig { max_compaction_lag_ms: 1_000, ..compacted() };
    let (_directory, _manager, log) = new_log(&config);
    append(&log, &keyed(NOW, &[("key", Some(b"1"))])).unwrap();
    append(&log, &keyed(NOW + 1_001, &[("key", Some(b"2"))])).unwrap();
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn a_small_buffer_takes_several_passes() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options_of_manager();
    // Room for nine keys.
    options.cleaner.dedupe_buffer_bytes = 240;
    let directories = LogDirectories::open(&[directory.path().to_owned()]).unwrap();
    let manager = LogManager::open(directories, options).unwrap();
    let log = log(&manager, &compacted());
    for round in 0..4 {
        for key in 0..40 {
            put(&log, &format!("key {key}"), &format!("{round}"));
        }
    }
    let before = records(&log);
    assert!(manager.compact(NOW));
    let first = log.cleaned_to.load(Ordering::Acquire);
    assert!((9..20).contains(&first), "{first}");
    compact(&manager, NOW);
    let active = log.active_segment().base_offset;
    assert_eq!(log.cleaned_to.load(Ordering::Acquire), active);
    assert_eq!(state(&records(&log)), state(&before));
    assert!(records(&log).len() < before.len());
}

#[test]
fn producers_are_still_known_when_their_records_are_gone() {
    let (directory, manager, log) = new_log(&compacted());
    for sequence in 0..20 {
        append(&log, &keyed(NOW, &[("key", Some(&[0; 200]))]).by(7, 3, sequence)).unwrap();
    }
    for _ in 0..20 {
        put(&log, "key", "from nobody");
    }
    let producers = log.producers();
    compact(&manager, NOW);
    let closed: Vec<_> = read_all(&log, 0)
        .into_iter()
        .filter(|(header, _)| header.has_producer_id())
        .map(|(header, _)| (header.base_offset, header.base_sequence, header.record_count))
        .collect();
    assert_eq!(closed, [(19, 19, 0)], "the header of the last batch, with no record in it");
    drop(log);
    kill(manager);
    // Without snapshots, what the batches say is all there is.
    for entry in std::fs::read_dir(directory.path().join(format!("{TOPIC}-0"))).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|suffix| suffix == "snapshot") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let manager = open(directory.path());
    let log = manager.get(TOPIC, 0).unwrap();
    assert_eq!(log.producers(), producers);
    let next = keyed(NOW, &[("key", Some(b"x"))]).by(7, 3, 20);
    assert!(!append(&log, &next).unwrap().duplicate);
}

#[test]
fn a_damaged_segment_is_told_once_and_others_go_on() {
    let (directory, manager, log) = new_log(&compacted());
    let other = manager.get_or_create("other", Uuid::from_u128(5), 0, &compacted()).unwrap();
    for log in [&log, &other] {
        for _ in 0..40 {
            put(log, "key", "value");
        }
    }
    let path = file(directory.path(), &format!("{:020}.log", 0));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    compact(&manager, NOW);
    assert!(log.is_uncleanable() && !other.is_uncleanable());
    assert!(records(&other).len() < 20);
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing was done to it");
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with("cleaned") || name.ends_with("swap"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    put(&log, "key", "appends go on");
}

#[test]
fn a_compaction_that_is_stopped_leaves_the_log_as_it_was() {
    let (_directory, manager, log) = new_log(&compacted());
    for round in 0..60 {
        put(&log, "key", &format!("{round}"));
    }
    let before = state(&records(&log));
    for checks in 0..200 {
        let found = dirty(&log, NOW).unwrap();
        let left = AtomicBool::new(false);
        let count = std::cell::Cell::new(0);
        let stop = || {
            count.set(count.get() + 1);
            left.store(count.get() > checks, Ordering::Relaxed);
            left.load(Ordering::Relaxed)
        };
        let result = log.compact(&found, &manager.options.cleaner, NOW, &stop);
        assert_eq!(state(&records(&log)), before, "after {checks} checks");
        match result {
            Ok(_) => return,
            Err(error) => assert!(matches!(error, CleanError::Aborted), "{error:?}"),
        }
    }
    panic!("it never came to an end");
}

/// What a kill at every step of a swap leaves: the log as it was, or as it was to be.
#[test]
fn a_stop_at_any_step_leaves_a_whole_log() {
    let (directory, manager, log) = new_log(&compacted());
    for round in 0..30 {
        for key in ["a", "b"] {
            put(&log, key, &format!("{round}"));
        }
    }
    log.flush().unwrap();
    manager.write_checkpoints();
    let before = records(&log);
    let old = tempfile::tempdir().unwrap();
    copy(directory.path(), old.path());
    let bases: Vec<i64> = log.segments.load().iter().map(|s| s.base_offset).collect();
    let closed = &bases[..bases.len() - 1];
    assert!(closed.len() > 3);
    // So that all of them become one.
    log.update_config(LogConfig { segment_bytes: 1_000_000, ..compacted() });
    compact(&manager, NOW);
    let after = records(&log);
    assert_eq!(log.segment_count(), 2);
    // The files of the compacted segment, as they are before the swap.
    let partition = |root: &Path| root.join(format!("{TOPIC}-0"));
    let cleaned: Vec<_> = ["log", "index", "timeindex"]
        .map(|suffix| {
            (suffix, std::fs::read(file(directory.path(), &format!("{:020}.{suffix}", 0))))
        })
        .into_iter()
        .collect();
    let offer = swap::offer(&partition(old.path()), 0);
    let (exchange, _) = swap::exchange(&partition(old.path()), 0, closed);
    let count = offer.len() + exchange.len();
    let mut outcomes = [0, 0];
    for steps in 0..=count {
        let root = tempfile::tempdir().unwrap();
        copy(old.path(), root.path());
        for (suffix, bytes) in &cleaned {
            let name = format!("{:020}.{suffix}.cleaned", 0);
            std::fs::write(file(root.path(), &name), bytes.as_ref().unwrap()).unwrap();
        }
        let offer = swap::offer(&partition(root.path()), 0);
        let (exchange, _) = swap::exchange(&partition(root.path()), 0, closed);
        for step in offer.iter().chain(&exchange).take(steps) {
            step.run().unwrap();
        }
        let manager = open(root.path());
        let log = super::log(&manager, &compacted());
        let found = records(&log);
        assert!(found == before || found == after, "after {steps} steps of {count}");
        outcomes[usize::from(found == after)] += 1;
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 60));
        assert_eq!(log.offset_for_timestamp(NOW).unwrap().unwrap().offset, found[0].offset);
        put(&log, "a", "goes on");
        compact(&manager, NOW);
        drop(log);
        stop(manager);
        let manager = open(root.path());
        assert_eq!(state(&records(&manager.get(TOPIC, 0).unwrap())).len(), 2);
        kill(manager);
    }
    assert!(outcomes[0] > 3 && outcomes[1] > 3, "{outcomes:?}");
}

#[test]
fn readers_go_on_while_segments_are_exchanged() {
    let (_directory, manager, log) = new_log(&compacted());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0;
                    while !done.load(Ordering::Acquire) || rounds == 0 {
                        let found = records(&log);
                        let newest = found.iter().map(|record| record.offset).max();
                        assert!(newest <= Some(log.log_end_offset()));
                        let _ = log.offset_for_timestamp(NOW).unwrap();
                        rounds += 1;
                    }
                })
            })
            .collect();
        for round in 0..15 {
            for key in 0..10 {
                put(&log, &format!("{key}"), &format!("{round}"));
            }
            compact(&manager, NOW);
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert_eq!(state(&records(&log)).len(), 10);
}

#[derive(Debug, Clone)]
enum Operation {
    Put { keys: Vec<u8>, tombstone: bool, codec: u8, length: usize },
    Produce { producer: i64, key: u8 },
    Compact { later_ms: i64, buffer: u64 },
    DeleteRecords { share: f64 },
    Restart { in_order: bool },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (proptest::collection::vec(0u8..12, 1..6), any::<bool>(), 0u8..5, 0usize..300)
            .prop_map(|(keys, tombstone, codec, length)| {
                Operation::Put { keys, tombstone, codec, length }
            }),
        4 => (0i64..3, 0u8..12).prop_map(|(producer, key)| Operation::Produce { producer, key }),
        3 => (0i64..8_000, 100u64..400)
            .prop_map(|(later_ms, buffer)| Operation::Compact { later_ms, buffer }),
        1 => (0.0..1.0).prop_map(|share| Operation::DeleteRecords { share }),
        1 => any::<bool>().prop_map(|in_order| Operation::Restart { in_order }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn compaction_changes_nothing_that_counts(
        operations in proptest::collection::vec(operation(), 1..60),
    ) {
        let (directory, mut manager, mut log) = new_log(&compacted());
        let mut all: Vec<StoredRecord> = Vec::new();
        let mut sequences = BTreeMap::new();
        let (mut now, mut cleaned) = (NOW, 0);
        for (operation, at) in operations.into_iter().zip(NOW..) {
            match operation {
                Operation::Put { keys, tombstone, codec, length } => {
                    let keys: Vec<String> = keys.iter().map(u8::to_string).collect();
                    let value = vec![codec; length];
                    let value = (!tombstone).then_some(&value[..]);
                    let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), value)).collect();
                    let codec = Compression::from_attributes(i16::from(codec)).unwrap();
                    let batch = keyed(at, &pairs).compressed(codec);
                    let base = append(&log, &batch).unwrap().base_offset;
                    let stored = log.read(base, 0, true).unwrap().bytes;
                    all.extend(stored_records(&stored));
                }
                Operation::Produce { producer, key } => {
                    let sequence = sequences.entry(producer).or_insert(0);
                    let key = key.to_string();
                    let batch = keyed(at, &[(&key, Some(b"of a producer"))]).by(producer, 0, *sequence);
                    *sequence += 1;
                    let base = append(&log, &batch).unwrap().base_offset;
                    let stored = log.read(base, 0, true).unwrap().bytes;
                    all.extend(stored_records(&stored));
                }
                Operation::Compact { later_ms, buffer } => {
                    now += later_ms;
                    let options = CleanerOptions {
                        dedupe_buffer_bytes: buffer,
                        io_buffer_bytes: 300,
                        ..CleanerOptions::default()
                    };
                    let found = dirty(&log, now).unwrap();
                    if found.is_due() {
                        let end = log.compact(&found, &options, now, &|| false).unwrap().end_offset;
                        prop_assert_eq!(log.cleaned_to.load(Ordering::Acquire), end);
                        cleaned = cleaned.max(end);
                    }
                }
                Operation::DeleteRecords { share } => {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
                    let offset = (log.log_end_offset() as f64 * share) as i64;
                    let start = log.delete_records(offset).unwrap();
                    all.retain(|record| record.offset >= start);
                    log.enforce_retention(NOW).unwrap();
                }
                Operation::Restart { in_order } => {
                    drop(log);
                    if in_order {
                        stop(manager);
                    } else {
                        manager.write_checkpoints();
                        kill(manager);
                    }
                    manager = open(directory.path());
                    log = super::log(&manager, &compacted());
                }
            }
            let start = log.log_start_offset();
            let found: Vec<_> =
                records(&log).into_iter().filter(|record| record.offset >= start).collect();
            prop_assert!(found.iter().all(|record| all.contains(record)), "something was changed");
            prop_assert_eq!(state(&found), state(&all));
            let late = |records: &[StoredRecord]| {
                records.iter().filter(|record| record.offset >= cleaned).count()
            };
            prop_assert_eq!(late(&found), late(&all), "what is not clean is whole");
            for (producer, next) in &sequences {
                let known = log.producers().into_iter().find(|p| p.producer_id == *producer);
                prop_assert_eq!(known.map(|known| known.last_sequence), Some(next - 1));
            }
        }
        drop(log);
        kill(manager);
    }
}
