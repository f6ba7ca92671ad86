//! The rows of the table: each puts the same load on both sides, in turn, round after round.

mod coordinator;
mod gateway;
mod large;
mod metadata;
mod million;
mod records;
mod relay;
mod sessions;
mod start;
mod tools;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::load::{Extent, Measured};
use crate::machine;
use crate::options::Options;
use crate::process::cpu_time;
use crate::report::{Client, LoadRow, Report, Sample};
use crate::server::{Roles, Server, Side};

/// The peers' names in the table.
const KAFKA: &str = "Kafka 3.9.1";
const ZOOKEEPER: &str = "ZooKeeper 3.9.4";

/// A server that uses at most a twentieth of a core for so long is quiet.
const QUIET_WINDOW: Duration = Duration::from_millis(400);
/// How long it may take to become so.
const QUIET_PATIENCE: Duration = Duration::from_mins(3);

/// Connections of any row in a smoke run at most.
const SMOKE_CONNECTIONS: usize = 40;

/// Every row's name, in the order of the table.
pub fn names() -> Vec<String> {
    let mut names = Vec::new();
    names.extend(metadata::NAMES.map(str::to_owned));
    names.extend(records::NAMES.map(str::to_owned));
    names.extend(tools::NAMES.map(str::to_owned));
    names.extend(coordinator::names());
    names.extend(coordinator::slow_names());
    names.extend(sessions::NAMES.map(str::to_owned));
    names.extend(start::NAMES.map(str::to_owned));
    names.push(million::NAME.to_owned());
    names.extend(gateway::names());
    names.extend(large::NAMES.map(str::to_owned));
    names.extend(relay::names());
    names
}

/// A run of the benchmark.
#[derive(Debug)]
pub struct Bench {
    options: Options,
    /// What was found so far.
    pub report: Report,
    /// The rows that failed, with the reason.
    pub failures: Vec<String>,
    /// In a smoke run, servers that wait for the next group that wants such: coordinators, brokers.
    kept: [Option<Pair>; 2],
}

/// A row of the native generator.
#[derive(Debug, Clone, Copy)]
struct Native<'a> {
    name: &'a str,
    operation: &'static str,
    peer_name: &'static str,
    /// Whether the row before had the same kind of load: it needs only a short warm-up then.
    warm: bool,
}

impl Bench {
    /// Prepares a run: the folder for data is emptied.
    pub fn new(mut options: Options) -> Result<Self> {
        let known = names();
        for asked in options.rows.iter().chain(&options.without) {
            if !known.iter().any(|name| name.starts_with(asked.as_str())) {
                bail!("no row begins with {asked}; there are {}", known.join(", "));
            }
        }
        if options.scratch.exists() {
            fs::remove_dir_all(&options.scratch)?;
        }
        fs::create_dir_all(&options.scratch)?;
        options.scratch = options.scratch.canonicalize()?;
        for program in
            [&mut options.doorkeeper, &mut options.kafka_jars, &mut options.zookeeper_jars]
                .into_iter()
                .chain(&mut options.kroxylicious_jars)
                .chain(&mut options.kroxylicious_main)
        {
            // A missing one is reported by the row that needs it.
            *program = program.canonicalize().unwrap_or_else(|_| program.clone());
        }
        let report = Report { setting: machine::setting(&options)?, ..Report::default() };
        Ok(Self { options, report, failures: Vec::new(), kept: [None, None] })
    }

    /// Runs every row that was asked for. A row that fails is noted, and the next one runs. The data
    /// is removed at the very end: ext4 takes long to make files while it remembers many removed ones.
    pub fn run(&mut self) {
        self.group("metadata", &metadata::NAMES.map(str::to_owned), metadata::run);
        let names = [&records::NAMES[..], &tools::NAMES].concat().into_iter().map(str::to_owned);
        self.group("records", &names.collect::<Vec<_>>(), records::run);
        self.group("coordinator", &coordinator::names(), coordinator::run);
        self.group("slow", &coordinator::slow_names(), coordinator::run_slow);
        self.group("sessions", &sessions::NAMES.map(str::to_owned), sessions::run);
        self.group("start", &start::NAMES.map(str::to_owned), start::run);
        self.group("million", &[million::NAME.to_owned()], million::run);
        self.group("gateway", &gateway::names(), gateway::run);
        self.group("large", &large::NAMES.map(str::to_owned), large::run);
        self.group("relay", &relay::names(), relay::run);
        self.kept = [None, None];
        // What cannot be removed is removed by the next run, or is an error there.
        let _ = fs::remove_dir_all(&self.options.scratch);
    }

    fn group(&mut self, group: &str, rows: &[String], run: fn(&mut Self) -> Result<()>) {
        if !rows.iter().any(|row| self.options.wants(row)) {
            return;
        }
        if let Err(error) = run(self) {
            self.failures.push(format!("{group}: {error:#}"));
            say(&format!("FAILED  {group}: {error:#}"));
        }
    }

    /// A folder below the folder for data.
    fn folder(&self, name: &str) -> PathBuf {
        self.options.scratch.join(name)
    }

    /// How many connections a row has that wants so many: a smoke run has few.
    fn connections(&self, wanted: usize) -> usize {
        if self.options.smoke { wanted.min(SMOKE_CONNECTIONS) } else { wanted }
    }

    /// Leaves servers to the next group, in a smoke run: most of its time is the starts of JVMs.
    fn keep(&mut self, broker: bool, pair: Pair) {
        if self.options.smoke {
            self.kept[usize::from(broker)] = Some(pair);
        }
    }

    /// Starts both sides (or the one that was asked for) with these roles, on empty directories;
    /// in a smoke run, those that were kept are taken.
    fn pair(&mut self, broker: bool, name: &str) -> Result<Pair> {
        if let Some(pair) = self.kept[usize::from(broker)].take() {
            return Ok(pair);
        }
        let wanted = |side| self.options.only.is_none_or(|only| only == side);
        let mut pair = Pair { doorkeeper: None, peer: None, peers_zookeeper: None };
        let mut peer_roles = Roles::Coordinator;
        if broker && wanted(Side::Peer) {
            let folder = self.folder(&format!("{name}-zookeeper"));
            let zookeeper = Server::start(&self.options, Side::Peer, Roles::Coordinator, &folder)?;
            peer_roles = Roles::Broker { zookeeper: zookeeper.zookeeper.port() };
            pair.peers_zookeeper = Some(zookeeper);
        }
        if wanted(Side::Peer) {
            let folder = self.folder(&format!("{name}-peer"));
            pair.peer = Some(Server::start(&self.options, Side::Peer, peer_roles, &folder)?);
        }
        if wanted(Side::Doorkeeper) {
            let roles = if broker { Roles::Broker { zookeeper: 0 } } else { Roles::Coordinator };
            let folder = self.folder(&format!("{name}-doorkeeper"));
            pair.doorkeeper = Some(Server::start(&self.options, Side::Doorkeeper, roles, &folder)?);
        }
        Ok(pair)
    }

    /// Measures one load of the native generator on both sides and adds its row.
    fn native_row(
        &mut self,
        row: &Native<'_>,
        pair: &Pair,
        mut load: impl FnMut(&Server, Extent) -> Result<Measured>,
    ) -> Result<()> {
        let Native { name, operation, peer_name, warm } = *row;
        let settle = self.options.settle();
        let share = if warm { 0.25 } else { 1.0 };
        let warm_up = Duration::from_secs_f64(self.options.warm_up * share);
        if let (Some(peer), false) = (&pair.peer, warm_up.is_zero()) {
            load(peer, Extent::Time { warm_up: Duration::ZERO, measured: warm_up })?;
        }
        let extent = Extent::Time { warm_up: settle, measured: self.options.measured() };
        self.row(name, operation, Client::Native, peer_name, pair, |server, _| {
            Ok(Sample::of(&load(server, extent)?, server.resident_mebibytes()?))
        })
    }

    /// Puts the load of the last row on a bare echo server, too.
    fn beside(&mut self, mut load: impl FnMut(Extent) -> Result<Measured>) -> Result<()> {
        let (warm_up, measured) = (self.options.settle(), self.options.measured());
        for _ in 0..self.options.rounds {
            let sample = Sample::of(&load(Extent::Time { warm_up, measured })?, 0.0);
            if let Some(row) = self.report.loads.last_mut() {
                row.echo.push(sample);
            }
        }
        Ok(())
    }

    /// Takes a sample of each side in each round, in alternating order, and adds the row.
    fn row(
        &mut self,
        name: &str,
        operation: &'static str,
        client: Client,
        peer_name: &'static str,
        pair: &Pair,
        mut sample: impl FnMut(&Server, usize) -> Result<Sample>,
    ) -> Result<()> {
        let started = Instant::now();
        let mut row = LoadRow {
            name: name.to_owned(),
            operation,
            client,
            peer_name,
            doorkeeper: Vec::new(),
            peer: Vec::new(),
            echo: Vec::new(),
        };
        for round in 0..self.options.rounds {
            for side in order(round) {
                let Some(server) = pair.side(side) else { continue };
                let sample = sample(server, round)?;
                match side {
                    Side::Doorkeeper => row.doorkeeper.push(sample),
                    Side::Peer => row.peer.push(sample),
                }
            }
        }
        say(&format!("ok      {name} ({:.1} s)", started.elapsed().as_secs_f64()));
        self.report.loads.push(row);
        Ok(())
    }
}

/// Who comes first in a round: each side in every other one.
fn order(round: usize) -> [Side; 2] {
    if round.is_multiple_of(2) {
        [Side::Doorkeeper, Side::Peer]
    } else {
        [Side::Peer, Side::Doorkeeper]
    }
}

/// Both sides of a row, running; without the side that was not asked for.
#[derive(Debug)]
struct Pair {
    doorkeeper: Option<Server>,
    peer: Option<Server>,
    /// Stopped behind the broker that needs it: fields are dropped in their order.
    peers_zookeeper: Option<Server>,
}

impl Pair {
    fn side(&self, side: Side) -> Option<&Server> {
        match side {
            Side::Doorkeeper => self.doorkeeper.as_ref(),
            Side::Peer => self.peer.as_ref(),
        }
    }

    fn each(&self) -> impl Iterator<Item = &Server> {
        self.doorkeeper.iter().chain(&self.peer)
    }

    /// Waits until both sides have nothing to do any more: what a preparation leaves behind (logs of
    /// new topics, snapshots) is not part of the load that follows.
    fn wait_until_quiet(&self) -> Result<()> {
        let deadline = Instant::now() + QUIET_PATIENCE;
        for server in self.each() {
            loop {
                let before = cpu_time(server.pid())?;
                sleep(QUIET_WINDOW);
                if cpu_time(server.pid())?.saturating_sub(before) * 20 <= QUIET_WINDOW {
                    break;
                }
                if Instant::now() > deadline {
                    bail!(
                        "{:?} is still busy {} s after the preparation",
                        server.side,
                        QUIET_PATIENCE.as_secs()
                    );
                }
            }
        }
        Ok(())
    }
}

/// Tells the operator how far the run is.
fn say(line: &str) {
    // Nobody may be listening any more: the results are in the file all the same.
    let _ = writeln!(std::io::stderr(), "{line}");
}
