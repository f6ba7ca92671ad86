//! Looks into a coordinator's data directory, or fills one, without a server.
//!
//! ```text
//! data_directory dump DIR            every znode and session, a JSON object each
//! data_directory fill DIR COUNT      COUNT znodes of 16 bytes below paths of some 30 bytes
//! data_directory load DIR            how long loading takes, and memory for each znode
//! ```
#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use doorkeeper::config::CoordinatorConfig;
use doorkeeper::zookeeper::acl::open_acl_unsafe;
use doorkeeper::zookeeper::database::Database;
use doorkeeper::zookeeper::storage::{Storage, StorageConfig};
use doorkeeper::zookeeper::txn::apply::apply;
use doorkeeper::zookeeper::txn::record::{CreateTxn, Txn, TxnHeader};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["dump", directory] => dump(directory),
        ["fill", directory, count] => fill(directory, count.parse().context("COUNT")?),
        ["load", directory] => load(directory),
        _ => bail!("usage: data_directory dump DIR | fill DIR COUNT | load DIR"),
    }
}

fn open(directory: &str) -> Result<(Storage, Database)> {
    let directory = PathBuf::from(directory);
    let config = CoordinatorConfig {
        data_dir: directory.clone(),
        data_log_dir: directory,
        ..CoordinatorConfig::default()
    };
    Ok(Storage::open(&StorageConfig::from(&config))?)
}

fn dump(directory: &str) -> Result<()> {
    let (storage, database) = open(directory)?;
    let tree = &database.tree;
    let mut nodes: Vec<_> = tree.nodes().collect();
    nodes.sort_by_key(doorkeeper::zookeeper::tree::NodeRef::path);
    for node in nodes {
        let stat = node.stat();
        let acl: Vec<_> =
            node.acl().iter().map(|acl| json!([acl.perms, acl.scheme, acl.id])).collect();
        let line = json!({
            "path": node.path(),
            "data": node.data().map(|data| BASE64_STANDARD.encode(data)),
            "stat": [
                stat.czxid, stat.mzxid, stat.ctime, stat.mtime, i64::from(stat.version),
                i64::from(stat.cversion), i64::from(stat.aversion), stat.ephemeral_owner,
                i64::from(stat.data_length), i64::from(stat.num_children), stat.pzxid,
            ],
            "acl": acl,
        });
        println!("{line}");
    }
    let mut sessions: Vec<_> = database.sessions.iter().collect();
    sessions.sort_unstable();
    for (session, timeout) in sessions {
        let owned = tree.ephemerals(*session).count();
        let line = json!({"session": session, "timeout": timeout, "ephemerals": owned});
        println!("{line}");
    }
    let recovery = storage.recovery();
    let line = json!({
        "zxid": recovery.last_zxid,
        "digest": tree.digest(),
        "replayed": recovery.replayed,
        "mismatches": recovery.digest_mismatches,
        "orphans": recovery.orphans,
    });
    println!("{line}");
    Ok(())
}

fn fill(directory: &str, count: u32) -> Result<()> {
    let (mut storage, mut database) = open(directory)?;
    let mut changes = Vec::new();
    let mut create = |database: &mut Database, path: String, data: &'static [u8]| -> Result<()> {
        let zxid = database.tree.last_zxid() + 1;
        let header = TxnHeader { client_id: 1, cxid: 1, zxid, time: 1_700_000_000_000 };
        let create = CreateTxn {
            path,
            data: Some(Bytes::from_static(data)),
            acl: open_acl_unsafe(),
            parent_cversion: -1,
        };
        let txn = Txn::Create { create, ephemeral: false, with_stat: false };
        apply(database, &header, &txn, &mut changes);
        changes.clear();
        storage.append(&header, &txn, Some(database.tree.digest()))?;
        Ok(())
    };
    for parent in 0..count.div_ceil(1000) {
        create(&mut database, format!("/parent{parent:06}"), b"")?;
        for child in 0..1000 {
            create(&mut database, format!("/parent{parent:06}/child-{child:010}"), &[b'x'; 16])?;
        }
    }
    storage.commit()?;
    let snapshot = database.begin_snapshot().context("a snapshot is being taken")?;
    storage.roll()?;
    let started = Instant::now();
    let database = parking_lot::RwLock::new(database);
    let info = storage.snapshot_writer().write(&database, &snapshot)?;
    println!("{} bytes in {:?}", info.bytes, started.elapsed());
    Ok(())
}

fn load(directory: &str) -> Result<()> {
    let before = resident()?;
    let started = Instant::now();
    let (storage, database) = open(directory)?;
    let elapsed = started.elapsed();
    let nodes = database.tree.node_count();
    let bytes = resident()?.saturating_sub(before);
    println!("{nodes} znodes in {elapsed:?}, {} bytes resident each", bytes / nodes as u64);
    println!("{:?}", storage.recovery());
    Ok(())
}

/// Bytes of memory in use by this process.
fn resident() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).context("statm")?.parse()?;
    Ok(pages * 4096)
}
