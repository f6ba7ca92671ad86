//! Transactions applied to the database: it only applies, and cannot fail.
//!
//! Live, prep has checked everything. In a replay over a snapshot that ZooKeeper took while writes went
//! on, the tree may be ahead of the transaction; then it is applied as ZooKeeper does
//! (`DataTree.processTxn`), so that the end is the same.

use super::record::{CreateTxn, Txn, TxnHeader};
use crate::zookeeper::acl::AclList;
use crate::zookeeper::database::Database;
use crate::zookeeper::stat::{CONTAINER_OWNER, Ownership, Stat, StatPersisted};
use crate::zookeeper::tree::TreeError;

/// What happened to a node, for the watches. The children of its parent changed, too, unless only
/// its data did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// To which node.
    pub path: Box<str>,
    /// The node's ACL, before a delete.
    pub acl: AclList,
    /// The parent's ACL; for a data change, the node's own.
    pub parent_acl: AclList,
}

/// What happened to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Created,
    /// It was deleted.
    Deleted,
    /// Its data was set.
    DataChanged,
}

/// What the reply to a transaction needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Nothing.
    Done,
    /// The node's stat, after a create, setData or setACL.
    Stat(Stat),
    /// ZooKeeper's error code: that of a [`Txn::Error`], or of what a replay could not do.
    Error(i32),
    /// One for each transaction of a multi.
    Multi(Vec<Applied>),
}

/// Applies a transaction; what changed is appended to `changes`.
pub fn apply(
    database: &mut Database,
    header: &TxnHeader,
    txn: &Txn,
    changes: &mut Vec<Change>,
) -> Applied {
    run(database, header, txn, Some(changes))
}

/// Applies a transaction of the log again, when nobody watches yet.
pub fn replay(database: &mut Database, header: &TxnHeader, txn: &Txn) -> Applied {
    run(database, header, txn, None)
}

fn run(
    database: &mut Database,
    header: &TxnHeader,
    txn: &Txn,
    mut changes: Option<&mut Vec<Change>>,
) -> Applied {
    let applied = match txn {
        Txn::Multi(txns) => multi(database, header, txns, &mut changes),
        txn => single(database, header, txn, &mut changes),
    };
    database.tree.advance(header.zxid);
    applied
}

fn multi(
    database: &mut Database,
    header: &TxnHeader,
    txns: &[Txn],
    changes: &mut Option<&mut Vec<Change>>,
) -> Applied {
    let failed = txns.iter().position(|txn| matches!(txn, Txn::Error { error } if *error != 0));
    let failed = failed.or_else(|| txns.iter().position(|txn| matches!(txn, Txn::Error { .. })));
    let Some(failed) = failed else {
        return Applied::Multi(
            txns.iter().map(|txn| single(database, header, txn, changes)).collect(),
        );
    };
    let error = |(position, txn): (usize, &Txn)| match txn {
        Txn::Error { error } => Applied::Error(*error),
        _ if position < failed => Applied::Error(0),
        _ => Applied::Error(RUNTIME_INCONSISTENCY),
    };
    Applied::Multi(txns.iter().enumerate().map(error).collect())
}

/// What the operations of a multi behind the one that failed answer.
const RUNTIME_INCONSISTENCY: i32 = -2;

fn single(
    database: &mut Database,
    header: &TxnHeader,
    txn: &Txn,
    changes: &mut Option<&mut Vec<Change>>,
) -> Applied {
    match txn {
        Txn::Create { create, ephemeral, .. } => {
            let owner = if *ephemeral { header.client_id } else { 0 };
            create_node(database, header, create, owner, changes)
        }
        Txn::CreateContainer(create) => {
            create_node(database, header, create, CONTAINER_OWNER, changes)
        }
        Txn::CreateTtl { create, ttl } => {
            create_node(database, header, create, Ownership::ttl_owner(*ttl), changes)
        }
        Txn::Delete { path } | Txn::DeleteContainer { path } => {
            match delete_node(database, header, path, changes) {
                Ok(()) => Applied::Done,
                Err(error) => Applied::Error(error.code()),
            }
        }
        Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
            let (zxid, time) = (header.zxid, header.time);
            let stat = database.tree.set_data(path, data.as_deref(), *version, zxid, time);
            if let Some(changes) = changes
                && let Some(node) = database.tree.node(path)
            {
                changes.push(Change {
                    kind: ChangeKind::DataChanged,
                    path: node.path().into_boxed_str(),
                    acl: node.acl().clone(),
                    parent_acl: node.acl().clone(),
                });
            }
            stat_or_error(stat)
        }
        Txn::SetAcl { path, acl, version } => {
            stat_or_error(database.tree.set_acl(path, acl, *version))
        }
        Txn::CreateSession { timeout } => {
            database.sessions.insert(header.client_id, *timeout);
            Applied::Done
        }
        Txn::CloseSession { paths } => {
            database.sessions.remove(&header.client_id);
            for path in paths.iter().flatten() {
                // One that is gone already has its delete in the log before this.
                let _ = delete_node(database, header, path, changes);
            }
            close_session(database, header, changes);
            Applied::Done
        }
        Txn::Check { .. } => Applied::Done,
        Txn::Error { error } => Applied::Error(*error),
        // The log's decoder refuses one inside another, and nobody makes one.
        Txn::Multi(_) => Applied::Error(RUNTIME_INCONSISTENCY),
    }
}

/// Deletes what the header's session still owns.
fn close_session(
    database: &mut Database,
    header: &TxnHeader,
    changes: &mut Option<&mut Vec<Change>>,
) {
    let mut paths: Vec<String> = database.tree.ephemerals(header.client_id).collect();
    paths.sort_unstable();
    for path in paths {
        let _ = delete_node(database, header, &path, changes);
    }
}

/// Deletes, without a transaction, the ephemerals of sessions that are not alive, as ZooKeeper does
/// after loading (`ZooKeeperServer.loadData`). Returns how many.
pub fn delete_orphans(database: &mut Database) -> usize {
    let dead: Vec<i64> = database
        .tree
        .ephemeral_owners()
        .filter(|session| !database.sessions.contains_key(session))
        .collect();
    let before = database.tree.ephemeral_count();
    for client_id in dead {
        let header = TxnHeader { client_id, cxid: 0, zxid: database.tree.last_zxid(), time: 0 };
        close_session(database, &header, &mut None);
    }
    before - database.tree.ephemeral_count()
}

fn create_node(
    database: &mut Database,
    header: &TxnHeader,
    create: &CreateTxn,
    owner: i64,
    changes: &mut Option<&mut Vec<Change>>,
) -> Applied {
    let CreateTxn { path, data, acl, parent_cversion } = create;
    let stat = StatPersisted::created(header.zxid, header.time, owner);
    let created = database.tree.create(path, data.as_deref(), acl, &stat, *parent_cversion);
    if created.is_ok()
        && let Some(changes) = changes
        && let Some(node) = database.tree.node(path)
    {
        changes.push(Change {
            kind: ChangeKind::Created,
            path: path.as_str().into(),
            acl: node.acl().clone(),
            parent_acl: node.parent().map_or_else(|| acl.clone(), |parent| parent.acl().clone()),
        });
    }
    stat_or_error(created)
}

fn delete_node(
    database: &mut Database,
    header: &TxnHeader,
    path: &str,
    changes: &mut Option<&mut Vec<Change>>,
) -> Result<(), TreeError> {
    database.tree.delete(path, header.zxid, |path, acl, parent_acl| {
        if let Some(changes) = changes {
            changes.push(Change {
                kind: ChangeKind::Deleted,
                path: path.into(),
                acl: acl.clone(),
                parent_acl: parent_acl.clone(),
            });
        }
    })
}

fn stat_or_error(result: Result<Stat, TreeError>) -> Applied {
    match result {
        Ok(stat) => Applied::Stat(stat),
        Err(error) => Applied::Error(error.code()),
    }
}

#[cfg(test)]
mod tests;
