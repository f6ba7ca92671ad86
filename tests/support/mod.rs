//! The built binary as a child process: started on free ports, watched, stopped.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Longer than any start or stop takes on a busy machine: a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The embedded default on free ports, its data below `dir`.
pub(crate) fn embedded(dir: &Path) -> Vec<String> {
    [
        "clientPort=0".to_owned(),
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        "doorkeeper.http.listener=127.0.0.1:0".to_owned(),
        format!("doorkeeper.data.dir={}", dir.display()),
    ]
    .into_iter()
    .flat_map(|setting| ["--override".to_owned(), setting])
    .collect()
}

/// `doorkeeper` with these arguments, run to its end.
pub(crate) fn output<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    let child = command(arguments).spawn().unwrap();
    let watchdog = Watchdog::new(&child);
    let output = child.wait_with_output().unwrap();
    drop(watchdog);
    output
}

/// What a start that must fail says, its exit code being 1.
pub(crate) fn start_error<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> String {
    let output = output(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "",
        "nothing serves, so nothing is printed"
    );
    stderr
}

fn command<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorkeeper"));
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("SERVER_JVMFLAGS")
        .env_remove("JVMFLAGS")
        .env_remove("KAFKA_OPTS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Kills a child that outlives the patience, so that a hang is a failure and not a hang.
struct Watchdog {
    ended: Option<mpsc::Sender<()>>,
}

impl Watchdog {
    fn new(child: &Child) -> Self {
        let pid = Pid::from_child(child);
        let (ended, wait) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        Watchdog { ended: Some(ended) }
    }
}

/// A `doorkeeper` that serves.
pub(crate) struct Server {
    child: Child,
    watchdog: Option<Watchdog>,
    dir: tempfile::TempDir,
    /// The first line of its standard output.
    pub(crate) banner: String,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Server {
    /// Starts `run` with the arguments and waits until every role serves.
    pub(crate) fn start<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Server {
        Server::start_with_variables(arguments, &[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_with_variables<S: AsRef<std::ffi::OsStr>>(
        arguments: &[S],
        variables: &[(&str, &str)],
    ) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let mut all: Vec<std::ffi::OsString> = vec!["run".into()];
        all.extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
        all.push("--ready-file".into());
        all.push(dir.path().join("ready").into());
        let mut child = command(&all).envs(variables.iter().copied()).spawn().unwrap();
        let watchdog = Some(Watchdog::new(&child));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        stdout.read_line(&mut banner).unwrap();
        if banner.is_empty() {
            let mut stderr = String::new();
            child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
            panic!("it ended before it served: {stderr}");
        }
        Server { child, watchdog, dir, banner, stdout }
    }

    pub(crate) fn ready_file(&self) -> PathBuf {
        self.dir.path().join("ready")
    }

    /// The ready file's content.
    pub(crate) fn ready(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.ready_file()).unwrap()).unwrap()
    }

    /// The address of the coordinator.
    pub(crate) fn coordinator(&self) -> String {
        self.ready()["coordinator"].as_str().unwrap().to_owned()
    }

    /// The address of the broker's first listener.
    pub(crate) fn broker(&self) -> String {
        self.ready()["brokers"][0]["listeners"]["PLAINTEXT"].as_str().unwrap().to_owned()
    }

    /// Status and body of a GET from its HTTP endpoint.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.ready()["http"].as_str().unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end: exit status, the rest of standard output, and standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String, String) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        self.stdout.read_to_string(&mut stdout).unwrap();
        let status = self.child.wait().unwrap();
        self.watchdog = None;
        (status, stdout, stderr)
    }

    /// Stops it with SIGTERM, which must be a clean end.
    pub(crate) fn stop(self) {
        self.signal(Signal::TERM);
        let (status, _, stderr) = self.end();
        assert_eq!(status.code(), Some(0), "{stderr}");
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(self) {
        self.signal(Signal::KILL);
        self.end();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.watchdog.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
