//! Which part of a log can be compacted, and whether it is time to (Kafka's `LogCleanerManager`).

use std::sync::atomic::Ordering;

use tracing::warn;

use crate::broker::log::segment::Segment;
use crate::broker::log::{LogError, PartitionLog};

/// The part of a log that compaction would look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::broker::log) struct Dirty {
    /// Everything before was compacted.
    pub(in crate::broker::log) first_dirty_offset: i64,
    /// From here on nothing may be: the base offset of a segment.
    pub(in crate::broker::log) first_uncleanable_offset: i64,
    /// Size of the segments before.
    before_bytes: u64,
    /// Size of the segments that are dirty.
    bytes: u64,
    /// A record has waited for `max.compaction.lag.ms`.
    overdue: bool,
    least_ratio: f64,
}

impl Dirty {
    /// The share of the dirty bytes.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub(super) fn ratio(&self) -> f64 {
        let total = self.before_bytes + self.bytes;
        if total == 0 { 0.0 } else { self.bytes as f64 / total as f64 }
    }

    /// Whether the log is to be compacted now.
    pub(in crate::broker::log) fn is_due(&self) -> bool {
        self.bytes > 0 && (self.overdue || self.ratio() > self.least_ratio)
    }
}

/// Looks at a compacted log.
///
/// # Errors
/// [`LogError::Storage`] if an index or a header can't be read.
pub(in crate::broker::log) fn dirty(log: &PartitionLog, now_ms: i64) -> Result<Dirty, LogError> {
    let config = log.config();
    let segments = log.segments.load_full();
    let active = segments.last().map_or(0, |active| active.base_offset);
    let first_dirty_offset = first_dirty_offset(log);
    let closed_from = |from: i64| {
        let after = segments.partition_point(|segment| segment.base_offset <= from);
        let from = after.saturating_sub(1);
        let closed = segments.len().saturating_sub(1);
        segments.get(from..closed.max(from)).unwrap_or_default()
    };
    let mut first_uncleanable = log.last_stable_offset().min(active);
    if config.min_compaction_lag_ms > 0 {
        let newest = now_ms.saturating_sub(config.min_compaction_lag_ms);
        for segment in closed_from(first_dirty_offset) {
            if reference_timestamp(segment)? > newest {
                first_uncleanable = first_uncleanable.min(segment.base_offset);
                break;
            }
        }
    }
    let first_uncleanable = first_uncleanable.max(first_dirty_offset);
    // Segments are taken whole: the one that holds the bound is not.
    let first_uncleanable_offset =
        closed_from(first_uncleanable).first().map_or(active, |segment| segment.base_offset);
    let mut overdue = false;
    if config.max_compaction_lag_ms < i64::MAX {
        let until = now_ms.saturating_sub(config.max_compaction_lag_ms);
        for segment in closed_from(first_dirty_offset) {
            let first = segment.batches(0, segment.size())?.next().transpose()?;
            let timestamp = first.map_or(-1, |(_, header)| header.max_timestamp);
            if timestamp > 0 && timestamp < until {
                overdue = true;
                break;
            }
        }
    }
    let end_of = |at: usize| segments.get(at + 1).map_or(i64::MAX, |next| next.base_offset);
    let (mut before_bytes, mut bytes) = (0, 0);
    for (at, segment) in segments.iter().enumerate() {
        if segment.base_offset < first_dirty_offset {
            before_bytes += segment.size();
        }
        if segment.base_offset < first_uncleanable_offset && end_of(at) > first_dirty_offset {
            bytes += segment.size();
        }
    }
    Ok(Dirty {
        first_dirty_offset,
        first_uncleanable_offset,
        before_bytes,
        bytes,
        overdue,
        least_ratio: config.min_cleanable_dirty_ratio,
    })
}

/// The checkpoint, or the start of a log that it does not fit.
fn first_dirty_offset(log: &PartitionLog) -> i64 {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    let known = log.cleaned_to.load(Ordering::Acquire);
    if (start..=end).contains(&known) {
        return known;
    }
    if known > end {
        warn!(
            log = log.name,
            checkpoint = known,
            log_end_offset = end,
            "the log ends before the checkpoint of its compaction: all of it counts as dirty"
        );
    }
    log.cleaned_to.store(start, Ordering::Release);
    start
}

/// The largest timestamp of a segment, or the file's own.
pub(super) fn reference_timestamp(segment: &Segment) -> Result<i64, LogError> {
    match segment.largest_timestamp()? {
        timestamp if timestamp >= 0 => Ok(timestamp),
        _ => segment.modified_ms(),
    }
}
