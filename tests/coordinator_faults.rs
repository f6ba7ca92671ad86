//! A coordinator on a disk that fails: what it acknowledges, when it gives up, and what it says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordinator_support;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

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
    let server = start(directory, &Switch::default()).await;
    let mut client = server.connect().await;
    assert!(client.exists("/n99").await);
}
