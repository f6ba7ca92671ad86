//! Transactions: requests turned into absolute effects, which the log keeps and the tree applies.

pub mod apply;
pub mod prep;
pub mod record;
