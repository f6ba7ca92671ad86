//! Znodes and watches in, images out.
//!
//! A session of its own follows the cluster. Persistent recursive watches tell what changed; only
//! that is read again, and what changes while a read is under way is read together afterwards; a
//! burst, such as the new leaders after a broker's death, is gathered first.
//! Persistent watches do not tell what was missed while the connection was away, and the client
//! forgets them at a reconnect: after each one the watches are set anew, and then everything is
//! read. While the coordinator is away the last image stays.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use metrics::{Counter, counter, gauge, histogram};
use tokio::task::{JoinHandle, JoinSet};
use zookeeper_client::{
    AddWatchMode, Client, Error, EventType, PersistentWatcher, SessionState, StateWatcher,
};

use super::acls::directories;
use super::builder::{ImageBuilder, Problem};
use super::changes::Changes;
use super::client::{Coordinator, SharedSession};
use super::credentials::ConnectError;
use super::dirty::Dirty;
use super::handle::ImageHandle;
use super::layout::paths;
use super::reader;
use super::znodes::Znodes;
use crate::limits;

/// Whether an observer reads the cluster's ACLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowAcls {
    /// They are of no interest, and not read.
    No,
    /// They are a part of its images.
    Yes,
}

/// Follows the cluster until it is dropped.
#[derive(Debug)]
pub struct Observer {
    task: JoinHandle<()>,
    session: SharedSession,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
        // Whoever shares it lets it go too, so that it closes.
        self.session.set(None);
    }
}

impl Observer {
    /// Starts to follow the cluster, and publishes to `images`. `first` is a session that is there
    /// already; later ones are made when it is gone.
    pub fn start(
        coordinator: Coordinator,
        first: Option<Client>,
        images: ImageHandle,
        acls: FollowAcls,
    ) -> Self {
        let metrics = images.downgrade();
        crate::telemetry::on_scrape(Box::new(move || {
            metrics.upgrade().iter().for_each(report);
        }));
        let session = SharedSession::new(coordinator.acls);
        let publisher = Publisher::new(coordinator.connect.clone(), images, acls);
        let follow = follow(coordinator, first, session.clone(), publisher);
        let task = tokio::spawn(crate::telemetry::cluster_label::inherit(follow));
        Observer { task, session }
    }

    /// The session that it follows with, for others to read through.
    pub fn session(&self) -> SharedSession {
        self.session.clone()
    }
}

/// One session after the other.
async fn follow(
    coordinator: Coordinator,
    mut first: Option<Client>,
    session: SharedSession,
    mut publisher: Publisher,
) {
    let mut backoff = limits::SESSION_BACKOFF_MIN;
    loop {
        let client = match first.take() {
            Some(client) => Ok(client),
            None => coordinator.connect().await,
        };
        match client {
            Ok(client) => {
                backoff = limits::SESSION_BACKOFF_MIN;
                session.set(Some(client.clone()));
                let error = follow_session(client, &session, &mut publisher).await;
                session.set(None);
                tracing::debug!(%error, "observing session ended");
            }
            Err(error) => {
                publisher.refused(&error);
                match &error {
                    ConnectError::Session(error) => publisher.lost(error),
                    ConnectError::Refused(_) => publisher.lost(&"no session is to be had"),
                }
            }
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(limits::SESSION_BACKOFF_MAX);
    }
}

/// Publishes images, and says once what an operator should know of them.
struct Publisher {
    coordinator: String,
    images: ImageHandle,
    acls: FollowAcls,
    /// Whether it was said that the coordinator is away.
    said_away: bool,
    /// Why no session could be made, as it was said last.
    refused: Option<String>,
    server: Server,
    /// Whether it was said that the server is old.
    said_old: bool,
    /// Whether a KRaft controller owned the cluster in the last image.
    kraft: bool,
    /// What was named in the log as not understood.
    named: BTreeSet<Problem>,
}

impl Publisher {
    fn new(coordinator: String, images: ImageHandle, acls: FollowAcls) -> Self {
        Publisher {
            coordinator,
            images,
            acls,
            said_away: false,
            refused: None,
            server: Server::Unknown { cut: 0 },
            said_old: false,
            kraft: false,
            named: BTreeSet::new(),
        }
    }

    /// Says why no session is made, once for each reason that an operator must act on.
    fn refused(&mut self, error: &ConnectError) {
        let ConnectError::Refused(reason) = error else { return };
        if self.refused.as_ref() != Some(reason) {
            tracing::error!("no session with the coordinator, trying on: {reason}");
            self.refused = Some(reason.clone());
        }
    }

    fn lost(&mut self, error: &dyn std::fmt::Display) {
        self.images.set_connected(false);
        let image = self.images.load();
        if !self.said_away && image.version > 0 {
            self.said_away = true;
            let (coordinator, age) = (&self.coordinator, self.images.age());
            tracing::warn!(coordinator, %error, ?age, "coordinator away: serving the last image");
        }
    }

    fn back(&mut self) {
        let age = self.images.age();
        self.images.set_connected(true);
        self.refused = None;
        if std::mem::take(&mut self.said_away) {
            tracing::warn!(?age, "coordinator is back: the image is current again");
        }
    }

    /// `begun` is when its znodes began to be read. When the oldest of its changes was made, if there is
    /// a new image and a znode tells.
    fn publish(&mut self, builder: ImageBuilder, begun: Instant) -> Option<i64> {
        let (image, problems) = builder.finish();
        counter!("doorkeeper_cluster_znodes_not_understood_total").increment(problems.len() as u64);
        for problem in problems {
            if self.named.len() < limits::ZNODES_NAMED_MAX && self.named.insert(problem.clone()) {
                let Problem { path, reason } = problem;
                tracing::warn!(path, reason, "znode not understood");
            }
        }
        let image = image?;
        let (kraft, changed_ms) = (image.is_owned_by_kraft(), image.changed_ms);
        self.images.publish(image);
        counter!("doorkeeper_cluster_images_total").increment(1);
        histogram!("doorkeeper_cluster_image_build_seconds").record(begun.elapsed());
        if std::mem::replace(&mut self.kraft, kraft) != kraft {
            if kraft {
                tracing::warn!(
                    "a KRaft controller owns the cluster, which is being migrated: the znodes do \
                     not tell all of its brokers, and a gateway asks them everything"
                );
            } else {
                tracing::warn!("a broker is the controller again: the znodes tell all");
            }
        }
        changed_ms
    }
}

/// What is known of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// It is asked at the start of each connection. So many probes ended with their connection.
    Unknown { cut: u32 },
    /// It has neither multi reads nor persistent watches. Each new session finds out again.
    Old,
}

/// Follows one session, through its reconnects, until it is over.
async fn follow_session(
    client: Client,
    session: &SharedSession,
    publisher: &mut Publisher,
) -> Error {
    let mut state = client.state_watcher();
    if std::mem::replace(&mut publisher.server, Server::Unknown { cut: 0 }) == Server::Old {
        // The watches end with the connection, and with it the session: the client would set them
        // again, in more bytes than a server takes.
        let error = follow_old(client, &mut state, publisher).await.err();
        session.set(None);
        let error = error.unwrap_or(Error::ConnectionLoss);
        publisher.lost(&error);
        return error;
    }
    let mut watches = None;
    loop {
        let error = match state.state() {
            SessionState::SyncConnected => {
                match follow_connection(&client, &mut state, &mut watches, publisher).await {
                    Ok(()) => Error::ConnectionLoss,
                    Err(error) => error,
                }
            }
            SessionState::Disconnected => Error::ConnectionLoss,
            _ => return Error::SessionExpired,
        };
        if publisher.server == Server::Old {
            return error;
        }
        if client.state() == SessionState::SyncConnected {
            // The connection is there, so the error is of another kind: not in a tight loop.
            tracing::debug!(%error, "following the znodes failed, starting over");
            tokio::time::sleep(limits::SESSION_BACKOFF_MIN).await;
            continue;
        }
        publisher.lost(&error);
        if state.peek_state() == SessionState::Disconnected && state.changed().await.is_terminated()
        {
            return Error::SessionExpired;
        }
    }
}

/// Asks for what servers have since ZooKeeper 3.6. Older ones say that they don't know it, and close
/// the connection, or do only the latter.
async fn probe(client: &Client, publisher: &mut Publisher) -> Result<(), Error> {
    let mut reader = client.new_multi_reader();
    reader.add_get_data("/")?;
    let Err(error) = reader.commit().await else {
        publisher.server = Server::Unknown { cut: 0 };
        return Ok(());
    };
    publisher.server = match (publisher.server, &error) {
        (Server::Unknown { cut }, Error::ConnectionLoss) if cut + 1 < limits::PROBES_CUT_MAX => {
            Server::Unknown { cut: cut + 1 }
        }
        (_, Error::Unimplemented | Error::ConnectionLoss) => Server::Old,
        (server, _) => server,
    };
    if publisher.server == Server::Old && !std::mem::replace(&mut publisher.said_old, true) {
        tracing::warn!(
            coordinator = publisher.coordinator,
            "the coordinator is older than ZooKeeper 3.6: its znodes are read one by one, and watched \
             with one-shot watches"
        );
    }
    Err(error)
}

/// Sets the watches, reads everything, then reads again what changes. Ends without an error when
/// the connection changed, after which all must be done again.
async fn follow_connection(
    client: &Client,
    state: &mut StateWatcher,
    watches: &mut Option<Watches>,
    publisher: &mut Publisher,
) -> Result<(), Error> {
    probe(client, publisher).await?;
    let dirty = Arc::new(Dirty::default());
    let begun = Instant::now();
    // The old ones go only now: dropped earlier they would take the new ones with them.
    *watches = Some(Watches::set(client, &dirty, publisher.acls).await?);
    let znodes = Znodes::multi(client.clone());
    follow_znodes(&znodes, &dirty, begun, state, publisher).await
}

/// The same with a server that has no persistent watches.
async fn follow_old(
    client: Client,
    state: &mut StateWatcher,
    publisher: &mut Publisher,
) -> Result<(), Error> {
    let dirty = Arc::new(Dirty::default());
    let roots = WATCHED.iter().map(|path| (*path).to_owned());
    let acls = directories().map(|(pattern, kind)| paths::acl_directory(pattern, kind));
    let acls = acls.filter(|_| publisher.acls == FollowAcls::Yes);
    let znodes = Znodes::watched(client, dirty.clone(), roots.chain(acls).collect());
    follow_znodes(&znodes, &dirty, Instant::now(), state, publisher).await
}

/// Reads everything, and then again what `dirty` is told of.
async fn follow_znodes(
    znodes: &Znodes,
    dirty: &Dirty,
    begun: Instant,
    state: &mut StateWatcher,
    publisher: &mut Publisher,
) -> Result<(), Error> {
    let previous = publisher.images.load();
    let mut builder = ImageBuilder::new(&previous);
    reader::read_everything(znodes, &mut builder).await?;
    match publisher.acls {
        FollowAcls::No => builder.follow_acls(false),
        FollowAcls::Yes => reader::read_every_acl(znodes, &mut builder).await?,
    }
    znodes.all_read();
    publisher.publish(builder, begun);
    publisher.back();
    let mut last = 0;
    loop {
        tokio::select! {
            _ = state.changed() => return Ok(()),
            () = dirty.changed() => {}
        }
        if last.max(dirty.len()) >= limits::BURST_CHANGES {
            tokio::select! {
                _ = state.changed() => return Ok(()),
                () = dirty.quiet() => {}
            }
        }
        znodes.list_again().await?;
        let changes = dirty.take();
        last = changes.len();
        if changes.is_empty() {
            continue;
        }
        let begun = Instant::now();
        let previous = publisher.images.load();
        let mut builder = ImageBuilder::new(&previous);
        apply(znodes, &mut builder, changes).await?;
        if let Some(changed_ms) = publisher.publish(builder, begun) {
            histogram!("doorkeeper_cluster_freshness_seconds").record(since(changed_ms));
        }
    }
}

/// How long ago a moment of the coordinator's clock was, zero if that is ahead of ours.
pub fn since(milliseconds: i64) -> Duration {
    let moment = Duration::from_millis(milliseconds.try_into().unwrap_or_default());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(moment)
}

/// Reads again what changed.
async fn apply(znodes: &Znodes, builder: &mut ImageBuilder, changes: Changes) -> Result<(), Error> {
    if changes.cluster_id {
        builder.cluster_id(znodes.read(paths::CLUSTER_ID).await?.as_ref());
    }
    if changes.controller {
        let (controller, epoch) = tokio::try_join!(
            znodes.read(paths::CONTROLLER),
            znodes.read(paths::CONTROLLER_EPOCH),
        )?;
        builder.controller(controller.as_ref(), epoch.as_ref());
    }
    reader::read_brokers(znodes, builder, &changes.brokers).await?;
    reader::read_topic_configs(znodes, builder, &changes.topic_configs).await?;
    reader::read_broker_configs(znodes, builder, &changes.broker_configs).await?;
    reader::read_deleting(znodes, builder, &changes.deleting).await?;
    reader::read_acls(znodes, builder, &changes.acls).await?;
    reader::read_topics(znodes, builder, &changes.topics).await?;
    reader::read_partitions(znodes, builder, &changes.partitions).await
}

/// What is watched, each with all below it.
const WATCHED: [&str; 8] = [
    paths::CONTROLLER,
    paths::CONTROLLER_EPOCH,
    paths::CLUSTER_ID,
    paths::BROKER_IDS,
    paths::TOPICS,
    paths::TOPIC_CONFIGS,
    paths::BROKER_CONFIGS,
    paths::DELETE_TOPICS,
];

/// What is watched beside it where ACLs are followed.
const WATCHED_ACLS: [&str; 2] = [paths::ACLS, paths::PREFIXED_ACLS];

/// The watches of one connection, each drained by a task, since the client's queue has no bound.
struct Watches {
    _drains: JoinSet<()>,
}

impl Watches {
    async fn set(client: &Client, dirty: &Arc<Dirty>, acls: FollowAcls) -> Result<Watches, Error> {
        let acls: &[&str] = if acls == FollowAcls::Yes { &WATCHED_ACLS } else { &[] };
        // All are sent before the first answer is waited for.
        let watches: Vec<_> = WATCHED
            .iter()
            .chain(acls)
            .map(|path| client.watch(path, AddWatchMode::PersistentRecursive))
            .collect();
        let mut drains = JoinSet::new();
        let events = counter!("doorkeeper_cluster_watch_events_total");
        for watch in watches {
            drains.spawn(drain(watch.await?, dirty.clone(), events.clone()));
        }
        Ok(Watches { _drains: drains })
    }
}

async fn drain(mut watcher: PersistentWatcher, dirty: Arc<Dirty>, events: Counter) {
    loop {
        let event = watcher.changed().await;
        if event.event_type == EventType::Session {
            if event.session_state.is_terminated() {
                return;
            }
            continue;
        }
        events.increment(1);
        dirty.note(&event);
    }
}

/// Sets the cluster's gauges.
fn report(images: &ImageHandle) {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let set = |name: &'static str, value: usize| gauge!(name).set(value as f64);
    let image = images.load();
    gauge!("doorkeeper_cluster_image_age_seconds").set(images.age().as_secs_f64());
    set("doorkeeper_cluster_coordinator_connected", usize::from(images.connected()));
    set("doorkeeper_cluster_brokers", image.brokers.len());
    set("doorkeeper_cluster_topics", image.visible_topics().count());
    let partitions = image.visible_topics().map(|topic| topic.partitions.len()).sum();
    set("doorkeeper_cluster_partitions", partitions);
    set("doorkeeper_cluster_leaderless_partitions", image.leaderless_partitions());
    set("doorkeeper_cluster_under_replicated_partitions", image.under_replicated_partitions());
    set("doorkeeper_cluster_offline_replica_partitions", image.offline_replica_partitions());
    set("doorkeeper_cluster_kraft", usize::from(image.is_owned_by_kraft()));
}
