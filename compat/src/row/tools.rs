//! Kafka's own command line tools on both sides: kafka-producer-perf-test, and the console consumer
//! that reads the partition back by assignment.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Bench, KAFKA, Pair};
use crate::kafka::Client as KafkaClient;
use crate::options::Options;
use crate::process;
use crate::report::{Client, Sample};
use crate::server::Server;

pub(super) const NAMES: [&str; 4] = ["produce-100", "produce-1k", "consume-100", "consume-1k"];

/// Heap of the tools, as their start scripts set it.
const TOOL_JVM: &str = "-Xmx512M";

/// Size of a record in bytes, and how many of them make about a second.
const SIZES: [(&str, usize, f64); 2] = [("100", 100, 300_000.0), ("1k", 1024, 60_000.0)];

pub(super) fn run(bench: &mut Bench, pair: &Pair) -> Result<()> {
    let options = bench.options.clone();
    for (suffix, size, per_second) in SIZES {
        let (produce, consume) = (format!("produce-{suffix}"), format!("consume-{suffix}"));
        if !options.wants(&produce) && !options.wants(&consume) {
            continue;
        }
        let records = record_count(&options, per_second);
        // Records are read back in the round that follows: each side's last topic stays that long.
        let topic = |round: usize| format!("bench-{suffix}-{round}");
        if !options.smoke {
            for server in pair.each() {
                produce_once(&options, server, &format!("bench-{suffix}-warm"), size, records)?;
                consume_once(&options, server, &format!("bench-{suffix}-warm"), records)?;
            }
        }
        let operation = if size == 100 {
            "record of 100 B, kafka-producer-perf-test"
        } else {
            "record of 1 KiB, kafka-producer-perf-test"
        };
        bench.row(&produce, operation, Client::JavaTool, KAFKA, pair, |server, round| {
            produce_once(&options, server, &topic(round), size, records)
        })?;
        if !options.wants(&consume) {
            continue;
        }
        let operation = if size == 100 {
            "record of 100 B, console consumer by partition"
        } else {
            "record of 1 KiB, console consumer by partition"
        };
        bench.row(&consume, operation, Client::JavaTool, KAFKA, pair, |server, round| {
            consume_once(&options, server, &topic(round), records)
        })?;
    }
    Ok(())
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count")]
fn record_count(options: &Options, per_second: f64) -> u64 {
    if options.smoke { 5000 } else { (per_second * options.seconds) as u64 }
}

fn broker(server: &Server) -> Result<SocketAddr> {
    server.kafka.context("not a broker")
}

/// Produces into a new topic of one partition.
fn produce_once(
    options: &Options,
    server: &Server,
    topic: &str,
    size: usize,
    records: u64,
) -> Result<Sample> {
    let address = broker(server)?;
    KafkaClient::connect(address, Duration::from_mins(1))?.create_topics(&[topic.to_owned()], 1)?;
    let mut command = tool(options, "org.apache.kafka.tools.ProducerPerformance");
    command.args(["--topic", topic, "--throughput", "-1"]);
    command.args(["--num-records", &records.to_string(), "--record-size", &size.to_string()]);
    command.args(["--producer-props", &format!("bootstrap.servers={address}")]);
    let (mut sample, output) = measure(server, &mut command, records)?;
    let summary =
        summary(&output).with_context(|| format!("kafka-producer-perf-test said:\n{output}"))?;
    ensure!(
        summary.records == records,
        "{} records of {records} were acknowledged",
        summary.records
    );
    sample.per_second = summary.per_second;
    sample.p50_us = Some(summary.p50_ms * 1000.0);
    sample.p99_us = Some(summary.p99_ms * 1000.0);
    Ok(sample)
}

/// Reads a partition from its beginning, by assignment; the records go nowhere.
fn consume_once(options: &Options, server: &Server, topic: &str, records: u64) -> Result<Sample> {
    let mut command = tool(options, "org.apache.kafka.tools.consumer.ConsoleConsumer");
    command.args(["--bootstrap-server", &broker(server)?.to_string(), "--topic", topic]);
    command.args([
        "--partition",
        "0",
        "--offset",
        "earliest",
        "--max-messages",
        &records.to_string(),
    ]);
    command.args(["--timeout-ms", "30000"]).stdout(Stdio::null());
    let (sample, said) = measure(server, &mut command, records)?;
    ensure!(
        said.contains(&format!("Processed a total of {records} messages")),
        "the console consumer read too little:\n{said}"
    );
    Ok(sample)
}

fn tool(options: &Options, class: &str) -> Command {
    let mut command = Command::new("java");
    command
        .args(options.smoke_jvm())
        .arg(TOOL_JVM)
        .arg("-cp")
        .arg(options.kafka_jars.join("*"))
        .arg(class)
        .stdin(Stdio::null());
    command
}

/// Runs a tool to its end; all of its time counts, its start included. Returns what it said as well.
fn measure(server: &Server, command: &mut Command, operations: u64) -> Result<(Sample, String)> {
    let started = Instant::now();
    let (server_before, client_before) =
        (process::cpu_time(server.pid())?, process::ended_children_cpu_time()?);
    let output = command.stderr(Stdio::piped()).output().context("java")?;
    let seconds = started.elapsed().as_secs_f64();
    let server_cpu = process::cpu_time(server.pid())?.saturating_sub(server_before).as_secs_f64();
    let client_cpu =
        process::ended_children_cpu_time()?.saturating_sub(client_before).as_secs_f64();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("the tool ended with {}:\n{said}", output.status);
    }
    let sample = Sample {
        per_second: operations as f64 / seconds,
        p50_us: None,
        p99_us: None,
        server_cpu_us: server_cpu * 1e6 / operations as f64,
        server_cores: server_cpu / seconds,
        client_cores: client_cpu / seconds,
        other_cores: None,
        resident_mib: server.resident_mebibytes()?,
    };
    Ok((sample, said))
}

/// The last line of kafka-producer-perf-test.
#[derive(Debug, PartialEq)]
struct Summary {
    records: u64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Reads `50000 records sent, 8000.0 records/sec (0.76 MB/sec), 1.5 ms avg latency, 300.0 ms max
/// latency, 1 ms 50th, 3 ms 95th, 9 ms 99th, 20 ms 99.9th.`
fn summary(output: &str) -> Option<Summary> {
    let line = output.lines().rfind(|line| line.contains("99th"))?;
    let number = |part: &str| -> Option<f64> { part.split_whitespace().next()?.parse().ok() };
    let part =
        |ending: &str| line.split(", ").find(|part| part.trim_end_matches('.').ends_with(ending));
    Some(Summary {
        records: line.split(' ').next()?.parse().ok()?,
        per_second: number(line.split(", ").find(|part| part.contains("records/sec"))?)?,
        p50_ms: number(part("50th")?)?,
        p99_ms: number(part("99th")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_read() {
        let text = "100 records sent, 20.0 records/sec (0.00 MB/sec), 5.0 ms avg latency, 9.0 ms max latency.\n\
            50000 records sent, 8000.5 records/sec (0.76 MB/sec), 1.52 ms avg latency, 300.00 ms max latency, \
            1 ms 50th, 3 ms 95th, 9 ms 99th, 20 ms 99.9th.\n";
        let summary = summary(text);
        assert_eq!(
            summary,
            Some(Summary { records: 50_000, per_second: 8000.5, p50_ms: 1.0, p99_ms: 9.0 })
        );
    }

    #[test]
    fn an_unfinished_run_has_none() {
        assert_eq!(summary("100 records sent, 20.0 records/sec (0.00 MB/sec)\n"), None);
    }
}
