//! The records of `__consumer_offsets`: what a group is, and what it has committed. Pure.
//!
//! Kafka's own schemas (`OffsetCommitKey`, `OffsetCommitValue`, `GroupMetadataKey`,
//! `GroupMetadataValue`), each behind two bytes of version. Written as Kafka 3.9 writes them without
//! newer features: offsets in version 3 (1 with a time of expiry), groups in version 3. Read up to
//! version 4.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Why a record is not one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// It ends too early, or a length in it is no length.
    #[error("it is cut off, or a length in it is wrong")]
    Truncated,
    /// Text in it is not UTF-8.
    #[error("text in it is not UTF-8")]
    NoText,
    /// Its version is not known here: a newer Kafka wrote it.
    #[error("version {0} of a {1} is not known here")]
    Version(i16, &'static str),
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// An offset that a group has committed.
    Offset {
        /// The group.
        group: Arc<str>,
        /// The topic.
        topic: Arc<str>,
        /// Its partition.
        partition: i32,
    },
    /// A group.
    Group(Arc<str>),
}

/// A committed offset (`OffsetCommitValue`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetValue {
    /// The next record that the group wants.
    pub offset: i64,
    /// The leader epoch of the last record that it had, −1 if it does not say.
    pub leader_epoch: i32,
    /// What the client keeps with it.
    pub metadata: Arc<str>,
    /// When it was committed, in milliseconds since 1970.
    pub commit_timestamp: i64,
    /// When it expires, where the client said so, in milliseconds since 1970.
    pub expire_timestamp: Option<i64>,
}

/// A group at the moment of its last rebalance (`GroupMetadataValue`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupValue {
    /// `consumer` and the like, empty where nobody ever joined.
    pub protocol_type: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// The protocol that was chosen.
    pub protocol: Option<Arc<str>>,
    /// Who makes the assignments.
    pub leader: Option<Arc<str>>,
    /// When it came into its state, in milliseconds since 1970, −1 if unknown.
    pub state_timestamp: i64,
    /// Everybody.
    pub members: Vec<MemberValue>,
}

/// A member in a [`GroupValue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberValue {
    /// Its id.
    pub id: Arc<str>,
    /// `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Where it comes from.
    pub client_host: Arc<str>,
    /// In milliseconds.
    pub rebalance_timeout_ms: i32,
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// What it says of the protocol that was chosen.
    pub subscription: Bytes,
    /// What it was given.
    pub assignment: Bytes,
}

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 3;
/// The one that can say when an offset expires.
const EXPIRING_OFFSET_VALUE: i16 = 1;
const GROUP_VALUE: i16 = 3;
/// From here on lengths are varints, and tagged fields follow.
const FLEXIBLE: i16 = 4;

impl Key {
    /// As it stands in a record.
    pub fn encode(&self) -> Bytes {
        let mut output = BytesMut::new();
        match self {
            Key::Offset { group, topic, partition } => {
                output.put_i16(OFFSET_KEY);
                put_text(&mut output, group);
                put_text(&mut output, topic);
                output.put_i32(*partition);
            }
            Key::Group(group) => {
                output.put_i16(GROUP_KEY);
                put_text(&mut output, group);
            }
        }
        output.freeze()
    }

    /// `None` for a record of a kind that this coordinator does not write: those of the groups of
    /// KIP-848 and their like, which a newer Kafka leaves.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(bytes: &[u8]) -> Result<Option<Key>, BadRecord> {
        let mut fields = Fields::new(bytes)?;
        match fields.version {
            0 | OFFSET_KEY => Ok(Some(Key::Offset {
                group: fields.text()?,
                topic: fields.text()?,
                partition: fields.i32()?,
            })),
            GROUP_KEY => Ok(Some(Key::Group(fields.text()?))),
            _ => Ok(None),
        }
    }
}

impl OffsetValue {
    /// As it stands in a record.
    pub fn encode(&self) -> Bytes {
        let mut output = BytesMut::new();
        if let Some(expire) = self.expire_timestamp {
            output.put_i16(EXPIRING_OFFSET_VALUE);
            output.put_i64(self.offset);
            put_text(&mut output, &self.metadata);
            output.put_i64(self.commit_timestamp);
            output.put_i64(expire);
        } else {
            output.put_i16(OFFSET_VALUE);
            output.put_i64(self.offset);
            output.put_i32(self.leader_epoch);
            put_text(&mut output, &self.metadata);
            output.put_i64(self.commit_timestamp);
        }
        output.freeze()
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is none, or one of a version that is not known.
    pub fn decode(bytes: &[u8]) -> Result<OffsetValue, BadRecord> {
        let mut fields = Fields::new(bytes)?;
        let version = fields.version;
        if !(0..=FLEXIBLE).contains(&version) {
            return Err(BadRecord::Version(version, "committed offset"));
        }
        let offset = fields.i64()?;
        let leader_epoch = if version >= 3 { fields.i32()? } else { -1 };
        let metadata = fields.text()?;
        let commit_timestamp = fields.i64()?;
        let expire_timestamp = match version {
            1 => Some(fields.i64()?).filter(|at| *at >= 0),
            _ => None,
        };
        Ok(OffsetValue { offset, leader_epoch, metadata, commit_timestamp, expire_timestamp })
    }
}

impl GroupValue {
    /// As it stands in a record.
    pub fn encode(&self) -> Bytes {
        let mut output = BytesMut::new();
        output.put_i16(GROUP_VALUE);
        put_text(&mut output, &self.protocol_type);
        output.put_i32(self.generation);
        put_nullable(&mut output, self.protocol.as_deref());
        put_nullable(&mut output, self.leader.as_deref());
        output.put_i64(self.state_timestamp);
        output.put_i32(i32::try_from(self.members.len()).unwrap_or(i32::MAX));
        for member in &self.members {
            put_text(&mut output, &member.id);
            put_nullable(&mut output, member.instance_id.as_deref());
            put_text(&mut output, &member.client_id);
            put_text(&mut output, &member.client_host);
            output.put_i32(member.rebalance_timeout_ms);
            output.put_i32(member.session_timeout_ms);
            put_bytes(&mut output, &member.subscription);
            put_bytes(&mut output, &member.assignment);
        }
        output.freeze()
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is none, or one of a version that is not known.
    pub fn decode(bytes: &[u8]) -> Result<GroupValue, BadRecord> {
        let mut fields = Fields::new(bytes)?;
        let version = fields.version;
        if !(0..=FLEXIBLE).contains(&version) {
            return Err(BadRecord::Version(version, "group"));
        }
        let protocol_type = fields.text()?;
        let generation = fields.i32()?;
        let protocol = fields.nullable()?;
        let leader = fields.nullable()?;
        let state_timestamp = if version >= 2 { fields.i64()? } else { -1 };
        let count = fields.count()?;
        let mut members = Vec::new();
        for _ in 0..count {
            let id = fields.text()?;
            let instance_id = if version >= 3 { fields.nullable()? } else { None };
            let (client_id, client_host) = (fields.text()?, fields.text()?);
            let rebalance = if version >= 1 { Some(fields.i32()?) } else { None };
            let session_timeout_ms = fields.i32()?;
            members.push(MemberValue {
                id,
                instance_id,
                client_id,
                client_host,
                rebalance_timeout_ms: rebalance.unwrap_or(session_timeout_ms),
                session_timeout_ms,
                subscription: fields.bytes()?,
                assignment: fields.bytes()?,
            });
            if version >= FLEXIBLE {
                fields.skip_tagged()?;
            }
        }
        Ok(GroupValue { protocol_type, generation, protocol, leader, state_timestamp, members })
    }
}

fn put_text(output: &mut BytesMut, text: &str) {
    put_nullable(output, Some(text));
}

/// Texts come from requests, where none is longer than a length can say.
fn put_nullable(output: &mut BytesMut, text: Option<&str>) {
    let Some(text) = text else { return output.put_i16(-1) };
    let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
    output.put_i16(length);
    output.put_slice(&text.as_bytes()[..usize::try_from(length).unwrap_or(0)]);
}

fn put_bytes(output: &mut BytesMut, bytes: &[u8]) {
    output.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    output.put_slice(bytes);
}

/// The fields of a record, one after the other.
struct Fields<'a> {
    rest: &'a [u8],
    version: i16,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, BadRecord> {
        let mut rest = bytes;
        let version = rest.try_get_i16().map_err(|_| BadRecord::Truncated)?;
        Ok(Fields { rest, version })
    }

    fn i32(&mut self) -> Result<i32, BadRecord> {
        self.rest.try_get_i32().map_err(|_| BadRecord::Truncated)
    }

    fn i64(&mut self) -> Result<i64, BadRecord> {
        self.rest.try_get_i64().map_err(|_| BadRecord::Truncated)
    }

    /// An unsigned varint of 32 bits at most.
    fn varint(&mut self) -> Result<u32, BadRecord> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = self.rest.try_get_u8().map_err(|_| BadRecord::Truncated)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| BadRecord::Truncated);
            }
        }
        Err(BadRecord::Truncated)
    }

    /// The length of what follows; `None` for null.
    fn length(&mut self, short: bool) -> Result<Option<usize>, BadRecord> {
        if self.version >= FLEXIBLE {
            let length = usize::try_from(self.varint()?).map_err(|_| BadRecord::Truncated)?;
            return Ok(length.checked_sub(1));
        }
        let length = if short {
            i32::from(self.rest.try_get_i16().map_err(|_| BadRecord::Truncated)?)
        } else {
            self.i32()?
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| BadRecord::Truncated),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], BadRecord> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(BadRecord::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn nullable(&mut self) -> Result<Option<Arc<str>>, BadRecord> {
        let Some(length) = self.length(true)? else { return Ok(None) };
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| BadRecord::NoText)?;
        Ok(Some(Arc::from(text)))
    }

    fn text(&mut self) -> Result<Arc<str>, BadRecord> {
        self.nullable()?.ok_or(BadRecord::Truncated)
    }

    fn bytes(&mut self) -> Result<Bytes, BadRecord> {
        let Some(length) = self.length(false)? else { return Ok(Bytes::new()) };
        Ok(Bytes::copy_from_slice(self.take(length)?))
    }

    fn count(&mut self) -> Result<usize, BadRecord> {
        let count = self.length(false)?.ok_or(BadRecord::Truncated)?;
        // Every member takes more bytes than one.
        if count > self.rest.len() { Err(BadRecord::Truncated) } else { Ok(count) }
    }

    fn skip_tagged(&mut self) -> Result<(), BadRecord> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = usize::try_from(self.varint()?).map_err(|_| BadRecord::Truncated)?;
            self.take(length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Arc<str>> {
        "[a-zé/ ]{0,12}".prop_map(Arc::from)
    }

    fn nullable() -> impl Strategy<Value = Option<Arc<str>>> {
        proptest::option::of(text())
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
    }

    fn offset() -> impl Strategy<Value = OffsetValue> {
        let expiry = proptest::option::of(0..i64::MAX);
        (any::<i64>(), any::<i32>(), text(), any::<i64>(), expiry).prop_map(
            |(offset, epoch, metadata, commit_timestamp, expire_timestamp)| OffsetValue {
                offset,
                // The version that can expire has no room for it.
                leader_epoch: if expire_timestamp.is_some() { -1 } else { epoch },
                metadata,
                commit_timestamp,
                expire_timestamp,
            },
        )
    }

    fn member() -> impl Strategy<Value = MemberValue> {
        (text(), nullable(), text(), text(), any::<(i32, i32)>(), bytes(), bytes()).prop_map(
            |(id, instance_id, client_id, client_host, timeouts, subscription, assignment)| {
                MemberValue {
                    id,
                    instance_id,
                    client_id,
                    client_host,
                    rebalance_timeout_ms: timeouts.0,
                    session_timeout_ms: timeouts.1,
                    subscription,
                    assignment,
                }
            },
        )
    }

    fn group() -> impl Strategy<Value = GroupValue> {
        let members = proptest::collection::vec(member(), 0..3);
        (text(), any::<i32>(), nullable(), nullable(), any::<i64>(), members).prop_map(
            |(protocol_type, generation, protocol, leader, state_timestamp, members)| GroupValue {
                protocol_type,
                generation,
                protocol,
                leader,
                state_timestamp,
                members,
            },
        )
    }

    /// Every prefix and every one-byte change ends with an answer.
    fn bear<T>(encoded: &[u8], decode: impl Fn(&[u8]) -> Result<T, BadRecord>) {
        for end in 0..encoded.len() {
            assert!(decode(&encoded[..end]).is_err(), "cut at {end}");
        }
        for at in 0..encoded.len() {
            for bit in 0..8 {
                let mut changed = encoded.to_vec();
                changed[at] ^= 1 << bit;
                let _ = decode(&changed);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(group in group(), offset in offset(), partition in any::<i32>()) {
            prop_assert_eq!(&GroupValue::decode(&group.encode()).unwrap(), &group);
            prop_assert_eq!(&OffsetValue::decode(&offset.encode()).unwrap(), &offset);
            let key = Key::Offset {
                group: group.protocol_type.clone(), topic: offset.metadata.clone(), partition,
            };
            prop_assert_eq!(Key::decode(&key.encode()).unwrap(), Some(key));
            let key = Key::Group(group.protocol_type.clone());
            prop_assert_eq!(Key::decode(&key.encode()).unwrap(), Some(key));
            bear(&group.encode(), GroupValue::decode);
            bear(&offset.encode(), OffsetValue::decode);
        }

        #[test]
        fn anything_is_borne(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Key::decode(&bytes), GroupValue::decode(&bytes), OffsetValue::decode(&bytes));
        }
    }

    #[test]
    fn older_and_newer_versions_are_read() {
        // Version 0, of Kafka 0.9: offset, metadata, timestamp.
        let mut old = vec![0, 0];
        old.extend(7_i64.to_be_bytes());
        old.extend([0, 1, b'm']);
        old.extend(9_i64.to_be_bytes());
        let value = OffsetValue::decode(&old).unwrap();
        assert_eq!((value.offset, &*value.metadata, value.commit_timestamp), (7, "m", 9));
        assert_eq!((value.leader_epoch, value.expire_timestamp), (-1, None));

        // Version 4, of Kafka 4: the same in compact form, with tagged fields.
        let mut new = vec![0, 4];
        new.extend(7_i64.to_be_bytes());
        new.extend(5_i32.to_be_bytes());
        new.extend([2, b'm']);
        new.extend(9_i64.to_be_bytes());
        new.push(0);
        let value = OffsetValue::decode(&new).unwrap();
        assert_eq!((value.offset, value.leader_epoch, &*value.metadata), (7, 5, "m"));

        assert_eq!(OffsetValue::decode(&[0, 5]), Err(BadRecord::Version(5, "committed offset")));
        assert_eq!(GroupValue::decode(&[0, 9]), Err(BadRecord::Version(9, "group")));
        assert_eq!(Key::decode(&[0, 3, 0]), Ok(None), "a record of KIP-848");
    }
}
