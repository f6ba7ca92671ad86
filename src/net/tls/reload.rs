//! Files of certificates that change while they are in use.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::TlsServer;
use super::store::Password;
use crate::limits;

/// What tells one state of a file from the next. A link is followed: where secrets are mounted, it
/// is the link that changes.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl TlsServer {
    /// Looks at the files every [`limits::TLS_RELOAD_INTERVAL`], until `stop`, and takes up new ones.
    ///
    /// New files that can't be used (half written, a key of another certificate) leave those in
    /// force that were, with a WARN, and are tried again with the next change.
    pub async fn reload_on_change(self: Arc<Self>, stop: CancellationToken) {
        let files = self.files();
        let mut seen = stamps(files.clone()).await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(limits::TLS_RELOAD_INTERVAL) => {}
            }
            let now = stamps(files.clone()).await;
            if now == seen {
                continue;
            }
            seen = now;
            let server = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || server.reload()).await {
                Ok(Ok(())) => tracing::info!("certificates read anew: their files have changed"),
                Ok(Err(error)) => tracing::warn!(
                    %error,
                    "certificates have changed and can't be used: those from before stay in force"
                ),
                Err(_) => return,
            }
        }
    }

    /// Every file that its configuration names.
    fn files(&self) -> Vec<PathBuf> {
        [Some(&self.config.key_store), self.config.trust_store.as_ref()]
            .into_iter()
            .flatten()
            .flat_map(|store| {
                let password = match &store.password {
                    Password::File(path) => Some(path.clone()),
                    Password::Text(_) => None,
                };
                [Some(store.path.clone()), password].into_iter().flatten()
            })
            .collect()
    }
}

async fn stamps(files: Vec<PathBuf>) -> Vec<Stamp> {
    let look = move || {
        files
            .iter()
            .map(|path| {
                let file = std::fs::metadata(path).ok()?;
                Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
            })
            .collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}
