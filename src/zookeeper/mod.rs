//! The coordinator: a ZooKeeper-protocol server that keeps znodes, sessions and watches.
//!
//! A request's way: [`connection`] decodes it. What only reads is answered there ([`read`]). What
//! changes something goes through the queue to [`pipeline`], the one writer: [`txn::prep`] turns it
//! into a transaction, [`storage`] logs it, [`txn::apply`] changes the tree, [`watch`] says who is
//! told.

pub mod acl;
pub mod admin;
pub mod audit;
pub mod auth;
pub mod command;
pub mod connection;
pub mod database;
pub mod expiry;
mod io_threads;
pub mod jute;
mod listeners;
pub mod path;
pub mod pipeline;
pub mod proto;
pub mod quota;
pub mod read;
pub mod server;
pub mod session;
#[cfg(test)]
mod simulation;
pub mod snapshots;
pub mod stat;
pub mod state;
pub mod stats;
pub mod storage;
pub mod sweep;
#[cfg(test)]
pub(crate) mod test_history;
pub mod tree;
pub mod txn;
pub mod watch;
