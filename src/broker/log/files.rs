//! Files of a log: handles that open late and close when idle, bounded reads, whole-file writes.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use rustix::buffer::spare_capacity;

use super::LogError;

/// A file that is opened when it is first needed, and closed after it was idle for a while, so
/// that old segments cost no file descriptor.
#[derive(Debug)]
pub(super) struct LazyFile {
    path: PathBuf,
    handle: RwLock<Option<Arc<File>>>,
    used: AtomicBool,
}

impl LazyFile {
    pub(super) fn new(path: PathBuf) -> LazyFile {
        LazyFile { path, handle: RwLock::new(None), used: AtomicBool::new(false) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file; made if it is not there.
    pub(super) fn open(&self) -> Result<Arc<File>, LogError> {
        self.open_with(true)
    }

    /// The open file of something that must exist: never made anew.
    pub(super) fn open_existing(&self) -> Result<Arc<File>, LogError> {
        self.open_with(false)
    }

    fn open_with(&self, create: bool) -> Result<Arc<File>, LogError> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(file) = self.handle.read().as_ref() {
            return Ok(Arc::clone(file));
        }
        let mut handle = self.handle.write();
        if let Some(file) = handle.as_ref() {
            return Ok(Arc::clone(file));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .open(&self.path)
            .map_err(|error| LogError::storage(&self.path, error))?;
        let file = Arc::new(file);
        *handle = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Closes the file until it is needed again.
    pub(super) fn close(&self) {
        *self.handle.write() = None;
    }

    /// Closes the file unless it was used since the last call.
    pub(super) fn close_if_idle(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            self.close();
        }
    }
}

/// A part of a file that does not change any more: read where its bytes are needed, sent from where
/// they are otherwise.
#[derive(Debug, Clone)]
pub struct FileSlice {
    file: Arc<File>,
    position: u64,
    length: usize,
}

impl FileSlice {
    /// `length` bytes from `position` on, which the file has.
    pub(crate) fn new(file: Arc<File>, position: u64, length: usize) -> FileSlice {
        FileSlice { file, position, length }
    }

    /// How many bytes are left of it.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The file, and where the slice begins in it.
    pub fn place(&self) -> (&File, u64) {
        (&self.file, self.position)
    }

    /// Leaves out the first `count` bytes: they are sent.
    pub fn advance(&mut self, count: usize) {
        let count = count.min(self.length);
        self.position += count as u64;
        self.length -= count;
    }

    /// Its first bytes, `most` at most.
    ///
    /// # Errors
    /// What reading fails with; `UnexpectedEof` where the file is shorter than it was.
    pub fn read(&self, most: usize) -> io::Result<Bytes> {
        let length = self.length.min(most);
        let bytes = read_at(&self.file, self.position, length)?;
        if bytes.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Bytes::from(bytes))
    }
}

/// Reads up to `length` bytes at `offset`: fewer only at the end of the file.
pub(super) fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = offset + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Writes two pieces one behind the other at `offset`, as a rule with one system call.
pub(super) fn write_at(file: &File, first: &[u8], second: &[u8], offset: u64) -> io::Result<()> {
    let total = first.len() + second.len();
    let mut done = 0;
    while done < total {
        let slices = [
            IoSlice::new(first.get(done..).unwrap_or_default()),
            IoSlice::new(second.get(done.saturating_sub(first.len())..).unwrap_or_default()),
        ];
        match rustix::io::pwritev(file, &slices, offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Replaces a small file as a whole: a reader finds the old or the new, never a half. With
/// `durable`, it survives a power cut too.
pub(super) fn replace(path: &Path, bytes: &[u8], durable: bool) -> Result<(), LogError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        if durable { file.sync_all() } else { Ok(()) }
    });
    written.map_err(|error| LogError::storage(&temporary, error))?;
    rename(&temporary, path)?;
    match path.parent() {
        Some(parent) if durable => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Renames within one file system, without waiting for the disk.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), LogError> {
    rustix::fs::rename(from, to).map_err(|error| LogError::storage(from, error.into()))
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), LogError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| LogError::storage(path, error))
}

/// Reads a small file whole, `None` if it is not there.
///
/// # Errors
/// Also when it is longer than `limit`.
pub(super) fn read_small(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, LogError> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::storage(path, error)),
    };
    if length > limit {
        let reason = format!("{length} bytes are more than the {limit} such a file can have");
        return Err(LogError::storage(path, io::Error::new(io::ErrorKind::InvalidData, reason)));
    }
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => Err(LogError::storage(path, error)),
    }
}
