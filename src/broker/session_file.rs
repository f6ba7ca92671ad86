//! The ids of this broker's own sessions, kept in its data folder.
//!
//! After a `kill -9` the old registration is still there until its session expires. Its owner's id
//! in this file proves that it is this broker's own, so that it can be replaced at once.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable_file;

/// More sessions than these never wait for their end at the same time: each start and each expiry
/// adds one, and a registration that was made drops all others.
const SESSIONS_MAX: usize = 16;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    /// In ZooKeeper's own notation, such as `0x100002a8f3b0001`.
    sessions: Vec<String>,
}

/// The file `doorkeeper.session`.
#[derive(Debug)]
pub(super) struct SessionFile {
    path: PathBuf,
    sessions: Vec<i64>,
}

impl SessionFile {
    /// Reads the file in this directory. One that is missing or makes no sense has no sessions:
    /// then an old registration is waited for like anybody's.
    pub(super) fn open(directory: &Path) -> SessionFile {
        let path = directory.join("doorkeeper.session");
        let content: Content = std::fs::read(&path)
            .ok()
            .and_then(|data| serde_json::from_slice(&data).ok())
            .unwrap_or_default();
        let parse = |text: &String| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
        let sessions = content.sessions.iter().filter_map(parse).map(u64::cast_signed);
        SessionFile { path, sessions: sessions.collect() }
    }

    /// Whether a session is or was this broker's own.
    pub(super) fn contains(&self, session: i64) -> bool {
        self.sessions.contains(&session)
    }

    /// Adds a session, before anything is registered with it. Blocking.
    ///
    /// # Errors
    /// The file can't be written.
    pub(super) fn add(&mut self, session: i64) -> io::Result<()> {
        if self.contains(session) {
            return Ok(());
        }
        self.sessions.push(session);
        let surplus = self.sessions.len().saturating_sub(SESSIONS_MAX);
        self.sessions.drain(..surplus);
        self.write()
    }

    /// Forgets all sessions but this one, once nothing of theirs is left. Blocking.
    ///
    /// # Errors
    /// The file can't be written.
    pub(super) fn keep_only(&mut self, session: i64) -> io::Result<()> {
        if self.sessions == [session] {
            return Ok(());
        }
        self.sessions = vec![session];
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let sessions = self.sessions.iter().map(|session| format!("{session:#x}")).collect();
        durable_file::write(&self.path, &serde_json::to_vec(&Content { sessions })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_found_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = SessionFile::open(folder.path());
        assert!(!file.contains(0));
        file.add(0x0100_0000_0000_0001).unwrap();
        file.add(-7).unwrap();
        let mut file = SessionFile::open(folder.path());
        assert!(file.contains(0x0100_0000_0000_0001) && file.contains(-7));
        file.keep_only(-7).unwrap();
        let file = SessionFile::open(folder.path());
        assert!(!file.contains(0x0100_0000_0000_0001) && file.contains(-7));
    }

    #[test]
    fn the_oldest_of_too_many_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = SessionFile::open(folder.path());
        (0..20).for_each(|session| file.add(session).unwrap());
        assert!(!file.contains(3) && file.contains(4) && file.contains(19));
    }

    #[test]
    fn nonsense_has_no_sessions() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("doorkeeper.session"), b"{\"sessions\":[\"x\"").unwrap();
        assert!(!SessionFile::open(folder.path()).contains(0));
    }
}
