//! `doorkeeper resolve` and `doorkeeper diff`: looks at a cluster's metadata from outside.
//!
//! - [`client`]: one connection to a broker, a gateway or whatever else speaks Kafka's protocol.
//! - [`picture`]: a cluster's metadata, whatever it was read from (pure).
//! - [`source`]: a Kafka address or a ZooKeeper address, read into a picture.
//! - [`compare`]: two pictures, field by field (pure).
//! - [`partitioner`]: the partition of a key (pure).
//! - [`resolve`], [`diff`]: the two commands.

pub mod client;
pub mod compare;
pub mod diff;
pub mod partitioner;
pub mod picture;
pub mod resolve;
pub mod source;
mod table;

use std::io::Write;
use std::process::ExitCode;

/// The exit code of a question that could not be asked: nobody answers, or not as Kafka does.
pub const UNREADABLE: u8 = 2;

/// Why a command could not be carried out: one line for a person.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Nobody answers at an address, or not as expected.
    #[error("{address}: {reason}")]
    Unreadable {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// Options that make no sense.
    #[error("{0}")]
    Usage(String),
    /// Standard output, or the runtime.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl InspectError {
    fn unreadable(address: &str, reason: impl std::fmt::Display) -> Self {
        InspectError::Unreadable { address: address.to_owned(), reason: reason.to_string() }
    }
}

/// The exit code of a command: 0 and 1 are its answers, 2 is that there is none.
///
/// # Errors
/// What there is to say about the latter.
fn exit_code(answer: Result<bool, InspectError>) -> Result<ExitCode, InspectError> {
    match answer {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error),
    }
}

/// Writes to standard output; says whether anybody reads it still, which changes no answer.
fn print(text: &[u8]) -> std::io::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, InspectError> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}
