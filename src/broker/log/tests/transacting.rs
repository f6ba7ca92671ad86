//! Transactions: what is refused, what readers of the committed see, and what a stop leaves of it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::compacting::{compacted, keyed, state};
use super::recovering::{kill, stop};
use super::*;
use crate::broker::log::cleaner::dirty;
use crate::broker::log::{
    AbortedTransaction, Origin, TransactionGuard, TransactionMarker, Verification,
};
use crate::kafka::record_batch::testing::{StoredRecord, stored_records};

fn part_of(batch: TestBatch, producer: (i64, i16), sequence: i32) -> TestBatch {
    let mut batch = batch.by(producer.0, producer.1, sequence);
    batch.attributes |= 0x10;
    batch
}

fn batch(producer: (i64, i16), sequence: i32) -> TestBatch {
    part_of(TestBatch::of(NOW, &[&[1; 90]]), producer, sequence)
}

fn append_with(
    log: &PartitionLog,
    batch: &TestBatch,
    guard: Option<TransactionGuard>,
) -> Result<AppendInfo, LogError> {
    let origin = Origin::Client(Verification::Required(guard));
    log.append_as(&batch.build(), &options(0), origin)
}

/// Appends as a client whose transaction the coordinator knows.
fn produce(log: &PartitionLog, batch: &TestBatch) -> i64 {
    let (id, epoch, sequence) = batch.producer;
    let guard = log.begin_verification(id, epoch, sequence, NOW);
    append_with(log, batch, guard).unwrap().base_offset
}

fn marker(producer: (i64, i16), committed: bool, coordinator_epoch: i32) -> TransactionMarker {
    TransactionMarker {
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed,
        coordinator_epoch,
    }
}

fn end(log: &PartitionLog, producer: (i64, i16), committed: bool) -> i64 {
    log.append_marker(&marker(producer, committed, 0), &options(0)).unwrap().base_offset
}

const A: (i64, i16) = (7, 0);
const B: (i64, i16) = (8, 0);

/// What a client that reads the committed makes of the answers.
fn committed_records(log: &PartitionLog, max_bytes: usize) -> Vec<StoredRecord> {
    let mut offset = log.log_start_offset();
    let mut all = Vec::new();
    loop {
        let slice = log.locate_committed(offset, max_bytes, true).unwrap();
        let Some(batches) = slice.batches else { return all };
        let mut rest = batches.read(batches.len()).unwrap();
        let mut waiting: BTreeSet<_> =
            slice.aborted.iter().map(|t| (t.first_offset, t.producer_id)).collect();
        let mut aborted = BTreeSet::new();
        while !rest.is_empty() {
            let (header, bytes) = verified_batch(&rest).unwrap();
            let size = bytes.len();
            assert!(header.last_offset() < slice.last_stable_offset);
            while let Some((first, id)) = waiting.first().copied()
                && first <= header.last_offset()
            {
                waiting.pop_first();
                aborted.insert(id);
            }
            offset = header.next_offset();
            let bytes = rest.split_to(size);
            if header.is_control() {
                aborted.remove(&header.producer_id);
            } else if !header.is_transactional() || !aborted.contains(&header.producer_id) {
                all.extend(stored_records(&bytes));
            }
        }
    }
}

#[test]
fn a_transaction_must_be_known_to_its_coordinator() {
    let (_directory, _manager, log) = new_log(&small());
    let refused = |result: Result<AppendInfo, LogError>| {
        assert!(matches!(result, Err(LogError::InvalidTransactionState(_))), "{result:?}");
    };
    refused(append(&log, &batch(A, 0)));
    let guard = log.begin_verification(A.0, A.1, 0, NOW).unwrap();
    assert_eq!(log.begin_verification(A.0, A.1, 1, NOW), Some(guard), "one for all that wait");
    let late = append_with(&log, &batch(A, 1), Some(guard));
    assert!(matches!(late, Err(LogError::OutOfOrderSequence(_))), "{late:?}");
    assert!(!log.has_open_transaction(A.0));
    append_with(&log, &batch(A, 0), Some(guard)).unwrap();
    assert!(log.has_open_transaction(A.0));
    assert_eq!(log.begin_verification(A.0, A.1, 1, NOW), None, "it is open");
    append(&log, &batch(A, 1)).unwrap();
    assert!(append(&log, &batch(A, 1)).unwrap().duplicate);
    refused(append(&log, &TestBatch::of(NOW, &[b"x"]).by(A.0, A.1, 2)));
    end(&log, A, true);
    refused(append_with(&log, &batch(A, 2), Some(guard)));
    // A marker that comes between verification and append makes the guard void.
    let guard = log.begin_verification(A.0, A.1, 2, NOW).unwrap();
    end(&log, A, false);
    refused(append_with(&log, &batch(A, 2), Some(guard)));
    produce(&log, &batch(A, 2));
    // Where it is not asked for, none is needed.
    let off = Origin::Client(Verification::Off);
    log.append_as(&batch(B, 0).build(), &options(0), off).unwrap();
    // A group's coordinator gives no sequence numbers, and needs a transaction all the same.
    let offsets = batch((9, 0), -1).build();
    refused(log.append_as(
        &offsets,
        &options(0),
        Origin::Coordinator(Verification::Required(None)),
    ));
    for _ in 0..2 {
        let info = log.append_as(&offsets, &options(0), Origin::Coordinator(Verification::Off));
        assert!(!info.unwrap().duplicate);
    }
    let by_client = log.append_as(&offsets, &options(0), off);
    assert!(matches!(by_client, Err(LogError::InvalidRecord { .. })), "{by_client:?}");
}

#[test]
fn old_epochs_are_fenced() {
    let (_directory, _manager, log) = new_log(&small());
    produce(&log, &batch((7, 3), 0));
    let old = log.append_marker(&marker((7, 2), true, 5), &options(0));
    assert!(matches!(old, Err(LogError::InvalidProducerEpoch(_))), "{old:?}");
    log.append_marker(&marker((7, 4), false, 5), &options(0)).unwrap();
    let zombie = log.append_marker(&marker((7, 4), true, 4), &options(0));
    assert!(matches!(zombie, Err(LogError::CoordinatorFenced(_))), "{zombie:?}");
    assert_eq!(
        zombie.unwrap_err().code(),
        kafka_protocol::ResponseError::TransactionCoordinatorFenced
    );
    let guard = log.begin_verification(7, 3, 1, NOW);
    let fenced = append_with(&log, &batch((7, 3), 1), guard);
    assert!(matches!(fenced, Err(LogError::InvalidProducerEpoch(_))), "{fenced:?}");
    let producer = log.producers()[0];
    assert_eq!((producer.producer_epoch, producer.coordinator_epoch), (4, 5));
    assert_eq!((producer.last_sequence, producer.current_transaction_start_offset), (-1, -1));
    // A marker for somebody who never wrote here is written, and fences.
    log.append_marker(&marker((9, 5), true, 1), &options(0)).unwrap();
    assert_eq!(log.last_stable_offset(), 3);
}

#[test]
fn readers_of_the_committed_wait_for_the_first_open_transaction() {
    let (_directory, _manager, log) = new_log(&small());
    let stable = |log: &PartitionLog| (log.last_stable_offset(), log.high_watermark());
    append(&log, &TestBatch::of(NOW, &[b"plain"])).unwrap();
    produce(&log, &batch(A, 0));
    produce(&log, &batch(B, 0));
    append(&log, &TestBatch::of(NOW, &[b"plain"])).unwrap();
    assert_eq!(stable(&log), (1, 4));
    assert_eq!(log.producers()[0].current_transaction_start_offset, 1);
    end(&log, B, true);
    assert_eq!(stable(&log), (1, 5));
    let slice = log.locate_committed(0, 10_000, true).unwrap();
    let (first, _) = verified_batch(&slice.batches.unwrap().read(1 << 20).unwrap()).unwrap();
    assert_eq!((first.next_offset(), slice.last_stable_offset, slice.high_watermark), (1, 1, 5));
    assert!(log.locate_committed(1, 10_000, true).unwrap().batches.is_none());
    assert!(log.locate_committed(4, 10_000, true).unwrap().batches.is_none());
    assert!(log.available_bytes(0, true) > 0 && log.available_bytes(1, true) == 0);
    assert!(log.available_bytes(1, false) > 0);
    end(&log, A, false);
    assert_eq!(stable(&log), (6, 6));
    let slice = log.locate_committed(0, 10_000, true).unwrap();
    let aborted = AbortedTransaction {
        first_offset: 1,
        producer_id: 7,
        last_offset: 5,
        last_stable_offset: 6,
    };
    assert_eq!(slice.aborted, [aborted]);
    let offsets: Vec<i64> = committed_records(&log, 1).iter().map(|r| r.offset).collect();
    assert_eq!(offsets, [0, 2, 3]);
    assert!(log.locate(0, 10_000, true).unwrap().aborted.is_empty(), "nobody asked");
}

#[test]
fn what_waits_for_a_flush_is_not_stable() {
    let config = LogConfig { flush_messages: 1, ..small() };
    let (_directory, _manager, log) = new_log(&config);
    let stable = |log: &PartitionLog| (log.last_stable_offset(), log.high_watermark());
    produce(&log, &batch(A, 0));
    assert_eq!(stable(&log), (0, 0));
    log.flush().unwrap();
    assert_eq!(stable(&log), (0, 1));
    end(&log, A, true);
    assert_eq!(stable(&log), (0, 1));
    log.flush().unwrap();
    assert_eq!(stable(&log), (2, 2));
}

#[test]
fn the_index_is_made_anew_after_a_kill() {
    let (directory, manager, log) = new_log(&small());
    for round in 0..30 {
        produce(&log, &batch(A, round));
        if round % 3 == 0 {
            produce(&log, &batch((100 + i64::from(round), 0), 0));
        }
        end(&log, A, round % 2 == 0);
    }
    let before = aborted(&log);
    assert_eq!(before.len(), 15);
    let (stable, producers) = (log.last_stable_offset(), log.producers());
    drop(log);
    kill(manager);
    for keep_snapshots in [true, false] {
        for entry in std::fs::read_dir(directory.path().join(format!("{TOPIC}-0"))).unwrap() {
            let path = entry.unwrap().path();
            let suffix = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            if suffix == "txnindex" {
                // As a kill in the middle of a write leaves it, or what was never flushed.
                std::fs::write(&path, [0; 40]).unwrap();
            } else if suffix == "snapshot" && !keep_snapshots {
                std::fs::remove_file(&path).unwrap();
            }
        }
        let manager = open(directory.path());
        let log = manager.get(TOPIC, 0).unwrap();
        assert_eq!(aborted(&log), before, "snapshots kept: {keep_snapshots}");
        assert_eq!(log.last_stable_offset(), stable);
        let known = |all: &[crate::broker::log::ProducerInfo]| {
            all.iter()
                .map(|p| (p.producer_id, p.current_transaction_start_offset))
                .collect::<Vec<_>>()
        };
        assert_eq!(known(&log.producers()), known(&producers));
        drop(log);
        kill(manager);
    }
}

/// Every aborted transaction of a log.
fn aborted(log: &PartitionLog) -> Vec<AbortedTransaction> {
    let segments = log.segments.load();
    super::super::transaction_index::aborted_transactions(&segments, 0, i64::MAX).unwrap()
}

#[test]
fn compaction_takes_what_was_aborted_and_then_the_markers() {
    let (_directory, manager, log) = new_log(&compacted());
    let pair =
        |key: &str, value: &str| keyed(NOW, &[(key, Some(format!("{value:.<200}").as_bytes()))]);
    produce(&log, &part_of(pair("a", "committed"), A, 0));
    produce(&log, &part_of(pair("b", "aborted"), B, 0));
    end(&log, A, true);
    end(&log, B, false);
    let filler = |count: i32| {
        for _ in 0..count {
            append(&log, &pair("filler", "x")).unwrap();
        }
    };
    // Another transaction of each, so that the first ones' batches are nobody's last.
    produce(&log, &part_of(pair("c", "committed"), A, 1));
    produce(&log, &part_of(pair("d", "aborted"), B, 1));
    end(&log, A, true);
    end(&log, B, false);
    filler(20);
    let shape = |log: &PartitionLog| {
        let all = read_all(log, 0).into_iter().filter(|(header, _)| header.has_producer_id());
        all.map(|(header, _)| (header.base_offset, header.is_control(), header.record_count))
            .collect::<Vec<_>>()
    };
    let mut now = NOW;
    let mut compact = |log: &PartitionLog, later: i64| {
        filler(20);
        now += later;
        let found = dirty(log, now).unwrap();
        assert!(found.is_due());
        log.compact(&found, &manager.options.cleaner, now, &|| false).unwrap();
    };
    compact(&log, 0);
    assert_eq!(
        shape(&log),
        // Offset 5 is the last batch of its producer: its header stays.
        [
            (0, false, 1),
            (2, true, 1),
            (3, true, 1),
            (4, false, 1),
            (5, false, 0),
            (6, true, 1),
            (7, true, 1)
        ]
    );
    assert_eq!(aborted(&log).len(), 2, "as long as the markers of what was seen are there");
    assert_eq!(state(&committed_records(&log, 500)).len(), 3);
    // The marker of the first aborted transaction has nothing left to end: it waits for its horizon.
    compact(&log, 1_000);
    assert_eq!(aborted(&log).len(), 1);
    let horizon = |log: &PartitionLog, offset: i64| {
        let all = read_all(log, 0);
        all.iter().find(|(h, _)| h.base_offset == offset).map(|(h, _)| h.delete_horizon_ms())
    };
    assert_eq!(horizon(&log, 3), Some(Some(NOW + 1_000 + 10_000)));
    assert_eq!(horizon(&log, 2), Some(None), "a record of that transaction is left");
    compact(&log, 10_000);
    assert_eq!(horizon(&log, 3), None);
    assert!(horizon(&log, 2).is_some());
    assert_eq!(state(&committed_records(&log, 500)).len(), 3);
}

#[derive(Debug, Clone)]
enum Operation {
    Write { producer: i64, transactional: bool, key: u8 },
    End { producer: i64, committed: bool },
    Plain { key: u8 },
    Compact { later_ms: i64 },
    Restart { in_order: bool, keep_snapshots: bool },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0i64..4, 0u8..8)
            .prop_map(|(producer, key)| Operation::Write { producer, transactional: true, key }),
        1 => (4i64..6, 0u8..8)
            .prop_map(|(producer, key)| Operation::Write { producer, transactional: false, key }),
        5 => (0i64..4, any::<bool>())
            .prop_map(|(producer, committed)| Operation::End { producer, committed }),
        2 => (0u8..8).prop_map(|key| Operation::Plain { key }),
        1 => (0i64..8_000).prop_map(|later_ms| Operation::Compact { later_ms }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(in_order, keep_snapshots)| {
            Operation::Restart { in_order, keep_snapshots }
        }),
    ]
}

/// A transaction as it should be.
#[derive(Debug, Clone)]
struct Expected {
    producer: i64,
    first: i64,
    outcome: Option<bool>,
    records: Vec<StoredRecord>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn readers_of_the_committed_see_what_was_committed(
        operations in proptest::collection::vec(operation(), 1..80),
        max_bytes in 1usize..4_000,
    ) {
        let (directory, mut manager, mut log) = new_log(&compacted());
        let mut transactions: Vec<Expected> = Vec::new();
        let mut plain: Vec<StoredRecord> = Vec::new();
        let mut sequences = BTreeMap::new();
        let (mut now, mut was_compacted) = (NOW, false);
        for (operation, number) in operations.into_iter().zip(0..) {
            let value = format!("{number:.<120}");
            let batch = |key: u8| keyed(NOW, &[(&key.to_string(), Some(value.as_bytes()))]);
            let stored = |log: &PartitionLog, offset: i64| {
                stored_records(&log.read(offset, 0, true).unwrap().bytes)
            };
            match operation {
                Operation::Write { producer, transactional, key } => {
                    let sequence = sequences.entry(producer).or_insert(0);
                    let mut batch = batch(key).by(producer, 0, *sequence);
                    *sequence += 1;
                    if transactional {
                        batch.attributes |= 0x10;
                        let offset = produce(&log, &batch);
                        let records = stored(&log, offset);
                        let open = transactions
                            .iter_mut()
                            .find(|t| t.producer == producer && t.outcome.is_none());
                        match open {
                            Some(open) => open.records.extend(records),
                            None => transactions.push(Expected {
                                producer, first: offset, outcome: None, records,
                            }),
                        }
                    } else {
                        let offset = append(&log, &batch).unwrap().base_offset;
                        plain.extend(stored(&log, offset));
                    }
                }
                Operation::End { producer, committed } => {
                    end(&log, (producer, 0), committed);
                    let open = transactions
                        .iter_mut()
                        .find(|t| t.producer == producer && t.outcome.is_none());
                    if let Some(open) = open {
                        open.outcome = Some(committed);
                    }
                }
                Operation::Plain { key } => {
                    let offset = append(&log, &batch(key)).unwrap().base_offset;
                    plain.extend(stored(&log, offset));
                }
                Operation::Compact { later_ms } => {
                    now += later_ms;
                    let found = dirty(&log, now).unwrap();
                    if found.is_due() {
                        was_compacted = true;
                        log.compact(&found, &manager.options.cleaner, now, &|| false).unwrap();
                    }
                }
                Operation::Restart { in_order, keep_snapshots } => {
                    drop(log);
                    if in_order {
                        stop(manager);
                    } else {
                        kill(manager);
                    }
                    if !keep_snapshots && !was_compacted {
                        let partition = directory.path().join(format!("{TOPIC}-0"));
                        for entry in std::fs::read_dir(partition).unwrap() {
                            let path = entry.unwrap().path();
                            if path.extension().is_some_and(|suffix| suffix == "snapshot") {
                                std::fs::remove_file(path).unwrap();
                            }
                        }
                    }
                    manager = open(directory.path());
                    log = super::log(&manager, &compacted());
                }
            }
            let open = transactions.iter().filter(|t| t.outcome.is_none());
            let stable = open.map(|t| t.first).min().unwrap_or(log.log_end_offset());
            prop_assert_eq!(log.last_stable_offset(), stable);
            let committed = transactions.iter().filter(|t| t.outcome == Some(true));
            let mut expected: Vec<_> =
                committed.flat_map(|t| t.records.clone()).chain(plain.clone()).collect();
            expected.retain(|record| record.offset < stable);
            expected.sort_by_key(|record| record.offset);
            let found = committed_records(&log, max_bytes);
            if was_compacted {
                prop_assert!(found.iter().all(|record| expected.contains(record)));
                prop_assert_eq!(state(&found), state(&expected));
            } else {
                prop_assert_eq!(found, expected);
            }
        }
        drop(log);
        kill(manager);
    }
}
