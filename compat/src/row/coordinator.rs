//! ZooKeeper's getData, setData and create, with few and many connections, alone and pipelined.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Bench, ZOOKEEPER};
use crate::load::{Extent, Load, Measured, run as run_load};
use crate::server::Server;
use crate::zookeeper::{
    Client, Create, GetData, Numbers, Sessions, SetData, create_all, delete_all,
};

const OPERATIONS: [(&str, &str); 3] = [
    ("zk-get", "getData of 100 B"),
    ("zk-set", "setData of 100 B, on disk"),
    ("zk-create", "create with 100 B, on disk"),
];
const CONNECTIONS: [usize; 2] = [50, 300];
const IN_FLIGHT: [usize; 2] = [1, 8];
const DATA: &[u8] = &[b'd'; 100];
const PATIENCE: Duration = Duration::from_secs(30);

/// `zk-get-50x1`: 50 connections, 1 request in flight on each.
pub(super) fn names() -> Vec<String> {
    combinations().map(|(name, ..)| name).collect()
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

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let pair = bench.pair(false, "coordinator")?;
    let znodes = if bench.options.smoke { 200 } else { 10_000 };
    let paths: Vec<String> =
        (0..znodes).map(|number| format!("/bench/data/node-{number:06}")).collect();
    let parents: Vec<String> =
        (0..300).map(|number| format!("/bench/made/connection-{number:03}")).collect();
    for server in pair.each() {
        let mut client = Client::connect(server.zookeeper, PATIENCE)?;
        for path in ["/bench", "/bench/data", "/bench/made"] {
            client.create(path, b"")?;
        }
        create_all(bulk(server), paths.iter().cloned(), DATA)?;
        create_all(bulk(server), parents.iter().cloned(), DATA)?;
        client.close()?;
    }
    pair.wait_until_quiet()?;
    for (name, operation, connections, in_flight) in combinations() {
        if !bench.options.wants(&name) {
            continue;
        }
        bench.native_row(&name, operation, ZOOKEEPER, &pair, |server, extent| {
            let load =
                Load { address: server.zookeeper, pid: server.pid(), connections, in_flight };
            match operation {
                _ if name.starts_with("zk-get") => {
                    let get = GetData { paths: &paths, data: DATA, numbers: Numbers::default() };
                    run_load(load, extent, &mut Sessions::new(connections, get))
                }
                _ if name.starts_with("zk-set") => {
                    let set = SetData { paths: &paths, data: DATA, numbers: Numbers::default() };
                    run_load(load, extent, &mut Sessions::new(connections, set))
                }
                _ => create(server, load, extent, &parents),
            }
        })?;
    }
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
