//! What of a request is audited: taken before the writer consumes it.

use crate::zookeeper::acl::{self, Acl};
use crate::zookeeper::auth;
use crate::zookeeper::pipeline::queue::Task;
use crate::zookeeper::proto::request::{CreateMode, Operation, WriteRequest};

/// One operation (`AuditConstants` has its name).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct What {
    pub(super) operation: &'static str,
    pub(super) znode: Option<String>,
    pub(super) znode_type: Option<&'static str>,
    pub(super) acl: Option<String>,
}

/// A request, as far as it is audited.
#[derive(Debug, PartialEq, Eq)]
pub enum Audited {
    /// Not at all.
    Nothing,
    /// An operation of its own.
    #[allow(private_interfaces, reason = "made and read in this folder")]
    Single(What),
    /// Several at once; `None` for what is not audited.
    #[allow(private_interfaces, reason = "made and read in this folder")]
    Multi(Vec<Option<What>>),
}

impl Audited {
    /// What is audited of this task.
    pub fn of(task: &Task) -> Audited {
        match task {
            Task::Write(WriteRequest::Single(operation)) => {
                what(operation).map_or(Audited::Nothing, Audited::Single)
            }
            Task::Write(WriteRequest::Multi(operations)) => {
                Audited::Multi(operations.iter().map(what).collect())
            }
            _ => Audited::Nothing,
        }
    }
}

fn what(operation: &Operation) -> Option<What> {
    let plain = |operation, znode: &str| What {
        operation,
        znode: Some(znode.to_owned()),
        znode_type: None,
        acl: None,
    };
    Some(match operation {
        Operation::Create(create) => {
            What { znode_type: create.mode.map(mode_name), ..plain("create", &create.path) }
        }
        Operation::Delete { path, .. } => plain("delete", path),
        Operation::SetData { path, .. } => plain("setData", path),
        Operation::SetAcl { path, acl, .. } => {
            What { acl: Some(list(acl)), ..plain("setAcl", path) }
        }
        Operation::Reconfig => What { znode: None, ..plain("reconfig", "") },
        Operation::Check { .. } | Operation::Refused(_) => return None,
    })
}

/// `CreateMode` in small letters.
fn mode_name(mode: CreateMode) -> &'static str {
    match mode {
        CreateMode::Persistent { sequential: false } => "persistent",
        CreateMode::Persistent { sequential: true } => "persistent_sequential",
        CreateMode::Ephemeral { sequential: false } => "ephemeral",
        CreateMode::Ephemeral { sequential: true } => "ephemeral_sequential",
        CreateMode::Container { .. } => "container",
        CreateMode::Ttl { sequential: false, .. } => "persistent_with_ttl",
        CreateMode::Ttl { sequential: true, .. } => "persistent_sequential_with_ttl",
    }
}

/// `scheme:id:perms`, with commas between entries; the hashes of `digest` ids are masked.
fn list(acl: &[Acl]) -> String {
    let perms = |perms: i32| -> String {
        [
            (acl::CREATE, 'c'),
            (acl::DELETE, 'd'),
            (acl::READ, 'r'),
            (acl::WRITE, 'w'),
            (acl::ADMIN, 'a'),
        ]
        .into_iter()
        .filter(|(perm, _)| perms & perm != 0)
        .map(|(_, letter)| letter)
        .collect()
    };
    let entries: Vec<_> = auth::masked(acl)
        .iter()
        .map(|entry| format!("{}:{}:{}", entry.scheme, entry.id, perms(entry.perms)))
        .collect();
    entries.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_show_users_and_no_hashes() {
        let acl = [
            Acl::new(acl::ALL, "digest", "bob:smGaoVKd/cQkjm7b88GyorAUz20="),
            Acl::new(acl::READ, "world", "anyone"),
        ];
        assert_eq!(list(&acl), "digest:bob:x:cdrwa,world:anyone:r");
    }
}
