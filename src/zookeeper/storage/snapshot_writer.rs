//! A snapshot, written in the background: ZooKeeper's `FileSnap` as of 3.9, of one moment.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::RwLock;
use tracing::warn;

use super::adler32::Adler32;
use super::directory::{Directories, Packing};
use super::disk::{Disk, DiskFile, write_all_at};
use super::error::StorageError;
use super::packing::Packer;
use super::snapshot_reader::{END, MAGIC};
use crate::durable_file;
use crate::zookeeper::acl;
use crate::zookeeper::database::{Database, DatabaseSnapshot};
use crate::zookeeper::jute::Writer;
use crate::zookeeper::tree::snapshot::Step;
use crate::zookeeper::txn::record::DIGEST_VERSION;

/// Written at once.
const CHUNK: usize = 256 << 10;

/// Fsynced in between, so that the last fsync is not one long burst that the log has to wait for.
const SYNC_EVERY: u64 = 8 << 20;

/// Writes snapshots and removes old ones. Cheap to clone; for any thread that may block.
#[derive(Debug, Clone)]
pub struct SnapshotWriter {
    directories: Arc<Directories>,
    disk: Arc<dyn Disk>,
    packing: Packing,
    /// Whether it ends with its zxid, as since ZooKeeper 3.9.
    with_zxid: bool,
}

/// A snapshot that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The last transaction in it.
    pub zxid: i64,
    /// Bytes.
    pub bytes: u64,
    /// How long it took.
    pub duration: Duration,
    /// The longest time that the database was locked for it at once.
    pub longest_lock: Hold,
}

/// How long something was held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hold {
    /// By the clock: with the time in which others had the processor.
    pub time: Duration,
    /// What the thread itself did meanwhile.
    pub cpu: Duration,
}

impl Hold {
    /// The longer of the two, by each measure.
    pub fn max(self, other: Hold) -> Hold {
        Hold { time: self.time.max(other.time), cpu: self.cpu.max(other.cpu) }
    }
}

/// Measures a hold, from now on.
#[derive(Debug)]
pub struct HoldTimer {
    began: Instant,
    cpu: Duration,
}

impl HoldTimer {
    /// To be called when the lock is there.
    pub fn start() -> Self {
        HoldTimer { began: Instant::now(), cpu: thread_cpu() }
    }

    /// To be called when the lock is given back.
    pub fn stop(self) -> Hold {
        Hold { time: self.began.elapsed(), cpu: thread_cpu().saturating_sub(self.cpu) }
    }
}

/// The processor's time that this thread has had.
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

impl SnapshotWriter {
    pub(super) fn new(
        directories: Arc<Directories>,
        disk: Arc<dyn Disk>,
        packing: Packing,
        with_zxid: bool,
    ) -> Self {
        SnapshotWriter { directories, disk, packing, with_zxid }
    }

    /// Writes a snapshot while the database goes on changing. The database is locked for reading, a
    /// fraction of a millisecond at a time.
    pub fn write(
        &self,
        database: &RwLock<Database>,
        snapshot: &DatabaseSnapshot,
    ) -> Result<SnapshotInfo, StorageError> {
        let mut longest_lock = Hold::default();
        let info = self.write_steps(snapshot, |out| {
            let database = database.read();
            let hold = HoldTimer::start();
            let step = snapshot.tree.step(&database.tree, out);
            drop(database);
            longest_lock = longest_lock.max(hold.stop());
            step
        })?;
        Ok(SnapshotInfo { longest_lock, ..info })
    }

    /// Writes a snapshot of a database that nobody else has yet.
    pub(super) fn write_now(&self, database: &mut Database) -> Result<(), StorageError> {
        let Some(snapshot) = database.begin_snapshot() else { return Ok(()) };
        self.write_steps(&snapshot, |out| snapshot.tree.step(&database.tree, out))?;
        Ok(())
    }

    fn write_steps(
        &self,
        snapshot: &DatabaseSnapshot,
        step: impl FnMut(&mut Vec<u8>) -> Step,
    ) -> Result<SnapshotInfo, StorageError> {
        let started = Instant::now();
        let zxid = snapshot.tree.zxid;
        let path = self.directories.snapshot_path(zxid, self.packing);
        let temporary = durable_file::temporary_path(&path)
            .map_err(StorageError::io(&path, "name the temporary of"))?;
        let written = Output::create(&*self.disk, &temporary, self.packing)
            .and_then(|output| write_file(output, snapshot, self.with_zxid, step));
        if written.is_err() {
            // Of no use, and perhaps what filled the disk.
            let _ = fs::remove_file(&temporary);
        }
        let bytes = written?;
        self.disk.rename(&temporary, &path).map_err(StorageError::io(&path, "rename to"))?;
        let longest_lock = Hold::default();
        Ok(SnapshotInfo { zxid, bytes, duration: started.elapsed(), longest_lock })
    }

    /// Removes all but the newest `retain` snapshots, and the logs that none of these needs. Returns
    /// how many files went. Unless there are that many whole ones, nothing goes.
    pub fn purge(&self, retain: usize) -> Result<usize, StorageError> {
        let snapshots = self.directories.list_snapshots()?;
        let whole = snapshots.iter().rev().filter(|snapshot| {
            snapshot.packing != Packing::Plain || ends_whole(&snapshot.path).unwrap_or(false)
        });
        let Some(oldest) = whole.take(retain.max(1)).last().map(|snapshot| snapshot.zxid) else {
            return Ok(0);
        };
        let logs = self.directories.list_logs()?;
        // The log that begins at or before a snapshot may go on behind it.
        let needed = logs.iter().rposition(|log| log.zxid <= oldest).unwrap_or(0);
        let old = snapshots.iter().filter(|snapshot| snapshot.zxid < oldest);
        let mut removed = 0;
        for file in old.chain(&logs[..needed]) {
            match fs::remove_file(&file.path) {
                Ok(()) => removed += 1,
                Err(error) => warn!("{} cannot be removed: {error}", file.path.display()),
            }
        }
        Ok(removed)
    }

    /// The file of a snapshot that this writes.
    pub fn path_of(&self, zxid: i64) -> PathBuf {
        self.directories.snapshot_path(zxid, self.packing)
    }

    /// The newest snapshot: its zxid, and when it was written.
    pub fn newest(&self) -> Option<(i64, SystemTime)> {
        let snapshots = self.directories.list_snapshots().ok()?;
        let newest = snapshots.last()?;
        Some((newest.zxid, fs::metadata(&newest.path).ok()?.modified().ok()?))
    }

    /// Bytes of all snapshots, and of all logs.
    pub fn sizes(&self) -> Result<(u64, u64), StorageError> {
        let sum = |files: Vec<super::directory::DataFile>| {
            files.iter().filter_map(|file| Some(fs::metadata(&file.path).ok()?.len())).sum()
        };
        Ok((sum(self.directories.list_snapshots()?), sum(self.directories.list_logs()?)))
    }
}

/// Whether a snapshot ends as one does: what ZooKeeper looks at, too, before it counts one.
fn ends_whole(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let Some(start) = file.metadata()?.len().checked_sub(5) else { return Ok(false) };
    let mut end = [0; 5];
    file.read_exact_at(&mut end, start)?;
    Ok(end == [0, 0, 0, 1, b'/'])
}

fn write_file(
    mut output: Output<'_>,
    snapshot: &DatabaseSnapshot,
    with_zxid: bool,
    mut step: impl FnMut(&mut Vec<u8>) -> Step,
) -> Result<u64, StorageError> {
    let out = &mut output.buffer;
    out.extend_from_slice(&MAGIC);
    out.write_int(2);
    out.write_long(-1);
    out.write_count(snapshot.sessions.len());
    for (session, timeout) in &snapshot.sessions {
        out.write_long(*session);
        out.write_int(*timeout);
    }
    out.write_count(snapshot.tree.acls.len());
    for (key, list) in &snapshot.tree.acls {
        out.write_long(*key);
        acl::write_list(list, out);
    }
    loop {
        let step = step(&mut output.buffer);
        match step {
            Step::More if output.buffer.len() < CHUNK => {}
            Step::More => output.flush()?,
            Step::Done => break,
            Step::Overflowed => {
                return Err(StorageError::SnapshotOverflow { zxid: snapshot.tree.zxid });
            }
        }
    }
    output.buffer.write_string(END);
    output.seal()?;
    let zxid = snapshot.tree.zxid;
    if snapshot.tree.digest_enabled {
        // Before the first transaction there is no digest: ZooKeeper writes zero.
        let digest = if zxid == 0 { 0 } else { snapshot.tree.digest.cast_signed() };
        output.buffer.write_long(zxid);
        output.buffer.write_int(DIGEST_VERSION);
        output.buffer.write_long(digest);
        output.seal()?;
    }
    if with_zxid {
        output.buffer.write_long(zxid);
        output.seal()?;
    }
    output.finish()
}

#[derive(Debug)]
struct Output<'a> {
    path: &'a Path,
    file: Box<dyn DiskFile>,
    packer: Packer,
    buffer: Vec<u8>,
    adler: Adler32,
    written: u64,
    synced: u64,
}

impl<'a> Output<'a> {
    fn create(
        disk: &dyn Disk,
        path: &'a Path,
        packing: Packing,
    ) -> Result<Output<'a>, StorageError> {
        let file = disk.create(path).map_err(StorageError::io(path, "create"))?;
        Ok(Output {
            path,
            file,
            packer: Packer::new(packing),
            buffer: Vec::with_capacity(2 * CHUNK),
            adler: Adler32::new(),
            written: 0,
            synced: 0,
        })
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        // The checksum is of what is packed.
        self.adler.update(&self.buffer);
        self.packer.pack(&mut self.buffer).map_err(StorageError::io(self.path, "pack"))?;
        self.write()
    }

    fn write(&mut self) -> Result<(), StorageError> {
        write_all_at(&*self.file, &self.buffer, self.written)
            .map_err(StorageError::io(self.path, "write"))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written - self.synced > SYNC_EVERY {
            self.file.sync_data().map_err(StorageError::io(self.path, "fdatasync"))?;
            self.synced = self.written;
        }
        Ok(())
    }

    fn seal(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        let checksum = i64::from(self.adler.value());
        self.buffer.write_long(checksum);
        self.buffer.write_string(END);
        Ok(())
    }

    fn finish(mut self) -> Result<u64, StorageError> {
        self.flush()?;
        let packer = std::mem::replace(&mut self.packer, Packer::Plain);
        self.buffer = packer.finish().map_err(StorageError::io(self.path, "pack"))?;
        self.write()?;
        self.file.sync_data().map_err(StorageError::io(self.path, "fdatasync"))?;
        Ok(self.written)
    }
}
