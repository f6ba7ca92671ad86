//! A disk for tests: it fails when it is told to, and knows what a power cut would leave.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::disk::{Disk, DiskFile, FileSystem};

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Create,
    Write,
    SetLen,
    Sync,
    Rename,
    SyncParent,
}

/// The next operation of a kind that fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) op: Op,
    /// The system's number of the error.
    pub(super) errno: i32,
    /// For a write: bytes that are written before it.
    pub(super) written: usize,
}

/// What is on the disk of a file, and what is on its way there.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Pending>,
    /// Whether its name is durable.
    pub(super) named: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

/// The real file system with a journal, until a fault is set.
#[derive(Debug, Clone, Default)]
pub(super) struct TestDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    fault: Option<Fault>,
    /// After a write came back short, the error comes with the next one.
    short: bool,
    files: BTreeMap<PathBuf, Journal>,
}

impl TestDisk {
    pub(super) fn fail(&self, fault: Option<Fault>) {
        let mut inner = self.0.lock();
        inner.fault = fault;
        inner.short = false;
    }

    pub(super) fn journal(&self, path: &Path) -> Journal {
        self.0.lock().files[path].clone()
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().files.keys().cloned().collect()
    }

    fn check(&self, op: Op) -> io::Result<()> {
        match self.0.lock().fault {
            Some(fault) if fault.op == op => Err(io::Error::from_raw_os_error(fault.errno)),
            _ => Ok(()),
        }
    }
}

impl Disk for TestDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.check(Op::Create)?;
        let file = FileSystem.create(path)?;
        self.0.lock().files.insert(path.to_owned(), Journal::default());
        Ok(Box::new(TestFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Op::Rename)?;
        FileSystem.rename(from, to)?;
        let mut inner = self.0.lock();
        let mut journal = inner.files.remove(from).unwrap();
        journal.named = true;
        inner.files.insert(to.to_owned(), journal);
        Ok(())
    }

    fn sync_parent(&self, path: &Path) -> io::Result<()> {
        self.check(Op::SyncParent)?;
        FileSystem.sync_parent(path)?;
        let mut inner = self.0.lock();
        for (file, journal) in &mut inner.files {
            journal.named |= file.parent() == path.parent();
        }
        Ok(())
    }
}

#[derive(Debug)]
struct TestFile {
    disk: TestDisk,
    path: PathBuf,
    file: Box<dyn DiskFile>,
}

impl TestFile {
    fn pending(&self, pending: Pending) {
        self.disk.0.lock().files.get_mut(&self.path).unwrap().pending.push(pending);
    }
}

impl DiskFile for TestFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut bytes = bytes;
        {
            let mut inner = self.disk.0.lock();
            if let Some(fault) = inner.fault
                && fault.op == Op::Write
            {
                if inner.short || fault.written == 0 {
                    return Err(io::Error::from_raw_os_error(fault.errno));
                }
                inner.short = true;
                bytes = &bytes[..fault.written.min(bytes.len())];
            }
        }
        let written = self.file.write_at(bytes, offset)?;
        self.pending(Pending::Write(offset, bytes[..written].to_vec()));
        Ok(written)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.check(Op::SetLen)?;
        self.file.set_len(length)?;
        self.pending(Pending::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.check(Op::Sync)?;
        self.file.sync_data()?;
        let mut inner = self.disk.0.lock();
        let journal = inner.files.get_mut(&self.path).unwrap();
        for pending in std::mem::take(&mut journal.pending) {
            pending.apply(&mut journal.durable);
        }
        Ok(())
    }
}

impl Pending {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Pending::Write(offset, bytes) => put(content, *offset, bytes),
            Pending::Length(length) => content.resize(usize::try_from(*length).unwrap(), 0),
        }
    }

    fn len(&self) -> usize {
        match self {
            Pending::Write(_, bytes) => bytes.len(),
            Pending::Length(_) => 0,
        }
    }
}

fn put(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl Journal {
    /// How many bytes are on their way.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.iter().map(Pending::len).sum()
    }

    /// The file if the first `count` bytes that were on their way have arrived, in order.
    pub(super) fn after(&self, count: usize) -> Vec<u8> {
        let (mut content, mut left) = (self.durable.clone(), count);
        for pending in &self.pending {
            match pending {
                Pending::Write(offset, bytes) => {
                    let arrived = bytes.len().min(left);
                    put(&mut content, *offset, &bytes[..arrived]);
                    left -= arrived;
                }
                Pending::Length(_) => pending.apply(&mut content),
            }
            if left == 0 {
                break;
            }
        }
        content
    }

    /// The file if of the sectors that were on their way those have arrived that `arrives` says.
    pub(super) fn sectors(&self, mut arrives: impl FnMut() -> bool) -> Vec<u8> {
        const SECTOR: u64 = 64;
        let mut content = self.durable.clone();
        for pending in &self.pending {
            match pending {
                Pending::Length(_) => pending.apply(&mut content),
                Pending::Write(offset, bytes) => {
                    let mut at = *offset;
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let length = usize::try_from(SECTOR - at % SECTOR).unwrap();
                        let (sector, behind) = rest.split_at(length.min(rest.len()));
                        if arrives() {
                            put(&mut content, at, sector);
                        }
                        at += sector.len() as u64;
                        rest = behind;
                    }
                }
            }
        }
        content
    }
}

/// Writes a file that nothing but a test's image needs.
pub(super) fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
}
