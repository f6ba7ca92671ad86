//! The digest of the tree: a sum over its nodes, the same on every server that has the same nodes
//! (version 2 of ZooKeeper's `DigestCalculator`).

use crate::zookeeper::stat::StatPersisted;

/// What a node adds to the tree's digest: the CRC-32 of path, data and stat. Nodes below `/zookeeper/`
/// add nothing. The tree's digest is the wrapping sum; `path` of the root may be `/` or empty.
pub fn node_digest(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u64 {
    u64::from(checksum(path, data, stat))
}

pub(super) fn checksum(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u32 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let mut fields = [0; 60];
    let mut rest = &mut fields[..];
    let longs = [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime];
    for long in longs {
        rest = put(rest, &long.to_be_bytes());
    }
    for int in [stat.version, stat.cversion, stat.aversion] {
        rest = put(rest, &int.to_be_bytes());
    }
    put(rest, &stat.ephemeral_owner.to_be_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(if path == "/" { b"" } else { path.as_bytes() });
    crc.update(data.unwrap_or_default());
    crc.update(&fields);
    crc.finalize()
}

fn put<'a>(out: &'a mut [u8], bytes: &[u8]) -> &'a mut [u8] {
    let (head, tail) = out.split_at_mut(bytes.len());
    head.copy_from_slice(bytes);
    tail
}
