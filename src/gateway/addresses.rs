//! The addresses of brokers that the clients of one listener are told.

pub use crate::kafka::addresses::{Address, AddressBook};
