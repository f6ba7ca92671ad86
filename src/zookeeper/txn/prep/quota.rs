//! Quotas as prep sees them: which of their znodes may be written, and what the hard ones forbid.

use hashbrown::HashMap;

use crate::zookeeper::path;
use crate::zookeeper::proto::ErrorCode;
use crate::zookeeper::quota::{LIMITS, QUOTAS, STATS, StatsTrack};
use crate::zookeeper::tree::DataTree;

/// Whether a node at `path` may have this data. ZooKeeper parses a quota's znodes while it replays its
/// log, and can't start on one that it can't parse (`StatsTrack`, `DataTree.createNode`).
pub(super) fn is_acceptable(path: &str, data: Option<&[u8]>) -> bool {
    if !path.starts_with("/zookeeper/") {
        return true;
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    if !matches!(name, LIMITS | STATS) {
        return true;
    }
    path::parent(path)
        .and_then(|parent| parent.strip_prefix(QUOTAS))
        .is_some_and(|subject| subject.starts_with('/'))
        && data.is_some_and(|data| StatsTrack::parse(data).is_some())
}

/// What a batch adds to quotas before it is applied: nodes and bytes by the path that has the quota.
#[derive(Debug, Clone, Default)]
pub(super) struct Charges {
    by_quota: HashMap<Box<str>, (i64, i64)>,
}

impl Charges {
    /// Counts a change against its quota, whether it is allowed or not.
    pub(super) fn add(&mut self, tree: &DataTree, path: &str, count: i64, bytes: i64) {
        if let Some(subject) = tree.quota_above(path) {
            let (counted, charged) = self.by_quota.entry_ref(subject).or_default();
            *counted += count;
            *charged += bytes;
        }
    }

    /// Checks a change of so many nodes and bytes (`ZooKeeperServer.checkQuota`); what only a soft
    /// limit has against it is said in `warning`.
    pub(super) fn check(
        &self,
        tree: &DataTree,
        path: &str,
        count: i64,
        bytes: i64,
        warning: &mut Option<String>,
    ) -> Result<(), ErrorCode> {
        let Some(subject) = tree.quota_above(path) else { return Ok(()) };
        let Some((limits, stats)) = tree.quota(subject) else { return Ok(()) };
        let (counted, charged) = self.by_quota.get(subject).copied().unwrap_or_default();
        for (what, difference, now, soft, hard) in [
            ("nodes", count, stats.count() + counted, limits.count(), limits.count_hard_limit()),
            ("bytes", bytes, stats.bytes() + charged, limits.bytes(), limits.byte_hard_limit()),
        ] {
            let limit = if hard > -1 { hard } else { soft };
            if difference == 0 || limit == -1 || now + difference <= limit {
                continue;
            }
            if hard > -1 {
                return Err(ErrorCode::QuotaExceeded);
            }
            *warning = Some(format!("{subject}: {} {what} of {soft}", now + difference));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_nodes_hold_what_zookeeper_parses() {
        let limits = "/zookeeper/quota/a/zookeeper_limits";
        assert!(is_acceptable(limits, Some(b"count=1,bytes=5=;byteHardLimit=7;countHardLimit=9")));
        assert!(is_acceptable(limits, Some(b"")));
        assert!(!is_acceptable(limits, Some(b"count=x")));
        assert!(!is_acceptable(limits, None));
        assert!(is_acceptable("/zookeeper/quota/a", Some(b"x")));
        assert!(is_acceptable("/a/zookeeper_limits", Some(b"x")));
    }

    #[test]
    fn quota_nodes_stand_only_where_zookeeper_expects_them() {
        for path in [
            "/zookeeper/zookeeper_limits",
            "/zookeeper/x/zookeeper_limits",
            "/zookeeper/quotas/zookeeper_limits",
            "/zookeeper/quota/zookeeper_limits",
            "/zookeeper/quota/zookeeper_stats",
        ] {
            assert!(!is_acceptable(path, Some(b"count=1,bytes=1")), "{path}");
        }
    }
}
