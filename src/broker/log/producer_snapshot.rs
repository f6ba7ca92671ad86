//! `<offset>.snapshot`: the producers of a log as of an offset, in Apache Kafka's format.
//!
//! ```text
//! version i16 (1) | CRC-32C of the rest u32 | count i32 | count × entry
//! entry: producer id i64, epoch i16, last sequence i32, last offset i64, offset delta i32,
//!        timestamp i64, coordinator epoch i32, start of the open transaction i64
//! ```

use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};

use super::LogError;
use super::files::{read_small, replace};
use super::producer_state::{ProducedBatchMeta, ProducerEntry, ProducerStates};

const VERSION: i16 = 1;
const HEADER: usize = 10;
const ENTRY: usize = 46;
const FILE_MAX: u64 = 256 * 1024 * 1024;

/// The path of the snapshot that holds everything before `offset`.
pub(super) fn snapshot_path(directory: &Path, offset: i64) -> PathBuf {
    directory.join(format!("{offset:020}.snapshot"))
}

fn encode(states: &ProducerStates) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + states.len() * ENTRY);
    bytes.put_i16(VERSION);
    bytes.put_u32(0);
    bytes.put_i32(i32::try_from(states.len()).unwrap_or(i32::MAX));
    for (id, entry) in states.entries() {
        let last = entry.batches.last().copied().unwrap_or(ProducedBatchMeta {
            last_sequence: -1,
            last_offset: -1,
            offset_delta: 0,
            timestamp: entry.last_timestamp,
        });
        bytes.put_i64(id);
        bytes.put_i16(entry.epoch);
        bytes.put_i32(last.last_sequence);
        bytes.put_i64(last.last_offset);
        bytes.put_i32(last.offset_delta);
        bytes.put_i64(entry.last_timestamp);
        bytes.put_i32(entry.coordinator_epoch);
        bytes.put_i64(entry.transaction_start);
    }
    let crc = crc32c::crc32c(&bytes[6..]);
    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// `None` for anything that is not a whole and unharmed snapshot.
fn decode(bytes: &[u8]) -> Option<ProducerStates> {
    let mut rest = bytes;
    if rest.try_get_i16().ok()? != VERSION || rest.try_get_u32().ok()? != crc32c::crc32c(rest) {
        return None;
    }
    let count = usize::try_from(rest.try_get_i32().ok()?).ok()?;
    if rest.len() != count.checked_mul(ENTRY)? {
        return None;
    }
    Some(ProducerStates::from_entries(rest.chunks_exact(ENTRY).map(|mut entry| {
        let id = entry.get_i64();
        let epoch = entry.get_i16();
        let last_sequence = entry.get_i32();
        let last_offset = entry.get_i64();
        let offset_delta = entry.get_i32();
        let timestamp = entry.get_i64();
        let coordinator_epoch = entry.get_i32();
        let transaction_start = entry.get_i64();
        let last = ProducedBatchMeta { last_sequence, last_offset, offset_delta, timestamp };
        let batches = if last_offset >= 0 { vec![last] } else { Vec::new() };
        let last_timestamp = timestamp;
        (id, ProducerEntry { epoch, batches, last_timestamp, coordinator_epoch, transaction_start })
    })))
}

/// Writes the snapshot for `offset`. A torn one is recognised by its checksum, so it need not be
/// `durable` where the records behind it can be replayed.
pub(super) fn write(
    directory: &Path,
    offset: i64,
    states: &ProducerStates,
    durable: bool,
) -> Result<(), LogError> {
    replace(&snapshot_path(directory, offset), &encode(states), durable)
}

/// Reads a snapshot; `None` if it is missing or damaged.
pub(super) fn read(path: &Path) -> Result<Option<ProducerStates>, LogError> {
    Ok(read_small(path, FILE_MAX)?.and_then(|bytes| decode(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> ProducerStates {
        ProducerStates::from_entries((0..3).map(|id| {
            let batch = ProducedBatchMeta {
                last_sequence: 9 + i32::try_from(id).unwrap(),
                last_offset: 100 + id,
                offset_delta: 4,
                timestamp: 1_700_000_000_000 + id,
            };
            let entry = ProducerEntry {
                epoch: 2,
                batches: vec![batch],
                last_timestamp: batch.timestamp,
                coordinator_epoch: -1,
                transaction_start: -1,
            };
            (id, entry)
        }))
    }

    #[test]
    fn a_snapshot_reads_back() {
        assert_eq!(decode(&encode(&states())), Some(states()));
        assert_eq!(decode(&encode(&ProducerStates::default())), Some(ProducerStates::default()));
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_noticed() {
        let good = encode(&states());
        for end in 0..good.len() {
            assert_eq!(decode(&good[..end]), None, "prefix of {end}");
        }
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                assert_eq!(decode(&bad), None, "byte {at}");
            }
        }
    }
}
