//! A storm: many clients that connect and ask at once, each one question.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mio::{Events, Poll, Token};

use super::connection::Connection;
use super::{Conversation, Mark, Measured, PATIENCE, READ_SIZE};
use crate::histogram::Histogram;
use crate::process;

/// Clients that connect before the generator looks who is connected and who is answered.
const BETWEEN_LOOKS: usize = 128;

/// How many clients come, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// The server's address.
    pub address: SocketAddr,
    /// Its process, whose CPU time is measured.
    pub pid: u32,
    /// How many clients.
    pub clients: usize,
}

/// What became of a storm.
#[derive(Debug)]
pub struct Stormed {
    /// The load; latencies are from the start of connecting to the answer.
    pub measured: Measured,
    /// Clients that were refused, or hung up on, or not answered in time.
    pub failed: usize,
    /// Connections that any listener of this machine dropped meanwhile because its backlog was full.
    pub overflows: u64,
}

/// Has all clients connect and ask at once, and waits for their answers. Everything is measured, and
/// the connections stay until the last answer is there.
pub fn storm<C: Conversation>(storm: Storm, conversation: &mut C) -> Result<Stormed> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(storm.clients.max(16));
    let mut room = vec![0; READ_SIZE];
    let overflows = process::listen_overflows()?;
    let begin = Mark::now(storm.pid)?;
    let mut clients: Vec<Option<Client>> = Vec::with_capacity(storm.clients);
    let mut latency = Histogram::default();
    let (mut answers, mut failed) = (0, 0);
    let mut last = Instant::now();
    while clients.len() < storm.clients || answers + failed < storm.clients {
        let first = clients.len();
        for index in first..storm.clients.min(first + BETWEEN_LOOKS) {
            let connection = Connection::connecting(storm.address, index, &poll)?;
            clients.push(Some(Client { connection, asked: None, since: Instant::now() }));
        }
        let wait = if clients.len() < storm.clients { Duration::ZERO } else { PATIENCE / 10 };
        if let Err(error) = poll.poll(&mut events, Some(wait))
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        for event in &events {
            let Token(index) = event.token();
            let Some(place) = clients.get_mut(index) else { continue };
            let Some(client) = place else { continue };
            let turn = client.turn(index, event.is_readable(), &mut room, conversation);
            match turn {
                Ok(false) => continue,
                Ok(true) => {
                    latency.record(client.since.elapsed());
                    answers += 1;
                }
                Err(_) => {
                    failed += 1;
                    *place = None;
                }
            }
            last = Instant::now();
        }
        if last.elapsed() > PATIENCE {
            break;
        }
    }
    let end = Mark::now(storm.pid)?;
    ensure!(answers > 0, "no client of {} was answered", storm.clients);
    Ok(Stormed {
        measured: Measured::between(&begin, &end, answers as u64, latency),
        failed: storm.clients - answers,
        overflows: process::listen_overflows()? - overflows,
    })
}

struct Client {
    connection: Connection,
    asked: Option<Instant>,
    since: Instant,
}

impl Client {
    /// Asks once it is connected; whether its answer has come now.
    fn turn<C: Conversation>(
        &mut self,
        index: usize,
        readable: bool,
        room: &mut [u8],
        conversation: &mut C,
    ) -> Result<bool> {
        if self.asked.is_none() {
            self.connection.refused()?;
            let now = Instant::now();
            self.asked = Some(now);
            self.connection.fill(index, 1, now, conversation)?;
        } else {
            self.connection.flush()?;
        }
        Ok(readable && self.connection.read(index, room, None, conversation)? > 0)
    }
}
