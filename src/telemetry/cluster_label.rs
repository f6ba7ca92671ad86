//! The label `cluster` of what a gateway for several clusters counts: whatever is counted within a
//! task of one of them has it, wherever that is in the code.

use std::future::Future;
use std::sync::Arc;

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit,
};

tokio::task_local! {
    static CLUSTER: Option<Arc<str>>;
}

/// The cluster that this task is of, where there are several.
pub fn current() -> Option<Arc<str>> {
    CLUSTER.try_with(Clone::clone).ok().flatten()
}

/// Makes `future` one of a cluster's; `None`: of no cluster in particular. Tasks that it starts are
/// made so by whoever starts them.
pub fn within<F: Future>(cluster: Option<Arc<str>>, future: F) -> impl Future<Output = F::Output> {
    CLUSTER.scope(cluster, future)
}

/// Makes `future`, which is to run in a task of its own, one of the cluster that this task is of.
pub fn inherit<F: Future>(future: F) -> impl Future<Output = F::Output> {
    within(current(), future)
}

/// Runs `call` as one of a cluster's.
pub fn call_within<T>(cluster: Option<Arc<str>>, call: impl FnOnce() -> T) -> T {
    CLUSTER.sync_scope(cluster, call)
}

/// A recorder that adds the label.
pub(super) struct Labelled<R>(pub R);

/// The key with the label, where there is one.
fn labelled(key: &Key) -> Option<Key> {
    let label = Label::new("cluster", current()?.to_string());
    Some(key.with_extra_labels(vec![label]))
}

impl<R: Recorder> Recorder for Labelled<R> {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.0.describe_counter(key, unit, text);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.0.describe_gauge(key, unit, text);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.0.describe_histogram(key, unit, text);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.0.register_counter(labelled(key).as_ref().unwrap_or(key), metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.0.register_gauge(labelled(key).as_ref().unwrap_or(key), metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.0.register_histogram(labelled(key).as_ref().unwrap_or(key), metadata)
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[tokio::test]
    async fn what_is_counted_within_a_cluster_has_its_name() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let recorder = Labelled(recorder);
        let count = || {
            metrics::with_local_recorder(&recorder, || {
                metrics::counter!("c", "a" => "b").increment(1);
            });
        };
        count();
        within(Some("one".into()), async { count() }).await;
        within(Some("two".into()), async { inherit(async { count() }).await }).await;
        call_within(Some("two".into()), count);
        within(None, async { count() }).await;
        let text = handle.render();
        for line in ["c{a=\"b\"} 2", "c{a=\"b\",cluster=\"one\"} 1", "c{a=\"b\",cluster=\"two\"} 2"]
        {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
