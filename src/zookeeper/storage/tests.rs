//! Whole data directories: written, cut, changed, and loaded again.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::RwLock;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use super::*;
use crate::zookeeper::acl::open_acl_unsafe;
use crate::zookeeper::test_history::{Model, steps};
use crate::zookeeper::txn::apply::apply;
use crate::zookeeper::txn::record::CreateTxn;

mod crash;
mod disk;
mod faults;
mod fuzzy;
mod handover;

fn config(directory: &Path) -> StorageConfig {
    StorageConfig {
        data_dir: directory.to_owned(),
        data_log_dir: directory.to_owned(),
        // A short file: some tests change each of its bytes.
        pre_alloc_size: 64,
        force_sync: true,
        digest_enabled: true,
        trust_empty_snapshot: false,
        snap_count: 100_000,
        snap_size_limit: 0,
        snapshot_compression: SnapshotCompression::None,
        data_dir_autocreate: true,
        extended_types_enabled: true,
        take_over_member: false,
        txn_log_size_limit: 0,
        serialize_last_zxid: true,
    }
}

/// In memory where that can be had: thousands of starts need no disk.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

struct Server {
    storage: Storage,
    database: Database,
}

impl Server {
    fn start(directory: &Path) -> Result<Server, StorageError> {
        Server::start_with(&config(directory))
    }

    fn start_with(config: &StorageConfig) -> Result<Server, StorageError> {
        let (storage, database) = Storage::open(config)?;
        Ok(Server { storage, database })
    }

    fn run(&mut self, header: &TxnHeader, txn: &Txn) {
        apply(&mut self.database, header, txn, &mut Vec::new());
        self.storage.append(header, txn, Some(self.database.tree.digest())).unwrap();
        self.storage.commit().unwrap();
    }

    fn create(&mut self, path: &str) {
        let data = Some(Bytes::from_static(b"data"));
        let create =
            CreateTxn { path: path.to_owned(), data, acl: open_acl_unsafe(), parent_cversion: -1 };
        let zxid = self.database.tree.last_zxid() + 1;
        let header = TxnHeader { client_id: 1, cxid: 0, zxid, time: 1_000 };
        self.run(&header, &Txn::Create { create, ephemeral: false, with_stat: false });
    }

    fn snapshot(&mut self) {
        self.storage.roll().unwrap();
        self.storage.snapshots.write_now(&mut self.database).unwrap();
    }

    fn model(&self) -> Model {
        Model::of(&self.database)
    }
}

/// A directory with some history: a snapshot of zxid 0, and the models after each transaction.
fn history(count: usize, snapshot_at: Option<usize>) -> (TempDir, Vec<Model>) {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    let mut models = vec![Model::new()];
    let mut runner = TestRunner::deterministic();
    let steps = steps(count..count + 1).new_tree(&mut runner).unwrap().current();
    for (position, step) in steps.iter().enumerate() {
        let mut model = models.last().unwrap().clone();
        let (header, txn) = model.transaction(step);
        model.apply(&header, &txn);
        server.run(&header, &txn);
        models.push(model);
        if snapshot_at == Some(position) {
            server.snapshot();
        }
    }
    (directory, models)
}

fn version_2(directory: &Path) -> PathBuf {
    directory.join("version-2")
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(version_2(directory))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A copy of a directory's `version-2`, to be spoilt.
fn copy(directory: &Path) -> TempDir {
    let copy = folder();
    fs::create_dir(version_2(copy.path())).unwrap();
    for name in names(directory) {
        fs::copy(version_2(directory).join(&name), version_2(copy.path()).join(&name)).unwrap();
    }
    // Or each start would have to keep files as it finds them.
    fs::copy(directory.join("doorkeeper.last"), copy.path().join("doorkeeper.last")).unwrap();
    copy
}

#[test]
fn a_first_start_leaves_what_zookeeper_starts_on() {
    let directory = folder();
    fs::write(directory.path().join("initialize"), b"").unwrap();
    let mut server = Server::start(directory.path()).unwrap();
    assert_eq!(names(directory.path()), ["snapshot.0"]);
    assert!(!directory.path().join("initialize").exists());
    server.create("/a");
    server.create("/b");
    assert_eq!(names(directory.path()), ["log.1", "snapshot.0"]);
    let model = server.model();
    drop(server);
    let mut server = Server::start(directory.path()).unwrap();
    assert_eq!(model.difference(&server.model()), None);
    assert_eq!(server.storage.recovery().replayed, 2);
    assert_eq!(server.storage.recovery().digest_mismatches, 0);
    assert_eq!(server.storage.recovery().highest_sessions.get(&0), Some(&1));
    assert_eq!(names(directory.path()), ["log.1", "snapshot.0"], "a start alone writes nothing");
    server.create("/c");
    assert_eq!(names(directory.path()), ["log.1", "log.3", "snapshot.0"]);
}

#[test]
fn any_history_comes_back_through_log_and_snapshots() {
    for snapshot_at in [None, Some(0), Some(60), Some(119)] {
        let (directory, models) = history(120, snapshot_at);
        let mut server = Server::start(directory.path()).unwrap();
        assert_eq!(models[120].difference(&server.model()), None);
        assert_eq!(server.database.tree.digest(), models[120].digest());
        assert_eq!(server.storage.recovery().digest_mismatches, 0);
        server.snapshot();
        drop(server);
        let server = Server::start(directory.path()).unwrap();
        assert_eq!(server.storage.recovery().replayed, 0);
        assert_eq!(models[120].difference(&server.model()), None);
    }
}

#[test]
fn a_log_cut_anywhere_is_a_prefix_of_the_history() {
    let (directory, models) = history(12, None);
    let log = fs::read(version_2(directory.path()).join("log.1")).unwrap();
    let mut last = 0;
    for length in 0..=log.len() {
        let copy = copy(directory.path());
        fs::write(version_2(copy.path()).join("log.1"), &log[..length]).unwrap();
        let server = Server::start(copy.path()).unwrap();
        let zxid = server.database.tree.last_zxid();
        assert_eq!(models[usize::try_from(zxid).unwrap()].difference(&server.model()), None);
        assert!(zxid >= last, "at {length}: {zxid} after {last}");
        last = zxid;
        drop(server);
        if length % 5 != 0 {
            continue;
        }
        // What was cut off stays away, and the next start is no other.
        let mut server = Server::start(copy.path()).unwrap();
        assert_eq!(server.database.tree.last_zxid(), zxid);
        server.create("/after");
        drop(server);
        let server = Server::start(copy.path()).unwrap();
        assert!(server.database.tree.contains("/after"), "cut at {length}");
    }
    assert_eq!(last, 12);
}

#[test]
fn any_changed_byte_of_a_log_is_noticed() {
    let (directory, models) = history(8, None);
    let log = fs::read(version_2(directory.path()).join("log.1")).unwrap();
    for position in 0..log.len() {
        for flip in [0x01, 0xff] {
            let mut changed = log.clone();
            changed[position] ^= flip;
            let copy = copy(directory.path());
            fs::write(version_2(copy.path()).join("log.1"), &changed).unwrap();
            match Server::start(copy.path()) {
                Ok(server) => {
                    let zxid = usize::try_from(server.database.tree.last_zxid()).unwrap();
                    assert_eq!(models[zxid].difference(&server.model()), None);
                }
                Err(StorageError::Damaged { offset, .. }) => assert!(offset <= position as u64),
                Err(error) => panic!("{position}: {error}"),
            }
        }
    }
}

#[test]
fn a_snapshot_cut_or_changed_anywhere_is_not_taken() {
    let (directory, models) = history(30, Some(29));
    let path = version_2(directory.path()).join("snapshot.1e");
    let snapshot = fs::read(&path).unwrap();
    assert!(read_snapshot(&snapshot[..], 30, true).is_ok());
    for length in 0..snapshot.len() {
        // Two ends are ends of older versions: without the last zxid, and without the digest.
        let old = length == snapshot.len() - 21 || length == snapshot.len() - 54;
        assert_eq!(read_snapshot(&snapshot[..length], 30, true).is_ok(), old, "{length}");
    }
    for position in 0..snapshot.len() {
        let mut changed = snapshot.clone();
        changed[position] ^= 0x41;
        if let Ok(loaded) = read_snapshot(&changed[..], 30, true) {
            // The path behind a checksum means nothing.
            assert_eq!(models[30].difference(&Model::of(&loaded.database)), None);
        }
    }
    // The one before and the log take its place.
    fs::write(&path, &snapshot[..snapshot.len() - 60]).unwrap();
    let server = Server::start(directory.path()).unwrap();
    assert_eq!(server.storage.recovery().snapshot_zxid, Some(0));
    assert_eq!(models[30].difference(&server.model()), None);
}

fn damage(result: Result<Server, StorageError>) -> (u64, String) {
    match result.map(|server| server.database.tree.last_zxid()) {
        Err(StorageError::Damaged { offset, what, .. }) => (offset, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gap_stops_the_start() {
    let directory = folder();
    for name in ["/a", "/b", "/c"] {
        Server::start(directory.path()).unwrap().create(name);
    }
    fs::remove_file(version_2(directory.path()).join("log.2")).unwrap();
    let (offset, what) = damage(Server::start(directory.path()));
    assert_eq!(offset, 16);
    assert!(what.starts_with("transaction 0x3 does not follow 0x1"), "{what}");
}

#[test]
fn a_corrupt_snapshot_and_a_missing_log_are_a_gap() {
    let (directory, _) = history(30, Some(19));
    let snapshot = version_2(directory.path()).join("snapshot.14");
    fs::write(&snapshot, b"ZKSN").unwrap();
    fs::remove_file(version_2(directory.path()).join("log.1")).unwrap();
    let (_, what) = damage(Server::start(directory.path()));
    assert!(what.contains("snapshot.14"), "{what}");
}

#[test]
fn a_later_epoch_is_no_gap() {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    for zxid in [1 << 32 | 1, 1 << 32 | 2, 7 << 32 | 1] {
        let header = TxnHeader { client_id: 1, cxid: 0, zxid, time: 0 };
        server.run(&header, &Txn::Error { error: -1 });
    }
    drop(server);
    let server = Server::start(directory.path()).unwrap();
    assert_eq!(server.database.tree.last_zxid(), 7 << 32 | 1);
}

/// A log whose record at zxid 2 is torn, with `distance` bytes before the whole one of zxid 3.
fn torn_in_the_middle(distance: usize) -> TempDir {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    server.create("/a");
    let torn_at = usize::try_from(server.storage.log_bytes()).unwrap();
    server.create("/b");
    let next_at = usize::try_from(server.storage.log_bytes()).unwrap();
    server.create("/c");
    let end = usize::try_from(server.storage.log_bytes()).unwrap();
    drop(server);
    let path = version_2(directory.path()).join("log.1");
    let log = fs::read(&path).unwrap();
    let mut torn = log[..torn_at].to_vec();
    torn.extend_from_slice(&[0xff; 12]);
    torn.resize(torn_at + distance, 0);
    torn.extend_from_slice(&log[next_at..end]);
    torn.resize(torn.len() + 100, 0);
    fs::write(&path, torn).unwrap();
    directory
}

#[test]
fn whole_records_close_behind_a_torn_one_are_what_a_crash_leaves() {
    let directory = torn_in_the_middle(1_000);
    let server = Server::start(directory.path()).unwrap();
    assert!(server.database.tree.contains("/a"));
    assert!(!server.database.tree.contains("/c"));
    drop(server);
    let kept = names(directory.path()).into_iter().find(|name| name.starts_with("torn.log.1."));
    let kept = fs::read(version_2(directory.path()).join(kept.unwrap())).unwrap();
    assert!(kept.windows(2).any(|window| window == b"/c"));
    // ZooKeeper stops at a wrong checksum, so nothing of it stays in the log.
    let length = fs::metadata(version_2(directory.path()).join("log.1")).unwrap().len();
    assert!(length < 200, "{length}");
}

#[test]
fn whole_records_far_behind_a_torn_one_are_damage() {
    let directory = torn_in_the_middle(crate::limits::LOG_BATCH_BYTES + 20);
    let before = fs::read(version_2(directory.path()).join("log.1")).unwrap();
    let (offset, what) = damage(Server::start(directory.path()));
    assert!(what.contains("doorkeeper data repair"), "{what}");
    assert!(offset > 16 && before[usize::try_from(offset).unwrap()] == 0xff);
    assert!(fs::read(version_2(directory.path()).join("log.1")).unwrap() == before, "untouched");
}

#[test]
fn a_batch_never_outgrows_what_may_be_torn() {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    let data = Some(Bytes::from(vec![1; 1 << 20]));
    for zxid in 1..=6 {
        let txn = Txn::SetData { path: "/".to_owned(), data: data.clone(), version: 1 };
        let header = TxnHeader { client_id: 1, cxid: 0, zxid, time: 0 };
        server.storage.append(&header, &txn, None).unwrap();
        assert!(server.storage.pending_bytes() <= crate::limits::LOG_BATCH_BYTES);
    }
    let order = TxnHeader { client_id: 1, cxid: 0, zxid: 6, time: 0 };
    let again = server.storage.append(&order, &Txn::Error { error: 0 }, None);
    assert!(matches!(again, Err(StorageError::Order { zxid: 6, last: 6 })));
    server.storage.commit().unwrap();
    assert_eq!(server.storage.pending_bytes(), 0);
    drop(server);
    assert_eq!(Server::start(directory.path()).unwrap().database.tree.last_zxid(), 6);
}

#[test]
fn what_is_unknown_in_a_whole_record_is_damage() {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    server.create("/a");
    let length = server.storage.log_bytes();
    drop(server);
    let path = version_2(directory.path()).join("log.1");
    let mut log = fs::read(&path).unwrap();
    log.truncate(usize::try_from(length).unwrap());
    let mut payload = vec![0; 32];
    payload[19] = 2;
    payload[31] = 99;
    log.extend_from_slice(&u64::from(adler32::Adler32::of(&payload)).to_be_bytes());
    log.extend_from_slice(&32_u32.to_be_bytes());
    log.extend_from_slice(&payload);
    log.push(b'B');
    fs::write(&path, &log).unwrap();
    let (offset, what) = damage(Server::start(directory.path()));
    assert_eq!((offset, what.as_str()), (length, "unknown transaction type 99"));
    fs::write(&path, b"something else entirely").unwrap();
    assert_eq!(damage(Server::start(directory.path())).0, 0);
}

#[test]
fn logs_without_a_snapshot_are_refused_unless_trusted() {
    let (directory, models) = history(20, None);
    fs::remove_file(version_2(directory.path()).join("snapshot.0")).unwrap();
    assert!(matches!(Server::start(directory.path()), Err(StorageError::NoSnapshot { .. })));
    let trusting = StorageConfig { trust_empty_snapshot: true, ..config(directory.path()) };
    let server = Server::start_with(&trusting).unwrap();
    assert_eq!(models[20].difference(&server.model()), None);
    drop(server);
    assert!(names(directory.path()).contains(&"snapshot.14".to_owned()));
    Server::start(directory.path()).unwrap();
}

#[test]
fn unreadable_snapshots_without_logs_are_refused() {
    let (directory, _) = history(5, Some(4));
    for name in names(directory.path()) {
        let path = version_2(directory.path()).join(&name);
        if name.starts_with("log") {
            fs::remove_file(path).unwrap();
        } else {
            fs::write(path, b"").unwrap();
        }
    }
    assert!(matches!(Server::start(directory.path()), Err(StorageError::NoSnapshot { .. })));
    fs::remove_file(version_2(directory.path()).join("snapshot.5")).unwrap();
    // The first snapshot of all was cut off, and nothing was ever written.
    Server::start(directory.path()).unwrap();
}

#[test]
fn two_processes_exclude_each_other() {
    let directory = folder();
    let server = Server::start(directory.path()).unwrap();
    assert!(matches!(Server::start(directory.path()), Err(StorageError::Locked { .. })));
    drop(server);
    Server::start(directory.path()).unwrap();
}

#[test]
fn folders_that_are_mixed_up_are_refused() {
    let directory = folder();
    let logs = folder();
    let apart = |data: &Path, log: &Path| StorageConfig {
        data_dir: data.to_owned(),
        data_log_dir: log.to_owned(),
        ..config(data)
    };
    let mut server = Server::start_with(&apart(directory.path(), logs.path())).unwrap();
    server.create("/a");
    drop(server);
    assert_eq!(names(directory.path()), ["snapshot.0"]);
    assert_eq!(names(logs.path()), ["log.1"]);
    assert!(Server::start_with(&apart(directory.path(), logs.path())).is_ok());
    for swapped in [apart(logs.path(), directory.path()), apart(logs.path(), folder().path())] {
        let refused = Server::start_with(&swapped);
        assert!(matches!(refused, Err(StorageError::WrongDirectory { .. })));
    }
}

#[test]
fn orphans_are_gone_for_the_next_reader_too() {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    let create = CreateTxn {
        path: "/e".to_owned(),
        data: None,
        acl: open_acl_unsafe(),
        parent_cversion: -1,
    };
    let txn = Txn::Create { create, ephemeral: true, with_stat: false };
    server.run(&TxnHeader { client_id: 77, cxid: 0, zxid: 1, time: 0 }, &txn);
    drop(server);
    let mut server = Server::start(directory.path()).unwrap();
    assert_eq!(server.storage.recovery().orphans, 1);
    assert!(!server.database.tree.contains("/e"));
    server.create("/after");
    drop(server);
    let server = Server::start(directory.path()).unwrap();
    assert_eq!(server.storage.recovery().orphans, 0);
    assert_eq!(server.storage.recovery().digest_mismatches, 0);
    assert_eq!(server.storage.recovery().snapshot_zxid, Some(1));
}

#[test]
fn a_wrong_digest_is_counted() {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    server.create("/a");
    let header = TxnHeader { client_id: 1, cxid: 0, zxid: 2, time: 0 };
    server.storage.append(&header, &Txn::Error { error: 0 }, Some(1)).unwrap();
    server.storage.commit().unwrap();
    drop(server);
    let server = Server::start(directory.path()).unwrap();
    assert_eq!(server.storage.recovery().digest_mismatches, 1);
}

#[test]
fn purging_keeps_what_the_kept_snapshots_need() {
    let directory = folder();
    for name in ["/a", "/b", "/c", "/d", "/e"] {
        let mut server = Server::start(directory.path()).unwrap();
        server.create(name);
        server.create(&format!("{name}/x"));
        server.snapshot();
    }
    fs::write(version_2(directory.path()).join("snapshot.b"), b"cut off").unwrap();
    let server = Server::start(directory.path()).unwrap();
    assert_eq!(server.storage.snapshot_writer().purge(3).unwrap(), 5);
    assert_eq!(
        names(directory.path()),
        ["log.5", "log.7", "log.9", "snapshot.6", "snapshot.8", "snapshot.a", "snapshot.b"]
    );
    let model = server.model();
    drop(server);
    // Any of the kept ones will do.
    for newest in ["snapshot.a", "snapshot.8"] {
        fs::remove_file(version_2(directory.path()).join(newest)).unwrap();
        let server = Server::start(directory.path()).unwrap();
        assert_eq!(model.difference(&server.model()), None, "without {newest}");
    }
}

#[test]
fn snapshots_are_due_between_half_and_all_of_the_distance() {
    let directory = folder();
    let config = StorageConfig { snap_count: 10, ..config(directory.path()) };
    let mut server = Server::start_with(&config).unwrap();
    for round in 0..4 {
        let mut count = 0;
        while !server.storage.snapshot_due() {
            server.create(&format!("/{round}-{count}"));
            count += 1;
        }
        assert!((6..=11).contains(&count), "{count}");
        server.snapshot();
    }
}

#[test]
fn a_snapshot_written_while_writes_go_on_is_of_its_zxid() {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    for number in 0..2_000 {
        server.create(&format!("/n{number}"));
    }
    let then = server.model();
    let snapshot = server.database.begin_snapshot().unwrap();
    server.storage.roll().unwrap();
    let writer = server.storage.snapshot_writer();
    let Server { mut storage, database } = server;
    let database = RwLock::new(database);
    let info = std::thread::scope(|scope| {
        let written = scope.spawn(|| writer.write(&database, &snapshot).unwrap());
        for zxid in 2_001..2_400 {
            let path = format!("/n{}", (zxid * 7) % 2_000);
            let txn = Txn::SetData { path, data: None, version: 1 };
            let header = TxnHeader { client_id: 1, cxid: 0, zxid, time: 0 };
            let mut database = database.write();
            apply(&mut database, &header, &txn, &mut Vec::new());
            storage.append(&header, &txn, Some(database.tree.digest())).unwrap();
        }
        storage.commit().unwrap();
        written.join().unwrap()
    });
    assert_eq!(info.zxid, 2_000);
    let bytes = fs::read(version_2(directory.path()).join("snapshot.7d0")).unwrap();
    assert_eq!(bytes.len() as u64, info.bytes);
    let loaded = read_snapshot(&bytes[..], 2_000, true).unwrap();
    assert_eq!(then.difference(&Model::of(&loaded.database)), None);
    assert_eq!(loaded.digest.unwrap().digest.cast_unsigned(), loaded.database.tree.digest());
    let now = Model::of(&database.into_inner());
    drop(storage);
    assert_eq!(now.difference(&Server::start(directory.path()).unwrap().model()), None);
}

#[test]
fn packed_snapshots_load() {
    use std::io::Write;
    for packing in ["gz", "snappy"] {
        let (directory, models) = history(30, Some(29));
        let path = version_2(directory.path()).join("snapshot.1e");
        let plain = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let mut packed = Vec::new();
        if packing == "gz" {
            let mut encoder =
                flate2::write::GzEncoder::new(&mut packed, flate2::Compression::default());
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap();
        } else {
            packed.extend_from_slice(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
            for chunk in plain.chunks(100) {
                let chunk = snap::raw::Encoder::new().compress_vec(chunk).unwrap();
                packed.extend_from_slice(&u32::try_from(chunk.len()).unwrap().to_be_bytes());
                packed.extend_from_slice(&chunk);
            }
        }
        fs::write(path.with_extension(format!("1e.{packing}")), &packed).unwrap();
        let server = Server::start(directory.path()).unwrap();
        assert_eq!(server.storage.recovery().snapshot_zxid, Some(30), "{packing}");
        assert_eq!(models[30].difference(&server.model()), None);
    }
}

#[test]
fn after_a_failed_write_nothing_more_is_taken() {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    // No file can be made where a folder stands.
    let in_the_way = version_2(directory.path()).join("log.1");
    fs::create_dir(&in_the_way).unwrap();
    let header = TxnHeader { client_id: 1, cxid: 0, zxid: 1, time: 0 };
    let first = server.storage.append(&header, &Txn::Error { error: 0 }, None);
    assert!(matches!(first, Err(StorageError::Io { action: "create", .. })));
    fs::remove_dir(&in_the_way).unwrap();
    let header = TxnHeader { zxid: 2, ..header };
    let second = server.storage.append(&header, &Txn::Error { error: 0 }, None);
    assert!(matches!(second, Err(StorageError::Failed)));
    assert!(matches!(server.storage.commit(), Err(StorageError::Failed)));
}

#[test]
fn stray_names_are_not_read() {
    let (directory, models) = history(10, Some(4));
    for name in ["snapshot.99.tmp", "log.3.bak", "tmp.snapshot.50", "snapshot.xyz", "log."] {
        fs::write(version_2(directory.path()).join(name), b"stray").unwrap();
    }
    let server = Server::start(directory.path()).unwrap();
    assert_eq!(models[10].difference(&server.model()), None);
    let names = names(directory.path());
    assert!(!names.contains(&"tmp.snapshot.50".to_owned()), "a leftover of ours goes");
    assert!(names.contains(&"log.3.bak".to_owned()), "what others left stays");
}

#[test]
fn a_damaged_directory_is_left_as_it_is() {
    let directory = folder();
    for name in ["/a", "/b", "/c"] {
        Server::start(directory.path()).unwrap().create(name);
    }
    // The log in the middle is torn, so that what follows does not follow.
    let torn = version_2(directory.path()).join("log.2");
    let mut log = fs::read(&torn).unwrap();
    log[40] ^= 1;
    fs::write(&torn, &log).unwrap();
    damage(Server::start(directory.path()));
    assert!(fs::read(&torn).unwrap() == log);
    assert_eq!(names(directory.path()), ["log.1", "log.2", "log.3", "snapshot.0"]);
}

#[test]
fn a_log_whose_beginning_is_gone_is_no_empty_log() {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    let data = Some(Bytes::from(vec![1; 1 << 20]));
    for zxid in 1..=8 {
        let txn = Txn::SetData { path: "/".to_owned(), data: data.clone(), version: 1 };
        server.run(&TxnHeader { client_id: 1, cxid: 0, zxid, time: 0 }, &txn);
    }
    drop(server);
    let path = version_2(directory.path()).join("log.1");
    let mut log = fs::read(&path).unwrap();
    log[..4096].fill(0);
    fs::write(&path, &log).unwrap();
    assert_eq!(damage(Server::start(directory.path())).0, 0);
    assert!(path.exists());
    // Of one batch's size it may be what a crash left: nobody was told of what is in it.
    log.truncate(3 << 20);
    fs::write(&path, &log).unwrap();
    let server = Server::start(directory.path()).unwrap();
    assert_eq!(server.database.tree.last_zxid(), 0);
    assert_eq!(names(directory.path()), ["snapshot.0", "torn.log.1.0"]);
}

#[test]
fn settings_come_from_the_coordinators() {
    let coordinator = CoordinatorConfig { snap_count: 7, ..CoordinatorConfig::default() };
    let config = StorageConfig::from(&coordinator);
    assert_eq!((config.snap_count, config.pre_alloc_size), (7, 64 << 20));
}

proptest! {
    #![proptest_config(Config { cases: 256, ..Config::default() })]

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut snapshot = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff".to_vec();
        snapshot.extend_from_slice(&bytes);
        let _ = read_snapshot(&snapshot[..], 0, true);
        let mut log = log_reader::FILE_HEADER.to_vec();
        log.extend_from_slice(&bytes);
        let length = log.len() as u64;
        if let Opened::Log(mut reader) = LogReader::begin(&log[..], length).unwrap() {
            while let Entry::Record { .. } = reader.next_entry().unwrap() {}
        }
    }
}
