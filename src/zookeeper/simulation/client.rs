//! A simulated client: what it has asked for and watches, and what it must therefore be told.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::zookeeper::connection::handle::ConnectionHandle;
use crate::zookeeper::jute::{Reader, Writer as _};
use crate::zookeeper::path;
use crate::zookeeper::test_history::Model;
use crate::zookeeper::txn::record::{Txn, TxnHeader};

const CREATED: i32 = 1;
const DELETED: i32 = 2;
const DATA_CHANGED: i32 = 3;
const CHILDREN_CHANGED: i32 = 4;

/// What a client is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// A watch's event.
    Event { zxid: i64, kind: i32, path: String },
    /// An answer; the body where it is compared.
    Reply { xid: i32, zxid: i64, error: i32, body: Option<Vec<u8>> },
    /// The answer to a handshake.
    Connected { session: i64 },
}

/// What one connection watches, as the server must know it.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    /// One-shot data watches on nodes that were there.
    pub(super) data: BTreeSet<String>,
    /// One-shot data watches on nodes that were not.
    pub(super) exist: BTreeSet<String>,
    pub(super) child: BTreeSet<String>,
    pub(super) persistent: BTreeSet<String>,
    pub(super) recursive: BTreeSet<String>,
}

impl Watched {
    fn spend_data(&mut self, path: &str) -> bool {
        let spent = self.data.remove(path) | self.exist.remove(path);
        let recursive = path::with_ancestors(path).any(|above| self.recursive.contains(above));
        spent || self.persistent.contains(path) || recursive
    }

    fn spend_child(&mut self, path: &str) -> bool {
        self.child.remove(path) || self.persistent.contains(path)
    }

    /// The events of a transaction, in their order; `model` is the tree before it.
    pub(super) fn fire(
        &mut self,
        header: &TxnHeader,
        txn: &Txn,
        model: &Model,
        out: &mut Vec<Frame>,
    ) {
        let mut event = |kind, path: &str| {
            out.push(Frame::Event { zxid: header.zxid, kind, path: path.to_owned() });
        };
        let parent = |path: &str| path::parent(path).unwrap_or("/").to_owned();
        match txn {
            Txn::Create { create, .. } | Txn::CreateContainer(create) => {
                if self.spend_data(&create.path) {
                    event(CREATED, &create.path);
                }
                let parent = parent(&create.path);
                if self.spend_child(&parent) {
                    event(CHILDREN_CHANGED, &parent);
                }
            }
            Txn::Delete { path } | Txn::DeleteContainer { path } => {
                // Both tables, one event.
                if self.spend_data(path) | self.spend_child(path) {
                    event(DELETED, path);
                }
                let parent = parent(path);
                if self.spend_child(&parent) {
                    event(CHILDREN_CHANGED, &parent);
                }
            }
            Txn::SetData { path, .. } if self.spend_data(path) => event(DATA_CHANGED, path),
            Txn::CloseSession { .. } => {
                for path in model.owned(header.client_id) {
                    self.fire(header, &Txn::Delete { path }, model, out);
                }
            }
            Txn::Multi(txns) => {
                for txn in txns {
                    self.fire(header, txn, model, out);
                }
            }
            _ => {}
        }
    }

    /// A setWatches2 request with all of them, and what it is answered with: the events of what was
    /// missed since `zxid`. What fires is spent.
    pub(super) fn set_anew(&mut self, zxid: i64, model: &Model) -> (Vec<u8>, Vec<Frame>) {
        let mut body = Vec::new();
        body.write_long(zxid);
        let lists = [&self.data, &self.exist, &self.child, &self.persistent, &self.recursive];
        for list in lists {
            body.write_count(list.len());
            for path in list {
                body.write_string(path);
            }
        }
        let mut events = Vec::new();
        let mut event =
            |kind, path: &str| events.push(Frame::Event { zxid: -1, kind, path: path.to_owned() });
        self.data.retain(|path| match model.nodes.get(path) {
            None => {
                event(DELETED, path);
                false
            }
            Some(node) if node.stat.mzxid > zxid => {
                event(DATA_CHANGED, path);
                false
            }
            Some(_) => true,
        });
        self.exist.retain(|path| {
            let created = model.nodes.contains_key(path);
            if created {
                event(CREATED, path);
            }
            !created
        });
        self.child.retain(|path| match model.nodes.get(path) {
            None => {
                event(DELETED, path);
                false
            }
            Some(node) if node.stat.pzxid > zxid => {
                event(CHILDREN_CHANGED, path);
                false
            }
            Some(_) => true,
        });
        (body, events)
    }
}

/// A client, connected or not.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Its session, once it knows one.
    pub(super) session: Option<i64>,
    pub(super) handle: Option<Arc<ConnectionHandle>>,
    pub(super) watched: Watched,
    /// The last transaction that it has seen.
    pub(super) last_zxid: i64,
    pub(super) xid: i32,
    /// When it was heard of last.
    pub(super) touched: u64,
}

impl Client {
    pub(super) fn next_xid(&mut self) -> i32 {
        self.xid += 1;
        self.xid
    }

    /// What it was sent since it last looked. The body of an answer is kept where `bodies` says so.
    pub(super) fn receive(&self, connecting: bool) -> Vec<Frame> {
        let Some(handle) = &self.handle else { return Vec::new() };
        let bytes = handle.take_waiting();
        let mut reader = Reader::new(&bytes);
        let mut frames = Vec::new();
        let mut connecting = connecting;
        while !reader.is_empty() {
            let mut frame = Reader::new(reader.buffer().unwrap().unwrap());
            if std::mem::take(&mut connecting) {
                let (_, _) = (frame.int().unwrap(), frame.int().unwrap());
                frames.push(Frame::Connected { session: frame.long().unwrap() });
                continue;
            }
            let (xid, zxid) = (frame.int().unwrap(), frame.long().unwrap());
            let error = frame.int().unwrap();
            frames.push(if xid == -1 {
                let (kind, _) = (frame.int().unwrap(), frame.int().unwrap());
                Frame::Event { zxid, kind, path: frame.string().unwrap().unwrap().to_owned() }
            } else {
                Frame::Reply { xid, zxid, error, body: Some(frame.rest().to_vec()) }
            });
        }
        frames
    }
}

/// Whether `got` is what was expected: a body that isn't expected is not looked at.
pub(super) fn same(got: &[Frame], expected: &[Frame]) -> bool {
    got.len() == expected.len()
        && got.iter().zip(expected).all(|(got, expected)| match (got, expected) {
            (
                Frame::Reply { xid, zxid, error, .. },
                Frame::Reply { xid: x, zxid: z, error: e, body: None },
            ) => (xid, zxid, error) == (x, z, e),
            _ => got == expected,
        })
}
