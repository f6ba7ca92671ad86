//! The data directory: transaction log and snapshots, in the format of Apache ZooKeeper.
