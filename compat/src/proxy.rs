//! Proxies that the relay is compared with: HAProxy in TCP mode, and Kroxylicious.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use crate::options::Options;

/// Connections that HAProxy may have: more than any row has.
const HAPROXY_CONNECTIONS: usize = 6_000;

/// Where the ports of a proxy are looked for.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 32_000;

/// Which one, and how it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// HAProxy in TCP mode with its defaults.
    HaProxy,
    /// The same with `tune.bufsize 65536`.
    HaProxy64K,
    /// Kroxylicious without filters, for brokers with the ids 0 to 2.
    Kroxylicious,
}

impl Proxy {
    /// All of them.
    pub const ALL: [Proxy; 3] = [Proxy::HaProxy, Proxy::HaProxy64K, Proxy::Kroxylicious];

    /// Its part in the names of rows.
    pub fn key(self) -> &'static str {
        match self {
            Proxy::HaProxy => "haproxy",
            Proxy::HaProxy64K => "haproxy64k",
            Proxy::Kroxylicious => "kroxylicious",
        }
    }

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Proxy::HaProxy => "HAProxy",
            Proxy::HaProxy64K => "HAProxy, bufsize 65536",
            Proxy::Kroxylicious => "Kroxylicious 0.12.0",
        }
    }

    /// A port that it can listen on, which nobody uses at the moment. Kroxylicious takes three more
    /// behind it, one for each broker: they are below those that the kernel gives to connections.
    pub fn free_port(self) -> Result<u16> {
        let bind = |port: u16| -> Result<Socket> {
            // Without SO_REUSEADDR, as not every proxy sets it.
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
            Ok(socket)
        };
        let first = FIRST_PORT + u16::try_from(std::process::id() % 1_000)?;
        let mut candidates = (first..LAST_PORT).step_by(4);
        let free = |port: &u16| (*port..*port + 4).all(|port| bind(port).is_ok());
        candidates.find(free).context("no four free ports in a row")
    }

    /// The command that runs it in `folder`, in front of the broker at `broker`.
    pub fn command(
        self,
        options: &Options,
        folder: &Path,
        port: u16,
        broker: u16,
    ) -> Result<Command> {
        let tune = if self == Proxy::HaProxy64K { "  tune.bufsize 65536\n" } else { "" };
        match self {
            Proxy::HaProxy | Proxy::HaProxy64K => {
                let path = folder.join("haproxy.cfg");
                let text = format!(
                    "global\n  maxconn {HAPROXY_CONNECTIONS}\n{tune}defaults\n  mode tcp\n  \
                     timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n\
                     listen kafka\n  bind 127.0.0.1:{port} backlog 4096\n  \
                     server broker 127.0.0.1:{broker}\n"
                );
                fs::write(&path, text)?;
                let mut command = Command::new("/usr/sbin/haproxy");
                // In the foreground, in one process.
                command.arg("-db").arg("-f").arg(path);
                Ok(command)
            }
            Proxy::Kroxylicious => {
                let path = folder.join("kroxylicious.yaml");
                let text = format!(
                    "virtualClusters:\n- name: bench\n  targetCluster:\n    \
                     bootstrapServers: 127.0.0.1:{broker}\n  gateways:\n  - name: default\n    \
                     portIdentifiesNode:\n      bootstrapAddress: 127.0.0.1:{port}\n      \
                     nodeIdRanges:\n      - name: brokers\n        start: 0\n        end: 2\n"
                );
                fs::write(&path, text)?;
                let jars = options.kroxylicious_jars.as_ref().context("no --kroxylicious-jars")?;
                let mut command = Command::new("java");
                command.arg("-Xmx1G").arg("-cp").arg(jars.join("*"));
                command.arg(options.kroxylicious_main.as_ref().context("no --kroxylicious-main")?);
                command.arg(path);
                Ok(command)
            }
        }
    }
}
