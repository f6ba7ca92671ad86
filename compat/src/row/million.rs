//! A million znodes: how much memory they take, what their snapshots cost, and how long a restart
//! with them takes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Bench, Pair, ZOOKEEPER, order, say};
use crate::load::{Extent, Load, run as run_load};
use crate::report::FigureRow;
use crate::server::{Roles, Server, Side};
use crate::zookeeper::{Client, Numbers, Sessions, SetData, create_all};

pub(super) const NAME: &str = "million-znodes";

/// Parents, each with as many children.
const PARENTS: usize = 1000;
const DATA: &[u8] = b"sixteen bytes...";
const PATIENCE: Duration = Duration::from_mins(1);
/// Restarts of each side at most, in turn: the first reads what the load left, the later ones what
/// the last start left.
const RESTARTS: usize = 3;
/// How long the znodes are written, so that snapshots fall due: after 50,000 to 100,000 writes each.
const WRITING: Duration = Duration::from_secs(10);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let children: usize = if bench.options.smoke { 10 } else { 1000 };
    let pair = bench.pair(false, "million")?;
    for server in pair.each() {
        fill(bench, server, children)?;
        write(bench, server, children)?;
    }
    let mut folders = Vec::new();
    let Pair { doorkeeper, peer, .. } = pair;
    for server in [doorkeeper, peer].into_iter().flatten() {
        let (side, folder) = (server.side, server.folder.clone());
        server.stop()?;
        add(bench, side, "data directory", "MiB", folder_mebibytes(&folder)?);
        folders.push((side, folder));
    }
    for round in 0..RESTARTS.min(bench.options.rounds) {
        for side in order(round) {
            for (_, folder) in folders.iter().filter(|(of, _)| *of == side) {
                restart(bench, side, folder, children)?;
            }
        }
    }
    say(&format!("ok      {NAME}"));
    Ok(())
}

fn parent(number: usize) -> String {
    format!("/million/parent-{number:04}")
}

fn path(number: usize, children: usize) -> String {
    format!("{}/node-{:05}", parent(number / children), number % children)
}

/// Makes the znodes, and measures the memory that the server takes with them beyond what it took before.
fn fill(bench: &mut Bench, server: &Server, children: usize) -> Result<()> {
    let side = server.side;
    let (empty, live_empty) = (server.resident_mebibytes()?, server.live_bytes()?);
    let mut client = Client::connect(server.zookeeper, PATIENCE)?;
    client.create("/million", b"")?;
    for number in 0..PARENTS {
        client.create(&parent(number), b"")?;
    }
    client.close()?;
    let count = PARENTS * children;
    let measured = create_all(load(server, 8, 100), (0..count).map(|n| path(n, children)), DATA)?;
    let seconds = measured.elapsed.as_secs_f64();
    add(bench, side, "time to create them, 8 connections, 100 in flight", "s", seconds);
    check(server, children)?;
    let resident = server.resident_mebibytes()?;
    add(bench, side, "resident with them", "MiB", resident);
    add(bench, side, "resident with them, less when empty", "MiB", resident - empty);
    // doorkeeper has no collector: what it holds is what is resident.
    let live = server.live_bytes()?;
    let title = "live heap after a full collection (doorkeeper: resident)";
    add(bench, side, title, "MiB", live / f64::from(1 << 20));
    let content = path(0, children).len() + DATA.len();
    let each = (live - live_empty) / count as f64 - content as f64;
    add(bench, side, &format!("{title}, of each znode, without its path and data"), "B", each);
    Ok(())
}

/// Writes while snapshots fall due: how long these take, and how long anybody waits meanwhile.
fn write(bench: &mut Bench, server: &Server, children: usize) -> Result<()> {
    let side = server.side;
    let paths: Vec<String> = (0..PARENTS).map(|n| path(n * children, children)).collect();
    let set = SetData { paths: &paths, data: DATA, numbers: Numbers::default() };
    let measured = if bench.options.smoke { bench.options.measured() } else { WRITING };
    let extent = Extent::Time { warm_up: bench.options.settle(), measured };
    let found = run_load(load(server, 50, 8), extent, &mut Sessions::new(50, set))?;
    let milliseconds = |quantile| found.latency.quantile(quantile).as_secs_f64() * 1000.0;
    let title = "setData 50x8 while snapshots are written";
    add(bench, side, &format!("{title}: 99th percentile"), "ms", milliseconds(0.99));
    add(bench, side, &format!("{title}: longest"), "ms", milliseconds(1.0));
    let (taken, held) = match side {
        Side::Doorkeeper => {
            ("duration_ms", ["longest_lock_ms", "longest_lock_cpu_ms", "longest_fsync_ms"])
        }
        Side::Peer => ("Snapshot taken in", ["", "", ""]),
    };
    let longest = |name: &str| -> Result<Option<f64>> {
        Ok(server.logged(name)?.into_iter().reduce(f64::max))
    };
    if let Some(value) = longest(taken)? {
        add(bench, side, "writing a snapshot, longest", "ms", value);
    }
    for (name, title) in held.into_iter().zip([
        "longest hold of a lock by a snapshot",
        "longest hold of a lock by a snapshot, the holder's own CPU time in it",
        "longest wait of the log for its fsync during a snapshot",
    ]) {
        if !name.is_empty()
            && let Some(value) = longest(name)?
        {
            add(bench, side, title, "ms", value);
        }
    }
    Ok(())
}

fn load(server: &Server, connections: usize, in_flight: usize) -> Load {
    Load { address: server.zookeeper, pid: server.pid(), connections, in_flight }
}

/// Starts on the directory with the znodes, and looks whether they are there.
fn restart(bench: &mut Bench, side: Side, folder: &Path, children: usize) -> Result<()> {
    let server = Server::start(&bench.options, side, Roles::Coordinator, folder)?;
    add(bench, side, "restart to first answer", "s", server.start_time.as_secs_f64());
    let mut client = Client::connect(server.zookeeper, PATIENCE)?;
    ensure!(client.exists(&path(0, children))?, "a znode is gone after the restart");
    client.close()?;
    add(bench, side, "resident after the restart", "MiB", server.resident_mebibytes()?);
    server.stop()
}

/// Looks at the first, the middle and the last one.
fn check(server: &Server, children: usize) -> Result<()> {
    let mut client = Client::connect(server.zookeeper, PATIENCE)?;
    let count = PARENTS * children;
    for number in [0, count / 2, count - 1] {
        let path = path(number, children);
        ensure!(client.get_data(&path)? == DATA, "{path} holds other data than was written");
    }
    ensure!(!client.exists(&path(count, children))?, "a znode is there that was never made");
    client.close()
}

/// The disk space of a folder: blocks, not lengths, since logs are allocated ahead.
fn folder_mebibytes(folder: &Path) -> Result<f64> {
    let output = Command::new("du").arg("-sk").arg(folder).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let kibibytes: u32 = text.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(f64::from(kibibytes) / 1024.0)
}

fn add(bench: &mut Bench, side: Side, title: &str, unit: &'static str, value: f64) {
    let (doorkeeper, peer) = match side {
        Side::Doorkeeper => (vec![value], Vec::new()),
        Side::Peer => (Vec::new(), vec![value]),
    };
    bench.report.add_figure(FigureRow {
        name: NAME.to_owned(),
        title: title.to_owned(),
        unit,
        peer_name: ZOOKEEPER,
        doorkeeper,
        peer,
    });
}
