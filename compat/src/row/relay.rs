//! Produce and Fetch through the gateway's relay and through other proxies, in front of one broker: what
//! a megabyte costs that passes.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bench, Native, Pair, say};
use crate::kafka::{Client, FETCH_BYTES, Fetch, Produce};
use crate::load::{Extent, Load, Measured, run as run_load};
use crate::proxy::Proxy;
use crate::server::{Roles, Server, Side};

/// Connections that have a partition each; where there are more, they share them.
const PARTITIONS: usize = 8;
/// Records of a batch, and the bytes of each.
const MEGABYTE: (usize, usize) = (1_000, 1_000);
const KILOBYTE: (usize, usize) = (1, 940);
/// The most that a Fetch of one small batch asks for.
const SMALL_FETCH: i32 = 1 << 10;

/// A load: the part of the row's name, what it is, its batches, connections, requests in flight.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    operation: &'static str,
    batch: (usize, usize),
    fetch: Option<i32>,
    connections: usize,
    in_flight: usize,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "produce-1m",
        operation: "Produce of a batch of 1 MB, 8 connections, one in flight",
        batch: MEGABYTE,
        fetch: None,
        connections: PARTITIONS,
        in_flight: 1,
    },
    Kind {
        name: "consume-1m",
        operation: "Fetch of a batch of 1 MB, 8 connections",
        batch: MEGABYTE,
        fetch: Some(FETCH_BYTES),
        connections: PARTITIONS,
        in_flight: 1,
    },
    Kind {
        name: "produce-1k",
        operation: "Produce of a batch of 1 KB, 8 connections, 5 in flight",
        batch: KILOBYTE,
        fetch: None,
        connections: PARTITIONS,
        in_flight: 5,
    },
    Kind {
        name: "consume-1k",
        operation: "Fetch of a batch of 1 KB, 8 connections",
        batch: KILOBYTE,
        fetch: Some(SMALL_FETCH),
        connections: PARTITIONS,
        in_flight: 1,
    },
    Kind {
        name: "produce-1k-1000",
        operation: "Produce of a batch of 1 KB, 1,000 connections, one in flight",
        batch: KILOBYTE,
        fetch: None,
        connections: 1_000,
        in_flight: 1,
    },
    Kind {
        name: "produce-1k-5000",
        operation: "Produce of a batch of 1 KB, 5,000 connections, one in flight",
        batch: KILOBYTE,
        fetch: None,
        connections: 5_000,
        in_flight: 1,
    },
];

/// With many connections, HAProxy as it is stands for the others.
fn measured(proxy: Proxy, kind: &Kind) -> bool {
    kind.connections == PARTITIONS || proxy == Proxy::HaProxy
}

pub(super) fn names() -> Vec<String> {
    let all = Proxy::ALL.into_iter().flat_map(|proxy| {
        let kinds = KINDS.iter().filter(move |kind| measured(proxy, kind));
        kinds.map(move |kind| row_name(proxy, kind))
    });
    all.collect()
}

fn row_name(proxy: Proxy, kind: &Kind) -> String {
    format!("relay-{}-{}", proxy.key(), kind.name)
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let options = bench.options.clone();
    let roles = Roles::Broker { zookeeper: 0 };
    let broker = Server::start(&options, Side::Doorkeeper, roles, &bench.folder("relay-broker"))?;
    let broker_port = broker.kafka.context("not a broker")?.port();
    let wanted = |side| options.only.is_none_or(|only| only == side);
    let mut pair = Pair { doorkeeper: None, peer: None, peers_zookeeper: None };
    if wanted(Side::Doorkeeper) {
        let roles = Roles::Gateway { zookeeper: broker.zookeeper.port(), relay: true };
        let folder = bench.folder("relay-gateway");
        pair.doorkeeper = Some(Server::start(&options, Side::Doorkeeper, roles, &folder)?);
    }
    for proxy in Proxy::ALL {
        let kinds = KINDS.iter().filter(|kind| measured(proxy, kind));
        let mut kinds = kinds.filter(|kind| options.wants(&row_name(proxy, kind))).peekable();
        if kinds.peek().is_none() {
            continue;
        }
        // A smoke run needs nothing installed that only these rows do, and has the first alone.
        if !options.smoke && wanted(Side::Peer) {
            let roles = Roles::Proxy { proxy, broker: broker_port };
            let folder = bench.folder(&format!("relay-{}", proxy.key()));
            pair.peer = Some(Server::start(&options, Side::Peer, roles, &folder)?);
        } else if proxy != Proxy::HaProxy {
            break;
        }
        for kind in kinds {
            row(bench, &broker, &pair, proxy, kind)?;
        }
        pair.peer = None;
    }
    if options.smoke {
        say("        relay-*: without their peers in a smoke run");
    }
    Ok(())
}

fn row(bench: &mut Bench, broker: &Server, pair: &Pair, proxy: Proxy, kind: &Kind) -> Result<()> {
    let name = row_name(proxy, kind);
    let connections = bench.connections(kind.connections);
    let Kind { operation, batch: (records, size), in_flight, .. } = *kind;
    let topic = Topic::make(broker, &name)?;
    if kind.fetch.is_some() {
        let address = broker.kafka.unwrap_or(broker.zookeeper);
        let load = Load { address, pid: broker.pid(), connections: PARTITIONS, in_flight: 1 };
        let seconds = if bench.options.smoke { 0.1 } else { 0.5 };
        let measured = Duration::from_secs_f64(seconds);
        let extent = Extent::Time { warm_up: Duration::ZERO, measured };
        run_load(load, extent, &mut Produce::new(&topic.name, PARTITIONS, records, size)?)?;
    }
    let native = Native { name: &name, operation, peer_name: proxy.name(), warm: false };
    let measured = bench.native_row(&native, pair, |server, extent| -> Result<Measured> {
        let address = server.kafka.unwrap_or(server.zookeeper);
        let load = Load { address, pid: server.pid(), connections, in_flight };
        let extent = settled(extent, connections);
        if let Some(bytes) = kind.fetch {
            return run_load(load, extent, &mut Fetch::new(&topic.name, connections, bytes)?);
        }
        // What was produced goes away at once: it is gigabytes.
        let topic = Topic::make(broker, "relay-produced")?;
        let mut produce = Produce::shared(&topic.name, connections, PARTITIONS, records, size)?;
        let measured = run_load(load, extent, &mut produce);
        topic.remove(broker)?;
        measured
    });
    topic.remove(broker)?;
    measured
}

/// Many connections take a while until all of them are passed on.
fn settled(extent: Extent, connections: usize) -> Extent {
    let (warm_up, measured) = extent.times();
    let least = Duration::from_millis(u64::try_from(connections).unwrap_or_default());
    Extent::Time { warm_up: warm_up.max(least), measured }
}

/// A topic of the broker, with a partition for each connection.
struct Topic {
    name: String,
}

impl Topic {
    fn make(broker: &Server, name: &str) -> Result<Self> {
        let topic = Self { name: name.to_owned() };
        let partitions = i32::try_from(PARTITIONS)?;
        client(broker)?.create_topics(std::slice::from_ref(&topic.name), partitions)?;
        Ok(topic)
    }

    fn remove(self, broker: &Server) -> Result<()> {
        client(broker)?.delete_topics(&[self.name])
    }
}

fn client(broker: &Server) -> Result<Client> {
    Client::connect(broker.kafka.context("not a broker")?, Duration::from_mins(1))
}
