//! Logs: to standard error, as text or as one JSON object a line.

use std::io::IsTerminal;
use std::sync::OnceLock;

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

/// What is written where nothing says otherwise.
pub const DEFAULT_LEVEL: &str = "warn";

/// Changes the filter of the subscriber that was started.
type Change = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

/// The level that `RUST_LOG` asks for.
pub fn level_of_environment() -> Option<String> {
    std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty())
}

/// The filter that a level (`info`) or a filter (`warn,doorkeeper=debug`) comes to.
///
/// # Errors
/// It is neither.
pub fn check_level(level: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(quiet_client(level.to_owned()))
}

/// Another level from now on. One that is none changes nothing: [`check_level`] says so before.
pub fn set_level(level: &str) {
    if let (Some(change), Ok(filter)) = (CHANGE.get(), check_level(level)) {
        change(filter);
    }
}

/// Starts logging to standard error, and makes a panic an ERROR line of its own.
///
/// `level` is a level or a filter (`info`, `warn,doorkeeper::broker=debug`); without it `RUST_LOG`
/// says, and without that WARN and above is written.
///
/// # Errors
/// `level` or `RUST_LOG` is not a filter.
pub fn start(format: LogFormat, level: Option<&str>) -> Result<(), ParseError> {
    let given = level.map(str::to_owned).or_else(level_of_environment);
    let filter = check_level(&given.unwrap_or_else(|| DEFAULT_LEVEL.to_owned()))?;
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr);
    // Another subscriber is there already only in a test, whose own it then is.
    match format {
        LogFormat::Text => {
            let builder = builder.with_ansi(std::io::stderr().is_terminal());
            let builder = builder.with_env_filter(filter).with_filter_reloading();
            let handle = builder.reload_handle();
            _ = CHANGE.set(Box::new(move |filter| handle.reload(filter).is_ok()));
            _ = builder.try_init();
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true);
            let builder = builder.with_env_filter(filter).with_filter_reloading();
            let handle = builder.reload_handle();
            _ = CHANGE.set(Box::new(move |filter| handle.reload(filter).is_ok()));
            _ = builder.try_init();
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map_or_else(String::new, ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("a panic without a message");
        tracing::error!(at, message, "a task panicked; this is a defect of doorkeeper");
    }));
    Ok(())
}
