//! What every process tells Prometheus of itself, under the names that its client libraries share.
//!
//! Rendered here and not through the recorder, whose counters are whole numbers: processor time is
//! a counter of fractions of seconds.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::names;

/// Ticks a second in `/proc/<pid>/stat`: a constant of Linux's user interface, whatever the kernel's
/// own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// When the process began, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessMetrics {
    started: f64,
}

impl ProcessMetrics {
    /// Takes the present as the start.
    pub(super) fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        ProcessMetrics { started: started.as_secs_f64() }
    }

    /// Appends the metrics in Prometheus' text format; one that the system doesn't tell is left out.
    pub(super) fn render(self, text: &mut String) {
        let values = [
            ("process_cpu_seconds_total", cpu_seconds()),
            ("process_resident_memory_bytes", resident_bytes()),
            ("process_open_fds", open_files()),
            ("process_max_fds", max_files()),
            ("process_start_time_seconds", Some(self.started)),
            ("doorkeeper_listen_overflows_total", listen_overflows()),
        ];
        for (name, value) in values {
            let (Some(value), Some(metric)) = (value, names::find(name)) else { continue };
            let kind = metric.kind.as_str();
            let _ = write!(
                text,
                "# HELP {name} {}\n# TYPE {name} {kind}\n{name} {value}\n\n",
                metric.help
            );
        }
    }
}

/// User and system time of all threads.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets, which may hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

fn open_files() -> Option<f64> {
    let files = u32::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()?;
    // One of them is the directory that is being read.
    Some(f64::from(files.saturating_sub(1)))
}

fn max_files() -> Option<f64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// `ListenOverflows` of the network namespace: a line of names, then one of their values.
fn listen_overflows() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_ascii_whitespace().position(|name| name == "ListenOverflows")?;
    values.split_ascii_whitespace().nth(at)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_every_one() {
        let mut text = String::new();
        ProcessMetrics::new().render(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_resident_memory_bytes") > 1_000_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_start_time_seconds") > 1.7e9);
        assert!(value("doorkeeper_listen_overflows_total") >= 0.0);
    }
}
