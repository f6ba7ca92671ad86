//! What a caller may do, by the cluster's ACLs: as Kafka 3.9's `AclAuthorizer` decides it (pure).
//!
//! An entry that denies wins over all that allow. What nobody wrote about is denied, unless
//! `allow.everyone.if.no.acl.found` is set. To read, write, delete or alter something implies to
//! describe it, to alter its configuration implies to describe that; denying implies nothing.
//! A resource whose ACLs could not be read is denied to all but super users.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::iter::Peekable;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use super::{Caller, Principal};
use crate::cluster::layout::acl::{
    CLUSTER_NAME, EVERYBODY, Operation, PatternType, Permission, ResourceType, WILDCARD,
};
use crate::cluster::{AclDirectory, Acls, ResourceAcls};

#[cfg(test)]
mod tests;

/// What holds beside the ACLs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclRules {
    /// `super.users`: they may do everything.
    pub super_users: BTreeSet<Principal>,
    /// `allow.everyone.if.no.acl.found`.
    pub allow_without_acls: bool,
}

impl AclRules {
    /// Reads `super.users`: principals with semicolons between them.
    ///
    /// # Errors
    /// The first entry that is no principal; brokers don't start with it either.
    pub fn super_users(text: &str) -> Result<BTreeSet<Principal>, String> {
        // An empty one at the end is passed over, as Java's `split` does.
        let text = text.trim_end_matches(|end: char| end == ';' || end.is_whitespace());
        if text.is_empty() {
            return Ok(BTreeSet::new());
        }
        let read = |entry: &str| match entry.trim().split_once(':') {
            Some((kind, name)) => Ok(Principal { kind: kind.into(), name: name.into() }),
            None => Err(entry.trim().to_owned()),
        };
        text.split(';').map(read).collect()
    }
}

/// Decides for one caller.
#[derive(Debug)]
pub struct Authority<'a> {
    acls: &'a Acls,
    allow_without_acls: bool,
    is_super_user: bool,
    /// As ACLs name the caller.
    principal: String,
    /// As ACLs name its address.
    host: String,
}

impl<'a> Authority<'a> {
    /// Decides by these ACLs for this caller.
    pub fn new(acls: &'a Acls, rules: &AclRules, caller: &Caller) -> Self {
        Authority {
            acls,
            allow_without_acls: rules.allow_without_acls,
            is_super_user: rules.super_users.contains(&caller.principal),
            principal: caller.principal.to_string(),
            host: host_text(caller.host),
        }
    }

    /// Whether the caller may do everything.
    pub fn is_super_user(&self) -> bool {
        self.is_super_user
    }

    /// Whether the caller may do this.
    pub fn allows(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        self.rights(kind, name).allow(operation)
    }

    /// Whether the caller may do this with the cluster.
    pub fn allows_on_cluster(&self, operation: Operation) -> bool {
        self.allows(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// What the caller may do with one resource.
    pub fn rights(&self, kind: ResourceType, name: &str) -> Rights {
        if self.is_super_user {
            return Rights::ALL;
        }
        let mut found = self.wildcard(kind);
        let literal = self.acls.directory(PatternType::Literal, kind);
        if let Some(acls) = literal.resources.get(name) {
            self.add(&mut found, acls);
        }
        let prefixed = self.acls.directory(PatternType::Prefixed, kind);
        for acls in prefixes_of(name, prefixed) {
            self.add(&mut found, acls);
        }
        found
    }

    /// Decides about many resources of one type in the order of their names, each in next to no time
    /// however many ACLs there are.
    pub fn in_order(&self, kind: ResourceType) -> InOrder<'_> {
        let entries = |pattern| self.acls.directory(pattern, kind).resources.iter().peekable();
        InOrder {
            authority: self,
            wildcard: self.wildcard(kind),
            literal: entries(PatternType::Literal),
            prefixed: entries(PatternType::Prefixed),
            open: Vec::new(),
        }
    }

    /// What is said of every resource of a type.
    fn wildcard(&self, kind: ResourceType) -> Rights {
        let mut found = Rights::new(self.allow_without_acls);
        for pattern in PatternType::ALL {
            found.unknown |= self.acls.directory(pattern, kind).unlisted;
        }
        let literal = self.acls.directory(PatternType::Literal, kind);
        if let Some(acls) = literal.resources.get(WILDCARD) {
            self.add(&mut found, acls);
        }
        found
    }

    /// Adds what the ACLs of a resource say of the caller.
    fn add(&self, found: &mut Rights, acls: &ResourceAcls) {
        found.any = true;
        let entries = match acls {
            ResourceAcls::Known(entries) => entries,
            ResourceAcls::Unknown => {
                found.unknown = true;
                return;
            }
        };
        for entry in entries {
            let about = (entry.principal == EVERYBODY || entry.principal == self.principal)
                && (entry.host == "*" || entry.host == self.host);
            match (entry.permission, entry.operation) {
                (Some(Permission::Deny), Some(operation)) if about => {
                    found.denied |= operation.bit();
                }
                (Some(Permission::Allow), Some(operation)) if about => {
                    found.allowed |= operation.bit();
                }
                _ => {}
            }
        }
    }
}

/// What one caller may do with one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Bits of the operations that entries deny.
    denied: i32,
    /// Bits of the operations that entries allow.
    allowed: i32,
    /// Whether there are ACLs at all, of whomever.
    any: bool,
    /// Whether some could not be read.
    unknown: bool,
    /// What is so without any.
    without: bool,
}

impl Rights {
    const ALL: Rights = Rights {
        denied: 0,
        allowed: Operation::All.bit(),
        any: true,
        unknown: false,
        without: false,
    };

    fn new(without: bool) -> Rights {
        Rights { denied: 0, allowed: 0, any: false, unknown: false, without }
    }

    /// Whether this may be done.
    pub fn allow(self, operation: Operation) -> bool {
        if self.unknown {
            return false;
        }
        if !self.any {
            return self.without;
        }
        let all = Operation::All.bit();
        self.denied & (operation.bit() | all) == 0
            && self.allowed & (implying(operation) | all) != 0
    }

    /// The bits of those of these operations that may be done.
    pub fn of(self, operations: i32) -> i32 {
        let each = Operation::ALL.into_iter().filter(|operation| operations & operation.bit() != 0);
        each.filter(|operation| self.allow(*operation)).map(Operation::bit).fold(0, |a, b| a | b)
    }
}

/// The bits of the operations that allow this one.
fn implying(operation: Operation) -> i32 {
    let others: &[Operation] = match operation {
        Operation::Describe => {
            &[Operation::Read, Operation::Write, Operation::Delete, Operation::Alter]
        }
        Operation::DescribeConfigs => &[Operation::AlterConfigs],
        _ => &[],
    };
    others.iter().fold(operation.bit(), |bits, other| bits | other.bit())
}

/// Decisions about names that come in rising order.
#[derive(Debug)]
pub struct InOrder<'a> {
    authority: &'a Authority<'a>,
    wildcard: Rights,
    literal: Peekable<btree_map::Iter<'a, Arc<str>, Arc<ResourceAcls>>>,
    prefixed: Peekable<btree_map::Iter<'a, Arc<str>, Arc<ResourceAcls>>>,
    /// The prefixes of the last name, each with what is said of all names that begin so.
    open: Vec<(&'a str, Rights)>,
}

impl InOrder<'_> {
    /// What the caller may do with the resource of this name, which is not below the one before.
    pub fn rights(&mut self, name: &str) -> Rights {
        if self.authority.is_super_user {
            return Rights::ALL;
        }
        while self.open.pop_if(|(prefix, _)| !name.starts_with(*prefix)).is_some() {}
        // What was passed over without being a prefix is none of a later name either.
        while let Some((prefix, acls)) = self.prefixed.next_if(|(prefix, _)| &***prefix <= name) {
            if name.starts_with(&**prefix) {
                let mut rights = self.open.last().map_or(self.wildcard, |(_, rights)| *rights);
                self.authority.add(&mut rights, acls);
                self.open.push((prefix, rights));
            }
        }
        let mut rights = self.open.last().map_or(self.wildcard, |(_, rights)| *rights);
        while self.literal.next_if(|(literal, _)| &***literal < name).is_some() {}
        if let Some((literal, acls)) = self.literal.peek()
            && ***literal == *name
        {
            self.authority.add(&mut rights, acls);
        }
        rights
    }
}

/// The ACLs of every prefix of a name, the longest first.
fn prefixes_of<'a>(
    name: &'a str,
    directory: &'a AclDirectory,
) -> impl Iterator<Item = &'a ResourceAcls> {
    let resources: &BTreeMap<Arc<str>, Arc<ResourceAcls>> = &directory.resources;
    let mut below = Some(Bound::Included(name));
    std::iter::from_fn(move || {
        loop {
            let bound = below.take()?;
            let range = (Bound::Unbounded, bound);
            let (prefix, acls) = resources.range::<str, _>(range).next_back()?;
            // Every prefix of the name that is left is one of what both have in common.
            let common = common_prefix(prefix, name);
            if common.len() == prefix.len() {
                below = Some(Bound::Excluded(common));
                return Some(&**acls);
            }
            below = Some(Bound::Included(common));
        }
    })
}

/// What the second text begins with like the first.
fn common_prefix<'a>(one: &str, other: &'a str) -> &'a str {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let end = (0..=same).rev().find(|end| other.is_char_boundary(*end));
    &other[..end.unwrap_or(0)]
}

/// An address as Java's `getHostAddress` writes it, which ACLs hold: no group of an IPv6 address is
/// left out, and one that stands for an IPv4 address is that.
fn host_text(host: IpAddr) -> String {
    match host.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:x}")).join(":"),
    }
}
