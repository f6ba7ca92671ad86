//! Transactions on a fresh database.
