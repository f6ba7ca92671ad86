//! A blocking client with one request at a time: what a benchmark needs before and after its load.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{
    CLOSE_SESSION, CREATE, EXISTS, GET_DATA, SET_DATA, check_connected, put_connect, put_create,
    put_request, put_set_data, put_string, split_buffer, split_reply,
};
use crate::load::read_frame;

const NODE_EXISTS: i32 = -110;
const NO_NODE: i32 = -101;

/// A session on a connection of its own.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    xid: i32,
}

impl Client {
    /// Connects and makes a session; each step waits at most `patience`.
    pub fn connect(address: SocketAddr, patience: Duration) -> Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        let mut out = Vec::new();
        put_connect(&mut out);
        stream.write_all(&out)?;
        check_connected(&read_frame(&mut stream)?)?;
        Ok(Self { stream, xid: 0 })
    }

    /// Makes a persistent znode unless it is there.
    pub fn create(&mut self, path: &str, data: &[u8]) -> Result<()> {
        match self.call(CREATE, |out| put_create(out, path, data))? {
            (0 | NODE_EXISTS, _) => Ok(()),
            (code, _) => bail!("create {path}: error {code}"),
        }
    }

    /// Whether a znode is there.
    pub fn exists(&mut self, path: &str) -> Result<bool> {
        let body = |out: &mut Vec<u8>| {
            put_string(out, path);
            out.push(0);
        };
        match self.call(EXISTS, body)? {
            (0, _) => Ok(true),
            (NO_NODE, _) => Ok(false),
            (code, _) => bail!("exists {path}: error {code}"),
        }
    }

    /// The data of a znode.
    pub fn get_data(&mut self, path: &str) -> Result<Vec<u8>> {
        let body = |out: &mut Vec<u8>| {
            put_string(out, path);
            out.push(0);
        };
        match self.call(GET_DATA, body)? {
            (0, body) => Ok(split_buffer(&body)?.0.to_vec()),
            (code, _) => bail!("getData {path}: error {code}"),
        }
    }

    /// Replaces the data of a znode.
    pub fn set_data(&mut self, path: &str, data: &[u8]) -> Result<()> {
        match self.call(SET_DATA, |out| put_set_data(out, path, data))? {
            (0, _) => Ok(()),
            (code, _) => bail!("setData {path}: error {code}"),
        }
    }

    /// Asks for a setData without waiting for its answer.
    pub fn ask_set_data(&mut self, path: &str, data: &[u8]) -> Result<()> {
        self.ask(SET_DATA, |out| put_set_data(out, path, data))
    }

    /// Takes the answer to [`Client::ask_set_data`].
    pub fn set_data_answer(&mut self) -> Result<()> {
        match self.answer(SET_DATA)? {
            (0, _) => Ok(()),
            (code, _) => bail!("setData: error {code}"),
        }
    }

    /// Closes the session.
    pub fn close(mut self) -> Result<()> {
        self.call(CLOSE_SESSION, |_| ()).map(drop)
    }

    fn call(&mut self, operation: i32, body: impl FnOnce(&mut Vec<u8>)) -> Result<(i32, Vec<u8>)> {
        self.ask(operation, body)?;
        self.answer(operation)
    }

    fn ask(&mut self, operation: i32, body: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.xid += 1;
        let mut out = Vec::new();
        put_request(&mut out, self.xid, operation, body);
        Ok(self.stream.write_all(&out)?)
    }

    fn answer(&mut self, operation: i32) -> Result<(i32, Vec<u8>)> {
        let answer =
            read_frame(&mut self.stream).with_context(|| format!("operation {operation}"))?;
        let (xid, code, body) = split_reply(&answer)?;
        if xid != self.xid {
            bail!("a reply to {xid} where {} was asked", self.xid);
        }
        Ok((code, body.to_vec()))
    }
}
