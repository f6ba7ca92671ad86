//! The ACLs of a cluster, as its znodes have them (pure).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::layout::acl::{AclEntry, PatternType, ResourceType};

/// Every ACL. What did not change between two images is shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acls {
    literal: [AclDirectory; ResourceType::ALL.len()],
    prefixed: [AclDirectory; ResourceType::ALL.len()],
}

/// The ACLs of one type of resources, by the names that they are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclDirectory {
    /// Whether the coordinator does not let its names be listed: nobody knows then what they say.
    pub unlisted: bool,
    /// Resources that have ACLs, or of which it is not known.
    pub resources: Arc<BTreeMap<Arc<str>, Arc<ResourceAcls>>>,
}

/// The ACLs of one resource, or of those whose names begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceAcls {
    /// At least one entry.
    Known(Vec<AclEntry>),
    /// The znode is there and can't be read or understood: it may forbid anything.
    Unknown,
}

impl Acls {
    /// Those of one type and kind of names.
    pub fn directory(&self, pattern: PatternType, kind: ResourceType) -> &AclDirectory {
        match pattern {
            PatternType::Literal => &self.literal[kind as usize],
            PatternType::Prefixed => &self.prefixed[kind as usize],
        }
    }

    /// The same, to be changed.
    pub fn directory_mut(&mut self, pattern: PatternType, kind: ResourceType) -> &mut AclDirectory {
        match pattern {
            PatternType::Literal => &mut self.literal[kind as usize],
            PatternType::Prefixed => &mut self.prefixed[kind as usize],
        }
    }
}

/// Every directory that there may be.
pub fn directories() -> impl Iterator<Item = (PatternType, ResourceType)> {
    let of = |pattern| ResourceType::ALL.into_iter().map(move |kind| (pattern, kind));
    PatternType::ALL.into_iter().flat_map(of)
}
