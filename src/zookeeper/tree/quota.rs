//! What the tree counts against quotas, in the quotas' own znodes (`DataTree.updateQuotaStat`): no
//! version or time of theirs changes, and no watch fires.

use super::DataTree;
use crate::zookeeper::quota::{self, LIMITS, StatsTrack};

impl DataTree {
    /// The nearest path at or above `path` that has a quota.
    pub fn quota_above<'a>(&self, path: &'a str) -> Option<&'a str> {
        self.quota_lengths.candidates(path).find(|ancestor| self.quotas.contains(*ancestor))
    }

    /// The limits of a quota, and what is counted against them; `None` if one of the two is missing.
    pub fn quota(&self, path: &str) -> Option<(StatsTrack, StatsTrack)> {
        let track = |path: &str| StatsTrack::parse(self.node(path)?.data()?);
        Some((track(&quota::limits_path(path))?, track(&quota::stats_path(path))?))
    }

    /// The paths that have a quota.
    pub fn quota_subjects(&self) -> impl Iterator<Item = &str> {
        self.quotas.iter().map(|subject| &**subject)
    }

    /// A node was created: it counts, and may be a quota's own.
    pub(super) fn quota_after_create(&mut self, path: &str, bytes: usize) {
        if let Some((subject, name)) = quota::subject(path) {
            if name == LIMITS {
                self.add_quota(subject);
            } else {
                self.quota_recount(subject);
            }
        }
        self.quota_add(path, 1, length(bytes));
    }

    /// A node was deleted.
    pub(super) fn quota_after_delete(&mut self, path: &str, bytes: usize) {
        if let Some((subject, LIMITS)) = quota::subject(path)
            && self.quotas.remove(subject)
        {
            self.quota_lengths.remove(subject);
        }
        self.quota_add(path, -1, -length(bytes));
    }

    /// A node of `path` has so many nodes and bytes more at or below it.
    pub(super) fn quota_add(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(subject) = self.quota_above(path) else { return };
        let stats = quota::stats_path(subject);
        let track = self.node(&stats).and_then(|node| StatsTrack::parse(node.data()?));
        if let Some(track) = track {
            self.set_quota_stats(&stats, &track.plus(count, bytes));
        }
    }

    /// Counts a subtree anew, as after its stats were made.
    fn quota_recount(&mut self, subject: &str) {
        let mut track = StatsTrack::of(0, 0);
        if let Some(node) = self.node(subject) {
            let (mut count, mut bytes) = (0, 0);
            node.walk(|_, node| {
                count += 1;
                bytes += node.data().map_or(0, <[u8]>::len);
            });
            track = StatsTrack::of(length(count), length(bytes));
        }
        self.set_quota_stats(&quota::stats_path(subject), &track);
    }

    /// Finds the quotas of a tree that was loaded, and counts them anew (`DataTree.setupQuota`).
    pub(super) fn set_up_quotas(&mut self) {
        let mut subjects = Vec::new();
        if let Some(quotas) = self.node(quota::QUOTAS) {
            quotas.walk(|path, node| {
                if let Some((subject, LIMITS)) = quota::subject(path)
                    && node.child_count() == 0
                {
                    subjects.push(subject.to_owned());
                }
            });
        }
        for subject in subjects {
            self.quota_recount(&subject);
            self.add_quota(&subject);
        }
    }

    fn add_quota(&mut self, subject: &str) {
        if self.quotas.insert(subject.into()) {
            self.quota_lengths.add(subject);
        }
    }

    fn set_quota_stats(&mut self, path: &str, track: &StatsTrack) {
        let Some(id) = self.find(path) else { return };
        // Below /zookeeper, nothing has a digest.
        self.replace_data(id, Some(track.to_string().as_bytes()));
    }
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
