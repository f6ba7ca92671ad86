//! Sessions and watches: events to many watchers, sessions opened and closed, and the memory of each.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token};

use super::{Bench, Native, Pair, ZOOKEEPER, order, say};
use crate::histogram::Histogram;
use crate::load::{Extent, Load, Measured, Meter, close_all, open_all, read_frame};
use crate::report::FigureRow;
use crate::server::{Server, Side};
use crate::zookeeper::{
    Client, Operation, Sessions, Watch, create_all, event_length, put_persistent_watch,
};

pub(super) const NAMES: [&str; 3] = ["fan-out", "connects", "memory"];

const WATCHERS: usize = 2000;
const WATCHED: &str = "/sessions/watched";
/// Sessions that are opened together.
const AT_ONCE: usize = 32;
/// Sessions whose memory is measured, and watches on each of so many sessions.
const SESSIONS: usize = 2000;
const WATCHING_SESSIONS: usize = 50;
const WATCHES_EACH: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let pair = bench.pair(false, "sessions")?;
    let each = if bench.options.smoke { 50 } else { WATCHES_EACH };
    let paths: Vec<String> =
        (0..each).map(|number| format!("/sessions/node-{number:05}")).collect();
    for server in pair.each() {
        let mut client = Client::connect(server.zookeeper, PATIENCE)?;
        client.create("/sessions", b"")?;
        client.create(WATCHED, b"")?;
        client.close()?;
        let (address, pid) = (server.zookeeper, server.pid());
        let load = Load { address, pid, connections: 8, in_flight: 100 };
        create_all(load, paths.iter().cloned(), b"")?;
    }
    pair.wait_until_quiet()?;
    // First of all: what other rows' sessions leave would be taken up again, and not be seen.
    if bench.options.wants(NAMES[2]) {
        memory(bench, &pair, &paths)?;
    }
    if bench.options.wants(NAMES[0]) {
        let watchers = bench.connections(WATCHERS);
        let operation =
            "an event to each of 2,000 watchers of a znode; latency: until the last has it";
        let row = Native { name: NAMES[0], operation, peer_name: ZOOKEEPER, warm: false };
        bench.native_row(&row, &pair, |server, extent| fan_out(server, watchers, extent))?;
    }
    if bench.options.wants(NAMES[1]) {
        let operation = "a session opened and closed, 32 at a time; latency: until 32 are open";
        let row = Native { name: NAMES[1], operation, peer_name: ZOOKEEPER, warm: false };
        bench.native_row(&row, &pair, connects)?;
    }
    bench.keep(false, pair);
    Ok(())
}

/// An operation that asks for nothing: its sessions are only there.
#[derive(Debug)]
struct Idle;

impl Operation for Idle {
    fn ask(&mut self, _: usize, _: i32, _: &mut Vec<u8>) -> bool {
        false
    }

    fn check(&mut self, _: usize, _: i32, _: &[u8], _: bool) -> Result<()> {
        bail!("an answer that nobody asked for")
    }
}

/// Changes a znode again and again, each time when all its watchers have heard of the last change.
fn fan_out(server: &Server, watchers: usize, extent: Extent) -> Result<Measured> {
    let load =
        Load { address: server.zookeeper, pid: server.pid(), connections: watchers, in_flight: 1 };
    let mut idle = Sessions::new(watchers, Idle);
    let mut streams = open_all(&load, &mut idle)?;
    let mut poll = Poll::new()?;
    let mut request = Vec::new();
    put_persistent_watch(&mut request, 1, WATCHED);
    for stream in &mut streams {
        std::io::Write::write_all(stream, &request)?;
    }
    let mut watching = Vec::with_capacity(watchers);
    for (index, mut stream) in streams.into_iter().enumerate() {
        read_frame(&mut stream)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        watching.push(stream);
    }
    let mut client = Client::connect(server.zookeeper, PATIENCE)?;
    let mut events = Events::with_capacity(watchers);
    let mut latency = Histogram::default();
    let (warm_up, measured) = extent.times();
    let started = Instant::now();
    let (mut meter, mut told) = (None, 0);
    loop {
        if meter.is_none() && started.elapsed() >= warm_up {
            (latency, told) = (Histogram::default(), 0);
            meter = Some(Meter::start(server.pid())?);
        }
        if let Some(meter) = meter.take_if(|meter: &mut Meter| meter.elapsed() >= measured) {
            let result = meter.stop(told, latency)?;
            let streams = watching.into_iter().map(|stream| {
                let stream = TcpStream::from(stream);
                stream.set_nonblocking(false).map(|()| stream)
            });
            close_all(streams.collect::<std::io::Result<_>>()?, &mut idle)?;
            client.close()?;
            return Ok(result);
        }
        let asked = Instant::now();
        client.ask_set_data(WATCHED, b"changed")?;
        hear(&mut poll, &mut events, &mut watching, event_length(WATCHED) * watchers)?;
        latency.record(asked.elapsed());
        client.set_data_answer()?;
        told += watchers as u64;
    }
}

/// Reads until so many bytes of events have come.
fn hear(
    poll: &mut Poll,
    events: &mut Events,
    watching: &mut [mio::net::TcpStream],
    mut bytes: usize,
) -> Result<()> {
    let mut room = [0; 4096];
    while bytes > 0 {
        poll.poll(events, Some(PATIENCE))?;
        ensure!(!events.is_empty(), "{bytes} bytes of events are missing");
        for event in events.iter() {
            let stream = watching.get_mut(event.token().0).context("a token of no connection")?;
            match stream.read(&mut room) {
                Ok(0) => bail!("the server closed the connection of a watcher"),
                Ok(count) => {
                    bytes = bytes.checked_sub(count).context("more than one event each")?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Opens some sessions together, closes them, and begins again.
fn connects(server: &Server, extent: Extent) -> Result<Measured> {
    let load =
        Load { address: server.zookeeper, pid: server.pid(), connections: AT_ONCE, in_flight: 1 };
    let (warm_up, measured) = extent.times();
    let started = Instant::now();
    let (mut meter, mut sessions, mut latency) = (None, 0, Histogram::default());
    loop {
        if meter.is_none() && started.elapsed() >= warm_up {
            (latency, sessions) = (Histogram::default(), 0);
            meter = Some(Meter::start(server.pid())?);
        }
        if let Some(meter) = meter.take_if(|meter: &mut Meter| meter.elapsed() >= measured) {
            return meter.stop(sessions, latency);
        }
        let mut idle = Sessions::new(AT_ONCE, Idle);
        let asked = Instant::now();
        let streams = open_all(&load, &mut idle)?;
        latency.record(asked.elapsed());
        close_all(streams, &mut idle)?;
        sessions += AT_ONCE as u64;
    }
}

/// What sessions and watches take: of doorkeeper's resident memory, and of the peer's live heap.
fn memory(bench: &mut Bench, pair: &Pair, paths: &[String]) -> Result<()> {
    for side in order(0) {
        let Some(server) = pair.side(side) else { continue };
        let count = bench.connections(SESSIONS);
        let (address, pid) = (server.zookeeper, server.pid());
        let load = Load { address, pid, connections: count, in_flight: 1 };
        let mut idle = Sessions::new(count, Idle);
        // A few in vain, for what a server takes but once. Not as many as are measured: an allocator
        // keeps what they leave, and the next ones would seem to take nothing.
        let few = bench.connections(WATCHING_SESSIONS);
        let mut first = Sessions::new(few, Idle);
        close_all(open_all(&Load { connections: few, ..load }, &mut first)?, &mut first)?;
        let before = server.live_bytes()?;
        let streams = open_all(&load, &mut idle)?;
        let with = server.live_bytes()?;
        add(bench, side, "per session, connected", (with - before) / count as f64);
        close_all(streams, &mut idle)?;

        let watching = bench.connections(WATCHING_SESSIONS);
        let load = Load { address, pid, connections: watching, in_flight: 1 };
        let before = server.live_bytes()?;
        let mut watch = Sessions::new(watching, Watch { paths });
        let mut with = 0.0;
        let inspect = &mut || {
            with = server.live_bytes()?;
            Ok(())
        };
        let load = Load { in_flight: 100, ..load };
        crate::load::run_and(load, Extent::Everything, &mut watch, inspect)?;
        let watches = (watching * paths.len()) as f64;
        add(bench, side, "per watch, 50 watchers on each znode", (with - before) / watches);
    }
    say("ok      memory");
    Ok(())
}

fn add(bench: &mut Bench, side: Side, what: &str, value: f64) {
    let (doorkeeper, peer) = match side {
        Side::Doorkeeper => (vec![value], Vec::new()),
        Side::Peer => (Vec::new(), vec![value]),
    };
    bench.report.add_figure(FigureRow {
        name: NAMES[2].to_owned(),
        title: format!("memory {what} (resident; the peer's live heap)"),
        unit: "B",
        peer_name: ZOOKEEPER,
        doorkeeper,
        peer,
    });
}
