//! A directory that changes hands: what is kept, what a member's epoch does, what is refused.

use std::os::unix::fs::MetadataExt;

use super::*;

fn marker(directory: &Path) -> PathBuf {
    directory.join("doorkeeper.last")
}

fn kept(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory.join("doorkeeper.before")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Somebody who knows no marker writes a node.
fn somebody_else_creates(directory: &Path, path: &str) {
    let before = fs::read(marker(directory)).ok();
    let mut server = Server::start_with(&member(directory)).unwrap();
    server.create(path);
    drop(server);
    fs::remove_dir_all(directory.join("doorkeeper.before")).ok();
    match before {
        Some(before) => fs::write(marker(directory), before).unwrap(),
        None => fs::remove_file(marker(directory)).unwrap(),
    }
}

fn member(directory: &Path) -> StorageConfig {
    StorageConfig { take_over_member: true, ..config(directory) }
}

fn handed_over(directory: &Path) -> bool {
    Server::start(directory).unwrap().storage.recovery().handed_over
}

fn epoch(directory: &Path, name: &str) -> String {
    fs::read_to_string(version_2(directory).join(name)).unwrap()
}

#[test]
fn our_own_directory_is_not_handed_over() {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    server.create("/a");
    server.storage.close().unwrap();
    drop(server);
    assert!(!handed_over(directory.path()), "stopped");
    assert!(!handed_over(directory.path()), "killed before a write");
    let mut server = Server::start(directory.path()).unwrap();
    server.create("/b");
    server.create("/c");
    drop(server);
    assert!(!handed_over(directory.path()), "killed behind writes");
    let mut server = Server::start(directory.path()).unwrap();
    server.create("/d");
    server.snapshot();
    server.create("/e");
    drop(server);
    assert!(!handed_over(directory.path()), "killed behind a snapshot and a new log");
    let mut server = Server::start(directory.path()).unwrap();
    server.snapshot();
    server.storage.close().unwrap();
    drop(server);
    assert!(!handed_over(directory.path()), "no log goes on behind its snapshot");
    assert_eq!(kept(directory.path()), Vec::<String>::new());
    assert!(names(directory.path()).iter().all(|name| !name.starts_with("doorkeeper")));
}

#[test]
fn what_somebody_else_left_is_kept_before_the_first_write() {
    for stopped in [true, false] {
        let directory = folder();
        let mut server = Server::start(directory.path()).unwrap();
        server.create("/ours");
        if stopped {
            server.storage.close().unwrap();
        }
        drop(server);
        somebody_else_creates(directory.path(), "/theirs");
        // Their last record was torn.
        let log = version_2(directory.path()).join("log.2");
        let mut bytes = fs::read(&log).unwrap();
        bytes.extend_from_slice(&[7; 50]);
        fs::write(&log, &bytes).unwrap();
        let files: Vec<(String, Vec<u8>)> = names(directory.path())
            .into_iter()
            .map(|name| (name.clone(), fs::read(version_2(directory.path()).join(name)).unwrap()))
            .collect();
        let mut server = Server::start(directory.path()).unwrap();
        assert!(server.storage.recovery().handed_over);
        assert!(server.database.tree.contains("/theirs"));
        assert_eq!(kept(directory.path()), ["1-0x2"]);
        server.create("/after");
        server.snapshot();
        server.storage.snapshot_writer().purge(1).unwrap();
        drop(server);
        let before = directory.path().join("doorkeeper.before/1-0x2");
        for (name, content) in files {
            assert!(fs::read(before.join(&name)).unwrap() == content, "{name} is as it was");
        }
        assert!(!handed_over(directory.path()));
        // Each hand-over is kept, and named by its number.
        somebody_else_creates(directory.path(), "/again");
        fs::create_dir_all(directory.path().join("doorkeeper.before/7-0x1")).unwrap();
        assert!(handed_over(directory.path()));
        assert_eq!(kept(directory.path()), ["7-0x1", "8-0x4"]);
    }
}

#[test]
fn a_directory_without_a_marker_is_handed_over() {
    let (directory, models) = history(20, Some(9));
    fs::remove_file(marker(directory.path())).unwrap();
    let server = Server::start(directory.path()).unwrap();
    assert!(server.storage.recovery().handed_over);
    assert_eq!(models[20].difference(&server.model()), None);
    let before = directory.path().join("doorkeeper.before/1-0x14");
    let (link, file) = (before.join("log.1"), version_2(directory.path()).join("log.1"));
    assert_eq!(fs::metadata(link).unwrap().ino(), fs::metadata(file).unwrap().ino());
    drop(server);
    assert!(!handed_over(directory.path()));
}

#[test]
fn the_files_of_both_folders_are_kept() {
    let (data, logs) = (folder(), folder());
    let apart = StorageConfig { data_log_dir: logs.path().to_owned(), ..config(data.path()) };
    let mut server = Server::start_with(&apart).unwrap();
    server.create("/a");
    drop(server);
    fs::remove_file(marker(data.path())).unwrap();
    assert!(Server::start_with(&apart).unwrap().storage.recovery().handed_over);
    let of = |root: &Path| root.join("doorkeeper.before/1-0x1");
    assert!(of(data.path()).join("snapshot.0").exists());
    assert!(of(logs.path()).join("log.1").exists());
    assert!(!of(logs.path()).join("snapshot.0").exists());
    assert!(!marker(logs.path()).exists());
    assert!(!Server::start_with(&apart).unwrap().storage.recovery().handed_over);
}

#[test]
fn a_members_directory_is_taken_over_only_on_request() {
    let directory = folder();
    drop(Server::start(directory.path()).unwrap());
    for name in ["acceptedEpoch", "currentEpoch"] {
        let path = version_2(directory.path()).join(name);
        fs::write(&path, b"1").unwrap();
        let before = names(directory.path());
        let refused = Server::start(directory.path()).map(|server| server.database).unwrap_err();
        assert!(matches!(refused, StorageError::Ensemble { .. }), "{refused}");
        assert!(refused.to_string().contains("doorkeeper.take.over.member=true"));
        assert_eq!(names(directory.path()), before);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn the_epoch_goes_up_once_for_each_take_over() {
    let directory = folder();
    let path = directory.path();
    drop(Server::start(path).unwrap());
    fs::write(version_2(path).join("acceptedEpoch"), "5").unwrap();
    fs::write(version_2(path).join("currentEpoch"), "4").unwrap();
    // The ensemble wrote, in its epoch 4.
    let (mut storage, mut database) = Storage::open(&member(path)).unwrap();
    let txn = Txn::Error { error: -1 };
    let theirs = TxnHeader { client_id: 1, cxid: 0, zxid: (1_005 << 32) + 9, time: 0 };
    apply(&mut database, &theirs, &txn, &mut Vec::new());
    storage.append(&theirs, &txn, None).unwrap();
    storage.commit().unwrap();
    drop((storage, database));
    fs::write(version_2(path).join("acceptedEpoch"), "1006").unwrap();

    let mut server = Server::start_with(&member(path)).unwrap();
    assert!(server.storage.recovery().member && server.storage.recovery().handed_over);
    assert_eq!(
        (epoch(path, "acceptedEpoch"), epoch(path, "currentEpoch")),
        ("2006".into(), "2006".into())
    );
    assert_eq!(server.database.tree.last_zxid(), 2_006 << 32);
    drop(server);
    // Nothing was written: the same epoch goes on.
    server = Server::start_with(&member(path)).unwrap();
    assert!(!server.storage.recovery().handed_over);
    assert_eq!(server.database.tree.last_zxid(), 2_006 << 32);
    server.create("/a");
    assert_eq!(server.database.tree.last_zxid(), (2_006 << 32) + 1);
    assert!(names(path).contains(&"log.7d600000001".to_owned()), "{:?}", names(path));
    server.snapshot();
    server.create("/b");
    server.storage.close().unwrap();
    drop(server);
    let server = Server::start_with(&member(path)).unwrap();
    assert!(!server.storage.recovery().handed_over);
    assert_eq!(server.database.tree.last_zxid(), (2_006 << 32) + 2);
    drop(server);
    // The ensemble was there, and wrote nothing.
    fs::write(version_2(path).join("acceptedEpoch"), "2007").unwrap();
    fs::write(version_2(path).join("currentEpoch"), "2007").unwrap();
    let server = Server::start_with(&member(path)).unwrap();
    assert!(server.storage.recovery().handed_over);
    assert_eq!(epoch(path, "currentEpoch"), "3007");
    let before = path.join("doorkeeper.before");
    let kept = kept(path);
    let kept = before.join(kept.last().unwrap());
    assert_eq!(fs::read_to_string(kept.join("currentEpoch")).unwrap(), "2007");
}

#[test]
fn a_node_with_a_time_to_live_needs_the_extended_types() {
    let directory = folder();
    let off = StorageConfig { extended_types_enabled: false, ..config(directory.path()) };
    let mut server = Server::start_with(&off).unwrap();
    let create = CreateTxn {
        path: "/ttl".to_owned(),
        data: None,
        acl: open_acl_unsafe(),
        parent_cversion: -1,
    };
    let header = TxnHeader { client_id: 1, cxid: 0, zxid: 1, time: 1_000 };
    server.run(&header, &Txn::CreateTtl { create, ttl: 60_000 });
    drop(server);
    fs::remove_file(marker(directory.path())).unwrap();
    let before = names(directory.path());
    let refused = Server::start_with(&off).map(|server| server.database).unwrap_err();
    assert!(matches!(refused, StorageError::TimeToLive { count: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("/ttl"), "{refused}");
    assert_eq!(names(directory.path()), before, "nothing was changed");
    assert!(!directory.path().join("doorkeeper.before").exists());
    assert!(Server::start(directory.path()).unwrap().database.tree.contains("/ttl"));
}

#[test]
fn folders_are_made_only_where_they_may_be() {
    let directory = folder();
    let forbidden = StorageConfig { data_dir_autocreate: false, ..config(directory.path()) };
    let refused = Server::start_with(&forbidden).map(|server| server.database).unwrap_err();
    assert!(matches!(refused, StorageError::Missing { .. }), "{refused}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was made");
    fs::create_dir(version_2(directory.path())).unwrap();
    Server::start_with(&forbidden).unwrap();
}

#[test]
fn snapshots_are_written_packed() {
    for (compression, extension) in
        [(SnapshotCompression::Gzip, "gz"), (SnapshotCompression::Snappy, "snappy")]
    {
        let directory = folder();
        let packed =
            StorageConfig { snapshot_compression: compression, ..config(directory.path()) };
        let mut server = Server::start_with(&packed).unwrap();
        for number in 0..2_000 {
            server.create(&format!("/n{number}"));
        }
        server.snapshot();
        let model = server.model();
        drop(server);
        let path = version_2(directory.path()).join(format!("snapshot.7d0.{extension}"));
        assert!(fs::metadata(&path).unwrap().len() < 100_000, "{extension}");
        let server = Server::start(directory.path()).unwrap();
        assert_eq!(server.storage.recovery().snapshot_zxid, Some(2_000));
        assert_eq!(model.difference(&server.model()), None);
        drop(server);
        let mut cut = fs::read(&path).unwrap();
        cut.truncate(cut.len() - 9);
        fs::write(&path, cut).unwrap();
        let server = Server::start(directory.path()).unwrap();
        assert_eq!(server.storage.recovery().snapshot_zxid, Some(0), "a cut one is not taken");
        assert_eq!(model.difference(&server.model()), None);
    }
}

#[test]
fn a_log_without_a_record_goes_before_another_gets_its_name() {
    let directory = folder();
    let mut server = Server::start(directory.path()).unwrap();
    server.create("/a");
    drop(server);
    let log = version_2(directory.path()).join("log.2");
    let mut empty = log_reader::FILE_HEADER.to_vec();
    empty.resize(4_096, 0);
    fs::write(&log, &empty).unwrap();
    let mut server = Server::start(directory.path()).unwrap();
    assert_eq!(names(directory.path()), ["log.1", "snapshot.0"]);
    assert!(!server.storage.recovery().handed_over, "nobody wrote anything");
    server.create("/b");
    drop(server);
    assert!(!handed_over(directory.path()));
}
