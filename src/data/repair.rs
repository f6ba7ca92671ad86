//! Cuts a directory at the first record that is bad, so that a server starts on what is before it.

use std::io::Write;
use std::path::Path;

use super::directory::Directory;
use super::scan::scan;
use super::{DataError, output};
use crate::calendar::Utc;
use crate::durable_file;
use crate::zookeeper::storage::directory::DataFile;
use crate::zookeeper::storage::log_reader::{FILE_HEADER, LogReader, find_record};
use crate::zookeeper::storage::recovery::{Cut, Recovered, copy_front};
use crate::zookeeper::storage::{Entry, Opened, StorageError, keep_files};
use crate::zookeeper::txn::record::{self, TxnHeader};

/// What can still be read behind the cut.
#[derive(Debug, Default)]
struct Lost {
    transactions: u64,
    first: Option<TxnHeader>,
    last: Option<TxnHeader>,
}

impl Lost {
    fn add(&mut self, header: TxnHeader) {
        self.transactions += 1;
        if self.first.is_none_or(|first| header.zxid < first.zxid) {
            self.first = Some(header);
        }
        if self.last.is_none_or(|last| header.zxid > last.zxid) {
            self.last = Some(header);
        }
    }
}

pub(super) fn run(directory: &Directory, out: &mut dyn Write) -> Result<bool, DataError> {
    directory.folders.check_owner()?;
    let mut say = |line: String| writeln!(out, "{line}").map_err(output);
    let (path, offset) = match directory.load() {
        Ok(Recovered { cuts, recovery, .. }) if cuts.is_empty() => {
            say(format!("nothing to repair: a server starts at 0x{:x}", recovery.last_zxid))?;
            return Ok(true);
        }
        Ok(Recovered { recovery, .. }) => {
            keep(directory, recovery.last_zxid, &mut say)?;
            let mut lost = Lost::default();
            let last = cut_torn_ends(directory, &mut lost, &mut say)?;
            tell(&lost, &mut say)?;
            say(format!("a server starts at 0x{last:x}"))?;
            return Ok(true);
        }
        Err(StorageError::Damaged { path, offset, what }) => {
            say(format!("{} is damaged at byte {offset}: {what}", path.display()))?;
            (path, offset)
        }
        Err(error) => return Err(error.into()),
    };
    let mut lost = Lost::default();
    let last = last_before(directory, &path, offset)?;
    behind(&path, offset, last, &mut lost)?;
    let Some(position) = directory.logs.iter().position(|log| log.path == path) else {
        return Err(DataError::NoData { path, what: "it is no log of this directory" });
    };
    let later = &directory.logs[position + 1..];
    for log in later {
        scan(log, |record| {
            lost.add(record.header);
            Ok(())
        })?;
    }
    // A newer snapshot that could be read would have been loaded.
    let newer: Vec<&DataFile> =
        directory.snapshots.iter().filter(|snapshot| snapshot.zxid > last).collect();
    keep(directory, last, &mut say)?;
    // The latest first: whatever is left at a crash is a directory that ends earlier.
    for file in later.iter().rev().chain(newer) {
        durable_file::remove(&file.path)
            .map_err(|source| DataError::Io { path: file.path.clone(), source })?;
        say(format!("{}: removed", file.path.display()))?;
    }
    cut(&path, offset)?;
    say(format!("{}: cut at byte {offset}, behind 0x{last:x}", path.display()))?;
    let last = cut_torn_ends(directory, &mut lost, &mut say)?;
    tell(&lost, &mut say)?;
    say(format!("a server starts at 0x{last:x}"))?;
    Ok(true)
}

/// Cuts what a server's start would cut, too. Returns the last transaction.
fn cut_torn_ends(
    directory: &Directory,
    lost: &mut Lost,
    say: &mut impl FnMut(String) -> Result<(), DataError>,
) -> Result<i64, DataError> {
    let Recovered { cuts, recovery, .. } = directory.load()?;
    for Cut { path, offset, last, .. } in &cuts {
        behind(path, *offset, *last, lost)?;
        cut(path, *offset)?;
        say(format!("{}: cut at byte {offset}, behind 0x{last:x}", path.display()))?;
    }
    Ok(recovery.last_zxid)
}

/// Keeps all files as they are, before the first of them changes.
fn keep(
    directory: &Directory,
    last: i64,
    say: &mut impl FnMut(String) -> Result<(), DataError>,
) -> Result<(), DataError> {
    for kept in keep_files(&directory.folders, last)? {
        say(format!("the files as they were are kept in {}", kept.display()))?;
    }
    Ok(())
}

fn cut(path: &Path, offset: u64) -> Result<(), DataError> {
    let cut = if offset <= FILE_HEADER.len() as u64 {
        durable_file::remove(path)
    } else {
        copy_front(path, offset)
    };
    cut.map_err(|source| DataError::Io { path: path.to_owned(), source })
}

/// The last transaction before the record at `offset` of the log at `path`.
fn last_before(directory: &Directory, path: &Path, offset: u64) -> Result<i64, DataError> {
    let mut last = 0;
    for log in &directory.logs {
        let here = log.path == path;
        scan(log, |record| {
            if !here || record.offset < offset {
                last = last.max(record.header.zxid);
            }
            Ok(())
        })?;
        if here {
            break;
        }
    }
    // A snapshot may be ahead of the logs that are left.
    let whole = directory.newest_snapshot();
    Ok(last.max(whole.unwrap_or(0)))
}

/// Finds the whole records at and behind `offset` of a log.
fn behind(path: &Path, offset: u64, last: i64, lost: &mut Lost) -> Result<(), DataError> {
    let failed = |source| DataError::Io { path: path.to_owned(), source };
    let mut from = offset;
    let mut after = last;
    while let Some(at) = find_record(path, from, u64::MAX, after).map_err(failed)? {
        let Opened::Log(mut reader) = LogReader::open_at(path, at).map_err(failed)? else { break };
        from = at + 1;
        while let Entry::Record { offset, payload } = reader.next_entry().map_err(failed)? {
            let Ok((header, ..)) = record::read_entry(payload) else { break };
            after = after.max(header.zxid);
            from = offset + payload.len() as u64;
            lost.add(header);
        }
    }
    Ok(())
}

fn tell(
    lost: &Lost,
    say: &mut impl FnMut(String) -> Result<(), DataError>,
) -> Result<(), DataError> {
    match (lost.first, lost.last) {
        (Some(first), Some(last)) => say(format!(
            "lost: {} transactions that can still be read in the copy, 0x{:x} to 0x{:x}, {} to {}",
            lost.transactions,
            first.zxid,
            last.zxid,
            Utc::of(first.time),
            Utc::of(last.time)
        )),
        _ => say("lost: nothing that can be read".to_owned()),
    }
}
