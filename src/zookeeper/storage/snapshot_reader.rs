//! A snapshot, read: ZooKeeper's `FileSnap`, plain or packed, of versions 3.4 to 3.9.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};

use super::adler32::Adler32;
use super::directory::DataFile;
use super::packing;
use crate::zookeeper::acl::{Acl, AclList};
use crate::zookeeper::database::Database;
use crate::zookeeper::jute::Reader;
use crate::zookeeper::stat::StatPersisted;
use crate::zookeeper::tree::{LoadError, TreeLoader};

pub(super) const MAGIC: [u8; 4] = *b"ZKSN";

/// The path that ends the nodes, and follows each checksum.
pub(super) const END: &str = "/";

/// Bytes of a checksum and the path that follows it.
const SEAL_LEN: usize = 13;

/// Bytes of the digest's block, and of the last zxid's, each without its seal.
const DIGEST_BLOCK_LEN: usize = 20;
const ZXID_BLOCK_LEN: usize = 8;

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It cannot be read, or ends early.
    #[error("at byte {offset}: {source}")]
    Io {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// It holds what no snapshot does.
    #[error("at byte {offset}: {what}")]
    Invalid {
        /// Where.
        offset: u64,
        /// What.
        what: String,
    },
    /// Its nodes make no tree.
    #[error(transparent)]
    Tree(#[from] LoadError),
}

/// What a snapshot holds.
#[derive(Debug)]
pub struct Loaded {
    /// Tree and sessions.
    pub database: Database,
    /// The digest of the tree at a zxid.
    pub digest: Option<SnapshotDigest>,
    /// Keys of ACLs that nodes name and the table lacks.
    pub lost_acls: BTreeSet<i64>,
    /// The zxid that it names itself, as those of 3.9 do.
    pub last_zxid: Option<i64>,
}

/// The digest of the tree as of a zxid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotDigest {
    /// The zxid. Above the snapshot's own if ZooKeeper wrote it while it worked.
    pub zxid: i64,
    /// The algorithm.
    pub version: i32,
    /// The digest.
    pub digest: i64,
}

pub(crate) fn load(file: &DataFile, digest_enabled: bool) -> Result<Loaded, SnapshotError> {
    let open = |source| SnapshotError::Io { offset: 0, source };
    let source = File::open(&file.path).and_then(|source| packing::unpacked(source, file.packing));
    read_snapshot(source.map_err(open)?, file.zxid, digest_enabled)
}

/// Reads the snapshot of `zxid`.
pub fn read_snapshot(
    source: impl Read,
    zxid: i64,
    digest_enabled: bool,
) -> Result<Loaded, SnapshotError> {
    let mut input = Input::new(source);
    if input.take(4)? != MAGIC {
        return Err(input.invalid("this is no snapshot"));
    }
    input.take(12)?;

    let mut sessions = std::collections::HashMap::new();
    for _ in 0..input.int()?.max(0) {
        let session = input.long()?;
        sessions.insert(session, input.int()?);
    }

    let mut loader = TreeLoader::new(digest_enabled);
    for _ in 0..input.int()?.max(0) {
        let key = input.long()?;
        let mut list = Vec::new();
        for _ in 0..input.int()?.max(0) {
            let perms = input.int()?;
            let scheme = input.text()?.into_boxed_str();
            list.push(Acl { perms, scheme, id: input.text()?.into_boxed_str() });
        }
        loader.add_acl(key, &AclList::from(list));
    }

    let mut path = String::new();
    loop {
        input.text_into(&mut path)?;
        if path == END {
            break;
        }
        // Data, the ACL's key and the stat, in one piece: nothing is copied but into the tree.
        let data_len = usize::try_from(input.int()?).ok();
        let tail_len = 8 + StatPersisted::ENCODED;
        let bytes = input.take(data_len.unwrap_or(0) + tail_len)?;
        let (data, tail) = bytes.split_at(data_len.unwrap_or(0));
        let mut tail = Reader::new(tail);
        let (Ok(acl), Ok(stat)) = (tail.long(), StatPersisted::read(&mut tail)) else {
            return Err(input.invalid("no stat"));
        };
        loader.add_node(&path, data_len.map(|_| data), acl, &stat)?;
    }
    input.check_seal()?;

    let (digest, last_zxid) = read_blocks(&mut input)?;
    let (tree, lost_acls) = loader.finish(zxid)?;
    Ok(Loaded { database: Database { tree, sessions }, digest, lost_acls, last_zxid })
}

/// What versions since 3.6 add behind the first seal: digest, last zxid, both or none, each sealed.
/// Only the length says which.
fn read_blocks<R: Read>(
    input: &mut Input<R>,
) -> Result<(Option<SnapshotDigest>, Option<i64>), SnapshotError> {
    const DIGEST: usize = DIGEST_BLOCK_LEN + SEAL_LEN;
    const ZXID: usize = ZXID_BLOCK_LEN + SEAL_LEN;
    let rest = input.rest_len(DIGEST + ZXID + 1)?;
    let digest = if matches!(rest, DIGEST) || rest == DIGEST + ZXID {
        let zxid = input.long()?;
        let version = input.int()?;
        let digest = input.long()?;
        input.check_seal()?;
        Some(SnapshotDigest { zxid, version, digest })
    } else if rest == 0 || rest == ZXID {
        None
    } else {
        return Err(input.invalid("the end is cut off, or something follows it"));
    };
    let mut last_zxid = None;
    if rest >= ZXID && rest != DIGEST {
        // The name is what counts: the zxid here is for copies without one.
        last_zxid = Some(input.long()?);
        input.check_seal()?;
    }
    Ok((digest, last_zxid))
}

/// A buffered source that sums what was taken from it.
struct Input<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    summed: usize,
    adler: Adler32,
    /// Bytes before the buffer.
    before: u64,
}

const BUFFER: usize = 256 << 10;

impl<R: Read> Input<R> {
    fn new(source: R) -> Self {
        Input {
            source,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            summed: 0,
            adler: Adler32::new(),
            before: 0,
        }
    }

    fn offset(&self) -> u64 {
        self.before + self.start as u64
    }

    fn invalid(&self, what: &str) -> SnapshotError {
        SnapshotError::Invalid { offset: self.offset(), what: what.to_owned() }
    }

    fn sum(&mut self) {
        self.adler.update(&self.buffer[self.summed..self.start]);
        self.summed = self.start;
    }

    /// Has at least `count` bytes in the buffer, or all that there are. The buffer grows with what
    /// comes, not with what a length promises.
    fn fill(&mut self, count: usize) -> Result<(), SnapshotError> {
        if self.end - self.start >= count {
            return Ok(());
        }
        self.sum();
        self.buffer.copy_within(self.start..self.end, 0);
        self.before += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        self.summed = 0;
        while self.end < count {
            if self.end == self.buffer.len() {
                self.buffer.resize(self.end + BUFFER, 0);
            }
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(()),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(SnapshotError::Io { offset: self.offset(), source }),
            }
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&[u8], SnapshotError> {
        self.fill(count)?;
        if self.end - self.start < count {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(SnapshotError::Io { offset: self.offset(), source });
        }
        let start = self.start;
        self.start += count;
        Ok(&self.buffer[start..self.start])
    }

    /// How many bytes are left, at most `max`.
    fn rest_len(&mut self, max: usize) -> Result<usize, SnapshotError> {
        self.fill(max)?;
        Ok((self.end - self.start).min(max))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn int(&mut self) -> Result<i32, SnapshotError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn long(&mut self) -> Result<i64, SnapshotError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A string into `text`, as Java decodes it; null is the empty string.
    fn text_into(&mut self, text: &mut String) -> Result<(), SnapshotError> {
        text.clear();
        let length = usize::try_from(self.int()?).unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(self.take(length)?));
        Ok(())
    }

    fn text(&mut self) -> Result<String, SnapshotError> {
        let mut text = String::new();
        self.text_into(&mut text)?;
        Ok(text)
    }

    /// A checksum of all before it, and a path.
    fn check_seal(&mut self) -> Result<(), SnapshotError> {
        self.sum();
        let expected = u64::from(self.adler.value());
        if self.long()?.cast_unsigned() != expected {
            return Err(self.invalid("the checksum is wrong"));
        }
        self.text()?;
        Ok(())
    }
}
