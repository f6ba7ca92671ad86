//! Why the broker can't go on, said once by whoever finds out first.

use std::sync::Arc;

use tokio::sync::watch;

/// Shared by the broker's tasks.
#[derive(Debug, Clone)]
pub(super) struct Failure(Arc<watch::Sender<Option<String>>>);

impl Failure {
    pub(super) fn new() -> Self {
        Failure(Arc::new(watch::Sender::new(None)))
    }

    /// Says why; the first reason stays.
    pub(super) fn report(&self, reason: impl Into<String>) {
        self.0.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(reason.into());
            }
            first
        });
    }

    /// Resolves with the reason once there is one.
    pub(super) async fn reason(&self) -> String {
        let mut failure = self.0.subscribe();
        let reason = match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone(),
            Err(_) => None,
        };
        match reason {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }
}
