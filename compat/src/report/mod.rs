//! What was measured: every round as it was, medians and ratios, as JSON and as a table.

mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::load::Measured;

/// A generator thread above this share of a core is taken for what limited the throughput.
const BUSY_GENERATOR: f64 = 0.9;
/// Other processes above this many cores are said to have disturbed a row.
const DISTURBED: f64 = 0.15;

/// One side of one round of a load.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Operations a second.
    pub per_second: f64,
    /// Median latency in microseconds, if it was measured.
    pub p50_us: Option<f64>,
    /// 99th percentile of the latency in microseconds, if it was measured.
    pub p99_us: Option<f64>,
    /// CPU time of the server for each operation, in microseconds.
    pub server_cpu_us: f64,
    /// CPU that the server used, in cores.
    pub server_cores: f64,
    /// CPU that the generator or the client used, in cores.
    pub client_cores: f64,
    /// CPU that everything else used, in cores; none where it could not be told apart.
    pub other_cores: Option<f64>,
    /// Resident memory of the server at the end, in MiB.
    pub resident_mib: f64,
}

impl Sample {
    /// The sample of a native load.
    pub fn of(measured: &Measured, resident_mib: f64) -> Self {
        let seconds = measured.elapsed.as_secs_f64().max(1e-9);
        let operations = (measured.answers as f64).max(1.0);
        let micros = |quantile| Some(measured.latency.quantile(quantile).as_secs_f64() * 1e6);
        Self {
            per_second: measured.answers as f64 / seconds,
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            server_cpu_us: measured.server_cpu.as_secs_f64() * 1e6 / operations,
            server_cores: measured.server_cpu.as_secs_f64() / seconds,
            client_cores: measured.generator_cpu.as_secs_f64() / seconds,
            other_cores: Some(measured.other_cpu.as_secs_f64() / seconds),
            resident_mib,
        }
    }
}

/// Who makes the load of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Client {
    /// The generator of this package: one thread.
    Native,
    /// One of Kafka's own command line tools.
    JavaTool,
}

/// A load on both sides.
#[derive(Debug, Clone, Serialize)]
pub struct LoadRow {
    /// The name that `bash compat/bench NAME` takes.
    pub name: String,
    /// What one operation is.
    pub operation: &'static str,
    /// Who asks.
    pub client: Client,
    /// The peer's name and version.
    pub peer_name: &'static str,
    /// doorkeeper's rounds.
    pub doorkeeper: Vec<Sample>,
    /// The peer's rounds.
    pub peer: Vec<Sample>,
    /// Those of a bare echo server with the same bytes, where there is one.
    pub echo: Vec<Sample>,
}

impl LoadRow {
    /// What a reader must know to judge the row: what limited it, what disturbed it.
    fn note(&self) -> String {
        let mut notes = Vec::new();
        for (name, samples) in [("doorkeeper", &self.doorkeeper), (self.peer_name, &self.peer)] {
            let client = median_of(samples, |sample| Some(sample.client_cores)).unwrap_or(0.0);
            let server = median_of(samples, |sample| Some(sample.server_cores)).unwrap_or(0.0);
            match self.client {
                Client::Native if client >= BUSY_GENERATOR => {
                    notes.push(format!("the generator is the limit ({name})"));
                }
                Client::JavaTool if client > server => {
                    notes.push(format!("the client is the limit ({name})"));
                }
                _ => {}
            }
            let other = median_of(samples, |sample| sample.other_cores).unwrap_or(0.0);
            if other >= DISTURBED {
                notes.push(format!("other processes took {other:.1} cores ({name})"));
            }
        }
        notes.join("; ")
    }
}

/// A single figure of both sides: a time or a size.
#[derive(Debug, Clone, Serialize)]
pub struct FigureRow {
    /// The name of the row that it belongs to.
    pub name: String,
    /// What was measured.
    pub title: String,
    /// Its unit.
    pub unit: &'static str,
    /// The peer's name and version.
    pub peer_name: &'static str,
    /// doorkeeper's rounds.
    pub doorkeeper: Vec<f64>,
    /// The peer's rounds.
    pub peer: Vec<f64>,
}

/// Everything that a run found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The machine and the versions, a line each.
    pub setting: Vec<String>,
    /// The loads.
    pub loads: Vec<LoadRow>,
    /// The figures.
    pub figures: Vec<FigureRow>,
}

impl Report {
    /// Writes the report as JSON, with every round as it was measured.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| path.display().to_string())
    }

    /// Adds rounds of a figure to the row of that name and title, which is made at the first.
    pub fn add_figure(&mut self, figure: FigureRow) {
        let same = |row: &&mut FigureRow| row.name == figure.name && row.title == figure.title;
        match self.figures.iter_mut().find(same) {
            Some(row) => {
                row.doorkeeper.extend(figure.doorkeeper);
                row.peer.extend(figure.peer);
            }
            None => self.figures.push(figure),
        }
    }
}

/// The median of what `field` takes from the samples; none if none has it.
fn median_of(samples: &[Sample], field: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
    median(&samples.iter().filter_map(field).collect::<Vec<_>>())
}

/// The middle value, or the mean of the two middle ones; none of nothing.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[9.0, 1.0, 5.0, 6.0]), Some(5.5));
    }

    #[test]
    fn figures_of_one_title_are_rounds_of_one_row() {
        let figure = |value| FigureRow {
            name: "start".into(),
            title: "start to first answer".into(),
            unit: "ms",
            peer_name: "peer",
            doorkeeper: vec![value],
            peer: vec![value * 2.0],
        };
        let mut report = Report::default();
        report.add_figure(figure(1.0));
        report.add_figure(figure(2.0));
        report.add_figure(FigureRow { title: "other".into(), ..figure(3.0) });
        assert_eq!(report.figures.len(), 2);
        assert_eq!(report.figures.first().map(|row| row.peer.clone()), Some(vec![2.0, 4.0]));
    }
}
