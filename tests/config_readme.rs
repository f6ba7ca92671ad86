//! README.md's tables of keys and of metrics say what the code says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use doorkeeper::config::keys::{BROKER_KEYS, COORDINATOR_KEYS, GATEWAY_KEYS, Key, OWN_KEYS, Use};
use doorkeeper::config::load;
use doorkeeper::telemetry::names::METRICS;

/// The cells of every row of README's tables that begins with a name in backticks, below `heading`
/// and before the next one.
fn rows(heading: &str) -> BTreeMap<String, Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once(&format!("\n{heading}\n")).unwrap();
    section
        .lines()
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let mut cells: Vec<String> = line
                .trim_matches('|')
                .split(" |")
                .map(|cell| cell.trim().replace('`', ""))
                .collect();
            (cells.remove(0), cells)
        })
        .collect()
}

#[test]
fn every_key_that_takes_effect_is_in_the_readme_with_its_default() {
    let embedded: BTreeMap<String, String> = load(&[], &[])
        .unwrap()
        .effective
        .into_iter()
        .filter(|line| line.origin == doorkeeper::config::settings::Origin::Embedded)
        .map(|line| (line.key.into_owned(), line.value.unwrap_or_default()))
        .collect();
    for (heading, table) in [
        ("### The process", OWN_KEYS),
        ("### The coordinator (`zoo.cfg`)", COORDINATOR_KEYS),
        ("### The broker (`server.properties`)", BROKER_KEYS),
        ("### The gateway (`server.properties`)", GATEWAY_KEYS),
    ] {
        let mut rows = rows(heading);
        for Key { name, default, .. } in table.iter().filter(|key| key.used == Use::Used) {
            let row = rows.remove(*name).unwrap_or_else(|| panic!("{name} is not in README.md"));
            assert_eq!(row[0], default.unwrap_or_default(), "the default of {name}");
            if *name != "process.roles" {
                let expected = embedded.get(*name).cloned().unwrap_or_default();
                assert_eq!(row[1], expected, "{name} without files");
            }
            assert!(row[2].len() > 10, "{name} has no explanation");
        }
        assert!(rows.is_empty(), "in README.md, but of no effect: {rows:?}");
    }
}

#[test]
fn every_metric_is_in_the_readme() {
    let mut rows = rows("## Metrics");
    for metric in METRICS {
        let row = rows.remove(metric.name).unwrap_or_else(|| panic!("{} is missing", metric.name));
        let expected = [metric.kind.as_str(), &metric.labels.join(", "), metric.help];
        assert_eq!(row, expected, "{}", metric.name);
    }
    assert!(rows.is_empty(), "in README.md, but no metric: {rows:?}");
}
