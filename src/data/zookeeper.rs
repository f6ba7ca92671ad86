//! Whether Apache `ZooKeeper` 3.9 would boot on a directory: what it stops at, and what it would do
//! silently that loses data.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::DataError;
use super::directory::Directory;
use super::scan::{End, scan};
use super::verify::Problem;
use crate::zookeeper::path::depth;
use crate::zookeeper::stat::Ownership;
use crate::zookeeper::storage::directory::names;
use crate::zookeeper::storage::recovery::Recovered;
use crate::zookeeper::storage::snapshot_reader;

/// `ZooKeeper`'s default.
pub(super) const JUTE_MAXBUFFER: usize = 0xf_ffff;

/// The least that `BinaryInputArchive` adds to `jute.maxbuffer` (`zookeeper.jute.maxbuffer.extrasize`,
/// which is `jute.maxbuffer` unless it is set).
const EXTRA_MIN: usize = 1024;

/// Levels that `ZooKeeper`'s recursive walk of the tree takes on a default stack: 2,000 were fine,
/// 4,000 were not.
const DEPTH_MAX: usize = 2_500;

/// Adds what would keep a `ZooKeeper` with this `jute.maxbuffer` from booting.
pub(super) fn check(
    directory: &Directory,
    loaded: Option<&Recovered>,
    jute_maxbuffer: usize,
    problems: &mut Vec<Problem>,
) -> Result<(), DataError> {
    let limit = jute_maxbuffer + jute_maxbuffer.max(EXTRA_MIN);
    check_names(directory, problems)?;
    check_owners(directory, problems)?;
    check_logs(directory, limit, problems)?;
    check_snapshots(directory, problems);
    let Some(Recovered { database, .. }) = loaded else { return Ok(()) };
    let path = &directory.folders.snapshots;
    let (mut deepest, mut longest, mut time_to_live) = (0, 0, 0);
    if let Some(root) = database.tree.node("/") {
        root.walk(|path, node| {
            deepest = deepest.max(depth(path));
            longest = longest.max(node.data().map_or(0, <[u8]>::len)).max(path.len());
            if let Ownership::Ttl(_) = Ownership::of(node.ephemeral_owner()) {
                time_to_live += 1;
            }
        });
    }
    if deepest > DEPTH_MAX {
        let what =
            format!("a node is {deepest} levels deep: more than {DEPTH_MAX} may be too many");
        problems.push(Problem::of(path, what));
    }
    if longest > limit {
        let what = format!("a node of {longest} bytes: jute.maxbuffer allows {limit} in all");
        problems.push(Problem::of(path, what));
    }
    if time_to_live > 0 {
        let what = format!(
            "{time_to_live} nodes have a time to live: without extendedTypesEnabled=true they would be \
             deleted"
        );
        problems.push(Problem::of(path, what));
    }
    if directory.snapshots.is_empty() {
        let what = "there are logs without a snapshot: it needs snapshot.trust.empty=true";
        problems.push(Problem::of(path, what));
    }
    if let Some(epochs) = directory.epochs()? {
        let epoch = database.tree.last_zxid() >> 32;
        if epochs.accepted < epochs.current || epochs.current < epoch {
            let (accepted, current) = (epochs.accepted, epochs.current);
            let what = format!(
                "acceptedEpoch {accepted}, currentEpoch {current} and the last zxid's, {epoch}, must not \
                 go up in this order"
            );
            problems.push(Problem::of(path, what));
        }
    }
    Ok(())
}

/// Any name that begins like a log's or a snapshot's and goes on with a number counts, whatever follows.
fn check_names(directory: &Directory, problems: &mut Vec<Problem>) -> Result<(), DataError> {
    let folders = &directory.folders;
    let files = directory.snapshots.iter().chain(&directory.logs);
    let known: Vec<&Path> = files.map(|file| file.path.as_path()).collect();
    for (folder, prefix) in [(&folders.snapshots, "snapshot."), (&folders.logs, "log.")] {
        for name in names(folder)? {
            let path = folder.join(&name);
            let number = name.strip_prefix(prefix).and_then(|rest| rest.split('.').next());
            let counts = number.is_some_and(|number| i64::from_str_radix(number, 16).is_ok());
            if counts && !known.contains(&path.as_path()) {
                problems.push(Problem::of(&path, "it would be read as if it belonged there"));
            }
        }
    }
    Ok(())
}

fn check_owners(directory: &Directory, problems: &mut Vec<Problem>) -> Result<(), DataError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DataError::Io { path, source }
    };
    for (_, folder) in directory.folders.roots() {
        let owner = fs::metadata(folder).map_err(failed(folder))?.uid();
        for name in names(folder)? {
            let path = folder.join(name);
            let file = fs::metadata(&path).map_err(failed(&path))?.uid();
            if file != owner {
                let what = format!("it belongs to user {file}, and its folder to user {owner}");
                problems.push(Problem::of(&path, what));
            }
        }
    }
    Ok(())
}

fn check_logs(
    directory: &Directory,
    limit: usize,
    problems: &mut Vec<Problem>,
) -> Result<(), DataError> {
    for (position, log) in directory.logs.iter().enumerate() {
        let scanned = scan(log, |record| {
            if record.length > limit {
                let what = format!(
                    "a record of {} bytes: jute.maxbuffer allows {limit} in all",
                    record.length
                );
                problems.push(Problem::at(&log.path, record.offset, what));
            }
            Ok(())
        })?;
        let last = position + 1 == directory.logs.len();
        match scanned.end {
            End::Torn(offset) => {
                let stops = stops_at(&log.path, offset, limit)
                    .map_err(|source| DataError::Io { path: log.path.clone(), source })?;
                if let Some(what) = stops {
                    problems.push(Problem::at(&log.path, offset, what));
                }
            }
            End::Empty if !last || scanned.length > 0 => {
                problems.push(Problem::of(&log.path, "a log without a header stops it"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What `FileTxnIterator.next` throws at a torn record, if it doesn't take it for the end of the file.
fn stops_at(path: &Path, offset: u64, limit: usize) -> std::io::Result<Option<String>> {
    let file = File::open(path)?;
    let rest = file.metadata()?.len().saturating_sub(offset);
    let mut head = [0; 12];
    if rest < head.len() as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut head, offset)?;
    let [.., a, b, c, d] = head;
    let length = i32::from_be_bytes([a, b, c, d]);
    let Ok(length) = usize::try_from(length) else {
        return Ok(Some("a negative length stops it".to_owned()));
    };
    if length > limit {
        return Ok(Some(format!("a length of {length} stops it")));
    }
    if length == 0 || 12 + length as u64 >= rest {
        return Ok(None);
    }
    let mut end = [0];
    file.read_exact_at(&mut end, offset + 12 + length as u64)?;
    Ok((end == *b"B").then(|| "a wrong checksum stops it".to_owned()))
}

fn check_snapshots(directory: &Directory, problems: &mut Vec<Problem>) {
    // The newest that can be read is the one that counts.
    for snapshot in directory.snapshots.iter().rev() {
        if let Ok(loaded) = snapshot_reader::load(snapshot, false) {
            if !loaded.lost_acls.is_empty() {
                let what = format!(
                    "its nodes name ACLs that it lacks ({:?}), which may stop a replay",
                    loaded.lost_acls
                );
                problems.push(Problem::of(&snapshot.path, what));
            }
            break;
        }
    }
}
