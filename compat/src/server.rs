//! Starts doorkeeper and its peers: the same configuration files for both, default JVM settings of the
//! peers' own start scripts, data on the same disk.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::options::Options;
use crate::proxy::Proxy;
use crate::{kafka, process, zookeeper};

/// How long a server may take to its first answer.
const START_PATIENCE: Duration = Duration::from_mins(5);
/// How long a server may take to stop.
const STOP_PATIENCE: Duration = Duration::from_mins(1);
/// The pause between two attempts to get a first answer: what a start time may be too long by.
const RETRY: Duration = Duration::from_millis(1);

/// JVM settings of `zkServer.sh` (heap: `zkEnv.sh`).
const ZOOKEEPER_JVM: &[&str] = &[
    "-Xmx1000m",
    "-Dcom.sun.management.jmxremote",
    "-Dcom.sun.management.jmxremote.local.only=true",
];
/// JVM settings of `kafka-server-start.sh` and `kafka-run-class.sh`.
const KAFKA_JVM: &[&str] = &[
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
    "-Dcom.sun.management.jmxremote=true",
    "-Dcom.sun.management.jmxremote.local.only=true",
];

/// Which of the two is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    /// doorkeeper.
    Doorkeeper,
    /// Apache Kafka or Apache ZooKeeper.
    Peer,
}

/// What a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roles {
    /// A ZooKeeper server.
    Coordinator,
    /// A Kafka broker; doorkeeper holds its coordinator too, its peer uses the ZooKeeper at this port.
    Broker {
        /// The client port of the peer's ZooKeeper.
        zookeeper: u16,
    },
    /// An Apache Kafka broker that a gateway is compared with, on the same coordinator.
    BesideGateway {
        /// The client port of the coordinator.
        zookeeper: u16,
        /// The most that its heap may be, in GiB.
        heap: u8,
    },
    /// A doorkeeper gateway.
    Gateway {
        /// The client port of the coordinator.
        zookeeper: u16,
        /// Whether clients are told the gateway's addresses.
        relay: bool,
    },
    /// Another proxy in front of a broker.
    Proxy {
        /// Which one.
        proxy: Proxy,
        /// The broker's port.
        broker: u16,
    },
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: PathBuf,
    /// Its configuration and its data.
    pub folder: PathBuf,
    /// Which one it is.
    pub side: Side,
    /// Where it speaks ZooKeeper's protocol (also the peer's broker: its ZooKeeper's address).
    pub zookeeper: SocketAddr,
    /// Where it speaks Kafka's protocol, if it does.
    pub kafka: Option<SocketAddr>,
    /// When its process was started.
    pub started: Instant,
    /// From the process's start to its first answer.
    pub start_time: Duration,
}

impl Server {
    /// Starts a server on the data below `folder`, which is made if need be, and waits for its first
    /// answer: a session on a coordinator, the brokers of the cluster from a broker.
    pub fn start(options: &Options, side: Side, roles: Roles, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut zookeeper_port = free_port()?;
        let mut configurations = Vec::new();
        let kafka_port = match roles {
            Roles::Coordinator => None,
            Roles::Broker { zookeeper } => {
                if side == Side::Peer {
                    zookeeper_port = zookeeper;
                }
                Some(free_port()?)
            }
            Roles::BesideGateway { zookeeper, .. } | Roles::Gateway { zookeeper, .. } => {
                zookeeper_port = zookeeper;
                Some(free_port()?)
            }
            Roles::Proxy { proxy, .. } => Some(proxy.free_port()?),
        };
        let embedded = side == Side::Doorkeeper && matches!(roles, Roles::Broker { .. });
        if embedded || kafka_port.is_none() {
            configurations.push(write_zoo_cfg(folder, zookeeper_port)?);
        }
        if let (Some(port), false) = (kafka_port, matches!(roles, Roles::Proxy { .. })) {
            configurations.push(write_server_properties(folder, roles, port, zookeeper_port)?);
        }
        let log = folder.join("output.log");
        let mut command = match (side, roles) {
            (_, Roles::Proxy { proxy, broker }) => {
                proxy.command(options, folder, kafka_port.unwrap_or_default(), broker)?
            }
            (Side::Doorkeeper, _) => {
                let mut command = slowed(options, options.doorkeeper.as_os_str());
                // Snapshots are told, with what they held up.
                command.args(["run", "--log-level", "warn,doorkeeper::zookeeper::snapshots=debug"]);
                command
            }
            (Side::Peer, Roles::Coordinator) => {
                let mut command = slowed(options, "java".as_ref());
                command
                    .args(options.smoke_jvm())
                    .args(ZOOKEEPER_JVM)
                    .arg(format!("-Dzookeeper.log.dir={}", folder.display()));
                command.arg("-Dlogback.configurationFile=".to_owned() + &write_logback(folder)?);
                command.arg("-cp").arg(options.zookeeper_jars.join("*"));
                command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
                command
            }
            (Side::Peer, _) => {
                let mut command = slowed(options, "java".as_ref());
                command.args(options.smoke_jvm()).args(KAFKA_JVM);
                if let Roles::BesideGateway { heap, .. } = roles {
                    // The last one counts.
                    command.arg(format!("-Xmx{heap}G"));
                }
                command.arg("-Dlog4j.configuration=file:".to_owned() + &write_log4j(folder)?);
                command.arg("-cp").arg(options.kafka_jars.join("*")).arg("kafka.Kafka");
                command
            }
        };
        let output = fs::File::create(&log)?;
        command.args(&configurations).current_dir(folder).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let mut server = Self {
            child,
            log,
            folder: folder.to_owned(),
            side,
            zookeeper: local(zookeeper_port),
            kafka: kafka_port.map(local),
            started,
            start_time: Duration::ZERO,
        };
        let with_broker = !matches!(roles, Roles::Gateway { .. });
        while let Err(error) = server.first_answer(patience(started.elapsed()), with_broker) {
            if let Some(status) = server.child.try_wait()? {
                bail!("{side:?} ended with {status}: see {}", server.keep_log());
            }
            if started.elapsed() > START_PATIENCE {
                return Err(
                    error.context(format!("{side:?} gives no answer: see {}", server.keep_log()))
                );
            }
            sleep(RETRY);
        }
        server.start_time = started.elapsed();
        Ok(server)
    }

    /// A gateway may have nobody behind it: it answers all the same.
    fn first_answer(&self, patience: Duration, with_broker: bool) -> Result<()> {
        let Some(address) = self.kafka else {
            return zookeeper::Client::connect(self.zookeeper, patience)?.close();
        };
        let answer = kafka::Client::connect(address, patience)?.metadata(Some(&[]))?;
        if with_broker && (answer.brokers.is_empty() || answer.controller_id.0 < 0) {
            bail!("no broker or no controller yet");
        }
        Ok(())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in MiB.
    pub fn resident_mebibytes(&self) -> Result<f64> {
        Ok(process::resident_bytes(self.pid())? as f64 / f64::from(1 << 20))
    }

    /// The bytes that it holds: of a Java server the heap after a full collection, of doorkeeper, which
    /// has no collector, what is resident.
    pub fn live_bytes(&self) -> Result<f64> {
        if self.side == Side::Doorkeeper {
            return Ok(process::resident_bytes(self.pid())? as f64);
        }
        jcmd(self.pid(), "GC.run")?;
        let text = jcmd(self.pid(), "GC.heap_info")?;
        let used = text.lines().find_map(|line| line.split_once(" used ")).map(|(_, rest)| rest);
        let used = used.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        let kibibytes: u32 = used.with_context(|| format!("no heap in {text}"))?.parse()?;
        Ok(f64::from(kibibytes) * 1024.0)
    }

    /// The values of `name=value` or `name value` in its log so far.
    pub fn logged(&self, name: &str) -> Result<Vec<f64>> {
        let text = fs::read_to_string(&self.log)?;
        let values = text.split(name).skip(1).filter_map(|rest| {
            let value = rest.get(1..)?;
            let end = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
            value.get(..end)?.parse().ok()
        });
        Ok(values.collect())
    }

    /// Asks the server to stop (SIGTERM), as its stop script does, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        let status = Command::new("kill").arg(self.pid().to_string()).status()?;
        let deadline = Instant::now() + STOP_PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline || !status.success() {
                bail!("{:?} does not stop: see {}", self.side, self.keep_log());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The server's log, for an error message.
    fn keep_log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(5).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        format!("{}, which ends with:\n{}", self.log.display(), tail.join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill and nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn jcmd(pid: u32, command: &str) -> Result<String> {
    let output = Command::new("jcmd").args([&pid.to_string(), command]).output().context("jcmd")?;
    if !output.status.success() {
        bail!("jcmd {command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How long one attempt to get a first answer waits. ZooKeeper leaves a request unanswered that comes
/// between its listening and its serving, so that another attempt must follow soon; a slow machine
/// gets more time later.
fn patience(since_start: Duration) -> Duration {
    if since_start < Duration::from_secs(30) {
        Duration::from_millis(100)
    } else {
        Duration::from_secs(5)
    }
}

/// The command of a server, under `strace` when every fsync is to take longer. The tracer detaches
/// itself from the process tree, so that the process id is the server's.
fn slowed(options: &Options, program: &std::ffi::OsStr) -> Command {
    let Some(milliseconds) = options.slow_disk else { return Command::new(program) };
    let mut command = Command::new("strace");
    command.args([
        "-D",
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync,fdatasync",
    ]);
    command.arg("-e").arg(format!("inject=fsync,fdatasync:delay_exit={}", milliseconds * 1000));
    command.arg("--").arg(program);
    command
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A port that nobody listens on at the moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(local(0))?.local_addr()?.port())
}

fn write_zoo_cfg(folder: &Path, port: u16) -> Result<PathBuf> {
    let data = folder.join("coordinator");
    fs::create_dir_all(&data)?;
    let mut text = String::new();
    writeln!(text, "tickTime=2000\ndataDir={}", data.display())?;
    writeln!(text, "clientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0")?;
    writeln!(text, "admin.enableServer=false")?;
    write_file(folder, "zoo.cfg", &text)
}

fn write_server_properties(
    folder: &Path,
    roles: Roles,
    port: u16,
    zookeeper: u16,
) -> Result<PathBuf> {
    let mut text = format!(
        "listeners=PLAINTEXT://127.0.0.1:{port}\nzookeeper.connect=127.0.0.1:{zookeeper}\n\
         auto.create.topics.enable=false\n"
    );
    if let Roles::Gateway { relay, .. } = roles {
        text += "process.roles=gateway\n";
        if relay {
            text += "doorkeeper.gateway.addresses=gateway\ndoorkeeper.gateway.port.base=0\n";
        }
        return write_file(folder, "server.properties", &text);
    }
    let data = folder.join("broker");
    fs::create_dir_all(&data)?;
    writeln!(text, "broker.id=0\nlog.dirs={}\nnum.partitions=1", data.display())?;
    text += "offsets.topic.replication.factor=1\n";
    if matches!(roles, Roles::BesideGateway { .. }) {
        text += "socket.listen.backlog.size=4096\n";
    }
    write_file(folder, "server.properties", &text)
}

/// ZooKeeper's own logging: INFO to a file.
fn write_logback(folder: &Path) -> Result<String> {
    let text = "<configuration><appender name=\"OUT\" class=\"ch.qos.logback.core.ConsoleAppender\">\
        <encoder><pattern>%d [%t] %-5p %c{1} - %m%n</pattern></encoder></appender>\
        <root level=\"INFO\"><appender-ref ref=\"OUT\"/></root></configuration>";
    Ok(write_file(folder, "logback.xml", text)?.display().to_string())
}

/// Kafka's own logging: INFO to a file.
fn write_log4j(folder: &Path) -> Result<String> {
    let text = "log4j.rootLogger=INFO, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n\
        log4j.appender.out.layout=org.apache.log4j.PatternLayout\n\
        log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n\n\
        log4j.logger.org.apache.zookeeper=INFO\nlog4j.logger.kafka.request.logger=WARN\n";
    Ok(write_file(folder, "log4j.properties", text)?.display().to_string())
}

fn write_file(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    Ok(path)
}
