//! What a member of the cluster adds: its registration, the controller, partition logs, producer ids.

pub mod log;
