//! A million znodes: how much memory they take, and how long a restart with them takes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Bench, ZOOKEEPER, order, say};
use crate::load::Load;
use crate::report::FigureRow;
use crate::server::{Roles, Server, Side};
use crate::zookeeper::{Client, create_all};

pub(super) const NAME: &str = "million-znodes";

/// Parents, each with as many children.
const PARENTS: usize = 1000;
const DATA: &[u8] = b"sixteen bytes...";
const PATIENCE: Duration = Duration::from_mins(1);
/// Restarts of each side at most, in turn: the first reads what the load left, the later ones what
/// the last start left.
const RESTARTS: usize = 3;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let children: usize = if bench.options.smoke { 10 } else { 1000 };
    for side in order(0) {
        if bench.options.only.is_none_or(|only| only == side) {
            fill(bench, side, children)?;
        }
    }
    for round in 0..RESTARTS.min(bench.options.rounds) {
        for side in order(round) {
            if bench.options.only.is_none_or(|only| only == side) {
                restart(bench, side, children)?;
            }
        }
    }
    say(&format!("ok      {NAME}"));
    Ok(())
}

fn folder(bench: &Bench, side: Side) -> std::path::PathBuf {
    bench.folder(&format!("million-{side:?}"))
}

fn parent(number: usize) -> String {
    format!("/million/parent-{number:04}")
}

fn path(number: usize, children: usize) -> String {
    format!("{}/node-{:05}", parent(number / children), number % children)
}

/// Makes the znodes, and measures the memory that the server takes with them beyond what it took before.
fn fill(bench: &mut Bench, side: Side, children: usize) -> Result<()> {
    let folder = folder(bench, side);
    let server = Server::start(&bench.options, side, Roles::Coordinator, &folder)?;
    let (empty, empty_heap) = (server.resident_mebibytes()?, live_heap(&server)?);
    let mut client = Client::connect(server.zookeeper, PATIENCE)?;
    client.create("/million", b"")?;
    for number in 0..PARENTS {
        client.create(&parent(number), b"")?;
    }
    client.close()?;
    let load =
        Load { address: server.zookeeper, pid: server.pid(), connections: 8, in_flight: 100 };
    let count = PARENTS * children;
    let measured = create_all(load, (0..count).map(|number| path(number, children)), DATA)?;
    let seconds = measured.elapsed.as_secs_f64();
    add(bench, side, "time to create them, 8 connections, 100 in flight", "s", seconds);
    check(&server, children)?;
    add(bench, side, "resident with them", "MiB", server.resident_mebibytes()?);
    add(
        bench,
        side,
        "resident with them, less when empty",
        "MiB",
        server.resident_mebibytes()? - empty,
    );
    // doorkeeper has no collector: what it holds is what is resident.
    let (live, live_empty) = match live_heap(&server)? {
        Some(live) => (live, empty_heap.unwrap_or(0.0)),
        None => (server.resident_mebibytes()?, empty),
    };
    let title = "live heap after a full collection (doorkeeper: resident)";
    add(bench, side, title, "MiB", live);
    add(bench, side, &format!("{title}, less when empty"), "MiB", live - live_empty);
    server.stop()?;
    add(bench, side, "data directory", "MiB", folder_mebibytes(&folder)?);
    Ok(())
}

/// Starts on the directory with the znodes, and looks whether they are there.
fn restart(bench: &mut Bench, side: Side, children: usize) -> Result<()> {
    let server = Server::start(&bench.options, side, Roles::Coordinator, &folder(bench, side))?;
    add(bench, side, "restart to first answer", "s", server.start_time.as_secs_f64());
    check(&server, children)?;
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

/// The heap of a Java server in MiB after a full collection; none for doorkeeper.
fn live_heap(server: &Server) -> Result<Option<f64>> {
    if server.side == Side::Doorkeeper {
        return Ok(None);
    }
    jcmd(server.pid(), "GC.run")?;
    let text = jcmd(server.pid(), "GC.heap_info")?;
    let used = text.lines().find_map(|line| line.split_once(" used ")).map(|(_, rest)| rest);
    let used = used.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let kibibytes: u32 = used.with_context(|| format!("no heap in {text}"))?.parse()?;
    Ok(Some(f64::from(kibibytes) / 1024.0))
}

fn jcmd(pid: u32, command: &str) -> Result<String> {
    let output = Command::new("jcmd").args([&pid.to_string(), command]).output().context("jcmd")?;
    if !output.status.success() {
        bail!("jcmd {command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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
