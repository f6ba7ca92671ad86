//! Record batches for tests, encoded by hand as a client would.

use std::io::Write as _;
use std::ops::ControlFlow;

use bytes::{BufMut, Bytes};

use super::records::{RecordStart, Source, Walk, headers, start, take_nullable, with_source};
use super::{BatchError, Compression, HEADER_LENGTH, verified_batch};

/// Timestamp delta, key and value of a record.
pub(crate) type TestRecord = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// A batch under construction; `build` encodes it.
#[derive(Debug, Clone)]
pub(crate) struct TestBatch {
    pub(crate) base_timestamp: i64,
    pub(crate) records: Vec<TestRecord>,
    pub(crate) compression: Compression,
    pub(crate) attributes: i16,
    pub(crate) producer: (i64, i16, i32),
    pub(crate) max_timestamp: Option<i64>,
    /// Wrap snappy blocks as snappy-java does.
    pub(crate) xerial: bool,
}

impl TestBatch {
    /// `values` as records without keys, a millisecond apart from `timestamp` on.
    pub(crate) fn of(timestamp: i64, values: &[&[u8]]) -> TestBatch {
        let records = values.iter().zip(0..).map(|(value, at)| (at, None, Some(value.to_vec())));
        TestBatch {
            base_timestamp: timestamp,
            records: records.collect(),
            compression: Compression::None,
            attributes: 0,
            producer: (-1, -1, -1),
            max_timestamp: None,
            xerial: true,
        }
    }

    pub(crate) fn compressed(mut self, compression: Compression) -> TestBatch {
        self.compression = compression;
        self
    }

    pub(crate) fn by(mut self, id: i64, epoch: i16, sequence: i32) -> TestBatch {
        self.producer = (id, epoch, sequence);
        self
    }

    pub(crate) fn build(&self) -> Bytes {
        let mut plain = Vec::new();
        for (index, record) in (0..).zip(&self.records) {
            plain.extend(encode_record(record, index));
        }
        let codec = match self.compression {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        };
        let count = i32::try_from(self.records.len()).unwrap();
        let largest = self.records.iter().map(|record| self.base_timestamp + record.0).max();
        let max_timestamp = self.max_timestamp.or(largest).unwrap_or(-1);
        let mut batch = Vec::new();
        batch.put_i64(0);
        batch.put_i32(0);
        batch.put_i32(-1);
        batch.put_i8(2);
        batch.put_u32(0);
        batch.put_i16(self.attributes | codec);
        batch.put_i32(count - 1);
        batch.put_i64(self.base_timestamp);
        batch.put_i64(max_timestamp);
        batch.put_i64(self.producer.0);
        batch.put_i16(self.producer.1);
        batch.put_i32(self.producer.2);
        batch.put_i32(count);
        assert_eq!(batch.len(), HEADER_LENGTH);
        batch.extend(compress(self.compression, &plain, self.xerial));
        seal(&mut batch);
        Bytes::from(batch)
    }
}

/// Sets the length and the checksum of a batch that was changed by hand.
pub(crate) fn seal(batch: &mut [u8]) {
    let length = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn compress(codec: Compression, plain: &[u8], xerial: bool) -> Vec<u8> {
    match codec {
        Compression::None => plain.to_vec(),
        Compression::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Snappy if xerial => {
            let mut framed =
                vec![0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
            for block in plain.chunks(32 * 1024) {
                let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
                framed.put_u32(u32::try_from(block.len()).unwrap());
                framed.extend(block);
            }
            framed
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::stream::encode_all(plain, 3).unwrap(),
    }
}

fn encode_record((delta, key, value): &TestRecord, index: i32) -> Vec<u8> {
    let mut body = vec![0];
    varint(&mut body, *delta);
    varint(&mut body, i64::from(index));
    for field in [key, value] {
        match field {
            Some(bytes) => {
                varint(&mut body, i64::try_from(bytes.len()).unwrap());
                body.extend(bytes);
            }
            None => varint(&mut body, -1),
        }
    }
    varint(&mut body, 2);
    for _ in 0..2 {
        varint(&mut body, 1);
        body.push(b'h');
        varint(&mut body, -1);
    }
    let mut record = Vec::new();
    varint(&mut record, i64::try_from(body.len()).unwrap());
    record.extend(body);
    record
}

fn varint(into: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        into.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    into.push(u8::try_from(rest).unwrap());
}

/// A record of a batch that is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

/// The records of a whole batch.
pub(crate) fn stored_records(batch: &[u8]) -> Vec<StoredRecord> {
    struct All(super::BatchHeader, Vec<StoredRecord>);
    impl Walk for All {
        type Value = ();
        fn record<S: Source>(
            &mut self,
            _: i32,
            source: &mut S,
        ) -> Result<ControlFlow<()>, BatchError> {
            let RecordStart { mut left, timestamp, offset_delta } = start(&self.0, source)?;
            let mut field = || {
                let mut bytes = Vec::new();
                let there =
                    take_nullable(source, &mut left, |piece| bytes.extend_from_slice(piece));
                there.map(|there| there.then_some(bytes))
            };
            let (key, value) = (field()?, field()?);
            headers(source, left)?;
            let offset = self.0.base_offset + i64::from(offset_delta);
            self.1.push(StoredRecord { offset, timestamp, key, value });
            Ok(ControlFlow::Continue(()))
        }
    }
    let (header, batch) = verified_batch(batch).unwrap();
    let mut all = All(header, Vec::new());
    with_source(&header, batch, &mut all).unwrap();
    all.1
}
