//! The ZooKeeper wire protocol: opcodes, error codes, and the records of requests and replies.

pub mod handshake;
pub mod reply;
pub mod request;

/// The xid of a watch event.
pub const XID_EVENT: i32 = -1;
/// The xid of a ping and of its answer.
pub const XID_PING: i32 = -2;

/// A request that a client may send, by its number on the wire (`ZooDefs.OpCode`).
///
/// It is an allow-list: what a server sends to itself (`createSession`, `deleteContainer`, `error`)
/// is not in it, nor is `check`, which exists only inside a multi.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are ZooKeeper's, and say it all")]
pub enum OpCode {
    Create,
    Delete,
    Exists,
    GetData,
    SetData,
    GetAcl,
    SetAcl,
    GetChildren,
    Sync,
    Ping,
    GetChildren2,
    Multi,
    Create2,
    Reconfig,
    CheckWatches,
    RemoveWatches,
    CreateContainer,
    CreateTtl,
    MultiRead,
    Auth,
    SetWatches,
    Sasl,
    GetEphemerals,
    GetAllChildrenNumber,
    SetWatches2,
    AddWatch,
    WhoAmI,
    CloseSession,
}

impl OpCode {
    /// Every opcode, its number and its name, in the order of the enumeration.
    pub const ALL: [(OpCode, i32, &'static str); 28] = [
        (OpCode::Create, 1, "create"),
        (OpCode::Delete, 2, "delete"),
        (OpCode::Exists, 3, "exists"),
        (OpCode::GetData, 4, "get_data"),
        (OpCode::SetData, 5, "set_data"),
        (OpCode::GetAcl, 6, "get_acl"),
        (OpCode::SetAcl, 7, "set_acl"),
        (OpCode::GetChildren, 8, "get_children"),
        (OpCode::Sync, 9, "sync"),
        (OpCode::Ping, 11, "ping"),
        (OpCode::GetChildren2, 12, "get_children2"),
        (OpCode::Multi, 14, "multi"),
        (OpCode::Create2, 15, "create2"),
        (OpCode::Reconfig, 16, "reconfig"),
        (OpCode::CheckWatches, 17, "check_watches"),
        (OpCode::RemoveWatches, 18, "remove_watches"),
        (OpCode::CreateContainer, 19, "create_container"),
        (OpCode::CreateTtl, 21, "create_ttl"),
        (OpCode::MultiRead, 22, "multi_read"),
        (OpCode::Auth, 100, "auth"),
        (OpCode::SetWatches, 101, "set_watches"),
        (OpCode::Sasl, 102, "sasl"),
        (OpCode::GetEphemerals, 103, "get_ephemerals"),
        (OpCode::GetAllChildrenNumber, 104, "get_all_children_number"),
        (OpCode::SetWatches2, 105, "set_watches2"),
        (OpCode::AddWatch, 106, "add_watch"),
        (OpCode::WhoAmI, 107, "who_am_i"),
        (OpCode::CloseSession, -11, "close_session"),
    ];

    /// The opcode with this number, if a client may send it.
    pub fn from_client(number: i32) -> Option<OpCode> {
        Some(match number {
            1 => OpCode::Create,
            2 => OpCode::Delete,
            3 => OpCode::Exists,
            4 => OpCode::GetData,
            5 => OpCode::SetData,
            6 => OpCode::GetAcl,
            7 => OpCode::SetAcl,
            8 => OpCode::GetChildren,
            9 => OpCode::Sync,
            11 => OpCode::Ping,
            12 => OpCode::GetChildren2,
            14 => OpCode::Multi,
            15 => OpCode::Create2,
            16 => OpCode::Reconfig,
            17 => OpCode::CheckWatches,
            18 => OpCode::RemoveWatches,
            19 => OpCode::CreateContainer,
            21 => OpCode::CreateTtl,
            22 => OpCode::MultiRead,
            100 => OpCode::Auth,
            101 => OpCode::SetWatches,
            102 => OpCode::Sasl,
            103 => OpCode::GetEphemerals,
            104 => OpCode::GetAllChildrenNumber,
            105 => OpCode::SetWatches2,
            106 => OpCode::AddWatch,
            107 => OpCode::WhoAmI,
            -11 => OpCode::CloseSession,
            _ => return None,
        })
    }

    /// Its number on the wire.
    pub fn number(self) -> i32 {
        OpCode::ALL[self as usize].1
    }

    /// Its name, as metrics have it.
    pub fn name(self) -> &'static str {
        OpCode::ALL[self as usize].2
    }
}

/// Why a request failed, with ZooKeeper's numbers (`KeeperException.Code`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(missing_docs, reason = "the names are ZooKeeper's, and say it all")]
pub enum ErrorCode {
    RuntimeInconsistency = -2,
    MarshallingError = -5,
    Unimplemented = -6,
    BadArguments = -8,
    NoNode = -101,
    NoAuth = -102,
    BadVersion = -103,
    NoChildrenForEphemerals = -108,
    NodeExists = -110,
    NotEmpty = -111,
    SessionExpired = -112,
    InvalidAcl = -114,
    AuthFailed = -115,
    NoWatcher = -121,
    ReconfigDisabled = -123,
    SessionClosedRequireSaslAuth = -124,
    QuotaExceeded = -125,
    ThrottledOp = -127,
}

impl ErrorCode {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enumeration() {
        for (index, (op, number, name)) in OpCode::ALL.into_iter().enumerate() {
            assert_eq!(op as usize, index, "{name}");
            assert_eq!(OpCode::from_client(number), Some(op), "{name}");
            assert_eq!((op.number(), op.name()), (number, name));
        }
        let known = (-1_000..1_000).filter(|n| OpCode::from_client(*n).is_some()).count();
        assert_eq!(known, OpCode::ALL.len());
    }

    #[test]
    fn what_a_server_sends_to_itself_never_comes_from_a_client() {
        for internal in [-10, -1, 0, 13, 20] {
            assert_eq!(OpCode::from_client(internal), None, "{internal}");
        }
    }
}
