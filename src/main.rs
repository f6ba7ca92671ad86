//! Command line, runtime and exit code: nothing else.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use doorkeeper::config::{self, Configuration, SystemProperties};
use doorkeeper::data::{self, DataCommand};
use doorkeeper::inspect::diff::{self, DiffOptions};
use doorkeeper::inspect::resolve::{self, ResolveOptions};
use doorkeeper::inspect::{InspectError, UNREADABLE};
use doorkeeper::node::Source;
use doorkeeper::shell::{self, ShellOptions};
use doorkeeper::telemetry::logging::{self, LogFormat};
use doorkeeper::{node, telemetry};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DOORKEEPER_COMMIT"), ")");

/// A coordinator that speaks ZooKeeper's protocol and a broker that speaks Kafka's, in one process.
///
/// Without a command it runs both on this machine, with its data below ./doorkeeper-data.
#[derive(Debug, Parser)]
#[command(version = VERSION, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: RunOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the roles that the files ask for; without files, a coordinator and a broker.
    Run {
        /// A zoo.cfg, a server.properties, or both.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Prints the effective configuration with the origin of each value. Ends with code 1 on errors
    /// and on keys that nobody knows.
    CheckConfig {
        /// A zoo.cfg, a server.properties, or both.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Sets a key over what the files say; may be given again.
        #[arg(long = "override", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// A Java system property, as zkServer.sh and `SERVER_JVMFLAGS` take it; may be given again.
        #[arg(short = 'D', value_name = "NAME=VALUE")]
        properties: Vec<String>,
    },
    /// Looks into a coordinator's data directory, or an Apache `ZooKeeper`'s, that no server uses.
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// A ZooKeeper client for people: one command, or a prompt.
    Zk(ShellOptions),
    /// Asks a broker or a gateway who leads a partition, who coordinates a group, where a key goes.
    ///
    /// Ends with code 0 if everything that was asked for is there and has a leader or a coordinator,
    /// with 1 if something has not, with 2 if nobody answers.
    Resolve(ResolveOptions),
    /// Compares what two sources say of a cluster: brokers, controller, topics, partitions.
    ///
    /// Ends with code 0 if nothing differs, with 1 and a line for each field that does, with 2 if one of
    /// them can't be read.
    Diff(DiffOptions),
}

#[derive(Debug, Args)]
struct RunOptions {
    /// Sets a key over what the files say; may be given again.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// A Java system property, as zkServer.sh and `SERVER_JVMFLAGS` take it; may be given again.
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// Is written, as JSON with every address, when every role serves, and removed at a clean stop.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// A level (info) or a filter (warn,doorkeeper=debug), before the one in `RUST_LOG` [default: warn]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

fn main() -> ExitCode {
    let CommandLine { command, options } = CommandLine::parse();
    match command {
        None => run(&[], options),
        Some(Command::Run { files, options }) => run(&files, options),
        Some(Command::CheckConfig { files, overrides, properties }) => {
            check_config(&files, &overrides, &properties)
        }
        Some(Command::Data { command }) => look_into(&command),
        Some(Command::Zk(options)) => talk(&options),
        Some(Command::Resolve(options)) => inspected(resolve::run(&options)),
        Some(Command::Diff(options)) => inspected(diff::run(&options)),
    }
}

fn look_into(command: &DataCommand) -> ExitCode {
    if let Err(error) = logging::start(LogFormat::Text, None) {
        say(&format!("the log level is not a filter: {error}"));
    }
    match data::run(command, &mut std::io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn talk(options: &ShellOptions) -> ExitCode {
    match shell::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn inspected(ended: Result<ExitCode, InspectError>) -> ExitCode {
    ended.unwrap_or_else(|error| {
        say(&error.to_string());
        ExitCode::from(UNREADABLE)
    })
}

fn run(files: &[PathBuf], options: RunOptions) -> ExitCode {
    if let Some(path) = &options.ready_file {
        node::remove_ready_file(path);
    }
    if let Err(error) = logging::start(options.log_format, options.log_level.as_deref()) {
        say(&format!("the log level is not a filter: {error}"));
        return ExitCode::FAILURE;
    }
    let source = Source {
        files: files.to_vec(),
        overrides: options.overrides,
        properties: SystemProperties::of_process(&options.properties),
        log_level_is_given: options.log_level.is_some()
            || logging::level_of_environment().is_some(),
    };
    let ended = config::load_with(&source.files, &source.overrides, &source.properties)
        .map_err(Into::into)
        .and_then(|configuration| serve(configuration, source, options.ready_file));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in format!("{error:#}").lines() {
                match options.log_format {
                    LogFormat::Text => say(line),
                    LogFormat::Json => tracing::error!("{line}"),
                }
            }
            ExitCode::FAILURE
        }
    }
}

fn serve(
    configuration: Configuration,
    source: Source,
    ready_file: Option<PathBuf>,
) -> anyhow::Result<()> {
    if let Some(level) = configuration.log_level.as_deref().filter(|_| !source.log_level_is_given) {
        logging::set_level(level);
    }
    let recorder = telemetry::install_recorder().context("install the metrics recorder")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let ended = runtime.block_on(node::run(configuration, source, recorder, ready_file));
    // Blocking work that still runs, such as a snapshot, is safe to cut: recovery expects it.
    runtime.shutdown_background();
    Ok(ended?)
}

fn check_config(files: &[PathBuf], overrides: &[String], properties: &[String]) -> ExitCode {
    match config::load_with(files, overrides, &SystemProperties::of_process(properties)) {
        Ok(configuration) => {
            let mut stdout = std::io::stdout().lock();
            // A closed pipe is the reader's choice.
            let _ = stdout.write_all(configuration.report().as_bytes());
            for line in &configuration.warnings {
                say(&format!("warning: {line}"));
            }
            for line in &configuration.unknown {
                say(line);
            }
            if configuration.unknown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            for line in &error.problems {
                say(line);
            }
            ExitCode::FAILURE
        }
    }
}

/// One line for the operator on standard error.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "doorkeeper: {line}");
}
