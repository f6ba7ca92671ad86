//! Fetch over the wire: sessions (KIP-227), and what readers of the committed see.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod kafka_support;

use bytes::{Bytes, BytesMut};
use doorkeeper::broker::log::{AppendOptions, Origin, TransactionMarker, Verification};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ProduceRequest};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use kafka_support::{Client, PATIENCE, Server, topic_name};
use uuid::Uuid;

fn record(value: &str, producer: Option<(i64, i32)>) -> Bytes {
    let (producer_id, sequence) = producer.unwrap_or((-1, -1));
    let record = Record {
        transactional: producer.is_some(),
        control: false,
        partition_leader_epoch: -1,
        producer_id,
        producer_epoch: if producer.is_some() { 0 } else { -1 },
        timestamp_type: TimestampType::Creation,
        timestamp: 1_700_000_000_000,
        sequence,
        offset: 0,
        key: None,
        value: Some(Bytes::from(value.to_owned())),
        headers: indexmap::IndexMap::new(),
        delete_horizon: false,
    };
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, [&record], &options).unwrap();
    bytes.freeze()
}

async fn produce(client: &mut Client, topic: &str, partition: i32) {
    let data =
        PartitionProduceData::default().with_index(partition).with_records(Some(record("x", None)));
    let topic =
        TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    let request =
        ProduceRequest::default().with_acks(1).with_timeout_ms(1_000).with_topic_data(vec![topic]);
    let answer = client.ask(9, &request).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

/// A consumer's requests, in the version that it speaks.
struct Consumer {
    version: i16,
    id: Uuid,
    session: (i32, i32),
}

impl Consumer {
    /// The next request of the session: `(partition, offset)` to read, and partitions to forget.
    fn request(&self, asked: &[(i32, i64)], forgotten: &[i32], max_wait_ms: i32) -> FetchRequest {
        let (name, id) = if self.version >= 13 {
            (topic_name(""), self.id)
        } else {
            (topic_name("t"), Uuid::nil())
        };
        let partitions = asked.iter().map(|(partition, offset)| {
            FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(1 << 20)
        });
        let mut request = FetchRequest::default()
            .with_max_wait_ms(max_wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_session_id(self.session.0)
            .with_session_epoch(self.session.1);
        if !asked.is_empty() {
            request.topics = vec![
                FetchTopic::default()
                    .with_topic(name.clone())
                    .with_topic_id(id)
                    .with_partitions(partitions.collect()),
            ];
        }
        if !forgotten.is_empty() {
            request.forgotten_topics_data = vec![
                ForgottenTopic::default()
                    .with_topic(name)
                    .with_topic_id(id)
                    .with_partitions(forgotten.to_vec()),
            ];
        }
        request
    }

    async fn fetch(
        &mut self,
        client: &mut Client,
        asked: &[(i32, i64)],
        forgotten: &[i32],
    ) -> Vec<(i32, bool)> {
        let answer = client.ask(self.version, &self.request(asked, forgotten, 0)).await;
        assert_eq!(answer.error_code, 0);
        self.session = (answer.session_id, self.session.1 + 1);
        told(&answer)
    }
}

/// The partitions of an answer, and whether they have records.
fn told(answer: &FetchResponse) -> Vec<(i32, bool)> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|p| {
            assert_eq!(p.error_code, 0);
            (p.partition_index, p.records.as_ref().is_some_and(|records| !records.is_empty()))
        })
        .collect()
}

fn topic_id(server: &Server) -> Uuid {
    server.broker.context().image.load().topic("t").unwrap().id
}

#[tokio::test]
async fn a_session_tells_only_what_changed() {
    let server = Server::start().await;
    server.create(&[("t", 4)]).await;
    let mut client = server.client().await;
    let mut records = 0;
    for version in [7, 11, 12, 13, 17] {
        let mut consumer = Consumer { version, id: topic_id(&server), session: (0, 0) };
        let all: Vec<(i32, i64)> = (0..4).map(|p| (p, if p == 1 { records } else { 0 })).collect();
        let first = consumer.fetch(&mut client, &all, &[]).await;
        assert_eq!(first, [(0, false), (1, false), (2, false), (3, false)]);
        let id = consumer.session.0;
        assert_ne!(id, 0);
        assert_eq!(consumer.fetch(&mut client, &[], &[]).await, []);
        assert_eq!(consumer.session.0, id);
        produce(&mut client, "t", 1).await;
        records += 1;
        assert_eq!(consumer.fetch(&mut client, &[], &[]).await, [(1, true)]);
        assert_eq!(consumer.fetch(&mut client, &[], &[]).await, [(1, true)], "it did not move on");
        assert_eq!(consumer.fetch(&mut client, &[(1, records)], &[2]).await, []);
        // A request that waits is woken by any partition of its session.
        let mut other = server.client().await;
        let waiting = consumer.request(&[], &[], 60_000);
        let (answer, ()) = tokio::join!(client.ask(version, &waiting), produce(&mut other, "t", 1));
        records += 1;
        assert_eq!(told(&answer), [(1, true)]);
        consumer.session.1 += 1;
        let id_of_topic = consumer.id;
        let error = async |client: &mut Client, version: i16, session: (i32, i32)| {
            let wrong = Consumer { version, id: id_of_topic, session };
            let answer = client.ask(version, &wrong.request(&[], &[], 0)).await;
            assert!(answer.responses.is_empty());
            answer.error_code
        };
        assert_eq!(error(&mut client, version, (id, consumer.session.1 + 1)).await, 71);
        assert_eq!(error(&mut client, version, (id ^ 1, 1)).await, 70);
        let other_naming = if version >= 13 { 12 } else { 13 };
        assert_eq!(error(&mut client, other_naming, (id, consumer.session.1)).await, 106);
        // The last request of a session closes it.
        consumer.session.1 = -1;
        assert_eq!(consumer.fetch(&mut client, &[(3, 0)], &[]).await, [(3, false)]);
        assert_eq!(error(&mut client, version, (id, 7)).await, 70);
    }
    server.stop().await;
}

#[tokio::test]
async fn without_room_there_is_no_session() {
    let server = Server::with(|config| config.fetch_session_slots = 0).await;
    server.create(&[("t", 1)]).await;
    let mut client = server.client().await;
    let consumer = Consumer { version: 13, id: topic_id(&server), session: (0, 0) };
    let answer = client.ask(13, &consumer.request(&[(0, 0)], &[], 0)).await;
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    assert_eq!(told(&answer), [(0, false)]);
    server.stop().await;
}

#[tokio::test]
async fn who_reads_the_committed_is_told_what_was_aborted() {
    let server = Server::start().await;
    server.create(&[("t", 1)]).await;
    let mut client = server.client().await;
    let led = server.broker.context().partitions.led("t", 0, -1).unwrap();
    let options = AppendOptions {
        produce_version: 9,
        now_ms: 1_700_000_000_000,
        leader_epoch: led.leader_epoch,
    };
    let append = |producer, sequence| {
        let batch = record("x", Some((producer, sequence)));
        led.log.append_as(&batch, &options, Origin::Client(Verification::Off)).unwrap();
    };
    let end = |producer_id, committed| {
        let marker =
            TransactionMarker { producer_id, producer_epoch: 0, committed, coordinator_epoch: 0 };
        led.log.append_marker(&marker, &options).unwrap();
    };
    produce(&mut client, "t", 0).await;
    append(7, 0);
    append(8, 0);
    end(8, true);
    let fetch = |isolation: i8| {
        let consumer = Consumer { version: 11, id: Uuid::nil(), session: (0, -1) };
        consumer.request(&[(0, 0)], &[], 0).with_isolation_level(isolation)
    };
    let latest = |isolation: i8| {
        let partition = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(-1);
        let topic =
            ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_isolation_level(isolation).with_topics(vec![topic])
    };
    for (isolation, end, has_list) in [(0, 4, false), (1, 1, true)] {
        let answer = client.ask(11, &fetch(isolation)).await;
        let partition = &answer.responses[0].partitions[0];
        assert_eq!((partition.high_watermark, partition.last_stable_offset), (4, 1));
        assert_eq!(partition.aborted_transactions.is_some(), has_list);
        let listed = client.ask(5, &latest(isolation)).await;
        assert_eq!(listed.topics[0].partitions[0].offset, end);
    }
    // Who waits for what is committed is woken by the marker.
    let mut other = server.client().await;
    let mut waiting = fetch(1).with_max_wait_ms(60_000);
    waiting.topics[0].partitions[0].fetch_offset = 1;
    let ended = async {
        assert_eq!(other.ask(5, &latest(0)).await.topics[0].partitions[0].offset, 4);
        end(7, false);
    };
    let (answer, ()) = tokio::join!(client.ask(11, &waiting), ended);
    let partition = &answer.responses[0].partitions[0];
    assert_eq!((partition.high_watermark, partition.last_stable_offset), (5, 5));
    let aborted = partition.aborted_transactions.as_ref().unwrap();
    assert_eq!(aborted.len(), 1);
    assert_eq!((aborted[0].producer_id.0, aborted[0].first_offset), (7, 1));
    assert!(!partition.records.as_ref().unwrap().is_empty());
    // Nobody vouches for a producer's transaction yet.
    let data =
        PartitionProduceData::default().with_index(0).with_records(Some(record("x", Some((9, 0)))));
    let topic =
        TopicProduceData::default().with_name(topic_name("t")).with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_transactional_id(Some(kafka_protocol::messages::TransactionalId(
            kafka_support::text("me"),
        )))
        .with_acks(-1)
        .with_timeout_ms(i32::try_from(PATIENCE.as_millis()).unwrap())
        .with_topic_data(vec![topic]);
    let answer = client.ask(9, &request).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 48);
    drop(led);
    server.stop().await;
}
