//! What a reader of the table must know of the machine: cores, memory, kernel, disk, versions.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::histogram::Histogram;
use crate::options::Options;

/// Appends that are timed to tell how quick an fsync is here.
const FSYNCS: usize = 200;

/// The setting of a run, a line each.
pub fn setting(options: &Options) -> Result<Vec<String>> {
    let mut lines = vec![
        format!("doorkeeper: {}", first_line(Command::new(&options.doorkeeper).arg("--version"))),
        format!(
            "peers: Apache Kafka 3.9.1 and ZooKeeper 3.9.4 on {}",
            first_line(Command::new("java").arg("--version"))
        ),
        format!(
            "machine: {} cores of {}, {} of memory, Linux {}",
            std::thread::available_parallelism()?,
            field("/proc/cpuinfo", "model name"),
            field("/proc/meminfo", "MemTotal"),
            fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        ),
        fsync_line(options)?,
        format!(
            "{} rounds of {} s each, both servers running, loaded in turn; {} s of warm-up of each load on a JVM before",
            options.rounds, options.seconds, options.warm_up
        ),
    ];
    if options.smoke {
        lines.push("SMOKE RUN: the figures mean nothing".to_owned());
    }
    Ok(lines)
}

fn fsync_line(options: &Options) -> Result<String> {
    let times = fsync_times(&options.scratch)?;
    let milliseconds = |quantile| times.quantile(quantile).as_secs_f64() * 1000.0;
    let slower = options
        .slow_disk
        .map(|delay| format!("; every fsync of every server was made {delay} ms longer (strace)"));
    Ok(format!(
        "disk: an fdatasync of 256 appended bytes takes {:.2} ms (median), {:.2} ms (99th percentile){}",
        milliseconds(0.5),
        milliseconds(0.99),
        slower.unwrap_or_default()
    ))
}

/// How long appends to a file in `folder` take to reach the disk.
fn fsync_times(folder: &Path) -> Result<Histogram> {
    let path = folder.join("fsync-probe");
    let mut file = fs::File::create(&path)?;
    let mut times = Histogram::default();
    for _ in 0..FSYNCS {
        file.write_all(&[7; 256])?;
        let started = Instant::now();
        file.sync_data()?;
        times.record(started.elapsed());
    }
    fs::remove_file(path)?;
    Ok(times)
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("unknown").to_owned()
}

/// The value of a `name : value` line of a file below `/proc`.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)).and_then(|rest| rest.split_once(':'));
    line.map_or("unknown", |(_, value)| value.trim()).to_owned()
}
