//! One image of the cluster with the addresses that clients are told, in step with each other.
//!
//! A connection takes one view for one answer: a broker that the image shows has its address.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::addresses::AddressBook;
use crate::cluster::ClusterImage;

/// What an answer is made from.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The cluster.
    pub image: Arc<ClusterImage>,
    /// The addresses for the clients of each listener, in the order of `listeners`.
    pub addresses: Vec<Arc<AddressBook>>,
    /// For each listener, whether its brokers want a login of the clients, or none was ever seen.
    pub logins: Vec<bool>,
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
        self.0.view.store(Arc::new(view));
        self.0.changed.send_replace(());
    }

    /// Tells of every new view.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }
}
