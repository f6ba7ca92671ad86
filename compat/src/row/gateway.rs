//! A gateway beside an Apache Kafka broker on the same coordinator, with 5,000 partitions: Metadata of
//! one topic, ten and all from few and many connections, and storms of clients; beside each a bare
//! server that answers as many bytes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Bench, KAFKA, Native, Pair};
use crate::echo::{Echo, EchoServer};
use crate::kafka::{Client, Metadata, Topics};
use crate::load::{Load, Measured, Storm, Stormed, run as run_load, storm};
use crate::report::{Client as Asker, FigureRow, Sample};
use crate::server::{Roles, Server, Side};

/// What is asked for: the part of the row's name, how many topics (none: all), what it is.
pub(super) type Asked = (&'static str, Option<usize>, &'static str);

const LOADS: [Asked; 3] = [
    ("one", Some(1), "Metadata v12 of one topic of 10 partitions"),
    ("ten", Some(10), "Metadata v12 of ten topics of 10 partitions"),
    ("all", None, "Metadata v12 of all of 500 topics of 10 partitions"),
];
const CONNECTIONS: [usize; 3] = [50, 1_000, 10_000];
const STORMS: [Asked; 2] = [
    ("one", Some(1), "a client of 10,000 that connect and ask for one topic at once"),
    ("all", None, "a client of 10,000 that connect and ask for all of 500 topics at once"),
];
const CLIENTS: usize = 10_000;
const TOPICS: Topics = Topics { count: 500, partitions: 10 };
/// Heap of the broker in GiB: that of its start script.
const HEAP: u8 = 1;

/// How long a server may take until it knows every topic.
const PATIENCE: Duration = Duration::from_mins(10);
const ANSWER_PATIENCE: Duration = Duration::from_mins(1);

pub(super) fn names() -> Vec<String> {
    let storms = STORMS.iter().map(|(what, ..)| storm_name(what));
    loads().map(|(name, ..)| name).chain(storms).collect()
}

fn loads() -> impl Iterator<Item = (String, Asked, usize)> {
    LOADS.into_iter().flat_map(|asked| {
        CONNECTIONS
            .into_iter()
            .map(move |count| (format!("gateway-{}-{count}", asked.0), asked, count))
    })
}

fn storm_name(what: &str) -> String {
    format!("gateway-storm-{what}")
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let count = if bench.options.smoke { 20 } else { TOPICS.count };
    let cluster = Cluster::start(bench, "gateway", Topics { count, ..TOPICS }, Some(HEAP))?;
    for (name, asked, connections) in loads() {
        cluster.load(bench, &name, asked, connections, connections > CONNECTIONS[0])?;
    }
    for asked in STORMS {
        let name = storm_name(asked.0);
        if bench.options.wants(&name) {
            cluster.storm(bench, &name, asked)?;
        }
    }
    Ok(())
}

/// A coordinator full of topics, with a broker and a gateway on it.
pub(super) struct Cluster {
    pub(super) topics: Topics,
    pub(super) pair: Pair,
    /// How long the broker took from its start until it knew every topic.
    pub(super) broker_start: Option<Duration>,
}

impl Cluster {
    /// The broker, if there is to be one, comes first: its controller changes every partition that has
    /// no leader.
    pub(super) fn start(
        bench: &mut Bench,
        name: &str,
        topics: Topics,
        heap: Option<u8>,
    ) -> Result<Self> {
        let options = &bench.options;
        let wanted = |side| options.only.is_none_or(|only| only == side);
        let folder = |part: &str| bench.folder(&format!("{name}-{part}"));
        // A smoke run does without one more JVM.
        let side = if options.smoke { Side::Doorkeeper } else { Side::Peer };
        let coordinator = Server::start(options, side, Roles::Coordinator, &folder("coordinator"))?;
        topics.write(coordinator.zookeeper, coordinator.pid())?;
        let zookeeper = coordinator.zookeeper.port();
        let (mut peer, mut broker_start, mut doorkeeper) = (None, None, None);
        if let (Some(heap), true) = (heap, wanted(Side::Peer)) {
            let roles = Roles::BesideGateway { zookeeper, heap };
            let broker = Server::start(options, Side::Peer, roles, &folder("kafka"))?;
            broker_start = Some(await_topics(&broker, topics)?);
            peer = Some(broker);
        }
        let mut pair = Pair { doorkeeper: None, peer, peers_zookeeper: Some(coordinator) };
        pair.wait_until_quiet()?;
        if wanted(Side::Doorkeeper) {
            let roles = Roles::Gateway { zookeeper, relay: false };
            let gateway = Server::start(options, Side::Doorkeeper, roles, &folder("gateway"))?;
            await_topics(&gateway, topics)?;
            doorkeeper = Some(gateway);
        }
        pair.doorkeeper = doorkeeper;
        Ok(Self { topics, pair, broker_start })
    }

    /// The coordinator's process.
    pub(super) fn coordinator(&self) -> Result<&Server> {
        self.pair.peers_zookeeper.as_ref().context("no coordinator")
    }

    fn question(
        &self,
        (_, topics, _): Asked,
        connections: usize,
        server: &Server,
    ) -> Result<Metadata> {
        let names = topics.map(|count| self.topics.some(count));
        let count = names.as_ref().map_or(self.topics.count, Vec::len);
        let address = server.kafka.unwrap_or(server.zookeeper);
        Metadata::at_once(names.as_deref(), self.topics.expected(count), connections, address)
    }

    /// Measures one load on both sides and on an echo server, if it was asked for.
    pub(super) fn load(
        &self,
        bench: &mut Bench,
        name: &str,
        asked: Asked,
        connections: usize,
        warm: bool,
    ) -> Result<()> {
        if !bench.options.wants(name) {
            return Ok(());
        }
        let connections = bench.connections(connections);
        let row = Native { name, operation: asked.2, peer_name: KAFKA, warm };
        bench.native_row(&row, &self.pair, |server, extent| {
            let address = server.kafka.unwrap_or(server.zookeeper);
            let load = Load { address, pid: server.pid(), connections, in_flight: 1 };
            run_load(load, extent, &mut self.question(asked, connections, server)?)
        })?;
        let (server, mut echo) = self.echo(asked)?;
        bench.beside(|extent| {
            let (address, pid) = (server.address, server.pid());
            let load = Load { address, pid, connections, in_flight: 1 };
            run_load(load, extent, &mut echo)
        })
    }

    /// A bare server for the bytes of a question and its answer.
    fn echo(&self, asked: Asked) -> Result<(EchoServer, Echo)> {
        let server = self.pair.each().next().context("no side")?;
        let question = self.question(asked, 1, server)?;
        let answer_length = question.answer_length();
        let echo = Echo { request: question.frame().to_vec(), answer_length };
        Ok((EchoServer::start(answer_length)?, echo))
    }

    fn storm(&self, bench: &mut Bench, name: &str, asked: Asked) -> Result<()> {
        let clients = bench.connections(CLIENTS);
        let one = |server: &Server| -> Result<Stormed> {
            let address = server.kafka.unwrap_or(server.zookeeper);
            let storming = Storm { address, pid: server.pid(), clients };
            storm(storming, &mut self.question(asked, clients, server)?)
        };
        if let (Some(peer), false) = (&self.pair.peer, bench.options.warm_up <= 0.0) {
            one(peer)?;
        }
        let mut figures = Vec::new();
        bench.row(name, asked.2, Asker::Native, KAFKA, &self.pair, |server, _| {
            let stormed = one(server)?;
            figures.push((server.side, "clients without an answer", stormed.failed as f64));
            figures.push((server.side, "listen overflows", stormed.overflows as f64));
            figures.push((server.side, "time until all were answered", seconds(&stormed.measured)));
            Ok(Sample::of(&stormed.measured, server.resident_mebibytes()?))
        })?;
        for (side, title, value) in figures {
            let unit = if title.starts_with("time") { "s" } else { "" };
            figure(bench, name, side, title, unit, value);
        }
        let (server, mut echo) = self.echo(asked)?;
        bench.beside(|_| {
            let storming = Storm { address: server.address, pid: server.pid(), clients };
            Ok(storm(storming, &mut echo)?.measured)
        })
    }
}

fn seconds(measured: &Measured) -> f64 {
    measured.elapsed.as_secs_f64()
}

/// Adds one side's figure of one round.
pub(super) fn figure(
    bench: &mut Bench,
    name: &str,
    side: Side,
    title: &str,
    unit: &'static str,
    value: f64,
) {
    let (doorkeeper, peer) = match side {
        Side::Doorkeeper => (vec![value], Vec::new()),
        Side::Peer => (Vec::new(), vec![value]),
    };
    bench.report.add_figure(FigureRow {
        name: name.to_owned(),
        title: title.to_owned(),
        unit,
        peer_name: KAFKA,
        doorkeeper,
        peer,
    });
}

/// Waits until a server answers for all topics; how long after its start that was.
pub(super) fn await_topics(server: &Server, topics: Topics) -> Result<Duration> {
    let address = server.kafka.unwrap_or(server.zookeeper);
    let mut client = Client::connect(address, ANSWER_PATIENCE)?;
    let last = [Topics::name(topics.count - 1)];
    // A broker is asked for a part first: all of them cost it much.
    let pause = match server.side {
        Side::Doorkeeper => Duration::from_millis(1),
        Side::Peer => Duration::from_millis(100),
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut full = Ok(());
        if server.side == Side::Peer {
            full = topics.expected(1).check(&client.metadata(Some(&last))?);
        }
        let full = full.and_then(|()| topics.expected(topics.count).check(&client.metadata(None)?));
        match full {
            Ok(()) => return Ok(server.started.elapsed()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(pause),
        }
    }
}
