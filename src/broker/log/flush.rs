//! Making a log durable: one flush at a time, shared by all who wait for it.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Instant;

use metrics::{Histogram, histogram};

use super::files::sync_directory;
use super::{LogError, PartitionLog};

static FSYNC_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| histogram!("doorkeeper_log_fsync_duration_seconds"));

impl PartitionLog {
    /// Makes everything appended so far durable (fdatasync) and visible. Blocking. Callers that
    /// wait for each other share one flush.
    ///
    /// # Errors
    /// [`LogError::Storage`]: the whole directory is offline from then on, since what a failed
    /// flush left on the disk is unknown; it is never tried again.
    pub fn flush(&self) -> Result<(), LogError> {
        self.flush_segments(true)
    }

    /// Makes the closed segments durable.
    pub(super) fn flush_closed_segments(&self) -> Result<(), LogError> {
        self.flush_segments(false)
    }

    fn flush_segments(&self, active_too: bool) -> Result<(), LogError> {
        let _one = self.flushing.lock();
        self.check_online()?;
        let (target, segments, active_size) = {
            let mut appender = self.appender.lock();
            let segments = self.segments.load_full();
            let active = segments.last().map_or((0, 0), |last| (last.base_offset, last.size()));
            let target = if active_too {
                appender.unflushed = 0;
                appender.last_flush_ms = crate::calendar::now_ms();
                appender.next_offset
            } else {
                active.0
            };
            (target, segments, active.1)
        };
        let recovery_point = self.recovery_point.load(Ordering::Acquire);
        if target > recovery_point {
            let started = Instant::now();
            for (at, segment) in segments.iter().enumerate() {
                let next = segments.get(at + 1);
                if next.is_some_and(|next| next.base_offset <= recovery_point)
                    || segment.base_offset >= target
                {
                    continue;
                }
                let synced = segment.sync_log().and_then(|()| match next {
                    Some(_) => segment.sync_indexes(),
                    None => Ok(()),
                });
                match synced {
                    Err(_) if segment.is_removed() => {}
                    other => self.or_offline(other)?,
                }
            }
            if self.directory_changed.swap(false, Ordering::AcqRel) {
                self.or_offline(sync_directory(&self.path))?;
                self.or_offline(sync_directory(self.directory.path()))?;
            }
            FSYNC_SECONDS.record(started.elapsed().as_secs_f64());
            self.recovery_point.fetch_max(target, Ordering::AcqRel);
        }
        if active_too {
            self.reveal(target, active_size);
        }
        Ok(())
    }

    /// Lets consumers see what waited for the flush.
    fn reveal(&self, target: i64, active_size: u64) {
        let mut appender = self.appender.lock();
        if appender.next_offset == target {
            appender.flush_due = false;
        }
        if self.high_watermark() < target {
            let segments = self.segments.load();
            for (at, segment) in segments.iter().enumerate() {
                let ends_at = segments.get(at + 1).map_or(i64::MAX, |next| next.base_offset);
                if ends_at <= target {
                    segment.reveal(segment.size());
                } else if segment.base_offset < target {
                    segment.reveal(active_size);
                }
            }
            self.publish(&mut appender, target);
            drop(appender);
            self.notify_waiters();
        }
    }

    fn or_offline(&self, result: Result<(), LogError>) -> Result<(), LogError> {
        match result {
            Err(_) if self.is_closed() => Err(LogError::Deleted),
            Err(error) => {
                self.directory.set_offline(&error);
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Whether records have waited for `flush.ms`.
    pub(super) fn is_flush_overdue(&self, now_ms: i64) -> bool {
        let flush_ms = self.config.load().flush_ms;
        if flush_ms == i64::MAX
            || self.recovery_point.load(Ordering::Acquire) >= self.log_end_offset()
        {
            return false;
        }
        now_ms.saturating_sub(self.appender.lock().last_flush_ms) >= flush_ms
    }
}
