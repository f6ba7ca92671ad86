//! The coordinator: a ZooKeeper-protocol server that keeps znodes, sessions and watches.
