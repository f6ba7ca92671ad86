//! A coordinator on a disk that fails, or takes its time: what it acknowledges, when it gives up, and
//! what it says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use coordinator_support::*;
use doorkeeper::zookeeper::server::Coordinator;
use doorkeeper::zookeeper::storage::{Disk, DiskFile, FileSystem};
use tempfile::TempDir;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A disk that answers what it is told to from then on; 0 is nothing.
#[derive(Debug, Clone, Default)]
struct Switch {
    log: Arc<AtomicI32>,
    snapshots: Arc<AtomicI32>,
    sync_only: bool,
}

impl Switch {
    fn of(&self, path: &Path) -> Arc<AtomicI32> {
        let name = path.file_name().unwrap().to_string_lossy();
        Arc::clone(if name.contains("snapshot.") { &self.snapshots } else { &self.log })
    }
}

fn check(switch: &AtomicI32) -> io::Result<()> {
    match switch.load(Ordering::SeqCst) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

impl Disk for Switch {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let switch = self.of(path);
        Ok(Box::new(SwitchedFile {
            file: FileSystem.create(path)?,
            switch,
            sync_only: self.sync_only,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileSystem.rename(from, to)
    }

    fn sync_parent(&self, path: &Path) -> io::Result<()> {
        FileSystem.sync_parent(path)
    }
}

#[derive(Debug)]
struct SwitchedFile {
    file: Box<dyn DiskFile>,
    switch: Arc<AtomicI32>,
    sync_only: bool,
}

impl DiskFile for SwitchedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if !self.sync_only {
            check(&self.switch)?;
        }
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        check(&self.switch)?;
        self.file.sync_data()
    }
}

async fn start(directory: TempDir, disk: &Switch) -> Server {
    let mut config = config(directory.path());
    config.snap_count = 20;
    let coordinator = Coordinator::start_on(config, Arc::new(disk.clone())).await.unwrap();
    Server { coordinator, directory }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_ends_the_coordinator_with_one_line() {
    for (errno, sync_only) in [(EIO, true), (EIO, false), (ENOSPC, false), (ENOSPC, true)] {
        let disk = Switch { sync_only, ..Switch::default() };
        let server = start(TempDir::new().unwrap(), &disk).await;
        let mut client = server.connect().await;
        client.create("/before", 0).await;
        disk.log.store(errno, Ordering::SeqCst);
        client.send(CREATE, &open("/never", 0)).await;
        let failed = tokio::time::timeout(Duration::from_secs(30), server.coordinator.failed());
        let line = failed.await.unwrap();
        assert!(line.contains("version-2/log.") && !line.contains('\n'), "{line}");
        assert!(line.contains(&format!("os error {errno}")), "{line}");
        // The disk is well again, which changes nothing: nothing is acknowledged any more.
        disk.log.store(0, Ordering::SeqCst);
        client.send(CREATE, &open("/behind", 0)).await;
        client.is_quiet().await;
        server.coordinator.shutdown(Duration::from_millis(200)).await;
        let server = start(server.directory, &Switch::default()).await;
        let mut client = server.connect().await;
        assert!(client.exists("/before").await, "what was acknowledged is there");
        assert!(!client.exists("/behind").await);
    }
}

#[tokio::test]
async fn a_full_disk_under_snapshots_disturbs_no_client() {
    log();
    let disk = Switch::default();
    let server = start(TempDir::new().unwrap(), &disk).await;
    disk.snapshots.store(ENOSPC, Ordering::SeqCst);
    let mut client = server.connect().await;
    for number in 0..100 {
        client.create(&format!("/n{number}"), 0).await;
    }
    let directory = server.stop().await;
    let names: Vec<String> = std::fs::read_dir(directory.path().join("version-2"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let snapshots: Vec<&String> = names.iter().filter(|name| name.contains("snapshot")).collect();
    assert_eq!(snapshots, ["snapshot.0"], "no other could be written");
    let lines = lines_about(directory.path());
    let warnings = lines.iter().filter(|line| line.contains("no room for a snapshot"));
    assert!(warnings.clone().count() > 0, "{lines:?}");
    assert!(warnings.clone().all(|line| line.contains("WARN") && line.contains("retry=60s")));
    assert!(!lines.iter().any(|line| line.contains("ERROR")), "{lines:?}");
    let server = start(directory, &Switch::default()).await;
    let mut client = server.connect().await;
    assert!(client.exists("/n99").await);
}

/// Everything that is logged in this process.
fn log() -> Arc<Mutex<Vec<u8>>> {
    #[derive(Clone)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    Arc::clone(LOG.get_or_init(|| {
        let lines = Lines(Arc::default());
        let log = Arc::clone(&lines.0);
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).init();
        log
    }))
}

/// The lines of the log that are about this directory.
fn lines_about(directory: &Path) -> Vec<String> {
    let bytes = log().lock().unwrap().clone();
    let name = directory.display().to_string();
    let text = String::from_utf8_lossy(&bytes);
    text.lines().filter(|line| line.contains(&name)).map(str::to_owned).collect()
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    waiting: usize,
}

/// A disk on which no fsync of the log ends while its gate is closed.
#[derive(Debug, Clone, Default)]
struct GatedDisk(Arc<(Mutex<Gate>, Condvar)>);

impl GatedDisk {
    fn close(&self) {
        self.0.0.lock().unwrap().closed = true;
    }

    fn open(&self) {
        self.0.0.lock().unwrap().closed = false;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut gate = self.0.0.lock().unwrap();
        gate.waiting += 1;
        self.0.1.notify_all();
        while gate.closed {
            gate = self.0.1.wait(gate).unwrap();
        }
        gate.waiting -= 1;
    }

    /// Returns when an fsync waits.
    async fn is_waited_for(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.0.0.lock().unwrap().waiting == 0 {
            assert!(Instant::now() < deadline, "no fsync has begun");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A test that fails leaves nobody waiting.
impl Drop for GatedDisk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.open();
        }
    }
}

#[derive(Debug)]
struct GatedFile {
    file: Box<dyn DiskFile>,
    disk: Arc<(Mutex<Gate>, Condvar)>,
}

impl Disk for GatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = FileSystem.create(path)?;
        if path.file_name().unwrap().to_string_lossy().starts_with("log.") {
            return Ok(Box::new(GatedFile { file, disk: Arc::clone(&self.0) }));
        }
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileSystem.rename(from, to)
    }

    fn sync_parent(&self, path: &Path) -> io::Result<()> {
        FileSystem.sync_parent(path)
    }
}

impl DiskFile for GatedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        GatedDisk(Arc::clone(&self.disk)).pass();
        self.file.sync_data()
    }
}

#[tokio::test]
async fn other_sessions_read_while_a_write_waits_for_its_fsync() {
    let directory = TempDir::new().unwrap();
    let disk = GatedDisk::default();
    let config = config(directory.path());
    let coordinator = Coordinator::start_on(config, Arc::new(disk.clone())).await.unwrap();
    let server = Server { coordinator, directory };
    // Goes first, also where an assertion fails.
    let _opens = disk.clone();
    let (mut writer, mut reader) = (server.connect().await, server.connect().await);
    writer.create("/a", 0).await;
    reader.ask(GET_DATA, &watched("/a", true)).await;

    disk.close();
    let write = writer.send(SET_DATA, &set_data("/a", b"new", -1)).await;
    let read = writer.send(GET_DATA, &watched("/a", false)).await;
    disk.is_waited_for().await;
    // Nothing is durable yet: others are answered, as of before, and no watch fires.
    for _ in 0..3 {
        let (data, stat) = reader.ask(GET_DATA, &watched("/a", true)).await.data_and_stat();
        assert_eq!((data.as_deref(), stat.version), (Some(&b"x"[..]), 0));
        assert_eq!(reader.ask(GET_CHILDREN, &watched("/", false)).await.err, 0);
        reader.is_quiet().await;
    }
    // Whoever writes waits, and so does what he asks behind it.
    let mut nothing = [0; 1];
    let early = writer.stream.try_read(&mut nothing);
    assert_eq!(early.unwrap_err().kind(), io::ErrorKind::WouldBlock, "it was answered");

    disk.open();
    let written = writer.next().await.unwrap();
    assert_eq!((written.xid, written.stat().version), (write, 1));
    let found = writer.next().await.unwrap();
    assert_eq!((found.xid, found.data_and_stat().0.as_deref()), (read, Some(&b"new"[..])));
    assert_eq!(reader.event().await, (CHANGED, "/a".to_owned(), written.zxid));
    assert_eq!(reader.ask(GET_DATA, &watched("/a", false)).await.data_and_stat().1.version, 1);
    server.stop().await;
}
