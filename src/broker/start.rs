//! The start of a broker, from its listeners' sockets to its first answer.
//!
//! What does not depend on each other runs at the same time: clients get their first answer within
//! a tenth of a second of the process's start.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zookeeper_client::Client;

use super::controller::Controller;
use super::failure::Failure;
use super::groups::coordinator::GroupCoordinator;
use super::listeners::{self, BoundListener};
use super::log::{
    CleanerOptions, LogConfig, LogDirectories, LogError, LogManager, LogManagerOptions,
};
use super::membership::{Member, Membership};
use super::registration::{self, MARK};
use super::session_file::SessionFile;
use super::{Broker, BrokerContext, PartitionManager, ProducerIds, StartError};
use crate::cluster::client::{Coordinator, SharedSession};
use crate::cluster::layout::broker::Registration;
use crate::cluster::observer::{FollowAcls, Observer};
use crate::cluster::{ClusterAdmin, ClusterImage, ConfigMap, ImageHandle, TopicConfig};
use crate::config::BrokerConfig;
use crate::kafka::server::Service;
use crate::{calendar, limits};

/// What joining the cluster gives.
struct Joined {
    id: i32,
    cluster_id: String,
    directories: LogDirectories,
}

pub(super) async fn start(config: BrokerConfig) -> Result<Broker, StartError> {
    let config = Arc::new(config);
    let coordinator = Coordinator::of(&config);
    let listeners = listeners::bind(&config.listeners)?;
    let (directories, client) =
        tokio::join!(open_directories(config.clone()), coordinator.connect_and_make_chroot(),);
    let directories = directories?;
    let client = client.map_err(|error| unreachable(&coordinator, &error.to_string()))?;
    let images = ImageHandle::new();
    let (joined, observing) =
        tokio::join!(join(&client, &coordinator, &config, directories), coordinator.connect());
    let Joined { id, cluster_id, directories } = joined?;
    // A session to observe with that could not be made now is made by the observer.
    let observer =
        Observer::start(coordinator.clone(), observing.ok(), images.clone(), FollowAcls::No);

    let first_directory = directories.first().to_owned();
    let logs = open_logs(directories, &config).await?;
    let mut member = Member {
        id,
        cluster_id,
        registration: registration_of(&config, &listeners),
        sessions: SessionFile::open(&first_directory),
        acls: coordinator.acls,
    };
    member.register(&client).await?;

    let failure = Failure::new();
    let session = SharedSession::new(coordinator.acls);
    let controller = Controller::start(
        id,
        config.delete_topic_enable,
        images.clone(),
        session.clone(),
        failure.clone(),
    );
    let membership = Membership::start(
        coordinator.clone(),
        client,
        member,
        session.clone(),
        images.clone(),
        failure.clone(),
    );
    let partitions = PartitionManager::new(id, config.clone(), images.clone(), logs.clone());
    let follower = partitions.follow(session.clone());
    let groups =
        GroupCoordinator::new(config.groups.clone(), id, images.clone(), partitions.clone());
    let following = groups.follow();
    let context = Arc::new(BrokerContext {
        id,
        groups,
        admin: ClusterAdmin::new(config.clone(), images.clone(), session.clone()),
        partitions,
        producer_ids: ProducerIds::new(id, session),
        logs,
        image: images.clone(),
        config,
    });
    tokio::select! {
        reason = failure.reason() => return Err(StartError(reason)),
        shown = wait_until_shown(&images, id, &coordinator) => shown?,
    }

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    let service = Service::new(context.clone());
    let mut addresses = std::collections::BTreeMap::new();
    for BoundListener { socket, address, endpoint } in listeners {
        addresses.insert(endpoint.listener.clone(), address);
        let (service, stop) = (service.clone(), stop.clone());
        let connections = connections.clone();
        tokio::spawn(async move {
            service.serve(socket, &endpoint.listener, stop, connections).await;
        });
    }
    Ok(Broker {
        context,
        listeners: addresses,
        failure,
        membership,
        controller,
        observer,
        follower,
        groups: following,
        _listening: stop.clone().drop_guard(),
        stop,
        connections,
    })
}

fn unreachable(coordinator: &Coordinator, error: &str) -> StartError {
    StartError(format!(
        "can't reach the coordinator at {} (zookeeper.connect) within {} ms: {error}",
        coordinator.connect,
        coordinator.connection_timeout.as_millis()
    ))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StartError(error.to_string()))?
        .map_err(|error| StartError(error.to_string()))
}

async fn open_directories(config: Arc<BrokerConfig>) -> Result<LogDirectories, StartError> {
    blocking(move || LogDirectories::open(&config.log_dirs)).await
}

/// Roots, identities and peers.
async fn join(
    client: &Client,
    coordinator: &Coordinator,
    config: &BrokerConfig,
    mut directories: LogDirectories,
) -> Result<Joined, StartError> {
    let acls = coordinator.acls;
    let session = |error| StartError::from(registration::JoinError::Session(error));
    registration::make_roots(client, acls).await.map_err(session)?;
    let meta = directories.meta().clone();
    let (cluster_id, ()) = tokio::try_join!(
        registration::cluster_id(client, acls, meta.cluster_id.as_deref(), false),
        registration::check_peers(client),
    )?;
    let id =
        registration::broker_id(client, config.broker_id, &meta, config.reserved_broker_max_id)
            .await?;
    let name = cluster_id.clone();
    let directories = blocking(move || {
        directories.write_meta(&name, id)?;
        Ok(directories)
    })
    .await?;
    Ok(Joined { id, cluster_id, directories })
}

async fn open_logs(
    directories: LogDirectories,
    config: &BrokerConfig,
) -> Result<Arc<LogManager>, StartError> {
    let defaults = TopicConfig::resolve(
        &ConfigMap::new(),
        &ClusterImage::default(),
        -1,
        &config.topic_defaults,
    );
    let options = LogManagerOptions {
        defaults: LogConfig::from_properties(defaults.values())
            .map_err(|error| StartError(error.to_string()))?,
        retention_check_interval: config.retention_check_interval,
        flush_check_interval: config.flush_check_interval,
        checkpoint_interval: limits::LOG_CHECKPOINT_INTERVAL,
        producer_id_expiration: config.producer_id_expiration,
        cleaner: CleanerOptions {
            enabled: config.log_cleaner.enable,
            dedupe_buffer_bytes: config.log_cleaner.dedupe_buffer_bytes,
            dedupe_load_factor: config.log_cleaner.dedupe_load_factor,
            io_buffer_bytes: config.log_cleaner.io_buffer_bytes,
            io_max_bytes_per_second: config.log_cleaner.io_max_bytes_per_second,
            backoff: config.log_cleaner.backoff,
        },
    };
    blocking(move || LogManager::open(directories, options)).await
}

fn registration_of(config: &BrokerConfig, listeners: &[BoundListener]) -> Registration {
    Registration {
        endpoints: listeners.iter().map(|listener| listener.endpoint.clone()).collect(),
        rack: config.rack.clone(),
        timestamp: calendar::now_ms(),
        doorkeeper: Some(MARK.to_owned()),
    }
}

/// Until the image shows this broker and a controller: before, Metadata would miss one of them.
async fn wait_until_shown(
    images: &ImageHandle,
    id: i32,
    coordinator: &Coordinator,
) -> Result<(), StartError> {
    // An old controller's session may have to end first.
    let patience =
        registration::outlived(coordinator.session_timeout) + coordinator.connection_timeout;
    let shown =
        |image: &ClusterImage| (image.is_alive(id) && image.controller_id() != -1).then_some(());
    images.wait_for(patience, shown).await.ok_or_else(|| {
        StartError(format!(
            "registered, but the coordinator at {} did not show this broker and a live controller \
             within {} s",
            coordinator.connect,
            patience.as_secs()
        ))
    })
}
