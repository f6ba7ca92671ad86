//! What a directory holds: files, zxid ranges, sessions, epochs, and who wrote last.

use std::io::Write;

use serde_json::{Value, json};

use super::directory::Directory;
use super::scan::{Scan, scan};
use super::{DataError, output};
use crate::calendar::Utc;
use crate::zookeeper::storage::snapshot_reader;

pub(super) fn run(
    directory: &Directory,
    json: bool,
    out: &mut dyn Write,
) -> Result<bool, DataError> {
    let mut report = json!({
        "snapshots": snapshots(directory),
        "logs": logs(directory)?,
    });
    if let Some(epochs) = directory.epochs()? {
        report["acceptedEpoch"] = json!(epochs.accepted);
        report["currentEpoch"] = json!(epochs.current);
    }
    match directory.load() {
        Ok(loaded) => {
            let tree = &loaded.database.tree;
            report["lastZxid"] = hex(tree.last_zxid());
            report["znodes"] = json!(tree.nodes().count());
            report["digest"] = json!(tree.digest());
            report["digestMismatches"] = json!(loaded.recovery.digest_mismatches);
            report["writtenLastBy"] = match directory.ours(&loaded)? {
                Some(true) => json!("doorkeeper"),
                Some(false) => json!("somebody else, after doorkeeper"),
                None => json!("somebody else"),
            };
            let mut sessions: Vec<_> = loaded.database.sessions.iter().collect();
            sessions.sort_unstable();
            let sessions: Vec<Value> = sessions
                .into_iter()
                .map(|(&session, timeout)| {
                    let ephemerals = tree.ephemerals(session).count();
                    json!({"session": hex(session), "timeout": timeout, "ephemerals": ephemerals})
                })
                .collect();
            report["sessions"] = json!(sessions);
        }
        Err(error) => report["error"] = json!(error.to_string()),
    }
    if json { writeln!(out, "{report}") } else { text(&report, out) }.map_err(output)?;
    Ok(report.get("error").is_none())
}

fn hex(number: i64) -> Value {
    json!(format!("0x{number:x}"))
}

fn snapshots(directory: &Directory) -> Vec<Value> {
    let bytes = |path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    directory
        .snapshots
        .iter()
        .map(|file| {
            let mut shown = json!({
                "file": file.path.display().to_string(),
                "zxid": hex(file.zxid),
                "bytes": bytes(&file.path),
            });
            match snapshot_reader::load(file, true) {
                Ok(loaded) => {
                    shown["znodes"] = json!(loaded.database.tree.nodes().count());
                    shown["sessions"] = json!(loaded.database.sessions.len());
                    shown["state"] = json!("whole");
                }
                Err(error) => shown["state"] = json!(format!("cannot be used: {error}")),
            }
            shown
        })
        .collect()
}

fn logs(directory: &Directory) -> Result<Vec<Value>, DataError> {
    let mut logs = Vec::new();
    for log in &directory.logs {
        let Scan { records, first, last, length, end } = scan(log, |_| Ok(()))?;
        let mut shown = json!({
            "file": log.path.display().to_string(),
            "bytes": length,
            "transactions": records,
            "state": end.to_string(),
        });
        if let (Some(first), Some(last)) = (first, last) {
            shown["first"] =
                json!({"zxid": hex(first.zxid), "time": Utc::of(first.time).to_string()});
            shown["last"] = json!({"zxid": hex(last.zxid), "time": Utc::of(last.time).to_string()});
        }
        logs.push(shown);
    }
    Ok(logs)
}

/// The same report for a person.
fn text(report: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    for snapshot in list("snapshots") {
        let [file, bytes, state] = ["file", "bytes", "state"].map(|key| plain(&snapshot[key]));
        write!(out, "snapshot {file}: {bytes} bytes, {state}")?;
        match (&snapshot["znodes"], &snapshot["sessions"]) {
            (Value::Null, _) => writeln!(out)?,
            (znodes, sessions) => writeln!(out, ", {znodes} znodes, {sessions} sessions")?,
        }
    }
    for log in list("logs") {
        let [file, bytes, state] = ["file", "bytes", "state"].map(|key| plain(&log[key]));
        write!(out, "log {file}: {bytes} bytes, {state}, {} transactions", log["transactions"])?;
        if log["first"].is_object() {
            let [first, last] = ["first", "last"].map(|key| &log[key]);
            let [from, to] = [first, last].map(|end| plain(&end["zxid"]));
            let [since, until] = [first, last].map(|end| plain(&end["time"]));
            write!(out, ", {from} to {to}, {since} to {until}")?;
        }
        writeln!(out)?;
    }
    for (key, what) in [
        ("acceptedEpoch", "accepted epoch"),
        ("currentEpoch", "current epoch"),
        ("lastZxid", "last zxid"),
        ("znodes", "znodes"),
        ("digest", "digest of the tree"),
        ("digestMismatches", "transactions whose digest is another"),
        ("writtenLastBy", "written last by"),
    ] {
        if !report[key].is_null() {
            writeln!(out, "{what}: {}", plain(&report[key]))?;
        }
    }
    for session in list("sessions") {
        let id = plain(&session["session"]);
        let (timeout, ephemerals) = (&session["timeout"], &session["ephemerals"]);
        writeln!(out, "session {id}: timeout {timeout} ms, {ephemerals} ephemerals")?;
    }
    if !report["error"].is_null() {
        writeln!(out, "no server starts on it: {}", plain(&report["error"]))?;
    }
    Ok(())
}
