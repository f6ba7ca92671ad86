//! Starts and drains the roles of one process.
