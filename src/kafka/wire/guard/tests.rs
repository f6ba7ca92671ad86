//! The guard beside the decoders: what it passes, they decode to the last byte; what is damaged
//! never reaches them in a way that could hurt.

use bytes::{BufMut, Bytes};
use kafka_protocol::messages::{self, ApiKey};
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::super::schema::{self, Field, Kind, Schema};
use super::*;

/// Decodes `body`; answers the bytes that are left and the request encoded again.
type Decode = fn(&Bytes, i16) -> anyhow::Result<(usize, Vec<u8>)>;

struct Api {
    key: ApiKey,
    versions: std::ops::RangeInclusive<i16>,
    decode: Decode,
}

fn decode<R: Decodable + Encodable>(
    body: &Bytes,
    version: i16,
) -> anyhow::Result<(usize, Vec<u8>)> {
    let mut rest = body.clone();
    let request = R::decode(&mut rest, version)?;
    let mut encoded = Vec::new();
    request.encode(&mut encoded, version)?;
    Ok((rest.len(), encoded))
}

macro_rules! apis {
    ($($key:ident => $request:ident;)*) => {
        fn apis() -> Vec<Api> {
            vec![$(Api {
                key: ApiKey::$key,
                versions: {
                    let range = <messages::$request as Message>::VERSIONS;
                    range.min..=range.max
                },
                decode: decode::<messages::$request>,
            },)*]
        }
    };
}

apis! {
    Produce => ProduceRequest;
    Fetch => FetchRequest;
    ListOffsets => ListOffsetsRequest;
    Metadata => MetadataRequest;
    OffsetCommit => OffsetCommitRequest;
    OffsetFetch => OffsetFetchRequest;
    FindCoordinator => FindCoordinatorRequest;
    JoinGroup => JoinGroupRequest;
    Heartbeat => HeartbeatRequest;
    LeaveGroup => LeaveGroupRequest;
    SyncGroup => SyncGroupRequest;
    DescribeGroups => DescribeGroupsRequest;
    ListGroups => ListGroupsRequest;
    DeleteGroups => DeleteGroupsRequest;
    OffsetDelete => OffsetDeleteRequest;
    ApiVersions => ApiVersionsRequest;
    CreateTopics => CreateTopicsRequest;
    DeleteTopics => DeleteTopicsRequest;
    DeleteRecords => DeleteRecordsRequest;
    InitProducerId => InitProducerIdRequest;
    OffsetForLeaderEpoch => OffsetForLeaderEpochRequest;
    DescribeConfigs => DescribeConfigsRequest;
    AlterConfigs => AlterConfigsRequest;
    DescribeLogDirs => DescribeLogDirsRequest;
    CreatePartitions => CreatePartitionsRequest;
    IncrementalAlterConfigs => IncrementalAlterConfigsRequest;
    DescribeCluster => DescribeClusterRequest;
    DescribeProducers => DescribeProducersRequest;
    GetTelemetrySubscriptions => GetTelemetrySubscriptionsRequest;
    DescribeTopicPartitions => DescribeTopicPartitionsRequest;
}

/// Writes random bodies of a schema.
struct Writer<'a> {
    body: Vec<u8>,
    version: i16,
    flexible: bool,
    /// Random numbers, used in turn.
    dice: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl Writer<'_> {
    fn roll(&mut self, sides: u8) -> u8 {
        self.dice.next().copied().unwrap_or_default() % sides
    }

    fn structure(&mut self, fields: &[Field]) {
        let (tagged, plain): (Vec<&Field>, Vec<&Field>) = fields
            .iter()
            .filter(|field| field.exists(self.version))
            .partition(|field| field.tag.is_some());
        for field in plain {
            self.field(field);
        }
        if !self.flexible {
            return;
        }
        let mut tags: Vec<(u32, Vec<u8>)> = Vec::new();
        for field in tagged {
            if self.roll(2) == 0 {
                let outer = std::mem::take(&mut self.body);
                self.field(field);
                let content = std::mem::replace(&mut self.body, outer);
                tags.extend(field.tag.map(|tag| (tag, content)));
            }
        }
        if self.roll(3) == 0 {
            tags.push((100 + u32::from(self.roll(200)), vec![7; usize::from(self.roll(4))]));
        }
        self.varint(tags.len());
        for (tag, content) in tags {
            self.varint(tag as usize);
            self.varint(content.len());
            self.body.extend(content);
        }
    }

    fn field(&mut self, field: &Field) {
        let nullable = self.version >= field.nullable;
        if nullable && self.roll(3) == 0 {
            match (field.kind, self.flexible) {
                (Kind::Struct(_), _) => self.body.put_i8(-1),
                (_, true) => self.body.put_u8(0),
                (Kind::Text, false) => self.body.put_i16(-1),
                (_, false) => self.body.put_i32(-1),
            }
            return;
        }
        if nullable && matches!(field.kind, Kind::Struct(_)) {
            self.body.put_i8(1);
        }
        self.value(&field.kind);
    }

    fn value(&mut self, kind: &Kind) {
        match kind {
            Kind::Fixed(length) => {
                for _ in 0..*length {
                    // Booleans among them decode from 0 and 1 alone to what they were.
                    let byte = self.roll(2);
                    self.body.put_u8(byte);
                }
            }
            Kind::Text => {
                let text = ["", "a", "topic-1", "é", "__x"][usize::from(self.roll(5))];
                if self.flexible {
                    self.varint(text.len() + 1);
                } else {
                    self.body.put_i16(i16::try_from(text.len()).unwrap());
                }
                self.body.extend(text.as_bytes());
            }
            Kind::Blob => {
                let length = usize::from(self.roll(5));
                self.count(length);
                self.body.extend(std::iter::repeat_n(9, length));
            }
            Kind::Array(items) => {
                let count = usize::from(self.roll(3));
                self.count(count);
                for _ in 0..count {
                    self.value(items);
                }
            }
            Kind::Struct(fields) => self.structure(fields),
        }
    }

    fn count(&mut self, count: usize) {
        if self.flexible {
            self.varint(count + 1);
        } else {
            self.body.put_i32(i32::try_from(count).unwrap());
        }
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.body.put_u8(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.body.put_u8(u8::try_from(value).unwrap());
    }
}

fn body(schema: &Schema, version: i16, dice: &[u8]) -> Bytes {
    let flexible = version >= schema.flexible;
    let mut writer = Writer { body: Vec::new(), version, flexible, dice: dice.iter().cycle() };
    writer.structure(schema.fields);
    Bytes::from(writer.body)
}

/// Runs `test` on random bodies of every API and version.
fn on_every_version(cases: u32, test: impl Fn(&Api, &Schema, i16, &[u8])) {
    let config = Config { cases, rng_seed: RngSeed::Fixed(1), ..Config::default() };
    for api in apis() {
        let schema = schema::of(api.key).unwrap();
        for version in api.versions.clone() {
            // Versions that are not served may lack fields in the schema.
            if api.key == ApiKey::InitProducerId && version > 5 {
                continue;
            }
            let mut runner = TestRunner::new(config.clone());
            let dice = prop::collection::vec(any::<u8>(), 1..64);
            runner
                .run(&dice, |dice| {
                    test(&api, schema, version, &dice);
                    Ok(())
                })
                .unwrap();
        }
    }
}

#[test]
fn what_is_valid_passes_and_decodes_to_its_end() {
    on_every_version(64, |api, schema, version, dice| {
        let body = body(schema, version, dice);
        let name = format!("{:?} {version} {body:?}", api.key);
        assert_eq!(check(schema, version, &body), Ok(()), "{name}");
        let (left, encoded) = (api.decode)(&body, version).expect(&name);
        assert_eq!(left, 0, "{name}");
        // The crate's own encoding passes too, and is read as the same request.
        assert_eq!(check(schema, version, &encoded), Ok(()), "{name}");
        let (left, again) = (api.decode)(&Bytes::from(encoded.clone()), version).expect(&name);
        assert_eq!((left, again), (0, encoded), "{name}");
    });
}

#[test]
fn bytes_behind_the_last_field_are_ignored() {
    on_every_version(4, |_, schema, version, dice| {
        let mut body = body(schema, version, dice).to_vec();
        body.extend([1, 2, 3]);
        assert_eq!(check(schema, version, &body), Ok(()));
    });
}

#[test]
fn every_prefix_is_refused() {
    on_every_version(4, |api, schema, version, dice| {
        let body = body(schema, version, dice);
        for end in 0..body.len() {
            assert!(check(schema, version, &body[..end]).is_err(), "{:?} {version}", api.key);
        }
    });
}

#[test]
fn what_passes_with_a_byte_changed_decodes_all_the_same() {
    on_every_version(4, |api, schema, version, dice| {
        let body = body(schema, version, dice);
        for index in 0..body.len() {
            for change in [1, 2, 4, 8, 16, 32, 64, 128, 0x7f, 0xff] {
                let mut changed = body.to_vec();
                changed[index] ^= change;
                if check(schema, version, &changed).is_ok() {
                    let decoded = (api.decode)(&Bytes::from(changed.clone()), version);
                    assert!(decoded.is_ok(), "{:?} {version} {changed:?} {decoded:?}", api.key);
                }
            }
        }
    });
}

#[test]
fn counts_that_no_body_can_hold_are_refused() {
    let metadata = schema::of(ApiKey::Metadata).unwrap();
    assert_eq!(check(metadata, 1, b"\x7f\xff\xff\xff\xb6"), Err(Refused::Length));
    assert_eq!(check(metadata, 9, b"\xff\xff\xff\xff\x0f\x00"), Err(Refused::Length));
    assert_eq!(check(metadata, 9, b"\xff\xff\xff\xff\x1f\x00"), Err(Refused::VarInt));
    assert_eq!(check(metadata, 1, b"\xff\xff\xff\xfe"), Err(Refused::Length));
    assert_eq!(check(metadata, 0, b"\xff\xff\xff\xff"), Err(Refused::Null));
    assert_eq!(check(metadata, 1, b"\xff\xff\xff\xff"), Ok(()));
}

#[test]
fn more_elements_than_any_client_sends_are_refused() {
    let telemetry = schema::of(ApiKey::DescribeTopicPartitions).unwrap();
    let with = |topics: usize| {
        let mut writer =
            Writer { body: Vec::new(), version: 0, flexible: true, dice: [0].iter().cycle() };
        writer.varint(topics + 1);
        writer.body.extend(std::iter::repeat_n([1, 0], topics).flatten());
        writer.body.extend([0, 0, 0, 1, 0xff, 0]);
        check(telemetry, 0, &writer.body)
    };
    assert_eq!(with(limits::KAFKA_REQUEST_ELEMENTS_MAX), Ok(()));
    assert_eq!(with(limits::KAFKA_REQUEST_ELEMENTS_MAX + 1), Err(Refused::Elements));
}

#[test]
fn unknown_tagged_fields_are_bounded_and_known_ones_fit() {
    let cluster = schema::of(ApiKey::DescribeCluster).unwrap();
    let with = |tags: usize| {
        let mut writer =
            Writer { body: vec![0], version: 0, flexible: true, dice: [0].iter().cycle() };
        writer.varint(tags);
        for tag in 0..tags {
            writer.varint(tag);
            writer.varint(0);
        }
        check(cluster, 0, &writer.body)
    };
    assert_eq!(with(limits::KAFKA_UNKNOWN_TAGS_MAX), Ok(()));
    assert_eq!(with(limits::KAFKA_UNKNOWN_TAGS_MAX + 1), Err(Refused::Elements));

    // A repeated tag, and a tag whose length is not that of its content.
    assert_eq!(check(cluster, 0, &[0, 2, 5, 0, 5, 0]), Err(Refused::Tag));
    let fetch = schema::of(ApiKey::Fetch).unwrap();
    let tags = |tags: &[u8]| {
        let mut body = vec![0; 4 + 4 + 4 + 1 + 4 + 4];
        body.extend([1, 1, 1]);
        body.extend(tags);
        check(fetch, 15, &body)
    };
    assert_eq!(tags(&[0]), Ok(()));
    assert_eq!(tags(&[1, 0, 3, 3, b'a', b'b']), Ok(()));
    assert_eq!(tags(&[1, 0, 4, 3, b'a', b'b', 0]), Err(Refused::Tag));
}

#[test]
fn every_api_that_is_served_has_a_schema() {
    for api in crate::kafka::api::REGISTRATIONS {
        assert!(schema::of(api.key).is_some(), "{}", api.name);
        assert!(apis().iter().any(|tested| tested.key == api.key), "{}", api.name);
    }
}
