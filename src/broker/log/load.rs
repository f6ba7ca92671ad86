//! Opening a partition's directory: what lies there, checked after an unclean stop.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};
use uuid::Uuid;

use super::LogError;
use super::checkpoint::{
    LEADER_EPOCHS, PARTITION_METADATA, read_epochs, read_topic_id, write_epochs,
};
use super::leader_epochs::LeaderEpochs;
use super::partition::Appender;
use super::producer_snapshot::{self, snapshot_path};
use super::producer_state::ProducerStates;
use super::recovery::recover_segment;
use super::segment::{SUFFIXES, Segment, segment_path};
use crate::kafka::record_batch::control_record;

/// What is known of a log before its directory is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoadOptions {
    /// The broker stopped in order: the files are as it left them.
    pub(super) clean: bool,
    /// From the checkpoint: everything before is on disk.
    pub(super) recovery_point: i64,
    /// From the checkpoint: where the log starts.
    pub(super) log_start_offset: i64,
    /// `index.interval.bytes`, for indexes that are made anew.
    pub(super) index_interval_bytes: u32,
    /// The broker's clock.
    pub(super) now_ms: i64,
    /// `producer.id.expiration.ms`.
    pub(super) producer_id_expiration_ms: i64,
}

/// A log's directory, opened.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) topic_id: Option<Uuid>,
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) appender: Appender,
    pub(super) log_start_offset: i64,
    pub(super) recovery_point: i64,
}

/// The files of a partition's directory.
#[derive(Debug, Default)]
struct Listing {
    /// Base offset of each `.log`, ascending.
    segments: Vec<i64>,
    /// Names of the index files.
    indexes: HashSet<String>,
    /// Offset of each `.snapshot`, ascending.
    snapshots: Vec<i64>,
}

/// Opens a partition's directory, which may be empty; `name` is for messages.
///
/// # Errors
/// [`LogError::Storage`]; also for what is not served: record formats before version 2.
pub(super) fn load(path: &Path, name: &str, options: &LoadOptions) -> Result<Found, LogError> {
    super::cleaner::swap::recover(path)?;
    let listing = list(path)?;
    let topic_id = read_topic_id(&path.join(PARTITION_METADATA))?;
    let mut loaded = load_segments(path, name, &listing, options)?;
    let first = loaded.segments.first().map_or(0, |segment| segment.base_offset);
    let mut log_start_offset = options.log_start_offset.max(first);
    if loaded.next_offset < log_start_offset && !loaded.segments.is_empty() {
        warn!(
            log = name,
            log_end_offset = loaded.next_offset,
            log_start_offset,
            "the log ends before its start offset: it begins anew there"
        );
        for segment in &loaded.segments {
            remove_segment(path, segment.base_offset)?;
        }
        loaded.segments.clear();
        loaded.next_offset = log_start_offset;
    }
    if loaded.segments.is_empty() {
        log_start_offset = options.log_start_offset;
        loaded.next_offset = log_start_offset;
        loaded.segments.push(Segment::create(path, log_start_offset)?);
    }
    let next_offset = loaded.next_offset;
    let epochs = load_epochs(path, name, &loaded, log_start_offset)?;
    let mut producers = load_producers(path, name, &listing, &loaded)?;
    producers.expire(options.now_ms, options.producer_id_expiration_ms);
    let (max_timestamp, first_timestamp) = match loaded.segments.last() {
        Some(active) => active_timestamps(active)?,
        None => ((-1, next_offset), None),
    };
    // Thousands of logs may be there that nobody asks for.
    loaded.segments.iter().for_each(Segment::close);
    let recovery_point =
        if options.clean { next_offset } else { options.recovery_point.min(next_offset) };
    Ok(Found {
        topic_id,
        segments: loaded.segments.into_iter().map(Arc::new).collect(),
        appender: Appender {
            next_offset,
            since_entry: 0,
            max_timestamp,
            first_timestamp,
            opened_ms: options.now_ms,
            producers,
            epochs,
            unflushed: 0,
            last_flush_ms: options.now_ms,
            flush_due: false,
        },
        log_start_offset,
        recovery_point,
    })
}

fn list(path: &Path) -> Result<Listing, LogError> {
    let failed = |error| LogError::storage(path, error);
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some((stem, suffix)) = name.rsplit_once('.') else { continue };
        let offset = stem.parse::<i64>().ok().filter(|_| stem.len() == 20);
        match (suffix, offset) {
            ("deleted" | "tmp", _) => remove_file(&entry.path())?,
            ("log", Some(base)) => listing.segments.push(base),
            ("snapshot", Some(offset)) => listing.snapshots.push(offset),
            ("index" | "timeindex" | "txnindex", Some(_)) => {
                listing.indexes.insert(name);
            }
            _ => {}
        }
    }
    listing.segments.sort_unstable();
    listing.snapshots.sort_unstable();
    Ok(listing)
}

/// The segments of a log, and what is only known after a look at the last one.
struct Loaded {
    segments: Vec<Segment>,
    next_offset: i64,
    /// Leader epochs of the batches that were checked.
    epochs: Vec<(i32, i64)>,
    /// The first segment whose transaction index must be made anew.
    index_from: Option<i64>,
}

fn load_segments(
    path: &Path,
    name: &str,
    listing: &Listing,
    options: &LoadOptions,
) -> Result<Loaded, LogError> {
    let bases = &listing.segments;
    for index in &listing.indexes {
        let base = index.split_once('.').and_then(|(base, _)| base.parse::<i64>().ok());
        if base.is_some_and(|base| bases.binary_search(&base).is_err()) {
            remove_file(&path.join(index))?;
        }
    }
    let mut loaded =
        Loaded { segments: Vec::new(), next_offset: 0, epochs: Vec::new(), index_from: None };
    let checked_from = if options.clean {
        bases.len()
    } else {
        bases.partition_point(|base| *base <= options.recovery_point).saturating_sub(1)
    };
    for (at, &base) in bases.iter().enumerate() {
        let has = |suffix: &str| listing.indexes.contains(&format!("{base:020}.{suffix}"));
        let is_last = at + 1 == bases.len();
        let trusted = at < checked_from && has("index") && has("timeindex");
        if trusted {
            let log = segment_path(path, base, "log");
            let size =
                std::fs::metadata(&log).map_err(|error| LogError::storage(&log, error))?.len();
            let segment = Segment::open(path, base, size);
            match if is_last { end_offset(&segment) } else { Ok(Some(base)) } {
                Ok(Some(end)) => {
                    loaded.next_offset = end;
                    loaded.segments.push(segment);
                    continue;
                }
                Ok(None) | Err(_) => {
                    warn!(
                        log = name,
                        segment = base,
                        "the segment is not as a clean stop leaves it"
                    );
                }
            }
        }
        let recovered = recover_segment(path, base, options.index_interval_bytes)?;
        loaded.next_offset = recovered.next_offset;
        loaded.epochs.extend(recovered.epochs);
        if recovered.has_markers || has("txnindex") {
            loaded.index_from.get_or_insert(base);
        }
        loaded.segments.push(recovered.segment);
        if let Some((bytes, reason)) = recovered.cut {
            let later = bases.get(at + 1..).unwrap_or_default();
            warn!(
                log = name,
                segment = base,
                bytes,
                segments_removed = later.len(),
                log_end_offset = loaded.next_offset,
                reason,
                "the end of the log is cut off"
            );
            for base in later {
                remove_segment(path, *base)?;
            }
            break;
        }
    }
    if !options.clean && !bases.is_empty() {
        tracing::debug!(
            log = name,
            segments = bases.len() - checked_from,
            log_end_offset = loaded.next_offset,
            "the log is recovered"
        );
    }
    Ok(loaded)
}

/// The offset that follows the last batch; `None` if the segment does not end with a whole one.
fn end_offset(segment: &Segment) -> Result<Option<i64>, LogError> {
    let size = segment.size();
    if size == 0 {
        return Ok(Some(segment.base_offset));
    }
    let from = segment.indexes().lock().offsets.last_position()?;
    let (mut end, mut place) = (segment.base_offset, u64::from(from));
    for batch in segment.batches(place, size)? {
        let (at, header) = batch?;
        end = header.next_offset();
        place = at + header.size() as u64;
    }
    Ok((place == size).then_some(end))
}

/// The largest timestamp with the last offset of its batch, and that of the first batch.
fn active_timestamps(segment: &Segment) -> Result<((i64, i64), Option<i64>), LogError> {
    let size = segment.size();
    if size == 0 {
        segment.set_largest_timestamp(-1);
        return Ok(((-1, segment.base_offset), None));
    }
    let (indexed, from) = {
        let mut indexes = segment.indexes().lock();
        (indexes.times.last()?, indexes.offsets.last_position()?)
    };
    let mut largest = indexed.unwrap_or((-1, segment.base_offset));
    for batch in segment.batches(u64::from(from), size)? {
        let (_, header) = batch?;
        if header.max_timestamp > largest.0 {
            largest = (header.max_timestamp, header.last_offset());
        }
    }
    segment.set_largest_timestamp(largest.0);
    let first = segment.batches(0, size)?.next().transpose()?;
    Ok((largest, first.map(|(_, header)| header.max_timestamp)))
}

/// The leader epochs: the checkpoint, and what the checked batches add to it.
fn load_epochs(
    path: &Path,
    name: &str,
    loaded: &Loaded,
    log_start_offset: i64,
) -> Result<LeaderEpochs, LogError> {
    let file = path.join(LEADER_EPOCHS);
    let mut epochs = match read_epochs(&file) {
        Ok(entries) => LeaderEpochs::from_checkpoint(entries),
        Err(error) => {
            warn!(log = name, %error, "the leader epochs are read from the batches instead");
            let mut epochs = LeaderEpochs::default();
            for segment in &loaded.segments {
                for batch in segment.batches(0, segment.size())? {
                    let header = batch?.1;
                    epochs.assign(header.partition_leader_epoch, header.base_offset);
                }
            }
            epochs
        }
    };
    let before = epochs.clone();
    for (epoch, start) in &loaded.epochs {
        epochs.assign(*epoch, *start);
    }
    epochs.truncate_from_end(loaded.next_offset);
    epochs.truncate_from_start(log_start_offset);
    if epochs != before {
        write_epochs(&file, epochs.entries())?;
    }
    Ok(epochs)
}

/// The producers: the newest snapshot that can be read, and the batches behind it; these also tell
/// which transactions were aborted in the segments that were recovered.
fn load_producers(
    path: &Path,
    name: &str,
    listing: &Listing,
    loaded: &Loaded,
) -> Result<ProducerStates, LogError> {
    let mut states = ProducerStates::default();
    // Deleted records that are still there count too: their producers may send again.
    let first = loaded.segments.first().map_or(0, |segment| segment.base_offset);
    let mut from = first;
    let mut newest = None;
    for &offset in listing.snapshots.iter().rev() {
        let file = snapshot_path(path, offset);
        if offset > loaded.next_offset {
            remove_file(&file)?;
        } else if newest.is_some() {
            // Those of segments that are still there serve as a way back; others are of no use.
            if !loaded.segments.iter().any(|segment| segment.base_offset == offset) {
                remove_file(&file)?;
            }
        } else if loaded.index_from.is_some_and(|base| offset > base) {
            // The transactions of a segment are replayed from its start.
        } else if let Some(read) = producer_snapshot::read(&file)? {
            states = read;
            from = offset.max(first);
            newest = Some(offset);
        } else {
            info!(log = name, snapshot = offset, "a damaged producer snapshot is removed");
            remove_file(&file)?;
        }
    }
    for (at, segment) in loaded.segments.iter().enumerate() {
        if loaded.segments.get(at + 1).is_some_and(|next| next.base_offset <= from) {
            continue;
        }
        if from >= loaded.next_offset {
            break;
        }
        let place = segment.find(from, segment.size())?.map_or(segment.size(), |found| found.0);
        let mut aborted = Vec::new();
        for batch in segment.batches(place, segment.size())? {
            let (at, header) = batch?;
            let record = if header.is_control() {
                // One that can't be understood ends no transaction; its checksum is right.
                control_record(&header, &segment.batch(at, &header)?).unwrap_or_default()
            } else {
                None
            };
            if let Some((ended, false)) = states.replay(&header, record) {
                aborted.push(ended.aborted(states.stable_after(&ended)));
            }
        }
        if loaded.index_from.is_some_and(|base| base <= segment.base_offset) {
            segment.aborted().replace(&aborted)?;
        }
    }
    Ok(states)
}

fn remove_segment(path: &Path, base_offset: i64) -> Result<(), LogError> {
    for suffix in SUFFIXES {
        remove_file(&segment_path(path, base_offset, suffix))?;
    }
    Ok(())
}

/// Removes a file that may be gone already.
pub(super) fn remove_file(path: &Path) -> Result<(), LogError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LogError::storage(path, error))
        }
        _ => Ok(()),
    }
}
