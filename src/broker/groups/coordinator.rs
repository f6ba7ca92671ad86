//! The coordinator of the groups whose partition of `__consumer_offsets` this broker leads: takes up
//! partitions and gives them away, writes what is to outlast it, lets time run out.
//!
//! `kafka.coordinator.group.GroupMetadataManager` of Kafka 3.9.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::group::{GroupState, Joined, Now, Synced};
use super::offsets::TopicPartition;
use super::rebalance::{GroupLimits, Join, Sync};
use super::records::{Key, OffsetValue};
use super::shard::{Entry, Record, Shard};
use super::{subscription, tasks};
use crate::broker::log::{AppendOptions, LogError};
use crate::broker::{LedPartition, PartitionManager};
use crate::cluster::ImageHandle;
use crate::cluster::coordinators::{self, Kind};
use crate::config::GroupsConfig;
use crate::kafka::record_batch;
use crate::{calendar, limits};

/// Coordinates groups. Clones share everything.
#[derive(Debug, Clone)]
pub struct GroupCoordinator {
    shared: Arc<Shared>,
}

/// What requests and tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub config: GroupsConfig,
    pub limits: GroupLimits,
    pub broker: i32,
    pub images: ImageHandle,
    pub partitions: PartitionManager,
    /// The partitions that this broker leads, by number.
    pub led: RwLock<HashMap<i32, Arc<Led>>>,
    /// Deadlines count from here.
    begun: Instant,
    /// A deadline may have come nearer.
    pub sooner: Notify,
}

/// A partition that this broker leads.
#[derive(Debug)]
pub(super) struct Led {
    pub number: i32,
    pub leader_epoch: i32,
    /// `None` while its log is read.
    pub shard: Mutex<Option<Shard>>,
}

/// What is done to a group, so that the right ones go on while it loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// Every group has a name.
    NotEmpty,
    /// Old clients keep offsets under the empty one.
    Any,
}

/// An offset to be committed.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Which partition.
    pub partition: TopicPartition,
    /// What.
    pub value: OffsetValue,
}

/// Who commits.
#[derive(Debug, Clone)]
pub struct Committer {
    /// The member's id, or empty.
    pub member_id: Arc<str>,
    /// Its instance id.
    pub instance_id: Option<Arc<str>>,
    /// Its generation, −1 outside of a group.
    pub generation: i32,
    /// The producer and its epoch, of a transaction.
    pub producer: Option<(i64, i16)>,
}

/// The follower's tasks; they end when this is dropped.
#[derive(Debug)]
pub struct Following(#[expect(dead_code, reason = "held for its tasks")] JoinSet<()>);

impl GroupCoordinator {
    /// Nothing is led before [`GroupCoordinator::follow`].
    pub fn new(
        config: GroupsConfig,
        broker: i32,
        images: ImageHandle,
        partitions: PartitionManager,
    ) -> Self {
        let limits = GroupLimits {
            initial_rebalance_delay_ms: config.initial_rebalance_delay_ms,
            max_size: config.max_size,
        };
        GroupCoordinator {
            shared: Arc::new(Shared {
                config,
                limits,
                broker,
                images,
                partitions,
                led: RwLock::default(),
                begun: Instant::now(),
                sooner: Notify::new(),
            }),
        }
    }

    /// Takes up the partitions that this broker comes to lead, until the result is dropped.
    pub fn follow(&self) -> Following {
        Following(tasks::start(&self.shared))
    }

    /// What the configuration says.
    pub fn config(&self) -> &GroupsConfig {
        &self.shared.config
    }

    /// A member joins; waits for the others.
    pub async fn join(&self, group: &str, join: Join) -> Joined {
        let fail = |error| Joined::failed(&join.member_id, error);
        let config = &self.shared.config;
        let led = match self.shared.led(group, Naming::NotEmpty) {
            Ok(led) => led,
            Err(error) => return fail(error),
        };
        let bounds = config.min_session_timeout_ms..=config.max_session_timeout_ms;
        if !bounds.contains(&join.session_timeout_ms) {
            return fail(ResponseError::InvalidSessionTimeout);
        }
        let answer = {
            let now = self.shared.now();
            let mut guard = led.shard.lock();
            let Some(shard) = guard.as_mut() else {
                return fail(ResponseError::CoordinatorLoadInProgress);
            };
            let id: Arc<str> = Arc::from(group);
            if join.member_id.is_empty() {
                shard.or_new(&id, now);
            } else if shard.get(group).is_none() {
                return fail(ResponseError::UnknownMemberId);
            }
            let (ticket, answer) = shard.expect_join();
            let mut append = self.shared.append(&led);
            let limits = &self.shared.limits;
            let join = join.clone();
            shard.change(group, now, limits, &mut append, |group, effects| {
                group.join(join, ticket, now, limits, effects);
            });
            answer
        };
        self.shared.sooner.notify_one();
        answer.await.unwrap_or_else(|_| fail(ResponseError::NotCoordinator))
    }

    /// A member asks for its assignment; waits for the leader.
    pub async fn sync(&self, group: &str, sync: Sync) -> Synced {
        let led = match self.shared.led(group, Naming::NotEmpty) {
            Ok(led) => led,
            Err(error) => return Synced::failed(error),
        };
        let answer = {
            let now = self.shared.now();
            let mut guard = led.shard.lock();
            // Old clients don't know the error for a coordinator that loads: this one has them join
            // again.
            let Some(shard) = guard.as_mut() else {
                return Synced::failed(ResponseError::RebalanceInProgress);
            };
            if shard.get(group).is_none() {
                return Synced::failed(ResponseError::UnknownMemberId);
            }
            let (ticket, answer) = shard.expect_sync();
            let mut append = self.shared.append(&led);
            shard.change(group, now, &self.shared.limits, &mut append, |group, effects| {
                group.sync(sync, ticket, now, effects);
            });
            answer
        };
        self.shared.sooner.notify_one();
        answer.await.unwrap_or_else(|_| Synced::failed(ResponseError::NotCoordinator))
    }

    /// A member lives.
    ///
    /// # Errors
    /// Kafka's: what it has to do instead.
    pub fn heartbeat(
        &self,
        group: &str,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        let led = self.shared.led(group, Naming::NotEmpty)?;
        let now = self.shared.now();
        let mut guard = led.shard.lock();
        // While the group loads its members are taken to live.
        let Some(shard) = guard.as_mut() else { return Ok(()) };
        let mut append = self.shared.append(&led);
        let limits = &self.shared.limits;
        shard
            .change(group, now, limits, &mut append, |group, _| {
                group.heartbeat(member, instance, generation, now)
            })
            .unwrap_or(Err(ResponseError::UnknownMemberId))
    }

    /// Members leave, each by its id and instance id: what became of each.
    ///
    /// # Errors
    /// The group is not here.
    pub fn leave(
        &self,
        group: &str,
        members: &[(Arc<str>, Option<Arc<str>>)],
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        let led = self.shared.led(group, Naming::NotEmpty)?;
        let now = self.shared.now();
        let mut guard = led.shard.lock();
        let shard = guard.as_mut().ok_or(ResponseError::CoordinatorLoadInProgress)?;
        let limits = &self.shared.limits;
        let mut append = self.shared.append(&led);
        let left = members
            .iter()
            .map(|(member, instance)| {
                shard
                    .change(group, now, limits, &mut append, |group, effects| {
                        group.leave(member, instance.as_deref(), now, limits, effects)
                    })
                    .unwrap_or(Err(ResponseError::UnknownMemberId))
            })
            .collect();
        drop(guard);
        self.shared.sooner.notify_one();
        Ok(left)
    }

    /// Commits offsets, all or none.
    ///
    /// # Errors
    /// Kafka's.
    pub fn commit(
        &self,
        group: &str,
        by: &Committer,
        commits: Vec<Commit>,
    ) -> Result<(), ResponseError> {
        let led = self.shared.led(group, Naming::Any)?;
        let now = self.shared.now();
        let mut guard = led.shard.lock();
        let shard = guard.as_mut().ok_or(ResponseError::CoordinatorLoadInProgress)?;
        let id: Arc<str> = Arc::from(group);
        if shard.get(group).is_none() {
            if by.generation >= 0 && by.producer.is_none() {
                // Whoever has a generation had a group, which is gone.
                return Err(ResponseError::IllegalGeneration);
            }
            shard.or_new(&id, now);
        }
        let limits = &self.shared.limits;
        let mut append = self.shared.append(&led);
        let instance = by.instance_id.as_deref();
        let transactional = by.producer.is_some();
        let allowed = shard.change(group, now, limits, &mut append, |group, _| {
            group.may_commit(&by.member_id, instance, by.generation, transactional, now)
        });
        allowed.unwrap_or(Err(ResponseError::UnknownMemberId))?;
        let records: Vec<Record> = commits
            .iter()
            .map(|commit| {
                let (topic, partition) = commit.partition.clone();
                let key = Key::Offset { group: id.clone(), topic, partition };
                (key, Some(commit.value.encode()))
            })
            .collect();
        let written = self.shared.write(&led, &records, by.producer);
        let first = match written {
            Ok(first) => first,
            Err(error) => {
                shard.drop_if_gone(group);
                return Err(match error {
                    // As Kafka tells whoever commits too much.
                    ResponseError::UnknownServerError => ResponseError::InvalidCommitOffsetSize,
                    error => error,
                });
            }
        };
        let Some(entry) = shard.get_mut(group) else { return Ok(()) };
        for (record, Commit { partition, value }) in (first..).zip(commits) {
            match by.producer {
                Some((producer, _)) => {
                    entry.offsets.commit_in_transaction(producer, partition, value, record);
                }
                None => entry.offsets.commit(partition, value, record),
            }
        }
        Ok(())
    }

    /// Looks into a group.
    ///
    /// # Errors
    /// The group is not here. The look says what it makes of one that does not exist.
    pub fn look<T>(
        &self,
        group: &str,
        look: impl FnOnce(Option<&Entry>) -> T,
    ) -> Result<T, ResponseError> {
        let led = self.shared.led(group, Naming::Any)?;
        let guard = led.shard.lock();
        let shard = guard.as_ref().ok_or(ResponseError::CoordinatorLoadInProgress)?;
        Ok(look(shard.get(group)))
    }

    /// Looks at every group that is here; says whether some are still loaded.
    pub fn look_at_all(&self, mut look: impl FnMut(&Entry)) -> bool {
        let led: Vec<Arc<Led>> = self.shared.led.read().values().cloned().collect();
        let mut loading = false;
        for led in led {
            match led.shard.lock().as_ref() {
                Some(shard) => shard.iter().for_each(&mut look),
                None => loading = true,
            }
        }
        loading
    }

    /// Deletes a group that nobody is in.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP`, `GROUP_ID_NOT_FOUND`, or the group is not here.
    pub fn delete(&self, group: &str) -> Result<(), ResponseError> {
        let led = self.shared.led(group, Naming::Any)?;
        let mut guard = led.shard.lock();
        let shard = guard.as_mut().ok_or(ResponseError::CoordinatorLoadInProgress)?;
        let entry = shard.get(group).ok_or(ResponseError::GroupIdNotFound)?;
        match entry.group.state() {
            GroupState::Empty => {}
            GroupState::Dead => return Err(ResponseError::GroupIdNotFound),
            _ => return Err(ResponseError::NonEmptyGroup),
        }
        let mut records: Vec<Record> = entry
            .offsets
            .partitions()
            .map(|partition| tombstone(&entry.group.id, partition))
            .collect();
        if entry.group.generation() > 0 {
            records.push((Key::Group(entry.group.id.clone()), None));
        }
        self.shared.write_many(&led, &records)?;
        shard.remove(group);
        Ok(())
    }

    /// Forgets offsets of a group, each unless its topic is one that a member reads: what became of
    /// each partition.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP` for a group of another kind than consumers, or the
    /// group is not here.
    pub fn delete_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        let led = self.shared.led(group, Naming::NotEmpty)?;
        let mut guard = led.shard.lock();
        let shard = guard.as_mut().ok_or(ResponseError::CoordinatorLoadInProgress)?;
        let entry = shard.get_mut(group).ok_or(ResponseError::GroupIdNotFound)?;
        let read = match (entry.group.state(), entry.group.protocol_type().map(AsRef::as_ref)) {
            (GroupState::Dead, _) => return Err(ResponseError::GroupIdNotFound),
            (GroupState::Empty, _) => BTreeSet::new(),
            (_, Some("consumer")) => subscribed(&entry.group).unwrap_or_default(),
            _ => return Err(ResponseError::NonEmptyGroup),
        };
        let id = entry.group.id.clone();
        let may = |partition: &TopicPartition| !read.contains(&partition.0);
        let known: BTreeSet<TopicPartition> = entry.offsets.partitions().cloned().collect();
        let gone: Vec<&TopicPartition> =
            partitions.iter().filter(|one| may(one) && known.contains(one)).collect();
        let records: Vec<Record> = gone.iter().map(|one| tombstone(&id, one)).collect();
        self.shared.write_many(&led, &records)?;
        for partition in gone {
            entry.offsets.remove(partition);
        }
        let told = partitions.iter().map(|partition| {
            if may(partition) { Ok(()) } else { Err(ResponseError::GroupSubscribedToTopic) }
        });
        Ok(told.collect())
    }

    /// A producer's transaction ended in this partition of `__consumer_offsets`, whose log has its
    /// marker already.
    pub fn end_transaction(&self, partition: i32, producer: i64, committed: bool) {
        let led = self.shared.led.read().get(&partition).cloned();
        if let Some(shard) = led.and_then(|led| led.shard.lock().as_mut().map(|_| led.clone()))
            && let Some(shard) = shard.shard.lock().as_mut()
        {
            shard.end_transaction(producer, committed);
        }
    }

    /// The partition of `__consumer_offsets` that a group falls into.
    pub fn partition_of(&self, group: &str) -> Option<i32> {
        self.shared.partition_of(group)
    }
}

/// The topics that a group's members read; `None` if one does not say.
pub fn subscribed(group: &super::Group) -> Option<BTreeSet<Arc<str>>> {
    let protocol = group.protocol()?;
    let mut topics = BTreeSet::new();
    for member in group.members() {
        topics.extend(subscription::topics(&member.metadata(protocol))?);
    }
    Some(topics)
}

pub(super) fn tombstone(group: &Arc<str>, (topic, partition): &TopicPartition) -> Record {
    let key = Key::Offset { group: group.clone(), topic: topic.clone(), partition: *partition };
    (key, None)
}

impl Shared {
    pub(super) fn now(&self) -> Now {
        let steady_ms = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        Now { steady_ms, wall_ms: calendar::now_ms() }
    }

    fn partition_of(&self, group: &str) -> Option<i32> {
        let image = self.images.load();
        let topic = image.topic(Kind::Group.topic())?;
        Some(coordinators::partition_of(group, topic.assignment.len()))
    }

    /// The partition of a group, if this broker leads it.
    fn led(&self, group: &str, naming: Naming) -> Result<Arc<Led>, ResponseError> {
        if group.is_empty() && naming == Naming::NotEmpty {
            return Err(ResponseError::InvalidGroupId);
        }
        let partition = self.partition_of(group).ok_or(ResponseError::NotCoordinator)?;
        self.led.read().get(&partition).cloned().ok_or(ResponseError::NotCoordinator)
    }

    pub(super) fn append<'a>(
        &'a self,
        led: &'a Led,
    ) -> impl FnMut(&[Record]) -> Result<i64, ResponseError> + 'a {
        move |records| self.write(led, records, None)
    }

    /// Writes records in one batch.
    fn write(
        &self,
        led: &Led,
        records: &[Record],
        producer: Option<(i64, i16)>,
    ) -> Result<i64, ResponseError> {
        let LedPartition { log, leader_epoch, .. } = self
            .partitions
            .led(Kind::Group.topic(), led.number, led.leader_epoch)
            .map_err(|_| ResponseError::NotCoordinator)?;
        let encoded: Vec<(Bytes, Option<Bytes>)> =
            records.iter().map(|(key, value)| (key.encode(), value.clone())).collect();
        let now_ms = calendar::now_ms();
        let batch = Bytes::from(record_batch::plain_batch(&encoded, now_ms, producer));
        let options = AppendOptions {
            produce_version: limits::INTERNAL_PRODUCE_VERSION,
            now_ms,
            leader_epoch,
        };
        let refused = |error: LogError| {
            tracing::debug!(partition = led.number, %error, "groups can't be written");
            match error {
                LogError::Storage { .. } | LogError::Deleted => ResponseError::NotCoordinator,
                _ => ResponseError::UnknownServerError,
            }
        };
        let info = log.append(&batch, &options).map_err(refused)?;
        if info.flush_due {
            log.flush().map_err(refused)?;
        }
        Ok(info.base_offset)
    }

    /// Writes records in as many batches as it takes.
    pub(super) fn write_many(&self, led: &Led, records: &[Record]) -> Result<(), ResponseError> {
        for records in records.chunks(limits::GROUP_RECORDS_IN_BATCH) {
            self.write(led, records, None)?;
        }
        Ok(())
    }
}
