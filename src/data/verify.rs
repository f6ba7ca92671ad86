//! Whether every checksum is right, and the tree's digest after each transaction.

use std::io::Write;
use std::path::Path;

use super::directory::Directory;
use super::scan::{End, scan};
use super::{DataError, output, zookeeper};
use crate::zookeeper::storage::snapshot_reader;
use crate::zookeeper::txn::record::DIGEST_VERSION;

/// Something that is wrong, in one line.
#[derive(Debug)]
pub(super) struct Problem(String);

impl Problem {
    pub(super) fn of(path: &Path, what: impl std::fmt::Display) -> Problem {
        Problem(format!("{}: {what}", path.display()))
    }

    pub(super) fn at(path: &Path, offset: u64, what: impl std::fmt::Display) -> Problem {
        Problem(format!("{} at byte {offset}: {what}", path.display()))
    }
}

/// `jute_maxbuffer`: that of the `ZooKeeper` that is to boot on it, if one is.
pub(super) fn run(
    directory: &Directory,
    jute_maxbuffer: Option<usize>,
    out: &mut dyn Write,
) -> Result<bool, DataError> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    for snapshot in &directory.snapshots {
        match snapshot_reader::load(snapshot, true) {
            Err(error) => problems.push(Problem::of(&snapshot.path, error)),
            Ok(loaded) => {
                let tree = &loaded.database.tree;
                let wrong = loaded.digest.is_some_and(|digest| {
                    digest.zxid == snapshot.zxid
                        && digest.zxid > 0
                        && digest.version == DIGEST_VERSION
                        && digest.digest.cast_unsigned() != tree.digest()
                });
                if wrong {
                    let what = "the digest in it is not that of its tree";
                    problems.push(Problem::of(&snapshot.path, what));
                }
            }
        }
    }
    let mut records = 0;
    for (position, log) in directory.logs.iter().enumerate() {
        let mut before = None;
        let mut back = None;
        let scanned = scan(log, |record| {
            if before.is_some_and(|before| record.header.zxid <= before) {
                back.get_or_insert(record.offset);
            }
            before = Some(record.header.zxid);
            Ok(())
        })?;
        records += scanned.records;
        if let Some(offset) = back {
            problems.push(Problem::at(&log.path, offset, "the zxids go back"));
        }
        // Whether anything is missing behind a torn end, loading finds out.
        let last = position + 1 == directory.logs.len();
        match scanned.end {
            End::Clean => {}
            End::Torn(_) => {
                let end = if last { "the end of what was written" } else { "its end" };
                notes.push(format!("{}: {}, {end}", log.path.display(), scanned.end));
            }
            End::Empty => notes.push(format!("{}: {}", log.path.display(), scanned.end)),
            End::Unknown(offset, error) => {
                problems.push(Problem::at(&log.path, offset, error));
            }
            End::Foreign => problems.push(Problem::of(&log.path, "this is no transaction log")),
        }
    }
    let loaded = match directory.load() {
        Ok(loaded) => {
            let mismatches = loaded.recovery.digest_mismatches;
            if mismatches > 0 {
                problems.push(Problem::of(
                    &directory.folders.logs,
                    format!("after {mismatches} transactions the tree is not that of the digest"),
                ));
            }
            Some(loaded)
        }
        Err(error) => {
            problems.push(Problem(error.to_string()));
            None
        }
    };
    if let Some(limit) = jute_maxbuffer {
        zookeeper::check(directory, loaded.as_ref(), limit, &mut problems)?;
    }
    let well = problems.is_empty();
    let mut print = || -> std::io::Result<()> {
        for Problem(line) in &problems {
            writeln!(out, "{line}")?;
        }
        for line in &notes {
            writeln!(out, "note: {line}")?;
        }
        writeln!(
            out,
            "{} snapshots, {} logs, {records} transactions: {}",
            directory.snapshots.len(),
            directory.logs.len(),
            match (problems.len(), jute_maxbuffer) {
                (0, None) => "whole".to_owned(),
                (0, Some(_)) => "whole, and ZooKeeper would start on them".to_owned(),
                (1, _) => "1 problem".to_owned(),
                (count, _) => format!("{count} problems"),
            }
        )
    };
    print().map_err(output)?;
    Ok(well)
}
