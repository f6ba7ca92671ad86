//! Starts and drains the roles of one process.

mod banner;
mod ready_file;
mod reload;
mod signals;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::broker::{self, Broker};
use crate::config::{BrokerConfig, Configuration, CoordinatorConfig, GatewayConfig, ListenAddress};
use crate::gateway;
use crate::gateway::clusters::Gateways;
use crate::limits;
use crate::net::BindError;
use crate::telemetry::http::HttpServer;
use crate::telemetry::{Health, names, recorder};
use crate::zookeeper::server::{self as coordinator, Coordinator};

pub use ready_file::remove as remove_ready_file;
pub use reload::Source;

use reload::Reload;

/// Why a process ends with code 1: one line.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The HTTP endpoint can't listen.
    #[error("doorkeeper.http.listener: {0}")]
    Http(BindError),
    /// The coordinator did not start.
    #[error("the coordinator did not start: {0}")]
    Coordinator(coordinator::StartError),
    /// The broker did not start.
    #[error("the broker did not start: {0}")]
    Broker(broker::StartError),
    /// The gateway did not start.
    #[error("the gateway did not start: {0}")]
    Gateway(gateway::StartError),
    /// The ready file can't be written.
    #[error("can't write the ready file {}: {reason}", .path.display())]
    ReadyFile {
        /// The file as it was named.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The system refuses signal handlers.
    #[error("can't wait for signals: {0}")]
    Signals(std::io::Error),
    /// A role that ran can't go on.
    #[error("the {role} can't go on: {reason}")]
    Failed {
        /// `coordinator` or `broker`.
        role: &'static str,
        /// What it said.
        reason: String,
    },
}

/// The roles that run, in the order of their start.
#[derive(Debug, Default)]
struct Node {
    http: Option<HttpServer>,
    coordinator: Option<Coordinator>,
    broker: Option<Broker>,
    gateways: Option<Gateways>,
}

/// Runs the roles until a signal ends them, and drains them.
///
/// # Errors
/// A role doesn't start, or can't go on.
pub async fn run(
    configuration: Configuration,
    source: Source,
    recorder: PrometheusHandle,
    ready_file: Option<PathBuf>,
) -> Result<(), NodeError> {
    let mut signals = signals::Signals::new().map_err(NodeError::Signals)?;
    let mut reload = Reload::new(source, &configuration).map_err(NodeError::Signals)?;
    for line in configuration.unknown.iter().chain(&configuration.warnings) {
        tracing::warn!("{line}");
    }
    raise_open_files();
    let health = Health::default();
    let mut node = Node::default();
    let data = banner::DataDirectories::of(&configuration);
    let started = tokio::select! {
        started = node.start(configuration, recorder, &health) => started.map(|()| true),
        _ = signals.next() => Ok(false),
    };
    let ended = match started {
        Ok(true) => node.serve(&data, ready_file, &mut signals, &mut reload).await,
        Ok(false) => Ok(()),
        Err(e) => Err(e),
    };
    if matches!(ended, Err(NodeError::Failed { .. })) {
        // A role that can't write any more has nothing to drain: it must not go on answering.
        return ended;
    }
    health.stopping();
    tokio::select! {
        biased;
        signal = signals.next() => std::process::exit(128 + signal),
        () = node.stop() => ended,
    }
}

impl Node {
    async fn start(
        &mut self,
        configuration: Configuration,
        recorder: PrometheusHandle,
        health: &Health,
    ) -> Result<(), NodeError> {
        let Configuration { coordinator, broker, gateway, more_gateways, http, .. } = configuration;
        if coordinator.is_some() {
            health.not_ready("coordinator", "starting");
        }
        if broker.is_some() {
            health.not_ready("broker", "starting");
        }
        if gateway.is_some() {
            health.not_ready("gateway", "waiting for the first image of the cluster");
        }
        tokio::spawn(recorder::upkeep(recorder.clone(), limits::METRICS_UPKEEP_INTERVAL));
        // First, so that /readyz can say what the start waits for.
        if let Some(address) = http {
            self.http = Some(
                HttpServer::start(&address, recorder, health.clone()).map_err(NodeError::Http)?,
            );
        }
        if let Some(config) = coordinator {
            names::register("doorkeeper_zookeeper_");
            self.start_coordinator(config).await?;
            health.ready("coordinator");
        }
        if let Some(config) = broker {
            for family in ["doorkeeper_cluster_", "doorkeeper_kafka_", "doorkeeper_log_"] {
                names::register(family);
            }
            self.start_broker(config).await?;
            health.ready("broker");
        }
        if let Some(config) = gateway {
            let several = !more_gateways.is_empty();
            let configs = std::iter::once(config).chain(more_gateways).collect();
            self.start_gateways(configs).await?;
            if several {
                health.forget("gateway");
            }
            for cluster in self.gateways.iter().flat_map(Gateways::clusters) {
                let cluster = cluster.clone();
                let title = cluster.title();
                health.ready_while(&title, move || cluster.report());
            }
        }
        Ok(())
    }

    async fn start_coordinator(&mut self, config: CoordinatorConfig) -> Result<(), NodeError> {
        let begun = Instant::now();
        let coordinator = Coordinator::start(config).await.map_err(NodeError::Coordinator)?;
        let (address, secure) = (coordinator.client_address(), coordinator.secure_client_address());
        tracing::info!(?address, ?secure, took = ?begun.elapsed(), "coordinator serves");
        self.coordinator = Some(coordinator);
        Ok(())
    }

    async fn start_broker(&mut self, mut config: BrokerConfig) -> Result<(), NodeError> {
        if config.embedded
            && let Some(address) = self.coordinator.as_ref().and_then(Coordinator::client_address)
        {
            config.zookeeper_connect = reachable(address).to_string();
        }
        let begun = Instant::now();
        let broker = Broker::start(config).await.map_err(NodeError::Broker)?;
        tracing::info!(id = broker.id(), took = ?begun.elapsed(), "broker serves");
        self.broker = Some(broker);
        Ok(())
    }

    async fn start_gateways(&mut self, configs: Vec<GatewayConfig>) -> Result<(), NodeError> {
        let begun = Instant::now();
        let gateways = Gateways::start(configs).await.map_err(NodeError::Gateway)?;
        tracing::info!(took = ?begun.elapsed(), "gateway serves");
        self.gateways = Some(gateways);
        Ok(())
    }

    /// Says that everything serves, and waits until a signal or a role's failure ends it.
    async fn serve(
        &self,
        data: &banner::DataDirectories,
        ready_file: Option<PathBuf>,
        signals: &mut signals::Signals,
        reload: &mut Reload,
    ) -> Result<(), NodeError> {
        if let Some(path) = &ready_file {
            ready_file::write(path, self)
                .map_err(|reason| NodeError::ReadyFile { path: path.clone(), reason })?;
        }
        banner::print(self, data);
        let ended = tokio::select! {
            failed = self.failed() => Err(failed),
            never = self.keep_ready_file(ready_file.as_deref()) => match never {},
            never = reload.follow(self.gateways.as_ref()) => match never {},
            signal = signals.next() => {
                tracing::info!(signal, "stopping");
                Ok(())
            }
        };
        if let (Ok(()), Some(path)) = (&ended, &ready_file) {
            ready_file::remove(path);
        }
        ended
    }

    /// Writes the ready file anew when there is something else to say: gateways of other clusters come
    /// to serve, brokers come and go.
    async fn keep_ready_file(&self, ready_file: Option<&Path>) -> Infallible {
        let (Some(gateways), Some(path)) = (&self.gateways, ready_file) else {
            return std::future::pending().await;
        };
        let mut changed = gateways.changed();
        changed.mark_changed();
        let mut written = Vec::new();
        while changed.changed().await.is_ok() {
            match ready_file::write_anew(path, self, &written) {
                Ok(now) => written = now,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "can't write the ready file");
                }
            }
        }
        std::future::pending().await
    }

    async fn failed(&self) -> NodeError {
        let coordinator = async {
            match &self.coordinator {
                Some(coordinator) => coordinator.failed().await,
                None => std::future::pending().await,
            }
        };
        let broker = async {
            match &self.broker {
                Some(broker) => broker.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            reason = coordinator => NodeError::Failed { role: "coordinator", reason },
            reason = broker => NodeError::Failed { role: "broker", reason },
        }
    }

    /// The broker first, whose session the coordinator must still close; HTTP last, so that the
    /// drain can be watched. [`limits::DRAIN_GRACE`] is for all of them together.
    async fn stop(&mut self) {
        let deadline = Instant::now() + limits::DRAIN_GRACE;
        let all = async {
            if let Some(gateways) = self.gateways.take() {
                gateways.shutdown(limits::DRAIN_GRACE).await;
            }
            if let Some(broker) = self.broker.take() {
                let reserved = limits::COORDINATOR_DRAIN_RESERVE;
                broker.shutdown(limits::DRAIN_GRACE.saturating_sub(reserved)).await;
            }
            if let Some(coordinator) = self.coordinator.take() {
                coordinator.shutdown(deadline.saturating_duration_since(Instant::now())).await;
            }
        };
        if tokio::time::timeout(limits::DRAIN_GRACE, all).await.is_err() {
            tracing::warn!(grace = ?limits::DRAIN_GRACE, "stopped before everything in flight was done");
        }
        self.http.take();
    }
}

/// The address under which this machine reaches a socket that is bound to `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port())
    } else {
        address
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        ListenAddress { host: address.ip().to_string(), port: address.port() }
    }
}

/// Raises the soft limit of open files to the hard one: connections and segments need them, and the
/// usual soft limit of 1,024 is there for programs that use `select`.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum })
    {
        tracing::warn!(%error, "can't raise the limit of open files");
    }
    let files = getrlimit(Resource::Nofile).current;
    match files {
        Some(files) if files < limits::OPEN_FILES_ENOUGH => tracing::warn!(
            files,
            "few files may be open: each connection takes one (raise the hard limit, LimitNOFILE)"
        ),
        Some(files) => tracing::info!(files, "files that may be open"),
        None => tracing::info!("any number of files may be open"),
    }
}
