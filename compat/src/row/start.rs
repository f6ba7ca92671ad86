//! From the start of a process to its first answer, and its memory when it has nothing to do.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::{Bench, KAFKA, ZOOKEEPER, order, say};
use crate::report::FigureRow;
use crate::server::{Roles, Server, Side};

pub(super) const NAMES: [&str; 2] = ["start", "idle"];

/// How long a server is left idle before its memory is looked at again.
const IDLE: Duration = Duration::from_secs(5);

/// The figures of servers that are kept for other groups as well.
fn smoke(bench: &mut Bench) -> Result<()> {
    for broker in [false, true] {
        let pair = bench.pair(broker, "start")?;
        for server in pair.each() {
            let start = || Ok(server.start_time.as_secs_f64() * 1000.0);
            record(bench, NAMES[0], "start to first answer", "ms", broker, server, start)?;
            record(bench, NAMES[1], "resident", "MiB", broker, server, || {
                server.resident_mebibytes()
            })?;
        }
        bench.keep(broker, pair);
    }
    say("ok      start, idle");
    Ok(())
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    if bench.options.smoke {
        return smoke(bench);
    }
    let zookeeper = match bench.options.only {
        Some(Side::Doorkeeper) => None,
        _ => Some(Server::start(
            &bench.options,
            Side::Peer,
            Roles::Coordinator,
            &bench.folder("start-zookeeper"),
        )?),
    };
    let zookeeper_port = zookeeper.as_ref().map_or(0, |server| server.zookeeper.port());
    for round in 0..bench.options.rounds {
        for broker in [false, true] {
            for side in order(round) {
                if bench.options.only.is_some_and(|only| only != side) {
                    continue;
                }
                // The second and later rounds of a broker find its directory as the last left it,
                // like a restart; a coordinator has nothing in it either way.
                let folder = bench.folder(&format!("start-{side:?}-{broker}"));
                let roles = if broker {
                    Roles::Broker { zookeeper: zookeeper_port }
                } else {
                    Roles::Coordinator
                };
                let server = Server::start(&bench.options, side, roles, &folder)?;
                record(bench, NAMES[0], "start to first answer", "ms", broker, &server, || {
                    Ok(server.start_time.as_secs_f64() * 1000.0)
                })?;
                if bench.options.wants(NAMES[1]) {
                    record(
                        bench,
                        NAMES[1],
                        "resident at the first answer",
                        "MiB",
                        broker,
                        &server,
                        || server.resident_mebibytes(),
                    )?;
                    sleep(IDLE);
                    let title = format!("resident after {} s idle", IDLE.as_secs());
                    record(bench, NAMES[1], &title, "MiB", broker, &server, || {
                        server.resident_mebibytes()
                    })?;
                }
                server.stop()?;
            }
        }
    }
    say("ok      start, idle");
    Ok(())
}

/// Adds one side's figure of one round.
fn record(
    bench: &mut Bench,
    name: &str,
    what: &str,
    unit: &'static str,
    broker: bool,
    server: &Server,
    value: impl Fn() -> Result<f64>,
) -> Result<()> {
    if !bench.options.wants(name) {
        return Ok(());
    }
    let (roles, peer_name) = if broker {
        ("doorkeeper as coordinator and broker, Kafka with its ZooKeeper running", KAFKA)
    } else {
        ("coordinator alone", ZOOKEEPER)
    };
    let value = vec![value()?];
    let (doorkeeper, peer) = match server.side {
        Side::Doorkeeper => (value, Vec::new()),
        Side::Peer => (Vec::new(), value),
    };
    let title = format!("{what}: {roles}");
    bench.report.add_figure(FigureRow {
        name: name.to_owned(),
        title,
        unit,
        peer_name,
        doorkeeper,
        peer,
    });
    Ok(())
}
