//! Answers what only reads, or changes only the connection's own watches. A reply and the watch that
//! it registers are one step: the caller holds the database all along.

use std::sync::atomic::Ordering;

use crate::limits;
use crate::zookeeper::acl;
use crate::zookeeper::auth::{self, AuthId};
use crate::zookeeper::connection::answers::Answers;
use crate::zookeeper::connection::handle::ConnectionHandle;
use crate::zookeeper::database::Database;
use crate::zookeeper::jute::Writer as _;
use crate::zookeeper::proto::request::{MultiReadOperation, ReadRequest, SetWatches};
use crate::zookeeper::proto::{ErrorCode, OpCode, reply};
use crate::zookeeper::state::State;
use crate::zookeeper::tree::NodeRef;
use crate::zookeeper::watch::{EventType, Watches};

/// The zxid of an event that `setWatches` catches up.
const ZXID_NONE: i64 = -1;

/// Where the servers of an ensemble are named (`ZooDefs.CONFIG_NODE`).
const ENSEMBLE_CONFIG: &str = "/zookeeper/config";

/// Bytes that a child takes in a list, roughly.
const CHILD_BYTES: usize = 16;

/// Who reads, and when.
pub struct Reading<'a> {
    /// The coordinator.
    pub state: &'a State,
    /// The database, held.
    pub database: &'a Database,
    /// Who is answered.
    pub connection: &'a ConnectionHandle,
    /// What it had proved when the request came.
    pub identities: &'a [AuthId],
    /// The request's number.
    pub xid: i32,
}

impl std::fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("xid", &self.xid).finish_non_exhaustive()
    }
}

impl Reading<'_> {
    /// Answers the request into `answers`, which go to the connection before the database is let go;
    /// says whether it succeeded.
    pub fn answer(&self, op: OpCode, body: &[u8], answers: &mut Answers) -> bool {
        let result = match ReadRequest::decode(op, body) {
            Ok(request) => self.request(&request, answers),
            Err(error) => {
                tracing::debug!(op = op.name(), %error, "malformed request");
                Err(ErrorCode::MarshallingError)
            }
        };
        if let Err(code) = result {
            let zxid = self.zxid();
            answers.put(|out| reply::error(out, self.xid, zxid, code));
        }
        result.is_ok()
    }

    fn zxid(&self) -> i64 {
        self.database.tree.last_zxid()
    }

    fn request(&self, request: &ReadRequest<'_>, answers: &mut Answers) -> Result<(), ErrorCode> {
        match request {
            ReadRequest::GetData { path, watch } => {
                let node = self.readable(path)?;
                if *watch {
                    self.watch(answers, |watches, id| watches.add_data(path, id));
                }
                self.reply(answers, |out| self.put_data(path, &node, out));
            }
            ReadRequest::Exists { path, watch } => self.exists(path, *watch, answers)?,
            ReadRequest::GetChildren { path, watch, with_stat } => {
                let node = self.readable(path)?;
                if *watch {
                    self.watch(answers, |watches, id| watches.add_child(path, id));
                }
                self.list(answers, &node, |out| {
                    if *with_stat {
                        node.stat().write(out);
                    }
                });
            }
            ReadRequest::GetAcl { path } => {
                let node = self.node(path)?;
                self.check(&node, acl::READ | acl::ADMIN)?;
                self.reply(answers, |out| {
                    if self.check(&node, acl::ADMIN).is_ok() {
                        acl::write_list(node.acl(), out);
                    } else {
                        acl::write_list(&auth::masked(node.acl()), out);
                    }
                    node.stat().write(out);
                });
            }
            ReadRequest::MultiRead(operations) => self.multi_read(operations, answers)?,
            ReadRequest::SetWatches(request) => self.set_watches(request, answers),
            ReadRequest::AddWatch { path, recursive } => {
                self.watch(answers, |watches, id| watches.add_persistent(path, id, *recursive));
                self.reply(answers, |out| out.write_int(0));
            }
            ReadRequest::RemoveWatches { path, kind } => {
                if !self.state.watches.lock().remove(path, self.connection.id(), *kind) {
                    return Err(ErrorCode::NoWatcher);
                }
                self.reply(answers, |_| ());
            }
            ReadRequest::CheckWatches { path, kind } => {
                if !self.state.watches.lock().contains(path, self.connection.id(), *kind) {
                    return Err(ErrorCode::NoWatcher);
                }
                self.reply(answers, |_| ());
            }
            ReadRequest::GetEphemerals { prefix } => self.ephemerals(prefix, answers),
            ReadRequest::GetAllChildrenNumber { path } => {
                let node = self.readable(path)?;
                let mut count = node.descendant_count();
                if path.is_empty() {
                    // ZooKeeper's map has the root under two names, and one begins with the other.
                    count += 1;
                }
                self.reply(answers, |out| out.write_int(i32::try_from(count).unwrap_or(i32::MAX)));
            }
            ReadRequest::WhoAmI => self.reply(answers, |out| {
                out.write_count(self.identities.len());
                for identity in self.identities {
                    out.write_string(&identity.scheme);
                    out.write_string(self.state.auth.user_name(identity));
                }
            }),
        }
        Ok(())
    }

    /// The session's own ephemerals whose path begins with `prefix`, whatever their ACL says.
    fn ephemerals(&self, prefix: &str, answers: &mut Answers) {
        let session = self.connection.session().map_or(0, |session| session.id());
        let all = matches!(prefix.trim(), "" | "/");
        let mut paths: Vec<_> = self
            .database
            .tree
            .ephemerals(session)
            .filter(|path| all || path.starts_with(prefix))
            .collect();
        paths.sort_unstable();
        self.reply(answers, |out| {
            out.write_count(paths.len());
            for path in paths {
                out.write_string(&path);
            }
        });
    }

    fn exists(&self, path: &str, watch: bool, answers: &mut Answers) -> Result<(), ErrorCode> {
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let node = self.database.tree.node(path);
        if let Some(node) = &node {
            self.check(node, acl::READ)?;
        }
        if watch {
            self.watch(answers, |watches, id| watches.add_data(path, id));
        }
        let node = node.ok_or(ErrorCode::NoNode)?;
        self.reply(answers, |out| node.stat().write(out));
        Ok(())
    }

    fn multi_read(
        &self,
        operations: &[MultiReadOperation<'_>],
        answers: &mut Answers,
    ) -> Result<(), ErrorCode> {
        // Sized before it is written: a small request may ask for the same large node many times.
        let mut size = 0;
        for operation in operations {
            size += match self.readable(&operation.path) {
                Ok(node) if operation.children => node.children_bytes(),
                Ok(node) => node.data().map_or(0, <[u8]>::len) + 100,
                Err(_) => 0,
            };
            if size > limits::MULTI_READ_BYTES_MAX {
                return Err(ErrorCode::BadArguments);
            }
        }
        self.reply(answers, |out| {
            for operation in operations {
                match self.readable(&operation.path) {
                    Ok(node) if operation.children => {
                        reply::multi_header(out, OpCode::GetChildren.number(), false, 0);
                        put_children(&node, out);
                    }
                    Ok(node) => {
                        reply::multi_header(out, OpCode::GetData.number(), false, 0);
                        self.put_data(&operation.path, &node, out);
                    }
                    Err(code) => reply::multi_error(out, code.number()),
                }
            }
            reply::multi_end(out);
        });
        Ok(())
    }

    /// Registers what a client watched before it lost its connection, and tells it what it missed
    /// (`DataTree.setWatches`): never of a node that it may not read.
    fn set_watches(&self, request: &SetWatches<'_>, answers: &mut Answers) {
        let tree = &self.database.tree;
        let tell = |answers: &mut Answers, kind, path: &str, node: Option<&NodeRef<'_>>| {
            if node.is_none_or(|node| self.check(node, acl::READ).is_ok()) {
                answers.put(|out| reply::event(out, ZXID_NONE, kind, path));
            }
        };
        for path in &request.data {
            match tree.node(path) {
                None => tell(answers, EventType::NodeDeleted, path, None),
                Some(node) if node.stat_persisted().mzxid > request.relative_zxid => {
                    tell(answers, EventType::NodeDataChanged, path, Some(&node));
                }
                Some(_) => self.watch(answers, |watches, id| watches.add_data(path, id)),
            }
        }
        for path in &request.exist {
            match tree.node(path) {
                Some(node) => tell(answers, EventType::NodeCreated, path, Some(&node)),
                None => self.watch(answers, |watches, id| watches.add_data(path, id)),
            }
        }
        for path in &request.child {
            match tree.node(path) {
                None => tell(answers, EventType::NodeDeleted, path, None),
                Some(node) if node.stat_persisted().pzxid > request.relative_zxid => {
                    tell(answers, EventType::NodeChildrenChanged, path, Some(&node));
                }
                Some(_) => self.watch(answers, |watches, id| watches.add_child(path, id)),
            }
        }
        for path in &request.persistent {
            self.watch(answers, |watches, id| watches.add_persistent(path, id, false));
        }
        for path in &request.recursive {
            self.watch(answers, |watches, id| watches.add_persistent(path, id, true));
        }
        self.reply(answers, |_| ());
    }

    fn node(&self, path: &str) -> Result<NodeRef<'_>, ErrorCode> {
        self.database.tree.node(path).ok_or(ErrorCode::NoNode)
    }

    fn readable(&self, path: &str) -> Result<NodeRef<'_>, ErrorCode> {
        let node = self.node(path)?;
        self.check(&node, acl::READ)?;
        Ok(node)
    }

    fn check(&self, node: &NodeRef<'_>, perms: i32) -> Result<(), ErrorCode> {
        if self.state.auth.allows(node.acl(), perms, self.identities) {
            Ok(())
        } else {
            Err(ErrorCode::NoAuth)
        }
    }

    fn watch(&self, answers: &mut Answers, register: impl FnOnce(&mut Watches, u64)) {
        let mut watches = self.state.watches.lock();
        // Checked under the lock: a connection that ends removes its watches after it says so.
        if self.connection.is_gone() {
            return;
        }
        register(&mut watches, self.connection.id());
        let id = self.connection.id();
        let (count, bytes) = (watches.count_of(id), watches.bytes_of(id));
        if count > limits::WATCHES_PER_CONNECTION_MAX
            || bytes > limits::WATCH_BYTES_PER_CONNECTION_MAX
        {
            drop(watches);
            tracing::warn!(
                peer = %self.connection.peer(),
                count,
                bytes,
                "closed: the client has too many watches"
            );
            answers.close();
        }
    }

    /// Data and stat; of the configuration of an ensemble that is gone, as if it were empty.
    fn put_data(&self, path: &str, node: &NodeRef<'_>, out: &mut Vec<u8>) {
        let mut stat = node.stat();
        if path == ENSEMBLE_CONFIG && self.state.config_hidden.load(Ordering::Relaxed) {
            stat.data_length = 0;
            out.write_buffer(Some(&[]));
        } else {
            out.write_buffer(node.data());
        }
        stat.write(out);
    }

    /// Answers with a node's children and what `after` writes.
    fn list(&self, answers: &mut Answers, node: &NodeRef<'_>, after: impl FnOnce(&mut Vec<u8>)) {
        let Some(names) = node.packed_children() else {
            return self.reply(answers, |out| {
                put_children(node, out);
                after(out);
            });
        };
        let (zxid, bytes) = (self.zxid(), names.bytes());
        answers.put_listing(names.clone(), |out| {
            let count = |out: &mut Vec<u8>| out.write_count(node.child_count());
            reply::around(out, self.xid, zxid, bytes, count, after)
        });
    }

    fn reply(&self, answers: &mut Answers, body: impl FnOnce(&mut Vec<u8>)) {
        let zxid = self.zxid();
        answers.put(|out| reply::ok(out, self.xid, zxid, body));
    }
}

fn put_children(node: &NodeRef<'_>, out: &mut Vec<u8>) {
    out.write_count(node.child_count());
    if let Some(names) = node.packed_children() {
        out.reserve(names.bytes());
        names.pieces().for_each(|piece| out.extend_from_slice(piece));
    } else {
        // About as much as the names take.
        out.reserve(node.child_count().saturating_mul(CHILD_BYTES));
        for name in node.children() {
            out.write_string(name);
        }
    }
}
