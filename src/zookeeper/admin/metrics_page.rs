//! The page of `metricsProvider.httpPort`: ZooKeeper's own metric names and types, so that the
//! dashboards that people have show data (`PrometheusMetricsProvider`). Nothing of a JVM is on it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State as Shared;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use parking_lot::Mutex;

use crate::zookeeper::command::metrics::{self, Metric, Value};
use crate::zookeeper::state::State;

/// Quantiles are those of the last ten minutes, as those of Prometheus' client for Java.
const WINDOW: Duration = Duration::from_secs(600);

/// How long one look at the counts stands.
const STEP: Duration = Duration::from_secs(60);

/// The counts of every distribution at one moment.
#[derive(Debug)]
struct Look {
    at: Instant,
    counts: Vec<(&'static str, Vec<u64>)>,
}

#[derive(Debug)]
struct Page {
    state: Arc<State>,
    looks: Mutex<VecDeque<Look>>,
}

/// `/metrics`.
pub(super) fn router(state: Arc<State>) -> Router {
    let page = Arc::new(Page { state, looks: Mutex::new(VecDeque::new()) });
    Router::new().route("/metrics", get(answer)).with_state(page)
}

async fn answer(Shared(page): Shared<Arc<Page>>) -> impl IntoResponse {
    let metrics = metrics::collect(&page.state);
    let text = render(&metrics, &mut page.looks.lock(), Instant::now());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

fn render(metrics: &[Metric], looks: &mut VecDeque<Look>, now: Instant) -> String {
    while looks.front().is_some_and(|look| now.duration_since(look.at) > WINDOW) {
        looks.pop_front();
    }
    let mut text = String::with_capacity(32 << 10);
    for metric in metrics {
        let recent = match &metric.value {
            Value::Distribution(_, counts) => looks
                .front()
                .and_then(|look| look.counts.iter().find(|(name, _)| *name == metric.name))
                .and_then(|(_, before)| since(counts, before)),
            _ => None,
        };
        metric.render(recent.as_deref(), &mut text);
    }
    if looks.back().is_none_or(|look| now.duration_since(look.at) >= STEP) {
        let counts = metrics.iter().filter_map(|metric| match &metric.value {
            Value::Distribution(_, counts) => Some((metric.name, counts.clone())),
            _ => None,
        });
        looks.push_back(Look { at: now, counts: counts.collect() });
    }
    text
}

/// What came since `before`; `None` if the counts were reset meanwhile.
fn since(now: &[u64], before: &[u64]) -> Option<Vec<u64>> {
    now.iter().zip(before).map(|(now, before)| now.checked_sub(*before)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::stats::Distribution;

    fn page(latency: &Distribution, looks: &mut VecDeque<Look>, now: Instant) -> String {
        let value = Value::Distribution(latency.figures(), latency.counts());
        render(&[Metric { name: "readlatency", value }], looks, now)
    }

    #[test]
    fn quantiles_forget_what_is_older_than_the_window() {
        let (latency, mut looks, start) =
            (Distribution::default(), VecDeque::new(), Instant::now());
        latency.record(1_000_000, 100);
        assert!(page(&latency, &mut looks, start).contains("{quantile=\"0.5\"} 1000\n"));
        latency.record(7, 10);
        let text = page(&latency, &mut looks, start + STEP);
        assert!(text.contains("{quantile=\"0.5\"} 0.007\n"), "{text}");
        assert!(text.contains("readlatency_count 110\n"), "{text}");
        let text = page(&latency, &mut looks, start + WINDOW + STEP);
        assert!(text.contains("{quantile=\"0.5\"} NaN\n"), "{text}");
        latency.reset();
        latency.record(3, 1);
        let text = page(&latency, &mut looks, start + WINDOW + STEP);
        assert!(text.contains("{quantile=\"0.5\"} 0.003\n"), "{text}");
    }

    #[test]
    fn looks_are_bounded() {
        let (latency, mut looks, start) =
            (Distribution::default(), VecDeque::new(), Instant::now());
        for second in 0..5_000 {
            page(&latency, &mut looks, start + Duration::from_secs(second));
        }
        assert!(looks.len() <= 12, "{}", looks.len());
    }
}
