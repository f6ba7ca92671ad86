//! The small text and binary files beside the segments, in Apache Kafka's formats.
//!
//! - `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint` and
//!   `cleaner-offset-checkpoint` of a log directory: version 0, the number of lines, then `topic partition offset` each;
//! - `leader-epoch-checkpoint` of a partition: the same with `epoch offset` each;
//! - `partition.metadata` of a partition: its topic's id.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::LogError;
use super::files::{read_small, replace};

/// Name of the file with the offset up to which each log is known to be on disk.
pub(super) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Name of the file with the offset at which each log starts.
pub(super) const LOG_START_OFFSETS: &str = "log-start-offset-checkpoint";
/// Name of the file with the offset up to which each log is compacted.
pub(super) const CLEANED_OFFSETS: &str = "cleaner-offset-checkpoint";
/// Name of a partition's file of leader epochs.
pub(super) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// Name of a partition's file with its topic's id.
pub(super) const PARTITION_METADATA: &str = "partition.metadata";

/// Enough for 200,000 partitions with names of the greatest length.
const OFFSETS_FILE_MAX: u64 = 64 * 1024 * 1024;
const SMALL_FILE_MAX: u64 = 16 * 1024 * 1024;

fn damaged(path: &Path, what: &str) -> LogError {
    LogError::storage(path, io::Error::new(io::ErrorKind::InvalidData, what))
}

/// The lines of a checkpoint file behind its version and count; empty if there is no file.
fn read_lines(path: &Path, limit: u64) -> Result<Vec<String>, LogError> {
    let Some(bytes) = read_small(path, limit)? else { return Ok(Vec::new()) };
    let text = String::from_utf8(bytes).map_err(|_| damaged(path, "it is not text"))?;
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    if version.trim() != "0" {
        return Err(damaged(path, "its first line, the version, is not 0"));
    }
    let count: usize = lines
        .next()
        .and_then(|line| line.trim().parse().ok())
        .ok_or_else(|| damaged(path, "its second line is not a number of entries"))?;
    let lines: Vec<String> =
        lines.filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if lines.len() == count {
        Ok(lines)
    } else {
        Err(damaged(path, &format!("it promises {count} entries and has {}", lines.len())))
    }
}

/// Reads one offset for each partition; empty if there is no file.
pub(super) fn read_offsets(path: &Path) -> Result<HashMap<(String, i32), i64>, LogError> {
    let mut offsets = HashMap::new();
    for line in read_lines(path, OFFSETS_FILE_MAX)? {
        let mut words = line.split_whitespace();
        let entry = (|| {
            let topic = words.next()?.to_owned();
            Some(((topic, words.next()?.parse().ok()?), words.next()?.parse().ok()?))
        })();
        match (entry, words.next()) {
            (Some((partition, offset)), None) => offsets.insert(partition, offset),
            _ => return Err(damaged(path, &format!("malformed line: {line}"))),
        };
    }
    Ok(offsets)
}

/// Replaces a file of one offset for each partition, durably.
pub(super) fn write_offsets<'a>(
    path: &Path,
    offsets: impl ExactSizeIterator<Item = (&'a str, i32, i64)>,
) -> Result<(), LogError> {
    let mut text = format!("0\n{}\n", offsets.len());
    for (topic, partition, offset) in offsets {
        let _ = writeln!(text, "{topic} {partition} {offset}");
    }
    replace(path, text.as_bytes(), true)
}

/// Reads pairs of leader epoch and start offset; empty if there is no file.
pub(super) fn read_epochs(path: &Path) -> Result<Vec<(i32, i64)>, LogError> {
    read_lines(path, SMALL_FILE_MAX)?
        .iter()
        .map(|line| {
            let (epoch, offset) = line.split_once(' ')?;
            Some((epoch.trim().parse().ok()?, offset.trim().parse().ok()?))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| damaged(path, "a line is not a leader epoch and an offset"))
}

/// Replaces a file of leader epochs. Not durable by itself: the epochs are in the batches too.
pub(super) fn write_epochs(path: &Path, epochs: &[(i32, i64)]) -> Result<(), LogError> {
    let mut text = format!("0\n{}\n", epochs.len());
    for (epoch, offset) in epochs {
        let _ = writeln!(text, "{epoch} {offset}");
    }
    replace(path, text.as_bytes(), false)
}

/// The topic id in `partition.metadata`, `None` without the file.
pub(super) fn read_topic_id(path: &Path) -> Result<Option<Uuid>, LogError> {
    let Some(bytes) = read_small(path, SMALL_FILE_MAX)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(str::trim))
    };
    if value("version") != Some("0") {
        return Err(damaged(path, "its version is not 0"));
    }
    let id = value("topic_id")
        .and_then(|id| URL_SAFE_NO_PAD.decode(id).ok())
        .and_then(|bytes| Uuid::from_slice(&bytes).ok())
        .filter(|id| !id.is_nil());
    match id {
        Some(id) => Ok(Some(id)),
        None => Err(damaged(path, "its topic_id is not an id")),
    }
}

/// Writes `partition.metadata`, durably unless the caller syncs the directory himself.
pub(super) fn write_topic_id(path: &Path, id: Uuid) -> Result<(), LogError> {
    let id = URL_SAFE_NO_PAD.encode(id.as_bytes());
    replace(path, format!("version: 0\ntopic_id: {id}").as_bytes(), false)
}
