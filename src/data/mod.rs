//! `doorkeeper data`: looks into a data directory that no server uses, and repairs it.

mod directory;
mod dump;
mod inspect;
mod repair;
mod scan;
mod show;
mod verify;
mod zookeeper;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::directory::Directory;
use crate::zookeeper::storage::StorageError;

/// What is asked of a data directory.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Shows its snapshots, logs, zxid ranges and sessions, and who wrote to it last.
    Inspect {
        /// The directory.
        #[command(flatten)]
        dirs: Dirs,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Prints every transaction of its logs, one a line.
    Dump {
        /// The directory.
        #[command(flatten)]
        dirs: Dirs,
        /// Prints a JSON object a line, with data in base64.
        #[arg(long)]
        json: bool,
    },
    /// Checks every checksum, and the digest of the tree after each transaction. Ends with code 1 if
    /// anything is wrong.
    Verify {
        /// The directory.
        #[command(flatten)]
        dirs: Dirs,
        /// Checks as well whether Apache `ZooKeeper` would boot on it.
        #[arg(long)]
        for_zookeeper: bool,
        /// The `jute.maxbuffer` of that `ZooKeeper`, in bytes.
        #[arg(long, value_name = "BYTES", default_value_t = zookeeper::JUTE_MAXBUFFER)]
        jute_maxbuffer: usize,
    },
    /// Cuts it at the first record that is bad, keeps a copy of what was there outside of version-2, and
    /// says what is lost.
    Repair {
        /// The directory.
        #[command(flatten)]
        dirs: Dirs,
    },
}

/// The directory that is meant.
#[derive(Debug, Args)]
pub struct Dirs {
    /// `dataDir`, and `dataLogDir` if it is another one.
    #[arg(value_name = "DIR", required = true, num_args = 1..=2)]
    dirs: Vec<PathBuf>,
}

/// Why nothing could be said or done: one line.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The directory can't be used.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// A file can't be read, or the answer can't be written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such directory.
    #[error("{}: {what}", .path.display())]
    NoData {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
}

/// Does what is asked and writes the answer to `out`; says whether all is well.
///
/// # Errors
/// A directory that isn't there, is not to be read, or that a server uses.
pub fn run(command: &DataCommand, out: &mut dyn Write) -> Result<bool, DataError> {
    let (DataCommand::Inspect { dirs, .. }
    | DataCommand::Dump { dirs, .. }
    | DataCommand::Verify { dirs, .. }
    | DataCommand::Repair { dirs }) = command;
    let directory = Directory::open(&dirs.dirs)?;
    let done = match command {
        DataCommand::Inspect { json, .. } => inspect::run(&directory, *json, out),
        DataCommand::Dump { json, .. } => dump::run(&directory, *json, out),
        DataCommand::Verify { for_zookeeper, jute_maxbuffer, .. } => {
            verify::run(&directory, for_zookeeper.then_some(*jute_maxbuffer), out)
        }
        DataCommand::Repair { .. } => repair::run(&directory, out),
    };
    match done {
        // Whoever reads has seen enough.
        Err(DataError::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        done => done,
    }
}

/// Names the standard output for an error of it.
fn output(source: io::Error) -> DataError {
    DataError::Io { path: PathBuf::from("standard output"), source }
}

#[cfg(test)]
mod tests;
