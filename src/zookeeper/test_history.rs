//! Random histories for tests: numbers become transactions as prep would make them, and a model that
//! knows no cleverness says what the tree must be.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::acl::{Acl, AclList, open_acl_unsafe};
use super::database::Database;
use super::stat::{Ownership, Stat};
use super::tree::digest::node_digest;
use super::txn::record::{CreateTxn, Txn, TxnHeader};

/// A step of a history, meaningless by itself.
#[derive(Debug, Clone)]
pub(crate) struct Step(u8, u16, u16, u8);

pub(crate) fn steps(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let step = any::<(u8, u16, u16, u8)>().prop_map(|(a, b, c, d)| Step(a, b, c, d));
    proptest::collection::vec(step, count)
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelNode {
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) acl: AclList,
    pub(crate) stat: Stat,
    owner: i64,
    created: i32,
}

/// The tree and sessions as they must be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) nodes: BTreeMap<String, ModelNode>,
    pub(crate) sessions: BTreeMap<i64, i32>,
    pub(crate) zxid: i64,
}

impl Model {
    pub(crate) fn new() -> Self {
        Model::of(&Database::new(true))
    }

    /// What a database shows.
    pub(crate) fn of(database: &Database) -> Self {
        let node = |node: super::tree::NodeRef<'_>| ModelNode {
            data: node.data().map(<[u8]>::to_vec),
            acl: node.acl().clone(),
            stat: node.stat(),
            owner: node.ephemeral_owner(),
            created: node.cversion_stored(),
        };
        let tree = &database.tree;
        Model {
            nodes: tree.nodes().map(|found| (found.path(), node(found))).collect(),
            sessions: database.sessions.iter().map(|(&id, &timeout)| (id, timeout)).collect(),
            zxid: tree.last_zxid(),
        }
    }

    /// The first thing that differs.
    pub(crate) fn difference(&self, other: &Model) -> Option<String> {
        let paths = self.nodes.keys().chain(other.nodes.keys());
        for path in paths {
            let (mine, others) = (self.nodes.get(path), other.nodes.get(path));
            if mine != others {
                return Some(format!("{path}: {mine:?} != {others:?}"));
            }
        }
        (self != other).then(|| format!("{:?} != {:?}", self.sessions, other.sessions))
    }

    fn parent(path: &str) -> String {
        let parent = &path[..path.rfind('/').unwrap()];
        if parent.is_empty() { "/".to_owned() } else { parent.to_owned() }
    }

    fn children(&self, path: &str) -> usize {
        self.nodes.keys().filter(|child| *child != "/" && Self::parent(child) == path).count()
    }

    fn refresh(&mut self, path: &str) {
        let children = i32::try_from(self.children(path)).unwrap();
        let node = self.nodes.get_mut(path).unwrap();
        node.stat.num_children = children;
        node.stat.cversion = node.created * 2 - children;
        node.stat.data_length = i32::try_from(node.data.as_ref().map_or(0, Vec::len)).unwrap();
    }

    pub(crate) fn apply(&mut self, header: &TxnHeader, txn: &Txn) {
        self.zxid = header.zxid;
        match txn {
            Txn::Create { create, ephemeral, .. } => {
                self.create(header, create, if *ephemeral { header.client_id } else { 0 });
            }
            Txn::CreateContainer(create) => self.create(header, create, i64::MIN),
            Txn::CreateTtl { create, ttl } => {
                self.create(header, create, Ownership::ttl_owner(*ttl));
            }
            Txn::Delete { path } | Txn::DeleteContainer { path } => self.delete(header.zxid, path),
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                let node = self.nodes.get_mut(path).unwrap();
                node.data = data.as_ref().map(|data| data.to_vec());
                node.stat.mzxid = header.zxid;
                node.stat.mtime = header.time;
                node.stat.version = *version;
                self.refresh(path);
            }
            Txn::SetAcl { path, acl, version } => {
                let node = self.nodes.get_mut(path).unwrap();
                node.acl = acl.clone();
                node.stat.aversion = *version;
            }
            Txn::CreateSession { timeout } => {
                self.sessions.insert(header.client_id, *timeout);
            }
            Txn::CloseSession { .. } => {
                self.sessions.remove(&header.client_id);
                for path in self.owned(header.client_id) {
                    self.delete(header.zxid, &path);
                }
            }
            Txn::Multi(txns) => txns.iter().for_each(|txn| self.apply(header, txn)),
            Txn::Check { .. } | Txn::Error { .. } => {}
        }
    }

    pub(crate) fn owned(&self, session: i64) -> Vec<String> {
        let owned = self.nodes.iter().filter(|(_, node)| node.owner == session);
        owned.map(|(path, _)| path.clone()).collect()
    }

    fn create(&mut self, header: &TxnHeader, create: &CreateTxn, owner: i64) {
        let (zxid, time) = (header.zxid, header.time);
        let mut stat = Stat { czxid: zxid, mzxid: zxid, pzxid: zxid, ..Stat::default() };
        (stat.ctime, stat.mtime) = (time, time);
        stat.ephemeral_owner =
            if matches!(Ownership::of(owner), Ownership::Session(_)) { owner } else { 0 };
        let data = create.data.as_ref().map(|data| data.to_vec());
        let acl = create.acl.clone();
        let node = ModelNode { data, acl, stat, owner, created: 0 };
        self.nodes.insert(create.path.clone(), node);
        self.refresh(&create.path);
        let parent = Self::parent(&create.path);
        let node = self.nodes.get_mut(&parent).unwrap();
        node.created += 1;
        node.stat.pzxid = zxid;
        self.refresh(&parent);
    }

    fn delete(&mut self, zxid: i64, path: &str) {
        self.nodes.remove(path).unwrap();
        let parent = Self::parent(path);
        self.nodes.get_mut(&parent).unwrap().stat.pzxid = zxid;
        self.refresh(&parent);
    }

    pub(crate) fn digest(&self) -> u64 {
        let add = |sum: u64, (path, node): (&String, &ModelNode)| {
            let stat = super::stat::StatPersisted {
                czxid: node.stat.czxid,
                mzxid: node.stat.mzxid,
                ctime: node.stat.ctime,
                mtime: node.stat.mtime,
                version: node.stat.version,
                cversion: node.created,
                aversion: node.stat.aversion,
                ephemeral_owner: node.owner,
                pzxid: node.stat.pzxid,
            };
            sum.wrapping_add(node_digest(path, node.data.as_deref(), &stat))
        };
        self.nodes.iter().fold(0, add)
    }

    /// The next transaction that `step` stands for, valid on this model.
    pub(crate) fn transaction(&self, step: &Step) -> (TxnHeader, Txn) {
        let sessions: Vec<i64> = self.sessions.keys().copied().collect();
        let client_id = match sessions.len() {
            0 => 0x0100_0000_0000_0000,
            count => sessions[usize::from(step.3) % count],
        };
        let zxid = self.zxid + 1;
        let mut header = TxnHeader { client_id, cxid: 1, zxid, time: 1_700_000_000_000 + zxid };
        let txn = match step.0 % 16 {
            0 => {
                header.client_id = 0x0100_0000_0000_0000 + i64::from(step.1 % 8);
                Txn::CreateSession { timeout: i32::from(step.2) }
            }
            1 if !sessions.is_empty() => {
                let paths = step.1.is_multiple_of(2).then(|| self.owned(client_id));
                Txn::CloseSession { paths }
            }
            2 => Txn::Error { error: -101 },
            3 | 4 => {
                // A copy sees each operation's effect on the next one.
                let mut seen = self.clone();
                let mut txns = Vec::new();
                for part in 0..step.3 % 4 {
                    let part = u16::from(part);
                    let step = Step(
                        5 + step.0.wrapping_add(step.3).wrapping_mul(7) % 11,
                        step.1.wrapping_add(part * 131),
                        step.2.wrapping_add(part * 17),
                        step.3,
                    );
                    let (_, txn) = seen.transaction(&step);
                    if !matches!(txn, Txn::SetAcl { .. } | Txn::Error { .. }) {
                        seen.apply(&header, &txn);
                        seen.zxid = self.zxid;
                        txns.push(txn);
                    }
                }
                Txn::Multi(txns)
            }
            5 => self.delete_something(step.1).unwrap_or(Txn::Error { error: -101 }),
            6 | 7 => {
                let path = self.existing(step.1);
                let version = self.nodes[&path].stat.version + 1;
                Txn::SetData { path, data: data(step.2), version }
            }
            8 => {
                let path = self.existing(step.1);
                let version = self.nodes[&path].stat.aversion + 1;
                Txn::SetAcl { path, acl: acl(step.2), version }
            }
            9 => Txn::Check { path: self.existing(step.1), version: -1 },
            _ => self.create_something(step, !sessions.is_empty()),
        };
        (header, txn)
    }

    fn existing(&self, number: u16) -> String {
        self.nodes.keys().nth(usize::from(number) % self.nodes.len()).unwrap().clone()
    }

    fn delete_something(&self, number: u16) -> Option<Txn> {
        let path = self.existing(number);
        let free = self.children(&path) == 0 && path != "/" && !path.starts_with("/zookeeper");
        free.then(|| match self.nodes[&path].owner {
            i64::MIN => Txn::DeleteContainer { path },
            _ => Txn::Delete { path },
        })
    }

    fn create_something(&self, step: &Step, sessions: bool) -> Txn {
        let mut parent = self.existing(step.1);
        if matches!(Ownership::of(self.nodes[&parent].owner), Ownership::Session(_)) {
            parent = "/".to_owned();
        }
        let parent_cversion = self.nodes[&parent].created + 1;
        let prefix = if parent == "/" { "" } else { &parent };
        let name = match step.2 % 3 {
            0 => format!("{prefix}/n{:010}", parent_cversion - 1),
            _ => format!("{prefix}/n{}", step.2 % 50),
        };
        if self.nodes.contains_key(&name) {
            return Txn::Error { error: -110 };
        }
        let create =
            CreateTxn { path: name, data: data(step.2), acl: acl(step.1), parent_cversion };
        match step.3 % 12 {
            0 => Txn::CreateContainer(create),
            1 => Txn::CreateTtl { create, ttl: 1 + i64::from(step.2) },
            kind => Txn::Create {
                create,
                ephemeral: sessions && kind % 3 == 0,
                with_stat: kind % 2 == 0,
            },
        }
    }
}

fn data(number: u16) -> Option<Bytes> {
    match number % 5 {
        0 => None,
        1 => Some(Bytes::new()),
        _ => Some(Bytes::from(vec![number.to_le_bytes()[0]; usize::from(number % 40)])),
    }
}

fn acl(number: u16) -> AclList {
    match number % 4 {
        0 => AclList::from([Acl::new(31, "digest", &format!("user{}:x", number % 7))]),
        1 => AclList::from([Acl::new(1, "world", "anyone"), Acl::new(30, "ip", "10.0.0.0/8")]),
        _ => open_acl_unsafe(),
    }
}
