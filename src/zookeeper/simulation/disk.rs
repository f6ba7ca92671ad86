//! A disk that keeps for certain only what was fsynced: a power cut leaves any part of the rest, torn at
//! sectors; and it fails when it is told to.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use crate::zookeeper::storage::{Disk, DiskFile, FileSystem};

const SECTOR: usize = 512;

/// The files of one folder, by name.
pub(super) type Image = BTreeMap<String, Vec<u8>>;

/// What was asked of the disk. Files have numbers, since a name can be given twice.
#[derive(Debug, Clone)]
enum Op {
    Create { name: String, file: usize },
    Write { file: usize, offset: usize, bytes: Vec<u8> },
    SetLength { file: usize, length: usize },
    SyncFile { file: usize },
    Rename { from: String, to: String },
    SyncNames,
}

/// Which call on a log fails next, and with which of the system's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// `fdatasync`.
    Sync(i32),
    /// `write`, of which half is done.
    Write(i32),
}

#[derive(Debug, Default)]
struct Inner {
    /// The folder behind all calls but those in `ops`.
    folder: Folder,
    ops: Vec<Op>,
    files: usize,
    failure: Option<Failure>,
    short_writes: bool,
    lies: bool,
}

/// Passes everything on to a folder in memory, and remembers it.
#[derive(Debug, Default, Clone)]
pub(super) struct SimulatedDisk(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct SimulatedFile {
    number: usize,
    is_log: bool,
    real: Box<dyn DiskFile>,
    disk: SimulatedDisk,
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

impl SimulatedDisk {
    /// From now on it counts; `base` is durable.
    pub(super) fn begin(&self, base: &Image) {
        let mut inner = self.0.lock();
        inner.folder = Folder { base: base.clone(), ..Folder::default() };
        inner.ops.clear();
    }

    /// How much was asked of it since the last call of `pass`.
    pub(super) fn position(&self) -> usize {
        self.0.lock().ops.len()
    }

    /// No power cut comes before what was asked of it so far.
    pub(super) fn pass(&self) {
        let inner = &mut *self.0.lock();
        for op in inner.ops.drain(..) {
            inner.folder.take(&op);
        }
    }

    /// The next call of that kind on a log fails.
    pub(super) fn fail(&self, failure: Failure) {
        self.0.lock().failure = Some(failure);
    }

    /// Whether writes take less than they are given, now and then.
    pub(super) fn set_short_writes(&self, short: bool) {
        self.0.lock().short_writes = short;
    }

    /// It says that it has synced, and hasn't.
    pub(super) fn lie(&self) {
        self.0.lock().lies = true;
    }

    /// Whether a file of this name came to be by a rename.
    pub(super) fn was_renamed_to(&self, wanted: &str) -> bool {
        self.0.lock().ops.iter().any(|op| matches!(op, Op::Rename { to, .. } if to == wanted))
    }

    /// The folder as the running process sees it.
    pub(super) fn logical(&self) -> Image {
        let inner = self.0.lock();
        let mut folder = inner.folder.clone();
        for op in &inner.ops {
            folder.take(op);
        }
        folder.sync_names();
        for file in folder.files.values_mut() {
            file.sync();
        }
        folder.image()
    }

    /// What a power cut leaves that comes right behind the first `upto` calls.
    pub(super) fn power_cut(&self, upto: usize, draw: &mut StdRng) -> Image {
        let inner = self.0.lock();
        let mut folder = inner.folder.clone();
        for op in &inner.ops[..upto] {
            folder.take(op);
        }
        // Names become durable in their order, as in a journal.
        let kept = draw.random_range(0..=folder.pending_names.len());
        folder.pending_names.truncate(kept);
        folder.sync_names();
        for file in folder.files.values_mut() {
            file.tear(draw);
        }
        folder.image()
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let real = FileSystem.create(path)?;
        let mut inner = self.0.lock();
        let number = inner.files;
        inner.files += 1;
        let name = name(path);
        let is_log = name.starts_with("log.");
        inner.ops.push(Op::Create { name, file: number });
        drop(inner);
        Ok(Box::new(SimulatedFile { number, is_log, real, disk: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileSystem.rename(from, to)?;
        let ops = &mut self.0.lock().ops;
        ops.push(Op::Rename { from: name(from), to: name(to) });
        ops.push(Op::SyncNames);
        Ok(())
    }

    fn sync_parent(&self, _path: &Path) -> io::Result<()> {
        self.0.lock().ops.push(Op::SyncNames);
        Ok(())
    }
}

impl SimulatedFile {
    fn fails(&self, inner: &mut Inner, wanted: impl Fn(Failure) -> Option<i32>) -> Option<i32> {
        let error = inner.failure.and_then(wanted).filter(|_| self.is_log)?;
        inner.failure = None;
        Some(error)
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.0.lock();
        let failed = self.fails(&mut inner, |failure| match failure {
            Failure::Write(error) => Some(error),
            Failure::Sync(_) => None,
        });
        let short = failed.is_some() || (inner.short_writes && inner.ops.len().is_multiple_of(3));
        let length = if short { bytes.len().div_ceil(2) } else { bytes.len() };
        let written = self.real.write_at(&bytes[..length], offset)?;
        let offset = usize::try_from(offset).unwrap();
        let bytes = bytes[..written].to_vec();
        inner.ops.push(Op::Write { file: self.number, offset, bytes });
        match failed {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => Ok(written),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.real.set_len(length)?;
        let length = usize::try_from(length).unwrap();
        self.disk.0.lock().ops.push(Op::SetLength { file: self.number, length });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.0.lock();
        let failed = self.fails(&mut inner, |failure| match failure {
            Failure::Sync(error) => Some(error),
            Failure::Write(_) => None,
        });
        if let Some(error) = failed {
            return Err(io::Error::from_raw_os_error(error));
        }
        if !inner.lies {
            inner.ops.push(Op::SyncFile { file: self.number });
        }
        Ok(())
    }
}

/// A file as it was made: what is durable of it, and what is not.
#[derive(Debug, Default, Clone)]
struct FileState {
    durable: Vec<u8>,
    pending: Vec<Op>,
}

impl FileState {
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[offset..end].copy_from_slice(bytes);
    }

    fn sync(&mut self) {
        for op in std::mem::take(&mut self.pending) {
            match op {
                Op::Write { offset, bytes, .. } => self.put(offset, &bytes),
                Op::SetLength { length, .. } => self.durable.resize(length, 0),
                _ => {}
            }
        }
    }

    /// Of what is pending, some is there, some isn't, and some is there in part.
    fn tear(&mut self, draw: &mut StdRng) {
        for op in std::mem::take(&mut self.pending) {
            match op {
                Op::Write { offset, bytes, .. } => match draw.random_range(0..3) {
                    0 => {}
                    1 => self.put(offset, &bytes),
                    _ => {
                        let mut at = 0;
                        while at < bytes.len() {
                            let end = (at + SECTOR - (offset + at) % SECTOR).min(bytes.len());
                            if draw.random() {
                                self.put(offset + at, &bytes[at..end]);
                            }
                            at = end;
                        }
                    }
                },
                Op::SetLength { length, .. } if draw.random() => self.durable.resize(length, 0),
                _ => {}
            }
        }
    }
}

/// A folder behind some calls.
#[derive(Debug, Default, Clone)]
struct Folder {
    base: Image,
    files: BTreeMap<usize, FileState>,
    names: BTreeMap<String, usize>,
    pending_names: Vec<Op>,
}

impl Folder {
    fn take(&mut self, op: &Op) {
        match op {
            Op::Create { file, .. } => {
                self.files.insert(*file, FileState::default());
                self.pending_names.push(op.clone());
            }
            Op::Write { file, .. } | Op::SetLength { file, .. } => {
                self.files.entry(*file).or_default().pending.push(op.clone());
            }
            Op::SyncFile { file } => self.files.entry(*file).or_default().sync(),
            Op::Rename { .. } => self.pending_names.push(op.clone()),
            Op::SyncNames => self.sync_names(),
        }
    }

    fn sync_names(&mut self) {
        for op in std::mem::take(&mut self.pending_names) {
            match op {
                Op::Create { name, file } => {
                    self.base.remove(&name);
                    self.names.insert(name, file);
                }
                Op::Rename { from, to } => {
                    if let Some(file) = self.names.remove(&from) {
                        self.base.remove(&to);
                        self.names.insert(to, file);
                    }
                }
                _ => {}
            }
        }
    }

    fn image(mut self) -> Image {
        for (name, file) in self.names {
            self.base.insert(name, self.files.remove(&file).unwrap_or_default().durable);
        }
        self.base
    }
}
