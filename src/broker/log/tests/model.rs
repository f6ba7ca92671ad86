//! Random operations on a log beside a plain list of batches.

use proptest::prelude::*;

use super::*;
use crate::kafka::record_batch::Compression;

#[derive(Debug, Clone)]
enum Operation {
    Append { records: usize, length: usize, codec: u8 },
    Produce { producer: i64, repeat: bool },
    Read { offset: f64, max_bytes: usize, at_least_one: bool },
    Find { timestamp: f64 },
    DeleteRecords { offset: f64 },
    Trim { bytes: i64 },
    Flush,
    Restart { in_order: bool, torn: usize },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (1usize..5, 0usize..300, 0u8..5)
            .prop_map(|(records, length, codec)| Operation::Append { records, length, codec }),
        3 => (0i64..3, any::<bool>())
            .prop_map(|(producer, repeat)| Operation::Produce { producer, repeat }),
        6 => (0.0..1.05, 0usize..3_000, any::<bool>()).prop_map(
            |(offset, max_bytes, at_least_one)| Operation::Read { offset, max_bytes, at_least_one }
        ),
        2 => (0.0..1.1).prop_map(|timestamp| Operation::Find { timestamp }),
        1 => (0.0..1.0).prop_map(|offset| Operation::DeleteRecords { offset }),
        1 => (500i64..6_000).prop_map(|bytes| Operation::Trim { bytes }),
        1 => Just(Operation::Flush),
        1 => (any::<bool>(), 0usize..200)
            .prop_map(|(in_order, torn)| Operation::Restart { in_order, torn }),
    ]
}

/// What the log must be like.
#[derive(Default)]
struct Model {
    /// Header and bytes of every batch, those below the start included.
    batches: Vec<(BatchHeader, Bytes)>,
    start: i64,
    /// Last sequence number and base offset of each producer's last batch.
    producers: std::collections::HashMap<i64, (i32, i64)>,
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.0.next_offset())
    }

    fn at(&self, share: f64) -> i64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let offset = (self.end() as f64 * share) as i64;
        offset
    }

    fn appended(&mut self, log: &PartitionLog, batch: &Bytes, base_offset: i64) {
        assert_eq!(base_offset, self.end());
        let stored = log.read(base_offset, 0, true).unwrap().bytes;
        let (header, _) = verified_batch(&stored).unwrap();
        assert_eq!(stored[16..], batch[16..]);
        assert_eq!(header.base_offset, base_offset);
        self.batches.push((header, stored));
    }
}

const TIME_STEP: i64 = 10;

struct Run {
    directory: TempDir,
    manager: Option<Arc<LogManager>>,
    log: Option<Arc<PartitionLog>>,
    model: Model,
    retention: i64,
}

impl Run {
    fn config(&self) -> LogConfig {
        LogConfig { retention_bytes: self.retention, retention_ms: -1, ..small() }
    }

    fn log(&self) -> &Arc<PartitionLog> {
        self.log.as_ref().unwrap()
    }

    fn apply(&mut self, operation: &Operation) {
        let log = Arc::clone(self.log());
        let time = NOW + self.model.end() * TIME_STEP;
        match *operation {
            Operation::Append { records, length, codec } => {
                let value = vec![codec; length];
                let mut batch = TestBatch::of(time, &vec![&value[..]; records]);
                for (record, at) in batch.records.iter_mut().zip(0..) {
                    record.0 = at * TIME_STEP;
                }
                batch.compression = Compression::from_attributes(i16::from(codec)).unwrap();
                let batch = batch.build();
                let info = log.append(&batch, &options(0)).unwrap();
                self.model.appended(&log, &batch, info.base_offset);
            }
            Operation::Produce { producer, repeat } => {
                let known = self.model.producers.get(&producer).copied();
                let sequence = known.map_or(0, |(last, _)| if repeat { last } else { last + 1 });
                let batch = TestBatch::of(time, &[b"x"]).by(producer, 0, sequence).build();
                let info = log.append(&batch, &options(0)).unwrap();
                if let (Some((_, base_offset)), true) = (known, repeat) {
                    assert_eq!((info.duplicate, info.base_offset), (true, base_offset));
                } else {
                    assert!(!info.duplicate);
                    self.model.appended(&log, &batch, info.base_offset);
                    self.model.producers.insert(producer, (sequence, info.base_offset));
                }
            }
            Operation::Read { offset, max_bytes, at_least_one } => {
                self.read(self.model.at(offset), max_bytes, at_least_one);
            }
            Operation::Find { timestamp } => {
                let offset = self.model.at(timestamp).max(self.model.start);
                let found = log.offset_for_timestamp(NOW + offset * TIME_STEP).unwrap();
                let expected = (offset < self.model.end()).then_some(offset);
                assert_eq!(found.map(|found| found.offset), expected);
            }
            Operation::DeleteRecords { offset } => {
                let offset = self.model.at(offset);
                self.model.start = self.model.start.max(offset);
                assert_eq!(log.delete_records(offset).unwrap(), self.model.start);
            }
            Operation::Trim { bytes } => {
                self.retention = bytes;
                log.update_config(self.config());
                log.enforce_retention(NOW).unwrap();
                let start = log.log_start_offset();
                assert!(start >= self.model.start);
                let left = |from| {
                    let batches = self.model.batches.iter();
                    batches
                        .filter(|b| b.0.base_offset >= from)
                        .map(|b| i64::try_from(b.1.len()).unwrap())
                        .sum::<i64>()
                };
                assert!(start == self.model.start || left(start) >= bytes, "too much is gone");
                assert!(left(start) < bytes + 2_000 + 2_000, "too much is left");
                self.model.start = start;
            }
            Operation::Flush => log.flush().unwrap(),
            Operation::Restart { in_order, torn } => self.restart(in_order, torn),
        }
        self.check();
    }

    fn read(&self, offset: i64, max_bytes: usize, at_least_one: bool) {
        let read = self.log().read(offset, max_bytes, at_least_one);
        if offset < self.model.start || offset > self.model.end() {
            assert!(matches!(read, Err(LogError::OffsetOutOfRange { .. })), "{read:?}");
            return;
        }
        let bytes = read.unwrap().bytes;
        let from = self.model.batches.partition_point(|batch| batch.0.next_offset() <= offset);
        let expected = &self.model.batches[from..];
        match expected.first() {
            Some(first) if at_least_one || first.1.len() <= max_bytes => assert!(!bytes.is_empty()),
            _ => assert!(bytes.is_empty()),
        }
        let mut rest = &bytes[..];
        for batch in expected {
            if rest.is_empty() {
                break;
            }
            assert_eq!(rest[..batch.1.len()], batch.1[..]);
            rest = &rest[batch.1.len()..];
        }
        assert!(rest.is_empty());
        let first = expected.first().map_or(0, |first| first.1.len());
        assert!(bytes.len() <= max_bytes || bytes.len() == first, "more than was asked for");
    }

    fn restart(&mut self, in_order: bool, torn: usize) {
        self.log = None;
        let manager = self.manager.take().unwrap();
        if in_order {
            manager.shutdown();
        } else {
            // A batch that was being written when the process was killed.
            let log = manager.get(TOPIC, 0).unwrap();
            manager.write_checkpoints();
            manager.housekeeping.signal(|signals| signals.stop = true);
            let thread = manager.thread.lock().take();
            thread.unwrap().join().unwrap();
            let path = log.active_segment().path().to_owned();
            let next = TestBatch::of(NOW, &[&[7; 300]]).build();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.extend(&next[..torn]);
            std::fs::write(path, bytes).unwrap();
        }
        drop(manager);
        let manager = open(self.directory.path());
        self.log = Some(manager.get_or_create(TOPIC, TOPIC_ID, 0, &self.config()).unwrap());
        self.manager = Some(manager);
    }

    fn check(&self) {
        let log = self.log();
        assert_eq!(log.log_start_offset(), self.model.start);
        assert_eq!(
            (log.log_end_offset(), log.high_watermark()),
            (self.model.end(), self.model.end())
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_what_was_put_into_it(operations in proptest::collection::vec(operation(), 1..80)) {
        let (directory, manager, log) = new_log(&small());
        let mut run = Run {
            directory,
            manager: Some(manager),
            log: Some(log),
            model: Model::default(),
            retention: -1,
        };
        run.log().update_config(run.config());
        for operation in &operations {
            run.apply(operation);
        }
        for offset in run.model.start..=run.model.end() {
            run.read(offset, 500, true);
        }
    }
}
