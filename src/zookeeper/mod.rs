//! The coordinator: a ZooKeeper-protocol server that keeps znodes, sessions and watches.

pub mod acl;
pub mod database;
pub mod jute;
pub mod stat;
pub mod storage;
pub mod tree;
pub mod txn;
