//! The body of a Fetch answer, written by hand so that records are not copied into it.
//!
//! The layout follows Kafka's `FetchResponse.json`, versions 4 to 17. A test reads it back with
//! the generated decoder.

use bytes::{BufMut, BytesMut};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::leader::NamedLeaders;
use super::{Piece, Reply};
use crate::broker::log::AbortedTransaction;
use crate::limits;

/// The first version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 12;
/// The first version that names topics by id.
const TOPIC_IDS: i16 = 13;
/// The first version whose answer names leaders' addresses.
const NODE_ENDPOINTS: i16 = 16;

/// One partition's part of the answer.
#[derive(Debug, Clone)]
pub struct FetchedPartition {
    /// The partition's number.
    pub index: i32,
    /// An error code, 0 for none.
    pub error_code: i16,
    /// The high watermark, −1 with an error.
    pub high_watermark: i64,
    /// Where the first open transaction begins, or the high watermark; −1 with an error.
    pub last_stable_offset: i64,
    /// The log start offset, −1 with an error.
    pub log_start_offset: i64,
    /// The largest epoch that leader and client agree on, and its end (version 12).
    pub diverging_epoch: Option<(i32, i64)>,
    /// Leader and leader epoch, where the client asked the wrong broker (version 12).
    pub current_leader: Option<(i32, i32)>,
    /// The aborted transactions that have records in the batches; `None` is null.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// Record batches: in memory where they are short.
    pub records: Piece,
}

/// One topic's part of the answer.
#[derive(Debug, Clone)]
pub struct FetchedTopic {
    /// The name, up to version 12.
    pub name: StrBytes,
    /// The id, from version 13 on.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: Vec<FetchedPartition>,
}

/// Encodes an answer, of session 0 if it is of none. Long records stay where they are.
pub fn encode(
    version: i16,
    error_code: i16,
    session_id: i32,
    topics: &[FetchedTopic],
    leaders: &NamedLeaders,
) -> Reply {
    let mut body = Body { version, pieces: Vec::new(), open: BytesMut::with_capacity(256) };
    body.open.put_i32(0); // throttle time
    if version >= 7 {
        body.open.put_i16(error_code);
        body.open.put_i32(session_id);
    }
    body.count(topics.len());
    for topic in topics {
        if version >= TOPIC_IDS {
            body.open.put_slice(topic.id.as_bytes());
        } else {
            body.string(Some(&topic.name));
        }
        body.count(topic.partitions.len());
        for partition in &topic.partitions {
            body.partition(partition);
        }
        body.no_tags();
    }
    if version >= FLEXIBLE {
        let endpoints = leaders.endpoints();
        if version >= NODE_ENDPOINTS && !endpoints.is_empty() {
            let mut tag = Body { version, pieces: Vec::new(), open: BytesMut::new() };
            tag.count(endpoints.len());
            for (id, endpoint) in endpoints {
                tag.open.put_i32(*id);
                tag.string(Some(&endpoint.host));
                tag.open.put_i32(endpoint.port);
                tag.string(endpoint.rack.as_ref());
                tag.no_tags();
            }
            body.tags(&[(0, &tag.open)]);
        } else {
            body.no_tags();
        }
    }
    body.finish()
}

/// An answer under construction: finished pieces, and the one that is written to.
struct Body {
    version: i16,
    pieces: Vec<Piece>,
    open: BytesMut,
}

impl Body {
    fn partition(&mut self, partition: &FetchedPartition) {
        self.open.put_i32(partition.index);
        self.open.put_i16(partition.error_code);
        self.open.put_i64(partition.high_watermark);
        self.open.put_i64(partition.last_stable_offset);
        if self.version >= 5 {
            self.open.put_i64(partition.log_start_offset);
        }
        match &partition.aborted {
            Some(aborted) => {
                self.count(aborted.len());
                for transaction in aborted {
                    self.open.put_i64(transaction.producer_id);
                    self.open.put_i64(transaction.first_offset);
                    self.no_tags();
                }
            }
            None => self.null(),
        }
        if self.version >= 11 {
            self.open.put_i32(-1); // preferred read replica
        }
        self.records(&partition.records);
        if self.version < FLEXIBLE {
            return;
        }
        let pair = |epoch: i32, offset: i64| {
            let mut value = BytesMut::new();
            value.put_i32(epoch);
            value.put_i64(offset);
            value.put_u8(0);
            value
        };
        let diverging = partition.diverging_epoch.map(|(epoch, end)| pair(epoch, end));
        let leader = partition.current_leader.map(|(id, epoch)| {
            let mut value = BytesMut::new();
            value.put_i32(id);
            value.put_i32(epoch);
            value.put_u8(0);
            value
        });
        let tags = diverging.iter().map(|value| (0, value));
        let tags: Vec<_> = tags.chain(leader.iter().map(|value| (1, value))).collect();
        self.tags(&tags);
    }

    /// Records are never null: librdkafka does not bear it.
    fn records(&mut self, records: &Piece) {
        if self.version >= FLEXIBLE {
            self.varint(records.len() + 1);
        } else {
            self.open.put_i32(i32::try_from(records.len()).unwrap_or(i32::MAX));
        }
        match records {
            Piece::Bytes(bytes) if bytes.len() < limits::KAFKA_COPY_MAX => {
                self.open.put_slice(bytes);
            }
            records => {
                self.pieces.push(self.open.split().freeze().into());
                self.pieces.push(records.clone());
            }
        }
    }

    fn count(&mut self, count: usize) {
        if self.version >= FLEXIBLE {
            self.varint(count + 1);
        } else {
            self.open.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
        }
    }

    /// A null array.
    fn null(&mut self) {
        if self.version >= FLEXIBLE {
            self.open.put_u8(0);
        } else {
            self.open.put_i32(-1);
        }
    }

    fn string(&mut self, text: Option<&StrBytes>) {
        match (text, self.version >= FLEXIBLE) {
            (Some(text), true) => self.varint(text.len() + 1),
            (Some(text), false) => {
                self.open.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
            }
            (None, true) => self.open.put_u8(0),
            (None, false) => self.open.put_i16(-1),
        }
        self.open.put_slice(text.map_or(&[][..], |text| text.as_bytes()));
    }

    fn no_tags(&mut self) {
        if self.version >= FLEXIBLE {
            self.open.put_u8(0);
        }
    }

    fn tags(&mut self, tags: &[(u8, &BytesMut)]) {
        self.varint(tags.len());
        for (tag, value) in tags {
            self.open.put_u8(*tag);
            self.varint(value.len());
            self.open.put_slice(value);
        }
    }

    fn varint(&mut self, value: usize) {
        let mut rest = value;
        while rest >= 0x80 {
            self.open.put_u8(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
            rest >>= 7;
        }
        self.open.put_u8(u8::try_from(rest).unwrap_or(0));
    }

    fn finish(mut self) -> Reply {
        let last = self.open.freeze();
        if self.pieces.is_empty() {
            return Reply::Body(last);
        }
        if !last.is_empty() {
            self.pieces.push(last.into());
        }
        Reply::Pieces(self.pieces)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::{BrokerId, FetchResponse};
    use kafka_protocol::protocol::Decodable;

    use super::*;
    use crate::kafka::api::leader::LeaderEndpoint;

    #[test]
    fn the_generated_decoder_reads_every_version() {
        for version in 4..=17 {
            for length in [0, 10, limits::KAFKA_COPY_MAX, 100_000] {
                round_trip(version, length);
            }
        }
    }

    fn round_trip(version: i16, length: usize) {
        let id = Uuid::from_u128(0x1234_5678);
        let partition = |index: i32, error_code, current_leader| FetchedPartition {
            index,
            error_code,
            high_watermark: 100,
            last_stable_offset: 90,
            log_start_offset: 7,
            diverging_epoch: (index == 1).then_some((3, 55)),
            current_leader,
            aborted: match index {
                1 => Some(vec![AbortedTransaction {
                    first_offset: 12,
                    producer_id: 77,
                    last_offset: 20,
                    last_stable_offset: 21,
                }]),
                2 => Some(Vec::new()),
                _ => None,
            },
            records: Bytes::from(vec![9; length]).into(),
        };
        let topics = vec![
            FetchedTopic {
                name: StrBytes::from_static_str("one"),
                id,
                partitions: vec![
                    partition(0, 0, None),
                    partition(1, 6, Some((2, 8))),
                    partition(2, 3, None),
                ],
            },
            FetchedTopic { name: StrBytes::from_static_str("none"), id, partitions: vec![] },
        ];
        let mut leaders = NamedLeaders::default();
        leaders.insert(
            2,
            LeaderEndpoint { host: StrBytes::from_static_str("two"), port: 9, rack: None },
        );
        let mut bytes: Bytes = match encode(version, 0, 0, &topics, &leaders) {
            Reply::Body(body) => body,
            Reply::Pieces(pieces) => pieces
                .into_iter()
                .flat_map(|piece| match piece {
                    Piece::Bytes(bytes) => bytes,
                    Piece::File(_) => unreachable!("there is none"),
                })
                .collect(),
            Reply::Nothing => Bytes::new(),
        };
        let decoded = FetchResponse::decode(&mut bytes, version).unwrap();
        assert!(bytes.is_empty(), "version {version}: {} bytes left over", bytes.len());
        assert_eq!(decoded.responses.len(), 2);
        let topic = &decoded.responses[0];
        if version >= TOPIC_IDS {
            assert_eq!(topic.topic_id, id);
        } else {
            assert_eq!(&*topic.topic, "one");
        }
        let aborted = |index: usize| topic.partitions[index].aborted_transactions.as_ref();
        assert_eq!(aborted(0), None);
        let one = &aborted(1).unwrap()[0];
        assert_eq!((one.producer_id.0, one.first_offset), (77, 12));
        assert_eq!(aborted(2), Some(&Vec::new()));
        let second = &topic.partitions[1];
        assert_eq!((second.partition_index, second.error_code), (1, 6));
        assert_eq!((second.high_watermark, second.last_stable_offset), (100, 90));
        assert_eq!(second.log_start_offset, if version >= 5 { 7 } else { -1 });
        assert_eq!(second.preferred_read_replica, BrokerId(-1));
        assert_eq!(second.records.as_ref().map(Bytes::len), Some(length));
        if version >= FLEXIBLE {
            let diverging = &second.diverging_epoch;
            assert_eq!((diverging.epoch, diverging.end_offset), (3, 55));
            let leader = &second.current_leader;
            assert_eq!((leader.leader_id, leader.leader_epoch), (BrokerId(2), 8));
        }
        if version >= NODE_ENDPOINTS {
            assert_eq!(decoded.node_endpoints.len(), 1);
            assert_eq!(&*decoded.node_endpoints[0].host, "two");
        }
    }

    #[test]
    fn an_answer_with_only_an_error_is_read_back() {
        for version in 7..=17 {
            let Reply::Body(mut bytes) = encode(version, 70, 5, &[], &NamedLeaders::default())
            else {
                panic!("a short answer is one piece");
            };
            let decoded = FetchResponse::decode(&mut bytes, version).unwrap();
            assert_eq!((decoded.error_code, decoded.session_id), (70, 5));
            assert!(decoded.responses.is_empty() && bytes.is_empty());
        }
    }
}
