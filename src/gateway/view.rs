//! One image of the cluster with the addresses that clients are told, in step with each other.
//!
//! A connection takes one view for one answer: a broker that the image shows has its address.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use metrics::histogram;
use tokio::sync::watch;

use super::addresses::AddressBook;
use crate::cluster::ClusterImage;
use crate::cluster::observer::since;

/// What an answer is made from.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The cluster.
    pub image: Arc<ClusterImage>,
    /// The addresses for the clients of each listener, in the order of `listeners`.
    pub addresses: Vec<Arc<AddressBook>>,
    /// For each listener, whether its brokers want a login of the clients, or none was ever seen.
    pub logins: Vec<bool>,
    unshown: Arc<Unshown>,
}

/// When the oldest change was made that the view shows and no answer has shown yet, in milliseconds
/// since 1970 by the coordinator's clock; 0 is none.
#[derive(Debug, Default)]
struct Unshown(AtomicI64);

impl View {
    /// One that has not been published.
    pub(super) fn new(
        image: Arc<ClusterImage>,
        addresses: Vec<Arc<AddressBook>>,
        logins: Vec<bool>,
    ) -> Self {
        View { image, addresses, logins, unshown: Arc::default() }
    }

    /// Notes that an answer was made from it: how long its newest change took is measured with the
    /// first one.
    pub(super) fn answered(&self) {
        if self.unshown.0.load(Ordering::Relaxed) == 0 {
            return;
        }
        let changed_ms = self.unshown.0.swap(0, Ordering::Relaxed);
        if changed_ms != 0 {
            histogram!("doorkeeper_gateway_freshness_seconds").record(since(changed_ms));
        }
    }

    /// Takes over what the view before has not shown, and adds what is new.
    fn follow(&self, before: &View) {
        let left = before.unshown.0.swap(0, Ordering::Relaxed);
        // What was there at the start is not a change.
        let is_new = before.image.version > 0 && before.image.version != self.image.version;
        let own = self.image.changed_ms.filter(|_| is_new).unwrap_or(0);
        let oldest = if left == 0 || own == 0 { left.max(own) } else { left.min(own) };
        self.unshown.0.store(oldest, Ordering::Relaxed);
    }
}

/// Where connections find the newest view. Clones share it.
#[derive(Debug, Clone)]
pub struct ViewHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    view: ArcSwap<View>,
    changed: watch::Sender<()>,
}

impl Default for ViewHandle {
    fn default() -> Self {
        ViewHandle(Arc::new(Shared {
            view: ArcSwap::from_pointee(View::default()),
            changed: watch::Sender::new(()),
        }))
    }
}

impl ViewHandle {
    /// The newest view.
    pub fn load(&self) -> Arc<View> {
        self.0.view.load_full()
    }

    /// Makes this the newest view.
    pub(super) fn publish(&self, view: View) {
        view.follow(&self.load());
        self.0.view.store(Arc::new(view));
        self.0.changed.send_replace(());
    }

    /// Tells of every new view.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(version: u64, changed_ms: Option<i64>) -> View {
        let image = ClusterImage { version, changed_ms, ..ClusterImage::default() };
        View::new(Arc::new(image), Vec::new(), Vec::new())
    }

    #[test]
    fn a_change_waits_for_the_first_answer_that_shows_it() {
        let handle = ViewHandle::default();
        let unshown = || handle.load().unshown.0.load(Ordering::Relaxed);
        handle.publish(image(1, Some(5)));
        assert_eq!(unshown(), 0, "what was there at the start is no change");
        handle.publish(image(2, Some(7)));
        handle.publish(image(3, Some(9)));
        assert_eq!(unshown(), 7, "the oldest that was not shown");
        let old = handle.load();
        handle.publish(image(3, Some(9)));
        assert_eq!(unshown(), 7, "the same image with other addresses");
        old.answered();
        assert_eq!(unshown(), 7, "an answer from before shows nothing");
        handle.load().answered();
        assert_eq!(unshown(), 0);
        handle.publish(image(4, None));
        assert_eq!(unshown(), 0, "no znode tells");
    }
}
