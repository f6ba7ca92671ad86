//! How compacted segments take the place of the old ones, so that a stop at any moment leaves a log
//! that a start (ours or Apache Kafka's `LogLoader`) makes whole.
//!
//! A new segment is written as `.cleaned` and made durable. Then its files are renamed to `.swap`:
//! as long as one is still `.cleaned`, a start throws all of them away. From then on a start
//! finishes what was begun: the old segments that the new one covers are removed (renamed to
//! `.deleted`), and `.swap` is taken off the names.

use std::path::{Path, PathBuf};

use tracing::info;

use crate::broker::log::LogError;
use crate::broker::log::files::{rename, sync_directory};
use crate::broker::log::load::remove_file;
use crate::broker::log::segment::{SUFFIXES, Segment, segment_path};

/// One step of a swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker::log) enum Step {
    /// Renames a file that may not be there.
    Rename(PathBuf, PathBuf),
    /// Makes what was renamed so far durable.
    Sync(PathBuf),
}

impl Step {
    /// Carries the step out.
    ///
    /// # Errors
    /// [`LogError::Storage`].
    pub(in crate::broker::log) fn run(&self) -> Result<(), LogError> {
        match self {
            Step::Sync(directory) => sync_directory(directory),
            Step::Rename(from, to) => match rename(from, to) {
                Err(LogError::Storage { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    Ok(())
                }
                other => other,
            },
        }
    }
}

/// The path of a file of a segment that is not in its place yet.
pub(super) fn pending_path(directory: &Path, base: i64, suffix: &str, state: &str) -> PathBuf {
    segment_path(directory, base, &format!("{suffix}.{state}"))
}

/// The steps after which a cleaned segment counts: nothing that is read changes yet.
pub(in crate::broker::log) fn offer(directory: &Path, base: i64) -> Vec<Step> {
    let mut steps = vec![Step::Sync(directory.to_owned())];
    for suffix in SUFFIXES {
        let from = pending_path(directory, base, suffix, "cleaned");
        steps.push(Step::Rename(from, pending_path(directory, base, suffix, "swap")));
    }
    steps.push(Step::Sync(directory.to_owned()));
    steps
}

/// The steps that put it in the place of the segments of these base offsets, and the files that are
/// to be removed afterwards.
pub(in crate::broker::log) fn exchange(
    directory: &Path,
    base: i64,
    old: &[i64],
) -> (Vec<Step>, Vec<PathBuf>) {
    let (mut steps, mut removed) = (Vec::new(), Vec::new());
    for old_base in old {
        let snapshot = (*old_base != base).then_some("snapshot");
        for suffix in SUFFIXES.into_iter().chain(snapshot) {
            let from = segment_path(directory, *old_base, suffix);
            let to = pending_path(directory, *old_base, suffix, "deleted");
            removed.push(to.clone());
            steps.push(Step::Rename(from, to));
        }
    }
    for suffix in SUFFIXES {
        let from = pending_path(directory, base, suffix, "swap");
        steps.push(Step::Rename(from, segment_path(directory, base, suffix)));
    }
    (steps, removed)
}

/// At a start: finishes swaps that count, and throws away what was not finished.
///
/// # Errors
/// [`LogError::Storage`].
pub(in crate::broker::log) fn recover(directory: &Path) -> Result<(), LogError> {
    let failed = |error| LogError::storage(directory, error);
    let (mut cleaned, mut swaps, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(base) = name.split_once('.').and_then(|(stem, _)| stem.parse::<i64>().ok()) else {
            continue;
        };
        let list = match name.rsplit_once('.').map(|(_, suffix)| suffix) {
            Some("cleaned") => &mut cleaned,
            Some("swap") => &mut swaps,
            _ => &mut others,
        };
        list.push((base, entry.path()));
    }
    if cleaned.is_empty() && swaps.is_empty() {
        return Ok(());
    }
    // Files of one segment, and the segments of a split, become `.swap` from the last to the first.
    let unfinished = cleaned.iter().map(|(base, _)| *base).min().unwrap_or(i64::MAX);
    let (worthless, valid): (Vec<_>, Vec<_>) =
        swaps.into_iter().partition(|(base, _)| *base >= unfinished);
    for (_, path) in worthless.iter().chain(&cleaned) {
        remove_file(path)?;
    }
    let mut covered: Option<(i64, i64)> = None;
    for (base, path) in &valid {
        if path.to_string_lossy().ends_with(".log.swap") {
            let end = end_offset(path, *base)?;
            let (first, last) = covered.unwrap_or((*base, end));
            covered = Some((first.min(*base), last.max(end)));
        }
    }
    if let Some((first, end)) = covered {
        info!(directory = %directory.display(), first, end, "an interrupted compaction is finished");
        for (base, path) in &others {
            if (first..end).contains(base) {
                remove_file(path)?;
            }
        }
    }
    for (_, path) in &valid {
        rename(path, &path.with_extension(""))?;
    }
    sync_directory(directory)
}

/// The offset after the last batch of a `.log.swap`.
fn end_offset(path: &Path, base: i64) -> Result<i64, LogError> {
    let size = std::fs::metadata(path).map_err(|error| LogError::storage(path, error))?.len();
    let segment = Segment::at(path, base, size);
    let mut end = base;
    for batch in segment.batches(0, size)? {
        end = batch?.1.next_offset();
    }
    Ok(end)
}
