//! The bodies of requests. What changes the tree is decoded into records of its own; what only reads
//! borrows from the frame.

use std::borrow::Cow;

use bytes::Bytes;

use super::{ErrorCode, OpCode};
use crate::limits;
use crate::zookeeper::acl::{self, Acl};
use crate::zookeeper::jute::{JuteError, Reader};
use crate::zookeeper::watch::WatcherType;

/// The front of every request after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// The number that the client gave it; the reply carries it.
    pub xid: i32,
    /// The opcode's number.
    pub kind: i32,
}

impl RequestHeader {
    /// Bytes on the wire.
    pub const ENCODED: usize = 8;

    /// Reads the header.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, JuteError> {
        Ok(RequestHeader { xid: reader.int()?, kind: reader.int()? })
    }
}

/// How a node is created (`CreateMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateMode {
    /// It stays until it is deleted.
    Persistent {
        /// The parent's counter is appended to its name.
        sequential: bool,
    },
    /// It goes with its session.
    Ephemeral {
        /// The parent's counter is appended to its name.
        sequential: bool,
    },
    /// It goes some time after its last child.
    Container {
        /// The parent's counter is appended to its name.
        sequential: bool,
    },
    /// It goes when it has no children and has not been changed for so long.
    Ttl {
        /// The parent's counter is appended to its name.
        sequential: bool,
        /// Milliseconds, as the client wrote them; -1 where the request has no place for them.
        ttl: i64,
    },
}

/// Which request creates a node: it decides, with the flags, what the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CreateKind {
    /// `create`, `create2`.
    Plain,
    /// `createContainer`.
    Container,
    /// `createTTL`, with a time to live.
    Ttl(i64),
}

impl CreateMode {
    /// The mode with these flags, without a time to live (`CreateMode.fromFlag`).
    pub fn from_flags(flags: i32) -> Option<Self> {
        Some(match flags {
            0 => CreateMode::Persistent { sequential: false },
            1 => CreateMode::Ephemeral { sequential: false },
            2 => CreateMode::Persistent { sequential: true },
            3 => CreateMode::Ephemeral { sequential: true },
            4 => CreateMode::Container { sequential: false },
            5 => CreateMode::Ttl { sequential: false, ttl: -1 },
            6 => CreateMode::Ttl { sequential: true, ttl: -1 },
            _ => return None,
        })
    }

    /// What a request of its own makes of its flags (`PrepRequestProcessor.pRequest2TxnCreate`): a
    /// container made with a plain create is an ordinary node, whatever is made with
    /// `createContainer` a container. A `createTTL` of anything but a TTL node is refused:
    /// ZooKeeper 3.9 fails on some of them when it applies them.
    fn of_request(kind: CreateKind, flags: i32) -> Option<Self> {
        let mode = CreateMode::from_flags(flags)?;
        match (kind, mode) {
            (CreateKind::Plain, CreateMode::Container { sequential }) => {
                Some(CreateMode::Persistent { sequential })
            }
            (CreateKind::Container, CreateMode::Ttl { .. }) | (CreateKind::Plain, _) => Some(mode),
            (CreateKind::Container, mode) => {
                Some(CreateMode::Container { sequential: mode.is_sequential() })
            }
            (CreateKind::Ttl(ttl), CreateMode::Ttl { sequential, .. }) => {
                Some(CreateMode::Ttl { sequential, ttl })
            }
            (CreateKind::Ttl(_), _) => None,
        }
    }

    /// What an operation of a multi makes of them (`MultiOperationRecord`, `Op.create`): there a
    /// container is one with a plain create too, and a `createTTL` of another mode is a plain create.
    fn of_operation(kind: CreateKind, flags: i32) -> Option<Self> {
        let mode = CreateMode::from_flags(flags)?;
        match (kind, mode) {
            (CreateKind::Plain, mode) => Some(mode),
            (CreateKind::Ttl(_), mode) if !matches!(mode, CreateMode::Ttl { .. }) => Some(mode),
            (kind, _) => CreateMode::of_request(kind, flags),
        }
    }

    /// Whether the parent's counter is appended to the name.
    pub fn is_sequential(self) -> bool {
        match self {
            CreateMode::Persistent { sequential }
            | CreateMode::Ephemeral { sequential }
            | CreateMode::Container { sequential }
            | CreateMode::Ttl { sequential, .. } => sequential,
        }
    }
}

/// `create`, `create2`, `createContainer` and `createTTL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    /// Where.
    pub path: String,
    /// The data; `None` is null, which is not the same as empty.
    pub data: Option<Bytes>,
    /// Who may do what with it, as the client wrote it.
    pub acl: Vec<Acl>,
    /// `None` for flags that nobody knows.
    pub mode: Option<CreateMode>,
    /// Whether the answer has a Stat: that of `create` alone has none.
    pub with_stat: bool,
}

/// A request that changes the tree, or one operation of a multi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A node is created.
    Create(CreateRequest),
    /// `delete`; version -1 is any.
    Delete {
        /// Which node.
        path: String,
        /// The version that it must have.
        version: i32,
    },
    /// `setData`; version -1 is any.
    SetData {
        /// Which node.
        path: String,
        /// The data; `None` is null.
        data: Option<Bytes>,
        /// The version that it must have.
        version: i32,
    },
    /// `setACL`; version -1 is any.
    SetAcl {
        /// Which node.
        path: String,
        /// The list, as the client wrote it.
        acl: Vec<Acl>,
        /// The aversion that it must have.
        version: i32,
    },
    /// `check`, only inside a multi.
    Check {
        /// Which node.
        path: String,
        /// The version that it must have.
        version: i32,
    },
    /// `reconfig`, which needs an ensemble.
    Reconfig,
    /// An operation that this server always refuses, with this code.
    Refused(ErrorCode),
}

/// A request for the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteRequest {
    /// One operation.
    Single(Operation),
    /// Several, all or none.
    Multi(Vec<Operation>),
}

impl Default for WriteRequest {
    /// What is left where a request was taken out: nothing to do.
    fn default() -> Self {
        WriteRequest::Multi(Vec::new())
    }
}

/// The data of a request, copied: it outlives the buffer that it came in.
fn data(reader: &mut Reader<'_>) -> Result<Option<Bytes>, JuteError> {
    Ok(reader.buffer()?.map(Bytes::copy_from_slice))
}

const CREATE: i32 = 1;
const CREATE2: i32 = 15;
const CREATE_CONTAINER: i32 = 19;
const CREATE_TTL: i32 = 21;

/// A path, empty where it is null: what ZooKeeper makes of that depends on the request.
fn path(reader: &mut Reader<'_>) -> Result<String, JuteError> {
    Ok(String::from_utf8_lossy(reader.buffer()?.unwrap_or_default()).into_owned())
}

/// Whether the string that comes next is null.
fn is_null(reader: &Reader<'_>) -> bool {
    matches!(reader.clone().buffer(), Ok(None))
}

/// The request of opcode `op`, and its flags.
fn create(reader: &mut Reader<'_>, op: i32) -> Result<(CreateRequest, CreateKind, i32), JuteError> {
    let mut request = CreateRequest {
        path: path(reader)?,
        data: data(reader)?,
        acl: acl::read_list(reader)?.unwrap_or_default(),
        mode: None,
        with_stat: op != CREATE,
    };
    let flags = reader.int()?;
    let kind = match op {
        CREATE_CONTAINER => CreateKind::Container,
        CREATE_TTL => CreateKind::Ttl(reader.long()?),
        _ => CreateKind::Plain,
    };
    request.mode = CreateMode::of_request(kind, flags);
    Ok((request, kind, flags))
}

fn reconfig(reader: &mut Reader<'_>) -> Result<Operation, JuteError> {
    for _joining_leaving_members in 0..3 {
        reader.buffer()?;
    }
    reader.long()?;
    Ok(Operation::Reconfig)
}

fn set_data(reader: &mut Reader<'_>) -> Result<Operation, JuteError> {
    Ok(Operation::SetData { path: path(reader)?, data: data(reader)?, version: reader.int()? })
}

impl WriteRequest {
    /// Reads the body of a request that changes the tree.
    pub fn decode(op: OpCode, body: &[u8]) -> Result<Self, JuteError> {
        let reader = &mut Reader::new(body);
        // ZooKeeper stumbles over a null path here only after it has taken a zxid; setData and
        // setACL find it invalid.
        let creates = matches!(
            op,
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl
        );
        let stumbles = is_null(reader) && (creates || op == OpCode::Delete);
        let operation = match op {
            _ if creates => Operation::Create(create(reader, op.number())?.0),
            OpCode::Delete => Operation::Delete { path: path(reader)?, version: reader.int()? },
            OpCode::SetData => set_data(reader)?,
            OpCode::SetAcl => Operation::SetAcl {
                path: path(reader)?,
                acl: acl::read_list(reader)?.unwrap_or_default(),
                version: reader.int()?,
            },
            OpCode::Reconfig => reconfig(reader)?,
            OpCode::Multi => return decode_multi(reader).map(WriteRequest::Multi),
            _ => return Err(JuteError::Invalid("opcode")),
        };
        Ok(WriteRequest::Single(if stumbles {
            Operation::Refused(ErrorCode::MarshallingError)
        } else {
            operation
        }))
    }
}

fn decode_multi(reader: &mut Reader<'_>) -> Result<Vec<Operation>, JuteError> {
    let mut operations = Vec::new();
    loop {
        let (kind, done, _err) = (reader.int()?, reader.bool()?, reader.int()?);
        if done {
            return Ok(operations);
        }
        if is_null(reader) {
            return Err(JuteError::Null("path"));
        }
        operations.push(match kind {
            CREATE | CREATE2 | CREATE_CONTAINER | CREATE_TTL => {
                let (mut request, create_kind, flags) = create(reader, kind)?;
                request.mode = CreateMode::of_operation(create_kind, flags);
                match (create_kind, request.mode) {
                    (CreateKind::Ttl(_), Some(CreateMode::Ttl { .. })) => {}
                    // A plain create, whose answer has a Stat only where it makes a container.
                    (CreateKind::Ttl(_), _) => request.with_stat = false,
                    (_, None | Some(CreateMode::Ttl { .. })) => {
                        return Err(JuteError::Invalid("create mode"));
                    }
                    _ => {}
                }
                Operation::Create(request)
            }
            2 => Operation::Delete { path: path(reader)?, version: reader.int()? },
            5 => set_data(reader)?,
            13 => Operation::Check { path: path(reader)?, version: reader.int()? },
            _ => return Err(JuteError::Invalid("operation in a multi")),
        });
    }
}

/// `setWatches` and `setWatches2`: what a client watched before it lost its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetWatches<'a> {
    /// The last zxid that the client has seen.
    pub relative_zxid: i64,
    /// Paths watched by `getData`, or by `exists` of a node that was there.
    pub data: Vec<Cow<'a, str>>,
    /// Paths watched by `exists` of a node that was not there.
    pub exist: Vec<Cow<'a, str>>,
    /// Paths watched by `getChildren`.
    pub child: Vec<Cow<'a, str>>,
    /// Paths watched persistently.
    pub persistent: Vec<Cow<'a, str>>,
    /// Paths watched persistently and recursively.
    pub recursive: Vec<Cow<'a, str>>,
}

/// One read of a `multiRead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiReadOperation<'a> {
    /// Which node.
    pub path: Cow<'a, str>,
    /// `getChildren`, else `getData`.
    pub children: bool,
}

/// A request that is answered from the tree as it is, or that changes only this connection's watches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of zookeeper.jute")]
pub enum ReadRequest<'a> {
    Exists { path: Cow<'a, str>, watch: bool },
    GetData { path: Cow<'a, str>, watch: bool },
    GetAcl { path: Cow<'a, str> },
    GetChildren { path: Cow<'a, str>, watch: bool, with_stat: bool },
    MultiRead(Vec<MultiReadOperation<'a>>),
    SetWatches(SetWatches<'a>),
    AddWatch { path: Cow<'a, str>, recursive: bool },
    RemoveWatches { path: Cow<'a, str>, kind: WatcherType },
    CheckWatches { path: Cow<'a, str>, kind: WatcherType },
    GetEphemerals { prefix: Cow<'a, str> },
    GetAllChildrenNumber { path: Cow<'a, str> },
    WhoAmI,
}

fn borrowed_path<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, str>, JuteError> {
    reader.lossy_string("path")
}

fn paths<'a>(reader: &mut Reader<'a>) -> Result<Vec<Cow<'a, str>>, JuteError> {
    let count = reader.vector(4)?.ok_or(JuteError::Null("paths"))?;
    (0..count).map(|_| borrowed_path(reader)).collect()
}

fn watcher_type(reader: &mut Reader<'_>) -> Result<WatcherType, JuteError> {
    WatcherType::from_wire(reader.int()?).ok_or(JuteError::Invalid("watcher type"))
}

impl<'a> ReadRequest<'a> {
    /// Reads the body of such a request.
    pub fn decode(op: OpCode, body: &'a [u8]) -> Result<Self, JuteError> {
        let reader = &mut Reader::new(body);
        Ok(match op {
            OpCode::Exists => {
                ReadRequest::Exists { path: borrowed_path(reader)?, watch: reader.bool()? }
            }
            OpCode::GetData => {
                ReadRequest::GetData { path: borrowed_path(reader)?, watch: reader.bool()? }
            }
            OpCode::GetAcl => ReadRequest::GetAcl { path: borrowed_path(reader)? },
            OpCode::GetChildren | OpCode::GetChildren2 => ReadRequest::GetChildren {
                path: borrowed_path(reader)?,
                watch: reader.bool()?,
                with_stat: op == OpCode::GetChildren2,
            },
            OpCode::MultiRead => ReadRequest::MultiRead(decode_multi_read(reader)?),
            OpCode::SetWatches | OpCode::SetWatches2 => {
                let mut request = SetWatches {
                    relative_zxid: reader.long()?,
                    data: paths(reader)?,
                    exist: paths(reader)?,
                    child: paths(reader)?,
                    persistent: Vec::new(),
                    recursive: Vec::new(),
                };
                if op == OpCode::SetWatches2 {
                    request.persistent = paths(reader)?;
                    request.recursive = paths(reader)?;
                }
                ReadRequest::SetWatches(request)
            }
            OpCode::AddWatch => ReadRequest::AddWatch {
                path: borrowed_path(reader)?,
                recursive: match reader.int()? {
                    0 => false,
                    1 => true,
                    _ => return Err(JuteError::Invalid("watch mode")),
                },
            },
            OpCode::RemoveWatches => ReadRequest::RemoveWatches {
                path: borrowed_path(reader)?,
                kind: watcher_type(reader)?,
            },
            OpCode::CheckWatches => ReadRequest::CheckWatches {
                path: borrowed_path(reader)?,
                kind: watcher_type(reader)?,
            },
            OpCode::GetEphemerals => ReadRequest::GetEphemerals {
                // Null is all, as the empty prefix is.
                prefix: String::from_utf8_lossy(reader.buffer()?.unwrap_or_default()),
            },
            OpCode::GetAllChildrenNumber => {
                ReadRequest::GetAllChildrenNumber { path: borrowed_path(reader)? }
            }
            OpCode::WhoAmI => ReadRequest::WhoAmI,
            _ => return Err(JuteError::Invalid("opcode")),
        })
    }
}

fn decode_multi_read<'a>(
    reader: &mut Reader<'a>,
) -> Result<Vec<MultiReadOperation<'a>>, JuteError> {
    let mut operations = Vec::new();
    loop {
        let (kind, done, _err) = (reader.int()?, reader.bool()?, reader.int()?);
        if done {
            return Ok(operations);
        }
        let children = match kind {
            4 => false,
            8 => true,
            _ => return Err(JuteError::Invalid("operation in a multiRead")),
        };
        if operations.len() == limits::MULTI_READ_OPERATIONS_MAX {
            return Err(JuteError::Invalid("number of operations in a multiRead"));
        }
        let path = borrowed_path(reader)?;
        let _watch = reader.bool()?;
        operations.push(MultiReadOperation { path, children });
    }
}

/// `auth`: a scheme and credentials for it.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthPacket<'a> {
    /// Which scheme.
    pub scheme: Cow<'a, str>,
    /// The credentials, in the form that the scheme wants.
    pub credentials: Option<&'a [u8]>,
}

impl std::fmt::Debug for AuthPacket<'_> {
    /// Never shows the credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthPacket").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl<'a> AuthPacket<'a> {
    /// Reads the packet.
    pub fn decode(body: &'a [u8]) -> Result<Self, JuteError> {
        let mut reader = Reader::new(body);
        let _type = reader.int()?;
        Ok(AuthPacket { scheme: reader.lossy_string("scheme")?, credentials: reader.buffer()? })
    }
}

/// The token of a `sasl` request; the C client's first one may be null, which is an empty one.
pub fn decode_sasl(body: &[u8]) -> Result<&[u8], JuteError> {
    Ok(Reader::new(body).buffer()?.unwrap_or_default())
}

/// The path of a `sync`, which comes back as it is.
pub fn decode_sync(body: &[u8]) -> Result<Option<Box<[u8]>>, JuteError> {
    Ok(Reader::new(body).buffer()?.map(Box::from))
}

#[cfg(test)]
mod tests;
