//! Loading a data directory: the newest snapshot that is whole, then the log.
//!
//! What a crash leaves is normal: a torn record at the end of any log, since each start begins a new
//! one. What no crash leaves is damage, and stops the start: a gap in the zxids, or whole records so far
//! behind a torn one that it must have been durable once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::directory::{DataFile, Directories};
use super::error::StorageError;
use super::log_reader::{self, Entry, LogReader, Opened};
use super::snapshot_reader::{self, Loaded};
use crate::durable_file;
use crate::limits::LOG_BATCH_BYTES;
use crate::zookeeper::database::Database;
use crate::zookeeper::jute::Reader;
use crate::zookeeper::session::is_standalone_id;
use crate::zookeeper::txn::apply::{delete_orphans, replay};
use crate::zookeeper::txn::record::{self, DIGEST_VERSION, TxnDigest, TxnError};

/// What the start found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The zxid of the snapshot that was loaded, if there was one.
    pub snapshot_zxid: Option<i64>,
    /// The last transaction.
    pub last_zxid: i64,
    /// Transactions replayed from the log.
    pub replayed: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
    /// How long the snapshot took to load.
    pub snapshot_time: Duration,
    /// How long the transactions took.
    pub replay_time: Duration,
    /// Ephemerals deleted since their session was not in the session table.
    pub orphans: usize,
    /// Transactions after which the tree's digest was not the one in the log.
    pub digest_mismatches: u64,
    /// The highest session id seen, by its high byte (the id of the server that made it).
    pub highest_sessions: BTreeMap<u8, i64>,
    /// Whether the directory is that of an ensemble's member, taken over.
    pub member: bool,
    /// Whether somebody else, as ZooKeeper, wrote to the directory last.
    pub handed_over: bool,
    pub(super) snapshot_needed: bool,
    /// The last transaction in a log.
    pub(super) last_logged: Option<i64>,
    /// The newest log that holds a record.
    pub(super) newest_log: Option<i64>,
}

impl Recovery {
    pub(super) fn saw_session(&mut self, session: i64) {
        // The shift leaves one byte.
        let server = u8::try_from(session.cast_unsigned() >> 56).unwrap_or(0);
        let highest = self.highest_sessions.entry(server).or_insert(session);
        *highest = session.max(*highest);
    }

    /// The highest session id of a standalone server; 0 if none was seen.
    pub(super) fn highest_own_session(&self) -> i64 {
        self.highest_sessions
            .values()
            .copied()
            .filter(|id| is_standalone_id(*id))
            .max()
            .unwrap_or(0)
    }
}

/// What the directories hold, and what has to be done before anything is added. Nothing was changed.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) database: Database,
    pub(crate) recovery: Recovery,
    /// Torn ends of logs.
    pub(crate) cuts: Vec<Cut>,
}

/// How a directory is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadOptions {
    pub(crate) digest_enabled: bool,
    pub(crate) trust_empty_snapshot: bool,
}

/// Loads what the directories hold.
pub(crate) fn recover(
    directories: &Directories,
    config: ReadOptions,
) -> Result<Recovered, StorageError> {
    let logs = directories.list_logs()?;
    let begun = Instant::now();
    let (loaded, unusable) = load_newest(directories, config.digest_enabled)?;
    let mut recovery = Recovery { snapshot_time: begun.elapsed(), ..Recovery::default() };
    let begun = Instant::now();
    let mut fuzzy_until = None;
    let mut database = if let Some((zxid, loaded)) = loaded {
        recovery.snapshot_zxid = Some(zxid);
        fuzzy_until = check_snapshot_digest(zxid, &loaded, &mut recovery);
        loaded.database
    } else {
        // A first snapshot that was cut off holds nothing that counts.
        let lost = unusable.iter().any(|snapshot| snapshot.zxid > 0);
        if lost || (!logs.is_empty() && !config.trust_empty_snapshot) {
            return Err(StorageError::NoSnapshot { path: directories.snapshots.clone() });
        }
        recovery.snapshot_needed = true;
        Database::new(config.digest_enabled)
    };
    let mut run = Replay {
        database: &mut database,
        recovery: &mut recovery,
        unusable: &unusable,
        fuzzy_until,
        cuts: Vec::new(),
    };
    run.run(&logs)?;
    let cuts = run.cuts;
    recovery.replay_time = begun.elapsed();
    for session in database.sessions.keys().copied().chain(database.tree.ephemeral_owners()) {
        recovery.saw_session(session);
    }
    recovery.orphans = delete_orphans(&mut database);
    if recovery.orphans > 0 {
        // No transaction says so; without a snapshot the next reader of these logs would go on with
        // another tree.
        info!("{} ephemerals of sessions that are gone were deleted", recovery.orphans);
        recovery.snapshot_needed = true;
    }
    if recovery.digest_mismatches > 0 {
        warn!(
            "after {} transactions the tree differed from the digest in the log",
            recovery.digest_mismatches
        );
    }
    recovery.last_zxid = database.tree.last_zxid();
    info!(
        "{}: {} znodes as of 0x{:x}, {} transactions of them from the log",
        directories.snapshots.display(),
        database.tree.node_count(),
        recovery.last_zxid,
        recovery.replayed
    );
    Ok(Recovered { database, recovery, cuts })
}

type Newest = (Option<(i64, Loaded)>, Vec<DataFile>);

/// The newest snapshot that can be read, and those that are newer.
fn load_newest(directories: &Directories, digest_enabled: bool) -> Result<Newest, StorageError> {
    let mut unusable = Vec::new();
    for snapshot in directories.list_snapshots()?.into_iter().rev() {
        match snapshot_reader::load(&snapshot, digest_enabled) {
            Ok(loaded) => {
                for key in &loaded.lost_acls {
                    info!("{}: no ACL with key {key}", snapshot.path.display());
                }
                return Ok((Some((snapshot.zxid, loaded)), unusable));
            }
            Err(error) => {
                warn!("{} cannot be used: {error}", snapshot.path.display());
                unusable.push(snapshot);
            }
        }
    }
    Ok((None, unusable))
}

/// Compares the tree with the digest that its snapshot holds. ZooKeeper goes on working while it
/// writes: then the digest is that of a later zxid, which is returned, and means nothing before it.
fn check_snapshot_digest(zxid: i64, loaded: &Loaded, recovery: &mut Recovery) -> Option<i64> {
    let digest = loaded.digest.filter(|_| loaded.database.tree.digest_enabled())?;
    if digest.zxid > zxid {
        return Some(digest.zxid);
    }
    if digest.zxid == zxid
        && zxid > 0
        && digest.version == DIGEST_VERSION
        && digest.digest.cast_unsigned() != loaded.database.tree.digest()
    {
        recovery.digest_mismatches += 1;
    }
    None
}

struct Replay<'a> {
    database: &'a mut Database,
    recovery: &'a mut Recovery,
    unusable: &'a [DataFile],
    fuzzy_until: Option<i64>,
    cuts: Vec<Cut>,
}

/// The torn end of a log, to be cut off: ZooKeeper skips some such ends and stops at others. Not before
/// all logs were read: whoever has to find out what damaged a directory finds it untouched.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) path: PathBuf,
    /// Where.
    pub(crate) offset: u64,
    /// The last transaction before it.
    pub(crate) last: i64,
    /// Whether there are whole records behind.
    pub(crate) keep: bool,
}

impl Cut {
    /// Replaces the log by one that ends here; one without a record goes. The file itself is not
    /// edited: a hard link to it keeps what it held.
    pub(super) fn make(&self) -> Result<(), StorageError> {
        let Cut { path, offset, last, keep } = self;
        if *keep {
            // Written by one fsync that never ended, so nobody was told; kept all the same.
            let kept = keep_tail(path, *offset).map_err(StorageError::io(path, "copy"))?;
            warn!(
                "{} is torn at byte {offset}, behind 0x{last:x}: what follows is kept in {kept}",
                path.display()
            );
        } else {
            info!("{} is torn at byte {offset}, behind 0x{last:x}", path.display());
        }
        if *offset <= log_reader::FILE_HEADER.len() as u64 {
            // ZooKeeper would stop at a file without a header.
            return durable_file::remove(path).map_err(StorageError::io(path, "remove"));
        }
        copy_front(path, *offset).map_err(StorageError::io(path, "cut"))
    }
}

/// Replaces a file by its first `length` bytes.
pub(crate) fn copy_front(path: &Path, length: u64) -> io::Result<()> {
    let temporary = durable_file::temporary_path(path)?;
    let mut front = fs::File::create(&temporary)?;
    io::copy(&mut fs::File::open(path)?.take(length), &mut front)?;
    front.sync_all()?;
    durable_file::rename(&temporary, path)
}

impl Replay<'_> {
    fn run(&mut self, logs: &[DataFile]) -> Result<(), StorageError> {
        let from = self.database.tree.last_zxid();
        // The log that begins at or before the snapshot may go on behind it.
        let first = logs.iter().rposition(|log| log.zxid <= from).unwrap_or(0);
        let logs = &logs[first..];
        // Without a snapshot, as `trustEmptySnapshot` allows, the first log is the beginning.
        let mut anything_follows = self.recovery.snapshot_zxid.is_none();
        for (position, log) in logs.iter().enumerate() {
            let is_last = position + 1 == logs.len();
            self.replay_log(log, is_last, &mut anything_follows)?;
        }
        Ok(())
    }

    fn replay_log(
        &mut self,
        log: &DataFile,
        is_last: bool,
        anything_follows: &mut bool,
    ) -> Result<(), StorageError> {
        let path = &log.path;
        let mut reader = match LogReader::open(path).map_err(StorageError::io(path, "read"))? {
            Opened::Log(reader) => reader,
            Opened::Foreign => return Err(damaged(path, 0, "this is no transaction log")),
            Opened::Empty => return self.torn(path, 0, is_last),
        };
        let mut file_last = None;
        loop {
            match reader.next_entry().map_err(StorageError::io(path, "read"))? {
                Entry::Record { offset, payload } => {
                    let malformed = |error: TxnError| damaged(path, offset, &error.to_string());
                    let (header, _) = record::read_header(&mut Reader::new(payload))
                        .map_err(|error| malformed(TxnError::Header(error)))?;
                    self.recovery.saw_session(header.client_id);
                    let last = self.database.tree.last_zxid();
                    if file_last.is_some_and(|before| header.zxid <= before) {
                        let what = "the zxids go back; restore the file from a copy";
                        return Err(damaged(path, offset, what));
                    }
                    file_last = Some(header.zxid);
                    self.recovery.last_logged = file_last;
                    self.recovery.newest_log = Some(log.zxid);
                    if header.zxid <= last && !*anything_follows {
                        continue;
                    }
                    if !follows(last, header.zxid) && !*anything_follows {
                        return Err(self.gap(path, offset, last, header.zxid));
                    }
                    *anything_follows = false;
                    let bytes = (payload.len() + log_reader::RECORD_OVERHEAD) as u64;
                    let (header, txn, digest) = record::read_entry(payload).map_err(malformed)?;
                    replay(self.database, &header, &txn);
                    self.recovery.replayed += 1;
                    self.recovery.replayed_bytes += bytes;
                    self.compare(header.zxid, digest);
                }
                Entry::End { offset } => {
                    return self.end(path, offset, is_last);
                }
                Entry::Torn { offset } => {
                    return self.torn(path, offset, is_last);
                }
            }
        }
    }

    fn compare(&mut self, zxid: i64, digest: Option<TxnDigest>) {
        if self.fuzzy_until.is_some_and(|until| zxid < until) {
            return;
        }
        self.fuzzy_until = None;
        let tree = &self.database.tree;
        if tree.digest_enabled()
            && let Some(digest) = digest
            && digest.version == DIGEST_VERSION
            && digest.tree_digest.cast_unsigned() != tree.digest()
        {
            self.recovery.digest_mismatches += 1;
        }
    }

    fn gap(&self, path: &Path, offset: u64, last: i64, zxid: i64) -> StorageError {
        let mut what = format!(
            "transaction 0x{zxid:x} does not follow 0x{last:x}: those between are in no file; bring \
             the missing files back from a copy"
        );
        if !self.unusable.is_empty() {
            let names: Vec<String> =
                self.unusable.iter().map(|snapshot| snapshot.path.display().to_string()).collect();
            what.push_str(", or a whole copy of ");
            what.push_str(&names.join(" or "));
        }
        damaged(path, offset, &what)
    }

    /// A log that ends in zeros, or at the end of the file.
    fn end(&mut self, path: &Path, offset: u64, is_last: bool) -> Result<(), StorageError> {
        let zero = log_reader::all_zero(path, offset).map_err(StorageError::io(path, "read"))?;
        // Or a hole in what one fsync should have written. A log without a record is none, and the
        // next one may get its name.
        let recordless = offset <= log_reader::FILE_HEADER.len() as u64;
        if zero && !recordless { Ok(()) } else { self.torn(path, offset, is_last) }
    }

    /// A torn record ends its file. Of the last file it must be what a crash leaves; of another, the
    /// next one shows whether anything is missing.
    fn torn(&mut self, path: &Path, offset: u64, is_last: bool) -> Result<(), StorageError> {
        let last = self.database.tree.last_zxid();
        let find = |from, to| {
            log_reader::find_record(path, from, to, last).map_err(StorageError::io(path, "read"))
        };
        let batch_end = offset + LOG_BATCH_BYTES as u64;
        if is_last && let Some(behind) = find(batch_end, u64::MAX)? {
            let what = format!(
                "no whole record stands here, but one does at byte {behind}, too far behind for a \
                 crash to have left it; restore the file from a copy, or give up what follows \
                 0x{last:x} with `doorkeeper data repair`"
            );
            return Err(damaged(path, offset, &what));
        }
        let keep = find(offset + 1, batch_end)?.is_some();
        self.cuts.push(Cut { path: path.to_owned(), offset, last, keep });
        Ok(())
    }
}

/// Whether a transaction may come next: the next one, or one of a later leader's.
fn follows(last: i64, zxid: i64) -> bool {
    zxid == last + 1 || zxid >> 32 > last >> 32
}

fn damaged(path: &Path, offset: u64, what: &str) -> StorageError {
    StorageError::Damaged { path: path.to_owned(), offset, what: what.to_owned() }
}

/// Copies a log from `offset` on into a file beside it that nobody takes for a log.
fn keep_tail(path: &Path, offset: u64) -> io::Result<String> {
    use std::io::{Seek, SeekFrom};
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut tail = Vec::new();
    file.take(2 * LOG_BATCH_BYTES as u64).read_to_end(&mut tail)?;
    let used = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kept = path.with_file_name(format!("torn.{name}.{offset}"));
    durable_file::write(&kept, &tail[..used])?;
    Ok(kept.display().to_string())
}
