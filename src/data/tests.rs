//! Directories as servers leave them, and as accidents do.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use clap::Parser;
use tempfile::TempDir;

use super::*;
use crate::config::CoordinatorConfig;
use crate::zookeeper::acl::open_acl_unsafe;
use crate::zookeeper::database::Database;
use crate::zookeeper::storage::{Storage, StorageConfig};
use crate::zookeeper::txn::apply::apply;
use crate::zookeeper::txn::record::{CreateTxn, Txn, TxnHeader};

const TIME: i64 = 1_700_000_000_000;

struct Server(Storage, Database);

impl Server {
    fn start(directory: &Path) -> Server {
        let config = CoordinatorConfig {
            data_dir: directory.to_owned(),
            data_log_dir: directory.to_owned(),
            pre_alloc_size: 64 << 10,
            extended_types_enabled: true,
            ..CoordinatorConfig::default()
        };
        let (storage, database) = Storage::open(&StorageConfig::from(&config)).unwrap();
        Server(storage, database)
    }

    fn log(&mut self, txn: &Txn) {
        let zxid = self.1.tree.last_zxid() + 1;
        let header = TxnHeader { client_id: 0x77, cxid: 3, zxid, time: TIME + zxid };
        apply(&mut self.1, &header, txn, &mut Vec::new());
        self.0.append(&header, txn, Some(self.1.tree.digest())).unwrap();
        self.0.commit().unwrap();
    }

    fn create(&mut self, path: &str, bytes: usize) {
        self.log(&create(path, bytes));
    }
}

fn create(path: &str, bytes: usize) -> Txn {
    let create = CreateTxn {
        path: path.to_owned(),
        data: Some(Bytes::from(vec![b'x'; bytes])),
        acl: open_acl_unsafe(),
        parent_cversion: -1,
    };
    Txn::Create { create, ephemeral: false, with_stat: false }
}

fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Three logs, of two transactions each, and a snapshot of nothing.
fn directory() -> TempDir {
    let directory = folder();
    for number in 0..3 {
        let mut server = Server::start(directory.path());
        server.create(&format!("/a{number}"), 4);
        server.create(&format!("/b{number}"), 4);
    }
    directory
}

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: DataCommand,
}

/// What a command line answers, and whether all is well.
fn ask(directory: &TempDir, arguments: &[&str]) -> Result<(String, bool), DataError> {
    let path = directory.path().to_str().unwrap();
    let line = [&["data"], &arguments[..1], &[path], &arguments[1..]].concat();
    let line = Line::try_parse_from(line).unwrap();
    let mut out = Vec::new();
    let well = run(&line.command, &mut out)?;
    Ok((String::from_utf8(out).unwrap(), well))
}

fn file(directory: &TempDir, name: &str) -> PathBuf {
    directory.path().join("version-2").join(name)
}

fn snapshot_of_all(directory: &TempDir) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(directory.path().join("version-2"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn inspect_shows_files_zxids_sessions_and_who_wrote_last() {
    let directory = directory();
    let mut server = Server::start(directory.path());
    server.log(&Txn::CreateSession { timeout: 9_000 });
    drop(server);
    let before = snapshot_of_all(&directory);
    let (text, well) = ask(&directory, &["inspect"]).unwrap();
    assert!(well, "{text}");
    for expected in [
        "snapshot.0: ",
        "log.3: ",
        "whole, 2 transactions, 0x3 to 0x4, 2023-11-14T22:13:20.003Z",
        "last zxid: 0x7\n",
        "written last by: doorkeeper\n",
        "session 0x77: timeout 9000 ms, 0 ephemerals\n",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let (json, _) = ask(&directory, &["inspect", "--json"]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["lastZxid"], "0x7");
    assert_eq!(json["logs"][1]["first"]["zxid"], "0x3");
    assert_eq!(json["snapshots"][0]["state"], "whole");
    fs::remove_file(directory.path().join("doorkeeper.last")).unwrap();
    let (text, _) = ask(&directory, &["inspect"]).unwrap();
    assert!(text.contains("written last by: somebody else\n"), "{text}");
    assert!(snapshot_of_all(&directory) == before, "nothing was changed");
}

#[test]
fn dump_shows_every_transaction() {
    let directory = directory();
    let mut server = Server::start(directory.path());
    let delete = Txn::Delete { path: "/a0".to_owned() };
    server.log(&Txn::Multi(vec![create("/\u{1b}[2J", 200), delete]));
    drop(server);
    let (text, well) = ask(&directory, &["dump"]).unwrap();
    assert!(well);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 7);
    let expected = "2023-11-14T22:13:20.001Z zxid=0x1 session=0x77 cxid=3 create \"/a0\" \
                    data=\"xxxx\" acl=world:anyone:31 parentCVersion=-1 digest=";
    assert!(lines[0].starts_with(expected), "{}", lines[0]);
    assert!(lines[6].contains("multi [create \"/\\u{1b}[2J\" data=(200 bytes)"), "{}", lines[6]);
    assert!(lines[6].contains("; delete \"/a0\"]"), "{}", lines[6]);
    let (json, _) = ask(&directory, &["dump", "--json"]).unwrap();
    let last: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(last["zxid"], "0x7");
    assert_eq!(last["operations"][1]["path"], "/a0");
}

#[test]
fn verify_names_the_file_and_the_byte() {
    let directory = directory();
    let (text, well) = ask(&directory, &["verify"]).unwrap();
    assert!(well && text == "1 snapshots, 3 logs, 6 transactions: whole\n", "{text}");
    let log = file(&directory, "log.3");
    let mut bytes = fs::read(&log).unwrap();
    bytes[40] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let (text, well) = ask(&directory, &["verify"]).unwrap();
    assert!(!well && text.contains("0x5 does not follow 0x2"), "{text}");
    assert!(text.contains("log.3: torn at byte 16"), "{text}");
    let snapshot = file(&directory, "snapshot.0");
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[40] ^= 1;
    fs::write(&snapshot, &bytes).unwrap();
    let (text, well) = ask(&directory, &["verify"]).unwrap();
    assert!(!well && text.contains("snapshot.0: at byte"), "{text}");
}

#[test]
fn verify_finds_a_digest_that_is_another() {
    let directory = folder();
    let Server(mut storage, _) = Server::start(directory.path());
    let header = TxnHeader { client_id: 1, cxid: 0, zxid: 1, time: TIME };
    storage.append(&header, &Txn::Error { error: -1 }, Some(1)).unwrap();
    storage.commit().unwrap();
    drop(storage);
    let (text, well) = ask(&directory, &["verify"]).unwrap();
    assert!(!well && text.contains("after 1 transactions the tree is not"), "{text}");
}

#[test]
fn verify_says_whether_zookeeper_would_start() {
    let directory = directory();
    let mut server = Server::start(directory.path());
    server.create("/large", 300_000);
    drop(server);
    let (text, well) = ask(&directory, &["verify", "--for-zookeeper"]).unwrap();
    assert!(well && text.contains("ZooKeeper would start"), "{text}");
    let small = ["verify", "--for-zookeeper", "--jute-maxbuffer", "100000"];
    let (text, well) = ask(&directory, &small).unwrap();
    assert!(!well && text.contains("allows 200000 in all"), "{text}");
    // A name that ZooKeeper reads, and a record whose checksum is wrong.
    fs::write(file(&directory, "snapshot.9.tmp"), "").unwrap();
    let log = file(&directory, "log.7");
    let mut bytes = fs::read(&log).unwrap();
    bytes[40] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let (text, well) = ask(&directory, &["verify", "--for-zookeeper"]).unwrap();
    assert!(!well && text.contains("snapshot.9.tmp: it would be read"), "{text}");
    assert!(text.contains("log.7 at byte 16: a wrong checksum stops it"), "{text}");
    assert!(text.ends_with("2 problems\n"), "{text}");
}

#[test]
fn verify_finds_nodes_that_zookeeper_would_delete_and_trees_that_are_too_deep() {
    let directory = folder();
    let mut server = Server::start(directory.path());
    let Txn::Create { create: ttl, .. } = create("/ttl", 1) else { panic!() };
    server.log(&Txn::CreateTtl { create: ttl, ttl: 5_000 });
    let mut path = String::new();
    for _ in 0..2_600 {
        path.push_str("/d");
        server.create(&path, 0);
    }
    drop(server);
    let (text, well) = ask(&directory, &["verify", "--for-zookeeper"]).unwrap();
    assert!(!well && text.contains("2600 levels deep"), "{text}");
    assert!(text.contains("1 nodes have a time to live"), "{text}");
}

#[test]
fn a_directory_that_a_server_uses_is_refused() {
    let directory = directory();
    let server = Server::start(directory.path());
    for command in ["inspect", "dump", "verify", "repair"] {
        let refused = ask(&directory, &[command]).unwrap_err();
        assert!(matches!(refused, DataError::Storage(StorageError::Locked { .. })), "{refused}");
    }
    drop(server);
    ask(&directory, &["inspect"]).unwrap();
    let nothing = folder();
    assert!(matches!(ask(&nothing, &["inspect"]), Err(DataError::NoData { .. })));
    drop(fs::remove_dir_all(nothing.path()));
    assert!(matches!(ask(&nothing, &["verify"]), Err(DataError::NoData { .. })));
}

#[test]
fn repair_leaves_a_whole_directory_alone() {
    let directory = directory();
    let before = snapshot_of_all(&directory);
    let (text, _) = ask(&directory, &["repair"]).unwrap();
    assert_eq!(text, "nothing to repair: a server starts at 0x6\n");
    assert!(snapshot_of_all(&directory) == before);
    assert!(!directory.path().join("doorkeeper.before").exists());
}

#[test]
fn repair_cuts_at_a_gap_and_says_what_is_lost() {
    let directory = directory();
    let log = file(&directory, "log.3");
    let mut bytes = fs::read(&log).unwrap();
    // The first of its two transactions.
    bytes[40] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let before = snapshot_of_all(&directory);
    let (text, well) = ask(&directory, &["repair"]).unwrap();
    assert!(well, "{text}");
    assert!(text.contains("lost: 3 transactions") && text.contains("0x4 to 0x6"), "{text}");
    assert!(text.ends_with("a server starts at 0x2\n"), "{text}");
    let kept = directory.path().join("doorkeeper.before/1-0x2");
    for (name, content) in before {
        assert!(fs::read(kept.join(&name)).unwrap() == content, "{name} is kept as it was");
    }
    let (_, well) = ask(&directory, &["verify", "--for-zookeeper"]).unwrap();
    assert!(well);
    let mut server = Server::start(directory.path());
    assert_eq!(server.1.tree.last_zxid(), 2);
    server.create("/after", 1);
}

#[test]
fn repair_cuts_a_log_that_is_bad_in_its_middle() {
    let directory = folder();
    let mut server = Server::start(directory.path());
    for number in 0..8 {
        server.create(&format!("/n{number}"), 1 << 20);
    }
    drop(server);
    let log = file(&directory, "log.1");
    let mut bytes = fs::read(&log).unwrap();
    bytes[(2 << 20) + 5_000] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let (text, _) = ask(&directory, &["verify"]).unwrap();
    assert!(text.contains("is damaged at byte"), "{text}");
    let (text, well) = ask(&directory, &["repair"]).unwrap();
    assert!(well && text.contains("behind 0x2"), "{text}");
    assert!(text.contains("lost: 5 transactions") && text.contains("0x4 to 0x8"), "{text}");
    let server = Server::start(directory.path());
    assert_eq!(server.1.tree.last_zxid(), 2);
}
