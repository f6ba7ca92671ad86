//! Metadata of one topic, and of all.

use anyhow::Result;

use super::{Bench, KAFKA, Native};
use crate::kafka::{Client, Expected, Metadata};
use crate::load::{Load, run as run_load};

pub(super) const NAMES: [&str; 2] = ["metadata-one", "metadata-all"];

const PARTITIONS: i32 = 10;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let topics: usize = if bench.options.smoke { 20 } else { 500 };
    let names: Vec<String> = (0..topics).map(|number| format!("bench-topic-{number:04}")).collect();
    let pair = bench.pair(true, "metadata")?;
    for server in pair.each() {
        let Some(address) = server.kafka else { continue };
        Client::connect(address, super::Duration::from_mins(1))?
            .create_topics(&names, PARTITIONS)?;
    }
    pair.wait_until_quiet()?;
    let one = names.get(topics / 2..=topics / 2);
    for (name, operation, asked, expected, connections) in [
        (NAMES[0], "Metadata v12 of one topic of 10 partitions, 50 connections", one, 1, 50),
        (
            NAMES[1],
            "Metadata v12 of all of 500 topics of 10 partitions, 10 connections",
            None,
            topics,
            10,
        ),
    ] {
        if !bench.options.wants(name) {
            continue;
        }
        let row = Native { name, operation, peer_name: KAFKA, warm: false };
        bench.native_row(&row, &pair, |server, extent| {
            let address = server.kafka.unwrap_or(server.zookeeper);
            let load = Load { address, pid: server.pid(), connections, in_flight: 1 };
            let expected = Expected { topics: expected, partitions: PARTITIONS, led: true };
            run_load(load, extent, &mut Metadata::new(asked, expected, connections)?)
        })?;
    }
    bench.keep(true, pair);
    Ok(())
}
