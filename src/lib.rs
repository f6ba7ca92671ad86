//! The map of the crate: one module for each part of the system.
//!
//! - [`zookeeper`]: the coordinator, a ZooKeeper-protocol server. Knows nothing of Kafka.
//! - [`cluster`]: what every Kafka role knows of the cluster, read from the znodes.
//! - [`broker`]: what a member of the cluster adds: registration, controller, partition logs.
//! - [`gateway`]: the front door of a cluster that it is no part of.
//! - [`kafka`]: the Kafka protocol server.
//! - [`config`], [`net`], [`telemetry`], [`limits`], [`durable_file`], [`bounded_file`], [`calendar`]: what
//!   all of them share.
//! - [`data`]: looks into a data directory offline, and repairs it.
//! - [`node`]: starts and drains the roles of one process.
//! - [`inspect`]: `doorkeeper resolve` and `doorkeeper diff`, which look at a cluster from outside.
//! - [`shell`]: `doorkeeper zk`, a ZooKeeper client for people.

pub mod bounded_file;
pub mod broker;
pub mod calendar;
pub mod cluster;
pub mod config;
pub mod data;
pub mod durable_file;
pub mod file_stamp;
pub mod gateway;
pub mod inspect;
pub mod kafka;
pub mod limits;
pub mod net;
pub mod node;
pub mod shell;
pub mod telemetry;
pub mod zookeeper;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit of this build; `debug build` in one, `unknown` outside a git repository.
pub const COMMIT: &str = env!("DOORKEEPER_COMMIT");
