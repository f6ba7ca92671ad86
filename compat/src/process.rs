//! What the kernel counts for a process: CPU time and memory, read from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

/// Ticks a second of the times in `/proc/<pid>/stat`: `USER_HZ`, which Linux fixes at 100 for programs.
const TICKS_PER_SECOND: u64 = 100;

/// Fields of `/proc/<pid>/stat` counted from the one after the command's closing parenthesis.
const USER_TIME: usize = 11;
const CHILDREN_USER_TIME: usize = 13;

/// CPU time (user and system) that a process has used, with its ended threads, in steps of 10 ms.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    stat_times(&format!("/proc/{pid}/stat"), USER_TIME)
}

/// CPU time of this process's children that have ended and were waited for.
pub fn ended_children_cpu_time() -> Result<Duration> {
    stat_times("/proc/self/stat", CHILDREN_USER_TIME)
}

/// CPU time of the calling thread.
pub fn thread_cpu_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// CPU time that the whole machine has spent on anything but waiting, all cores together.
pub fn machine_cpu_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    // cpu user nice system idle iowait irq softirq steal: all but the two waiting ones.
    let busy: u64 = line
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .enumerate()
        .filter(|(index, _)| !matches!(index, 3 | 4))
        .filter_map(|(_, ticks)| ticks.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(busy * 1000 / TICKS_PER_SECOND))
}

/// Resident memory of a process in bytes (`VmRSS`).
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let kibibytes: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_ascii_whitespace().next())
        .ok_or_else(|| anyhow!("{path} has no VmRSS"))?
        .parse()?;
    Ok(kibibytes * 1024)
}

/// How often any listener of this machine has dropped a connection because its backlog was full
/// (`ListenOverflows` of `/proc/net/netstat`).
pub fn listen_overflows() -> Result<u64> {
    const PATH: &str = "/proc/net/netstat";
    let text = fs::read_to_string(PATH)?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let names = lines.next().unwrap_or_default().split_ascii_whitespace();
    let values = lines.next().unwrap_or_default().split_ascii_whitespace();
    let found = names.zip(values).find(|(name, _)| *name == "ListenOverflows");
    let (_, value) = found.ok_or_else(|| anyhow!("{PATH} has no ListenOverflows"))?;
    Ok(value.parse()?)
}

/// The sum of two neighbouring fields, user and system time, of a `stat` file.
fn stat_times(path: &str, first: usize) -> Result<Duration> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    // The command's name may hold spaces and parentheses itself: fields begin after the last one.
    let (_, fields) = text.rsplit_once(')').ok_or_else(|| anyhow!("{path}: no command"))?;
    let mut ticks = 0;
    for field in fields.split_ascii_whitespace().skip(first).take(2) {
        ticks += field.parse::<u64>().with_context(|| path.to_owned())?;
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_busy_thread_is_seen_by_all_counters() {
        let (process, thread, machine) = (
            cpu_time(std::process::id()).unwrap(),
            thread_cpu_time().unwrap(),
            machine_cpu_time().unwrap(),
        );
        let start = Instant::now();
        let mut sum = 0_u64;
        while thread_cpu_time().unwrap() < thread + Duration::from_millis(100) {
            sum = sum.wrapping_add(u64::from(start.elapsed().subsec_nanos()));
        }
        assert!(sum > 0);
        assert!(cpu_time(std::process::id()).unwrap() >= process + Duration::from_millis(80));
        assert!(machine_cpu_time().unwrap() >= machine + Duration::from_millis(80));
    }

    #[test]
    fn overflows_are_counted_by_the_kernel() {
        let before = listen_overflows().unwrap();
        assert!(listen_overflows().unwrap() >= before);
    }

    #[test]
    fn memory_of_this_process_is_plausible() {
        let bytes = resident_bytes(std::process::id()).unwrap();
        assert!((1 << 20..1 << 34).contains(&bytes), "{bytes}");
    }
}
