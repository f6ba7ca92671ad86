//! A gateway beside an Apache Kafka broker with 200,000 partitions: loads, the start, a leader change, and
//! answers that nobody reads. The broker takes more than a minute to start and some GiB of memory.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::gateway::{Asked, Cluster, await_topics, figure};
use super::{Bench, say};
use crate::kafka::{Client, Topics, all_topics_frame};
use crate::process::cpu_time;
use crate::server::{Roles, Server, Side};
use crate::zookeeper;

pub(super) const NAMES: [&str; 6] = [
    "gateway-200k-one",
    "gateway-200k-ten",
    "gateway-200k-all",
    "gateway-200k-start",
    "gateway-200k-change",
    "gateway-200k-unread",
];

const LOADS: [(Asked, usize); 3] = [
    (("one", Some(1), "Metadata v12 of one topic of 20,000, 50 connections"), 50),
    (("ten", Some(10), "Metadata v12 of ten topics of 20,000, 50 connections"), 50),
    (("all", None, "Metadata v12 of all of 20,000 topics of 10 partitions, 4 connections"), 4),
];
const TOPICS: Topics = Topics { count: 20_000, partitions: 10 };
/// Heap of the broker in GiB: with the one of its start script it does nothing but collect.
const HEAP: u8 = 3;
/// Changes of a leader whose time and CPU are measured together: CPU time is counted in steps of 10 ms.
const CHANGES: i32 = 20;
/// Clients that ask for everything and read nothing.
const UNREAD: usize = 1_000;
const PATIENCE: Duration = Duration::from_mins(1);
/// A gateway that uses no CPU for so long has done what it can for clients that don't read.
const DONE: Duration = Duration::from_millis(500);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let count = if bench.options.smoke { 40 } else { TOPICS.count };
    let topics = Topics { count, ..TOPICS };
    let cluster = Cluster::start(bench, "large", topics, Some(HEAP))?;
    if bench.options.wants("gateway-200k-start") {
        start(bench, &cluster)?;
    }
    for (asked, connections) in LOADS {
        let name = format!("gateway-200k-{}", asked.0);
        cluster.load(bench, &name, asked, connections, false)?;
    }
    let Some(gateway) = &cluster.pair.doorkeeper else { return Ok(()) };
    if bench.options.wants("gateway-200k-change") {
        change(bench, &cluster, gateway)?;
    }
    if bench.options.wants("gateway-200k-unread") {
        unread(bench, gateway)?;
    }
    Ok(())
}

fn start(bench: &mut Bench, cluster: &Cluster) -> Result<()> {
    const NAME: &str = "gateway-200k-start";
    let time = "start to the first answer with all topics";
    let resident = "resident then";
    let cpu = "CPU time until then";
    let mut starts = Vec::new();
    if let (Some(kafka), Some(elapsed)) = (&cluster.pair.peer, cluster.broker_start) {
        starts.push((Side::Peer, elapsed, cpu_time(kafka.pid())?, kafka.resident_mebibytes()?));
    }
    if cluster.pair.doorkeeper.is_some() {
        let zookeeper = cluster.coordinator()?.zookeeper.port();
        let roles = Roles::Gateway { zookeeper, relay: false };
        for round in 0..bench.options.rounds {
            let folder = bench.folder(&format!("large-start-{round}"));
            let gateway = Server::start(&bench.options, Side::Doorkeeper, roles, &folder)?;
            let elapsed = await_topics(&gateway, cluster.topics)?;
            let (used, held) = (cpu_time(gateway.pid())?, gateway.resident_mebibytes()?);
            starts.push((Side::Doorkeeper, elapsed, used, held));
            gateway.stop()?;
        }
    }
    for (side, elapsed, used, held) in starts {
        figure(bench, NAME, side, time, "s", elapsed.as_secs_f64());
        figure(bench, NAME, side, cpu, "s", used.as_secs_f64());
        figure(bench, NAME, side, resident, "MiB", held);
    }
    say(&format!("ok      {NAME}"));
    Ok(())
}

/// Changes leaders one after the other, each once the gateway shows the one before.
fn change(bench: &mut Bench, cluster: &Cluster, gateway: &Server) -> Result<()> {
    const NAME: &str = "gateway-200k-change";
    let mut coordinator = zookeeper::Client::connect(cluster.coordinator()?.zookeeper, PATIENCE)?;
    let mut client = Client::connect(gateway.kafka.context("no listener")?, PATIENCE)?;
    let topic = cluster.topics.some(1);
    let name = topic.first().context("no topic")?;
    client.metadata(None)?;
    let (mut shown, mut all) = (Duration::ZERO, Duration::ZERO);
    let before = cpu_time(gateway.pid())?;
    for number in 0..CHANGES {
        let epoch = 1_000 + number;
        Topics::change_leader(&mut coordinator, name, epoch)?;
        let written = Instant::now();
        loop {
            let answer = client.metadata(Some(&topic))?;
            let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
            let seen = partition.context("no partition")?.leader_epoch;
            if seen == epoch {
                break;
            }
            if written.elapsed() > PATIENCE {
                bail!("leader epoch {seen} where {epoch} was written");
            }
            sleep(Duration::from_millis(1));
        }
        shown += written.elapsed();
    }
    let changed = cpu_time(gateway.pid())?;
    for number in 0..CHANGES {
        Topics::change_leader(&mut coordinator, name, 2_000 + number)?;
        // Not measured: until it is shown.
        sleep(Duration::from_millis(100));
        let asked = Instant::now();
        client.metadata(None)?;
        all += asked.elapsed();
    }
    let asked = cpu_time(gateway.pid())?;
    coordinator.close()?;
    let each = |total: Duration| (total / CHANGES.unsigned_abs()).as_secs_f64() * 1000.0;
    let side = Side::Doorkeeper;
    let mut add = |title: &str, value| figure(bench, NAME, side, title, "ms", value);
    add("one leader change until it is answered, mean", each(shown));
    add("CPU time of a leader change", each(changed.saturating_sub(before)));
    add("the next answer with all topics, until it is read and decoded", each(all));
    add(
        "CPU time of a leader change and of the next answer with all topics",
        each(asked.saturating_sub(changed)),
    );
    say(&format!("ok      {NAME}"));
    Ok(())
}

/// Memory while many clients have asked for everything and read nothing.
fn unread(bench: &mut Bench, gateway: &Server) -> Result<()> {
    const NAME: &str = "gateway-200k-unread";
    let address = gateway.kafka.context("no listener")?;
    let frame = all_topics_frame()?;
    let length = {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&frame)?;
        crate::load::read_frame(&mut stream)?.len()
    };
    let before = gateway.resident_mebibytes()?;
    let count = bench.connections(UNREAD);
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = deaf(address)?;
        client.write_all(&frame)?;
        clients.push(client);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let cpu = cpu_time(gateway.pid())?;
        sleep(DONE);
        if cpu_time(gateway.pid())? == cpu {
            break;
        }
        ensure!(Instant::now() < deadline, "the gateway is busy with clients that don't read");
    }
    let after = gateway.resident_mebibytes()?;
    let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let side = Side::Doorkeeper;
    let mut add = |title: &str, value| figure(bench, NAME, side, title, "MiB", value);
    add(
        "all topics, asked for by 1,000 clients that read nothing: bytes owed",
        mebibytes(length * count),
    );
    add("resident before", before);
    add("resident while they are owed", after);
    say(&format!("ok      {NAME}"));
    Ok(())
}

/// A client whose socket takes next to nothing in.
fn deaf(address: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_recv_buffer_size(4 << 10)?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}
