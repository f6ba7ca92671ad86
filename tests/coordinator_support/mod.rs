//! A coordinator in this process and a client that speaks to it byte by byte.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of it")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use doorkeeper::config::{CoordinatorConfig, ListenAddress};
use doorkeeper::zookeeper::acl::{self, Acl, open_acl_unsafe};
use doorkeeper::zookeeper::jute::{Reader, Writer as _};
use doorkeeper::zookeeper::server::Coordinator;
use doorkeeper::zookeeper::stat::Stat;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub const CREATE: i32 = 1;
pub const DELETE: i32 = 2;
pub const EXISTS: i32 = 3;
pub const GET_DATA: i32 = 4;
pub const SET_DATA: i32 = 5;
pub const GET_ACL: i32 = 6;
pub const SET_ACL: i32 = 7;
pub const GET_CHILDREN: i32 = 8;
pub const SYNC: i32 = 9;
pub const PING: i32 = 11;
pub const CHECK: i32 = 13;
pub const MULTI: i32 = 14;
pub const CREATE2: i32 = 15;
pub const RECONFIG: i32 = 16;
pub const CHECK_WATCHES: i32 = 17;
pub const REMOVE_WATCHES: i32 = 18;
pub const CREATE_CONTAINER: i32 = 19;
pub const CREATE_TTL: i32 = 21;
pub const MULTI_READ: i32 = 22;
pub const AUTH: i32 = 100;
pub const SET_WATCHES: i32 = 101;
pub const SASL: i32 = 102;
pub const SET_WATCHES2: i32 = 105;
pub const GET_EPHEMERALS: i32 = 103;
pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
pub const ADD_WATCH: i32 = 106;
pub const WHO_AM_I: i32 = 107;
pub const CLOSE_SESSION: i32 = -11;

pub const NO_NODE: i32 = -101;
pub const NO_AUTH: i32 = -102;

pub const CREATED: i32 = 1;
pub const DELETED: i32 = 2;
pub const CHANGED: i32 = 3;
pub const CHILDREN: i32 = 4;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A quick server: ticks of 50 ms, sessions of 100 ms to 20 s.
pub fn config(directory: &Path) -> CoordinatorConfig {
    CoordinatorConfig {
        client_address: Some(ListenAddress { host: "127.0.0.1".to_owned(), port: 0 }),
        data_dir: directory.to_owned(),
        data_log_dir: directory.to_owned(),
        tick_time: Duration::from_millis(50),
        min_session_timeout: Duration::from_millis(100),
        max_session_timeout: Duration::from_secs(20),
        max_client_cnxns: 0,
        pre_alloc_size: 1 << 20,
        four_letter_whitelist: vec!["*".to_owned()],
        ..CoordinatorConfig::default()
    }
}

/// A coordinator on a directory of its own.
pub struct Server {
    pub coordinator: Coordinator,
    pub directory: TempDir,
}

impl Server {
    pub async fn start() -> Server {
        Server::start_with(|_| ()).await
    }

    pub async fn start_with(change: impl FnOnce(&mut CoordinatorConfig)) -> Server {
        Server::start_on(TempDir::new().unwrap(), change).await
    }

    pub async fn start_on(
        directory: TempDir,
        change: impl FnOnce(&mut CoordinatorConfig),
    ) -> Server {
        let mut config = config(directory.path());
        change(&mut config);
        Server { coordinator: Coordinator::start(config).await.unwrap(), directory }
    }

    pub fn address(&self) -> SocketAddr {
        self.coordinator.client_address().unwrap()
    }

    pub async fn connect(&self) -> Client {
        Client::open(self.address(), Hello::default()).await.unwrap()
    }

    pub async fn stop(self) -> TempDir {
        self.coordinator.shutdown(PATIENCE).await;
        self.directory
    }
}

/// What a client opens its connection with.
#[derive(Debug, Clone)]
pub struct Hello {
    pub last_zxid: i64,
    pub timeout_ms: i32,
    pub session: i64,
    pub password: Vec<u8>,
    pub read_only: Option<bool>,
}

impl Default for Hello {
    fn default() -> Self {
        Hello {
            last_zxid: 0,
            timeout_ms: 10_000,
            session: 0,
            password: vec![0; 16],
            read_only: Some(false),
        }
    }
}

impl Hello {
    /// The handshake, without its length.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.write_int(0);
        frame.write_long(self.last_zxid);
        frame.write_int(self.timeout_ms);
        frame.write_long(self.session);
        frame.write_buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            frame.write_bool(read_only);
        }
        frame
    }
}

/// A reply or an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub xid: i32,
    pub zxid: i64,
    pub err: i32,
    pub body: Vec<u8>,
}

impl Reply {
    /// Kind and path of an event.
    pub fn event(&self) -> (i32, String) {
        assert_eq!(self.xid, -1, "not an event: {self:?}");
        let mut reader = Reader::new(&self.body);
        let kind = reader.int().unwrap();
        assert_eq!(reader.int().unwrap(), 3, "SyncConnected");
        (kind, reader.string().unwrap().unwrap().to_owned())
    }

    pub fn string(&self) -> String {
        Reader::new(&self.body).string().unwrap().unwrap().to_owned()
    }

    pub fn stat(&self) -> Stat {
        assert_eq!(self.err, 0, "{self:?}");
        Stat::read(&mut Reader::new(&self.body)).unwrap()
    }

    pub fn data_and_stat(&self) -> (Option<Vec<u8>>, Stat) {
        assert_eq!(self.err, 0, "{self:?}");
        let mut reader = Reader::new(&self.body);
        let data = reader.buffer().unwrap().map(<[u8]>::to_vec);
        (data, Stat::read(&mut reader).unwrap())
    }
}

/// A client whose every byte is the test's.
pub struct Client<S = TcpStream> {
    pub stream: S,
    pub session: i64,
    pub password: Vec<u8>,
    pub timeout_ms: i32,
    xid: i32,
}

impl Client {
    /// `None` if the server closes the connection without an answer.
    pub async fn open(address: SocketAddr, hello: Hello) -> Option<Client> {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client::over(stream, hello).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// The same over a connection that is there.
    pub async fn over(mut stream: S, hello: Hello) -> Option<Client<S>> {
        send(&mut stream, &hello.frame()).await;
        let answer = receive(&mut stream).await?;
        assert_eq!(answer.len(), if hello.read_only.is_some() { 37 } else { 36 });
        Some(Client::taken(stream, &answer))
    }

    /// A session that the server has given, with its answer to the handshake.
    pub fn taken(stream: S, answer: &[u8]) -> Client<S> {
        let mut reader = Reader::new(answer);
        assert_eq!(reader.int().unwrap(), 0);
        Client {
            timeout_ms: reader.int().unwrap(),
            session: reader.long().unwrap(),
            password: reader.buffer().unwrap().unwrap().to_vec(),
            stream,
            xid: 0,
        }
    }

    /// What takes this session up again.
    pub fn hello(&self) -> Hello {
        Hello { session: self.session, password: self.password.clone(), ..Hello::default() }
    }

    pub async fn send(&mut self, op: i32, body: &[u8]) -> i32 {
        self.xid += 1;
        self.send_as(self.xid, op, body).await;
        self.xid
    }

    pub async fn send_as(&mut self, xid: i32, op: i32, body: &[u8]) {
        send(&mut self.stream, &request(xid, op, body)).await;
    }

    /// The next reply or event; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Reply> {
        let frame = receive(&mut self.stream).await?;
        let mut reader = Reader::new(&frame);
        Some(Reply {
            xid: reader.int().unwrap(),
            zxid: reader.long().unwrap(),
            err: reader.int().unwrap(),
            body: reader.rest().to_vec(),
        })
    }

    /// Sends a request and takes its reply, which must come next.
    pub async fn ask(&mut self, op: i32, body: &[u8]) -> Reply {
        let xid = self.send(op, body).await;
        let reply = self.next().await.expect("the connection is closed");
        assert_eq!(reply.xid, xid, "{reply:?}");
        reply
    }

    pub async fn create(&mut self, path: &str, flags: i32) -> Reply {
        self.ask(CREATE, &create(path, b"x", flags, &open_acl_unsafe())).await
    }

    pub async fn exists(&mut self, path: &str) -> bool {
        match self.ask(EXISTS, &watched(path, false)).await.err {
            0 => true,
            NO_NODE => false,
            other => panic!("exists: {other}"),
        }
    }

    /// The next frame is an event: its kind, path and zxid.
    pub async fn event(&mut self) -> (i32, String, i64) {
        let reply = self.next().await.expect("the connection is closed");
        let (kind, path) = reply.event();
        (kind, path, reply.zxid)
    }

    /// Nothing is to be read but the answer to a ping.
    pub async fn is_quiet(&mut self) {
        self.send_as(-2, PING, &[]).await;
        let reply = self.next().await.unwrap();
        assert_eq!(reply.xid, -2, "{reply:?}");
    }

    /// The server closes the connection, sooner or later.
    pub async fn is_closed(&mut self) {
        while self.next().await.is_some() {}
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) {
    let mut bytes = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
}

async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let read = async {
        let mut length = [0; 4];
        stream.read_exact(&mut length).await.ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame).await.ok()?;
        Some(frame)
    };
    tokio::time::timeout(PATIENCE, read).await.expect("no answer")
}

/// A request without its length.
pub fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.write_int(xid);
    frame.write_int(op);
    frame.extend_from_slice(body);
    frame
}

pub fn create(path: &str, data: &[u8], flags: i32, acl: &[Acl]) -> Vec<u8> {
    let mut body = Vec::new();
    body.write_string(path);
    body.write_buffer(Some(data));
    acl::write_list(acl, &mut body);
    body.write_int(flags);
    body
}

pub fn open(path: &str, flags: i32) -> Vec<u8> {
    create(path, b"x", flags, &open_acl_unsafe())
}

pub fn create_ttl(path: &str, flags: i32, ttl: i64) -> Vec<u8> {
    let mut body = open(path, flags);
    body.write_long(ttl);
    body
}

/// One more server.
pub fn reconfig() -> Vec<u8> {
    let mut body = Vec::new();
    body.write_string("server.2=127.0.0.1:2888:3888;2181");
    body.write_buffer(None);
    body.write_buffer(None);
    body.write_long(-1);
    body
}

pub fn watched(path: &str, watch: bool) -> Vec<u8> {
    let mut body = Vec::new();
    body.write_string(path);
    body.write_bool(watch);
    body
}

pub fn versioned(path: &str, version: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.write_string(path);
    body.write_int(version);
    body
}

pub fn set_data(path: &str, data: &[u8], version: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.write_string(path);
    body.write_buffer(Some(data));
    body.write_int(version);
    body
}

pub fn set_acl(path: &str, acl: &[Acl], version: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.write_string(path);
    acl::write_list(acl, &mut body);
    body.write_int(version);
    body
}

pub fn path(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.write_string(path);
    body
}

pub fn auth(scheme: &str, credentials: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.write_int(0);
    body.write_string(scheme);
    body.write_buffer(Some(credentials));
    body
}

pub fn token(token: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    body.write_buffer(token);
    body
}

pub fn multi(operations: &[(i32, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, operation) in operations {
        body.write_int(*kind);
        body.write_bool(false);
        body.write_int(-1);
        body.extend_from_slice(operation);
    }
    body.write_int(-1);
    body.write_bool(true);
    body.write_int(-1);
    body
}

pub fn set_watches(relative_zxid: i64, lists: &[&[&str]]) -> Vec<u8> {
    let mut body = Vec::new();
    body.write_long(relative_zxid);
    for list in lists {
        body.write_count(list.len());
        for path in *list {
            body.write_string(path);
        }
    }
    body
}
