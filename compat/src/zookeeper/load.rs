//! The benchmark's conversations in ZooKeeper's protocol: getData, setData, create, and the filling
//! and emptying of a tree.

use std::fmt::Write;

use anyhow::{Result, bail};

use super::{
    CHECK, CLOSE_SESSION, CREATE, DELETE, EXISTS, GET_DATA, MULTI, MULTI_HEADER_LENGTH, SET_DATA,
    STAT_LENGTH, check_connected, put_connect, put_create, put_int, put_multi_header, put_request,
    put_set_data, put_string, split_buffer, split_reply,
};
use crate::load::{Conversation, Extent, Load, Measured, run};

/// One answer in so many is compared byte by byte; the others by their header and length.
const SAMPLE: i32 = 256;

/// One kind of request, and what its reply must be.
pub trait Operation {
    /// Appends the request with this xid; false when there is nothing more to ask.
    fn ask(&mut self, connection: usize, xid: i32, out: &mut Vec<u8>) -> bool;
    /// Checks the body of the reply with this xid; `closely` = byte by byte.
    fn check(&mut self, connection: usize, xid: i32, body: &[u8], closely: bool) -> Result<()>;
}

/// Sessions that ask for one operation over and over; xids count from 1 on each.
#[derive(Debug)]
pub struct Sessions<O> {
    /// The operation.
    pub operation: O,
    asked: Vec<i32>,
    answered: Vec<i32>,
}

impl<O: Operation> Sessions<O> {
    /// As many sessions as the load will have connections.
    pub fn new(connections: usize, operation: O) -> Self {
        Self { operation, asked: vec![0; connections], answered: vec![0; connections] }
    }
}

impl<O: Operation> Conversation for Sessions<O> {
    fn open(&mut self, _: usize, out: &mut Vec<u8>) -> Result<()> {
        put_connect(out);
        Ok(())
    }

    fn opened(&mut self, _: usize, answer: &[u8]) -> Result<()> {
        check_connected(answer)
    }

    fn ask(&mut self, connection: usize, out: &mut Vec<u8>) -> bool {
        let Some(asked) = self.asked.get_mut(connection) else { return false };
        let more = self.operation.ask(connection, *asked + 1, out);
        *asked += i32::from(more);
        more
    }

    fn answered(&mut self, connection: usize, answer: &[u8]) -> Result<()> {
        let Some(answered) = self.answered.get_mut(connection) else { return Ok(()) };
        *answered += 1;
        match split_reply(answer)? {
            (xid, _, _) if xid != *answered => bail!("a reply to {xid} where {answered} was due"),
            (xid, 0, body) => self.operation.check(connection, xid, body, xid % SAMPLE == 1),
            (_, code, _) => bail!("error {code}"),
        }
    }

    fn close(&mut self, _: usize, out: &mut Vec<u8>) -> bool {
        put_request(out, i32::MAX, CLOSE_SESSION, |_| ());
        true
    }
}

/// getData without a watch, of a znode chosen at random.
#[derive(Debug)]
pub struct GetData<'a> {
    /// The znodes to choose from.
    pub paths: &'a [String],
    /// What all of them hold.
    pub data: &'a [u8],
    /// Chooses.
    pub numbers: Numbers,
}

impl Operation for GetData<'_> {
    fn ask(&mut self, _: usize, xid: i32, out: &mut Vec<u8>) -> bool {
        let Some(path) = self.paths.get(self.numbers.below(self.paths.len())) else { return false };
        put_request(out, xid, GET_DATA, |out| {
            put_string(out, path);
            out.push(0);
        });
        true
    }

    fn check(&mut self, _: usize, _: i32, body: &[u8], closely: bool) -> Result<()> {
        if body.len() != 4 + self.data.len() + STAT_LENGTH {
            bail!("a getData reply of {} bytes", body.len());
        }
        if closely && split_buffer(body)?.0 != self.data {
            bail!("getData answered other data than was written");
        }
        Ok(())
    }
}

/// setData of a znode chosen at random.
#[derive(Debug)]
pub struct SetData<'a> {
    /// The znodes to choose from.
    pub paths: &'a [String],
    /// What is written.
    pub data: &'a [u8],
    /// Chooses.
    pub numbers: Numbers,
}

impl Operation for SetData<'_> {
    fn ask(&mut self, _: usize, xid: i32, out: &mut Vec<u8>) -> bool {
        let Some(path) = self.paths.get(self.numbers.below(self.paths.len())) else { return false };
        put_request(out, xid, SET_DATA, |out| put_set_data(out, path, self.data));
        true
    }

    fn check(&mut self, _: usize, _: i32, body: &[u8], _: bool) -> Result<()> {
        // A Stat, with the length of the data at its bytes 52 to 55.
        let length =
            body.get(52..).and_then(|rest| rest.first_chunk()).map(|int| i32::from_be_bytes(*int));
        if body.len() != STAT_LENGTH || length != i32::try_from(self.data.len()).ok() {
            bail!("a setData reply of {} bytes, data length {length:?}", body.len());
        }
        Ok(())
    }
}

/// Nine getData and one setData, over and over.
#[derive(Debug)]
pub struct Mixed<'a> {
    /// The reads.
    pub get: GetData<'a>,
    /// The writes.
    pub set: SetData<'a>,
}

/// Whether a request of [`Mixed`] writes: not on all connections at the same time.
fn writes(connection: usize, xid: i32) -> bool {
    (connection + usize::try_from(xid).unwrap_or(0)).is_multiple_of(10)
}

impl Operation for Mixed<'_> {
    fn ask(&mut self, connection: usize, xid: i32, out: &mut Vec<u8>) -> bool {
        if writes(connection, xid) {
            self.set.ask(connection, xid, out)
        } else {
            self.get.ask(connection, xid, out)
        }
    }

    fn check(&mut self, connection: usize, xid: i32, body: &[u8], closely: bool) -> Result<()> {
        if writes(connection, xid) {
            self.set.check(connection, xid, body, closely)
        } else {
            self.get.check(connection, xid, body, closely)
        }
    }
}

/// A multi of a check and two setData, of znodes chosen at random.
#[derive(Debug)]
pub struct Multi<'a> {
    /// The znodes to choose from.
    pub paths: &'a [String],
    /// What is written.
    pub data: &'a [u8],
    /// Chooses.
    pub numbers: Numbers,
}

impl Operation for Multi<'_> {
    fn ask(&mut self, _: usize, xid: i32, out: &mut Vec<u8>) -> bool {
        let mut choose = || self.paths.get(self.numbers.below(self.paths.len()));
        let (Some(checked), Some(one), Some(other)) = (choose(), choose(), choose()) else {
            return false;
        };
        put_request(out, xid, MULTI, |out| {
            put_multi_header(out, CHECK);
            put_string(out, checked);
            put_int(out, -1);
            for path in [one, other] {
                put_multi_header(out, SET_DATA);
                put_set_data(out, path, self.data);
            }
            put_multi_header(out, -1);
        });
        true
    }

    fn check(&mut self, _: usize, _: i32, body: &[u8], _: bool) -> Result<()> {
        // The types of the results: an error's is -1.
        let second = MULTI_HEADER_LENGTH;
        let kinds = [0, second, second + MULTI_HEADER_LENGTH + STAT_LENGTH].map(|at| {
            body.get(at..).and_then(|rest| rest.first_chunk()).map(|int| i32::from_be_bytes(*int))
        });
        if body.len() != 4 * MULTI_HEADER_LENGTH + 2 * STAT_LENGTH
            || kinds != [Some(CHECK), Some(SET_DATA), Some(SET_DATA)]
        {
            bail!("a multi's reply of {} bytes, results {kinds:?}", body.len());
        }
        Ok(())
    }
}

/// exists with a watch, once for each path, on every connection.
#[derive(Debug)]
pub struct Watch<'a> {
    /// What is watched; all are there.
    pub paths: &'a [String],
}

impl Operation for Watch<'_> {
    fn ask(&mut self, _: usize, xid: i32, out: &mut Vec<u8>) -> bool {
        let index = usize::try_from(xid - 1).unwrap_or(usize::MAX);
        let Some(path) = self.paths.get(index) else { return false };
        put_request(out, xid, EXISTS, |out| {
            put_string(out, path);
            out.push(1);
        });
        true
    }

    fn check(&mut self, _: usize, _: i32, body: &[u8], _: bool) -> Result<()> {
        if body.len() != STAT_LENGTH {
            bail!("an exists reply of {} bytes", body.len());
        }
        Ok(())
    }
}

/// create of persistent znodes `<parent>/n<xid>`, each connection below a parent of its own.
#[derive(Debug)]
pub struct Create<'a> {
    /// A parent for each connection; all are there.
    pub parents: &'a [String],
    /// What every znode holds.
    pub data: &'a [u8],
    /// The path under construction.
    pub path: String,
}

fn child(parent: &str, xid: i32) -> String {
    format!("{parent}/n{xid:010}")
}

impl Operation for Create<'_> {
    fn ask(&mut self, connection: usize, xid: i32, out: &mut Vec<u8>) -> bool {
        let Some(parent) = self.parents.get(connection) else { return false };
        self.path.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.path, "{parent}/n{xid:010}");
        put_request(out, xid, CREATE, |out| put_create(out, &self.path, self.data));
        true
    }

    fn check(&mut self, connection: usize, xid: i32, body: &[u8], closely: bool) -> Result<()> {
        let Some(parent) = self.parents.get(connection) else { return Ok(()) };
        if body.len() != 4 + parent.len() + 12 {
            bail!("a create reply of {} bytes", body.len());
        }
        if closely && split_buffer(body)?.0 != child(parent, xid).as_bytes() {
            bail!("create answered another path than was asked");
        }
        Ok(())
    }
}

impl Sessions<Create<'_>> {
    /// The path of every znode that was made, to remove them again.
    pub fn made(&self) -> Vec<String> {
        let each = self.operation.parents.iter().zip(&self.answered);
        each.flat_map(|(parent, answered)| (1..=*answered).map(move |xid| child(parent, xid)))
            .collect()
    }
}

/// Numbers that look random: the xorshift64* of Marsaglia and Vigna.
#[derive(Debug)]
pub struct Numbers(u64);

impl Default for Numbers {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap_or(0)
            % bound.max(1)
    }
}

/// Creates, with the data that it comes with, or deletes each path of a list once, on whichever
/// connection is free.
struct Bulk<I>(I);

impl<D: AsRef<[u8]>, I: Iterator<Item = (String, Option<D>)>> Operation for Bulk<I> {
    fn ask(&mut self, _: usize, xid: i32, out: &mut Vec<u8>) -> bool {
        let Some((path, data)) = self.0.next() else { return false };
        match data {
            Some(data) => {
                put_request(out, xid, CREATE, |out| put_create(out, &path, data.as_ref()));
            }
            None => put_request(out, xid, DELETE, |out| {
                put_string(out, &path);
                put_int(out, -1);
            }),
        }
        true
    }

    fn check(&mut self, _: usize, _: i32, _: &[u8], _: bool) -> Result<()> {
        Ok(())
    }
}

fn bulk<D: AsRef<[u8]>>(
    load: Load,
    each: impl Iterator<Item = (String, Option<D>)>,
) -> Result<Measured> {
    run(load, Extent::Everything, &mut Sessions::new(load.connections, Bulk(each)))
}

/// Creates every path, whose parents must be there, as quickly as the server takes them.
pub fn create_all(
    load: Load,
    paths: impl Iterator<Item = String>,
    data: &[u8],
) -> Result<Measured> {
    bulk(load, paths.map(|path| (path, Some(data))))
}

/// The same, where each has data of its own.
pub fn create_each(
    load: Load,
    znodes: impl Iterator<Item = (String, Vec<u8>)>,
) -> Result<Measured> {
    bulk(load, znodes.map(|(path, data)| (path, Some(data))))
}

/// Deletes every path as quickly as the server takes them.
pub fn delete_all(load: Load, paths: impl Iterator<Item = String>) -> Result<Measured> {
    bulk(load, paths.map(|path| (path, None::<&[u8]>)))
}
