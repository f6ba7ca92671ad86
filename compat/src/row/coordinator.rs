//! ZooKeeper's reads and writes, with few and many connections, alone and pipelined; the reads beside a
//! bare echo server, some of the writes once more on a slow disk.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Bench, Native, Pair, ZOOKEEPER};
use crate::echo::{Echo, EchoServer};
use crate::load::{Extent, Load, Measured, run as run_load};
use crate::server::Server;
use crate::zookeeper::{
    Client, Create, GetData, Mixed, Multi, Numbers, Operation as _, Sessions, SetData, create_all,
    delete_all,
};

const OPERATIONS: [(&str, &str); 5] = [
    ("zk-get", "getData of 100 B"),
    ("zk-set", "setData of 100 B, on disk"),
    ("zk-mixed", "nine getData and a setData of 100 B"),
    ("zk-create", "create with 100 B, on disk"),
    ("zk-multi", "multi of a check and two setData of 100 B, on disk"),
];
const CONNECTIONS: [usize; 4] = [10, 50, 300, 2000];
const IN_FLIGHT: [usize; 3] = [1, 8, 16];

/// The rows on a slow disk, and how much slower it is.
const SLOW: [(&str, usize, usize); 4] = [
    ("slow-set-50x1", 50, 1),
    ("slow-set-50x8", 50, 8),
    ("slow-set-300x1", 300, 1),
    ("slow-set-300x8", 300, 8),
];
const SLOW_MS: u64 = 5;

const DATA: &[u8] = &[b'd'; 100];
const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes of a getData reply without its frame's length: header, data and Stat.
const READ_ANSWER: usize = 16 + 4 + DATA.len() + 68;

/// `zk-get-50x1`: 50 connections, 1 request in flight on each.
pub(super) fn names() -> Vec<String> {
    combinations().map(|(name, ..)| name).collect()
}

pub(super) fn slow_names() -> Vec<String> {
    SLOW.map(|(name, ..)| name.to_owned()).to_vec()
}

fn combinations() -> impl Iterator<Item = (String, &'static str, usize, usize)> {
    OPERATIONS.into_iter().flat_map(|(prefix, operation)| {
        CONNECTIONS.into_iter().flat_map(move |connections| {
            IN_FLIGHT.into_iter().map(move |in_flight| {
                (format!("{prefix}-{connections}x{in_flight}"), operation, connections, in_flight)
            })
        })
    })
}

/// The znodes that the loads read and write, and the parents of those that they create.
struct Znodes {
    paths: Vec<String>,
    parents: Vec<String>,
}

impl Znodes {
    fn make(bench: &Bench, pair: &Pair) -> Result<Self> {
        let count = if bench.options.smoke { 200 } else { 10_000 };
        let parents = bench.connections(CONNECTIONS.into_iter().max().unwrap_or(1));
        let znodes = Self {
            paths: (0..count).map(|number| format!("/bench/data/node-{number:06}")).collect(),
            parents: (0..parents).map(|number| format!("/bench/made/{number:04}")).collect(),
        };
        for server in pair.each() {
            let mut client = Client::connect(server.zookeeper, PATIENCE)?;
            let first = !client.exists("/bench")?;
            for path in ["/bench", "/bench/data", "/bench/made"] {
                client.create(path, b"")?;
            }
            if first {
                create_all(bulk(server), znodes.paths.iter().cloned(), DATA)?;
                create_all(bulk(server), znodes.parents.iter().cloned(), DATA)?;
            }
            client.close()?;
        }
        pair.wait_until_quiet()?;
        Ok(znodes)
    }

    fn get(&self) -> GetData<'_> {
        GetData { paths: &self.paths, data: DATA, numbers: Numbers::default() }
    }

    fn set(&self) -> SetData<'_> {
        SetData { paths: &self.paths, data: DATA, numbers: Numbers::default() }
    }

    fn load(&self, name: &str, server: &Server, load: Load, extent: Extent) -> Result<Measured> {
        let count = load.connections;
        match name.split('-').nth(1).unwrap_or_default() {
            "get" => run_load(load, extent, &mut Sessions::new(count, self.get())),
            "set" => run_load(load, extent, &mut Sessions::new(count, self.set())),
            "mixed" => {
                let mixed = Mixed { get: self.get(), set: self.set() };
                run_load(load, extent, &mut Sessions::new(count, mixed))
            }
            "multi" => {
                let numbers = Numbers::default();
                let multi = Multi { paths: &self.paths, data: DATA, numbers };
                run_load(load, extent, &mut Sessions::new(count, multi))
            }
            _ => create(server, load, extent, &self.parents),
        }
    }
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let pair = bench.pair(false, "coordinator")?;
    let znodes = Znodes::make(bench, &pair)?;
    let echo = EchoServer::start(READ_ANSWER)?;
    let mut warm = "";
    for (name, operation, connections, in_flight) in combinations() {
        if !bench.options.wants(&name) {
            continue;
        }
        let connections = bench.connections(connections);
        let row = Native { name: &name, operation, peer_name: ZOOKEEPER, warm: warm == operation };
        warm = operation;
        bench.native_row(&row, &pair, |server, extent| {
            let load =
                Load { address: server.zookeeper, pid: server.pid(), connections, in_flight };
            znodes.load(&name, server, load, extent)
        })?;
        if name.starts_with("zk-get") {
            let load = Load { address: echo.address, pid: echo.pid(), connections, in_flight };
            bench.beside(|extent| {
                let mut request = Vec::new();
                znodes.get().ask(0, 1, &mut request);
                run_load(load, extent, &mut Echo { request, answer_length: READ_ANSWER })
            })?;
        }
    }
    bench.keep(false, pair);
    Ok(())
}

/// setData where every fsync takes longer: the same for both, by `strace`.
pub(super) fn run_slow(bench: &mut Bench) -> Result<()> {
    let before = bench.options.slow_disk;
    // A smoke run has no time for servers of its own here: a quick disk answers as well.
    if !bench.options.smoke {
        bench.options.slow_disk = Some(before.unwrap_or(0) + SLOW_MS);
    }
    let pair = bench.pair(false, "slow");
    bench.options.slow_disk = before;
    let pair = pair?;
    let znodes = Znodes::make(bench, &pair)?;
    let mut warm = false;
    for (name, connections, in_flight) in SLOW {
        if !bench.options.wants(name) {
            continue;
        }
        let operation = "setData of 100 B, every fsync 5 ms longer";
        let row = Native { name, operation, peer_name: ZOOKEEPER, warm };
        warm = true;
        let connections = bench.connections(connections);
        bench.native_row(&row, &pair, |server, extent| {
            let load =
                Load { address: server.zookeeper, pid: server.pid(), connections, in_flight };
            znodes.load(name, server, load, extent)
        })?;
    }
    bench.keep(false, pair);
    Ok(())
}

/// Creates, looks whether the last one is there, and removes all again, outside of the measured time.
fn create(server: &Server, load: Load, extent: Extent, parents: &[String]) -> Result<Measured> {
    let create = Create { parents, data: DATA, path: String::new() };
    let mut sessions = Sessions::new(load.connections, create);
    let measured = run_load(load, extent, &mut sessions)?;
    let made = sessions.made();
    let mut client = Client::connect(server.zookeeper, PATIENCE)?;
    if let Some(last) = made.last() {
        ensure!(client.get_data(last)? == DATA, "{last} holds other data than it was made with");
    }
    delete_all(bulk(server), made.into_iter())?;
    client.close()?;
    Ok(measured)
}

/// For filling and emptying the tree; below the limit of outstanding requests of a whole server.
fn bulk(server: &Server) -> Load {
    Load { address: server.zookeeper, pid: server.pid(), connections: 8, in_flight: 100 }
}
