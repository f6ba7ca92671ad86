//! The newest image, shared: lock-free to load, with a signal when it changes.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::image::ClusterImage;

/// Where handlers find the newest [`ClusterImage`]. Clones share it.
#[derive(Debug, Clone)]
pub struct ImageHandle {
    shared: Arc<Shared>,
}

/// An [`ImageHandle`] that does not keep the image alive.
#[derive(Debug, Clone)]
pub struct WeakImageHandle(Weak<Shared>);

impl WeakImageHandle {
    /// The handle, if anybody else still has it.
    pub fn upgrade(&self) -> Option<ImageHandle> {
        self.0.upgrade().map(|shared| ImageHandle { shared })
    }
}

#[derive(Debug)]
struct Shared {
    image: ArcSwap<ClusterImage>,
    changed: watch::Sender<u64>,
    /// `None` while the observer follows the znodes; else since when it does not.
    stale_since: Mutex<Option<Instant>>,
}

impl Default for ImageHandle {
    fn default() -> Self {
        ImageHandle::new()
    }
}

impl ImageHandle {
    /// A handle with the empty image, version 0, not connected.
    pub fn new() -> Self {
        ImageHandle {
            shared: Arc::new(Shared {
                image: ArcSwap::from_pointee(ClusterImage::default()),
                changed: watch::Sender::new(0),
                stale_since: Mutex::new(Some(Instant::now())),
            }),
        }
    }

    /// The same handle, without keeping the image alive.
    pub fn downgrade(&self) -> WeakImageHandle {
        WeakImageHandle(Arc::downgrade(&self.shared))
    }

    /// The newest image.
    pub fn load(&self) -> Arc<ClusterImage> {
        self.shared.image.load_full()
    }

    /// A receiver of the newest image's version.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// How long ago the image was last known to be current: zero while the znodes are followed.
    pub fn age(&self) -> Duration {
        self.shared.stale_since.lock().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether the znodes are followed at the moment.
    pub fn connected(&self) -> bool {
        self.shared.stale_since.lock().is_none()
    }

    /// Makes this the newest image. Its version must be above the last one's.
    pub fn publish(&self, image: ClusterImage) {
        let version = image.version;
        self.shared.image.store(Arc::new(image));
        self.shared.changed.send_replace(version);
    }

    /// Makes an image from an earlier time, which was current `age` ago, the first one. Nobody may
    /// follow the znodes yet.
    pub fn restore(&self, image: ClusterImage, age: Duration) {
        let now = Instant::now();
        *self.shared.stale_since.lock() = Some(now.checked_sub(age).unwrap_or(now));
        self.publish(image);
    }

    /// Notes whether the znodes are followed; who waits for a change is told of that one too.
    pub fn set_connected(&self, connected: bool) {
        let mut stale_since = self.shared.stale_since.lock();
        match (connected, *stale_since) {
            (true, Some(_)) => *stale_since = None,
            (false, None) => *stale_since = Some(Instant::now()),
            (true, None) | (false, Some(_)) => return,
        }
        drop(stale_since);
        self.shared.changed.send_modify(|_| {});
    }

    /// Waits until `check` answers something for the newest image; `None` after `timeout`.
    pub async fn wait_for<T>(
        &self,
        timeout: Duration,
        mut check: impl FnMut(&ClusterImage) -> Option<T>,
    ) -> Option<T> {
        let mut changed = self.changed();
        let wait = async {
            loop {
                changed.mark_unchanged();
                if let Some(answer) = check(&self.load()) {
                    return Some(answer);
                }
                if changed.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(timeout, wait).await.ok().flatten()
    }
}
