//! The coordinator's two HTTP endpoints: `admin.*` and `metricsProvider.*`.

use std::time::Duration;

use super::ListenAddress;
use super::keys::Owner;
use super::settings::Settings;
use super::tls;
use crate::net::tls::TlsConfig;

const OWNER: Owner = Owner::Coordinator;

/// `admin.*`: the AdminServer.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// `admin.serverAddress` and `admin.serverPort`.
    pub address: ListenAddress,
    /// Whether one of these two was given. A default port that is busy costs a warning, one that was
    /// asked for the start.
    pub address_given: bool,
    /// `admin.commandURL`: begins with a slash, and has none at its end.
    pub command_url: String,
    /// `admin.idleTimeout`: a connection on which nothing is answered for so long is closed.
    pub idle_timeout: Duration,
    /// `admin.rateLimiterIntervalInMS`: the least time between two snapshots, or two restores.
    pub rate_limit_interval: Duration,
    /// `admin.snapshot.enabled`.
    pub snapshot_enabled: bool,
    /// `admin.restore.enabled`.
    pub restore_enabled: bool,
    /// TLS with the stores of `ssl.quorum.*`; `None` is none.
    pub tls: Option<TlsConfig>,
    /// `admin.portUnification` without `admin.forceHttps`: HTTP without TLS is served too.
    pub plain_too: bool,
}

impl AdminConfig {
    /// `None` where `admin.enableServer` is false.
    pub(super) fn from_settings(settings: &mut Settings) -> Option<Self> {
        let enabled = settings.flag(OWNER, "admin.enableServer");
        let port = settings.number(OWNER, "admin.serverPort");
        let mut url = settings.text(OWNER, "admin.commandURL").unwrap_or_default();
        let url_ok = url.starts_with('/')
            && url.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.".contains(&b));
        if !url_ok {
            settings.problem("admin.commandURL", "expected a path such as /commands");
        }
        url.truncate(url.trim_end_matches('/').len());
        let forced = settings.flag(OWNER, "admin.forceHttps");
        let unified = settings.flag(OWNER, "admin.portUnification");
        let certificates = settings.flag(OWNER, "admin.needClientAuth");
        let wanted_by = if forced { "admin.forceHttps" } else { "admin.portUnification" };
        let with_tls = enabled && (forced || unified);
        let tls =
            with_tls.then(|| tls::of_admin_server(settings, wanted_by, certificates)).flatten();
        if certificates && enabled && !with_tls {
            settings.problem(
                "admin.needClientAuth",
                "clients show certificates over TLS only: set admin.forceHttps or \
                 admin.portUnification too",
            );
        }
        for store in ["ssl.quorum.keyStore.location", "ssl.quorum.trustStore.location"] {
            if !with_tls && settings.is_filled(store) {
                settings.warnings.push(format!(
                    "{store} changes nothing: it is for the members of an ensemble, and for an \
                     AdminServer with admin.forceHttps or admin.portUnification"
                ));
            }
        }
        let config = AdminConfig {
            address: ListenAddress {
                host: settings.text(OWNER, "admin.serverAddress").unwrap_or_default(),
                port: u16::try_from(port).unwrap_or(0),
            },
            address_given: settings.is_given("admin.serverAddress")
                || settings.is_given("admin.serverPort"),
            command_url: url,
            idle_timeout: milliseconds(settings.number(OWNER, "admin.idleTimeout")),
            rate_limit_interval: milliseconds(
                settings.number(OWNER, "admin.rateLimiterIntervalInMS"),
            ),
            snapshot_enabled: settings.flag(OWNER, "admin.snapshot.enabled"),
            restore_enabled: settings.flag(OWNER, "admin.restore.enabled"),
            tls,
            plain_too: unified && !forced,
        };
        enabled.then_some(config)
    }
}

/// `metricsProvider.*`: the page of ZooKeeper's own metrics, for Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsPageConfig {
    /// `metricsProvider.httpHost` and `metricsProvider.httpPort`.
    pub address: ListenAddress,
}

impl MetricsPageConfig {
    /// `None` unless `metricsProvider.className` is ZooKeeper's provider for Prometheus.
    pub(super) fn from_settings(settings: &mut Settings) -> Option<Self> {
        const KEY: &str = "metricsProvider.className";
        let host = settings.text(OWNER, "metricsProvider.httpHost").unwrap_or_default();
        let port = settings.number(OWNER, "metricsProvider.httpPort");
        let class = settings.text(OWNER, KEY).unwrap_or_default();
        match class.strip_prefix("org.apache.zookeeper.metrics.") {
            Some("prometheus.PrometheusMetricsProvider") => Some(MetricsPageConfig {
                address: ListenAddress { host, port: u16::try_from(port).unwrap_or(0) },
            }),
            Some("impl.DefaultMetricsProvider" | "impl.NullMetricsProvider") => None,
            _ => {
                settings.problem(
                    KEY,
                    "doorkeeper runs no Java classes; expected ZooKeeper's PrometheusMetricsProvider, \
                     DefaultMetricsProvider or NullMetricsProvider",
                );
                None
            }
        }
    }
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
