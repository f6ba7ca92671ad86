//! Logs: to standard error, as text or as one JSON object a line.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// For a log collector.
    Json,
}

/// The ZooKeeper client of the broker tells each of its steps, and each connection that fails, which
/// the broker sums up in lines of its own: it is kept to ERROR unless the filter names it.
fn quiet_client(filter: String) -> String {
    const CLIENT: &str = "zookeeper_client";
    if filter.contains(CLIENT) { filter } else { format!("{CLIENT}=error,{filter}") }
}

/// Starts logging to standard error, and makes a panic an ERROR line of its own.
///
/// `level` is a level or a filter (`info`, `warn,doorkeeper::broker=debug`); without it `RUST_LOG`
/// says, and without that WARN and above is written.
///
/// # Errors
/// `level` or `RUST_LOG` is not a filter.
pub fn start(format: LogFormat, level: Option<&str>) -> Result<(), ParseError> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = level.map(str::to_owned).or(from_environment).unwrap_or_else(|| "warn".to_owned());
    let filter = EnvFilter::try_new(quiet_client(filter))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Another subscriber is there already only in a test, whose own it then is.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map_or_else(String::new, ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("a panic without a message");
        tracing::error!(at, message, "a task panicked; this is a defect of doorkeeper");
    }));
    Ok(())
}
