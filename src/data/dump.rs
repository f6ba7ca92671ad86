//! Every transaction of the logs, in their order.

use std::io::Write;

use serde_json::json;

use super::directory::Directory;
use super::scan::{End, Record, scan};
use super::{DataError, output, show};
use crate::calendar::Utc;

pub(super) fn run(
    directory: &Directory,
    json: bool,
    out: &mut dyn Write,
) -> Result<bool, DataError> {
    let mut well = true;
    for log in &directory.logs {
        let name = log.path.display();
        if !json {
            writeln!(out, "# {name}").map_err(output)?;
        }
        let scan = scan(log, |record| print(&record, json, out).map_err(output))?;
        if scan.end == End::Clean {
            continue;
        }
        let end = scan.end.to_string();
        well = false;
        if json {
            writeln!(out, "{}", json!({"file": name.to_string(), "end": end})).map_err(output)?;
        } else {
            writeln!(out, "# {name}: {end}").map_err(output)?;
        }
    }
    Ok(well)
}

fn print(record: &Record, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let Record { offset, header, txn, digest, .. } = record;
    if json {
        let mut line = show::json(txn);
        line["zxid"] = json!(format!("0x{:x}", header.zxid));
        line["session"] = json!(format!("0x{:x}", header.client_id));
        line["cxid"] = json!(header.cxid);
        line["time"] = json!(header.time);
        line["offset"] = json!(offset);
        line["digest"] = json!(digest.map(|digest| digest.tree_digest.cast_unsigned()));
        return writeln!(out, "{line}");
    }
    write!(
        out,
        "{} zxid=0x{:x} session=0x{:x} cxid={} {}",
        Utc::of(header.time),
        header.zxid,
        header.client_id,
        header.cxid,
        show::line(txn)
    )?;
    match digest {
        Some(digest) => writeln!(out, " digest={}", digest.tree_digest.cast_unsigned()),
        None => writeln!(out),
    }
}
