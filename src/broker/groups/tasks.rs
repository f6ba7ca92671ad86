//! What goes on beside the requests: partitions come and go with their leaders, time runs out, old
//! offsets are forgotten.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::coordinator::{Led, Shared, subscribed, tombstone};
use super::group::GroupState;
use super::load;
use super::offsets::TopicPartition;
use super::records::Key;
use super::shard::{self, Append, Entry, Record, Shard};
use crate::calendar;
use crate::cluster::coordinators::Kind;

/// Starts all of it; it ends when the result is dropped.
pub(super) fn start(shared: &Arc<Shared>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(shared.clone().follow_images());
    tasks.spawn(shared.clone().let_time_pass());
    tasks.spawn(shared.clone().expire_offsets());
    tasks
}

impl Shared {
    /// Takes up partitions and gives them away as the images say.
    async fn follow_images(self: Arc<Self>) {
        let mut changed = self.images.changed();
        let mut topics: HashSet<Arc<str>> = HashSet::new();
        loop {
            changed.mark_unchanged();
            let image = self.images.load();
            let mut leads: BTreeMap<i32, i32> = BTreeMap::new();
            if let Some(topic) = image.topic(Kind::Group.topic()) {
                let own = topic.partitions.iter().filter(|(_, state)| state.leader == self.broker);
                leads.extend(own.map(|(number, state)| (*number, state.leader_epoch)));
            }
            self.give_away(&leads);
            self.take_up(&leads);
            let now: HashSet<Arc<str>> = image.topics.keys().cloned().collect();
            let deleted: HashSet<Arc<str>> = topics.difference(&now).cloned().collect();
            if !deleted.is_empty() {
                self.forget_topics(&deleted);
            }
            topics = now;
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn give_away(&self, leads: &BTreeMap<i32, i32>) {
        let lost: Vec<Arc<Led>> = {
            let mut led = self.led.write();
            let is_lost = |one: &Led| leads.get(&one.number) != Some(&one.leader_epoch);
            let numbers: Vec<i32> =
                led.values().filter(|one| is_lost(one)).map(|one| one.number).collect();
            numbers.iter().filter_map(|number| led.remove(number)).collect()
        };
        for led in lost {
            if let Some(mut shard) = led.shard.lock().take() {
                shard.unload(ResponseError::NotCoordinator);
            }
        }
    }

    fn take_up(self: &Arc<Self>, leads: &BTreeMap<i32, i32>) {
        for (number, leader_epoch) in leads {
            if self.led.read().contains_key(number) {
                continue;
            }
            let led = Arc::new(Led {
                number: *number,
                leader_epoch: *leader_epoch,
                shard: Mutex::new(None),
            });
            self.led.write().insert(*number, led.clone());
            let shared = self.clone();
            tokio::task::spawn_blocking(move || shared.load(&led));
        }
    }

    /// Reads a partition's log.
    fn load(&self, led: &Led) {
        let found = self.partitions.led(Kind::Group.topic(), led.number, led.leader_epoch);
        let log = match found {
            Ok(led) => led.log,
            Err(error) => {
                tracing::warn!(partition = led.number, ?error, "groups can't be loaded");
                return;
            }
        };
        let begun = Instant::now();
        let now = self.now();
        let mut shard = Shard::default();
        match load::read(&log, &mut shard, now) {
            Ok(records) => {
                shard.restored();
                tracing::debug!(
                    partition = led.number,
                    records,
                    took = ?begun.elapsed(),
                    "groups loaded"
                );
                *led.shard.lock() = Some(shard);
                self.sooner.notify_one();
            }
            Err(error) => {
                tracing::error!(
                    partition = led.number,
                    %error,
                    "the groups of a partition of __consumer_offsets can't be read: they have no \
                     coordinator"
                );
            }
        }
    }

    /// Lets the deadlines of groups run out.
    async fn let_time_pass(self: Arc<Self>) {
        loop {
            let led: Vec<Arc<Led>> = self.led.read().values().cloned().collect();
            let now = self.now();
            let mut next: Option<i64> = None;
            for led in led {
                let mut guard = led.shard.lock();
                let Some(shard) = guard.as_mut() else { continue };
                let mut append = self.append(&led);
                let append: &mut Append<'_> = &mut append;
                shard.tick(now, &self.limits, append);
                next = [next, shard.next_deadline_ms()].into_iter().flatten().min();
            }
            let wait = next.map(|at| at.saturating_sub(now.steady_ms).max(1));
            let sleep = async {
                match wait.and_then(|wait| u64::try_from(wait).ok()) {
                    Some(wait) => tokio::time::sleep(Duration::from_millis(wait)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    /// Forgets what is too old, now and then.
    async fn expire_offsets(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.config.offsets_retention_check_interval).await;
            let shared = self.clone();
            let expired = tokio::task::spawn_blocking(move || {
                let retention = i64::try_from(shared.config.offsets_retention.as_millis());
                let now_ms = calendar::now_ms();
                shared.clean_up(|entry| {
                    let retention = retention.unwrap_or(i64::MAX);
                    shard::expired(entry, subscribed, now_ms, retention)
                });
            });
            if expired.await.is_err() {
                return;
            }
        }
    }

    /// Forgets the offsets of topics that are gone.
    fn forget_topics(&self, topics: &HashSet<Arc<str>>) {
        self.clean_up(|entry| {
            entry
                .offsets
                .partitions()
                .filter(|(topic, _)| topics.contains(topic))
                .cloned()
                .collect()
        });
    }

    /// Forgets offsets, and groups that have none any more and that nobody is in.
    fn clean_up(&self, gone: impl Fn(&Entry) -> Vec<TopicPartition>) {
        let led: Vec<Arc<Led>> = self.led.read().values().cloned().collect();
        for led in led {
            let mut guard = led.shard.lock();
            let Some(shard) = guard.as_mut() else { continue };
            let found: Vec<(Arc<str>, Vec<TopicPartition>)> = shard
                .iter()
                .map(|entry| (entry.group.id.clone(), gone(entry)))
                .filter(|(_, gone)| !gone.is_empty())
                .collect();
            for (id, partitions) in found {
                let Some(entry) = shard.get_mut(&id) else { continue };
                let mut records: Vec<Record> =
                    partitions.iter().map(|partition| tombstone(&id, partition)).collect();
                let left = entry.offsets.iter().count() > partitions.len();
                let dies = entry.group.state() == GroupState::Empty && !left;
                if dies && entry.group.generation() > 0 {
                    records.push((Key::Group(id.clone()), None));
                }
                if let Err(error) = self.write_many(&led, &records) {
                    tracing::debug!(group = %id, ?error, "offsets can't be removed now");
                    continue;
                }
                for partition in &partitions {
                    entry.offsets.remove(partition);
                }
                shard.drop_if_gone(&id);
            }
        }
    }
}
