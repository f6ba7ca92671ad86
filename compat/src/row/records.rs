//! Produce and Fetch by the native generator: what a broker itself costs, without a Java client.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, KAFKA, Native, Pair, tools};
use crate::kafka::{Client, FETCH_BYTES, Fetch, Produce};
use crate::load::{Extent, Load, run as run_load};

pub(super) const NAMES: [&str; 2] = ["native-produce", "native-fetch"];

/// Connections, each with a partition of its own.
const CONNECTIONS: usize = 8;
/// Requests in flight: the default of `max.in.flight.requests.per.connection`.
const IN_FLIGHT: usize = 5;
/// Records of 100 bytes that fill a batch of the default `batch.size` of 16 KiB.
const BATCH_RECORDS: usize = 150;
const RECORD_BYTES: usize = 100;

/// These rows, and then those of Kafka's own tools, on the same brokers.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let pair = bench.pair(true, "records")?;
    if NAMES.iter().any(|name| bench.options.wants(name)) {
        native(bench, &pair)?;
    }
    tools::run(bench, &pair)?;
    bench.keep(true, pair);
    Ok(())
}

fn native(bench: &mut Bench, pair: &Pair) -> Result<()> {
    let topics = ["bench-produce".to_owned(), "bench-fetch".to_owned()];
    for server in pair.each() {
        let Some(address) = server.kafka else { continue };
        let partitions = i32::try_from(CONNECTIONS)?;
        Client::connect(address, Duration::from_mins(1))?.create_topics(&topics, partitions)?;
    }
    pair.wait_until_quiet()?;
    let [produce_topic, fetch_topic] = topics;
    let load = |server: &crate::server::Server, in_flight| Load {
        address: server.kafka.unwrap_or(server.zookeeper),
        pid: server.pid(),
        connections: CONNECTIONS,
        in_flight,
    };
    if bench.options.wants(NAMES[0]) {
        let operation = "Produce v9 of 150 records of 100 B, acks=all, 8 connections, 5 in flight";
        let row = Native { name: NAMES[0], operation, peer_name: KAFKA, warm: false };
        bench.native_row(&row, pair, |server, extent| {
            let mut produce =
                Produce::new(&produce_topic, CONNECTIONS, BATCH_RECORDS, RECORD_BYTES)?;
            run_load(load(server, IN_FLIGHT), extent, &mut produce)
        })?;
    }
    if bench.options.wants(NAMES[1]) {
        for server in pair.each() {
            let seconds = if bench.options.smoke { 0.3 } else { 5.0 };
            let fill = Extent::Time {
                warm_up: Duration::ZERO,
                measured: Duration::from_secs_f64(seconds),
            };
            let mut produce = Produce::new(&fetch_topic, CONNECTIONS, BATCH_RECORDS, RECORD_BYTES)?;
            run_load(load(server, IN_FLIGHT), fill, &mut produce)?;
        }
        pair.wait_until_quiet()?;
        let operation = "Fetch v12 of up to 1 MiB, 8 connections";
        let row = Native { name: NAMES[1], operation, peer_name: KAFKA, warm: false };
        bench.native_row(&row, pair, |server, extent| {
            let mut fetch = Fetch::new(&fetch_topic, CONNECTIONS, FETCH_BYTES)?;
            let measured = run_load(load(server, 1), extent, &mut fetch)?;
            anyhow::ensure!(fetch.bytes > 0, "nothing was fetched");
            Ok(measured)
        })?;
    }
    Ok(())
}
