//! The controller: one broker of the cluster, elected through `/controller`, that gives partitions
//! their leaders and removes topics.
//!
//! - [`election`]: who it is. - [`plan`]: what there is to write, from an image (pure).
//! - [`write`]: the writes, each checked against `/controller_epoch`.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use zookeeper_client::Client;

use super::failure::Failure;
use super::registration::foreign_controller;
use crate::cluster::client::SharedSession;
use crate::cluster::layout::paths;
use crate::cluster::{ClusterImage, ImageHandle, reader};
use crate::{calendar, limits};

mod election;
mod plan;
mod write;

use election::Reign;
use plan::Action;
use write::{WriteError, Writer};

/// How many partitions one log line names.
const NAMED_IN_LOG: usize = 5;

/// Takes part in elections, and is the controller when it has won one.
#[derive(Debug)]
pub(super) struct Controller {
    task: JoinHandle<()>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Controller {
    /// Starts to take part.
    pub(super) fn start(
        broker: i32,
        delete_enabled: bool,
        images: ImageHandle,
        session: SharedSession,
        failure: Failure,
    ) -> Self {
        let candidate = Candidate {
            broker,
            delete_enabled,
            images,
            session,
            reign: None,
            shown: false,
            foreign: BTreeSet::new(),
            written: HashSet::new(),
            settled_by: None,
            planned: None,
            purge_at: Instant::now(),
        };
        let task = tokio::spawn(async move {
            let reason = candidate.run().await;
            failure.report(reason);
        });
        Controller { task }
    }
}

struct Candidate {
    broker: i32,
    delete_enabled: bool,
    images: ImageHandle,
    session: SharedSession,
    reign: Option<Reign>,
    /// Whether an image has shown this reign: only then does one without it mean its end.
    shown: bool,
    /// Apache brokers that were named in the log.
    foreign: BTreeSet<i32>,
    /// What was written and may not show in the image yet.
    written: HashSet<Action>,
    /// When what was written must show; if it does not, it is planned again.
    settled_by: Option<Instant>,
    /// The image that was planned for last, if all of its plan was written.
    planned: Option<Arc<ClusterImage>>,
    purge_at: Instant,
}

impl Candidate {
    /// Ends with the reason why the broker can't go on.
    async fn run(mut self) -> String {
        let mut changed = self.images.changed();
        loop {
            let client = self.session.wait().await;
            changed.mark_unchanged();
            let image = self.images.load();
            if let Some(controller) = image.controller.as_ref().filter(|c| !c.doorkeeper) {
                return foreign_controller(controller.broker_id);
            }
            self.check_reign(&client, &image);
            if let Err(error) = self.work(&client, &image).await {
                match error {
                    WriteError::Deposed => {
                        // The next turn tells who is controller now.
                        self.resign("/controller_epoch was raised");
                        tokio::time::sleep(limits::SESSION_BACKOFF_MIN).await;
                        continue;
                    }
                    WriteError::Outdated(_) => self.planned = None,
                    WriteError::Session(error) => {
                        self.planned = None;
                        tracing::debug!(%error, "controller write failed: tried again");
                        tokio::time::sleep(limits::SESSION_BACKOFF_MIN).await;
                        continue;
                    }
                }
            }
            drop(client);
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep(self.patience()) => {}
            }
        }
    }

    /// How long there is nothing to do unless the image changes.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        match (self.reign, self.settled_by) {
            (None, _) => limits::CONTROLLER_TICK,
            (Some(_), Some(settled_by)) => settled_by.saturating_duration_since(now),
            (Some(_), None) => self.purge_at.saturating_duration_since(now),
        }
        .max(limits::SESSION_BACKOFF_MIN)
    }

    /// Notices the end of a reign: the session is another, or `/controller` is gone or another's.
    fn check_reign(&mut self, client: &Client, image: &ClusterImage) {
        let Some(reign) = self.reign else { return };
        if reign.session != client.session_id().0 {
            return self.resign("the session expired");
        }
        match &image.controller {
            Some(controller) if controller.owner == reign.session => self.shown = true,
            Some(controller) if controller.epoch > reign.epoch => {
                self.resign("another broker has become controller");
            }
            None if self.shown => self.resign("/controller was removed"),
            // An image from before the election.
            Some(_) | None => {}
        }
    }

    fn resign(&mut self, reason: &str) {
        if let Some(reign) = self.reign.take() {
            tracing::info!(
                broker = self.broker,
                epoch = reign.epoch,
                reason,
                "not controller any more"
            );
            report(false);
        }
        self.shown = false;
        self.written.clear();
        self.settled_by = None;
        self.planned = None;
    }

    async fn work(&mut self, client: &Client, image: &Arc<ClusterImage>) -> Result<(), WriteError> {
        let vacant = image.version == 0 || image.controller.is_none();
        let own = |image: &ClusterImage| {
            image.controller.as_ref().is_some_and(|c| c.owner == client.session_id().0)
        };
        let acls = self.session.acls();
        if self.reign.is_none() && (vacant || own(image)) {
            let now = calendar::now_ms();
            let Some(reign) = election::elect(client, acls, self.broker, now).await? else {
                return Ok(());
            };
            self.reign = Some(reign);
            counter!("doorkeeper_cluster_elections_total", "of" => "controller").increment(1);
            report(true);
            tracing::info!(broker = self.broker, epoch = reign.epoch, "elected controller");
            let writer = Writer { client, reign, acls };
            delete_stale_notifications(&writer).await?;
        }
        let Some(reign) = self.reign else { return Ok(()) };
        // Only an image that shows this reign shows all that was written before it.
        if !own(image) {
            return Ok(());
        }
        let writer = Writer { client, reign, acls };
        self.name_foreign_brokers(image);
        self.write_plan(&writer, image).await?;
        if Instant::now() >= self.purge_at {
            self.purge_at = Instant::now() + limits::CONTROLLER_TICK;
            purge_config_changes(&writer).await?;
        }
        Ok(())
    }

    fn name_foreign_brokers(&mut self, image: &ClusterImage) {
        let foreign: BTreeSet<i32> =
            image.brokers.values().filter(|b| !b.doorkeeper).map(|b| b.id).collect();
        for broker in foreign.difference(&self.foreign) {
            tracing::error!(
                broker,
                "a broker that is not a doorkeeper has joined the cluster: it gets no partitions; \
                 stop it"
            );
        }
        self.foreign = foreign;
    }

    async fn write_plan(
        &mut self,
        writer: &Writer<'_>,
        image: &Arc<ClusterImage>,
    ) -> Result<(), WriteError> {
        if self.settled_by.is_some_and(|by| Instant::now() >= by) {
            self.written.clear();
            self.settled_by = None;
            self.planned = None;
        }
        let planned = plan::plan(image, self.planned.as_deref(), self.delete_enabled);
        self.planned = None;
        if planned.is_empty() {
            self.written.clear();
            self.settled_by = None;
            self.planned = Some(image.clone());
            return Ok(());
        }
        let mut outdated = None;
        let actions: Vec<Action> =
            planned.into_iter().filter_map(|action| action.without(&self.written)).collect();
        let elections: Vec<&Action> =
            actions.iter().filter(|action| matches!(action, Action::Elect { .. })).collect();
        if !elections.is_empty() {
            writer.elect(&elections).await?;
            log_elections(&elections, image);
        }
        for action in &actions {
            match write_one(writer, action).await {
                Ok(()) => {}
                // Whoever was quicker changed what the next image is planned from.
                Err(WriteError::Outdated(error)) => outdated = Some(error),
                Err(error) => return Err(error),
            }
        }
        if !actions.is_empty() {
            self.settled_by = Some(Instant::now() + limits::CONTROLLER_SETTLE);
        }
        self.written.extend(actions);
        outdated.map_or(Ok(()), |error| Err(WriteError::Outdated(error)))
    }
}

async fn write_one(writer: &Writer<'_>, action: &Action) -> Result<(), WriteError> {
    match action {
        Action::Elect { .. } => Ok(()),
        Action::GiveId { topic, version } => writer.give_id(topic, *version).await,
        Action::Open { topic, partitions, of, .. } => {
            writer.open(topic, partitions).await?;
            tracing::info!(topic = &**topic, partitions = partitions.len(), of, "topic opened");
            Ok(())
        }
        Action::Delete { topic, partitions, done, .. } => {
            writer.delete_topic(topic, partitions, done.iter().copied()).await?;
            tracing::info!(topic = &**topic, partitions = partitions.len(), "topic removed");
            Ok(())
        }
        Action::Forget { topic, done } => {
            writer.forget(topic, done.iter().copied()).await?;
            tracing::info!(topic = &**topic, "request to delete a topic dropped");
            Ok(())
        }
    }
}

fn log_elections(elections: &[&Action], image: &ClusterImage) {
    let mut led = 0;
    let mut leaderless = 0;
    let mut named = Vec::new();
    for election in elections {
        let Action::Elect { topic, partition, leader, .. } = election else { continue };
        let old = image.topics.get(topic).and_then(|topic| topic.partitions.get(partition));
        if old.is_some_and(|old| old.leader == *leader) {
            continue;
        }
        if image.is_alive(*leader) {
            led += 1;
        } else {
            leaderless += 1;
        }
        if named.len() < NAMED_IN_LOG {
            named.push(format!("{topic}-{partition} to {leader}"));
        }
    }
    if led + leaderless == 0 {
        return;
    }
    counter!("doorkeeper_cluster_elections_total", "of" => "partition").increment(led);
    tracing::info!(led, leaderless, first = named.join(", "), "partition leaders elected");
}

/// Notifications that a controller before us did not come to, as Kafka's failover drops them.
async fn delete_stale_notifications(writer: &Writer<'_>) -> Result<(), WriteError> {
    for parent in [paths::ISR_CHANGES, paths::LOG_DIR_EVENTS] {
        let children = reader::children(writer.client, parent).await?.unwrap_or_default();
        for child in children {
            writer.delete(&format!("{parent}/{child}")).await?;
        }
    }
    Ok(())
}

/// Drops notifications of changed configuration that every broker has seen long ago.
async fn purge_config_changes(writer: &Writer<'_>) -> Result<(), WriteError> {
    let mut children =
        reader::children(writer.client, paths::CONFIG_CHANGES).await?.unwrap_or_default();
    children.sort_unstable();
    let retention = i64::try_from(limits::CONFIG_CHANGE_RETENTION.as_millis()).unwrap_or(i64::MAX);
    for child in children {
        let path = format!("{}/{child}", paths::CONFIG_CHANGES);
        match writer.client.check_stat(&path).await? {
            Some(stat) if calendar::now_ms().saturating_sub(stat.ctime) < retention => {
                return Ok(());
            }
            Some(_) => writer.delete(&path).await?,
            None => {}
        }
    }
    Ok(())
}

fn report(controller: bool) {
    metrics::gauge!("doorkeeper_cluster_controller").set(f64::from(u8::from(controller)));
}
