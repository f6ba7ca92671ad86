//! The metrics recorder of the process: buckets, upkeep, and what is measured only when asked for.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::RwLock;

use super::{cluster_label, names};

/// Bounds of every histogram of seconds: 20 µs (a read from memory) to 10 s (a disk that stalls).
const SECONDS: [f64; 18] = [
    0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2,
    0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Bounds of histograms of counts, such as the writes of one batch.
const COUNTS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

type Hook = Box<dyn Fn() + Send + Sync>;

static HOOKS: RwLock<Vec<Hook>> = RwLock::new(Vec::new());

/// Runs `hook` before each scrape, so that a gauge that is cheap to read needs no ticker.
///
/// Hooks live as long as the process: capture a `Weak` of a server that can be dropped earlier. A
/// hook must be short and must not wait.
pub fn on_scrape(hook: Box<dyn Fn() + Send + Sync>) {
    let cluster = cluster_label::current();
    let hook = Box::new(move || cluster_label::call_within(cluster.clone(), &hook));
    HOOKS.write().push(hook);
}

/// Runs every hook of [`on_scrape`].
pub(super) fn run_hooks() {
    for hook in HOOKS.read().iter() {
        hook();
    }
}

/// Why there is no recorder.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// It can't be built.
    #[error("{0}")]
    Unusable(#[from] BuildError),
    /// There is one already.
    #[error("there is a recorder already")]
    Installed,
}

/// Installs the process's recorder. Call it once, before any metric handle is built: a handle that
/// was built earlier counts into nothing.
///
/// # Errors
/// There is a recorder already.
pub fn install_recorder() -> Result<PrometheusHandle, RecorderError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &COUNTS)?
        .set_buckets(&SECONDS)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(cluster_label::Labelled(recorder))
        .map_err(|_| RecorderError::Installed)?;
    names::describe();
    metrics::gauge!("doorkeeper_build_info", "version" => crate::VERSION, "commit" => crate::COMMIT)
        .set(1.0);
    Ok(handle)
}

/// Folds what histograms recorded into their buckets, for ever: without it they grow until the next
/// scrape, which may never come.
pub async fn upkeep(handle: PrometheusHandle, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
