//! Turns requests into transactions: every check is made here, in ZooKeeper's order
//! (`PrepRequestProcessor`), against the tree plus what earlier requests of the same batch leave
//! behind. What comes out has absolute effects and can't fail.

mod pending;
mod quota;

use self::pending::Pending;
use super::record::{CreateTxn, DIGEST_LEN, HEADER_LEN, RECORD_MAX, Txn, TxnHeader};
use crate::zookeeper::acl::{self, AclList};
use crate::zookeeper::auth::{Auth, AuthId};
use crate::zookeeper::path;
use crate::zookeeper::proto::ErrorCode;
use crate::zookeeper::proto::request::{CreateMode, CreateRequest, Operation, WriteRequest};
use crate::zookeeper::stat::{CONTAINER_OWNER, Ownership, StatPersisted, TTL_MAX};
use crate::zookeeper::sweep;
use crate::zookeeper::tree::DataTree;

/// What prep checks by, beside the tree.
#[derive(Debug, Clone, Copy)]
pub struct PrepOptions<'a> {
    /// Who may do what.
    pub auth: &'a Auth,
    /// The deepest path that is created.
    pub depth_max: usize,
    /// `extendedTypesEnabled`: nodes may have a time to live.
    pub extended_types: bool,
    /// `enforceQuota`: what exceeds a hard quota is refused.
    pub enforce_quota: bool,
    /// `reconfigEnabled`: which error a `reconfig` gets.
    pub reconfig_enabled: bool,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The session.
    pub session_id: i64,
    /// The request's number.
    pub xid: i32,
    /// What its connection had proved when the request came.
    pub identities: &'a [AuthId],
    /// Whether the session's end is decided.
    pub session_closing: bool,
}

/// How a request came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Ok,
    /// It is refused; the transaction only takes a zxid.
    Refused(ErrorCode),
    /// A multi is refused, because of one operation.
    MultiRefused {
        /// How many operations it has.
        count: usize,
        /// Which one is to blame.
        culprit: usize,
        /// Why.
        code: ErrorCode,
    },
}

/// A request as a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Session, xid, zxid and time.
    pub header: TxnHeader,
    /// What is logged and applied.
    pub txn: Txn,
    /// The tree's digest after it.
    pub digest: u64,
    /// What the client is told.
    pub verdict: Verdict,
}

/// Prepares the requests of one batch, one after the other.
#[derive(Debug)]
pub struct Prep<'a> {
    pending: Pending<'a>,
    options: PrepOptions<'a>,
    last_zxid: i64,
    time: i64,
}

impl<'a> Prep<'a> {
    /// A batch on top of `tree`, at `time` (milliseconds since the epoch).
    pub fn new(tree: &'a DataTree, options: PrepOptions<'a>, time: i64) -> Self {
        Prep {
            pending: Pending::new(tree, options.enforce_quota),
            options,
            last_zxid: tree.last_zxid(),
            time,
        }
    }

    /// The last zxid given out.
    pub fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    /// A request that changes the tree. It takes a zxid whether it is refused or not.
    pub fn write(&mut self, request: WriteRequest, caller: &Caller<'_>) -> Prepared {
        let header = self.next_header(caller.session_id, caller.xid);
        match request {
            WriteRequest::Single(operation) => {
                match self.operation(operation, caller, header.zxid) {
                    Ok(txn) => self.prepared(header, txn, Verdict::Ok),
                    Err(code) => self.refused(header, Verdict::Refused(code), code),
                }
            }
            WriteRequest::Multi(operations) => self.multi(header, operations, caller),
        }
    }

    /// A request that can't be decoded. A multi takes a zxid all the same, as ZooKeeper has it.
    pub fn malformed_multi(&mut self, caller: &Caller<'_>) -> Prepared {
        let header = self.next_header(caller.session_id, caller.xid);
        let code = ErrorCode::MarshallingError;
        self.refused(header, Verdict::Refused(code), code)
    }

    /// A session begins.
    pub fn create_session(&mut self, session_id: i64, timeout_ms: i32) -> Prepared {
        let header = self.next_header(session_id, 0);
        self.prepared(header, Txn::CreateSession { timeout: timeout_ms }, Verdict::Ok)
    }

    /// A session ends, and its ephemerals with it, those of this batch included.
    pub fn close_session(&mut self, session_id: i64, xid: i32) -> Prepared {
        let header = self.next_header(session_id, xid);
        let paths = self.pending.ephemerals(session_id);
        for path in &paths {
            self.pending.remove(path, header.zxid);
        }
        self.prepared(header, Txn::CloseSession { paths: Some(paths) }, Verdict::Ok)
    }

    /// A container or TTL node is deleted by the server, unless it is no longer to be: then there is
    /// no transaction. `never_used_ms` is that of [`sweep::is_due`].
    pub fn sweep(&mut self, path: &str, never_used_ms: i64) -> Option<Prepared> {
        let node = self.pending.node(path)?;
        if !sweep::is_due(&node.stat, node.children, self.time, never_used_ms) {
            return None;
        }
        let header = self.next_header(0, 0);
        self.pending.remove(path, header.zxid);
        let txn = Txn::DeleteContainer { path: path.to_owned() };
        Some(self.prepared(header, txn, Verdict::Ok))
    }

    /// What a soft quota had to say about the batch: a line for the operator.
    pub fn take_quota_warning(&mut self) -> Option<String> {
        self.pending.take_warning()
    }

    /// The paths of the batch that a hard quota refused.
    pub fn take_quota_exceeded(&mut self) -> Vec<String> {
        self.pending.take_exceeded()
    }

    fn next_header(&mut self, client_id: i64, cxid: i32) -> TxnHeader {
        self.last_zxid += 1;
        TxnHeader { client_id, cxid, zxid: self.last_zxid, time: self.time }
    }

    fn prepared(&self, header: TxnHeader, txn: Txn, verdict: Verdict) -> Prepared {
        Prepared { header, txn, digest: self.pending.digest(), verdict }
    }

    fn refused(&self, header: TxnHeader, verdict: Verdict, code: ErrorCode) -> Prepared {
        self.prepared(header, Txn::Error { error: code.number() }, verdict)
    }

    fn multi(
        &mut self,
        header: TxnHeader,
        operations: Vec<Operation>,
        caller: &Caller<'_>,
    ) -> Prepared {
        self.pending.mark();
        let count = operations.len();
        let mut txns = Vec::with_capacity(count);
        let mut size = Txn::Multi(Vec::new()).encoded_len();
        for (index, operation) in operations.into_iter().enumerate() {
            let result = self.operation(operation, caller, header.zxid).and_then(|txn| {
                size += 8 + txn.encoded_len();
                let fits = HEADER_LEN + size + DIGEST_LEN <= RECORD_MAX;
                if fits { Ok(txn) } else { Err(ErrorCode::BadArguments) }
            });
            match result {
                Ok(txn) => txns.push(txn),
                Err(code) => {
                    self.pending.roll_back();
                    let verdict = Verdict::MultiRefused { count, culprit: index, code };
                    return self.refused(header, verdict, code);
                }
            }
        }
        self.pending.keep();
        self.prepared(header, Txn::Multi(txns), Verdict::Ok)
    }

    fn operation(
        &mut self,
        operation: Operation,
        caller: &Caller<'_>,
        zxid: i64,
    ) -> Result<Txn, ErrorCode> {
        match operation {
            Operation::Create(request) => self.create(request, caller, zxid),
            Operation::Delete { path, version } => self.delete(path, version, caller, zxid),
            Operation::SetData { path, data, version } => {
                check_session(caller)?;
                check_path(&path)?;
                let node = self.pending.node(&path).ok_or(ErrorCode::NoNode)?;
                self.check_acl(&node.acl, acl::WRITE, caller)?;
                self.pending.check_quota(&path, data.as_deref(), false)?;
                let version = next_version(node.stat.version, version)?;
                if !quota::is_acceptable(&path, data.as_deref()) {
                    return Err(ErrorCode::BadArguments);
                }
                let stat = StatPersisted { version, mtime: self.time, mzxid: zxid, ..node.stat };
                let txn = fitting(Txn::SetData { path, data, version })?;
                if let Txn::SetData { path, data, .. } = &txn {
                    self.pending.set_data(path, node, stat, data.clone());
                }
                Ok(txn)
            }
            Operation::SetAcl { path, acl, version } => {
                check_session(caller)?;
                check_path(&path)?;
                let acl = self.options.auth.fixup(&acl, caller.identities)?;
                let node = self.pending.node(&path).ok_or(ErrorCode::NoNode)?;
                self.check_acl(&node.acl, acl::ADMIN, caller)?;
                let version = next_version(node.stat.aversion, version)?;
                let stat = StatPersisted { aversion: version, ..node.stat };
                let txn = fitting(Txn::SetAcl { path, acl, version })?;
                if let Txn::SetAcl { path, acl, .. } = &txn {
                    self.pending.set_acl(path, node, stat, acl.clone());
                }
                Ok(txn)
            }
            Operation::Check { path, version } => {
                check_session(caller)?;
                check_path(&path)?;
                let node = self.pending.node(&path).ok_or(ErrorCode::NoNode)?;
                self.check_acl(&node.acl, acl::READ, caller)?;
                let version = next_version(node.stat.version, version)?;
                Ok(Txn::Check { path, version })
            }
            Operation::Reconfig if !self.options.reconfig_enabled => {
                Err(ErrorCode::ReconfigDisabled)
            }
            Operation::Reconfig => {
                check_session(caller)?;
                Err(ErrorCode::Unimplemented)
            }
            Operation::Refused(code) => Err(code),
        }
    }

    fn create(
        &mut self,
        request: CreateRequest,
        caller: &Caller<'_>,
        zxid: i64,
    ) -> Result<Txn, ErrorCode> {
        let CreateRequest { mut path, data, acl, mode, with_stat } = request;
        let mode = mode.ok_or(ErrorCode::BadArguments)?;
        if let CreateMode::Ttl { ttl, .. } = mode {
            if !self.options.extended_types {
                return Err(ErrorCode::Unimplemented);
            }
            if !(1..=TTL_MAX).contains(&ttl) {
                return Err(ErrorCode::BadArguments);
            }
        }
        check_session(caller)?;
        let parent_path = path::parent(&path).ok_or(ErrorCode::BadArguments)?;
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let acl = self.options.auth.fixup(&acl, caller.identities)?;
        let parent = self.pending.node(parent_path).ok_or(ErrorCode::NoNode)?;
        self.check_acl(&parent.acl, acl::CREATE, caller)?;
        if mode.is_sequential() {
            use std::fmt::Write as _;
            // Signed, and ten wide with its sign, as Java's %010d.
            let _ = write!(path, "{:010}", parent.stat.cversion);
        }
        check_path(&path)?;
        if self.pending.contains(&path) {
            return Err(ErrorCode::NodeExists);
        }
        if matches!(Ownership::of(parent.stat.ephemeral_owner), Ownership::Session(_)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        if path::depth(&path) > self.options.depth_max {
            return Err(ErrorCode::BadArguments);
        }
        if !quota::is_acceptable(&path, data.as_deref()) {
            return Err(ErrorCode::BadArguments);
        }
        self.pending.check_quota(&path, data.as_deref(), true)?;
        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        let owner = match mode {
            CreateMode::Persistent { .. } => 0,
            CreateMode::Ephemeral { .. } => caller.session_id,
            CreateMode::Container { .. } => CONTAINER_OWNER,
            CreateMode::Ttl { ttl, .. } => Ownership::ttl_owner(ttl),
        };
        let stat = StatPersisted::created(zxid, self.time, owner);
        // As it is applied: the counter is never lowered, so it doesn't wrap.
        let mut parent_stat = parent.stat;
        if parent_cversion > parent_stat.cversion {
            (parent_stat.cversion, parent_stat.pzxid) = (parent_cversion, zxid);
        }
        let create = CreateTxn { path, data, acl, parent_cversion };
        let txn = fitting(match mode {
            CreateMode::Persistent { .. } => Txn::Create { create, ephemeral: false, with_stat },
            CreateMode::Ephemeral { .. } => Txn::Create { create, ephemeral: true, with_stat },
            CreateMode::Container { .. } => Txn::CreateContainer(create),
            CreateMode::Ttl { ttl, .. } => Txn::CreateTtl { create, ttl },
        })?;
        if let Txn::Create { create, .. }
        | Txn::CreateContainer(create)
        | Txn::CreateTtl { create, .. } = &txn
        {
            let CreateTxn { path, data, acl, .. } = create;
            self.pending.create(path, stat, data.clone(), acl.clone(), parent, parent_stat);
        }
        Ok(txn)
    }

    fn delete(
        &mut self,
        path: String,
        version: i32,
        caller: &Caller<'_>,
        zxid: i64,
    ) -> Result<Txn, ErrorCode> {
        check_session(caller)?;
        let parent_path = path::parent(&path).ok_or(ErrorCode::BadArguments)?;
        if path.contains('\0') || path::is_special(&path) {
            return Err(ErrorCode::BadArguments);
        }
        let parent = self.pending.node(parent_path).ok_or(ErrorCode::NoNode)?;
        self.check_acl(&parent.acl, acl::DELETE, caller)?;
        let node = self.pending.node(&path).ok_or(ErrorCode::NoNode)?;
        next_version(node.stat.version, version)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.pending.remove(&path, zxid);
        Ok(Txn::Delete { path })
    }

    fn check_acl(&self, acl: &AclList, perm: i32, caller: &Caller<'_>) -> Result<(), ErrorCode> {
        if self.options.auth.allows(acl, perm, caller.identities) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }
}

/// A transaction that ZooKeeper can read back: lists of permissions grow when `auth` is expanded.
fn fitting(txn: Txn) -> Result<Txn, ErrorCode> {
    if txn.fits() { Ok(txn) } else { Err(ErrorCode::BadArguments) }
}

fn check_session(caller: &Caller<'_>) -> Result<(), ErrorCode> {
    if caller.session_closing { Err(ErrorCode::SessionExpired) } else { Ok(()) }
}

fn check_path(path: &str) -> Result<(), ErrorCode> {
    path::validate(path).map_err(|_| ErrorCode::BadArguments)
}

/// The version after a change, if the one before is what the client expects.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected == -1 || expected == current {
        Ok(current.wrapping_add(1))
    } else {
        Err(ErrorCode::BadVersion)
    }
}

#[cfg(test)]
mod tests;
