//! Quota nodes: ZooKeeper parses them while it replays its log, and can't start on one that it can't
//! parse (`StatsTrack`, `DataTree.createNode`). So such a node is never written.

use crate::zookeeper::path;

/// Below it, a quota node names the path that it is for.
const QUOTAS: &str = "/zookeeper/quota/";

/// Whether a node at `path` may have this data: anything but a quota node that ZooKeeper fails on.
pub(super) fn is_acceptable(path: &str, data: Option<&[u8]>) -> bool {
    if !path.starts_with("/zookeeper/") {
        return true;
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    if !matches!(name, "zookeeper_limits" | "zookeeper_stats") {
        return true;
    }
    path::parent(path).is_some_and(|parent| parent.starts_with(QUOTAS))
        && data.and_then(|data| std::str::from_utf8(data).ok()).is_some_and(parses)
}

/// Whether `StatsTrack` reads it: pairs of a key and a number between commas and semicolons.
fn parses(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    // Java's split drops what is empty at the end, but not at the start.
    let text = text.trim_end_matches([',', ';']);
    !text.is_empty()
        && !text.starts_with([',', ';'])
        && text.split([',', ';']).filter(|pair| !pair.is_empty()).all(|pair| {
            let mut parts = pair.trim_end_matches('=').split('=');
            let _key = parts.next();
            parts.next().is_some_and(|value| value.is_empty() || value.parse::<i64>().is_ok())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_nodes_hold_what_zookeeper_parses() {
        let limits = "/zookeeper/quota/a/zookeeper_limits";
        for (data, expected) in [
            ("count=1,bytes=-1", true),
            ("count=1,bytes=5=;byteHardLimit=7;countHardLimit=9", true),
            ("", true),
            ("count=1,", true),
            ("count==1", true),
            (",count=1", false),
            ("count=", false),
            ("count", false),
            ("count=x", false),
            ("count=1,bytes=99999999999999999999", false),
        ] {
            assert_eq!(is_acceptable(limits, Some(data.as_bytes())), expected, "{data}");
        }
        assert!(!is_acceptable(limits, None));
        assert!(!is_acceptable(limits, Some(&[0xff])));
        assert!(is_acceptable("/zookeeper/quota/a", Some(b"x")));
        assert!(is_acceptable("/a/zookeeper_limits", Some(b"x")));
    }

    #[test]
    fn quota_nodes_stand_only_where_zookeeper_expects_them() {
        for path in [
            "/zookeeper/zookeeper_limits",
            "/zookeeper/x/zookeeper_limits",
            "/zookeeper/quota/zookeeper_limits",
            "/zookeeper/quota/zookeeper_stats",
        ] {
            assert!(!is_acceptable(path, Some(b"count=1,bytes=1")), "{path}");
        }
    }
}
