//! What a log lets go of: segments by age, by size and below the log start offset.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::info;

use super::files::rename;
use super::partition::Appender;
use super::producer_snapshot::snapshot_path;
use super::segment::{SUFFIXES, Segment, segment_path};
use super::{LogError, PartitionLog};

impl PartitionLog {
    /// Moves the log start offset up to `offset` (`DeleteRecords`), or to the high watermark for
    /// −1; answers the new low watermark. Whole segments below go with the next retention check.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] above the high watermark or for another negative offset.
    pub fn delete_records(&self, offset: i64) -> Result<i64, LogError> {
        self.check_online()?;
        let mut appender = self.appender.lock();
        if self.is_closed() {
            return Err(LogError::Deleted);
        }
        let (start, end) = (self.log_start_offset(), self.high_watermark());
        let target = if offset == -1 { end } else { offset };
        if !(0..=end).contains(&target) {
            return Err(LogError::OffsetOutOfRange { offset: target, start, end });
        }
        self.advance_start(&mut appender, target)?;
        drop(appender);
        self.directory.checkpoint_soon();
        Ok(self.log_start_offset())
    }

    /// Raises the log start offset, never lowers it.
    fn advance_start(&self, appender: &mut Appender, offset: i64) -> Result<(), LogError> {
        if offset > self.log_start_offset() {
            self.log_start_offset.store(offset, Ordering::Release);
            self.publish(appender, self.high_watermark());
            if appender.epochs.truncate_from_start(offset) {
                self.write_epochs(&appender.epochs)?;
            }
        }
        Ok(())
    }

    /// Removes the segments that retention lets go of. Their files are renamed to `.deleted`; the
    /// caller removes those that are answered, after `file.delete.delay.ms`.
    ///
    /// # Errors
    /// [`LogError::Storage`]; what was removed before stays removed.
    pub fn enforce_retention(&self, now_ms: i64) -> Result<Vec<PathBuf>, LogError> {
        let config = self.config.load_full();
        // Compaction works on the segments; it has retention look again when it is done.
        let Some(_cleaning) = self.cleaning.try_lock() else { return Ok(Vec::new()) };
        let mut appender = self.appender.lock();
        if self.is_closed() || self.directory.is_offline() {
            return Ok(Vec::new());
        }
        let segments = self.segments.load_full();
        let total: u64 = segments.iter().map(|segment| segment.size()).sum();
        let mut excess = match u64::try_from(config.retention_bytes) {
            Ok(bound) if config.is_trimmed() => total.saturating_sub(bound),
            _ => 0,
        };
        let start = self.log_start_offset();
        let (mut count, mut reasons) = (0, [0usize; 3]);
        for (at, segment) in segments.iter().enumerate() {
            let next = segments.get(at + 1).map(|next| next.base_offset);
            let (size, end) = (segment.size(), next.unwrap_or(appender.next_offset));
            // Only what every consumer may see goes, and an empty log keeps its one segment.
            if end > self.high_watermark() || (next.is_none() && size == 0) {
                break;
            }
            let reason = if next.is_some_and(|next| next <= start) {
                0
            } else if config.is_trimmed() && size <= excess && excess > 0 {
                1
            } else if config.is_trimmed()
                && config.retention_ms >= 0
                && now_ms.saturating_sub(age_reference(segment)?) > config.retention_ms
            {
                2
            } else {
                break;
            };
            excess = excess.saturating_sub(size);
            if let Some(reason) = reasons.get_mut(reason) {
                *reason += 1;
            }
            count += 1;
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        if count == segments.len() {
            self.roll(&mut appender, now_ms)?;
        }
        let segments = self.segments.load_full();
        let (gone, kept) = segments.split_at(count);
        let first = kept.first().map_or(appender.next_offset, |segment| segment.base_offset);
        // Before the segments: a reader that finds them gone then sees why.
        let moved = self.advance_start(&mut appender, first);
        self.segments.store(Arc::new(kept.to_vec()));
        let renamed = self.rename_away(gone);
        info!(
            log = self.name,
            segments = count,
            below_start = reasons[0],
            by_size = reasons[1],
            by_age = reasons[2],
            log_start_offset = self.log_start_offset(),
            "old segments removed"
        );
        self.directory.checkpoint_soon();
        moved?;
        renamed
    }

    fn rename_away(&self, gone: &[Arc<Segment>]) -> Result<Vec<PathBuf>, LogError> {
        let mut renamed = Vec::new();
        for segment in gone {
            segment.mark_removed();
            let files =
                SUFFIXES.map(|suffix| segment_path(&self.path, segment.base_offset, suffix));
            let snapshot = snapshot_path(&self.path, segment.base_offset);
            for file in files.into_iter().chain([snapshot]) {
                let mut deleted = file.clone().into_os_string();
                deleted.push(".deleted");
                let deleted = PathBuf::from(deleted);
                match rename(&file, &deleted) {
                    Ok(()) => renamed.push(deleted),
                    Err(LogError::Storage { source, .. })
                        if source.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.directory_changed.store(true, Ordering::Release);
        Ok(renamed)
    }
}

/// The time that a segment's age counts from: its largest timestamp, or the file's own.
fn age_reference(segment: &Segment) -> Result<i64, LogError> {
    match segment.largest_timestamp()? {
        timestamp if timestamp >= 0 => Ok(timestamp),
        _ => segment.modified_ms(),
    }
}
