//! What a live process tells Prometheus is what the table of metrics says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use doorkeeper::telemetry::names::{METRICS, MetricKind, find};
use support::{Server, embedded};

/// The kind and the label names of each metric of a scrape.
fn families(scrape: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for line in scrape.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let before = families.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
            assert!(before.is_none(), "{name} has two TYPE lines");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = families
                .keys()
                .filter(|family| {
                    let rest = name.strip_prefix(family.as_str());
                    matches!(rest, Some("" | "_bucket" | "_sum" | "_count"))
                })
                .max_by_key(|family| family.len())
                .unwrap_or_else(|| panic!("{line} has no TYPE line"))
                .clone();
            if let Some((_, labels)) = line.split_once('{') {
                let labels = labels.rsplit_once('}').unwrap().0;
                let names =
                    labels.split("\",").map(|label| label.split('=').next().unwrap().to_owned());
                families.get_mut(&family).unwrap().1.extend(names.filter(|name| name != "le"));
            }
        }
    }
    families
}

#[test]
fn a_scrape_holds_the_metrics_of_the_table_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&embedded(dir.path()));
    let (status, scrape) = server.get("/metrics");
    assert_eq!(status, 200);
    let families = families(&scrape);
    for (name, (kind, labels)) in &families {
        let metric = find(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(kind, metric.kind.as_str(), "{name}");
        let known: BTreeSet<String> = metric.labels.iter().map(|&label| label.to_owned()).collect();
        assert!(labels.is_subset(&known), "{name} has the labels {labels:?}");
    }
    let missing: Vec<&str> = METRICS
        .iter()
        .map(|metric| metric.name)
        // Those of a role that is never in the same process.
        .filter(|name| !name.starts_with("doorkeeper_gateway_"))
        .filter(|name| !families.contains_key(*name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "every metric is there from the start, at zero");
    // A histogram without bounds would be a summary.
    assert!(
        METRICS
            .iter()
            .filter(|metric| metric.kind == MetricKind::Histogram)
            .filter(|metric| !metric.name.starts_with("doorkeeper_gateway_"))
            .all(|metric| { scrape.contains(&format!("{}_bucket", metric.name)) })
    );
    server.stop();
}
