//! Native tools of the compatibility suite: the load generator and the benchmark runner.
//!
//! | module | what it is |
//! |---|---|
//! | [`load`] | one thread that keeps many connections busy and measures |
//! | [`zookeeper`], [`kafka`] | the frames of both protocols, made by hand, as conversations for [`load`] |
//! | [`echo`] | a bare tokio server, to compare reads with |
//! | [`server`] | starts doorkeeper and its peers on the same settings |
//! | [`proxy`] | the proxies that the relay is compared with |
//! | [`process`] | CPU time and memory, as the kernel counts them |
//! | [`row`] | the rows of the table, a file a family |
//! | [`machine`] | what a reader must know of the machine |
//! | [`report`] | medians, ratios, the table and the JSON |
#![allow(clippy::cast_precision_loss, reason = "measured figures are shown with three digits")]

pub mod echo;
pub mod histogram;
pub mod kafka;
pub mod load;
pub mod machine;
pub mod options;
pub mod process;
pub mod proxy;
pub mod report;
pub mod row;
pub mod server;
pub mod zookeeper;
