//! Transactions as the log keeps them: header, body and digest in ZooKeeper's own encoding
//! (`SerializeUtils`, the module `txn` of `zookeeper.jute`).

use bytes::Bytes;

use crate::zookeeper::acl::{self, AclList, open_acl_unsafe};
use crate::zookeeper::jute::{JuteError, Reader, Writer};

/// The version of the digest algorithm that ZooKeeper 3.6 to 3.9 use.
pub const DIGEST_VERSION: i32 = 2;

/// The longest transaction, in bytes, that ZooKeeper reads back with its default limits
/// (`jute.maxbuffer` twice: `zookeeper.jute.maxbuffer.extrasize` defaults to it).
pub const RECORD_MAX: usize = 2 * 0xf_ffff;

/// Bytes of a [`TxnHeader`].
pub const HEADER_LEN: usize = 32;

/// Bytes of a [`TxnDigest`].
pub const DIGEST_LEN: usize = 12;

/// The numbers that name a transaction's type in the log (`ZooDefs.OpCode`).
pub mod kind {
    #![allow(missing_docs, reason = "the names are ZooKeeper's, and say it all")]
    pub const ERROR: i32 = -1;
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const SET_DATA: i32 = 5;
    pub const SET_ACL: i32 = 7;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const RECONFIG: i32 = 16;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const DELETE_CONTAINER: i32 = 20;
    pub const CREATE_TTL: i32 = 21;
    pub const CREATE_SESSION: i32 = -10;
    pub const CLOSE_SESSION: i32 = -11;
}

/// Why bytes are not a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxnError {
    /// The bytes end early, or hold what a transaction cannot.
    #[error("transaction of type {kind}: {error}")]
    Malformed {
        /// The type that the header names.
        kind: i32,
        /// What is wrong.
        error: JuteError,
    },
    /// The header itself cannot be read.
    #[error("transaction header: {0}")]
    Header(JuteError),
    /// A type that nobody knows, or one that cannot stand inside a multi.
    #[error("unknown transaction type {0}")]
    UnknownKind(i32),
}

/// Whose transaction it is and when. The type stands in [`Txn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnHeader {
    /// The session that asked for it.
    pub client_id: i64,
    /// The xid of its request.
    pub cxid: i32,
    /// The transaction's number: epoch in the upper half, counter in the lower.
    pub zxid: i64,
    /// Wall clock, in milliseconds since the epoch.
    pub time: i64,
}

/// The digest of the whole tree after a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnDigest {
    /// The algorithm: [`DIGEST_VERSION`].
    pub version: i32,
    /// The sum over all nodes.
    pub tree_digest: i64,
}

/// What a create does, whatever its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTxn {
    /// The node's path, its sequence number appended.
    pub path: String,
    /// Its data; `None` is null, which is not the same as empty.
    pub data: Option<Bytes>,
    /// Who may do what with it.
    pub acl: AclList,
    /// The parent's stored cversion afterwards; -1 (only in old logs) counts up.
    pub parent_cversion: i32,
}

/// A transaction: absolute effects, already checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Txn {
    /// A node is created, owned by the header's session if `ephemeral`.
    Create {
        /// Path, data and ACL.
        create: CreateTxn,
        /// Whether the session owns it.
        ephemeral: bool,
        /// Whether the client asked with `create2`: the log keeps the difference.
        with_stat: bool,
    },
    /// A container node is created.
    CreateContainer(CreateTxn),
    /// A node with a time to live is created.
    CreateTtl {
        /// Path, data and ACL.
        create: CreateTxn,
        /// Milliseconds, more than 0 and at most [`crate::zookeeper::stat::TTL_MAX`].
        ttl: i64,
    },
    /// A node is deleted.
    Delete {
        /// Its path.
        path: String,
    },
    /// A container or TTL node is deleted by the server.
    DeleteContainer {
        /// Its path.
        path: String,
    },
    /// A node's data is set.
    SetData {
        /// Its path.
        path: String,
        /// The data; `None` is null.
        data: Option<Bytes>,
        /// Its version afterwards.
        version: i32,
    },
    /// The ensemble's configuration is set: as [`Txn::SetData`] on `/zookeeper/config`.
    Reconfig {
        /// `/zookeeper/config`.
        path: String,
        /// The configuration.
        data: Option<Bytes>,
        /// The node's version afterwards.
        version: i32,
    },
    /// A node's ACL is set.
    SetAcl {
        /// Its path.
        path: String,
        /// The ACL.
        acl: AclList,
        /// Its aversion afterwards.
        version: i32,
    },
    /// The header's session begins.
    CreateSession {
        /// Its timeout in milliseconds.
        timeout: i32,
    },
    /// The header's session ends, and its ephemerals with it.
    CloseSession {
        /// The ephemerals; `None`, as old logs have it, means those that the tree knows.
        paths: Option<Vec<String>>,
    },
    /// A version was checked inside a multi: nothing changes.
    Check {
        /// The node checked.
        path: String,
        /// The version it had to have.
        version: i32,
    },
    /// Several at once; if one of them is [`Txn::Error`], nothing changes.
    Multi(Vec<Txn>),
    /// A request that failed: it only takes a zxid.
    Error {
        /// ZooKeeper's error code.
        error: i32,
    },
}

impl Txn {
    /// The type's number in the log.
    pub fn kind(&self) -> i32 {
        match self {
            Txn::Create { with_stat: false, .. } => kind::CREATE,
            Txn::Create { with_stat: true, .. } => kind::CREATE2,
            Txn::CreateContainer(_) => kind::CREATE_CONTAINER,
            Txn::CreateTtl { .. } => kind::CREATE_TTL,
            Txn::Delete { .. } => kind::DELETE,
            Txn::DeleteContainer { .. } => kind::DELETE_CONTAINER,
            Txn::SetData { .. } => kind::SET_DATA,
            Txn::Reconfig { .. } => kind::RECONFIG,
            Txn::SetAcl { .. } => kind::SET_ACL,
            Txn::CreateSession { .. } => kind::CREATE_SESSION,
            Txn::CloseSession { .. } => kind::CLOSE_SESSION,
            Txn::Check { .. } => kind::CHECK,
            Txn::Multi(_) => kind::MULTI,
            Txn::Error { .. } => kind::ERROR,
        }
    }

    /// How many bytes the body takes.
    pub fn encoded_len(&self) -> usize {
        let create_len = |create: &CreateTxn| {
            4 + create.path.len() + data_len(create.data.as_ref()) + acl_len(&create.acl) + 4
        };
        match self {
            Txn::Create { create, .. } => create_len(create) + 1,
            Txn::CreateContainer(create) => create_len(create),
            Txn::CreateTtl { create, .. } => create_len(create) + 8,
            Txn::Delete { path } | Txn::DeleteContainer { path } => 4 + path.len(),
            Txn::SetData { path, data, .. } | Txn::Reconfig { path, data, .. } => {
                4 + path.len() + data_len(data.as_ref()) + 4
            }
            Txn::SetAcl { path, acl, .. } => 4 + path.len() + acl_len(acl) + 4,
            Txn::CreateSession { .. } | Txn::Error { .. } => 4,
            Txn::CloseSession { paths: None } => 0,
            Txn::CloseSession { paths: Some(paths) } => {
                4 + paths.iter().map(|path| 4 + path.len()).sum::<usize>()
            }
            Txn::Check { path, .. } => 4 + path.len() + 4,
            Txn::Multi(txns) => 4 + txns.iter().map(|txn| 8 + txn.encoded_len()).sum::<usize>(),
        }
    }

    /// Whether ZooKeeper can read the transaction back. A [`Txn::CloseSession`] always fits: it is
    /// written without its paths when they are too many.
    pub fn fits(&self) -> bool {
        matches!(self, Txn::CloseSession { .. })
            || HEADER_LEN + self.encoded_len() + DIGEST_LEN <= RECORD_MAX
    }

    /// Writes the body.
    pub fn write_body(&self, out: &mut impl Writer) {
        match self {
            Txn::Create { create, ephemeral, .. } => {
                write_create(create, out);
                out.write_bool(*ephemeral);
                out.write_int(create.parent_cversion);
            }
            Txn::CreateContainer(create) => {
                write_create(create, out);
                out.write_int(create.parent_cversion);
            }
            Txn::CreateTtl { create, ttl } => {
                write_create(create, out);
                out.write_int(create.parent_cversion);
                out.write_long(*ttl);
            }
            Txn::Delete { path } | Txn::DeleteContainer { path } => out.write_string(path),
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                out.write_string(path);
                out.write_buffer(data.as_deref());
                out.write_int(*version);
            }
            Txn::SetAcl { path, acl, version } => {
                out.write_string(path);
                acl::write_list(acl, out);
                out.write_int(*version);
            }
            Txn::CreateSession { timeout } => out.write_int(*timeout),
            Txn::CloseSession { paths: None } => {}
            Txn::CloseSession { paths: Some(paths) } => {
                out.write_count(paths.len());
                for path in paths {
                    out.write_string(path);
                }
            }
            Txn::Check { path, version } => {
                out.write_string(path);
                out.write_int(*version);
            }
            Txn::Multi(txns) => {
                out.write_count(txns.len());
                for txn in txns {
                    out.write_int(txn.kind());
                    out.write_count(txn.encoded_len());
                    txn.write_body(out);
                }
            }
            Txn::Error { error } => out.write_int(*error),
        }
    }

    fn read_body(kind: i32, reader: &mut Reader<'_>) -> Result<Self, BodyError> {
        Ok(match kind {
            kind::CREATE | kind::CREATE2 => {
                let with_stat = kind == kind::CREATE2;
                let mut create = read_create(reader)?;
                let ephemeral = reader.bool()?;
                match reader.int() {
                    Ok(parent_cversion) => create.parent_cversion = parent_cversion,
                    // Before 3.4 there was no such field.
                    Err(_) if !with_stat && reader.is_empty() => {}
                    Err(error) => return Err(error.into()),
                }
                Txn::Create { create, ephemeral, with_stat }
            }
            kind::CREATE_CONTAINER => {
                let mut create = read_create(reader)?;
                create.parent_cversion = reader.int()?;
                Txn::CreateContainer(create)
            }
            kind::CREATE_TTL => {
                let mut create = read_create(reader)?;
                create.parent_cversion = reader.int()?;
                Txn::CreateTtl { create, ttl: reader.long()? }
            }
            kind::DELETE => Txn::Delete { path: read_path(reader)? },
            kind::DELETE_CONTAINER => Txn::DeleteContainer { path: read_path(reader)? },
            kind::SET_DATA | kind::RECONFIG => {
                let path = read_path(reader)?;
                let data = read_data(reader)?;
                let version = reader.int()?;
                if kind == kind::SET_DATA {
                    Txn::SetData { path, data, version }
                } else {
                    Txn::Reconfig { path, data, version }
                }
            }
            kind::SET_ACL => Txn::SetAcl {
                path: read_path(reader)?,
                acl: read_acl(reader)?,
                version: reader.int()?,
            },
            kind::CREATE_SESSION => Txn::CreateSession { timeout: reader.int()? },
            kind::CLOSE_SESSION => {
                if reader.is_empty() {
                    return Ok(Txn::CloseSession { paths: None });
                }
                let count = reader.vector(4)?.unwrap_or(0);
                let paths = (0..count).map(|_| read_path(reader)).collect::<Result<_, _>>()?;
                Txn::CloseSession { paths: Some(paths) }
            }
            kind::CHECK => Txn::Check { path: read_path(reader)?, version: reader.int()? },
            kind::MULTI => {
                let count = reader.vector(8)?.unwrap_or(0);
                let mut txns = Vec::new();
                for _ in 0..count {
                    let kind = reader.int()?;
                    let body = reader.buffer()?.unwrap_or_default();
                    // ZooKeeper knows no other types here; so nothing nests, and nothing recurses
                    // deeper than once.
                    match kind {
                        kind::CREATE
                        | kind::CREATE2
                        | kind::CREATE_TTL
                        | kind::CREATE_CONTAINER
                        | kind::DELETE
                        | kind::DELETE_CONTAINER
                        | kind::SET_DATA
                        | kind::CHECK
                        | kind::ERROR => {
                            txns.push(Txn::read_body(kind, &mut Reader::new(body))?);
                        }
                        other => return Err(BodyError::UnknownKind(other)),
                    }
                }
                Txn::Multi(txns)
            }
            kind::ERROR => Txn::Error { error: reader.int()? },
            other => return Err(BodyError::UnknownKind(other)),
        })
    }
}

enum BodyError {
    Jute(JuteError),
    UnknownKind(i32),
}

impl From<JuteError> for BodyError {
    fn from(error: JuteError) -> Self {
        BodyError::Jute(error)
    }
}

/// Writes a whole log entry's payload. A closeSession without paths has no digest either, or its
/// reader would take the digest for paths; neither has one whose paths ZooKeeper could not read back.
pub fn write_entry(
    header: &TxnHeader,
    txn: &Txn,
    digest: Option<TxnDigest>,
    out: &mut impl Writer,
) {
    out.write_long(header.client_id);
    out.write_int(header.cxid);
    out.write_long(header.zxid);
    out.write_long(header.time);
    out.write_int(txn.kind());
    if let Txn::CloseSession { paths } = txn
        && (paths.is_none() || HEADER_LEN + txn.encoded_len() + DIGEST_LEN > RECORD_MAX / 2)
    {
        return;
    }
    txn.write_body(out);
    if let Some(digest) = digest {
        out.write_int(digest.version);
        out.write_long(digest.tree_digest);
    }
}

/// Reads a log entry's payload.
pub fn read_entry(bytes: &[u8]) -> Result<(TxnHeader, Txn, Option<TxnDigest>), TxnError> {
    let mut reader = Reader::new(bytes);
    let (header, kind) = read_header(&mut reader).map_err(TxnError::Header)?;
    let txn = Txn::read_body(kind, &mut reader).map_err(|error| match error {
        BodyError::Jute(error) => TxnError::Malformed { kind, error },
        BodyError::UnknownKind(kind) => TxnError::UnknownKind(kind),
    })?;
    // Anything shorter is what ZooKeeper takes for the end of an entry without a digest, too.
    let digest = if reader.remaining() >= DIGEST_LEN {
        let malformed = |error| TxnError::Malformed { kind, error };
        let version = reader.int().map_err(malformed)?;
        Some(TxnDigest { version, tree_digest: reader.long().map_err(malformed)? })
    } else {
        None
    };
    Ok((header, txn, digest))
}

/// Reads the header at the front of an entry, and its type.
pub fn read_header(reader: &mut Reader<'_>) -> Result<(TxnHeader, i32), JuteError> {
    let header = TxnHeader {
        client_id: reader.long()?,
        cxid: reader.int()?,
        zxid: reader.long()?,
        time: reader.long()?,
    };
    Ok((header, reader.int()?))
}

fn data_len(data: Option<&Bytes>) -> usize {
    4 + data.map_or(0, Bytes::len)
}

fn acl_len(acl: &AclList) -> usize {
    4 + acl.iter().map(|acl| 12 + acl.scheme.len() + acl.id.len()).sum::<usize>()
}

fn write_create(create: &CreateTxn, out: &mut impl Writer) {
    out.write_string(&create.path);
    out.write_buffer(create.data.as_deref());
    acl::write_list(&create.acl, out);
}

fn read_create(reader: &mut Reader<'_>) -> Result<CreateTxn, JuteError> {
    Ok(CreateTxn {
        path: read_path(reader)?,
        data: read_data(reader)?,
        acl: read_acl(reader)?,
        parent_cversion: -1,
    })
}

/// A path as the log has it: absolute, and never with a slash at its end but for the root.
fn read_path(reader: &mut Reader<'_>) -> Result<String, JuteError> {
    let path = reader.lossy_string("path")?;
    if path.is_empty() || (path.starts_with('/') && (path.len() == 1 || !path.ends_with('/'))) {
        Ok(path.into_owned())
    } else {
        Err(JuteError::Invalid("path"))
    }
}

fn read_data(reader: &mut Reader<'_>) -> Result<Option<Bytes>, JuteError> {
    Ok(reader.buffer()?.map(Bytes::copy_from_slice))
}

/// A null list, which no client can make, is what ZooKeeper takes it for: open to all.
fn read_acl(reader: &mut Reader<'_>) -> Result<AclList, JuteError> {
    Ok(acl::read_list(reader)?.map_or_else(open_acl_unsafe, AclList::from))
}

#[cfg(test)]
mod tests;
