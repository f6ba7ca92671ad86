//! The requests of simulated clients, and what each must be answered with.

use rand::Rng;
use rand::rngs::StdRng;

use super::client::{Frame, Watched};
use crate::zookeeper::acl;
use crate::zookeeper::jute::Writer as _;
use crate::zookeeper::proto::{OpCode, reply};
use crate::zookeeper::test_history::Model;
use crate::zookeeper::txn::record::{Txn, TxnHeader};

const NAMES: [&str; 3] = ["a", "b", "c"];
const NO_NODE: i32 = -101;

/// A change, encoded.
pub(super) struct Request {
    pub(super) op: OpCode,
    pub(super) body: Vec<u8>,
}

/// What reads, or only watches.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) op: OpCode,
    path: String,
    /// Whether it watches; of an addWatch, whether recursively.
    watch: bool,
}

fn path(draw: &mut StdRng, model: &Model) -> String {
    if draw.random_range(0..3) == 0 {
        // One that is there, whatever its name.
        let below: Vec<&String> =
            model.nodes.keys().filter(|path| !path.starts_with("/zookeeper")).collect();
        return below[draw.random_range(0..below.len())].clone();
    }
    let names = (0..draw.random_range(1..=2)).map(|_| NAMES[draw.random_range(0..NAMES.len())]);
    names.flat_map(|name| ["/", name]).collect()
}

/// A random change.
pub(super) fn write(draw: &mut StdRng, model: &Model) -> Request {
    if draw.random_range(0..6) > 0 {
        return operation(draw, model);
    }
    let mut body = Vec::new();
    for _ in 0..draw.random_range(0..4) {
        let Request { op, body: part } = operation(draw, model);
        reply::multi_header(&mut body, op.number(), false, -1);
        body.extend_from_slice(&part);
    }
    reply::multi_header(&mut body, -1, true, -1);
    Request { op: OpCode::Multi, body }
}

fn operation(draw: &mut StdRng, model: &Model) -> Request {
    let path = path(draw, model);
    let version = [-1, -1, -1, 0, 1][draw.random_range(0..5)];
    let data = vec![b'x'; draw.random_range(0..200)];
    let mut body = Vec::new();
    body.write_string(&path);
    let op = match draw.random_range(0..10) {
        0..=4 => {
            body.write_buffer(Some(&data));
            body.write_count(1);
            acl::Acl::new(acl::ALL, "world", "anyone").write(&mut body);
            // Persistent, ephemeral, and both in sequence.
            body.write_int([0, 0, 1, 1, 2, 3][draw.random_range(0..6)]);
            if draw.random() { OpCode::Create } else { OpCode::Create2 }
        }
        5 | 6 => {
            body.write_int(version);
            OpCode::Delete
        }
        _ => {
            body.write_buffer(Some(&data));
            body.write_int(version);
            OpCode::SetData
        }
    };
    Request { op, body }
}

/// A random read.
pub(super) fn read(draw: &mut StdRng, model: &Model) -> Read {
    let ops = [OpCode::GetData, OpCode::Exists, OpCode::GetChildren2, OpCode::AddWatch];
    // Few that persist, or every client is told of everything.
    let op = ops[if draw.random_range(0..12) == 0 { 3 } else { draw.random_range(0..3) }];
    Read { op, path: path(draw, model), watch: draw.random() }
}

impl Read {
    pub(super) fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.write_string(&self.path);
        match self.op {
            OpCode::AddWatch => body.write_int(i32::from(self.watch)),
            _ => body.write_bool(self.watch),
        }
        body
    }

    /// What it is answered with on this tree, and what the client watches then.
    pub(super) fn expected(&self, xid: i32, model: &Model, watched: &mut Watched) -> Frame {
        let node = model.nodes.get(&self.path);
        let (mut error, mut body) = (0, None);
        let path = self.path.clone();
        match (self.op, node) {
            (OpCode::AddWatch, _) => {
                let modes =
                    if self.watch { &mut watched.recursive } else { &mut watched.persistent };
                modes.insert(path);
            }
            (OpCode::Exists, None) => {
                error = NO_NODE;
                if self.watch {
                    watched.exist.insert(path);
                }
            }
            (_, None) => error = NO_NODE,
            (OpCode::GetChildren2, Some(_)) => {
                if self.watch {
                    watched.child.insert(path);
                }
            }
            (op, Some(node)) => {
                let mut bytes = Vec::new();
                if op == OpCode::GetData {
                    bytes.write_buffer(node.data.as_deref());
                }
                node.stat.write(&mut bytes);
                body = Some(bytes);
                if self.watch {
                    watched.data.insert(path);
                }
            }
        }
        Frame::Reply { xid, zxid: model.zxid, error, body }
    }
}

/// What a change is answered with that came out as `txn`; `model` is the tree behind it.
pub(super) fn answer(op: OpCode, xid: i32, header: &TxnHeader, txn: &Txn, model: &Model) -> Frame {
    let (mut error, mut body) = (0, None);
    let mut bytes = Vec::new();
    match txn {
        // The codes of a multi are in its body.
        Txn::Error { error: code } if op != OpCode::Multi => (error, body) = (*code, Some(bytes)),
        Txn::Create { create, with_stat, .. } => {
            bytes.write_string(&create.path);
            if *with_stat {
                model.nodes[&create.path].stat.write(&mut bytes);
            }
            body = Some(bytes);
        }
        Txn::SetData { path, .. } => {
            model.nodes[path].stat.write(&mut bytes);
            body = Some(bytes);
        }
        Txn::Delete { .. } => body = Some(bytes),
        _ => {}
    }
    Frame::Reply { xid, zxid: header.zxid, error, body }
}
