//! Quotas: where their znodes are and what is in them (`Quotas`, `StatsTrack`). Pure.
//!
//! The quota of `/a` has two znodes below `/zookeeper/quota/a`: the limits, which a client writes, and
//! the stats, which the server keeps.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Below it, a quota node names the path that it is for.
pub const QUOTAS: &str = "/zookeeper/quota";

/// The name of the node with a quota's limits.
pub const LIMITS: &str = "zookeeper_limits";

/// The name of the node with what is counted against them.
pub const STATS: &str = "zookeeper_stats";

/// Where the limits of `path` are.
pub fn limits_path(path: &str) -> String {
    format!("{QUOTAS}{path}/{LIMITS}")
}

/// Where the stats of `path` are.
pub fn stats_path(path: &str) -> String {
    format!("{QUOTAS}{path}/{STATS}")
}

/// The path that a quota's znode is for, and the znode's name, if `path` is one below a path of its
/// own: `/zookeeper/quota/a/zookeeper_limits` is for `/a`.
pub fn subject(path: &str) -> Option<(&str, &str)> {
    let (parent, name) = path.strip_prefix(QUOTAS)?.rsplit_once('/')?;
    (matches!(name, LIMITS | STATS) && parent.starts_with('/')).then_some((parent, name))
}

/// The numbers in a quota's znode, by name; one that is missing is -1, which is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsTrack {
    values: BTreeMap<String, i64>,
}

impl StatsTrack {
    /// Reads pairs of a name and a number between commas and semicolons; `None` for what ZooKeeper
    /// can't read either, and then doesn't start on.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(data).ok()?;
        let mut track = StatsTrack::default();
        if text.is_empty() {
            return Some(track);
        }
        // Java's split drops what is empty at the end, but not at the start.
        let text = text.trim_end_matches([',', ';']);
        if text.is_empty() || text.starts_with([',', ';']) {
            return None;
        }
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.trim_end_matches('=').split('=');
            let key = parts.next()?;
            let value = match parts.next()? {
                "" => -1,
                value => value.parse().ok()?,
            };
            track.values.insert(key.to_owned(), value);
        }
        Some(track)
    }

    /// What is counted of a subtree.
    pub fn of(count: i64, bytes: i64) -> Self {
        let mut track = StatsTrack::default();
        track.set(COUNT, count);
        track.set(BYTES, bytes);
        track
    }

    /// Nodes: counted, or allowed before a warning.
    pub fn count(&self) -> i64 {
        self.value(COUNT)
    }

    /// Bytes of data: counted, or allowed before a warning.
    pub fn bytes(&self) -> i64 {
        self.value(BYTES)
    }

    /// Nodes allowed at all.
    pub fn count_hard_limit(&self) -> i64 {
        self.value("countHardLimit")
    }

    /// Bytes of data allowed at all.
    pub fn byte_hard_limit(&self) -> i64 {
        self.value("byteHardLimit")
    }

    /// The same with so many nodes and bytes more.
    #[must_use]
    pub fn plus(mut self, count: i64, bytes: i64) -> Self {
        self.set(COUNT, self.count().saturating_add(count));
        self.set(BYTES, self.bytes().saturating_add(bytes));
        self
    }

    fn value(&self, name: &str) -> i64 {
        self.values.get(name).copied().unwrap_or(-1)
    }

    fn set(&mut self, name: &str, value: i64) {
        self.values.insert(name.to_owned(), value);
    }
}

const COUNT: &str = "count";
const BYTES: &str = "bytes";

impl std::fmt::Display for StatsTrack {
    /// `count=4,bytes=5`, and `=;byteHardLimit=6;…` if there is more: the lone `=` keeps what follows
    /// from readers of ZooKeeper 3.4.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{COUNT}={},{BYTES}={}", self.count(), self.bytes())?;
        let more = self.values.iter().filter(|(name, _)| *name != COUNT && *name != BYTES);
        for (place, (name, value)) in more.enumerate() {
            if place == 0 {
                f.write_char('=')?;
            }
            write!(f, ";{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_stats_track_reads_them() {
        for (text, expected) in [
            ("count=1,bytes=-1", Some((1, -1, -1, -1))),
            ("count=1,bytes=5=;byteHardLimit=7;countHardLimit=9", Some((1, 5, 9, 7))),
            ("", Some((-1, -1, -1, -1))),
            ("count=1,", Some((1, -1, -1, -1))),
            ("count==1", Some((-1, -1, -1, -1))),
            ("count=+3", Some((3, -1, -1, -1))),
            (",count=1", None),
            ("count=", None),
            ("count", None),
            ("count=x", None),
            ("count=1,bytes=99999999999999999999", None),
        ] {
            let found = StatsTrack::parse(text.as_bytes()).map(|track| {
                (track.count(), track.bytes(), track.count_hard_limit(), track.byte_hard_limit())
            });
            assert_eq!(found, expected, "{text:?}");
        }
        assert_eq!(StatsTrack::parse(&[0xff]), None);
    }

    #[test]
    fn numbers_are_written_as_stats_track_writes_them() {
        for (text, written) in [
            ("bytes=2,count=1", "count=1,bytes=2"),
            ("", "count=-1,bytes=-1"),
            (
                "countHardLimit=9;byteHardLimit=7,count=1",
                "count=1,bytes=-1=;byteHardLimit=7;countHardLimit=9",
            ),
        ] {
            assert_eq!(StatsTrack::parse(text.as_bytes()).unwrap().to_string(), written);
        }
        assert_eq!(StatsTrack::of(3, 40).plus(-1, 2).to_string(), "count=2,bytes=42");
    }

    #[test]
    fn a_quota_s_znodes_name_the_path_that_they_are_for() {
        assert_eq!(limits_path("/a/b"), "/zookeeper/quota/a/b/zookeeper_limits");
        assert_eq!(subject(&limits_path("/a/b")), Some(("/a/b", LIMITS)));
        assert_eq!(subject(&stats_path("/a")), Some(("/a", STATS)));
        for other in [
            "/zookeeper/quota/a",
            "/zookeeper/quota/zookeeper_limits",
            "/zookeeper/quotas/zookeeper_limits",
            "/a/zookeeper_limits",
            "/zookeeper/quota/a/zookeeper_limits/b",
        ] {
            assert_eq!(subject(other), None, "{other}");
        }
    }
}
