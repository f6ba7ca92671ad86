//! The Markdown table of a report, and its place in a file.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{FigureRow, LoadRow, Report, Sample, median, median_of};

/// The lines between which a file holds the table.
const BEGIN: &str = "<!-- the table begins -->";
const END: &str = "<!-- the table ends -->";

impl Report {
    /// The tables in Markdown: medians of all rounds, doorkeeper's first, then the peer's.
    pub fn table(&self) -> String {
        let mut out = String::new();
        for line in &self.setting {
            push(&mut out, &format!("- {line}"));
        }
        if !self.loads.is_empty() {
            push(&mut out, "");
            push(
                &mut out,
                "Loads. Each cell: doorkeeper / peer, medians of the rounds; × = doorkeeper ÷ peer. \
                 Echo: server CPU of a bare tokio server that answers the same bytes, × = doorkeeper ÷ echo.",
            );
            push(&mut out, "");
            push(
                &mut out,
                "| row | peer | operations/s | × | p50 ms | p99 ms | server CPU µs/operation | × | \
                 echo µs, × | server cores | resident MiB | client cores | note |",
            );
            push(&mut out, "|---|---|---|---|---|---|---|---|---|---|---|---|---|");
            for row in &self.loads {
                push(&mut out, &load_line(row));
            }
        }
        if !self.figures.is_empty() {
            push(&mut out, "");
            push(&mut out, "| row | figure | doorkeeper | peer | × | peer is |");
            push(&mut out, "|---|---|---|---|---|---|");
            for row in &self.figures {
                push(&mut out, &figure_line(row));
            }
        }
        out
    }

    /// Replaces the table in a Markdown file.
    pub fn write_table_into(&self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let missing =
            || format!("{} has no line `{BEGIN}` or no line `{END}` behind it", path.display());
        let (before, rest) = text.split_once(BEGIN).with_context(missing)?;
        let (_, after) = rest.split_once(END).with_context(missing)?;
        let whole = format!("{before}{BEGIN}\n{}{END}{after}", self.table());
        fs::write(path, whole).with_context(|| path.display().to_string())
    }
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn load_line(row: &LoadRow) -> String {
    let pair = |field: fn(&Sample) -> Option<f64>| {
        (median_of(&row.doorkeeper, field), median_of(&row.peer, field))
    };
    let rate = pair(|sample| Some(sample.per_second));
    let cpu = pair(|sample| Some(sample.server_cpu_us));
    let mut line = format!("| `{}` ({}) | {} ", row.name, row.operation, row.peer_name);
    for cell in [
        cells(rate),
        ratio(rate),
        cells(pair(|sample| sample.p50_us.map(|micros| micros / 1000.0))),
        cells(pair(|sample| sample.p99_us.map(|micros| micros / 1000.0))),
        cells(cpu),
        ratio(cpu),
        echo(cpu.0, median_of(&row.echo, |sample| Some(sample.server_cpu_us))),
        cells(pair(|sample| Some(sample.server_cores))),
        cells(pair(|sample| Some(sample.resident_mib))),
        cells(pair(|sample| Some(sample.client_cores))),
        row.note(),
    ] {
        // Writing to a String cannot fail.
        let _ = write!(line, "| {cell} ");
    }
    line + "|"
}

fn figure_line(row: &FigureRow) -> String {
    let values = (median(&row.doorkeeper), median(&row.peer));
    let cell = |value: Option<f64>| {
        value.map_or("–".into(), |value| format!("{} {}", figure(value), row.unit))
    };
    format!(
        "| `{}` | {} | {} | {} | {} | {} |",
        row.name,
        row.title,
        cell(values.0),
        cell(values.1),
        ratio(values),
        row.peer_name
    )
}

fn cells((ours, peers): (Option<f64>, Option<f64>)) -> String {
    let text = |value: Option<f64>| value.map_or("–".into(), figure);
    if ours.is_none() && peers.is_none() {
        "–".into()
    } else {
        format!("{} / {}", text(ours), text(peers))
    }
}

fn echo(ours: Option<f64>, echo: Option<f64>) -> String {
    echo.map_or("–".into(), |micros| format!("{}, {}", figure(micros), ratio((ours, echo))))
}

fn ratio(values: (Option<f64>, Option<f64>)) -> String {
    match values {
        (Some(ours), Some(peers)) if peers > 0.0 => format!("{:.2}", ours / peers),
        _ => "–".into(),
    }
}

/// A figure with about three digits, thousands grouped.
fn figure(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(figure(0.123), "0.12");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(123.4), "123");
        assert_eq!(figure(1_234_567.0), "1,234,567");
    }

    #[test]
    fn cells_and_ratios() {
        assert_eq!(cells((Some(1.0), None)), "1.00 / –");
        assert_eq!(cells((None, None)), "–");
        assert_eq!(ratio((Some(1.0), Some(4.0))), "0.25");
        assert_eq!(ratio((Some(1.0), Some(0.0))), "–");
        assert_eq!(echo(Some(3.0), Some(2.0)), "2.00, 1.50");
        assert_eq!(echo(Some(3.0), None), "–");
    }
}
