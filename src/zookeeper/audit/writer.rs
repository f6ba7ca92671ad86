//! The audit log's file: lines go into a bounded buffer, and a thread of its own writes them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use metrics::Counter;
use parking_lot::{Condvar, Mutex};

use crate::limits;

#[derive(Debug, Default)]
struct Buffer {
    lines: Vec<u8>,
    lost: u64,
    stopped: bool,
}

#[derive(Debug, Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    wake: Condvar,
}

/// Where lines are written.
#[derive(Debug)]
enum Output {
    StandardError,
    File { path: PathBuf, file: File },
}

impl Output {
    fn open(path: Option<&Path>) -> io::Result<Output> {
        let Some(path) = path else { return Ok(Output::StandardError) };
        Ok(Output::File { path: path.to_owned(), file: append(path)? })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Output::StandardError => io::stderr().lock().write_all(lines),
            Output::File { path, file } => {
                // Whoever rotates logs has moved the file away: a new one is begun.
                let (present, own) = (std::fs::metadata(&*path), file.metadata()?);
                if !present.is_ok_and(|it| (it.dev(), it.ino()) == (own.dev(), own.ino())) {
                    *file = append(path)?;
                }
                file.write_all(lines)
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// Takes lines without ever waiting for a disk.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    dropped: Counter,
}

impl Writer {
    /// A writer to `path`, or to standard error. `dropped` counts the lines that found no room;
    /// `lost` makes a line of how many they were.
    pub(super) fn start(
        path: Option<&Path>,
        dropped: Counter,
        lost: fn(u64) -> String,
    ) -> io::Result<Writer> {
        let mut output = Output::open(path)?;
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("zookeeper-audit".to_owned())
            .spawn(move || run(&for_thread, &mut output, lost))?;
        Ok(Writer { shared, thread: Mutex::new(Some(thread)), dropped })
    }

    /// Hands over a line. Where the buffer is full, it is counted and dropped.
    pub(super) fn push(&self, line: &str) {
        let mut buffer = self.shared.buffer.lock();
        if buffer.lines.len() + line.len() > limits::AUDIT_BYTES_MAX {
            buffer.lost += 1;
            self.dropped.increment(1);
        } else {
            buffer.lines.extend_from_slice(line.as_bytes());
        }
        drop(buffer);
        self.shared.wake.notify_one();
    }

    /// Writes what is left, and ends the thread.
    pub(super) fn stop(&self) {
        self.shared.buffer.lock().stopped = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, output: &mut Output, lost: fn(u64) -> String) {
    let mut complained: Option<Instant> = None;
    loop {
        let Buffer { mut lines, lost: count, stopped } = {
            let mut buffer = shared.buffer.lock();
            while buffer.lines.is_empty() && buffer.lost == 0 && !buffer.stopped {
                shared.wake.wait(&mut buffer);
            }
            let stopped = buffer.stopped;
            Buffer {
                stopped,
                ..std::mem::replace(&mut *buffer, Buffer { stopped, ..Buffer::default() })
            }
        };
        if count > 0 {
            lines.extend_from_slice(lost(count).as_bytes());
        }
        if let Err(error) = output.write(&lines)
            && complained.is_none_or(|at| at.elapsed() > limits::AUDIT_COMPLAINT_INTERVAL)
        {
            complained = Some(Instant::now());
            tracing::error!(%error, "the audit log can't be written: events are lost");
        }
        if stopped {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(count: u64) -> String {
        format!("lost {count}\n")
    }

    #[test]
    fn lines_arrive_in_order_and_all_of_them_by_the_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let writer = Writer::start(Some(&path), Counter::noop(), lost).unwrap();
        let expected: String = (0..1_000).map(|i| format!("{i}\n")).collect::<Vec<_>>().concat();
        for line in expected.lines() {
            writer.push(&format!("{line}\n"));
        }
        writer.stop();
        writer.stop();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        let writer = Writer::start(Some(&path), Counter::noop(), lost).unwrap();
        writer.push("more\n");
        writer.stop();
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("999\nmore\n"), "appended");
    }

    #[test]
    fn a_disk_that_does_not_follow_costs_a_bounded_amount_and_is_told() {
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            shared: Arc::clone(&shared),
            thread: Mutex::new(None),
            dropped: Counter::noop(),
        };
        let line = "x".repeat(999) + "\n";
        for _ in 0..2 * limits::AUDIT_BYTES_MAX / line.len() {
            writer.push(&line);
        }
        {
            let buffer = shared.buffer.lock();
            assert!(buffer.lines.len() <= limits::AUDIT_BYTES_MAX && buffer.lost > 1_000);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        writer.stop();
        run(&shared, &mut Output::open(Some(&path)).unwrap(), lost);
        let text = std::fs::read_to_string(&path).unwrap();
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("lost ") && last != "lost 0", "{last}");
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let mut output = Output::open(Some(&path)).unwrap();
        output.write(b"1\n").unwrap();
        crate::durable_file::rename(&path, &dir.path().join("audit.log.1")).unwrap();
        output.write(b"2\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2\n");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none/audit.log");
        assert!(Writer::start(Some(&path), Counter::noop(), lost).is_err());
    }
}
