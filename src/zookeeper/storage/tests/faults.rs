//! Disks that fail under the log and under snapshots.

use super::disk::{Fault, Op, TestDisk};
use super::*;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn start_on(directory: &Path, disk: &TestDisk) -> Server {
    let (storage, database) = Storage::open_on(&config(directory), Arc::new(disk.clone())).unwrap();
    Server { storage, database }
}

fn error_txn(zxid: i64) -> (TxnHeader, Txn) {
    (TxnHeader { client_id: 1, cxid: 0, zxid, time: 0 }, Txn::Error { error: -1 })
}

/// Logs one transaction; the error, if there is one.
fn log(server: &mut Server, zxid: i64) -> Result<(), StorageError> {
    let (header, txn) = error_txn(zxid);
    server.storage.append(&header, &txn, None)?;
    server.storage.commit()
}

#[test]
fn after_any_fault_under_the_log_nothing_more_is_taken() {
    let ops = [Op::Create, Op::Write, Op::SetLen, Op::Sync, Op::SyncParent];
    for op in ops {
        for errno in [EIO, ENOSPC] {
            // In the first batch of a log, and in a later one.
            for acknowledged in [0, 3] {
                for written in [0, 1, 20, 47] {
                    let (directory, disk) = (folder(), TestDisk::default());
                    let mut server = start_on(directory.path(), &disk);
                    for zxid in 1..=acknowledged {
                        log(&mut server, zxid).unwrap();
                    }
                    disk.fail(Some(Fault { op, errno, written }));
                    let mut zxid = acknowledged + 1;
                    let failed = loop {
                        // Not every batch makes a file or makes one longer.
                        match log(&mut server, zxid) {
                            Err(error) => break error,
                            Ok(()) if zxid > 300 => panic!("{op:?} never failed"),
                            Ok(()) => zxid += 1,
                        }
                        if acknowledged > 0 && matches!(op, Op::Create | Op::SyncParent) {
                            server.storage.roll().unwrap();
                        }
                    };
                    let line = failed.to_string();
                    assert!(line.contains("version-2/log.") && !line.contains('\n'), "{line}");
                    assert_eq!(failed.is_full_disk(), errno == ENOSPC, "{line}");
                    // The disk is well again, but what is on it nobody knows.
                    disk.fail(None);
                    for _ in 0..2 {
                        let refused = log(&mut server, zxid + 1).unwrap_err();
                        assert!(matches!(refused, StorageError::Failed), "{refused}");
                        assert!(matches!(server.storage.commit(), Err(StorageError::Failed)));
                    }
                    assert!(matches!(server.storage.close(), Err(StorageError::Failed)));
                    drop(server);
                    // What was acknowledged is there, and of the rest at most what was being written.
                    let server = Server::start(directory.path()).unwrap();
                    let last = server.database.tree.last_zxid();
                    assert!((zxid - 1..=zxid).contains(&last), "{op:?} {last} of {zxid}");
                }
            }
        }
    }
}

#[test]
fn a_short_write_is_gone_on_with() {
    // A disk that takes 20 bytes at a time and never fails.
    #[derive(Debug)]
    struct Slow;
    #[derive(Debug)]
    struct SlowFile(Box<dyn DiskFile>);
    impl Disk for Slow {
        fn create(&self, path: &Path) -> std::io::Result<Box<dyn DiskFile>> {
            Ok(Box::new(SlowFile(FileSystem.create(path)?)))
        }
        fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
            FileSystem.rename(from, to)
        }
        fn sync_parent(&self, path: &Path) -> std::io::Result<()> {
            FileSystem.sync_parent(path)
        }
    }
    impl DiskFile for SlowFile {
        fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<usize> {
            self.0.write_at(&bytes[..bytes.len().min(20)], offset)
        }
        fn set_len(&self, length: u64) -> std::io::Result<()> {
            self.0.set_len(length)
        }
        fn sync_data(&self) -> std::io::Result<()> {
            self.0.sync_data()
        }
    }
    let directory = folder();
    let (storage, database) = Storage::open_on(&config(directory.path()), Arc::new(Slow)).unwrap();
    let mut server = Server { storage, database };
    server.create("/a");
    create_snapshot_and_restart(server, directory.path());
}

/// Makes `/b`, takes a snapshot at that, and finds all in it again after a start.
fn create_snapshot_and_restart(mut server: Server, directory: &Path) {
    server.create("/b");
    server.snapshot();
    let model = server.model();
    drop(server);
    let server = Server::start(directory).unwrap();
    assert_eq!(server.storage.recovery().snapshot_zxid, Some(2));
    assert_eq!(model.difference(&server.model()), None);
}

#[test]
fn a_full_disk_under_a_snapshot_loses_nothing_and_the_next_one_succeeds() {
    for op in [Op::Create, Op::Write, Op::Sync, Op::Rename] {
        for written in [0, 30] {
            let (directory, disk) = (folder(), TestDisk::default());
            let mut server = start_on(directory.path(), &disk);
            server.create("/a");
            server.storage.roll().unwrap();
            disk.fail(Some(Fault { op, errno: ENOSPC, written }));
            let failed = server.storage.snapshots.write_now(&mut server.database).unwrap_err();
            assert!(failed.is_full_disk(), "{failed}");
            disk.fail(None);
            let left = names(directory.path());
            let whole = ["log.1", "snapshot.0"].map(str::to_owned);
            assert!(op == Op::Rename || left == whole, "nothing half is left: {left:?}");
            // The log goes on, and so does the next snapshot.
            create_snapshot_and_restart(server, directory.path());
            assert_eq!(names(directory.path()), ["log.1", "log.2", "snapshot.0", "snapshot.2"]);
        }
    }
}

#[test]
fn a_marker_that_cannot_be_written_stops_nothing() {
    let (directory, disk) = (folder(), TestDisk::default());
    let mut server = start_on(directory.path(), &disk);
    // No file can be renamed to where a folder stands.
    let marker = directory.path().join("doorkeeper.last");
    fs::remove_file(&marker).unwrap();
    fs::create_dir(&marker).unwrap();
    server.create("/a");
    assert!(server.storage.close().is_err());
    drop(server);
    fs::remove_dir(&marker).unwrap();
    let server = Server::start(directory.path()).unwrap();
    assert!(server.database.tree.contains("/a"));
    assert!(server.storage.recovery().handed_over, "it keeps more than it has to");
}
