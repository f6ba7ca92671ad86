//! `doorkeeper diff`: two sources of metadata, compared.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::compare::{Difference, differences};
use super::source::{Open, Source};
use super::{InspectError, exit_code, print, runtime};

/// How long two sources that differ are left alone before they are read again.
const PAUSE: Duration = Duration::from_millis(100);

/// What `doorkeeper diff` takes on its command line.
#[derive(Debug, Clone, Args)]
pub struct DiffOptions {
    /// A Kafka address, host:port[,host:port...], or zookeeper://host:port[,...][/chroot].
    #[arg(value_name = "A")]
    a: Source,
    /// The other one.
    #[arg(value_name = "B")]
    b: Source,
    /// Compares hosts and ports of brokers, too.
    #[arg(long)]
    addresses: bool,
    /// The listener whose endpoints are read from ZooKeeper [default: each broker's first]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Reads again until nothing differs, for so many seconds: brokers hear of a change a little later
    /// than ZooKeeper has it.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    /// How long an address has to answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Answers as JSON.
    #[arg(long)]
    json: bool,
}

/// Compares, and names the fields that differ on standard output.
///
/// # Errors
/// One of the two can't be read.
pub fn run(options: &DiffOptions) -> Result<ExitCode, InspectError> {
    exit_code(compare(options))
}

fn compare(options: &DiffOptions) -> Result<bool, InspectError> {
    let runtime = runtime()?;
    let started = Instant::now();
    let found = loop {
        let found = runtime.block_on(once(options))?;
        if found.is_empty() || started.elapsed() >= Duration::from_secs(options.wait) {
            break found;
        }
        std::thread::sleep(PAUSE);
    };
    let mut text = Vec::new();
    if options.json {
        writeln!(text, "{}", json!({"equal": found.is_empty(), "differences": found}))?;
    } else {
        for difference in &found {
            writeln!(text, "{difference}")?;
        }
    }
    print(&text)?;
    Ok(found.is_empty())
}

async fn once(options: &DiffOptions) -> Result<Vec<Difference>, InspectError> {
    let patience = Duration::from_millis(options.timeout);
    let listener = options.listener.as_deref();
    let read = async |source: &Source| {
        Open::reach(source, listener, patience, false).await?.metadata(None).await
    };
    let (a, b) = tokio::try_join!(read(&options.a), read(&options.b))?;
    Ok(differences(&a, &b, options.addresses))
}
