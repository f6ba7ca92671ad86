//! Topics that the image lacks, read once more before a client is told that they are unknown.
//!
//! Whoever has just made a topic through a broker may ask before the watch has told of it. All that
//! are wanted at the same time are one batch: the observer takes it, catches up with the
//! coordinator, reads those topics and publishes what it found.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// Where handlers leave what they miss. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Lookups {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    wanted: Mutex<Wanted>,
    asked: Notify,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Wanted {
    batch: u64,
    /// Whether somebody waits for this batch.
    any: bool,
    topics: BTreeSet<String>,
    unlisted: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Batches below this one are done.
    done: u64,
    /// Whether the observer follows the znodes.
    open: bool,
}

/// What an observer has to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    number: u64,
    /// Topics to read, whether they are in the image or not.
    pub(super) topics: BTreeSet<String>,
    /// Whether to read every topic that the image lacks.
    pub(super) unlisted: bool,
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            wanted: Mutex::default(),
            asked: Notify::new(),
            progress: watch::Sender::new(Progress::default()),
        }
    }
}

impl Lookups {
    /// Reads these topics again, and with `unlisted` every topic that the image lacks; returns when
    /// the newest image shows what was found. False if that was not to be had within `timeout`, as
    /// while the coordinator is away.
    pub async fn look(&self, topics: &[&str], unlisted: bool, timeout: Duration) -> bool {
        let mut progress = self.shared.progress.subscribe();
        let number = {
            let mut wanted = self.shared.wanted.lock();
            if !progress.borrow().open {
                return false;
            }
            wanted.any = true;
            wanted.topics.extend(topics.iter().map(|topic| (*topic).to_owned()));
            wanted.unlisted |= unlisted;
            wanted.batch
        };
        self.shared.asked.notify_one();
        let shown = progress.wait_for(|progress| progress.done > number || !progress.open);
        match tokio::time::timeout(timeout, shown).await {
            Ok(Ok(progress)) => progress.done > number,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Waits until something is wanted.
    pub(super) async fn asked(&self) {
        self.shared.asked.notified().await;
    }

    /// What is wanted since the last time.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut wanted = self.shared.wanted.lock();
        if !wanted.any {
            return None;
        }
        let next = Wanted { batch: wanted.batch + 1, ..Wanted::default() };
        let Wanted { batch, topics, unlisted, .. } = std::mem::replace(&mut *wanted, next);
        Some(Batch { number: batch, topics, unlisted })
    }

    /// The image shows what was found.
    pub(super) fn done(&self, batch: &Batch) {
        self.shared.progress.send_modify(|progress| progress.done = batch.number + 1);
    }

    /// Whether the znodes are followed. While they are not, nobody waits.
    pub(super) fn set_open(&self, open: bool) {
        // Under the lock, so that nobody who saw it open is left in a batch that nobody takes.
        let mut wanted = self.shared.wanted.lock();
        if !open {
            *wanted = Wanted { batch: wanted.batch, ..Wanted::default() };
        }
        self.shared
            .progress
            .send_if_modified(|progress| std::mem::replace(&mut progress.open, open) != open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn what_is_wanted_at_the_same_time_is_one_batch() {
        let lookups = Lookups::default();
        assert!(!lookups.look(&["a"], false, LONG).await, "nobody follows the znodes");
        assert_eq!(lookups.take(), None);
        lookups.set_open(true);
        let ask = |name: &'static str, unlisted| {
            let lookups = lookups.clone();
            tokio::spawn(async move { lookups.look(&[name], unlisted, LONG).await })
        };
        let asked = [ask("a", false), ask("b", false), ask("a", true)];
        let mut names = BTreeSet::new();
        while names.len() < 2 {
            lookups.asked().await;
            tokio::task::yield_now().await;
            if let Some(batch) = lookups.take() {
                names.extend(batch.topics.clone());
                lookups.done(&batch);
            }
        }
        for task in asked {
            assert!(task.await.unwrap());
        }
        assert_eq!(names, ["a".to_owned(), "b".to_owned()].into());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_coordinator_that_is_away() {
        let lookups = Lookups::default();
        lookups.set_open(true);
        let waiting = lookups.clone();
        let waiting = tokio::spawn(async move { waiting.look(&["a"], false, LONG).await });
        lookups.asked().await;
        let batch = lookups.take().unwrap();
        lookups.set_open(false);
        assert!(!waiting.await.unwrap());
        // What comes late hurts nobody.
        lookups.done(&batch);
        assert!(!lookups.look(&["a"], false, LONG).await);
        assert_eq!(lookups.take(), None);
    }

    #[tokio::test]
    async fn a_batch_that_takes_too_long_is_not_waited_for() {
        let lookups = Lookups::default();
        lookups.set_open(true);
        assert!(!lookups.look(&["a"], false, Duration::from_millis(1)).await);
    }
}
