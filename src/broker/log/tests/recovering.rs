//! Logs after a stop: in order, by a kill, with torn and damaged files.

use std::fs;
use std::path::Path;

use super::*;
use crate::kafka::record_batch::Compression;

/// Stops as `kill -9` does: nothing is flushed, nothing is written.
pub(super) fn kill(manager: Arc<LogManager>) {
    manager.housekeeping.signal(|signals| signals.stop = true);
    let thread = manager.thread.lock().take();
    drop(manager);
    if let Some(thread) = thread {
        thread.join().unwrap();
    }
}

pub(super) fn stop(manager: Arc<LogManager>) {
    manager.shutdown();
    drop(manager);
}

/// The files of a log's directory that is to be tampered with, to be put back each time.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The log of a copy of `directory` after `tamper` changed it.
fn reopened<T>(
    directory: &Path,
    tamper: impl FnOnce(&Path),
    look: impl FnOnce(&Arc<PartitionLog>) -> T,
) -> T {
    let other = tempfile::tempdir().unwrap();
    copy(directory, other.path());
    tamper(other.path());
    let manager = open(other.path());
    let log = log(&manager, &small());
    let seen = look(&log);
    drop(log);
    kill(manager);
    seen
}

fn base_name(base: i64, suffix: &str) -> String {
    format!("{base:020}.{suffix}")
}

#[test]
fn everything_is_there_after_a_stop_and_after_a_kill() {
    for in_order in [true, false] {
        let (directory, manager, first) = new_log(&small());
        first.begin_leader_epoch(0).unwrap();
        fill(&first, 20);
        first.begin_leader_epoch(3).unwrap();
        let late = TestBatch::of(NOW, &[b"x"]).by(9, 1, 0).compressed(Compression::Snappy);
        first.append(&late.build(), &options(3)).unwrap();
        first.delete_records(5).unwrap();
        let before = read_all(&first, 5);
        let segments = first.segment_count();
        drop(first);
        if in_order {
            stop(manager);
            let clean = fs::read_to_string(directory.path().join(".kafka_cleanshutdown")).unwrap();
            assert_eq!(clean, r#"{"version":0,"brokerEpoch":-1}"#);
        } else {
            manager.write_checkpoints();
            kill(manager);
        }
        let manager = open(directory.path());
        assert!(!directory.path().join(".kafka_cleanshutdown").exists());
        let log = manager.get(TOPIC, 0).unwrap();
        assert_eq!(log.topic_id(), TOPIC_ID);
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (5, 41));
        assert_eq!(log.segment_count(), segments);
        assert_eq!(read_all(&log, 5), before);
        assert_eq!(log.epoch_end_offset(0), Some((0, 40)));
        assert_eq!(log.epoch_end_offset(3), Some((3, 41)));
        let again = log.append(&late.build(), &options(3)).unwrap();
        assert!(again.duplicate, "in order: {in_order}");
        assert_eq!(again.base_offset, 40);
        assert_eq!(log.offset_for_timestamp(NOW + 10_000).unwrap().unwrap().offset, 20);
        log.update_config(small());
        fill(&log, 3);
        assert_eq!(log.log_end_offset(), 47);
        drop(log);
        kill(manager);
    }
}

#[test]
fn producers_survive_through_snapshots_and_batches() {
    let (directory, manager, first) = new_log(&small());
    for n in 0..40 {
        append(
            &first,
            &TestBatch::of(NOW, &[&[0; 200]]).by(n % 4, 0, i32::try_from(n / 4).unwrap()),
        )
        .unwrap();
    }
    let before = first.producers();
    assert_eq!(before.len(), 4);
    assert!(
        file(directory.path(), &base_name(first.segments.load()[1].base_offset, "snapshot"))
            .exists()
    );
    drop(first);
    kill(manager);
    let manager = open(directory.path());
    let log = manager.get(TOPIC, 0).unwrap();
    assert_eq!(log.producers(), before);
    let repeated = append(&log, &TestBatch::of(NOW, &[&[0; 200]]).by(3, 0, 9)).unwrap();
    assert_eq!((repeated.duplicate, repeated.base_offset), (true, 39));
    drop(log);
    stop(manager);
    let manager = open(directory.path());
    let log = manager.get(TOPIC, 0).unwrap();
    assert_eq!(log.producers(), before);
    assert!(append(&log, &TestBatch::of(NOW, &[&[0; 200]]).by(3, 0, 9)).unwrap().duplicate);
}

/// A killed log of several segments: its directory, and what was in it.
fn killed_log() -> (TempDir, Vec<(BatchHeader, Bytes)>, i64) {
    let tiny = LogConfig { segment_bytes: 400, index_interval_bytes: 50, ..LogConfig::default() };
    let (directory, manager, log) = new_log(&tiny);
    for at in 0..9 {
        append(&log, &TestBatch::of(NOW + at, &[b"a", b"b"])).unwrap();
    }
    append(&log, &TestBatch::of(NOW, &[b"x", b"y"]).by(5, 0, 0)).unwrap();
    let all = read_all(&log, 0);
    let active = log.active_segment().base_offset;
    drop(log);
    kill(manager);
    (directory, all, active)
}

/// What a damaged log may answer: the batches before the damage, unchanged.
fn assert_prefix(log: &PartitionLog, all: &[(BatchHeader, Bytes)]) {
    let found = read_all(log, log.log_start_offset());
    assert_eq!(found, all[..found.len()]);
    assert_eq!(log.log_end_offset(), found.last().map_or(0, |last| last.0.next_offset()));
    // And it goes on from there.
    fill(log, 2);
    assert_eq!(read_all(log, 0).len(), found.len() + 2);
}

#[test]
fn a_torn_tail_is_cut_at_every_length() {
    let (directory, all, active) = killed_log();
    let name = base_name(active, "log");
    let length = fs::metadata(file(directory.path(), &name)).unwrap().len();
    let in_active: usize = all.iter().filter(|batch| batch.0.base_offset >= active).count();
    for end in 0..=length {
        let tamper = |copy: &Path| {
            fs::File::options().write(true).open(file(copy, &name)).unwrap().set_len(end).unwrap();
        };
        let left = reopened(directory.path(), tamper, |log| {
            let left = read_all(log, 0).len();
            assert_prefix(log, &all);
            left
        });
        let mut whole = 0;
        let kept = all[all.len() - in_active..].iter().take_while(|batch| {
            whole += batch.1.len() as u64;
            whole <= end
        });
        assert_eq!(left, all.len() - in_active + kept.count(), "{end} bytes left");
    }
}

#[test]
fn what_follows_the_last_batch_is_cut() {
    let (directory, all, active) = killed_log();
    let name = base_name(active, "log");
    for garbage in [vec![0; 1], vec![0; 5_000], vec![0xff; 70], all[0].1.to_vec()] {
        let tamper = |copy: &Path| {
            let mut bytes = fs::read(file(copy, &name)).unwrap();
            bytes.extend(&garbage);
            fs::write(file(copy, &name), bytes).unwrap();
        };
        reopened(directory.path(), tamper, |log| {
            assert_eq!(read_all(log, 0), all);
            assert_prefix(log, &all);
        });
    }
}

#[test]
fn a_changed_byte_of_a_segment_ends_the_log_there() {
    let (directory, all, active) = killed_log();
    let name = base_name(active, "log");
    let bytes = fs::read(file(directory.path(), &name)).unwrap();
    for at in (0..bytes.len()).step_by(3) {
        let tamper = |copy: &Path| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x81;
            fs::write(file(copy, &name), bytes).unwrap();
        };
        reopened(directory.path(), tamper, |log| {
            let found = read_all(log, 0);
            // The leader epoch and a base offset further on are not covered by the checksum.
            let same = found.iter().zip(&all).take_while(|(a, b)| a.1 == b.1).count();
            let in_file = |batch: &(BatchHeader, Bytes)| batch.0.base_offset < active;
            assert!(same >= all.iter().filter(|batch| in_file(batch)).count(), "byte {at}");
            fill(log, 1);
            assert_eq!(read_all(log, 0).len(), found.len() + 1, "byte {at}");
        });
    }
}

#[test]
fn damage_in_the_middle_removes_what_follows() {
    let (directory, all, _) = killed_log();
    let name = base_name(0, "log");
    let tamper = |copy: &Path| {
        let mut bytes = fs::read(file(copy, &name)).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(file(copy, &name), bytes).unwrap();
    };
    reopened(directory.path(), tamper, |log| {
        assert_eq!(log.segment_count(), 1);
        assert!(log.log_end_offset() > 0);
        assert_prefix(log, &all);
    });
}

#[test]
fn indexes_and_small_files_may_be_anything_after_a_kill() {
    let (directory, all, active) = killed_log();
    let names = [
        base_name(active, "index"),
        base_name(active, "timeindex"),
        base_name(active, "snapshot"),
        base_name(0, "index"),
        base_name(0, "timeindex"),
        "leader-epoch-checkpoint".to_owned(),
    ];
    for name in names {
        let path = file(directory.path(), &name);
        let bytes = fs::read(&path).unwrap_or_default();
        let mut variants = vec![Vec::new(), vec![0; 100], vec![0xff; 24]];
        variants.extend((0..bytes.len()).map(|end| bytes[..end].to_vec()));
        variants.extend((0..bytes.len()).map(|at| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xff;
            bytes
        }));
        for variant in variants {
            let tamper = |copy: &Path| fs::write(file(copy, &name), &variant).unwrap();
            reopened(directory.path(), tamper, |log| {
                assert_eq!(read_all(log, 0), all, "{name}: {variant:?}");
                assert_eq!(log.producers().len(), 1, "{name}: {variant:?}");
            });
        }
        reopened(
            directory.path(),
            |copy| fs::remove_file(file(copy, &name)).unwrap_or(()),
            |log| {
                assert_eq!(read_all(log, 0), all, "{name} is gone");
            },
        );
    }
}

#[test]
fn a_damaged_index_after_a_stop_in_order_loses_no_record() {
    let (directory, manager, first) = new_log(&small());
    fill(&first, 20);
    let all = read_all(&first, 0);
    let bases: Vec<i64> = first.segments.load().iter().map(|segment| segment.base_offset).collect();
    drop(first);
    stop(manager);
    for base in [bases[0], *bases.last().unwrap()] {
        for suffix in ["index", "timeindex"] {
            let name = base_name(base, suffix);
            let length = fs::read(file(directory.path(), &name)).unwrap().len();
            for garbage in [Vec::new(), vec![0xff; length], vec![0x01; length], vec![0; 7]] {
                let tamper = |copy: &Path| fs::write(file(copy, &name), &garbage).unwrap();
                reopened(directory.path(), tamper, |log| {
                    for offset in 0..log.log_end_offset() {
                        assert_eq!(
                            read_all(log, offset)[0].0.base_offset,
                            offset / 2 * 2,
                            "{name}"
                        );
                    }
                    assert_eq!(read_all(log, 0), all);
                });
            }
        }
    }
}

#[test]
fn a_log_that_ends_before_its_start_begins_anew_there() {
    let (directory, manager, first) = new_log(&LogConfig::default());
    fill(&first, 4);
    first.delete_records(6).unwrap();
    manager.write_checkpoints();
    drop(first);
    kill(manager);
    let path = file(directory.path(), &base_name(0, "log"));
    fs::File::options().write(true).open(path).unwrap().set_len(10).unwrap();
    let manager = open(directory.path());
    let log = manager.get(TOPIC, 0).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (6, 6));
    fill(&log, 1);
    assert_eq!(read_all(&log, 6).len(), 1);
}

#[test]
fn what_is_not_served_is_left_alone() {
    // A message of format 1, as an old Kafka wrote it: offset, length, CRC-32, magic, attributes,
    // timestamp, no key, a value of three bytes.
    let mut message = vec![0; 8];
    message.extend(25i32.to_be_bytes());
    let mut body = vec![1, 0];
    body.extend(NOW.to_be_bytes());
    body.extend((-1i32).to_be_bytes());
    body.extend(3i32.to_be_bytes());
    body.extend(b"old");
    message.extend(crc32fast::hash(&body).to_be_bytes());
    message.extend(&body);
    let (directory, manager, log) = new_log(&LogConfig::default());
    drop(log);
    kill(manager);
    let path = file(directory.path(), &base_name(0, "log"));
    fs::write(&path, &message).unwrap();
    let manager = open(directory.path());
    assert!(manager.get(TOPIC, 0).is_none());
    let refused = manager.get_or_create(TOPIC, TOPIC_ID, 0, &LogConfig::default());
    assert!(matches!(refused, Err(LogError::Storage { .. })), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), message);
}
