//! `doorkeeper zk`: a ZooKeeper client for people, one command at a time or at a prompt.
//!
//! The commands, and their options, have the names that `zkCli.sh` made known. Works with any server
//! that speaks ZooKeeper's protocol.

mod acl;
mod answer;
mod command;
mod execute;
mod kafka;
mod prompt;
mod remote;
mod words;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;

use self::execute::Ended;
use self::remote::Remote;

/// What `doorkeeper zk` takes on its command line.
#[derive(Debug, Clone, Args)]
pub struct ShellOptions {
    /// Where the server is: host:port[,host:port...][/chroot].
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1:2181")]
    pub server: String,
    /// How long the session lives without its client, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub timeout: u64,
    /// Proves an identity first, such as digest:user:password; may be given again.
    #[arg(long, value_name = "SCHEME:CREDENTIALS")]
    pub auth: Vec<String>,
    /// Answers as JSON, one value on a line.
    #[arg(long)]
    pub json: bool,
    /// The command (`help` lists them); without one, lines are read from a prompt or from standard input.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// Why the shell, or one command of it, failed: one line for a person.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// No session with the server.
    #[error("no session with {server}: {reason}")]
    Connect {
        /// The addresses that were tried.
        server: String,
        /// What the client says.
        reason: zookeeper_client::Error,
    },
    /// The server, or the client, refused.
    #[error("{path}: {reason}")]
    Refused {
        /// The znode that it was about.
        path: String,
        /// Why.
        reason: zookeeper_client::Error,
    },
    /// A line that is no command, or not well formed.
    #[error("{0}")]
    Usage(String),
    /// The terminal, or the pipe behind it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Runs a command, or a prompt until its end.
///
/// # Errors
/// No server, or a command that failed; at a prompt commands fail without ending it, while lines of a
/// script end with the first that fails.
pub fn run(options: &ShellOptions) -> Result<(), ShellError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut remote = runtime.block_on(Remote::connect(
        &options.server,
        Duration::from_millis(options.timeout),
        &options.auth,
    ))?;
    let ended = if !options.command.is_empty() {
        one(&runtime, &mut remote, &options.command, options.json).map(drop)
    } else if std::io::stdin().is_terminal() {
        prompt::run(&runtime, &mut remote, options.json)
    } else {
        script(&runtime, &mut remote, options.json)
    };
    runtime.block_on(remote.close());
    ended
}

/// Executes the words of one line and writes the answer.
fn one(
    runtime: &tokio::runtime::Runtime,
    remote: &mut Remote,
    words: &[String],
    json: bool,
) -> Result<Ended, ShellError> {
    let command = match command::parse(words) {
        Ok(command) => command,
        Err(command::NoCommand::Help(text)) => {
            std::io::stdout().write_all(text.as_bytes())?;
            return Ok(Ended::No);
        }
        Err(command::NoCommand::Wrong(text)) => return Err(ShellError::Usage(text)),
    };
    runtime.block_on(execute::execute(remote, command, json, &mut std::io::stdout()))
}

/// Lines from a pipe or a file; blank ones and those that begin with `#` are passed over.
fn script(
    runtime: &tokio::runtime::Runtime,
    remote: &mut Remote,
    json: bool,
) -> Result<(), ShellError> {
    for line in std::io::stdin().lines() {
        let line = line?;
        let words = words::split(&line).map_err(|reason| ShellError::Usage(reason.to_owned()))?;
        if words.is_empty() || words[0].starts_with('#') {
            continue;
        }
        if matches!(one(runtime, remote, &words, json)?, Ended::Yes) {
            break;
        }
    }
    Ok(())
}
