//! The benchmark's runner; `compat/bench` builds and calls it.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use compat::echo;
use compat::options::Options;
use compat::row::{Bench, names};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let ended = if arguments.next().as_deref() == Some(echo::ARGUMENT) {
        arguments.next().context("no length").and_then(|length| echo::serve(length.parse()?))
    } else {
        run(Options::parse().effective())
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Without anybody who reads it, the exit code still says it.
            let _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for; whether every row was measured.
fn run(options: Options) -> Result<bool> {
    let mut out = std::io::stdout();
    if options.list {
        for name in names() {
            writeln!(out, "{name}")?;
        }
        return Ok(true);
    }
    let (json, table_into) = (options.json.clone(), options.table_into.clone());
    let mut bench = Bench::new(options)?;
    bench.run();
    bench.report.write_json(&json)?;
    writeln!(out, "{}", bench.report.table())?;
    writeln!(out, "every round: {}", json.display())?;
    for failure in &bench.failures {
        writeln!(out, "FAILED {failure}")?;
    }
    if let (Some(path), true) = (&table_into, bench.failures.is_empty()) {
        bench.report.write_table_into(path)?;
    }
    Ok(bench.failures.is_empty())
}
