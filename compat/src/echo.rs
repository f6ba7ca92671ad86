//! A bare tokio server beside the reads: it takes frames and answers each with bytes of a fixed length,
//! without looking at them. What a read costs more than this is what a server adds.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::load::Conversation;

/// The first argument of a process that is to be the echo server; the length of its answers follows.
pub const ARGUMENT: &str = "echo-server";

/// Bytes that are read at once.
const READ_SIZE: usize = 8 << 10;

/// Connections that may wait for an accept: a storm's, as on the servers beside it.
const BACKLOG: u32 = 4096;

/// Serves until the process is killed; the address is the first line of its output.
pub fn serve(answer_length: usize) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let mut answer = u32::try_from(answer_length)?.to_be_bytes().to_vec();
        answer.resize(4 + answer_length, 0);
        let answer: Arc<[u8]> = answer.into();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = Arc::clone(&answer);
            // A client that goes ends its connection, and nothing else.
            tokio::spawn(async move { connection(stream, &answer).await.ok() });
        }
    })
}

async fn connection(mut stream: TcpStream, answer: &[u8]) -> Result<()> {
    let mut input = vec![0; READ_SIZE];
    let (mut filled, mut out) = (0, Vec::new());
    loop {
        let count = stream.read(input.get_mut(filled..).context("a long frame")?).await?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        let mut taken = 0;
        while let Some((length, rest)) =
            input.get(taken..filled).and_then(|rest| rest.split_first_chunk::<4>())
        {
            let length = usize::try_from(u32::from_be_bytes(*length))?;
            if rest.len() < length {
                break;
            }
            taken += 4 + length;
            out.extend_from_slice(answer);
        }
        input.copy_within(taken..filled, 0);
        filled -= taken;
        stream.write_all(&out).await?;
        out.clear();
    }
}

/// The echo server as a process; killed when dropped.
#[derive(Debug)]
pub struct EchoServer {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl EchoServer {
    /// Starts one whose answers have this length.
    pub fn start(answer_length: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ARGUMENT, &answer_length.to_string()]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().context("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("echo server said {line:?}"));
        Ok(Self { address: address?, child })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same request over and over, and answers of which only the length is looked at.
#[derive(Debug)]
pub struct Echo {
    /// The request, with its length in front.
    pub request: Vec<u8>,
    /// The length of an answer.
    pub answer_length: usize,
}

impl Conversation for Echo {
    fn open(&mut self, _: usize, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&self.request);
        Ok(())
    }

    fn opened(&mut self, connection: usize, answer: &[u8]) -> Result<()> {
        self.answered(connection, answer)
    }

    fn ask(&mut self, _: usize, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.request);
        true
    }

    fn wanted(&mut self, length: usize) -> usize {
        // One of another length is wanted whole, and then told.
        if length == self.answer_length { 0 } else { length }
    }

    fn answered(&mut self, _: usize, answer: &[u8]) -> Result<()> {
        if !answer.is_empty() && answer.len() != self.answer_length {
            bail!("an echo of {} bytes", answer.len());
        }
        Ok(())
    }

    fn close(&mut self, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn every_frame_is_answered() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::thread::spawn(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(&[0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 0, 0]).unwrap();
            stream.write_all(&[0, 1, 9]).unwrap();
            let mut answers = [9; 15];
            stream.read_exact(&mut answers).unwrap();
            answers
        });
        runtime.block_on(async {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let stream = TcpStream::from_std(stream).unwrap();
            connection(stream, &[0, 0, 0, 1, 7]).await.ok();
        });
        assert_eq!(client.join().unwrap(), [0, 0, 0, 1, 7, 0, 0, 0, 1, 7, 0, 0, 0, 1, 7]);
    }
}
