//! The benchmark's runner; `compat/bench` builds and calls it.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use compat::options::Options;
use compat::row::{Bench, names};

fn main() -> Result<ExitCode> {
    let options = Options::parse().effective();
    let mut out = std::io::stdout();
    if options.list {
        for name in names() {
            writeln!(out, "{name}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut bench = Bench::new(options.clone())?;
    bench.run();
    bench.report.write_json(&options.json)?;
    writeln!(out, "{}", bench.report.table())?;
    writeln!(out, "every round: {}", options.json.display())?;
    if let (Some(path), true) = (&options.table_into, bench.failures.is_empty()) {
        bench.report.write_table_into(path)?;
    }
    for failure in &bench.failures {
        writeln!(out, "FAILED {failure}")?;
    }
    Ok(if bench.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
