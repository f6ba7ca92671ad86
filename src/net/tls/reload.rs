//! Files of certificates that change while they are in use.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::store::StoreConfig;
use super::{TlsError, TlsServer};
use crate::{file_stamp, limits};

pub(super) use crate::file_stamp::Stamp;

impl TlsServer {
    /// Looks at the files every [`limits::TLS_RELOAD_INTERVAL`], until `stop`, and takes up new ones.
    ///
    /// New files that can't be used (half written, a key of another certificate) leave those in
    /// force that were, with a WARN, and are tried again with the next change.
    pub async fn reload_on_change(self: Arc<Self>, stop: CancellationToken) {
        look_on(move || self.files_have_changed().then(|| self.reload()), stop).await;
    }

    /// Whether they have since the last call.
    fn files_have_changed(&self) -> bool {
        let now = stamps(self.config.stores());
        now != std::mem::replace(&mut *self.stamps.lock(), now.clone())
    }
}

/// Looks every [`limits::TLS_RELOAD_INTERVAL`], until `stop`, on a thread that may wait for a disk, and
/// says what came of it.
pub(super) async fn look_on(
    look: impl Fn() -> Option<Result<(), TlsError>> + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let look = Arc::new(look);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(limits::TLS_RELOAD_INTERVAL) => {}
        }
        let look = Arc::clone(&look);
        match tokio::task::spawn_blocking(move || look()).await {
            Ok(None) => {}
            Ok(Some(Ok(()))) => {
                tracing::info!("certificates read anew: their files have changed");
            }
            Ok(Some(Err(error))) => tracing::warn!(
                %error,
                "certificates have changed and can't be used: those from before stay in force"
            ),
            Err(_) => return,
        }
    }
}

/// The state of every file of these stores.
pub(super) fn stamps<'a>(stores: impl Iterator<Item = &'a StoreConfig>) -> Vec<Stamp> {
    stores.flat_map(StoreConfig::files).map(file_stamp::of).collect()
}
