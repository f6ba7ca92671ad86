//! The controller's writes, each in a transaction that checks `/controller_epoch`.

use zookeeper_client::{CheckWriteError, CheckWriter, Client, Error};

use super::election::Reign;
use super::plan::Action;
use crate::cluster::layout::paths;
use crate::cluster::layout::topic::TopicAssignment;
use crate::cluster::reader;
use crate::cluster::znode_acls::ZnodeAcls;
use crate::limits;

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// Another broker has become controller.
    #[error("another broker has become controller")]
    Deposed,
    /// What the write would replace has changed: the next image says what to do.
    #[error("outdated: {0}")]
    Outdated(Error),
    /// The session's or the coordinator's error.
    #[error("{0}")]
    Session(Error),
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        match error {
            Error::NodeExists | Error::NoNode | Error::BadVersion | Error::NotEmpty => {
                WriteError::Outdated(error)
            }
            error => WriteError::Session(error),
        }
    }
}

impl From<CheckWriteError> for WriteError {
    fn from(error: CheckWriteError) -> Self {
        match error {
            CheckWriteError::CheckFailed { source: Error::BadVersion | Error::NoNode } => {
                WriteError::Deposed
            }
            error => match Error::from(error) {
                // How the crate names a failed check.
                Error::RuntimeInconsistent => WriteError::Deposed,
                error => error.into(),
            },
        }
    }
}

/// Writes as the controller of one reign.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) client: &'a Client,
    pub(super) reign: Reign,
    pub(super) acls: ZnodeAcls,
}

impl Writer<'_> {
    fn transaction(&self) -> Result<CheckWriter<'_>, Error> {
        self.client.new_check_writer(paths::CONTROLLER_EPOCH, Some(self.reign.epoch_version))
    }

    /// Gives a topic an id.
    pub(super) async fn give_id(&self, topic: &str, version: i32) -> Result<(), WriteError> {
        let path = paths::topic(topic);
        let Some(znode) = reader::read(self.client, &path).await? else {
            return Err(WriteError::Outdated(Error::NoNode));
        };
        let wrong = |e| WriteError::Session(Error::UnexpectedError(format!("{path}: {e}")));
        let mut assignment = TopicAssignment::decode(&znode.data).map_err(wrong)?;
        if znode.version != version || !assignment.id.is_nil() {
            return Err(WriteError::Outdated(Error::BadVersion));
        }
        assignment.id = crate::cluster::admin::topic_id();
        let mut writer = self.transaction()?;
        writer.add_set_data(&path, &assignment.encode(), Some(version))?;
        Ok(writer.commit().await.map(|_| ())?)
    }

    /// Writes the first state of partitions, with the znodes above it.
    pub(super) async fn open(
        &self,
        topic: &str,
        partitions: &[(i32, i32, Vec<i32>)],
    ) -> Result<(), WriteError> {
        let parent = paths::partitions(topic);
        let mut found = self.exists(&parent).await?;
        for chunk in partitions.chunks(limits::MULTI_WRITE_OPERATIONS / 2) {
            let mut writer = self.transaction()?;
            if !found {
                writer.add_create(&parent, b"", &self.acls.persistent(&parent))?;
            }
            for partition in chunk {
                self.add_open(&mut writer, topic, partition, true)?;
            }
            match writer.commit().await.map_err(WriteError::from) {
                Ok(_) => {}
                Err(WriteError::Outdated(_)) => self.open_singly(topic, chunk).await?,
                Err(error) => return Err(error),
            }
            found = true;
        }
        Ok(())
    }

    fn add_open(
        &self,
        writer: &mut CheckWriter<'_>,
        topic: &str,
        (partition, leader, isr): &(i32, i32, Vec<i32>),
        with_parent: bool,
    ) -> Result<(), Error> {
        if with_parent {
            let path = paths::partition(topic, *partition);
            writer.add_create(&path, b"", &self.acls.persistent(&path))?;
        }
        let state = Action::state(*leader, 0, isr, 0, self.reign.epoch);
        let path = paths::partition_state(topic, *partition);
        writer.add_create(&path, &state, &self.acls.persistent(&path))
    }

    /// The same where some of the znodes are there already, as another tool may have left them.
    async fn open_singly(
        &self,
        topic: &str,
        partitions: &[(i32, i32, Vec<i32>)],
    ) -> Result<(), WriteError> {
        let parent = paths::partitions(topic);
        if !self.exists(&parent).await? {
            self.create(&parent).await?;
        }
        for partition in partitions {
            if self.exists(&paths::partition_state(topic, partition.0)).await? {
                continue;
            }
            let mut writer = self.transaction()?;
            let with_parent = !self.exists(&paths::partition(topic, partition.0)).await?;
            self.add_open(&mut writer, topic, partition, with_parent)?;
            writer.commit().await?;
        }
        Ok(())
    }

    async fn exists(&self, path: &str) -> Result<bool, Error> {
        Ok(self.client.check_stat(path).await?.is_some())
    }

    async fn create(&self, path: &str) -> Result<(), WriteError> {
        let mut writer = self.transaction()?;
        writer.add_create(path, b"", &self.acls.persistent(path))?;
        Ok(writer.commit().await.map(|_| ())?)
    }

    /// Writes elections, many in one transaction. An outdated one keeps no other from its place.
    pub(super) async fn elect(&self, elections: &[&Action]) -> Result<(), WriteError> {
        for chunk in elections.chunks(limits::MULTI_WRITE_OPERATIONS) {
            match self.elect_together(chunk).await {
                Err(WriteError::Outdated(_)) if chunk.len() > 1 => {
                    for election in chunk {
                        match self.elect_together(&[election]).await {
                            Ok(()) | Err(WriteError::Outdated(_)) => {}
                            Err(error) => return Err(error),
                        }
                    }
                }
                Ok(()) | Err(WriteError::Outdated(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn elect_together(&self, elections: &[&Action]) -> Result<(), WriteError> {
        let mut writer = self.transaction()?;
        for election in elections {
            if let Action::Elect {
                topic,
                partition,
                version,
                leader,
                leader_epoch,
                isr,
                leader_recovery_state,
            } = election
            {
                let state = Action::state(
                    *leader,
                    *leader_epoch,
                    isr,
                    *leader_recovery_state,
                    self.reign.epoch,
                );
                let path = paths::partition_state(topic, *partition);
                writer.add_set_data(&path, &state, Some(*version))?;
            }
        }
        Ok(writer.commit().await.map(|_| ())?)
    }

    /// Removes a topic: its partitions' states, itself, its configuration, and last the request.
    pub(super) async fn delete_topic(
        &self,
        topic: &str,
        partitions: &[i32],
        done: impl Iterator<Item = i32> + Clone,
    ) -> Result<(), WriteError> {
        let znodes: Vec<String> = partitions
            .iter()
            .flat_map(|p| [paths::partition_state(topic, *p), paths::partition(topic, *p)])
            .chain([paths::partitions(topic), paths::topic(topic), paths::topic_config(topic)])
            .chain(deletion_request(topic, done.clone()))
            .collect();
        let mut chunks = znodes.chunks(limits::MULTI_WRITE_OPERATIONS);
        let outdated = loop {
            let Some(chunk) = chunks.next() else { return Ok(()) };
            let mut writer = self.transaction()?;
            for path in chunk {
                writer.add_delete(path, None)?;
            }
            match writer.commit().await.map_err(WriteError::from) {
                Ok(_) => {}
                Err(WriteError::Outdated(_)) => break true,
                Err(error) => return Err(error),
            }
        };
        debug_assert!(outdated, "only an outdated transaction is done singly");
        // Some znode is missing, or there are more than the image knew.
        self.delete_below(&paths::topic(topic)).await?;
        self.delete(&paths::topic_config(topic)).await?;
        self.forget(topic, done).await
    }

    /// Removes the request for a topic's deletion.
    pub(super) async fn forget(
        &self,
        topic: &str,
        done: impl Iterator<Item = i32>,
    ) -> Result<(), WriteError> {
        for path in deletion_request(topic, done) {
            self.delete(&path).await?;
        }
        Ok(())
    }

    /// Removes a znode and all below it, deepest first.
    pub(super) async fn delete_below(&self, path: &str) -> Result<(), WriteError> {
        let mut found = vec![path.to_owned()];
        let mut next = 0;
        while let Some(parent) = found.get(next).cloned() {
            let children = reader::children(self.client, &parent).await?.unwrap_or_default();
            found.extend(children.iter().map(|child| format!("{parent}/{child}")));
            next += 1;
        }
        for path in found.iter().rev() {
            self.delete(path).await?;
        }
        Ok(())
    }

    /// Removes a znode if it is there.
    pub(super) async fn delete(&self, path: &str) -> Result<(), WriteError> {
        let mut writer = self.transaction()?;
        writer.add_delete(path, None)?;
        match writer.commit().await.map_err(WriteError::from) {
            Ok(_) | Err(WriteError::Outdated(Error::NoNode)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn deletion_request(topic: &str, done: impl Iterator<Item = i32>) -> impl Iterator<Item = String> {
    let acknowledged: Vec<String> =
        done.map(|broker| paths::delete_topic_done(topic, broker)).collect();
    acknowledged.into_iter().chain([paths::delete_topic(topic)])
}
