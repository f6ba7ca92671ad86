//! Joining the cluster: the layout's roots, `/cluster/id`, the broker's id and its registration.

use std::time::Duration;

use tokio::time::Instant;
use zookeeper_client::{Client, Error, MultiWriteError};

use super::StartError;
use super::log::MetaProperties;
use super::session_file::SessionFile;
use crate::cluster::builder::{ImageBuilder, Znode};
use crate::cluster::client::is_unknown;
use crate::cluster::layout::broker::Registration;
use crate::cluster::layout::controller::ControllerNode;
use crate::cluster::layout::{ids, paths};
use crate::cluster::znode_acls::ZnodeAcls;
use crate::cluster::znodes::Znodes;
use crate::cluster::{BrokerInfo, ClusterImage, ConnectError, reader};
use crate::limits;

/// The mark in our registrations and in `/controller`: this version of doorkeeper.
pub(super) const MARK: &str = env!("CARGO_PKG_VERSION");

/// Why a registration did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum JoinError {
    /// The session or its connection is gone: with the next one it may succeed.
    #[error("{0}")]
    Session(#[from] Error),
    /// There is no session: tried again.
    #[error("{0}")]
    Connect(ConnectError),
    /// An operator must act.
    #[error("{0}")]
    Refused(String),
}

impl From<ConnectError> for JoinError {
    fn from(error: ConnectError) -> Self {
        JoinError::Connect(error)
    }
}

impl From<MultiWriteError> for JoinError {
    fn from(error: MultiWriteError) -> Self {
        JoinError::Session(error.into())
    }
}

impl From<JoinError> for StartError {
    fn from(error: JoinError) -> Self {
        StartError(match error {
            JoinError::Session(error) => format!("the coordinator can't be used: {error}"),
            JoinError::Connect(error) => format!("the coordinator can't be used: {error}"),
            JoinError::Refused(reason) => reason,
        })
    }
}

fn refused<T>(reason: impl Into<String>) -> Result<T, JoinError> {
    Err(JoinError::Refused(reason.into()))
}

/// Makes the roots that are missing. One trip when none is; else their creations are sent one
/// after the other without waiting, parents first.
pub(super) async fn make_roots(client: &Client, acls: ZnodeAcls) -> Result<(), Error> {
    let roots: Vec<String> = paths::ROOTS.iter().map(|root| (*root).to_owned()).collect();
    let found = Znodes::single(client.clone()).read_all(&roots).await?;
    let mut made: Vec<&str> = Vec::new();
    let mut creations = Vec::new();
    for (root, _) in roots.iter().zip(found).filter(|(_, znode)| znode.is_none()) {
        let parents = root.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
        for path in parents.map(|at| &root[..at]).chain([root.as_str()]) {
            if !made.contains(&path) {
                made.push(path);
                creations.push(client.create(path, b"", &acls.persistent(path)));
            }
        }
    }
    for creation in creations {
        match creation.await {
            Ok(_) | Err(Error::NodeExists) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The cluster's id, made if there is none.
///
/// A broker that belongs to a cluster already refuses a coordinator without an id, as Kafka does:
/// it is another one, or it lost its data. A *running* one (`restore`) writes the id again: the
/// coordinator that it was talking to all the time was wiped.
pub(super) async fn cluster_id(
    client: &Client,
    acls: ZnodeAcls,
    known: Option<&str>,
    restore: bool,
) -> Result<String, JoinError> {
    let id = loop {
        if let Some(znode) = reader::read(client, paths::CLUSTER_ID).await? {
            break ids::decode_cluster_id(&znode.data)
                .map_err(|e| JoinError::Refused(format!("{}: {e}", paths::CLUSTER_ID)))?;
        }
        let new = match known {
            None => ids::cluster_id(rand::random()),
            Some(known) if restore => known.to_owned(),
            Some(known) => {
                return refused(format!(
                    "the coordinator has no {}, but meta.properties in log.dirs belongs to \
                     cluster {known}: zookeeper.connect names another coordinator, or it lost its \
                     data (to start anew with it, remove cluster.id from meta.properties; the \
                     logs stay)",
                    paths::CLUSTER_ID
                ));
            }
        };
        match write_cluster_id(client, acls, &new).await {
            Ok(()) => break new,
            // Somebody else was quicker, or we were without knowing.
            Err(error) if error == Error::NodeExists || is_unknown(&error) => {}
            Err(error) => return Err(error.into()),
        }
    };
    match known {
        Some(known) if known != id => refused(format!(
            "cluster.id in meta.properties is {known}, but the coordinator's cluster is {id}: \
             zookeeper.connect or log.dirs is another cluster's"
        )),
        _ => Ok(id),
    }
}

async fn write_cluster_id(client: &Client, acls: ZnodeAcls, id: &str) -> Result<(), Error> {
    client.mkdir("/cluster", &acls.persistent("/cluster")).await?;
    let options = acls.persistent(paths::CLUSTER_ID);
    client.create(paths::CLUSTER_ID, &ids::encode_cluster_id(id), &options).await.map(|_| ())
}

/// The broker's id: as configured, else as `meta.properties` has it, else a new one above
/// `reserved.broker.max.id`.
pub(super) async fn broker_id(
    client: &Client,
    configured: i32,
    meta: &MetaProperties,
    reserved_max: i32,
) -> Result<i32, JoinError> {
    match (configured, meta.broker_id) {
        (-1, Some(stored)) => Ok(stored),
        (-1, None) => {
            let stat = client.set_data(paths::BROKER_SEQUENCE, b"", None).await?;
            Ok(stat.version.saturating_add(reserved_max))
        }
        (id, Some(stored)) if id != stored => refused(format!(
            "broker.id is {id}, but meta.properties in log.dirs says broker.id={stored}: another \
             broker's log.dirs, or a changed broker.id"
        )),
        (id, _) => Ok(id),
    }
}

/// Refuses a cluster with an Apache broker or an Apache controller in it: its controller would have
/// to speak to us, or ours to it.
pub(super) async fn check_peers(client: &Client) -> Result<(), JoinError> {
    let mut builder = ImageBuilder::new(&ClusterImage::default());
    let ids = reader::children(client, paths::BROKER_IDS).await?.unwrap_or_default();
    let ids = ids.iter().filter_map(|id| id.parse().ok()).collect();
    reader::read_brokers(&Znodes::single(client.clone()), &mut builder, &ids).await?;
    if let Some(broker) = builder.image().brokers.values().find(|broker| !broker.doorkeeper) {
        return refused(format!(
            "broker {} ({}) in this cluster is not a doorkeeper: doorkeeper and Apache brokers \
             can't be members of one cluster (zookeeper.connect can name a chroot of its own)",
            broker.id,
            address(broker)
        ));
    }
    let controller = reader::read(client, paths::CONTROLLER).await?;
    match controller.map(|znode| ControllerNode::decode(&znode.data)) {
        Some(Ok(node)) if node.doorkeeper.is_none() => refused(foreign_controller(node.broker_id)),
        Some(Err(error)) => refused(format!("{}: {error}", paths::CONTROLLER)),
        _ => Ok(()),
    }
}

/// What is said of a controller that is not ours.
pub(super) fn foreign_controller(broker: i32) -> String {
    format!(
        "the cluster's controller, broker {broker}, is not a doorkeeper: doorkeeper and Apache \
         brokers can't be members of one cluster"
    )
}

fn address(broker: &BrokerInfo) -> String {
    let endpoint = |e: &crate::cluster::Endpoint| format!("{}://{}:{}", e.listener, e.host, e.port);
    broker.endpoints.iter().map(endpoint).collect::<Vec<_>>().join(",")
}

/// Registers at `/brokers/ids/<id>` with the session of this client.
///
/// What an old session of this broker's own left behind, `/controller` included, is removed first.
/// A registration of anybody else is waited for: one session timeout and two ticks, after which its
/// session can only be alive.
pub(super) async fn register(
    client: &Client,
    acls: ZnodeAcls,
    id: i32,
    registration: &Registration,
    sessions: &mut SessionFile,
) -> Result<(), JoinError> {
    let session = client.session_id().0;
    let file_error = |e: std::io::Error| JoinError::Refused(format!("doorkeeper.session: {e}"));
    sessions.add(session).map_err(file_error)?;
    remove_old_controller(client, sessions).await?;
    let path = paths::broker(id);
    let data = registration.encode();
    let patience = outlived(client.session_timeout());
    let deadline = Instant::now() + patience;
    let mut told = false;
    loop {
        let mut writer = client.new_multi_writer();
        writer.add_create(&path, b"", &acls.ephemeral(&path))?;
        writer.add_set_data(&path, &data, Some(0))?;
        match writer.commit().await.map_err(Error::from) {
            Ok(_) => break,
            Err(Error::NodeExists) => {}
            Err(Error::ConnectionLoss) => {
                // It may have happened: the next try tells, by who owns what it finds.
                tokio::time::sleep(limits::SESSION_BACKOFF_MIN).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let Some(found) = reader::read(client, &path).await? else { continue };
        if found.owner == session {
            break;
        }
        if sessions.contains(found.owner) {
            tracing::info!(broker = id, session = %format_args!("{:#x}", found.owner),
                "replacing the registration of this broker's own old session");
            remove(client, &path, &found).await?;
            continue;
        }
        if Instant::now() >= deadline {
            return refused(format!(
                "broker.id {id} is registered by another session ({:#x}, {}) and still was after \
                 {} s: another broker runs with this id",
                found.owner,
                described(&found),
                patience.as_secs()
            ));
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(broker = id, session = %format_args!("{:#x}", found.owner),
                seconds = patience.as_secs(),
                "this id is registered by another session: waiting for its end");
        }
        wait_for_removal(client, &path, deadline).await?;
    }
    sessions.keep_only(session).map_err(file_error)
}

/// How long a session of this timeout can outlive its owner: the timeout and two ticks. The tick
/// is ZooKeeper's default, but at most a half of a timeout that the coordinator agreed to.
pub(super) fn outlived(session_timeout: Duration) -> Duration {
    session_timeout + 2 * limits::COORDINATOR_TICK.min(session_timeout / 2)
}

fn described(znode: &Znode) -> String {
    match Registration::decode(&znode.data) {
        Ok(registration) => registration
            .endpoints
            .iter()
            .map(|e| format!("{}://{}:{}", e.listener, e.host, e.port))
            .collect::<Vec<_>>()
            .join(","),
        Err(error) => error.to_string(),
    }
}

async fn remove_old_controller(client: &Client, sessions: &SessionFile) -> Result<(), Error> {
    match reader::read(client, paths::CONTROLLER).await? {
        Some(found) if found.owner != client.session_id().0 && sessions.contains(found.owner) => {
            remove(client, paths::CONTROLLER, &found).await
        }
        _ => Ok(()),
    }
}

/// Removes a znode if it is still the one that was found.
async fn remove(client: &Client, path: &str, found: &Znode) -> Result<(), Error> {
    match client.delete(path, Some(found.version)).await {
        Ok(()) | Err(Error::NoNode | Error::BadVersion | Error::ConnectionLoss) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn wait_for_removal(client: &Client, path: &str, deadline: Instant) -> Result<(), Error> {
    let (stat, watcher) = client.check_and_watch_stat(path).await?;
    if stat.is_some() {
        let left = deadline.saturating_duration_since(Instant::now());
        // Ends early on any event of the znode or the session; the caller looks again.
        let _ = tokio::time::timeout(left + Duration::from_millis(1), watcher.changed()).await;
    }
    Ok(())
}
