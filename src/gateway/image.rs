//! The image that a gateway answers from: followed, kept on disk, and how old it is.

use std::time::Duration;

use super::StartError;
use crate::cluster::ImageHandle;
use crate::cluster::client::{Coordinator, SharedSession};
use crate::cluster::image_store::{ImageStore, Keeper};
use crate::cluster::observer::{FollowAcls, Observer};
use crate::config::GatewayConfig;
use crate::config::gateway::GatewayAuthorizer;

/// Follows the cluster until it is dropped.
#[derive(Debug)]
pub(super) struct Followed {
    images: ImageHandle,
    observer: Observer,
    keeper: Option<Keeper>,
    age_max: Option<Duration>,
    asked: Option<&'static str>,
}

impl Followed {
    /// Follows the cluster, and returns when there is a first complete image, however long that takes:
    /// the coordinator's, or the one on disk if the coordinator can't be reached within
    /// `zookeeper.connection.timeout.ms`.
    pub(super) async fn start(config: &GatewayConfig) -> Result<Followed, StartError> {
        let coordinator = Coordinator::of_gateway(config);
        let images = ImageHandle::new();
        let mut keeper = None;
        if let Some(directory) = &config.image_dir {
            let cluster = format!("{}{}", coordinator.connect, coordinator.chroot);
            let store = ImageStore::open(directory, cluster).map_err(|error| {
                let directory = directory.display();
                StartError(format!("doorkeeper.gateway.image.dir {directory}: {error}"))
            })?;
            if let Some((image, age)) = store.load() {
                images.restore(image, age);
            }
            keeper = Some(store.keep(images.clone()));
        }
        let acls = match &config.authorizer {
            GatewayAuthorizer::Acls(_) => FollowAcls::Yes,
            GatewayAuthorizer::Nobody => FollowAcls::No,
            GatewayAuthorizer::Brokers => {
                tracing::warn!(
                    "authorizer.class.name is not Kafka's AclAuthorizer, or its ACLs are kept elsewhere: \
                     every question is asked of the brokers"
                );
                FollowAcls::No
            }
        };
        let observer = Observer::start(coordinator.clone(), None, images.clone(), acls);
        first_image(&images, &coordinator).await;
        let asked = always_asked(config);
        if let Some(reason) = asked {
            tracing::warn!("everything is asked of the brokers: {reason}");
        }
        report(&images, asked);
        Ok(Followed { images, observer, keeper, age_max: config.image_age_max, asked })
    }

    /// Where the newest image is.
    pub(super) fn images(&self) -> &ImageHandle {
        &self.images
    }

    /// The session that the cluster is followed with.
    pub(super) fn session(&self) -> SharedSession {
        self.observer.session()
    }

    /// How the image is, for `/readyz`.
    pub(super) fn state(&self) -> ImageState {
        ImageState { images: self.images.clone(), age_max: self.age_max, asked: self.asked }
    }

    /// Lets the cluster go, and keeps the last image.
    pub(super) async fn end(self) {
        drop(self.observer);
        if let Some(keeper) = self.keeper {
            keeper.finish().await;
        }
    }
}

/// Says whether an image is good enough to answer from.
#[derive(Debug, Clone)]
pub struct ImageState {
    images: ImageHandle,
    age_max: Option<Duration>,
    /// Why everything is asked of the brokers, whatever the image says.
    asked: Option<&'static str>,
}

impl ImageState {
    /// Whether the gateway is ready, and what an operator should know of its image.
    pub fn report(&self) -> (bool, Option<String>) {
        let age = self.images.age();
        if let Some(max) = self.age_max.filter(|max| age > *max) {
            let (age, max) = (age.as_millis(), max.as_millis());
            let text = format!(
                "the image is {age} ms old, and doorkeeper.gateway.image.age.max.ms is {max}"
            );
            return (false, Some(text));
        }
        if !age.is_zero() {
            let text = format!("the coordinator is away, the image {} ms old", age.as_millis());
            return (true, Some(text));
        }
        let kraft = self.images.load().is_owned_by_kraft();
        let migrating = kraft.then_some("a KRaft controller owns the cluster");
        let asked = migrating.or(self.asked);
        (true, asked.map(|reason| format!("everything is asked of the brokers: {reason}")))
    }
}

/// Why no question can be answered here, as the configuration has it.
fn always_asked(config: &GatewayConfig) -> Option<&'static str> {
    if config.authorizer == GatewayAuthorizer::Brokers {
        return Some("authorizer.class.name is one that only they have");
    }
    config.principal_upstream.then_some("doorkeeper.gateway.principal=upstream")
}

/// Has a gauge say, at each scrape, whether everything is asked of the brokers, and why.
fn report(images: &ImageHandle, asked: Option<&'static str>) {
    let images = images.downgrade();
    let gauge = |because: &'static str| metrics::gauge!("doorkeeper_gateway_everything_asked", "because" => because);
    let (kraft, configured) = (gauge("kraft"), gauge("configuration"));
    crate::telemetry::on_scrape(Box::new(move || {
        let Some(images) = images.upgrade() else { return };
        kraft.set(f64::from(u8::from(images.load().is_owned_by_kraft())));
        configured.set(f64::from(u8::from(asked.is_some())));
    }));
}

/// Waits for the first complete image; says so once if it takes longer than a connection may.
async fn first_image(images: &ImageHandle, coordinator: &Coordinator) {
    let current = || images.connected() && images.load().version > 0;
    let mut changed = images.changed();
    let followed = async {
        while !current() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    };
    if tokio::time::timeout(coordinator.connection_timeout, followed).await.is_ok() {
        return;
    }
    let (connect, chroot) = (&coordinator.connect, &coordinator.chroot);
    let timeout = coordinator.connection_timeout.as_millis();
    if images.load().version > 0 {
        tracing::warn!(
            age = ?images.age(),
            "no coordinator at {connect}{chroot} (zookeeper.connect) within {timeout} ms: starting \
             with the image on disk"
        );
        return;
    }
    tracing::warn!(
        "no image of the cluster at {connect}{chroot} (zookeeper.connect) within {timeout} ms: \
         trying on, with the listeners closed"
    );
    while !current() {
        if changed.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ClusterImage, ControllerInfo};

    fn state(age_max: Option<Duration>) -> ImageState {
        ImageState { images: ImageHandle::new(), age_max, asked: None }
    }

    #[test]
    fn an_old_image_is_told_and_too_old_a_one_is_not_ready() {
        let old = ClusterImage { version: 1, ..ClusterImage::default() };
        let unlimited = state(None);
        unlimited.images.restore(old.clone(), Duration::from_secs(60));
        let (ready, text) = unlimited.report();
        assert!(ready && text.unwrap().starts_with("the coordinator is away, the image 6"));

        let limited = state(Some(Duration::from_secs(59)));
        limited.images.restore(old, Duration::from_secs(60));
        let (ready, text) = limited.report();
        assert!(!ready && text.unwrap().ends_with("doorkeeper.gateway.image.age.max.ms is 59000"));
        limited.images.set_connected(true);
        assert_eq!(limited.report(), (true, None));
    }

    #[test]
    fn a_migration_is_told() {
        let state = state(None);
        let controller = ControllerInfo {
            broker_id: 3_000,
            epoch: 1,
            epoch_version: 1,
            owner: 0,
            doorkeeper: false,
            kraft: true,
        };
        let controller = Some(controller);
        state.images.publish(ClusterImage { version: 1, controller, ..ClusterImage::default() });
        state.images.set_connected(true);
        let (ready, text) = state.report();
        assert!(ready && text.unwrap().contains("KRaft"));
    }

    #[test]
    fn what_is_always_asked_is_told() {
        let asked = ImageState { asked: Some("so it is configured"), ..state(None) };
        asked.images.set_connected(true);
        let text = "everything is asked of the brokers: so it is configured".to_owned();
        assert_eq!(asked.report(), (true, Some(text)));
    }
}
