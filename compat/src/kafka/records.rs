//! The loads on a partition log: one batch produced again and again, and read back in large pieces.
//! Each connection has a partition of its own.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, FetchRequest, ProduceRequest};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::client::topic_name;
use super::{
    Correlation, check_api_versions, decode_answer, patch, put_api_versions, request_frame,
};
use crate::load::Conversation;

/// The oldest version whose layout the newer ones of Kafka 3.9 (10, 11) share.
const PRODUCE_VERSION: i16 = 9;
/// The last version that names topics instead of giving their ids.
const FETCH_VERSION: i16 = 12;
/// The default of `max.partition.fetch.bytes`.
pub const FETCH_BYTES: i32 = 1 << 20;
/// Stands in a Fetch frame where the offset belongs, and nowhere else in it.
const OFFSET_MARK: i64 = 0x6D61_726B_6D61_726B;

/// Produce of one batch to each connection's partition, acknowledged by all replicas.
#[derive(Debug)]
pub struct Produce {
    frames: Vec<Vec<u8>>,
    correlations: Vec<Correlation>,
    /// The base offset that each partition's next answer must have, once one is known.
    next_offsets: Vec<Option<i64>>,
    /// Whether each connection has a partition of its own.
    alone: bool,
    records: i64,
}

impl Produce {
    /// Batches of `records` records of `size` bytes to partition `connection` of `topic`.
    pub fn new(topic: &str, connections: usize, records: usize, size: usize) -> Result<Self> {
        Self::shared(topic, connections, connections, records, size)
    }

    /// The same, where the connections share so many `partitions`; then base offsets are not checked.
    pub fn shared(
        topic: &str,
        connections: usize,
        partitions: usize,
        records: usize,
        size: usize,
    ) -> Result<Self> {
        let batch = batch(records, size)?;
        let frame = |connection: usize| {
            let partition = connection % partitions.max(1);
            let data = PartitionProduceData::default()
                .with_index(i32::try_from(partition)?)
                .with_records(Some(batch.clone()));
            let topic = TopicProduceData::default()
                .with_name(topic_name(topic))
                .with_partition_data(vec![data]);
            let request = ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(30_000)
                .with_topic_data(vec![topic]);
            request_frame(&request, PRODUCE_VERSION, 0)
        };
        Ok(Self {
            frames: (0..connections).map(frame).collect::<Result<_>>()?,
            correlations: vec![Correlation::default(); connections],
            next_offsets: vec![None; connections],
            alone: connections <= partitions,
            records: i64::try_from(records)?,
        })
    }
}

impl Conversation for Produce {
    fn open(&mut self, _: usize, out: &mut Vec<u8>) -> Result<()> {
        put_api_versions(out)
    }

    fn opened(&mut self, _: usize, answer: &[u8]) -> Result<()> {
        check_api_versions(answer, ApiKey::Produce, PRODUCE_VERSION)
    }

    fn ask(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        let frame = self.frames.get_mut(connection);
        let (Some(frame), Some(correlation)) = (frame, self.correlations.get_mut(connection))
        else {
            return false;
        };
        correlation.ask(frame);
        out.extend_from_slice(frame);
        true
    }

    fn answered(&mut self, connection: usize, answer: &[u8]) -> Result<()> {
        let next = self.next_offsets.get_mut(connection);
        let (Some(next), Some(correlation)) = (next, self.correlations.get_mut(connection)) else {
            return Ok(());
        };
        correlation.answer(answer)?;
        let (_, response) =
            decode_answer::<ProduceRequest>(Bytes::copy_from_slice(answer), PRODUCE_VERSION)?;
        let partition =
            response.responses.first().and_then(|topic| topic.partition_responses.first());
        let partition = partition.context("no partition in a Produce answer")?;
        if partition.error_code != 0 {
            bail!("Produce: error {} ({:?})", partition.error_code, partition.error_message);
        }
        if let (Some(next), true) = (*next, self.alone) {
            ensure!(
                partition.base_offset == next,
                "base offset {}, not {next}",
                partition.base_offset
            );
        }
        *next = Some(partition.base_offset + self.records);
        Ok(())
    }

    fn close(&mut self, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// One record batch of the current format, uncompressed.
fn batch(records: usize, size: usize) -> Result<Bytes> {
    let value = Bytes::from(vec![b'v'; size]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let timestamp = i64::try_from(now.as_millis())?;
    let record = |number: i32| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(number),
        // The encoder makes one batch of records whose sequences follow the offsets; none = -1.
        sequence: number - 1,
        timestamp,
        key: None,
        value: Some(value.clone()),
        headers: IndexMap::new(),
    };
    let records: Vec<Record> = (0..i32::try_from(records)?).map(record).collect();
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut out, &records, &options)?;
    Ok(out.freeze())
}

/// Fetch of each connection's partition, from its beginning to its end and again.
#[derive(Debug)]
pub struct Fetch {
    frames: Vec<Vec<u8>>,
    offset_at: Vec<usize>,
    offsets: Vec<i64>,
    correlations: Vec<Correlation>,
    /// Bytes of records that were read, in all.
    pub bytes: u64,
}

impl Fetch {
    /// Reads partition `connection` of `topic`, at most `bytes` by each request, or one batch if that is
    /// longer; one request at a time on each connection.
    pub fn new(topic: &str, connections: usize, bytes: i32) -> Result<Self> {
        let frame = |partition: usize| {
            let partition = FetchPartition::default()
                .with_partition(i32::try_from(partition)?)
                .with_fetch_offset(OFFSET_MARK)
                .with_partition_max_bytes(bytes);
            let topic = FetchTopic::default()
                .with_topic(topic_name(topic))
                .with_partitions(vec![partition]);
            let request = FetchRequest::default()
                .with_max_wait_ms(500)
                .with_min_bytes(0)
                .with_max_bytes(50 << 20)
                .with_session_epoch(-1)
                .with_topics(vec![topic]);
            request_frame(&request, FETCH_VERSION, 0)
        };
        let frames: Vec<Vec<u8>> = (0..connections).map(frame).collect::<Result<_>>()?;
        let mark = OFFSET_MARK.to_be_bytes();
        let place = |frame: &Vec<u8>| {
            frame.windows(8).position(|bytes| bytes == mark).context("no offset in a Fetch frame")
        };
        Ok(Self {
            offset_at: frames.iter().map(place).collect::<Result<_>>()?,
            frames,
            offsets: vec![0; connections],
            correlations: vec![Correlation::default(); connections],
            bytes: 0,
        })
    }
}

impl Conversation for Fetch {
    fn open(&mut self, _: usize, out: &mut Vec<u8>) -> Result<()> {
        put_api_versions(out)
    }

    fn opened(&mut self, _: usize, answer: &[u8]) -> Result<()> {
        check_api_versions(answer, ApiKey::Fetch, FETCH_VERSION)
    }

    fn ask(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        let (Some(frame), Some(at), Some(offset), Some(correlation)) = (
            self.frames.get_mut(connection),
            self.offset_at.get(connection),
            self.offsets.get(connection),
            self.correlations.get_mut(connection),
        ) else {
            return false;
        };
        correlation.ask(frame);
        patch(frame, *at, &offset.to_be_bytes());
        out.extend_from_slice(frame);
        true
    }

    fn answered(&mut self, connection: usize, answer: &[u8]) -> Result<()> {
        let offset = self.offsets.get_mut(connection);
        let (Some(offset), Some(correlation)) = (offset, self.correlations.get_mut(connection))
        else {
            return Ok(());
        };
        correlation.answer(answer)?;
        let records = fetched_records(answer).context("a Fetch answer that cannot be read")??;
        self.bytes += records.len() as u64;
        *offset = if records.is_empty() { 0 } else { offset_behind(records, *offset)? };
        Ok(())
    }

    fn close(&mut self, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// The records of a Fetch answer of version 12 with one partition, found without copying them; none
/// when the answer is too short, an error when it says one.
fn fetched_records(answer: &[u8]) -> Option<Result<&[u8]>> {
    let mut rest = answer.get(5..)?; // correlation id, tagged fields of the header
    let mut take = |count: usize| {
        let (taken, behind) = rest.split_at_checked(count)?;
        rest = behind;
        Some(taken)
    };
    let (_throttle, error) = (take(4)?, short(take(2)?)?);
    let (_session, _topics) = (take(4)?, take(1)?);
    if error != 0 {
        return Some(Err(anyhow::anyhow!("Fetch: error {error}")));
    }
    let name_length = usize::from(*take(1)?.first()?).checked_sub(1)?;
    let (_name, _partitions, _index) = (take(name_length)?, take(1)?, take(4)?);
    let error = short(take(2)?)?;
    if error != 0 {
        return Some(Err(anyhow::anyhow!("Fetch: partition error {error}")));
    }
    let _offsets = take(24)?; // high watermark, last stable offset, log start offset
    let aborted = *take(1)?.first()?;
    if aborted > 1 {
        return Some(Err(anyhow::anyhow!("aborted transactions where there were none")));
    }
    let _preferred_replica = take(4)?;
    let mut length = 0_usize;
    for shift in (0..35).step_by(7) {
        let byte = *take(1)?.first()?;
        length |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(Ok(take(length.saturating_sub(1))?))
}

fn short(bytes: &[u8]) -> Option<i16> {
    bytes.first_chunk().map(|bytes| i16::from_be_bytes(*bytes))
}

/// Walks over the batches of a Fetch answer, the last of which may be cut off, and returns the offset
/// behind them. The first batch must hold the offset that was asked for.
fn offset_behind(records: &[u8], asked: i64) -> Result<i64> {
    let mut rest = records;
    let mut next = asked;
    while let (Some(base), Some(length)) = (rest.first_chunk::<8>(), rest.get(8..12)) {
        let base = i64::from_be_bytes(*base);
        let length = length.first_chunk().map_or(0, |length| u32::from_be_bytes(*length)) as usize;
        let Some((batch, behind)) = rest.split_at_checked(12 + length) else { break };
        let delta =
            batch.get(23..27).and_then(|delta| delta.first_chunk()).context("a short batch")?;
        ensure!(base <= next, "a batch begins at {base} where {next} was due");
        next = base + i64::from(i32::from_be_bytes(*delta)) + 1;
        rest = behind;
    }
    ensure!(next > asked, "no whole batch behind offset {asked}");
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::{FetchResponse, ResponseHeader};
    use kafka_protocol::protocol::Encodable;

    fn fetch_answer(records: Bytes, error: i16) -> Vec<u8> {
        let partition = PartitionData::default().with_error_code(error).with_records(Some(records));
        let topic = FetchableTopicResponse::default()
            .with_topic(topic_name("some-topic"))
            .with_partitions(vec![partition]);
        let mut out = BytesMut::new();
        ResponseHeader::default().with_correlation_id(1).encode(&mut out, 1).unwrap();
        FetchResponse::default()
            .with_responses(vec![topic])
            .encode(&mut out, FETCH_VERSION)
            .unwrap();
        out.to_vec()
    }

    #[test]
    fn records_are_one_batch_and_are_found_in_an_answer() {
        let batch = batch(160, 100).unwrap();
        assert_eq!(offset_behind(&batch, 0).unwrap(), 160);
        assert_eq!(fetched_records(&fetch_answer(batch.clone(), 0)).unwrap().unwrap(), &batch[..]);
        assert!(fetched_records(&fetch_answer(batch, 6)).unwrap().is_err());
    }

    #[test]
    fn a_cut_off_batch_at_the_end_is_left_out() {
        let batch = batch(3, 10).unwrap();
        let mut two = batch.to_vec();
        two.extend_from_slice(&batch[..20]);
        assert_eq!(offset_behind(&two, 0).unwrap(), 3);
        assert!(offset_behind(&batch[..20], 0).is_err());
    }

    #[test]
    fn a_gap_is_an_error() {
        let mut batch = batch(3, 10).unwrap().to_vec();
        batch[..8].copy_from_slice(&7_i64.to_be_bytes());
        assert!(offset_behind(&batch, 5).is_err());
        assert_eq!(offset_behind(&batch, 8).unwrap(), 10);
    }

    #[test]
    fn a_fetch_frame_has_one_place_for_the_offset() {
        let fetch = Fetch::new("some-topic", 2, FETCH_BYTES).unwrap();
        let mark = OFFSET_MARK.to_be_bytes();
        for frame in &fetch.frames {
            assert_eq!(frame.windows(8).filter(|bytes| *bytes == mark).count(), 1);
        }
    }
}
